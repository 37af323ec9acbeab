"""The outboxes of the how-to, with a database that fails at each of its steps: each entry once, none lost.

The classes are taken from the page itself, so what is tested is what people copy.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import attrs
import pytest

import bibank as bb
from tests.docs.postgres import running_server

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "outbox.md"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

Opener = Callable[[], AbstractContextManager[Any]]


class DatabaseGone(Exception):
    """What the driver raises when the database does not answer."""


@attrs.define
class Trouble:
    """Fails at one step of the database, before it is done, or after."""

    at: int
    after: bool
    steps: int = 0

    @contextmanager
    def around(self) -> Iterator[None]:
        """Count a step, and fail at the one that was named."""
        self.steps += 1
        is_it = self.steps == self.at
        if is_it and not self.after:
            raise DatabaseGone
        yield
        if is_it:
            raise DatabaseGone


class FlakySqlite:
    """A connection to SQLite whose statements and commits may fail."""

    def __init__(self, connection: sqlite3.Connection, trouble: Trouble) -> None:
        self._connection = connection
        self._trouble = trouble

    def execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        """Execute, or fail."""
        with self._trouble.around():
            return self._connection.execute(statement, values)

    def __enter__(self) -> None:
        self._connection.__enter__()

    def __exit__(self, *error: Any) -> None:
        """Commit or roll back; the commit may fail, or be done and fail then."""
        if error[0] is not None:
            self._connection.rollback()
            return
        try:
            with self._trouble.around():
                self._connection.commit()
        finally:
            self._connection.rollback()


class FlakyPostgres:
    """A connection to PostgreSQL whose statements and commits may fail."""

    def __init__(self, connection: Any, trouble: Trouble) -> None:
        self._connection = connection
        self._trouble = trouble

    def execute(self, statement: str, values: tuple[object, ...] = ()) -> Any:
        """Execute, or fail."""
        with self._trouble.around():
            return self._connection.execute(statement, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As that of psycopg; the commit may fail, or be done and fail then."""
        whole = self._connection.transaction()
        whole.__enter__()
        try:
            yield
        except BaseException as error:
            whole.__exit__(type(error), error, None)
            raise
        trouble = self._trouble
        trouble.steps += 1
        if trouble.steps == trouble.at and not trouble.after:
            lost = DatabaseGone()
            whole.__exit__(DatabaseGone, lost, None)
            raise lost
        whole.__exit__(None, None, None)
        if trouble.steps == trouble.at:
            raise DatabaseGone


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """What the page defines: the tables, the statements, and the two classes."""
    names: dict[str, Any] = {}
    for block in _BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if "class " in block:
            exec(compile(block, str(PAGE), "exec"), names)
    return names


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A PostgreSQL server."""
    with running_server() as found:
        yield found


def committed(ledger: bb.Ledger) -> list[tuple[int, str, str]]:
    """What the payments have to be."""
    return [(entry.sequence, entry.correlation_id, entry.intent.value) for entry in ledger.entries()]


def check_steps(
    page: dict[str, Any], kind: str, flaky: type, open_database: Opener, rows: Callable[[str], list[Any]]
) -> None:
    """Deliver four entries with one failure, at each step in turn, before it and after it."""
    with bb.Ledger.in_memory({"USDT": "1000"}) as ledger:
        for number in range(3):
            ledger.deposit("ALICE", "1 USDT", correlation_id=f"r{number}")
        for after in (False, True):
            at, steps = 0, 1
            while at < steps:
                at += 1
                trouble = Trouble(at=at, after=after)
                with open_database() as connection:
                    outbox = page[kind].__new__(page[kind])  # the tables are there
                    outbox._database = outbox._connection = flaky(connection, trouble)
                    ledger.bus.subscribe(outbox, after_sequence=0)
                    for _ in range(3):
                        ledger.bus.pump("shop")
                steps = trouble.steps
                (status,) = ledger.bus.status()
                assert (status.failures, status.behind) == (int(at <= steps), 0), (at, after)
                assert rows("SELECT * FROM payments ORDER BY sequence") == committed(ledger), (at, after)
                (cursor,) = rows("SELECT cursor FROM cursors")
                assert bb.Cursor.parse(cursor[0]).head == ledger.head
                ledger.bus.unsubscribe("shop")
            assert steps > 4 * 3


def test_sqlite_fails_at_every_step(page: dict[str, Any], tmp_path: Path) -> None:
    """With SQLite each entry is there once, whichever statement or commit fails, done or not."""
    path = tmp_path / "shop.db"

    def open_database() -> AbstractContextManager[sqlite3.Connection]:
        path.unlink(missing_ok=True)
        page["SqliteOutbox"](str(path)).close()
        return closing(sqlite3.connect(path))

    def rows(statement: str) -> list[Any]:
        with closing(sqlite3.connect(path)) as found:
            return found.execute(statement).fetchall()

    check_steps(page, "SqliteOutbox", FlakySqlite, open_database, rows)


def test_postgresql_fails_at_every_step(page: dict[str, Any], server: str) -> None:
    """With PostgreSQL each entry is there once, whichever statement or commit fails, done or not."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection, psycopg.connect(server) as watcher:

        def open_database() -> AbstractContextManager[Any]:
            connection.execute("DROP TABLE IF EXISTS payments, cursors")
            page["PostgresOutbox"](connection)
            return nullcontext(connection)

        def rows(statement: str) -> list[Any]:
            with watcher.transaction():
                return watcher.execute(statement).fetchall()

        check_steps(page, "PostgresOutbox", FlakyPostgres, open_database, rows)
