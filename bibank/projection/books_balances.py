"""What the books answer about balances: of owners and accounts, today and after any earlier line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from bibank.errors import InvalidType, InvalidValue, ProjectionMismatch, excerpt
from bibank.journal.accounts import AccountBook
from bibank.model.account import AVAILABLE, LOCKED, AccountKey, Owner, owner_id
from bibank.model.amount import SignedAmount
from bibank.model.balance import AccountBalance, Balance
from bibank.model.money import check_asset
from bibank.model.table import Table
from bibank.model.timestamp import check_utc
from bibank.projection.books_asking import (
    Asking,
    Look,
    check_number,
    check_text,
    key_range,
    read_rows,
    units_by_key,
)
from bibank.projection.books_schema import micros_of

_AFTER = (
    "SELECT balance FROM postings WHERE account = accounts.id AND sequence <= ? "
    "ORDER BY sequence DESC LIMIT 1"
)
"""The balance of an account after a line: one seek."""


class BalanceQuestions(Asking):
    """Balances as the ledger tells them, and as they were."""

    def balance(self, owner: Owner, asset: str | None = None) -> Balance:
        """Tell the balance of an owner in one asset, or of exactly one account, as `Ledger.balance` does."""
        if isinstance(owner, AccountKey):
            if asset is not None and asset != owner.asset:
                raise InvalidValue(f"{owner} is an account in {owner.asset}, not in {excerpt(asset)}")
            return _balance(owner.asset, dict(self._units(owner.text)), available=owner.text)
        if asset is None:
            raise InvalidValue(f"which asset? balances({excerpt(owner)}) lists all of them")
        prefix = f"LIAB:USER:{owner_id(owner)}:{check_asset(asset)}:"
        return _owner_balance(prefix, asset, dict(self._units(prefix)))

    def balances(self, owner: str | UUID) -> Table[Balance]:
        """List an owner's balances, one row an asset, sorted by asset."""
        prefix = f"LIAB:USER:{owner_id(owner)}:"
        units = dict(self._units(prefix))
        assets = sorted({row.account.asset for row in read_rows(_account_balance, units.items())})
        return Table(
            [_owner_balance(f"{prefix}{asset}:", asset, units) for asset in assets], row_type=Balance
        )

    def accounts(self, prefix: str = "") -> Table[AccountBalance]:
        """List the accounts whose key begins with a text, sorted by key, each with its balance."""
        found = self._units(check_text(prefix, what="a prefix"))
        return Table(read_rows(_account_balance, found), row_type=AccountBalance)

    def check_against(self, book: AccountBook) -> None:
        """Demand that the file holds the balances of a verified journal; `ProjectionMismatch` otherwise.

        The file is a convenience: rot or an edit in it must not become an answer.
        """
        truth = {account.text: account.balance for account in book}
        if dict(self._units("")) != truth:
            raise ProjectionMismatch("the projection's balances are not those of the journal; rebuild it")

    # ------------------------------------------------------------------ as they were

    def units_at(self, prefix: str, sequence: int) -> dict[str, int]:
        """Give the balance, after a line, of every account with a prefix that a line up to it names."""
        number = check_number(sequence, what="a sequence")
        with self._look() as look:
            return _units_at(look, check_text(prefix, what="a prefix"), number)

    def units_of(self, accounts: Sequence[str], sequence: int) -> dict[str, int]:
        """Give the balance, after a line, of those of some accounts that a line up to it names."""
        number = check_number(sequence, what="a sequence")
        found: dict[str, int] = {}
        with self._look() as look:
            for key in check_keys(accounts):
                rows = look.connection.execute(
                    f"SELECT key, ({_AFTER}) FROM accounts WHERE key = ?",
                    (number, key),
                ).fetchall()
                found.update(read_rows(units_by_key, (row for row in rows if row[1] is not None)))
        return found

    def last_recorded(self, moment: datetime) -> int:
        """Find the last entry that was recorded at or before a moment; 0 when there is none."""
        with self._look() as look:
            return _last_recorded(look, micros_of(check_utc(moment)))

    def units_effective(self, prefix: str, moment: datetime, *, until_sequence: int) -> dict[str, int]:
        """Sum up what entries up to a line did to accounts with a prefix, as far as they count by a moment.

        Accounts that no such entry names are left out. What was recorded by then is taken from the balances;
        only entries that count at another time than they were recorded are looked at one by one.
        """
        until = check_number(until_sequence, what="until_sequence")
        micros = micros_of(check_utc(moment))
        with self._look() as look:
            base = min(_last_recorded(look, micros), until)
            units = _units_at(look, check_text(prefix, what="a prefix"), base)
            early = _shifted(
                look, prefix, "effective <= ? AND sequence > ? AND sequence <= ?", (micros, base, until)
            )
            for key, change in early:
                units[key] = units.get(key, 0) + change
            late = _shifted(look, prefix, "effective > ? AND sequence <= ?", (micros, base))
            for key, change in late:
                units[key] = units.get(key, 0) - change
            for key in {key for key, _ in late}:
                if not _is_named(look, key, micros, until):
                    del units[key]
        return units

    def _units(self, prefix: str) -> list[tuple[str, int]]:
        """Give key and units of the accounts with a prefix, sorted by key."""
        with self._look() as look:
            return _units_now(look, prefix)


def check_keys(accounts: object) -> list[str]:
    """Read the keys of accounts, each once; those that can be no key are left out, as nothing is there."""
    if isinstance(accounts, str) or not isinstance(accounts, Sequence):
        raise InvalidType(f"accounts are a sequence of keys, not {type(accounts).__name__}")
    keys = dict.fromkeys(check_text(key, what="the key of an account") for key in accounts)
    return [key for key in keys if key.isascii()]


def _units_now(look: Look, prefix: str) -> list[tuple[str, int]]:
    bounds = key_range(prefix)
    if bounds is None:
        return []
    query = "SELECT key, balance FROM accounts WHERE key BETWEEN ? AND ? ORDER BY key"
    return list(read_rows(units_by_key, look.connection.execute(query, bounds)))


def _units_at(look: Look, prefix: str, sequence: int) -> dict[str, int]:
    bounds = key_range(prefix)
    if bounds is None:
        return {}
    if sequence >= look.last:
        return dict(_units_now(look, prefix))
    rows = look.connection.execute(
        f"SELECT key, ({_AFTER}) AS units FROM accounts "
        "WHERE key BETWEEN ? AND ? AND units IS NOT NULL ORDER BY key",
        (sequence, *bounds),
    )
    return dict(read_rows(units_by_key, rows))


def _last_recorded(look: Look, micros: int) -> int:
    """Search by halves: the times of lines never run back."""
    best, low = 0, 0
    (high,) = look.connection.execute("SELECT coalesce(max(sequence), 0) FROM entries").fetchone()
    while low < high:
        middle = (low + high + 1) // 2
        row = look.connection.execute(
            "SELECT sequence, timestamp FROM entries WHERE sequence > ? AND sequence <= ? "
            "ORDER BY sequence DESC LIMIT 1",
            (low, middle),
        ).fetchone()
        if row is None:  # nothing but records between the two
            low = middle
        elif row[1] <= micros:
            best, low = row[0], middle
        else:
            high = row[0] - 1
    return int(best)


def _shifted(look: Look, prefix: str, which: str, values: tuple[int, ...]) -> list[tuple[str, int]]:
    """Give what entries did that count at another time than they were recorded."""
    bounds = key_range(prefix)
    if bounds is None:
        return []
    rows = look.connection.execute(
        "SELECT key, change FROM shifted JOIN accounts ON id = account "
        f"WHERE {which} AND key BETWEEN ? AND ?",
        (*values, *bounds),
    )
    return list(read_rows(units_by_key, rows))


def _is_named(look: Look, key: str, micros: int, until: int) -> bool:
    """Tell whether an entry up to a line names an account and counts by a moment."""
    row = look.connection.execute(
        "SELECT 1 FROM accounts CROSS JOIN postings ON account = id CROSS JOIN entries USING (sequence) "
        "WHERE key = ? AND sequence <= ? AND effective <= ? LIMIT 1",
        (key, until, micros),
    ).fetchone()
    return row is not None


def _account_balance(row: tuple[str, int]) -> AccountBalance:
    return AccountBalance(account=AccountKey(row[0]), balance=SignedAmount.from_units(row[1]))


def _owner_balance(prefix: str, asset: str, units: dict[str, int]) -> Balance:
    return _balance(asset, units, available=prefix + AVAILABLE, pending=prefix + LOCKED)


def _balance(asset: str, units: dict[str, int], *, available: str, pending: str = "") -> Balance:
    free, locked = units.get(available, 0), units.get(pending, 0)
    return Balance(
        asset=asset,
        posted=SignedAmount.from_units(free + locked),
        pending=SignedAmount.from_units(locked),
        available=SignedAmount.from_units(free),
    )
