"""Moves: what an entry does to each account, once, and the range that no balance may leave."""

from __future__ import annotations

from bibank.errors import BalanceOutOfRange, Refused
from bibank.journal.accounts import Account
from bibank.journal.gate import Moves
from bibank.model.amount import MAX_UNITS, MIN_UNITS, SignedAmount


def netted(steps: list[tuple[Account, int]]) -> Moves:
    """Sum the changes of each account, in the order in which the accounts appear."""
    changes: dict[Account, int] = {}
    for account, delta in steps:
        changes[account] = changes.get(account, 0) + delta
    return tuple(changes.items())


def out_of_range(account: Account, delta: int) -> Refused:
    """Say that a change of a balance would leave the range of the format, and what would not."""
    required = min(abs(delta), MAX_UNITS)
    available = min(MAX_UNITS - account.balance if delta > 0 else account.balance - MIN_UNITS, MAX_UNITS)
    return BalanceOutOfRange(
        f"{account.text} would leave the signed 128-bit range",
        rule="range",
        advice=f"at most {SignedAmount.from_units(available)} more passes",
        account=account.key,
        asset=account.klass.asset,
        required=SignedAmount.from_units(required),
        available=SignedAmount.from_units(available),
        shortfall=SignedAmount.from_units(max(required - available, 0)),
    )
