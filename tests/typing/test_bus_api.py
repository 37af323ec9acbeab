"""The bus as a strictly typed caller uses it: mypy reads this file, pytest runs it."""

import asyncio
from typing import assert_never, assert_type

import pytest

import bibank as bb


def told(event: bb.LedgerEvent) -> str:
    """A match over the events ends in `assert_never`, which mypy proves."""
    match event:
        case bb.EntryCommitted():
            assert_type(event.entry, bb.JournalEntry)
            assert_type(event.cursor, bb.Cursor)
            return f"{event.sequence}"
        case bb.ChainVerified():
            assert_type(event.last_hash, str)
            return f"verified {event.last_sequence}"
        case bb.ReplayStarted():
            return f"from {event.from_sequence}"
        case bb.ReplayCompleted():
            assert_type(event.entries_count, int)
            return f"completed {event.entries_count}"
        case _:
            assert_never(event)


class Printer:
    """A subscriber with everything that one may have besides."""

    name = "printer"

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.cursor: bb.Cursor | None = None

    def handle(self, event: bb.LedgerEvent) -> None:
        """Take an event, and keep the cursor with the work."""
        self.lines.append(told(event))
        if isinstance(event, bb.EntryCommitted):
            self.cursor = event.cursor

    def load_cursor(self) -> bb.Cursor | None:
        """Give the cursor."""
        return self.cursor

    def on_replay_start(self) -> None:
        """Prepare."""
        self.lines.append("start")

    def on_replay_complete(self) -> None:
        """Be done."""
        self.lines.append("complete")


class Fixed:
    """A subscriber whose name is a property."""

    def __init__(self) -> None:
        self.heard: list[bb.LedgerEvent] = []

    @property
    def name(self) -> str:
        """Give the name."""
        return "fixed"

    def handle(self, event: bb.LedgerEvent) -> None:
        """Take an event."""
        self.heard.append(event)


class Sender(Printer):
    """An async one, whose cursor is awaited."""

    name = "sender"

    async def handle(self, event: bb.LedgerEvent) -> None:  # type: ignore[override]  # the async kind of it
        """Take an event."""
        await asyncio.sleep(0)
        super().handle(event)

    async def load_cursor(self) -> bb.Cursor | None:  # type: ignore[override]  # the async kind of it
        """Give the cursor."""
        await asyncio.sleep(0)
        return self.cursor


subscribers: list[bb.EventSubscriber] = [Printer(), Fixed()]
async_subscriber: bb.AsyncEventSubscriber = Sender()
keepers: list[bb.CursorKeeper] = [Printer(), Sender()]
prepared: bb.ReplayAware = Printer()


def test_subscribing_and_pumping() -> None:
    """Functions, objects and keepers; the answers of every method."""
    heard: list[str] = []

    def listener(event: bb.LedgerEvent) -> str:
        heard.append(told(event))
        return "thrown away"

    with bb.Ledger.in_memory({"USDT": "1000"}) as ledger:
        bus = ledger.bus
        assert_type(bus, bb.EventBus)
        bus.subscribe(listener)
        bus.subscribe(heard.append, name="other")  # type: ignore[arg-type]  # a list of texts takes no events
        bus.forget("other")
        printer, fixed = Printer(), Fixed()
        bus.subscribe(printer, delivery="pump", after_sequence=0)
        retry = bb.Retry(attempts=3, first_seconds=0.5, factor=2, most_seconds=10)
        assert_type(retry.attempts, int)
        assert_type(retry.first_seconds, float)
        bus.subscribe(fixed, delivery="thread", retry=retry)
        ledger.deposit("ALICE", "1 USDT", correlation_id="r")
        ledger.audit()
        assert_type(bus.pump(), int)
        assert_type(bus.pump("printer", limit=1), int)
        assert_type(bus.drain(timeout_seconds=20), bool)
        bus.replay_from(1, name="printer")
        bus.resume("printer")
        bus.pump()
        replayed = ["start", "from 1", "1", "3", "completed 2", "complete"]
        assert printer.lines == ["1", "3", "verified 3", *replayed]
        assert heard == ["3", "verified 3"]
        rows = bus.status()
        assert_type(rows, bb.Table[bb.SubscriberStatus])
        for row in rows:
            assert_type(row.state, bb.SubscriberState)
            assert_type(row.last_error, str | None)
            assert_type(row.behind, int)
            assert state_by_match(row.state)
        cursor = bb.Cursor.parse("0:GENESIS")
        assert_type(cursor, bb.Cursor)
        assert_type((cursor.sequence, cursor.hash, str(cursor)), tuple[int, str, str])
        bus.unsubscribe("fixed")
        with pytest.raises(bb.ConfigurationError):
            bus.subscribe(fixed, delivery="post")  # type: ignore[arg-type]  # mypy sees what the bus refuses
        with pytest.raises(bb.InvalidInput):
            bus.subscribe(7)  # type: ignore[arg-type]  # neither a subscriber nor a function
        with pytest.raises(TypeError):
            bus.subscribe(fixed, "thread")  # type: ignore[call-arg]  # by keyword alone
        with pytest.raises(bb.InvalidInput):
            bus.subscribe(fixed, retry=3)  # type: ignore[arg-type]  # a number is no Retry


def state_by_match(state: bb.SubscriberState) -> bool:
    """A match over the states ends in `assert_never` as well."""
    match state:
        case bb.SubscriberState.WAITING | bb.SubscriberState.DELIVERING | bb.SubscriberState.RETRYING:
            return True
        case bb.SubscriberState.PARKED | bb.SubscriberState.STOPPED:
            return False
        case _:
            assert_never(state)


def test_subscribing_in_a_loop() -> None:
    """Async functions and objects, with the same types, of either ledger."""

    async def main() -> None:
        heard: list[str] = []

        async def listener(event: bb.LedgerEvent) -> None:
            await asyncio.sleep(0)
            heard.append(told(event))

        books = bb.AsyncLedger.in_memory({"USDT": "1000"})
        assert_type(books.bus, bb.EventBus)
        sender = Sender()
        books.bus.subscribe(listener)
        books.bus.subscribe(sender, delivery="task", after_sequence=0)
        await books.deposit("ALICE", "1 USDT", correlation_id="r")
        assert await asyncio.to_thread(books.bus.drain, timeout_seconds=20)
        assert (heard, sender.lines) == (["3"], ["1", "3"])
        await books.close()

    asyncio.run(main())
