"""Balances by account in SQLite: what an owner has, kept in a file that can be thrown away.

SQLite's integers have 64 bits, a balance has 128: balances are stored as canonical amount text and
summed here, so they are exact whatever their size.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as directory, SqliteBalances(Path(directory) / "projection.db") as balances:
...     print(balances.position.sequence, balances.balance("ALICE", "USDT").available)
0 0
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

from bibank.errors import BibankError, HeadConflict, InvalidType, InvalidValue, ProjectionMismatch
from bibank.journal.accounts import AccountBook
from bibank.model.account import AVAILABLE, LOCKED, AccountCategory, AccountKey, Owner, Side, owner_id
from bibank.model.amount import SignedAmount, text_to_units, units_to_text
from bibank.model.balance import AccountBalance, Balance
from bibank.model.lines import Head
from bibank.model.money import check_asset
from bibank.model.table import Table
from bibank.projection.database import BUSY_TIMEOUT_SECONDS, Meta, ProjectionDatabase
from bibank.projection.verified import VerifiedLine

SCHEMA = "balances/1"
"""What the file says it holds; a change of its tables or of its dump needs a new number."""

_ACCOUNTS_TABLE = """
    CREATE TABLE accounts (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        balance TEXT NOT NULL
    ) STRICT
"""
"""Ids count the accounts in the order in which the journal names them."""

_DEBIT_SIGN = {
    category.value: 1 if category.normal_balance is Side.DEBIT else -1 for category in AccountCategory
}


class SqliteBalances:
    """The balance of every account, in the direction of its normal balance, in one SQLite file.

    Answers show what was flushed, here or by another process. When two of them catch up the same
    file, or one resets it, the other gets a `HeadConflict` and catches up again. Raises `ProjectionMismatch`
    for a file that is damaged or of another kind: rebuild it, it is disposable. Raises
    `StoreUnavailable` for a locked or unreachable file. For one thread at a time.
    """

    name = "balances"

    def __init__(
        self, path: str | os.PathLike[str], *, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS
    ) -> None:
        self._database = ProjectionDatabase(
            Path(path), schema=SCHEMA, tables=(_ACCOUNTS_TABLE,), busy_timeout_seconds=busy_timeout_seconds
        )
        self._saved = self._applied = Meta()
        self._deltas: dict[str, int] = {}
        self._forget_pending()

    def __repr__(self) -> str:
        return f"<SqliteBalances in {str(self._database.path)!r}, line {self.position.sequence}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was not flushed is applied again next time. Closing twice is harmless."""
        self._database.close()

    # ------------------------------------------------------------------ following the journal

    @property
    def position(self) -> Head:
        """The last line that was applied and saved."""
        return self._saved.position

    @property
    def ledger_id(self) -> str:
        """Whose balances these are; empty before the first line was saved."""
        return self._saved.ledger_id

    def apply(self, line: VerifiedLine) -> None:
        """Add a line to what the next `flush` saves; ignored when it was applied already.

        Raises `ProjectionMismatch` when it does not follow what was applied.
        """
        applied = self._applied
        if line.sequence <= applied.position.sequence:
            return
        if line.sequence != applied.position.sequence + 1 or line.prev_hash != applied.position.hash:
            raise ProjectionMismatch(
                f"line {line.sequence} does not follow line {applied.position.sequence} of the projection; "
                "catch up, or rebuild it"
            )
        members = json.loads(line.data)  # a verified line: its view would only repeat what was checked
        deltas = self._deltas
        for posting in members.get("postings", ()):
            account = posting["account"]
            units = text_to_units(posting["amount"]) * _DEBIT_SIGN[account.partition(":")[0]]
            deltas[account] = deltas.get(account, 0) + (units if posting["side"] == "debit" else -units)
        ledger_id = applied.ledger_id if line.sequence > 1 else members["metadata"]["bb.ledger"]
        self._applied = Meta(ledger_id, line.head)

    def flush(self) -> None:
        """Save every changed balance and the position in one transaction.

        Raises `HeadConflict` when another process moved the projection, after which what was pending
        is forgotten: catch up again. After a `StoreUnavailable` it is kept, for another try.
        """
        if self._applied == self._saved:
            return
        changed: list[tuple[str, int]] = []
        fresh: list[tuple[str, str]] = []
        try:
            with self._database.transaction() as connection:
                self._database.check(connection, self._saved)
                find = connection.cursor()
                for key, delta in self._deltas.items():
                    row = find.execute("SELECT id, balance FROM accounts WHERE key = ?", (key,)).fetchone()
                    if row is None:
                        fresh.append((key, units_to_text(delta)))
                    else:
                        changed.append((units_to_text(_amount(row[1]).units + delta), row[0]))
                connection.executemany("UPDATE accounts SET balance = ? WHERE id = ?", changed)
                connection.executemany("INSERT INTO accounts (key, balance) VALUES (?, ?)", fresh)
                self._database.save(connection, self._applied)
        except HeadConflict:
            self._forget_pending()
            raise
        self._saved = self._applied
        self._deltas.clear()

    def reset(self) -> None:
        """Delete every balance and go back before the first line, in one transaction."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM accounts")
            self._database.save(connection, Meta())
        self._forget_pending()

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Keep other processes from changing the file, and make one transaction of all that is done.

        Others see what was saved before. When the block raises, nothing of it stays.
        """
        try:
            with self._database.transaction():
                self._forget_pending()  # begin where the file stands now
                yield
        except BaseException:
            self._forget_pending()
            raise

    def _forget_pending(self) -> None:
        """Stand where the file stands."""
        with self._database.snapshot() as connection:
            self._saved = self._applied = self._database.load(connection)
        self._deltas.clear()

    # ------------------------------------------------------------------ questions

    def balance(self, owner: Owner, asset: str | None = None) -> Balance:
        """Tell the balance of an owner in one asset, or of exactly one account, as `Ledger.balance` does."""
        if isinstance(owner, AccountKey):
            if asset is not None and asset != owner.asset:
                raise InvalidValue(f"{owner} is an account in {owner.asset}, not in {asset}")
            return _balance(owner.asset, dict(self._rows(owner.text)), available=owner.text)
        if asset is None:
            raise InvalidValue(f"which asset? balances({owner!r}) lists all of them")
        prefix = f"LIAB:USER:{owner_id(owner)}:{check_asset(asset)}:"
        return _owner_balance(prefix, asset, dict(self._rows(prefix)))

    def balances(self, owner: str | UUID) -> Table[Balance]:
        """List an owner's balances, one row an asset, sorted by asset."""
        prefix = f"LIAB:USER:{owner_id(owner)}:"
        units = dict(self._rows(prefix))
        assets = sorted({key.split(":")[3] for key in units})
        return Table(
            [_owner_balance(f"{prefix}{asset}:", asset, units) for asset in assets], row_type=Balance
        )

    def accounts(self, prefix: str = "") -> Table[AccountBalance]:
        """List the accounts whose key begins with a text, sorted by key, each with its balance."""
        if not isinstance(prefix, str):
            raise InvalidType(f"a prefix is a str, not {type(prefix).__name__}")
        rows = [
            AccountBalance(account=_key(key), balance=SignedAmount.from_units(units))
            for key, units in self._rows(prefix)
        ]
        return Table(rows, row_type=AccountBalance)

    def check_against(self, book: AccountBook) -> None:
        """Demand that the file holds the balances of a verified journal; `ProjectionMismatch` otherwise.

        The file is a convenience: rot or an edit in it must not become an answer.
        """
        truth = {account.text: account.balance for account in book}
        if dict(self._rows("")) != truth:
            raise ProjectionMismatch("the projection's balances are not those of the journal; rebuild it")

    def dump(self) -> str:
        """Spell everything that was saved, canonically: two projections are equal when their dumps are.

        Raises `HeadConflict` when another process moved the projection.
        """
        return "".join(self._dump_lines())

    def digest(self) -> str:
        """Hash the canonical dump: SHA-256, lower-case hex."""
        digest = sha256()
        for line in self._dump_lines():
            digest.update(line.encode())
        return digest.hexdigest()

    def _dump_lines(self) -> Iterator[str]:
        with self._database.snapshot() as connection:
            self._database.check(connection, self._saved)
            yield f"schema {SCHEMA}\n"
            yield f"ledger {self._saved.ledger_id}\n"
            yield f"position {self._saved.position.sequence} {self._saved.position.hash}\n"
            for row in connection.execute("SELECT id, key, balance FROM accounts ORDER BY key"):
                yield "account {} {} {}\n".format(*row)

    def _rows(self, prefix: str) -> list[tuple[str, int]]:
        """Give key and units of the accounts with a prefix, sorted by key."""
        if not prefix.isascii():
            return []  # no key is
        with self._database.snapshot() as connection:
            self._database.check_reached(connection, self._saved)
            rows = connection.execute(
                "SELECT key, balance FROM accounts WHERE key BETWEEN ? AND ? ORDER BY key",
                (prefix, prefix + "\x7f"),
            ).fetchall()
        return [(key, _amount(balance).units) for key, balance in rows]


def _amount(text: str) -> SignedAmount:
    try:
        return SignedAmount(text)
    except BibankError as error:
        raise ProjectionMismatch(f"the projection holds a balance that is none: {error}") from error


def _key(text: str) -> AccountKey:
    try:
        return AccountKey(text)
    except BibankError as error:
        raise ProjectionMismatch(f"the projection holds an account that is none: {error}") from error


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
