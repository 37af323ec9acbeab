"""Points in time: after which line, or up to which moment, and by which of an entry's two times.

An entry was recorded at its `timestamp`, and counts from its `effective_at`, which is the timestamp unless
somebody named another time. A moment alone does not say which of the two is meant, so it is refused.

>>> from datetime import UTC, datetime
>>> print(AsOf.recorded(datetime(2026, 6, 30, tzinfo=UTC)))
recorded by 2026-06-30T00:00:00Z
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TypeAlias

import attrs

from bibank.errors import InvalidType, excerpt
from bibank.model.timestamp import check_utc, format_timestamp


class TimeAxis(Enum):
    """The two times of an entry."""

    RECORDED = "recorded"
    """When it was committed: its `timestamp`."""

    EFFECTIVE = "effective"
    """When it counts: its `effective_at`, or else its timestamp."""


def _check_axis(value: object) -> TimeAxis:
    if not isinstance(value, TimeAxis):
        raise InvalidType(f"an axis is TimeAxis.RECORDED or TimeAxis.EFFECTIVE, not {excerpt(value)}")
    return value


@attrs.frozen(kw_only=True)
class AsOf:
    """A moment, and with which time of an entry it is compared: see :meth:`recorded`, :meth:`effective`.

    Raises `InvalidType` for what is no datetime, `InvalidTimestamp` for one that is not aware UTC.
    """

    axis: TimeAxis = attrs.field(converter=_check_axis)
    moment: datetime = attrs.field(converter=check_utc)

    @classmethod
    def recorded(cls, moment: datetime) -> AsOf:
        """What was committed by a moment, the moment included."""
        return cls(axis=TimeAxis.RECORDED, moment=moment)

    @classmethod
    def effective(cls, moment: datetime) -> AsOf:
        """What counts by a moment, the moment included, as far as it is known today."""
        return cls(axis=TimeAxis.EFFECTIVE, moment=moment)

    def __str__(self) -> str:
        return f"{self.axis.value} by {format_timestamp(self.moment)}"


PointInTime: TypeAlias = int | AsOf
"""The sequence of a line, or a moment with its axis."""


def check_point(value: object, *, what: str) -> PointInTime:
    """Refuse what is no point in time; `InvalidType` names both spellings of a bare datetime."""
    if isinstance(value, datetime):
        raise InvalidType(
            f"{what} is a sequence, AsOf.recorded(t) or AsOf.effective(t): a datetime alone does not say "
            "whether it is when entries were committed or when they count"
        )
    if isinstance(value, bool) or not isinstance(value, int | AsOf):
        raise InvalidType(
            f"{what} is a sequence, AsOf.recorded(t) or AsOf.effective(t), not {type(value).__name__}"
        )
    return value
