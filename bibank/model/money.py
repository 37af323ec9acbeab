"""Money: an amount and its asset, and the grammar of asset codes.

>>> Money("100 USDT")
Money('100 USDT')
>>> Money("1 BTC") + Money("0.5 BTC")
Money('1.5 BTC')
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache

import attrs

from bibank.errors import AssetMismatch, InvalidMoney, InvalidType, excerpt
from bibank.model.amount import Amount

MAX_PART_LENGTH = 64
"""Characters in an owner id, an asset code or a sub-account: long enough for a UUID or a hash."""

PART_PATTERN = r"[A-Z0-9]+(?:_[A-Z0-9]+)*"
"""The seed's SCREAMING_SNAKE_CASE, as a regular expression in ASCII."""

_TEXTS_KEPT = 8192
"""Bound of the cache of parsed money texts."""

_PART = re.compile(PART_PATTERN, re.ASCII)


def is_part(text: str) -> bool:
    """Tell whether a text may stand as an owner id, an asset code or a sub-account."""
    return len(text) <= MAX_PART_LENGTH and _PART.fullmatch(text) is not None


def advise_part(text: str) -> str:
    """Say which spelling of a refused part would pass, if there is an obvious one."""
    begin = text[: 4 * MAX_PART_LENGTH].upper()  # of a text of megabytes, no more is looked at
    candidate = re.sub(r"[^A-Z0-9]+", "_", begin, flags=re.ASCII).strip("_")[:MAX_PART_LENGTH].strip("_")
    hint = f"; {candidate!r} would pass" if candidate and begin.isascii() else ""
    return f"allowed is {PART_PATTERN.replace('?:', '')} of at most {MAX_PART_LENGTH} characters{hint}"


def check_asset(asset: object) -> str:
    """Return an asset code unchanged, or raise `InvalidMoney` / `InvalidType`."""
    if not isinstance(asset, str):
        raise InvalidType(f"an asset code is a str, not {type(asset).__name__}")
    if not is_part(asset):
        raise InvalidMoney(f"{excerpt(asset)} is no asset code; {advise_part(asset)}")
    return str.__str__(asset)  # of a subclass, such as a member of a text enumeration, only the text


@attrs.frozen(init=False, repr=False)
class Money:
    """An `Amount` of one asset.

    `Money("100 USDT")`, or `Money(amount, asset)` with any accepted amount input. Raises
    `InvalidMoney`, `InvalidAmount` or `InvalidType`.
    """

    amount: Amount
    asset: str

    def __init__(self, amount: str | Decimal | int | Amount, asset: str | None = None) -> None:
        if asset is None:
            if not isinstance(amount, str):
                raise InvalidType(
                    f"Money({excerpt(amount)}) names no asset; write Money('100 USDT') or Money(100, 'USDT')"
                )
            amount, space, asset = amount.partition(" ")
            if not space:
                raise InvalidMoney(
                    f"{excerpt(amount)} is no money; write an amount, one space, an asset: '100 USDT'"
                )
        object.__setattr__(self, "amount", amount if isinstance(amount, Amount) else Amount(amount))
        object.__setattr__(self, "asset", check_asset(asset))

    @classmethod
    def of(cls, value: str | Money) -> Money:
        """Take money as given, or read it from its text."""
        return value if isinstance(value, Money) else _read(value) if type(value) is str else cls(value)

    def __str__(self) -> str:
        return f"{self.amount} {self.asset}"

    def __repr__(self) -> str:
        return f"Money('{self}')"

    def _same_asset(self, other: Money) -> None:
        if self.asset != other.asset:
            raise AssetMismatch(f"{self} and {other} are different assets")

    def __add__(self, other: Money) -> Money:
        if not isinstance(other, Money):
            return NotImplemented
        self._same_asset(other)
        return Money(self.amount + other.amount, self.asset)

    def __sub__(self, other: Money) -> Money:
        if not isinstance(other, Money):
            return NotImplemented
        self._same_asset(other)
        return Money(self.amount - other.amount, self.asset)

    def __lt__(self, other: Money) -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        self._same_asset(other)
        return self.amount < other.amount

    def __le__(self, other: Money) -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        self._same_asset(other)
        return self.amount <= other.amount


@lru_cache(maxsize=_TEXTS_KEPT)
def _read(text: str) -> Money:
    return Money(text)
