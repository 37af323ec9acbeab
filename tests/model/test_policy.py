"""Policies: what their terms say, what contradicts itself, and the one spelling that they have."""

from __future__ import annotations

import hashlib
from typing import Any

import attrs
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from bibank.errors import InvalidInput, InvalidMoney, InvalidType, InvalidValue
from bibank.model.json_value import BODY_LIMITS, FrozenMap, canonical_text, freeze, thaw
from bibank.model.keyring import Keyring, KeyringChange
from bibank.model.money import Money
from bibank.model.policy import (
    DEFAULT_EXPIRY_SECONDS,
    MAX_EXPIRY_SECONDS,
    MAX_LIMITED_ASSETS,
    MAX_THRESHOLD,
    SIGNED_POLICIES,
    UNSIGNED_POLICIES,
    AdjustmentPurpose,
    ApprovalTerms,
    Policy,
    Purpose,
    Role,
    changed_policies_body,
    check_change,
    check_policies,
    check_threshold,
    first_policies_body,
    read_policies,
)
from bibank.testing.strategies import money

CAPITAL, CORRECTION = AdjustmentPurpose.CAPITAL, AdjustmentPurpose.CORRECTION

_terms = st.builds(
    ApprovalTerms,
    expires_after_seconds=st.integers(1, MAX_EXPIRY_SECONDS),
    thresholds=st.dictionaries(st.sampled_from(AdjustmentPurpose), st.integers(0, MAX_THRESHOLD)),
    withdrawals_above=st.lists(money(), unique_by=lambda sum_: sum_.asset, max_size=4),
)
_policies = st.fixed_dictionaries(
    {},
    optional={
        purpose: st.builds(
            Policy,
            role=st.sampled_from(Role),
            threshold=st.integers(1, 1 if purpose is Purpose.LINE else MAX_THRESHOLD),
            approvals=st.one_of(st.none(), _terms) if purpose is Purpose.ADJUSTMENT else st.none(),
        )
        for purpose in Purpose
    },
)


def frozen(value: object) -> Any:
    """JSON as it is read from a body."""
    return freeze({"value": value}, BODY_LIMITS)["value"]


@given(_terms)
def test_terms_come_back(terms: ApprovalTerms) -> None:
    """What they are written as reads back equal, and only as that."""
    body = terms.to_body()
    assert ApprovalTerms.from_body(frozen(thaw(body))) == terms
    assert [row["purpose"] for row in thaw(body)["thresholds"]] == sorted(
        purpose.value for purpose, _ in terms.thresholds
    )
    assert canonical_text(body) == rfc8785.dumps(thaw(body)).decode()


@given(_policies, st.booleans())
def test_policies_come_back(policies: dict[Purpose, Policy], first: bool) -> None:  # noqa: FBT001 - drawn
    """In both spellings: of version 1, with the line from which they are mandatory, and of a change."""
    body = first_policies_body(policies) if first else changed_policies_body(policies)
    names = {"mandatory_from", "role", "threshold"} if first else {"role", "threshold"}
    assert read_policies(frozen(thaw(body)), names=names) == policies
    for purpose, policy in policies.items():
        assert ("approvals" in thaw(body)[purpose.value]) is (policy.approvals is not None)


@given(_terms, st.integers(1, MAX_THRESHOLD))
def test_how_many_approvals(terms: ApprovalTerms, threshold: int) -> None:
    """The terms say it for a purpose, and the policy for the others and for withdrawals."""
    policy = Policy(role=Role.OPERATOR, threshold=threshold, approvals=terms)
    for purpose in AdjustmentPurpose:
        assert policy.approvals_for(purpose) == dict(terms.thresholds).get(purpose, threshold)
    assert policy.approvals_for(None) == threshold
    assert policy.expiry_seconds == terms.expires_after_seconds
    assert policy.withdrawal_limits == {sum_.asset: sum_.amount.units for sum_ in terms.withdrawals_above}


def test_a_policy_without_terms() -> None:
    """A week, the same number for every purpose, and no limit of withdrawals; it is not in the bytes."""
    policy = SIGNED_POLICIES[Purpose.ADJUSTMENT]
    assert {policy.approvals_for(purpose) for purpose in (*AdjustmentPurpose, None)} == {2}
    assert (policy.expiry_seconds, policy.withdrawal_limits) == (7 * 86_400, {})
    assert policy.expiry_seconds == DEFAULT_EXPIRY_SECONDS == ApprovalTerms().expires_after_seconds
    body = thaw(first_policies_body(SIGNED_POLICIES))
    assert body["adjustment"] == {"mandatory_from": 1, "role": "operator", "threshold": 2}
    terms = Policy(role=Role.OPERATOR, threshold=2, approvals=ApprovalTerms())
    assert thaw(changed_policies_body({Purpose.ADJUSTMENT: terms})) == {
        "adjustment": {
            "approvals": {"expires_after_seconds": 604_800, "thresholds": [], "withdrawals_above": []},
            "role": "operator",
            "threshold": 2,
        }
    }


def test_the_two_tables_of_policies() -> None:
    """Without keys everything takes nobody but an adjustment, which nobody can give; with one, it does."""
    assert {purpose: policy.threshold for purpose, policy in UNSIGNED_POLICIES.items()} == {
        purpose: int(purpose is Purpose.ADJUSTMENT) for purpose in Purpose
    }
    assert {
        purpose.value: (policy.role.value, policy.threshold) for purpose, policy in SIGNED_POLICIES.items()
    } == {
        "line": ("system", 1),
        "checkpoint": ("system", 1),
        "adjustment": ("operator", 2),
        "permit": ("owner", 1),
        "rules": ("operator", 1),
        "keyring": ("operator", 1),
        "snapshot": ("system", 1),
    }


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"expires_after_seconds": 0}, InvalidValue),
        ({"expires_after_seconds": -1}, InvalidValue),
        ({"expires_after_seconds": MAX_EXPIRY_SECONDS + 1}, InvalidValue),
        ({"expires_after_seconds": True}, InvalidType),
        ({"expires_after_seconds": 60.0}, InvalidType),
        ({"expires_after_seconds": "60"}, InvalidType),
        ({"expires_after_seconds": None}, InvalidType),
        ({"thresholds": [(CAPITAL, 1, 2)]}, InvalidType),
        ({"thresholds": [(CAPITAL, 1), (CAPITAL, 2)]}, InvalidValue),
        ({"thresholds": "CAPITAL"}, InvalidType),
        ({"thresholds": None}, InvalidType),
        ({"thresholds": {"CAPITAL": 1}}, InvalidType),
        ({"thresholds": {CAPITAL: -1}}, InvalidValue),
        ({"thresholds": {CAPITAL: MAX_THRESHOLD + 1}}, InvalidValue),
        ({"thresholds": {CAPITAL: True}}, InvalidValue),
        ({"thresholds": {CAPITAL: "1"}}, InvalidValue),
        ({"withdrawals_above": "10 USDT"}, InvalidType),
        ({"withdrawals_above": {"USDT": 1}}, InvalidType),
        ({"withdrawals_above": None}, InvalidType),
        ({"withdrawals_above": ["10"]}, InvalidMoney),
        ({"withdrawals_above": [10]}, InvalidType),
        ({"withdrawals_above": ["10 USDT", "11 USDT"]}, InvalidValue),
        ({"withdrawals_above": [f"1 A{n}" for n in range(MAX_LIMITED_ASSETS + 1)]}, InvalidValue),
    ],
)
def test_terms_of_wrong_parts(fields: dict[str, Any], error: type[Exception]) -> None:
    """Each part has its typed error."""
    with pytest.raises(error):
        ApprovalTerms(**fields)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"role": "operator"}, InvalidType),
        ({"role": None}, InvalidType),
        ({"threshold": True}, InvalidValue),
        ({"threshold": -1}, InvalidValue),
        ({"threshold": MAX_THRESHOLD + 1}, InvalidValue),
        ({"approvals": {"expires_after_seconds": 1}}, InvalidType),
        ({"approvals": "x"}, InvalidType),
    ],
)
def test_a_policy_of_wrong_parts(fields: dict[str, Any], error: type[Exception]) -> None:
    """Role, threshold and terms have their types and their range."""
    with pytest.raises(error):
        Policy(**{"role": Role.OPERATOR, "threshold": 1, **fields})


def test_terms_at_their_limits() -> None:
    """The longest time, the most approvals and the most assets pass; a caller's own mapping is copied."""
    thresholds = {CAPITAL: MAX_THRESHOLD, CORRECTION: 0}
    terms = ApprovalTerms(
        expires_after_seconds=MAX_EXPIRY_SECONDS,
        thresholds=thresholds,
        withdrawals_above=[Money(n + 1, f"A{n}") for n in range(MAX_LIMITED_ASSETS)],
    )
    thresholds.clear()
    assert dict(terms.thresholds) == {CAPITAL: MAX_THRESHOLD, CORRECTION: 0}
    assert hash(terms) == hash(attrs.evolve(terms))
    assert [sum_.asset for sum_ in terms.withdrawals_above] == sorted(
        f"A{n}" for n in range(MAX_LIMITED_ASSETS)
    )
    assert ApprovalTerms.from_body(frozen(thaw(terms.to_body()))) == terms


GOOD: dict[str, Any] = {
    "expires_after_seconds": 60,
    "thresholds": [{"purpose": "CAPITAL", "threshold": 3}, {"purpose": "CORRECTION", "threshold": 1}],
    "withdrawals_above": ["5 EUR", "10 USDT"],
}
ONE = {"purpose": "CAPITAL", "threshold": 3}
OTHER_THRESHOLDS: list[Any] = [
    None,
    {},
    "x",
    ["CAPITAL"],
    GOOD["thresholds"][::-1],
    [ONE, ONE],
    [{**ONE, "more": 1}],
    [{"purpose": "CAPITAL"}],
    [{**ONE, "purpose": "capital"}],
    [{**ONE, "purpose": None}],
    [{**ONE, "threshold": True}],
    [{**ONE, "threshold": 16}],
    [{**ONE, "threshold": "3"}],
]
OTHER_LIMITS: list[Any] = [
    None,
    "10 USDT",
    [10],
    ["10 USDT", "5 EUR"],
    ["5 EUR", "5 EUR"],
    ["5.0 EUR"],
    ["05 EUR"],
    ["5  EUR"],
    ["5 eur"],
    ["-5 EUR"],
    [None],
]
SPELLINGS: list[Any] = [
    *({name: value for name, value in GOOD.items() if name != left_out} for left_out in GOOD),
    {**GOOD, "more": 1},
    *({**GOOD, "expires_after_seconds": value} for value in (0, True, None, "60", 2**62)),
    *({**GOOD, "thresholds": listed} for listed in OTHER_THRESHOLDS),
    *({**GOOD, "withdrawals_above": listed} for listed in OTHER_LIMITS),
    None,
    [],
    "x",
    {},
]


@pytest.mark.parametrize("body", SPELLINGS, ids=repr)
def test_other_spellings_of_terms(body: Any) -> None:
    """Missing, added, wrongly typed and otherwise spelled members are refused, in terms and around them."""
    assert thaw(ApprovalTerms.from_body(frozen(GOOD)).to_body()) == GOOD
    with pytest.raises(InvalidInput):
        ApprovalTerms.from_body(frozen(body))
    whole = {"adjustment": {"approvals": body, "role": "operator", "threshold": 2}}
    with pytest.raises(InvalidInput):
        read_policies(frozen(whole), names={"role", "threshold"})


POLICY = {"mandatory_from": 1, "role": "operator", "threshold": 2}


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {"adjustments": POLICY},
        {"adjustment": None},
        {"adjustment": {**POLICY, "more": 1}},
        {"adjustment": {"role": "operator", "threshold": 2}},
        {"adjustment": {**POLICY, "mandatory_from": 2}},
        {"adjustment": {**POLICY, "mandatory_from": True}},
        {"adjustment": {**POLICY, "mandatory_from": "1"}},
        {"adjustment": {**POLICY, "role": "Operator"}},
        {"adjustment": {**POLICY, "role": ["operator"]}},
        {"adjustment": {**POLICY, "threshold": True}},
        {"adjustment": {**POLICY, "threshold": "2"}},
        {"adjustment": {**POLICY, "threshold": -1}},
        {"adjustment": {**POLICY, "threshold": 16}},
        {"adjustment": {**POLICY, "threshold": None}},
        {"line": {**POLICY, "threshold": 2}},
        {"line": {**POLICY, "threshold": 1, "approvals": GOOD}},
        {"rules": {**POLICY, "approvals": GOOD}},
        {"adjustment": {**POLICY, "threshold": 0, "approvals": GOOD}},
    ],
    ids=repr,
)
def test_other_spellings_of_policies(body: Any) -> None:
    """A policy has exactly its members, and terms of approval belong to adjustments."""
    assert read_policies(frozen({"adjustment": POLICY}), names=set(POLICY)) == {
        Purpose.ADJUSTMENT: Policy(role=Role.OPERATOR, threshold=2)
    }
    with pytest.raises(InvalidValue):
        read_policies(frozen(body), names=set(POLICY))


def test_thresholds_fit_into_a_line() -> None:
    """A line is signed by one, everything else by up to fifteen."""
    for purpose in Purpose:
        highest = 1 if purpose is Purpose.LINE else 15
        assert [check_threshold(n, purpose) for n in (0, highest)] == [0, highest]
        for wrong in (highest + 1, -1, True, False, "1", None, 1.0):
            with pytest.raises(InvalidValue):
                check_threshold(wrong, purpose)


def test_policies_that_contradict_themselves() -> None:
    """Terms elsewhere than with adjustments, and a limit whose withdrawals would need nobody."""
    terms = ApprovalTerms(withdrawals_above=("1 USDT",))
    check_policies({Purpose.ADJUSTMENT: Policy(role=Role.OPERATOR, threshold=1, approvals=terms)})
    check_policies({Purpose.ADJUSTMENT: Policy(role=Role.OPERATOR, threshold=0, approvals=ApprovalTerms())})
    with pytest.raises(InvalidValue, match="would need 0 approvals"):
        check_policies({Purpose.ADJUSTMENT: Policy(role=Role.OPERATOR, threshold=0, approvals=terms)})
    for purpose in set(Purpose) - {Purpose.ADJUSTMENT}:
        with pytest.raises(InvalidValue, match="belong to the policy for adjustments"):
            check_policies({purpose: Policy(role=Role.OPERATOR, threshold=1, approvals=terms)})
        with pytest.raises(InvalidValue, match="belong to the policy for adjustments"):
            Keyring.first(
                (), {**UNSIGNED_POLICIES, purpose: Policy(role=Role.SYSTEM, threshold=0, approvals=terms)}
            )


def adjusted(threshold: int, **purposes: int) -> Policy:
    """A policy for adjustments."""
    terms = ApprovalTerms(thresholds={AdjustmentPurpose[name]: number for name, number in purposes.items()})
    return Policy(role=Role.OPERATOR, threshold=threshold, approvals=terms if purposes else None)


@pytest.mark.parametrize(
    ("before", "after", "passes"),
    [
        (adjusted(2), adjusted(1), True),
        (adjusted(2), adjusted(15), True),
        (adjusted(2), adjusted(0), False),
        (adjusted(2), adjusted(0, CAPITAL=1), False),
        (adjusted(2), adjusted(2, CAPITAL=0), False),
        (adjusted(2, CAPITAL=0), adjusted(2, CAPITAL=0), True),
        (adjusted(2, CAPITAL=0), adjusted(2, CORRECTION=0), False),
        (adjusted(2, CAPITAL=0), adjusted(2), True),
        (adjusted(0), adjusted(0), True),
        (adjusted(0), adjusted(0, CAPITAL=1), True),
        (adjusted(0, CAPITAL=1, EXPENSE=1, REVENUE_PAYOUT=1, CORRECTION=1), adjusted(0), False),
    ],
)
def test_no_purpose_is_given_up(before: Policy, after: Policy, passes: bool) -> None:  # noqa: FBT001 - a table
    """A change may lower a number, and not to 0 what was above it."""
    keyring = Keyring.first((), {**UNSIGNED_POLICIES, Purpose.ADJUSTMENT: before})
    change = KeyringChange(policies={Purpose.ADJUSTMENT: after})
    if passes:
        check_change(before, after)
        changed = keyring.changed(change, sequence=9).policies[Purpose.ADJUSTMENT]
        assert (changed.threshold, changed.approvals, changed.mandatory_from) == (
            after.threshold,
            after.approvals,
            9,
        )
        return
    with pytest.raises(InvalidValue, match="need approvals; that they need none"):
        check_change(before, after)
    with pytest.raises(InvalidValue, match="need approvals; that they need none"):
        keyring.changed(change, sequence=9)


@given(_terms)
def test_a_keyring_with_terms_is_hashed_with_them(terms: ApprovalTerms) -> None:
    """They stand in its body, which reads back, and whose hash is that of `rfc8785` and `hashlib`."""
    from bibank.journal.genesis import keyring_hash

    policy = Policy(role=Role.OPERATOR, threshold=1, approvals=terms)
    keyring = Keyring.first((), {**UNSIGNED_POLICIES, Purpose.ADJUSTMENT: policy})
    body = thaw(FrozenMap(keyring.to_body()))
    assert body["policies"]["adjustment"]["approvals"] == thaw(terms.to_body())
    assert Keyring.from_body(frozen(body)) == keyring
    assert keyring_hash(keyring) == hashlib.sha256(rfc8785.dumps(body)).hexdigest()
