"""The limit of one entry: net of what comes back, for each owner, to the unit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bibank as bb
from bibank.model.amount import MAX_UNITS
from bibank.rules import EntryLimit, RiskEngine
from bibank.testing.strategies import unsigned_entries
from tests.risk.judging import judge, liability, moving, paying

LIMIT = EntryLimit(name="limit/1", money="0.0000005 USDT")


def test_exactly_the_limit_passes() -> None:
    """At the limit an entry passes; one unit above, the refusal says everything."""
    assert judge(LIMIT, paying(50)) is None
    refused = judge(LIMIT, paying(51))
    assert refused is not None
    assert refused.message == "ALICE gives away 0.00000051 USDT in one entry, the limit is 0.0000005 USDT"
    assert refused.advice == "at most 0.0000005 USDT would pass"
    assert (str(refused.account), refused.asset) == ("LIAB:USER:ALICE:USDT:AVAILABLE", "USDT")
    assert [str(x) for x in (refused.required, refused.available, refused.shortfall)] == [
        "0.00000051",
        "0.0000005",
        "0.00000001",
    ]


def test_net_of_all_accounts_of_an_owner() -> None:
    """What an owner pays from several accounts is added up, what the same entry gives back is taken off."""
    locked = liability("ALICE", sub_account="LOCKED")
    assert judge(LIMIT, moving([(liability("ALICE"), -1_000), (locked, 1_000)])) is None
    two = [(liability("ALICE"), -30), (locked, -30)]
    assert judge(LIMIT, moving([*two, (liability("BOB"), 60)])) is not None
    back = (liability("ALICE", sub_account="SAVINGS"), 10)
    assert judge(LIMIT, moving([*two, (liability("BOB"), 50), back])) is None


def test_each_owner_and_the_house() -> None:
    """Two owners may give away the limit each; a house account is an owner; another asset is no matter."""
    both = [(liability("ALICE"), -50), (liability("CAROL"), -50), (liability("BOB"), 100)]
    assert judge(LIMIT, moving(both)) is None
    assert judge(LIMIT, paying(51, payer="SYSTEM:HOUSE")) is not None
    assert judge(LIMIT, paying(51, asset="BTC")) is None
    vault_pays = moving([(liability("ALICE"), 51)])
    assert judge(LIMIT, vault_pays) is None
    withdrawn = moving([(liability("ALICE"), -51)])
    assert judge(LIMIT, withdrawn) is not None


def test_users_and_house_of_one_name_are_two_owners() -> None:
    """`ALICE` and `SYSTEM:ALICE` are not netted."""
    assert judge(LIMIT, paying(51, payer="ALICE", payee="SYSTEM:ALICE")) is not None


def test_limit_of_zero() -> None:
    """With a limit of 0, nothing of the asset is given away, and the advice says so."""
    refused = judge(EntryLimit(name="limit/1", money="0 USDT"), paying(1))
    assert refused is not None
    assert refused.advice == "nothing would pass"


@given(unsigned_entries(), st.integers(0, MAX_UNITS))
def test_refused_is_who_gives_away_more(entry: bb.UnsignedEntry, units: int) -> None:
    """For any entry, the answer is that of adding up each owner's postings in whole."""
    asset = entry.postings[0].account.asset
    net: dict[str, int] = {}
    for posting in entry.postings:
        parts = posting.account.text.split(":")
        if parts[0] == "LIAB" and parts[3] == asset:
            lost = posting.amount.units if posting.side.value == "debit" else -posting.amount.units
            net[parts[1] + parts[2]] = net.get(parts[1] + parts[2], 0) + lost
    rule = EntryLimit(name="limit/1", money=bb.Money(bb.Amount.from_units(units), asset))
    refused = judge(rule, entry)
    assert (refused is None) == all(lost <= units for lost in net.values())
    if refused is not None:
        assert refused.required is not None
        assert refused.shortfall is not None
        assert refused.required.units in net.values()
        assert refused.shortfall.units == refused.required.units - units


def test_in_a_ledger() -> None:
    """The ledger raises what the rule refuses, and takes what its advice says."""
    risk = RiskEngine([EntryLimit(name="large-payments/1", money="100 USDT")])
    ledger = bb.Ledger.in_memory(risk=risk)
    ledger.deposit("ALICE", "500 USDT", correlation_id="r")
    with pytest.raises(bb.Refused, match="at most 100 USDT would pass") as caught:
        ledger.withdraw("ALICE", "100.00000001 USDT", correlation_id="r")
    assert caught.value.rule == "large-payments/1"
    ledger.withdraw("ALICE", "100 USDT", correlation_id="r")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"name": "limit", "money": "1 USDT"}, bb.InvalidValue),
        ({"name": 5, "money": "1 USDT"}, bb.InvalidType),
        ({"name": "limit/1", "money": "1"}, bb.InvalidMoney),
        ({"name": "limit/1", "money": 1}, bb.InvalidType),
        ({"name": "limit/1", "money": 1.5}, bb.InvalidType),
        ({"name": "limit/1", "money": None}, bb.InvalidType),
        ({"name": "limit/1", "money": "-1 USDT"}, bb.InvalidAmount),
    ],
)
def test_limits_that_cannot_be_made(arguments: dict[str, Any], error: type[Exception]) -> None:
    """A limit has the name of a rule and money."""
    with pytest.raises(error):
        EntryLimit(**arguments)
