"""Records: journal lines that move no money, such as the adoption of a keyring."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

import attrs

from bibank.errors import InvalidType, excerpt
from bibank.model.account import AccountKey
from bibank.model.entry import BatchMark, JournalEntry
from bibank.model.identifier import MAX_ID_LENGTH, check_correlation_id, check_identifier
from bibank.model.json_value import BODY_LIMITS, FrozenMap, JsonValue, freeze
from bibank.model.links import DIGEST_NAME, KEY_NAME, IdempotencyMark
from bibank.model.signature import EntrySignature


class RecordKind(Enum):
    """The kinds of record that the format knows. What a body may hold: `bibank.journal.records`."""

    ACCOUNT_CLOSED = "account_closed"
    ACCOUNT_FROZEN = "account_frozen"
    ACCOUNT_REOPENED = "account_reopened"
    APPROVAL = "approval"
    ATTESTATION = "attestation"
    KEYRING_ADOPTED = "keyring_adopted"
    KEYRING_CHANGED = "keyring_changed"
    LIMIT_SET = "limit_set"
    OVERRIDE = "override"
    PROPOSAL = "proposal"
    RECOVERY = "recovery"
    RULES_ADOPTED = "rules_adopted"


def _freeze_body(value: Mapping[str, object]) -> FrozenMap:
    return freeze(value, BODY_LIMITS)


def _check_kind(value: object) -> RecordKind:
    if not isinstance(value, RecordKind):
        raise InvalidType(f"kind is a RecordKind, not {excerpt(value)}")
    return value


def check_subject(value: object) -> str:
    """Return a subject unchanged: an identifier, or an account key, which may be longer than one."""
    if isinstance(value, str) and len(value) > MAX_ID_LENGTH and ":" in value:
        return AccountKey(value).text
    return check_identifier(value, name="subject")


@attrs.frozen(kw_only=True)
class UnsignedRecord:
    """A record before sealing. `subject` is the identity or account that it is about."""

    kind: RecordKind = attrs.field(converter=_check_kind)
    subject: str = attrs.field(converter=check_subject)
    correlation_id: str = attrs.field(converter=check_correlation_id)
    body: FrozenMap = attrs.field(converter=_freeze_body)


@attrs.frozen(kw_only=True)
class JournalRecord:
    """A record as it stands in the journal."""

    sequence: int
    prev_hash: str
    hash: str
    timestamp: datetime
    kind: RecordKind
    subject: str
    correlation_id: str
    causality_id: str | None
    batch: BatchMark
    body: FrozenMap
    signatures: tuple[EntrySignature, ...] = ()


def without_key(body: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Give a body without the idempotency key of its request, which nobody signs."""
    if KEY_NAME not in body and DIGEST_NAME not in body:
        return body
    return FrozenMap({name: value for name, value in body.items() if name not in (KEY_NAME, DIGEST_NAME)})


def key_of(body: Mapping[str, JsonValue]) -> IdempotencyMark | None:
    """Read the idempotency key of a body; `InvalidValue` kinds for half of one."""
    if KEY_NAME not in body and DIGEST_NAME not in body:
        return None
    return IdempotencyMark(key=body.get(KEY_NAME), digest=body.get(DIGEST_NAME))


def with_record_key(record: UnsignedRecord, mark: IdempotencyMark) -> UnsignedRecord:
    """Give the same record as the bearer of a request's key."""
    return attrs.evolve(record, body={**record.body, KEY_NAME: mark.key, DIGEST_NAME: mark.digest})


JournalLine = JournalEntry | JournalRecord
"""One line of a journal."""
