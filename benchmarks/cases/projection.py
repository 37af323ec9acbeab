"""Projection catch-up: how fast a deleted read model comes back, the journal verified on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.util import find_spec

from benchmarks import units, workload
from benchmarks.measure import Row, Work, interleave, per_operation
from benchmarks.settings import Settings

_ACCOUNTS = 1000
_GROUP = 1000
_FAMILY = "projection"
_NAME = "projection catch-up, balances in SQLite"


def rows(settings: Settings) -> Iterator[Row]:
    """Measure entries a second against signatures a second, if this version has projections."""
    if find_spec("bibank.projections") is None:
        yield Row(
            family=_FAMILY,
            name=_NAME,
            figure=None,
            unit="S",
            bar=None,
            absolute="no bibank.projections",
            settings="",
        )
        return
    yield _catch_up(settings)


def _catch_up(settings: Settings) -> Row:
    from bibank.home import Home
    from bibank.projections import open_balances

    sizes = settings.sizes
    home = settings.scratch / "home"
    workload.home_ledger(home, accounts=_ACCOUNTS, transfers_after=sizes.replayed, group=_GROUP)
    lines = len(workload.journal_lines(home))
    database = Home(home).projection

    def work() -> float:
        start = time.process_time()
        upkeep = open_balances(home)
        seconds = time.process_time() - start
        upkeep.balances.close()
        assert upkeep.report.applied == lines
        return seconds / lines

    def prepare() -> Work:
        for leftover in database.parent.glob(f"{database.name}*"):
            leftover.unlink()
        return work

    found = interleave(units.signing(operations=sizes.unit_operations), prepare, rounds=sizes.rounds)
    return Row(
        family=_FAMILY,
        name=_NAME,
        figure=found.rate,
        unit="S",
        bar=None,
        absolute=per_operation(found.work_seconds, "entry"),
        settings=f"from genesis, {lines} lines, {_ACCOUNTS} accounts, WAL, synchronous=NORMAL",
    )
