"""Subscribers that move between a writer's bus and a reader's, or between loops, with their cursor."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import bibank as bb
from bibank.bus.bus import EventBus
from bibank.bus.ring import Ring
from tests.bus.ears import Ear, Keeper, all_told, deposit, failures, home_at, status_of


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """A home."""
    return tmp_path / "books"


@pytest.fixture
def ledger(books: Path) -> Iterator[bb.Ledger]:
    """The writer; the last line is 2."""
    with home_at(books) as made:
        yield made


@pytest.fixture
def reader(books: Path, ledger: bb.Ledger) -> Iterator[bb.LedgerReader]:
    """A reader that shows two lines, and no more before it is refreshed."""
    ledger.flush_head()
    with bb.LedgerReader.open(books) as made:
        yield made


@pytest.mark.parametrize("kind", [Ear, Keeper])
def test_a_cursor_ahead_of_a_reader_waits_for_it(
    ledger: bb.Ledger, reader: bb.LedgerReader, kind: type[Ear]
) -> None:
    """A reader lags by nature: who was told more by the writer is no stranger, and hears what comes after."""
    ear = kind()
    ledger.bus.subscribe(ear, after_sequence=2)
    deposit(ledger, 2)
    ledger.bus.pump()
    ledger.bus.unsubscribe(ear.name)
    reader.bus.subscribe(ear)
    assert reader.bus.pump() == 0
    assert status_of(reader, ear.name).state is bb.SubscriberState.WAITING
    deposit(ledger)
    ledger.flush_head()
    reader.refresh()
    assert reader.bus.pump() == 1
    assert ear.sequences == [3, 4, 5]


@pytest.mark.parametrize("lines", [2, 3], ids=["at its line", "behind its line"])
def test_a_foreign_cursor_ahead_of_a_reader_is_noticed_in_time(
    ledger: bb.Ledger, reader: bb.LedgerReader, lines: int
) -> None:
    """When the reader has come so far, a cursor of another history is parked, and nothing is told."""
    keeper = Keeper()
    keeper.cursor = bb.Cursor(sequence=4, hash="0" * 64)
    reader.bus.subscribe(keeper)
    assert reader.bus.pump() == 0
    deposit(ledger, lines)
    ledger.flush_head()
    reader.refresh()
    assert reader.bus.pump() == 0
    found = status_of(reader, "keeper")
    assert found.state is bb.SubscriberState.PARKED
    assert (found.last_error or "").startswith("CursorMismatch: ")
    assert keeper.heard == []


def test_a_writer_waits_for_no_cursor(ledger: bb.Ledger) -> None:
    """Ahead of the writer there is nothing: such a cursor is of another history."""
    keeper = Keeper()
    keeper.cursor = bb.Cursor(sequence=3, hash="0" * 64)
    ledger.bus.subscribe(keeper)
    ledger.bus.pump()
    assert status_of(ledger, "keeper").state is bb.SubscriberState.PARKED


def test_a_keeper_has_one_bus(ledger: bb.Ledger, reader: bb.LedgerReader) -> None:
    """Two buses that both deliver to one outbox would do its work twice: the name is held for it too."""
    ledger.bus.subscribe(Keeper())
    with pytest.raises(bb.SubscriberBusy):
        reader.bus.subscribe(Keeper())
    ledger.bus.unsubscribe("keeper")
    reader.bus.subscribe(Keeper())


def test_what_is_only_written_has_no_bus(ledger: bb.Ledger, books: Path) -> None:
    """A reader that shows what a power cut may take back tells nobody of it."""
    deposit(ledger)
    with bb.LedgerReader.open(books, show="written") as reader:
        assert reader.head.sequence == 3
        with pytest.raises(bb.ConfigurationError, match="durable"):
            _ = reader.bus
    assert not (books / "cursors").exists()


def test_a_readers_audit_is_told(ledger: bb.Ledger, reader: bb.LedgerReader) -> None:
    """On the bus of who audited, and nowhere else."""
    ear, other = Ear(), Ear("other")
    reader.bus.subscribe(ear)
    ledger.bus.subscribe(other)
    reader.audit()
    assert reader.bus.pump() == 1
    assert ledger.bus.pump() == 0
    assert all_told(ear.heard) == ["verified 2"]


def test_a_replay_for_one_whose_loop_has_ended_is_not_lost(ledger: bb.Ledger, books: Path) -> None:
    """Its cursor is moved back all the same; it hears the entries when it subscribes again."""
    ear = Ear()

    async def main() -> None:
        ledger.bus.subscribe(ear, delivery="task")
        deposit(ledger, 2)
        assert await asyncio.to_thread(ledger.bus.drain, timeout_seconds=20)

    asyncio.run(main())
    assert status_of(ledger, "ear").state is bb.SubscriberState.STOPPED
    ledger.bus.replay_from(3)
    assert json.loads((books / "cursors" / "ear.json").read_text())["sequence"] == 2
    ledger.bus.subscribe(ear)
    ledger.bus.pump()
    assert ear.sequences == [3, 4, 3, 4]


def test_one_cursor_that_cannot_be_moved_back_holds_up_no_other(ledger: bb.Ledger, books: Path) -> None:
    """A replay for all reaches all whose cursors can be written; the error of the one is raised."""
    ears = [Ear("first"), Ear("second"), Ear("third")]
    for ear in ears:
        ledger.bus.subscribe(ear)
    deposit(ledger)
    ledger.bus.pump()
    (books / "cursors" / ".second.lock").unlink()  # its name is not its bus's any more
    with pytest.raises(bb.SubscriberBusy):
        ledger.bus.replay_from(3)
    ledger.bus.pump()
    assert [ear.sequences for ear in ears] == [[3, 3], [3], [3, 3]]


def test_a_parked_subscriber_is_seen_from_elsewhere_at_once(
    ledger: bb.Ledger, reader: bb.LedgerReader
) -> None:
    """Whoever looks from another process sees why, without waiting for the next save."""
    ledger.bus.subscribe(Ear(trouble={3: failures(1)}), retry=bb.Retry(attempts=1))
    deposit(ledger)
    ledger.bus.pump()
    (row,) = reader.cursors()
    assert (row.state, row.reason) == (bb.CursorState.PARKED, "Planted")


def test_who_subscribes_during_the_first_publication_is_woken(
    ledger: bb.Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head moves first, and then bells are rung of whoever is there: nobody falls between the two."""
    late = Ear("late")

    class Slow(Ring):
        """A ring on whose head somebody subscribes, just before it moves."""

        @property
        def head(self) -> bb.Head:
            return self._head

        @head.setter
        def head(self, value: bb.Head) -> None:
            if value.sequence == 3:
                ledger.bus.subscribe(late, delivery="thread")
            self._head = value

    monkeypatch.setattr("bibank.bus.mailbox.LOOK_SECONDS", 3600.0)
    monkeypatch.setattr("bibank.bus.bus.Ring", Slow)
    assert isinstance(ledger.bus, EventBus)
    deposit(ledger)
    late.wait_for(3)


def test_a_closed_bus_says_so(ledger: bb.Ledger) -> None:
    """Closing the bus alone ends it for good, and leaves the ledger open."""
    ledger.bus.close()
    with pytest.raises(bb.LedgerClosed, match="bus"):
        ledger.bus.drain(timeout_seconds=1)
    assert deposit(ledger) == [3]


def test_one_async_method_makes_a_subscriber_async(ledger: bb.Ledger) -> None:
    """A cursor that has to be awaited cannot be asked for by a thread: that is said at once."""

    class Half(Keeper):
        """Loads its cursor by a coroutine."""

        async def load_cursor(self) -> bb.Cursor | None:  # type: ignore[override]  # that is the point
            return None

    for delivery in ("pump", "thread"):
        with pytest.raises(bb.ConfigurationError, match="task"):
            ledger.bus.subscribe(Half(), delivery=delivery)
