"""Delivery threads that are killed anywhere: they go on, or are seen to have stopped; nothing is skipped.

The thread of a subscriber is struck at each place in the code of the bus where an interrupt may come, on its
whole way: from its first look to its end, through deliveries, a record, a failure, a replay and saves.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

import bibank as bb
from bibank.bus.cursor_files import read_cursor_file
from tests.bus.ears import (
    PATIENCE_SECONDS,
    Ear,
    Planted,
    deposit,
    entries_of,
    in_memory,
    record,
    small_ring,
    status_of,
    told,
)
from tests.ledger.test_killed_threads import Killed, Strike
from tests.store.journals import SIGNER, StillClock, counted_bytes

STUBBORN = bb.Retry(attempts=1000, first_seconds=0.0, most_seconds=0.0)
"""Tries again without a pause, and is never parked here."""


WITHIN = {"memory": ("bus",), "home": ("bus/saving.py", "bus/cursor_files.py", "bus/deliveries.py")}
"""The code that is struck. In a home that is what runs only there, and who calls it."""


@pytest.fixture(autouse=True)
def _saves_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each event is followed by a save, and nobody looks without being woken."""
    monkeypatch.setattr("bibank.bus.saving.SAVE_SECONDS", 0.0)
    monkeypatch.setattr("bibank.bus.mailbox.LOOK_SECONDS", 3600.0)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # threads are killed here, and no power is cut


LOOK_SECONDS = 0.05
"""How often the status is looked at while all is drained."""


class Witness(Ear):
    """Demands, at each event, that its cursor stands before it, in memory and in its file."""

    ledger: bb.Ledger
    file: Path

    def handle(self, event: bb.LedgerEvent) -> None:
        """Take an event."""
        if isinstance(event, bb.EntryCommitted):
            if self.attempts_at(event.sequence) == 0:
                self.check(event.sequence)
            if event.sequence == 4 and self.attempts_at(4) == 0:
                self.tried.append(event)
                raise Planted("once")
        super().handle(event)

    def check(self, sequence: int) -> None:
        """Demand that nobody believes this to be done."""
        saved = read_cursor_file(self.file)
        if saved is not None and saved.cursor.sequence >= sequence:
            self.violations.append(f"{sequence} was done before it was told")
        for row in self.ledger.bus.status():  # none, while it is being added
            if row.sequence >= sequence:
                self.violations.append(f"{sequence} was passed over")

    def __init__(self, ledger: bb.Ledger, file: Path) -> None:
        super().__init__()
        self.ledger = ledger
        self.file = file
        self.violations: list[str] = []
        self.stops = 0


@pytest.fixture(autouse=True)
def _dies_quietly(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A thread may end by what it was killed with, and by nothing else."""
    ends: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda end: ends.append(end.exc_type))
    yield
    assert set(ends) <= {Killed}


@contextmanager
def traced(strike: Strike) -> Iterator[None]:
    """Let threads that are started meanwhile be struck."""
    threading.settrace(strike)
    try:
        yield
    finally:
        threading.settrace(None)


def ledger_at(path: Path, kind: str) -> bb.Ledger:
    """A ledger of two lines."""
    if kind == "memory":
        return in_memory()
    return bb.Ledger.create(
        path,
        opening={"USDT": "1000"},
        clock=StillClock(),
        entropy=counted_bytes,
        signer=SIGNER,
        durability="none",
    )


def work(ledger: bb.Ledger, owner: str) -> None:
    """Let there be something of everything: entries, a record, an audit."""
    deposit(ledger, 2)
    record(ledger, owner)
    ledger.audit()
    deposit(ledger, 2)


def come_to_rest(ledger: bb.Ledger, subscriber: Witness, strike: Strike) -> None:
    """Wait until all was told; if the thread has ended, that is seen, and a new one goes on."""
    if not goes_on(ledger, strike):
        subscriber.stops += 1
        ledger.bus.subscribe(subscriber, delivery="thread", retry=STUBBORN)
        assert goes_on(ledger, strike), f"stopped twice: {strike.struck}"
    assert status_of(ledger, "ear").behind == 0, strike.struck


def goes_on(ledger: bb.Ledger, strike: Strike) -> bool:
    """Wait until all was told, or until it is seen that nobody will."""
    end = monotonic() + PATIENCE_SECONDS
    while not ledger.bus.drain(timeout_seconds=LOOK_SECONDS):
        if status_of(ledger, "ear").state is bb.SubscriberState.STOPPED:
            return False
        assert status_of(ledger, "ear").state is not bb.SubscriberState.PARKED, strike.struck
        assert monotonic() < end, f"silent after {strike.struck}"
    return True


def check_order(heard: Sequence[bb.LedgerEvent], entries: Sequence[int], where: str) -> None:
    """Demand every entry at least once, and none before the one that comes before it was told."""
    place = 0
    for event in heard:
        if isinstance(event, bb.EntryCommitted):
            expected = [entry for entry in entries if entry > place][:1]
            assert event.sequence <= place or [event.sequence] == expected, (where, list(map(told, heard)))
            place = max(place, event.sequence)
    assert place == entries[-1], where


def struck_at(place: int, path: Path, kind: str) -> tuple[str, int]:
    """Strike the thread at a place of its way, and check everything.

    Gives where it was struck, or nothing, and how often it has stopped then.
    """
    strike = Strike(place, within=WITHIN[kind])
    with ledger_at(path, kind) as ledger, small_ring(2):
        ear = Witness(ledger, path / "cursors" / "ear.json")
        work(ledger, "BOB")
        with traced(strike):
            ledger.bus.subscribe(ear, delivery="thread", after_sequence=0, retry=STUBBORN)
        come_to_rest(ledger, ear, strike)
        before = len(ear.heard)
        ledger.bus.replay_from(4)
        come_to_rest(ledger, ear, strike)
        assert {"4", "6", "7"} <= set(map(told, ear.heard[before:])), f"no replay: {strike.struck}"
        work(ledger, "CAROL")
        come_to_rest(ledger, ear, strike)
        entries = entries_of(ledger)
        ledger.bus.unsubscribe("ear", timeout_seconds=PATIENCE_SECONDS)
        assert ear.violations == [], strike.struck
        check_order(ear.heard, entries, strike.struck)
        later = Ear()
        deposit(ledger)
        ledger.bus.subscribe(later)
        ledger.bus.pump()
        check_order(ear.heard + later.heard, entries_of(ledger), strike.struck)
    return strike.struck, ear.stops


@pytest.mark.interrupts
@pytest.mark.parametrize("kind", ["memory", "home"])
def test_a_delivery_thread_killed_anywhere_skips_nothing(tmp_path: Path, kind: str) -> None:
    """At each place: it goes on, or is seen as stopped and another does; its cursor is never ahead."""
    places: list[str] = []
    unstruck, stops = 0, 0
    while unstruck < 3:  # a way may be shorter now and then
        struck, stopped = struck_at(len(places) + 1, tmp_path / str(len(places)), kind)
        unstruck += not struck
        stops += stopped
        places.append(struck.split(":")[0])
    wanted = {
        "memory": {"ThreadDelivery._run", "Mailbox._take", "Mailbox._go_back", "Mailbox.fetch"},
        "home": {"ThreadDelivery._take", "CursorSaving.save", "CursorFile.save"},
    }
    assert wanted[kind] <= set(places)
    assert stops < len(places) / 4, "a thread stops only where it cannot even take note of a failure"
