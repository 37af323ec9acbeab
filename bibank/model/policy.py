"""Policies: how many keys of which role must agree, and to what. A keyring has one for every purpose.

>>> policy = Policy(
...     role=Role.OPERATOR,
...     threshold=2,
...     approvals=ApprovalTerms(
...         thresholds={AdjustmentPurpose.CAPITAL: 3}, withdrawals_above=("10000 USDT",)
...     ),
... )
>>> policy.approvals_for(AdjustmentPurpose.CORRECTION), policy.approvals_for(AdjustmentPurpose.CAPITAL)
(2, 3)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from types import MappingProxyType

import attrs

from bibank.errors import InvalidType, InvalidValue, excerpt
from bibank.model.json_members import exact_items, exact_members, pick
from bibank.model.json_value import EMPTY_MAP, FrozenMap, JsonValue
from bibank.model.money import Money

MAX_THRESHOLD = 15
"""Signatures that a policy can ask for: one less than a line can carry."""

DEFAULT_EXPIRY_SECONDS = 7 * 86_400
"""How long a proposal waits for approvals where no policy says: a week, holidays included."""

MAX_EXPIRY_SECONDS = 366 * 86_400
"""A year: whoever still wants it then proposes it again."""

_PAIR = 2

MAX_LIMITED_ASSETS = 256
"""Assets whose withdrawals a policy limits."""


class Purpose(Enum):
    """What a policy speaks about."""

    LINE = "line"
    CHECKPOINT = "checkpoint"
    ADJUSTMENT = "adjustment"
    PERMIT = "permit"
    RULES = "rules"
    KEYRING = "keyring"
    SNAPSHOT = "snapshot"


class Role(Enum):
    """What a key is trusted for."""

    SYSTEM = "system"
    OPERATOR = "operator"
    OWNER = "owner"


class AdjustmentPurpose(Enum):
    """What an adjustment is for: each purpose may need another number of approvals."""

    CAPITAL = "CAPITAL"
    EXPENSE = "EXPENSE"
    REVENUE_PAYOUT = "REVENUE_PAYOUT"
    CORRECTION = "CORRECTION"


def _check_expiry(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidType(f"expires_after_seconds is an int, not {type(value).__name__}")
    if not 1 <= value <= MAX_EXPIRY_SECONDS:
        raise InvalidValue(f"expires_after_seconds is {excerpt(value)}, not 1 to {MAX_EXPIRY_SECONDS}")
    return int(value)


def check_threshold(value: object, purpose: Purpose) -> int:
    """Return how many signatures a policy asks for; `InvalidValue` for more than a line can carry."""
    highest = 1 if purpose is Purpose.LINE else MAX_THRESHOLD
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= highest:
        raise InvalidValue(f"the threshold for {purpose.value} is {excerpt(value)}, not 0 to {highest}")
    return value


def _check_role(value: object) -> Role:
    if not isinstance(value, Role):
        raise InvalidType(f"role is a Role, not {excerpt(value)}")
    return value


def _check_any_threshold(value: object) -> int:
    return check_threshold(value, Purpose.KEYRING)


def _check_terms(value: object) -> ApprovalTerms | None:
    if value is not None and type(value) is not ApprovalTerms:
        raise InvalidType(f"approvals are ApprovalTerms or None, not {type(value).__name__}")
    return value


def _check_thresholds(value: object) -> tuple[tuple[AdjustmentPurpose, int], ...]:
    pairs = value.items() if isinstance(value, Mapping) else value
    if not isinstance(pairs, Iterable) or isinstance(pairs, str):
        raise InvalidType(f"thresholds map adjustment purposes to numbers, not {type(value).__name__}")
    found: dict[AdjustmentPurpose, int] = {}
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != _PAIR or not isinstance(pair[0], AdjustmentPurpose):
            raise InvalidType(f"a threshold is for an AdjustmentPurpose, not {excerpt(pair)}")
        if pair[0] in found:
            raise InvalidValue(f"there are two thresholds for {pair[0].value}")
        found[pair[0]] = check_threshold(pair[1], Purpose.ADJUSTMENT)
    return tuple(sorted(found.items(), key=lambda item: str(item[0].value)))


def _check_limits(value: object) -> tuple[Money, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvalidType("withdrawals_above is a sequence of sums, such as ['10000 USDT']")
    limits = tuple(sorted(map(Money.of, value), key=lambda money: money.asset))
    if len({money.asset for money in limits}) != len(limits):
        raise InvalidValue("withdrawals_above names an asset twice")
    if len(limits) > MAX_LIMITED_ASSETS:
        raise InvalidValue(f"{len(limits)} assets; withdrawals are limited in at most {MAX_LIMITED_ASSETS}")
    return limits


@attrs.frozen(kw_only=True)
class ApprovalTerms:
    """What the policy for adjustments says further about approvals.

    `thresholds` overrule the policy's own for a purpose; given as a mapping, kept as sorted pairs. A
    withdrawal of more than a sum of `withdrawals_above` needs what the policy's own threshold asks for.
    """

    expires_after_seconds: int = attrs.field(converter=_check_expiry, default=DEFAULT_EXPIRY_SECONDS)
    thresholds: tuple[tuple[AdjustmentPurpose, int], ...] = attrs.field(
        converter=_check_thresholds, default=()
    )
    withdrawals_above: tuple[Money, ...] = attrs.field(converter=_check_limits, default=())

    def to_body(self) -> FrozenMap:
        """Give the JSON members."""
        return FrozenMap(
            {
                "expires_after_seconds": self.expires_after_seconds,
                "thresholds": tuple(
                    FrozenMap({"purpose": purpose.value, "threshold": threshold})
                    for purpose, threshold in self.thresholds
                ),
                "withdrawals_above": tuple(map(str, self.withdrawals_above)),
            }
        )

    @classmethod
    def from_body(cls, body: JsonValue) -> ApprovalTerms:
        """Read what :meth:`to_body` gives; `InvalidType` or `InvalidValue` for anything else."""
        members = exact_members(
            body, {"expires_after_seconds", "thresholds", "withdrawals_above"}, "set of approval terms"
        )
        rows = [
            exact_members(item, {"purpose", "threshold"}, "threshold")
            for item in exact_items(members["thresholds"])
        ]
        thresholds = [(pick(AdjustmentPurpose, row["purpose"]), row["threshold"]) for row in rows]
        limits = exact_items(members["withdrawals_above"])
        if not all(isinstance(limit, str) for limit in limits):
            raise InvalidValue("withdrawals_above lists sums as text")
        terms = cls(
            expires_after_seconds=members["expires_after_seconds"],
            thresholds=thresholds,
            withdrawals_above=limits,
        )
        if terms.to_body() != body:
            raise InvalidValue("the terms of approval are not spelled canonically")
        return terms


@attrs.frozen(kw_only=True)
class Policy:
    """How many keys of a role must sign, from which sequence on. Threshold 0 asks for none.

    `approvals` says more about adjustments, and only that policy has it.
    """

    role: Role = attrs.field(converter=_check_role)
    threshold: int = attrs.field(converter=_check_any_threshold)
    mandatory_from: int = 1
    approvals: ApprovalTerms | None = attrs.field(converter=_check_terms, default=None)

    @property
    def expiry_seconds(self) -> int:
        """How long a proposal waits for approvals."""
        return DEFAULT_EXPIRY_SECONDS if self.approvals is None else self.approvals.expires_after_seconds

    def approvals_for(self, purpose: AdjustmentPurpose | None) -> int:
        """Tell how many approvals an adjustment of a purpose needs; None is a withdrawal above its limit."""
        if purpose is None or self.approvals is None:
            return self.threshold
        return dict(self.approvals.thresholds).get(purpose, self.threshold)

    @property
    def most_approvals(self) -> int:
        """How many approvals the most guarded of all entries needs."""
        own = () if self.approvals is None else self.approvals.thresholds
        return max([self.threshold, *(threshold for _, threshold in own)])

    @property
    def withdrawal_limits(self) -> Mapping[str, int]:
        """Up to how many units an entry may withdraw of an asset without approvals."""
        limits = () if self.approvals is None else self.approvals.withdrawals_above
        return {money.asset: money.amount.units for money in limits}


Policies = Mapping[Purpose, Policy]


def check_policies(policies: Policies) -> None:
    """Refuse policies that contradict themselves; `InvalidValue` says how."""
    for purpose, policy in policies.items():
        check_threshold(policy.threshold, purpose)
        if policy.approvals is None:
            continue
        if purpose is not Purpose.ADJUSTMENT:
            raise InvalidValue(f"terms of approval belong to the policy for adjustments, not {purpose.value}")
        if policy.withdrawal_limits and not policy.threshold:
            raise InvalidValue("withdrawals above a sum would need 0 approvals; the threshold is 1 or more")


def check_change(before: Policy, after: Policy) -> None:
    """Refuse to give up approvals that were asked for: that is decided when a ledger is made."""
    for purpose in AdjustmentPurpose:
        if before.approvals_for(purpose) and not after.approvals_for(purpose):
            raise InvalidValue(
                f"adjustments for {purpose.value} need approvals; that they need none can be decided only "
                "in the keyring that a ledger is made with"
            )


def first_policies_body(policies: Policies) -> FrozenMap:
    """Give the JSON members of the policies of version 1, which is mandatory from the first line on."""
    return FrozenMap(
        {
            purpose.value: FrozenMap({**_policy_members(policy), "mandatory_from": 1})
            for purpose, policy in policies.items()
        }
    )


def changed_policies_body(policies: Policies) -> FrozenMap:
    """Give the JSON members of the policies of a change, mandatory from its record's sequence."""
    return FrozenMap(
        {purpose.value: FrozenMap(_policy_members(policy)) for purpose, policy in policies.items()}
    )


def _policy_members(policy: Policy) -> dict[str, JsonValue]:
    members: dict[str, JsonValue] = {"role": policy.role.value, "threshold": policy.threshold}
    if policy.approvals is not None:
        members["approvals"] = policy.approvals.to_body()
    return members


def read_policies(body: JsonValue, *, names: set[str]) -> dict[Purpose, Policy]:
    """Read policies whose members are these, and perhaps terms of approval; `InvalidValue` otherwise."""
    if not isinstance(body, FrozenMap):
        raise InvalidValue("policies are an object")
    policies: dict[Purpose, Policy] = {}
    for name, value in body.items():
        purpose = pick(Purpose, name)
        has_terms = isinstance(value, FrozenMap) and "approvals" in value
        members = exact_members(value, names | {"approvals"} if has_terms else names, "policy")
        first = members.get("mandatory_from", 1)
        if isinstance(first, bool) or first != 1:
            raise InvalidValue("the policies of version 1 are mandatory from line 1")
        policies[purpose] = Policy(
            role=pick(Role, members["role"]),
            threshold=check_threshold(members["threshold"], purpose),
            approvals=ApprovalTerms.from_body(members.get("approvals", EMPTY_MAP)) if has_terms else None,
        )
    check_policies(policies)
    return policies


def _table(**policies: tuple[Role, int]) -> Policies:
    return MappingProxyType(
        {
            Purpose(name): Policy(role=role, threshold=threshold)
            for name, (role, threshold) in policies.items()
        }
    )


UNSIGNED_POLICIES: Policies = _table(
    line=(Role.SYSTEM, 0),
    checkpoint=(Role.SYSTEM, 0),
    adjustment=(Role.OPERATOR, 1),
    permit=(Role.OWNER, 0),
    rules=(Role.SYSTEM, 0),
    keyring=(Role.SYSTEM, 0),
    snapshot=(Role.SYSTEM, 0),
)
"""Of a ledger without keys."""

SIGNED_POLICIES: Policies = _table(
    line=(Role.SYSTEM, 1),
    checkpoint=(Role.SYSTEM, 1),
    adjustment=(Role.OPERATOR, 2),
    permit=(Role.OWNER, 1),
    rules=(Role.OPERATOR, 1),
    keyring=(Role.OPERATOR, 1),
    snapshot=(Role.SYSTEM, 1),
)
"""Of a ledger with a system key, which stands in for keyring changes until an operator's key is added."""
