"""Account terms: what was decided about one account: frozen, closed, how far below zero it may go."""

from __future__ import annotations

from enum import Enum

import attrs

from bibank.model.account import AccountKey
from bibank.model.amount import SignedAmount


class AccountStatus(Enum):
    """Whether money may move: freely, only in, or not at all."""

    OPEN = "open"
    FROZEN = "frozen"
    CLOSED = "closed"


@attrs.frozen(kw_only=True)
class AccountTerms:
    """What was decided about an account.

    `floor` is what its balance may not fall below, in the direction of its normal balance: 0 unless it was
    lowered, None for a category without a floor. `sequence` is the record that decided last.
    """

    account: AccountKey
    status: AccountStatus
    floor: SignedAmount | None
    sequence: int
