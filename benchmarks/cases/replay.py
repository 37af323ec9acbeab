"""Strict replay: opening a home reads, rebuilds, hashes and compares every line."""

from __future__ import annotations

import time
from collections.abc import Iterator

import bibank as bb
from benchmarks import units, workload
from benchmarks.measure import Row, Work, at_least, interleave, per_operation
from benchmarks.settings import Settings

_ACCOUNTS = 1000
_GROUP = 1000


def rows(settings: Settings) -> Iterator[Row]:
    """Measure `Ledger.open` per line against `json.loads` of the same lines."""
    sizes = settings.sizes
    home = settings.scratch / "home"
    workload.home_ledger(home, accounts=_ACCOUNTS, transfers_after=sizes.replayed, group=_GROUP)
    lines = workload.journal_lines(home)
    unit = units.parsing(lines[-sizes.unit_operations * 5 :])

    def work() -> float:
        start = time.process_time()
        with bb.Ledger.open(home, verify="all", snapshot_every=None) as again:
            seconds = time.process_time() - start
            assert again.head.sequence == len(lines)
        return seconds / len(lines)

    def prepare() -> Work:
        return work

    found = interleave(unit, prepare, rounds=sizes.rounds)
    yield Row(
        family="replay",
        name="strict replay, Ledger.open of a home",
        figure=found.rate,
        unit="J",
        bar=at_least(0.5),
        absolute=per_operation(found.work_seconds, "line"),
        settings=f"{len(lines)} lines of two postings, {_ACCOUNTS} accounts, groups of {_GROUP}",
    )
