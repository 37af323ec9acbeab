"""Delivery by tasks: slow, failing and cancelled subscribers, and loops that end under them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from threading import current_thread, main_thread

import pytest

import bibank as bb
from tests.bus.ears import (
    AT_ONCE,
    PATIENCE_SECONDS,
    Ear,
    Planted,
    all_told,
    deposit,
    entries_of,
    failures,
    small_ring,
    status_of,
    told,
)

pytestmark = pytest.mark.usefixtures("only_when_woken")


class Later(Ear):
    """An async subscriber: whatever it hears, it first waits for its gate."""

    def __init__(self, name: str = "later") -> None:
        super().__init__(name)
        self.gate = asyncio.Event()
        self.gate.set()
        self.reached = asyncio.Event()
        self.cancelled = 0

    async def handle(self, event: bb.LedgerEvent) -> None:  # type: ignore[override]  # the async kind of it
        """Take one event."""
        self.reached.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        super().handle(event)


def run(main: Callable[[], Coroutine[object, object, None]]) -> None:
    """Run in a loop, not longer than a test may take."""
    asyncio.run(asyncio.wait_for(main(), PATIENCE_SECONDS))


async def drained(ledger: bb.Ledger) -> bool:
    """Wait until all has been told, in a thread, so that the loop goes on."""
    return await asyncio.to_thread(ledger.bus.drain, timeout_seconds=PATIENCE_SECONDS)


async def until(condition: Callable[[], bool]) -> None:
    """Give the loop turns until something holds; `run` bounds it."""
    while not condition():  # noqa: ASYNC110 - what is waited for happens in other threads too
        await asyncio.sleep(0)


def test_an_async_subscriber_is_told_by_a_task(ledger: bb.Ledger) -> None:
    """Without being asked for; in order, and each entry once, whoever commits."""

    async def main() -> None:
        ear = Later()
        with small_ring(4):
            ledger.bus.subscribe(ear)
        assert status_of(ledger, "later").delivery == "task"
        deposit(ledger, 5)
        await asyncio.to_thread(deposit, ledger, 20)
        assert await drained(ledger)
        assert ear.sequences == entries_of(ledger, after=2)

    run(main)


def test_a_plain_subscriber_may_be_told_by_a_task(ledger: bb.Ledger) -> None:
    """A sync one is called in the loop's thread."""

    async def main() -> None:
        threads = []

        class Where(Ear):
            def handle(self, event: bb.LedgerEvent) -> None:
                threads.append(current_thread())
                super().handle(event)

        ear = Where()
        ledger.bus.subscribe(ear, delivery="task")
        ledger.bus.subscribe(lambda event: threads.append(current_thread()), delivery="task", name="function")
        await asyncio.to_thread(deposit, ledger, 2)
        assert await drained(ledger)
        assert ear.sequences == [3, 4]
        assert threads == [main_thread()] * 4

    run(main)


def test_an_async_function_subscribes(ledger: bb.Ledger) -> None:
    """Its name is its own; objects that are called asynchronously are async as well."""

    async def main() -> None:
        heard: list[str] = []

        async def listener(event: bb.LedgerEvent) -> None:
            await asyncio.sleep(0)
            heard.append(told(event))

        class Called:
            async def __call__(self, event: bb.LedgerEvent) -> None:
                heard.append(f"called {told(event)}")

        ledger.bus.subscribe(listener)
        ledger.bus.subscribe(Called(), name="called")
        deposit(ledger)
        assert await drained(ledger)
        assert sorted(heard) == ["3", "called 3"]

    run(main)


def test_a_slow_subscriber_holds_up_nobody(ledger: bb.Ledger) -> None:
    """Neither commits, in the loop or in a thread, nor other tasks."""

    async def main() -> None:
        slow, quick = Later("slow"), Later("quick")
        slow.gate.clear()
        for each in (slow, quick):
            ledger.bus.subscribe(each)
        deposit(ledger, 3)
        await asyncio.to_thread(deposit, ledger, 3)
        await until(lambda: len(quick.sequences) == 6)
        assert slow.sequences == []
        slow.gate.set()
        assert await drained(ledger)
        assert slow.sequences == quick.sequences == list(range(3, 9))

    run(main)


@pytest.mark.parametrize(
    "error", [Planted("x"), asyncio.CancelledError(), TimeoutError(), StopAsyncIteration()]
)
def test_a_failure_is_tried_again(ledger: bb.Ledger, error: BaseException) -> None:
    """An error of the subscriber's own, a cancellation of something that it awaited, and odd ones."""

    async def main() -> None:
        ear = Later()
        ear.trouble.update(Ear(trouble={4: [error]}).trouble)
        ledger.bus.subscribe(ear, retry=AT_ONCE)
        deposit(ledger, 3)
        assert await drained(ledger)
        assert all_told(ear.tried) == ["3", "4", "4", "5"]
        row = status_of(ledger, "later")
        assert (row.failures, row.state) == (1, bb.SubscriberState.WAITING)

    run(main)


def test_too_many_failures_park(ledger: bb.Ledger) -> None:
    """Others go on; `resume` tells the same event first."""

    async def main() -> None:
        ear, other = Later(), Later("other")
        ear.trouble.update(Ear(trouble={3: failures(3)}).trouble)
        for each in (ear, other):
            ledger.bus.subscribe(each, retry=AT_ONCE)
        deposit(ledger, 2)
        assert not await drained(ledger)
        assert other.sequences == [3, 4]
        assert status_of(ledger, "later").state is bb.SubscriberState.PARKED
        ledger.bus.resume("later")
        assert await drained(ledger)
        assert all_told(ear.tried) == ["3", "3", "3", "3", "4"]

    run(main)


def test_a_replay_with_async_preparations(ledger: bb.Ledger) -> None:
    """`on_replay_start` and `on_replay_complete` are awaited where they are async."""

    async def main() -> None:
        diary: list[str] = []

        class Aware:
            name = "aware"

            async def on_replay_start(self) -> None:
                await asyncio.sleep(0)
                diary.append("start")

            async def on_replay_complete(self) -> None:
                await asyncio.sleep(0)
                diary.append("complete")

            async def handle(self, event: bb.LedgerEvent) -> None:
                await asyncio.sleep(0)
                diary.append(told(event))

        ledger.bus.subscribe(Aware())
        deposit(ledger)
        assert await drained(ledger)
        ledger.bus.replay_from(3)
        assert await drained(ledger)
        assert diary == ["3", "start", "from 3", "3", "completed 1", "complete"]

    run(main)


def test_an_async_keeper(ledger: bb.Ledger) -> None:
    """Its cursor is awaited; what was done before an error is not told again."""

    async def main() -> None:
        ledger_entries = deposit(ledger, 3)
        heard: list[int] = []
        cursor = bb.Cursor(sequence=3, hash=ledger.entry(3).hash)

        class AsyncKeeper:
            name = "keeper"

            async def load_cursor(self) -> bb.Cursor:
                await asyncio.sleep(0)
                return cursor

            async def handle(self, event: bb.LedgerEvent) -> None:
                nonlocal cursor
                await asyncio.sleep(0)
                if isinstance(event, bb.EntryCommitted):
                    heard.append(event.sequence)
                    cursor = event.cursor
                    if event.sequence == 4 and heard.count(4) == 1:
                        raise Planted("behind its transaction")

        ledger.bus.subscribe(AsyncKeeper(), retry=AT_ONCE)
        assert await drained(ledger)
        assert heard == ledger_entries[1:]

    run(main)


# ------------------------------------------------------------------ endings


@asynccontextmanager
async def standing_still(ledger: bb.Ledger) -> AsyncIterator[Later]:
    """A subscriber that stands still in the middle of its first event."""
    ear = Later()
    ear.gate.clear()
    ledger.bus.subscribe(ear)
    deposit(ledger, 2)
    await ear.reached.wait()
    yield ear


def test_leaving_in_the_loop_cancels_what_is_in_hand(ledger: bb.Ledger) -> None:
    """Where the loop would wait for itself, the event is not done, and is told again to who comes back."""

    async def main() -> None:
        async with standing_still(ledger) as ear:
            ledger.bus.unsubscribe("later")
            await until(lambda: ear.cancelled == 1)
            ear.gate.set()
            again = Ear("later")
            ledger.bus.subscribe(again)
            ledger.bus.pump()
            assert (ear.sequences, again.sequences) == ([], [3, 4])

    run(main)


def test_closing_in_the_loop_does_not_hang(ledger: bb.Ledger) -> None:
    """With a subscriber in the middle of an event."""

    async def main() -> None:
        async with standing_still(ledger) as ear:
            ledger.close()
            await until(lambda: ear.cancelled == 1)
            assert ear.sequences == []

    run(main)


def test_closing_from_a_thread_waits_for_what_is_in_hand(ledger: bb.Ledger) -> None:
    """The event in hand is finished, and done."""

    async def main() -> None:
        async with standing_still(ledger) as ear:
            closing = asyncio.create_task(asyncio.to_thread(ledger.bus.close))
            await asyncio.sleep(0)
            ear.gate.set()
            await closing
            assert ear.sequences[:1] in ([3], [])
            assert ear.cancelled == 0

    run(main)


def test_a_subscriber_may_leave_and_commit_from_its_task(ledger: bb.Ledger) -> None:
    """It does not wait for itself."""

    async def main() -> None:
        heard: list[str] = []

        async def listener(event: bb.LedgerEvent) -> None:
            heard.append(told(event))
            if len(heard) == 1:
                await asyncio.to_thread(deposit, ledger)
                deposit(ledger)
            else:
                ledger.bus.unsubscribe("listener")

        ledger.bus.subscribe(listener)
        deposit(ledger)
        await until(lambda: len(heard) == 2 and not len(ledger.bus.status()))
        assert heard == ["3", "4"]

    run(main)


@pytest.mark.parametrize("ending", ["ends", "is closed in the middle"])
def test_a_loop_that_ends_takes_no_ledger_with_it(ledger: bb.Ledger, ending: str) -> None:
    """Commits go on; the status says that nobody delivers; the name is free for another delivery."""

    async def main() -> None:
        ear = Later()
        if ending != "ends":
            ear.gate.clear()
        ledger.bus.subscribe(ear)
        deposit(ledger, 2)
        await ear.reached.wait()
        if ending == "ends":
            assert await drained(ledger)

    run(main)
    assert deposit(ledger, 2) == [5, 6]
    assert status_of(ledger, "later").state is bb.SubscriberState.STOPPED
    assert ledger.bus.drain(timeout_seconds=PATIENCE_SECONDS), "nobody is left to be waited for"
    again = Ear("later")
    ledger.bus.subscribe(again)
    ledger.bus.pump()
    assert again.sequences == ([5, 6] if ending == "ends" else [3, 4, 5, 6])
    ledger.close()


def test_a_loop_that_stands_still_holds_up_no_commit_and_no_close(ledger: bb.Ledger) -> None:
    """A loop that is not run, and not closed either."""
    loop = asyncio.new_event_loop()
    try:
        ear = Ear()

        async def subscribe() -> None:
            ledger.bus.subscribe(ear, delivery="task")

        loop.run_until_complete(subscribe())
        assert deposit(ledger, 3) == [3, 4, 5]
        ledger.bus.replay_from(3)
        ledger.close()
        assert ear.sequences == []

        async def rest() -> None:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            await asyncio.gather(*others, return_exceptions=True)

        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(rest())
        assert ear.sequences == []
    finally:
        loop.close()


def test_an_interrupt_in_a_task_comes_out_of_the_loop(ledger: bb.Ledger) -> None:
    """Ctrl-C ends the loop, and its event is told again by whoever delivers next."""

    async def main() -> None:
        ear = Later()
        ear.trouble.update(Ear(trouble={3: [KeyboardInterrupt()]}).trouble)
        ledger.bus.subscribe(ear)
        deposit(ledger)
        await asyncio.sleep(PATIENCE_SECONDS)

    with pytest.raises(KeyboardInterrupt):
        run(main)
    again = Ear("later")
    ledger.bus.subscribe(again)
    ledger.bus.pump()
    assert again.sequences == [3]


def test_several_loops_one_ledger(ledger: bb.Ledger) -> None:
    """Each subscriber is told in its own loop."""
    loops: dict[str, asyncio.AbstractEventLoop] = {}

    async def main(name: str) -> None:
        ear = Later(name)

        async def listener(event: bb.LedgerEvent) -> None:
            loops[name] = asyncio.get_running_loop()
            await ear.handle(event)

        ledger.bus.subscribe(listener, name=name)
        (sequence,) = deposit(ledger)
        await until(lambda: sequence in ear.sequences)
        ledger.bus.unsubscribe(name)  # its loop ends before the other one does

    async def both() -> None:
        await asyncio.gather(asyncio.to_thread(run, lambda: main("inner")), main("outer"))

    run(both)
    assert loops["inner"] is not loops["outer"]


def test_an_async_ledger_has_the_same_bus(ledger: bb.Ledger) -> None:
    """What tasks commit is told in order; nobody who listens holds up a task."""

    async def main() -> None:
        books = bb.AsyncLedger(ledger)
        assert books.bus is ledger.bus
        ear, stuck = Later(), Later("stuck")
        stuck.gate.clear()
        for each in (ear, stuck):
            books.bus.subscribe(each)
        done = await asyncio.gather(
            *(books.deposit("ALICE", "1 USDT", correlation_id="r") for _ in range(40))
        )
        await until(lambda: len(ear.sequences) == 40)
        assert ear.sequences == sorted(entry.sequence for entry in done) == list(range(3, 43))
        assert stuck.sequences == []
        ledger.bus.unsubscribe("stuck")

    run(main)
