"""The command `doctor`: words and JSON, and a code for each kind of trouble."""

from __future__ import annotations

import sqlite3

import pytest

import bibank as bb
from bibank.store.jsonl.files import OsFiles
from tests.cli.command import Command
from tests.store.journals import tree


def test_a_healthy_home_in_words(books: Command) -> None:
    """Each check is a line, and the command succeeds without changing the home."""
    before = tree(books.home)
    lines = books.ok("doctor").out.splitlines()
    assert tree(books.home) == before
    assert [line.split(":")[0].split(maxsplit=1)[1] for line in lines] == [
        "home",
        "lock",
        "journal",
        "head",
        "recovery",
        "clock",
        "space",
        "keys",
        "key SYSTEM.key",
        "keyring",
        "projection",
    ]
    assert {line.split()[0] for line in lines} == {"ok", "note"}


def test_a_healthy_home_in_json(books: Command) -> None:
    """One document holds the home, its ledger, its head, and a row a check."""
    document = books.ok("doctor", "--json").document
    assert document["home"] == str(books.home)
    assert document["head"]["sequence"] == 4
    assert document["ledger"].startswith("bibank/")
    assert set(document["findings"][0]) == {"check", "state", "text", "code", "file", "line"}
    assert not [row for row in document["findings"] if row["state"] == "problem"]


def test_damage_ends_with_the_code_of_damage(books: Command) -> None:
    """A torn tail, a truncated journal and a keyring file of no form end as an audit of them would."""
    whole = books.day.read_bytes()
    books.day.write_bytes(whole + b'{"torn')
    outcome = books.run("doctor")
    assert (outcome.code, outcome.err) == (5, "")
    assert "problem  journal: " in outcome.out
    books.day.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    outcome = books.run("doctor", "--json")
    assert outcome.code == 5
    assert outcome.document["head"] is None
    assert [row["code"] for row in outcome.document["findings"] if row["state"] == "problem"] == [
        "journal_truncated"
    ]
    books.day.write_bytes(whole)
    (books.home / "keyring.json").write_text("{}")
    books.key.chmod(0o644)
    assert books.run("doctor").code == 5


def test_what_the_operator_mends_ends_with_his_code(books: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open key file or a full disk is no damage to the journal."""
    books.key.chmod(0o644)
    assert books.run("doctor").code == 7
    books.key.chmod(0o600)
    assert books.run("doctor").code == 0
    monkeypatch.setattr(OsFiles, "free_bytes", lambda _: 5)
    assert books.run("doctor").code == 7


def test_no_home_is_the_operators_too(bibank: Command) -> None:
    """Where there is no ledger the command says so, and makes nothing."""
    outcome = bibank.run("doctor", "--json")
    assert (outcome.code, outcome.error["code"]) == (7, "home_not_found")
    assert not bibank.home.exists()


def test_beside_a_writer(books: Command) -> None:
    """A home that is open for writing is looked at, and so is a projection in use."""
    with bb.Ledger.open(books.home) as ledger:
        outcome = books.spawn("doctor")
        assert (outcome.code, "lock: held by process" in outcome.out) == (0, True)
        ledger.deposit("ALICE", "1 USDT", correlation_id="r9")
    books.ok("balance", "ALICE")
    with sqlite3.connect(books.projection) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert "projection: projection.db" in books.ok("doctor").out
    connection.close()


def test_in_a_process_of_its_own(books: Command) -> None:
    """The code of a problem reaches the shell, and nothing is printed beside the findings."""
    books.key.chmod(0o644)
    outcome = books.spawn("doctor")
    assert (outcome.code, outcome.err) == (7, "")
