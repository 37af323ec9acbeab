"""Authority: whether who signed inside a record may decide what it says.

Two questions. A record under a policy needs signatures by as many persons of a role as the policy asks
for; a proposal, an approval or an attestation is the word of exactly one key. Judged by the keyring in force
at the record's own line, when it is proposed and on every replay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bibank.errors import NotAuthorised, excerpt
from bibank.journal.trust import InnerSignature, TrustGate
from bibank.model.json_value import FrozenMap, JsonValue
from bibank.model.keyring import Keyring, KeyringKey, KeyStatus
from bibank.model.policy import Purpose, Role

AUTHORITY_NAME = "authority/1"
"""What refusals for lacking authority name as their rule."""

Body = Mapping[str, JsonValue]


def refusal(message: str, *, reason: str, advice: str = "nothing would pass") -> NotAuthorised:
    """Refuse for a reason of the table."""
    return NotAuthorised(message, reason=reason, rule=AUTHORITY_NAME, advice=advice)


def authorised(trust: TrustGate, body: Body, *, kind: str, purpose: Purpose, ledger_id: str) -> FrozenMap:
    """Give the payload of an envelope that enough persons have signed for the policy of a purpose.

    A fork asks for no signatures. Raises `NotAuthorised`, or `InvalidValue` for what is no envelope.
    """
    payload, signatures = trust.inspect(body, kind=kind)
    _check_ledger(payload, kind, ledger_id)
    if trust.is_released:
        return payload
    keys = _holding(signatures, kind)
    check_enough(trust.keyring, keys, purpose, f"{kind} record")
    return payload


def check_enough(keyring: Keyring, keys: Sequence[KeyringKey], purpose: Purpose, what: str) -> None:
    """Demand that keys in force belong to as many persons of the role as the policy of a purpose asks for."""
    role, threshold = keyring.deciding_role(purpose), keyring.policies[purpose].threshold
    persons = {key.signer_id for key in keys if role in key.roles}
    if keyring.keys and len(persons) < threshold:
        raise refusal(
            f"the {what} is signed by {len(persons)} {role.value} keys of the keyring, "
            f"its policy asks for {threshold}",
            reason="wrong_role" if any(role not in key.roles for key in keys) else "too_few",
            advice=_who_may(keyring, role, threshold),
        )


def sole_signer(trust: TrustGate, body: Body, *, kind: str, ledger_id: str) -> tuple[FrozenMap, KeyringKey]:
    """Give the payload of an envelope that is one key's word, and that key.

    Raises `NotAuthorised`, or `InvalidValue` for what is no envelope.
    """
    payload, signatures = trust.inspect(body, kind=kind)
    _check_ledger(payload, kind, ledger_id)
    keys = _holding(signatures, kind)
    if len(keys) != 1:
        raise refusal(
            f"the {kind} is signed by {len(keys)} keys",
            reason="too_many" if keys else "too_few",
            advice="exactly one key of the keyring signs it",
        )
    return payload, keys[0]


def check_role(key: KeyringKey, roles: Sequence[Role], *, kind: str) -> None:
    """Demand that a key has one of some roles."""
    if not any(role in key.roles for role in roles):
        names = " or ".join(str(role.value) for role in roles)
        raise refusal(
            f"the {kind} is signed by {key.signer_id}, whose key {key.key_id} is no {names} key",
            reason="wrong_role",
            advice=f"a key with the role {names} would pass",
        )


def _check_ledger(payload: FrozenMap, kind: str, ledger_id: str) -> None:
    if payload.get("ledger") != ledger_id:
        raise refusal(
            f"the {kind} was signed for ledger {excerpt(payload.get('ledger'))}, this is {ledger_id}",
            reason="other_ledger",
            advice="what is signed for this ledger would pass",
        )


def _holding(signatures: Sequence[InnerSignature], kind: str) -> list[KeyringKey]:
    """Give the keys that signed; each has to be in force, and its signature to hold."""
    keys = []
    for signature in signatures:
        key = signature.key
        if key is None:
            raise refusal(
                f"the {kind} is signed by key {excerpt(signature.key_id)}, which is not in the keyring",
                reason="unknown_key",
                advice="a key of the keyring would pass",
            )
        if key.status is not KeyStatus.ACTIVE:
            raise refusal(
                f"the {kind} is signed by key {key.key_id} of {key.signer_id}, which was {key.status.value}",
                reason="inactive_key",
                advice="an active key of the keyring would pass",
            )
        if not signature.holds:
            raise refusal(
                f"the signature of {key.signer_id} is not over this {kind}: it was altered, or is of another",
                reason="bad_signature",
                advice="what was signed, as it was signed, would pass",
            )
        keys.append(key)
    return keys


def _who_may(keyring: Keyring, role: Role, threshold: int) -> str:
    able = sorted({key.signer_id for key in keyring.active(role)})
    if len(able) < threshold:
        return f"nothing would pass: the keyring has {len(able)} persons with the role {role.value}"
    return f"signatures by {threshold} of {', '.join(able)} would pass"
