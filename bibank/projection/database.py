"""The SQLite file of a projection: opened with care, checked, and never leaking a `sqlite3` error.

WAL and `synchronous=NORMAL`: a power cut may lose the newest transactions, never half of one, and
what is lost is replayed. One `meta` row says whose view it is and how far it has come; it changes in
the same transaction as the view.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from weakref import finalize

import attrs

from bibank.errors import (
    BibankError,
    ConfigurationError,
    HeadConflict,
    LedgerClosed,
    ProjectionMismatch,
    StoreUnavailable,
)
from bibank.model.lines import Head
from bibank.projection.file_guard import delete_alone, take_shared

BUSY_TIMEOUT_SECONDS = 5.0
"""How long to wait for another process: longer than any flush takes."""

_CACHE_KIB = 32_768
"""Pages kept in memory: the inner pages of the indexes of some million entries."""

_STRICT_TABLES = (3, 37, 0)

_META_TABLE = """
    CREATE TABLE meta (
        schema TEXT NOT NULL PRIMARY KEY,
        ledger_id TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        hash TEXT NOT NULL
    ) STRICT
"""

_OPERATING_TROUBLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
"""Primary result codes that blame the surroundings; all others blame the content of the file."""


@attrs.frozen
class Meta:
    """Whose view a file holds, and how far it has come. `ledger_id` is empty before the first line."""

    ledger_id: str = ""
    position: Head = attrs.field(factory=Head)


class ProjectionDatabase:
    """One open file. `schema` names the view and its version; `tables` are its `CREATE` statements.

    Raises `ProjectionMismatch` for a file that is damaged, no database, or of another schema,
    `StoreUnavailable` when the operating system or a lock stands in the way, `LedgerClosed` after
    `close`. For one thread at a time.
    """

    def __init__(
        self, path: Path, *, schema: str, tables: tuple[str, ...], busy_timeout_seconds: float
    ) -> None:
        if sqlite3.sqlite_version_info < _STRICT_TABLES:
            raise ConfigurationError(f"SQLite {sqlite3.sqlite_version} is too old; projections need 3.37")
        self.path = path
        self._schema = schema
        self._connection: sqlite3.Connection | None = None
        guard = take_shared(path, timeout_seconds=busy_timeout_seconds)
        self._release = finalize(self, os.close, guard)
        try:
            with self._translating():
                # Autocommit mode: transactions begin and end where this class says so.
                self._connection = sqlite3.connect(
                    path, timeout=busy_timeout_seconds, isolation_level=None, check_same_thread=False
                )
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = NORMAL")
                self._connection.execute("PRAGMA trusted_schema = OFF")
                self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            with self.snapshot() as connection:
                is_empty = _is_empty(connection)
            if is_empty:
                self._make_tables(tables)
            with self.snapshot() as connection:
                self.load(connection)
                if _schema_of(connection) != _expected_schema(tables):
                    raise ProjectionMismatch(
                        f"{path} does not have the tables of {schema!r}; rebuild the projection"
                    )
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock; everything inside happens, or nothing. Inside another one, join it."""
        with self._between("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Look at one saved state, however many questions are asked."""
        with self._between("BEGIN") as connection:
            yield connection

    def load(self, connection: sqlite3.Connection) -> Meta:
        """Read the meta row, inside a transaction."""
        rows = connection.execute("SELECT schema, ledger_id, sequence, hash FROM meta").fetchall()
        if len(rows) != 1 or rows[0][0] != self._schema:
            found = ", ".join(repr(row[0]) for row in rows) or "nothing"
            raise ProjectionMismatch(
                f"{self.path} holds {found}, it should be {self._schema!r}; rebuild the projection"
            )
        return _read_meta_row(self.path, *rows[0][1:])

    def check(self, connection: sqlite3.Connection, expected: Meta) -> None:
        """Demand that nobody else moved the projection; `HeadConflict` otherwise."""
        found = self.load(connection)
        if found != expected:
            raise self._moved(expected, found)

    def check_reached(self, connection: sqlite3.Connection, expected: Meta) -> Meta:
        """Demand that nobody else moved the projection back, and say where it is; or `HeadConflict`."""
        found = self.load(connection)
        if found.position.sequence < expected.position.sequence:
            raise self._moved(expected, found)
        return found

    def _moved(self, expected: Meta, found: Meta) -> HeadConflict:
        return HeadConflict(
            f"another process moved the projection {self.path} from line {expected.position.sequence} "
            f"to {found.position.sequence}; catch up again"
        )

    def save(self, connection: sqlite3.Connection, meta: Meta) -> None:
        """Write the meta row, inside a transaction."""
        connection.execute(
            "UPDATE meta SET ledger_id = ?, sequence = ?, hash = ?",
            (meta.ledger_id, meta.position.sequence, meta.position.hash),
        )

    def close(self) -> None:
        """Close the file. Closing twice is harmless."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._release()

    def _make_tables(self, tables: tuple[str, ...]) -> None:
        with self.transaction() as connection:
            if not _is_empty(connection):  # another process was faster
                return
            for table in (_META_TABLE, *tables):
                connection.execute(table)
            connection.execute("INSERT INTO meta VALUES (?, '', 0, ?)", (self._schema, Head().hash))

    @contextmanager
    def _between(self, begin: str) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        if connection is None:
            raise LedgerClosed("the projection was closed")
        with self._translating():
            if connection.in_transaction:
                yield connection
                return
            try:
                connection.execute(begin)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # some errors roll back by themselves
                    self._roll_back(connection)
                raise

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        """End a transaction that failed; a connection that cannot even do that is not used again."""
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()
            raise

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:  # damage may stand in SQLite's own texts too
            raise _typed(self.path, error) from error


def delete_database(path: Path) -> None:
    """Delete a projection's file and what SQLite keeps beside it, once nobody has it open.

    Raises `StoreUnavailable` when somebody still has after a while.
    """
    delete_alone(path, timeout_seconds=BUSY_TIMEOUT_SECONDS)


def read_meta(path: Path) -> Meta | None:
    """Tell whose view a file holds, and how far it has come, and leave it and its directory as they are.

    None for a file that is in use, or was when its process ended: what SQLite keeps beside it says
    more than the file. Raises `ProjectionMismatch` for one that is damaged, `StoreUnavailable`.
    """
    if Path(f"{path}-wal").exists():
        return None
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            row = connection.execute("SELECT ledger_id, sequence, hash FROM meta").fetchone()
        finally:
            connection.close()
        return _read_meta_row(path, *(row or (None, None, None)))
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise _typed(path, error) from error


def _read_meta_row(path: Path, ledger_id: object, sequence: object, digest: object) -> Meta:
    if not isinstance(ledger_id, str) or type(sequence) is not int or not isinstance(digest, str):
        raise ProjectionMismatch(f"the projection {path} does not say how far it has come; rebuild it")
    if sequence < 0 or (not sequence and digest != Head().hash):
        raise ProjectionMismatch(f"the projection {path} stands at a line that cannot be; rebuild it")
    return Meta(ledger_id, Head(sequence, digest))


def _schema_of(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Give every table and index that somebody made, and how."""
    return connection.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
    ).fetchall()


@lru_cache
def _expected_schema(tables: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Ask this SQLite how it spells the tables."""
    connection = sqlite3.connect(":memory:")
    try:
        for table in (_META_TABLE, *tables):
            connection.execute(table)
        return _schema_of(connection)
    finally:
        connection.close()


def _is_empty(connection: sqlite3.Connection) -> bool:
    found: tuple[int] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return found == (0,)


def _typed(path: Path, error: Exception) -> BibankError:
    primary = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if primary in _OPERATING_TROUBLE:
        return StoreUnavailable(f"the projection {path} cannot be used now: {error}")
    return ProjectionMismatch(f"the projection {path} is damaged: {error}; rebuild it")
