"""Drafts for hand-made entries and batches."""

from __future__ import annotations

from bibank.journal.drafts import adjustment, deposit, genesis, transfer, withdrawal
from bibank.journal.hold_drafts import hold, post_hold, void_hold
from bibank.journal.reversals import reversal
from bibank.journal.trade_drafts import fee, trade

__all__ = [
    "adjustment",
    "deposit",
    "fee",
    "genesis",
    "hold",
    "post_hold",
    "reversal",
    "trade",
    "transfer",
    "void_hold",
    "withdrawal",
]
