"""The clock against the last line: a leap is logged, a wrong clock is refused, stamps never run back."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import bibank as bb
from tests.store.journals import deposit

START = datetime(2026, 1, 25, 10, tzinfo=UTC)


class SetClock:
    """A clock that shows what it was set to."""

    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        """Give the time that was set."""
        return self.moment


@pytest.fixture
def clock() -> SetClock:
    """A clock at the start."""
    return SetClock()


def commit_after(
    clock: SetClock, jump: timedelta, *, max_clock_jump: timedelta = timedelta(days=366)
) -> bb.Ledger:
    """A ledger that commits once, and once more after the clock has jumped."""
    ledger = bb.Ledger.in_memory({"USDT": "1"}, clock=clock, max_clock_jump=max_clock_jump)
    ledger.commit(deposit("A", "1 USDT"))
    clock.moment = START + jump
    ledger.commit(deposit("A", "1 USDT"))
    return ledger


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize(("hours", "warns"), [(0, False), (24, False), (24.01, True), (366 * 24, True)])
def test_a_jump_of_more_than_a_day_is_logged_once(
    clock: SetClock,
    caplog: pytest.LogCaptureFixture,
    direction: int,
    hours: float,
    warns: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Further than 24 hours from the last line, in either direction, a commit passes and leaves a warning."""
    with caplog.at_level(logging.WARNING, logger="bibank"):
        ledger = commit_after(clock, timedelta(hours=hours) * direction)
        ledger.commit(deposit("A", "1 USDT"))
    assert len(caplog.records) == warns
    assert ledger.entry(4).timestamp == max(START, clock.moment)


@pytest.mark.parametrize("direction", [1, -1])
def test_a_jump_of_more_than_a_year_is_refused(clock: SetClock, direction: int) -> None:
    """Beyond 366 days nothing is committed; the error says both times and what would pass."""
    jump = (timedelta(days=366) + timedelta(seconds=1)) * direction
    ledger = bb.Ledger.in_memory({"USDT": "1"}, clock=clock)
    clock.moment = START + jump
    for act in (
        lambda: ledger.commit(deposit("A", "1 USDT")),
        lambda: ledger.commit_each([deposit("A", "1 USDT")]),
        lambda: ledger.preview(deposit("A", "1 USDT")),
    ):
        with pytest.raises(bb.ClockJumped, match="366 days") as caught:
            act()
        assert "2026-01-25T10:00:00Z" in str(caught.value)
    assert ledger.head.sequence == 2
    clock.moment = START
    assert ledger.commit(deposit("A", "1 USDT")).sequence == 3


def test_a_host_may_say_that_its_clock_is_right(clock: SetClock) -> None:
    """With a larger `max_clock_jump` the same commit passes; with a smaller one less does."""
    ledger = commit_after(clock, timedelta(days=1000), max_clock_jump=timedelta(days=1001))
    assert ledger.entry(4).timestamp == START + timedelta(days=1000)
    with pytest.raises(bb.ClockJumped):
        commit_after(SetClock(), timedelta(minutes=2), max_clock_jump=timedelta(minutes=1))


def test_the_first_line_may_be_of_any_time(clock: SetClock) -> None:
    """Before the genesis there is nothing to hold the clock against."""
    clock.moment = datetime(1999, 1, 1, tzinfo=UTC)
    assert bb.Ledger.in_memory(clock=clock).entry(1).timestamp == clock.moment


@pytest.mark.parametrize("jump", [timedelta(seconds=-1), 5, None, "a day"])
def test_a_largest_jump_is_a_time(jump: object) -> None:
    """What is no distance in time is refused when the ledger is opened."""
    with pytest.raises(bb.ConfigurationError, match="max_clock_jump"):
        bb.Ledger.in_memory(max_clock_jump=jump)  # type: ignore[arg-type]  # wrong on purpose


def test_a_clock_that_is_refused_leaves_no_lock(tmp_path: Path) -> None:
    """A home whose opening was refused for its clock can be opened right afterwards."""
    bb.Ledger.create(tmp_path).close()
    with pytest.raises(bb.ConfigurationError):
        bb.Ledger.open(tmp_path, clock=object())  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(bb.ConfigurationError):
        bb.Ledger.open(tmp_path, max_clock_jump=3)  # type: ignore[arg-type]  # wrong on purpose
    bb.Ledger.open(tmp_path).close()
