"""A ledger by hand on SQLite: what a careful application would write. No chain and no signatures.

A transfer is one row, so it is double entry by construction; a balance below zero breaks a CHECK and rolls
the batch back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.job import FUND, Session, Transfer

_SCHEMA = """
CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    balance INTEGER NOT NULL CHECK (balance >= 0)
);
CREATE TABLE transfer (
    id INTEGER PRIMARY KEY,
    payer INTEGER NOT NULL REFERENCES account,
    payee INTEGER NOT NULL REFERENCES account,
    amount INTEGER NOT NULL CHECK (amount > 0),
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    CHECK (payer <> payee)
);
"""


class Sqlite:
    """Hand-written SQLite."""

    name = f"hand-written SQLite {sqlite3.sqlite_version}, no chain"
    sync = "WAL, synchronous=FULL, a transaction a batch"

    def suits(self, batch: int) -> bool:
        """Any batch is a transaction."""
        return True

    def start(self, directory: Path, *, accounts: int) -> Session:
        """Make the tables and the accounts."""
        return _Database(directory / "ledger.db", accounts)


class _Database:
    def __init__(self, path: Path, accounts: int) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.executescript(_SCHEMA)
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany(
            "INSERT INTO account (id, balance) VALUES (?, ?)", ((number, FUND) for number in range(accounts))
        )
        self._database.execute("COMMIT")

    def apply(self, batch: Sequence[Transfer]) -> None:
        execute = self._database.cursor().execute
        execute("BEGIN IMMEDIATE")
        try:
            for payer, payee, amount in batch:
                for account, change in ((payer, -amount), (payee, amount)):
                    done = execute("UPDATE account SET balance = balance + ? WHERE id = ?", (change, account))
                    if done.rowcount != 1:
                        raise LookupError(f"no account {account}")
                execute(
                    "INSERT INTO transfer (payer, payee, amount) VALUES (?, ?, ?)", (payer, payee, amount)
                )
        except BaseException:
            execute("ROLLBACK")
            raise
        execute("COMMIT")

    def balances(self) -> list[int] | None:
        return [balance for (balance,) in self._database.execute("SELECT balance FROM account ORDER BY id")]

    def refuses(self, transfer: Transfer) -> bool | None:
        try:
            self.apply([transfer])
        except sqlite3.IntegrityError:
            return True
        return False

    def close(self) -> None:
        self._database.close()
