"""A bus beside the writer: subscribers of a reader hear what is durable, from cursors of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import bibank as bb
from tests.bus.ears import (
    PATIENCE_SECONDS,
    Ear,
    all_told,
    deposit,
    failures,
    home_at,
    record,
    small_ring,
    status_of,
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[bb.Ledger]:
    """The writer of a home of two lines."""
    with home_at(tmp_path / "books") as made:
        yield made


@pytest.fixture
def reader(ledger: bb.Ledger, tmp_path: Path) -> Iterator[bb.LedgerReader]:
    """A reader of the same home."""
    ledger.flush_head()
    with bb.LedgerReader.open(tmp_path / "books") as made:
        yield made


def test_a_reader_tells_what_it_has_moved_on_to(ledger: bb.Ledger, reader: bb.LedgerReader) -> None:
    """In order, each entry once; what the reader does not show yet is not told."""
    ear = Ear()
    reader.bus.subscribe(ear)
    deposit(ledger, 3)
    record(ledger, "ALICE")
    ledger.flush_head()
    shown = reader.head.sequence
    reader.bus.pump()
    assert ear.sequences == list(range(3, shown + 1))
    reader.refresh()
    reader.bus.pump()
    assert ear.sequences == [3, 4, 5]
    assert status_of(reader, "ear").behind == 0


def test_a_readers_subscriber_in_a_thread(ledger: bb.Ledger, reader: bb.LedgerReader) -> None:
    """Woken by the refresh, tried again after a failure."""
    ear = Ear(trouble={4: failures(1)})
    with small_ring(2):
        reader.bus.subscribe(ear, delivery="thread", retry=bb.Retry(first_seconds=0))
    deposit(ledger, 3)
    ledger.flush_head()
    reader.refresh()
    ear.wait_for(5)
    assert reader.bus.drain(timeout_seconds=PATIENCE_SECONDS)
    assert all_told(ear.tried) == ["3", "4", "4", "5"]


def test_a_subscriber_moves_between_writer_and_reader(
    ledger: bb.Ledger, reader: bb.LedgerReader, tmp_path: Path
) -> None:
    """The cursor is the subscriber's, whoever delivers: nothing is left out, nothing told twice."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger, 2)
    ledger.bus.pump()
    ledger.bus.unsubscribe("ear")
    deposit(ledger, 2)
    ledger.flush_head()
    reader.refresh()
    reader.bus.subscribe(ear)
    reader.bus.pump(limit=1)
    reader.close()
    ledger.bus.subscribe(ear)
    deposit(ledger)
    ledger.bus.pump()
    assert ear.sequences == [3, 4, 5, 6, 7]


def test_a_reader_that_is_behind_a_cursor_waits_or_says_so(
    ledger: bb.Ledger, reader: bb.LedgerReader
) -> None:
    """A cursor beyond what the reader shows yet is either refused or waited for; nothing is told twice."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger, 2)
    ledger.bus.pump()
    ledger.bus.unsubscribe("ear")
    try:
        reader.bus.subscribe(ear)
    except bb.CursorMismatch:
        ledger.flush_head()
        reader.refresh()
        reader.bus.subscribe(ear)
    reader.bus.pump()
    assert ear.sequences == [3, 4]


def test_a_replay_by_a_reader(ledger: bb.Ledger, reader: bb.LedgerReader) -> None:
    """From any line that it shows, and from no other."""
    deposit(ledger, 2)
    ledger.flush_head()
    reader.refresh()
    ear = Ear()
    reader.bus.subscribe(ear)
    with pytest.raises(bb.UnknownSequence):
        reader.bus.replay_from(5)
    reader.bus.replay_from(4)
    reader.bus.pump()
    assert all_told(ear.heard) == ["from 4", "4", "completed 1"]


def test_closing_a_reader_ends_its_bus(ledger: bb.Ledger, reader: bb.LedgerReader) -> None:
    """Its threads end, its names are free, and its bus says that it is closed."""
    ear = Ear()
    reader.bus.subscribe(ear, delivery="thread")
    bus = reader.bus
    reader.close()
    with pytest.raises(bb.LedgerClosed):
        bus.pump()
    ledger.bus.subscribe(ear)
    deposit(ledger)
    ledger.bus.pump()
    assert ear.sequences == [3]
