"""Timestamps: aware UTC in, one spelling out."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibank.errors import InvalidTimestamp, InvalidType
from bibank.model.timestamp import check_utc, format_timestamp, parse_timestamp

NOON = datetime(2026, 1, 25, 12, tzinfo=UTC)
moments = st.datetimes(timezones=st.just(UTC))


@given(moments)
def test_round_trip(moment: datetime) -> None:
    """Every UTC time has one text, which reads back as that time."""
    text = format_timestamp(moment)
    assert parse_timestamp(text) == moment
    assert format_timestamp(parse_timestamp(text)) == text
    assert len(text) == (27 if moment.microsecond else 20)


@given(moments, moments)
def test_text_sorts_as_time_does(one: datetime, other: datetime) -> None:
    """Dates compare as text, which file names and ranges rely on."""
    assert (format_timestamp(one)[:19] < format_timestamp(other)[:19]) == (
        one.replace(microsecond=0) < other.replace(microsecond=0)
    )


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NOON, "2026-01-25T12:00:00Z"),
        (NOON.replace(microsecond=500_000), "2026-01-25T12:00:00.500000Z"),
        (NOON.replace(microsecond=1), "2026-01-25T12:00:00.000001Z"),
        (datetime.min.replace(tzinfo=UTC), "0001-01-01T00:00:00Z"),
        (datetime.max.replace(tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
        (NOON.replace(tzinfo=ZoneInfo("UTC")), "2026-01-25T12:00:00Z"),
        (NOON.replace(tzinfo=ZoneInfo("Europe/London")), "2026-01-25T12:00:00Z"),
        (NOON.replace(tzinfo=timezone(timedelta(0), "Zulu")), "2026-01-25T12:00:00Z"),
        (NOON.replace(fold=1), "2026-01-25T12:00:00Z"),
    ],
)
def test_spelling(moment: datetime, text: str) -> None:
    """The fraction stands only when it is not zero, and any zone without offset is UTC."""
    assert format_timestamp(moment) == text
    assert check_utc(moment).tzinfo is UTC


@pytest.mark.parametrize(
    "moment",
    [
        NOON.replace(tzinfo=None),
        NOON.replace(tzinfo=timezone(timedelta(hours=7))),
        NOON.replace(tzinfo=timezone(timedelta(microseconds=1))),
        NOON.replace(month=7, tzinfo=ZoneInfo("Europe/London")),
        NOON.replace(tzinfo=ZoneInfo("Asia/Ho_Chi_Minh")),
    ],
)
def test_naive_and_other_zones(moment: datetime) -> None:
    """A naive time and a time with an offset are refused, never converted."""
    with pytest.raises(InvalidTimestamp):
        check_utc(moment)
    with pytest.raises(InvalidTimestamp):
        format_timestamp(moment)


class Spelled(datetime):
    """A time of a host's library, which spells itself in its own way."""

    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
        """Say something else."""
        return "soon"


def test_subclass_becomes_a_plain_datetime() -> None:
    """What is kept is an exact `datetime`, spelled canonically; a naive one is still refused."""
    moment = Spelled(2026, 1, 25, 12, 0, 0, 1, tzinfo=UTC)
    assert type(check_utc(moment)) is datetime
    assert format_timestamp(moment) == "2026-01-25T12:00:00.000001Z"
    with pytest.raises(InvalidTimestamp):
        check_utc(Spelled(2026, 1, 25))


@pytest.mark.parametrize("value", [None, 1.0, 1_700_000_000, "2026-01-25T12:00:00Z", date(2026, 1, 25)])
def test_time_of_another_type(value: Any) -> None:
    """Only a `datetime` is a time."""
    with pytest.raises(InvalidType):
        check_utc(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-25",
        "2026-01-25T12:00Z",
        "2026-01-25T12:00:00",
        "2026-01-25T12:00:00z",
        "2026-01-25 12:00:00Z",
        "2026-01-25T12:00:00+00:00",
        "2026-01-25T12:00:00-00:00",
        "2026-01-25T12:00:00.000000Z",
        "2026-01-25T12:00:00.5Z",
        "2026-01-25T12:00:00.500Z",
        "2026-01-25T12:00:00.5000000Z",
        "2026-01-25T12:00:00,500000Z",
        "2026-01-25T24:00:00Z",
        "2026-01-25T23:60:00Z",
        "2026-01-25T23:59:60Z",
        "2016-12-31T23:59:60Z",
        "2026-02-30T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "20260125T120000Z",
        "2026-W04-7T12:00:00Z",
        "12026-01-25T12:00:00Z",
        "-026-01-25T12:00:00Z",
        "2026-01-25T12:00:00Z\n",
        " 2026-01-25T12:00:00Z",
        "\u0662026-01-25T12:00:00Z",
    ],
)
def test_texts_that_are_no_timestamp(text: str) -> None:
    """Other spellings, midnight as 24:00, leap seconds and days that do not exist are refused."""
    with pytest.raises(InvalidTimestamp):
        parse_timestamp(text)


@given(st.text(alphabet="0123456789-:T.Z", min_size=18, max_size=28) | moments.map(str))
def test_any_text_is_refused_or_canonical(text: str) -> None:
    """What is read spells itself again."""
    try:
        moment = parse_timestamp(text)
    except InvalidTimestamp:
        return
    assert format_timestamp(moment) == text
