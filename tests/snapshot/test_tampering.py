"""A snapshot that is stale, altered, of other rules or ahead of the journal is never used, and named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from bibank.rules import SpendingLimit
from bibank.signing import Ed25519Signer, Envelope
from bibank.snapshots.head import _MEMBERS
from bibank.snapshots.state import read_state
from tests.ledger.operators import ANNA, OWN, STRANGER
from tests.risk.rules import Counting, Rule
from tests.snapshot.homes import STEPS, Clock, create, everything, grow, journal, reopen, twin

Members = dict[str, Any]
Edit = Callable[[Members, Members], object]


def snapshots(home: Path) -> list[Path]:
    """List the snapshots of a home, oldest first."""
    return sorted((home / "snapshots").glob("*.json"))


def split(path: Path) -> tuple[Members, Members]:
    """Read the two lines of a snapshot by `json` alone."""
    head, state = path.read_bytes().splitlines()
    return json.loads(head), json.loads(state)


def forge(path: Path, edit: Edit, signer: Ed25519Signer | None = None, *, mend: bool = True) -> None:
    """Edit head and state, put in the digest of the state, and sign it again where there is a key."""
    head, state = split(path)
    edit(head, state)
    spelled = json.dumps(state, separators=(",", ":")).encode()
    if mend:
        head["payload"]["state"] = sha256(spelled).hexdigest()
    text = json.dumps(head, separators=(",", ":"), sort_keys=True)
    if signer is not None:
        envelope = Envelope.from_json(json.dumps({**head, "signatures": []}))
        text = envelope.signed_by(signer).to_json()
    path.write_bytes(text.encode() + b"\n" + spelled + b"\n")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a history of everything, a snapshot before its last three steps, and one at its end."""
    home, clock = tmp_path_factory.mktemp("origin") / "books", Clock()
    with create(home, clock, snapshot_every=None) as ledger:
        grow(ledger, clock, STEPS[:-3])
        ledger.snapshot()
        grow(ledger, clock, STEPS[-3:])
        ledger.snapshot()
    return home


@pytest.fixture
def home(origin: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    copy = tmp_path / "books"
    shutil.copytree(origin, copy)
    return copy


def check_unused(
    home: Path, caplog: pytest.LogCaptureFixture, reason: str = "", *rules: Any, used: int = 1, **options: Any
) -> None:
    """Demand that the newest snapshot is named, and that the ledger is what its journal says."""
    caplog.clear()
    newest = snapshots(home)[-1]
    with reopen(home, Clock(), *rules, max_clock_jump=far(), **options) as ledger:
        found = everything(ledger)
    logged = [record.getMessage() for record in caplog.records if "is not used" in record.getMessage()]
    assert any(str(newest) in line and reason in line for line in logged), logged
    assert len(logged) == used, logged
    with reopen(twin(home), Clock(), *rules, max_clock_jump=far(), verify="all", **options) as ledger:
        assert found == everything(ledger)


def far() -> Any:
    """A jump of the clock that no test comes near."""
    return timedelta(days=999)


# --------------------------------------------------------------------------- the file


@pytest.mark.parametrize("at", range(0, 100, 7))
def test_any_flipped_bit_is_found(at: int, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Anywhere in the file: the older snapshot is used in its place."""
    path = snapshots(home)[-1]
    data = bytearray(path.read_bytes())
    data[len(data) * at // 100] ^= 1 << at % 8
    path.write_bytes(bytes(data))
    check_unused(home, caplog)


@pytest.mark.parametrize("size", [0, 1, 500, -1, -2])
def test_a_file_that_was_cut_is_not_used(size: int, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Empty, within its head, without its end."""
    path = snapshots(home)[-1]
    path.write_bytes(path.read_bytes()[:size])
    check_unused(home, caplog)


def test_a_file_that_goes_on_is_not_used(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing may follow the state."""
    path = snapshots(home)[-1]
    path.write_bytes(path.read_bytes() + b"{}\n")
    check_unused(home, caplog)


@pytest.mark.parametrize("kind", ["directory", "pipe", "link", "unreadable"])
def test_what_is_no_file_is_not_used(kind: str, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for a pipe, or follows a link."""
    path = snapshots(home)[-1]
    data = path.read_bytes()
    path.unlink()
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.with_name("elsewhere").write_bytes(data)
        path.symlink_to(path.with_name("elsewhere"))
    else:
        path.write_bytes(b"\xff" * 200_000)
    check_unused(home, caplog)


def test_what_an_interrupted_write_left_is_ignored_and_taken_away(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It has another name; the next snapshot tidies up."""
    left = home / "snapshots" / f".{snapshots(home)[-1].name}.{'ab' * 8}"
    left.write_bytes(b"half")
    with reopen(home, Clock(), max_clock_jump=far()) as ledger:
        assert caplog.records == []
        ledger.deposit("ALICE", "1 USDT", correlation_id="x")
        ledger.snapshot()
    assert not left.exists()
    assert len(snapshots(home)) == 2


# --------------------------------------------------------------------------- what it says

HEADS: dict[str, Edit] = {
    "ledger": lambda head, state: head["payload"].update(ledger="bibank/" + "0" * 32),
    "sequence": lambda head, state: head["payload"].update(sequence=head["payload"]["sequence"] - 1),
    "hash": lambda head, state: head["payload"].update(hash="ab" * 32),
    "timestamp": lambda head, state: head["payload"].update(timestamp="2026-01-25T12:00:00Z"),
    "file": lambda head, state: head["payload"].update(file="2026-01-25.jsonl"),
    "path": lambda head, state: head["payload"].update(file="../keyring.json"),
    "end": lambda head, state: head["payload"].update(end=head["payload"]["end"] - 1),
    "far": lambda head, state: head["payload"].update(end=2**50),
    "line": lambda head, state: head["payload"].update(line=head["payload"]["line"] + 1),
    "keyring": lambda head, state: head["payload"].update(keyring="ab" * 32),
    "changes": lambda head, state: head["payload"]["changes"].pop(),
    "no change": lambda head, state: head["payload"]["changes"].append(head["payload"]["changes"][-1] + 1),
    "order": lambda head, state: head["payload"]["changes"].reverse(),
    "rule": lambda head, state: head["payload"]["rules"].pop(),
    "data": lambda head, state: head["payload"]["rules"][0].update(hash="ab" * 32),
    "memory": lambda head, state: head["payload"]["rules"][0].update(remembers=False),
    "format": lambda head, state: head["payload"].update(format="bibank-snapshot/2"),
    "journal": lambda head, state: head["payload"].update(journal="bibank/2"),
    "member": lambda head, state: head["payload"].update(more=1),
    "type": lambda head, state: head["payload"].update(sequence="7"),
    "kind": lambda head, state: head.update(payloadType="application/vnd.bibank.override+json"),
}
STATES: dict[str, Edit] = {
    "version": lambda head, state: state.update(version=2),
    "position": lambda head, state: state["position"].update(hash="ab" * 32),
    "counts": lambda head, state: state["counts"].update(entries=1),
    "id": lambda head, state: state["counts"].update(ledger_id="x"),
    "days": lambda head, state: state["days"].pop(0),
    "older": lambda head, state: state["days"][0].__setitem__(1, state["days"][0][1] - 1),
    "name": lambda head, state: state["days"][0].__setitem__(0, "2026-01-01.jsonl"),
    "lines": lambda head, state: state["days"][0].__setitem__(3, state["days"][0][3] + 1),
    "rules": lambda head, state: state["rule_sets"].pop(),
    "forgets": lambda head, state: state["memory"].clear(),
    "lacks": lambda head, state: state.pop("books"),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_was_altered_is_not_used(name: str, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each member of it: the signature is over all of them."""
    forge(snapshots(home)[-1], HEADS[name])
    check_unused(home, caplog)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_says_something_else_is_not_used_though_it_is_signed(
    name: str, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The journal has the last word, whoever signed."""
    if name == "kind":
        return  # an envelope of another kind is what the key signs there
    forge(snapshots(home)[-1], HEADS[name], OWN.signer)
    check_unused(home, caplog)


@pytest.mark.parametrize("name", STATES)
def test_a_state_of_another_line_is_not_used_though_it_is_signed(
    name: str, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What can be compared with the head and the files is."""
    forge(snapshots(home)[-1], STATES[name], OWN.signer)
    check_unused(home, caplog)


@pytest.mark.parametrize("name", [*STATES, "balance", "hold", "key"])
@pytest.mark.parametrize("mend", [True, False])
def test_a_state_that_was_altered_is_not_used(
    name: str,
    mend: bool,  # noqa: FBT001 - a parameter of the test
    home: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without the key: neither the digest nor the signature can be made to fit."""
    edits: dict[str, Edit] = {
        **STATES,
        "balance": lambda head, state: state["accounts"][0][4].__setitem__(0, 10**20),
        "hold": lambda head, state: [column.pop() for column in state["books"]["holds"]],
        "key": lambda head, state: state["keys"][1].__setitem__(0, state["keys"][1][0][:-4] + "AAAA"),
    }
    forge(snapshots(home)[-1], edits[name], mend=mend)
    check_unused(home, caplog)


def test_every_member_of_head_and_state_is_altered_by_some_test() -> None:
    """A new member has to be thought of here."""
    covered = {*HEADS, "rules", "state", "journal", "keyring"}
    assert covered >= _MEMBERS


# --------------------------------------------------------------------------- who signed


def test_a_stranger_s_signature_is_worth_nothing(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key that is not in the keyring."""
    forge(snapshots(home)[-1], lambda head, state: None, STRANGER.signer)
    check_unused(home, caplog, "may not sign")


def test_an_operator_s_signature_is_not_the_ledger_s(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key of another role."""
    forge(snapshots(home)[-1], lambda head, state: None, ANNA.signer)
    check_unused(home, caplog, "may not sign")


def test_a_snapshot_without_a_signature_is_not_used(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Stripped: the keyring says that it must be there."""
    forge(snapshots(home)[-1], lambda head, state: head.update(signatures=[]))
    check_unused(home, caplog, "it is signed by 0 persons, and 1 have to")


# --------------------------------------------------------------------------- another journal, other rules


def test_a_snapshot_of_another_ledger_is_not_used(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Same key, same history, another nonce."""
    other, clock = home.with_name("other"), Clock()
    with create(other, clock, snapshot_every=None) as ledger:
        grow(ledger, clock)
        made = ledger.snapshot()
    shutil.copy(made.path, home / "snapshots" / made.path.name)
    check_unused(home, caplog, "it is of ledger")


def test_a_snapshot_of_a_journal_that_was_replaced_is_not_used(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A line of the same sequence and another hash: the copy of the journal went on in its own way."""
    clock = Clock()
    other = home.with_name("other")
    shutil.copytree(home, other)
    for path, money in ((home, "1 USDT"), (other, "2 USDT")):
        with reopen(path, Clock(clock.moment), max_clock_jump=far()) as ledger:
            ledger.deposit("ALICE", money, correlation_id="fork")
            made = ledger.snapshot()
    shutil.copy(made.path, home / "snapshots" / made.path.name)
    check_unused(home, caplog, "is not the line of the journal there")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([Counting(9)], []),
        ([], [Counting(9)]),
        ([Rule("a/1")], [Rule("a/1"), Rule("b/1")]),
        ([Rule("a/1"), Rule("b/1")], [Rule("b/1"), Rule("a/1")]),
        (
            [SpendingLimit(name="d/1", money="9 USDT", window=far() / 9)],
            [SpendingLimit(name="d/1", money="8 USDT", window=far() / 9)],
        ),
        ([Rule("counting/1")], [Counting(9)]),
    ],
)
def test_a_snapshot_of_other_rules_is_not_used(
    before: list[Any], after: list[Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One missing, one added, another order, other data, a memory where there was none."""
    home, clock = tmp_path / "books", Clock()
    with create(home, clock, *before) as ledger:
        ledger.deposit("ALICE", "1 USDT", correlation_id="d")
        ledger.snapshot()
    check_unused(home, caplog, "its rules are", *after)
    caplog.clear()
    with reopen(home, clock, *before):
        assert caplog.records == []


# --------------------------------------------------------------------------- ahead of the journal


def test_a_journal_that_ends_below_a_signed_snapshot_is_refused(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Journal and HEAD were put back together: the snapshot remembers. Nothing is repaired."""
    older = home.with_name("older")
    shutil.copytree(home, older)
    with reopen(home, Clock(), max_clock_jump=far()) as ledger:
        ledger.deposit("ALICE", "1 USDT", correlation_id="x")
        made = ledger.snapshot()
    shutil.rmtree(home / "journal")
    shutil.copytree(older / "journal", home / "journal")
    before = journal(home)
    for verify in ("tail", "all", "chain"):
        caplog.clear()
        options: Any = {"verify": verify}
        with pytest.raises(bb.JournalTruncated, match="take the snapshot away"):
            reopen(home, Clock(), **options)
        assert f"snapshot {made.path} is not used: the journal ends" in caplog.text
    assert journal(home) == before
    made.path.unlink()
    reopen(home, Clock()).close()


def test_a_snapshot_ahead_that_nobody_signed_is_named_and_passed_over(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever can write a file cannot keep the ledger from opening."""
    path = snapshots(home)[-1]
    ahead = path.with_name(f"{10**6:019d}.json")
    shutil.copy(path, ahead)
    forge(ahead, lambda head, state: head["payload"].update(sequence=10**6), STRANGER.signer)
    check_unused(home, caplog)


# --------------------------------------------------------------------------- the tests themselves


def test_what_the_forger_writes_is_a_snapshot(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The tests above fail for the reason that they name: without an edit, a forged file is used."""
    forge(snapshots(home)[-1], lambda head, state: None, OWN.signer)
    with reopen(home, Clock(), max_clock_jump=far()):
        assert caplog.records == []
    _, state = snapshots(home)[-1].read_bytes().splitlines()
    assert read_state(state).spell() == state
