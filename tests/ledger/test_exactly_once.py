"""Exactly once, for any number of threads: one end of a hold, one reversal, one result of a key."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from bibank import drafts
from bibank.testing.faults import FaultyStore, StoreFault, StoreFaultPlan
from tests.ledger.test_leaders import HeldStore

THREADS = 64


def together(call: Callable[[int], Any], *, threads: int = THREADS) -> list[Any]:
    """Let so many threads make a call at the same moment; give what each got, its error included."""
    barrier = threading.Barrier(threads)
    outcomes: list[Any] = [None] * threads

    def run(index: int) -> None:
        barrier.wait()
        try:
            outcomes[index] = call(index)
        except bb.BibankError as error:
            outcomes[index] = error

    workers = [threading.Thread(target=run, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return outcomes


def kinds(outcomes: list[Any]) -> Counter[str]:
    """Count what the threads got."""
    return Counter(type(outcome).__name__ for outcome in outcomes)


def funded(path: Path) -> bb.Ledger:
    """A ledger on disk where ALICE has 100 USDT."""
    ledger = bb.Ledger.create(path, opening={"USDT": "1000"}, durability="none").bind(correlation_id="r")
    ledger.deposit("ALICE", "100 USDT")
    return ledger


def reopened(ledger: bb.Ledger, path: Path) -> bb.Ledger:
    """The same ledger after a restart."""
    ledger.close()
    return bb.Ledger.open(path, durability="none").bind(correlation_id="again")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger lives."""
    return tmp_path / "books"


def test_a_hold_ends_once(path: Path) -> None:
    """Of 64 threads that post or void one hold exactly one wins, the others hear that it is not open."""
    ledger = funded(path)
    hold = ledger.hold("ALICE", "60 USDT", to="SHOP")

    def end(index: int) -> object:
        return ledger.post_hold(hold.id, "50") if index % 2 else ledger.void_hold(hold.id)

    outcomes = together(end)
    assert kinds(outcomes) == {"tuple": 1, "HoldNotOpen": THREADS - 1}
    assert {outcome.hold for outcome in outcomes if isinstance(outcome, bb.HoldNotOpen)} == {hold.id}
    paid = str(ledger.balance("SHOP", "USDT").posted)
    assert paid in ("50", "0")
    assert str(ledger.balance("ALICE", "USDT").available) == {"50": "50", "0": "100"}[paid]
    assert not ledger.holds()
    ledger = reopened(ledger, path)
    assert kinds(together(end)) == {"HoldNotOpen": THREADS}
    assert ledger.head.sequence == 5
    ledger.audit()
    ledger.close()


def test_an_entry_is_reversed_once(path: Path) -> None:
    """Of 64 threads that reverse one entry exactly one wins, the others hear that it was reversed."""
    ledger = funded(path)
    paid = ledger.transfer("ALICE", "BOB", "1 USDT")
    ledger.deposit("BOB", "100 USDT")
    assert kinds(together(lambda _: ledger.reverse(paid.sequence))) == {
        "JournalEntry": 1,
        "AlreadyReversed": THREADS - 1,
    }
    assert str(ledger.balance("BOB", "USDT").posted) == "100"
    ledger = reopened(ledger, path)
    assert kinds(together(lambda _: ledger.reverse(paid.sequence))) == {"AlreadyReversed": THREADS}
    assert ledger.head.sequence == 6
    ledger.close()


def test_parts_of_a_reversal_sum_at_most_to_the_whole(path: Path) -> None:
    """Of 64 threads that reverse a tenth exactly ten win, also when the ledger restarts in between."""
    ledger = funded(path)
    paid = ledger.transfer("ALICE", "BOB", "1 USDT")
    ledger.deposit("BOB", "100 USDT")
    outcomes = together(lambda _: ledger.reverse(paid.sequence, "0.1"), threads=5)
    assert kinds(outcomes) == {"JournalEntry": 5}
    ledger = reopened(ledger, path)
    assert kinds(together(lambda _: ledger.reverse(paid.sequence, "0.1"))) == {
        "JournalEntry": 5,
        "AlreadyReversed": THREADS - 5,
    }
    assert str(ledger.balance("BOB", "USDT").posted) == "100"
    ledger.close()


def test_one_key_is_one_result(path: Path) -> None:
    """Of 64 threads with one key one executes, and all of them get its result; a restart changes nothing."""
    ledger = funded(path)

    def pay(index: int) -> bb.JournalEntry:
        return ledger.transfer("ALICE", "BOB", "1 USDT", idempotency_key="k", correlation_id=f"try-{index}")

    outcomes = together(pay)
    assert len(set(outcomes)) == 1
    assert isinstance(outcomes[0], bb.JournalEntry)
    assert ledger.head.sequence == outcomes[0].sequence == 4
    ledger = reopened(ledger, path)
    assert together(pay) == outcomes
    assert ledger.head.sequence == 4
    assert str(ledger.balance("BOB", "USDT").posted) == "1"
    ledger.close()


def test_one_key_of_two_requests(path: Path) -> None:
    """Of threads that ask for two things under one key one wins for all who asked the same."""
    ledger = funded(path)
    outcomes = together(lambda index: ledger.deposit("BOB", f"{1 + index % 2} USDT", idempotency_key="k"))
    assert kinds(outcomes) == {"JournalEntry": THREADS // 2, "IdempotencyConflict": THREADS // 2}
    (entry,) = {outcome for outcome in outcomes if isinstance(outcome, bb.JournalEntry)}
    for outcome in outcomes:
        if isinstance(outcome, bb.IdempotencyConflict):
            assert (outcome.key, outcome.sequence) == ("k", entry.sequence)
    assert ledger.head.sequence == 4
    ledger.close()


def test_a_key_among_other_work(path: Path) -> None:
    """One key stays one result while others commit, alone and many at once."""
    ledger = funded(path)

    def work(index: int) -> object:
        if index % 4 == 0:
            return ledger.deposit("BOB", "1 USDT")
        if index % 4 == 1:
            draft = drafts.deposit("BOB", "1 USDT", correlation_id="d")
            return ledger.commit_each([draft, bb.Keyed(entries=draft, idempotency_key="k")])[1]
        draft = drafts.deposit("BOB", "1 USDT", correlation_id="e")
        return ledger.commit(draft, idempotency_key="k")

    outcomes = together(work)
    keyed = {
        outcome.entry.sequence if isinstance(outcome, bb.Committed) else outcome.sequence
        for index, outcome in enumerate(outcomes)
        if index % 4
    }
    assert len(keyed) == 1
    assert str(ledger.balance("BOB", "USDT").posted) == str(THREADS // 4 * 2 + 1)
    ledger.audit()
    ledger.close()


@pytest.mark.parametrize("fault", StoreFault)
@pytest.mark.parametrize("append", [3, 4])
def test_no_result_that_is_not_durable(fault: StoreFault, append: int) -> None:
    """When the write of whoever leads fails, everybody with the key who got a result finds it on the disk."""
    store = FaultyStore(bb.MemoryStore(), StoreFaultPlan(append=append, fault=fault))
    ledger = bb.Ledger(store=store, opening={"USDT": "1000"}).bind(correlation_id="r")
    ledger.deposit("ALICE", "100 USDT")
    outcomes = together(lambda _: ledger.transfer("ALICE", "BOB", "1 USDT", idempotency_key="k"))
    inner = bb.Ledger(store=store.inner).bind(correlation_id="r")
    there = {entry.sequence: entry for entry in inner.entries()}
    results = [outcome for outcome in outcomes if isinstance(outcome, bb.JournalEntry)]
    assert all(there[entry.sequence] == entry for entry in results)
    assert len({entry.sequence for entry in results}) <= 1
    errors = [outcome for outcome in outcomes if not isinstance(outcome, bb.JournalEntry)]
    allowed = (bb.StoreUnavailable, bb.CommitOutcomeUnknown, bb.LedgerPoisoned)
    assert all(isinstance(error, allowed) for error in errors)
    if append == 3:
        assert errors
    retried = inner.transfer("ALICE", "BOB", "1 USDT", idempotency_key="k")
    assert str(inner.balance("BOB", "USDT").posted) == "1"
    assert all(entry == retried for entry in results)


@pytest.mark.parametrize("fault", StoreFault)
def test_a_hold_whose_end_fails_on_its_way(fault: StoreFault) -> None:
    """After a failed write of its end a hold is open or ended as the disk says, and ends once."""
    store = FaultyStore(bb.MemoryStore(), StoreFaultPlan(append=4, fault=fault))
    ledger = bb.Ledger(store=store, opening={"USDT": "1000"}).bind(correlation_id="r")
    ledger.deposit("ALICE", "100 USDT")
    hold = ledger.hold("ALICE", "60 USDT", to="SHOP")
    with pytest.raises((bb.StoreUnavailable, bb.CommitOutcomeUnknown)):
        ledger.post_hold(hold.id)
    if fault is StoreFault.UNAVAILABLE:
        assert list(ledger.holds()) == [hold]
        ledger.post_hold(hold.id)
    inner = bb.Ledger(store=store.inner).bind(correlation_id="r")
    if fault is StoreFault.UNKNOWN_LOST:
        assert list(inner.holds()) == [hold]
        inner.post_hold(hold.id)
    with pytest.raises(bb.HoldNotOpen):
        inner.post_hold(hold.id)
    assert str(inner.balance("SHOP", "USDT").posted) == "60"


def test_what_a_failed_write_takes_back_may_be_asked_for_again() -> None:
    """A reversal and a key that were not written leave nothing behind."""
    store = FaultyStore(bb.MemoryStore(), StoreFaultPlan(append=3, fault=StoreFault.UNAVAILABLE))
    ledger = bb.Ledger(store=store, opening={"USDT": "1000"}).bind(correlation_id="r")
    paid = ledger.deposit("ALICE", "100 USDT")
    with pytest.raises(bb.StoreUnavailable):
        ledger.reverse(paid.sequence, idempotency_key="k")
    assert ledger.deposit("BOB", "1 USDT", idempotency_key="k").sequence == 4
    assert ledger.reverse(paid.sequence).sequence == 5


@pytest.mark.parametrize("together_with_others", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_a_key_on_its_way_gives_nothing_before_it_is_written(fails: Any, together_with_others: Any) -> None:
    """Who asks again while the first try is being written waits for that write, and shares its failure."""
    store, waiting = HeldStore(), threading.Semaphore(0)
    ledger = bb.Ledger(store=store, opening={"USDT": "1000"}).bind(correlation_id="r")
    queue: Any = ledger._committer._queue
    reached, go, settle = threading.Event(), threading.Event(), queue.settle

    def hold() -> None:
        reached.set()
        assert go.wait(30)

    def settled(group: Any) -> None:
        waiting.release()
        settle(group)

    draft = drafts.deposit("ALICE", "1 USDT", correlation_id="r")

    def ask() -> Any:
        if not together_with_others:
            return ledger.commit(draft, idempotency_key="k")
        refused = drafts.withdrawal("BOB", "1 USDT", correlation_id="r")
        outcomes = ledger.commit_each([bb.Keyed(entries=draft, idempotency_key="k"), refused])
        return outcomes.committed[0].entry

    queue.settle, store.before = settled, hold
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask)
        assert reached.wait(30)
        assert waiting.acquire(timeout=30)
        again = pool.submit(ask)
        again.add_done_callback(lambda _: waiting.release())
        assert waiting.acquire(timeout=30)
        early = again.done()
        store.error = bb.StoreUnavailable("planted") if fails else None
        go.set()
        errors = [future.exception(30) for future in (first, again)]
    assert not early
    if fails:
        assert [type(error) for error in errors] == [bb.StoreUnavailable] * 2
        assert ask().sequence == 3
    else:
        assert errors == [None, None]
        assert first.result() == again.result() == ask()
