"""Trust: the keyring as a fold over the journal, and the judgement of signatures by sequence.

Nothing is trusted because it is in the file. Version 1 is what the ledger id commits to; every
later version is signed as the version before demands, and by every key that it adds. A line's key
is looked up by signer id, public key and the line's sequence; what is not found there has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

import attrs

from bibank.errors import InvalidValue, PinMismatch, excerpt
from bibank.journal.authority import check_enough, refusal
from bibank.journal.trust import InnerSignature
from bibank.model.json_value import FrozenMap, JsonValue, canonical_text
from bibank.model.keyring import Keyring, KeyringChange, KeyringKey, KeyStatus, NewKey
from bibank.model.policy import Policy, Purpose, Role
from bibank.model.record import without_key
from bibank.model.signature import EntrySignature, SignatureAlgorithm
from bibank.model.timestamp import format_timestamp
from bibank.signing.dsse import Envelope, payload_type, pre_authentication_encoding
from bibank.signing.verify import SIGNATURE_BYTES, verify_ed25519

CHANGE_KIND = "keyring_changed"
NEVER = 2**63
"""Beyond every sequence."""


def first_fingerprint(keyring: Keyring) -> str:
    """Hash version 1, as the ledger id commits to it."""
    return sha256(canonical_text(keyring.to_body()).encode()).hexdigest()


def next_fingerprint(previous: str, change: KeyringChange) -> str:
    """Hash a later version: SHA-256 of JCS{previous version hash, change}."""
    members = FrozenMap({"change": change.to_body(), "previous": previous})
    return sha256(canonical_text(members).encode()).hexdigest()


@attrs.frozen(kw_only=True)
class KeyringVersion:
    """One version of the keyring: from which sequence it is in force, and its fingerprint."""

    keyring: Keyring
    from_sequence: int
    fingerprint: str


class SignatureCheck(NamedTuple):
    """One signature to be verified, with everything that takes. A tuple: there is one for each line."""

    sequence: int
    signer_id: str
    public_key: bytes
    message: bytes
    signature: bytes

    def fails(self) -> str | None:
        """Verify; say what is wrong, or None."""
        if verify_ed25519(self.public_key, self.message, self.signature):
            return None
        return f"the signature of {self.signer_id} is not over this line"


Sink = Callable[[SignatureCheck], None]
"""Takes each signature: verifies it, collects it, or lets it pass where only the chain is asked for."""


def verify_now(check: SignatureCheck) -> None:
    """Verify at once; `InvalidValue` when it fails."""
    wrong = check.fails()
    if wrong is not None:
        raise InvalidValue(wrong)


def verify_never(check: SignatureCheck) -> None:
    """Let every signature pass: for replays of what was verified before, and audits of the chain alone."""


class KeyringTrust:
    """A `TrustGate`: every version of one ledger's keyring, newest last.

    Which keys may sign is always judged; whether they did is the business of the `sink`.
    """

    def __init__(self, sink: Sink = verify_now) -> None:
        self.ledger_id = ""
        self.is_released = False
        """Whether the lines that come are a fork's, which need no signature."""
        self.versions: list[KeyringVersion] = []
        self.sink = sink
        self._index()

    def copy(self, sink: Sink) -> KeyringTrust:
        """Give a trust of its own that stands where this one does, and hands signatures to another sink."""
        other = KeyringTrust(sink)
        other.ledger_id = self.ledger_id
        other.is_released = self.is_released
        other.versions = list(self.versions)
        other._index()
        return other

    @property
    def keyring(self) -> Keyring:
        """The keyring in force for the next line."""
        return self.current.keyring

    @property
    def current(self) -> KeyringVersion:
        """The version in force for the next line."""
        return self.versions[-1]

    def adopt(self, keyring: Keyring, *, ledger_id: str) -> None:
        """Begin with version 1."""
        self.ledger_id = ledger_id
        self._push(KeyringVersion(keyring=keyring, from_sequence=1, fingerprint=first_fingerprint(keyring)))

    def change(self, body: Mapping[str, JsonValue], *, sequence: int) -> None:
        """Take a signed change: its envelope, its place in the chain of versions, its signatures."""
        if self.is_released:
            raise InvalidValue("a fork keeps the keyring of its ledger")
        envelope = Envelope.from_body(body, kind=CHANGE_KIND)
        change = self._read_change(envelope.payload)
        self._check_authority(envelope, change)
        self._push(
            KeyringVersion(
                keyring=self.current.keyring.changed(change, sequence=sequence),
                from_sequence=sequence,
                fingerprint=next_fingerprint(self.current.fingerprint, change),
            )
        )

    def envelope(self, change: KeyringChange) -> Envelope:
        """Write an unsigned envelope for a change to the version in force."""
        current = self.current
        return Envelope(
            kind=CHANGE_KIND,
            payload=FrozenMap(
                {
                    "change": change.to_body(),
                    "ledger": self.ledger_id,
                    "previous": current.fingerprint,
                    "version": current.keyring.version + 1,
                }
            ),
        )

    def inspect(
        self, body: Mapping[str, JsonValue], *, kind: str
    ) -> tuple[FrozenMap, tuple[InnerSignature, ...]]:
        """Give the payload of an envelope, and each signature with the key of the keyring that it names."""
        envelope = Envelope.from_body(without_key(body), kind=kind)
        known = {key.key_id: key for key in self.current.keyring.keys}
        found = []
        for key_id, raw in envelope.signatures:
            key = known.get(key_id)
            found.append(InnerSignature(key_id=key_id, key=key, holds=_holds(key, envelope, raw)))
        return envelope.payload, tuple(found)

    def check(self, signatures: Sequence[EntrySignature], *, sequence: int) -> bool:
        """Demand that every key may sign this line; tell whether the line policy is satisfied."""
        if self.is_released:
            return True
        policy = self._line_policy if sequence >= self._line_from else self._policy(Purpose.LINE, sequence)
        signed = False
        for signature in signatures:
            if policy.role in self._key_of(signature, sequence).roles:
                signed = True
        return signed or not policy.threshold or sequence < policy.mandatory_from

    def verify(self, signature: EntrySignature, *, sequence: int, digest: str, payload: bytes) -> None:
        """Hand a signature that was checked to the sink, which verifies it at once, later, or not at all."""
        if self.is_released:
            return
        message = line_message(
            signature, ledger_id=self.ledger_id, sequence=sequence, digest=digest, payload=payload
        )
        self.sink(
            SignatureCheck(
                sequence,
                signature.signer_id,
                self._raw_keys[signature.public_key],
                message,
                bytes.fromhex(signature.signature),
            )
        )

    def release(self, *, ledger_id: str) -> None:
        """Go on as a fork of another id: its lines are nobody's word, and its keyring does not change."""
        self.ledger_id = ledger_id
        self.is_released = True
        self._index()

    def rollback(self, sequence: int) -> None:
        """Forget versions that are in force only after a sequence."""
        self.versions = [version for version in self.versions if version.from_sequence <= max(sequence, 1)]
        if not sequence:
            self.versions = []
        self._index()

    def _push(self, version: KeyringVersion) -> None:
        self.versions.append(version)
        self._index()

    def _index(self) -> None:
        """Keep at hand what every line asks for."""
        self.signed_from = NEVER
        self.withdrawal_limits: Mapping[str, int] = {}
        self._by_public_key: dict[str, KeyringKey] = {}
        self._line_from = NEVER
        if self.versions:
            keyring = self.current.keyring
            self._by_public_key = {key.public_key: key for key in keyring.keys}
            self._line_policy, self._line_from = keyring.policies[Purpose.LINE], self.current.from_sequence
            self.withdrawal_limits = keyring.policies[Purpose.ADJUSTMENT].withdrawal_limits
            if keyring.signs_lines and not self.is_released:
                self.signed_from = self._line_policy.mandatory_from
        self._raw_keys = {public_key: bytes.fromhex(public_key) for public_key in self._by_public_key}

    def _policy(self, purpose: Purpose, sequence: int) -> Policy:
        for version in reversed(self.versions):
            if version.from_sequence <= sequence:
                return version.keyring.policies[purpose]
        raise InvalidValue("there is no keyring yet")

    def _key_of(self, signature: EntrySignature, sequence: int) -> KeyringKey:
        if len(signature.signature) != 2 * SIGNATURE_BYTES:
            raise InvalidValue(
                f"a signature is {SIGNATURE_BYTES} bytes, that of {excerpt(signature.signer_id)} is not"
            )
        key = self._by_public_key.get(signature.public_key)
        if key is None:
            raise InvalidValue(
                f"signed by {excerpt(signature.signer_id)} with key {signature.public_key[:16]}..., "
                "which is not in the keyring"
            )
        if key.signer_id != signature.signer_id:
            raise InvalidValue(
                f"the signature names {excerpt(signature.signer_id)}, "
                f"but key {key.key_id} belongs to {key.signer_id}"
            )
        if key.algorithm is not signature.algorithm:
            raise InvalidValue(
                f"the signature is {signature.algorithm.value}, "
                f"but key {key.key_id} signs {key.algorithm.value}"
            )
        if not key.covers(sequence):
            end = "on" if key.valid_to_sequence is None else f"to {key.valid_to_sequence}"
            raise InvalidValue(
                f"key {key.key_id} of {key.signer_id} signs lines from {key.valid_from_sequence} {end}, "
                f"not line {sequence}"
            )
        return key

    def _read_change(self, payload: FrozenMap) -> KeyringChange:
        current = self.current
        if set(payload) != {"change", "ledger", "previous", "version"}:
            raise InvalidValue("a keyring change has exactly change, ledger, previous, version")
        if payload["ledger"] != self.ledger_id:
            raise InvalidValue(f"the change is for ledger {excerpt(payload['ledger'])}")
        if payload["previous"] != current.fingerprint or payload["version"] != current.keyring.version + 1:
            raise InvalidValue(f"the change does not follow keyring version {current.keyring.version}")
        change = KeyringChange.from_body(payload["change"])
        if canonical_text(change.to_body()) != canonical_text(payload["change"]):
            raise InvalidValue(
                "the change is not spelled canonically, so its fingerprint is not that of its bytes"
            )
        return change

    def _check_authority(self, envelope: Envelope, change: KeyringChange) -> None:
        """Demand the signatures that the version in force asks for, and one by every added key."""
        keyring = self.current.keyring
        added = {key.key_id: key for key in change.add}
        signed = {key_id for key_id, _ in envelope.signatures}
        known = {key.key_id: key for key in keyring.keys if key.status is KeyStatus.ACTIVE}
        for key_id, signature in envelope.signatures:
            key = known.get(key_id) or added.get(key_id)
            if key is None:
                raise refusal(
                    f"the change is signed by key {excerpt(key_id)}, which is not in the keyring",
                    reason="unknown_key" if all(k.key_id != key_id for k in keyring.keys) else "inactive_key",
                    advice="an active key of the keyring would pass",
                )
            if not _holds(key, envelope, signature):
                reserved = key.algorithm is SignatureAlgorithm.SECP256K1
                raise refusal(
                    f"key {key_id} is secp256k1, which is reserved, so its signature has failed"
                    if reserved
                    else f"the signature of key {key_id} on the change is wrong",
                    reason="bad_signature",
                    advice="what was signed, as it was signed, would pass",
                )
        if added.keys() - signed:
            raise refusal(
                f"the added key {min(added.keys() - signed)} has not signed the change",
                reason="too_few",
                advice="every added key signs as well",
            )
        keys = [known[key_id] for key_id in signed & known.keys()]
        check_enough(keyring, keys, Purpose.KEYRING, "change")
        role, asked = keyring.policies[Purpose.ADJUSTMENT].role, keyring.approvers_asked(change)
        persons = {key.signer_id for key in keys if role in key.roles}
        if len(persons) < asked:
            raise refusal(
                f"the change decides who approves adjustments, and is signed by {len(persons)} persons with "
                f"the role {role.value}",
                reason="too_few",
                advice=f"signatures by {asked} of them would pass",
            )


def _holds(key: KeyringKey | NewKey | None, envelope: Envelope, signature: bytes) -> bool:
    """Verify a signature of an envelope; one under the reserved curve has failed."""
    if key is None or key.algorithm is SignatureAlgorithm.SECP256K1:
        return False
    return verify_ed25519(bytes.fromhex(key.public_key), envelope.message, signature)


def check_reachable(trust: KeyringTrust, fingerprint: str) -> None:
    """Demand that a keyring fingerprint is one that the journal reaches from its genesis."""
    if fingerprint not in {version.fingerprint for version in trust.versions}:
        raise PinMismatch(
            f"keyring {fingerprint} is not reached from the genesis of ledger {trust.ledger_id}: "
            "the keyring file was edited, or the journal was rewritten"
        )


def line_message(
    signature: EntrySignature, *, ledger_id: str, sequence: int, digest: str, payload: bytes
) -> bytes:
    """Give the bytes that a line's signature covers under its scheme (the format reference says which).

    `payload` is the JCS of the eight fields. Raises `InvalidValue` for the reserved curve: a
    signature that cannot be verified has failed.
    """
    if signature.algorithm is SignatureAlgorithm.ED25519:
        return payload
    if signature.algorithm is SignatureAlgorithm.ED25519_DIGEST:
        members = {
            "hash": digest,
            "ledger": ledger_id,
            "role": Role.SYSTEM.value,
            "sequence": sequence,
            "signed_at": format_timestamp(signature.signed_at),
            "signer_id": signature.signer_id,
        }
        return pre_authentication_encoding(payload_type("line"), canonical_text(members).encode())
    raise InvalidValue("secp256k1 is reserved: this version cannot verify it, so the signature has failed")
