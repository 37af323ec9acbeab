"""A thousand asyncio tasks, each committing one draft after the other: they share writes and syncs.

Each commit is durable when it is awaited. Wall time, since that is what a task waits; the figure is how
many commits are done while the disk syncs one append.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from itertools import islice

import bibank as bb
from benchmarks import units, workload
from benchmarks.measure import Bar, Row, Work, at_least, interleave, per_operation
from benchmarks.settings import Settings
from benchmarks.workload import Signing

_ACCOUNTS = 1000

_UNIT_OPERATIONS = 40
"""Syncs in one reference: about as long as one round of commits."""

_WAYS: tuple[tuple[Signing, str, Bar | None], ...] = (
    ("entry", "asyncio tasks, signed", at_least(10)),
    ("group", "asyncio tasks, signing='group'", at_least(10)),
    (None, "asyncio tasks, unsigned", None),
)


def rows(settings: Settings) -> Iterator[Row]:
    """Measure each way of signing."""
    for signing, name, bar in _WAYS:
        yield _figure(settings, signing, name=name, bar=bar)


def _figure(settings: Settings, signing: Signing, *, name: str, bar: Bar | None) -> Row:
    sizes = settings.sizes
    tasks, each = sizes.asyncio_tasks, sizes.asyncio_commits
    unit = units.syncing(settings.scratch, operations=min(_UNIT_OPERATIONS, sizes.durable_commits))
    count = tasks * each
    drafts = iter(workload.transfers(count * (sizes.rounds + 1), accounts=_ACCOUNTS))
    with (
        asyncio.Runner() as runner,
        workload.open_home(settings.scratch / f"tasks-{signing}", signing) as blocking,
    ):
        workload.fund(blocking, _ACCOUNTS)
        ledger = bb.AsyncLedger(blocking)

        def prepare() -> Work:
            pages = [list(islice(drafts, each)) for _ in range(tasks)]
            return lambda: runner.run(_commit_all(ledger, pages)) / count

        prepare()()  # the thread that commits is there from now on, and caches are warm
        found = interleave(unit, prepare, rounds=sizes.rounds)
        runner.run(ledger.close())
    return Row(
        family="concurrent",
        name=f"{tasks} {name}",
        figure=found.rate,
        unit="F",
        bar=bar,
        absolute=per_operation(found.work_seconds, "commit"),
        settings=f"{each} commits a task, durable each, wall time, {_ACCOUNTS} accounts, "
        f"F {found.unit_seconds * 1e6:.0f} us",
    )


async def _commit_all(ledger: bb.AsyncLedger, pages: Sequence[Sequence[bb.UnsignedEntry]]) -> float:
    """Let a task commit each page, and give the seconds from the first submission to the last result."""

    async def commit(page: Sequence[bb.UnsignedEntry]) -> None:
        for draft in page:
            await ledger.commit(draft)

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for page in pages:
            group.create_task(commit(page))
    return time.perf_counter() - start
