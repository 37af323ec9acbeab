"""The tables of the books in SQLite, and how values stand in them.

SQLite's integers have 64 bits, an amount has 128: a number of units is an INTEGER where it fits, and its
decimal text beyond that, so that each number has exactly one spelling. Moments are microseconds since the
epoch, counted in whole numbers.

>>> units_column(5), units_column(2**64), column_units("18446744073709551616") == 2**64
(5, '18446744073709551616', True)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from bibank.errors import ProjectionMismatch
from bibank.model.amount import MAX_UNITS, MIN_UNITS
from bibank.model.entry import TransactionIntent

SCHEMA = "books/1"
"""What the file says it holds; a change of its tables or of its dump needs a new number."""

TABLES: tuple[str, ...] = (
    """
    CREATE TABLE accounts (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        balance ANY NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE entries (
        sequence INTEGER PRIMARY KEY,
        timestamp INTEGER NOT NULL,
        effective INTEGER NOT NULL,
        intent INTEGER NOT NULL,
        correlation_id TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX entries_by_correlation ON entries (correlation_id)",
    """
    CREATE TABLE postings (
        account INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        change ANY NOT NULL,
        balance ANY NOT NULL,
        PRIMARY KEY (account, sequence)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE shifted (
        effective INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        account INTEGER NOT NULL,
        change ANY NOT NULL,
        PRIMARY KEY (effective, sequence, account)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE metadata (
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        PRIMARY KEY (name, value, sequence)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE trades (
        sequence INTEGER PRIMARY KEY,
        maker TEXT NOT NULL,
        taker TEXT NOT NULL,
        base TEXT NOT NULL,
        quote TEXT NOT NULL,
        base_amount ANY NOT NULL,
        quote_amount ANY NOT NULL,
        price TEXT NOT NULL,
        trade_id TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX trades_by_maker ON trades (maker)",
    "CREATE INDEX trades_by_taker ON trades (taker)",
    "CREATE INDEX trades_by_pair ON trades (base, quote)",
    """
    CREATE TABLE holds (
        id INTEGER PRIMARY KEY,
        account INTEGER NOT NULL,
        amount ANY NOT NULL,
        paid ANY NOT NULL,
        payee TEXT,
        expires_at INTEGER,
        ended_by INTEGER
    ) STRICT
    """,
    "CREATE INDEX holds_open ON holds (id) WHERE ended_by IS NULL",
)
"""Ids count the accounts in the order in which the journal names them. `postings` is what each entry did to
each account that it names, in the direction of its normal balance, and the balance after it. `shifted`
repeats it for the entries that count at another time than they were recorded, so that an answer by
effective time looks at those alone. A hold is paid within a batch; `ended_by` is the line that paid the last
of it."""

DUMPED: Mapping[str, tuple[str, str]] = {
    "accounts": ("id, key, balance", "key"),
    "entries": ("sequence, timestamp, effective, intent, correlation_id", "sequence"),
    "postings": ("account, sequence, change, balance", "account, sequence"),
    "shifted": ("effective, sequence, account, change", "effective, sequence, account"),
    "metadata": ("name, value, sequence", "name, value, sequence"),
    "trades": (
        "sequence, maker, taker, base, quote, base_amount, quote_amount, price, trade_id",
        "sequence",
    ),
    "holds": ("id, account, amount, paid, payee, expires_at, ended_by", "id"),
}
"""Every table that holds a view: its columns, and its key."""

INTENT_CODES: Mapping[str, int] = {
    TransactionIntent.GENESIS.value: 0,
    TransactionIntent.DEPOSIT.value: 1,
    TransactionIntent.WITHDRAWAL.value: 2,
    TransactionIntent.TRANSFER.value: 3,
    TransactionIntent.TRADE.value: 4,
    TransactionIntent.FEE.value: 5,
    TransactionIntent.ADJUSTMENT.value: 6,
}
INTENTS: Mapping[int, TransactionIntent] = {
    code: TransactionIntent(name) for name, code in INTENT_CODES.items()
}
"""Why money moves, as one byte a row."""

MAX_VALUE_LENGTH = 128
"""Characters of a metadata value that stand in the file as they are: identifiers do, documents need not."""

MAX_INTEGER = 2**63 - 1
MIN_INTEGER = -(2**63)
_UNITS_TEXT = re.compile(r"-?[1-9][0-9]{18,38}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def units_column(units: int) -> int | str:
    """Spell a number of units as a column holds it."""
    return units if MIN_INTEGER <= units <= MAX_INTEGER else str(units)


def column_units(value: object) -> int:
    """Read a number of units from a column; `ProjectionMismatch` for anything but its one spelling."""
    if type(value) is int:
        return value
    if isinstance(value, str) and _UNITS_TEXT.fullmatch(value):
        units = int(value)
        if MIN_UNITS <= units <= MAX_UNITS and not MIN_INTEGER <= units <= MAX_INTEGER:
            return units
    raise ProjectionMismatch(f"the projection holds {value!r:.80} where units should be; rebuild it")


def micros_of(moment: datetime) -> int:
    """Count the microseconds from the epoch to an aware UTC time."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(micros: int) -> datetime:
    """Give the time that is so many microseconds from the epoch; `OverflowError` beyond the year 9999."""
    return _EPOCH + timedelta(microseconds=micros)


def value_column(text: str) -> str:
    """Give a metadata value, spelled as RFC 8785 does, as the file holds it.

    A long one is there as its SHA-256, which no JSON text begins like.
    """
    if len(text) <= MAX_VALUE_LENGTH:
        return text
    return f"sha256:{sha256(text.encode()).hexdigest()}"
