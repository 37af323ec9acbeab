"""Nobody who waits for a group is forgotten: every test here fails when a thread is not called.

Their patience is longer than any test may take, so what would only be slow in use fails here.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import get_ident

import pytest

import bibank as bb
from bibank import write_queue
from bibank.model.lines import LineGroup
from bibank.signing import Ed25519Signer
from bibank.write_group import Latch, WriteGroup
from tests.ledger.test_leaders import HeldStore, one_writing, until
from tests.store.journals import SIGNER, deposit

OTHER = Ed25519Signer(bytes(range(32, 64)), signer_id="SYSTEM")

SOON = 15
"""Seconds in which everything here is over."""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody finds out by itself, within the time that a test has, that it was forgotten."""
    monkeypatch.setattr(write_queue, "PATIENCE", 2 * SOON)
    start = time.monotonic()
    yield
    assert time.monotonic() - start < SOON, "somebody waited until its patience was over"


@pytest.fixture
def store() -> HeldStore:
    """A store that is not held yet."""
    return HeldStore()


@pytest.fixture
def ledger(store: HeldStore) -> bb.Ledger:
    """A signed ledger in which ALICE has 1000, at line 3."""
    made = bb.Ledger(store=store, opening={"USDT": "2000"}, signer=SIGNER)
    made.deposit("ALICE", "1000 USDT", correlation_id="r")
    store.groups.clear()
    return made


def carol(ledger: bb.Ledger) -> Callable[[], object]:
    """A deposit that somebody else makes."""
    return lambda: ledger.deposit("CAROL", "1 USDT", correlation_id="r")


def all_wait(ledger: bb.Ledger, count: int) -> None:
    """Go on when so many threads wait to be called."""
    groups = ledger._committer._queue.groups
    until(lambda: sum(len(group.waiting) for group in tuple(groups)) == count)


def outcomes(*commits: Future[object]) -> list[BaseException | None]:
    """Tell how each ended, when it does so soon."""
    return [commit.exception(SOON) for commit in commits]


@pytest.mark.parametrize("threads", [1, 2, 3, 16])
def test_threads_that_commit_again_and_again_are_all_called(ledger: bb.Ledger, threads: int) -> None:
    """Whoever comes while somebody leads is called, in group after group, and nobody leads at the end."""

    def work() -> list[int]:
        return [ledger.commit(deposit("CAROL", "1 USDT")).sequence for _ in range(60)]

    with ThreadPoolExecutor(threads) as pool:
        told = [future.result(SOON) for future in [pool.submit(work) for _ in range(threads)]]
    assert sorted(number for numbers in told for number in numbers) == list(range(4, 4 + 60 * threads))
    assert not ledger._committer._queue.led


def test_followers_wait_without_the_lead(ledger: bb.Ledger, store: HeldStore) -> None:
    """While one writes the others stand in its successor's queue, and are one group, each called once."""
    with one_writing(ledger, store, *[carol(ledger)] * 7) as (leader, followers):
        all_wait(ledger, 7)
    assert outcomes(leader, *followers) == [None] * 8
    assert store.groups == [1, 7]


@pytest.mark.parametrize("error", [bb.StoreUnavailable("planted"), bb.CommitOutcomeUnknown("planted")])
def test_followers_of_a_failure_are_told(ledger: bb.Ledger, store: HeldStore, error: bb.StoreError) -> None:
    """A group that is taken back, or given up, wakes all who wait behind it; each has an error of its own."""
    store.error = error
    with one_writing(ledger, store, *[carol(ledger)] * 5) as (leader, followers):
        all_wait(ledger, 5)
    errors = outcomes(leader, *followers)
    assert all(isinstance(error, bb.StoreError) for error in errors)
    assert len({id(error) for error in errors}) == 6


def test_followers_of_a_killed_leader_are_told(ledger: bb.Ledger, store: HeldStore) -> None:
    """An interrupt in the store ends the leader, and wakes all who wait."""
    store.error = KeyboardInterrupt()
    with one_writing(ledger, store, *[carol(ledger)] * 5) as (leader, followers):
        all_wait(ledger, 5)
    assert isinstance(leader.exception(SOON), KeyboardInterrupt)
    assert all(isinstance(error, bb.LedgerPoisoned) for error in outcomes(*followers))


@pytest.mark.parametrize("what", ["close", "rotate", "flush"])
def test_followers_of_whoever_writes_the_queue_out_are_told(
    ledger: bb.Ledger, store: HeldStore, what: str
) -> None:
    """A close or a record takes the lead and writes what others wait for: they hear of it."""
    calls: dict[str, Callable[[], object]] = {
        "close": ledger.close,
        "rotate": lambda: ledger.keyring.rotate(OTHER, correlation_id="k"),
        "flush": ledger.flush_head,
    }
    with ThreadPoolExecutor(1) as pool:
        with one_writing(ledger, store, *[carol(ledger)] * 5) as (leader, followers):
            all_wait(ledger, 5)
            called = pool.submit(calls[what])
        assert outcomes(leader, *followers) == [None] * 6
        assert called.exception(SOON) is None
    assert store.groups[:2] == [1, 5]


def test_a_queue_written_out_before_its_waiters_were_called(ledger: bb.Ledger, store: HeldStore) -> None:
    """Who wrote two groups for itself calls those who wait for the first."""
    committer = ledger._committer
    queue = committer._queue
    _, first = committer._seal(ledger._prepare((deposit("CAROL", "1 USDT"),)))
    committer.machine.close_group()  # as a leader does who takes the group
    _, second = committer._seal(ledger._prepare((deposit("CAROL", "1 USDT"),)))
    assert first is not None
    assert second is not None
    queue.led = True  # somebody was called to lead, and has not come yet
    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(queue.settle, first) for _ in range(2)]
        all_wait(ledger, 2)
        queue.led = False
        queue.settle(second)
        assert [wait.exception(SOON) for wait in waits] == [None, None]
    assert store.groups == [1, 1]


@pytest.mark.parametrize("what", ["close", "settle", "rotate"])
def test_who_waits_for_a_leader_that_never_came_is_told_by_others(ledger: bb.Ledger, what: str) -> None:
    """Whatever takes the lead and writes the queue out calls those who wait for what it wrote."""
    queue = ledger._committer._queue
    calls: dict[str, Callable[[], object]] = {
        "close": ledger.close,
        "settle": queue.settle_all,
        "rotate": lambda: ledger.keyring.rotate(OTHER, correlation_id="k"),
    }
    _, group = ledger._committer._seal(ledger._prepare((deposit("CAROL", "1 USDT"),)))
    assert group is not None
    queue.led = True
    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(queue.settle, group) for _ in range(2)]
        all_wait(ledger, 2)
        calls[what]()
        assert [wait.exception(SOON) for wait in waits] == [None, None]


def test_a_call_that_was_lost_costs_patience_and_no_more(
    ledger: bb.Ledger, store: HeldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody was called to lead, and died: who waits finds out, leads, and others need not wait again."""
    monkeypatch.setattr(write_queue, "PATIENCE", 0.01)
    queue = ledger._committer._queue
    queue.led = True
    with ThreadPoolExecutor(8) as pool:
        commits = [pool.submit(carol(ledger)) for _ in range(8)]
        assert outcomes(*commits) == [None] * 8
    assert not queue.led
    assert sum(store.groups) == 8


def test_who_is_interrupted_as_it_is_called_hands_the_call_on(
    ledger: bb.Ledger, store: HeldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of those who wait is called to lead and killed at that moment: the next one leads."""
    wait, victims = WriteGroup.wait, [0]

    def waited(self: WriteGroup, seconds: float, *, unless: Callable[[], bool]) -> bool:
        is_victim = bool(victims)
        victims.clear()
        called = wait(self, seconds, unless=unless)
        if is_victim:
            raise KeyboardInterrupt
        return called

    monkeypatch.setattr(WriteGroup, "wait", waited)
    with one_writing(ledger, store, *[carol(ledger)] * 5) as (leader, followers):
        all_wait(ledger, 5)
    killed, *others = outcomes(*followers)
    assert isinstance(killed, KeyboardInterrupt)
    assert [leader.exception(SOON), *others] == [None] * 5
    assert store.groups == [1, 5], "what the killed one sealed is written with the others' batches"


def test_who_holds_the_lead_does_not_wait_for_itself(ledger: bb.Ledger) -> None:
    """A record is written by its own thread, though somebody else was called to lead just before."""
    ledger._committer._queue.led = True
    with ThreadPoolExecutor(1) as pool:
        pool.submit(ledger.keyring.rotate, OTHER, correlation_id="k").result(SOON)
    assert ledger.keyring.version == 2
    assert ledger.head.sequence == ledger.records()[-1].sequence, "the record is on the disk"


def test_who_begins_to_wait_as_nobody_is_found_is_called(ledger: bb.Ledger) -> None:
    """Between the look for waiters and the word that nobody leads, one more may have begun to wait."""
    committer = ledger._committer
    queue = committer._queue
    late: list[Future[None]] = []
    look = queue._call_first

    def called() -> bool:
        found = look()
        assert second is not None
        if not found and not late:
            late.append(pool.submit(queue.settle, second))
            all_wait(ledger, 1)
        return found

    _, first = committer._seal(ledger._prepare((deposit("CAROL", "1 USDT"),)))
    committer.machine.close_group()
    _, second = committer._seal(ledger._prepare((deposit("CAROL", "1 USDT"),)))
    assert first is not None
    assert second is not None
    queue._call_first = called  # type: ignore[method-assign]  # planted
    with ThreadPoolExecutor(1) as pool:
        queue.settle(first)
        assert [wait.exception(SOON) for wait in late] == [None]
    assert second.settled


def test_nobody_waits_for_what_is_over(ledger: bb.Ledger) -> None:
    """A change that came between the decision to wait and the latch is seen."""
    _, group = ledger._committer._seal(ledger._prepare((deposit("CAROL", "1 USDT"),)))
    assert group is not None
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(group.wait, 2 * SOON, unless=lambda: True).result(SOON)
        ledger._committer._queue.settle(group)
        assert not pool.submit(group.wait, 2 * SOON, unless=lambda: False).result(SOON)
    assert not group.waiting


def test_a_call_that_comes_as_patience_ends_is_heard(ledger: bb.Ledger) -> None:
    """Who finds its latch taken out was called, and would have to hand that on."""

    class Taken(deque[Latch]):
        def remove(self, latch: Latch) -> None:
            """As if somebody had taken it just before."""
            super().remove(latch)
            super().remove(latch)

    _, group = ledger._committer._seal(ledger._prepare((deposit("CAROL", "1 USDT"),)))
    assert group is not None
    assert not group.wait(0, unless=lambda: False)
    group.waiting = Taken()
    assert group.wait(0, unless=lambda: False)


@pytest.mark.parametrize("slow", ["store", "lock"])
def test_a_write_longer_than_patience_keeps_the_chain(
    ledger: bb.Ledger, store: HeldStore, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """Who looks up while somebody writes, or waits for the lock to do so, waits on: none stands in line."""
    monkeypatch.setattr(write_queue, "PATIENCE", 0.002)
    queue = ledger._committer._queue
    wait, keep, looks = WriteGroup.wait, queue._keep, Counter[int]()

    def waited(self: WriteGroup, seconds: float, *, unless: Callable[[], bool]) -> bool:
        called = wait(self, seconds, unless=unless)
        looks[get_ident()] += not called
        return called

    def all_have_looked() -> None:
        until(lambda: sum(count > 2 for count in tuple(looks.values())) == 7)

    def kept(group: WriteGroup) -> None:
        if slow == "lock" and len(group.batches) == 1:
            all_have_looked()
        keep(group)

    monkeypatch.setattr(WriteGroup, "wait", waited)
    monkeypatch.setattr(queue, "_keep", kept)
    for _ in range(2):
        looks.clear()
        with one_writing(ledger, store, *[carol(ledger)] * 7) as (leader, followers):
            if slow == "store":
                all_have_looked()
        assert outcomes(leader, *followers) == [None] * 8
    assert store.groups == [1, 7, 1, 7]


def test_who_looks_up_between_two_writes_waits_on(ledger: bb.Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is at work for a moment, but somebody was since the last look, and others are being called."""
    committer = ledger._committer
    queue = committer._queue
    waits: list[WriteGroup] = []

    def waited(self: WriteGroup, seconds: float, *, unless: Callable[[], bool]) -> bool:
        waits.append(self)
        if len(waits) == 1:
            assert first is not None
            queue.write_until(first)
        return False

    _, first = committer._seal(ledger._prepare((deposit("CAROL", "1 USDT"),)))
    committer.machine.close_group()
    _, second = committer._seal(ledger._prepare((deposit("CAROL", "1 USDT"),)))
    assert second is not None
    queue.led = True
    monkeypatch.setattr(WriteGroup, "wait", waited)
    queue.settle(second)
    assert waits == [second, second], "and no longer: then the call was lost"
    assert second.settled


def test_who_was_not_called_goes_on_while_others_write(
    ledger: bb.Ledger, store: HeldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wrote a group died before it called: who waits sees that it is over, and others go on."""
    monkeypatch.setattr(write_queue, "PATIENCE", 0.2)
    queue = ledger._committer._queue
    _, group = ledger._committer._seal(ledger._prepare((deposit("CAROL", "1 USDT"),)))
    assert group is not None
    queue.led = True
    with ThreadPoolExecutor(1) as pool:
        wait = pool.submit(queue.settle, group)
        all_wait(ledger, 1)
        queue.write_until(group)
        queue.led = False
        with one_writing(ledger, store):
            assert wait.exception(SOON) is None


def test_who_died_at_work_is_at_work_no_more(ledger: bb.Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader that is killed midway, and calls nobody, is not waited for."""
    monkeypatch.setattr(write_queue, "PATIENCE", 0.01)
    queue = ledger._committer._queue
    _, group = ledger._committer._seal(ledger._prepare((deposit("CAROL", "1 USDT"),)))
    assert group is not None
    write_next = queue._write_next
    queue.led = True

    def killed() -> None:
        monkeypatch.setattr(queue, "_write_next", write_next)
        all_wait(ledger, 1)
        raise KeyboardInterrupt

    monkeypatch.setattr(queue, "_write_next", killed)
    with ThreadPoolExecutor(1) as pool:
        wait = pool.submit(queue.settle, group)
        with pytest.raises(KeyboardInterrupt):
            queue.write_until(group)
        assert wait.exception(SOON) is None


def test_nothing_is_shown_before_its_sync(ledger: bb.Ledger, store: HeldStore) -> None:
    """While a group is written neither its leader nor who waits for it has a result, or sees the money."""
    seen: list[tuple[int, bool]] = []
    append = store.append

    def watched(group: LineGroup) -> None:
        queued = tuple(ledger._committer._queue.groups)
        seen.append((ledger.head.sequence - store.head().sequence, any(g.settled for g in queued)))
        append(group)

    store.append = watched  # type: ignore[method-assign]  # planted
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ledger.commit(deposit("CAROL", "1 USDT")), range(80)))
    assert set(seen) == {(0, False)}
