"""What history is shown as: lines of statements, of trial balances, of trades and of fees."""

from __future__ import annotations

from datetime import datetime

import attrs

from bibank.model.account import AccountKey
from bibank.model.amount import Amount, SignedAmount
from bibank.model.entry import TransactionIntent
from bibank.model.trade import FeeKind


@attrs.frozen(kw_only=True)
class StatementLine:
    """What one entry did to an owner's money in one asset, or to one account, and what was there after it.

    `amount` is the change of `posted`. `posted`, `pending` and `available` are the balance after the entry,
    as `Balance` has them: of one account, `available` is `posted` and `pending` is zero.
    """

    sequence: int
    timestamp: datetime
    effective_at: datetime
    intent: TransactionIntent
    asset: str
    amount: SignedAmount
    posted: SignedAmount
    pending: SignedAmount
    available: SignedAmount
    correlation_id: str


@attrs.frozen(kw_only=True)
class TrialBalanceLine:
    """The balance of one account, in the column of the side that it stands on; the other column is zero.

    For each asset the debits of all lines are equal to the credits.
    """

    account: AccountKey
    asset: str
    debit: SignedAmount
    credit: SignedAmount


@attrs.frozen(kw_only=True)
class TradeLine:
    """One trade, as its entry tells it: so much of `base` against so much of `quote`, at quote per base."""

    sequence: int
    timestamp: datetime
    effective_at: datetime
    trade_id: str
    maker: str
    taker: str
    base: str
    quote: str
    base_amount: Amount
    quote_amount: Amount
    price: str
    correlation_id: str


@attrs.frozen(kw_only=True)
class FeeTotal:
    """What fees of one kind came to in one asset, less what was given back; `entries` counts both.

    `kind` is None for the revenue account of phase 1, which does not tell kinds apart.
    """

    kind: FeeKind | None
    asset: str
    entries: int
    total: SignedAmount
