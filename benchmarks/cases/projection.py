"""Projection catch-up: how fast a deleted read model comes back, the journal verified on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count

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
    from bibank.projections import SqliteBalances, catch_up

    sizes = settings.sizes
    home = settings.scratch / "home"
    workload.home_ledger(home, accounts=_ACCOUNTS, transfers_after=sizes.replayed, group=_GROUP)
    lines = workload.journal_lines(home)
    numbers = count()

    def prepare() -> Work:
        database = settings.scratch / f"projection-{next(numbers)}.db"

        def work() -> float:
            with SqliteBalances(database) as balances:
                start = time.process_time()
                report = catch_up(balances, lines)
                seconds = time.process_time() - start
            assert report.applied == len(lines)
            return seconds / len(lines)

        return work

    found = interleave(units.signing(operations=sizes.unit_operations), prepare, rounds=sizes.rounds)
    return Row(
        family=_FAMILY,
        name=_NAME,
        figure=found.rate,
        unit="S",
        bar=None,
        absolute=per_operation(found.work_seconds, "line"),
        settings=f"from genesis, {len(lines)} lines, {_ACCOUNTS} accounts, WAL, synchronous=NORMAL",
    )
