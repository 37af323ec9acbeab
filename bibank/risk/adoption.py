"""Adopted rules and the objects that judge: which rule stands for which recorded data.

Shipped rules are rebuilt from what the journal recorded; a host's own have to be supplied, and are held
to their recorded kind and data.
"""

from __future__ import annotations

from collections.abc import Iterable

from bibank.errors import ConfigurationError, InvalidValue, excerpt
from bibank.journal.rule_sets import AdoptedRule
from bibank.model.json_value import BODY_LIMITS, EMPTY_MAP, freeze
from bibank.risk.recorded import RecordedRule
from bibank.risk.rule import RiskRule
from bibank.risk.shipped import SHIPPED_RULES, rebuild_rule

HOST_KIND = "host"
"""The kind of a rule that says nothing about itself but its name."""


def recorded(rule: RiskRule) -> AdoptedRule:
    """Write a rule down.

    Raises `ConfigurationError` for data that cannot be given, or that the format cannot hold, and for a
    rule that takes the kind of a shipped one without being it: it would be rebuilt as that one.
    """
    if isinstance(rule, RecordedRule):
        own: type = type(rule)
        if rule.kind == HOST_KIND or SHIPPED_RULES.get(rule.kind, own) is not own:
            raise ConfigurationError(
                f"rule {rule.name} is a {own.__name__} and has kind {excerpt(rule.kind)}, "
                "which is not its own; give it another kind"
            )
        try:
            return AdoptedRule(name=rule.name, kind=rule.kind, data=freeze(rule.to_data(), BODY_LIMITS))
        except Exception as error:
            raise ConfigurationError(f"rule {rule.name} gives no data to record: {error}") from error
    return AdoptedRule(name=rule.name, kind=HOST_KIND, data=EMPTY_MAP)


class Supply:
    """The rule objects at hand, by what they are recorded as."""

    def __init__(self, rules: Iterable[RiskRule] = ()) -> None:
        self._rules: dict[tuple[str, str], RiskRule] = {}
        self.add(rules)

    def add(self, rules: Iterable[RiskRule]) -> tuple[AdoptedRule, ...]:
        """Have more rules at hand, and write them down: once, for they may answer otherwise the next time."""
        written = [(recorded(rule), rule) for rule in rules]
        self._rules.update({(adopted.name, adopted.hash): rule for adopted, rule in written})
        return tuple(adopted for adopted, _ in written)

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
