"""Questions about the past in a home with many entries, asked of the projection."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice

import bibank as bb
from benchmarks import workload
from benchmarks.measure import Bar, Row, Spread, at_most
from benchmarks.settings import Settings
from bibank import drafts

_LINES = 1000
"""Lines of the statement that the bar is about."""

_STATEMENT_BAR = at_most(20)
_GROUP = 8000
_WARM_UP = 1
_FAMILY = "history"


def rows(settings: Settings) -> Iterator[Row]:
    """Measure a statement, and balances as of three kinds of points, in elapsed milliseconds."""
    sizes = settings.sizes
    accounts = max(sizes.many_entries // _LINES, 4)
    home = settings.scratch / "home"
    with workload.open_home(home, None, durability="none") as ledger:
        workload.fund(ledger, accounts)
        for start in range(0, sizes.many_entries, _GROUP):
            _transfer(ledger, accounts, range(start, min(start + _GROUP, sizes.many_entries)))
        ledger.project()
        yield from _questions(settings, ledger, accounts)


def _transfer(ledger: bb.Ledger, accounts: int, numbers: range) -> None:
    """Let everybody pay in turn, so that each account has as many lines."""
    ledger.commit_each(
        drafts.transfer(
            workload.owner(number % accounts),
            workload.owner((number + 1 + number // accounts % (accounts - 1)) % accounts),
            f"1 {workload.ASSET}",
            correlation_id=f"t{number}",
        )
        for number in numbers
    ).raise_for_refusals()


def _questions(settings: Settings, ledger: bb.Ledger, accounts: int) -> Iterator[Row]:
    owner = workload.owner(accounts // 2)
    middle = ledger.head.sequence // 2
    moment = ledger.line(middle).timestamp
    points: dict[str, bb.PointInTime] = {
        "a line": middle,
        "a recorded time": bb.AsOf.recorded(moment),
        "an effective time": bb.AsOf.effective(moment),
    }

    def statement() -> None:
        found = ledger.statement(owner, workload.ASSET, limit=_LINES)
        assert len(found) == _LINES or settings.sizes.many_entries < _LINES * 10

    yield _row(settings, ledger, f"statement of {_LINES} lines", statement, _STATEMENT_BAR)
    for name, point in points.items():

        def balance(point: bb.PointInTime = point) -> None:
            ledger.balance(owner, workload.ASSET, as_of=point)

        yield _row(settings, ledger, f"balance as of {name}", balance, None)


def _row(
    settings: Settings, ledger: bb.Ledger, name: str, question: Callable[[], None], bar: Bar | None
) -> Row:
    def measured() -> float:
        start = time.perf_counter()
        question()
        return (time.perf_counter() - start) * 1e3

    rounds = settings.sizes.rounds
    spread = Spread.of(list(islice(iter(measured, None), _WARM_UP, _WARM_UP + rounds)))
    return Row(
        family=_FAMILY,
        name=name,
        figure=spread,
        unit="ms",
        bar=bar,
        absolute=f"{spread.median:.1f} ms elapsed",
        settings=f"{ledger.head.sequence} lines, projection up to date, a new connection each, {rounds} runs",
    )
