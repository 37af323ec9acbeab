"""What both plain-text accounting formats need: names of accounts, signed amounts, and the sums at the end.

Debits are positive, credits negative, so that the sum over all accounts of an asset is zero. Names are
one-to-one: two accounts of the ledger are never one account of an export.

>>> from bibank.model.account import AccountKey
>>> account_name(AccountKey("LIAB:USER:ALICE_B:USDT:AVAILABLE"))
'Liabilities:USER:ALICE_B:USDT:AVAILABLE'
>>> fixed_text(-150_000_000)
'-1.50000000'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

import attrs

from bibank.errors import InvalidType
from bibank.journal.history import effective_at
from bibank.model.account import AccountCategory, AccountKey, Side
from bibank.model.amount import DECIMALS, UNITS_PER_WHOLE
from bibank.model.entry import JournalEntry, Posting

ROOTS = {
    AccountCategory.ASSET: "Assets",
    AccountCategory.LIABILITY: "Liabilities",
    AccountCategory.EQUITY: "Equity",
    AccountCategory.REVENUE: "Income",
    AccountCategory.EXPENSE: "Expenses",
}
"""The five roots that Beancount demands, by which hledger too knows what kind of account it is."""


def account_name(account: AccountKey) -> str:
    """Name an account: its key, with the root's English name for the category."""
    return f"{ROOTS[account.category]}:{account.text.partition(':')[2]}"


def signed_units(posting: Posting) -> int:
    """Count the units of a posting, those of a credit below zero."""
    return posting.amount.units if posting.side is Side.DEBIT else -posting.amount.units


def fixed_text(units: int) -> str:
    """Spell units with all their decimals: programs that guess a tolerance from the digits guess none."""
    whole, fraction = divmod(abs(units), UNITS_PER_WHOLE)
    return f"{'-' if units < 0 else ''}{whole}.{fraction:0{DECIMALS}d}"


def effective_day(entry: JournalEntry) -> date:
    """Give the day (UTC) on which an entry counts."""
    return effective_at(entry).date()


def checked(entries: Iterable[JournalEntry]) -> Iterator[JournalEntry]:
    """Give entries as they come; `InvalidType` for what is none."""
    if not isinstance(entries, Iterable):
        raise InvalidType(f"entries are a stream of JournalEntry, not {type(entries).__name__}")
    for entry in entries:
        if not isinstance(entry, JournalEntry):
            raise InvalidType(f"an export takes JournalEntry values, not {type(entry).__name__}")
        yield entry


@attrs.define
class AccountSum:
    """One account so far: its balance, debits positive, and the first day on which it is named."""

    units: int
    first_day: date


@attrs.define
class Sums:
    """Every account so far, in the order of first use, and the last day of all."""

    accounts: dict[AccountKey, AccountSum] = attrs.Factory(dict)
    last_day: date = date.min

    def add(self, entry: JournalEntry, day: date) -> list[AccountKey]:
        """Count an entry of a day in; give the accounts that are new."""
        found = []
        for posting in entry.postings:
            known = self.accounts.get(posting.account)
            if known is None:
                self.accounts[posting.account] = AccountSum(signed_units(posting), day)
                found.append(posting.account)
            else:
                known.units += signed_units(posting)
                known.first_day = min(known.first_day, day)
        self.last_day = max(self.last_day, day)
        return found

    def by_name(self) -> list[tuple[AccountKey, AccountSum]]:
        """List the accounts in the order of their keys."""
        return sorted(self.accounts.items())
