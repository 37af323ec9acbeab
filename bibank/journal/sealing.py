"""Sealing: judged drafts become lines, hashed one onto the other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bibank.journal.batches import Draft, SealedBatch
from bibank.journal.codec import MAX_LINE_BYTES
from bibank.journal.encoder import entry_hash, entry_line, mark_json, record_hash, record_line
from bibank.journal.position import Position
from bibank.journal.records import record_cause
from bibank.model.entry import UnsignedEntry
from bibank.model.json_value import encode_string
from bibank.model.links import NO_LINKS
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
        mark = mark_json(sequence, first, size, group, cover)
        seal = seal_entry if isinstance(draft, UnsignedEntry) else _seal_record
        line, digest = seal(draft, body, ledger_id, sequence, digest, timestamp, mark)  # type: ignore[arg-type]  # chosen by the draft's type
        lines.append(line)
        digests.append(digest)
    return SealedBatch(drafts, lines, digests, first, position.hash, group, timestamp, moment, cover)


def seal_entry(
    entry: UnsignedEntry,
    postings: str,
    ledger_id: str,
    sequence: int,
    prev_hash: str,
    timestamp: str,
    mark: str,
) -> tuple[bytes, str]:
    """Give an entry's line and its hash; `postings` and `mark` are JSON fragments."""
    intent, metadata = entry.intent._value_, entry.metadata_json
    trace = encode_string(entry.correlation_id)
    cause = "null"
    if entry.links is not NO_LINKS or entry.related_trade is not None:
        cause = "null" if entry.cause is None else f'"{entry.cause}"'
    digest = entry_hash(
        ledger_id, sequence, prev_hash, timestamp, intent, trace, cause, mark, postings, metadata
    )
    line = entry_line(sequence, prev_hash, digest, timestamp, intent, trace, cause, mark, postings, metadata)
    return _checked(line), digest


def _seal_record(
    record: UnsignedRecord,
    body: str,
    ledger_id: str,
    sequence: int,
    prev_hash: str,
    timestamp: str,
    mark: str,
) -> tuple[bytes, str]:
    cause = record_cause(record.kind, record.body)
    fields = (
        record.kind.value,
        encode_string(record.subject),
        encode_string(record.correlation_id),
        "null" if cause is None else f'"{cause}"',
        mark,
        body,
    )
    digest = record_hash(ledger_id, sequence, prev_hash, timestamp, *fields)
    return _checked(record_line(sequence, prev_hash, digest, timestamp, *fields)), digest


def _checked(line: str) -> bytes:
    data = line.encode()
    assert len(data) <= MAX_LINE_BYTES, "a draft within its limits fits into a line"
    return data
