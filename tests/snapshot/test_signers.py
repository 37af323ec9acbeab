"""Whose signature a snapshot needs: of a key that is in force where the journal ends, and at hand."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import bibank as bb
from bibank.keystore import from_key_file
from bibank.signing import Ed25519Signer, Keyring, KeyringChange, Policy, Purpose, Role
from tests.ledger.operators import OWN, agreeing, govern
from tests.risk.rules import Counting
from tests.snapshot.homes import Clock, create, everything, reopen, twin
from tests.snapshot.test_tampering import Members, forge, snapshots, split

NEW = Ed25519Signer(bytes(31) + b"n", signer_id="SYSTEM")
_FAR = timedelta(days=999)


def enrich(head: Members, state: Members) -> None:
    """Give ALICE a fortune, and the vault as well."""
    for columns in state["accounts"]:
        if columns[1] == "USDT" and columns[0] in ("ASSET", "LIAB"):
            columns[4][0] += 10**15


def check_honest(home: Path, caplog: pytest.LogCaptureFixture, reason: str, **options: Any) -> None:
    """Demand that a home opens as its journal says, and that its one snapshot is named with the reason."""
    caplog.clear()
    (path,) = snapshots(home)
    common: Any = {"max_clock_jump": _FAR, "snapshot_every": None, **options}
    with bb.Ledger.open(home, **common) as ledger:
        assert f"snapshot {path} is not used: " in caplog.text
        assert reason in caplog.text
        found = everything(ledger)
        assert ledger.balance("ALICE", "USDT").available.units < 1000 * 10**8
        ledger.audit(level="signatures")
    other = twin(home)
    with bb.Ledger.open(other, verify="all", **common) as ledger:
        assert found == everything(ledger)
    shutil.rmtree(other)


def test_a_snapshot_is_signed_and_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The tests below fail for the reason that they name: forged by the key in force, it is believed."""
    home = tmp_path / "books"
    with create(home, Clock()) as ledger:
        ledger.deposit("ALICE", "1 USDT", correlation_id="d")
        path = ledger.snapshot().path
    forge(path, enrich, OWN.signer)
    with reopen(home, Clock()) as ledger:
        assert ledger.balance("ALICE", "USDT").available.units > 1000 * 10**8
    assert caplog.records == []


# --------------------------------------------------------------------------- nobody signed


def without_signature(head: Members, state: Members) -> None:
    """Give ALICE a fortune in a snapshot that nobody signs."""
    head.update(signatures=[])
    enrich(head, state)


def test_an_unsigned_ledger_makes_no_snapshot(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It would be nobody's word: asked for, it is an error; by itself, none is made, without a word."""
    home = tmp_path / "books"
    keyring, clock = Keyring.unsigned(), Clock()
    with bb.Ledger.create(
        home, opening={"USDT": "9"}, clock=clock, keyring=keyring, snapshot_every=3
    ) as ledger:
        for _ in range(9):
            ledger.deposit("ALICE", "1 USDT", correlation_id="d")
        with pytest.raises(bb.ConfigurationError, match="the ledger is unsigned"):
            ledger.snapshot()
    assert (snapshots(home), caplog.records) == ([], [])


def unsigned_home(tmp_path: Path, clock: Clock, *, signed_later: int) -> Path:
    """Make a home that began unsigned, with a forged snapshot of that time that nobody signed."""
    home, other = tmp_path / "books", tmp_path / "other"
    with bb.Ledger.create(home, opening={"USDT": "9"}, clock=clock, keyring=Keyring.unsigned()) as ledger:
        ledger.deposit("ALICE", "1 USDT", correlation_id="d")
    shutil.copytree(home, other)
    with bb.Ledger.open(home, clock=clock, snapshot_every=None) as ledger:
        unsigned = ledger.keyring.fingerprint
        if signed_later:
            ledger.keyring.add(OWN.signer, roles=[Role.SYSTEM], correlation_id="k")
        for _ in range(signed_later):
            ledger.deposit("ALICE", "1 USDT", correlation_id="d")
    with bb.Ledger.open(other, clock=clock, snapshot_every=None) as ledger:
        ledger.keyring.add(OWN.signer, roles=[Role.SYSTEM], correlation_id="k")
        made = ledger.snapshot()
    lines = next((home / "journal").glob("*.jsonl")).read_bytes().splitlines(keepends=True)

    def of_line_3(head: Members, state: Members) -> None:
        found = split_line(lines[2])
        size = sum(map(len, lines[:3]))
        at = {"sequence": 3, "hash": found["hash"], "timestamp": found["timestamp"]}
        head["payload"].update(**at, end=size, line=3, changes=[], keyring=unsigned)
        state.update(position=at)
        state["counts"].update(records=state["counts"]["records"] - 1)
        state["days"][0][1:] = [size, 1, 3]
        without_signature(head, state)

    (home / "snapshots").mkdir(exist_ok=True)
    path = home / "snapshots" / f"{3:019d}.json"
    shutil.copy(made.path, path)
    forge(path, of_line_3)
    return home


def split_line(line: bytes) -> Members:
    """Read a line by `json` alone."""
    found: Members = json.loads(line)
    return found


@pytest.mark.parametrize("signed_later", [0, 5])
def test_what_nobody_signed_is_not_used(
    signed_later: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever writes the disk could set every balance, also of a ledger that was signed later."""
    home = unsigned_home(tmp_path, Clock(), signed_later=signed_later)
    signer = OWN.signer if signed_later else None
    check_honest(home, caplog, "it is signed by 0 persons, and 1 have to sign it", signer=signer)


@pytest.mark.parametrize("policy", [{"threshold": 0}, {"threshold": 1, "mandatory_from": 10**6}])
def test_a_policy_that_asks_for_nothing_is_not_leave_to_forge(
    policy: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The ledger's own key signs in any case, and its signature is asked for in any case."""
    home = tmp_path / "books"
    with create(home, Clock()) as ledger:
        change = KeyringChange(policies={Purpose.SNAPSHOT: Policy(role=Role.SYSTEM, **policy)})
        ledger.keyring.commit(ledger.keyring.draft(change).signed_by(OWN.signer), correlation_id="k")
        ledger.deposit("ALICE", "1 USDT", correlation_id="d")
        path = ledger.snapshot().path
    assert len(split(path)[0]["signatures"]) == 1
    with reopen(home, Clock()):
        assert caplog.records == []
    forge(path, without_signature)
    check_honest(home, caplog, "it is signed by 0 persons, and 1 have to sign it", signer=OWN.signer)


# --------------------------------------------------------------------------- keys that were given up


@pytest.mark.parametrize("how", ["rotated", "revoked"])
def test_a_key_that_was_given_up_forges_no_state_of_before(
    how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its file still lies in the home, and its signature covers lines before its end: that is not enough."""
    home, clock = tmp_path / "books", Clock()
    with bb.Ledger.create(home, opening={"USDT": "1000"}, clock=clock) as ledger:
        ledger.deposit("ALICE", "1 USDT", correlation_id="d")
        path = ledger.snapshot().path
        stolen = from_key_file(home / "keys" / "SYSTEM.key")
        if how == "rotated":
            ledger.keyring.rotate(correlation_id="k")
        else:
            home_of: Any = ledger._home
            ledger.keyring.revoke(
                ledger.keyring.keys[0].key_id,
                last_trusted_sequence=ledger.head.sequence,
                replacement=home_of.next_signer(),
                correlation_id="k",
            )
        ledger.deposit("ALICE", "2 USDT", correlation_id="d")
    forge(path, enrich, stolen)
    check_honest(home, caplog, "a key that is no longer in force where the journal ends")


def test_after_a_rotation_the_first_opening_reads_the_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once: the snapshot that is made then is signed by the key in force, and by one that is at hand."""
    home, clock = tmp_path / "books", Clock()
    with bb.Ledger.create(home, opening={"USDT": "9"}, clock=clock) as ledger:
        ledger.snapshot()
        ledger.keyring.rotate(NEW, correlation_id="k")
    with bb.Ledger.open(home, clock=clock, signer=NEW) as ledger:
        assert "with a key that this opening does not have" in caplog.text
        ledger.snapshot()
    caplog.clear()
    with bb.Ledger.open(home, clock=clock, signer=NEW):
        assert caplog.records == []


def test_a_retired_key_does_not_sign_what_came_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The position judged is the snapshot's sequence."""
    home = tmp_path / "books"
    with create(home, Clock()) as ledger:
        govern(ledger)
        ledger.keyring.rotate(NEW, authorised_by=agreeing(ledger), correlation_id="k")
        path = ledger.snapshot().path
    forge(path, lambda head, state: None, OWN.signer)
    with reopen(home, Clock(), signer=NEW, max_clock_jump=_FAR):
        assert "may not sign it at line" in caplog.text


# --------------------------------------------------------------------------- a snapshot that ruins its tail


def full(head: Members, state: Members) -> None:
    """Let the accounts hold as much as there can be: the next deposit is one too many."""
    for columns in state["accounts"]:
        columns[4] = [2**127 - 1 for _ in columns[4]]


def confused(head: Members, state: Members) -> None:
    """Let the rule remember what it never wrote."""
    for memory in state["memory"].values():
        memory.update({key: ["x"] for key in memory})


@pytest.mark.parametrize("edit", [full, confused])
def test_an_error_behind_a_snapshot_is_not_blamed_on_the_journal(
    edit: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What the lines behind it make impossible was not there: the journal alone says what was."""
    home = tmp_path / "books"
    with create(home, Clock(), Counting(99)) as ledger:
        ledger.deposit("ALICE", "9 USDT", correlation_id="d")
        path = ledger.snapshot().path
        ledger.deposit("ALICE", "9 USDT", correlation_id="d")
    forge(path, edit, OWN.signer)
    with reopen(home, Clock(), Counting(99), max_clock_jump=_FAR) as ledger:
        assert caplog.text.count(f"snapshot {path} is not used: ") == 1
        assert str(ledger.balance("ALICE", "USDT").available) == "18"
        found = everything(ledger)
    with reopen(twin(home), Clock(), Counting(99), max_clock_jump=_FAR) as ledger:
        assert found == everything(ledger)


def test_a_journal_that_does_not_hold_behind_a_snapshot_is_an_error(tmp_path: Path) -> None:
    """It was read alone as well: then it is its own fault."""
    home = tmp_path / "books"
    with create(home, Clock()) as ledger:
        ledger.snapshot()
        ledger.deposit("ALICE", "9 USDT", correlation_id="d")
    day = next((home / "journal").glob("*.jsonl"))
    day.write_bytes(day.read_bytes().replace(b"ALICE", b"ALICF"))
    with pytest.raises(bb.JournalCorrupt) as caught:
        reopen(home, Clock())
    assert (caught.value.sequence, caught.value.line) == (3, 3)


def test_a_foreign_error_while_one_is_loaded_means_that_it_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory at its end, or a signed state that no reader thought of: the journal is there."""
    home = tmp_path / "books"
    with create(home, Clock()) as ledger:
        ledger.deposit("ALICE", "9 USDT", correlation_id="d")
        path = ledger.snapshot().path
    whole = path.read_bytes()
    forge(path, lambda head, state: state["days"].insert(0, [state["days"][0][0], "x", 1, 1]), OWN.signer)
    assert "TypeError" in str(bb.verify_snapshots(home)[0].problem)
    check_honest(home, caplog, "TypeError", signer=OWN.signer)
    path.write_bytes(whole)

    def fail(*args: Any) -> Any:
        raise MemoryError

    for place in ("resuming.read_state", "state.parse_timestamp"):  # before and while the machine is filled
        with monkeypatch.context() as patched:
            patched.setattr(f"bibank.snapshots.{place}", fail)
            check_honest(home, caplog, "MemoryError", signer=OWN.signer)


def test_a_rule_forgets_what_it_had_from_a_snapshot_that_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late loading it failed: nothing is counted twice."""
    home = tmp_path / "books"
    with create(home, Clock(), Counting(99)) as ledger:
        ledger.deposit("ALICE", "9 USDT", correlation_id="d")
        ledger.snapshot()

    def fail(*args: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("bibank.store.jsonl.days.Days.pass_over", fail)
        with reopen(home, Clock(), Counting(99), max_clock_jump=_FAR) as ledger:
            found = everything(ledger)
    assert "MemoryError" in caplog.text
    with reopen(home, Clock(), Counting(99), verify="all", max_clock_jump=_FAR) as ledger:
        assert found == everything(ledger)


# --------------------------------------------------------------------------- calls from inside


class Calling:
    """A signer that calls the ledger back when it is asked for a snapshot."""

    signer_id, algorithm, public_key = OWN.signer.signer_id, OWN.signer.algorithm, OWN.signer.public_key

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.errors: list[str] = []

    def sign(self, message: bytes) -> bytes:
        """Sign, and make the calls."""
        while self.calls:
            try:
                self.calls.pop()()
            except bb.ConfigurationError as error:
                self.errors.append(str(error))
        return OWN.signer.sign(message)


@pytest.mark.parametrize("call", ["snapshot", "close"])
def test_a_signer_that_calls_back_while_a_snapshot_is_signed_is_refused(call: str, tmp_path: Path) -> None:
    """It would wait for itself."""
    signer = Calling()
    with create(tmp_path / "books", Clock(), signer=signer) as ledger:
        signer.calls.append(getattr(ledger, call))
        made = ledger.snapshot()
        assert signer.errors == ["a signer may not call the ledger that asks it to sign a snapshot"]
        assert made.path.is_file()
        ledger.deposit("ALICE", "1 USDT", correlation_id="d")
        assert ledger.snapshot().sequence == 3


def test_a_call_from_inside_is_refused_before_it_waits(tmp_path: Path) -> None:
    """A signer of lines that asks for a snapshot, while another thread makes one, gets an error."""
    signer = Calling()
    ledger = create(tmp_path / "books", Clock(), signer=signer)
    kept: Any = ledger._keeper
    signer.calls.append(ledger.snapshot)
    committing = Thread(target=lambda: ledger.deposit("ALICE", "1 USDT", correlation_id="d"), daemon=True)
    with kept._making:  # as if this thread made one
        committing.start()
        committing.join(timeout=20)
        assert not committing.is_alive(), "it waits for a thread that waits for the lead"
    assert signer.errors == ["a signer or a store may not call the ledger that asks it"]
    assert ledger.head.sequence == 3
    ledger.close()
