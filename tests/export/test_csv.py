"""CSV: every posting, every column, and nothing that a spreadsheet would calculate."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from typing import Any, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bibank as bb
from bibank.export import csv_lines, table_csv_lines
from bibank.export.csv_text import safe_cell
from bibank.model.table import Table
from tests.export.random_books import books, debit_balances, histories

texts = st.text(
    st.sampled_from("=+-@\uff1d\uff0b\uff0d\uff20\ufe62\u207a'\t\r\n ,;\"|0159.eaé\u00a0\ufeff\u200b")
    | st.characters(codec="utf-8"),
    max_size=8,
)


def read(text: str) -> list[dict[str, str]]:
    """Read CSV with the standard library, and take back what made cells safe."""
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    return [{name: cell.removeprefix("'") for name, cell in row.items()} for row in rows]


@given(histories(digits=38))
def test_csv_holds_every_posting(drafts: list[bb.UnsignedEntry]) -> None:
    """Read back, it is the entries, and the sums of its rows are the balances."""
    ledger = books(drafts)
    rows = read("".join(csv_lines(ledger.entries())))
    wanted = [(entry, number) for entry in ledger.entries() for number in range(len(entry.postings))]
    sums: Counter[str] = Counter()
    for row, (entry, number) in zip(rows, wanted, strict=True):
        posting, plain = entry.postings[number], bb.Table([entry], row_type=bb.JournalEntry).to_dicts()[0]
        assert row == {
            "sequence": str(entry.sequence),
            "timestamp": plain["timestamp"],
            "effective_at": entry.metadata.get("bb.effective_at", plain["timestamp"]),
            "intent": entry.intent.value,
            "correlation_id": entry.correlation_id,
            "causality_id": entry.causality_id or "",
            "posting": str(number + 1),
            "account": str(posting.account),
            "asset": posting.account.asset,
            "side": posting.side.value,
            "amount": str(posting.amount),
            "metadata": row["metadata"],
            "hash": entry.hash,
        }
        assert json.loads(row["metadata"]) == plain["metadata"]
        units = bb.Amount(row["amount"]).units
        sums[row["account"]] += units if row["side"] == "debit" else -units
    assert dict(sums) == debit_balances(ledger)


def test_a_small_ledger() -> None:
    """The whole text of a small ledger, a formula among its ids."""
    ledger = books([], opening={})
    entry = ledger.deposit("BOB", "1.5 USDT", correlation_id='=1+1, "x"', metadata={"note": "-5"})
    first = f'{entry.sequence},2026-01-26T09:00:00Z,2026-01-26T09:00:00Z,deposit,"\'=1+1, ""x""",,'
    last = f'1.5,"{{""note"":""-5""}}",{entry.hash}'
    assert list(csv_lines(ledger.entries())) == [
        "sequence,timestamp,effective_at,intent,correlation_id,causality_id,posting,account,asset,side,amount,metadata,hash\r\n",
        f"{first}1,ASSET:SYSTEM:VAULT:USDT:MAIN,USDT,debit,{last}\r\n",
        f"{first}2,LIAB:USER:BOB:USDT:AVAILABLE,USDT,credit,{last}\r\n",
    ]
    assert list(csv_lines([])) == [next(csv_lines(ledger.entries()))]


@given(texts)
def test_no_cell_is_a_formula(text: str) -> None:
    """A cell that is no number does not begin as a formula, however it is dressed; the text is read back."""
    cell = safe_cell(text)
    assert cell in (text, "'" + text)
    assert cell.removeprefix("'") == text
    if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text, re.ASCII):
        assert cell == text
    else:
        assert not re.match("[\\s\ufeff\u200b]*[=+\\-@\uff1d\uff0b\uff0d\uff20\ufe62\u207a]", cell)
        assert cell[:1] not in ("\t", "\r", "\n")


@pytest.mark.parametrize(
    "text",
    ["=1", "+1", "-a", "@A", "\ta", "\ra", "\na", " =1", "\u00a0=1", "\ufeff=1", "\uff1d1", "\uff0b1",
     "\uff0d1", "\uff201", "--1", "-", "-1e5", "-1.", "'a", "-1+1", "+1.5", "-\u0661"],
)  # fmt: skip
def test_what_is_made_safe(text: str) -> None:
    """Everything that a spreadsheet might calculate gets an apostrophe."""
    assert safe_cell(text) == "'" + text


@pytest.mark.parametrize("text", ["", "5", "-5", "-0.5", "a=1", "r-1", " ", "a@b", '{"a":1}', "5'"])
def test_what_stays_as_it_is(text: str) -> None:
    """Numbers, also negative ones, and plain texts are left alone."""
    assert safe_cell(text) == text


@attrs.frozen
class Row:
    """A row of a listing with nested values."""

    name: str
    change: bb.SignedAmount
    parts: tuple[str, ...]
    note: str | None = None
    flag: bool = False


@given(
    st.lists(
        st.builds(
            Row,
            texts,
            st.integers(-(10**12), 10**12).map(bb.SignedAmount.from_units),
            st.just(("=a",)),
            st.none() | texts,
            st.booleans(),
        )
    )
)
def test_any_table_is_written(rows: list[Row]) -> None:
    """Each row is read back: negative amounts as numbers, nested values as JSON, nothing as nothing."""
    table = Table(rows, row_type=Row)
    text = "".join(table_csv_lines(table))
    found = read(text)
    wanted: list[dict[str, Any]] = table.to_dicts()
    assert text.count("\n") >= len(rows) + 1
    assert [row["name"] for row in found] == [row["name"] for row in wanted]
    assert [row["change"] for row in found] == [row["change"] for row in wanted]
    assert [json.loads(row["parts"]) for row in found] == [row["parts"] for row in wanted]
    assert [row["note"] for row in found] == [row["note"] or "" for row in wanted]
    assert [json.loads(row["flag"]) for row in found] == [row["flag"] for row in wanted]


def test_listings_as_csv() -> None:
    """A listing has all its columns, also when it is empty; what is no table is a typed error."""
    ledger = books([], opening={"USDT": "5"})
    assert "".join(table_csv_lines(ledger.accounts())) == (
        "account,balance\r\nASSET:SYSTEM:VAULT:USDT:MAIN,5\r\nEQUITY:SYSTEM:CAPITAL:USDT:MAIN,5\r\n"
    )
    assert list(table_csv_lines(ledger.balances("NOBODY"))) == ["asset,posted,pending,available\r\n"]
    tables: list[Table[Any]] = [ledger.entries(), ledger.records(), ledger.holds(), ledger.rules]
    for table in [*tables, ledger.pending()]:
        header, *rows = csv.reader(table_csv_lines(table))
        assert tuple(header) == table.columns
        assert len(rows) == len(table)
    with pytest.raises(bb.InvalidType):
        table_csv_lines(cast("Table[bb.Balance]", []))
    with pytest.raises(bb.InvalidType):
        list(csv_lines(ledger.records()))  # type: ignore[arg-type]  # the point
