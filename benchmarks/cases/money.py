"""Trades with fees, keys, open holds and rules: what each costs beside a plain transfer."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count

import bibank as bb
from benchmarks import workload
from benchmarks.measure import Bar, Paired, Row, Work, as_time, at_most, interleave
from benchmarks.settings import Settings
from benchmarks.workload import Signing
from bibank import drafts
from bibank.batch import Item, Keyed
from bibank.rules import DenyList, RiskEngine, RiskRule

_ACCOUNTS = 1000
_GROUP = 1000
_TRADED = "EUR"
_TRADE = at_most(2.3)
_FLAT = at_most(1.10)

Make = Callable[[int], list[Item]]
"""Makes so many items to be committed."""


def rows(settings: Settings) -> Iterator[Row]:
    """Measure trades signed and unsigned, rules, keys, and commits beside many holds and keys."""
    for name, signing in (("unsigned", None), ("signed", "entry")):
        yield _trades(settings, name, signing)  # type: ignore[arg-type]  # one of the literals
    yield _rules(settings)
    yield _keyed(settings)
    yield _beside_holds(settings)
    yield _beside_keys(settings)


def _trades(settings: Settings, name: str, signing: Signing) -> Row:
    """Compare a trade with a fee, one batch, with two transfers, two entries."""
    found = interleave(
        lambda: _timed(_ledger(signing), _transfers, settings.sizes.transfers)() * 2,
        lambda: _timed(_ledger(signing), _trades_with_fees, settings.sizes.transfers // 2),
        rounds=settings.sizes.rounds,
    )
    return _row(
        f"{name} trade with fee / two transfers", found, _TRADE, "commit_each, groups of 1,000, memory"
    )


def _rules(settings: Settings) -> Row:
    """Compare an engine with one rule that always answers at once with one that has none."""
    found = interleave(
        _anew(_transfers, settings.sizes.transfers),
        lambda: _timed(_ledger(None, DenyList(owners=["NOBODY"])), _transfers, settings.sizes.transfers),
        rounds=settings.sizes.rounds,
    )
    return _row(
        "transfer with a deny list / without rules", found, None, "commit_each, groups of 1,000, memory"
    )


def _keyed(settings: Settings) -> Row:
    found = interleave(
        _anew(_transfers, settings.sizes.transfers),
        lambda: _timed(_ledger(None), _keyed_transfers, settings.sizes.transfers),
        rounds=settings.sizes.rounds,
    )
    return _row(
        "transfer with a key / without", found, None, "commit_each, groups of 1,000, memory, new keys"
    )


def _beside_holds(settings: Settings) -> Row:
    """Compare commits of a ledger with many open holds with those of one without."""
    many = settings.sizes.open_holds
    full = _ledger(None)
    for start in range(0, many, _GROUP):
        full.commit_each(
            drafts.hold(
                workload.owner(number % _ACCOUNTS), f"1 {workload.ASSET}", to="SHOP", correlation_id="h"
            )
            for number in range(start, min(start + _GROUP, many))
        ).raise_for_refusals()
    found = _beside(settings, _ledger(None), full, _transfers)
    return _row(f"one commit beside {many:,} open holds / none", found, _FLAT, "Ledger.commit, memory")


def _beside_keys(settings: Settings) -> Row:
    """Compare keyed commits of a ledger that knows many keys with those of one that knows none."""
    many = settings.sizes.known_keys
    full = _ledger(None)
    for _ in range(0, many, _GROUP):
        full.commit_each(_keyed_transfers(_GROUP)).raise_for_refusals()
    found = _beside(settings, _ledger(None), full, _keyed_transfers)
    return _row(f"one keyed commit beside {many:,} keys / none", found, _FLAT, "Ledger.commit, memory")


def _beside(settings: Settings, empty: bb.Ledger, full: bb.Ledger, make: Make) -> Paired:
    gc.collect()
    gc.freeze()
    commits = settings.sizes.flat_commits
    try:
        return interleave(
            _each_anew(empty, make, commits),
            lambda: _one_by_one(full, make(commits)),
            rounds=settings.sizes.flat_rounds,
        )
    finally:
        gc.unfreeze()


def _each_anew(ledger: bb.Ledger, make: Make, number: int) -> Work:
    """Make new items each time, and commit them one by one."""

    def unit() -> float:
        return _one_by_one(ledger, make(number))()

    return unit


def _anew(make: Make, number: int) -> Work:
    """Commit to a new ledger each time."""

    def unit() -> float:
        return _timed(_ledger(None), make, number)()

    return unit


def _one_by_one(ledger: bb.Ledger, items: Sequence[Item]) -> Work:
    def work() -> float:
        gc.collect()
        start = time.process_time()
        for item in items:
            if isinstance(item, Keyed):
                assert isinstance(item.entries, bb.UnsignedEntry)
                ledger.commit(item.entries, idempotency_key=item.idempotency_key)
            else:
                assert isinstance(item, bb.UnsignedEntry)
                ledger.commit(item)
        return (time.process_time() - start) / len(items)

    return work


def _timed(ledger: bb.Ledger, make: Make, number: int) -> Work:
    items = make(number)
    groups = [items[start : start + _GROUP] for start in range(0, len(items), _GROUP)]

    def work() -> float:
        gc.collect()  # what making them left behind is no cost of theirs, in the unit as in the work
        start = time.process_time()
        for group in groups:
            ledger.commit_each(group).raise_for_refusals()
        return (time.process_time() - start) / len(items)

    return work


def _ledger(signing: Signing, *rules: RiskRule) -> bb.Ledger:
    """Make a ledger in which everybody has both assets."""
    assets = (workload.ASSET, _TRADED)
    ledger = bb.Ledger.in_memory(
        dict.fromkeys(assets, str(10**15)),
        signer=None if signing is None else workload.signer(),
        risk=RiskEngine(rules),
    )
    for asset in assets:
        ledger.commit_each(
            drafts.deposit(workload.owner(number), f"{workload.FUND} {asset}", correlation_id="fund")
            for number in range(_ACCOUNTS)
        ).raise_for_refusals()
    return ledger


_keys = count()


def _transfers(number: int) -> list[Item]:
    return list(workload.transfers(number, accounts=_ACCOUNTS))


def _keyed_transfers(number: int) -> list[Item]:
    return [
        Keyed(entries=draft, idempotency_key=f"key-{next(_keys)}")
        for draft in workload.transfers(number, accounts=_ACCOUNTS)
    ]


def _trades_with_fees(number: int) -> list[Item]:
    items: list[Item] = []
    for index, (maker, taker, amount) in enumerate(workload.pairs(number, accounts=_ACCOUNTS, seed=1)):
        trace = f"t{index}"
        swap = drafts.trade(
            maker=workload.owner(maker),
            maker_gives=f"{amount} {workload.ASSET}",
            taker=workload.owner(taker),
            taker_gives=f"{amount} {_TRADED}",
            correlation_id=trace,
        )
        items.append((swap, drafts.fee(workload.owner(maker), f"0.1 {workload.ASSET}", correlation_id=trace)))
    return items


def _row(name: str, found: Paired, bar: Bar | None, settings: str) -> Row:
    return Row(
        family="money",
        name=name,
        figure=found.cost,
        unit="x",
        bar=bar,
        absolute=f"{as_time(found.work_seconds)} / {as_time(found.unit_seconds)}",
        settings=settings,
    )
