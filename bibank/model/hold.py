"""Holds: money that is kept for a payee until it is posted, voided, or too late."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import attrs

from bibank.errors import InvalidValue
from bibank.model.account import AccountKey, Owner
from bibank.model.entry import JournalEntry
from bibank.model.links import EntryLinks
from bibank.model.money import Money


class Outside(Enum):
    """Where money goes that leaves the ledger."""

    WITHDRAWAL = "WITHDRAWAL"


WITHDRAWAL = Outside.WITHDRAWAL
"""The payee of a hold for a withdrawal: `ledger.hold("ALICE", "5 USDT", to=WITHDRAWAL, ...)`."""

Payee = Owner | Outside
"""Whom a hold may be paid to: an owner, an exact account, or `WITHDRAWAL`."""


@attrs.frozen(kw_only=True)
class Hold:
    """Money of one owner, locked for one payee.

    `id` is the sequence of the line that opened it, `account` the owner's AVAILABLE account, which what
    is not paid returns to. `payee` is None where the money will leave the ledger; `expires_at` is the
    first moment at which it can only be voided, None for never.
    """

    id: int
    account: AccountKey
    money: Money
    payee: AccountKey | None
    expires_at: datetime | None

    @classmethod
    def of(cls, entry: JournalEntry) -> Hold:
        """Read the hold that an entry opened; `InvalidValue` when it opened none."""
        links = EntryLinks.from_metadata(entry.metadata) if entry.sequence > 1 else None
        if links is None or links.opens is None:
            raise InvalidValue(f"line {entry.sequence} opened no hold")
        opened = entry.postings[0]
        return cls(
            id=entry.sequence,
            account=opened.account,
            money=Money(opened.amount, opened.account.asset),
            payee=links.opens.payee,
            expires_at=links.opens.expires_at,
        )
