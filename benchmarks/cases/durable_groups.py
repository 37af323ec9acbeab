"""Large groups, signed and durable when they return: every line signed, or the last of each group.

Wall time, of the work and of the unit: a sync is waited for, and a signature in a program that waits
costs what the clock on the wall says.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

from benchmarks import units, workload
from benchmarks.cases.commit_each import committed
from benchmarks.measure import Bar, Row, Work, at_least, interleave, per_operation
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
    unit = units.signing(operations=sizes.unit_operations, clock=time.perf_counter)
    home = settings.scratch / f"{signing}-{size}"
    groups = workload.groups(workload.transfers(sizes.transfers, accounts=_ACCOUNTS), size)
    with workload.open_home(home, signing) as ledger:
        workload.fund(ledger, _ACCOUNTS)

        def work() -> float:
            before = ledger.head.sequence
            start = time.perf_counter()
            for group in groups:
                ledger.commit_each(group).raise_for_refusals()
            seconds = time.perf_counter() - start
            return seconds / committed(ledger, before, groups)

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
        settings=f"fdatasync a group, wall time, {_ACCOUNTS} accounts, S {found.unit_seconds * 1e6:.1f} us",
    )
