"""Commits beside a subscriber that is stuck: they must not notice.

Two ledgers take the same commits in turn, one without subscribers, one with a subscriber whose handler never
returns. The bar is the noise: one and three standard errors of the same comparison of a ledger with itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from math import sqrt
from statistics import median

import bibank as bb
from benchmarks import workload
from benchmarks.measure import Row, Spread, at_most, per_operation
from benchmarks.settings import Settings

_ACCOUNTS = 1000

_NOISE_ERRORS = 3
"""Standard errors of a median that nothing but chance goes beyond, but once in some hundred runs."""

_MEDIAN_ERROR = 1.4826 * 1.2533
"""From a median absolute deviation to a standard deviation, and to a median's error, as of a normal law."""

_Work = Callable[[bb.Ledger, Sequence[bb.UnsignedEntry]], float]
"""Commits drafts and gives the seconds that it took."""


class _Stuck:
    """A subscriber that never comes back, until it is let go."""

    name = "stuck"

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.let_go = threading.Event()

    def handle(self, event: bb.LedgerEvent) -> None:
        """Wait."""
        self.reached.set()
        self.let_go.wait()


def rows(settings: Settings) -> Iterator[Row]:
    """Measure one durable commit, and many at once without a sync."""
    sizes = settings.sizes
    with (
        workload.open_home(settings.scratch / "alone", "entry") as alone,
        workload.open_home(settings.scratch / "heard", "entry") as heard,
    ):
        workload.fund(alone, _ACCOUNTS)
        workload.fund(heard, _ACCOUNTS)
        with _stuck(heard):
            yield _row(
                "single durable commit beside a stuck subscriber",
                _compare(alone, heard, _one_by_one, count=sizes.durable_commits, rounds=sizes.durable_rounds),
            )
    alone, heard = (workload.memory_ledger(_ACCOUNTS) for _ in range(2))
    with _stuck(heard):
        yield _row(
            "unsigned commit_each beside a stuck subscriber",
            _compare(alone, heard, _at_once, count=sizes.group_sizes[0], rounds=sizes.durable_rounds),
        )


@contextmanager
def _stuck(ledger: bb.Ledger) -> Iterator[None]:
    subscriber = _Stuck()
    ledger.bus.subscribe(subscriber, delivery="thread", after_sequence=0)
    subscriber.reached.wait()
    try:
        yield
    finally:
        subscriber.let_go.set()


def _compare(
    alone: bb.Ledger, heard: bb.Ledger, work: _Work, *, count: int, rounds: int
) -> tuple[list[float], list[float], float]:
    """Give, for each round, heard against alone and alone against itself; and the seconds of a commit."""
    drafts = iter(workload.transfers(3 * count * rounds, accounts=_ACCOUNTS))
    figures: list[float] = []
    noise: list[float] = []
    seconds: list[float] = []
    for _ in range(rounds):
        before, beside, after = (
            work(ledger, list(islice(drafts, count))) / count for ledger in (alone, heard, alone)
        )
        figures.append(beside / ((before + after) / 2))
        noise.append(after / before)
        seconds.append(beside)
    return figures, noise, median(seconds)


def _one_by_one(ledger: bb.Ledger, drafts: Sequence[bb.UnsignedEntry]) -> float:
    commit = ledger.commit
    start = time.perf_counter()
    for draft in drafts:
        commit(draft)
    return time.perf_counter() - start


def _at_once(ledger: bb.Ledger, drafts: Sequence[bb.UnsignedEntry]) -> float:
    start = time.perf_counter()
    ledger.commit_each(drafts).raise_for_refusals()
    return time.perf_counter() - start


def _row(name: str, found: tuple[list[float], list[float], float]) -> Row:
    figures, noise, seconds = found
    return Row(
        family="bus",
        name=name,
        figure=Spread.of(figures),
        unit="x",
        bar=at_most(round(1 + _NOISE_ERRORS * _error_of_median(noise), 3)),
        absolute=per_operation(seconds, "commit"),
        settings=f"against none, in turn; the bar is the noise of that, {_ACCOUNTS} accounts",
    )


def _error_of_median(values: Sequence[float]) -> float:
    """Estimate the standard error of a median from the median distance to it, which outliers do not move."""
    middle = median(values)
    return _MEDIAN_ERROR * median(abs(value - middle) for value in values) / sqrt(len(values))
