"""Batches on their way: prepared (checked, before the lock) and sealed (hashed, before the disk)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from bibank.errors import EntryTooLarge, InvalidType
from bibank.journal.codec import MAX_BATCH_LINES
from bibank.journal.intents import TWO_POSTING_CATEGORIES, check_intent, check_written
from bibank.journal.records import check_record
from bibank.model.account import Side
from bibank.model.entry import BatchMark, JournalEntry, UnsignedEntry
from bibank.model.json_value import FrozenMap
from bibank.model.lines import Head
from bibank.model.record import JournalLine, JournalRecord, UnsignedRecord
from bibank.model.stamped import StampedEntry, StampedLine, StampedRecord

Draft = UnsignedEntry | UnsignedRecord
"""What a batch is made of."""

_DEBIT = Side.DEBIT


class PreparedBatch:
    """Drafts that were checked against the intent and record tables: all that needs no lock.

    Raises `InvalidType`, `IntentViolation`, `EntryTooLarge` when there are too many.
    """

    __slots__ = ("drafts",)

    def __init__(self, drafts: Iterable[Draft]) -> None:
        self.drafts = tuple(drafts)
        if not 1 <= len(self.drafts) <= MAX_BATCH_LINES:
            raise EntryTooLarge(f"a batch holds 1 to {MAX_BATCH_LINES} lines, not {len(self.drafts)}")
        for draft in self.drafts:
            _check_draft(draft)

    @classmethod
    def single(cls, draft: UnsignedEntry) -> PreparedBatch:
        """Prepare a batch of one entry."""
        _check_draft(draft)
        self = cls.__new__(cls)
        self.drafts = (draft,)
        return self


def _check_draft(draft: Draft) -> None:
    if type(draft) is UnsignedEntry:
        postings = draft.postings
        if len(postings) == 2:
            categories = TWO_POSTING_CATEGORIES.get(draft.intent)
            if categories is not None:
                first, second = postings
                debit, credit = (first, second) if first.side is _DEBIT else (second, first)
                if (
                    debit.account.category is categories[0]
                    and credit.account.category is categories[1]
                    and debit.account.text != credit.account.text
                ):
                    return
        check_intent(draft.intent, postings, draft.metadata)
        check_written(draft.intent, postings)
    elif type(draft) is UnsignedRecord:
        check_record(draft.kind, draft.body)
    else:
        raise InvalidType(f"a batch is made of UnsignedEntry drafts, not {type(draft).__name__}")


class SealedBatch:
    """The lines of one batch as they are to be written, and the values behind them."""

    __slots__ = ("digests", "drafts", "first", "group", "lines", "moment", "prev_hash")

    def __init__(
        self,
        drafts: tuple[Draft, ...],
        lines: tuple[bytes, ...],
        digests: tuple[str, ...],
        first: int,
        prev_hash: str,
        group: int,
        moment: datetime,
    ) -> None:
        self.drafts = drafts
        self.lines = lines
        self.digests = digests
        self.first = first
        self.prev_hash = prev_hash
        self.group = group
        self.moment = moment

    @property
    def head(self) -> Head:
        """The journal's head after this batch."""
        return Head(self.first + len(self.lines) - 1, self.digests[-1])

    def view(self, index: int) -> JournalLine:
        """Give one line as people read it: equal to what decoding its bytes gives."""
        draft = self.drafts[index]
        common: dict[str, Any] = {
            "sequence": self.first + index,
            "prev_hash": self.digests[index - 1] if index else self.prev_hash,
            "hash": self.digests[index],
            "timestamp": self.moment,
            "correlation_id": draft.correlation_id,
            "causality_id": None,
            "batch": BatchMark(first=self.first, size=len(self.lines), group=self.group),
        }
        if isinstance(draft, UnsignedEntry):
            return JournalEntry(
                **common, intent=draft.intent, postings=draft.postings, metadata=full_metadata(draft)
            )
        return JournalRecord(**common, kind=draft.kind, subject=draft.subject, body=draft.body)


def full_metadata(draft: UnsignedEntry) -> FrozenMap:
    """Give the metadata as it stands in the line: the free part and what typed fields add."""
    if draft.genesis is None:
        return draft.metadata
    return FrozenMap({**draft.metadata, **draft.genesis.to_metadata()})


def stamp_draft(draft: Draft, sequence: int, moment: datetime) -> StampedLine:
    """Show a proposed line the way rules see it."""
    if isinstance(draft, UnsignedEntry):
        return StampedEntry(
            sequence=sequence,
            timestamp=moment,
            intent=draft.intent,
            correlation_id=draft.correlation_id,
            causality_id=None,
            postings=draft.postings,
            metadata=full_metadata(draft),
        )
    return StampedRecord(
        sequence=sequence,
        timestamp=moment,
        kind=draft.kind,
        subject=draft.subject,
        correlation_id=draft.correlation_id,
        causality_id=None,
        body=draft.body,
    )
