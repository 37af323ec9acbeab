"""The books in SQLite: everything that is often asked about the past, kept in a file that can be thrown away.

One file, one position: balances, postings, trades, holds and metadata are of the same line, and change in
the same transaction. What may be asked is in `books_balances` and `books_history`.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as directory, SqliteBooks(Path(directory) / "projection.db") as books:
...     print(books.position.sequence, books.balance("ALICE", "USDT").available)
0 0
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from bibank.errors import HeadConflict, InvalidType, ProjectionMismatch
from bibank.model.lines import Head
from bibank.projection.books_balances import BalanceQuestions
from bibank.projection.books_history import HistoryQuestions
from bibank.projection.books_rows import Rows
from bibank.projection.books_saving import Saver
from bibank.projection.books_schema import DUMPED, SCHEMA, TABLES
from bibank.projection.database import BUSY_TIMEOUT_SECONDS, Meta, ProjectionDatabase
from bibank.projection.verified import VerifiedLine
from bibank.store.jsonl.plan import check_lock_timeout

_DUMPED_AT_ONCE = 1000
"""Rows that are spelled and hashed together."""


class SqliteBooks(BalanceQuestions, HistoryQuestions):
    """Every account, entry, trade and hold of a journal, in one SQLite file.

    Answers show what was flushed, here or by another process. When two of them catch up the same
    file, or one resets it, the other gets a `HeadConflict` and catches up again. Raises `ProjectionMismatch`
    for a file that is damaged or of another kind: rebuild it, it is disposable. Raises
    `StoreUnavailable` for a locked or unreachable file. For one thread at a time.
    """

    name = "books"

    def __init__(
        self, path: str | os.PathLike[str], *, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS
    ) -> None:
        try:
            file = Path(path)
        except TypeError:
            raise InvalidType(f"books are in a file, which is a path, not {type(path).__name__}") from None
        self._database = ProjectionDatabase(
            file,
            schema=SCHEMA,
            tables=TABLES,
            busy_timeout_seconds=check_lock_timeout(busy_timeout_seconds, what="busy_timeout_seconds"),
        )
        self._rows = Rows()
        self._saver = Saver()
        self._saved = Meta()
        self._ledger_id, self._applied, self._applied_hash = "", 0, ""
        self._forget_pending()

    def __repr__(self) -> str:
        return f"<SqliteBooks in {str(self._database.path)!r}, line {self.position.sequence}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was not flushed is applied again next time. Closing twice is harmless."""
        self._database.close()

    # ------------------------------------------------------------------ following the journal

    @property
    def position(self) -> Head:
        """The last line that was applied and saved."""
        return self._saved.position

    @property
    def ledger_id(self) -> str:
        """Whose books these are; empty before the first line was saved."""
        return self._saved.ledger_id

    def apply(self, line: VerifiedLine) -> None:
        """Add a line to what the next `flush` saves; ignored when it was applied already.

        Raises `ProjectionMismatch` when it does not follow what was applied.
        """
        sequence = line.sequence
        if sequence <= self._applied:
            return
        if sequence != self._applied + 1 or line.prev_hash != self._applied_hash:
            raise ProjectionMismatch(
                f"line {sequence} does not follow line {self._applied} of the projection; "
                "catch up, or rebuild it"
            )
        named = self._rows.add(line)
        if named is not None:
            self._ledger_id = named
        self._applied, self._applied_hash = sequence, line.hash

    def flush(self) -> None:
        """Save what was applied, and the position, in one transaction.

        Raises `HeadConflict` when another process moved the projection, after which what was pending
        is forgotten: catch up again. After a `StoreUnavailable` it is kept, for another try.
        """
        if self._applied == self._saved.position.sequence:
            return
        reached = Meta(self._ledger_id, Head(self._applied, self._applied_hash))
        try:
            with self._database.transaction() as connection:
                self._database.check(connection, self._saved)
                self._saver.save(connection, self._rows)
                self._database.save(connection, reached)
        except HeadConflict:
            self._forget_pending()
            raise
        except BaseException:
            self._saver.forget()
            raise
        self._saved = reached
        self._rows.clear()

    def reset(self) -> None:
        """Delete everything and go back before the first line, in one transaction."""
        with self._database.transaction() as connection:
            for table in DUMPED:
                connection.execute(f"DELETE FROM {table}")
            self._database.save(connection, Meta())
        self._forget_pending()

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Keep other processes from changing the file, and make one transaction of all that is done.

        Others see what was saved before. When the block raises, nothing of it stays.
        """
        try:
            with self._database.transaction():
                self._forget_pending()  # begin where the file stands now
                yield
        except BaseException:
            self._forget_pending()
            raise

    @contextmanager
    def steadily(self) -> Iterator[None]:
        """Look at one saved state throughout, whatever others change meanwhile: the newest."""
        with self._database.snapshot():
            self._forget_pending()
            yield

    def _forget_pending(self) -> None:
        """Stand where the file stands."""
        self._saver.forget()
        self._rows.clear()
        with self._database.snapshot() as connection:
            self._saved = self._database.load(connection)
        self._ledger_id = self._saved.ledger_id
        self._applied, self._applied_hash = self._saved.position.sequence, self._saved.position.hash

    # ------------------------------------------------------------------ comparing

    def dump(self) -> str:
        """Spell everything that was saved, canonically: two projections are equal when their dumps are.

        Raises `HeadConflict` when another process moved the projection.
        """
        with self._database.snapshot():
            return "".join(self._dump_pages())

    def digest(self) -> str:
        """Hash the canonical dump: SHA-256, lower-case hex."""
        digest = sha256()
        with self._database.snapshot():
            for page in self._dump_pages():
                digest.update(page.encode())
        return digest.hexdigest()

    def _dump_pages(self) -> Iterator[str]:
        with self._database.snapshot() as connection:
            self._database.check(connection, self._saved)
            yield f"schema {SCHEMA}\n"
            yield f"ledger {self._saved.ledger_id}\n"
            yield f"position {self._saved.position.sequence} {self._saved.position.hash}\n"
            for table, (columns, key) in DUMPED.items():
                spelled = " || ' ' || ".join(f"quote({column})" for column in columns.split(", "))
                rows = connection.execute(
                    f"SELECT '{table} ' || {spelled} || char(10) FROM {table} ORDER BY {key}"
                )
                while page := rows.fetchmany(_DUMPED_AT_ONCE):
                    yield "".join([line for (line,) in page])
