"""Opening from a snapshot: what it costs by what the ledger knows, and that history costs nothing."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import bibank as bb
from benchmarks import workload
from benchmarks.measure import Bar, Row, Spread, Work, as_time, at_most, interleave
from benchmarks.settings import Settings
from bibank import drafts

_MILLION = 1_000_000
_GROUP = 1000
_ACCOUNTS = 1000
_SETTINGS = "signed home, Ledger.open and close, CPU time"


def rows(settings: Settings) -> Iterator[Row]:
    """Measure opening by accounts, by keys, and by how much came before."""
    accounts, keys = settings.sizes.opened_accounts, settings.sizes.opened_keys
    home = settings.scratch / "accounts"
    _grow(home, lambda ledger: workload.fund_many(ledger, accounts))
    seconds = [_open(home) for _ in range(settings.sizes.rounds)]
    yield _scaled("accounts", accounts, seconds, at_most(1.0))
    home = settings.scratch / "keys"
    _grow(home, lambda ledger: _with_keys(ledger, keys))
    seconds = [_open(home) for _ in range(settings.sizes.rounds)]
    yield _scaled("keys", keys, seconds, at_most(0.3))
    yield _history(settings)


def _scaled(what: str, count: int, seconds: Sequence[float], bar: Bar) -> Row:
    found = Spread.of([each * _MILLION / count for each in seconds])
    return Row(
        family="opening",
        name=f"open from a snapshot, per million {what}",
        figure=found,
        unit="s",
        bar=bar,
        absolute=f"{as_time(found.median * count / _MILLION)} in all",
        settings=f"{_SETTINGS}, {count:,} {what}",
    )


def _history(settings: Settings) -> Row:
    """Compare homes of the same accounts, one with ten times the entries of the other."""
    few, many = settings.sizes.opened_entries, 10 * settings.sizes.opened_entries
    homes = {count: settings.scratch / f"entries-{count}" for count in (few, many)}
    for count, home in homes.items():
        _grow(home, lambda ledger, count=count: _with_entries(ledger, count))  # type: ignore[misc]  # bound for this round

    def prepare() -> Work:
        return lambda: _open(homes[many])

    found = interleave(lambda: _open(homes[few]), prepare, rounds=settings.sizes.flat_rounds)
    return Row(
        family="opening",
        name=f"open from a snapshot, {many:,} / {few:,} entries",
        figure=found.cost,
        unit="x",
        bar=at_most(1.10),
        absolute=f"{as_time(found.work_seconds)} / {as_time(found.unit_seconds)}",
        settings=f"{_SETTINGS}, {_ACCOUNTS:,} accounts",
    )


def _grow(home: Path, work: Callable[[bb.Ledger], object]) -> None:
    """Make a home, let it grow, and leave a snapshot of its last line."""
    with workload.open_home(home, "entry") as ledger:
        work(ledger)
        ledger.snapshot()


def _with_keys(ledger: bb.Ledger, count: int) -> None:
    for start in range(0, count, _GROUP):
        ledger.commit_each(
            bb.Keyed(
                entries=[drafts.deposit(workload.owner(0), f"1 {workload.ASSET}", correlation_id="k")],
                idempotency_key=f"request-{number}",
            )
            for number in range(start, min(start + _GROUP, count))
        ).raise_for_refusals()


def _with_entries(ledger: bb.Ledger, count: int) -> None:
    workload.fund(ledger, _ACCOUNTS)
    for start in range(0, count, _GROUP):
        size = min(_GROUP, count - start)
        batch = workload.transfers(size, accounts=_ACCOUNTS, seed=start)
        ledger.commit_each(batch).raise_for_refusals()


def _open(home: Path) -> float:
    """Open and close, and give the seconds; what was made is given back outside of the clock."""
    gc.collect()
    start = time.process_time()
    ledger = bb.Ledger.open(home, signer=workload.signer(), snapshot_every=None)
    ledger.close()
    seconds = time.process_time() - start
    del ledger
    return seconds
