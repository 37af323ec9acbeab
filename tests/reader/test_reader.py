"""A reader of a home: the same answers as the writer's, what it refuses, and that it touches nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from bibank.errors import JournalTruncated
from bibank.signing import Ed25519Signer, Role
from bibank.store.jsonl.head import EMPTY, HEAD_NAME
from tests.reader.beside import answers, ends_of_groups, lines_of, mark_of, put_mark
from tests.store.journals import DAYS, NEWEST, StillClock, day_files, deposit, transfer, tree, write_journal

ANNA = Ed25519Signer(bytes(31) + b"a", signer_id="ANNA_OPS")


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """The journal of three days, whose HEAD names its last line."""
    path = tmp_path / "books"
    write_journal(path)
    put_mark(path, lines_of(day_files(path))[-1].mark)
    return path


def test_every_answer_is_the_writers(tmp_path: Path) -> None:
    """At each durable point a reader that moved on, a new one and the writer answer alike."""
    clock = StillClock()
    path = tmp_path / "books"
    with bb.Ledger.create(path, opening={"USDT": "9"}, clock=clock) as ledger:
        reader = bb.LedgerReader.open(path)
        steps: list[Callable[[], object]] = [
            lambda: ledger.commit(deposit("A", "5 USDT")),
            lambda: ledger.commit_batch([deposit("B", "1 BTC"), transfer("B", "A", "0.5 BTC")]),
            lambda: clock.set(DAYS[1]),
            lambda: ledger.commit_each([transfer("A", "B", "1 USDT"), deposit("C", "3 EUR")]),
            lambda: ledger.keyring.add(ANNA, roles=(Role.OPERATOR,), correlation_id="k1"),
            lambda: ledger.commit(transfer("A", "C", "0.1 BTC")),
        ]
        for step in steps:
            step()
            ledger.flush_head()
            reader.refresh()
            expected = answers(ledger)
            assert answers(reader) == expected
            with bb.LedgerReader.open(path, verify="all") as fresh:
                assert answers(fresh) == expected


def test_a_refresh_counts_the_new_lines(tmp_path: Path) -> None:
    """`refresh` gives the number of lines, none when there is nothing new."""
    with bb.Ledger.create(tmp_path / "books") as ledger, bb.LedgerReader.open(tmp_path / "books") as reader:
        assert reader.refresh() == 0
        ledger.commit_batch([deposit("A", "5 USDT"), transfer("A", "B", "1 USDT")])
        ledger.flush_head()
        assert [reader.refresh(), reader.refresh()] == [2, 0]


def test_nothing_in_the_directory_changes(books: Path) -> None:
    """Opening, asking, refreshing and closing leave every file as it was, and make none."""
    before = tree(books)
    lock = (books / "journal" / ".lock").stat().st_mtime_ns
    for show in ("durable", "written"):
        with bb.LedgerReader.open(books, show=show) as reader:
            answers(reader)
            assert reader.refresh() == 0
            assert next(reader.follow(after_sequence=0)).sequence == 1
    assert tree(books) == before
    assert (books / "journal" / ".lock").stat().st_mtime_ns == lock


def test_a_torn_tail_is_left_alone(books: Path) -> None:
    """What a crash left is neither shown nor repaired."""
    with (books / "journal" / NEWEST).open("ab") as file:
        file.write(b'{"sequence":14,"prev')
    before = tree(books)
    with bb.LedgerReader.open(books, show="written") as reader:
        assert (reader.head.sequence, reader.refresh()) == (13, 0)
    assert tree(books) == before


def test_it_needs_no_lock(tmp_path: Path) -> None:
    """Any number of readers stand beside the writer, who is not disturbed by them."""
    path = tmp_path / "books"
    with bb.Ledger.create(path, opening={"USDT": "5"}) as ledger:
        readers = [bb.LedgerReader.open(path) for _ in range(3)]
        ledger.commit(deposit("A", "1 USDT"))
        ledger.flush_head()
        assert [reader.refresh() for reader in readers] == [1, 1, 1]
    assert [reader.refresh() for reader in readers] == [0, 0, 0]


@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
def test_no_home(tmp_path: Path, kind: str) -> None:
    """Where there is no ledger, `HomeNotFound`, and nothing is made."""
    path = tmp_path / "books"
    if kind == "empty":
        path.mkdir()
    elif kind == "file":
        path.write_text("not a directory")
    before = tree(tmp_path)
    with pytest.raises(bb.HomeNotFound):
        bb.LedgerReader.open(path)
    assert tree(tmp_path) == before


def test_a_genesis_that_is_not_known_to_be_on_the_disk(tmp_path: Path) -> None:
    """It is shown to who asks for what is written, and is no ledger yet to anybody else."""
    path = tmp_path / "books"
    bb.Ledger.create(path, opening={"USDT": "5"}, durability="none").close()
    with pytest.raises(bb.HomeNotFound, match="known to be on the disk"):
        bb.LedgerReader.open(path)
    assert bb.LedgerReader.open(path, show="written").head.sequence == 2


@pytest.mark.parametrize("option", [{"verify": "no"}, {"show": "all"}, {"show": True}, {"verify": None}])
def test_misspelled_options(tmp_path: Path, option: Any) -> None:
    """They are a `ConfigurationError`, whether or not there is a home."""
    with pytest.raises(bb.ConfigurationError, match=next(iter(option))):
        bb.LedgerReader.open(tmp_path / "books", **option)


def test_a_keyring_file_that_the_journal_does_not_reach(books: Path, tmp_path: Path) -> None:
    """That of another ledger is a `PinMismatch`."""
    bb.Ledger.create(tmp_path / "other").close()
    other = bb.Ledger.open(tmp_path / "other")
    other.keyring.add(ANNA, roles=(Role.OPERATOR,), correlation_id="k1")
    other.close()
    (books / "keyring.json").write_bytes((tmp_path / "other" / "keyring.json").read_bytes())
    with pytest.raises(bb.PinMismatch):
        bb.LedgerReader.open(books)


def test_a_keyring_file_ahead_of_what_is_shown(tmp_path: Path) -> None:
    """A change that is written but not yet known to be durable vouches for its keyring file, unseen."""
    path = tmp_path / "books"
    with bb.Ledger.create(path) as ledger:
        ledger.keyring.add(ANNA, roles=(Role.OPERATOR,), correlation_id="k1")
        assert mark_of(path).sequence == 2
        assert bb.LedgerReader.open(path).head.sequence == 2
        assert bb.LedgerReader.open(path, show="written").head.sequence == 3


def test_a_corrupt_line_is_named(books: Path) -> None:
    """A changed byte is `JournalCorrupt` with file and line, wherever HEAD stands."""
    path = books / "journal" / NEWEST
    good = path.read_bytes()
    lines = good.splitlines(keepends=True)
    lines[4] = lines[4].replace(b'"correlation_id":"r', b'"correlation_id":"s')
    path.write_bytes(b"".join(lines))
    with pytest.raises(bb.JournalCorrupt) as caught:
        bb.LedgerReader.open(books)
    assert (caught.value.file, caught.value.line, caught.value.sequence) == (NEWEST, 5, 9)
    put_mark(books, EMPTY)
    with pytest.raises(bb.JournalCorrupt) as caught:
        bb.LedgerReader.open(books)
    assert (caught.value.file, caught.value.line, caught.value.sequence) == (NEWEST, 5, 9)


def test_a_wrong_signature_is_found_unless_the_chain_alone_is_asked_for(books: Path) -> None:
    """The signature of a line below or behind HEAD is verified, at once or in threads."""
    path = books / "journal" / NEWEST
    head, _, tail = path.read_bytes().rpartition(b'"signature":"')
    path.write_bytes(head + b'"signature":"' + (b"0" if tail[:1] != b"0" else b"1") + tail[1:])
    for mark in (mark_of(books), EMPTY):
        put_mark(books, mark)
        with pytest.raises(bb.JournalCorrupt, match="not over this line") as caught:
            bb.LedgerReader.open(books)
        assert caught.value.sequence == 13
    assert bb.LedgerReader.open(books, verify="chain", show="written").head.sequence == 13


def test_a_journal_below_head(books: Path) -> None:
    """A journal that lost acknowledged lines is `JournalTruncated`."""
    (books / "journal" / NEWEST).unlink()
    with pytest.raises(JournalTruncated):
        bb.LedgerReader.open(books)


def test_a_journal_without_head(books: Path) -> None:
    """A missing HEAD is refused at the opening, and when it goes later; nothing else is lost."""
    reader = bb.LedgerReader.open(books)
    head = (books / "journal" / HEAD_NAME).read_bytes()
    (books / "journal" / HEAD_NAME).unlink()
    with pytest.raises(bb.JournalCorrupt, match="HEAD"):
        bb.LedgerReader.open(books)
    with pytest.raises(bb.JournalCorrupt, match="HEAD"):
        reader.refresh()
    (books / "journal" / HEAD_NAME).write_bytes(head)
    assert (reader.refresh(), reader.head.sequence) == (0, 13)


def test_head_inside_a_batch(books: Path) -> None:
    """A HEAD that names a line within a batch is not one that a writer wrote."""
    put_mark(books, lines_of(day_files(books))[6].mark)
    with pytest.raises(bb.JournalCorrupt):
        bb.LedgerReader.open(books)


def test_an_unreadable_directory(books: Path) -> None:
    """What the operating system refuses is `StoreUnavailable`."""
    reader = bb.LedgerReader.open(books)
    (books / "journal").rename(books / "elsewhere")
    with pytest.raises(bb.StoreUnavailable):
        reader.refresh()
    (books / "elsewhere").rename(books / "journal")
    assert reader.refresh() == 0


def test_a_closed_reader(books: Path) -> None:
    """After `close`, which may be called twice, every question is `LedgerClosed`."""
    with bb.LedgerReader.open(books) as reader:
        assert repr(reader) == f"<LedgerReader {reader.ledger_id} in {str(books)!r}, line 13>"
    reader.close()
    assert repr(reader).endswith("line 13, closed>")
    for question in (reader.refresh, reader.accounts, reader.entries, reader.audit):
        with pytest.raises(bb.LedgerClosed):
            question()
    assert list(reader.follow(after_sequence=0)) == []


def test_an_interrupted_refresh_poisons(books: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the machine was stopped between two lines, nobody is shown what it came to."""
    put_mark(books, lines_of(day_files(books))[3].mark)
    reader = bb.LedgerReader.open(books)
    put_mark(books, lines_of(day_files(books))[-1].mark)
    machine = reader._replica.machine
    with monkeypatch.context() as patch:

        def interrupted(line: bytes) -> None:
            raise KeyboardInterrupt

        patch.setattr(machine, "accept", interrupted)
        with pytest.raises(KeyboardInterrupt):
            reader.refresh()
    for question in (reader.refresh, reader.accounts):
        with pytest.raises(bb.LedgerPoisoned, match="interrupted"):
            question()
    assert repr(reader).endswith("poisoned>")


def test_head_at_any_older_group_shows_the_same_lines(books: Path) -> None:
    """Wherever HEAD stands, all but the last write group is shown, and that too once HEAD covers it."""
    for line in ends_of_groups(lines_of(day_files(books)))[:-1]:
        put_mark(books, line.mark)
        assert bb.LedgerReader.open(books).head.sequence == 12
        assert bb.LedgerReader.open(books, show="written").head.sequence == 13


FORK = """
import os, sys
import bibank as bb
reader = bb.LedgerReader.open(sys.argv[1])
child = os.fork()
if child == 0:
    try:
        reader.refresh()
    except bb.LedgerPoisoned as error:
        print("child:", error, flush=True)
    with bb.LedgerReader.open(sys.argv[1]) as own:
        print("child:", own.head.sequence, flush=True)
    reader.close()
    os._exit(0)
os.waitpid(child, 0)
print("parent:", reader.refresh(), flush=True)
"""


def test_a_forked_child_opens_its_own(books: Path) -> None:
    """A reader is not carried over a fork; the parent's is as good as before."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK, str(books)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout.splitlines() == [
        "child: the reader was opened by the parent of this process; open a reader again",
        "child: 13",
        "parent: 0",
    ]
