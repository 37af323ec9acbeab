"""Journals for the tests of the store: small, the same bytes at each run, with every kind of line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import bibank as bb
from bibank import drafts
from bibank.signing import Ed25519Signer, make_key_file
from bibank.store.jsonl.head import EMPTY, HEAD_NAME, encode_slot

DAYS = ("2026-01-25", "2026-01-26", "2026-01-27")
NEWEST = f"{DAYS[2]}.jsonl"


class StillClock:
    """A clock that stands where it was put."""

    def __init__(self, day: str = DAYS[0]) -> None:
        self.moment = datetime.fromisoformat(f"{day}T10:00:00+00:00").astimezone(UTC)

    def now(self) -> datetime:
        """Give the time that was set."""
        return self.moment

    def set(self, day: str) -> None:
        """Move to ten o'clock of a day."""
        self.moment = StillClock(day).moment


def counted_bytes(size: int) -> bytes:
    """Stand for randomness: the same at each run."""
    return bytes(range(size))


SIGNER = Ed25519Signer(counted_bytes(32), signer_id="SYSTEM")
"""The signer of the key that `put_key` puts into a home."""


def put_key(path: Path) -> None:
    """Give a home the same key at each run, as an interrupted creation would leave one."""
    file = path / "keys" / "SYSTEM.key"
    if not file.exists():
        make_key_file(file, signer_id="SYSTEM", entropy=counted_bytes)


def deposit(owner: str, money: str) -> bb.UnsignedEntry:
    """A draft of the everyday kind."""
    return drafts.deposit(owner, money, correlation_id="r1")


def transfer(payer: str, payee: str, money: str) -> bb.UnsignedEntry:
    """A draft of the everyday kind."""
    return drafts.transfer(payer, payee, money, correlation_id="r2")


def write_journal(path: Path, *, keyring: bb.Keyring | None = None) -> None:
    """Three day files; the newest has a lone line, a batch of 3, a group of several batches, a lone line.

    Lines: day 1: 1-2 genesis, 3. Day 2: 4. Day 3: 5, 6-8 one batch, 9 10-11 12 one group, 13.
    """
    clock = StillClock()
    if keyring is None:
        put_key(path)
    with bb.Ledger.create(
        path,
        opening={"USDT": "9"},
        clock=clock,
        durability="none",
        entropy=counted_bytes,
        keyring=keyring,
    ) as made:
        made.commit(deposit("A", "5 USDT"))
        clock.set(DAYS[1])
        made.commit(transfer("A", "B", "1 USDT"))
        clock.set(DAYS[2])
        made.commit(deposit("B", "2 BTC"))
        made.commit_batch([deposit("C", "1 BTC"), transfer("C", "A", "1 BTC"), transfer("A", "B", "0.5 BTC")])
        made.commit_each(
            [
                transfer("B", "C", "1 BTC"),
                [deposit("D", "1 EUR"), transfer("D", "A", "1 EUR")],
                deposit("E", "4 EUR"),
            ]
        )
        made.commit(transfer("A", "C", "2 USDT"))


def day_files(path: Path) -> dict[str, bytes]:
    """The content of each day file, oldest first."""
    return {file.name: file.read_bytes() for file in sorted((path / "journal").glob("*.jsonl"))}


def tree(path: Path) -> dict[str, bytes | None]:
    """Everything below a directory but the lock: files with their bytes, directories with None."""
    return {
        str(found.relative_to(path)): found.read_bytes() if found.is_file() else None
        for found in sorted(path.rglob("*"))
        if found.name != ".lock"
    }


def put(path: Path, files: dict[str, bytes]) -> Path:
    """Make a home with the key of these tests, whose journal holds exactly these files.

    HEAD promises nothing, unless it is among them.
    """
    put_key(path)
    journal = path / "journal"
    journal.mkdir(parents=True, exist_ok=True)
    for old in journal.iterdir():
        old.unlink()
    (journal / HEAD_NAME).write_bytes(encode_slot(EMPTY) * 2)
    for name, content in files.items():
        (journal / name).write_bytes(content)
    return path


class Whole(NamedTuple):
    """The end of a whole batch in a file: the offset behind it and the sequence of its last line."""

    offset: int
    sequence: int


def whole_batches(content: bytes, *, before: int) -> list[Whole]:
    """List where whole batches end in a day file, its start included; `before` is the line before it."""
    ends = [Whole(0, before)]
    offset = 0
    for sequence, line in enumerate(content.splitlines(keepends=True), before + 1):
        offset += len(line)
        batch = json.loads(line).get("batch", {})
        if sequence == batch.get("first", sequence) + batch.get("size", 1) - 1:
            ends.append(Whole(offset, sequence))
    return ends
