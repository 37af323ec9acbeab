"""A growing journal cut at every byte, under every older HEAD: a prefix of whole batches, or an error."""

from __future__ import annotations

from pathlib import Path

import pytest

import bibank as bb
from bibank.errors import JournalTruncated
from bibank.opening import Signing
from bibank.replica import Show
from bibank.store.jsonl.head import EMPTY, HeadMark
from tests.reader.beside import Line, durable, ends_of_groups, lines_of, put_mark, whole
from tests.store.journals import NEWEST, StillClock, day_files, deposit, put, transfer, write_journal

FILLED = bytes(64)
SHOWN: tuple[Show, Show] = ("durable", "written")


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of three days, unsigned so that its lines are short."""
    path = tmp_path_factory.mktemp("cuts") / "books"
    write_journal(path, keyring=bb.Keyring.unsigned())
    return path


def open_cut(path: Path, files: dict[str, bytes], mark: HeadMark, show: Show, *, below: bool) -> None:
    """Open a reader over files, and hold it to what the lines and HEAD say."""
    put(path, files)
    put_mark(path, mark)
    if below:
        with pytest.raises(JournalTruncated):
            bb.LedgerReader.open(path, verify="chain", show=show)
        return
    lines = lines_of(files)
    with bb.LedgerReader.open(path, verify="chain", show=show) as reader:
        assert reader.head.sequence == (durable(lines, mark) if show == "durable" else whole(lines))


def test_opening_at_every_byte(tmp_path: Path, books: Path) -> None:
    """At each cut a reader shows what whole lines and HEAD allow; cut below HEAD, it is refused."""
    files = day_files(books)
    content = files.pop(NEWEST)
    lines = lines_of(day_files(books))
    groups = ends_of_groups(lines)
    marks = [EMPTY, *(line.mark for line in groups)]
    borders = {line.end + near for line in lines if line.file == NEWEST for near in (-1, 0, 1)}
    for cut in range(len(content) + 1):
        kept = content[:cut] + (FILLED if cut % 2 else b"")
        border = cut in borders
        for mark in marks if border else [marks[cut % len(marks)]]:
            below = mark.file == NEWEST and cut < mark.end
            for show in SHOWN if border else [SHOWN[cut // 2 % 2]]:
                open_cut(tmp_path / "books", files | {NEWEST: kept}, mark, show, below=below)


@pytest.mark.parametrize(("sequence", "filled"), [(4, b""), (8, FILLED)])
def test_growing_byte_by_byte(tmp_path: Path, books: Path, sequence: int, filled: bytes) -> None:
    """A reader that looks after each byte moves on from whole batch to whole batch, and never back."""
    files = day_files(books)
    content = files.pop(NEWEST)
    lines = lines_of(day_files(books))
    path = tmp_path / "books"
    growing = path / "journal" / NEWEST
    mark = lines[sequence - 1].mark
    start = mark.end if mark.file == NEWEST else 0
    put(path, files | {NEWEST: content[:start]})
    put_mark(path, mark)
    durably, all_of_it = (bb.LedgerReader.open(path, show=show) for show in SHOWN)
    for cut in range(start, len(content) + 1):
        growing.write_bytes(content[:cut] + filled)
        durably.refresh()
        all_of_it.refresh()
        there = [known for known in lines if known.file < NEWEST or known.end <= cut]
        assert durably.head.sequence == durable(there, mark)
        assert all_of_it.head.sequence == whole(there)


@pytest.mark.parametrize("signing", ["entry", "group"])
def test_signed_groups_at_every_byte(tmp_path: Path, signing: Signing) -> None:
    """Signatures change nothing of that, whether each line has one or one covers its group."""
    source, path = tmp_path / "source", tmp_path / "books"
    with bb.Ledger.create(source, clock=StillClock(), signing=signing) as ledger:
        ledger.commit_each([[deposit("A", "1 EUR"), transfer("A", "B", "1 EUR")], deposit("A", "1 EUR")])
        ledger.commit(deposit("A", "1 EUR"))
    ((name, content),) = day_files(source).items()
    lines = lines_of(day_files(source))
    genesis: Line = lines[1]
    put(path, {name: content[: genesis.end]})
    put_mark(path, genesis.mark)
    reader = bb.LedgerReader.open(path, show="written")
    for cut in range(genesis.end, len(content) + 1):
        (path / "journal" / name).write_bytes(content[:cut])
        reader.refresh()
        assert reader.head.sequence == whole([line for line in lines if line.end <= cut])
        if cut % 16 == 0:
            with bb.LedgerReader.open(path, show="written") as fresh:
                assert fresh.head == reader.head


def test_bytes_that_head_covers_corrupted(tmp_path: Path, books: Path) -> None:
    """A flipped bit in any line is found, and named, and nothing of the refresh is shown."""
    files = day_files(books)
    content = files.pop(NEWEST)
    mark = lines_of(files)[-1].mark
    path = tmp_path / "books"
    put(path, files | {NEWEST: b""})
    put_mark(path, mark)
    reader = bb.LedgerReader.open(path)
    accounts = reader.accounts()
    for at in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 6
        if flipped[at] == 0 or (content[at] == 10 and at == len(content) - 1):
            continue
        (path / "journal" / NEWEST).write_bytes(flipped)
        with pytest.raises(bb.JournalCorrupt) as caught:
            reader.refresh()
        assert (caught.value.file, caught.value.line) == (NEWEST, content.count(b"\n", 0, at) + 1)
        assert (reader.head, reader.accounts()) == (mark.head, accounts)
