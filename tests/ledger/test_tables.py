"""Tables: what listings return, for programs, terminals and notebooks."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

import bibank as bb
from tests.store.journals import StillClock, deposit


@pytest.fixture
def ledger() -> bb.Ledger:
    """A ledger with an entry whose texts look like markup."""
    ledger = bb.Ledger.in_memory({"USDT": "100"}, clock=StillClock())
    ledger.deposit(
        "ALICE",
        "1.5 USDT",
        correlation_id="<script>alert('x')</script>",
        metadata={"note": "<b>&</b>", "tags": ["a", None, True, 5], "inner": {"k": "v"}},
    )
    return ledger


def test_a_table_is_a_sequence(ledger: bb.Ledger) -> None:
    """It has a length, is indexed and iterated, and a slice of it is a table."""
    rows = ledger.entries()
    assert len(rows) == 2
    assert rows[0].sequence == 1
    assert rows[-1] == list(rows)[1] == ledger.entry(3)
    part = rows[1:]
    assert isinstance(part, bb.Table)
    assert list(part) == [rows[1]]
    assert rows[1] in rows
    assert rows.index(rows[1]) == 1
    with pytest.raises(IndexError):
        rows[2]


def test_tables_compare_by_rows(ledger: bb.Ledger) -> None:
    """Two listings of the same rows are equal and hash alike; a list is no table."""
    assert ledger.accounts() == ledger.accounts()
    assert hash(ledger.accounts()) == hash(ledger.accounts())
    assert ledger.accounts() != ledger.accounts("LIAB")
    assert ledger.accounts() != list(ledger.accounts())


def test_a_table_prints_itself(ledger: bb.Ledger) -> None:
    """Columns are aligned, numbers to the right."""
    assert str(ledger.accounts()).splitlines() == [
        "account                          balance",
        "-------------------------------  -------",
        "ASSET:SYSTEM:VAULT:USDT:MAIN       101.5",
        "EQUITY:SYSTEM:CAPITAL:USDT:MAIN      100",
        "LIAB:USER:ALICE:USDT:AVAILABLE       1.5",
    ]
    assert str(ledger.accounts("NOTHING")).splitlines() == ["account  balance", "-------  -------"]
    assert repr(ledger.accounts()) == "<Table of 3 AccountBalance rows>"
    assert repr(ledger.entries()) == "<Table of 2 JournalEntry rows>"
    assert repr(ledger.preview(deposit("A", "1 USDT"))) == "<Table of 2 BalanceChange rows>"


def test_a_long_table_is_cut_when_it_is_printed() -> None:
    """200 rows are shown, and how many are not; no value is left out of the data."""
    ledger = bb.Ledger.in_memory()
    ledger.commit_each([deposit(f"OWNER{number}", "1 USDT") for number in range(250)])
    rows = ledger.accounts("LIAB")
    assert str(rows).splitlines()[-1] == "... and 50 more rows"
    assert len(str(rows).splitlines()) == 203
    assert "... and 50 more rows" in rows._repr_html_()
    assert len(rows.to_dicts()) == 250


def test_a_table_shows_itself_in_a_notebook_without_markup_of_others(ledger: bb.Ledger) -> None:
    """Every value is escaped: what a caller wrote into a ledger is text in a page, never a tag."""
    seen: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            seen.append(tag)

    text = ledger.entries()._repr_html_()
    Tags().feed(text)
    assert set(seen) == {"table", "thead", "tbody", "tr", "th", "td"}
    assert "&lt;script&gt;" in text
    assert text.count("<tr>") == 3


def test_to_dicts_is_plain_json(ledger: bb.Ledger) -> None:
    """Amounts, times, keys and enums are text; nothing is cut; JSON can hold it."""
    assert ledger.accounts("LIAB").to_dicts() == [
        {"account": "LIAB:USER:ALICE:USDT:AVAILABLE", "balance": "1.5"}
    ]
    row = ledger.entries()[1:].to_dicts()[0]
    assert json.loads(json.dumps(row)) == row
    assert row["sequence"] == 3
    assert row["timestamp"] == "2026-01-25T10:00:00Z"
    assert row["intent"] == "deposit"
    assert row["metadata"] == {"note": "<b>&</b>", "tags": ["a", None, True, 5], "inner": {"k": "v"}}
    assert row["postings"] == [
        {"account": "ASSET:SYSTEM:VAULT:USDT:MAIN", "amount": "1.5", "side": "debit"},
        {"account": "LIAB:USER:ALICE:USDT:AVAILABLE", "amount": "1.5", "side": "credit"},
    ]
    assert ledger.balances("ALICE").to_dicts() == [
        {"asset": "USDT", "posted": "1.5", "pending": "0", "available": "1.5"}
    ]


def test_columns_are_the_fields_of_a_row(ledger: bb.Ledger) -> None:
    """Listings of nothing have their columns too."""
    assert ledger.accounts("NOTHING").columns == ("account", "balance")
    assert ledger.balances("NOBODY").columns == ("asset", "posted", "pending", "available")
    assert ledger.entries(limit=0).columns[:3] == ("sequence", "prev_hash", "hash")
