"""How subscribers fare: what `EventBus.status()` lists, and how often a failure is tried again."""

from __future__ import annotations

from enum import Enum

import attrs

from bibank.bus.protocol import Delivery
from bibank.errors import InvalidType, InvalidValue, excerpt

MAX_RETRY_SECONDS = 86_400.0
"""A day: whoever waits longer wants to be parked."""

MAX_FACTOR = 1_000_000.0
"""With more, the second pause is the longest one anyway."""

MAX_ATTEMPTS = 1_000_000
"""Some months of trying at the default pace."""


class SubscriberState(Enum):
    """What a subscriber is at."""

    WAITING = "waiting"
    """It has handled everything."""

    DELIVERING = "delivering"
    """There are events for it, or it is handling one."""

    RETRYING = "retrying"
    """It failed, and will be told the same event again."""

    PARKED = "parked"
    """It failed too often at one event, and is told nothing before `resume`; nothing is skipped."""

    STOPPED = "stopped"
    """Nobody delivers to it any more: its loop has ended, or the ledger can no longer be read."""


def _check_attempts(value: object) -> int:
    if type(value) is not int:
        raise InvalidType(f"attempts is an int, not {excerpt(value)}")
    if not 1 <= value <= MAX_ATTEMPTS:
        raise InvalidValue(f"attempts is 1 to {MAX_ATTEMPTS}, not {excerpt(value)}")
    return value


def _check_seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidType(f"seconds are a number, not {excerpt(value)}")
    if not 0 <= value <= MAX_RETRY_SECONDS:
        raise InvalidValue(f"seconds between attempts are 0 to {MAX_RETRY_SECONDS:.0f}, not {excerpt(value)}")
    return float(value)


def _check_factor(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidType(f"a factor is a number, not {excerpt(value)}")
    if not 1 <= value <= MAX_FACTOR:
        raise InvalidValue(f"a factor is 1 to {MAX_FACTOR:.0f}, not {excerpt(value)}")
    return float(value)


@attrs.frozen(kw_only=True)
class Retry:
    """How often an event is tried, and how long is waited in between: longer each time, up to a limit.

    After `attempts` failures in a row the subscriber is parked. By `pump()` nothing is waited: each call is
    an attempt. Raises `InvalidType`, `InvalidValue`.
    """

    attempts: int = attrs.field(default=8, converter=_check_attempts)
    first_seconds: float = attrs.field(default=0.1, converter=_check_seconds)
    factor: float = attrs.field(default=2.0, converter=_check_factor)
    most_seconds: float = attrs.field(default=30.0, converter=_check_seconds)

    def seconds_after(self, failures: int) -> float:
        """Tell how long to wait after so many failures in a row."""
        try:
            return min(self.most_seconds, self.first_seconds * self.factor ** (failures - 1))
        except OverflowError:
            return self.most_seconds


@attrs.frozen(kw_only=True)
class SubscriberStatus:
    """How one subscriber fares.

    `sequence` is the last line it is done with, `behind` how many lines come after it. `handled` and
    `failures` are counted since it subscribed, `attempts` are the failures in a row of the event in hand.
    `from_store` events were read from the store, because the buffer did not hold them any more.
    """

    name: str
    delivery: Delivery
    state: SubscriberState
    sequence: int
    behind: int
    handled: int
    failures: int
    attempts: int
    from_store: int
    last_error: str | None
