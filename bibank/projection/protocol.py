"""The two protocols of a catch-up: a view that follows a journal, and what gives it the lines.

A projection remembers how far it has come, and says so; a source delivers what lies behind that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from bibank.model.lines import Head
from bibank.projection.verified import VerifiedLine


@runtime_checkable
class Projection(Protocol):
    """A view of the journal that can be thrown away.

    Obligations: a line at or below what was applied already is ignored, a line that does not follow
    what was applied is a `ProjectionMismatch`; what was applied and the position are saved in one
    transaction, so that an interruption at any point loses nothing and counts nothing twice; reset
    and replayed, it is equal to the one that went along. "Equal" is a canonical dump (every table,
    rows by key, position), not the bytes of a file.
    """

    @property
    def name(self) -> str:
        """What it is called among the projections of one home."""

    @property
    def position(self) -> Head:
        """The last line that was applied and saved: its sequence and hash. `Head()` before the first."""

    def apply(self, line: VerifiedLine) -> None:
        """Take in the next line. It need not be saved before the next `flush`."""

    def flush(self) -> None:
        """Save what was applied, and the position, in one transaction."""

    def reset(self) -> None:
        """Forget everything, durably: the next line to apply is the first."""


@runtime_checkable
class LineSource(Protocol):
    """A journal whose lines a projection can follow: an open ledger, a reader, or `JournalLines`.

    Obligations: what is given is verified, durable, and in order, without a gap; it ends with a whole batch.
    """

    @property
    def head(self) -> Head:
        """The last line that can be given now. `Head()` where none is known yet."""

    def verified_lines(self, *, after: Head) -> Iterator[VerifiedLine]:
        """Give the lines behind one of this journal's, to the head; all of them behind `Head()`.

        Raises `ProjectionMismatch` when `after` is not a line of this journal, before the first line is
        given or in its place; `JournalCorrupt` where the journal does not hold.
        """
