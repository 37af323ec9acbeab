"""Commands that write: what they commit, what they print where, and how they are refused."""

from __future__ import annotations

import errno
import os
import re
from uuid import UUID

import pytest

from bibank.cli.correlation import uuid7
from bibank.errors import HeadConflict
from bibank.ledger import Ledger
from bibank.store.jsonl.files import OsFiles
from bibank.store.jsonl.writer import JsonlStore
from tests.cli.command import Command


def test_init_makes_a_ledger(bibank: Command) -> None:
    """`init` makes the home and says which ledger it is, with which capital."""
    outcome = bibank.ok("init", "--capital", "1000000 USDT", "--capital", "21 btc", "--name", "shop")
    first, second = outcome.out.splitlines()
    assert first.startswith("made ledger shop/")
    assert first.endswith(f" in {bibank.home}")
    assert second == (
        "line 1: genesis SYSTEM:VAULT -> SYSTEM:CAPITAL 1000000 USDT, SYSTEM:VAULT -> SYSTEM:CAPITAL 21 BTC"
    )


def test_init_says_what_the_key_proves(bibank: Command) -> None:
    """On stderr `init` names the key file and the id to keep, and says what both do not show."""
    outcome = bibank.ok("init")
    (ledger_id,) = re.findall("bibank/[0-9a-f]{32}", outcome.out)
    notes = outcome.err.splitlines()
    assert notes[0] == f"note: every line is signed with the home's own key {bibank.key}, a plain file"
    assert notes[1].startswith(f"note: keep the id {ledger_id} outside this machine")
    assert notes[2].startswith("note: it does not show that whoever reads that file did not")
    assert (bibank.key.stat().st_mode & 0o777, bibank.key.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_init_unsigned(bibank: Command) -> None:
    """`--unsigned` makes a ledger without keys, and says what that means."""
    outcome = bibank.ok("init", "--unsigned", "--json")
    assert outcome.document["genesis"]["signatures"] == []
    assert "is unsigned: nobody can tell a complete rewrite" in outcome.error["note"]
    assert not bibank.key.parent.exists()
    assert bibank.ok("deposit", "ALICE", "1", "USDT", "--json").document["signatures"] == []


def test_init_without_capital(bibank: Command) -> None:
    """A ledger may begin with nothing."""
    assert bibank.ok("init").out.splitlines()[1] == "line 1: genesis without capital"


def test_init_json(bibank: Command) -> None:
    """The JSON of `init` names the ledger, its head and the genesis entry."""
    document = bibank.ok("init", "--json", "--capital", "5 USDT").document
    assert set(document) == {"ledger_id", "head", "genesis"}
    assert document["head"]["sequence"] == 2
    assert [posting["amount"] for posting in document["genesis"]["postings"]] == ["5", "5"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--capital", "5"),
        ("--capital", "-5 USDT"),
        ("--capital", "0 USDT"),
        ("--capital", "5 USDT", "--capital", "6 usdt"),
        ("--name", "No Name"),
    ],
)
def test_init_refuses_what_is_no_opening(bibank: Command, arguments: tuple[str, ...]) -> None:
    """What cannot be a genesis is a usage error, and no home is made."""
    outcome = bibank.run("init", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: ")
    assert not bibank.home.exists()


def test_init_twice(books: Command) -> None:
    """A home holds one ledger: the second `init` ends with 7 and changes nothing."""
    before = books.day.read_bytes()
    outcome = books.run("init", "--json")
    assert (outcome.code, outcome.error["code"]) == (7, "home_exists")
    assert books.day.read_bytes() == before


def test_money_moves(books: Command) -> None:
    """Each verb prints the committed entry for people."""
    outcome = books.ok("withdraw", "BOB", "1.50", "USDT", "--correlation-id", "r3")
    line, seal = outcome.out.splitlines()
    assert line == "line 5: withdrawal BOB -> SYSTEM:VAULT 1.5 USDT"
    timestamp, digest = seal.split()
    assert timestamp.endswith("Z")
    assert len(digest) == 64
    assert outcome.err == ""


def test_owners_and_assets_in_any_case(books: Command) -> None:
    """The command spells owners and assets in upper case; the ledger takes nothing else."""
    assert "line 5: transfer BOB -> CAROL 3 USDT" in books.ok("transfer", "bob", "Carol", "3", "usdt").out


@pytest.mark.parametrize("owner", ["stra\u00dfe", "\u00e9mile", "a b", "", ":", "LIAB:USER:BOB:USDT"])
def test_owners_that_are_none(books: Command, owner: str) -> None:
    """Other names are refused instead of being turned into somebody else's."""
    outcome = books.run("deposit", owner, "1", "USDT")
    assert (outcome.code, outcome.out) == (2, "")


def test_exact_accounts(books: Command) -> None:
    """What has colons is exactly that account, such as one of the house, in any case."""
    desk = "LIAB:SYSTEM:DESK:USDT:AVAILABLE"
    books.ok("deposit", desk, "5", "USDT")
    assert "transfer SYSTEM:DESK -> BOB 2 USDT" in books.ok("transfer", desk.lower(), "BOB", "2", "usdt").out
    assert "withdrawal SYSTEM:DESK -> SYSTEM:VAULT 1 USDT" in books.ok("withdraw", desk, "1", "USDT").out
    assert books.ok("balance", desk.lower(), "--json").document == {
        "owner": desk,
        "asset": "USDT",
        "posted": "2",
        "pending": "0",
        "available": "2",
    }
    assert books.ok("balance", desk, "usdt", "--json").document["available"] == "2"
    assert books.run("balance", desk, "BTC").code == 2
    wrong = books.run("deposit", desk, "1", "BTC", "--json")
    assert (wrong.code, wrong.error["code"]) == (2, "invalid_account_key")
    assert books.run("deposit", "ASSET:SYSTEM:VAULT:USDT:MAIN", "1", "USDT").code == 2


def test_entry_json(books: Command) -> None:
    """The JSON of an entry is complete, with amounts as text, and nothing goes to stderr."""
    outcome = books.ok("deposit", "ALICE", "0.1", "USDT", "--json")
    document = outcome.document
    assert outcome.err == ""
    assert UUID(document["correlation_id"]).version == 7
    assert document["postings"] == [
        {"account": "ASSET:SYSTEM:VAULT:USDT:MAIN", "amount": "0.1", "side": "debit"},
        {"account": "LIAB:USER:ALICE:USDT:AVAILABLE", "amount": "0.1", "side": "credit"},
    ]
    assert {"sequence", "prev_hash", "hash", "timestamp", "intent", "causality_id", "batch"} < set(document)


def test_json_may_stand_in_front(books: Command) -> None:
    """Global options stand before or behind the command."""
    assert books.ok("--json", "deposit", "ALICE", "1", "USDT").document["sequence"] == 5


def test_a_correlation_id_is_made_and_told(books: Command) -> None:
    """Without an id the command makes a UUIDv7, tells it on stderr and commits under it."""
    outcome = books.ok("deposit", "ALICE", "1", "USDT")
    label, _, correlation_id = outcome.err.strip().partition(": ")
    assert (label, UUID(correlation_id).version) == ("correlation id", 7)
    assert books.ok("entries", "--json", "--after", "4").document["correlation_id"] == correlation_id


def test_a_given_correlation_id_is_kept(books: Command) -> None:
    """A given id is the entry's; one that is none is a usage error."""
    outcome = books.ok("deposit", "ALICE", "1", "USDT", "--json", "--correlation-id", "invoice 7")
    assert outcome.document["correlation_id"] == "invoice 7"
    assert books.run("deposit", "ALICE", "1", "USDT", "--correlation-id", "").code == 2


def test_uuid7_is_in_order_and_well_formed() -> None:
    """Ids carry version, variant and the time in milliseconds, so later ones sort behind earlier ones."""
    first, *_, last = made = [uuid7() for _ in range(100)]
    assert {(uuid.version, uuid.variant) for uuid in made} == {(7, "specified in RFC 4122")}
    assert first.int >> 80 <= last.int >> 80
    assert len(set(made)) == 100


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        ("-5", "amount_underflow"),
        ("-0.5", "amount_underflow"),
        ("-h", "invalid_amount"),
        ("--5", "invalid_amount"),
        ("1e5", "invalid_amount"),
        ("1,000", "invalid_amount"),
        ("0.123456789", "invalid_amount"),
        ("0", "invalid_entry"),
        ("9" * 40, "invalid_amount"),
    ],
)
def test_amounts_that_are_none(books: Command, amount: str, code: str) -> None:
    """A wrong amount, also one that looks like an option, is a typed error with exit code 2."""
    for words in (("deposit", "ALICE"), ("withdraw", "ALICE"), ("transfer", "ALICE", "BOB")):
        outcome = books.run(*words, amount, "USDT", "--json")
        assert (outcome.code, outcome.out, outcome.error["code"]) == (2, "", code)


def test_a_refusal_says_everything(books: Command) -> None:
    """A withdrawal that is not covered ends with 3 and changes nothing."""
    before = books.day.read_bytes()
    outcome = books.run("withdraw", "ALICE", "61", "USDT", "--correlation-id", "r3")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err == (
        "error: LIAB:USER:ALICE:USDT:AVAILABLE has 60 USDT available, 61 USDT is required; "
        "at most 60 USDT would pass\n"
    )
    assert books.day.read_bytes() == before


def test_a_refusal_as_json(books: Command) -> None:
    """The JSON of a refusal has its figures as text, and the correlation id of the try."""
    error = books.run("withdraw", "ALICE", "61", "USDT", "--json", "--correlation-id", "r3").error
    assert {name: error[name] for name in ("code", "required", "available", "shortfall")} == {
        "code": "insufficient_balance",
        "required": "61",
        "available": "60",
        "shortfall": "1",
    }
    assert (error["account"], error["asset"]) == ("LIAB:USER:ALICE:USDT:AVAILABLE", "USDT")
    assert (error["correlation_id"], error["retryable"]) == ("r3", False)


def test_without_a_ledger(bibank: Command) -> None:
    """A home without a ledger ends with 7, and is not made."""
    assert bibank.run("deposit", "ALICE", "1", "USDT").code == 7
    assert not bibank.home.exists()


def test_a_second_writer(books: Command) -> None:
    """While another process writes, a money command ends with 7 and names its pid."""
    with Ledger.open(books.home):
        outcome = books.spawn("deposit", "ALICE", "1", "USDT")
        assert (outcome.code, outcome.out) == (7, "")
        assert f"process {os.getpid()} on " in outcome.err
        error = books.spawn("deposit", "ALICE", "1", "USDT", "--json").error
        assert (error["code"], error["pid"], error["retryable"]) == ("ledger_busy", os.getpid(), True)


def test_a_failed_sync(books: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails after the write, the command ends with 6: look before you repeat."""

    sync, day = OsFiles.fdatasync, books.day.stat().st_ino

    def fail(files: OsFiles, handle: int) -> None:
        if os.fstat(handle).st_ino == day:
            raise OSError(errno.EIO, "input/output error")
        sync(files, handle)

    monkeypatch.setattr(OsFiles, "fdatasync", fail)
    outcome = books.run("deposit", "ALICE", "1", "USDT", "--json")
    assert (outcome.code, outcome.error["code"]) == (6, "commit_outcome_unknown")
    assert UUID(outcome.error["correlation_id"]).version == 7


def test_a_head_conflict(books: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """When somebody else appended, the command ends with 4: repeat it."""

    def conflict(store: JsonlStore, group: object) -> None:
        raise HeadConflict("somebody else appended")

    monkeypatch.setattr(JsonlStore, "append", conflict)
    assert books.run("deposit", "ALICE", "1", "USDT").code == 4


def test_a_torn_tail_is_a_warning(books: Command) -> None:
    """A torn tail is set aside on opening; the command says so on stderr and goes on."""
    books.day.write_bytes(books.day.read_bytes() + b'{"torn')
    outcome = books.ok("deposit", "ALICE", "1", "USDT", "--correlation-id", "r3")
    assert outcome.out.startswith("line 6: deposit")  # line 5 is the record of the recovery
    assert outcome.err.startswith(f"warning: {books.day.name}:5: ")


def test_a_torn_tail_is_a_warning_as_json(books: Command) -> None:
    """With --json the warning is an object too."""
    books.day.write_bytes(books.day.read_bytes() + b'{"torn')
    assert "set aside" in books.ok("deposit", "ALICE", "1", "USDT", "--json").error["warning"]
