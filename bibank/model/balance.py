"""Balances as people ask for them."""

from __future__ import annotations

import attrs

from bibank.model.account import AccountKey
from bibank.model.amount import SignedAmount


@attrs.frozen(kw_only=True)
class Balance:
    """What an owner has of one asset: `posted` in all, of which `pending` is locked.

    In the direction of the normal balance: positive is what the house owes an owner.
    """

    asset: str
    posted: SignedAmount
    pending: SignedAmount
    available: SignedAmount


@attrs.frozen(kw_only=True)
class AccountBalance:
    """One account and its balance, in the direction of its normal balance."""

    account: AccountKey
    balance: SignedAmount
