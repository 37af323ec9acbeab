"""The spending limit: over any stretch of time of a given length, nobody gives away more than so much.

>>> rule = SpendingLimit(name="daily-limit/1", money="100 USDT", window=timedelta(days=1))
>>> sorted(rule.to_data().items())
[('amount', '100'), ('asset', 'USDT'), ('owners', None), ('window_microseconds', 86400000000)]
>>> SpendingLimit.from_data(rule.name, rule.to_data()) == rule
True
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import attrs

from bibank.errors import InvalidType, InvalidValue
from bibank.model.amount import SignedAmount, units_to_text
from bibank.model.entry import Posting, UnsignedEntry
from bibank.model.json_value import FrozenMap, JsonValue
from bibank.model.money import Money
from bibank.model.stamped import StampedEntry, StampedLine
from bibank.model.timestamp import format_timestamp
from bibank.risk.naming import is_listed, owner_names
from bibank.risk.outflow import advise_at_most, net_outflows, paying_account
from bibank.risk.recorded import (
    check_recordable,
    check_rule_name,
    given_money,
    read_integer,
    read_members,
    read_money,
    read_text,
    read_texts,
    same_spelling,
)
from bibank.risk.rule import Refusal
from bibank.risk.spends import Spends, Spent
from bibank.risk.view import RiskView, RuleState

MAX_WINDOW = timedelta(days=366)
"""A year: every spend in the window is kept in memory."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _check_window(window: timedelta) -> timedelta:
    if not isinstance(window, timedelta):
        raise InvalidType(f"a window is a timedelta, not {type(window).__name__}")
    if not timedelta(0) < window <= MAX_WINDOW:
        raise InvalidValue(f"a window is above 0 and at most {MAX_WINDOW.days} days, not {window}")
    return timedelta(days=window.days, seconds=window.seconds, microseconds=window.microseconds)


def _limited_owners(owners: Iterable[str] | None) -> tuple[str, ...] | None:
    if owners is None:
        return None
    names = owner_names(owners)
    if not names:
        raise InvalidValue("a limit for no owners limits nobody; give owners, or None for all")
    return names


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


@attrs.frozen(kw_only=True)
class SpendingLimit:
    """No owner gives away more than `money` within any stretch of time as long as `window`.

    A true sliding window: when an entry is judged at `now`, what the owner gave away in
    `(now - window, now]` counts, this entry included. What left exactly `window` ago is over. Counted
    is the owner's net outflow of that asset in each entry, over all LIAB accounts of the owner, users
    and the house alike; what the owner receives in other entries gives nothing back, a reversal
    included. A hold, which moves an owner's own money from AVAILABLE to LOCKED, is no outflow; the
    payment out of LOCKED to somebody else is, at its own time.

    `window` is a positive `timedelta` of at most 366 days. `owners` limits the listed ones, each by
    itself; None limits every owner, each by itself. With `money` of 0, nothing is given away. Raises
    `InvalidValue` kinds or `InvalidType`.

    The memory is one spend for each that is still in the window, and is rebuilt from the journal;
    judging and remembering take no longer the more there are, but for a binary search.
    """

    kind: ClassVar[str] = "spending_limit"

    name: str = attrs.field(converter=check_rule_name)
    money: Money = attrs.field(converter=given_money)
    window: timedelta = attrs.field(converter=_check_window)
    owners: tuple[str, ...] | None = attrs.field(converter=_limited_owners, default=None)

    def __attrs_post_init__(self) -> None:
        """Refuse what no record could hold."""
        check_recordable(self)

    def check(self, entry: UnsignedEntry, view: RiskView) -> Refusal | None:
        """Refuse an entry with which an owner would have given away more, counted at `view.now`."""
        spends = Spends(view.state)
        begin = _microseconds(view.now) - self._window_microseconds
        for owner, units in self._outflows(entry.postings).items():
            spent = spends.since(owner, begin)
            left = self.money.amount.units - spent.units
            if units > left:
                return self._refusal(entry, spends, spent, required=units, left=left)
        return None

    def apply(self, line: StampedLine, state: RuleState) -> None:
        """Remember what owners gave away, at the line's own time, and forget some of what is over."""
        if not isinstance(line, StampedEntry):
            return
        spends = Spends(state)
        time = _microseconds(line.timestamp)
        outflows = self._outflows(line.postings)
        for owner, units in outflows.items():
            spends.record(owner, units, time=time)
        spends.prune(time - self._window_microseconds, at_most=len(outflows) + 1)

    def to_data(self) -> Mapping[str, JsonValue]:
        """Give `amount` (decimal text), `asset`, `owners` (sorted, or null), `window_microseconds`."""
        return FrozenMap(
            {
                "amount": str(self.money.amount),
                "asset": self.money.asset,
                "owners": self.owners,
                "window_microseconds": self._window_microseconds,
            }
        )

    @classmethod
    def from_data(cls, name: str, data: Mapping[str, JsonValue]) -> SpendingLimit:
        """Read what :meth:`to_data` gives; a kind of `InvalidValue` for anything else."""
        members = read_members(data, {"amount", "asset", "owners", "window_microseconds"}, cls.kind)
        microseconds = read_integer(members["window_microseconds"], "a window")
        if not 0 < microseconds <= MAX_WINDOW // _MICROSECOND:
            raise InvalidValue(f"a window is above 0 and at most {MAX_WINDOW // _MICROSECOND} microseconds")
        owners = members["owners"]
        rule = cls(
            name=read_text(name, "the name of a rule"),
            money=read_money(members),
            window=microseconds * _MICROSECOND,
            owners=None if owners is None else read_texts(owners, "an owner"),
        )
        return same_spelling(rule, data)

    @property
    def _window_microseconds(self) -> int:
        return self.window // _MICROSECOND

    def _outflows(self, postings: tuple[Posting, ...]) -> dict[str, int]:
        outflows = net_outflows(postings, asset=self.money.asset)
        if self.owners is None:
            return outflows
        return {owner: units for owner, units in outflows.items() if is_listed(owner, self.owners)}

    def _refusal(
        self, entry: UnsignedEntry, spends: Spends, spent: Spent, *, required: int, left: int
    ) -> Refusal:
        asset, owner = self.money.asset, spent.owner
        available = max(left, 0)  # a limit that was lowered may be behind what was spent
        return Refusal(
            message=(
                f"{owner} would give away {units_to_text(spent.units + required)} {asset} "
                f"within {self.window}, the limit is {self.money}"
            ),
            advice=self._advice(spends, spent, required=required, available=available),
            account=paying_account(entry.postings, owner=owner, asset=asset),
            asset=asset,
            required=SignedAmount.from_units(required),
            available=SignedAmount.from_units(available),
            shortfall=SignedAmount.from_units(required - available),
        )

    def _advice(self, spends: Spends, spent: Spent, *, required: int, available: int) -> str:
        """Say what would pass now, and from when all of it would if nothing else is spent until then."""
        asset, limit = self.money.asset, self.money.amount.units
        advice = advise_at_most(available, asset=asset)
        if not spent.units:
            return advice
        if required > limit:
            return f"{advice} now, and never more than {self.money}"
        over = spends.time_of(spent, spent.units + required - limit)
        try:
            moment = _EPOCH + over * _MICROSECOND + self.window
        except OverflowError:  # beyond the year 9999
            return f"{advice} now"
        return f"{advice} now, {units_to_text(required)} {asset} from {format_timestamp(moment)} on"
