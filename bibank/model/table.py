"""Tables: what listings return. A sequence of rows that prints itself, in a terminal and in Jupyter.

>>> import attrs
>>> @attrs.frozen
... class Row:
...     asset: str
...     amount: int
>>> print(Table([Row("USDT", 5), Row("BTC", 12)], row_type=Row))
asset  amount
-----  ------
USDT        5
BTC        12
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import attrs

from bibank.model.account import AccountKey
from bibank.model.amount import Amount, SignedAmount
from bibank.model.entry import Posting
from bibank.model.json_value import FrozenMap, thaw
from bibank.model.money import Money
from bibank.model.timestamp import format_timestamp

if TYPE_CHECKING:
    import pyarrow

Row = TypeVar("Row")

_MAX_CELL = 60
"""Characters of a cell in plain text and HTML; `to_dicts` cuts nothing."""

_MAX_SHOWN = 200
"""Rows that a table prints; it says how many it left out."""


class Table(Sequence[Row], Generic[Row]):
    """An immutable sequence of attrs rows. `shown` are the columns that are printed; the rows have all.

    Index, slice (a slice is a `Table`) and iterate it; `print` it; show it in a notebook;
    `to_dicts()` gives plain JSON-ready values with amounts as text. `to_arrow()` gives columns of exact
    types; pandas, polars and DuckDB also take the table itself, through the Arrow stream that it offers.
    """

    __slots__ = ("_row_type", "_rows", "_shown")

    def __init__(
        self, rows: Iterable[Row], *, row_type: type[Row], shown: Sequence[str] | None = None
    ) -> None:
        self._rows = tuple(rows)
        self._row_type = row_type
        self._shown = tuple(shown) if shown is not None else self.columns

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Table[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Table[Row]:
        """Give one row, or a table of a slice of them."""
        if isinstance(index, slice):
            return Table(self._rows[index], row_type=self._row_type, shown=self._shown)
        return self._rows[index]

    def __eq__(self, other: object) -> bool:
        return self._rows == other._rows if isinstance(other, Table) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns: the row type's fields in their order."""
        return tuple(field.name for field in attrs.fields(self._row_type))  # type: ignore[arg-type]  # rows are attrs

    def to_dicts(self) -> list[dict[str, Any]]:
        """Give each row as a dict of JSON values: amounts, times and keys as text."""
        return [{name: plain(getattr(row, name)) for name in self.columns} for row in self._rows]

    def to_arrow(self) -> pyarrow.Table:
        """Give the rows as a `pyarrow.Table`, whose columns follow from the row type alone.

        Amounts are `decimal128(38, 8)`, times `timestamp('us', 'UTC')`, numbers `int64`, keys and
        enumerations text, tuples lists, values with fields structs, metadata and bodies canonical JSON.

        Raises `ConfigurationError` without the extra `arrow`, `AmountOverflow` for an amount of 39 digits,
        `InvalidType` and `InvalidValue` for rows of a host whose annotations say nothing or something else.
        """
        from bibank.model import arrow

        return arrow.to_arrow(self, row_type=self._row_type, plain=plain)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Offer the rows to any program that speaks the Arrow PyCapsule protocol; raises as `to_arrow`."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return f"<Table of {len(self)} {self._row_type.__name__} rows>"

    def __str__(self) -> str:
        shown = self._rows[:_MAX_SHOWN]
        rows = [[_cell(getattr(row, name)) for name in self._shown] for row in shown]
        right = [all(_is_number(getattr(row, name)) for row in shown) and bool(shown) for name in self._shown]
        widths = [max(map(len, column)) for column in zip(self._shown, *rows, strict=True)]
        lines = [self._shown, tuple("-" * width for width in widths), *rows]
        text = [
            "  ".join(
                cell.rjust(width) if is_right else cell.ljust(width)
                for cell, width, is_right in zip(line, widths, right, strict=True)
            ).rstrip()
            for line in lines
        ]
        if len(self) > _MAX_SHOWN:
            text.append(f"... and {len(self) - _MAX_SHOWN} more rows")
        return "\n".join(text)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self._shown)
        body = "".join(
            "<tr>"
            + "".join(f"<td>{html.escape(_cell(getattr(row, name)))}</td>" for name in self._shown)
            + "</tr>"
            for row in self._rows[:_MAX_SHOWN]
        )
        more = f"<p>... and {len(self) - _MAX_SHOWN} more rows</p>" if len(self) > _MAX_SHOWN else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, Amount, SignedAmount))


def _cell(value: object) -> str:
    if isinstance(value, tuple) and value and isinstance(value[0], Posting):
        text = "; ".join(f"{p.side.value} {p.account} {p.amount}" for p in value)
    else:
        text = "" if value is None else str(plain(value))
    return text if len(text) <= _MAX_CELL else text[: _MAX_CELL - 3] + "..."


def plain(value: object) -> Any:  # noqa: ANN401 - plain JSON data has no narrower type
    """Turn a value of the model into JSON values: the one place where rows become plain data."""
    if isinstance(value, (Amount, SignedAmount, AccountKey, Money)):
        return str(value)
    if isinstance(value, datetime):
        return format_timestamp(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, FrozenMap):
        return thaw(value)
    if isinstance(value, Mapping):
        return {plain(name): plain(member) for name, member in value.items()}
    kind = type(value)
    if attrs.has(kind):
        return {field.name: plain(getattr(value, field.name)) for field in attrs.fields(kind)}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value
