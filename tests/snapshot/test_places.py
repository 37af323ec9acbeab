"""What is compared with the journal, though a snapshot is signed: its line, its keyring, its ledger."""

from __future__ import annotations

import os
import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from bibank.snapshots import checking
from bibank.snapshots.files import SnapshotFile, read_snapshot
from tests.snapshot.homes import Clock, create, reopen
from tests.snapshot.test_tampering import snapshots

_FAR = timedelta(days=999)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a snapshot of its last line, 4."""
    home = tmp_path / "books"
    with create(home, Clock()) as ledger:
        ledger.deposit("ALICE", "1 USDT", correlation_id="first")
        ledger.deposit("ALICE", "1 USDT", correlation_id="last")
        ledger.snapshot()
    return home


def day_of(home: Path) -> Path:
    """Give the one day file."""
    (day,) = (home / "journal").glob("*.jsonl")
    return day


def check_named(home: Path, caplog: pytest.LogCaptureFixture, reason: str) -> None:
    """Demand that the snapshot is named with the reason, and that the journal is then found not to hold."""
    with pytest.raises(bb.JournalCorrupt):
        reopen(home, Clock(), max_clock_jump=_FAR)
    assert reason in caplog.text


def test_a_last_line_without_a_signature_is_no_place(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The keyring asks for one: a tail that nobody signed is not what the ledger wrote."""
    day = day_of(home)
    data = day.read_bytes()
    *before, last, _ = data.split(b"\n")
    bare = re.sub(rb',"signatures":\[.*\]', b"", last)
    assert bare != last
    before[2] = before[2].replace(b"first", b"first" + b"t" * (len(last) - len(bare)))
    day.write_bytes(b"\n".join([*before, bare, b""]))
    assert day.stat().st_size == len(data), "HEAD knows where the line ends"
    check_named(home, caplog, "line 4 of the journal is not signed")


def test_a_last_line_with_another_content_is_no_place(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What the signature does not cover by itself, the hash does."""
    day = day_of(home)
    day.write_bytes(day.read_bytes().replace(b'"correlation_id":"last"', b'"correlation_id":"lost"'))
    check_named(home, caplog, "line 4 of the journal does not have the hash of its content")


def test_a_line_of_the_keyring_has_its_hash(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first keyring is read from the journal, and so is every change: no other content will do."""
    day = day_of(home)
    lines = day.read_bytes().split(b"\n")
    lines[1] = lines[1].replace(b'"correlation_id":"genesis"', b'"correlation_id":"generis"')
    day.write_bytes(b"\n".join(lines))
    check_named(home, caplog, "line 2 of the journal does not have the hash of its content")


def test_a_snapshot_ahead_of_another_ledger_with_the_same_key_is_passed_over(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It says nothing of this journal: it is named, and the ledger opens."""
    other = home.with_name("other")
    with create(other, Clock()) as ledger:
        for _ in range(9):
            ledger.deposit("ALICE", "1 USDT", correlation_id="d")
        made = ledger.snapshot()
    shutil.copy(made.path, home / "snapshots" / made.path.name)
    with reopen(home, Clock(), max_clock_jump=_FAR) as ledger:
        assert ledger.head.sequence == 4
    assert "it is of ledger" in caplog.text


# --------------------------------------------------------------------------- files


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts the open files of this process")
def test_what_is_no_file_is_closed_again(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A directory with the name of a snapshot, at each opening."""
    (path,) = snapshots(home)
    path.unlink()
    path.mkdir()
    reopen(home, Clock(), max_clock_jump=_FAR).close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        reopen(home, Clock(), max_clock_jump=_FAR).close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert "it is not a regular file" in caplog.text


def test_a_snapshot_that_is_taken_away_meanwhile_is_left_out(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger is open, makes newer ones, and keeps two: that is no damage."""
    (path,) = snapshots(home)
    with reopen(home, Clock(), max_clock_jump=_FAR) as ledger:
        ledger.deposit("ALICE", "1 USDT", correlation_id="d")
        ledger.snapshot()

        def read(found: Path) -> SnapshotFile:
            if found == path:
                path.unlink()
            return read_snapshot(found)

        patched: Any = checking
        monkeypatch.setattr(patched, "read_snapshot", read)
        verdicts = bb.verify_snapshots(home)
    assert [(verdict.sequence, verdict.problem) for verdict in verdicts] == [(5, None)]
