"""Points in time on the command line: the number of a line, a moment, or a day.

A moment is when entries were recorded, unless `effective:` stands before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import click

from bibank.errors import InvalidTimestamp
from bibank.model.as_of import AsOf, PointInTime
from bibank.model.timestamp import parse_timestamp

T = TypeVar("T", bound=Callable[..., object])

_NUMBER = re.compile(r"[0-9]{1,16}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_DAY_LENGTH = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)
_EFFECTIVE = "effective:"

FORMS = "N, 2026-12-31, 2026-12-31T12:00:00Z or effective:2026-12-31"
"""How a point in time may be written."""


def _read(value: str) -> tuple[PointInTime, bool]:
    """Read a point in time, and whether it is a whole day, given by its first moment."""
    if _NUMBER.fullmatch(value):
        return int(value), False
    axis, text = AsOf.recorded, value
    if value.startswith(_EFFECTIVE):
        axis, text = AsOf.effective, value[len(_EFFECTIVE) :]
    is_day = _DAY.fullmatch(text) is not None
    try:
        moment = parse_timestamp(f"{text}T00:00:00Z" if is_day else text)
    except InvalidTimestamp:
        raise click.BadParameter(f"{value!r} is no point in time; write {FORMS}") from None
    return axis(moment), is_day


def begin(context: click.Context, parameter: click.Parameter, value: str | None) -> PointInTime | None:
    """Read an end of a range; a day is its first moment. For click."""
    return None if value is None else _read(value)[0]


def end(context: click.Context, parameter: click.Parameter, value: str | None) -> PointInTime | None:
    """Read a point as of which is asked; a day is its last moment. For click."""
    if value is None:
        return None
    point, is_day = _read(value)
    if not is_day or not isinstance(point, AsOf):
        return point
    last = datetime.max.replace(tzinfo=UTC)
    moment = point.moment + _DAY_LENGTH - _INSTANT if last - point.moment >= _DAY_LENGTH else last
    return AsOf(axis=point.axis, moment=moment)


def range_options(command: T) -> T:
    """Add --since and --until."""
    until = click.option("--until", callback=begin, metavar="POINT", help="The first point that is left out.")
    since = click.option("--since", callback=begin, metavar="POINT", help=f"From here on: {FORMS}.")
    return since(until(command))


as_of_option = click.option(
    "--as-of", callback=end, metavar="POINT", help=f"As it was then: {FORMS}; a day is taken in whole."
)
