"""Proposals as people look at them: what is proposed, by whom, and who has approved it."""

from __future__ import annotations

from datetime import datetime

import attrs

from bibank.model.entry import Posting, TransactionIntent
from bibank.model.policy import AdjustmentPurpose


@attrs.frozen(kw_only=True)
class Proposal:
    """An open proposal. `sequence` is its line, and what it is approved by.

    `purpose` and `reason` are those of an adjustment, None of a withdrawal. `approved_by` are persons;
    `needed` is how many the policy in force asks for. From `expires_at` on it cannot be approved. `digest` is
    what approvals sign.
    """

    sequence: int
    proposer: str
    intent: TransactionIntent
    purpose: AdjustmentPurpose | None
    reason: str | None
    correlation_id: str
    postings: tuple[Posting, ...]
    approved_by: tuple[str, ...]
    needed: int
    expires_at: datetime
    digest: str
