"""The risk engine, the rules that come with it, and the protocols of a host's own rules."""

from __future__ import annotations

from bibank.journal.rule_sets import AdoptedRule
from bibank.model.stamped import StampedEntry, StampedLine, StampedRecord
from bibank.risk.allowed_assets import AllowedAssets
from bibank.risk.asset_registry import AssetRegistry
from bibank.risk.engine import RiskEngine
from bibank.risk.entry_limit import EntryLimit
from bibank.risk.party_lists import AllowList, DenyList
from bibank.risk.recorded import RecordedRule
from bibank.risk.rule import Refusal, RiskRule, StatefulRiskRule
from bibank.risk.spending_limit import SpendingLimit
from bibank.risk.view import RiskView, RuleState

__all__ = [
    "AdoptedRule",
    "AllowList",
    "AllowedAssets",
    "AssetRegistry",
    "DenyList",
    "EntryLimit",
    "RecordedRule",
    "Refusal",
    "RiskEngine",
    "RiskRule",
    "RiskView",
    "RuleState",
    "SpendingLimit",
    "StampedEntry",
    "StampedLine",
    "StampedRecord",
    "StatefulRiskRule",
]
