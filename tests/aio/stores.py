"""Stores in memory that count, wait and fail, and what tests of tasks have in common."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from threading import Event, current_thread

import bibank as bb
from bibank.stores import Head, LineGroup

PATIENCE_SECONDS = 60.0
"""How long a test waits for what has to come: only a test that fails waits as long."""


class WatchedStore:
    """Counts the lines of each append; one append may be held until it is let go, or fail."""

    def __init__(self) -> None:
        self.inner = bb.MemoryStore()
        self.appends: list[int] = []
        self.errors: dict[int, BaseException] = {}
        """What the n-th append from now on raises, from 0, in place of taking its group."""
        self.begun = Event()
        self.go_on = Event()
        self.go_on.set()
        self.readers: set[str] = set()
        """The threads that read."""
        self._tries = 0

    def hold(self) -> None:
        """Let the next appends wait for :meth:`let_go`."""
        self.begun.clear()
        self.go_on.clear()

    def let_go(self) -> None:
        """Let what waits go on."""
        self.go_on.set()

    def fail(self, *errors: BaseException | None) -> None:
        """Let the next appends raise, or take what they are given where there is None."""
        self._tries = 0
        self.errors = {index: error for index, error in enumerate(errors) if error is not None}

    def head(self) -> Head:
        """As the store inside."""
        return self.inner.head()

    def append(self, group: LineGroup) -> None:
        """Wait, fail, or take the group."""
        self.begun.set()
        assert self.go_on.wait(PATIENCE_SECONDS)
        error = self.errors.get(self._tries)
        self._tries += 1
        if error is not None:
            raise error
        self.inner.append(group)
        self.appends.append(len(group.lines))

    def read(self, *, after_sequence: int = 0) -> Iterator[bytes]:
        """As the store inside."""
        self.readers.add(current_thread().name)
        return self.inner.read(after_sequence=after_sequence)

    def close(self) -> None:
        """Nothing to release."""


def watched(store: WatchedStore, **options: object) -> bb.AsyncLedger:
    """Make a ledger over a store, with 1000 USDT that are Alice's."""
    blocking = bb.Ledger(store=store, opening={"USDT": "1"}, **options)  # type: ignore[arg-type] # options of any kind
    blocking.deposit("ALICE", "1000 USDT", correlation_id="fund")
    store.appends.clear()
    return bb.AsyncLedger(blocking)


async def until(event: Event) -> None:
    """Wait for an event of a thread, and let the loop run meanwhile."""
    assert await asyncio.get_running_loop().run_in_executor(None, event.wait, PATIENCE_SECONDS)


def run(main: Callable[[], object]) -> None:
    """Run a test in a loop that demands that nothing hangs, and that nothing is left unsaid."""
    said: list[str] = []

    async def bounded() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["message"]))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await main()  # type: ignore[misc] # every test gives a coroutine function

    asyncio.run(bounded())
    gc.collect()  # what was never fetched speaks up when it goes
    assert said == []
