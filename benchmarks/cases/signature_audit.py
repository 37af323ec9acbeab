"""An audit that verifies every signature, by itself and with two threads.

Serial, CPU time. With two workers the CPU time of the threads adds up, so it is wall time there, of the
work and of the unit: on a machine that is busy with other things that figure says little.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import bibank as bb
from benchmarks import units, workload
from benchmarks.measure import Bar, Row, Work, at_least, interleave, per_operation
from benchmarks.settings import Settings
from benchmarks.units import Clock

_ACCOUNTS = 1000
_GROUP = 1000
_WAYS: tuple[tuple[int, str, Clock, Bar], ...] = (
    (1, "CPU time", time.process_time, at_least(0.75)),
    (2, "wall time", time.perf_counter, at_least(1.3)),
)


def rows(settings: Settings) -> Iterator[Row]:
    """Measure `audit_home` with every signature against a pinned ledger id."""
    sizes = settings.sizes
    home = settings.scratch / "home"
    workload.home_ledger(
        home, accounts=_ACCOUNTS, transfers_after=sizes.audited, group=_GROUP, signing="entry"
    )
    pin = bb.Pin(ledger_id=bb.audit_home(home).ledger_id)
    for workers, clock_name, clock, bar in _WAYS:

        def work(workers: int = workers, clock: Clock = clock) -> float:
            start = clock()
            report = bb.audit_home(home, level="signatures", pin=pin, workers=workers)
            seconds = clock() - start
            assert isinstance(report.verdict, bb.Verified)
            assert report.signatures == report.lines
            return seconds / report.lines

        def prepare(work: Work = work) -> Work:
            return work

        unit = units.verifying(operations=sizes.unit_operations, clock=clock)
        found = interleave(unit, prepare, rounds=sizes.rounds)
        yield Row(
            family="audit",
            name=f"audit with signatures, {workers} worker{'s' * (workers > 1)}",
            figure=found.rate,
            unit="V",
            bar=bar,
            absolute=per_operation(found.work_seconds, "line"),
            settings=f"{clock_name}, {sizes.audited} transfers and {_ACCOUNTS} deposits, "
            f"V {found.unit_seconds * 1e6:.1f} us",
        )
