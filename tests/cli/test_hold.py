"""The commands `hold create|post|void|void-expired|list`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import bibank as bb
from tests.cli.command import Command

LATER = "2999-12-01T00:00:00Z"


class ManualClock:
    """A clock that a test sets."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        """Tell the time that was set."""
        return self.moment


def create(books: Command, *words: str) -> Any:
    """Hold money of Alice for a shop and give the JSON of it."""
    return books.ok("hold", "create", "ALICE", "20", "USDT", "--to", "SHOP", "--json", *words).document


def expire(books: Command) -> int:
    """Leave a hold of Alice that has expired, and give its id."""
    clock = ManualClock(datetime.now(UTC))
    with bb.Ledger.open(books.home, clock=clock) as ledger:
        until = clock.moment + timedelta(microseconds=1)
        opened = ledger.hold("ALICE", "1 USDT", to="SHOP", expires_at=until, correlation_id="h1")
    return opened.id


def available(books: Command, owner: str) -> str:
    """Tell what an owner may spend."""
    return str(books.ok("balance", owner, "USDT", "--json").document["available"])


def test_create_for_people(books: Command) -> None:
    """The entry is printed, and then the hold with its id, payee and expiry."""
    words = ("hold", "create", "alice", "20", "usdt", "--to", "shop")
    line, _, text = books.ok(*words, "--expires-at", LATER).out.splitlines()
    assert line == "line 5: transfer ALICE -> ALICE/LOCKED 20 USDT"
    assert text == f"hold 5: 20 USDT of ALICE for SHOP until {LATER}"
    assert books.ok(*words).out.splitlines()[2] == "hold 6: 20 USDT of ALICE for SHOP"


def test_create_as_json(books: Command) -> None:
    """As JSON it is the hold."""
    assert create(books, "--expires-at", LATER) == {
        "id": 5,
        "account": "LIAB:USER:ALICE:USDT:AVAILABLE",
        "money": "20 USDT",
        "payee": "LIAB:USER:SHOP:USDT:AVAILABLE",
        "expires_at": LATER,
    }
    row = books.ok("balance", "ALICE", "USDT", "--json").document
    assert (row["posted"], row["pending"], row["available"]) == ("60", "20", "40")


def test_a_hold_for_a_withdrawal(books: Command) -> None:
    """WITHDRAWAL, in any case, is out of the ledger; a part of it leaves, the rest returns."""
    words = ("hold", "create", "ALICE", "20", "USDT", "--to", "withdrawal", "--json")
    assert books.ok(*words).document["payee"] is None
    document = books.ok("hold", "post", "5", "--amount", "15", "--json").document
    assert [entry["intent"] for entry in document["entries"]] == ["withdrawal", "transfer"]
    assert available(books, "ALICE") == "45"


def test_a_user_called_withdrawal(books: Command) -> None:
    """Somebody of that name is named by the account, here and in the listing."""
    account = "LIAB:USER:WITHDRAWAL:USDT:AVAILABLE"
    words = ("hold", "create", "ALICE", "20", "USDT", "--to")
    assert books.ok(*words, account, "--json").document["payee"] == account
    assert f"for {account}" in books.ok(*words, account).out
    books.ok(*words, "WITHDRAWAL")
    assert [row.split()[4] for row in books.ok("hold", "list").out.splitlines()[2:]] == [
        account,
        account,
        "WITHDRAWAL",
    ]
    books.ok("hold", "post", "5")
    assert available(books, "WITHDRAWAL") == "20"


def test_post_all(books: Command) -> None:
    """Without an amount the payee gets all of it."""
    create(books)
    assert "line 6: transfer ALICE/LOCKED -> SHOP 20 USDT" in books.ok("hold", "post", "5").out
    assert (available(books, "ALICE"), available(books, "SHOP")) == ("40", "20")


def test_post_a_part(books: Command) -> None:
    """What is not paid returns to the owner in the same entry."""
    create(books)
    (entry,) = books.ok("hold", "post", "5", "--amount", "15", "--json").document["entries"]
    assert (entry["causality_id"], entry["metadata"]["bb.hold"]) == ("5", "5")
    assert (available(books, "ALICE"), available(books, "SHOP")) == ("45", "15")


def test_void(books: Command) -> None:
    """All of it returns."""
    create(books)
    assert "line 6: transfer ALICE/LOCKED -> ALICE 20 USDT" in books.ok("hold", "void", "5").out
    assert available(books, "ALICE") == "60"


@pytest.mark.parametrize("ending", [("post", "5"), ("post", "5", "--amount", "1"), ("void", "5")])
def test_a_hold_ends_once(books: Command, ending: tuple[str, ...]) -> None:
    """A hold that was posted or voided is refused with 3, whatever is tried."""
    for first in ("post", "void"):
        opened = create(books)["id"]
        books.ok("hold", first, str(opened))
        before = books.day.read_bytes()
        for dry_run in ((), ("--dry-run",)):
            outcome = books.run("hold", ending[0], str(opened), *ending[2:], "--json", *dry_run)
            assert (outcome.code, outcome.error["code"]) == (3, "hold_not_open")
            assert outcome.error["hold"] == opened
        assert books.day.read_bytes() == before


def test_an_expired_hold(books: Command) -> None:
    """An expired hold is not posted; it is voided, by itself or with all others."""
    first, second = expire(books), expire(books)
    outcome = books.run("hold", "post", str(first), "--json")
    assert (outcome.code, outcome.error["code"]) == (3, "hold_expired")
    books.ok("hold", "void", str(first))
    create(books)
    before = books.day.read_bytes()
    planned = books.ok("hold", "void-expired", "--dry-run", "--json").document
    assert [change["account"].rpartition(":")[2] for change in planned["changes"]] == ["LOCKED", "AVAILABLE"]
    assert books.day.read_bytes() == before
    (entry,) = books.ok("hold", "void-expired", "--json", "--correlation-id", "r9").document["entries"]
    assert (entry["causality_id"], entry["correlation_id"]) == (str(second), "r9")
    assert books.ok("hold", "void-expired").out == "no hold has expired\n"
    assert books.ok("hold", "void-expired", "--json").document == {"entries": []}
    assert len(books.ok("hold", "list", "--json").documents) == 1


def test_a_hold_that_would_be_expired(books: Command) -> None:
    """A time that is over opens no hold."""
    outcome = books.run(
        "hold", "create", "ALICE", "1", "USDT", "--to", "SHOP", "--expires-at", "2020-01-01T00:00:00Z"
    )
    assert (outcome.code, outcome.out) == (3, "")


def test_list(books: Command) -> None:
    """Open holds are a table, oldest first, of all or of one owner."""
    create(books, "--expires-at", LATER)
    books.ok("hold", "create", "BOB", "1.5", "USDT", "--to", "withdrawal")
    head, _, *rows = [re.split(r"  +", line.strip()) for line in books.ok("hold", "list").out.splitlines()]
    assert head == ["hold", "owner", "amount", "asset", "payee", "expires at"]
    assert rows == [
        ["5", "ALICE", "20", "USDT", "SHOP", LATER],
        ["6", "BOB", "1.5", "USDT", "WITHDRAWAL"],
    ]
    assert [row["id"] for row in books.ok("hold", "list", "bob", "--json").documents] == [6]
    assert [row["id"] for row in books.ok("hold", "list", "--json").documents] == [5, 6]
    assert books.ok("hold", "list", "CAROL", "--json").documents == []
    books.ok("hold", "void", "5")
    assert [row["id"] for row in books.ok("hold", "list", "--json").documents] == [6]


def test_list_beside_a_writer(books: Command) -> None:
    """The listing takes no lock."""
    create(books)
    with bb.Ledger.open(books.home):
        assert [row["id"] for row in books.ok("hold", "list", "--json").documents] == [5]


def test_holds_of_the_house(books: Command) -> None:
    """An account key names the owner of a hold, its payee, and whose are listed."""
    desk, till = "LIAB:SYSTEM:DESK:USDT:AVAILABLE", "LIAB:SYSTEM:TILL:USDT:AVAILABLE"
    books.ok("deposit", desk, "5", "USDT")
    books.ok("hold", "create", desk, "5", "USDT", "--to", till)
    create(books)
    assert [row["payee"] for row in books.ok("hold", "list", desk, "--json").documents] == [till]


@pytest.mark.parametrize(
    "words",
    [
        ("create", "ALICE", "1", "USDT"),
        ("create", "ALICE", "1", "USDT", "--to", "SHOP", "--no-such-option"),
        ("post",),
        ("post", "x"),
        ("post", "-5"),
        ("post", "1_0"),
        ("post", "\u0665"),
        ("post", "5.0"),
        ("void", ""),
        ("void", "9" * 5_000),
        ("void-expired", "5"),
        ("void-expired", "--idempotency-key", "k"),
        ("list", "ALICE", "BOB"),
        ("no-such-command",),
    ],
)
def test_usage(books: Command, words: tuple[str, ...]) -> None:
    """What cannot be understood ends with 2."""
    outcome = books.run("hold", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Error: " in outcome.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("create", "ALICE", "-1", "USDT", "--to", "SHOP"), "amount_underflow"),
        (("create", "ALICE", "0", "USDT", "--to", "SHOP"), "invalid_entry"),
        (("create", "ALICE", "0.123456789", "USDT", "--to", "SHOP"), "invalid_amount"),
        (("create", "ALICE", "1", "USDT", "--to", ""), "invalid_account_key"),
        (("create", "ALICE", "1", "USDT", "--to", "ALICE"), "intent_violation"),
        (("create", "ALICE", "1", "USDT", "--to", "LIAB:USER:SHOP:BTC:AVAILABLE"), "invalid_account_key"),
        (("create", "ALICE", "1", "USDT", "--to", "SHOP", "--expires-at", "soon"), "invalid_timestamp"),
        (
            ("create", "ALICE", "1", "USDT", "--to", "SHOP", "--expires-at", "2999-01-01T00:00:00"),
            "invalid_timestamp",
        ),
        (("post", "5", "--amount", "-1"), "amount_underflow"),
        (("post", "5", "--amount", "0"), "invalid_value"),
        (("post", "5", "--amount", "20.00000001"), "invalid_value"),
        (("post", "5", "--amount", "0.123456789"), "invalid_amount"),
        (("post", "4"), "invalid_value"),
        (("post", "999"), "unknown_sequence"),
        (("post", "0"), "unknown_sequence"),
        (("void", "4"), "invalid_value"),
        (("list", "a b"), "invalid_account_key"),
    ],
)
def test_what_is_no_hold(books: Command, words: tuple[str, ...], code: str) -> None:
    """Hostile arguments are typed errors with exit code 2, and nothing is written."""
    create(books)
    before = books.day.read_bytes()
    outcome = books.run("hold", *words, "--json")
    assert (outcome.code, outcome.out, outcome.error["code"]) == (2, "", code)
    assert books.day.read_bytes() == before


def test_a_hold_that_is_not_covered(books: Command) -> None:
    """More than is available, what others hold counted off, is refused with 3."""
    create(books)
    outcome = books.run("hold", "create", "ALICE", "41", "USDT", "--to", "SHOP", "--json")
    assert (outcome.code, outcome.error["code"]) == (3, "insufficient_balance")
    locked = "LIAB:USER:ALICE:USDT:LOCKED"
    outcome = books.run("transfer", locked, "BOB", "1", "USDT", "--json")
    assert (outcome.code, outcome.error["code"]) == (3, "hold_not_open")
