"""hledger: the program itself accepts every export, strictly, and prints the same balances.

Where hledger is not installed, its tests are skipped with that reason, or fail where `BIBANK_REQUIRE_HLEDGER`
is set, as the gate does once it has installed it. A few lines here read the same figures without it.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bibank as bb
from bibank.export import hledger_lines
from bibank.export.bookkeeping import account_name
from bibank.export.hledger_text import hledger_commodity, hledger_description
from tests.export.random_books import NOON, books, correlation_ids, debit_balances, histories, key_of, parts

random_histories = histories(digits=37)

POSTING = re.compile(
    r'    (?P<account>[A-Z]\S+)  (?P<units>-?[0-9]+\.[0-9]{8}) (?P<commodity>"\w+"|[A-Z]+)'
    r"(?: = (?P<balance>-?[0-9]+\.[0-9]{8}) (?P=commodity))?"
)


@pytest.fixture(scope="module")
def hledger() -> str:
    """The program; without it the test is skipped, or fails where it has to be there."""
    found = shutil.which("hledger")
    if found is None:
        reason = "hledger is not installed"
        if os.environ.get("BIBANK_REQUIRE_HLEDGER"):
            pytest.fail(f"{reason}, and BIBANK_REQUIRE_HLEDGER is set")
        pytest.skip(reason)
    return found


def run(program: str, text: str, *words: str) -> str:
    """Run hledger on a text; every complaint of it fails."""
    finished = subprocess.run(
        [program, "-f", "-", *words],
        input=text,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        timeout=60,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, ""), (finished.stderr, text)
    return finished.stdout


def text_of(ledger: bb.Ledger) -> str:
    """Export a ledger."""
    return "".join(hledger_lines(ledger.entries()))


def units(number: str) -> int:
    """Count the units of a number of an export."""
    whole, _, fraction = number.partition(".")
    return int(whole + fraction.ljust(8, "0"))


@settings(max_examples=25)
@given(drafts=random_histories)
def test_hledger_accepts_it_and_prints_the_same_balances(
    hledger: str, drafts: list[bb.UnsignedEntry]
) -> None:
    """`check --strict` has no complaint, and `balance` has every account as the ledger has it."""
    ledger = books(drafts)
    text = text_of(ledger)
    run(hledger, text, "check", "--strict")
    rows = list(csv.reader(run(hledger, text, "balance", "--flat", "-E", "-N", "-O", "csv").splitlines()))
    found = {}
    for name, amount in rows[1:]:
        number, _, commodity = amount.partition(" ")
        key = key_of(name)
        # Zero is printed without its commodity.
        assert commodity.strip('"') == key.split(":")[3] if number != "0" else not commodity
        found[key] = units(number)
    assert found == debit_balances(ledger)


@settings(max_examples=25)
@given(drafts=random_histories)
def test_hledger_reads_ids_and_days_back(hledger: str, drafts: list[bb.UnsignedEntry]) -> None:
    """Sequence, description and day are, after hledger's own reading, what the journal holds."""
    ledger = books(drafts)
    found: list[Any] = json.loads(run(hledger, text_of(ledger), "print", "-O", "json"))
    read = {row["tcode"]: row for row in found if row["tcode"]}
    entries = [entry for entry in ledger.entries() if entry.postings]
    assert {str(entry.sequence) for entry in entries} == set(read)
    for entry in entries:
        row = read[str(entry.sequence)]
        assert unquote(row["tdescription"]) == entry.correlation_id
        assert row["tdate"] == str(entry.metadata.get("bb.effective_at", entry.timestamp.isoformat()))[:10]
        assert dict(row["ttags"])["hash"] == entry.hash
        assert dict(row["ttags"])["intent"] == entry.intent.value


def test_hledger_finds_one_unit_that_is_missing(hledger: str) -> None:
    """Neither a posting nor a balance may be off by one unit."""
    ledger = books([], opening={"USDT": "50"})
    ledger.deposit("BOB", "1.5 USDT", correlation_id="r1")
    text = text_of(ledger)
    lines = re.findall(r"^.*1\.50000000.*$", text, re.MULTILINE)
    assert len(lines) == 4
    for line in lines:
        altered = text.replace(line, re.sub(r"50000000", "50000001", line))
        with pytest.raises(AssertionError, match=r"could not balance this transaction|balance assertion"):
            run(hledger, altered, "check", "--strict")


@given(drafts=random_histories)
def test_balances_read_without_hledger(drafts: list[bb.UnsignedEntry]) -> None:
    """Postings sum to the ledger's balances, and the last transaction asserts each of them."""
    ledger = books(drafts)
    sums: Counter[str] = Counter()
    asserted = {}
    declared: list[str] = []
    for line in text_of(ledger).splitlines():
        if match := POSTING.fullmatch(line):
            key = key_of(match["account"])
            assert match["commodity"].strip('"') == key.split(":")[3]
            assert f"account {match['account']}" in declared
            assert f"commodity 0.00000000 {match['commodity']}" in declared
            sums[key] += units(match["units"])
            if match["balance"]:
                asserted[key] = units(match["balance"])
        else:
            assert not line.startswith("    ") or line.startswith("    ; ")
            declared.append(line)
    assert dict(sums) == asserted == debit_balances(ledger)
    directives = [line for line in declared if line.startswith(("account ", "commodity "))]
    assert len(directives) == len(set(directives))


def test_a_small_ledger() -> None:
    """The whole text of a small ledger, as people read it."""
    ledger = books([], opening={"USDT": "50"})
    ledger.deposit("BOB_2", "1.5 1INCH", correlation_id="50%; a|b", effective_at=NOON - timedelta(days=30))
    first, second = ledger.entries()
    recorded = second.timestamp.isoformat().replace("+00:00", "Z")
    assert (
        text_of(ledger)
        == f"""\
; Exported from a bibank journal: a copy for reading. Debits are positive.
; Dates are the UTC days on which entries count; "recorded" is when they were written down.
decimal-mark .

commodity 0.00000000 USDT
account Assets:SYSTEM:VAULT:USDT:MAIN
account Equity:SYSTEM:CAPITAL:USDT:MAIN
2026-01-25 * (1) {first.correlation_id}
    ; intent:genesis, recorded:2026-01-25T19:00:00Z
    ; hash:{first.hash}
    Assets:SYSTEM:VAULT:USDT:MAIN  50.00000000 USDT
    Equity:SYSTEM:CAPITAL:USDT:MAIN  -50.00000000 USDT

commodity 0.00000000 "1INCH"
account Assets:SYSTEM:VAULT:1INCH:MAIN
account Liabilities:USER:BOB_2:1INCH:AVAILABLE
2025-12-26 * ({second.sequence}) 50%25%3B a%7Cb
    ; intent:deposit, recorded:{recorded}, effective:2025-12-26T12:00:00Z
    ; hash:{second.hash}
    Assets:SYSTEM:VAULT:1INCH:MAIN  1.50000000 "1INCH"
    Liabilities:USER:BOB_2:1INCH:AVAILABLE  -1.50000000 "1INCH"

2026-01-25 * balances
    Assets:SYSTEM:VAULT:1INCH:MAIN  0.00000000 "1INCH" = 1.50000000 "1INCH"
    Assets:SYSTEM:VAULT:USDT:MAIN  0.00000000 USDT = 50.00000000 USDT
    Equity:SYSTEM:CAPITAL:USDT:MAIN  0.00000000 USDT = -50.00000000 USDT
    Liabilities:USER:BOB_2:1INCH:AVAILABLE  0.00000000 "1INCH" = -1.50000000 "1INCH"
"""
    )


@given(correlation_ids)
def test_descriptions_are_read_back(text: str) -> None:
    """No id ends early, begins or ends with a space, or is another one's description."""
    found = hledger_description(text)
    assert unquote(found) == text
    assert not set(found) & set(";|")
    assert found == found.strip()
    assert found


@given(parts, parts)
def test_names_are_one_to_one(one: str, other: str) -> None:
    """Two accounts are never one, nor are two assets."""
    keys = [bb.AccountKey(f"REV:SYSTEM:{part}:{part}:MAIN") for part in (one, other)]
    assert [key_of(account_name(key)) for key in keys] == [str(key) for key in keys]
    assert (hledger_commodity(one) == hledger_commodity(other)) is (one == other)


def test_nothing_to_export() -> None:
    """Without entries there is nothing to assert; what is no entry is a typed error."""
    assert text_of(books([], opening={})).splitlines()[-1] == "decimal-mark ."
    with pytest.raises(bb.InvalidType, match="JournalEntry"):
        list(hledger_lines([st]))  # type: ignore[list-item]  # the point
