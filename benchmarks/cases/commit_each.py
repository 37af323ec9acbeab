"""`commit_each` into a store in memory: what the ledger itself costs, without any disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import bibank as bb
from benchmarks import units, workload
from benchmarks.measure import Bar, Row, Spread, Work, at_least, interleave, per_operation
from benchmarks.settings import Settings
from benchmarks.workload import Signing

_ACCOUNTS = 1000
_UNSIGNED = at_least(2.5)
_SIGNED = at_least(0.70)


def rows(settings: Settings) -> Iterator[Row]:
    """Measure each group size, unsigned and signed, and once with the making of the drafts inside."""
    sizes = settings.sizes
    unit = units.signing(operations=sizes.unit_operations)
    ways: tuple[tuple[str, Signing, Bar], ...] = (("unsigned", None, _UNSIGNED), ("signed", "entry", _SIGNED))
    for name, signing, bar in ways:
        for size in sizes.group_sizes:
            found = interleave(
                unit,
                lambda size=size, signing=signing: _ready(sizes.transfers, size, signing),  # type: ignore[misc]  # binds the loop's values
                rounds=sizes.rounds,
            )
            yield _row(f"{name} commit_each, groups of {size}", found.rate, found.work_seconds, bar)
    size = sizes.group_sizes[0]
    found = interleave(unit, lambda: _from_arguments(sizes.transfers, size), rounds=sizes.rounds)
    name = f"unsigned commit_each, groups of {size}, drafts made"
    yield _row(name, found.rate, found.work_seconds, None, drafts="made inside")


def _row(name: str, rate: Spread, seconds: float, bar: Bar | None, *, drafts: str = "at hand") -> Row:
    return Row(
        family="commit_each",
        name=name,
        figure=rate,
        unit="S",
        bar=bar,
        absolute=per_operation(seconds, "transfer"),
        settings=f"no sync, memory store, {_ACCOUNTS} accounts, drafts {drafts}",
    )


def _ready(count: int, size: int, signing: Signing) -> Work:
    ledger = workload.memory_ledger(_ACCOUNTS, signing)
    groups = workload.groups(workload.transfers(count, accounts=_ACCOUNTS), size)

    def work() -> float:
        before = ledger.head.sequence
        start = time.process_time()
        for group in groups:
            ledger.commit_each(group).raise_for_refusals()
        seconds = time.process_time() - start
        return seconds / committed(ledger, before, groups)

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
        return seconds / committed(ledger, before, groups)

    return work


def committed(ledger: bb.Ledger, before: int, groups: Sequence[Sequence[bb.UnsignedEntry]]) -> int:
    """Count the transfers, all of which must have been committed: a refusal would be cheaper."""
    count = sum(map(len, groups))
    assert ledger.head.sequence == before + count, "a transfer was refused"
    return count
