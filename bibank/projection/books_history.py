"""What the books answer about history: movements of accounts, entries that are looked for, trades, holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import groupby
from operator import itemgetter

from bibank.errors import InvalidType, excerpt
from bibank.journal.history import Movement
from bibank.model.account import AccountKey
from bibank.model.amount import Amount
from bibank.model.entry import TransactionIntent
from bibank.model.hold import Hold
from bibank.model.json_value import JsonValue, canonical_text
from bibank.model.money import Money
from bibank.model.statement import TradeLine
from bibank.projection.books_asking import (
    Asking,
    check_limit,
    check_number,
    check_text,
    check_until,
    key_range,
    read_rows,
)
from bibank.projection.books_balances import check_keys
from bibank.projection.books_schema import (
    INTENT_CODES,
    INTENTS,
    column_units,
    moment_of,
    value_column,
)

_PAGE = 1000
"""Rows that are read in one go: answers that are long are given bit by bit, and keep nothing locked."""

_MOVED = (
    "SELECT postings.sequence, change, timestamp, effective, intent, correlation_id "
    "FROM postings LEFT JOIN entries USING (sequence) "
    "WHERE account = ? AND postings.sequence > ? AND postings.sequence <= ? "
    "ORDER BY postings.sequence LIMIT ?"
)

_TRADES = (
    "SELECT trades.sequence, timestamp, effective, trade_id, maker, taker, base, quote, base_amount, "
    "quote_amount, price, correlation_id FROM trades JOIN entries USING (sequence)"
)

_NOWHERE = ("", "")
"""A member of metadata that no line has."""

_Row = tuple[int, object, int, int, int, str]
_Moved = tuple[int, str, _Row]
"""A line, an account that it moved, and the row about it."""


class HistoryQuestions(Asking):
    """History by account, by what entries say, and by what they were for."""

    def movements(
        self, accounts: Sequence[str], *, after_sequence: int = 0, until_sequence: int | None = None
    ) -> Iterator[Movement]:
        """Give what entries did to some accounts, in the order of the journal.

        Only entries that name one of them, and only the changes of those. What is saved while the answer
        is read is not part of it.
        """
        after = check_number(after_sequence, what="after_sequence")
        until = check_until(until_sequence)
        keys = check_keys(accounts)
        with self._look() as look:
            until = min(until, look.last)
            find = look.connection.execute
            found = [
                (row[0], key)
                for key in keys
                for row in find("SELECT id FROM accounts WHERE key = ?", (key,)).fetchall()
            ]
        moved = merge(
            *(self._moved(number, key, after, until) for number, key in found), key=itemgetter(0, 1)
        )
        lines = (list(rows) for _, rows in groupby(moved, key=itemgetter(0)))
        return read_rows(_movement, lines)

    def _moved(self, number: int, key: str, after: int, until: int) -> Iterator[_Moved]:
        """Give the rows of one account, page by page."""
        while True:
            with self._look() as look:
                page = look.connection.execute(_MOVED, (number, after, until, _PAGE)).fetchall()
            for row in page:
                yield row[0], key, row
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    def find(
        self,
        *,
        intent: TransactionIntent | None = None,
        correlation_id: str | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        after_sequence: int = 0,
        until_sequence: int | None = None,
        limit: int | None = None,
    ) -> list[int]:
        """Give the sequences of the entries that are all of what is asked, oldest first.

        `metadata` names top-level members and their whole values. Values longer than 128 characters as JSON
        are compared by their SHA-256; whoever must not rely on that looks at the entry.
        """
        where, values = _between("entries.sequence", after_sequence, until_sequence)
        tables = ["entries"]
        members = _spelled(metadata)
        for number, member in enumerate(members):
            table = f"m{number}"
            tables.insert(number, f"metadata AS {table}")
            where += [f"{table}.name = ?", f"{table}.value = ?", f"{table}.sequence = entries.sequence"]
            values += member
        if members:  # the search begins in the first of them
            where += ["m0.sequence > ?", "m0.sequence <= ?"]
            values += values[:2]
        if correlation_id is not None:
            where.append("correlation_id = ?")
            values.append(check_text(correlation_id, what="a correlation id"))
        if intent is not None:
            where.append("intent = ?")
            values.append(INTENT_CODES[_check_intent(intent).value])
        query = (
            f"SELECT entries.sequence FROM {' CROSS JOIN '.join(tables)} WHERE {' AND '.join(where)} "
            f"ORDER BY {'m0' if members else 'entries'}.sequence LIMIT ?"
        )
        values.append(check_limit(limit))
        if not _are_storable(values):
            return []
        with self._look() as look:
            return [row[0] for row in look.connection.execute(query, values).fetchall()]

    def trades(
        self,
        *,
        user: str | None = None,
        pair: tuple[str, str] | None = None,
        after_sequence: int = 0,
        until_sequence: int | None = None,
        limit: int | None = None,
    ) -> list[TradeLine]:
        """List trades, oldest first: those in which a user was maker or taker, and those of a pair.

        A pair is base and quote, in this order. Reversals of trades are trades too.
        """
        where, values = _between("trades.sequence", after_sequence, until_sequence)
        if pair is not None:
            where += ["base = ?", "quote = ?"]
            values += _check_pair(pair)
        which = " AND ".join(where)
        most = check_limit(limit)
        if user is None:
            query = f"{_TRADES} WHERE {which} ORDER BY trades.sequence LIMIT ?"
            asked = [*values, most]
        else:
            sides = [
                f"SELECT * FROM (SELECT sequence FROM trades WHERE {side} = ? AND {which} "
                "ORDER BY sequence LIMIT ?)"
                for side in ("maker", "taker")
            ]
            query = f"{_TRADES} WHERE trades.sequence IN ({' UNION '.join(sides)}) ORDER BY 1 LIMIT ?"
            asked = [*2 * (check_text(user, what="a user"), *values, most), most]
        if not _are_storable(asked):
            return []
        with self._look() as look:
            return list(read_rows(_trade, look.connection.execute(query, asked).fetchall()))

    def open_holds(self, prefix: str | None = None) -> list[Hold]:
        """List the holds that are open, oldest first, of all accounts or of those with a prefix."""
        bounds = key_range("" if prefix is None else check_text(prefix, what="a prefix"))
        if bounds is None:
            return []
        query = (
            "SELECT holds.id, key, amount, payee, expires_at FROM holds "
            "JOIN accounts ON accounts.id = account "
            "WHERE ended_by IS NULL AND key BETWEEN ? AND ? ORDER BY holds.id"
        )
        with self._look() as look:
            return list(read_rows(_hold, look.connection.execute(query, bounds).fetchall()))


def _between(column: str, after_sequence: object, until_sequence: object) -> tuple[list[str], list[object]]:
    """Bound the lines to look at."""
    after = check_number(after_sequence, what="after_sequence")
    return [f"{column} > ?", f"{column} <= ?"], [after, check_until(until_sequence)]


def _spelled(metadata: object) -> list[tuple[str, str]]:
    """Spell members of metadata as the file holds them."""
    if metadata is None:
        return []
    if not isinstance(metadata, Mapping):
        raise InvalidType(f"metadata is a mapping, not {type(metadata).__name__}")
    try:
        return [
            (check_text(name, what="a name in metadata"), value_column(canonical_text(value)))
            for name, value in metadata.items()
        ]
    except UnicodeEncodeError:  # a lone surrogate in a long value
        return [_NOWHERE]


def _are_storable(values: Sequence[object]) -> bool:
    """Tell whether a file could hold all of these values; a lone surrogate is in no line."""
    try:
        "".join(value for value in values if isinstance(value, str)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_intent(intent: object) -> TransactionIntent:
    if not isinstance(intent, TransactionIntent):
        raise InvalidType(f"intent is a TransactionIntent, not {excerpt(intent)}")
    return intent


def _check_pair(pair: object) -> tuple[str, str]:
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise InvalidType("a pair is a tuple of two assets: base and quote")
    return check_text(pair[0], what="a base"), check_text(pair[1], what="a quote")


def _movement(moved: Sequence[_Moved]) -> Movement:
    sequence, _, (_, _, timestamp, effective, intent, correlation_id) = moved[0]
    return Movement(
        sequence=sequence,
        timestamp=moment_of(timestamp),
        effective_at=moment_of(effective),
        intent=INTENTS[intent],
        correlation_id=correlation_id,
        changes={key: column_units(row[1]) for _, key, row in moved},
    )


def _trade(row: tuple[int, int, int, str, str, str, str, str, object, object, str, str]) -> TradeLine:
    return TradeLine(
        sequence=row[0],
        timestamp=moment_of(row[1]),
        effective_at=moment_of(row[2]),
        trade_id=row[3],
        maker=row[4],
        taker=row[5],
        base=row[6],
        quote=row[7],
        base_amount=Amount.from_units(column_units(row[8])),
        quote_amount=Amount.from_units(column_units(row[9])),
        price=row[10],
        correlation_id=row[11],
    )


def _hold(row: tuple[int, str, object, str | None, int | None]) -> Hold:
    number, key, amount, payee, expires_at = row
    account = AccountKey(key)
    return Hold(
        id=number,
        account=account,
        money=Money(Amount.from_units(column_units(amount)), account.asset),
        payee=None if payee is None else AccountKey(payee),
        expires_at=None if expires_at is None else moment_of(expires_at),
    )
