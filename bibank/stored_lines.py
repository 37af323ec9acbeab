"""Lines that are read again from a store: decoded, and held to the chain that they were taken into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from bibank.errors import InvalidValue, JournalCorrupt, JournalError
from bibank.journal.codec import decode_line
from bibank.journal.recheck import recheck
from bibank.journal.reference import line_hash
from bibank.model.lines import Head
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


def rechecked(
    lines: Iterator[bytes],
    *,
    after: Head,
    until_sequence: int,
    ledger_id: Callable[[int], str],
    place: Callable[[JournalError], JournalError],
) -> Iterator[tuple[Head, bytes]]:
    """Give the lines behind a position, undecoded; `JournalCorrupt` when they are no longer what they were.

    Each comes with where the journal stands after it. The chain is held from the position on, so whoever gets
    them all knows that they lead from there to the last one's hash.
    """
    prev_hash = after.hash
    for sequence in range(after.sequence + 1, until_sequence + 1):
        data = next(lines, None)
        try:
            if data is None:
                raise InvalidValue("the journal ends before this line")
            found, before, digest = recheck(data, ledger_id=ledger_id(sequence))
            if found != sequence:
                raise InvalidValue(f"sequence {found}, expected {sequence}")
            if before != prev_hash:
                raise InvalidValue("prev_hash is not the hash of the line before")
        except InvalidValue as error:
            raise place(JournalCorrupt(str(error), sequence=sequence)) from error
        yield Head(sequence, digest), data
        prev_hash = digest


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
