"""Tables: rows that print themselves and become plain data."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import attrs

from bibank.model.account import AccountKey, Side
from bibank.model.amount import Amount, SignedAmount
from bibank.model.balance import AccountBalance, Balance
from bibank.model.entry import Posting
from bibank.model.json_value import METADATA_LIMITS, FrozenMap, freeze
from bibank.model.table import Table, plain

ALICE = AccountKey("LIAB:USER:ALICE:USDT:AVAILABLE")


@attrs.frozen
class Row:
    """A row with a text, a number and something optional."""

    name: str
    count: int
    note: str | None = None


@attrs.frozen
class Rich:
    """A row with every kind of value of the model."""

    amount: Amount
    balance: SignedAmount
    account: AccountKey
    moment: datetime
    side: Side
    metadata: FrozenMap
    postings: tuple[Posting, ...]
    plain: tuple[int, ...]


RICH = Rich(
    amount=Amount("1.5"),
    balance=SignedAmount("-1"),
    account=ALICE,
    moment=datetime(2026, 1, 25, tzinfo=UTC),
    side=Side.DEBIT,
    metadata=freeze({"b": [1, {"c": None}]}, METADATA_LIMITS),
    postings=(Posting.debit(ALICE, 5),),
    plain=(1, 2),
)


def rows(count: int) -> Table[Row]:
    """Make a table of so many rows."""
    return Table((Row(f"n{i}", i) for i in range(count)), row_type=Row)


def test_table_is_an_immutable_sequence() -> None:
    """It has a length, an order, indices and slices, and is equal to a table of equal rows."""
    table = rows(3)
    assert isinstance(table, Sequence)
    assert (len(table), table[0].name, table[-1].count) == (3, "n0", 2)
    assert [row.count for row in table] == [0, 1, 2]
    assert isinstance(table[1:], Table)
    assert table[1:] == Table([Row("n1", 1), Row("n2", 2)], row_type=Row)
    assert table == rows(3)
    assert hash(table) == hash(rows(3))
    assert table != rows(2)
    assert table != [Row("n0", 0)]
    assert repr(table) == "<Table of 3 Row rows>"


def test_table_as_text() -> None:
    """Texts stand left, numbers right, nothing where there is no value."""
    assert str(Table([Row("a", 5, "x"), Row("bcdef", 1200)], row_type=Row)) == (
        "name   count  note\n-----  -----  ----\na          5  x\nbcdef   1200"
    )
    assert str(rows(0)) == "name  count  note\n----  -----  ----"


def test_long_tables_and_cells_are_cut_on_screen_only() -> None:
    """200 rows and 60 characters are shown, with a word about the rest; plain data has all."""
    table = Table([Row("x" * 100, i) for i in range(205)], row_type=Row)
    text, page = str(table), table._repr_html_()
    assert text.endswith("... and 5 more rows")
    assert "x" * 57 + "..." in text
    assert "x" * 61 not in text
    assert page.count("<tr>") == 201
    assert "and 5 more rows" in page
    assert "more rows" not in str(rows(200)) + rows(200)._repr_html_()
    assert len(table.to_dicts()) == 205
    assert table.to_dicts()[0]["name"] == "x" * 100


def test_html_is_escaped() -> None:
    """A name from outside cannot bring its own HTML."""
    page = Table([Row("<script>&\"'", 1)], row_type=Row)._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;&amp;" in page


def test_rich_rows() -> None:
    """Values of the model are spelled canonically, as text and as JSON."""
    table = Table([RICH], row_type=Rich)
    assert table.columns == (
        "amount",
        "balance",
        "account",
        "moment",
        "side",
        "metadata",
        "postings",
        "plain",
    )
    (row,) = table.to_dicts()
    assert row == {
        "amount": "1.5",
        "balance": "-1",
        "account": str(ALICE),
        "moment": "2026-01-25T00:00:00Z",
        "side": "debit",
        "metadata": {"b": [1, {"c": None}]},
        "postings": [{"account": str(ALICE), "amount": "5", "side": "debit"}],
        "plain": [1, 2],
    }
    assert json.loads(json.dumps(row)) == row
    assert f"debit {ALICE} 5" in str(table)


def test_plain_of_a_dict() -> None:
    """A bare mapping becomes a dict."""
    value: dict[str, Any] = {"a": 1}
    assert plain(value) == {"a": 1}


def test_columns_that_are_shown() -> None:
    """A table may print some of its columns; slices keep that, plain data has all."""
    table = Table([Row("a", 5, "x"), Row("b", 6)], row_type=Row, shown=("count", "name"))
    assert str(table[:1]) == "count  name\n-----  ----\n    5  a"
    assert "<th>count</th><th>name</th></tr>" in table._repr_html_()
    assert table.to_dicts()[0] == {"name": "a", "count": 5, "note": "x"}
    assert table.columns == ("name", "count", "note")


def test_balances_are_rows() -> None:
    """The two kinds of balance print as tables."""
    five = SignedAmount(5)
    balance = Balance(asset="USDT", posted=five, pending=SignedAmount(0), available=five)
    assert "USDT" in str(Table([balance], row_type=Balance))
    line = AccountBalance(account=ALICE, balance=five)
    assert str(Table([line], row_type=AccountBalance)).splitlines()[-1] == f"{ALICE}        5"
