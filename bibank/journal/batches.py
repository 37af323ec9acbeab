"""Batches on their way: prepared (checked, before the lock) and sealed (hashed, before the disk)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bibank.errors import EntryTooLarge, InvalidType, InvalidValue
from bibank.journal.accounts import Account
from bibank.journal.codec import MAX_BATCH_LINES
from bibank.journal.encoder import entry_payload, record_payload
from bibank.journal.everyday import SIGNATURES, read_signature
from bibank.journal.intents import check_intent, check_written
from bibank.journal.links import check_links
from bibank.journal.plain_forms import is_plain
from bibank.journal.records import check_record, check_stands_alone, record_cause
from bibank.model.entry import BatchMark, JournalEntry, UnsignedEntry, with_key
from bibank.model.json_value import encode_string
from bibank.model.lines import Head
from bibank.model.links import NO_LINKS, IdempotencyMark
from bibank.model.record import JournalLine, JournalRecord, UnsignedRecord, key_of, with_record_key
from bibank.model.signature import EntrySignature
from bibank.model.stamped import StampedEntry, StampedLine, StampedRecord

Draft = UnsignedEntry | UnsignedRecord
"""What a batch is made of."""

EMPTY_ORIGINALS: Mapping[int, JournalEntry] = {}

_POSTINGS, _METADATA, _BODY = '"postings":[', '],"metadata":}', '"body":'
"""Where postings and body stand in a line: no text before them holds a quote that is not escaped."""


class PreparedBatch:
    """Drafts that were checked against the intent and record tables: all that needs no lock.

    Raises `InvalidType`, `IntentViolation`, `EntryTooLarge` when there are too many.
    """

    drafts: tuple[Draft, ...]
    key: IdempotencyMark | None = None
    """The key of the request, which stands on the first entry."""
    originals: Mapping[int, JournalEntry] = EMPTY_ORIGINALS
    """The entries that are reversed here, by sequence."""

    def __init__(
        self,
        drafts: Iterable[Draft],
        *,
        key: IdempotencyMark | None = None,
        originals: Mapping[int, JournalEntry] = EMPTY_ORIGINALS,
    ) -> None:
        self.drafts = tuple(drafts)
        if not 1 <= len(self.drafts) <= MAX_BATCH_LINES:
            raise EntryTooLarge(f"a batch holds 1 to {MAX_BATCH_LINES} lines, not {len(self.drafts)}")
        for draft in self.drafts:
            _check_draft(draft)
        check_stands_alone(self.drafts)
        if originals:
            self.originals = originals
        if key is not None:
            self.key = key
            self.drafts = _keyed(self.drafts, key)

    @classmethod
    def single(cls, draft: UnsignedEntry) -> PreparedBatch:
        """Prepare a batch of one entry."""
        _check_draft(draft)
        self = cls.__new__(cls)
        self.drafts = (draft,)
        return self


def _keyed(drafts: Sequence[Draft], key: IdempotencyMark) -> tuple[Draft, ...]:
    """Put a key on the first entry of a batch, or on its first record where it has none."""
    entries = [index for index, draft in enumerate(drafts) if isinstance(draft, UnsignedEntry)]
    first = entries[0] if entries else 0
    bearer = drafts[first]
    borne = with_key(bearer, key) if isinstance(bearer, UnsignedEntry) else with_record_key(bearer, key)
    _check_key_of(borne)
    return (*drafts[:first], borne, *drafts[first + 1 :])


def _check_key_of(draft: Draft) -> None:
    if isinstance(draft, UnsignedRecord):
        check_record(draft.kind, draft.body)


def _check_draft(draft: Draft) -> None:
    if type(draft) is UnsignedEntry:
        if draft.related_trade is not None:
            raise InvalidValue("the ledger ties a fee to the trade before it; leave that to it")
        if draft.links is not NO_LINKS:
            if draft.links.idempotency is not None:
                raise InvalidValue("a key belongs to a whole request; give it as idempotency_key")
            check_links(draft.intent, draft.postings, draft.links)
        elif is_plain(draft):
            return
        check_intent(draft.intent, draft.postings, draft.whole_metadata)
        check_written(draft.intent, draft.postings)
    elif type(draft) is UnsignedRecord:
        check_record(draft.kind, draft.body)
        if key_of(draft.body) is not None:
            raise InvalidValue("a key belongs to a whole request; give it as idempotency_key")
    else:
        raise InvalidType(f"a batch is made of UnsignedEntry drafts, not {type(draft).__name__}")


class SealedBatch:
    """The lines of one batch as they are to be written, and the values behind them."""

    __slots__ = (
        "cover",
        "digests",
        "drafts",
        "first",
        "group",
        "lines",
        "made",
        "moment",
        "prev_hash",
        "timestamp",
    )

    def __init__(
        self,
        drafts: tuple[Draft, ...],
        lines: list[bytes],
        digests: Sequence[str],
        first: int,
        prev_hash: str,
        group: int,
        timestamp: str,
        moment: datetime,
        cover: str | None,
    ) -> None:
        self.drafts = drafts
        self.lines = lines
        self.digests = digests
        self.first = first
        self.prev_hash = prev_hash
        self.group = group
        self.timestamp = timestamp
        self.moment = moment
        self.cover = cover
        self.made: Sequence[Account] = ()
        """The accounts that the batch made."""

    @property
    def head(self) -> Head:
        """The journal's head after this batch."""
        return Head(self.first + len(self.lines) - 1, self.digests[-1])

    def payload(self, index: int) -> bytes:
        """Spell what an `ed25519` signature of a line covers, signed at the line's own time.

        Postings or body are cut from the unsigned line, which holds them as they have to be spelled.
        """
        draft, digest, timestamp = self.drafts[index], self.digests[index], self.timestamp
        sequence, prev_hash = self.first + index, self.digests[index - 1] if index else self.prev_hash
        line = self.lines[index].decode()
        if isinstance(draft, UnsignedEntry):
            metadata = draft.metadata_json
            postings = line[line.index(_POSTINGS) + len(_POSTINGS) : -len(metadata) - len(_METADATA)]
            return entry_payload(
                sequence, prev_hash, digest, timestamp, draft.intent._value_, postings, metadata, timestamp
            )
        kind, subject = draft.kind.value, encode_string(draft.subject)
        body = line[line.index(_BODY) + len(_BODY) : -1]
        return record_payload(sequence, prev_hash, digest, timestamp, kind, subject, body, timestamp)

    def attach(self, index: int, text: str) -> None:
        """Put a signature on a line, given as its JSON."""
        self.lines[index] = b'%b,"signatures":[%b]}' % (self.lines[index][:-1], text.encode())

    def view(self, index: int) -> JournalLine:
        """Give one line as people read it: equal to what decoding its bytes gives."""
        draft = self.drafts[index]
        common: dict[str, Any] = {
            "sequence": self.first + index,
            "prev_hash": self.digests[index - 1] if index else self.prev_hash,
            "hash": self.digests[index],
            "timestamp": self.moment,
            "correlation_id": draft.correlation_id,
            "causality_id": _cause_text(draft),
            "batch": BatchMark(first=self.first, size=len(self.lines), group=self.group, cover=self.cover),
            "signatures": self.signatures(index),
        }
        if isinstance(draft, UnsignedEntry):
            return JournalEntry(
                **common, intent=draft.intent, postings=draft.postings, metadata=draft.whole_metadata
            )
        return JournalRecord(**common, kind=draft.kind, subject=draft.subject, body=draft.body)

    def views(self) -> tuple[JournalLine, ...]:
        """Give all lines as people read them."""
        return tuple(map(self.view, range(len(self.lines))))

    def signatures(self, index: int) -> tuple[EntrySignature, ...]:
        """Give the signatures that were put on a line."""
        line = self.lines[index].decode()
        if not line.endswith("]}"):  # an object ends an unsigned line, a list a signed one
            return ()
        text = line[line.rindex(SIGNATURES) + len(SIGNATURES) : -2]
        signature = read_signature(text, timestamp=self.timestamp, moment=self.moment)
        assert signature is not None, "a line is signed here with one signature"
        return (signature,)


def _cause_text(draft: Draft) -> str | None:
    cause = draft.cause if isinstance(draft, UnsignedEntry) else record_cause(draft.kind, draft.body)
    return None if cause is None else str(cause)


def stamp_draft(draft: Draft, sequence: int, moment: datetime) -> StampedLine:
    """Show a proposed line the way rules see it."""
    if isinstance(draft, UnsignedEntry):
        return StampedEntry(
            sequence=sequence,
            timestamp=moment,
            intent=draft.intent,
            correlation_id=draft.correlation_id,
            causality_id=_cause_text(draft),
            postings=draft.postings,
            metadata=draft.whole_metadata,
        )
    return StampedRecord(
        sequence=sequence,
        timestamp=moment,
        kind=draft.kind,
        subject=draft.subject,
        correlation_id=draft.correlation_id,
        causality_id=_cause_text(draft),
        body=draft.body,
    )
