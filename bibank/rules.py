"""The risk engine and the protocols of a host's own rules."""

from __future__ import annotations

from bibank.model.stamped import StampedEntry, StampedLine, StampedRecord
from bibank.risk.engine import RiskEngine
from bibank.risk.rule import Refusal, RiskRule, StatefulRiskRule
from bibank.risk.view import RiskView, RuleState

__all__ = [
    "Refusal",
    "RiskEngine",
    "RiskRule",
    "RiskView",
    "RuleState",
    "StampedEntry",
    "StampedLine",
    "StampedRecord",
    "StatefulRiskRule",
]
