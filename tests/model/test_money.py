"""Money: an amount and its asset."""

import operator
import pickle
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibank.errors import (
    AmountOverflow,
    AmountUnderflow,
    AssetMismatch,
    InvalidAmount,
    InvalidInput,
    InvalidMoney,
    InvalidType,
)
from bibank.model.amount import MAX_UNITS, Amount
from bibank.model.money import Money, advise_part, check_asset, is_part
from bibank.testing.strategies import assets, money

OTHERS: tuple[Any, ...] = (1, Amount(1), "1 BTC", None)


class Coin(str, Enum):  # noqa: UP042 - hosts still write it, and its format differs
    """Assets as a host may keep them."""

    USDT = "USDT"


@given(money())
def test_text_round_trip(value: Money) -> None:
    """The text of money reads back as the same money, however it is taken."""
    assert str(value) == f"{value.amount} {value.asset}"
    for same in (Money(str(value)), Money.of(str(value)), Money.of(value), Money(value.amount, value.asset)):
        assert same == value
        assert hash(same) == hash(value)
    assert eval(repr(value)) == value
    assert pickle.loads(pickle.dumps(value)) == value


def test_two_arguments_take_every_amount_input() -> None:
    """An amount may be text, a decimal, whole assets or an `Amount`."""
    expected = Money("100 USDT")
    for given_amount in ("100", "100.00", 100, Decimal(100), Amount(100)):
        assert Money(given_amount, "USDT") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "100",
        "100USDT",
        "100\tUSDT",
        "100  USDT",
        "100 USDT ",
        "100 USDT\n",
        "100 usdt",
        "100 ",
        "100 US-DT",
        "100 _USDT",
        "100 USDT_",
        "100 US__DT",
        "100 \u216b",
        "100 " + "A" * 65,
    ],
)
def test_text_that_is_no_money(text: str) -> None:
    """Exactly an amount, one space and an asset code; nothing around it."""
    with pytest.raises(InvalidMoney):
        Money(text)
    with pytest.raises(InvalidMoney):
        Money.of(text)


@pytest.mark.parametrize("text", [" USDT", "1.123456789 USDT", "1e2 USDT", "-1 USDT", "\u0661 USDT"])
def test_money_of_no_amount(text: str) -> None:
    """The amount part follows the rules of amounts."""
    with pytest.raises(InvalidAmount):
        Money(text)


@pytest.mark.parametrize(
    "arguments",
    [(100,), (1.0,), (1.0, "USDT"), (True, "USDT"), (1, 5), (1, b"USDT"), (None,), (Amount(1),)],
)
def test_wrong_types(arguments: tuple[Any, ...]) -> None:
    """Numbers without an asset, floats and non-text assets are type errors."""
    with pytest.raises(InvalidType):
        Money(*arguments)


def test_number_that_cannot_be_shown() -> None:
    """An int of 5,000 digits has no text in Python; the refusal has."""
    number: Any = 10**5000
    with pytest.raises(InvalidType, match="without a repr"):
        Money(number)


def test_of_takes_text_or_money_only() -> None:
    """`Money.of` is not a second constructor."""
    bad: Any
    for bad in (100, 1.0, None, b"1 USDT"):
        with pytest.raises(InvalidType):
            Money.of(bad)


def test_members_of_a_text_enumeration_are_taken_as_their_text() -> None:
    """A host's `class Coin(str, Enum)` gives the plain text, not the name of the member."""
    value = Money(5, Coin.USDT)
    assert type(value.asset) is str
    assert str(value) == "5 USDT"
    assert Money.of(type("T", (str,), {})("5 USDT")) == value


def test_arithmetic_and_order_within_one_asset() -> None:
    """Sums, differences and comparisons are those of the amounts."""
    two, three = Money("2 BTC"), Money("3 BTC")
    assert two + three == Money("5 BTC")
    assert three - two == Money("1 BTC")
    assert two < three
    assert two <= three
    assert three > two
    assert three >= two
    with pytest.raises(AmountUnderflow):
        two - three
    with pytest.raises(AmountOverflow):
        Money(Amount.from_units(MAX_UNITS), "BTC") + two


def test_two_assets_never_mix() -> None:
    """Adding, subtracting or comparing two assets is a typed error; being unequal is not."""
    bitcoin, dollar = Money("1 BTC"), Money("1 USDT")
    assert bitcoin != dollar
    for operate in (
        lambda: bitcoin + dollar,
        lambda: bitcoin - dollar,
        lambda: bitcoin < dollar,
        lambda: bitcoin <= dollar,
    ):
        with pytest.raises(AssetMismatch):
            operate()


def test_money_and_others_do_not_mix() -> None:
    """A bare number is no money."""
    value: Any = Money("1 BTC")
    for operate in (operator.add, operator.sub, operator.lt, operator.le):
        for other in OTHERS:
            with pytest.raises(TypeError):
                operate(value, other)


@given(assets())
def test_drawn_assets_pass(asset: str) -> None:
    """Every asset code of the grammar is returned as it is."""
    assert check_asset(asset) == asset


@given(st.text(max_size=80))
def test_advice_passes(text: str) -> None:
    """Where a spelling is advised, that spelling would pass."""
    advice = advise_part(text)
    if "would pass" in advice:
        advised = advice.rpartition("; ")[2].removesuffix(" would pass")
        assert is_part(eval(advised))


@given(st.text())
def test_any_text_is_money_or_a_typed_error(text: str) -> None:
    """Whatever the text, it is a typed error or money that spells itself."""
    try:
        value = Money(text)
    except InvalidInput:
        return
    assert Money(str(value)) == value
