"""What all questions to the books have in common: one saved state, checked arguments, typed rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from sqlite3 import Connection
from typing import TypeVar

import attrs

from bibank.errors import BibankError, InvalidType, InvalidValue, ProjectionMismatch, excerpt
from bibank.projection.books_schema import MAX_INTEGER, column_units
from bibank.projection.database import Meta, ProjectionDatabase

T = TypeVar("T")
U = TypeVar("U")


@attrs.frozen
class Look:
    """One saved state of the file: a connection within a transaction, and the last line."""

    connection: Connection
    last: int


class Asking:
    """A file that can be asked, and how far its reader knows it to be."""

    _database: ProjectionDatabase
    _saved: Meta

    @contextmanager
    def _look(self) -> Iterator[Look]:
        """Look at one saved state; `HeadConflict` when another process moved the file back."""
        with self._database.snapshot() as connection:
            found = self._database.check_reached(connection, self._saved)
            yield Look(connection, found.position.sequence)


def read_rows(make: Callable[[T], U], rows: Iterable[T]) -> Iterator[U]:
    """Make values of rows; `ProjectionMismatch` where a row cannot be one."""
    for row in rows:
        try:
            value = make(row)
        except ProjectionMismatch:
            raise
        except (BibankError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ProjectionMismatch(
                f"the projection holds what it cannot hold: {excerpt(str(error))}; rebuild it"
            ) from error
        yield value


def units_by_key(row: tuple[object, object]) -> tuple[str, int]:
    """Read a key and a number of units."""
    key, units = row
    if not isinstance(key, str):
        raise TypeError("an account's key is a text")
    return key, column_units(units)


def check_text(value: object, *, what: str) -> str:
    """Refuse what is no text; `InvalidType`."""
    if not isinstance(value, str):
        raise InvalidType(f"{what} is a str, not {type(value).__name__}")
    return str.__str__(value)


def check_number(value: object, *, what: str) -> int:
    """Refuse what is no number of lines; `InvalidType`, `InvalidValue`. A huge one is cut to the largest."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidType(f"{what} is an int, not {type(value).__name__}")
    if value < 0:
        raise InvalidValue(f"{what} {excerpt(value)} is below 0")
    return min(int(value), MAX_INTEGER)


def check_until(value: object) -> int:
    """Read the last line to look at; None for all lines."""
    return MAX_INTEGER if value is None else check_number(value, what="until_sequence")


def check_limit(value: object) -> int:
    """Read how many rows to give at most; None for all of them, which SQLite calls -1."""
    return -1 if value is None else check_number(value, what="limit")


def key_range(prefix: str) -> tuple[str, str] | None:
    """Give the first and the last key that may begin with a text; None when no key does."""
    return (prefix, prefix + "\x7f") if prefix.isascii() else None
