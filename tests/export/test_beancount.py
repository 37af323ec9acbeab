"""Beancount: its own loader accepts every export and comes to the same balances."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from beancount import loader
from beancount.core import data
from hypothesis import given, settings
from hypothesis import strategies as st

import bibank as bb
from bibank.export import beancount_lines
from bibank.export.beancount_text import beancount_account, beancount_commodity
from tests.export.random_books import NOON, books, debit_balances, histories, key_of, parts

# Beancount counts with 28 digits: 27 leave room for the sum of a history.
random_histories = histories(digits=27)

POSTING = re.compile(r"  (?P<account>[A-Z]\S+)  (?P<units>-?[0-9]+\.[0-9]{8}) (?P<commodity>\S+)")


def to_key(name: str) -> str:
    """Read an account of Beancount back."""
    return key_of(name, unescape=lambda rest: rest.replace("-", "_"))


def units(number: Decimal | str) -> int:
    """Count the units of a number of an export."""
    text = number if isinstance(number, str) else f"{number:f}"
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(8, "0"))


def load(text: str) -> list[Any]:
    """Let Beancount read a text; every complaint of it fails."""
    found, errors, _ = loader.load_string(text)
    assert errors == [], (errors, text)
    return list(found)


def transactions(found: list[Any]) -> list[Any]:
    """Give the transactions among directives."""
    return [row for row in found if type(row) is data.Transaction]


def text_of(ledger: bb.Ledger) -> str:
    """Export a ledger."""
    return "".join(beancount_lines(ledger.entries()))


@settings(max_examples=25)
@given(random_histories)
def test_beancount_accepts_it_and_comes_to_the_same_balances(drafts: list[bb.UnsignedEntry]) -> None:
    """No error, every account's balance by Beancount's own sum, and every balance asserted."""
    ledger = books(drafts)
    found = load(text_of(ledger))
    sums: Counter[str] = Counter()
    for transaction in transactions(found):
        for posting in transaction.postings:
            key = to_key(posting.account)
            assert posting.units.currency.removeprefix("X.") == key.split(":")[3]
            sums[key] += units(posting.units.number)
    assert dict(sums) == debit_balances(ledger)
    balances = [row for row in found if type(row) is data.Balance]
    asserted = {to_key(row.account): units(row.amount.number or "") for row in balances}
    assert asserted == debit_balances(ledger)
    assert {row.tolerance for row in balances} <= {0}


@given(random_histories)
def test_transactions_are_the_entries(drafts: list[bb.UnsignedEntry]) -> None:
    """Date, id, sequence, intent and hash of each entry stand in its transaction; read without Beancount."""
    ledger = books(drafts)
    text = text_of(ledger)
    blocks = [block for block in text.split("\n\n") if re.match(r"[0-9-]{10} \*", block)]
    entries = [entry for entry in ledger.entries() if entry.postings]
    sums: Counter[str] = Counter()
    for block, entry in zip(blocks, entries, strict=True):
        head, *meta = block.splitlines()
        when = str(entry.metadata.get("bb.effective_at", entry.timestamp.isoformat()))[:10]
        assert head == f'{when} * "{entry.correlation_id.translate(ESCAPES)}"'
        assert f"  sequence: {entry.sequence}" in meta
        assert f'  intent: "{entry.intent.value}"' in meta
        assert f'  hash: "{entry.hash}"' in meta
        postings = [match for line in meta if (match := POSTING.fullmatch(line))]
        assert len(postings) == len(entry.postings)
        for match in postings:
            sums[to_key(match["account"])] += units(match["units"])
    assert dict(sums) == debit_balances(ledger)


ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\"})


@settings(max_examples=25)
@given(random_histories)
def test_beancount_reads_ids_and_hashes_back(drafts: list[bb.UnsignedEntry]) -> None:
    """Narration and metadata are, after Beancount's own reading, exactly what the journal holds."""
    ledger = books(drafts)
    found = {int(row.meta["sequence"]): row for row in transactions(load(text_of(ledger)))}
    entries = [entry for entry in ledger.entries() if entry.postings]
    assert [entry.sequence for entry in entries] == sorted(found)
    for entry in entries:
        row = found[entry.sequence]
        assert (row.narration, row.meta["hash"]) == (entry.correlation_id, entry.hash)
        assert row.meta["intent"] == entry.intent.value


def test_a_small_ledger() -> None:
    """The whole text of a small ledger, as people read it."""
    ledger = books([], opening={"USDT": "50"})
    ledger.deposit("BOB_2", "1.5 1INCH", correlation_id='say "hi"', effective_at=NOON - timedelta(days=30))
    first, second = ledger.entries()
    assert (
        text_of(ledger)
        == f"""\
;; Exported from a bibank journal: a copy for reading. Debits are positive.
;; Dates are the UTC days on which entries count; "recorded" is when they were written down.

2026-01-25 * "{first.correlation_id}"
  sequence: 1
  intent: "genesis"
  recorded: "2026-01-25T19:00:00Z"
  hash: "{first.hash}"
  Assets:SYSTEM:VAULT:USDT:MAIN  50.00000000 USDT
  Equity:SYSTEM:CAPITAL:USDT:MAIN  -50.00000000 USDT

2025-12-26 * "say \\"hi\\""
  sequence: {second.sequence}
  intent: "deposit"
  recorded: "{second.timestamp.isoformat().replace("+00:00", "Z")}"
  effective: "2025-12-26T12:00:00Z"
  hash: "{second.hash}"
  Assets:SYSTEM:VAULT:1INCH:MAIN  1.50000000 X.1INCH
  Liabilities:USER:BOB-2:1INCH:AVAILABLE  -1.50000000 X.1INCH

2025-12-26 commodity X.1INCH
  asset: "1INCH"
2026-01-25 commodity USDT
  asset: "USDT"

2025-12-26 open Assets:SYSTEM:VAULT:1INCH:MAIN X.1INCH
2026-01-25 open Assets:SYSTEM:VAULT:USDT:MAIN USDT
2026-01-25 open Equity:SYSTEM:CAPITAL:USDT:MAIN USDT
2025-12-26 open Liabilities:USER:BOB-2:1INCH:AVAILABLE X.1INCH

2026-01-26 balance Assets:SYSTEM:VAULT:1INCH:MAIN  1.50000000 ~ 0 X.1INCH
2026-01-26 balance Assets:SYSTEM:VAULT:USDT:MAIN  50.00000000 ~ 0 USDT
2026-01-26 balance Equity:SYSTEM:CAPITAL:USDT:MAIN  -50.00000000 ~ 0 USDT
2026-01-26 balance Liabilities:USER:BOB-2:1INCH:AVAILABLE  -1.50000000 ~ 0 X.1INCH
"""
    )
    load(text_of(ledger))


def test_beancount_finds_one_unit_that_is_missing() -> None:
    """Neither a posting nor a balance may be off by one unit: nothing is within a tolerance."""
    ledger = books([], opening={"USDT": "50"})
    ledger.deposit("BOB", "1.5 USDT", correlation_id="r1")
    text = text_of(ledger)
    for line in re.findall(r"^.*51\.50000000.*$|^.* 1\.50000000.*$", text, re.MULTILINE):
        altered = text.replace(line, re.sub(r"50000000", "50000001", line))
        assert altered != text
        _, errors, _ = loader.load_string(altered)
        assert errors, line


@given(st.tuples(parts, parts), st.tuples(parts, parts))
def test_names_are_one_to_one(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Two accounts are never one in Beancount, nor are two assets, and each is read back."""
    keys = [bb.AccountKey(f"LIAB:USER:{owner}:{asset}:AVAILABLE") for owner, asset in (one, other)]
    names = [beancount_account(key) for key in keys]
    assert [to_key(name) for name in names] == [str(key) for key in keys]
    assert (names[0] == names[1]) is (keys[0] == keys[1])
    commodities = [beancount_commodity(key.asset) for key in keys]
    assert (commodities[0] == commodities[1]) is (keys[0].asset == keys[1].asset)


@pytest.mark.parametrize("category", list(bb.AccountCategory))
def test_categories_have_roots(category: bb.AccountCategory) -> None:
    """Each category has the root of its meaning."""
    key = bb.AccountKey.of(category=category, segment="SYSTEM", id="A", asset="B", sub_account="C")
    assert to_key(beancount_account(key)) == str(key)


def test_what_beancount_would_round_is_refused() -> None:
    """28 digits are written, 29 are a typed error, in an entry and in a balance."""
    ledger = books([], opening={})
    largest = bb.Money(bb.Amount.from_units(10**28 - 1), "WEI")
    ledger.deposit("BOB", largest, correlation_id="r1")
    load(text_of(ledger))
    ledger.deposit("BOB", "0.00000001 WEI", correlation_id="r2")
    with pytest.raises(bb.AmountOverflow, match="28 digits"):
        text_of(ledger)
    ledger = books([], opening={})
    ledger.deposit("BOB", bb.Money(bb.Amount.from_units(10**28), "WEI"), correlation_id="r1")
    with pytest.raises(bb.AmountOverflow, match="hledger or CSV"):
        text_of(ledger)


def test_the_last_day_of_the_calendar() -> None:
    """No day comes after it, so balances are left out and the text says so."""
    ledger = books([], opening={"USDT": "5"})
    ledger.deposit(
        "BOB", "1 USDT", correlation_id="r1", effective_at=NOON.replace(year=9999, month=12, day=31)
    )
    text = text_of(ledger)
    assert not [row for row in load(text) if type(row) is data.Balance]
    assert text.endswith("none comes after it.\n")


def test_nothing_to_export() -> None:
    """A ledger without an opening is accepted too; what is no entry is a typed error."""
    ledger = books([], opening={})
    assert load(text_of(ledger)) == []
    with pytest.raises(bb.InvalidType, match="JournalEntry"):
        list(beancount_lines(ledger.records()))  # type: ignore[arg-type]  # the point
