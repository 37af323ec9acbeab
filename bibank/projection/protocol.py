"""The protocol of a projection: a view that follows the journal and remembers how far it has come."""

from __future__ import annotations

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
