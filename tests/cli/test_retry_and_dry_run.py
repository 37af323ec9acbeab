"""`--idempotency-key`, `--dry-run` and `--effective-at`, on every command that moves money."""

from __future__ import annotations

from pathlib import Path

import pytest

import bibank as bb
from bibank.rules import EntryLimit
from bibank.store.jsonl.plan import LOCK_NAME
from tests.cli.command import Command

MOVING = {
    "deposit": "deposit ALICE 5 USDT",
    "transfer": "transfer ALICE BOB 5 USDT",
    "withdraw": "withdraw ALICE 5 USDT",
    "trade": "trade ALICE BOB --sell 5 USDT --buy 0.001 BTC --fee 0.1",
    "trade by price": "trade --maker ALICE --taker BOB --base BTC --quote USDT --price 5 --amount 1 --fee 1",
    "fee": "fee ALICE 5 USDT --type margin",
    "hold create": "hold create ALICE 5 USDT --to SHOP",
    "hold post": "hold post 5 --amount 15",
    "hold void": "hold void 5",
    "reverse": "reverse 3 --amount 5",
}
every_command = pytest.mark.parametrize("words", MOVING.values(), ids=MOVING.keys())


@pytest.fixture
def held(exchange: Command) -> Command:
    """The command, on a ledger with a hold of 20 USDT in line 5."""
    exchange.ok("hold", "create", "ALICE", "20", "USDT", "--to", "SHOP", "--correlation-id", "r3")
    return exchange


def files(home: Path) -> dict[Path, bytes]:
    """Every file of a home but the lock, which names who held it last."""
    found = (path for path in home.rglob("*") if path.is_file() and path.name != LOCK_NAME)
    return {path: path.read_bytes() for path in found}


# ------------------------------------------------------------------ retries


@every_command
def test_a_retry_gives_the_first_result(held: Command, words: str) -> None:
    """The second try under a key prints what the first committed, and commits nothing."""
    first = held.ok(*words.split(), "--json", "--idempotency-key", "k1")
    before = held.day.read_bytes()
    again = held.ok(*words.split(), "--json", "--idempotency-key", "k1", "--correlation-id", "other")
    assert again.document == first.document
    assert "was committed before under this key" in again.error["note"]
    assert held.day.read_bytes() == before


@every_command
def test_another_request_under_the_key(held: Command, words: str) -> None:
    """The key of another request is refused with 3, also when tried out."""
    held.ok("deposit", "CAROL", "1", "USDT", "--idempotency-key", "k1")
    before = held.day.read_bytes()
    for dry_run in ((), ("--dry-run",)):
        outcome = held.run(*words.split(), "--json", "--idempotency-key", "k1", *dry_run)
        assert (outcome.code, outcome.error["code"]) == (3, "idempotency_conflict")
        assert (outcome.error["key"], outcome.error["sequence"]) == ("k1", 6)
    assert held.day.read_bytes() == before


def test_a_retry_when_the_hold_is_gone(held: Command) -> None:
    """A post that is tried again under its key works, though the hold has ended; without the key, not."""
    first = held.ok("hold", "post", "5", "--amount", "15", "--idempotency-key", "p1").out
    held.ok("withdraw", "SHOP", "15", "USDT")
    assert held.ok("hold", "post", "5", "--amount", "15.0", "--idempotency-key", "p1").out == first
    assert held.run("hold", "post", "5", "--amount", "15").code == 3
    assert held.run("hold", "post", "5", "--amount", "16", "--idempotency-key", "p1").code == 3


def test_a_retry_when_the_money_is_gone(held: Command) -> None:
    """The first result is given before any rule is asked."""
    first = held.ok("withdraw", "ALICE", "980", "USDT", "--idempotency-key", "w1").out
    assert held.ok("withdraw", "alice", "980.00", "usdt", "--idempotency-key", "w1").out == first


def test_both_forms_of_a_trade_are_one_request(held: Command) -> None:
    """A trade tried again in the other form is the same trade."""
    form = "trade ALICE BOB --sell 100 USDT --buy 0.001 BTC"
    first = held.ok(*form.split(), "--idempotency-key", "t1")
    form = "trade --maker ALICE --taker BOB --base BTC --quote USDT --price 100000 --amount 0.001"
    assert held.ok(*form.split(), "--idempotency-key", "t1").out == first.out


def test_a_key_of_the_library(held: Command) -> None:
    """A key means the same in a program: either finds what the other committed."""
    first = held.ok("transfer", "ALICE", "BOB", "5", "USDT", "--idempotency-key", "k1", "--json").document
    with bb.Ledger.open(held.home) as ledger:
        entry = ledger.transfer("ALICE", "BOB", "5 USDT", correlation_id="r4", idempotency_key="k1")
        assert entry.sequence == first["sequence"]


# ------------------------------------------------------------------ dry runs


@every_command
def test_a_dry_run_writes_nothing(held: Command, words: str) -> None:
    """A dry run leaves every file as it is, says what would change, and is right about it."""
    before = files(held.home)
    planned = held.ok(*words.split(), "--dry-run", "--json").document
    shown = held.ok(*words.split(), "--dry-run")
    assert files(held.home) == before
    assert (planned["dry_run"], planned["committed"]) == (True, None)
    assert shown.err == "note: a dry run: nothing was written\n"
    head, _, *rows = (line.split() for line in shown.out.splitlines())
    assert head == ["account", "before", "after"]
    assert rows == [list(change.values()) for change in planned["changes"]]
    with bb.Ledger.open(held.home) as ledger:
        was = {str(row.account): str(row.balance) for row in ledger.accounts()}
    held.ok(*words.split())
    with bb.Ledger.open(held.home) as ledger:
        now = {str(row.account): str(row.balance) for row in ledger.accounts()}
    changed = {
        account: (was.get(account, "0"), balance)
        for account, balance in now.items()
        if was.get(account, "0") != balance
    }
    assert changed == {row["account"]: (row["before"], row["after"]) for row in planned["changes"]}


def test_a_dry_run_for_people(held: Command) -> None:
    """It is a table, an account a row."""
    assert held.ok("transfer", "ALICE", "BOB", "5", "USDT", "--dry-run").out.splitlines() == [
        "account                         before  after",
        "------------------------------  ------  -----",
        "LIAB:USER:ALICE:USDT:AVAILABLE     980    975",
        "LIAB:USER:BOB:USDT:AVAILABLE         0      5",
    ]


def test_long_names_are_shown_whole(held: Command) -> None:
    """No account key is cut, however long."""
    owner = "A" * 64
    assert f"LIAB:USER:{owner}:USDT:AVAILABLE" in held.ok("deposit", owner, "1", "USDT", "--dry-run").out


def test_a_dry_run_of_what_was_done(held: Command) -> None:
    """Under a key that was used, a dry run names the line and changes nothing."""
    held.ok("transfer", "ALICE", "BOB", "5", "USDT", "--idempotency-key", "k1")
    outcome = held.ok(
        "transfer", "ALICE", "BOB", "5", "USDT", "--idempotency-key", "k1", "--dry-run", "--json"
    )
    assert outcome.document == {"dry_run": True, "committed": 6, "changes": []}
    assert "line 6 was committed before under this key" in outcome.error["note"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("withdraw ALICE 5000 USDT", 3),
        ("hold create ALICE 5000 USDT --to SHOP", 3),
        ("hold post 5 --amount 21", 2),
        ("hold post 6", 2),
        ("reverse 1", 3),
        ("fee BOB 1 USDT --type margin", 3),
        ("deposit ALICE -1 USDT", 2),
    ],
)
def test_a_dry_run_ends_as_the_command_would(held: Command, words: str, code: int) -> None:
    """A refusal has the same exit code and text, and nothing is written."""
    before = files(held.home)
    tried = held.run(*words.split(), "--dry-run", "--json")
    assert files(held.home) == before
    meant = held.run(*words.split(), "--json", "--correlation-id", "r9")
    assert (tried.code, meant.code, tried.out, meant.out) == (code, code, "", "")
    assert tried.error == {key: value for key, value in meant.error.items() if key != "correlation_id"}


def test_a_dry_run_on_a_torn_journal(held: Command) -> None:
    """Opening for writing would set torn bytes aside, so a dry run refuses with 5 and changes nothing."""
    held.day.write_bytes(held.day.read_bytes() + b'{"torn')
    before = files(held.home)
    outcome = held.run("deposit", "ALICE", "1", "USDT", "--dry-run", "--json")
    assert (outcome.code, outcome.error["code"]) == (5, "journal_torn")
    assert files(held.home) == before


def test_a_dry_run_beside_a_writer(held: Command) -> None:
    """Like the command it takes the lock: a second writer ends with 7."""
    with bb.Ledger.open(held.home):
        assert held.run("deposit", "ALICE", "1", "USDT", "--dry-run").code == 7


def test_a_dry_run_without_a_ledger(bibank: Command) -> None:
    """A home without a ledger ends with 7, and is not made."""
    assert bibank.run("deposit", "ALICE", "1", "USDT", "--dry-run").code == 7
    assert not bibank.home.exists()


# ------------------------------------------------------------------ when it counts


@every_command
def test_when_it_counts(held: Command, words: str) -> None:
    """`--effective-at` stands in every entry that the command writes."""
    held.ok(*words.split(), "--effective-at", "2026-01-25T10:00:00Z")
    written = held.ok("entries", "--json", "--after", "5").documents
    assert {entry["metadata"]["bb.effective_at"] for entry in written} == {"2026-01-25T10:00:00Z"}


@pytest.mark.parametrize(
    "moment", ["", "yesterday", "2026-01-25", "2026-01-25T10:00:00", "2026-01-25T10:00:00+01:00"]
)
def test_what_is_no_time(held: Command, moment: str) -> None:
    """Other spellings of a time end with 2."""
    outcome = held.run("deposit", "ALICE", "1", "USDT", "--json", "--effective-at", moment)
    assert (outcome.code, outcome.error["code"]) == (2, "invalid_timestamp")


# ------------------------------------------------------------------ adopted rules


class HostRule:
    """A rule that only its host has."""

    name = "host/1"

    def check(self, entry: object, view: object) -> None:
        """Refuse nothing."""


def test_adopted_rules_bind_the_command(held: Command) -> None:
    """A shipped rule that was adopted refuses the command with 3, and its dry run."""
    with bb.Ledger.open(held.home) as ledger:
        ledger.adopt_rules([EntryLimit(name="limit/1", money="10 USDT")], correlation_id="rules")
    for dry_run in ((), ("--dry-run",)):
        assert held.run("transfer", "ALICE", "BOB", "11", "USDT", *dry_run).code == 3
        assert held.run("transfer", "ALICE", "BOB", "10", "USDT", *dry_run).code == 0


def test_a_rule_that_the_command_has_not(held: Command) -> None:
    """Where a host's own rule was adopted, the command commits nothing and ends with 2."""
    with bb.Ledger.open(held.home) as ledger:
        ledger.adopt_rules([HostRule()], correlation_id="rules")
    for dry_run in ((), ("--dry-run",)):
        outcome = held.run("transfer", "ALICE", "BOB", "1", "USDT", "--json", *dry_run)
        assert (outcome.code, outcome.error["code"]) == (2, "rules_mismatch")
        assert outcome.error["missing"] == ["host/1"]
