"""The command `trade`: both forms, the fee that comes with it, and everything that it refuses."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.cli.command import Command

NAMED = "trade ALICE BOB --sell 100 USDT --buy 0.001 BTC"
PRICED = "trade --maker ALICE --taker BOB --base BTC --quote USDT --price 100000 --amount 0.001"


def test_the_samples_of_phase_2(exchange: Command) -> None:
    """Each sample of sections 2.5, 3.6 and 10 for trades and fees, as it is written there."""
    for sample, printed in {
        "trade ALICE BOB --sell 100 USDT --buy 0.001 BTC": ["trade"],
        "trade --maker ALICE --taker BOB --base BTC --quote USDT --price 100000 --amount 0.001": ["trade"],
        "trade ALICE BOB --sell 100 USDT --buy 0.001 BTC --fee 0.1": ["trade", "fee"],
        "fee ALICE 0.1 USDT --type trading": ["fee"],
        "fee ALICE 0.5 USDT --type withdrawal": ["fee"],
    }.items():
        lines = exchange.ok(*sample.split()).out.splitlines()
        assert [line.split()[2] for line in lines[::2]] == printed
    exchange.ok("audit", "--verify-signatures")


def test_section_10_of_phase_2(bibank: Command, tmp_path: Path) -> None:
    """The commands of section 10 as they are written there, and what Bob has to have for them."""
    for sample in (
        "init",
        "deposit ALICE 1000 USDT",
        "deposit BOB 1 BTC",
        "trade ALICE BOB --sell 100 USDT --buy 0.001 BTC",
        "trade ALICE BOB --sell 100 USDT --buy 0.001 BTC --fee 0.1",
        "fee ALICE 0.1 USDT --type trading",
        "fee ALICE 0.5 USDT --type withdrawal",
        "audit --verify-signatures",
        f"keygen --output {tmp_path / 'system.key'}",
        "transfer ALICE BOB 100 USDT",
        "withdraw ALICE 50 USDT",
        "balance ALICE",
        "replay --reset",
        "audit",
    ):
        bibank.ok(*sample.split())
    assert bibank.ok("balance", "ALICE", "USDT", "--json").document["available"] == "649.3"


def test_a_trade_for_people(exchange: Command) -> None:
    """A trade and its fee are printed as entries are."""
    trade, _, fee, _ = exchange.ok(*shlex.split(f"{NAMED} --fee 0.1")).out.splitlines()
    assert trade == "line 5: trade ALICE -> BOB 100 USDT, BOB -> ALICE 0.001 BTC"
    assert fee == "line 6: fee ALICE -> SYSTEM:FEE/TRADING 0.1 USDT"


@pytest.mark.parametrize("form", [NAMED, PRICED])
def test_both_forms_are_one_trade(exchange: Command, form: str) -> None:
    """By sums or by price: the postings and the eight fields of section 2.4 are the same."""
    document = exchange.ok(*form.split(), "--json", "--trade-id", "TRADE-2026-001").document
    assert document["fees"] == []
    assert document["entry"]["metadata"] == {
        "trade_id": "TRADE-2026-001",
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "price": "100000",
        "base_amount": "0.001",
        "quote_amount": "100",
        "maker": "ALICE",
        "taker": "BOB",
    }
    assert [
        (posting["account"].split(":")[2:4], posting["amount"], posting["side"])
        for posting in document["entry"]["postings"]
    ] == [
        (["ALICE", "USDT"], "100", "debit"),
        (["BOB", "USDT"], "100", "credit"),
        (["BOB", "BTC"], "0.001", "debit"),
        (["ALICE", "BTC"], "0.001", "credit"),
    ]


@pytest.mark.parametrize("form", [NAMED, PRICED])
def test_the_fee_is_of_the_first_one(exchange: Command, form: str) -> None:
    """A bare fee is in the asset sold, paid by who sells it, and names the trade."""
    document = exchange.ok(*form.split(), "--fee", "0.1", "--json").document
    (fee,) = document["fees"]
    assert fee["causality_id"] == fee["metadata"]["related_trade_sequence"] == "5"
    assert [(posting["account"], posting["amount"]) for posting in fee["postings"]] == [
        ("LIAB:USER:ALICE:USDT:AVAILABLE", "0.1"),
        ("REV:SYSTEM:FEE:USDT:TRADING", "0.1"),
    ]
    assert document["entry"]["batch"] == fee["batch"]


def test_the_trade_id_is_the_correlation_id(exchange: Command) -> None:
    """Without --trade-id the trade is known by its request."""
    document = exchange.ok(*NAMED.split(), "--json", "--correlation-id", "r3").document
    assert document["entry"]["metadata"]["trade_id"] == "r3"


def test_names_in_any_case(exchange: Command) -> None:
    """Owners and assets may be in lower case in both forms."""
    for words in (NAMED.replace("ALICE", "alice").replace("USDT", "usdt"), PRICED.replace("BOB", "bob")):
        metadata = exchange.ok(*words.replace("BTC", "btc").split(), "--json").document["entry"]["metadata"]
        found = [metadata[name] for name in ("maker", "taker", "base_asset", "quote_asset")]
        assert found == ["ALICE", "BOB", "BTC", "USDT"]


def test_the_house_trades(exchange: Command) -> None:
    """An account key stands for its owner in both assets."""
    desk = "LIAB:SYSTEM:DESK:USDT:AVAILABLE"
    exchange.ok("deposit", desk, "100", "USDT")
    words = ("trade", desk, "BOB", "--sell", "100", "USDT", "--buy", "0.001", "BTC", "--json")
    entry = exchange.ok(*words).document["entry"]
    assert entry["metadata"]["maker"] == "SYSTEM:DESK"
    assert entry["postings"][3]["account"] == "LIAB:SYSTEM:DESK:BTC:AVAILABLE"


def test_a_price_that_divides(exchange: Command) -> None:
    """Price times amount is exact, to the last of eight decimals."""
    words = PRICED.replace("100000", "0.0002").replace("0.001", "0.0005").split()
    document = exchange.ok(*words, "--json").document
    assert document["entry"]["metadata"]["quote_amount"] == "0.0000001"
    assert document["entry"]["metadata"]["price"] == "0.0002"


def test_a_price_that_would_be_rounded(exchange: Command) -> None:
    """A product of more than eight decimals is refused, never rounded."""
    before = exchange.day.read_bytes()
    words = PRICED.replace("100000", "0.00000003").replace("0.001", "0.5").split()
    outcome = exchange.run(*words, "--json")
    assert (outcome.code, outcome.error["code"]) == (2, "invalid_amount")
    assert outcome.error["message"].startswith(
        "price 0.00000003 times amount 0.5 is 0.000000015, which has more than 8 decimals"
    )
    assert exchange.day.read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        "trade",
        "trade ALICE BOB",
        "trade ALICE BOB --sell 100 USDT",
        "trade ALICE BOB --buy 0.001 BTC",
        "trade ALICE --sell 100 USDT --buy 0.001 BTC",
        "trade ALICE BOB CAROL --sell 100 USDT --buy 0.001 BTC",
        "trade ALICE BOB --sell 100 --buy 0.001 BTC",
        "trade ALICE BOB --base BTC --quote USDT --price 100000 --amount 0.001",
        "trade --maker ALICE --taker BOB --sell 100 USDT --buy 0.001 BTC",
        "trade --maker ALICE --taker BOB --base BTC --quote USDT --price 100000",
        "trade --maker ALICE --taker BOB --quote USDT --price 100000 --amount 0.001",
        f"{NAMED} --price 100000",
        f"{NAMED} --amount 0.001",
        f"{NAMED} --maker ALICE",
        f"{PRICED} --sell 100 USDT",
        f"{NAMED} --no-such-option",
    ],
)
def test_usage(exchange: Command, words: str) -> None:
    """Halves of a form, and two forms at once, are usage errors."""
    outcome = exchange.run(*words.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert "Error: " in outcome.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("trade ALICE BOB --sell -100 USDT --buy 0.001 BTC", "amount_underflow"),
        ("trade ALICE BOB --sell 100 USDT --buy -0.001 BTC", "amount_underflow"),
        ("trade ALICE BOB --sell 0 USDT --buy 0.001 BTC", "invalid_entry"),
        ("trade ALICE BOB --sell 100 USDT --buy 1 USDT", "invalid_value"),
        ("trade ALICE ALICE --sell 100 USDT --buy 0.001 BTC", "intent_violation"),
        ("trade ALICE B-B --sell 100 USDT --buy 0.001 BTC", "invalid_account_key"),
        ("trade ALICE BOB --sell 100 US-DT --buy 0.001 BTC", "invalid_money"),
        (f"{NAMED} --fee -0.1", "amount_underflow"),
        (f"{NAMED} --fee 0", "invalid_entry"),
        (f"{NAMED} --fee 0.000000001", "invalid_amount"),
        (f"{NAMED} --fee 1%", "invalid_amount"),
        (f"{NAMED} --trade-id ''", "invalid_identifier"),
        (f"{NAMED} --correlation-id ''", "missing_correlation_id"),
        (f"{NAMED} --idempotency-key ''", "invalid_identifier"),
        (f"{NAMED} --effective-at 2026-01-01", "invalid_timestamp"),
        (PRICED.replace("100000", "-1"), "amount_underflow"),
        (PRICED.replace("100000", "0"), "invalid_entry"),
        (PRICED.replace("100000", "1e5"), "invalid_amount"),
        (PRICED.replace("100000", "9" * 5_000), "invalid_amount"),
        (PRICED.replace("100000", "1" + "0" * 30).replace("0.001", "1" + "0" * 30), "amount_overflow"),
        (PRICED.replace("BTC", "USDT"), "invalid_value"),
    ],
)
def test_what_is_no_trade(exchange: Command, words: str, code: str) -> None:
    """Hostile arguments are typed errors with exit code 2, and nothing is written."""
    before = exchange.day.read_bytes()
    for dry_run in ((), ("--dry-run",)):
        outcome = exchange.run(*shlex.split(words), "--json", *dry_run)
        assert (outcome.code, outcome.out, outcome.error["code"]) == (2, "", code)
    assert exchange.day.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "account"),
    [
        ("trade ALICE BOB --sell 1000.00000001 USDT --buy 0.001 BTC", "LIAB:USER:ALICE:USDT:AVAILABLE"),
        ("trade ALICE BOB --sell 100 USDT --buy 1.00000001 BTC", "LIAB:USER:BOB:BTC:AVAILABLE"),
        ("trade ALICE BOB --sell 1000 USDT --buy 1 BTC --fee 0.1", "LIAB:USER:ALICE:USDT:AVAILABLE"),
    ],
)
def test_what_is_not_covered(exchange: Command, words: str, account: str) -> None:
    """A side, or the fee, that is not covered refuses all of it, with 3."""
    before = exchange.day.read_bytes()
    for dry_run in ((), ("--dry-run",)):
        outcome = exchange.run(*words.split(), "--json", *dry_run)
        assert (outcome.code, outcome.out, outcome.error["code"]) == (3, "", "insufficient_balance")
        assert outcome.error["account"] == account
    assert exchange.day.read_bytes() == before
