"""From verified lines to rows: what the tables hold of each line, as far as the line alone can tell it.

Ids of accounts and balances are not known here; whoever saves the rows adds them. Nothing is checked
again: the journal's machine has accepted the line.
"""

from __future__ import annotations

import json
from typing import Any

from bibank.journal.history import EFFECTIVE_AT
from bibank.model.amount import text_to_units
from bibank.model.entry import TransactionIntent
from bibank.model.json_value import canonical_text
from bibank.model.timestamp import parse_timestamp
from bibank.projection.books_schema import INTENT_CODES, micros_of, units_column, value_column
from bibank.projection.verified import VerifiedLine

_TRADE = TransactionIntent.TRADE.value
PAYEE, EXPIRES_AT, HOLD, OUTSIDE = "bb.payee", "bb.expires_at", "bb.hold", "WITHDRAWAL"
"""How the links of an entry say that it opens a hold, or pays from one (`bibank.model.links`)."""

_DEBIT_SIGNS = {"ASSET": 1, "EXP": 1, "LIAB": -1, "EQUITY": -1, "REV": -1}
"""What a debit does to the balance of an account, by the category that its key begins with."""

_AMOUNTS_KEPT = 65_536
"""Bound of the cache from amount text to units: the amounts of a busy hour, a few megabytes."""

_POSTINGS = '"postings":[{"account":"'
"""What begins the postings; with the quote that is not escaped it stands in no text."""
_HEAD_PARTS = 23
_MOST_SPLITS = 23
_METADATA_PART = 22
"""Where the name of the metadata stands behind two postings, counted in quotes."""

EntryRow = tuple[int, int, int, int, str]
Posted = tuple[str, int, int]
"""Account, sequence, net change."""
Shifted = tuple[int, int, str, int]
"""Effective time, sequence, account, net change."""
MetadataRow = tuple[str, str, int]
TradeRow = tuple[int, str, str, str, str, int | str, int | str, str, str]
HoldChange = tuple[int, int, str | None, str | None, int | None, int]
"""Hold, units, account, payee, expiry, line. Without an account it is a payment from the hold."""


class Rows:
    """The rows of lines that were applied and not yet saved."""

    def __init__(self) -> None:
        self.entries: list[EntryRow] = []
        self.posted: list[Posted] = []
        self.shifted: list[Shifted] = []
        self.metadata: list[MetadataRow] = []
        self.trades: list[TradeRow] = []
        self.holds: list[HoldChange] = []
        self._units: dict[str, int] = {}
        self._timestamp, self._micros = "", 0

    def clear(self) -> None:
        """Forget all rows."""
        for rows in (self.entries, self.posted, self.shifted, self.metadata, self.trades, self.holds):
            rows.clear()

    def add(self, line: VerifiedLine) -> str | None:
        """Take a line in. Gives the ledger's id where the line is genesis."""
        if self._add_everyday(line):
            return None
        members = json.loads(line.data)
        if "postings" not in members:
            return None
        self._add_entry(line.sequence, members)
        return str(members["metadata"]["bb.ledger"]) if line.sequence == 1 else None

    def _add_everyday(self, line: VerifiedLine) -> bool:
        """Take in an entry of two postings without metadata; False, with nothing changed, for any other.

        An escaped quote would shift the pieces, so a line with a backslash goes the other way.
        """
        data = line.data
        if b'"metadata":{}' not in data or b"\\" in data:
            return False
        before, _, after = data.decode().partition(_POSTINGS)
        parts = after.split('"', _MOST_SPLITS)
        if len(parts) <= _MOST_SPLITS or parts[_METADATA_PART] != "metadata" or parts[0] == parts[12]:
            return False
        head = before.split('"', _HEAD_PARTS)
        if head[15] != "intent" or parts[23][:3] != ":{}":
            return False
        micros = self._micros if head[13] == self._timestamp else self._read_timestamp(head[13])
        sequence = line.sequence
        first, second = parts[0], parts[12]
        units = self._units_of(parts[4])
        if parts[8] == "credit":
            units = -units
        self.entries.append((sequence, micros, micros, INTENT_CODES[head[17]], head[21]))
        self.posted.append((first, sequence, units * _DEBIT_SIGNS[first.partition(":")[0]]))
        self.posted.append((second, sequence, -units * _DEBIT_SIGNS[second.partition(":")[0]]))
        return True

    def _add_entry(self, sequence: int, members: dict[str, Any]) -> None:
        """Take in any entry."""
        said = members["metadata"]
        micros = self._read_timestamp(members["timestamp"])
        named = said.get(EFFECTIVE_AT)
        effective = micros if named is None else micros_of(parse_timestamp(named))
        changes: dict[str, int] = {}
        for posting in members["postings"]:
            account = posting["account"]
            units = self._units_of(posting["amount"]) * _DEBIT_SIGNS[account.partition(":")[0]]
            changes[account] = changes.get(account, 0) + (units if posting["side"] == "debit" else -units)
        intent = members["intent"]
        self.entries.append((sequence, micros, effective, INTENT_CODES[intent], members["correlation_id"]))
        self.posted.extend((account, sequence, change) for account, change in changes.items())
        if effective != micros:
            self.shifted.extend((effective, sequence, account, change) for account, change in changes.items())
        if said:
            self.metadata.extend(
                (name, value_column(canonical_text(value)), sequence) for name, value in said.items()
            )
            if intent == _TRADE:
                self._add_trade(sequence, said)
            self._add_hold(sequence, said, members["postings"])

    def _add_trade(self, sequence: int, said: dict[str, Any]) -> None:
        """Take in what the intent table demands of the metadata of a trade."""
        base_units, quote_units = self._units_of(said["base_amount"]), self._units_of(said["quote_amount"])
        self.trades.append(
            (
                sequence,
                said["maker"],
                said["taker"],
                said["base_asset"],
                said["quote_asset"],
                units_column(base_units),
                units_column(quote_units),
                said["price"],
                said["trade_id"],
            )
        )

    def _add_hold(self, sequence: int, said: dict[str, Any], postings: list[dict[str, str]]) -> None:
        """Take in the opening of a hold, or a payment from one."""
        if PAYEE in said and sequence > 1:
            payee = None if said[PAYEE] == OUTSIDE else said[PAYEE]
            expiry = said.get(EXPIRES_AT)
            expires_at = None if expiry is None else micros_of(parse_timestamp(expiry))
            opened = postings[0]
            units = self._units_of(opened["amount"])
            self.holds.append((sequence, units, opened["account"], payee, expires_at, sequence))
        elif HOLD in said and sequence > 1:
            paid = sum(self._units_of(leg["amount"]) for leg in postings if leg["side"] == "debit")
            self.holds.append((int(said[HOLD]), paid, None, None, None, sequence))

    def _read_timestamp(self, text: str) -> int:
        """Count the microseconds of a timestamp; lines of one group have the same."""
        if text != self._timestamp:
            self._timestamp, self._micros = text, micros_of(parse_timestamp(text))
        return self._micros

    def _units_of(self, text: str) -> int:
        """Count the units in an amount text through a bounded cache."""
        units = self._units.get(text)
        if units is None:
            if len(self._units) >= _AMOUNTS_KEPT:
                self._units.clear()
            units = self._units[text] = text_to_units(text)
        return units
