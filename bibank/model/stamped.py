"""Stamped lines: what a risk rule sees of a line, before or after it was sealed.

Hashes and signatures are no business of a rule; the stamp (sequence and time) is.
"""

from __future__ import annotations

from datetime import datetime

import attrs

from bibank.model.entry import Posting, TransactionIntent
from bibank.model.json_value import FrozenMap
from bibank.model.record import RecordKind


@attrs.frozen(kw_only=True)
class StampedEntry:
    """An entry with its place and time in the journal."""

    sequence: int
    timestamp: datetime
    intent: TransactionIntent
    correlation_id: str
    causality_id: str | None
    postings: tuple[Posting, ...]
    metadata: FrozenMap


@attrs.frozen(kw_only=True)
class StampedRecord:
    """A record with its place and time in the journal."""

    sequence: int
    timestamp: datetime
    kind: RecordKind
    subject: str
    correlation_id: str
    causality_id: str | None
    body: FrozenMap


StampedLine = StampedEntry | StampedRecord
