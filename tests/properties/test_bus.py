"""The bus against the oracle: whatever happens, everyone hears exactly what the naive model says."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from hypothesis import given

from tests.properties.bus_histories import Run, Step, bus_histories


@given(history=bus_histories)
def test_any_history_is_told_as_the_oracle_tells_it(history: list[Step]) -> None:
    """Commits, refusals, records, failures, interrupts, replays, restarts and kills in any order.

    In sequence order, at least once, exactly once where nothing failed; from the cursor after a restart;
    nothing skipped by a buffer of four lines; one subscriber's trouble is no other's. Two more are told by a
    thread and by a task meanwhile, stand still and fail; they wake when they are woken, and never by the
    clock. Every commit has the outcome and the bytes of a ledger that nobody listens to.
    """
    with TemporaryDirectory() as directory, patch("bibank.bus.mailbox.LOOK_SECONDS", 3600.0):
        run = Run(Path(directory))
        try:
            for step in history:
                run.take(step)
            run.finish()
        finally:
            run.stop()
