"""Adopted rules and the objects that judge: which rule stands for which recorded data.

Shipped rules are rebuilt from what the journal recorded; a host's own have to be supplied, and are held
to their recorded kind and data.
"""

from __future__ import annotations

from collections.abc import Iterable

from bibank.errors import InvalidValue
from bibank.journal.rule_sets import AdoptedRule
from bibank.model.json_value import BODY_LIMITS, EMPTY_MAP, freeze
from bibank.risk.recorded import RecordedRule
from bibank.risk.rule import RiskRule
from bibank.risk.shipped import SHIPPED_RULES, rebuild_rule

HOST_KIND = "host"
"""The kind of a rule that says nothing about itself but its name."""


def recorded(rule: RiskRule) -> AdoptedRule:
    """Write a rule down; a kind of `InvalidInput` for data that the format cannot hold."""
    if isinstance(rule, RecordedRule):
        return AdoptedRule(name=rule.name, kind=rule.kind, data=freeze(rule.to_data(), BODY_LIMITS))
    return AdoptedRule(name=rule.name, kind=HOST_KIND, data=EMPTY_MAP)


class Supply:
    """The rule objects at hand, by what they are recorded as."""

    def __init__(self, rules: Iterable[RiskRule] = ()) -> None:
        self._rules: dict[tuple[str, str], RiskRule] = {}
        self.add(rules)

    def add(self, rules: Iterable[RiskRule]) -> None:
        """Have more rules at hand."""
        for rule in rules:
            adopted = recorded(rule)
            self._rules[adopted.name, adopted.hash] = rule

    def copy(self) -> Supply:
        """Give a supply of its own."""
        other = Supply()
        other._rules = dict(self._rules)
        return other

    def find(self, adopted: AdoptedRule) -> RiskRule | None:
        """Find the rule that was recorded, or rebuild it; None when it has to be supplied."""
        supplied = self._rules.get((adopted.name, adopted.hash))
        if supplied is not None or adopted.kind not in SHIPPED_RULES:
            return supplied
        try:
            return rebuild_rule(adopted.kind, adopted.name, adopted.data)
        except InvalidValue:
            return None

    def strangers(self, adopted: Iterable[AdoptedRule]) -> tuple[str, ...]:
        """Name the rules at hand that a set does not have, or has with other data."""
        known = {(rule.name, rule.hash) for rule in adopted}
        return tuple(sorted(name for name, digest in self._rules if (name, digest) not in known))
