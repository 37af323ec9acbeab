"""Holds: money in LOCKED belongs to an open hold, and leaves it for the payee or for its owner.

One rule, always on: whoever commits, LOCKED is credited by the opening of a hold only, and debited by
entries that cite an open one. A batch that cites a hold ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bibank.errors import HoldExpired, HoldNotOpen, Refused
from bibank.journal.gate import Moves, Past
from bibank.journal.link_book import LinkBook
from bibank.journal.links import sub_account
from bibank.model.account import LOCKED, AccountCategory, Side
from bibank.model.amount import SignedAmount
from bibank.model.entry import UnsignedEntry
from bibank.model.hold import Hold
from bibank.model.timestamp import format_timestamp

HOLDS_NAME = "holds/1"


def check_holds(entry: UnsignedEntry, moves: Moves, past: Past, *, now: datetime) -> Refused | None:
    """Give the refusal of an entry that touches held money in any other way, or None."""
    links = entry.links
    if links.hold is not None:
        return _check_ending(entry, links.hold, past.links, now)
    if links.opens is not None:
        expires_at = links.opens.expires_at
        if expires_at is not None and expires_at <= now:
            return HoldExpired(
                f"a hold until {format_timestamp(expires_at)} would have expired when it is opened",
                rule=HOLDS_NAME,
                advice=f"a time after {format_timestamp(now)} would pass",
            )
        return None
    locked = next((account for account, _ in moves if account.klass.is_locked), None)
    if locked is None:
        return None
    return HoldNotOpen(
        f"{locked.text} is moved by an entry that opens no hold and cites none",
        rule=HOLDS_NAME,
        advice="open a hold with hold(), end it with post_hold() or void_hold()",
        account=locked.key,
        asset=locked.klass.asset,
    )


def _check_ending(entry: UnsignedEntry, sequence: int, links: LinkBook, now: datetime) -> Refused | None:
    hold = links.hold(sequence)
    if hold is None:
        return HoldNotOpen(
            f"there is no open hold {sequence}: it was ended, or no line {sequence} opened one",
            rule=HOLDS_NAME,
            advice="holds() lists the open ones",
            hold=sequence,
        )
    locked = sub_account(hold.account, LOCKED)
    for posting in entry.postings:
        account = posting.account
        if posting.side is Side.DEBIT:
            allowed = account == locked
        elif account == hold.account:
            continue
        else:
            leaves = account.category is AccountCategory.ASSET and hold.payee is None
            allowed = (leaves or account == hold.payee) and account.asset == hold.account.asset
        if not allowed:
            payee = "a withdrawal" if hold.payee is None else hold.payee.text
            return HoldNotOpen(
                f"hold {sequence} of {hold.account.owner} has nothing to do with {account}",
                rule=HOLDS_NAME,
                advice=f"it pays {payee}, or goes back to {hold.account}",
                account=account,
                asset=account.asset,
                hold=sequence,
            )
        if posting.side is Side.CREDIT and hold.expires_at is not None and now >= hold.expires_at:
            return HoldExpired(
                f"hold {sequence} expired at {format_timestamp(hold.expires_at)}",
                rule=HOLDS_NAME,
                advice=f"void_hold({sequence}) would pass",
                account=hold.account,
                asset=hold.account.asset,
            )
    units = sum(posting.amount.units for posting in entry.postings if posting.side is Side.DEBIT)
    left = links.remaining(hold)
    return _too_much(hold, units, left) if units > left else None


def _too_much(hold: Hold, units: int, left: int) -> HoldNotOpen:
    required, available = SignedAmount.from_units(units), SignedAmount.from_units(left)
    return HoldNotOpen(
        f"hold {hold.id} holds {available} {hold.account.asset}, {required} is asked for",
        rule=HOLDS_NAME,
        advice=f"at most {available} {hold.account.asset} would pass",
        account=hold.account,
        asset=hold.account.asset,
        required=required,
        available=available,
        shortfall=required - available,
        hold=hold.id,
    )


def check_ended(cited: Sequence[int], links: LinkBook) -> Refused | None:
    """Give the refusal of a batch that cited these holds and leaves something in one, or None."""
    for hold in map(links.hold, cited):
        if hold is not None:
            left = SignedAmount.from_units(links.remaining(hold))
            return HoldNotOpen(
                f"the batch leaves {left} {hold.account.asset} in hold {hold.id}",
                rule=HOLDS_NAME,
                advice=f"returning it to {hold.account} in the same batch would pass",
                account=hold.account,
                asset=hold.account.asset,
                hold=hold.id,
            )
    return None
