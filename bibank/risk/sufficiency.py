"""Sufficiency: no ASSET or LIAB account falls below its floor (phase 1, 5.3 rule 4).

Looks only at the accounts that the entry lowers: an account that is below its floor already may
still receive.
"""

from __future__ import annotations

from bibank.errors import InsufficientBalance
from bibank.journal.accounts import Account
from bibank.journal.gate import Moves
from bibank.model.amount import SignedAmount

SUFFICIENCY_NAME = "sufficiency/1"


def check_sufficiency(moves: Moves) -> InsufficientBalance | None:
    """Give the refusal for the first account that would fall below its floor, or None."""
    for account, delta in moves:
        if delta < 0 and account.balance + delta < account.floor:
            return _refusal(account, -delta)
    return None


def _refusal(account: Account, required: int) -> InsufficientBalance:
    available = account.balance - account.floor
    key = account.key
    asset = key.asset
    required_amount, available_amount = SignedAmount.from_units(required), SignedAmount.from_units(available)
    return InsufficientBalance(
        f"{key} has {available_amount} {asset} available, {required_amount} {asset} is required",
        rule=SUFFICIENCY_NAME,
        advice=f"at most {available_amount} {asset} would pass" if available > 0 else "nothing would pass",
        account=key,
        asset=asset,
        required=required_amount,
        available=available_amount,
        shortfall=SignedAmount.from_units(required - available),
    )
