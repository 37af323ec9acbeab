"""The command `fee`: each kind, and what it refuses."""

from __future__ import annotations

import pytest

from bibank.model.trade import FeeKind
from tests.cli.command import Command


@pytest.mark.parametrize("kind", FeeKind)
def test_each_kind_has_its_account(books: Command, kind: FeeKind) -> None:
    """`--type` chooses the revenue account, in any case."""
    for spelled in (kind.value, kind.name):
        document = books.ok("fee", "alice", "0.1", "usdt", "--type", spelled, "--json").document
        assert document["postings"] == [
            {"account": "LIAB:USER:ALICE:USDT:AVAILABLE", "amount": "0.1", "side": "debit"},
            {"account": f"REV:SYSTEM:FEE:USDT:{kind.name}", "amount": "0.1", "side": "credit"},
        ]
        assert document["metadata"] == {
            "fee_amount": "0.1",
            "fee_asset": "USDT",
            "fee_type": kind.value,
        }


def test_a_fee_for_people(books: Command) -> None:
    """It is printed as entries are."""
    outcome = books.ok("fee", "ALICE", "0.1", "USDT", "--type", "margin")
    assert outcome.out.splitlines()[0] == "line 5: fee ALICE -> SYSTEM:FEE/MARGIN 0.1 USDT"


def test_a_fee_of_the_house(books: Command) -> None:
    """An exact account may pay."""
    desk = "LIAB:SYSTEM:DESK:USDT:AVAILABLE"
    books.ok("deposit", desk, "1", "USDT")
    assert (
        "fee SYSTEM:DESK -> SYSTEM:FEE/TRADING" in books.ok("fee", desk, "1", "USDT", "--type", "trading").out
    )


@pytest.mark.parametrize("words", [(), ("--type", "revenue"), ("--type", "")])
def test_the_kind_is_required(books: Command, words: tuple[str, ...]) -> None:
    """No kind, and one that is none, are usage errors: no revenue account is guessed."""
    outcome = books.run("fee", "ALICE", "0.1", "USDT", *words)
    assert (outcome.code, outcome.out) == (2, "")


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        ("-0.1", "amount_underflow"),
        ("0", "invalid_entry"),
        ("0.123456789", "invalid_amount"),
        ("9" * 40, "invalid_amount"),
        ("0.1%", "invalid_amount"),
    ],
)
def test_amounts_that_are_none(books: Command, amount: str, code: str) -> None:
    """A fee is an absolute amount above zero."""
    outcome = books.run("fee", "ALICE", amount, "USDT", "--type", "trading", "--json")
    assert (outcome.code, outcome.out, outcome.error["code"]) == (2, "", code)


def test_a_fee_that_is_not_covered(books: Command) -> None:
    """Who has less than the fee is refused with 3."""
    before = books.day.read_bytes()
    outcome = books.run("fee", "BOB", "40.1", "USDT", "--type", "withdrawal", "--json")
    assert (outcome.code, outcome.error["code"], outcome.error["shortfall"]) == (
        3,
        "insufficient_balance",
        "0.1",
    )
    assert books.day.read_bytes() == before
