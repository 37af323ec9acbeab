"""Commands that read: balances, entries, replay and audit, none of which needs the lock."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bibank.cli import output
from bibank.ledger import Ledger
from bibank.model.entry import Posting, TransactionIntent, UnsignedEntry
from bibank.projections import SqliteBooks
from tests.cli.command import Command


def tamper(books: Command, statement: str) -> None:
    """Change the projection behind the command's back."""
    with closing(sqlite3.connect(books.projection)) as connection, connection:
        connection.execute(statement)


# ------------------------------------------------------------------ balance


def test_balance_of_an_owner(books: Command) -> None:
    """`balance ALICE` lists every asset of hers."""
    books.ok("deposit", "ALICE", "0.5", "BTC")
    assert books.ok("balance", "alice").out.splitlines() == [
        "asset  posted  pending  available",
        "-----  ------  -------  ---------",
        "BTC       0.5        0        0.5",
        "USDT       60        0         60",
    ]


def test_balance_in_one_asset(books: Command) -> None:
    """`balance ALICE USDT` is one row, of zeros where there is nothing."""
    assert books.ok("balance", "BOB", "usdt").out.splitlines()[2].split() == ["USDT", "40", "0", "40"]
    assert books.ok("balance", "BOB", "BTC").out.splitlines()[2].split() == ["BTC", "0", "0", "0"]


def test_balance_of_a_stranger(books: Command) -> None:
    """Who has nothing has an empty table."""
    assert len(books.ok("balance", "NOBODY").out.splitlines()) == 2


def test_balance_json(books: Command) -> None:
    """As JSON a balance is one object, a listing one object a line."""
    row = {"owner": "ALICE", "asset": "USDT", "posted": "60", "pending": "0", "available": "60"}
    assert books.ok("balance", "ALICE", "USDT", "--json").document == row
    books.ok("deposit", "ALICE", "1", "BTC")
    assert [line["asset"] for line in books.ok("balance", "ALICE", "--json").documents] == ["BTC", "USDT"]
    assert books.ok("balance", "NOBODY", "--json").documents == []


def test_balance_beside_a_writer(books: Command) -> None:
    """A balance needs no lock and is up to date."""
    with Ledger.open(books.home) as ledger:
        ledger.deposit("ALICE", "1 USDT", correlation_id="r3")
        assert books.ok("balance", "ALICE", "USDT", "--json").document["available"] == "61"


def test_balance_rebuilds_a_projection_of_no_use(books: Command) -> None:
    """A damaged projection is rebuilt with a warning; the answer is right."""
    books.projection.write_bytes(b"garbage" * 1000)
    outcome = books.ok("balance", "ALICE", "USDT", "--json")
    assert outcome.document["available"] == "60"
    assert "is damaged" in outcome.error["warning"]
    assert books.ok("balance", "ALICE", "USDT").err == ""


def test_balance_of_a_corrupt_journal(books: Command) -> None:
    """No balance is told from a journal that does not hold."""
    books.day.write_bytes(books.day.read_bytes().replace(b'"amount":"100"', b'"amount":"900"'))
    outcome = books.run("balance", "ALICE")
    assert (outcome.code, outcome.out) == (5, "")
    assert f"{books.day.name}:3: " in outcome.err


def test_balance_while_the_projection_is_locked(books: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A projection that another process keeps locked ends with 7, not with a sqlite3 error."""
    books.ok("balance", "ALICE")
    books.ok("deposit", "ALICE", "1", "USDT")
    defaults = SqliteBooks.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "busy_timeout_seconds", 0.0)
    with closing(sqlite3.connect(books.projection, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        outcome = books.run("balance", "ALICE", "--json")
        assert (outcome.code, outcome.error["code"]) == (7, "store_unavailable")


# ------------------------------------------------------------------ entries


def test_entries_for_people(books: Command) -> None:
    """Entries are a table with the columns a person wants; records are left out."""
    head, _, *rows = [re.split(r"  +", line.strip()) for line in books.ok("entries").out.splitlines()]
    assert head == ["sequence", "timestamp", "intent", "postings", "correlation id"]
    assert [[row[0], *row[2:]] for row in rows] == [
        ["1", "genesis", "SYSTEM:VAULT -> SYSTEM:CAPITAL 1000000 USDT", "genesis"],
        ["3", "deposit", "SYSTEM:VAULT -> ALICE 100 USDT", "r1"],
        ["4", "transfer", "ALICE -> BOB 40 USDT", "r2"],
    ]


def test_entries_in_part(books: Command) -> None:
    """`--after` and `--limit` choose by sequence and number."""

    def listed(*options: str) -> list[int]:
        return [entry["sequence"] for entry in books.ok("entries", "--json", *options).documents]

    assert listed() == [1, 3, 4]
    assert listed("--after", "1") == listed("--after", "2") == [3, 4]
    assert listed("--after", "1", "--limit", "1") == [3]
    assert listed("--limit", "0") == listed("--after", "9") == []
    for wrong in (("--after", "-1"), ("--limit", "-1"), ("--after", "x")):
        assert books.run("entries", *wrong).code == 2


def test_entries_that_are_no_pairs(books: Command) -> None:
    """Other accounts and more than two postings are spelled out."""
    with Ledger.open(books.home) as ledger:
        ledger.hold("BOB", "4 USDT", to="CAROL", correlation_id="r3")
        postings = (
            Posting.debit("LIAB:USER:ALICE:USDT:AVAILABLE", "3"),
            Posting.credit("LIAB:USER:BOB:USDT:AVAILABLE", "1"),
            Posting.credit("LIAB:USER:CAROL:USDT:AVAILABLE", "2"),
        )
        ledger.commit(
            UnsignedEntry(intent=TransactionIntent.TRANSFER, correlation_id="r4", postings=postings)
        )
    listed = books.ok("entries").out
    assert "BOB -> BOB/LOCKED 4 USDT" in listed
    assert "debit ALICE 3 USDT, credit BOB 1 USDT, credit CAROL 2 USDT" in listed


def test_long_listings_stay_aligned(books: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is printed piece by piece shows every row once, under one head."""
    monkeypatch.setattr(output, "_TABLE_CHUNK", 2)
    for number in range(4):
        books.ok("deposit", "ALICE", str(10**number), "USDT", "--correlation-id", f"id{number}")
    lines = books.ok("entries").out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["1", "3", "4", "5", "6", "7", "8"]


def test_entries_of_a_corrupt_journal(books: Command) -> None:
    """The listing ends where the journal stops holding, with 5."""
    books.day.write_bytes(books.day.read_bytes().replace(b'"amount":"40"', b'"amount":"41"'))
    outcome = books.run("entries", "--json")
    assert (outcome.code, [entry["sequence"] for entry in outcome.documents]) == (5, [1, 3])
    error = outcome.error
    assert (error["code"], error["file"], error["line"]) == ("journal_corrupt", books.day.name, 4)


# ------------------------------------------------------------------ replay


def test_replay_catches_up(books: Command) -> None:
    """`replay` applies what the projection does not have, and names the digest of the state."""
    first = books.ok("replay").out.splitlines()
    assert first[0] == "applied 4 lines; the projection stands at line 4"
    assert books.ok("replay").out.splitlines() == [
        "applied 0 lines; the projection stands at line 4",
        first[1],
    ]
    document = books.ok("replay", "--json").document
    assert (document["applied"], document["position"]["sequence"]) == (0, 4)
    assert first[1] == f"digest {document['digest']}"


def test_replay_reset_is_identical(books: Command) -> None:
    """Dropped and replayed, the projection is what it was; without one there is nothing to compare."""
    document = books.ok("replay", "--reset", "--json").document
    assert (document["identical"], document["before"]) == (None, None)
    books.ok("deposit", "ALICE", "1", "USDT")
    document = books.ok("replay", "--reset", "--json").document
    assert document["identical"] is True
    assert document["before"] == document["after"]
    assert document["position"]["sequence"] == 5
    assert "identical to what it held before" in books.ok("replay", "--reset").out


def test_replay_after_deletion(books: Command) -> None:
    """A deleted projection comes back with the same digest."""
    before = books.ok("replay", "--json").document["digest"]
    books.projection.unlink()
    assert books.ok("replay", "--json").document["digest"] == before
    books.projection.unlink()
    assert "nothing to compare with" in books.ok("replay", "--reset").out


def test_replay_reset_finds_a_changed_balance(books: Command) -> None:
    """A projection that is not what the journal gives ends with 5, names both digests, and is rebuilt."""
    right = books.ok("replay", "--json").document["digest"]
    tamper(books, "UPDATE accounts SET balance = 6100000000 WHERE key LIKE '%ALICE%'")
    outcome = books.run("replay", "--reset")
    assert outcome.code == 5
    assert "NOT what it held before" in outcome.out
    assert right in outcome.err
    assert books.ok("replay", "--reset", "--json").document["after"] == right


def test_replay_reset_finds_a_changed_balance_as_json(books: Command) -> None:
    """The same as JSON: a document on stdout, an error on stderr."""
    books.ok("replay")
    tamper(books, "UPDATE accounts SET balance = 6100000000 WHERE key LIKE '%ALICE%'")
    outcome = books.run("replay", "--reset", "--json")
    assert (outcome.code, outcome.document["identical"]) == (5, False)
    assert outcome.error["code"] == "projection_mismatch"


def test_replay_reset_of_a_projection_of_no_use(books: Command) -> None:
    """What cannot be compared is rebuilt with a warning."""
    books.projection.write_bytes(b"garbage" * 1000)
    outcome = books.ok("replay", "--reset")
    assert "is damaged" in outcome.err
    books.projection.write_bytes(b"garbage" * 1000)
    assert "the projection was rebuilt" in books.ok("replay").err


# ------------------------------------------------------------------ audit


def test_audit_reports(books: Command) -> None:
    """`audit` says what holds and what it does not show."""
    out = books.ok("audit").out
    assert out.startswith("self-consistent with ledger bibank/")
    assert "4 lines (3 entries, 1 records), 4 accounts" in out
    assert "not covered: " in out
    document = books.ok("audit", "--json").document
    assert (document["lines"], document["covered"]) == (4, 4)


def test_audit_of_a_range(books: Command) -> None:
    """A range of days limits what is reported; a wrong one is a usage error."""
    day = books.day.stem
    assert books.ok("audit", "--from", day, "--to", day, "--json").document["covered"] == 4
    assert books.ok("audit", "--from", "9999-01-01", "--json").document["covered"] == 0
    assert books.run("audit", "--from", "2026-01-02", "--to", "2026-01-01").code == 2
    assert books.run("audit", "--from", "yesterday").code == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_audit_finds_one_flipped_bit(books: Command, data: st.DataObject) -> None:
    """Whichever bit is flipped, in a signature too, `audit` ends with 5 and says where and why."""
    content = books.day.read_bytes()
    flipped = bytearray(content)
    flipped[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    books.day.write_bytes(flipped)
    try:
        outcome = books.run("audit", "--verify-signatures", "--json")
        assert (outcome.code, outcome.out) == (5, "")
        error = outcome.error
        if error["code"] != "unsupported_format":  # then the whole journal is the matter, not a line
            assert error["message"].startswith(f"{books.day.name}:{error['line']}: {error['reason']}")
            assert 1 <= error["line"] <= 4
    finally:
        books.day.write_bytes(content)


def test_audit_names_file_line_and_reason(books: Command) -> None:
    """For people the finding is `file:line: reason` on stderr."""
    content = bytearray(books.day.read_bytes())
    content[content.index(b'"r2"') + 1] ^= 1
    books.day.write_bytes(content)
    outcome = books.run("audit")
    assert (outcome.code, outcome.out) == (5, "")
    assert re.fullmatch(rf"error: {books.day.name}:4: .*hash.*\n", outcome.err)


def test_audit_finds_a_torn_tail_and_repairs_nothing(books: Command) -> None:
    """An incomplete last write is found, and left as it is."""
    torn = books.day.read_bytes() + b'{"torn'
    books.day.write_bytes(torn)
    before = sorted(path.name for path in books.home.rglob("*"))
    outcome = books.run("audit", "--json")
    assert (outcome.code, outcome.error["code"], outcome.error["line"]) == (5, "journal_torn", 5)
    assert books.day.read_bytes() == torn
    assert sorted(path.name for path in books.home.rglob("*")) == before


def test_audit_beside_a_writer(books: Command) -> None:
    """An audit needs no lock, and sees what the writer has committed until then."""
    with Ledger.open(books.home) as ledger:
        before = books.ok("audit", "--json").document["lines"]
        assert before == ledger.head.sequence
        ledger.deposit("ALICE", "1 USDT", correlation_id="beside")
        assert books.ok("audit", "--json").document["lines"] == before + 1
