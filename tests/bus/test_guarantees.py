"""What the bus promises, one test for each: order, at least once, nothing skipped, no effect on commits."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

import bibank as bb
from bibank import drafts
from tests.bus.ears import (
    Ear,
    Gate,
    Keeper,
    Planted,
    all_told,
    deposit,
    entries_of,
    failures,
    home_at,
    in_memory,
    lines_of,
    record,
    small_ring,
    status_of,
)


def test_events_come_in_sequence_order(ledger: bb.Ledger) -> None:
    """Lone entries, a batch and a group of batches: each entry once, in the order of the journal."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger, 2)
    with ledger.batch(correlation_id="r") as batch:
        batch.transfer("ALICE", "BOB", "1 USDT")
        batch.transfer("BOB", "CAROL", "1 USDT")
    deposit(ledger)
    assert ledger.bus.pump() == 5
    assert ear.sequences == entries_of(ledger, after=2) == [3, 4, 5, 6, 7]


def test_an_event_carries_the_entry_its_time_and_its_cursor(ledger: bb.Ledger) -> None:
    """What is told is the entry itself; its cursor names the line by sequence and hash."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    entry = ledger.deposit("ALICE", "1 USDT", correlation_id="r")
    ledger.bus.pump()
    (event,) = ear.heard
    assert isinstance(event, bb.EntryCommitted)
    assert event.entry == entry == ledger.entry(3)
    assert (event.sequence, event.timestamp) == (3, entry.timestamp)
    assert event.cursor == bb.Cursor(sequence=3, hash=entry.hash)


def test_records_are_passed_over(ledger: bb.Ledger) -> None:
    """A line that moves no money is told to nobody, and the cursor moves past it."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger)
    record(ledger, "ALICE")
    deposit(ledger)
    record(ledger, "BOB")
    assert ledger.bus.pump() == 2
    assert ear.sequences == [3, 5]
    row = status_of(ledger, "ear")
    assert (row.sequence, row.behind) == (6, 0)


def test_what_failed_comes_again_before_anything_else(ledger: bb.Ledger) -> None:
    """At least once: the event comes until it passes, and nothing overtakes it."""
    ear = Ear(trouble={4: failures(2)})
    ledger.bus.subscribe(ear)
    deposit(ledger, 3)
    for _ in range(5):
        ledger.bus.pump()
    assert all_told(ear.tried) == ["3", "4", "4", "4", "5"]
    assert ear.sequences == [3, 4, 5]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_who_is_killed_in_the_middle_hears_the_event_again(ledger: bb.Ledger, error: BaseException) -> None:
    """Interrupts come out of `pump`; the event in hand does not count as handled."""
    ear = Ear(trouble={4: [error]})
    ledger.bus.subscribe(ear)
    deposit(ledger, 3)
    with pytest.raises(type(error)):
        ledger.bus.pump()
    assert ear.sequences == [3]
    assert status_of(ledger, "ear").sequence == 3
    ledger.bus.pump()
    assert ear.sequences == [3, 4, 5]
    assert ear.attempts_at(4) == 2


def test_a_subscriber_goes_on_where_it_was_after_a_restart(tmp_path: Path) -> None:
    """In a home the cursor survives closing: nothing is told twice, nothing is left out."""
    first, second = Ear(), Ear()
    with home_at(tmp_path / "books") as ledger:
        ledger.bus.subscribe(first)
        deposit(ledger, 3)
        assert ledger.bus.pump(limit=2) == 2
    with home_at(tmp_path / "books") as ledger:
        deposit(ledger)
        ledger.bus.subscribe(second)
        deposit(ledger)
        ledger.bus.pump()
    assert (first.sequences, second.sequences) == ([3, 4], [5, 6, 7])


def test_a_cursor_in_memory_goes_with_its_ledger() -> None:
    """Without a home there is no cursor to go on from: who comes anew begins behind the last line."""
    store = bb.MemoryStore()
    first, ear = bb.Ledger(store=store, opening={"USDT": "9"}), Ear()
    first.bus.subscribe(ear)
    deposit(first, 3)
    first.bus.pump(limit=1)
    second = bb.Ledger(store=store)
    second.bus.subscribe(ear)
    deposit(second)
    second.bus.pump()
    assert ear.sequences == [3, 6]


def test_nothing_is_skipped_when_the_buffer_overflows(ledger: bb.Ledger) -> None:
    """Who lags behind the buffer reads verified lines from the store instead, in order and each once."""
    ear, quick = Ear(), Ear("quick")
    with small_ring(4):
        for each in (ear, quick):
            ledger.bus.subscribe(each)
    for _ in range(6):
        deposit(ledger, 3)
        ledger.bus.pump("quick")
    ledger.bus.pump()
    assert ear.sequences == quick.sequences == list(range(3, 21))
    assert status_of(ledger, "ear").from_store >= 18 - 4
    assert status_of(ledger, "quick").from_store == 0


def test_lines_of_one_group_that_overflow_the_buffer_are_all_told(ledger: bb.Ledger) -> None:
    """A write group larger than the buffer is no exception."""
    ear = Ear()
    with small_ring(4):
        ledger.bus.subscribe(ear)
    with ledger.batch(correlation_id="r") as batch:
        for _ in range(11):
            batch.deposit("ALICE", "1 USDT")
    ledger.bus.pump()
    assert ear.sequences == list(range(3, 14))


def test_a_line_too_long_for_the_buffer_is_told_in_its_place(ledger: bb.Ledger) -> None:
    """What the buffer does not hold because of its size comes from the store, between its neighbours."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    for text in ("short", "x" * 4_000, "y" * 4_000, "short"):
        ledger.deposit("ALICE", "1 USDT", correlation_id="r", metadata={"note": text, "more": text})
    ledger.bus.pump()
    assert ear.sequences == [3, 4, 5, 6]
    assert [event.entry for event in ear.heard if isinstance(event, bb.EntryCommitted)] == list(
        ledger.entries(after_sequence=2)
    )


def test_the_buffer_spares_the_store(ledger: bb.Ledger) -> None:
    """Who keeps up never reads the store."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    for _ in range(3):
        deposit(ledger, 2)
        ledger.bus.pump()
    assert ear.sequences == list(range(3, 9))
    assert status_of(ledger, "ear").from_store == 0


def test_a_subscriber_that_fails_disturbs_no_other(ledger: bb.Ledger) -> None:
    """One that never passes, one that was killed, and one that hears everything all the same."""
    broken, well = Ear("broken", trouble={3: failures(99)}), Ear("well")
    for each in (broken, well):
        ledger.bus.subscribe(each)
    deposit(ledger, 3)
    assert ledger.bus.pump() == 3
    assert (broken.sequences, well.sequences) == ([], [3, 4, 5])


# ------------------------------------------------------------------ no effect on commits


def script(ledger: bb.Ledger) -> list[str]:
    """Commit in every way; say how each went."""
    outcomes = []
    for payer, money in [("ALICE", "1 USDT"), ("NOBODY", "5 USDT"), ("ALICE", "2 USDT")]:
        try:
            entry = ledger.deposit(payer, money, correlation_id="r")
            outcomes.append(f"{entry.sequence} {entry.hash}")
            ledger.transfer("BOB", payer, money, correlation_id="r")
        except bb.Refused as error:
            outcomes.append(error.code)
    ledger.commit_each([drafts.deposit("ALICE", "1 USDT", correlation_id="r")] * 3)
    outcomes.append(f"{record(ledger, 'ALICE')}")
    return [*outcomes, repr(ledger.head), repr(ledger.accounts())]


@pytest.fixture(name="quiet_run")
def run_without_subscribers() -> tuple[list[str], list[bytes]]:
    """What the script does, and what it writes, when nobody listens."""
    ledger = in_memory()
    return script(ledger), lines_of(ledger._committer.store)


@pytest.mark.parametrize("delivery", ["pump", "thread"])
@pytest.mark.parametrize(
    "error", [Planted("planted"), bb.LedgerPoisoned("planted"), KeyboardInterrupt(), SystemExit(1)]
)
def test_a_failing_subscriber_changes_no_commit(
    quiet_run: tuple[list[str], list[bytes]], delivery: str, error: BaseException
) -> None:
    """The same outcomes and the same bytes, whoever listens and whatever it raises."""
    ledger = in_memory()
    ear = Ear(trouble={number: [error] * 9 for number in range(3, 12)})
    ledger.bus.subscribe(ear, delivery="pump" if delivery == "pump" else "thread")
    assert (script(ledger), lines_of(ledger._committer.store)) == quiet_run
    if delivery == "thread":
        ear.wait_until(lambda: bool(ear.tried))
    else:
        try:
            ledger.bus.pump()
        except (KeyboardInterrupt, SystemExit) as raised:
            assert raised is error  # noqa: PT017 - only interrupts come out
    assert deposit(ledger)
    ledger.close()


def test_a_blocked_subscriber_holds_up_no_commit(quiet_run: tuple[list[str], list[bytes]]) -> None:
    """While a handler stands still, commits return, with the same bytes, and others hear of them."""
    ledger = in_memory()
    gate, ear = Gate(at=3), Ear()
    ledger.bus.subscribe(gate, delivery="thread")
    ledger.bus.subscribe(ear, delivery="thread")
    assert (script(ledger), lines_of(ledger._committer.store)) == quiet_run
    gate.wait()
    ear.wait_for(entries_of(ledger)[-1])
    assert gate.heard == []
    gate.opened.set()
    gate.wait_for(entries_of(ledger)[-1])
    assert gate.sequences == ear.sequences == entries_of(ledger, after=2)
    ledger.close()


def test_a_handler_in_the_pump_holds_up_no_commit_of_another_thread() -> None:
    """A pump that stands still in one thread keeps nobody from committing in another."""
    ledger = in_memory()
    gate = Gate(at=3)
    ledger.bus.subscribe(gate)
    deposit(ledger)
    pumping = Thread(target=ledger.bus.pump)
    pumping.start()
    gate.wait()
    assert deposit(ledger, 2) == [4, 5]
    assert status_of(ledger, "gate").state in (bb.SubscriberState.DELIVERING, bb.SubscriberState.WAITING)
    gate.opened.set()
    pumping.join(20)
    assert not pumping.is_alive()
    ledger.bus.pump()
    assert gate.sequences == [3, 4, 5]


def test_what_was_not_committed_is_not_told(ledger: bb.Ledger) -> None:
    """Refusals, input that is no good and previews say nothing to anybody."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    with pytest.raises(bb.Refused):
        ledger.transfer("BOB", "ALICE", "1 USDT", correlation_id="r")
    with pytest.raises(bb.InvalidInput):
        ledger.deposit("ALICE", "-1 USDT", correlation_id="r")
    ledger.preview(drafts.deposit("ALICE", "1 USDT", correlation_id="r"))
    first = ledger.deposit("ALICE", "1 USDT", correlation_id="r", idempotency_key="k")
    assert ledger.deposit("ALICE", "1 USDT", correlation_id="r", idempotency_key="k") == first
    assert ledger.bus.pump() == 1
    assert ear.sequences == [3]


def test_a_keeper_is_told_each_entry_once(ledger: bb.Ledger) -> None:
    """Who keeps its cursor with its work is asked for it after each failure: done is done."""
    keeper = Keeper(before={4: failures(1)}, after={3: failures(1), 5: failures(1)})
    ledger.bus.subscribe(keeper, after_sequence=2)
    deposit(ledger, 4)
    for _ in range(6):
        ledger.bus.pump()
    assert keeper.sequences == [3, 4, 5, 6]
    assert all_told(keeper.tried) == ["3", "4", "4", "5", "6"]
    assert keeper.asked >= 4


def test_a_keeper_that_has_saved_nothing_begins_at_the_first_line(ledger: bb.Ledger) -> None:
    """However often it was started in between: what came before its first transaction is not lost."""
    ledger.bus.subscribe(Keeper())
    deposit(ledger, 2)
    ledger.bus.unsubscribe("keeper")
    keeper = Keeper()
    ledger.bus.subscribe(keeper)
    ledger.bus.pump()
    assert keeper.sequences == [1, 3, 4]


def test_a_pump_ends_though_each_event_is_answered_by_a_commit(ledger: bb.Ledger) -> None:
    """What a subscriber commits while it is told is for the next pump: this one has an end."""
    heard: list[bb.LedgerEvent] = []

    def answer(event: bb.LedgerEvent) -> None:
        heard.append(event)
        deposit(ledger)

    ledger.bus.subscribe(answer)
    deposit(ledger)
    for round_ in range(3):
        assert ledger.bus.pump() == 1
        assert len(heard) == round_ + 1
