"""Unsigned `commit_each` into a store in memory: what the ledger itself costs, without any disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import bibank as bb
from benchmarks import units, workload
from benchmarks.measure import Row, Work, at_least, interleave, per_operation
from benchmarks.settings import Settings

_ACCOUNTS = 1000
_BAR = at_least(2.5)


def rows(settings: Settings) -> Iterator[Row]:
    """Measure each group size with drafts at hand, and once with the making of the drafts inside."""
    sizes = settings.sizes
    unit = units.signing(operations=sizes.unit_operations)
    for size in sizes.group_sizes:
        found = interleave(unit, lambda size=size: _ready(sizes.transfers, size), rounds=sizes.rounds)  # type: ignore[misc]  # binds the loop's size
        yield Row(
            family="commit_each",
            name=f"unsigned commit_each, groups of {size}",
            figure=found.rate,
            unit="S",
            bar=_BAR,
            absolute=per_operation(found.work_seconds, "transfer"),
            settings=f"no sync, memory store, {_ACCOUNTS} accounts, drafts at hand",
        )
    size = sizes.group_sizes[0]
    found = interleave(unit, lambda: _from_arguments(sizes.transfers, size), rounds=sizes.rounds)
    yield Row(
        family="commit_each",
        name=f"unsigned commit_each, groups of {size}, drafts made",
        figure=found.rate,
        unit="S",
        bar=None,
        absolute=per_operation(found.work_seconds, "transfer"),
        settings=f"no sync, memory store, {_ACCOUNTS} accounts, drafts made inside",
    )


def _ready(count: int, size: int) -> Work:
    ledger = workload.memory_ledger(_ACCOUNTS)
    before = ledger.head.sequence
    groups = workload.groups(workload.transfers(count, accounts=_ACCOUNTS), size)

    def work() -> float:
        start = time.process_time()
        for group in groups:
            ledger.commit_each(group).raise_for_refusals()
        seconds = time.process_time() - start
        return seconds / _committed(ledger, before, groups)

    return work


def _from_arguments(count: int, size: int) -> Work:
    ledger = workload.memory_ledger(_ACCOUNTS)
    before = ledger.head.sequence

    def work() -> float:
        start = time.process_time()
        groups = workload.groups(workload.transfers(count, accounts=_ACCOUNTS), size)
        for group in groups:
            ledger.commit_each(group).raise_for_refusals()
        seconds = time.process_time() - start
        return seconds / _committed(ledger, before, groups)

    return work


def _committed(ledger: bb.Ledger, before: int, groups: Sequence[Sequence[bb.UnsignedEntry]]) -> int:
    """Count the transfers, all of which must have been committed: a refusal would be cheaper."""
    count = sum(map(len, groups))
    assert ledger.head.sequence == before + count, "a transfer was refused"
    return count
