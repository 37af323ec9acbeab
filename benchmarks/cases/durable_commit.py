"""One caller, one commit at a time, durable when it returns: as fast as the disk, or nearly."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice

import bibank as bb
from benchmarks import units, workload
from benchmarks.measure import Row, Work, at_least, interleave, per_operation
from benchmarks.settings import Settings

_ACCOUNTS = 1000


def rows(settings: Settings) -> Iterator[Row]:
    """Measure `Ledger.commit` on a home against one append and sync."""
    sizes = settings.sizes
    count = sizes.durable_commits
    unit = units.syncing(settings.scratch, operations=count)
    drafts = iter(workload.transfers(count * sizes.durable_rounds, accounts=_ACCOUNTS))
    with bb.Ledger.create(settings.scratch / "home", opening=workload.OPENING) as ledger:
        workload.fund(ledger, _ACCOUNTS)

        def prepare() -> Work:
            batch = list(islice(drafts, count))

            def work() -> float:
                commit = ledger.commit
                start = time.perf_counter()
                for draft in batch:
                    commit(draft)
                return (time.perf_counter() - start) / count

            return work

        found = interleave(unit, prepare, rounds=sizes.durable_rounds)
    yield Row(
        family="durable",
        name="single durable commit, one caller",
        figure=found.rate,
        unit="F",
        bar=at_least(0.80),
        absolute=per_operation(found.work_seconds, "commit"),
        settings=f"fdatasync each, wall time, {_ACCOUNTS} accounts, F {found.unit_seconds * 1e6:.0f} us",
    )
