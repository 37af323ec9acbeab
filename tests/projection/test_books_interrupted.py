"""The books survive interruption at any point: incremental delivery equals a rebuild."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibank.errors import HeadConflict, LedgerClosed, StoreUnavailable
from bibank.ledger import Ledger
from bibank.projection.books import SqliteBooks
from bibank.projection.runner import catch_up
from bibank.projection.sources import JournalLines
from bibank.projection.upkeep import ask_books, rebuild_books
from tests.projection.histories import Step, grow, histories
from tests.projection.journals import dump_of, everyday, scratch, verified

STATEMENTS = 60
"""More than one run over `everyday` takes, so that some runs are not interrupted."""


class Failing:
    """A connection whose statement of one number fails, before it is carried out or after."""

    def __init__(self, connection: sqlite3.Connection, number: int, *, when: str, last: int) -> None:
        self._connection = connection
        self._done = 0
        self._failing = range(number, last + 1)
        self._when = when

    def __getattr__(self, name: str) -> Any:
        """Be the connection in everything else."""
        return getattr(self._connection, name)

    def execute(self, *arguments: Any) -> Any:
        """Carry a statement out, or fail."""
        return self._attempt(self._connection.execute, arguments)

    def executemany(self, *arguments: Any) -> Any:
        """Carry out one of many."""
        return self._attempt(self._connection.executemany, arguments)

    def _attempt(self, statement: Any, arguments: Any) -> Any:
        self._done += 1
        if self._done not in self._failing:
            return statement(*arguments)
        if self._when == "after":
            statement(*arguments)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error


def break_at(books: SqliteBooks, number: int, when: str, *, last: int | None = None) -> sqlite3.Connection:
    """Let a statement of the books fail, or several; give the connection that works."""
    works = books._database._connection
    assert works is not None
    connection: Any = Failing(works, number, when=when, last=last or number)
    books._database._connection = connection
    return works


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, STATEMENTS))
def test_any_statement_may_fail(tmp_path: Path, number: int, when: str) -> None:
    """After a failure of any statement the same object goes on, or says that it has to begin again."""
    lines = everyday(transfers=4)
    with SqliteBooks(tmp_path / "p.db") as books:
        catch_up(books, JournalLines(lines[:3]))
        works = break_at(books, number, when)
        try:
            catch_up(books, JournalLines(lines), flush_lines=1)
        except StoreUnavailable:
            with SqliteBooks(tmp_path / "p.db") as other:  # what was saved is whole
                assert other.dump() == dump_of(lines[: other.position.sequence])
            try:
                catch_up(books, JournalLines(lines), flush_lines=2)
            except HeadConflict:  # the commit that failed was one after all
                catch_up(books, JournalLines(lines), flush_lines=2)
        books._database._connection = works
        assert books.dump() == dump_of(lines)


@pytest.mark.parametrize("number", range(1, 20))
def test_a_connection_that_is_lost(tmp_path: Path, number: int) -> None:
    """When nothing works any more, not even taking back, the file is whole and its object is of no use."""
    lines = everyday(transfers=4)
    with SqliteBooks(tmp_path / "p.db") as books:
        catch_up(books, JournalLines(lines[:3]))
        works = break_at(books, number, "before", last=10**6)
        for _ in range(2):
            with pytest.raises((StoreUnavailable, LedgerClosed)):
                catch_up(books, JournalLines(lines), flush_lines=2)
        works.close()
    with SqliteBooks(tmp_path / "p.db") as books:
        assert books.dump() == dump_of(lines[: books.position.sequence])
        catch_up(books, JournalLines(lines))
        assert books.dump() == dump_of(lines)


def test_a_transaction_that_cannot_be_taken_back(tmp_path: Path) -> None:
    """An object whose transaction stays open is closed, so that nothing is ever added to that transaction."""
    lines = everyday(transfers=4)
    with SqliteBooks(tmp_path / "p.db") as books:
        for line in verified(lines):
            books.apply(line)
        works = break_at(books, 6, "before", last=7)
        with pytest.raises(StoreUnavailable):
            books.flush()
        with pytest.raises(LedgerClosed):
            books.flush()
        works.close()


def test_some_statement_does_fail(tmp_path: Path) -> None:
    """The test above interrupts every statement of a run, and runs that are not interrupted."""
    failed = []
    for number in (1, STATEMENTS // 2, STATEMENTS):
        with SqliteBooks(tmp_path / f"{number}.db") as books:
            break_at(books, number, "before")
            try:
                catch_up(books, JournalLines(everyday(transfers=4)))
            except StoreUnavailable:
                failed.append(number)
    assert failed == [1]


@given(histories, st.data())
def test_any_delivery_equals_a_rebuild(history: list[Step], data: st.DataObject) -> None:
    """Repeated lines, flushes within batches, crashes, failures of SQLite, resets: the dump is the same."""
    lines = verified(grow(history))
    with scratch() as path, ExitStack() as opened:
        books = opened.enter_context(SqliteBooks(path))
        delivered = 0
        for _ in range(200):
            act = data.draw(st.sampled_from(["apply"] * 6 + ["again", "flush", "crash", "fail", "reset"]))
            match act:
                case "apply":
                    for line in lines[delivered : delivered + data.draw(st.integers(1, 9))]:
                        books.apply(line)
                        delivered = line.sequence
                case "again" if delivered:
                    books.apply(lines[data.draw(st.integers(0, delivered - 1))])
                case "crash":
                    books.close()
                    books = opened.enter_context(SqliteBooks(path))
                    delivered = books.position.sequence
                case "fail":
                    number, when = (
                        data.draw(st.integers(1, 15)),
                        data.draw(st.sampled_from(["before", "after"])),
                    )
                    works = break_at(books, number, when)
                    delivered = _flush(books, delivered)
                    if books._database._connection is None:  # not even the taking back worked
                        works.close()
                        books = opened.enter_context(SqliteBooks(path))
                        delivered = books.position.sequence
                    else:
                        books._database._connection = works
                case "reset" if not data.draw(st.integers(0, 3)):
                    books.reset()
                    delivered = 0
                case _:
                    delivered = _flush(books, delivered)
            if books.position.sequence == len(lines):
                break
        else:
            return
        whole = [line.data for line in lines]
        books.close()
        with SqliteBooks(path) as found:
            assert found.dump() == dump_of(whole)


def _flush(books: SqliteBooks, delivered: int) -> int:
    """Save what was delivered; tell what need not be delivered again."""
    try:
        books.flush()
    except StoreUnavailable:
        return delivered
    except HeadConflict:
        return books.position.sequence
    return delivered


@given(histories, st.integers(1, 20), st.lists(st.integers(1, 60), max_size=4))
def test_any_flush_size_and_any_stops(history: list[Step], flush_lines: int, stops: Sequence[int]) -> None:
    """However it is cut, what was caught up is what a rebuild gives, also after `reset`."""
    lines = grow(history)
    ends = [line.sequence for line in verified(lines) if line.ends_batch]
    with scratch() as path:
        for stop in [*sorted(ends[stop % len(ends)] for stop in stops), len(lines)]:
            with SqliteBooks(path) as books:
                catch_up(books, JournalLines(lines[:stop]), flush_lines=flush_lines)
                assert books.position.sequence in ends
        with SqliteBooks(path) as books:
            expected = dump_of(lines)
            assert books.dump() == expected
            books.reset()
            catch_up(books, JournalLines(lines), flush_lines=flush_lines)
            assert books.dump() == expected


# ------------------------------------------------------------------ processes

KILLED = """
import os, signal, sys
from pathlib import Path
from bibank.projection.books import SqliteBooks
from bibank.projections import JournalLines, catch_up

class Killing:
    def __init__(self, connection, left):
        self.connection, self.left = connection, left
    def __getattr__(self, name):
        found = getattr(self.connection, name)
        if name not in ("execute", "executemany"):
            return found
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

lines = Path(sys.argv[1]).read_bytes().splitlines()
with SqliteBooks(sys.argv[2]) as books:
    books._database._connection = Killing(books._database._connection, int(sys.argv[3]))
    catch_up(books, JournalLines(lines), flush_lines=2)
"""

ASKING = """
import json, sys
from bibank.projections import SqliteBooks, ask_books
print(json.dumps([ask_books(sys.argv[1], SqliteBooks.digest).value for _ in range(4)]))
"""


@pytest.mark.parametrize("number", [3, 8, 13, 17, 24, 31])
def test_a_killed_process_leaves_whole_lines(tmp_path: Path, number: int) -> None:
    """A process that is killed at any statement leaves a file that the next one goes on with."""
    lines = everyday(transfers=9)
    (tmp_path / "lines").write_bytes(b"\n".join(lines))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "lines"), str(tmp_path / "p.db"), str(number)]
    done = subprocess.run(command, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    with SqliteBooks(tmp_path / "p.db") as books:
        assert books.dump() == dump_of(lines[: books.position.sequence])
        catch_up(books, JournalLines(lines))
        assert books.dump() == dump_of(lines)


def test_processes_that_share_the_file(tmp_path: Path) -> None:
    """Processes that catch up, rebuild and ask at the same time all come to the same books."""
    home = tmp_path / "books"
    with Ledger.create(home, durability="none") as ledger:
        ledger.deposit("ALICE", "100 USDT", correlation_id="d")
        for number in range(60):
            ledger.transfer("ALICE", "BOB", "1 USDT", correlation_id=f"t{number}")
    command = [sys.executable, "-c", ASKING, str(home)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    rebuilt = [rebuild_books(home) for _ in range(3)]
    found = [digest for process in running for digest in json.loads(process.communicate(timeout=120)[0])]
    assert [process.returncode for process in running] == [0, 0, 0]
    expected = ask_books(home, SqliteBooks.digest).value
    assert {*found, *(one.after for one in rebuilt)} == {expected}
    assert all(one.identical is not False for one in rebuilt)
