"""Points and ranges in time, found in a chronicle, and statements over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import attrs

from bibank.chronicle import Chronicle, Cut
from bibank.errors import InvalidType, InvalidValue, UnknownSequence, excerpt
from bibank.journal.history import Movement, Pot, Running, statement_lines
from bibank.model.as_of import AsOf, PointInTime, TimeAxis, check_point
from bibank.model.money import check_asset
from bibank.model.statement import StatementLine
from bibank.model.timestamp import check_utc

_INSTANT = timedelta(microseconds=1)
"""Between two times that the journal can tell apart."""

_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


@attrs.frozen(kw_only=True)
class Span:
    """Which entries a range takes: of lines `first` to `last`, those effective from `since`, before `until`.

    Moments are given on the effective axis only.
    """

    first: int = 1
    last: int
    axis: TimeAxis = TimeAxis.RECORDED
    since: datetime | None = None
    until: datetime | None = None

    def takes(self, effective_at: datetime) -> bool:
        """Tell whether an entry between the lines is inside."""
        return (self.since is None or effective_at >= self.since) and (
            self.until is None or effective_at < self.until
        )


def cut_of(chronicle: Chronicle, as_of: PointInTime | None) -> Cut:
    """Say which entries count as of a point in time; all of them as of none.

    A sequence inside a batch means the batch before, 0 the state before the first line. Raises
    `UnknownSequence` for one that the journal has not reached, `InvalidType`.
    """
    head = chronicle.head.sequence
    if as_of is None:
        return Cut(sequence=head)
    point = check_point(as_of, what="as_of")
    if isinstance(point, AsOf):
        if point.axis is TimeAxis.EFFECTIVE:
            return Cut(sequence=head, effective=point.moment)
        return Cut(sequence=chronicle.last_recorded(point.moment))
    if not 0 <= point <= head:
        raise UnknownSequence(f"there is no line {excerpt(point)}; the last is {head}")
    return Cut(sequence=chronicle.end_of_batch(point))


def span_of(chronicle: Chronicle, since: PointInTime | None, until: PointInTime | None) -> Span:
    """Say which entries a range takes: `since` is inside, `until` is not.

    Raises `InvalidType`, `InvalidValue` when one end is effective and the other is not.
    """
    points = {"since": since, "until": until}
    given = {name: check_point(point, what=name) for name, point in points.items() if point is not None}
    axes = {point.axis if isinstance(point, AsOf) else TimeAxis.RECORDED for point in given.values()}
    if len(axes) > 1:
        raise InvalidValue("since and until are both effective, or neither is")
    head = chronicle.head.sequence
    if axes == {TimeAxis.EFFECTIVE}:
        moments = {name: point.moment for name, point in given.items() if isinstance(point, AsOf)}
        return Span(
            last=head, axis=TimeAxis.EFFECTIVE, since=moments.get("since"), until=moments.get("until")
        )
    before = {name: _last_before(chronicle, point) for name, point in given.items()}
    return Span(first=before.get("since", 0) + 1, last=before.get("until", head))


def _last_before(chronicle: Chronicle, point: PointInTime) -> int:
    """Name the last line before a sequence, or the last entry recorded before a moment."""
    if isinstance(point, AsOf):
        return chronicle.last_recorded(point.moment - _INSTANT) if point.moment > _BEFORE_ALL else 0
    if point < 0:
        raise UnknownSequence(f"sequence {excerpt(point)} is below 0; the first line is 1")
    return max(min(point - 1, chronicle.head.sequence), 0)


def check_line(line: object) -> None:
    """Refuse what is no line of a statement, as the end of a page; `InvalidType`, `InvalidTimestamp`."""
    if not isinstance(line, StatementLine):
        raise InvalidType(f"after is a StatementLine, not {excerpt(line)}")
    key: tuple[object, object] = line.sequence, line.asset  # attrs does not hold a caller to the types
    if not isinstance(key[0], int) or not isinstance(key[1], str):
        raise InvalidType(f"after is a StatementLine that a statement gave, not {excerpt(line)}")
    check_utc(line.effective_at)


def statement_of(
    chronicle: Chronicle, pots: Sequence[Pot], span: Span, after: StatementLine | None
) -> Iterator[StatementLine]:
    """Tell a statement over a range, in the order of its axis, from behind a line on."""
    accounts = [account for pot in pots for account in pot.accounts]
    if span.axis is TimeAxis.RECORDED:
        # The entry of the line before may have told of several assets: it is told once more.
        first = span.first if after is None else max(span.first, after.sequence)
        running, movements = chronicle.unfold(accounts, first - 1)
        told = statement_lines(pots, _until(movements, span.last), running)
        return (line for line in told if after is None or _in_journal(line) > _in_journal(after))
    ordered = sorted(chronicle.movements(accounts), key=_effective_order)
    earlier = (one for one in ordered if span.since is not None and one.effective_at < span.since)
    running = Running().take(earlier)
    told = statement_lines(pots, (one for one in ordered if span.takes(one.effective_at)), running)
    return (line for line in told if after is None or _by_effect(line) > _by_effect(after))


def _until(movements: Iterator[Movement], last: int) -> Iterator[Movement]:
    for movement in movements:
        if movement.sequence > last:
            return
        yield movement


def _effective_order(movement: Movement) -> tuple[datetime, int]:
    return movement.effective_at, movement.sequence


def _in_journal(line: StatementLine) -> tuple[int, str]:
    return line.sequence, line.asset


def _by_effect(line: StatementLine) -> tuple[datetime, int, str]:
    return line.effective_at, line.sequence, line.asset


def pair_of(text: str) -> tuple[str, str]:
    """Read a pair of assets, base/quote; `InvalidType`, `InvalidMoney`, `InvalidValue`."""
    if not isinstance(text, str):
        raise InvalidType(f"a pair is a str, not {type(text).__name__}")
    base, slash, quote = text.partition("/")
    if not slash:
        raise InvalidValue(f"{excerpt(text)} is no pair; write it as BASE/QUOTE, such as BTC/USDT")
    return check_asset(base), check_asset(quote)
