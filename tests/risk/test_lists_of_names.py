"""Allowed assets, allow lists and deny lists: who and what may stand in an entry."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

import bibank as bb
from bibank import AccountKey
from bibank.rules import AllowedAssets, AllowList, DenyList, RiskEngine
from tests.risk.judging import judge, liability, moving, paying


def test_allowed_assets() -> None:
    """Every posting is judged; the refusal lists what would pass."""
    rule = AllowedAssets(assets=["USDT", "BTC"])
    assert judge(rule, paying(1)) is None
    assert judge(rule, paying(1, asset="BTC")) is None
    refused = judge(rule, paying(1, asset="EUR"))
    assert refused is not None
    assert refused.message == "EUR is not an asset that this ledger deals in"
    assert (refused.advice, refused.asset) == ("would pass: BTC, USDT", "EUR")
    mixed = moving([(liability(o, a), u) for a in ("USDT", "EUR") for o, u in (("ALICE", -1), ("BOB", 1))])
    assert judge(rule, mixed) is not None


def test_long_lists_of_assets_are_cut_in_the_advice() -> None:
    """A refusal stays readable: ten assets, and how many more."""
    rule = AllowedAssets(assets=[f"A{number:02d}" for number in range(12)])
    refused = judge(rule, paying(1))
    assert refused is not None
    assert refused.advice.endswith("A08, A09 and 2 more")
    ten = judge(AllowedAssets(assets=[f"A{number}" for number in range(10)]), paying(1))
    assert ten is not None
    assert ten.advice.endswith("A8, A9")


@pytest.mark.parametrize(
    ("payer", "payee", "passes"),
    [
        ("ALICE", "BOB", "yes"),
        ("ALICE", "MALLORY", ""),
        ("MALLORY", "ALICE", ""),
        ("ALICE", "SYSTEM:REWARDS", "yes"),
        ("SYSTEM:REWARDS", "BOB", "yes"),
        ("SYSTEM:REWARDS", "MALLORY", ""),
    ],
)
def test_allow_list(payer: str, payee: str, passes: str) -> None:
    """Users on both sides are listed; house accounts always pass."""
    refused = judge(AllowList(owners=["BOB", "ALICE"]), paying(1, payer=payer, payee=payee))
    assert (refused is None) == bool(passes)
    if refused is not None:
        assert refused.message == "MALLORY is not on the allow list"
        assert refused.account is not None
        assert refused.account.owner == "MALLORY"
        assert "ALICE" not in refused.message + refused.advice


@pytest.mark.parametrize(
    ("payer", "payee", "passes"),
    [
        ("ALICE", "BOB", "yes"),
        ("ALICE", "MALLORY", ""),
        ("MALLORY", "ALICE", ""),
        ("SYSTEM:OLD", "ALICE", ""),
        ("ALICE", "SYSTEM:OLD", ""),
        ("OLD", "SYSTEM:MALLORY", "yes"),
    ],
)
def test_deny_list(payer: str, payee: str, passes: str) -> None:
    """Whoever is listed neither pays nor receives, users and the house."""
    refused = judge(DenyList(owners=["MALLORY", "SYSTEM:OLD"]), paying(1, payer=payer, payee=payee))
    assert (refused is None) == bool(passes)
    if refused is not None:
        assert refused.message.endswith("is on the deny list")
        assert refused.account is not None
        assert refused.account.owner in ("MALLORY", "SYSTEM:OLD")


def test_only_liabilities_have_parties() -> None:
    """The vault of a deposit and the account of a fee are nobody's."""
    deposit = moving([(liability("ALICE"), 1)])
    assert judge(DenyList(owners=["SYSTEM:VAULT"]), deposit) is None
    assert judge(DenyList(owners=["ALICE"]), deposit) is not None
    assert judge(AllowList(owners=["BOB"]), deposit) is not None


def test_empty_deny_list_refuses_nobody() -> None:
    """A host may begin with nobody on it."""
    assert judge(DenyList(owners=()), paying(1)) is None


def test_rules_of_a_ledger() -> None:
    """Each refuses under its own name, and what remains allowed passes."""
    risk = RiskEngine(
        [AllowedAssets(assets=["USDT"]), AllowList(owners=["ALICE", "BOB"]), DenyList(owners=["BOB"])]
    )
    ledger = bb.Ledger.in_memory(risk=risk)
    ledger.deposit("ALICE", "5 USDT", correlation_id="r")
    for owner, money, rule in (
        ("ALICE", "1 BTC", "allowed-assets/1"),
        ("CAROL", "1 USDT", "allow-list/1"),
        ("BOB", "1 USDT", "deny-list/1"),
    ):
        with pytest.raises(bb.Refused) as caught:
            ledger.deposit(owner, money, correlation_id="r")
        assert caught.value.rule == rule


def test_collections_become_sorted_tuples() -> None:
    """Any iterable will do; order and doubles do not matter, so equal sets are equal rules."""
    one = AllowedAssets(assets=["B", "A", "B"])
    assert one.assets == ("A", "B")
    assert one == AllowedAssets(assets={"A", "B"}) == AllowedAssets(assets=iter("AB"))
    assert hash(one) == hash(AllowedAssets(assets=("A", "B")))
    assert AllowList(owners=dict.fromkeys(["B", "SYSTEM:A"])).owners == ("B", "SYSTEM:A")
    assert one != AllowedAssets(assets=["A", "B"], name="allowed-assets/2")


LISTS: list[Any] = [
    lambda values: AllowedAssets(assets=values),
    lambda values: AllowList(owners=values),
    lambda values: DenyList(owners=values),
]


@pytest.mark.parametrize("make", LISTS, ids=["assets", "allow", "deny"])
@pytest.mark.parametrize(
    ("values", "error"),
    [
        ("ALICE", bb.InvalidType),
        (b"ALICE", bb.InvalidType),
        (5, bb.InvalidType),
        (None, bb.InvalidType),
        ([5], bb.InvalidType),
        ([None], bb.InvalidType),
        ([["A"]], bb.InvalidType),
        (["alice"], bb.InvalidValue),
        ([""], bb.InvalidValue),
        (["A B"], bb.InvalidValue),
        (["A" * 65], bb.InvalidValue),
        (["USER:ALICE"], bb.InvalidValue),
        (["SYSTEM:"], bb.InvalidValue),
        (["SYSTEM:A:B"], bb.InvalidValue),
        (["\ud800"], bb.InvalidValue),
        (["X" * 60 + f"{number:04d}" for number in range(1_000)], bb.InvalidValue),
    ],
)
def test_names_that_are_refused(make: Any, values: Any, error: type[Exception]) -> None:
    """Names are spelled as in account keys, and no more of them than a record can hold."""
    with pytest.raises(error):
        make(values)


@pytest.mark.parametrize("make", LISTS[:2], ids=["assets", "allow"])
def test_empty_lists_that_make_no_sense(make: Any) -> None:
    """A rule that refuses everything is a mistake."""
    with pytest.raises(bb.InvalidValue):
        make(())


def test_asset_is_no_owner_of_the_house() -> None:
    """Asset codes have no colon."""
    with pytest.raises(bb.InvalidMoney):
        AllowedAssets(assets=["SYSTEM:A"])


def test_an_owner_may_be_given_as_what_it_is() -> None:
    """An id, a UUID, and an account key, which stands for its owner, in a list of any of them."""
    number = UUID(int=255)
    house = AccountKey("LIAB:SYSTEM:REWARDS:USDT:AVAILABLE")
    named = DenyList(owners=["ALICE", number, house, AccountKey("LIAB:USER:BOB:USDT:LOCKED")])
    assert named.owners == ("0" * 30 + "FF", "ALICE", "BOB", "SYSTEM:REWARDS")
    assert DenyList(owners=list(named.owners)) == named
