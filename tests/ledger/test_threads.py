"""Threads: any number of them use one ledger, and money, order and answers stay consistent."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import Barrier, Event

import pytest

import bibank as bb
from tests.store.journals import deposit, transfer

THREADS = 16
OWNERS = tuple(f"OWNER{number}" for number in range(8))
EACH = bb.Amount("20")


@pytest.fixture(params=["memory", "jsonl"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[bb.Ledger]:
    """A ledger in which every owner has 20 USDT."""
    if request.param == "memory":
        made = bb.Ledger.in_memory()
    else:
        made = bb.Ledger.create(tmp_path / "books", durability="none")
    made.commit_batch([deposit(owner, "20 USDT") for owner in OWNERS])
    yield made
    made.close()


def check_books(ledger: bb.Ledger) -> None:
    """Demand that no money was made or lost, nobody is overdrawn, and no sequence is missing."""
    balances = [ledger.balance(owner, "USDT").available.units for owner in OWNERS]
    assert sum(balances) == len(OWNERS) * EACH.units
    assert min(balances) >= 0
    sequences = [entry.sequence for entry in ledger.entries()]
    assert sequences == [1, *range(3, ledger.head.sequence + 1)]
    assert ledger.audit().lines == ledger.head.sequence


def spend(ledger: bb.Ledger, start: Barrier, thread: int) -> list[tuple[int, str, str, int]]:
    """Make random transfers, more than there is money for; give the accepted ones."""
    random = Random(thread)
    accepted = []
    start.wait()
    for number in range(25):
        payer, payee = random.sample(OWNERS, 2)
        amount = random.choice(("1", "5", "13"))
        draft = transfer(payer, payee, f"{amount} USDT")
        try:
            if number % 3 == 0:
                (entry,) = ledger.commit_batch([draft])
            elif number % 3 == 1:
                outcome = ledger.commit_each([draft])[0]
                if isinstance(outcome, bb.Refused):
                    continue
                entry = outcome.entry
            else:
                entry = ledger.commit(draft)
        except bb.InsufficientBalance:
            continue
        accepted.append((entry.sequence, payer, payee, entry.postings[0].amount.units))
        if number % 5 == 0:
            check_a_look(ledger)
    return accepted


def check_a_look(ledger: bb.Ledger) -> None:
    """One listing is of one moment: the books balance in it."""
    rows = ledger.accounts()
    assets = sum(row.balance.units for row in rows if row.account.category is bb.AccountCategory.ASSET)
    assert assets == sum(
        row.balance.units for row in rows if row.account.category is bb.AccountCategory.LIABILITY
    )
    assert ledger.audit().lines >= 2 + len(OWNERS)
    last = ledger.head.sequence
    assert ledger.entry(last).sequence == last


def test_many_threads_conserve_money(ledger: bb.Ledger) -> None:
    """16 threads of transfers: every accepted one stands once, in order, and its effect adds up."""
    start = Barrier(THREADS)
    with ThreadPoolExecutor(THREADS) as pool:
        told = list(pool.map(lambda thread: spend(ledger, start, thread), range(THREADS)))
    check_books(ledger)
    accepted = {
        sequence: (payer, payee, units) for thread in told for sequence, payer, payee, units in thread
    }
    assert len(accepted) == sum(map(len, told))
    first = 2 + len(OWNERS)
    assert sorted(accepted) == list(range(first + 1, ledger.head.sequence + 1))
    for entry in ledger.entries(after_sequence=first):
        payer, payee, units = accepted[entry.sequence]
        assert (entry.postings[0].account.id, entry.postings[1].account.id) == (payer, payee)
        assert entry.postings[0].amount.units == units
    for thread in told:  # each thread saw its own commits in order
        assert [sequence for sequence, *_ in thread] == sorted(sequence for sequence, *_ in thread)


def test_the_last_money_is_spent_once(ledger: bb.Ledger) -> None:
    """When all threads want the whole balance at once exactly one gets it."""
    start = Barrier(THREADS)

    def take(thread: int) -> bool:
        start.wait()
        try:
            ledger.withdraw(OWNERS[0], "20 USDT", correlation_id=f"t{thread}")
        except bb.InsufficientBalance:
            return False
        return True

    with ThreadPoolExecutor(THREADS) as pool:
        assert sorted(pool.map(take, range(THREADS))) == [False] * (THREADS - 1) + [True]
    assert ledger.balance(OWNERS[0], "USDT").available == bb.SignedAmount(0)


def test_closing_beside_commits_ends_them_cleanly(tmp_path: Path) -> None:
    """Threads that commit while another closes get `LedgerClosed`, and what they were told is on disk."""
    ledger = bb.Ledger.create(tmp_path / "books", durability="none")
    start, enough = Barrier(5), Event()

    def work(thread: int) -> int:
        start.wait()
        last = 0
        try:
            while True:
                last = ledger.deposit("A", "1 USDT", correlation_id=f"t{thread}").sequence
                if last > 20:
                    enough.set()
        except bb.LedgerClosed:
            return last

    with ThreadPoolExecutor(4) as pool:
        told = [pool.submit(work, thread) for thread in range(4)]
        start.wait()
        assert enough.wait(timeout=60)
        ledger.close()
        last = max(future.result() for future in told)
    with bb.Ledger.open(tmp_path / "books") as again:
        assert again.head.sequence == max(last, 2)
        assert again.audit().lines == again.head.sequence
