"""Fees as a share of a sum. The ledger books absolute amounts (phase 2, 3.1); this computes one.

>>> from bibank.model.amount import Rounding
>>> str(percentage("100 USDT", "0.1", rounding=Rounding.UP))
'0.1 USDT'
"""

from __future__ import annotations

from decimal import Decimal

from bibank.errors import InvalidAmount, InvalidType, excerpt
from bibank.model.amount import Amount, Rounding
from bibank.model.money import Money

_WHOLE_PERCENT = 100 * Amount(1).units


def percentage(money: Money | str, percent: str | Decimal | int, *, rounding: Rounding) -> Money:
    """Give so many percent of a sum, exact but for one rounding to a unit of 10^-8, in the way named.

    `percent` is 0 or more, with at most 8 decimals, as `Amount` reads them: never a float. Raises
    `InvalidAmount` kinds, `InvalidType`.
    """
    if isinstance(percent, Amount):
        raise InvalidType(f"percent is a str, a Decimal or an int, not {excerpt(percent)}")
    money = Money.of(money)
    try:
        share = Amount(percent).units
    except InvalidAmount as error:
        raise InvalidAmount(f"percent: {error}") from None
    return Money(money.amount.scaled(share, _WHOLE_PERCENT, rounding=rounding), money.asset)
