"""Arrow: tables as columns of exact types, for pyarrow, pandas, polars and DuckDB."""

from __future__ import annotations

import ast
import importlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import attrs
import duckdb
import pandas
import polars
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bibank as bb
from bibank.model.arrow import schema_of
from bibank.model.json_value import METADATA_LIMITS, FrozenMap, JsonValue, freeze
from bibank.model.table import Table
from tests.properties.histories import draft, entries

ROOT = Path(__file__).resolve().parents[2]
AMOUNT = pyarrow.decimal128(38, 8)
MOMENT = pyarrow.timestamp("us", tz="UTC")
LARGEST = 10**38 - 1

units = st.integers(-LARGEST, LARGEST)
moments = st.datetimes(timezones=st.just(UTC))


@attrs.frozen(kw_only=True)
class Rich:
    """A row with every kind of annotation."""

    amount: bb.Amount
    change: bb.SignedAmount | None
    money: bb.Money
    account: bb.AccountKey
    moment: datetime
    number: int
    flag: bool
    side: bb.Side
    level: Literal["low", "high"]
    names: tuple[str, ...]
    postings: tuple[bb.Posting, ...]
    entry: bb.Head | None
    metadata: FrozenMap
    either: int | str
    anything: object
    pair: tuple[int, str]


rich = st.builds(
    Rich,
    amount=st.integers(0, LARGEST).map(bb.Amount.from_units),
    change=st.none() | units.map(bb.SignedAmount.from_units),
    money=st.integers(0, LARGEST).map(lambda n: bb.Money(bb.Amount.from_units(n), "BTC")),
    account=st.sampled_from([bb.AccountKey("LIAB:USER:A_1:BTC:AVAILABLE")]),
    moment=moments,
    number=st.integers(-(2**63), 2**63 - 1),
    flag=st.booleans(),
    side=st.sampled_from(bb.Side),
    level=st.sampled_from(["low", "high"]),
    names=st.lists(st.sampled_from(["", "a", "é"]), max_size=3).map(tuple),
    postings=st.lists(
        st.integers(1, LARGEST).map(
            lambda n: bb.Posting.debit("LIAB:USER:B:BTC:AVAILABLE", bb.Amount.from_units(n))
        ),
        max_size=2,
    ).map(tuple),
    entry=st.none() | st.builds(bb.Head, st.integers(0, 9), st.just("ab")),
    metadata=st.sampled_from([{}, {"b": [1, None], "a": {"k": "é"}}]).map(
        lambda value: freeze(value, METADATA_LIMITS)
    ),
    either=st.integers(-5, 5) | st.just("x"),
    anything=st.sampled_from([None, 5, "x", True]),
    pair=st.just((1, "a")),
)


def as_dicts(table: pyarrow.Table, *, like: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Spell what came back as `to_dicts` does, so that the two can be compared."""
    found: list[dict[str, Any]] = [
        {name: _plain(value) for name, value in row.items()} for row in table.to_pylist()
    ]
    for row, wanted in zip(found, like, strict=True):
        for name, value in wanted.items():
            if isinstance(row[name], str) and not isinstance(value, str):
                row[name] = json.loads(row[name])
            elif isinstance(row[name], dict) and isinstance(value, str):  # money, which is text in a dict
                row[name] = f"{row[name]['amount']} {row[name]['asset']}"
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        assert value.as_tuple().exponent == -8
        return str(bb.SignedAmount(value))
    if isinstance(value, datetime):
        assert value.utcoffset() == timedelta(0)
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


@given(st.lists(rich, max_size=4))
def test_arrow_says_what_the_rows_say(rows: list[Rich]) -> None:
    """Whatever the rows hold, the columns give back the values of `to_dicts`."""
    table = Table(rows, row_type=Rich)
    wanted = table.to_dicts()
    for row in wanted:  # JSON text in a column of any type, which the comparison does not read back
        row["either"] = json.dumps(row["either"])
        row["anything"] = None if row["anything"] is None else json.dumps(row["anything"])
    assert as_dicts(table.to_arrow(), like=wanted) == wanted


@given(st.lists(entries, max_size=6))
def test_entries_of_a_random_history(asked: list[Any]) -> None:
    """Entries and balances of any history come through the stream as they are."""
    ledger = bb.Ledger.in_memory({"USDT": "5", "BTC": "3"})
    ledger.commit_each([draft(entry) for entry in asked])
    for table in (ledger.entries(), ledger.accounts()):
        streamed = pyarrow.RecordBatchReader.from_stream(table).read_all()
        assert streamed.schema == table.to_arrow().schema
        assert as_dicts(streamed, like=table.to_dicts()) == table.to_dicts()


def test_types_follow_from_annotations() -> None:
    """Each annotation has its Arrow type, with or without rows; only what may be missing is nullable."""
    posting = pyarrow.struct(
        [
            pyarrow.field("account", pyarrow.string(), nullable=False),
            pyarrow.field("amount", AMOUNT, nullable=False),
            pyarrow.field("side", pyarrow.string(), nullable=False),
        ]
    )
    money = pyarrow.struct(
        [posting.field("amount"), pyarrow.field("asset", pyarrow.string(), nullable=False)]
    )
    head = pyarrow.struct(
        [
            pyarrow.field("sequence", pyarrow.int64(), nullable=False),
            pyarrow.field("hash", pyarrow.string(), nullable=False),
        ]
    )
    wanted = {
        "amount": (AMOUNT, False),
        "change": (AMOUNT, True),
        "money": (money, False),
        "account": (pyarrow.string(), False),
        "moment": (MOMENT, False),
        "number": (pyarrow.int64(), False),
        "flag": (pyarrow.bool_(), False),
        "side": (pyarrow.string(), False),
        "level": (pyarrow.string(), False),
        "names": (pyarrow.list_(pyarrow.field("item", pyarrow.string(), nullable=False)), False),
        "postings": (pyarrow.list_(pyarrow.field("item", posting, nullable=False)), False),
        "entry": (head, True),
        "metadata": (pyarrow.string(), False),
        "either": (pyarrow.string(), False),
        "anything": (pyarrow.string(), True),
        "pair": (pyarrow.string(), True),
    }
    schema = Table((), row_type=Rich).to_arrow().schema
    assert {field.name: (field.type, field.nullable) for field in schema} == wanted
    assert schema == schema_of(Rich)


# --------------------------------------------------------------------------- every listing


def listed_row_types() -> Iterator[type]:
    """Find the row type of every listing of the library: each `Table[X]` that a function gives."""
    for path in sorted((ROOT / "bibank").rglob("*.py")):
        name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "row_type" and isinstance(node.value, ast.Name):
                found = getattr(importlib.import_module(name), node.value.id, None)
                if isinstance(found, type):
                    yield found


def test_every_listing_has_columns() -> None:
    """The row type of every listing has an Arrow schema, without a table of nothing being special."""
    found = set(listed_row_types())
    assert {
        bb.AccountBalance,
        bb.AccountTerms,
        bb.Attestation,
        bb.Balance,
        bb.BalanceChange,
        bb.Finding,
        bb.Hold,
        bb.JournalEntry,
        bb.JournalRecord,
        bb.Proposal,
    } <= found
    for row_type in found:
        table: Table[Any] = Table((), row_type=row_type)
        schema = table.to_arrow().schema
        assert tuple(schema.names) == table.columns
        assert schema == schema_of(row_type)


def test_amounts_and_times_of_listings_have_their_types() -> None:
    """No listing spells an amount or a time as text."""
    for row_type in set(listed_row_types()):
        hints = {field.name: field.type for field in attrs.fields(row_type)}
        schema = schema_of(row_type)
        for name, hint in hints.items():
            if str(hint) in ("Amount", "SignedAmount") or str(hint).startswith("<class 'bibank.model.amount"):
                assert schema.field(name).type == AMOUNT, (row_type, name)
            if str(hint) in ("datetime", "datetime | None"):
                assert schema.field(name).type == MOMENT, (row_type, name)


# --------------------------------------------------------------------------- who reads it


class Stream:
    """A table that offers its stream and nothing else: polars looks at sequences another way."""

    def __init__(self, table: Table[Any]) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


@attrs.frozen
class Line:
    """A row that is summed."""

    name: str
    change: bb.SignedAmount


# A sum of four of them has 37 digits at most, which every reader can hold.
changes = st.lists(st.integers(-(10**36), 10**36), min_size=1, max_size=4)


@given(changes)
def test_readers_sum_exactly(given_units: list[int]) -> None:
    """pandas, polars and DuckDB read the stream, and their sums are those of the integers."""
    lines = Table([Line(f"n{n}", bb.SignedAmount.from_units(n)) for n in given_units], row_type=Line)
    exact = bb.SignedAmount.from_units(sum(given_units))

    frame = polars.DataFrame(Stream(lines))
    assert frame.schema["change"] == polars.Decimal(38, 8)
    total: Any = frame["change"].sum()
    assert bb.SignedAmount(total) == exact
    assert polars.DataFrame(lines.to_arrow()).equals(frame)

    relation = duckdb.sql("select sum(change), count(*) from lines")
    assert relation is not None
    assert [(bb.SignedAmount(sum_), count) for sum_, count in relation.fetchall()] == [(exact, len(lines))]

    series = lines.to_arrow().to_pandas()["change"]
    assert sum((bb.SignedAmount(value).units for value in series), 0) == exact.units
    if hasattr(pandas.DataFrame, "from_arrow"):  # pandas 3 reads streams itself
        assert list(pandas.DataFrame.from_arrow(lines)["change"]) == list(series)


def test_readers_of_nothing() -> None:
    """A listing of nothing has its columns everywhere."""
    nothing = Table((), row_type=Line)
    assert polars.DataFrame(Stream(nothing)).columns == ["name", "change"]
    relation = duckdb.sql("select change from nothing")
    assert relation is not None
    assert (relation.columns, relation.fetchall()) == (["change"], [])
    assert list(nothing.to_arrow().to_pandas().columns) == ["name", "change"]


# --------------------------------------------------------------------------- what cannot be


@pytest.mark.parametrize("sign", [1, -1])
def test_an_amount_of_39_digits_is_refused(sign: int) -> None:
    """What decimal128 cannot hold is a typed error that names the column, never another number."""
    most = Table([Line("a", bb.SignedAmount.from_units(sign * LARGEST))], row_type=Line)
    assert bb.SignedAmount(most.to_arrow()["change"][0].as_py()).units == sign * LARGEST
    over = Table([Line("a", bb.SignedAmount.from_units(sign * (LARGEST + 1)))], row_type=Line)
    with pytest.raises(bb.AmountOverflow, match=r"column change: .* more than 38 digits"):
        over.to_arrow()
    with pytest.raises(bb.AmountOverflow):
        over.__arrow_c_stream__()


class Hue(Enum):
    """An enumeration of numbers."""

    RED = 1


@attrs.frozen
class Odd:
    """A row of a host with unusual annotations."""

    when: datetime
    hue: Hue
    tree: JsonValue
    bare: Any
    count: int = 0


@pytest.mark.parametrize(
    "row",
    [
        Odd(datetime(2026, 1, 25), Hue.RED, None, None),  # noqa: DTZ001 - a naive time is the point
        Odd(datetime(2026, 1, 25, tzinfo=timezone(timedelta(hours=1))), Hue.RED, None, None),
        Odd(datetime(2026, 1, 25, tzinfo=UTC), Hue.RED, None, None, 2**63),
        Odd(datetime(2026, 1, 25, tzinfo=UTC), Hue.RED, None, None, "5"),  # type: ignore[arg-type]  # the point
        Odd("today", Hue.RED, None, None),  # type: ignore[arg-type]  # the point
        Odd(datetime(2026, 1, 25, tzinfo=UTC), Hue.RED, None, 0.5),
    ],
    ids=["naive", "not UTC", "large", "text", "no time", "float"],
)
def test_rows_that_are_not_what_they_say(row: Odd) -> None:
    """A value that does not fit its annotation is a typed error of the library."""
    with pytest.raises(bb.InvalidInput):
        Table([row], row_type=Odd).to_arrow()


def test_free_annotations_are_json() -> None:
    """What has no type of its own is canonical JSON."""
    row = Odd(datetime(2026, 1, 25, tzinfo=UTC), Hue.RED, ("a", None), "x")
    (found,) = Table([row], row_type=Odd).to_arrow().to_pylist()
    assert (found["hue"], found["tree"], found["bare"]) == ("1", '["a",null]', '"x"')


def test_annotations_that_nobody_can_read() -> None:
    """A row type with a name that does not exist is a typed error."""

    @attrs.frozen
    class Local:
        value: Missing  # type: ignore[name-defined]  # the point  # noqa: F821 - the point

    with pytest.raises(bb.InvalidType, match="annotations of Local"):
        Table((), row_type=Local).to_arrow()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow the error says what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(bb.ConfigurationError, match=r"pip install 'bibank\[arrow\]'"):
        Table((), row_type=Line).to_arrow()
