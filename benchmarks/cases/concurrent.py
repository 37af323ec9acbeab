"""Many callers at once, each committing one draft after the other: they share writes and syncs.

Each commit is durable when its caller goes on. Wall time, since that is what a caller waits; the figure is
how many commits are done while the disk syncs one append. So it depends on the disk: each commit costs a
signature and the switch to another thread as well, which a fast disk does not make any faster.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice

import bibank as bb
from benchmarks import units, workload
from benchmarks.cases import asyncio_commits
from benchmarks.measure import Bar, Row, Work, at_least, interleave, per_operation
from benchmarks.settings import Settings
from benchmarks.workload import Signing

_ACCOUNTS = 1000

_UNIT_OPERATIONS = 100
"""Syncs in one reference; with the one before and the one after it is as long as a round of commits."""

_WAYS: tuple[tuple[Signing, str, Bar | None], ...] = (
    ("entry", "threads, signed", at_least(5)),
    ("group", "threads, signing='group'", None),
    (None, "threads, unsigned", None),
)


def rows(settings: Settings) -> Iterator[Row]:
    """Measure threads, then tasks, for each way of signing."""
    for signing, name, bar in _WAYS:
        yield _threads(settings, signing, name=name, bar=bar)
    yield from asyncio_commits.rows(settings)


def _threads(settings: Settings, signing: Signing, *, name: str, bar: Bar | None) -> Row:
    sizes = settings.sizes
    threads, each = sizes.threads, sizes.thread_commits
    unit = units.syncing(settings.scratch, operations=min(_UNIT_OPERATIONS, sizes.durable_commits))
    count = threads * each
    drafts = iter(workload.transfers(count * (sizes.rounds + 1), accounts=_ACCOUNTS))
    with workload.open_home(settings.scratch / f"threads-{signing}", signing) as ledger:
        workload.fund(ledger, _ACCOUNTS)

        def prepare() -> Work:
            pages = [list(islice(drafts, each)) for _ in range(threads)]
            return lambda: _commit_all(ledger, pages) / count

        prepare()()  # caches are warm from now on
        found = interleave(unit, prepare, rounds=sizes.rounds)
    return Row(
        family="concurrent",
        name=f"{threads} {name}",
        figure=found.rate,
        unit="F",
        bar=bar,
        absolute=per_operation(found.work_seconds, "commit"),
        settings=f"{each} commits a thread, durable each, wall time, {_ACCOUNTS} accounts, "
        f"F {found.unit_seconds * 1e6:.0f} us",
    )


def _commit_all(ledger: bb.Ledger, pages: Sequence[Sequence[bb.UnsignedEntry]]) -> float:
    """Let a thread commit each page, and give the seconds from the first commit to the last result."""
    go = threading.Event()

    def commit(page: Sequence[bb.UnsignedEntry]) -> None:
        go.wait()
        for draft in page:
            ledger.commit(draft)

    workers = [threading.Thread(target=commit, args=(page,)) for page in pages]
    for worker in workers:
        worker.start()
    start = time.perf_counter()
    go.set()
    for worker in workers:
        worker.join()
    return time.perf_counter() - start
