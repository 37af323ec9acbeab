"""The head of a snapshot: which ledger, which line, which state; and whose word it is.

A DSSE envelope of kind `snapshot`, signed by the ledger's own key as the keyring's policy for snapshots asks,
and also where it asks for nothing: what nobody signed is nobody's word.
Its position is its sequence: a key that may sign there is one that the keyring held in force at that line.
"""

from __future__ import annotations

import re

import attrs

from bibank.errors import ConfigurationError, InvalidValue, excerpt
from bibank.model.genesis import FORMAT
from bibank.model.json_members import exact_items, exact_members
from bibank.model.json_value import FrozenMap, JsonValue
from bibank.model.keyring import KeyringKey
from bibank.model.lines import Head
from bibank.model.policy import Purpose
from bibank.model.signature import SignatureAlgorithm
from bibank.model.timestamp import parse_timestamp
from bibank.risk.engine import JudgingRule
from bibank.signing.dsse import Envelope
from bibank.signing.trust import KeyringTrust
from bibank.signing.verify import verify_ed25519

SNAPSHOT_KIND = "snapshot"
SNAPSHOT_FORMAT = "bibank-snapshot/1"

_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAX_NUMBER = 2**63 - 1


@attrs.frozen(kw_only=True)
class SnapshotHead:
    """What a snapshot says of itself, before its state is read."""

    ledger_id: str
    sequence: int
    hash: str
    """Of the last line that the state has seen."""
    timestamp: str
    file: str
    """Where that line stands: its day file, the offset behind its newline, which line of the file it is."""
    end: int
    line: int
    state: str
    """SHA-256 of the bytes of the state."""
    keyring: str
    """The fingerprint of the keyring in force for the next line."""
    changes: tuple[int, ...]
    """The sequences of all `keyring_changed` records up to that line."""
    rules: tuple[JudgingRule, ...]

    @property
    def head(self) -> Head:
        """The line's sequence and hash."""
        return Head(self.sequence, self.hash)

    def to_payload(self) -> FrozenMap:
        """Give the JSON members."""
        return FrozenMap(
            {
                "changes": self.changes,
                "end": self.end,
                "file": self.file,
                "format": SNAPSHOT_FORMAT,
                "hash": self.hash,
                "journal": FORMAT,
                "keyring": self.keyring,
                "ledger": self.ledger_id,
                "line": self.line,
                "rules": tuple(
                    FrozenMap({"hash": rule.hash, "name": rule.name, "remembers": rule.remembers})
                    for rule in self.rules
                ),
                "sequence": self.sequence,
                "state": self.state,
                "timestamp": self.timestamp,
            }
        )

    @classmethod
    def from_payload(cls, payload: FrozenMap) -> SnapshotHead:
        """Read what :meth:`to_payload` gives; `InvalidValue` for anything else."""
        for name, known in (("format", SNAPSHOT_FORMAT), ("journal", FORMAT)):
            if payload.get(name) != known:
                raise InvalidValue(f"it is in {name} {excerpt(payload.get(name))}, not {known}")
        members = exact_members(payload, _MEMBERS, "snapshot")
        head = cls(
            ledger_id=_text(members["ledger"]),
            sequence=_number(members["sequence"]),
            hash=_digest(members["hash"]),
            timestamp=_text(members["timestamp"]),
            file=_text(members["file"]),
            end=_number(members["end"]),
            line=_number(members["line"]),
            state=_digest(members["state"]),
            keyring=_digest(members["keyring"]),
            changes=tuple(map(_number, exact_items(members["changes"]))),
            rules=tuple(map(_read_rule, exact_items(members["rules"]))),
        )
        parse_timestamp(head.timestamp)
        if list(head.changes) != sorted(set(head.changes)) or max(head.changes, default=0) > head.sequence:
            raise InvalidValue("the sequences of the keyring's changes are not in order")
        return head


_MEMBERS = {
    "changes",
    "end",
    "file",
    "format",
    "hash",
    "journal",
    "keyring",
    "ledger",
    "line",
    "rules",
    "sequence",
    "state",
    "timestamp",
}


def _signers_asked(trust: KeyringTrust, sequence: int) -> int:
    """Tell how many persons have to sign a snapshot of this sequence: one where the keyring asks for none."""
    policy = trust.current.keyring.policies[Purpose.SNAPSHOT]
    return max(1, policy.threshold if sequence >= policy.mandatory_from else 0)


def check_vouched(envelope: Envelope, trust: KeyringTrust, *, sequence: int) -> tuple[KeyringKey, ...]:
    """Demand the signatures that the keyring in force at a sequence asks for, and at least one.

    Gives the keys that made them. Every signature that is there has to hold. Raises `InvalidValue` with the
    reason.
    """
    keyring = trust.current.keyring
    known = {key.key_id: key for key in keyring.keys}
    role = keyring.deciding_role(Purpose.SNAPSHOT)
    keys = []
    for key_id, signature in envelope.signatures:
        key = known.get(key_id)
        if key is None or not key.covers(sequence) or role not in key.roles:
            raise InvalidValue(
                f"it is signed by key {excerpt(key_id)}, which may not sign it at line {sequence}"
            )
        if key.algorithm is SignatureAlgorithm.SECP256K1 or not verify_ed25519(
            bytes.fromhex(key.public_key), envelope.message, signature
        ):
            raise InvalidValue(f"the signature of {key.signer_id} is not over this snapshot")
        keys.append(key)
    asked = _signers_asked(trust, sequence)
    persons = len({key.signer_id for key in keys})
    if persons < asked:
        raise InvalidValue(f"it is signed by {persons} persons, and {asked} have to sign it")
    return tuple(keys)


def check_may_sign(trust: KeyringTrust, public_key: str | None, *, sequence: int) -> None:
    """Demand that a key alone may sign a snapshot of this sequence; `ConfigurationError` says why not."""
    keyring = trust.current.keyring
    if not keyring.keys:
        raise ConfigurationError(
            "the ledger is unsigned, and a snapshot counts by who signed it: "
            "give the ledger its first key with ledger.keyring.add(signer)"
        )
    role = keyring.deciding_role(Purpose.SNAPSHOT)
    asked = _signers_asked(trust, sequence)
    if asked > 1 or all(key.public_key != public_key for key in keyring.active(role)):
        raise ConfigurationError(
            f"the keyring asks for {asked} signatures with the role {role.value} on a snapshot, "
            "which the ledger's own key cannot give"
        )


def _read_rule(value: JsonValue) -> JudgingRule:
    members = exact_members(value, {"hash", "name", "remembers"}, "rule of a snapshot")
    remembers = members["remembers"]
    if not isinstance(remembers, bool):
        raise InvalidValue("a rule remembers, or does not")
    return JudgingRule(name=_text(members["name"]), hash=_digest(members["hash"]), remembers=remembers)


def _text(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise InvalidValue(f"{excerpt(value)} is no text")
    return value


def _digest(value: JsonValue) -> str:
    text = _text(value)
    if _HASH.fullmatch(text) is None:
        raise InvalidValue(f"{excerpt(text)} is no SHA-256")
    return text


def _number(value: JsonValue) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MAX_NUMBER:
        raise InvalidValue(f"{excerpt(value)} is no number of a line, or of bytes")
    return value
