r"""CSV (RFC 4180), safe to open in a spreadsheet.

A spreadsheet calculates a cell that begins with `=`, `+`, `-` or `@`, whoever wrote it into a ledger. Such a
cell gets an apostrophe in front, unless it is a number; so does one that begins with an apostrophe itself.
Whoever wants the exact text back takes one apostrophe away from each cell that begins with one.

>>> safe_cell("=1+1"), safe_cell("-1.5"), safe_cell("r1")
("'=1+1", '-1.5', 'r1')
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from bibank.errors import InvalidType
from bibank.export.bookkeeping import checked
from bibank.journal.history import effective_at
from bibank.model.entry import JournalEntry
from bibank.model.json_value import canonical_text
from bibank.model.table import Row, Table, plain
from bibank.model.timestamp import format_timestamp

COLUMNS = (
    "sequence",
    "timestamp",
    "effective_at",
    "intent",
    "correlation_id",
    "causality_id",
    "posting",
    "account",
    "asset",
    "side",
    "amount",
    "metadata",
    "hash",
)
"""One row a posting; `posting` counts those of an entry from 1."""

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_STARTS = frozenset("=+-@")
"""What makes a formula of a cell."""

_APOSTROPHE = "'"


def safe_cell(text: str) -> str:
    """Give a text as a cell that no spreadsheet calculates."""
    if _NUMBER.fullmatch(text) is not None:
        return text
    begin = text.lstrip()
    while begin and unicodedata.category(begin[0]) == "Cf":  # a byte order mark and others that nobody sees
        begin = begin[1:].lstrip()
    # Full-width and small forms of the four signs are calculated too, in some languages.
    is_formula = bool(begin) and unicodedata.normalize("NFKC", begin[0]) in _STARTS
    return _APOSTROPHE + text if is_formula or text[:1] in ("\t", "\r", "\n", _APOSTROPHE) else text


def csv_lines(entries: Iterable[JournalEntry]) -> Iterator[str]:
    r"""Write entries as CSV: a header, then one row a posting, each ended by `\r\n`.

    An entry without postings has no row. Raises `InvalidType`.
    """
    record = _recorder()
    yield record(COLUMNS)
    for entry in checked(entries):
        before = (
            str(entry.sequence),
            format_timestamp(entry.timestamp),
            format_timestamp(effective_at(entry)),
            entry.intent.value,
            safe_cell(entry.correlation_id),
            entry.causality_id or "",
        )
        after = (canonical_text(entry.metadata), entry.hash)
        for number, posting in enumerate(entry.postings, start=1):
            account = posting.account
            moved = (account.text, account.asset, posting.side.value, str(posting.amount))
            yield record((*before, str(number), *moved, *after))


def table_csv_lines(table: Table[Row]) -> Iterator[str]:
    r"""Write a table as CSV: a header, then its rows with every column, each ended by `\r\n`.

    Lists and nested values are canonical JSON in one cell; no value is an empty cell. Raises `InvalidType`.
    """
    if not isinstance(table, Table):
        raise InvalidType(f"a Table is written, not {type(table).__name__}")
    return _table_lines(table)


def _table_lines(table: Table[Row]) -> Iterator[str]:
    record = _recorder()
    columns = table.columns
    yield record(columns)
    for row in table:
        yield record([_cell(plain(getattr(row, name))) for name in columns])


def _cell(value: object) -> str:
    if value is None:
        return ""
    return safe_cell(value if isinstance(value, str) else canonical_text(value))


class _Echo:
    """A file that gives back what is written to it, which the writer of the standard library hands on."""

    def write(self, text: str) -> str:
        return text


def _recorder() -> Callable[[Iterable[str]], str]:
    return csv.writer(_Echo()).writerow
