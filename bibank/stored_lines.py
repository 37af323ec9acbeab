"""Lines that are read again from a store: decoded, and held to the chain that they were taken into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from bibank.errors import InvalidValue, JournalCorrupt, JournalError
from bibank.journal.codec import decode_line
from bibank.journal.reference import line_hash
from bibank.model.record import JournalLine


class Lines(Protocol):
    """The lines of a ledger, as far as they may be shown, or further."""

    def read(self, *, after_sequence: int) -> Iterator[bytes]:
        """Give the lines after a sequence that are there now, as exact bytes without newlines."""


def checked_lines(
    lines: Iterator[bytes],
    *,
    first: int,
    last: int,
    ledger_id: Callable[[int], str],
    place: Callable[[JournalError], JournalError],
) -> Iterator[JournalLine]:
    """Give the lines of these sequences; `JournalCorrupt` when they are no longer what they were.

    `ledger_id` tells the id that a line of a sequence is hashed under.
    """
    prev_hash: str | None = None
    for sequence in range(first, last + 1):
        data = next(lines, None)
        try:
            if data is None:
                raise InvalidValue("the journal ends before this line")
            line = decode_line(data)
            if line.sequence != sequence:
                raise InvalidValue(f"sequence {line.sequence}, expected {sequence}")
            if line_hash(line, ledger_id=ledger_id(sequence)) != line.hash:
                raise InvalidValue("the line's hash is not that of its content")
            if prev_hash not in (None, line.prev_hash):
                raise InvalidValue("prev_hash is not the hash of the line before")
            prev_hash = line.hash
        except InvalidValue as error:
            raise place(JournalCorrupt(str(error), sequence=sequence)) from error
        yield line


class Placer:
    """Adds file and line to an error where the store knows them."""

    def __init__(self, store: Lines) -> None:
        self._locate = getattr(store, "locate", None)

    def __call__(self, error: JournalError) -> JournalError:
        """Give the same error, placed."""
        if self._locate is None or error.file is not None:
            return error
        file, line = self._locate(error.sequence)
        return type(error)(error.reason, sequence=error.sequence, file=file, line=line)
