"""Feeding a projection: deliver what it does not have yet, and save it between two batches."""

from __future__ import annotations

import attrs

from bibank.errors import InvalidType
from bibank.model.lines import Head
from bibank.projection.protocol import LineSource, Projection
from bibank.projection.sources import PROGRESS_LINES, Progress, no_progress

FLUSH_LINES = 8192
"""Lines between two transactions: many, because a flush costs more than a line, and few enough to keep
the rows of one transaction in memory."""


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
    source: LineSource,
    *,
    progress: Progress = no_progress,
    flush_lines: int = FLUSH_LINES,
) -> CatchUp:
    """Bring a projection to the end of a journal: of an open ledger, a reader, or `JournalLines`.

    It is saved every `flush_lines` lines or somewhat more, never within a batch, and at the end. Raises
    `ProjectionMismatch` when the projection is of another journal or ahead of this one, `JournalCorrupt`
    (what stands before the damage may have been applied), `InvalidType` for what is no source, and what
    `apply` and `flush` raise.
    """
    if not hasattr(source, "verified_lines"):
        raise InvalidType(
            f"a {type(source).__name__} is no source of lines; give an open ledger, or JournalLines(lines)"
        )
    before = projection.position
    waiting = 0
    done = before.sequence
    for line in source.verified_lines(after=before):
        projection.apply(line)
        done = line.sequence
        waiting += 1
        if waiting >= flush_lines and line.ends_batch:
            projection.flush()
            waiting = 0
        if done % PROGRESS_LINES == 0:
            progress(done)
    projection.flush()
    progress(done)
    return CatchUp(before=before, position=projection.position)
