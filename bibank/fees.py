"""Fees: kinds, fees that come with a trade, and shares of a sum."""

from __future__ import annotations

from bibank.journal.percentages import percentage
from bibank.model.trade import FeeKind, TradeFee

__all__ = ["FeeKind", "TradeFee", "percentage"]
