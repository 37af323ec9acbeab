"""History as a fold: what entries did to accounts, and what was there after them.

The journal and every index of it tell history as movements; what is made of them is the same, and is
made here.

>>> from bibank.journal.history import Running
>>> running = Running()
>>> running.add("LIAB:USER:ALICE:USDT:AVAILABLE", 5)
>>> running.units("LIAB:USER:ALICE:USDT:AVAILABLE"), running.units("LIAB:USER:BOB:USDT:AVAILABLE")
(5, 0)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import attrs

from bibank.model.account import AccountCategory, AccountKey, Side
from bibank.model.amount import Amount, SignedAmount, text_to_units
from bibank.model.entry import JournalEntry, TransactionIntent
from bibank.model.statement import StatementLine, TradeLine, TrialBalanceLine
from bibank.model.timestamp import parse_timestamp

EFFECTIVE_AT = "bb.effective_at"
"""Where an entry's metadata says when it counts."""

_NORMAL_SIDE = {category.value: category.normal_balance.value for category in AccountCategory}


@attrs.frozen(kw_only=True)
class Movement:
    """What one entry did to accounts: the net change of each that it names, in units, also where it is zero.

    In the direction of the account's normal balance.
    """

    sequence: int
    timestamp: datetime
    effective_at: datetime
    intent: TransactionIntent
    correlation_id: str
    changes: Mapping[str, int]


def effective_at(entry: JournalEntry) -> datetime:
    """Tell when an entry counts: when it says, or else when it was recorded."""
    named = entry.metadata.get(EFFECTIVE_AT)
    return entry.timestamp if named is None else parse_timestamp(str(named))


def stored_movement(data: bytes) -> Movement | None:
    """Read what a stored line did, of which it is known that it is as it was written; None for a record."""
    members = json.loads(data)
    if "postings" not in members:
        return None
    changes: dict[str, int] = {}
    for posting in members["postings"]:
        account = posting["account"]
        units = text_to_units(posting["amount"])
        signed = units if posting["side"] == _NORMAL_SIDE[account.partition(":")[0]] else -units
        changes[account] = changes.get(account, 0) + signed
    timestamp = parse_timestamp(members["timestamp"])
    named = members["metadata"].get(EFFECTIVE_AT)
    return Movement(
        sequence=members["sequence"],
        timestamp=timestamp,
        effective_at=timestamp if named is None else parse_timestamp(named),
        intent=TransactionIntent(members["intent"]),
        correlation_id=members["correlation_id"],
        changes=changes,
    )


class Running:
    """Balances that follow movements."""

    def __init__(self, units: Mapping[str, int] | None = None) -> None:
        self._units = dict(units or {})

    def add(self, account: str, delta: int) -> None:
        """Take a change in."""
        self._units[account] = self._units.get(account, 0) + delta

    def take(self, movements: Iterable[Movement]) -> Running:
        """Take in all that movements did."""
        for found in movements:
            for account, delta in found.changes.items():
                self.add(account, delta)
        return self

    def units(self, account: str) -> int:
        """Tell the balance of an account; zero for one that nothing named."""
        return self._units.get(account, 0)

    def all(self) -> dict[str, int]:
        """Give the balance of every account that was named."""
        return dict(self._units)


@attrs.frozen(kw_only=True)
class Pot:
    """What a statement is about in one asset: an owner's free and held money, or one account."""

    asset: str
    available: str
    pending: str | None

    @property
    def accounts(self) -> tuple[str, ...]:
        """The keys of its accounts."""
        return (self.available,) if self.pending is None else (self.available, self.pending)


def statement_lines(
    pots: Iterable[Pot], movements: Iterable[Movement], opening: Running
) -> Iterator[StatementLine]:
    """Tell movements as lines of a statement, each with the balance after it; `opening` is used up.

    A line for each entry and pot that it touches, in the order in which the movements come.
    """
    listed = sorted(pots, key=lambda pot: pot.asset)
    for found in movements:
        for pot in listed:
            touched = [account for account in pot.accounts if account in found.changes]
            for account in touched:
                opening.add(account, found.changes[account])
            if touched:
                free = opening.units(pot.available)
                held = opening.units(pot.pending) if pot.pending is not None else 0
                yield StatementLine(
                    sequence=found.sequence,
                    timestamp=found.timestamp,
                    effective_at=found.effective_at,
                    intent=found.intent,
                    asset=pot.asset,
                    amount=SignedAmount.from_units(sum(found.changes[account] for account in touched)),
                    posted=SignedAmount.from_units(free + held),
                    pending=SignedAmount.from_units(held),
                    available=SignedAmount.from_units(free),
                    correlation_id=found.correlation_id,
                )


def trial_balance_lines(units: Mapping[str, int]) -> Iterator[TrialBalanceLine]:
    """Put the balance of every account into the column that it stands on, sorted by key."""
    zero = SignedAmount.from_units(0)
    for text in sorted(units):
        account = AccountKey(text)
        found = units[text]
        amount = SignedAmount.from_units(abs(found))
        is_debit = (account.category.normal_balance is Side.DEBIT) is (found >= 0)
        yield TrialBalanceLine(
            account=account,
            asset=account.asset,
            debit=amount if is_debit else zero,
            credit=zero if is_debit else amount,
        )


def trade_line(entry: JournalEntry) -> TradeLine:
    """Tell a trade as its entry does; the intent table has checked its metadata."""
    said = entry.metadata
    return TradeLine(
        sequence=entry.sequence,
        timestamp=entry.timestamp,
        effective_at=effective_at(entry),
        trade_id=str(said["trade_id"]),
        maker=str(said["maker"]),
        taker=str(said["taker"]),
        base=str(said["base_asset"]),
        quote=str(said["quote_asset"]),
        base_amount=Amount(str(said["base_amount"])),
        quote_amount=Amount(str(said["quote_amount"])),
        price=str(said["price"]),
        correlation_id=entry.correlation_id,
    )
