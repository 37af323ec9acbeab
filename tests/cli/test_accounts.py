"""The commands `freeze`, `reopen`, `close`, `limit` and `terms`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from tests.cli.command import ALICE, VAULT, Command, cells, refused

BOB = ALICE.replace("ALICE", "BOB")
WHY = ("--reason", "court order 7")

Agree = Callable[[str], tuple[str, str]]


@pytest.fixture
def by(people: Path) -> Agree:
    """Gives the option that names the key file of a person who agrees."""
    return lambda name: ("--authorise", str(people / f"{name}.key"))


def terms(books: Command, *words: str) -> list[Any]:
    """What was decided about accounts."""
    return books.ok("terms", *words, "--json").documents


def test_freeze_and_reopen(governed: Command, by: Agree) -> None:
    """Nothing leaves a frozen account, money may arrive; reopened, it may leave again."""
    line, stamp = governed.ok("freeze", ALICE, *WHY, *by("anna")).out.splitlines()
    assert line == f"line 8: account_frozen {ALICE}"
    assert re.fullmatch(r"\S+Z [0-9a-f]{64}", stamp)
    assert refused(governed, "withdraw", "ALICE", "1", "USDT") == "account_frozen"
    assert refused(governed, "freeze", ALICE, *WHY, *by("ben")) == "account_frozen"
    governed.ok("deposit", "ALICE", "1", "USDT")
    assert governed.ok("reopen", ALICE, *WHY, *by("ben")).out.startswith(
        f"line 10: account_reopened {ALICE}\n"
    )
    governed.ok("withdraw", "ALICE", "1", "USDT")


def test_as_json(governed: Command, by: Agree) -> None:
    """As JSON each decision is its record, with the reason and the account in capitals."""
    words = ("freeze", ALICE.lower(), *WHY, *by("anna"), "--correlation-id", "f1", "--json")
    document = governed.ok(*words).document
    assert (document["sequence"], document["kind"], document["subject"]) == (8, "account_frozen", ALICE)
    payload = document["body"]["payload"]
    assert (payload["account"], payload["reason"], payload["previous"]) == (ALICE, "court order 7", 0)
    assert document["correlation_id"] == "f1"
    limit = governed.ok("limit", ALICE, "--floor", "-5", *WHY, *by("anna"), "--json").document
    assert (limit["kind"], limit["body"]["payload"]["floor"]) == ("limit_set", "-5")


def test_close(governed: Command, by: Agree) -> None:
    """An empty account is closed, and nothing moves on it, in or out; a full one is not."""
    assert refused(governed, "close", ALICE, *WHY, *by("anna")) == "account_not_empty"
    governed.ok("withdraw", "ALICE", "60", "USDT")
    assert governed.ok("close", ALICE, *WHY, *by("anna")).out.startswith(f"line 9: account_closed {ALICE}\n")
    assert refused(governed, "deposit", "ALICE", "1", "USDT") == "account_closed"
    for command in ("close", "freeze", "limit"):
        floor = ("--floor", "-1") if command == "limit" else ()
        assert refused(governed, command, ALICE, *floor, *WHY, *by("anna")) == "account_closed"
    governed.ok("reopen", ALICE, *WHY, *by("anna"))
    governed.ok("deposit", "ALICE", "1", "USDT")


@pytest.mark.parametrize(
    "words",
    [
        (ALICE, "--floor", "-5"),
        (ALICE, "--floor=-5"),
        ("--floor", "-5", ALICE),
        ("--floor=-5.00", ALICE.lower()),
    ],
)
def test_limit(governed: Command, by: Agree, words: tuple[str, ...]) -> None:
    """A negative floor is no option, wherever it stands; the account may fall to it."""
    line, _ = governed.ok("limit", *words, *WHY, *by("anna")).out.splitlines()
    assert line == f"line 8: limit_set {ALICE}: floor -5"
    governed.ok("withdraw", "ALICE", "65", "USDT")
    assert refused(governed, "withdraw", "ALICE", "0.00000001", "USDT") == "insufficient_balance"
    assert governed.ok("balance", "ALICE", "USDT", "--json").document["available"] == "-5"
    governed.ok("limit", ALICE, "--floor", "0", *WHY, *by("anna"))
    assert [row["floor"] for row in terms(governed)] == ["0"]


def test_terms(governed: Command, by: Agree) -> None:
    """What was decided is listed by account, all or those whose key begins with a text; no lock is taken."""
    assert terms(governed) == []
    governed.ok("limit", BOB, "--floor", "-5.5", *WHY, *by("anna"))
    governed.ok("freeze", BOB, *WHY, *by("anna"))
    governed.ok("freeze", "REV:SYSTEM:FEE:USDT:TRADING", *WHY, *by("anna"))
    governed.ok("freeze", ALICE, *WHY, *by("anna"))
    with bb.Ledger.open(governed.home):
        text = governed.ok("terms").out
    assert re.split(r"  +", text.splitlines()[0].strip()) == ["account", "status", "floor", "line"]
    assert cells(text) == [
        [ALICE, "frozen", "0", "11"],
        [BOB, "frozen", "-5.5", "9"],
        ["REV:SYSTEM:FEE:USDT:TRADING", "frozen", "10"],
    ]
    assert terms(governed, "rev:") == [
        {"account": "REV:SYSTEM:FEE:USDT:TRADING", "status": "frozen", "floor": None, "sequence": 10}
    ]
    assert [row["account"] for row in terms(governed, "LIAB:USER:B")] == [BOB]
    assert terms(governed, "nothing") == []


def test_the_reason_is_listed(governed: Command, by: Agree) -> None:
    """Whoever lists the records reads why."""
    governed.ok("limit", ALICE, "--floor", "-5", *WHY, *by("anna"), "--correlation-id", "f1")
    (row,) = cells(governed.ok("records", "--kind", "limit_set").out)
    assert row[2:] == [f"limit_set {ALICE}: floor -5", "court order 7", "f1"]


def test_who_decides(governed: Command, by: Agree, people: Path) -> None:
    """It takes an operator once there is one; not the ledger's own key, and nobody unknown."""
    words = ("freeze", ALICE, *WHY)
    assert refused(governed, *words) == "too_few"
    assert refused(governed, *words, "--authorise", str(governed.key)) == "wrong_role"
    assert refused(governed, *words, *by("mallory")) == "unknown_key"
    governed.ok(*words, *by("anna"), *by("ben"))


def test_the_ledgers_own_key_decides_first(books: Command) -> None:
    """Until there is an operator, the ledger's own key decides by itself."""
    books.ok("freeze", ALICE, *WHY)
    assert [row["status"] for row in terms(books)] == ["frozen"]


def test_the_ledgers_own_key_lies_elsewhere(books: Command, people: Path) -> None:
    """`--signed-by` names it, as for a change of the keyring."""
    own = people / "own.key"
    books.key.rename(own)
    outcome = books.run("freeze", ALICE, *WHY, "--json")
    assert (outcome.code, outcome.error["code"]) == (7, "keystore")
    books.ok("freeze", ALICE, *WHY, "--signed-by", str(own))


def test_a_retry_gives_the_first_result(governed: Command, by: Agree) -> None:
    """The second try under a key prints what the first committed, whatever was decided since."""
    commands = [
        ("freeze", ALICE, *WHY, *by("anna")),
        ("reopen", ALICE, *WHY, *by("anna")),
        ("limit", ALICE, "--floor", "-5", *WHY, *by("anna")),
        ("close", "REV:SYSTEM:FEE:USDT:TRADING", *WHY, *by("anna")),
    ]
    done = [
        governed.ok(*words, "--idempotency-key", f"k{number}", "--json").document
        for number, words in enumerate(commands)
    ]
    before = governed.day.read_bytes()
    for number, words in enumerate(commands):
        again = governed.ok(*words, "--idempotency-key", f"k{number}", "--json")
        assert again.document == done[number]
        assert "was committed before under this key" in again.error["note"]
    assert refused(governed, *commands[1], "--idempotency-key", "k0") == "idempotency_conflict"
    assert governed.day.read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ("freeze", *WHY),
        ("freeze", ALICE),
        ("freeze", ALICE, BOB, *WHY),
        ("freeze", ALICE, *WHY, "--dry-run"),
        ("freeze", ALICE, *WHY, "--key-file", "x.key"),
        ("reopen", ALICE),
        ("close", ALICE),
        ("limit", ALICE, *WHY),
        ("limit", ALICE, *WHY, "--floor"),
        ("terms", "A", "B"),
    ],
)
def test_usage(governed: Command, words: tuple[str, ...]) -> None:
    """What cannot be understood ends with 2."""
    outcome = governed.run(*words)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Error: " in outcome.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("freeze", "ALICE", *WHY), "invalid_account_key"),
        (("freeze", "", *WHY), "invalid_account_key"),
        (("freeze", ALICE, "--reason", ""), "invalid_value"),
        (("freeze", ALICE, "--reason", " "), "invalid_value"),
        (("freeze", ALICE, "--reason", "a" * 1025), "invalid_value"),
        (("freeze", ALICE, "--reason", "a\nb"), "invalid_metadata"),
        (("freeze", ALICE, *WHY, "--correlation-id", ""), "missing_correlation_id"),
        (("reopen", ALICE, *WHY, "extra"), "usage"),
        (("limit", ALICE, "--floor", "5", *WHY), "invalid_value"),
        (("limit", ALICE, "--floor", "--5", *WHY), "invalid_amount"),
        (("limit", ALICE, "--floor", "-0.123456789", *WHY), "invalid_amount"),
        (("limit", ALICE, "--floor", "", *WHY), "invalid_amount"),
        (("limit", "REV:SYSTEM:FEE:USDT:TRADING", "--floor", "-5", *WHY), "invalid_value"),
        (("limit", ALICE.replace("AVAILABLE", "LOCKED"), "--floor", "-5", *WHY), "invalid_value"),
    ],
)
def test_hostile_arguments(governed: Command, by: Agree, words: tuple[str, ...], code: str) -> None:
    """They are typed errors with exit code 2, and nothing is written."""
    before = governed.day.read_bytes()
    outcome = governed.run(*words, *by("anna"), "--json")
    assert (outcome.code, outcome.out, outcome.error["code"]) == (2, "", code)
    assert governed.day.read_bytes() == before


def test_a_vault_that_is_frozen(governed: Command, by: Agree) -> None:
    """Accounts of the house are decided about in the same way."""
    governed.ok("freeze", VAULT, *WHY, *by("anna"))
    assert refused(governed, "withdraw", "ALICE", "1", "USDT") == "account_frozen"


@pytest.mark.parametrize(
    "words",
    [
        ("terms",),
        ("pending",),
        ("records",),
        ("freeze", BOB, *WHY),
        ("limit", BOB, "--floor", "-1", *WHY),
        ("close", "LIAB:USER:CAROL:USDT:AVAILABLE", *WHY),
    ],
)
def test_where_the_home_is_named(books: Command, words: tuple[str, ...]) -> None:
    """The home and --json may stand before the name of the command or behind it."""
    home = ("--home", str(books.home))
    behind = books.run(*words, *home, "--json", home=False)
    assert (behind.code, behind.err) == (0, "")
    before = books.run("--json", *home, "terms", home=False)
    assert before.out == books.ok("terms", "--json").out
