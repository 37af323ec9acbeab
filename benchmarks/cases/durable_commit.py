"""One caller, one commit at a time, durable when it returns: as fast as the disk, or nearly."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice

from benchmarks import units, workload
from benchmarks.measure import Bar, Row, Work, at_least, interleave, per_operation
from benchmarks.settings import Settings
from benchmarks.workload import Signing

_ACCOUNTS = 1000


def rows(settings: Settings) -> Iterator[Row]:
    """Measure `Ledger.commit` on a home, unsigned and signed, against one append and sync."""
    yield _figure(settings, None, name="single durable commit, unsigned", bar=at_least(0.80))
    yield _figure(settings, "entry", name="single durable commit, signed", bar=None)


def _figure(settings: Settings, signing: Signing, *, name: str, bar: Bar | None) -> Row:
    sizes = settings.sizes
    count = sizes.durable_commits
    unit = units.syncing(settings.scratch, operations=count)
    drafts = iter(workload.transfers(count * sizes.durable_rounds, accounts=_ACCOUNTS))
    with workload.open_home(settings.scratch / f"home-{signing}", signing) as ledger:
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
    return Row(
        family="durable",
        name=name,
        figure=found.rate,
        unit="F",
        bar=bar,
        absolute=per_operation(found.work_seconds, "commit"),
        settings=f"one caller, fdatasync each, wall time, {_ACCOUNTS} accounts, "
        f"F {found.unit_seconds * 1e6:.0f} us",
    )
