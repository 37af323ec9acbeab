"""A writer and its readers side by side, and an independent idea of what a reader may show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import bibank as bb
from bibank.store.jsonl.files import OsFiles
from bibank.store.jsonl.head import HEAD_NAME, HeadMark, encode_slot, newest, read_slots


class Line(NamedTuple):
    """One whole line of a journal, as its JSON says: where it ends, and what it belongs to."""

    sequence: int
    hash: str
    file: str
    end: int
    first: int
    size: int
    group: int
    covered: bool
    """Whether its write group needs no more signatures behind it."""

    @property
    def ends_batch(self) -> bool:
        """Whether the batch is whole with this line."""
        return self.sequence == self.first + self.size - 1

    @property
    def mark(self) -> HeadMark:
        """HEAD, naming this line."""
        return HeadMark(sequence=self.sequence, hash=self.hash, file=self.file, end=self.end)


def lines_of(files: dict[str, bytes]) -> list[Line]:
    """Every line of day files up to the first that lacks its newline or holds a NUL."""
    return list(_lines_of(files))


def _lines_of(files: dict[str, bytes]) -> Iterator[Line]:
    for name, content in sorted(files.items()):
        end = 0
        for text in content.splitlines(keepends=True):
            if text[-1:] != b"\n" or b"\0" in text:
                break
            end += len(text)
            members = json.loads(text)
            sequence, batch = members["sequence"], members.get("batch", {})
            yield Line(
                sequence=sequence,
                hash=members["hash"],
                file=name,
                end=end,
                first=batch.get("first", sequence),
                size=batch.get("size", 1),
                group=batch.get("group", sequence),
                covered="cover" not in batch or "signatures" in members,
            )


def whole(lines: list[Line]) -> int:
    """The sequence of the last line that ends a batch and is covered."""
    return max((line.sequence for line in lines if line.ends_batch and line.covered), default=0)


def durable(lines: list[Line], mark: HeadMark) -> int:
    """The last line that HEAD covers, or that a later write group follows."""
    return max([mark.sequence, *(line.group - 1 for line in lines)])


def ends_of_groups(lines: list[Line]) -> list[Line]:
    """The last line of each write group: what HEAD may name."""
    later = {line.group for line in lines}
    return [line for line in lines if line.sequence + 1 in later or line is lines[-1]]


def mark_of(path: Path) -> HeadMark:
    """What HEAD names in a home."""
    mark = newest(read_slots(OsFiles(path / "journal")) or [])
    assert mark is not None
    return mark


def put_mark(path: Path, mark: HeadMark) -> None:
    """Let HEAD name a line, in both slots."""
    (path / "journal" / HEAD_NAME).write_bytes(encode_slot(mark) * 2)


def answers(books: bb.Ledger | bb.LedgerReader) -> dict[str, object]:
    """Everything that can be asked, by what was asked."""
    accounts = list(books.accounts())
    owners = sorted({row.account.id for row in accounts if str(row.account).startswith("LIAB:USER:")})
    return {
        "head": books.head,
        "ledger_id": books.ledger_id,
        "entries": list(books.entries()),
        "later entries": list(books.entries(after_sequence=3, limit=2)),
        "each entry": [books.entry(entry.sequence) for entry in books.entries()],
        "accounts": accounts,
        "some accounts": list(books.accounts("LIAB:")),
        "each account": [books.balance(row.account) for row in accounts],
        "balances": [list(books.balances(owner)) for owner in owners],
        "balance": [books.balance(owner, "USDT") for owner in owners],
        "audit": books.audit(level="signatures"),
    }
