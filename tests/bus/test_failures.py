"""Subscribers that fail: counted, tried again, parked, seen in the status, and never in the way of others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from bibank.bus.status import MAX_ATTEMPTS, MAX_RETRY_SECONDS
from tests.bus.ears import AT_ONCE, Ear, Keeper, all_told, deposit, failures, home_at, in_memory, status_of


@pytest.fixture
def ledger() -> Iterator[bb.Ledger]:
    """A ledger of two lines."""
    with in_memory() as made:
        yield made


def test_one_failed_attempt_for_each_call_of_pump(ledger: bb.Ledger) -> None:
    """A pump that meets a failure goes on to the next subscriber, and tries again when it is called again."""
    ear, other = Ear(trouble={3: failures(3)}), Ear("other", trouble={4: failures(1)})
    for each in (ear, other):
        ledger.bus.subscribe(each)
    deposit(ledger, 2)
    assert ledger.bus.pump() == 1
    assert (all_told(ear.tried), all_told(other.tried)) == (["3"], ["3", "4"])
    assert ledger.bus.pump() == 1
    assert (all_told(ear.tried), all_told(other.tried)) == (["3", "3"], ["3", "4", "4"])


def test_the_status_shows_a_failure_and_what_became_of_it(ledger: bb.Ledger) -> None:
    """Failures, attempts and the error stand in the row; attempts begin anew with the next event."""
    ear = Ear(trouble={4: failures(2)})
    ledger.bus.subscribe(ear)
    deposit(ledger, 3)
    for _ in range(2):
        ledger.bus.pump()
    row = status_of(ledger, "ear")
    assert (row.state, row.failures, row.attempts) == (bb.SubscriberState.RETRYING, 2, 2)
    assert (row.sequence, row.behind, row.handled) == (3, 2, 1)
    assert row.last_error is not None
    assert "failure 2" in row.last_error
    ledger.bus.pump()
    row = status_of(ledger, "ear")
    assert (row.state, row.failures, row.attempts) == (bb.SubscriberState.WAITING, 2, 0)
    assert (row.sequence, row.behind, row.handled) == (5, 0, 3)


def test_too_many_failures_park_and_skip_nothing(ledger: bb.Ledger) -> None:
    """A parked subscriber is told nothing until it is resumed; then the same event comes first."""
    ear = Ear(trouble={4: failures(3)})
    ledger.bus.subscribe(ear, retry=AT_ONCE)
    deposit(ledger, 3)
    for _ in range(6):
        ledger.bus.pump()
    assert all_told(ear.tried) == ["3", "4", "4", "4"]
    row = status_of(ledger, "ear")
    assert (row.state, row.failures, row.sequence) == (bb.SubscriberState.PARKED, 3, 3)
    deposit(ledger)
    ledger.bus.resume("ear")
    assert status_of(ledger, "ear").state is not bb.SubscriberState.PARKED
    ledger.bus.pump()
    assert all_told(ear.tried) == ["3", "4", "4", "4", "4", "5", "6"]
    assert status_of(ledger, "ear").failures == 3


def test_a_resumed_subscriber_has_all_its_attempts_again(ledger: bb.Ledger) -> None:
    """Parked again after as many failures as the first time, not at the first."""
    ear = Ear(trouble={3: failures(5)})
    ledger.bus.subscribe(ear, retry=AT_ONCE)
    deposit(ledger)
    for _ in range(9):
        ledger.bus.pump()
    assert ear.attempts_at(3) == 3
    ledger.bus.resume("ear")
    ledger.bus.resume("ear")
    for _ in range(2):
        ledger.bus.pump()
    assert status_of(ledger, "ear").state is bb.SubscriberState.RETRYING
    ledger.bus.pump()
    assert ear.sequences == [3]


def test_failures_in_a_row_are_of_one_event(ledger: bb.Ledger) -> None:
    """Two failures here and two there park nobody whose third parks."""
    ear = Ear(trouble={3: failures(2), 4: failures(2), 5: failures(2)})
    ledger.bus.subscribe(ear, retry=AT_ONCE)
    deposit(ledger, 3)
    for _ in range(7):
        ledger.bus.pump()
    assert ear.sequences == [3, 4, 5]
    assert status_of(ledger, "ear").failures == 6


def test_who_comes_forward_is_not_parked(ledger: bb.Ledger) -> None:
    """A keeper whose work is done each time, and who raises all the same, never fails twice at one event."""
    keeper = Keeper(after={number: failures(1) for number in range(3, 9)})
    ledger.bus.subscribe(keeper, after_sequence=2, retry=AT_ONCE)
    deposit(ledger, 6)
    for _ in range(7):
        ledger.bus.pump()
    assert keeper.sequences == [3, 4, 5, 6, 7, 8]
    row = status_of(ledger, "keeper")
    assert (row.state, row.failures) == (bb.SubscriberState.WAITING, 6)


@pytest.mark.parametrize("retry", [AT_ONCE, bb.Retry()], ids=["at once", "with pauses"])
def test_one_failed_look_for_the_cursor_for_each_call_of_pump(ledger: bb.Ledger, retry: bb.Retry) -> None:
    """A keeper whose database is away costs one attempt a call, not all of them at once."""

    class Away(Keeper):
        def load_cursor(self) -> bb.Cursor | None:
            self.asked += 1
            raise OSError("the database is away")

    keeper = Away()
    ledger.bus.subscribe(keeper, retry=retry)
    deposit(ledger)
    for count in (1, 2):
        ledger.bus.pump()
        assert (keeper.asked, status_of(ledger, "keeper").failures) == (count, count)


def test_a_single_attempt_parks_at_once(ledger: bb.Ledger) -> None:
    """`attempts=1` means no second try."""
    ear = Ear(trouble={3: failures(1)})
    ledger.bus.subscribe(ear, retry=bb.Retry(attempts=1))
    deposit(ledger)
    ledger.bus.pump()
    assert status_of(ledger, "ear").state is bb.SubscriberState.PARKED


def test_parked_outlives_no_restart_and_the_cursor_does(tmp_path: Path) -> None:
    """Opened again, a subscriber that was parked is tried again with the event that it failed at."""
    ear = Ear(trouble={4: failures(4)})
    for _ in range(2):
        with home_at(tmp_path / "books") as ledger:
            ledger.bus.subscribe(ear, retry=AT_ONCE)
            if not ear.tried:
                deposit(ledger, 3)
            for _ in range(5):
                ledger.bus.pump()
    assert all_told(ear.tried) == ["3", "4", "4", "4", "4", "4", "5"]


def test_an_interrupt_is_no_failure(ledger: bb.Ledger) -> None:
    """Who presses Ctrl-C is not the subscriber: it comes out, and nobody is parked for it."""
    ear = Ear(trouble={3: [KeyboardInterrupt()] * 5})
    ledger.bus.subscribe(ear, retry=AT_ONCE)
    deposit(ledger)
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            ledger.bus.pump()
    ledger.bus.pump()
    assert ear.sequences == [3]


def test_a_keeper_that_cannot_say_where_it_is_has_failed(ledger: bb.Ledger) -> None:
    """An error of `load_cursor` after a failure is one more failure, and nothing is skipped."""

    class Forgetful(Keeper):
        def load_cursor(self) -> bb.Cursor | None:
            if 1 < self.asked < 4:
                self.asked += 1
                raise OSError("the database is away")
            return super().load_cursor()

    keeper = Forgetful(before={4: failures(1)})
    ledger.bus.subscribe(keeper, after_sequence=2)
    deposit(ledger, 3)
    for _ in range(8):
        ledger.bus.pump()
    assert keeper.sequences == [3, 4, 5]


def test_what_comes_out_of_a_handler_is_told_whatever_it_is(ledger: bb.Ledger) -> None:
    """An error without a text, one whose text fails, and one of the library's own."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

        __repr__ = __str__

    errors: list[BaseException] = [ValueError(), Mute(), bb.LedgerPoisoned("planted"), StopIteration()]
    ear = Ear(trouble={3: errors})
    ledger.bus.subscribe(ear)
    deposit(ledger)
    for _ in errors:
        assert ledger.bus.pump() == 0
        assert status_of(ledger, "ear").last_error is not None
    ledger.bus.pump()
    assert ear.sequences == [3]
    assert deposit(ledger) == [4]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"attempts": 0}, bb.InvalidValue),
        ({"attempts": True}, bb.InvalidType),
        ({"attempts": 2.0}, bb.InvalidType),
        ({"attempts": MAX_ATTEMPTS + 1}, bb.InvalidValue),
        ({"first_seconds": -0.1}, bb.InvalidValue),
        ({"first_seconds": "1"}, bb.InvalidType),
        ({"most_seconds": float("nan")}, bb.InvalidValue),
        ({"most_seconds": MAX_RETRY_SECONDS * 2}, bb.InvalidValue),
        ({"factor": 0.5}, bb.InvalidValue),
        ({"factor": float("inf")}, bb.InvalidValue),
        ({"factor": None}, bb.InvalidType),
    ],
)
def test_a_retry_that_makes_no_sense_is_refused(wrong: dict[str, Any], error: type[bb.BibankError]) -> None:
    """Typed errors for numbers that nobody can mean."""
    with pytest.raises(error):
        bb.Retry(**wrong)


def test_pauses_grow_up_to_a_limit() -> None:
    """The defaults: 0.1 seconds, twice as long each time, 30 at most, whatever the number."""
    retry = bb.Retry()
    assert [retry.seconds_after(number) for number in (1, 2, 3)] == pytest.approx([0.1, 0.2, 0.4])
    assert retry.seconds_after(50) == retry.seconds_after(10**6) == 30.0
