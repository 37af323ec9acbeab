"""The record table: what each kind of record may hold, who signs inside it, and what it does.

The effects themselves are in `bibank.journal.effects`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial

import attrs

from bibank.errors import InvalidValue, excerpt
from bibank.journal.account_records import read_decision
from bibank.journal.attestations import check_attestation, read_cited
from bibank.journal.overrides import read_override
from bibank.journal.proposals import read_proposal
from bibank.model.json_members import exact_members
from bibank.model.json_value import FrozenMap, JsonValue
from bibank.model.keyring import Keyring
from bibank.model.links import check_digest
from bibank.model.record import JournalRecord, RecordKind, UnsignedRecord, key_of, without_key

MAX_SET_ASIDE = 256
"""Files that one recovery record names: who crashes more often between two commits reads the log."""

_SET_ASIDE_NAME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.jsonl\.torn-[1-9][0-9]{0,18}(?:-[1-9][0-9]{0,8})?", re.ASCII
)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)

Body = Mapping[str, JsonValue]


def _check_keyring_adopted(body: Body) -> None:
    members = dict(body)
    if not isinstance(members.pop("ledger", None), str):
        raise InvalidValue("body.ledger is missing")
    Keyring.from_body(members)


def _check_envelope(body: Body) -> None:
    if set(body) != {"payload", "payloadType", "signatures"}:
        raise InvalidValue("the body is no DSSE envelope")


def _check_recovery(body: Body) -> None:
    if set(body) != {"set_aside"}:
        raise InvalidValue("a recovery has exactly set_aside")
    files = body["set_aside"]
    if not isinstance(files, Sequence) or isinstance(files, str) or not 1 <= len(files) <= MAX_SET_ASIDE:
        raise InvalidValue(f"set_aside lists 1 to {MAX_SET_ASIDE} files of torn bytes")
    names = []
    for file in files:
        if not isinstance(file, Mapping) or set(file) != {"bytes", "file", "sha256"}:
            raise InvalidValue("a file of torn bytes has exactly bytes, file, sha256")
        size, name, digest = file["bytes"], file["file"], file["sha256"]
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise InvalidValue(f"bytes is a number of bytes, not {excerpt(size)}")
        if not isinstance(name, str) or not _SET_ASIDE_NAME.fullmatch(name):
            raise InvalidValue(f"{excerpt(name)} is not the name of a file of torn bytes")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise InvalidValue(f"sha256 is 64 lower-case hex digits, not {excerpt(digest)}")
        names.append(name)
    if len(set(names)) != len(names):
        raise InvalidValue("a file of torn bytes is listed once")


def _check_payload(check: Callable[[JsonValue], object]) -> Callable[[Body], None]:
    """Hold a body to the shape of an envelope, and its payload to a schema of its own."""

    def check_body(body: Body) -> None:
        key_of(body)
        signed = without_key(body)
        _check_envelope(signed)
        payload = signed["payload"]
        check(payload)
        if not isinstance(payload, FrozenMap) or not isinstance(payload["ledger"], str):
            raise InvalidValue("ledger is the text of a ledger id")

    return check_body


def _check_approval(payload: JsonValue) -> None:
    members = exact_members(payload, {"ledger", "proposal", "sequence"}, "payload of an approval")
    check_digest(members["proposal"])
    read_cited(FrozenMap(members))


class Inner(Enum):
    """Who signs the envelope inside a record."""

    NOBODY = "nobody: there is no envelope"
    KEYRING = "as many as the policy for `keyring` asks for, and every added key"
    RULES = "as many as the policy for `rules` asks for"
    PROPOSER = "one key: the system's, or one with the role of the policy for `adjustment`"
    APPROVER = "one key with the role of the policy for `adjustment`, of another person than the proposer"
    ANYBODY = "one key of the keyring"


class Subject(Enum):
    """What identity or account a record is about."""

    LEDGER = "the ledger"
    ACCOUNT = "the account"
    SIGNER = "who signed it"


@attrs.frozen(kw_only=True)
class RecordRule:
    """One row of the record table: what the body holds, who signs it, what it is about, what it does."""

    check: Callable[[Body], None]
    inner: Inner
    subject: Subject
    effect: str
    cites_line: bool = False
    """Whether the payload names the line that the record follows from."""


def _decided(kind: RecordKind, effect: str) -> RecordRule:
    return RecordRule(
        check=_check_payload(partial(read_decision, kind)),
        inner=Inner.RULES,
        subject=Subject.ACCOUNT,
        effect=effect,
    )


RECORD_TABLE: Mapping[RecordKind, RecordRule] = {
    RecordKind.KEYRING_ADOPTED: RecordRule(
        check=_check_keyring_adopted,
        inner=Inner.NOBODY,
        subject=Subject.LEDGER,
        effect="the first keyring is in force; in the genesis batch only",
    ),
    RecordKind.KEYRING_CHANGED: RecordRule(
        check=_check_envelope,
        inner=Inner.KEYRING,
        subject=Subject.LEDGER,
        effect="the next version of the keyring is in force",
    ),
    RecordKind.RULES_ADOPTED: RecordRule(
        check=_check_envelope,
        inner=Inner.RULES,
        subject=Subject.LEDGER,
        effect="the set of rules takes the place of the one before",
    ),
    RecordKind.ACCOUNT_FROZEN: _decided(
        RecordKind.ACCOUNT_FROZEN, "nothing leaves the account; money may still arrive"
    ),
    RecordKind.ACCOUNT_REOPENED: _decided(RecordKind.ACCOUNT_REOPENED, "money moves freely again"),
    RecordKind.ACCOUNT_CLOSED: _decided(RecordKind.ACCOUNT_CLOSED, "nothing moves on the account, in or out"),
    RecordKind.LIMIT_SET: _decided(
        RecordKind.LIMIT_SET, "the account may fall to the floor, which is 0 or below: an overdraft"
    ),
    RecordKind.PROPOSAL: RecordRule(
        check=_check_payload(read_proposal),
        inner=Inner.PROPOSER,
        subject=Subject.SIGNER,
        effect="the entry in it waits for approvals",
    ),
    RecordKind.APPROVAL: RecordRule(
        check=_check_payload(_check_approval),
        inner=Inner.APPROVER,
        subject=Subject.SIGNER,
        effect="counts for the proposal; the entry follows the one that makes enough",
        cites_line=True,
    ),
    RecordKind.ATTESTATION: RecordRule(
        check=_check_payload(check_attestation),
        inner=Inner.ANYBODY,
        subject=Subject.SIGNER,
        effect="one more signature for a line that stands",
        cites_line=True,
    ),
    RecordKind.OVERRIDE: RecordRule(
        check=_check_payload(read_override),
        inner=Inner.RULES,
        subject=Subject.LEDGER,
        effect="one entry, known by its content, may pass one rule once",
    ),
    RecordKind.RECOVERY: RecordRule(
        check=_check_recovery,
        inner=Inner.NOBODY,
        subject=Subject.LEDGER,
        effect="says which torn bytes were set aside",
    ),
}
"""What every kind of record holds, asks for and does. Part of the format, like the intent table."""


def check_record(kind: RecordKind, body: Body) -> None:
    """Hold a record's body to the schema of its kind; `InvalidValue` says what is wrong."""
    RECORD_TABLE[kind].check(body)


def check_stands_alone(lines: Sequence[object]) -> None:
    """Demand that an override is a batch of its own: what it lets pass comes after it, in every reading."""
    if len(lines) > 1 and any(getattr(line, "kind", None) is RecordKind.OVERRIDE for line in lines):
        raise InvalidValue("an override is a batch of its own")


def record_cause(kind: RecordKind, body: Body) -> int | None:
    """Give the sequence of the line that a record follows from, its `causality_id`."""
    if not RECORD_TABLE[kind].cites_line:
        return None
    payload = body["payload"]
    assert isinstance(payload, FrozenMap), "the record table holds it to that"
    return read_cited(payload)


def check_record_cause(record: JournalRecord) -> None:
    """Demand that a record names as its cause exactly the line that its body cites."""
    cause = record_cause(record.kind, record.body)
    if record.causality_id != (None if cause is None else str(cause)):
        raise InvalidValue(f"causality_id is not the line that the record follows from ({cause})")


def recovery_record(files: Sequence[Mapping[str, JsonValue]], *, ledger_id: str) -> UnsignedRecord:
    """Draft what a journal says of torn bytes that were set aside; the newest files when they are many."""
    return UnsignedRecord(
        kind=RecordKind.RECOVERY,
        subject=ledger_id,
        correlation_id="recovery",
        body={"set_aside": list(files[-MAX_SET_ASIDE:])},
    )
