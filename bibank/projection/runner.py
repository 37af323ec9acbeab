"""Feeding a projection: verify the whole journal, deliver what the projection does not have yet.

Verifying a line costs a few microseconds, so even an incremental run starts at genesis: what a
projection shows then always follows from the first line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from bibank.errors import ProjectionMismatch
from bibank.journal.machine import LedgerMachine
from bibank.model.lines import Head
from bibank.projection.protocol import Projection
from bibank.projection.verified import Place, VerifiedLine, verified_batches

FLUSH_LINES = 8192
"""Lines between two transactions: many, because a flush costs more than a line, and few enough to keep
the changed accounts of one transaction in memory."""

PROGRESS_LINES = 1000
"""Lines between two reports of progress."""

Progress = Callable[[int], None]
"""Is told now and then how many lines are done."""


def no_progress(done: int) -> None:
    """Tell nobody."""


@attrs.frozen(kw_only=True)
class CatchUp:
    """What a run did: where the projection stood `before`, where it stands now."""

    before: Head
    position: Head

    @property
    def applied(self) -> int:
        """How many lines the run added to the projection."""
        return self.position.sequence - self.before.sequence


def catch_up(
    projection: Projection,
    lines: Iterable[bytes],
    *,
    place: Place = lambda error: error,
    progress: Progress = no_progress,
    flush_lines: int = FLUSH_LINES,
    machine: LedgerMachine | None = None,
) -> CatchUp:
    """Bring a projection to the end of a journal; `lines` begin with the journal's first.

    Only verified lines are delivered, only in whole batches. Raises `JournalCorrupt` (what stands
    before the damage may have been applied), `ProjectionMismatch` when the projection is of another
    journal or ahead of this one, and what `apply` and `flush` raise. A new `machine` may be given,
    by who wants to compare the projection with its accounts afterwards.
    """
    before = projection.position
    head = Head()
    waiting = 0
    reported = 0
    for batch in verified_batches(lines, place=place, machine=machine):
        for line in batch:
            if line.sequence > before.sequence:
                projection.apply(line)
                waiting += 1
            elif line.sequence == before.sequence:
                _check_same_history(projection, line)
        head = batch[-1].head
        if waiting >= flush_lines:
            projection.flush()
            waiting = 0
        if head.sequence - reported >= PROGRESS_LINES:
            reported = head.sequence
            progress(reported)
    if head.sequence < before.sequence:
        raise ProjectionMismatch(
            f"the projection {projection.name} stands at line {before.sequence}, "
            f"the journal ends at {head.sequence}; rebuild the projection"
        )
    projection.flush()
    progress(head.sequence)
    return CatchUp(before=before, position=projection.position)


def _check_same_history(projection: Projection, line: VerifiedLine) -> None:
    """Demand that the projection's position is a line of this journal; the hash covers the ledger's id."""
    if projection.position != line.head:
        raise ProjectionMismatch(
            f"the projection {projection.name} stands at line {line.sequence} with hash "
            f"{projection.position.hash}, the journal has {line.hash} there: it is of another ledger or of "
            "another history; rebuild the projection"
        )
