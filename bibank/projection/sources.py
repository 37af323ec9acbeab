"""A journal as a source of lines, without an open ledger: verified from its first line on.

Verifying a line costs a few microseconds, so even what a projection has already is verified again: what
it shows then always follows from the first line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from bibank.errors import ProjectionMismatch
from bibank.journal.machine import LedgerMachine
from bibank.model.lines import Head
from bibank.projection.verified import Place, VerifiedLine, verified_batches

PROGRESS_LINES = 1000
"""Lines between two reports of progress."""

Progress = Callable[[int], None]
"""Is told now and then how many lines are done."""


def no_progress(done: int) -> None:
    """Tell nobody."""


class JournalLines:
    """The lines of a journal from its first on, for `catch_up`. An iterator can be used up once.

    `place` adds file and line to an error; `progress` is told of the lines that are verified and skipped.
    A new `machine` may be given, by who wants to compare the projection with its accounts afterwards.
    """

    def __init__(
        self,
        lines: Iterable[bytes],
        *,
        place: Place = lambda error: error,
        progress: Progress = no_progress,
        machine: LedgerMachine | None = None,
    ) -> None:
        self._lines = lines
        self._place = place
        self._progress = progress
        self._machine = machine
        self._head = Head()

    @property
    def head(self) -> Head:
        """The last line that was verified: where the journal ends, after all of them were given."""
        return self._head

    def verified_lines(self, *, after: Head) -> Iterator[VerifiedLine]:
        """Verify the journal and give the lines behind one of them, each batch when it is whole.

        Raises `JournalCorrupt`, after all batches before the damage; `UnsupportedFormat`;
        `ProjectionMismatch` when `after` is not a line of this journal.
        """
        self._head = Head()
        for batch in verified_batches(self._lines, place=self._place, machine=self._machine):
            for line in batch:
                if line.sequence > after.sequence:
                    yield line
                elif line.sequence == after.sequence:
                    check_same_history(after, line.hash)
                elif line.sequence % PROGRESS_LINES == 0:
                    self._progress(line.sequence)
            self._head = batch[-1].head
        check_reaches(after, self._head)


def check_same_history(after: Head, found: str) -> None:
    """Demand that the line where a projection stands is this journal's; the hash covers the ledger's id.

    `found` is the hash of the journal's line with that sequence. Raises `ProjectionMismatch`.
    """
    if after.hash != found:
        raise ProjectionMismatch(
            f"the projection stands at line {after.sequence} with hash {after.hash}, the journal has "
            f"{found} there: it is of another ledger or of another history; rebuild the projection"
        )


def check_reaches(after: Head, end: Head) -> None:
    """Demand that a journal reaches to where a projection stands; `ProjectionMismatch` otherwise."""
    if end.sequence < after.sequence:
        raise ProjectionMismatch(
            f"the projection stands at line {after.sequence}, the journal ends at {end.sequence}; "
            "rebuild the projection"
        )
