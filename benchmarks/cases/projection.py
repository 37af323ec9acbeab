"""Projection catch-up: how fast the books in SQLite come back, and how fast they follow an open ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import bibank as bb
from benchmarks import units, workload
from benchmarks.measure import Row, Spread, Work, at_least, interleave, per_operation
from benchmarks.settings import Settings

if TYPE_CHECKING:
    from bibank.projections import LineSource

_ACCOUNTS = 1000
_GROUP = 1000
_FAMILY = "projection"
_BAR = at_least(0.75)
"""A line in the time of 1.3 signatures: half of that is SQLite's, whose builds are not equally fast."""


def rows(settings: Settings) -> Iterator[Row]:
    """Measure entries a second against signatures a second, if this version has these projections."""
    if find_spec("bibank.projection.books") is None:
        name = "projection catch-up"
        yield Row(
            family=_FAMILY, name=name, figure=None, unit="S", bar=None, absolute="no SqliteBooks", settings=""
        )
        return
    from bibank.projections import JournalLines

    home = settings.scratch / "home"
    workload.home_ledger(home, accounts=_ACCOUNTS, transfers_after=settings.sizes.replayed, group=_GROUP)
    lines = workload.journal_lines(home)
    yield _catch_up(
        settings, "from genesis, each line verified", lambda: JournalLines(lines), lines=len(lines)
    )
    with bb.Ledger.open(home, durability="none") as ledger:
        yield _catch_up(settings, "from an open ledger", lambda: ledger, lines=len(lines))
    yield _size(settings, home, lines=len(lines))


def _catch_up(settings: Settings, how: str, source: Callable[[], LineSource], *, lines: int) -> Row:
    from bibank.projections import SqliteBooks, catch_up

    sizes = settings.sizes
    numbers = count()

    def prepare() -> Work:
        database = settings.scratch / f"projection-{how[-6:]}-{next(numbers)}.db"

        def work() -> float:
            with SqliteBooks(database) as books:
                start = time.process_time()
                report = catch_up(books, source())
                seconds = time.process_time() - start
            assert report.applied == lines
            return seconds / lines

        return work

    found = interleave(units.signing(operations=sizes.unit_operations), prepare, rounds=sizes.rounds)
    return Row(
        family=_FAMILY,
        name=f"projection catch-up {how}",
        figure=found.rate,
        unit="S",
        bar=_BAR,
        absolute=per_operation(found.work_seconds, "line"),
        settings=f"{lines} lines, {_ACCOUNTS} accounts, WAL, synchronous=NORMAL, all tables",
    )


def _size(settings: Settings, home: Path, *, lines: int) -> Row:
    from bibank.projections import SqliteBooks, ask_books

    ask_books(home, SqliteBooks.digest)
    size = (home / "projection.db").stat().st_size / lines
    return Row(
        family=_FAMILY,
        name="size of the projection for each transfer",
        figure=Spread(size, size, size),
        unit="B",
        bar=None,
        absolute=f"{size * lines / 1e6:.1f} MB",
        settings=f"{lines} lines, {_ACCOUNTS} accounts, ids of up to 6 characters",
    )
