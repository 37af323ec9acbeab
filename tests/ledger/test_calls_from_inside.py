"""Threads, signals and calls from inside: what once waited for ever, or signed with the wrong key."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from types import FrameType

import pytest

import bibank as bb
from bibank.model.lines import LineGroup
from bibank.signing import Ed25519Signer
from tests.ledger.test_leaders import HeldStore, one_writing
from tests.store.journals import SIGNER, deposit

NEXT = Ed25519Signer(bytes(range(32, 64)), signer_id="SYSTEM")


@pytest.mark.parametrize("first", [None, SIGNER], ids=["first key", "rotation"])
def test_who_waits_for_a_change_of_keys_signs_with_the_new_one(first: Ed25519Signer | None) -> None:
    """A commit that arrives while the keyring changes is signed by whoever signs after the change."""
    store = HeldStore()
    ledger = bb.Ledger(store=store, opening={"USDT": "9"}, signer=first)
    reached, go = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        assert go.wait(30)

    def change() -> object:
        if first is None:
            return ledger.keyring.add(NEXT, roles=(bb.Role.SYSTEM,), correlation_id="k")
        return ledger.keyring.rotate(NEXT, correlation_id="k")

    store.before = hold
    with ThreadPoolExecutor(3) as pool:
        changing = pool.submit(change)
        assert reached.wait(30)
        waiting: list[Future[object]] = [
            pool.submit(ledger.commit, deposit("A", "1 USDT")),
            pool.submit(ledger.commit_each, [deposit("A", "1 USDT")]),
        ]
        go.set()
        changing.result()
        for commit in waiting:
            commit.result()
    keys = {signature.public_key for line in (4, 5) for signature in ledger.entry(line).signatures}
    assert keys == {NEXT.public_key}
    with bb.Ledger(store=store.inner, signer=NEXT) as again:
        assert again.audit(level="signatures").lines == 5


def test_reads_go_on_beside_writes(tmp_path: Path) -> None:
    """Listings answer while another thread's group is on its way to the disk: the mark is private."""
    stop = threading.Event()
    with bb.Ledger.create(tmp_path, opening={"USDT": "9"}) as ledger:

        def read() -> int:
            count = 0
            while not stop.is_set() or not count:
                assert ledger.entry(1).sequence == 1
                assert len(ledger.entries(after_sequence=1, limit=1)) <= 1
                count += 1
            return count

        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read)
            for _ in range(200):
                ledger.commit(deposit("A", "1 USDT"))
            stop.set()
            assert reading.result() > 0


@pytest.mark.parametrize("call", ["close", "flush_head", "commit", "commit_each"])
def test_a_clock_may_not_call_the_ledger_while_another_thread_writes(call: str) -> None:
    """What would wait for the other thread, which waits for this one, is refused."""
    store, said = HeldStore(), []
    ledger: bb.Ledger

    class Meddling:
        meddles = False

        def now(self) -> datetime:
            """Tell the time, after a call that is not allowed."""
            if self.meddles:
                self.meddles = False
                calls: dict[str, Callable[[], object]] = {
                    "close": ledger.close,
                    "flush_head": ledger.flush_head,
                    "commit": lambda: ledger.commit(deposit("A", "1 USDT")),
                    "commit_each": lambda: ledger.commit_each([deposit("A", "1 USDT")]),
                }
                with pytest.raises(bb.ConfigurationError, match="may not call the ledger") as caught:
                    calls[call]()
                said.append(caught.value)
            return datetime(2026, 1, 25, tzinfo=UTC)

    clock = Meddling()
    ledger = bb.Ledger(store=store, opening={"USDT": "100"}, clock=clock)
    ledger.deposit("ALICE", "50 USDT", correlation_id="r")

    def meddle() -> object:
        clock.meddles = True
        return ledger.deposit("CAROL", "1 USDT", correlation_id="r")

    with one_writing(ledger, store, meddle) as (leader, followers):
        pass
    assert len(said) == 1
    assert leader.result() is not None
    assert followers[0].result() is not None
    assert ledger.audit().lines == 5


@pytest.mark.interrupts
def test_an_interrupted_ledger_can_be_closed() -> None:
    """Wherever an interrupt came, closing lets go of the store, and says nothing of rules or signers."""
    random = Random(20261121)

    def handle(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, handle)
    try:
        for _ in range(400):
            store = bb.MemoryStore()
            ledger = bb.Ledger(store=store, opening={"USDT": "9"})
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 1e-3))
                while True:
                    ledger.commit(deposit("A", "1 USDT"))
            except KeyboardInterrupt:
                signal.setitimer(signal.ITIMER_REAL, 0)
            ledger.close()
            with pytest.raises(bb.LedgerClosed):
                ledger.commit(deposit("A", "1 USDT"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_that_closes_during_a_read_is_told() -> None:
    """Closing from a handler that interrupted a look at the accounts is refused, and nobody waits."""
    ledger = bb.Ledger.in_memory({"USDT": "9"})
    with ledger._committer.reading(), pytest.raises(bb.ConfigurationError, match="when a signal came"):
        ledger.close()
    ledger.close()


class SignalledStore(bb.MemoryStore):
    """A store that lets a signal come while a line is read, and may hold a write back."""

    def __init__(self) -> None:
        super().__init__()
        self.signals = False
        self.reached, self.go = threading.Event(), threading.Event()
        self.go.set()

    def append(self, group: LineGroup) -> None:
        """Say that a write began, and wait until it may go on."""
        self.reached.set()
        assert self.go.wait(30)
        super().append(group)

    def read(self, *, after_sequence: int = 0) -> Iterator[bytes]:
        """Read, and be interrupted once."""
        if self.signals and threading.current_thread() is threading.main_thread():
            self.signals = False
            signal.raise_signal(signal.SIGUSR1)
        return super().read(after_sequence=after_sequence)


def test_a_signal_handler_may_not_commit_while_a_key_is_looked_up() -> None:
    """It would wait for a leader that waits for this thread; it is refused, and nothing of it is written."""
    store = SignalledStore()
    ledger = bb.Ledger(store=store, opening={"USDT": "9"}).bind(correlation_id="r")
    first = ledger.deposit("A", "1 USDT", idempotency_key="k")
    told: list[str] = []

    def handle(_signal: int, _frame: FrameType | None) -> None:
        with pytest.raises(bb.ConfigurationError) as caught:
            ledger.deposit("MALLORY", "1 USDT")
        told.append(str(caught.value))

    before = signal.signal(signal.SIGUSR1, handle)
    store.reached.clear()
    store.go.clear()
    other = threading.Thread(target=lambda: ledger.deposit("B", "1 USDT"))
    other.start()
    try:
        assert store.reached.wait(30)
        store.signals = True
        assert ledger.deposit("A", "1 USDT", idempotency_key="k") == first
    finally:
        store.go.set()
        other.join()
        signal.signal(signal.SIGUSR1, before)
    ledger.deposit("A", "1 USDT")
    assert len(told) == 1
    assert "when a signal came" in told[0]
    assert [row.account.id for row in ledger.accounts("LIAB")] == ["A", "B"]


def test_a_signal_handler_may_not_commit_during_a_read() -> None:
    """What it sealed could not be waited for; so nothing is sealed."""
    ledger = bb.Ledger.in_memory({"USDT": "9"})
    with ledger._committer.reading(), pytest.raises(bb.ConfigurationError, match="when a signal came"):
        ledger.commit(deposit("A", "1 USDT"))
    ledger.commit(deposit("B", "1 USDT"))
    assert ledger.head.sequence == 3
