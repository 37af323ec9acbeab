"""Closing, loops that end, forks: nothing hangs, nothing is lost half-way, threads end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event
from threading import enumerate as threads
from typing import Any

import pytest

import bibank as bb
from bibank.aio.submissions import Lane, Submissions
from tests.aio.stores import PATIENCE_SECONDS, WatchedStore, run, until, watched

HANGS_SECONDS = PATIENCE_SECONDS - 10
"""When a program of a test that has not ended is made to say where it is."""

ROOT = Path(__file__).parents[2]


def own_threads() -> list[str]:
    """Wait for the threads of ledgers to end, and name those that do not."""
    mine = [thread for thread in threads() if thread.name.startswith("bibank-")]
    for thread in mine:
        thread.join(1)
    return [thread.name for thread in mine if thread.is_alive()]


async def deposit(ledger: bb.AsyncLedger, name: str = "A") -> bb.JournalEntry:
    """Commit one entry."""
    return await ledger.deposit(name, "1 USDT", correlation_id="r")


def test_close_lets_finish_what_was_submitted_before() -> None:
    """Commits, reads and decisions that were asked for before are done; what comes after is refused."""
    store = WatchedStore()

    async def main() -> None:
        ledger = watched(store)
        store.hold()
        first = asyncio.ensure_future(deposit(ledger))
        await until(store.begun)
        second = asyncio.ensure_future(deposit(ledger))
        each = asyncio.ensure_future(ledger.commit_each([]))
        read = asyncio.ensure_future(ledger.entries())
        await asyncio.sleep(0)
        third = asyncio.ensure_future(deposit(ledger))
        closing = asyncio.ensure_future(ledger.close())  # in the same turn, before it is handed over
        await asyncio.sleep(0)
        late = asyncio.ensure_future(deposit(ledger))
        late_read = asyncio.ensure_future(ledger.entry(1))
        await asyncio.sleep(0)
        store.let_go()
        assert [(await one).sequence for one in (first, second, third)] == [4, 5, 6]
        assert len(await each) == 0
        assert len(await read) >= 2
        for refused in (late, late_read):
            with pytest.raises(bb.LedgerClosed):
                await refused
        await closing
        with pytest.raises(bb.LedgerClosed):
            ledger.balance("A", "USDT")
        with pytest.raises(bb.LedgerClosed):
            await deposit(ledger)

    run(main)
    assert own_threads() == []


def test_close_lets_calls_finish_that_wait_for_a_thread() -> None:
    """More calls than there are threads, asked for before: each finds the ledger open."""
    gate = Event()

    async def main() -> None:
        ledger = watched(WatchedStore())

        def read() -> bb.JournalEntry:
            assert gate.wait(PATIENCE_SECONDS)
            return ledger.sync_ledger.entry(1)

        asked = [asyncio.ensure_future(ledger._submissions.call(read)) for _ in range(9)]
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(ledger.close())
        (pool,) = ledger._submissions._calling._pools
        while not pool._shutdown:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        gate.set()
        assert [entry.sequence for entry in await asyncio.gather(*asked)] == [1] * 9
        await closing

    run(main)
    assert own_threads() == []


def test_close_twice_at_once_and_again() -> None:
    """Closing is waited for by all who close, and harmless afterwards, also for bound faces."""

    async def main() -> None:
        ledger = watched(WatchedStore())
        bound = ledger.bind(correlation_id="b")
        await bound.deposit("A", "1 USDT")
        await asyncio.gather(*(one.close() for one in (ledger, bound, ledger)))
        await ledger.close()
        ledger.sync_ledger.close()
        refused = await asyncio.gather(*(deposit(ledger) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in refused] == [bb.LedgerClosed] * 3
        assert len({id(one) for one in refused}) == 3  # each its own: what is raised gathers a trace
        with pytest.raises(bb.LedgerClosed):
            await bound.deposit("A", "1 USDT")

    run(main)
    assert own_threads() == []


def test_the_ledger_that_blocks_is_closed_first() -> None:
    """Closing it by itself is heard by tasks; closing the face then only ends its thread."""

    async def main() -> None:
        ledger = watched(WatchedStore())
        await deposit(ledger)
        ledger.sync_ledger.close()
        with pytest.raises(bb.LedgerClosed):
            await deposit(ledger)
        await ledger.close()

    run(main)
    assert own_threads() == []


def test_close_that_is_cancelled_closes(tmp_path: Path) -> None:
    """Cancelled at each turn of the loop, the home is free again all the same."""

    async def main() -> None:
        for step in range(6):
            ledger = await bb.AsyncLedger.open_or_create(
                tmp_path / "home", opening={"USDT": "1"}, lock_timeout_seconds=PATIENCE_SECONDS
            )
            await deposit(ledger)
            closing = asyncio.ensure_future(ledger.close())
            for _ in range(step):
                await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait([closing])
            if step == 0:  # it had not begun
                await ledger.close()
        async with bb.AsyncLedger.open(tmp_path / "home", lock_timeout_seconds=PATIENCE_SECONDS) as ledger:
            assert ledger.balance("A", "USDT").available == bb.SignedAmount(6)

    run(main)
    assert own_threads() == []


def test_a_loop_that_ends_while_the_thread_writes() -> None:
    """A loop is closed with commits under way: they are committed, other loops go on, close works."""
    store = WatchedStore()
    ledger = watched(store)
    store.hold()

    async def leave() -> None:
        _pending = [asyncio.ensure_future(deposit(ledger, f"L{n}")) for n in range(3)]
        await until(store.begun)

    asyncio.run(leave())
    store.let_go()

    async def come_back() -> None:
        assert (await deposit(ledger, "B")).sequence == 7
        assert [ledger.balance(f"L{n}", "USDT").available for n in range(3)] == [bb.SignedAmount(1)] * 3
        await ledger.close()

    run(come_back)
    assert own_threads() == []


def test_a_loop_that_stops_in_the_turn_of_the_submission() -> None:
    """What a stopped loop has not handed over yet is handed over when it runs again; others do not wait."""
    ledger = watched(WatchedStore())
    loop = asyncio.new_event_loop()

    async def stop() -> None:
        loop.call_soon(loop.stop)
        await deposit(ledger)

    task = loop.create_task(stop())
    loop.run_forever()
    assert asyncio.run(deposit(ledger, "B")).sequence in {4, 5}
    loop.run_until_complete(task)
    assert ledger.head.sequence == 5
    loop.close()
    asyncio.run(ledger.close())
    assert own_threads() == []


def test_a_loop_that_is_closed_in_the_turn_of_the_submission() -> None:
    """What a closed loop never handed over is not committed, and does not hold up the rest."""
    ledger = watched(WatchedStore())
    loop = asyncio.new_event_loop()
    asked: list[str] = []

    def never() -> bb.AsyncLedger:
        asked.append("asked")
        raise AssertionError("nobody hands this over")

    def submit() -> None:
        submit_it: Any = ledger._submissions.submit
        submit_it(never)
        loop.stop()

    loop.call_soon(submit)
    loop.run_forever()
    loop.close()
    assert asyncio.run(deposit(ledger, "B")).sequence == 4
    asyncio.run(ledger.close())
    assert asked == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interrupt_in_the_loop(tmp_path: Path) -> None:
    """Ctrl-C while tasks commit: the program ends, the ledger is closed, and opens again without repair."""
    script = f"""
import asyncio, faulthandler, os, signal
import bibank as bb

faulthandler.dump_traceback_later({HANGS_SECONDS}, exit=True)  # where it hangs, if it does

async def main():
    async with bb.AsyncLedger.create({str(tmp_path / "home")!r}, opening={{"USDT": "1"}}) as ledger:
        async def work(name):
            for n in range(10**9):
                await ledger.deposit(name, "1 USDT", correlation_id="r", idempotency_key=f"{{name}}-{{n}}")
                if n == 5:
                    os.kill(os.getpid(), signal.SIGINT)
        await asyncio.gather(*(work(f"U{{n}}") for n in range(20)))

asyncio.run(main())
"""
    found = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
        cwd=ROOT,
    )
    assert "KeyboardInterrupt" in found.stderr, found.stderr
    assert "Timeout" not in found.stderr, found.stderr
    assert found.returncode in {1, -signal.SIGINT, 130}, found.stderr
    with bb.Ledger.open(tmp_path / "home") as ledger:
        assert ledger.audit().head == ledger.head
        for n in range(20):
            entries = [e for e in ledger.entries() if e.postings[1].account.id == f"U{n}"]
            assert len(entries) >= 6


def test_a_program_that_never_closes_ends() -> None:
    """Nobody closes the ledger: the interpreter ends all the same, with what was committed committed."""
    script = f"""
import asyncio, faulthandler
import bibank as bb

faulthandler.dump_traceback_later({HANGS_SECONDS}, exit=True)

async def main():
    ledger = bb.AsyncLedger.in_memory({{"USDT": "1"}})
    await ledger.entries()
    print((await ledger.deposit("A", "1 USDT", correlation_id="r")).sequence)

asyncio.run(main())
"""
    found = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
        cwd=ROOT,
    )
    assert (found.stdout, found.stderr, found.returncode) == ("3\n", "", 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_in_a_forked_child_everything_is_refused() -> None:
    """A child has neither the threads nor the ledger of its parent, and hears so; the parent goes on."""
    ledger = watched(WatchedStore())
    asyncio.run(deposit(ledger))
    asyncio.run(_read(ledger))
    child = os.fork()
    if not child:
        try:
            os._exit(_in_child(ledger))
        finally:
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert asyncio.run(deposit(ledger)).sequence == 5
    asyncio.run(ledger.close())


async def _read(ledger: bb.AsyncLedger) -> None:
    await ledger.entries()


def _in_child(ledger: bb.AsyncLedger) -> int:
    """Ask for everything in a child; 0 when all of it was refused."""

    async def refused() -> int:
        said = 0
        for ask in (deposit, _read):
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await ask(ledger)
            except bb.LedgerPoisoned:
                said += 1
        await ledger.close()
        return said

    return 0 if asyncio.run(refused()) == 2 else 1


def test_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives no thread, callers hear so, nothing was committed, and later commits work."""

    async def main() -> None:
        ledger = watched(WatchedStore())
        with monkeypatch.context() as patched:

            def no_thread(*_: object) -> None:
                raise RuntimeError("can't start new thread")

            patched.setattr("threading.Thread.start", no_thread)
            found = await asyncio.gather(
                deposit(ledger), deposit(ledger), ledger.entries(), return_exceptions=True
            )
            assert [type(one) for one in found] == [bb.StoreUnavailable] * 3
            assert len({id(one) for one in found}) == 3
            called: list[str] = []
            with pytest.raises(bb.StoreUnavailable):
                await ledger._submissions.call(lambda: called.append("after it was refused"))
        assert (await deposit(ledger)).sequence == 4
        assert len(await ledger.entries()) == 3
        assert called == []
        await ledger.close()

    run(main)


def test_a_task_that_is_cancelled_while_it_is_told_holds_up_nobody() -> None:
    """As by the handler of Ctrl-C, which cancels a task between any two steps of the loop's thread."""

    class Sudden(asyncio.Future[object]):
        """A future that is cancelled whenever somebody asks whether it is done."""

        def done(self) -> bool:
            self.cancel()
            return False

    async def main() -> list[object]:
        async with bb.AsyncLedger.in_memory({"USDT": "1000"}) as ledger:
            loop = asyncio.get_running_loop()
            made = loop.create_future
            first = [Sudden(loop=loop)]
            loop.create_future = lambda: first.pop() if first else made()  # type: ignore[method-assign]  # planted
            commits = [ledger.deposit("ALICE", "1 USDT", correlation_id="r") for _ in range(4)]
            async with asyncio.timeout(20):
                found = await asyncio.gather(*commits, return_exceptions=True)
            return [type(one).__name__ for one in found]

    told = asyncio.run(main())
    assert told[1:] == ["JournalEntry"] * 3


def test_a_turn_that_was_ended_by_a_signal_handler_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What its tasks submitted is handed over by the next look; nobody waits for ever."""
    hand_over, calls = Submissions._hand_over, 0

    def interrupted(self: Submissions, lane: Lane) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError("raised by a signal handler")
        hand_over(self, lane)

    monkeypatch.setattr(Submissions, "_hand_over", interrupted)
    monkeypatch.setattr("bibank.aio.submissions.LOOK_SECONDS", 0.01)

    async def main() -> str:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        async with bb.AsyncLedger.in_memory({"USDT": "1000"}) as ledger:
            async with asyncio.timeout(20):
                await asyncio.gather(
                    *(ledger.deposit("ALICE", "1 USDT", correlation_id="r") for _ in range(2))
                )
            return str(ledger.balance("ALICE", "USDT").available)

    assert asyncio.run(main()) == "2"
