"""Threads of a ledger that are killed while tasks wait for them: all come to an end, nothing is done twice.

They are struck at each place of the ledger's code where an interrupt may come, as threads that commit by
themselves are (`tests/ledger/test_killed_threads.py`), again while they tell whom they leave behind, and
for real where they do nothing, in the code of the executor.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import pytest

import bibank as bb
from bibank import write_queue
from bibank.aio import LedgerOpening, submissions
from bibank.aio.submissions import Drain, Submissions
from bibank.aio.workers import Workers
from bibank.model.record import JournalRecord
from tests.aio.stores import run
from tests.ledger.test_killed_threads import Killed, Strike

TASKS = 2

FIRST_STRIKES = (2, 4, 200)
"""Places before anything was taken, after that, and in the middle of a commit."""

AGAIN = 60
"""So many places are tried for the second strike: the way until all are told, and a bit of what follows."""

SECONDS = 10.0
"""How long something may take that comes to an end; only a test that fails waits as long."""


class Struck(Strike):
    """A strike that tells where it was."""

    def where(self) -> str:
        """Tell it, also when that is not known yet."""
        return self.struck or "nothing"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where something is lost with its thread, nobody waits for long."""
    monkeypatch.setattr(write_queue, "PATIENCE", 0.02)
    monkeypatch.setattr(submissions, "LOOK_SECONDS", 0.02)


def trace(workers: Workers, strike: Strike) -> None:
    """Have a thread of theirs traced; there is one already."""
    workers._pools[-1].submit(sys.settrace, strike).result(SECONDS)


async def ended(*asked: Awaitable[object], struck: Callable[[], str]) -> list[object]:
    """Demand that all come to an end; give what became of each."""
    futures = [asyncio.ensure_future(one) for one in asked]
    await asyncio.wait(futures, timeout=SECONDS)
    assert all(one.done() for one in futures), f"somebody waits for ever after {struck()}"
    return [one.exception() or one.result() for one in futures]


async def rested(workers: Workers) -> None:
    """Wait until they have nothing to do."""
    async with asyncio.timeout(SECONDS):
        while workers.is_busy:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)


def ask(ledger: bb.AsyncLedger, number: int) -> Awaitable[bb.JournalEntry]:
    """Ask for a deposit under a key."""
    return ledger.deposit("CAROL", "1 USDT", correlation_id="r", idempotency_key=f"k{number}")


async def commit_struck(strike: Struck, again_by: Struck | None = None) -> None:
    """Strike the thread that commits; demand that all hear of it, and that each key counts once."""
    store = bb.MemoryStore()
    ledger = bb.AsyncLedger(bb.Ledger(store=store, opening={"USDT": "100"}))
    await ask(ledger, 0)
    trace(ledger._submissions._committing, strike)
    found = await ended(*(ask(ledger, n) for n in range(1, TASKS + 1)), struck=strike.where)
    for one in found:
        assert isinstance(one, bb.JournalEntry | bb.StoreError), (strike.struck, one)
    await rested(ledger._submissions._committing)
    for each in filter(None, (strike, again_by)):
        each.left = 0  # it strikes no more
    (later,) = await ended(ask(ledger, TASKS + 1), struck=strike.where)
    again = ledger
    if ledger.sync_ledger._committer.state == "poisoned":
        assert isinstance(later, bb.LedgerPoisoned | bb.CommitOutcomeUnknown), (strike.struck, later)
        again = bb.AsyncLedger(bb.Ledger(store=store))
    else:
        assert isinstance(later, bb.JournalEntry), (strike.struck, later)
    durable = {entry.sequence for entry in again.sync_ledger.entries()}
    for number, one in enumerate([*found, later], 1):
        entry = await ask(again, number)
        if isinstance(one, bb.JournalEntry):
            assert entry == one, strike.struck
            assert one.sequence in durable, f"acknowledged and lost: {strike.struck}"
        assert await ask(again, number) == entry
    assert str(again.balance("CAROL", "USDT").available) == str(TASKS + 2), strike.struck
    assert (await again.audit()).head == again.head
    for face in {ledger, again}:
        (closed,) = await ended(face.close(), struck=strike.where)
        assert closed is None, (strike.struck, closed)


@pytest.mark.interrupts
def test_the_thread_that_commits_is_killed_anywhere() -> None:
    """At each place of its way: every task comes to an end, later commits work, and each key counts once."""
    places: Counter[str] = Counter()

    async def main() -> None:
        at, unstruck = 0, 0
        while unstruck < 2:
            at += 1
            strike = Struck(at)
            await commit_struck(strike)
            unstruck += not strike.struck
            places[strike.struck.split(":")[0]] += 1

    asyncio.run(main())
    own = {
        "Workers._do",
        "Submissions._drain",
        "Submissions._take",
        "Round.commit",
        "Round.tell",
        "_call_soon",
    }
    assert own <= places.keys()
    assert {"Committer.commit_apart", "WriteQueue.settle"} <= places.keys()


@pytest.mark.interrupts
def test_the_thread_that_commits_is_killed_again_while_it_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Struck once more on the way that follows: whoever looks finds those who were left behind."""
    places: Counter[str] = Counter()
    again: list[Struck] = []
    go_on = Submissions._go_on

    def struck_again(self: Submissions, drain: Drain, cause: BaseException) -> None:
        if threading.current_thread() is not threading.main_thread() and not again[0].visits:
            sys.settrace(again[0])  # the first strike has taken the trace away
        go_on(self, drain, cause)

    monkeypatch.setattr(Submissions, "_go_on", struck_again)

    async def main(first: int) -> None:
        at, unstruck = 0, 0
        while unstruck < 2 and at < AGAIN:
            at += 1
            again[:] = [Struck(at)]
            await commit_struck(Struck(first), again[0])
            unstruck += not again[0].struck
            places[again[0].struck.split(":")[0]] += 1

    for first in FIRST_STRIKES:
        asyncio.run(main(first))
    assert {
        "Submissions._go_on",
        "Round.tell",
        "_unknown",
        "_call_soon",
        "Submissions._drain",
    } <= places.keys()


@pytest.mark.interrupts
def test_a_thread_that_reads_is_killed_anywhere() -> None:
    """Who waits for a call hears of it, by what it returned or a typed error; the next call works."""
    places: Counter[str] = Counter()

    async def main() -> None:
        at, unstruck = 0, 0
        while unstruck < 2:
            at += 1
            ledger = bb.AsyncLedger.in_memory({"USDT": "100"})
            ledger._submissions._calling = Workers(1, "bibank-call")  # so that it is the one that is traced
            await ledger.flush_head()
            strike = Struck(at)
            trace(ledger._submissions._calling, strike)
            (found,) = await ended(ledger.flush_head(), struck=strike.where)
            assert found is None or isinstance(found, bb.CommitOutcomeUnknown), (strike.struck, found)
            await rested(ledger._submissions._calling)
            strike.left = 0
            assert (await ledger.line(2)).sequence == 2
            await ledger.close()
            unstruck += not strike.struck
            places[strike.struck.split(":")[0]] += 1

    asyncio.run(main())
    assert {"Workers._do", "_do", "_outcome_of", "_call_soon"} <= places.keys()


@pytest.mark.interrupts
def test_the_thread_that_ends_is_killed_anywhere() -> None:
    """`close` comes to its end, closes when it is asked again, and what was submitted before is told."""
    places: Counter[str] = Counter()

    async def main() -> None:
        at, unstruck = 0, 0
        while unstruck < 2:
            at += 1
            ledger = bb.AsyncLedger.in_memory({"USDT": "100"})
            await ask(ledger, 0)
            strike = Struck(at)
            trace(ledger._submissions._committing, strike)
            closed, committed = await ended(closing(ledger), ask(ledger, 1), struck=strike.where)
            assert closed is None or isinstance(closed, bb.CommitOutcomeUnknown), (strike.struck, closed)
            assert isinstance(committed, bb.JournalEntry | bb.StoreError), (strike.struck, committed)
            await ledger.close()
            assert ledger.sync_ledger._committer.state == "closed", strike.struck
            unstruck += not strike.struck
            places[strike.struck.split(":")[0]] += 1

    asyncio.run(main())
    assert {
        "Workers._do",
        "Submissions._end",
        "Workers.finish",
        "Workers.end",
        "Ledger.close",
    } <= places.keys()


async def closing(ledger: bb.AsyncLedger) -> None:
    """Close in the turn in which others submit."""
    await asyncio.sleep(0)
    await ledger.close()


def kill(thread: threading.Thread) -> None:
    """Raise in a thread, when it next does something."""
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Killed))


def threads_of(workers: Workers) -> Iterable[threading.Thread]:
    """Name the threads that they have now."""
    return tuple(workers._pools[-1]._threads)


def test_a_thread_is_killed_while_it_does_nothing() -> None:
    """The executor loses the thread and what it is given: it is done by another thread, a look later."""

    async def main() -> None:
        ledger = bb.AsyncLedger.in_memory({"USDT": "100"})
        for number in range(3):
            await ask(ledger, number)
            await ledger.line(2)
            workers = (ledger._submissions._committing, ledger._submissions._calling)
            for each in workers:
                for thread in threads_of(each):
                    kill(thread)
            entry, found = await ended(ask(ledger, number + 10), ledger.line(2), struck=lambda: "idleness")
            assert isinstance(entry, bb.JournalEntry)
            assert isinstance(found, JournalRecord)
        assert str(ledger.balance("CAROL", "USDT").available) == "6"
        for thread in threads_of(ledger._submissions._committing):
            kill(thread)
        (closed,) = await ended(ledger.close(), struck=lambda: "idleness")
        assert closed is None
        assert ledger.sync_ledger._committer.state == "closed"

    run(main)


@pytest.mark.parametrize("error", [MemoryError("planted"), Killed("planted")])
def test_what_was_committed_is_told_by_a_thread_that_was_stopped(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped when all is on the disk and nobody knows: all get their entries, and commits go on."""
    call_soon, stops = submissions._call_soon, [error]

    def stopped(loop: asyncio.AbstractEventLoop, tell: Callable[..., object], *arguments: object) -> None:
        if stops:
            raise stops.pop()
        call_soon(loop, tell, *arguments)

    async def main() -> None:
        async with bb.AsyncLedger.in_memory({"USDT": "100"}) as ledger:
            monkeypatch.setattr(submissions, "_call_soon", stopped)
            found = await ended(*(ask(ledger, n) for n in range(5)), struck=lambda: "the commit")
            assert all(isinstance(one, bb.JournalEntry) for one in found)
            assert (await ask(ledger, 5)).sequence == ledger.head.sequence == 8
        assert stops == []

    run(main)


@pytest.mark.interrupts
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_thread_that_opens_is_killed_anywhere() -> None:
    """The opening comes to its end, and what was opened for nobody is closed."""

    async def main() -> None:
        at, unstruck = 0, 0
        while unstruck < 2:
            at += 1
            made = bb.Ledger.in_memory({"USDT": "1"})
            strike = Struck(at)
            threading.settrace(strike)
            try:
                opening = LedgerOpening(partial(_given, made), bb.AsyncLedger)
                (found,) = await ended(_awaited(opening), struck=strike.where)
            finally:
                threading.settrace(None)
            unstruck += not strike.struck
            if isinstance(found, bb.AsyncLedger):
                await found.close()
                continue
            assert isinstance(found, bb.StoreUnavailable), (strike.struck, found)
            if opening._opened is not None:
                await closed_by_itself(made)

    asyncio.run(main())


async def closed_by_itself(ledger: bb.Ledger) -> None:
    """Wait until another thread has closed it."""
    async with asyncio.timeout(SECONDS):
        while ledger._committer.state == "open":  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)


def _given(ledger: bb.Ledger) -> bb.Ledger:
    return ledger


async def _awaited(opening: LedgerOpening[bb.AsyncLedger]) -> bb.AsyncLedger:
    return await opening
