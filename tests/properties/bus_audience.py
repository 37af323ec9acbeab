"""Who listens by thread and by task in the random histories: held in the middle of an event, failing, dying.

They run beside the history, so what they hear is not compared event by event. Each heard everything by its
end, in the order of the journal, exactly once but for replays: both keep their cursors with their work.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache

import bibank as bb
from tests.bus.ears import PATIENCE_SECONDS, Planted, told

STUBBORN = bb.Retry(attempts=1000, first_seconds=0.0, most_seconds=0.0)
"""Tries again without a pause, and is never parked here."""


class Guest:
    """Keeps its cursor with its work. Can be held, made to fail, and end for good in the middle of it."""

    def __init__(self, name: str, cursor: bb.Cursor | None) -> None:
        self.name = name
        self.cursor = cursor
        self.begun = cursor.sequence if cursor is not None else 0
        self.heard: list[str] = []
        self.trouble: deque[BaseException] = deque()
        self.is_dead = False
        """Whatever it does from now on leaves no trace, as in a process that was killed."""

    def load_cursor(self) -> bb.Cursor | None:
        """Say how far it has come."""
        return self.cursor

    def take(self, event: bb.LedgerEvent) -> None:
        """Do its work, and save the cursor with it."""
        if self.trouble:
            raise self.trouble.popleft()
        if self.is_dead:
            raise Planted("dead")
        self.heard.append(told(event))
        if isinstance(event, bb.EntryCommitted):
            self.cursor = event.cursor


class ThreadGuest(Guest):
    """Is told in a thread of its own, and stands still in it."""

    def __init__(self, name: str, cursor: bb.Cursor | None) -> None:
        super().__init__(name, cursor)
        self._gate = threading.Event()
        self._gate.set()

    def handle(self, event: bb.LedgerEvent) -> None:
        """Wait for the gate, and work."""
        assert self._gate.wait(PATIENCE_SECONDS), "nobody opened the gate"
        self.take(event)

    def block(self) -> None:
        """Stand still at the next event."""
        self._gate.clear()

    def release(self) -> None:
        """Go on."""
        self._gate.set()

    def subscribe(self, bus: bb.EventBus) -> None:
        """Listen."""
        bus.subscribe(self, delivery="thread", after_sequence=0, retry=STUBBORN)


class TaskGuest(Guest):
    """Is told by a task of a loop that runs in another thread, and waits in it."""

    def __init__(self, name: str, cursor: bb.Cursor | None) -> None:
        super().__init__(name, cursor)
        self._loop = background_loop()
        self._gate = asyncio.Event()
        self._gate.set()

    async def handle(self, event: bb.LedgerEvent) -> None:
        """Wait for the gate, and work."""
        await asyncio.wait_for(self._gate.wait(), PATIENCE_SECONDS)
        self.take(event)

    def block(self) -> None:
        """Stand still at the next event."""
        self._in_loop(self._gate.clear)

    def release(self) -> None:
        """Go on."""
        self._in_loop(self._gate.set)

    def subscribe(self, bus: bb.EventBus) -> None:
        """Listen, in the loop."""
        self._in_loop(lambda: bus.subscribe(self, after_sequence=0, retry=STUBBORN))

    def _in_loop(self, do: Callable[[], object]) -> None:
        async def done() -> None:
            do()

        asyncio.run_coroutine_threadsafe(done(), self._loop).result(PATIENCE_SECONDS)


@cache
def background_loop() -> asyncio.AbstractEventLoop:
    """A loop that runs in a thread as long as the process does."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="loop of the tests", daemon=True).start()
    return loop


GUESTS: dict[str, type[ThreadGuest | TaskGuest]] = {"hand": ThreadGuest, "loop": TaskGuest}


class Audience:
    """The guests of one run, over all ledgers that it opens."""

    def __init__(self) -> None:
        self.guests: dict[str, ThreadGuest | TaskGuest] = {}
        self.held: set[str] = set()

    def attach(self, bus: bb.EventBus) -> None:
        """Let everyone listen to a ledger, from where its work was saved last."""
        for name, kind in GUESTS.items():
            before = self.guests.get(name)
            self.guests[name] = kind(name, None if before is None else before.cursor)
            self.guests[name].subscribe(bus)

    def block(self, name: str) -> None:
        """Let one stand still at its next event."""
        self.held.add(name)
        self.guests[name].block()

    def release(self, name: str) -> None:
        """Let one go on."""
        self.held.discard(name)
        self.guests[name].release()

    def trouble(self, name: str, errors: Sequence[BaseException]) -> None:
        """Let one fail at what it is told next."""
        self.guests[name].trouble.extend(errors)

    def settle(self, bus: bb.EventBus, entries: Sequence[int]) -> None:
        """Let everyone through, and demand that each heard everything."""
        for name in tuple(self.held):
            self.release(name)
        assert bus.drain(timeout_seconds=PATIENCE_SECONDS), "somebody waits for what nobody tells"
        for name, guest in self.guests.items():
            check(guest.heard, guest.begun, entries)
            assert guest.cursor is not None
            assert guest.cursor.sequence == entries[-1], name

    def die(self, bus: bb.EventBus, entries: Sequence[int]) -> None:
        """End as in a process that is killed: who is held there never comes back to do its work."""
        for guest in self.guests.values():
            guest.is_dead = True
        bus.close(timeout_seconds=0)
        for name in tuple(self.held):
            self.release(name)
        for guest in self.guests.values():
            check(guest.heard, guest.begun, entries)


def check(heard: Sequence[str], begun: int, entries: Sequence[int]) -> None:
    """Demand the order of the journal without a gap, in each replay and outside."""
    place = begun
    for text in heard:
        if text.isdecimal():
            following = next((entry for entry in entries if entry > place), None)
            assert int(text) == following, f"{text} came behind {place}"
            place = int(text)
        elif text.startswith("from "):
            first = int(text.removeprefix("from "))
            assert not any(place < entry < first for entry in entries), "a replay skipped something"
            place = first - 1
