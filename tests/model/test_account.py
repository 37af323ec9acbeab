"""Account keys: the five-part grammar, categories and sides, owners."""

import operator
import pickle
import re
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibank.errors import InvalidAccountKey, InvalidType
from bibank.model.account import AccountCategory, AccountKey, Side, owner_id, party_account
from bibank.testing.strategies import account_keys

ALICE = "LIAB:USER:ALICE:USDT:AVAILABLE"
GRAMMAR = re.compile(
    r"(ASSET|LIAB|EQUITY|REV|EXP):(USER|SYSTEM)(:(?=[A-Z0-9_]{1,64}(:|\Z))[A-Z0-9]+(_[A-Z0-9]+)*){3}"
)


class Keys(str, Enum):  # noqa: UP042 - hosts still write it, and its format differs
    """Accounts as a host may keep them."""

    ALICE = ALICE


@pytest.mark.parametrize("category", ["ASSET", "LIAB", "EQUITY", "REV", "EXP"])
@pytest.mark.parametrize("segment", ["USER", "SYSTEM"])
@pytest.mark.parametrize("part", ["A", "0", "A_1", "A" * 64, "1_2_3", "A" * 32 + "_" + "B" * 31])
def test_keys_of_the_grammar(category: str, segment: str, part: str) -> None:
    """Every category and segment, with parts of one to 64 characters."""
    text = f"{category}:{segment}:{part}:{part}:{part}"
    key = AccountKey(text)
    assert str(key) == key.text == text
    assert (key.category.value, key.segment, key.id, key.asset, key.sub_account) == (
        category,
        segment,
        part,
        part,
        part,
    )


BAD_PARTS = [
    "",
    "a",
    "alice",
    "A-B",
    "A B",
    "_A",
    "A_",
    "A__B",
    "\u00c4",
    "\u0410",
    "\u0661",
    "A\n",
    "\nA",
    "A\x00",
    "A" * 65,
    "../A",
    ".",
    "A/B",
    "\uff21",
]


@pytest.mark.parametrize("part", BAD_PARTS)
@pytest.mark.parametrize("place", [2, 3, 4])
def test_parts_outside_the_grammar(part: str, place: int) -> None:
    """Lower case, other scripts, white space, empty or over-long parts are refused in every place."""
    parts = ALICE.split(":")
    parts[place] = part
    with pytest.raises(InvalidAccountKey):
        AccountKey(":".join(parts))
    if ":" not in part and place == 2:
        with pytest.raises(InvalidAccountKey):
            owner_id(part)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "::::",
        "LIAB:USER:ALICE:USDT",
        ALICE + ":X",
        ALICE + ":",
        ALICE + "\n",
        " " + ALICE,
        "LIABILITY:USER:ALICE:USDT:AVAILABLE",
        "liab:USER:ALICE:USDT:AVAILABLE",
        "LIAB:user:ALICE:USDT:AVAILABLE",
        "LIAB:HOUSE:ALICE:USDT:AVAILABLE",
        "LIAB\n:USER:ALICE:USDT:AVAILABLE",
        ALICE.replace(":", ";"),
        pytest.param(":".join(["A"] * 100_000), id="many parts"),
    ],
)
def test_texts_that_are_no_key(text: str) -> None:
    """Too few or many parts, unknown categories and segments."""
    with pytest.raises(InvalidAccountKey):
        AccountKey(text)


@pytest.mark.parametrize("value", [None, 5, b"LIAB:USER:A:B:C", ["LIAB"], AccountKey(ALICE)])
def test_key_is_made_of_text(value: Any) -> None:
    """Anything but text is a type error."""
    with pytest.raises(InvalidType):
        AccountKey(value)


def test_category_is_a_category() -> None:
    """Building a key from its parts takes the category as a value."""
    text: Any = "LIAB"
    with pytest.raises(InvalidType):
        AccountKey.of(category=text, segment="USER", id="A", asset="B", sub_account="C")


def test_refusal_says_what_would_pass() -> None:
    """A lower-case part is refused with the upper-case spelling as advice."""
    with pytest.raises(InvalidAccountKey, match="'ALICE_B' would pass"):
        AccountKey("LIAB:USER:alice b:USDT:AVAILABLE")
    with pytest.raises(InvalidAccountKey) as caught:
        AccountKey("LIAB:USER:--:USDT:AVAILABLE")
    assert "would pass" not in str(caught.value)


@given(st.text(alphabet="ALIB:USER_0a\n", max_size=40) | account_keys().map(str) | st.text())
def test_grammar_as_one_expression(text: str) -> None:
    """The constructor accepts exactly what the grammar, written down independently, accepts."""
    expected = GRAMMAR.fullmatch(text) is not None
    try:
        accepted = AccountKey(text).text == text
    except InvalidAccountKey:
        accepted = False
    assert accepted == expected


@given(account_keys(), account_keys())
def test_key_is_a_value(one: AccountKey, other: AccountKey) -> None:
    """Equal, ordered and hashed by text; copies by parts, pickle and repr are equal."""
    same = AccountKey.of(
        category=one.category,
        segment=one.segment,
        id=one.id,
        asset=one.asset,
        sub_account=one.sub_account,
    )
    assert same == one
    assert hash(same) == hash(one)
    assert eval(repr(one)) == one
    assert pickle.loads(pickle.dumps(one)) == one
    assert (one == other) == (one.text == other.text)
    for compare in (operator.lt, operator.le, operator.gt, operator.ge):
        assert compare(one, other) == compare(one.text, other.text)


def test_key_is_not_its_text() -> None:
    """A key compares with keys only."""
    key: Any = AccountKey(ALICE)
    assert key != ALICE
    for compare in (operator.lt, operator.le, operator.gt, operator.ge):
        with pytest.raises(TypeError):
            compare(key, ALICE)


def test_member_of_a_text_enumeration_is_taken_as_its_text() -> None:
    """A host's `class Keys(str, Enum)` gives the plain text, in formatted lines too."""
    key = AccountKey(Keys.ALICE)
    assert type(key.text) is str
    assert f"{key.text} {key}" == f"{ALICE} {ALICE}"


def test_normal_balances() -> None:
    """Debit increases assets and expenses, credit the three others (phase 1, 3.2)."""
    assert {category: category.normal_balance for category in AccountCategory} == {
        AccountCategory.ASSET: Side.DEBIT,
        AccountCategory.EXPENSE: Side.DEBIT,
        AccountCategory.LIABILITY: Side.CREDIT,
        AccountCategory.EQUITY: Side.CREDIT,
        AccountCategory.REVENUE: Side.CREDIT,
    }
    assert Side.DEBIT.opposite is Side.CREDIT
    assert Side.CREDIT.opposite is Side.DEBIT


def test_owner_tells_users_from_the_house() -> None:
    """A user is its id, a house account is named with its segment, so the two cannot be confused."""
    assert AccountKey(ALICE).owner == "ALICE"
    assert AccountKey("ASSET:SYSTEM:VAULT:USDT:MAIN").owner == "SYSTEM:VAULT"
    assert AccountKey("LIAB:USER:SYSTEM:USDT:MAIN").owner == "SYSTEM"


def test_parties() -> None:
    """An id means the available account, a UUID its 32 upper-case digits, a key exactly itself."""
    uuid = UUID("0189abcd-ef01-7234-89ab-cdef01234567")
    assert party_account("ALICE", asset="USDT") == AccountKey(ALICE)
    assert party_account(uuid, asset="BTC").text == (
        "LIAB:USER:0189ABCDEF01723489ABCDEF01234567:BTC:AVAILABLE"
    )
    assert owner_id(uuid) == "0189ABCDEF01723489ABCDEF01234567"
    locked = AccountKey("LIAB:USER:ALICE:USDT:LOCKED")
    assert party_account(locked, asset="USDT") is locked
    with pytest.raises(InvalidAccountKey, match="USDT"):
        party_account(locked, asset="BTC")
    assert type(owner_id(type("T", (str,), {})("ALICE"))) is str


@pytest.mark.parametrize("owner", [5, None, b"ALICE", ["ALICE"], {"id": 1}, 1.5, True])
def test_owner_of_another_type(owner: Any) -> None:
    """An owner is text, a UUID or a key; what cannot be hashed is a typed error as well."""
    with pytest.raises(InvalidType):
        party_account(owner, asset="USDT")
    with pytest.raises(InvalidType):
        owner_id(owner)


def test_uuid_text_is_no_owner() -> None:
    """The dashed text of a UUID is not silently changed; pass the UUID, or its hex."""
    with pytest.raises(InvalidAccountKey):
        party_account("0189abcd-ef01-7234-89ab-cdef01234567", asset="USDT")
