"""The doctor of a home: each finding as it should be and as it should not, and nothing is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import bibank as bb
from bibank.clock import MAX_CLOCK_JUMP, NOTED_CLOCK_JUMP
from bibank.doctor.look import find_line
from bibank.doctor.surroundings import LOW_SPACE
from bibank.home import Home
from bibank.keystore import make_key_file
from bibank.projections import ask_books
from bibank.signing import Cost
from bibank.store.jsonl.days import DayFile
from bibank.store.jsonl.files import OsFiles
from bibank.store.jsonl.head import EMPTY, HEAD_NAME, SLOT_BYTES, encode_slot
from bibank.store.jsonl.writer import FREE_SPACE_FLOOR
from tests.store.journals import DAYS, NEWEST, StillClock, day_files, deposit, put, tree, write_journal

CHECKS = [
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
HOLD = """
import sys
import bibank as bb
ledger = bb.Ledger.open(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """A home of 13 lines in 3 day files, closed, with HEAD at its last line."""
    home = tmp_path / "books"
    write_journal(home)
    (home / "keys" / ".gitignore").write_bytes(b"*\n")
    bb.Ledger.open(home).close()
    return home


def diagnose(home: Path, *, clock: bb.Clock | None = None) -> bb.Diagnosis:
    """Look at a home on the day of its last line, and demand that the look changed nothing."""
    before = tree(home)
    names = sorted(path.name for path in home.rglob("*"))
    found = bb.diagnose_home(home, clock=clock or StillClock(DAYS[2]))
    assert tree(home) == before
    assert sorted(path.name for path in home.rglob("*")) == names
    return found


def finding(home: Path, check: str, *, clock: bb.Clock | None = None) -> bb.Finding:
    """Look at a home and give the one finding of a check."""
    (found,) = (row for row in diagnose(home, clock=clock).findings if row.check == check)
    return found


def test_a_healthy_home_has_no_problem(books: Path) -> None:
    """Every check has its row, and none is a problem."""
    found = diagnose(books)
    assert [row.check for row in found.findings] == CHECKS
    assert {row.check: row.state for row in found.findings if row.state != "ok"} == {"key SYSTEM.key": "note"}
    assert not found.problems
    assert found.head is not None
    assert found.head.sequence == 13
    assert found.ledger_id is not None
    assert f"ledger {found.ledger_id}, format bibank/1, 13 lines in 3 day files" in found.findings[0].text
    assert str(found).count("\n") == len(CHECKS) - 1
    assert str(found).startswith("ok       home: ")


def test_nothing_is_no_home(tmp_path: Path) -> None:
    """Where there is no ledger, or only the beginning of one, there is nothing to look at."""
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(bb.HomeNotFound):
            bb.diagnose_home(path)
    with pytest.raises(bb.HomeNotFound, match="unfinished creation"):
        bb.diagnose_home(put(tmp_path / "begun", {NEWEST: b'{"sequence":1'}))


def test_the_lock_in_its_states(books: Path) -> None:
    """A lock that this process holds is held; what a dead holder left in the file is not a lock."""
    assert finding(books, "lock").text.startswith("free")
    (books / "journal" / ".lock").write_text(json.dumps({"pid": 1, "host": "gone"}))
    assert finding(books, "lock").text.startswith("free")
    with bb.Ledger.open(books):
        assert f"process {os.getpid()} on" in finding(books, "lock").text
        for said in ("", "[1]", '{"pid": "x", "host": 5}'):
            (books / "journal" / ".lock").write_text(said)
            assert "did not leave its name" in finding(books, "lock").text
        (books / "journal" / ".lock").unlink()
        assert finding(books, "lock").text.startswith("held")
    assert finding(books, "lock").text.startswith("free")


@pytest.fixture
def holder(books: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the home open."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(books)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_home_of_another_process(holder: subprocess.Popen[str], books: Path) -> None:
    """A home that another process writes is looked at, and named as his; afterwards he still has it."""
    assert f"held by process {holder.pid} on" in finding(books, "lock").text
    assert not diagnose(books).problems
    with pytest.raises(bb.LedgerBusy):
        bb.Ledger.open(books)


def test_the_look_keeps_no_lock(books: Path) -> None:
    """A writer that comes after a look finds the lock free, while the diagnosis is still at hand."""
    found = diagnose(books)
    with bb.Ledger.open(books) as ledger:
        assert found.head == ledger.head
        assert f"process {os.getpid()} on" in finding(books, "lock").text


def test_a_torn_tail_is_a_problem_with_its_place(books: Path) -> None:
    """Bytes behind the last whole batch are found, and opening is what sets them aside."""
    with (books / "journal" / NEWEST).open("ab") as day:
        day.write(b'{"torn')
    found = finding(books, "journal")
    assert (found.state, found.code, found.file, found.line) == ("problem", "journal_torn", NEWEST, 10)
    assert "6 bytes follow the last whole batch, which ends at line 13" in found.text
    assert "Open the ledger for writing" in found.text


def test_a_torn_tail_beside_a_writer_is_his_write(books: Path) -> None:
    """While the lock is held, a tail without its end is a write under way."""
    with bb.Ledger.open(books):
        with (books / "journal" / NEWEST).open("ab") as day:
            day.write(b'{"torn')
        found = finding(books, "journal")
        assert (found.state, found.code) == ("note", None)
        assert "a write is under way" in found.text


def test_a_truncated_journal_is_a_finding(books: Path) -> None:
    """A journal that ends below HEAD is looked at all the same, and keeps its other findings."""
    day = books / "journal" / NEWEST
    day.write_bytes(b"".join(day.read_bytes().splitlines(keepends=True)[:-1]))
    found = diagnose(books)
    (cut,) = (row for row in found.findings if row.check == "journal")
    assert (cut.state, cut.code, cut.file) == ("problem", "journal_truncated", HEAD_NAME)
    assert "line 13 was on the disk" in cut.text
    assert [row.check for row in found.findings] == CHECKS
    assert found.head is None
    assert found.ledger_id is not None
    assert [row.check for row in found.problems] == ["journal"]
    notes = {row.check: row.text for row in found.findings if row.state == "note"}
    assert "cannot be said" in notes["head"]
    assert "no last line" in notes["clock"]
    assert "was not looked for" in notes["recovery"]


def test_damage_is_a_finding_with_file_and_line(books: Path) -> None:
    """A line behind HEAD that does not hold is named; an older one is the audit's to find."""
    day = books / "journal" / NEWEST
    with day.open("ab") as file:
        file.write(b"{}\n")
    found = finding(books, "journal")
    assert (found.state, found.code, found.file, found.line) == ("problem", "journal_corrupt", NEWEST, 10)
    day.write_bytes(day.read_bytes()[:-3].replace(b'"C"', b'"X"', 1))
    assert finding(books, "journal").state == "ok"


def test_another_format_is_a_finding(books: Path) -> None:
    """A journal of a format to come is not judged by the rules of this one."""
    first = books / "journal" / f"{DAYS[0]}.jsonl"
    first.write_bytes(first.read_bytes().replace(b'"bibank/1"', b'"bibank/2"', 1))
    assert finding(books, "journal").code == "unsupported_format"


def test_a_first_line_that_says_nothing(books: Path) -> None:
    """Without a first line that can be read nobody knows which ledger it is, and the rest is still said."""
    first = books / "journal" / f"{DAYS[0]}.jsonl"
    first.write_bytes(b"\0" + first.read_bytes()[1:])
    found = diagnose(books)
    assert found.ledger_id is None
    assert "does not say which ledger" in found.findings[0].text
    assert "the journal does not say its own" in finding(books, "keyring").text


def test_head_in_its_states(books: Path) -> None:
    """HEAD at the end, behind it, with a torn slot, torn altogether, too short, and missing."""
    path = books / "journal" / HEAD_NAME
    whole = path.read_bytes()
    assert "line 13" in finding(books, "head").text
    path.write_bytes(encode_slot(EMPTY) * 2)
    behind = finding(books, "head")
    assert (behind.state, "13 behind the journal" in behind.text) == ("note", True)
    for torn in (bytes(SLOT_BYTES) + whole[SLOT_BYTES:], whole[:SLOT_BYTES] + bytes(SLOT_BYTES)):
        path.write_bytes(torn)
        assert "torn" in finding(books, "head").text
        assert finding(books, "head").state == "note"
    path.write_bytes(encode_slot(EMPTY))
    assert "line 0, torn" in finding(books, "head").text
    path.write_bytes(bytes(2 * SLOT_BYTES))
    assert finding(books, "head").code == "journal_corrupt"
    path.unlink()
    missing = finding(books, "head")
    assert (missing.state, "HEAD is missing" in missing.text) == ("problem", True)
    path.mkdir()
    assert finding(books, "journal").file == HEAD_NAME


def test_head_behind_an_open_ledger_is_as_it_should_be(books: Path) -> None:
    """Beside a writer HEAD may be a moment behind."""
    with bb.Ledger.open(books, clock=StillClock(DAYS[2])) as ledger:
        ledger.commit(deposit("F", "1 USDT"))
        ledger.commit(deposit("F", "1 USDT"))
        found = finding(books, "head")
        assert (found.state, "1 behind the journal" in found.text) == ("ok", True)


def test_the_clock_in_its_states(books: Path) -> None:
    """A clock near the last line is fine, a day off is noted, a year off is a problem, both ways."""
    clock = StillClock(DAYS[2])
    last = clock.moment
    for distance, state in (
        (timedelta(), "ok"),
        (NOTED_CLOCK_JUMP, "ok"),
        (NOTED_CLOCK_JUMP + timedelta(seconds=1), "note"),
        (MAX_CLOCK_JUMP + timedelta(seconds=1), "problem"),
    ):
        for moment in (last + distance, last - distance):
            clock.moment = moment
            found = finding(books, "clock", clock=clock)
            assert (found.state, found.code) == (state, "clock_jumped" if state == "problem" else None)
    assert "before the last line's 2026-01-27" in found.text


def test_free_space_in_its_states(books: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plenty is fine, little is noted, and what recovery needs is not there to be written on."""
    for free, state, code in (
        (LOW_SPACE, "ok", None),
        (LOW_SPACE - 1, "note", None),
        (FREE_SPACE_FLOOR, "problem", "store_full"),
    ):
        monkeypatch.setattr(OsFiles, "free_bytes", lambda _, free=free: free)
        found = finding(books, "space")
        assert (found.state, found.code) == (state, code)

    def refuse(_: OsFiles) -> int:
        raise bb.StoreUnavailable("cannot look at it")

    monkeypatch.setattr(OsFiles, "free_bytes", refuse)
    assert finding(books, "space").code == "store_unavailable"


def test_the_directory_of_keys_in_its_states(books: Path) -> None:
    """Its mode, its .gitignore, what it is, and that it need not be there."""
    keys = books / "keys"
    assert (finding(books, "keys").state, "0700" in finding(books, "keys").text) == ("ok", True)
    keys.chmod(0o750)
    assert (finding(books, "keys").code, "mode 0750" in finding(books, "keys").text) == ("keystore", True)
    keys.chmod(0o700)
    (keys / ".gitignore").unlink()
    assert finding(books, "keys").state == "note"
    (keys / ".gitignore").write_text("!*\n")
    assert finding(books, "keys").state == "note"
    moved = keys.rename(books / "elsewhere")
    assert finding(books, "keys").text.startswith("the home holds no private key")
    keys.symlink_to(moved)
    found = diagnose(books)
    assert [row.text for row in found.problems] == [f"{keys} is not a directory"]
    assert "key SYSTEM.key" not in [row.check for row in found.findings]


def test_another_users_directory_of_keys(books: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of somebody else are no use to us, and ours none to him."""
    owner = (books / "keys").stat().st_uid
    if owner == 0:
        os.chown(books / "keys", 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    found = finding(books, "keys")
    assert (found.state, "belongs to another user" in found.text) == ("problem", True)


def test_key_files_in_their_states(books: Path) -> None:
    """A plain key says what it proves, an encrypted one is fine, an open, malformed or linked one is not."""
    key = books / "keys" / "SYSTEM.key"
    plain = finding(books, "key SYSTEM.key")
    assert (plain.state, "accidents and edits by whoever cannot read keys/" in plain.text) == ("note", True)
    key.chmod(0o640)
    found = finding(books, "key SYSTEM.key")
    assert (found.code, "mode 0640" in found.text) == ("keystore", True)
    key.chmod(0o600)
    key.rename(books / "keys" / ".SYSTEM-0123.key")
    left = finding(books, "key .SYSTEM-0123.key")
    assert (left.state, "interrupted rotation" in left.text) == ("note", True)
    key.symlink_to(books / "keys" / ".SYSTEM-0123.key")
    assert finding(books, "key SYSTEM.key").state == "problem"
    key.unlink()
    key.touch(mode=0o600)
    assert "malformed" in finding(books, "key SYSTEM.key").text
    key.unlink()
    cheap = Cost(operations=2, memory_bytes=64 * 1024 * 1024)
    make_key_file(key, signer_id="SYSTEM", passphrase="open sesame", cost=cheap)
    assert (finding(books, "key SYSTEM.key").state) == "ok"


def test_a_diagnosis_shows_no_secret(books: Path) -> None:
    """What the doctor read in a key file does not stand in what he says."""
    seed = json.loads((books / "keys" / "SYSTEM.key").read_bytes())["seed"]
    found = diagnose(books)
    assert seed not in str(found)
    assert seed not in json.dumps(found.findings.to_dicts())


def test_the_keyring_file_in_its_states(books: Path, tmp_path: Path) -> None:
    """The journal's own is fine, none comes back, one of another ledger or of no form is a problem."""
    path = books / "keyring.json"
    own = path.read_bytes()
    assert finding(books, "keyring").state == "ok"
    path.unlink()
    assert finding(books, "keyring").state == "note"
    path.write_bytes(b"{}")
    assert finding(books, "keyring").code == "integrity"
    path.write_bytes(own.replace(b"bibank/", b"another/"))
    assert finding(books, "keyring").code == "pin_mismatch"


def test_the_projection_in_its_states(books: Path, tmp_path: Path) -> None:
    """It is not there, up to date, behind, ahead, of another ledger, damaged, in use, or no file at all."""
    path = books / "projection.db"
    assert finding(books, "projection").text.startswith("not there")
    ask_books(books, lambda balances: balances.digest())
    assert finding(books, "projection").text.endswith("stands at line 13")
    with bb.Ledger.open(books, clock=StillClock(DAYS[2])) as ledger:
        ledger.commit(deposit("F", "1 USDT"))
    assert "1 behind the journal" in finding(books, "projection").text
    other = tmp_path / "other"
    bb.Ledger.create(other, opening={"USDT": "1"}, name="other").close()
    ask_books(other, lambda balances: balances.digest())
    path.write_bytes((other / "projection.db").read_bytes())
    assert "of ledger other/" in finding(books, "projection").text
    path.write_bytes(b"SQLite format 3\0" + bytes(5000))
    assert (finding(books, "projection").state, "rebuild" in finding(books, "projection").text) == (
        "note",
        True,
    )
    Path(f"{path}-wal").touch()
    assert "in use" in finding(books, "projection").text
    Path(f"{path}-wal").unlink()
    path.unlink()
    path.mkdir()
    assert finding(books, "projection").code == "store_unavailable"


def test_a_projection_ahead_of_the_journal(tmp_path: Path) -> None:
    """What an unsynced line left in the projection is told apart from a journal that grew."""
    write_journal(tmp_path / "books")
    files = day_files(tmp_path / "books")
    ask_books(tmp_path / "books", lambda balances: balances.digest())
    shorter = b"".join(files[NEWEST].splitlines(keepends=True)[:-1])
    found = finding(put(tmp_path / "books", {**files, NEWEST: shorter}), "projection")
    assert (found.state, "ahead of the journal" in found.text) == ("note", True)


def test_a_recovery_from_tear_to_record(books: Path) -> None:
    """Set aside, owed, recorded: each stage is told, with file, size and the line it stood before."""
    assert finding(books, "recovery").state == "ok"
    with (books / "journal" / NEWEST).open("ab") as day:
        day.write(b'{"torn')
    with bb.Ledger.open(books, clock=StillClock(DAYS[2])) as ledger:
        owed = finding(books, "recovery")
        assert owed.state == "note"
        assert f"{NEWEST}.torn-14 (6 bytes, before line 14)" in owed.text
        assert "before line 14 is owed" in owed.text
        ledger.commit(deposit("F", "1 USDT"))
    recorded = finding(books, "recovery")
    assert (
        "the last recovery record found is line 14, of 2026-01-27T10:00:00Z, and names 1 of them"
        in recorded.text
    )
    assert "owed" not in recorded.text
    (books / "journal" / f"{NEWEST}.torn-14").unlink()
    alone = finding(books, "recovery")
    assert alone.text.startswith("the last recovery record found is line 14")


def test_an_empty_torn_file_owes_nothing(books: Path) -> None:
    """What a full disk left of a copy is named, and no record is owed for it."""
    (books / "journal" / f"{NEWEST}.torn-14").touch()
    found = finding(books, "recovery")
    assert f"{NEWEST}.torn-14 (0 bytes, before line 14)" in found.text
    assert "owed" not in found.text


def test_torn_files_before_a_line_that_is_not_there(books: Path) -> None:
    """Bytes that were set aside further on than the journal reaches are a reason to compare with a copy."""
    for number in range(20, 27):
        (books / "journal" / f"{NEWEST}.torn-{number}").write_bytes(b"x")
    found = finding(books, "recovery")
    assert found.state == "note"
    assert "does not reach line 26" in found.text
    assert " and 2 more" in found.text


def test_a_recovery_record_far_from_the_end_is_found_by_its_torn_file(
    books: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the tail does not hold the record, the name of the torn file says which line it is."""
    with (books / "journal" / NEWEST).open("ab") as day:
        day.write(b'{"torn')
    with bb.Ledger.open(books, clock=StillClock(DAYS[2])) as ledger:
        ledger.commit(deposit("F", "1 USDT"))
        ledger.commit(deposit("F", "1 USDT"))
    monkeypatch.setattr("bibank.doctor.look._TAIL_BYTES", 100)
    assert "is line 14" in finding(books, "recovery").text
    (books / "journal" / f"{NEWEST}.torn-14").rename(books / "journal" / f"{NEWEST}.torn-13")
    assert "record" not in finding(books, "recovery").text


def test_a_line_is_found_by_its_sequence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of many files is found by halving, and what is not there is not."""
    monkeypatch.setattr("bibank.doctor.look._NEAR_BYTES", 3000)
    write_journal(tmp_path / "books")
    files = OsFiles(Home(tmp_path / "books").journal)
    days = [DayFile(name=name, size=len(data)) for name, data in day_files(tmp_path / "books").items()]
    for sequence in range(1, 14):
        line = find_line(files, days, sequence)
        assert line is not None
        assert line.sequence == sequence
    assert find_line(files, days, 14) is None
    assert find_line(files, days, 0) is None
    assert find_line(files, [], 1) is None


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_a_lock_that_is_no_file_is_a_problem(tmp_path: Path, kind: str) -> None:
    """What keeps every writer out is not called a free lock."""
    write_journal(tmp_path)
    lock = tmp_path / "journal" / ".lock"
    lock.unlink()
    if kind == "directory":
        lock.mkdir()
    else:
        lock.symlink_to(tmp_path / "elsewhere")
    (found,) = [found for found in bb.diagnose_home(tmp_path).problems if found.check == "lock"]
    assert found.code == "store_unavailable"
    with pytest.raises(bb.StoreUnavailable):
        bb.Ledger.open(tmp_path)
