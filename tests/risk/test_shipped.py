"""Shipped rules as data: there and back, one spelling, and typed errors for everything else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bibank.errors import ConfigurationError, InvalidValue
from bibank.model.json_value import BODY_LIMITS, FrozenMap, canonical_text, freeze, thaw
from bibank.risk.recorded import MAX_RULE_DATA_BYTES, RecordedRule
from bibank.risk.shipped import SHIPPED_RULES, rebuild_rule
from bibank.rules import (
    AllowedAssets,
    AllowList,
    AssetRegistry,
    DenyList,
    EntryLimit,
    RiskEngine,
    SpendingLimit,
    StatefulRiskRule,
)
from bibank.testing.strategies import assets, money

TAKEN = RiskEngine().rule_names
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,62}/[1-9][0-9]{0,8}", fullmatch=True).filter(
    lambda name: name not in TAKEN
)
OWNERS = st.one_of(assets(), assets().map("SYSTEM:".__add__))
WINDOWS = st.integers(1, 366 * 86_400 * 10**6).map(lambda number: timedelta(microseconds=number))
RULES: dict[str, st.SearchStrategy[Any]] = {
    "allow_list": st.builds(AllowList, name=NAMES, owners=st.lists(OWNERS, min_size=1)),
    "allowed_assets": st.builds(AllowedAssets, name=NAMES, assets=st.lists(assets(), min_size=1)),
    "asset_registry": st.builds(
        AssetRegistry, name=NAMES, decimals=st.dictionaries(assets(), st.integers(0, 8), min_size=1)
    ),
    "deny_list": st.builds(DenyList, name=NAMES, owners=st.lists(OWNERS)),
    "entry_limit": st.builds(EntryLimit, name=NAMES, money=money()),
    "spending_limit": st.builds(
        SpendingLimit,
        name=NAMES,
        money=money(),
        window=WINDOWS,
        owners=st.none() | st.lists(OWNERS, min_size=1),
    ),
}
ANY_RULE = st.one_of(*RULES.values())
EXAMPLES: list[Any] = [
    AllowList(owners=["ALICE", "SYSTEM:REWARDS"]),
    AllowedAssets(assets=["BTC", "USDT"]),
    AssetRegistry(decimals={"BTC": 8, "USD": 2}),
    DenyList(owners=["MALLORY"]),
    EntryLimit(name="limit/1", money="1.5 USDT"),
    SpendingLimit(name="limit/1", money="100 USDT", window=timedelta(days=1)),
    SpendingLimit(name="limit/2", money="0 USDT", window=timedelta(hours=1), owners=["ALICE", "BOB"]),
]


def test_every_kind_is_listed() -> None:
    """The table has each shipped rule under its own kind; all of them are tested here."""
    assert set(SHIPPED_RULES) == set(RULES) == {rule.kind for rule in EXAMPLES}
    for kind, rule in SHIPPED_RULES.items():
        assert rule.kind == kind
        assert re.fullmatch("[a-z_]+", kind)
    assert not hasattr(SHIPPED_RULES, "__setitem__")


@given(ANY_RULE)
def test_there_and_back(rule: Any) -> None:
    """A rule that was recorded is the same rule again; its data are JSON that a record holds."""
    data = rule.to_data()
    assert freeze(data, BODY_LIMITS) == data
    again: Any = rebuild_rule(rule.kind, rule.name, data)
    assert again == rule
    assert hash(again) == hash(rule)
    assert type(again) is type(rule)
    assert rebuild_rule(rule.kind, rule.name, dict(data)) == rule


@given(ANY_RULE)
def test_what_a_shipped_rule_is(rule: Any) -> None:
    """Each satisfies the protocols, and the engine takes it under its name."""
    recordable: object = rule
    assert isinstance(recordable, RecordedRule)
    assert isinstance(rule, StatefulRiskRule) == (rule.kind == "spending_limit")
    assert rule.name in RiskEngine([rule]).rule_names
    with pytest.raises(AttributeError):
        rule.name = "other/1"


@given(st.text(max_size=70) | NAMES)
@example("limit")
@example("limit/0")
@example("limit/01")
@example("limit/1\n")
@example("Limit/1")
@example("-limit/1")
@example("limit/1234567890")
@example("limit/123456789")
@example("l" * 63 + "/1")
@example("l" * 64 + "/1")
@example("limit/\u0661")
def test_names_are_those_that_the_engine_takes(name: str) -> None:
    """A rule can be made with exactly the names that the engine accepts."""

    class Named:
        def __init__(self) -> None:
            self.name = name

        def check(self, entry: Any, view: Any) -> None:
            """Let everything pass."""

    try:
        RiskEngine([Named()])
    except ConfigurationError:
        with pytest.raises(InvalidValue):
            DenyList(name=name, owners=())
    else:
        assert DenyList(name=name, owners=()).name == name


# --------------------------------------------------------------------------- hostile data

HOSTILE: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    10**400,
    1.0,
    float("nan"),
    "",
    "1.50",
    "01",
    "-1",
    "+1",
    "1e3",
    "NaN",
    " 1",
    "usdt",
    "USDT",
    "\ud800",
    "X" * 100_000,
    b"USDT",
    [],
    ["USDT"],
    (),
    ("USDT", "BTC"),
    ("BTC", "BTC"),
    ("BTC", 1),
    {},
    FrozenMap({}),
    FrozenMap({"asset": "BTC", "decimals": True}),
    object(),
]


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """Give the path of every value in JSON data, the whole included."""
    yield ()
    members = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if type(value) is tuple else ()
    )
    for key, member in members:
        yield from ((key, *path) for path in places(member))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Give JSON data with another value in one place."""
    if not path:
        return new
    key, *rest = path
    inner = replaced(value[key], tuple(rest), new)
    if isinstance(value, Mapping):
        return FrozenMap({**value, key: inner})
    return (*value[:key], inner, *value[key + 1 :])


def same(one: Any, other: Any) -> bool:
    """Compare JSON data by type and value: True is not 1, a list no tuple."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return set(one) == set(other) and all(same(one[name], other[name]) for name in one)
    if type(one) is tuple and type(other) is tuple:
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def reject(kind: Any, name: Any, data: Any) -> None:
    """Demand a typed error, or a rule that spells itself exactly so."""
    try:
        rule: Any = rebuild_rule(kind, name, data)
    except InvalidValue:
        return
    assert same(rule.to_data(), data)


@pytest.mark.parametrize("rule", EXAMPLES, ids=lambda rule: rule.kind)
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:20])
def test_hostile_value_in_any_place(rule: Any, value: Any) -> None:
    """Whatever stands in whatever place: `InvalidValue`, or exactly what was given."""
    for path in places(rule.to_data()):
        reject(rule.kind, rule.name, replaced(rule.to_data(), path, value))
    reject(rule.kind, value, rule.to_data())


@pytest.mark.parametrize("rule", EXAMPLES, ids=lambda rule: rule.kind)
def test_members_are_exact(rule: Any) -> None:
    """No member may be missing, added or renamed, at any level."""
    data = rule.to_data()
    for path in places(data):
        inner: Any = data
        for key in path:
            inner = inner[key]
        if not isinstance(inner, Mapping):
            continue
        for changed in (
            {**inner, "extra": None},
            *({k: v for k, v in inner.items() if k != name} for name in inner),
            *({k.upper(): v for k, v in inner.items()} for _ in "x"),
        ):
            with pytest.raises(InvalidValue):
                rebuild_rule(rule.kind, rule.name, replaced(data, path, FrozenMap(changed)))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("entry_limit", {"amount": "1.50", "asset": "USDT"}),
        ("entry_limit", {"amount": "01", "asset": "USDT"}),
        ("allowed_assets", {"assets": ("USDT", "BTC")}),
        ("allowed_assets", {"assets": ("BTC", "BTC")}),
        ("allowed_assets", {"assets": ()}),
        ("deny_list", {"owners": ("SYSTEM:A", "ALICE")}),
        ("deny_list", {"owners": ["ALICE"]}),
        ("deny_list", {"owners": "ALICE"}),
        ("asset_registry", {"assets": (FrozenMap({"asset": "A", "decimals": True}),)}),
        ("asset_registry", {"assets": (FrozenMap({"asset": "A", "decimals": 9}),)}),
        ("asset_registry", {"assets": (FrozenMap({"asset": "A", "decimals": 1}),) * 2}),
    ],
)
def test_spellings_that_are_not_the_one(kind: str, data: dict[str, Any]) -> None:
    """What a caller may say in many ways, data say in one."""
    with pytest.raises(InvalidValue):
        rebuild_rule(kind, "rule/1", data)


@pytest.mark.parametrize("microseconds", [0, -1, 366 * 86_400 * 10**6 + 1, True, 1.0, "1", None])
def test_windows_in_data(microseconds: Any) -> None:
    """A window is an integer of microseconds, above 0 and at most 366 days."""
    data = {"amount": "1", "asset": "A", "owners": None, "window_microseconds": microseconds}
    with pytest.raises(InvalidValue):
        rebuild_rule("spending_limit", "limit/1", data)
    right = {**data, "window_microseconds": 366 * 86_400 * 10**6}
    assert rebuild_rule("spending_limit", "limit/1", right).name == "limit/1"


@pytest.mark.parametrize("kind", ["", "nothing", "EntryLimit", None, 5, [], b"entry_limit"])
def test_unknown_kinds(kind: Any) -> None:
    """A kind that no version has shipped is refused, and so is what is no text."""
    with pytest.raises(InvalidValue):
        rebuild_rule(kind, "limit/1", {"amount": "1", "asset": "A"})


def test_data_of_the_largest_size() -> None:
    """A rule holds as much as a record's share, and not a byte more."""
    names = [f"A{number:030d}" for number in range(MAX_RULE_DATA_BYTES // 34)]
    while len(canonical_text({"owners": names}).encode()) > MAX_RULE_DATA_BYTES:
        names.pop()
    names[-1] += "0" * (MAX_RULE_DATA_BYTES - len(canonical_text({"owners": names}).encode()))
    rule = DenyList(owners=names)
    assert rebuild_rule(rule.kind, rule.name, rule.to_data()) == rule
    assert thaw(freeze(rule.to_data(), BODY_LIMITS)) == {"owners": names}
    with pytest.raises(InvalidValue, match="at most 32768 fit"):
        DenyList(owners=[*names[:-1], names[-2] + "0" * (len(names[-1]) - 30)])
    assert AssetRegistry.iso4217().kind == "asset_registry"  # all currencies fit
