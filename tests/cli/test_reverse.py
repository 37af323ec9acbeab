"""The command `reverse`: all of an entry, a part of it, and what cannot be taken back."""

from __future__ import annotations

import pytest

from tests.cli.command import Command


def test_reverse(books: Command) -> None:
    """An entry is taken back by one with the sides swapped, which names it."""
    assert "line 5: transfer BOB -> ALICE 40 USDT" in books.ok("reverse", "4").out
    assert books.ok("entries", "--json", "--after", "4").document["causality_id"] == "4"


def test_a_part(books: Command) -> None:
    """Parts sum at most to the whole."""
    document = books.ok("reverse", "4", "--amount", "10", "--json").document
    assert document["metadata"]["bb.reverses"] == "4"
    books.ok("reverse", "4", "--amount", "30")
    outcome = books.run("reverse", "4", "--amount", "0.00000001", "--json")
    assert (outcome.code, outcome.error["code"], outcome.error["sequence"]) == (3, "already_reversed", 4)


def test_twice(books: Command) -> None:
    """What was taken back is refused with 3 and changes nothing, also when tried out."""
    books.ok("reverse", "3", "--amount", "1")
    before = books.day.read_bytes()
    for words in (("3",), ("3", "--dry-run"), ("3", "--amount", "99.5")):
        outcome = books.run("reverse", *words, "--json")
        assert (outcome.code, outcome.error["code"]) == (3, "already_reversed")
    assert books.day.read_bytes() == before


def test_a_trade_and_its_fee(exchange: Command) -> None:
    """A trade is taken back whole, and its fee by itself."""
    exchange.ok(*["trade", "ALICE", "BOB", "--sell", "100", "USDT", "--buy", "0.001", "BTC", "--fee", "0.1"])
    outcome = exchange.run("reverse", "5", "--amount", "1", "--json")
    assert (outcome.code, outcome.error["code"]) == (3, "not_reversible")
    assert exchange.ok("reverse", "5", "--json").document["metadata"]["maker"] == "BOB"
    assert "line 8: fee SYSTEM:FEE/TRADING -> ALICE 0.1 USDT" in exchange.ok("reverse", "6").out
    assert exchange.ok("balance", "ALICE", "USDT", "--json").document["available"] == "1000"


@pytest.mark.parametrize("sequence", ["1", "5", "6", "7"])
def test_what_has_its_own_ending(books: Command, sequence: str) -> None:
    """The genesis, what belongs to a hold, and a reversal are refused with 3."""
    books.ok("hold", "create", "ALICE", "20", "USDT", "--to", "SHOP")
    books.ok("hold", "post", "5")
    books.ok("reverse", "4")
    outcome = books.run("reverse", sequence, "--json")
    assert (outcome.code, outcome.error["code"]) == (3, "not_reversible")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("0",), "unknown_sequence"),
        (("2",), "unknown_sequence"),
        (("999",), "unknown_sequence"),
        (("-1",), "usage"),
        (("four",), "usage"),
        (("4_0",), "usage"),
        (("9" * 20,), "usage"),
        ((), "usage"),
        (("4", "--amount", "-1"), "amount_underflow"),
        (("4", "--amount", "0"), "invalid_entry"),
        (("4", "--amount", "0.123456789"), "invalid_amount"),
        (("4", "--amount", "9" * 40), "invalid_amount"),
    ],
)
def test_what_is_no_line_or_amount(books: Command, words: tuple[str, ...], code: str) -> None:
    """Other arguments end with 2."""
    outcome = books.run("reverse", *words, "--json")
    assert (outcome.code, outcome.out, outcome.error["code"]) == (2, "", code)


def test_money_that_was_spent(books: Command) -> None:
    """A deposit whose money has gone on cannot be taken back."""
    outcome = books.run("reverse", "3", "--json")
    assert (outcome.code, outcome.error["code"], outcome.error["available"]) == (
        3,
        "insufficient_balance",
        "60",
    )
