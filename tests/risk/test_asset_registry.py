"""The asset registry: known assets, and amounts no finer than their decimals."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bibank as bb
from bibank.model.amount import MAX_UNITS
from bibank.model.iso4217 import ISO_4217
from bibank.rules import AssetRegistry, RiskEngine
from tests.risk.judging import judge, paying


@pytest.mark.parametrize(
    ("asset", "amount", "advice"),
    [
        ("USD", "0.01", None),
        ("USD", "0.001", "0.01 USD would pass"),
        ("USD", "1.239", "1.23 or 1.24 USD would pass"),
        ("USD", "1.23000001", "1.23 or 1.24 USD would pass"),
        ("JPY", "1", None),
        ("JPY", "1.5", "1 or 2 JPY would pass"),
        ("KWD", "1.234", None),
        ("KWD", "1.2345", "1.234 or 1.235 KWD would pass"),
        ("CLF", "1.2345", None),
        ("BTC", "0.00000001", None),
        ("USD", str(bb.Amount.from_units(MAX_UNITS)), "1701411834604692317316873037158.84 USD would pass"),
    ],
)
def test_decimals(asset: str, amount: str, advice: str | None) -> None:
    """Amounts at the last decimal pass, finer ones do not; the neighbours that exist are advised."""
    registry = AssetRegistry.iso4217({"BTC": 8})
    refused = judge(registry, paying(bb.Amount(amount).units, asset=asset))
    assert (refused.advice if refused else None) == advice
    if refused is not None:
        assert refused.message == f"{amount} {asset}: {asset} has {ISO_4217[asset]} decimals"
        assert refused.account is not None
        assert refused.asset == refused.account.asset == asset


def test_unknown_assets() -> None:
    """An asset that is not registered is refused."""
    refused = judge(AssetRegistry(decimals={"USD": 2, "EUR": 2}), paying(1, asset="BTC"))
    assert refused is not None
    assert refused.message == "BTC is not in the asset registry"
    assert refused.advice == "one of its 2 assets would pass"


@given(st.integers(0, 8), st.integers(1, MAX_UNITS) | st.integers(1, 10**9))
def test_advice_is_true(places: int, units: int) -> None:
    """What passes has no digit beyond the decimals, and what is advised instead passes."""
    registry = AssetRegistry(decimals={"X": places})
    refused = judge(registry, paying(units, asset="X"))
    fraction = str(bb.Amount.from_units(units)).partition(".")[2]
    assert (refused is None) == (len(fraction) <= places)
    if refused is not None:
        for amount in refused.advice.removesuffix(" X would pass").split(" or "):
            assert abs(bb.Amount(amount).units - units) < 10 ** (8 - places)
            assert judge(registry, paying(bb.Amount(amount).units, asset="X")) is None


def test_in_a_ledger() -> None:
    """All verbs are judged, also those by which money comes in."""
    ledger = bb.Ledger.in_memory(risk=RiskEngine([AssetRegistry.iso4217()]))
    ledger.deposit("ALICE", "10.25 EUR", correlation_id="r")
    with pytest.raises(bb.Refused, match="EUR has 2 decimals") as caught:
        ledger.deposit("ALICE", "0.001 EUR", correlation_id="r")
    assert caught.value.rule == "assets/1"
    with pytest.raises(bb.Refused, match="GOLD is not in the asset registry"):
        ledger.deposit("ALICE", "1 GOLD", correlation_id="r")


def test_iso4217() -> None:
    """The currencies of the world and what the host adds; what the host says of them must be true."""
    assert AssetRegistry.iso4217().decimals == ISO_4217
    both = AssetRegistry.iso4217({"USDT": 6, "EUR": 2}, name="assets/2")
    assert both.decimals == {**ISO_4217, "USDT": 6}
    assert both.name == "assets/2"
    with pytest.raises(bb.InvalidValue, match="JPY has 0 decimals by ISO 4217, not 2"):
        AssetRegistry.iso4217({"JPY": 2})
    assert AssetRegistry(decimals={"JPY": 2}).decimals == {"JPY": 2}


def test_values_of_a_registry() -> None:
    """Immutable, hashable, equal by content, and copied whole."""
    given_decimals = {"USD": 2, "BTC": 8}
    registry = AssetRegistry(decimals=given_decimals)
    given_decimals["USD"] = 5
    assert dict(registry.decimals) == {"BTC": 8, "USD": 2}
    assert list(registry.decimals) == ["BTC", "USD"]
    frozen: Any = registry.decimals
    with pytest.raises(TypeError):
        frozen["USD"] = 3
    same = AssetRegistry(decimals={"BTC": 8, "USD": 2})
    assert registry == same
    assert hash(registry) == hash(same)
    assert registry != AssetRegistry(decimals={"BTC": 8, "USD": 3})
    for copied in (copy.deepcopy(registry), pickle.loads(pickle.dumps(registry))):
        assert copied == registry
        assert judge(copied, paying(1, asset="USD")) is not None


@pytest.mark.parametrize(
    ("decimals", "error"),
    [
        ({}, bb.InvalidValue),
        (None, bb.InvalidType),
        ("USD", bb.InvalidType),
        ([("USD", 2)], bb.InvalidType),
        ({"USD": 9}, bb.InvalidValue),
        ({"USD": -1}, bb.InvalidValue),
        ({"USD": 10**6000}, bb.InvalidValue),
        ({"USD": True}, bb.InvalidType),
        ({"USD": "2"}, bb.InvalidType),
        ({"USD": 2.0}, bb.InvalidType),
        ({"USD": None}, bb.InvalidType),
        ({"usd": 2}, bb.InvalidMoney),
        ({5: 2}, bb.InvalidType),
        ({f"A{number:060d}": 2 for number in range(1_000)}, bb.InvalidValue),
    ],
)
def test_registries_that_cannot_be_made(decimals: Any, error: type[Exception]) -> None:
    """Each asset has a code and 0 to 8 decimals, and there is at least one."""
    with pytest.raises(error):
        AssetRegistry(decimals=decimals)
    if decimals is not None and decimals != {}:
        with pytest.raises(error):
            AssetRegistry.iso4217(decimals)
