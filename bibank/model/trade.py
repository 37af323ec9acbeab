"""Trades and fees as people see them: the kinds of fee, a fee that comes with a trade, a committed trade."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import attrs

from bibank.errors import InvalidType, InvalidValue, excerpt
from bibank.model.account import AccountKey, Owner, owner_id
from bibank.model.entry import JournalEntry
from bibank.model.money import Money


class FeeKind(Enum):
    """What a fee is for: each has a revenue account of its own (phase 2, 3.3)."""

    TRADING = "trading"
    WITHDRAWAL = "withdrawal"
    MARGIN = "margin"
    LIQUIDATION = "liquidation"


def check_fee_kind(value: object) -> FeeKind:
    """Return a kind of fee unchanged, or raise `InvalidType`."""
    if not isinstance(value, FeeKind):
        kinds = ", ".join(f"FeeKind.{kind.name}" for kind in FeeKind)
        raise InvalidType(f"a kind of fee is one of {kinds}, not {excerpt(value)}")
    return value


def _check_payer(value: object) -> Owner:
    return value if isinstance(value, AccountKey) else owner_id(value)


def _read_money(value: Money | str) -> Money:
    return Money.of(value)


@attrs.frozen
class TradeFee:
    """A fee that is taken with a trade: who pays it, how much, and which kind it is.

    Raises `InvalidAccountKey`, `InvalidMoney`, `InvalidType`.
    """

    payer: Owner = attrs.field(converter=_check_payer)
    money: Money = attrs.field(converter=_read_money)
    kind: FeeKind = attrs.field(converter=check_fee_kind, default=FeeKind.TRADING, kw_only=True)


@attrs.frozen(kw_only=True)
class Trade:
    """A committed trade and the fees of its batch, all of one moment."""

    entry: JournalEntry
    fees: tuple[JournalEntry, ...]


Given = Money | str | Sequence[Money | str]
"""What one side of a trade gives: a sum, or several sums of one asset, each a leg of its own."""


def sums(given: Given) -> tuple[Money, ...]:
    """Read what a side of a trade gives; `InvalidValue` for no sum, or for two assets."""
    if isinstance(given, Money | str):
        return (Money.of(given),)
    if not isinstance(given, Sequence):
        raise InvalidType(f"what is given is Money, or a list of Money, not {type(given).__name__}")
    moneys = tuple(map(Money.of, given))
    if len({money.asset for money in moneys}) != 1:
        raise InvalidValue(f"a side of a trade gives sums of one asset, not {excerpt(given)}")
    return moneys
