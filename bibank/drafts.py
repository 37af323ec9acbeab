"""Drafts for hand-made entries and batches."""

from __future__ import annotations

from bibank.journal.drafts import deposit, genesis, transfer, withdrawal

__all__ = ["deposit", "genesis", "transfer", "withdrawal"]
