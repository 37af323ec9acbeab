"""Amounts: whole numbers of 10^-8 units in a signed 128-bit range. Never a float, never a rounding.

`Amount` is what moves (zero or more); `SignedAmount` is what a balance or a difference is. Both
hold one `int`, `units`, so arithmetic is exact, and every operation checks the range.

>>> Amount("0.1") + Amount("0.2") == Amount("0.3")
True
>>> Amount(1) == Amount("1") == Amount.from_units(100_000_000)
True
>>> [str(part) for part in Amount("1").split(3)]
['0.33333334', '0.33333333', '0.33333333']
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from enum import Enum
from typing import ClassVar, Self, assert_never

import attrs

from bibank.errors import AmountOverflow, AmountUnderflow, InvalidAmount, InvalidType, excerpt

DECIMALS = 8
UNITS_PER_WHOLE: int = 10**DECIMALS
"""Units in one whole asset: the seed's "i128, 8 decimals"."""

MAX_PARTS = 1_000_000
"""Shares that one amount may be split into: bounds the work of one call."""

MAX_UNITS = 2**127 - 1
MIN_UNITS = -(2**127)

_MAX_WHOLE_DIGITS = 31
"""2**127 units are 1.7 * 10^30 whole assets: 31 digits."""

_TEXT = re.compile(rf"[0-9]{{1,{_MAX_WHOLE_DIGITS}}}(\.[0-9]{{1,{DECIMALS}}})?", re.ASCII)


class Rounding(Enum):
    """How `Amount.scaled` treats the part below one unit. Always named, never a default."""

    DOWN = "down"
    """Towards zero."""
    UP = "up"
    """Away from zero."""
    HALF_EVEN = "half_even"
    """To the nearest unit; a tie goes to the even one."""


def units_to_text(units: int) -> str:
    """Spell a number of units canonically: no leading zeros, no trailing fraction zeros.

    >>> units_to_text(150_000_000), units_to_text(-1)
    ('1.5', '-0.00000001')
    """
    whole, fraction = divmod(abs(units), UNITS_PER_WHOLE)
    sign = "-" if units < 0 else ""
    if not fraction:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{fraction:08d}".rstrip("0")


def text_to_units(text: str) -> int:
    """Count the units in an unsigned amount text; `InvalidAmount` when it is none.

    Leading zeros and trailing fraction zeros are accepted here, as input; whoever demands the
    canonical spelling compares with :func:`units_to_text`.
    """
    if _TEXT.fullmatch(text) is None:
        raise InvalidAmount(
            f"{excerpt(text)} is not an amount; write digits with at most {DECIMALS} decimals, such as '12.5'"
        )
    whole, _, fraction = text.partition(".")
    return int(whole) * UNITS_PER_WHOLE + int(fraction.ljust(DECIMALS, "0") or "0")


def _decimal_to_units(value: Decimal) -> int:
    if not value.is_finite():
        raise InvalidAmount(f"{value} is not a finite number")
    if not value:
        return 0
    if value.adjusted() > _MAX_WHOLE_DIGITS:  # before any work that grows with the exponent
        raise AmountOverflow(f"{excerpt(str(value))} is beyond the range of an amount")
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)  # it is finite
    shift = exponent + DECIMALS
    finer = digits[shift:] if shift < 0 else ()
    if any(finer):
        raise InvalidAmount(f"{excerpt(str(value))} has more than {DECIMALS} decimals; round it first")
    units = int("".join(map(str, digits[: len(digits) - len(finer)])) + "0" * shift)
    return -units if sign else units


def _input_to_units(value: object, kind: str, *, minimum: int) -> int:
    """Count the units in any accepted input, sign included; `minimum` is what the caller may hold."""
    if isinstance(value, str):
        value = str.__str__(value)  # of a subclass, only the text
    match value:
        case bool() | float():
            raise InvalidType(
                f"{kind} from {type(value).__name__} {value!r}; "
                "give a str, a Decimal or an int of whole assets"
            )
        case str() if value.startswith("-"):
            units = text_to_units(value[1:])
            if not units and minimum == 0:
                raise InvalidAmount(f"{excerpt(value)} has a sign, which an amount has not")
            return -units
        case str():
            return text_to_units(value)
        case int():
            return value * UNITS_PER_WHOLE
        case Decimal():
            return _decimal_to_units(value)
        case _:
            raise InvalidType(f"{kind} from {type(value).__name__}; give a str, a Decimal or an int")


@attrs.frozen(init=False, repr=False, eq=False)
class _Units:
    """What `Amount` and `SignedAmount` share: one int, ordered within its own class."""

    units: int
    _minimum: ClassVar[int] = MIN_UNITS

    def __init__(self, value: str | Decimal | int = 0) -> None:
        cls = type(self)
        self._set(_input_to_units(value, cls.__name__, minimum=cls._minimum))

    def _set(self, units: int) -> None:
        cls = type(self)
        if units < cls._minimum:
            if cls._minimum == 0:
                raise AmountUnderflow(
                    f"{cls.__name__} is never below zero; use SignedAmount for a difference"
                )
            raise AmountOverflow(f"{cls.__name__} below its range of -2**127 units")
        if units > MAX_UNITS:
            raise AmountOverflow(f"{cls.__name__} over its range of 2**127-1 units")
        object.__setattr__(self, "units", int.__index__(units))  # of a subclass, only the number

    @classmethod
    def from_units(cls, units: int) -> Self:
        """Build from a whole number of 10^-8 units; typed errors outside the range."""
        if isinstance(units, bool) or not isinstance(units, int):
            raise InvalidType(f"units must be an int, not {type(units).__name__}")
        self = cls.__new__(cls)
        self._set(units)
        return self

    def to_decimal(self) -> Decimal:
        """Give the exact value as a `Decimal`, whatever the decimal context says."""
        sign, magnitude = (1, -self.units) if self.units < 0 else (0, self.units)
        return Decimal((sign, tuple(map(int, str(magnitude))), -DECIMALS))

    def __str__(self) -> str:
        return units_to_text(self.units)

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self}')"

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.units))

    def __bool__(self) -> bool:
        return self.units != 0

    def __eq__(self, other: object) -> bool:
        return self.units == other.units if type(other) is type(self) else NotImplemented

    def __lt__(self, other: Self) -> bool:
        return self.units < other.units if type(other) is type(self) else NotImplemented

    def __le__(self, other: Self) -> bool:
        return self.units <= other.units if type(other) is type(self) else NotImplemented

    def __gt__(self, other: Self) -> bool:
        return self.units > other.units if type(other) is type(self) else NotImplemented

    def __ge__(self, other: Self) -> bool:
        return self.units >= other.units if type(other) is type(self) else NotImplemented

    def __add__(self, other: Self) -> Self:
        return self.from_units(self.units + other.units) if type(other) is type(self) else NotImplemented

    def __sub__(self, other: Self) -> Self:
        return self.from_units(self.units - other.units) if type(other) is type(self) else NotImplemented

    def scaled(self, numerator: int, denominator: int, *, rounding: Rounding) -> Self:
        """Multiply by an exact fraction and round to a unit in the way that is named.

        Raises `InvalidValue` kinds: `InvalidAmount` for a zero denominator, range errors for the
        result; `InvalidType` for anything but ints.

        >>> str(Amount("100").scaled(1, 3, rounding=Rounding.HALF_EVEN))
        '33.33333333'
        """
        for number in (numerator, denominator):
            if isinstance(number, bool) or not isinstance(number, int):
                raise InvalidType(f"a fraction is made of ints, not {type(number).__name__}")
        if not isinstance(rounding, Rounding):
            raise InvalidType(f"rounding is a Rounding such as Rounding.HALF_EVEN, not {excerpt(rounding)}")
        if denominator == 0:
            raise InvalidAmount("the denominator is zero")
        product, divisor = self.units * numerator, denominator
        if divisor < 0:
            product, divisor = -product, -divisor
        sign = -1 if product < 0 else 1
        whole, rest = divmod(abs(product), divisor)
        match rounding:
            case Rounding.DOWN:
                extra = 0
            case Rounding.UP:
                extra = 1 if rest else 0
            case Rounding.HALF_EVEN:
                extra = 1 if 2 * rest > divisor or (2 * rest == divisor and whole % 2) else 0
            case _:
                assert_never(rounding)
        return self.from_units(sign * (whole + extra))


class Amount(_Units):
    """Zero or more of one asset, in 10^-8 units: `0 .. 2**127-1`.

    Accepts `str` (digits, at most 8 decimals), `Decimal` (exact at 8 decimals) and `int` (whole
    assets). Raises `InvalidType` (also a `TypeError`) for float and bool, `InvalidAmount`,
    `AmountOverflow` or `AmountUnderflow` otherwise.
    """

    __slots__ = ()
    _minimum: ClassVar[int] = 0

    def allocate(self, weights: Sequence[int]) -> tuple[Amount, ...]:
        """Divide by weights without losing a unit: largest remainder, first shares win ties.

        The parts sum to the whole and each differs from its exact share by less than one unit.
        Raises `InvalidAmount` unless there is a positive weight and none is negative.

        >>> [str(part) for part in Amount("0.00000005").allocate([3, 7])]
        ['0.00000002', '0.00000003']
        """
        if not isinstance(weights, Sequence):
            raise InvalidType(f"weights are a sequence of ints, not {type(weights).__name__}")
        for weight in weights:
            if isinstance(weight, bool) or not isinstance(weight, int):
                raise InvalidType(f"weights are ints, not {type(weight).__name__}")
        total = sum(weights)
        if total <= 0 or min(weights) < 0:
            raise InvalidAmount("weights must be zero or more, and at least one above zero")
        shares = [divmod(self.units * weight, total) for weight in weights]
        left = self.units - sum(whole for whole, _ in shares)
        by_remainder = sorted(range(len(shares)), key=lambda index: (-shares[index][1], index))
        lucky = frozenset(by_remainder[:left])
        return tuple(Amount.from_units(whole + (index in lucky)) for index, (whole, _) in enumerate(shares))

    def split(self, parts: int) -> tuple[Amount, ...]:
        """Divide into equal parts that differ by at most one unit; the first get the extra units."""
        if isinstance(parts, bool) or not isinstance(parts, int):
            raise InvalidType(f"a number of parts is an int, not {type(parts).__name__}")
        if not 1 <= parts <= MAX_PARTS:
            raise InvalidAmount(f"an amount splits into 1 to {MAX_PARTS} parts")
        return self.allocate([1] * parts)

    def signed(self) -> SignedAmount:
        """Give the same value as a `SignedAmount`."""
        return SignedAmount.from_units(self.units)


class SignedAmount(_Units):
    """A balance or a difference, in 10^-8 units: `-2**127 .. 2**127-1`.

    Accepts what `Amount` accepts, and a leading minus sign.
    """

    __slots__ = ()

    def __neg__(self) -> SignedAmount:
        return SignedAmount.from_units(-self.units)

    def __abs__(self) -> SignedAmount:
        return SignedAmount.from_units(abs(self.units))

    def to_amount(self) -> Amount:
        """Give the same value as an `Amount`; `AmountUnderflow` below zero."""
        return Amount.from_units(self.units)
