"""Large groups, signed and durable when they return: every line signed, or the last of each group.

The figure is CPU time, as for all that the processor does; the one sync of a group waits for the disk, and
the settings of a row say what the clock on the wall makes of both.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from statistics import median

from benchmarks import units, workload
from benchmarks.cases.commit_each import committed
from benchmarks.measure import Bar, Row, Work, as_time, at_least, interleave, per_operation
from benchmarks.settings import Settings
from benchmarks.workload import Signing

_ACCOUNTS = 1000
_WAYS: tuple[tuple[Signing, str, Bar], ...] = (
    ("entry", "signed commit_each, durable", at_least(0.65)),
    ("group", "signing='group', durable", at_least(2.0)),
)


def rows(settings: Settings) -> Iterator[Row]:
    """Measure each way of signing with each group size."""
    for signing, name, bar in _WAYS:
        for size in settings.sizes.group_sizes:
            yield _figure(settings, signing, size, name=f"{name}, groups of {size}", bar=bar)


def _figure(settings: Settings, signing: Signing, size: int, *, name: str, bar: Bar) -> Row:
    sizes = settings.sizes
    unit = units.signing(operations=sizes.unit_operations)
    home = settings.scratch / f"{signing}-{size}"
    groups = workload.groups(workload.transfers(sizes.transfers, accounts=_ACCOUNTS), size)
    with workload.open_home(home, signing) as ledger:
        workload.fund(ledger, _ACCOUNTS)

        walls = []

        def work() -> float:
            before = ledger.head.sequence
            wall, start = time.perf_counter(), time.process_time()
            for group in groups:
                ledger.commit_each(group).raise_for_refusals()
            seconds, wall = time.process_time() - start, time.perf_counter() - wall
            count = committed(ledger, before, groups)
            walls.append(wall / count)
            return seconds / count

        def prepare() -> Work:
            return work

        found = interleave(unit, prepare, rounds=sizes.rounds)
    shutil.rmtree(home)
    return Row(
        family="groups",
        name=name,
        figure=found.rate,
        unit="S",
        bar=bar,
        absolute=per_operation(found.work_seconds, "transfer"),
        settings=f"fdatasync a group, CPU time, {_ACCOUNTS} accounts; wall time {as_time(median(walls))}",
    )
