"""`bibank keyring`, and audits against what was kept outside the home."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from bibank.keystore import from_key_file, make_key_file
from bibank.ledger import Ledger
from bibank.model.keyring import key_id_of
from tests.cli.command import Command


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A directory with key files of two systems and two operators."""
    for name, signer_id in (
        ("own", "SYSTEM"),
        ("next", "SYSTEM"),
        ("anna", "ANNA_OPS"),
        ("bert", "BERT_OPS"),
    ):
        make_key_file(tmp_path / "keys" / f"{name}.key", signer_id=signer_id)
    return tmp_path / "keys"


def key_id(key: Path) -> str:
    """The key id of a key file."""
    return key_id_of(from_key_file(key).public_key)


def shown(books: Command) -> Any:
    """What `keyring show` says."""
    return books.ok("keyring", "show", "--json").document


def statuses(books: Command) -> dict[str, str]:
    """The status of each key by its id."""
    return {key["key_id"]: key["status"] for key in shown(books)["keys"]}


# ------------------------------------------------------------------ show


def test_show(books: Command) -> None:
    """Version, fingerprint, keys and policies, as the journal gives them."""
    lines = books.ok("keyring", "show").out.splitlines()
    assert lines[0].startswith("keyring version 1 of bibank/")
    assert lines[0].endswith(", from line 1")
    assert lines[1] == f"fingerprint {shown(books)['fingerprint']}"
    row = next(line for line in lines if line.startswith("SYSTEM"))
    assert row.split() == [
        "SYSTEM",
        key_id(books.key),
        "system",
        "1-",
        "active",
        "ed25519",
        from_key_file(books.key).public_key,
    ]
    assert ["line", "system", "1", "1"] in [line.split() for line in lines]


def test_show_json(books: Command) -> None:
    """The JSON is complete."""
    document = shown(books)
    assert set(document) == {"ledger_id", "version", "fingerprint", "from_sequence", "keys", "policies"}
    (key,) = document["keys"]
    assert (key["key_id"], key["roles"], key["status"]) == (key_id(books.key), ["system"], "active")
    assert {policy["purpose"] for policy in document["policies"]} >= {"line", "keyring", "adjustment"}
    assert document["ledger_id"] == books.ok("audit", "--json").document["ledger_id"]


def test_show_of_an_unsigned_ledger(bibank: Command) -> None:
    """A ledger without keys has a keyring without keys."""
    bibank.ok("init", "--unsigned")
    assert shown(bibank)["keys"] == []
    bibank.ok("keyring", "show")


def test_show_beside_a_writer(books: Command) -> None:
    """It takes no lock and writes nothing."""
    (books.home / "keyring.json").unlink()
    with Ledger.open(books.home):
        before = sorted(books.home.rglob("*"))
        assert shown(books)["version"] == 1
        assert sorted(books.home.rglob("*")) == before


def test_show_of_a_corrupt_journal(books: Command) -> None:
    """No keyring is told from a journal that does not hold."""
    books.day.write_bytes(books.day.read_bytes().replace(b'"amount":"40"', b'"amount":"41"'))
    outcome = books.run("keyring", "show", "--json")
    assert (outcome.code, outcome.out, outcome.error["line"]) == (5, "", 4)


# ------------------------------------------------------------------ changes


def test_rotate_within_the_home(books: Command) -> None:
    """The home makes itself the next key file, which signs without a word more."""
    first = key_id(books.key)
    outcome = books.ok("keyring", "rotate", "--correlation-id", "k1")
    assert outcome.out.splitlines()[0] == "line 5: keyring version 2"
    assert outcome.out.splitlines()[1] == f"fingerprint {shown(books)['fingerprint']}"
    assert outcome.err.startswith("note: keep this fingerprint outside this machine")
    (second,) = statuses(books).keys() - {first}
    assert statuses(books) == {first: "retired", second: "active"}
    made = books.ok("deposit", "ALICE", "1", "USDT", "--json").document
    (signature,) = made["signatures"]
    assert key_id_of(signature["public_key"]) == second
    assert (books.key.parent / f"SYSTEM-{second}.key").stat().st_mode & 0o777 == 0o600
    assert books.ok("audit", "--verify-signatures", "--json").document["signatures"] == 6


def test_rotate_to_a_key_file_then_commit_with_it(books: Command, keys: Path) -> None:
    """After a rotation the new key file signs and the old one may not; the audit holds over both."""
    outcome = books.ok("keyring", "rotate", "--key-file", str(keys / "next.key"))
    assert f"lines are signed with {keys / 'next.key'} from here on" in outcome.err
    without = books.run("deposit", "ALICE", "1", "USDT", "--json")
    assert (without.code, without.error["code"]) == (7, "keystore")
    old = books.run("deposit", "ALICE", "1", "USDT", "--json", "--key-file", str(books.key))
    assert (old.code, old.error["code"]) == (2, "configuration")
    made = books.ok("deposit", "ALICE", "1", "USDT", "--json", "--key-file", str(keys / "next.key"))
    assert key_id_of(made.document["signatures"][0]["public_key"]) == key_id(keys / "next.key")
    assert books.ok("audit", "--verify-signatures", "--json").document["signatures"] == 6
    again = books.ok("keyring", "rotate", "--signed-by", str(keys / "next.key"), "--json")
    assert again.document["version"] == 3


def test_an_operator_authorises_changes(books: Command, keys: Path) -> None:
    """Once there is an operator, no change passes without one; with one it does."""
    anna = str(keys / "anna.key")
    added = books.ok("keyring", "add", "--key-file", anna, "--role", "operator", "--json").document
    assert (added["version"], added["record"]["kind"]) == (2, "keyring_changed")
    bert = ("keyring", "add", "--key-file", str(keys / "bert.key"), "--role", "OPERATOR", "--role", "owner")
    alone = books.run(*bert, "--json")
    assert (alone.code, alone.error["code"], alone.error["reason"]) == (3, "not_authorised", "too_few")
    assert "operator keys" in alone.error["message"]
    assert UUID(alone.error["correlation_id"]).version == 7
    assert shown(books)["version"] == 2
    books.ok(*bert, "--authorise", anna)
    assert shown(books)["keys"][-1]["roles"] == ["operator", "owner"]
    books.ok("keyring", "rotate", "--authorise", str(keys / "bert.key"))
    books.ok("deposit", "ALICE", "1", "USDT")
    assert books.ok("audit", "--verify-signatures", "--json").document["records"] == 4


def test_revoke_an_operator(books: Command, keys: Path) -> None:
    """A key that is given up is revoked with the last line for which it is believed."""
    for name, agree in (("anna", ()), ("bert", ("--authorise", str(keys / "anna.key")))):
        books.ok("keyring", "add", "--key-file", str(keys / f"{name}.key"), "--role", "operator", *agree)
    words = ("keyring", "revoke", key_id(keys / "bert.key"), "--last-trusted-sequence")
    anna, bert = (("--authorise", str(keys / f"{name}.key")) for name in ("anna", "bert"))
    authorise = (*anna, *bert)
    assert books.run(*words, "99", *authorise).code == 2
    for agree in ((), anna):  # it takes as many as approve, or all while there are fewer
        assert books.run(*words, "5", *agree).code == 3
    assert books.run("keyring", "revoke", "0" * 16, "--last-trusted-sequence", "5", *authorise).code == 2
    books.ok(*words, "5", *authorise)
    assert statuses(books)[key_id(keys / "bert.key")] == "revoked"
    assert "trusted to 5" in books.ok("keyring", "show").out


def test_revoke_the_ledgers_own_key(books: Command, keys: Path) -> None:
    """It takes a replacement; what the lost key signed after the last trusted line is reported as suspect."""
    words = ("keyring", "revoke", key_id(books.key), "--last-trusted-sequence", "3")
    alone = books.run(*words, "--json")
    assert (alone.code, alone.error["code"]) == (2, "invalid_value")
    books.ok(*words, "--replace-with", str(keys / "next.key"))
    books.ok("deposit", "ALICE", "1", "USDT", "--key-file", str(keys / "next.key"))
    document = books.ok("audit", "--verify-signatures", "--json").document
    (suspect,) = document["suspect"]
    assert suspect.startswith(f"lines 4 to 4: key {key_id(books.key)} of SYSTEM")
    assert f"suspect: {suspect}" in books.ok("audit").out


def test_an_unsigned_ledger_gets_its_first_key(bibank: Command, keys: Path) -> None:
    """An unsigned home is signed from the line on that adds its first key, which is a system key."""
    bibank.ok("init", "--unsigned", "--capital", "10 USDT")
    bibank.ok("deposit", "ALICE", "1", "USDT")
    operator = bibank.run("keyring", "add", "--key-file", str(keys / "anna.key"), "--role", "operator")
    assert operator.code == 2
    with_key = bibank.run("deposit", "ALICE", "1", "USDT", "--key-file", str(keys / "own.key"))
    assert with_key.code == 2
    bibank.key.parent.mkdir(mode=0o700)
    shutil.copy(keys / "own.key", bibank.key)
    bibank.key.chmod(0o600)
    bibank.ok("keyring", "add", "--key-file", str(bibank.key), "--role", "system")
    made = bibank.ok("deposit", "ALICE", "1", "USDT", "--json").document
    assert (made["sequence"], len(made["signatures"])) == (5, 1)
    document = bibank.ok("audit", "--verify-signatures", "--json").document
    assert document["signatures"] == 2
    assert "lines 1 to 3: written before the ledger had a key" in document["not_covered"]


def test_changes_carry_a_correlation_id(books: Command) -> None:
    """A given id is the record's; without one the command makes one and tells it."""
    document = books.ok("keyring", "rotate", "--correlation-id", "ticket 7", "--json").document
    assert document["record"]["correlation_id"] == "ticket 7"
    outcome = books.ok("keyring", "rotate")
    label, _, correlation_id = outcome.err.splitlines()[0].partition(": ")
    assert (label, UUID(correlation_id).version) == ("correlation id", 7)
    assert books.run("keyring", "rotate", "--correlation-id", "").code == 2


def test_no_secret_is_shown(books: Command, keys: Path) -> None:
    """Whatever the keyring commands print, no seed is in it, in any mode."""
    anna = str(keys / "anna.key")
    seeds = [json.loads(key.read_bytes())["seed"] for key in (*keys.iterdir(), books.key)]
    printed = [
        books.run(*words, *mode)
        for mode in ((), ("--json",))
        for words in (
            ("keyring", "show"),
            ("keyring", "add", "--key-file", anna, "--role", "operator"),
            ("keyring", "rotate", "--authorise", anna),
            ("audit", "--verify-signatures"),
        )
    ]
    assert all(seed not in outcome.out + outcome.err for seed in seeds for outcome in printed)


# ------------------------------------------------------------------ audits against a pin


@pytest.fixture
def kept(books: Command, tmp_path: Path) -> Path:
    """The keyring file as somebody kept it outside, after a rotation."""
    books.ok("keyring", "rotate")
    shutil.copy(books.home / "keyring.json", tmp_path / "kept.json")
    return tmp_path / "kept.json"


def ledger_id(books: Command) -> str:
    """The id of the ledger."""
    found: str = shown(books)["ledger_id"]
    return found


def test_audit_against_the_right_pin(books: Command, kept: Path) -> None:
    """With every signature verified against what was kept, the verdict is `verified`."""
    books.ok("deposit", "ALICE", "1", "USDT")
    for pin in (("--ledger-id", ledger_id(books)), ("--keyring", str(kept))):
        for workers in ((), ("--workers", "1"), ("--workers", "3")):
            document = books.ok("audit", "--verify-signatures", *pin, *workers, "--json").document
            assert (document["verdict"], document["signatures"]) == ("verified", 6)
        assert books.ok("audit", "--verify-signatures", *pin).out.startswith("verified: ledger bibank/")
    assert document["pin"] == {"ledger_id": ledger_id(books), "fingerprint": shown(books)["fingerprint"]}


def test_audit_without_pin_or_without_signatures(books: Command, kept: Path) -> None:
    """Either alone is self-consistent and no more, and the report says what is missing."""
    for words, gap in (
        (("--verify-signatures",), "which ledger it is"),
        (("--ledger-id", ledger_id(books)), "signatures: present"),
        (("--keyring", str(kept)), "signatures: present"),
    ):
        document = books.ok("audit", *words, "--json").document
        assert document["verdict"] == "self_consistent"
        assert any(found.startswith(gap) for found in document["not_covered"])
        assert books.ok("audit", *words).out.startswith("self-consistent with ledger bibank/")


def test_audit_against_a_wrong_pin(books: Command, kept: Path, tmp_path: Path) -> None:
    """Another ledger's id or keyring, or a keyring that the journal does not reach, ends with 5."""
    other = Command(tmp_path / "other")
    other.ok("init")
    members = json.loads(kept.read_bytes())
    unreached, foreign = tmp_path / "unreached.json", tmp_path / "foreign.json"
    unreached.write_text(json.dumps({**members, "fingerprint": "0" * 64}))
    foreign.write_text(json.dumps({**members, "ledger": ledger_id(other)}))
    for pin in (
        ("--ledger-id", ledger_id(other)),
        ("--ledger-id", "bibank/" + "0" * 32),
        ("--ledger-id", ""),
        ("--keyring", str(other.home / "keyring.json")),
        ("--keyring", str(unreached)),
        ("--keyring", str(foreign)),
    ):
        for level in ((), ("--verify-signatures",)):
            outcome = books.run("audit", *level, *pin, "--json")
            assert (outcome.code, outcome.out, outcome.error["code"]) == (5, "", "pin_mismatch")


def test_audit_with_a_pin_that_is_none(books: Command, kept: Path, tmp_path: Path) -> None:
    """A file that is no keyring ends with 5; two pins at once, or a missing file, are usage errors."""
    for content in (b"", b"{}", b"[]", b"\xff", b'{"ledger": 1, "fingerprint": 2}'):
        (tmp_path / "wrong.json").write_bytes(content)
        outcome = books.run("audit", "--keyring", str(tmp_path / "wrong.json"), "--json")
        assert (outcome.code, outcome.error["code"]) == (5, "integrity")
    assert books.run("audit", "--keyring", str(kept), "--ledger-id", ledger_id(books)).code == 2
    assert books.run("audit", "--keyring", str(tmp_path / "missing.json")).code == 2


def test_a_dropped_rotation_is_seen_against_the_kept_keyring(books: Command, kept: Path) -> None:
    """A journal cut before the rotation holds on its own, but does not reach the keyring that was kept."""
    lines = books.day.read_bytes().splitlines(keepends=True)
    books.day.write_bytes(b"".join(lines[:4]))
    assert books.run("audit", "--json").error["code"] == "journal_truncated"
    books.forget_head()
    (books.home / "keyring.json").unlink()
    assert books.ok("audit", "--verify-signatures", "--json").document["verdict"] == "self_consistent"
    assert books.run("audit", "--verify-signatures", "--keyring", str(kept)).code == 5


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_stripped_signature_is_found(books: Command, number: int) -> None:
    """A line without its signature ends with 5 and is named by file and line, on opening too."""
    lines = books.day.read_bytes().splitlines(keepends=True)
    lines[number - 1] = lines[number - 1].split(b',"signatures"')[0] + b"}\n"
    books.day.write_bytes(b"".join(lines))
    books.forget_head()
    for words in (("audit",), ("audit", "--verify-signatures"), ("deposit", "ALICE", "1", "USDT")):
        outcome = books.run(*words, "--correlation-id", "r9") if words[0] == "deposit" else books.run(*words)
        assert (outcome.code, outcome.out) == (5, "")
        assert outcome.err.startswith(f"error: {books.day.name}:{number}: the line is not signed")
    assert books.day.read_bytes() == b"".join(lines)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_forged_signature_is_found(books: Command, workers: str) -> None:
    """A signature of other bytes passes the chain, which says so, and not the verification."""
    lines = books.day.read_bytes().splitlines(keepends=True)
    at = lines[2].index(b'"signature":"') + len(b'"signature":"')
    lines[2] = lines[2][:at] + (b"1" if lines[2][at : at + 1] == b"0" else b"0") + lines[2][at + 1 :]
    books.day.write_bytes(b"".join(lines))
    assert "signatures: present" in " ".join(books.ok("audit", "--json").document["not_covered"])
    outcome = books.run("audit", "--verify-signatures", "--workers", workers)
    assert outcome.code == 5
    assert outcome.err.startswith(f"error: {books.day.name}:3: the signature of SYSTEM")


# ------------------------------------------------------------------ the cache


def edits(books: Command) -> list[bytes]:
    """Edited keyring files: another fingerprint, another key, another ledger, other spelling, nothing."""
    data = (books.home / "keyring.json").read_bytes()
    members = json.loads(data)
    (key,) = members["keys"]
    changes: list[dict[str, Any]] = [
        {"fingerprint": "0" * 64},
        {"ledger": "bibank/" + "0" * 32},
        {"version": 2},
        {"keys": []},
        {"keys": [{**key, "public_key": "0" * 64}]},
        {"keys": [{**key, "roles": ["operator"]}]},
    ]
    return [*(json.dumps({**members, **change}, indent=1).encode() + b"\n" for change in changes), b"", b"{}"]


@pytest.mark.parametrize("number", range(8))
def test_an_edited_keyring_file_is_refused(books: Command, number: int) -> None:
    """A cache that is not what the journal says ends with 5, reading or writing; deleted, it comes back."""
    cache, before = books.home / "keyring.json", books.day.read_bytes()
    original = cache.read_bytes()
    edited = edits(books)[number]
    cache.write_bytes(edited)
    for words in (
        ("audit",),
        ("keyring", "show"),
        ("deposit", "ALICE", "1", "USDT"),
        ("keyring", "rotate"),
    ):
        outcome = books.run(*words, "--json")
        assert (outcome.code, outcome.out) == (5, ""), words
        assert outcome.error["code"] in ("pin_mismatch", "integrity")
    assert (cache.read_bytes(), books.day.read_bytes()) == (edited, before)
    cache.unlink()
    books.ok("deposit", "ALICE", "1", "USDT")
    assert cache.read_bytes() == original
