"""The commands that tell the past: statements, trial balances, trades, fees, filtered entries, `tail`."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import bibank as bb
from tests.cli.command import ROOT, TIMEOUT_SECONDS, Command, cells


@pytest.fixture
def traded(exchange: Command) -> Command:
    """The command, on a ledger with a trade in line 5, its fee in line 6, and a late deposit in line 7."""
    exchange.ok(
        *("trade", "ALICE", "BOB", "--sell", "100", "USDT", "--buy", "0.001", "BTC", "--fee", "0.1"),
        *("--correlation-id", "t1"),
    )
    exchange.ok(
        *("deposit", "ALICE", "5", "USDT", "--correlation-id", "late"),
        *("--effective-at", "2020-05-01T12:00:00Z"),
    )
    return exchange


@pytest.mark.parametrize("is_projected", [False, True])
def test_statement(traded: Command, *, is_projected: bool) -> None:
    """A statement has the balance after each line; the projection, where there is one, changes nothing."""
    if is_projected:
        traded.ok("replay")
    rows = cells(traded.ok("statement", "alice", "usdt").out)
    assert [(row[0], row[2], row[4], row[5]) for row in rows] == [
        ("3", "deposit", "1000", "1000"),
        ("5", "trade", "-100", "900"),
        ("6", "fee", "-0.1", "899.9"),
        ("7", "deposit", "5", "904.9"),
    ]
    rows = cells(traded.ok("statement", "ALICE", "--since", "4", "--until", "6").out)
    assert [(row[0], row[3], row[4]) for row in rows] == [("5", "BTC", "0.001"), ("5", "USDT", "-100")]
    found = traded.ok("statement", "ALICE", "USDT", "--since", "effective:2020-05-01", "--json").documents
    assert [(row["sequence"], row["posted"]) for row in found] == [
        (7, "5"),
        (3, "1005"),
        (5, "905"),
        (6, "904.9"),
    ]
    assert cells(traded.ok("statement", "ALICE", "--until", "2020-05-02").out) == []
    rows = cells(traded.ok("statement", "ALICE", "--until", "effective:2020-05-02", "--limit", "9").out)
    assert [row[0] for row in rows] == ["7"]
    exact = traded.ok("statement", "liab:user:bob:btc:available", "--json").documents
    assert [(row["sequence"], row["available"]) for row in exact] == [(4, "1"), (5, "0.999")]


def test_trial_balance(traded: Command) -> None:
    """Both columns of each asset have one sum, now and then; a day is taken in whole."""
    rows = cells(traded.ok("trial-balance").out)
    assert rows[-2:] == [["total", "BTC", "22", "22"], ["total", "USDT", "1001005", "1001005"]]
    assert ["LIAB:USER:ALICE:USDT:AVAILABLE", "USDT", "0", "904.9"] in rows
    rows = cells(traded.ok("trial-balance", "--as-of", "5").out)  # inside the batch of trade and fee
    assert rows == cells(traded.ok("trial-balance", "--as-of", "4").out)
    assert ["LIAB:USER:ALICE:USDT:AVAILABLE", "USDT", "0", "1000"] in rows
    (vault, alice) = traded.ok("trial-balance", "--as-of", "effective:2020-05-01", "--json").documents
    assert (vault["debit"], alice["credit"]) == ("5", "5")
    assert cells(traded.ok("trial-balance", "--as-of", "effective:2020-04-30").out) == []
    assert cells(traded.ok("trial-balance", "--as-of", "9999-12-31").out)[-1][0] == "total"


def test_balance_as_of(traded: Command) -> None:
    """What an owner, or one account, had after a line or by a moment."""
    assert cells(traded.ok("balance", "alice", "--as-of", "4").out) == [["USDT", "1000", "0", "1000"]]
    rows = cells(traded.ok("balance", "ALICE", "--as-of", "6").out)
    assert rows == [["BTC", "0.001", "0", "0.001"], ["USDT", "899.9", "0", "899.9"]]
    found = traded.ok("balance", "ALICE", "USDT", "--as-of", "effective:2020-05-01", "--json").document
    assert (found["owner"], found["posted"]) == ("ALICE", "5")
    account = ["LIAB:USER:BOB:BTC:AVAILABLE", "--as-of", "4"]
    assert cells(traded.ok("balance", *account).out) == [["BTC", "1", "0", "1"]]


def test_trades_and_fees(traded: Command) -> None:
    """Trades are listed by user and pair, fees added up by kind."""
    (row,) = cells(traded.ok("trades").out)
    assert (row[0], *row[2:]) == ("5", "ALICE", "BOB", "0.001", "BTC", "100", "USDT", "100000")
    assert traded.ok("trades", "bob", "--pair", "btc/usdt", "--json").document["trade_id"] == "t1"
    for nothing in (["carol"], ["--pair", "USDT/BTC"], ["--after", "5"], ["--until", "5"], ["--limit", "0"]):
        assert cells(traded.ok("trades", *nothing).out) == [], nothing
    assert cells(traded.ok("fee-totals").out) == [["trading", "USDT", "1", "0.1"]]
    assert cells(traded.ok("fee-totals", "--since", "7").out) == []


@pytest.mark.parametrize("is_projected", [False, True])
def test_filters_of_entries(traded: Command, *, is_projected: bool) -> None:
    """Entries are filtered by intent, request and metadata, whose values are text unless they say JSON."""
    if is_projected:
        traded.ok("replay")

    def found(*words: str) -> list[int]:
        return [row["sequence"] for row in traded.ok("entries", *words, "--json").documents]

    assert found("--intent", "DEPOSIT") == [3, 4, 7]
    assert found("--intent", "deposit", "--after", "3", "--limit", "1") == [4]
    assert found("--correlation-id", "t1") == [5, 6]
    assert found("--metadata", "maker=ALICE") == found("--metadata", 'maker:="ALICE"') == [5]
    assert found("--metadata", "base_amount=0.001") == found("--metadata", "price=100000") == [5]
    assert found("--metadata", "price:=100000") == []
    assert found("--metadata", "maker=ALICE", "--metadata", "taker=ALICE") == []


def test_wrong_points_and_members(traded: Command) -> None:
    """What is no point in time, no member of metadata or no line is explained, with its exit code."""
    for words in (["statement", "ALICE", "--since", "soon"], ["trial-balance", "--as-of", "2026-02-30"]):
        outcome = traded.run(*words)
        assert outcome.code == 2
        assert "write N, 2026-12-31, 2026-12-31T12:00:00Z or effective:2026-12-31" in outcome.err
    assert "NAME:=JSON" in traded.run("entries", "--metadata", "maker").err
    assert "named twice" in traded.run("entries", "--metadata", "a=1", "--metadata", "a=2").err
    assert "no JSON" in traded.run("entries", "--metadata", "maker:=ALICE").err
    outcome = traded.run("trial-balance", "--as-of", "99", "--json")
    assert (outcome.code, outcome.error["code"]) == (2, "unknown_sequence")
    outcome = traded.run("statement", "ALICE", "--since", "3", "--until", "effective:2026-01-01")
    assert outcome.code == 2
    assert "both effective" in outcome.err


def test_tail(traded: Command) -> None:
    """The last lines, entries and records, a line each."""
    lines = traded.ok("tail", "-n", "2").out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["6", "7"]
    assert lines[1].endswith("deposit SYSTEM:VAULT -> ALICE 5 USDT  late")
    assert [row["sequence"] for row in traded.ok("tail", "--json").documents] == [1, 2, 3, 4, 5, 6, 7]
    assert traded.ok("tail", "-n", "0").out == ""


def test_tail_follows(books: Command, tmp_path: Path) -> None:
    """With -f each new line is shown once it is durable, until the command is interrupted."""
    command = [sys.executable, "-m", "bibank", "--home", str(books.home), "tail", "-n", "1", "-f"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8") as process:
        watchdog = threading.Timer(TIMEOUT_SECONDS, process.kill)
        watchdog.start()
        assert process.stdout is not None
        assert process.stdout.readline().startswith("4  ")
        with bb.Ledger.open(books.home) as ledger:
            ledger.deposit("ALICE", "1 USDT", correlation_id="r3")
        assert process.stdout.readline().startswith("5  ")
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        watchdog.cancel()
