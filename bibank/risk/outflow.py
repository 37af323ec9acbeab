"""What an entry takes from its owners: the net outflow, over all accounts of an owner in one asset.

Only LIAB accounts count: they hold what the house owes its owners. Money that an owner moves between
accounts of the same owner, such as from AVAILABLE to LOCKED for a hold, has not left the owner; it
counts when it is paid out of LOCKED to somebody else.

>>> from bibank.model.entry import Posting
>>> net_outflows(
...     (
...         Posting.debit("LIAB:USER:ALICE:USDT:AVAILABLE", "5"),
...         Posting.credit("LIAB:USER:ALICE:USDT:LOCKED", "3"),
...         Posting.credit("LIAB:USER:BOB:USDT:AVAILABLE", "2"),
...     ),
...     asset="USDT",
... )
{'ALICE': 200000000}
"""

from __future__ import annotations

from collections.abc import Iterable

from bibank.model.account import AccountCategory, AccountKey, Side
from bibank.model.amount import units_to_text
from bibank.model.entry import Posting

_LIABILITY = AccountCategory.LIABILITY


def net_outflows(postings: Iterable[Posting], *, asset: str) -> dict[str, int]:
    """Give the owners who give away more of an asset than they receive, with the difference in units.

    Owners stand in the order of their first posting. One entry moves at most `2**127-1` units of an
    asset, so an outflow is always within the range of an amount.
    """
    net: dict[str, int] = {}
    for posting in postings:
        key = posting.account
        if key.category is _LIABILITY and key.asset == asset:
            units = posting.amount.units
            net[key.owner] = net.get(key.owner, 0) + (units if posting.side is Side.DEBIT else -units)
    return {owner: units for owner, units in net.items() if units > 0}


def paying_account(postings: Iterable[Posting], *, owner: str, asset: str) -> AccountKey:
    """Give the first account from which an owner with a net outflow pays."""
    return next(
        posting.account
        for posting in postings
        if posting.side is Side.DEBIT
        and posting.account.category is _LIABILITY
        and posting.account.asset == asset
        and posting.account.owner == owner
    )


def advise_at_most(units: int, *, asset: str) -> str:
    """Say how much would pass: at most so many units, or nothing."""
    return f"at most {units_to_text(units)} {asset} would pass" if units > 0 else "nothing would pass"
