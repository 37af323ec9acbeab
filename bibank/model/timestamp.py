"""Timestamps: UTC, spelled `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`, the fraction only when it is not zero.

>>> format_timestamp(datetime(2026, 1, 25, 10, tzinfo=UTC))
'2026-01-25T10:00:00Z'
>>> parse_timestamp("2026-01-25T10:00:00.500000Z").microsecond
500000
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from bibank.errors import InvalidTimestamp, InvalidType, excerpt

_TEXT = re.compile(
    # Hours end at 23 here, because some versions of `datetime.fromisoformat` read 24:00 as tomorrow.
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{6})?Z",
    re.ASCII,
)
_NO_OFFSET = timedelta(0)


def check_utc(moment: object) -> datetime:
    """Return an aware UTC `datetime` (any zone whose offset is zero), or raise a typed error."""
    if not isinstance(moment, datetime):
        raise InvalidType(f"a time is a datetime, not {type(moment).__name__}")
    if type(moment) is not datetime:  # a subclass may spell itself in its own way
        moment = datetime(
            moment.year,
            moment.month,
            moment.day,
            moment.hour,
            moment.minute,
            moment.second,
            moment.microsecond,
            tzinfo=moment.tzinfo,
            fold=moment.fold,
        )
    if moment.tzinfo is UTC:
        return moment
    offset = moment.utcoffset()
    if offset is None:
        raise InvalidTimestamp(f"{moment} is naive; give an aware UTC datetime such as datetime.now(UTC)")
    if offset != _NO_OFFSET:
        raise InvalidTimestamp(f"{moment} is not UTC; convert it with .astimezone(UTC)")
    return moment.replace(tzinfo=UTC)


def format_timestamp(moment: datetime) -> str:
    """Spell an aware UTC time canonically; raises as :func:`check_utc` does."""
    return check_utc(moment).isoformat()[:-6] + "Z"


def parse_timestamp(text: str) -> datetime:
    """Read a canonical timestamp and nothing else; `InvalidTimestamp` otherwise."""
    match = _TEXT.fullmatch(text)
    if match is None or match[1] == ".000000":
        raise InvalidTimestamp(f"{excerpt(text)} is not spelled YYYY-MM-DDTHH:MM:SS[.ffffff]Z")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidTimestamp(f"{excerpt(text)} is no time: {error}") from None
