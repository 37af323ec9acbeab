"""Amounts: what is accepted, the exact arithmetic, the range, allocation and rounding."""

import copy
import operator
import pickle
from collections.abc import Callable
from decimal import Decimal, localcontext
from enum import IntEnum
from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibank.errors import AmountOverflow, AmountUnderflow, BibankError, InvalidAmount, InvalidType
from bibank.model.amount import MAX_UNITS, MIN_UNITS, Amount, Rounding, SignedAmount, text_to_units
from bibank.testing.strategies import amounts, signed_amounts

ONE_UNIT = Amount.from_units(1)
LARGEST = Amount.from_units(MAX_UNITS)
LARGEST_TEXT = "1701411834604692317316873037158.84105727"


@pytest.mark.parametrize(
    ("given_value", "text"),
    [
        ("0", "0"),
        ("100", "100"),
        ("0.001", "0.001"),
        ("0.00000001", "0.00000001"),
        ("007.50", "7.5"),
        ("0.0", "0"),
        (LARGEST_TEXT, LARGEST_TEXT),
        (0, "0"),
        (1, "1"),
        (Decimal("1.50"), "1.5"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E-8"), "0.00000001"),
        (Decimal("-0"), "0"),
        (Decimal("-0E-999999"), "0"),
        (Decimal("0E+999999"), "0"),
        pytest.param(Decimal("1." + "0" * 50_000), "1", id="many zeros"),
    ],
)
def test_accepted_input_has_one_canonical_text(given_value: Any, text: str) -> None:
    """Text, decimals and whole numbers are accepted, and spelled canonically."""
    assert str(Amount(given_value)) == text
    assert str(SignedAmount(given_value)) == text


@pytest.mark.parametrize(
    "value",
    [
        "",
        " 1",
        "1 ",
        "1\n",
        "\n1",
        "+1",
        "--1",
        "- 1",
        "-0",
        "-0.00",
        ".5",
        "1.",
        "1e2",
        "1E2",
        "1_000",
        "1,5",
        "0x10",
        "nan",
        "inf",
        "0.000000001",
        "1.000000000",
        "1" * 32,
        "0" * 32,
        "\u0661\u0662",
        "1.\u0665",
        "\uff11",
        "1\x00",
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
        Decimal("1E-9"),
        Decimal("1E-999999"),
        Decimal("0.123456789"),
        pytest.param(Decimal("1." + "0" * 50_000 + "1"), id="many decimals"),
    ],
)
def test_text_or_decimal_that_is_no_amount(value: str | Decimal) -> None:
    """Other digits, signs, exponents, white space or a ninth decimal are refused, never rounded."""
    with pytest.raises(InvalidAmount):
        Amount(value)


@pytest.mark.parametrize("value", ["0.000000001", Decimal("0.000000001"), "1.234567891", Decimal("1E-9")])
def test_ninth_decimal_is_never_rounded(value: str | Decimal) -> None:
    """A finer amount than the format holds is an error for signed amounts too."""
    with pytest.raises(InvalidAmount):
        SignedAmount(value)


@pytest.mark.parametrize("cls", [Amount, SignedAmount])
@pytest.mark.parametrize(
    "value", [1.0, 0.1, float("nan"), True, False, None, b"1", 1j, [1], Fraction(1, 2), Amount(1)]
)
def test_wrong_types_are_type_errors(cls: type[Amount | SignedAmount], value: Any) -> None:
    """A float or a bool is never money; the error is a TypeError and one of ours."""
    with pytest.raises(InvalidType) as caught:
        cls(value)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, BibankError)


@pytest.mark.parametrize(
    "value", ["-1", "-0.00000001", -1, Decimal(-1), pytest.param(-(10**5000), id="huge")]
)
def test_negative_amount_is_underflow(value: Any) -> None:
    """An amount is never below zero; a signed amount may be."""
    with pytest.raises(AmountUnderflow):
        Amount(value)


@pytest.mark.parametrize(
    "value",
    [
        "9" * 31,
        10**31,
        Decimal("1E+31"),
        Decimal("1E+32"),
        Decimal("1E999999"),
        pytest.param(10**5000, id="huge"),
    ],
)
def test_beyond_the_range_is_overflow(value: Any) -> None:
    """What does not fit into i128 units is a typed overflow, in bounded time."""
    with pytest.raises(AmountOverflow):
        Amount(value)
    with pytest.raises(AmountOverflow):
        SignedAmount(value)


def test_range_ends_exactly_at_i128() -> None:
    """The last value inside passes, the first outside does not, on both ends."""
    assert Amount.from_units(MAX_UNITS).units == 2**127 - 1
    assert SignedAmount.from_units(MIN_UNITS).units == -(2**127)
    assert str(SignedAmount.from_units(MIN_UNITS)) == "-1701411834604692317316873037158.84105728"
    with pytest.raises(AmountOverflow):
        Amount.from_units(MAX_UNITS + 1)
    with pytest.raises(AmountOverflow):
        SignedAmount.from_units(MIN_UNITS - 1)
    with pytest.raises(AmountUnderflow):
        Amount.from_units(-1)
    with pytest.raises(AmountOverflow):
        SignedAmount(-(10**31))


@pytest.mark.parametrize("units", [1.0, True, "1", None, Decimal(1)])
def test_units_are_ints(units: Any) -> None:
    """`from_units` takes an int and nothing that merely looks like one."""
    with pytest.raises(InvalidType):
        Amount.from_units(units)


@given(signed_amounts())
def test_text_and_decimal_round_trip(amount: SignedAmount) -> None:
    """The canonical text and the exact decimal give the same amount back."""
    assert SignedAmount(str(amount)) == amount
    assert SignedAmount(amount.to_decimal()) == amount
    assert Fraction(amount.to_decimal()) == Fraction(amount.units, 10**8)
    assert str(amount) == str(amount).strip()
    if "." in str(amount):
        assert not str(amount).endswith(("0", "."))


def test_decimal_is_exact_in_any_context() -> None:
    """A host's decimal context of three digits changes nothing."""
    with localcontext() as context:
        context.prec = 3
        assert str(LARGEST.to_decimal()) == LARGEST_TEXT
        assert Amount(Decimal("123456.78901234")).units == 12_345_678_901_234


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_every_decimal_is_exact_or_refused(value: Decimal) -> None:
    """A decimal is taken exactly, or it is a typed error."""
    try:
        amount = SignedAmount(value)
    except InvalidAmount:
        units = Fraction(value) * 10**8
        assert units.denominator != 1 or not MIN_UNITS <= units <= MAX_UNITS
    else:
        assert Fraction(amount.units, 10**8) == Fraction(value)


@given(st.text())
def test_any_text_is_refused_or_round_trips(text: str) -> None:
    """Whatever the text, it is a typed error or an amount that spells itself."""
    try:
        amount = SignedAmount(text)
    except InvalidAmount:
        return
    assert SignedAmount(str(amount)) == amount


@given(signed_amounts(), signed_amounts())
def test_arithmetic_is_integer_arithmetic(left: SignedAmount, right: SignedAmount) -> None:
    """Sums, differences and comparisons are those of the units, or a typed overflow."""
    operations: list[tuple[Callable[..., Any], tuple[SignedAmount, ...]]] = [
        (operator.add, (left, right)),
        (operator.sub, (left, right)),
        (operator.neg, (left,)),
        (operator.abs, (left,)),
    ]
    for operate, operands in operations:
        result = operate(*(operand.units for operand in operands))
        if MIN_UNITS <= result <= MAX_UNITS:
            assert operate(*operands).units == result
        else:
            with pytest.raises(AmountOverflow):
                operate(*operands)
    assert (left < right) == (left.units < right.units)
    assert (left <= right) == (left.units <= right.units)
    assert (left > right) == (left.units > right.units)
    assert (left >= right) == (left.units >= right.units)
    assert (left == right) == (left.units == right.units)
    assert bool(left) == (left.units != 0)


def test_difference_below_zero_is_underflow() -> None:
    """Subtracting more than there is has a typed error of its own."""
    with pytest.raises(AmountUnderflow):
        Amount(1) - Amount(2)
    with pytest.raises(AmountOverflow):
        LARGEST + ONE_UNIT


def test_amounts_and_others_do_not_mix() -> None:
    """An amount is never silently added to, compared with or equal to something else."""
    amount: Any = Amount(1)
    others: tuple[Any, ...] = (SignedAmount(1), 1, 1.0, "1", Decimal(1), None)
    for other in others:
        assert amount != other
        for operate in (operator.add, operator.sub, operator.lt, operator.le, operator.gt, operator.ge):
            with pytest.raises(TypeError):
                operate(amount, other)
    assert len({Amount(1), SignedAmount(1), Amount("1.0")}) == 2


def test_signed_and_unsigned_convert() -> None:
    """Both ways, with a typed error below zero."""
    assert Amount(5).signed() == SignedAmount(5)
    assert SignedAmount(5).to_amount() == Amount(5)
    with pytest.raises(AmountUnderflow):
        SignedAmount(-5).to_amount()


def test_amount_is_an_immutable_value() -> None:
    """Nothing can be set, and copies and pickles are equal."""
    amount = Amount("1.5")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        amount.units = 7  # type: ignore[misc]  # that is what is tested
    for value in (amount, SignedAmount("-1.5")):
        assert pickle.loads(pickle.dumps(value)) == value
        assert copy.deepcopy(value) == value
        assert eval(repr(value)) == value


def weights() -> st.SearchStrategy[list[int]]:
    """Draw weights with at least one above zero."""
    numbers = st.one_of(st.integers(0, 9), st.integers(0, 10**30))
    return st.lists(numbers, min_size=1, max_size=12).filter(any)


@given(amounts(), weights())
def test_allocation_loses_nothing(whole: Amount, shares: list[int]) -> None:
    """The parts sum to the whole; each is within one unit of its exact share; no weight, no part."""
    parts = whole.allocate(shares)
    assert len(parts) == len(shares)
    assert sum(part.units for part in parts) == whole.units
    for part, weight in zip(parts, shares, strict=True):
        exact = Fraction(whole.units * weight, sum(shares))
        assert abs(part.units - exact) < 1
        assert weight or not part


@given(amounts(), weights())
def test_leftover_goes_to_the_largest_remainder(whole: Amount, shares: list[int]) -> None:
    """No part that was rounded down had a larger remainder, or an equal one earlier, than one rounded up."""
    parts = whole.allocate(shares)
    exact = [Fraction(whole.units * weight, sum(shares)) for weight in shares]
    remainder = [share - share.__floor__() for share in exact]
    up = [i for i, part in enumerate(parts) if part.units > exact[i].__floor__()]
    down = [i for i in range(len(parts)) if i not in up]
    for lucky in up:
        for other in down:
            assert (remainder[lucky], -lucky) > (remainder[other], -other)


@given(amounts(), st.integers(1, 40))
def test_split_is_equal_to_a_unit(whole: Amount, count: int) -> None:
    """Equal parts differ by one unit at most, and the first get the extra ones."""
    parts = whole.split(count)
    assert len(parts) == count
    assert sum(part.units for part in parts) == whole.units
    assert parts[0].units - parts[-1].units <= 1
    assert list(parts) == sorted(parts, reverse=True)


@pytest.mark.parametrize("bad", [[], [0], [0, 0], [1, -1], [-1], [3, -1]])
def test_weights_without_a_share(bad: list[int]) -> None:
    """Without a positive weight, or with a negative one, there is nothing to allocate by."""
    with pytest.raises(InvalidAmount):
        Amount(1).allocate(bad)


@pytest.mark.parametrize("bad", [[1.0], [True], ["1"], [None], 5, None, iter([1])])
def test_weights_are_a_sequence_of_ints(bad: Any) -> None:
    """Floats and bools are no weights, and a generator is no sequence."""
    with pytest.raises(InvalidType):
        Amount(1).allocate(bad)


class Step(IntEnum):
    """Numbers as a host may keep them."""

    FIVE = 5


def test_subclasses_become_plain_numbers() -> None:
    """What is kept is an exact `int`, whatever kind of text or number it came from."""
    text = type("Text", (str,), {})("5")
    for amount in (Amount.from_units(Step.FIVE), Amount(Step.FIVE), Amount(text)):
        assert type(amount.units) is int
    assert Amount(text) == Amount(Step.FIVE) == Amount(5)


@pytest.mark.parametrize("bad", [0, -1, 1_000_001, 10**30])
def test_split_into_no_or_too_many_parts(bad: int) -> None:
    """There is no split into no parts, and none that would fill the memory."""
    with pytest.raises(InvalidAmount):
        Amount(1).split(bad)


@pytest.mark.parametrize("bad", [1.0, True, "2", None])
def test_number_of_parts_is_an_int(bad: Any) -> None:
    """The number of parts is a whole number by type."""
    with pytest.raises(InvalidType):
        Amount(1).split(bad)


def rounded(value: Fraction, rounding: Rounding) -> int:
    """Round a fraction by the book, as an oracle."""
    down = abs(value).__floor__()
    rest = abs(value) - down
    up = {
        Rounding.DOWN: False,
        Rounding.UP: rest > 0,
        Rounding.HALF_EVEN: round(abs(value)) > down,
    }[rounding]
    return (down + up) * (-1 if value < 0 else 1)


@given(
    signed_amounts(),
    st.integers(-(10**12), 10**12),
    st.integers(-(10**12), 10**12).filter(bool),
    st.sampled_from(Rounding),
)
def test_scaling_is_exact_then_rounded_as_named(
    amount: SignedAmount, numerator: int, denominator: int, rounding: Rounding
) -> None:
    """The result is the exact fraction, rounded in the named way, or a typed overflow."""
    expected = rounded(Fraction(amount.units) * Fraction(numerator, denominator), rounding)
    if MIN_UNITS <= expected <= MAX_UNITS:
        assert amount.scaled(numerator, denominator, rounding=rounding).units == expected
    else:
        with pytest.raises(AmountOverflow):
            amount.scaled(numerator, denominator, rounding=rounding)


@pytest.mark.parametrize(
    ("units", "rounding", "expected"),
    [
        (1, Rounding.DOWN, 0),
        (1, Rounding.UP, 1),
        (1, Rounding.HALF_EVEN, 0),
        (3, Rounding.DOWN, 1),
        (3, Rounding.UP, 2),
        (3, Rounding.HALF_EVEN, 2),
        (-3, Rounding.DOWN, -1),
        (-3, Rounding.UP, -2),
        (-3, Rounding.HALF_EVEN, -2),
        (4, Rounding.UP, 2),
    ],
)
def test_scaling_by_one_half(units: int, rounding: Rounding, expected: int) -> None:
    """Each way of rounding a tie, on both sides of zero."""
    assert SignedAmount.from_units(units).scaled(1, 2, rounding=rounding).units == expected


def test_scaling_refuses_what_is_no_fraction() -> None:
    """Floats, a zero denominator and an unnamed rounding are typed errors."""
    amount: Any = Amount(1)
    for arguments in ((1.0, 2), (1, 2.0), (True, 2), (1, "2")):
        with pytest.raises(InvalidType):
            amount.scaled(*arguments, rounding=Rounding.DOWN)
    for rounding in ("down", None, 0):
        with pytest.raises(InvalidType):
            amount.scaled(1, 2, rounding=rounding)
    with pytest.raises(InvalidAmount):
        amount.scaled(1, 0, rounding=Rounding.DOWN)
    with pytest.raises(AmountUnderflow):
        amount.scaled(-1, 2, rounding=Rounding.DOWN)
    with pytest.raises(AmountOverflow):
        LARGEST.scaled(2, 1, rounding=Rounding.DOWN)


def test_text_to_units_knows_no_sign() -> None:
    """The reader's parser takes unsigned text only."""
    assert text_to_units("0.5") == 50_000_000
    with pytest.raises(InvalidAmount):
        text_to_units("-1")
