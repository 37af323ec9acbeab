"""The limit of one entry: nobody gives away more than so much of an asset at once.

>>> rule = EntryLimit(name="large-payments/1", money="1000 USDT")
>>> dict(rule.to_data())
{'amount': '1000', 'asset': 'USDT'}
>>> EntryLimit.from_data(rule.name, rule.to_data()) == rule
True
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs

from bibank.model.amount import SignedAmount
from bibank.model.entry import UnsignedEntry
from bibank.model.json_value import FrozenMap, JsonValue
from bibank.model.money import Money
from bibank.risk.outflow import advise_at_most, net_outflows, paying_account
from bibank.risk.recorded import (
    check_rule_name,
    given_money,
    read_members,
    read_money,
    read_text,
    same_spelling,
)
from bibank.risk.rule import Refusal
from bibank.risk.view import RiskView


@attrs.frozen(kw_only=True)
class EntryLimit:
    """No owner gives away more than `money` in one entry.

    Judged is the owner's net outflow of that asset over all LIAB accounts of the owner, users and the
    house alike. A hold, which moves an owner's own money from AVAILABLE to LOCKED, is no outflow; the
    payment out of LOCKED to somebody else is. With `money` of 0, nothing of that asset is given away.

    Raises `InvalidValue` kinds or `InvalidType` for a name or money that is none.
    """

    kind: ClassVar[str] = "entry_limit"

    name: str = attrs.field(converter=check_rule_name)
    money: Money = attrs.field(converter=given_money)

    def check(self, entry: UnsignedEntry, view: RiskView) -> Refusal | None:
        """Refuse an entry in which an owner gives away more; looks at the entry alone."""
        asset, limit = self.money.asset, self.money.amount.units
        for owner, units in net_outflows(entry.postings, asset=asset).items():
            if units > limit:
                return Refusal(
                    message=(
                        f"{owner} gives away {SignedAmount.from_units(units)} {asset} in one entry, "
                        f"the limit is {self.money}"
                    ),
                    advice=advise_at_most(limit, asset=asset),
                    account=paying_account(entry.postings, owner=owner, asset=asset),
                    asset=asset,
                    required=SignedAmount.from_units(units),
                    available=self.money.amount.signed(),
                    shortfall=SignedAmount.from_units(units - limit),
                )
        return None

    def to_data(self) -> Mapping[str, JsonValue]:
        """Give `amount` (decimal text) and `asset`."""
        return FrozenMap({"amount": str(self.money.amount), "asset": self.money.asset})

    @classmethod
    def from_data(cls, name: str, data: Mapping[str, JsonValue]) -> EntryLimit:
        """Read what :meth:`to_data` gives; a kind of `InvalidValue` for anything else."""
        members = read_members(data, {"amount", "asset"}, cls.kind)
        rule = cls(name=read_text(name, "the name of a rule"), money=read_money(members))
        return same_spelling(rule, data)
