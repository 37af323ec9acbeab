"""The shipped rules by kind: how a rule that the journal recorded becomes a rule again.

>>> from bibank.model.json_value import FrozenMap
>>> rebuild_rule("allowed_assets", "allowed-assets/1", FrozenMap({"assets": ("BTC", "USDT")}))
AllowedAssets(name='allowed-assets/1', assets=('BTC', 'USDT'))
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Protocol

from bibank.errors import InvalidValue, excerpt
from bibank.model.entry import UnsignedEntry
from bibank.model.json_value import JsonValue
from bibank.risk.allowed_assets import AllowedAssets
from bibank.risk.asset_registry import AssetRegistry
from bibank.risk.entry_limit import EntryLimit
from bibank.risk.party_lists import AllowList, DenyList
from bibank.risk.recorded import read_text
from bibank.risk.rule import Refusal, RiskRule
from bibank.risk.spending_limit import SpendingLimit
from bibank.risk.view import RiskView


class ShippedRule(Protocol):
    """A rule of this library: a `RiskRule` and a `RecordedRule` that can be built from its data."""

    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """As for `RiskRule`."""

    def check(self, entry: UnsignedEntry, view: RiskView) -> Refusal | None:
        """As for `RiskRule`."""

    def to_data(self) -> Mapping[str, JsonValue]:
        """As for `RecordedRule`."""

    @classmethod
    def from_data(cls, name: str, data: Mapping[str, JsonValue]) -> RiskRule:
        """Read what `to_data` gives; a kind of `InvalidValue` for anything else."""


_CLASSES: tuple[type[ShippedRule], ...] = (
    AllowList,
    AllowedAssets,
    AssetRegistry,
    DenyList,
    EntryLimit,
    SpendingLimit,
)

SHIPPED_RULES: Mapping[str, type[ShippedRule]] = MappingProxyType({rule.kind: rule for rule in _CLASSES})
"""Each kind of shipped rule and its class. A kind never changes its meaning and never leaves."""


def rebuild_rule(kind: str, name: str, data: Mapping[str, JsonValue]) -> RiskRule:
    """Build the rule that was recorded; a kind of `InvalidValue` for a kind, name or data of none."""
    rule = SHIPPED_RULES.get(read_text(kind, "the kind of a rule"))
    if rule is None:
        raise InvalidValue(f"{excerpt(kind)} is no kind of shipped rule: {', '.join(SHIPPED_RULES)}")
    return rule.from_data(name, data)
