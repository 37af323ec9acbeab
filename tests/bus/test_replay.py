"""Replays: told once more from any line, between two events that say so, and then on with what is new."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from tests.bus.ears import (
    AT_ONCE,
    Ear,
    Keeper,
    Replayed,
    all_told,
    deposit,
    failures,
    home_at,
    in_memory,
    record,
    small_ring,
    status_of,
)


@pytest.fixture(params=["ring", "store"])
def ledger(request: pytest.FixtureRequest) -> Iterator[bb.Ledger]:
    """A ledger of two lines whose buffer holds everything, or next to nothing."""
    with in_memory() as made, small_ring(4096 if request.param == "ring" else 2):
        yield made


@pytest.mark.parametrize(
    ("begin", "replayed"),
    [(1, ["1", "3", "5", "6"]), (2, ["3", "5", "6"]), (3, ["3", "5", "6"]), (4, ["5", "6"]), (6, ["6"])],
)
def test_a_replay_begins_at_any_line(ledger: bb.Ledger, begin: int, replayed: list[str]) -> None:
    """The entries from that line to the head, that line included; records are passed over and not counted."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger)
    record(ledger, "ALICE")
    deposit(ledger, 2)
    ledger.bus.pump()
    ear.heard.clear()
    ledger.bus.replay_from(begin)
    deposit(ledger)
    assert ledger.bus.pump() == len(replayed) + 3
    assert all_told(ear.heard) == [f"from {begin}", *replayed, f"completed {len(replayed)}", "7"]


def test_a_replay_of_what_is_no_entry_is_empty(ledger: bb.Ledger) -> None:
    """From a record that is the last line: begun, completed, nothing in between."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger)
    last = record(ledger, "ALICE")
    ledger.bus.pump()
    ledger.bus.replay_from(last)
    ledger.bus.pump()
    assert all_told(ear.heard) == ["3", "from 4", "completed 0"]


def test_a_replay_catches_up_who_was_behind(ledger: bb.Ledger) -> None:
    """A replay from behind its place skips nothing: what is missing comes first, the replay after it."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger, 3)
    ledger.bus.replay_from(5)
    deposit(ledger)
    ledger.bus.pump()
    assert all_told(ear.heard) == ["3", "4", "from 5", "5", "completed 1", "6"]


def test_a_replay_that_was_asked_for_skips_nothing_after_a_kill(tmp_path: Path) -> None:
    """Nor does the durable cursor move forward for a replay that begins behind it."""
    ear = Ear()
    with home_at(tmp_path / "books") as ledger:
        ledger.bus.subscribe(ear)
        deposit(ledger, 3)
        ledger.bus.replay_from(5)
        shutil.copytree(tmp_path / "books", tmp_path / "killed")
    with home_at(tmp_path / "killed") as ledger:
        ledger.bus.subscribe(ear)
        ledger.bus.pump()
    assert ear.sequences == [3, 4, 5]


def test_a_keeper_that_was_not_asked_yet_misses_nothing_in_a_replay(ledger: bb.Ledger) -> None:
    """Its own cursor counts before the replay does."""
    deposit(ledger, 5)
    keeper = Keeper()
    keeper.cursor = bb.Cursor(sequence=3, hash=ledger.entry(3).hash)
    ledger.bus.subscribe(keeper)
    ledger.bus.replay_from(6)
    ledger.bus.pump()
    assert all_told(keeper.heard) == ["4", "5", "from 6", "6", "7", "completed 2"]


def test_a_replay_is_for_all_or_for_one(ledger: bb.Ledger) -> None:
    """With a name, the others hear nothing of it."""
    one, two = Ear("one"), Ear("two")
    for each in (one, two):
        ledger.bus.subscribe(each)
    deposit(ledger, 2)
    ledger.bus.pump()
    ledger.bus.replay_from(4, name="two")
    ledger.bus.pump()
    assert all_told(one.heard) == ["3", "4"]
    assert all_told(two.heard) == ["3", "4", "from 4", "4", "completed 1"]
    ledger.bus.replay_from(4)
    ledger.bus.pump()
    assert all_told(one.heard) == ["3", "4", "from 4", "4", "completed 1"]
    assert all_told(two.heard)[5:] == ["from 4", "4", "completed 1"]


def test_who_wants_to_prepare_is_told_before_and_after(ledger: bb.Ledger) -> None:
    """`on_replay_start` comes before the event that says so, `on_replay_complete` after its event."""
    ear = Replayed()
    ledger.bus.subscribe(ear)
    deposit(ledger)
    ledger.bus.pump()
    ledger.bus.replay_from(3)
    ledger.bus.pump()
    assert ear.diary == ["3", "start", "from 3", "3", "completed 1", "complete"]


@pytest.mark.parametrize("which", ["start", "complete"])
def test_preparing_may_fail_and_is_tried_again(ledger: bb.Ledger, which: str) -> None:
    """An error in `on_replay_start` or `on_replay_complete` is a failure as any: nothing is skipped."""

    class Shaky(Replayed):
        def on_replay_start(self) -> None:
            super().on_replay_start()
            if which == "start" and self.diary.count("start") == 1:
                raise OSError("planted")

        def on_replay_complete(self) -> None:
            super().on_replay_complete()
            if which == "complete" and self.diary.count("complete") == 1:
                raise OSError("planted")

    ear = Shaky()
    ledger.bus.subscribe(ear)
    deposit(ledger)
    ledger.bus.replay_from(3)
    deposit(ledger)
    for _ in range(4):
        ledger.bus.pump()
    assert status_of(ledger, "replayed").failures == 1
    assert ear.diary.count(which) == 2
    began = len(ear.diary) - 1 - ear.diary[::-1].index("from 3")
    told = [text for text in ear.diary[began:] if text.isdecimal()]
    assert told == ["3", "4"]


def test_a_failure_inside_a_replay_goes_on_inside_it(ledger: bb.Ledger) -> None:
    """The entry that failed comes again, and the replay ends with the same number."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger, 3)
    ledger.bus.pump()
    ear.tried.clear()
    ear.trouble[4] = Ear(trouble={4: failures(2)}).trouble[4]
    ledger.bus.replay_from(3)
    for _ in range(4):
        ledger.bus.pump()
    assert all_told(ear.tried) == ["from 3", "3", "4", "4", "4", "5", "completed 3"]


def test_a_replay_within_a_replay_begins_anew(ledger: bb.Ledger) -> None:
    """The last one that was asked for is told whole, with its own numbers."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger, 4)
    ledger.bus.pump()
    ledger.bus.replay_from(3)
    ledger.bus.pump(limit=2)
    ledger.bus.replay_from(5)
    ledger.bus.pump()
    told = all_told(ear.heard)
    assert told[told.index("from 5") :] == ["from 5", "5", "6", "completed 2"]
    assert told[:6] == ["3", "4", "5", "6", "from 3", "3"]


def test_a_replay_reaches_who_was_parked_once_it_is_resumed(ledger: bb.Ledger) -> None:
    """Parked stays parked, or is tried again; nothing of the replay is lost either way."""
    ear = Ear(trouble={4: failures(3)})
    ledger.bus.subscribe(ear, retry=AT_ONCE)
    deposit(ledger, 2)
    for _ in range(4):
        ledger.bus.pump()
    ledger.bus.replay_from(3)
    ledger.bus.resume("ear")
    ledger.bus.pump()
    assert all_told(ear.heard) == ["3", "from 3", "3", "4", "completed 2"]


def test_a_replay_moves_the_durable_cursor_back_at_once(tmp_path: Path) -> None:
    """Killed before anything was told, a subscriber hears the entries all the same."""
    ear = Ear()
    with home_at(tmp_path / "books") as ledger:
        ledger.bus.subscribe(ear)
        deposit(ledger, 3)
        ledger.bus.pump()
        ledger.bus.replay_from(4)
    ear.heard.clear()
    with home_at(tmp_path / "books") as ledger:
        ledger.bus.subscribe(ear)
        ledger.bus.pump()
    assert ear.sequences == [4, 5]


def test_a_keeper_can_be_told_once_more() -> None:
    """Who keeps its own cursor hears a replay as well, and goes on from its own cursor afterwards."""
    with in_memory() as ledger:
        keeper = Keeper()
        ledger.bus.subscribe(keeper, after_sequence=2)
        deposit(ledger, 3)
        ledger.bus.pump()
        keeper.heard.clear()
        ledger.bus.replay_from(4)
        deposit(ledger)
        ledger.bus.pump()
        assert all_told(keeper.heard) == ["from 4", "4", "5", "completed 2", "6"]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (0, bb.UnknownSequence),
        (-1, bb.UnknownSequence),
        (6, bb.UnknownSequence),
        (2**70, bb.UnknownSequence),
        ("3", bb.InvalidType),
        (3.0, bb.InvalidType),
        (True, bb.InvalidType),
        (None, bb.InvalidType),
    ],
)
def test_a_replay_from_nowhere_is_refused(ledger: bb.Ledger, wrong: Any, error: type[bb.BibankError]) -> None:
    """Below the first line, beyond the head, and what is no sequence; nobody hears of it."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger, 3)
    ledger.bus.pump()
    with pytest.raises(error):
        ledger.bus.replay_from(wrong)
    ledger.bus.pump()
    assert ear.sequences == [3, 4, 5]
    with pytest.raises(bb.UnknownSubscriber):
        ledger.bus.replay_from(3, name="nobody")


def test_an_audit_is_told(ledger: bb.Ledger) -> None:
    """Who listens hears that the chain was verified, and up to which line."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger)
    ledger.bus.pump()
    report = ledger.audit()
    deposit(ledger)
    ledger.bus.pump()
    assert sorted(all_told(ear.heard)) == ["3", "4", "verified 3"]
    (event,) = (event for event in ear.heard if isinstance(event, bb.ChainVerified))
    assert (event.last_sequence, event.last_hash) == (report.head.sequence, report.head.hash)
