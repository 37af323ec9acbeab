"""Saving rows: accounts get their ids, balances run on, all inside the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from bibank.projection.books_rows import HoldChange, Rows
from bibank.projection.books_schema import MAX_INTEGER, MIN_INTEGER, column_units, units_column

_ACCOUNTS_KEPT = 200_000
"""Bound of the accounts that are remembered between two transactions: some 50 megabytes."""

_ASKED_AT_ONCE = 500
"""Keys in one statement: older versions of SQLite take 999 parameters."""

Known = dict[str, tuple[int, int]]
"""Id and balance of accounts, by key."""


class Saver:
    """Writes rows, and remembers the accounts that it has seen.

    What it remembers is true as long as nobody else moves the file and every transaction comes to its end:
    otherwise :meth:`forget`.
    """

    def __init__(self) -> None:
        self._known: Known = {}

    def forget(self) -> None:
        """Remember nothing about the file any more."""
        self._known.clear()

    def save(self, connection: sqlite3.Connection, rows: Rows) -> None:
        """Write rows, inside a transaction that holds the file to where the rows begin."""
        if len(self._known) > _ACCOUNTS_KEPT:
            self._known.clear()
        known = self._known
        fresh = self._meet(connection, dict.fromkeys(account for account, _, _ in rows.posted))
        moved: Known = {}
        postings: list[tuple[int, int, int | str, int | str]] = []
        for account, sequence, change in rows.posted:
            number, balance = known[account]
            balance += change
            known[account] = moved[account] = number, balance
            postings.append(
                (
                    number,
                    sequence,  # what follows is `units_column`, without a call for each row
                    change if MIN_INTEGER <= change <= MAX_INTEGER else str(change),
                    balance if MIN_INTEGER <= balance <= MAX_INTEGER else str(balance),
                )
            )
        postings.sort()  # by account and sequence, which no two share: neighbours go into the same page
        _save_accounts(connection, moved, fresh)
        write = connection.executemany
        write("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", rows.entries)
        write("INSERT INTO postings VALUES (?, ?, ?, ?)", postings)
        write(
            "INSERT INTO shifted VALUES (?, ?, ?, ?)",
            [
                (effective, sequence, known[account][0], units_column(change))
                for effective, sequence, account, change in rows.shifted
            ],
        )
        write("INSERT INTO metadata VALUES (?, ?, ?)", sorted(rows.metadata))
        write("INSERT INTO trades VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows.trades)
        for change_of_hold in rows.holds:
            _save_hold(connection, change_of_hold, known)

    def _meet(self, connection: sqlite3.Connection, keys: Iterable[str]) -> set[str]:
        """Remember the accounts of these keys; give those that the file does not have, which get ids here."""
        known = self._known
        unknown = [key for key in keys if key not in known]
        for start in range(0, len(unknown), _ASKED_AT_ONCE):
            asked = unknown[start : start + _ASKED_AT_ONCE]
            places = ",".join("?" * len(asked))
            rows = connection.execute(f"SELECT key, id, balance FROM accounts WHERE key IN ({places})", asked)
            known.update((key, (number, column_units(balance))) for key, number, balance in rows)
        fresh = [key for key in unknown if key not in known]
        if fresh:
            (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM accounts").fetchone()
            known.update((key, (number, 0)) for number, key in enumerate(fresh, last + 1))
        return set(fresh)


def _save_accounts(connection: sqlite3.Connection, moved: Known, fresh: set[str]) -> None:
    connection.executemany(
        "INSERT INTO accounts VALUES (?, ?, ?)",
        [(number, key, units_column(balance)) for key, (number, balance) in moved.items() if key in fresh],
    )
    connection.executemany(
        "UPDATE accounts SET balance = ? WHERE id = ?",
        [(units_column(balance), number) for key, (number, balance) in moved.items() if key not in fresh],
    )


def _save_hold(connection: sqlite3.Connection, change: HoldChange, known: Known) -> None:
    """Open a hold, or pay from one; what is paid from none, or from one that has ended, is no hold's."""
    hold, units, account, payee, expires_at, sequence = change
    if account is not None:
        row = hold, known[account][0], units_column(units), 0, payee, expires_at, None
        connection.execute("INSERT INTO holds VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return
    found = connection.execute(
        "SELECT amount, paid FROM holds WHERE id = ? AND ended_by IS NULL", (hold,)
    ).fetchone()
    if found is None:
        return
    amount, paid = column_units(found[0]), column_units(found[1]) + units
    ended_by = sequence if paid >= amount else None
    connection.execute(
        "UPDATE holds SET paid = ?, ended_by = ? WHERE id = ?",
        (units_column(min(paid, amount)), ended_by, hold),
    )
