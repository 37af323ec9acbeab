"""What a commit costs when there is much in the ledger already: the same as at the start.

Measured on homes without syncs: with them the disk would hide every difference. The collector does not
walk over the accounts here; it does so rarely, and not because of a commit.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import bibank as bb
from benchmarks import workload
from benchmarks.measure import Paired, Row, Work, as_time, at_most, interleave
from benchmarks.settings import Settings
from bibank import drafts

_BAR = at_most(1.10)
_GROUP = 1000
_SETTINGS = "Ledger.commit, home without sync, CPU time"

Draw = Callable[[int, int], list[bb.UnsignedEntry]]
"""Draws so many transfers with a seed."""


def rows(settings: Settings) -> Iterator[Row]:
    """Compare few with many accounts, few with many entries, one hot account with random ones."""
    for figure in (_accounts, _entries, _hot_account):
        try:
            yield figure(settings)
        finally:
            gc.unfreeze()


def _accounts(settings: Settings) -> Row:
    sizes = settings.sizes
    few, many = sizes.few, sizes.many_accounts
    with (
        _ledger(settings.scratch / "few-accounts", accounts=few) as small,
        _ledger(settings.scratch / "many-accounts", accounts=many) as large,
    ):
        found = _compare(
            settings,
            (small, partial(_random, accounts=few)),
            (large, partial(_random, accounts=many)),
        )
    return _row(f"one commit at {many:,} / at {few:,} accounts", found, f"{_SETTINGS}, all accounts in use")


def _entries(settings: Settings) -> Row:
    sizes = settings.sizes
    few, many = sizes.few, sizes.many_entries
    with (
        _ledger(settings.scratch / "few-entries", accounts=few) as small,
        _ledger(settings.scratch / "many-entries", accounts=few) as large,
    ):
        for seed in range(many // _GROUP):
            large.commit_each(workload.transfers(_GROUP, accounts=few, seed=seed)).raise_for_refusals()
        draw = partial(_random, accounts=few)
        found = _compare(settings, (small, draw), (large, draw))
    return _row(f"one commit at {many:,} / at {few:,} entries", found, f"{_SETTINGS}, {few} accounts")


def _hot_account(settings: Settings) -> Row:
    accounts = settings.sizes.random_accounts
    with _ledger(settings.scratch / "hot-account", accounts=accounts) as ledger:
        found = _compare(
            settings,
            (ledger, partial(_random, accounts=accounts)),
            (ledger, partial(_hot, accounts=accounts)),
        )
    name = f"one hot account / {accounts:,} random ones"
    return _row(name, found, f"{_SETTINGS}, the hot one always pays")


def _ledger(home: Path, *, accounts: int) -> bb.Ledger:
    ledger = workload.open_home(home, None, durability="none")
    workload.fund_many(ledger, accounts)
    return ledger


def _random(commits: int, seed: int, *, accounts: int) -> list[bb.UnsignedEntry]:
    return workload.transfers(commits, accounts=accounts, seed=seed)


def _hot(commits: int, seed: int, *, accounts: int) -> list[bb.UnsignedEntry]:
    """Draw transfers out of the account that holds the most."""
    return [
        drafts.transfer(
            workload.HOLDER, workload.owner(payee), f"{amount} {workload.ASSET}", correlation_id=f"t{number}"
        )
        for number, (_, payee, amount) in enumerate(workload.pairs(commits, accounts=accounts, seed=seed))
    ]


def _compare(settings: Settings, base: tuple[bb.Ledger, Draw], other: tuple[bb.Ledger, Draw]) -> Paired:
    """Measure two ledgers in turn; the first is the unit of the second."""
    gc.collect()
    gc.freeze()
    commits = settings.sizes.flat_commits
    seeds = count(1_000_000)

    def ready(ledger: bb.Ledger, draw: Draw) -> Work:
        batch = draw(commits, next(seeds))

        def work() -> float:
            commit = ledger.commit
            start = time.process_time()
            for draft in batch:
                commit(draft)
            return (time.process_time() - start) / commits

        return work

    def unit() -> float:
        return ready(*base)()

    return interleave(unit, lambda: ready(*other), rounds=settings.sizes.flat_rounds)


def _row(name: str, found: Paired, settings: str) -> Row:
    return Row(
        family="flat",
        name=name,
        figure=found.cost,
        unit="x",
        bar=_BAR,
        absolute=f"{as_time(found.work_seconds)} / {as_time(found.unit_seconds)}",
        settings=settings,
    )
