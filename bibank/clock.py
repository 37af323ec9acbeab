"""Clocks: where the time of a stamp comes from. The core never reads one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


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
