"""Subscribing: names, deliveries, where a subscriber begins, and leaving again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

import bibank as bb
from tests.bus.ears import Ear, Keeper, all_told, deposit, failures, home_at, in_memory, status_of

SOME_HASH = "0f" * 32


@pytest.fixture
def ledger() -> Iterator[bb.Ledger]:
    """A ledger of two lines."""
    with in_memory() as made:
        yield made


def test_a_ledger_has_one_bus(ledger: bb.Ledger) -> None:
    """The same object each time, for what was bound to the ledger too."""
    assert ledger.bus is ledger.bus
    assert ledger.bind(correlation_id="r").bus is ledger.bus
    assert "EventBus" in repr(ledger.bus)


def test_a_plain_function_subscribes(ledger: bb.Ledger) -> None:
    """Its name is its own, or the one that is given; what it returns is thrown away."""
    heard: list[bb.LedgerEvent] = []

    def listener(event: bb.LedgerEvent) -> str:
        heard.append(event)
        return "thrown away"

    ledger.bus.subscribe(listener)
    ledger.bus.subscribe(heard.append, name="other")
    deposit(ledger)
    assert ledger.bus.pump() == 2
    assert all_told(heard) == ["3", "3"]
    assert [row.name for row in ledger.bus.status()] == ["listener", "other"]


@pytest.mark.parametrize("name", ["a", "0", "a-b_c", "a" * 64, "9lives"])
def test_names_that_are_good(ledger: bb.Ledger, name: str) -> None:
    """Lower-case letters, digits, hyphens and underscores: what every file system keeps apart."""
    ledger.bus.subscribe(Ear(name))
    assert status_of(ledger, name).delivery == "pump"


@pytest.mark.parametrize(
    "name", ["", "A", "-a", "_a", "a.b", "a/b", "../a", "a\n", "a" * 65, "é", "٣", "a\0", "a b"]
)
def test_names_that_are_not(ledger: bb.Ledger, name: str) -> None:
    """Anything that could be a path, or two names on one disk, is refused."""
    for attempt in ({"subscriber": Ear(name)}, {"subscriber": Ear(), "name": name}):
        with pytest.raises(bb.InvalidInput):
            ledger.bus.subscribe(**attempt)
    assert len(ledger.bus.status()) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"subscriber": 7},
        {"subscriber": None},
        {"subscriber": "ear"},
        {"subscriber": lambda event: None},
        {"subscriber": Ear(), "name": 7},
        {"subscriber": Ear(), "delivery": "pigeon"},
        {"subscriber": Ear(), "delivery": 1},
        {"subscriber": Ear(), "after_sequence": -1},
        {"subscriber": Ear(), "after_sequence": "3"},
        {"subscriber": Ear(), "after_sequence": True},
        {"subscriber": Ear(), "after_sequence": 2**70},
        {"subscriber": Ear(), "after_sequence": 99},
        {"subscriber": Ear(), "retry": 8},
    ],
)
def test_what_makes_no_subscription_is_refused(ledger: bb.Ledger, wrong: dict[str, Any]) -> None:
    """Typed errors, and nobody has subscribed."""
    with pytest.raises((bb.InvalidInput, bb.ConfigurationError)):
        ledger.bus.subscribe(**wrong)
    assert len(ledger.bus.status()) == 0


@pytest.mark.parametrize("delivery", ["pump", "thread"])
def test_an_async_subscriber_needs_a_loop(ledger: bb.Ledger, delivery: Any) -> None:
    """Told by a task alone, and only where a loop runs."""

    async def listener(event: bb.LedgerEvent) -> None:
        """Take an event."""

    with pytest.raises(bb.ConfigurationError):
        ledger.bus.subscribe(listener, delivery=delivery)
    for other in (None, "task"):
        with pytest.raises(bb.ConfigurationError):
            ledger.bus.subscribe(listener, delivery=other)
    with pytest.raises(bb.ConfigurationError):
        ledger.bus.subscribe(Ear(), delivery="task")
    assert len(ledger.bus.status()) == 0


def test_one_subscription_for_each_name(ledger: bb.Ledger) -> None:
    """The second is refused, and the first goes on; after it has left, the name is free."""
    first, second = Ear(), Ear()
    ledger.bus.subscribe(first)
    with pytest.raises(bb.SubscriberExists):
        ledger.bus.subscribe(second)
    deposit(ledger)
    ledger.bus.pump()
    ledger.bus.unsubscribe("ear")
    ledger.bus.subscribe(second)
    deposit(ledger)
    ledger.bus.pump()
    assert first.sequences == [3]
    assert 4 in second.sequences


def test_nobody_is_an_error(ledger: bb.Ledger) -> None:
    """Every method that takes a name says when there is no such subscriber."""
    bus = ledger.bus
    for method in (bus.pump, bus.resume, bus.unsubscribe):
        with pytest.raises(bb.UnknownSubscriber):
            method("nobody")


@pytest.mark.parametrize(("begin", "told"), [(None, [5]), (0, [1, 3, 4, 5]), (2, [3, 4, 5]), (4, [5])])
def test_where_a_subscriber_begins(ledger: bb.Ledger, begin: int | None, told: list[int]) -> None:
    """Behind the last line there is, or behind the one that was named."""
    deposit(ledger, 2)
    ear = Ear()
    ledger.bus.subscribe(ear, after_sequence=begin)
    deposit(ledger)
    ledger.bus.pump()
    assert ear.sequences == told


def test_where_it_begins_is_for_who_has_no_cursor(tmp_path: Path) -> None:
    """A cursor of before counts more than `after_sequence`."""
    ear = Ear()
    for begin in (0, 0):
        with home_at(tmp_path / "books") as ledger:
            ledger.bus.subscribe(ear, after_sequence=begin)
            deposit(ledger)
            ledger.bus.pump()
    assert ear.sequences == [1, 3, 4]


def test_the_cursor_is_there_from_the_subscription_on(tmp_path: Path) -> None:
    """What is committed while one is away is told when it is back, though it had heard nothing yet."""
    with home_at(tmp_path / "books") as ledger:
        ledger.bus.subscribe(Ear())
        deposit(ledger)
    ear = Ear()
    with home_at(tmp_path / "books") as ledger:
        deposit(ledger)
        ledger.bus.subscribe(ear)
        ledger.bus.pump()
    assert ear.sequences == [3, 4]


def test_who_leaves_and_comes_back_has_missed_nothing(tmp_path: Path) -> None:
    """In a home, `unsubscribe` keeps the cursor; meanwhile nothing is told."""
    ear = Ear()
    with home_at(tmp_path / "books") as ledger:
        ledger.bus.subscribe(ear)
        deposit(ledger)
        ledger.bus.pump()
        ledger.bus.unsubscribe("ear")
        deposit(ledger)
        assert ledger.bus.pump() == 0
        ledger.bus.subscribe(ear)
        deposit(ledger)
        ledger.bus.pump()
    assert ear.sequences == [3, 4, 5]


def test_who_leaves_and_comes_back_in_memory_has_missed_nothing(ledger: bb.Ledger) -> None:
    """Without a home the cursor lives as long as the ledger does."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger, 2)
    ledger.bus.pump(limit=1)
    ledger.bus.unsubscribe("ear")
    deposit(ledger)
    ledger.bus.subscribe(ear)
    ledger.bus.pump()
    assert ear.sequences == [3, 4, 5]


def test_who_is_forgotten_begins_anew(tmp_path: Path) -> None:
    """`forget` takes the cursor away too, of one who is there and of one who is not."""
    ear = Ear()
    with home_at(tmp_path / "books") as ledger:
        ledger.bus.subscribe(ear)
        deposit(ledger)
        ledger.bus.forget("ear")
        assert len(ledger.bus.status()) == 0
        ledger.bus.subscribe(ear)
        deposit(ledger)
        ledger.bus.pump()
        assert ear.sequences == [4]
    assert [path.name for path in (tmp_path / "books" / "cursors").glob("*.json")] == ["ear.json"]
    with home_at(tmp_path / "books") as ledger:
        ledger.bus.subscribe(ear)
        ledger.bus.forget("ear")
    assert not list((tmp_path / "books" / "cursors").glob("*.json"))


def test_pump_of_one_tells_no_other(ledger: bb.Ledger) -> None:
    """By name, and no more events than were asked for."""
    one, two = Ear("one"), Ear("two")
    for each in (one, two):
        ledger.bus.subscribe(each)
    deposit(ledger, 4)
    assert ledger.bus.pump("one", limit=3) == 3
    assert (one.sequences, two.sequences) == ([3, 4, 5], [])
    assert ledger.bus.pump("one", limit=0) == 0
    assert ledger.bus.pump() == 5
    assert one.sequences == two.sequences == [3, 4, 5, 6]
    assert ledger.bus.pump() == 0


@pytest.mark.parametrize("wrong", [-1, "1", 1.0, True])
def test_a_limit_that_is_none_is_refused(ledger: bb.Ledger, wrong: Any) -> None:
    """Typed errors, and nothing is told."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger)
    with pytest.raises(bb.InvalidInput):
        ledger.bus.pump(limit=wrong)
    assert ear.tried == []


def test_the_status_is_a_table(ledger: bb.Ledger) -> None:
    """A row for each subscriber, with what one wants to know of it."""
    ear = Ear(trouble={4: failures(1)})
    ledger.bus.subscribe(ear)
    deposit(ledger, 2)
    assert status_of(ledger, "ear").state is bb.SubscriberState.DELIVERING
    ledger.bus.pump()
    rows = ledger.bus.status()
    assert isinstance(rows, bb.Table)
    (row,) = rows.to_dicts()
    assert row == {
        "name": "ear",
        "delivery": "pump",
        "state": "retrying",
        "sequence": 3,
        "behind": 1,
        "handled": 1,
        "failures": 1,
        "attempts": 1,
        "from_store": 0,
        "last_error": row["last_error"],
    }
    assert "ear" in str(rows)


def test_a_keeper_begins_at_its_own_cursor(ledger: bb.Ledger) -> None:
    """What it says counts; where it has never saved one, `after_sequence` does."""
    deposit(ledger, 3)
    keeper = Keeper()
    keeper.cursor = bb.Cursor(sequence=4, hash=ledger.entry(4).hash)
    ledger.bus.subscribe(keeper, after_sequence=0)
    fresh = Keeper("fresh")
    ledger.bus.subscribe(fresh, after_sequence=3)
    ledger.bus.pump()
    assert (keeper.sequences, fresh.sequences) == ([5], [4, 5])


def test_the_cursor_before_the_first_line_is_a_cursor(ledger: bb.Ledger) -> None:
    """`Cursor()` of a keeper says: everything."""
    keeper = Keeper()
    keeper.cursor = bb.Cursor()
    ledger.bus.subscribe(keeper)
    deposit(ledger)
    ledger.bus.pump()
    assert keeper.sequences == [1, 3]


def test_no_file_is_kept_for_a_keeper(tmp_path: Path) -> None:
    """The bus never saves for one that saves itself."""
    with home_at(tmp_path / "books") as ledger:
        ledger.bus.subscribe(Keeper())
        deposit(ledger)
        ledger.bus.pump()
    assert not list((tmp_path / "books").glob("cursors/*.json"))


@pytest.mark.parametrize("lines", ["in the buffer", "in the store"])
@pytest.mark.parametrize("sequence", [3, 4, 9], ids=["in the middle", "at the head", "ahead"])
def test_a_keepers_cursor_of_another_journal_parks_it(ledger: bb.Ledger, sequence: int, lines: str) -> None:
    """Another hash at that line, or a line that there is not: nothing is told, the error is plain."""
    if lines == "in the buffer":
        ledger.bus.subscribe(Ear())  # the buffer keeps lines as soon as there is somebody to tell
    deposit(ledger, 2)
    keeper = Keeper()
    keeper.cursor = bb.Cursor(sequence=sequence, hash=SOME_HASH)
    ledger.bus.subscribe(keeper)
    for count in (0, 1, 9):
        deposit(ledger, count)
        assert ledger.bus.pump("keeper") == 0
        row = status_of(ledger, "keeper")
        assert row.state is bb.SubscriberState.PARKED
        assert row.last_error is not None
        assert row.last_error.startswith("CursorMismatch: ")
    ledger.bus.resume("keeper")
    assert ledger.bus.pump("keeper") == 0
    assert status_of(ledger, "keeper").state is bb.SubscriberState.PARKED
    assert keeper.tried == []
    keeper.cursor = bb.Cursor(sequence=3, hash=ledger.entry(3).hash)
    ledger.bus.resume("keeper")
    ledger.bus.pump("keeper")
    assert keeper.sequences == list(range(4, 15))


@pytest.mark.parametrize(
    "ask",
    [
        lambda bus: bus.subscribe(Ear("late")),
        lambda bus: bus.subscribe(Ear()),
        lambda bus: bus.pump(),
        lambda bus: bus.pump("ear"),
        lambda bus: bus.pump(limit=0),
        lambda bus: bus.replay_from(1),
        lambda bus: bus.replay_from(1, name="ear"),
        lambda bus: bus.resume("ear"),
        lambda bus: bus.unsubscribe("ear"),
        lambda bus: bus.forget("ear"),
        lambda bus: bus.drain(timeout_seconds=0),
    ],
    ids=["subscribe", "again", "pump", "pump one", "pump none", "replay", "replay one", "resume",
         "unsubscribe", "forget", "drain"],
)  # fmt: skip
@pytest.mark.parametrize("delivery", ["pump", "thread"])
@pytest.mark.parametrize("way", ["in memory", "in a home"])
def test_a_bus_of_a_closed_ledger_says_so(
    tmp_path: Path, way: str, delivery: Literal["pump", "thread"], ask: Callable[[bb.EventBus], object]
) -> None:
    """Each method raises `LedgerClosed`, whoever had subscribed; nothing is told any more."""
    ledger = in_memory() if way == "in memory" else home_at(tmp_path / "books")
    ear = Ear()
    bus = ledger.bus
    bus.subscribe(ear, delivery=delivery)
    ledger.close()
    with pytest.raises(bb.LedgerClosed):
        ask(bus)
    assert ear.tried == []


def test_the_end_of_a_bus_may_come_twice_and_its_status_be_asked_for(ledger: bb.Ledger) -> None:
    """Nobody is listed any more; closing again is harmless, the bus and the ledger."""
    bus = ledger.bus
    bus.subscribe(Ear())
    ledger.close()
    for _ in range(2):
        bus.close()
        ledger.close()
        assert len(bus.status()) == 0


# ------------------------------------------------------------------ the text of a cursor


def test_a_cursor_is_read_back() -> None:
    """Its text names the line; what is before the first line has one too."""
    for cursor in (bb.Cursor(), bb.Cursor(sequence=12, hash=SOME_HASH)):
        assert bb.Cursor.parse(str(cursor)) == cursor
    assert str(bb.Cursor(sequence=12, hash=SOME_HASH)) == f"12:{SOME_HASH}"
    assert bb.Cursor().sequence == 0


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "12", f"12{SOME_HASH}", f"012:{SOME_HASH}", f"-1:{SOME_HASH}", f"+1:{SOME_HASH}",
        f"0:{SOME_HASH}", "12:GENESIS", f"12:{SOME_HASH.upper()}", f"12:{SOME_HASH[1:]}", f"12:{SOME_HASH}\n",
        f" 12:{SOME_HASH}",
        f"١٢:{SOME_HASH}", f"9223372036854775808:{SOME_HASH}", f"{10**30}:{SOME_HASH}",
    ],
)  # fmt: skip
def test_a_text_that_is_no_cursor_is_refused(text: str) -> None:
    """Exactly one text for each cursor."""
    with pytest.raises(bb.InvalidValue):
        bb.Cursor.parse(text)


@pytest.mark.parametrize("wrong", [7, None, b"0:GENESIS"])
def test_what_is_no_text_is_no_cursor(wrong: Any) -> None:
    """A typed error."""
    with pytest.raises(bb.InvalidInput):
        bb.Cursor.parse(wrong)
