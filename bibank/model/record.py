"""Records: journal lines that move no money, such as the adoption of a keyring."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

import attrs

from bibank.errors import InvalidType, excerpt
from bibank.model.entry import BatchMark, JournalEntry
from bibank.model.identifier import check_correlation_id, check_identifier
from bibank.model.json_value import BODY_LIMITS, FrozenMap, freeze
from bibank.model.signature import EntrySignature


class RecordKind(Enum):
    """The kinds of record that the format knows. What a body may hold: `bibank.journal.records`."""

    KEYRING_ADOPTED = "keyring_adopted"
    KEYRING_CHANGED = "keyring_changed"
    RECOVERY = "recovery"
    RULES_ADOPTED = "rules_adopted"


def _freeze_body(value: Mapping[str, object]) -> FrozenMap:
    return freeze(value, BODY_LIMITS)


def _check_kind(value: object) -> RecordKind:
    if not isinstance(value, RecordKind):
        raise InvalidType(f"kind is a RecordKind, not {excerpt(value)}")
    return value


def _check_subject(value: object) -> str:
    return check_identifier(value, name="subject")


@attrs.frozen(kw_only=True)
class UnsignedRecord:
    """A record before sealing. `subject` is the identity or account that it is about."""

    kind: RecordKind = attrs.field(converter=_check_kind)
    subject: str = attrs.field(converter=_check_subject)
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


JournalLine = JournalEntry | JournalRecord
"""One line of a journal."""
