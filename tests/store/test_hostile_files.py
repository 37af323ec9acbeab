"""Hostile files: gigabytes of anything in a journal are judged in bounded memory, by everyone who reads it.

No gigabyte is written: the directory answers for one file with bytes that are made when they are read.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

import bibank as bb
from bibank import drafts
from bibank.opening import replay
from bibank.risk.engine import RiskEngine
from bibank.store.jsonl.files import FileStat, OsFiles
from bibank.store.jsonl.plan import survey_journal
from tests.cli.command import Command
from tests.store.journals import DAYS, NEWEST, day_files, put, tree, write_journal

GIGABYTE = 1 << 30
FEWER_BYTES = 64 << 20
"""For the variants: as much as anybody may use of memory, with the same bounds."""

MOST_MEMORY_BYTES = 48 << 20
MOST_READ_BYTES = 1 << 20
MOST_PASSES = 6
"""How often one look may go over a file: to find its end, its last whole batch, and to read it."""


@attrs.frozen
class Huge:
    """A file that exists only while it is read: a beginning, very much of one byte, and an end."""

    begin: bytes
    fill: bytes
    end: bytes = b""
    size: int = GIGABYTE

    def read(self, *, offset: int, size: int) -> bytes:
        """Give a part of it."""
        size = max(min(size, self.size - offset), 0)
        if offset >= len(self.begin) and offset + size <= self.size - len(self.end):
            return BLOCKS[self.fill][:size]
        head = self.begin[offset : offset + size]
        tail_at = self.size - len(self.end)
        tail = self.end[max(offset - tail_at, 0) : max(offset + size - tail_at, 0)]
        return head + self.fill * (size - len(head) - len(tail)) + tail


BLOCKS = {fill: fill * MOST_READ_BYTES for fill in (b"x", b"\0", b"\n", b"[", b"\xff")}


@attrs.define
class Disk:
    """A home, of which some files are huge; counts what is read of them."""

    home: Path
    huge: dict[str, Huge] = attrs.field(factory=dict)
    bytes_read: int = 0

    def put(self, files: dict[str, bytes | Huge]) -> None:
        """Lay the journal out."""
        put(self.home, {name: found if isinstance(found, bytes) else b"" for name, found in files.items()})
        self.huge = {name: found for name, found in files.items() if isinstance(found, Huge)}


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A disk whose use is bounded: no large read, few passes, little memory at the peak."""
    disk = Disk(tmp_path / "books")
    stat, read = OsFiles.stat, OsFiles.read

    def stat_of(self: OsFiles, name: str) -> FileStat | None:
        found = stat(self, name)
        return attrs.evolve(found, size=disk.huge[name].size) if found and name in disk.huge else found

    def read_of(self: OsFiles, name: str, *, offset: int, size: int) -> bytes:
        if name not in disk.huge:
            return read(self, name, offset=offset, size=size)
        assert size <= MOST_READ_BYTES
        disk.bytes_read += size
        return disk.huge[name].read(offset=offset, size=size)

    monkeypatch.setattr(OsFiles, "stat", stat_of)
    monkeypatch.setattr(OsFiles, "read", read_of)
    tracemalloc.start()
    yield disk
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MOST_MEMORY_BYTES


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The day files of a whole journal of 13 lines."""
    home = tmp_path_factory.mktemp("whole") / "books"
    write_journal(home)
    return day_files(home)


def look(disk: Disk, reader: Callable[[Path], object]) -> object:
    """Let somebody read the home, and give the result or the typed error; nothing may be changed."""
    before, disk.bytes_read = tree(disk.home), 0
    try:
        return reader(disk.home)
    except bb.BibankError as error:
        return error
    finally:
        assert disk.bytes_read <= MOST_PASSES * sum(found.size for found in disk.huge.values())
        assert tree(disk.home) == before


def replayed(home: Path) -> int:
    """Survey and replay a journal; give the last sequence."""
    plan = survey_journal(home / "journal")
    machine, _ = replay(plan.read(), engine=RiskEngine(), place=plan.place)
    assert machine.head == plan.head
    return machine.head.sequence


def listed(home: Path) -> int | str:
    """List the entries from the command line; give how many there are, or what it says instead."""
    outcome = Command(home).run("--json", "entries")
    return len(outcome.documents) if outcome.code == 0 else outcome.err


def refused(disk: Disk, reason: str, *, name: str, line: int) -> None:
    """Demand that everybody refuses a home for the same reason, and names the place."""
    for reader in (replayed, bb.audit_home, lambda home: bb.Ledger.open(home, durability="none")):
        error = look(disk, reader)
        assert isinstance(error, bb.JournalCorrupt)
        assert (error.file, error.line) == (name, line)
        assert reason in str(error)
    assert reason in str(look(disk, listed))


def torn(disk: Disk, *, lines: int, entries: int) -> None:
    """Demand that everybody sees the same lines, and a torn write behind them."""
    assert look(disk, replayed) == lines
    error = look(disk, bb.audit_home)
    assert type(error) is bb.JournalTorn
    assert error.sequence == lines + 1
    assert look(disk, listed) == entries


def test_a_line_of_a_gigabyte_in_the_newest_file(disk: Disk, files: dict[str, bytes]) -> None:
    """A complete line of a gigabyte is no line, whatever stands before it."""
    disk.put({**files, NEWEST: Huge(files[NEWEST], b"x", b"\n")})
    refused(disk, "over the limit of 65535", name=NEWEST, line=10)


def test_a_huge_line_with_a_beginning(disk: Disk, files: dict[str, bytes]) -> None:
    """Nor is one that begins like a line of that day."""
    begun = files[NEWEST] + files[NEWEST].splitlines()[-1][:-3]
    disk.put({**files, NEWEST: Huge(begun, b"x", b'"}}\n', FEWER_BYTES)})
    refused(disk, "over the limit of 65535", name=NEWEST, line=10)


def test_a_line_of_a_gigabyte_in_the_middle(disk: Disk, files: dict[str, bytes]) -> None:
    """A line of a gigabyte between good ones of an older day is found when it is replayed."""
    name = f"{DAYS[0]}.jsonl"
    first, second, third = files[name].splitlines(keepends=True)
    disk.put({**files, name: Huge(first + second[:-3], b"x", b'"}}\n' + third)})
    refused(disk, "over the limit of 65535", name=name, line=2)


def test_a_huge_line_at_the_end_of_an_older_file(disk: Disk, files: dict[str, bytes]) -> None:
    """A huge line that ends an older day is named by its file and line."""
    name = f"{DAYS[1]}.jsonl"
    disk.put({**files, name: Huge(files[name], b"x", b"\n", FEWER_BYTES)})
    refused(disk, "not of the date", name=name, line=2)


@pytest.mark.parametrize("fill", [b"[", b"\xff"])
def test_a_huge_line_instead_of_a_genesis(disk: Disk, files: dict[str, bytes], fill: bytes) -> None:
    """A journal whose first line never ends is refused at its first line."""
    name = f"{DAYS[0]}.jsonl"
    disk.put({**files, name: Huge(b"", fill, b"\n", FEWER_BYTES)})
    refused(disk, "not of the date", name=name, line=1)


def test_a_gigabyte_without_a_newline(disk: Disk, files: dict[str, bytes]) -> None:
    """A newest file that ends in a gigabyte without a newline ends in a torn write."""
    disk.put({**files, NEWEST: Huge(files[NEWEST], b"x")})
    torn(disk, lines=13, entries=12)


def test_a_gigabyte_of_unwritten_space_before_an_end(disk: Disk, files: dict[str, bytes]) -> None:
    """NULs between the last batch and a few bytes are a torn write, with or without a newline."""
    for end, size in ((b"x", GIGABYTE), (b"\n", FEWER_BYTES), (b"}\n", FEWER_BYTES)):
        disk.put({**files, NEWEST: Huge(files[NEWEST], b"\0", end, size)})
        torn(disk, lines=13, entries=12)


def test_very_much_unwritten_space(disk: Disk, files: dict[str, bytes]) -> None:
    """A quarter of a gigabyte of NULs behind the lines is unwritten space."""
    disk.put({**files, NEWEST: Huge(files[NEWEST], b"\0", b"", GIGABYTE // 4)})
    assert look(disk, replayed) == 13


def test_unwritten_space_of_any_day(disk: Disk, files: dict[str, bytes]) -> None:
    """So it is for everybody who reads, behind an older day, and where a whole day is nothing else."""
    oldest = f"{DAYS[0]}.jsonl"
    for name, begin in ((NEWEST, files[NEWEST]), (oldest, files[oldest]), ("2026-01-28.jsonl", b"")):
        disk.put({**files, name: Huge(begin, b"\0", b"", FEWER_BYTES)})
        assert look(disk, replayed) == look(disk, lambda home: bb.audit_home(home).lines) == 13
        assert look(disk, listed) == 12


def test_a_gigabyte_of_newlines(disk: Disk, files: dict[str, bytes]) -> None:
    """A gigabyte of empty lines is refused at the first of them."""
    disk.put({**files, NEWEST: Huge(files[NEWEST], b"\n")})
    refused(disk, "the line is not JSON", name=NEWEST, line=10)


# --------------------------------------------------------------------------- lines and names


def test_only_a_newline_ends_a_line(tmp_path: Path) -> None:
    """Other separators that a text may hold, and that Python splits at, are part of the line."""
    note = "one\u2028two\u2029three\u00a0four"
    assert len(note.splitlines()) == 3
    home = tmp_path / "books"
    with bb.Ledger.create(home, durability="none") as ledger:
        ledger.commit(drafts.deposit("A", "5 USDT", correlation_id="r1", metadata={"note": note}))
    assert bb.audit_home(home).lines == 3
    with bb.Ledger.open(home, durability="none") as ledger:
        assert ledger.entry(3).metadata["note"] == note


@pytest.mark.parametrize(
    "separator", [b"\r", b"\x0b", b"\x0c", b"\x1c", b"\x85", b"\xc2\x85", b"\xe2\x80\xa8", b"\0"]
)
def test_nothing_else_ends_a_line(tmp_path: Path, files: dict[str, bytes], separator: bytes) -> None:
    """Two lines with anything but a newline between them are one line, and wrong."""
    lines = files[NEWEST].splitlines()
    broken = b"\n".join([*lines[:4], lines[4] + separator + lines[5], *lines[6:], b""])
    home = put(tmp_path / "books", {**files, NEWEST: broken})
    with pytest.raises(bb.JournalCorrupt) as caught:
        bb.audit_home(home)
    assert (caught.value.file, caught.value.line) == (NEWEST, 5)


def test_no_file_is_named_for_an_account(tmp_path: Path) -> None:
    """The strangest ids leave the same files behind as the plainest, and what could be a path is no id."""
    names = []
    for number, owner in enumerate(("A", "CON", "NUL", "0", "A" * 64, "JSONL", "HEAD", "LOCK")):
        home = tmp_path / str(number)
        with bb.Ledger.create(home, durability="none") as ledger:
            ledger.deposit(owner, "1 USDT", correlation_id="../../r")
        names.append({path.name for path in home.rglob("*")})
    assert all(found == names[0] for found in names)
    with bb.Ledger.open(tmp_path / "0", durability="none") as ledger:
        for owner in ("..", ".", "/", "A/B", "../A", "A\0", "~", "A:B", "C:\\A"):
            with pytest.raises(bb.InvalidAccountKey):
                ledger.deposit(owner, "1 USDT", correlation_id="r")
