"""Sealing: judged drafts become lines, hashed one onto the other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bibank.journal.batches import Draft, SealedBatch
from bibank.journal.codec import MAX_LINE_BYTES
from bibank.journal.encoder import entry_hash, entry_line, mark_json, record_hash, record_line
from bibank.journal.position import Position
from bibank.model.entry import BatchMark, UnsignedEntry
from bibank.model.json_value import encode_string
from bibank.model.record import UnsignedRecord


def seal_batch(
    drafts: tuple[Draft, ...],
    bodies: Sequence[str],
    *,
    position: Position,
    ledger_id: str,
    cover: str | None,
    timestamp: str,
    moment: datetime,
) -> SealedBatch:
    """Hash and spell every line of a batch that stands next.

    `bodies` are the postings or bodies as JSON, `timestamp` is `moment` spelled; the position stays.
    """
    size = len(drafts)
    first = position.sequence + 1
    group = position.next_group(size, timestamp[:10])
    digest = position.hash
    lines: list[bytes] = []
    digests: list[str] = []
    for sequence, (draft, body) in enumerate(zip(drafts, bodies, strict=True), first):
        mark = mark_json(sequence, BatchMark(first=first, size=size, group=group, cover=cover))
        if isinstance(draft, UnsignedEntry):
            line, digest = seal_entry(
                draft, body, ledger_id, sequence=sequence, prev_hash=digest, timestamp=timestamp, mark=mark
            )
        else:
            line, digest = _seal_record(
                draft, body, ledger_id, sequence=sequence, prev_hash=digest, timestamp=timestamp, mark=mark
            )
        lines.append(line)
        digests.append(digest)
    return SealedBatch(drafts, lines, digests, first, position.hash, group, timestamp, moment, cover)


def seal_entry(
    entry: UnsignedEntry,
    postings: str,
    ledger_id: str,
    *,
    sequence: int,
    prev_hash: str,
    timestamp: str,
    mark: str,
) -> tuple[bytes, str]:
    """Give an entry's line and its hash; `postings` and `mark` are JSON fragments."""
    cause = entry.cause
    fields = (
        encode_string(entry.correlation_id),
        "null" if cause is None else f'"{cause}"',
        mark,
        postings,
        entry.metadata_json,
    )
    intent = entry.intent._value_
    digest = entry_hash(ledger_id, sequence, prev_hash, timestamp, intent, *fields)
    return _checked(entry_line(sequence, prev_hash, digest, timestamp, intent, *fields)), digest


def _seal_record(
    record: UnsignedRecord,
    body: str,
    ledger_id: str,
    *,
    sequence: int,
    prev_hash: str,
    timestamp: str,
    mark: str,
) -> tuple[bytes, str]:
    fields = (
        record.kind.value,
        encode_string(record.subject),
        encode_string(record.correlation_id),
        "null",
        mark,
        body,
    )
    digest = record_hash(ledger_id, sequence, prev_hash, timestamp, *fields)
    return _checked(record_line(sequence, prev_hash, digest, timestamp, *fields)), digest


def _checked(line: str) -> bytes:
    data = line.encode()
    assert len(data) <= MAX_LINE_BYTES, "a draft within its limits fits into a line"
    return data
