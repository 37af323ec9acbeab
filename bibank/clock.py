"""Clocks: where the time of a stamp comes from. The core never reads one."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Protocol

from bibank.errors import ClockJumped, ConfigurationError, excerpt
from bibank.model.timestamp import check_utc, format_timestamp

NOTED_CLOCK_JUMP = timedelta(hours=24)
"""A clock that is further from the last line's time is worth a warning."""

MAX_CLOCK_JUMP = timedelta(days=366)
"""A clock that is further from the last line's time is taken for wrong: stamps never run back, so one
line from the far future would date every line until then."""

_WITHOUT_LIMIT = timedelta(days=10_000 * 366)
"""More than lies between any two times."""

logger = logging.getLogger("bibank")


class Clock(Protocol):
    """Tells the time. It may stand still or jump back: stamps never run back."""

    def now(self) -> datetime:
        """Give the time as an aware UTC `datetime`."""


class SystemClock:
    """The operating system's clock."""

    def now(self) -> datetime:
        """Give the current time."""
        return datetime.now(UTC)

    def __repr__(self) -> str:
        return "SystemClock()"


def check_max_jump(max_jump: object) -> timedelta:
    """Refuse what is no distance in time; `ConfigurationError`."""
    if not isinstance(max_jump, timedelta) or max_jump < timedelta(0):
        raise ConfigurationError(f"max_clock_jump is a timedelta of 0 or more, not {excerpt(max_jump)}")
    return max_jump


class ClockWatch:
    """A clock, held against the time of the last line.

    Further away than a day, in either direction, is logged once; further than `max_jump` is refused.
    """

    def __init__(
        self, clock: Clock, *, max_jump: timedelta = MAX_CLOCK_JUMP, noted: timedelta = NOTED_CLOCK_JUMP
    ) -> None:
        self._clock = clock
        self._max_jump = max_jump
        self._noted = min(noted, max_jump)
        self._warned = False

    def unwatched(self) -> ClockWatch:
        """Give the same clock without limits: for a fork, which may begin long ago."""
        return ClockWatch(self._clock, max_jump=_WITHOUT_LIMIT, noted=_WITHOUT_LIMIT)

    def now(self, *, after: datetime | None) -> datetime:
        """Give the time of a commit after a line's time, or the first of all.

        Raises `InvalidValue` and `InvalidType` for what is no aware UTC time, `ClockJumped`, and whatever
        the clock raises.
        """
        now = check_utc(self._clock.now())
        if after is None or -self._noted <= now - after <= self._noted:
            return now
        self._judge(now, after)
        return now

    def _judge(self, now: datetime, after: datetime) -> None:
        ahead = now > after
        jump = f"the clock says {format_timestamp(now)}, {abs(now - after)} {'after' if ahead else 'before'}"
        place = f"{jump} the last line's {format_timestamp(after)}"
        if abs(now - after) > self._max_jump:
            raise ClockJumped(
                f"{place}; up to {self._max_jump} pass. If the clock is right, open the ledger "
                "with a larger max_clock_jump"
            )
        if not self._warned:
            self._warned = True
            logger.warning("%s", place)
