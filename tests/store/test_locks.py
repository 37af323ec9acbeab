"""One writer: the lock of a home, between objects, processes and forks, in real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import bibank as bb
from bibank.store.jsonl.files import OsFiles

HOLD = """
import sys
import bibank as bb
ledger = bb.Ledger.open_or_create(sys.argv[1], opening={"USDT": "5"})
ledger.deposit("A", "1 USDT", correlation_id="held")
print("held", flush=True)
sys.stdin.read()
ledger.close()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the home open until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "books")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_at_once_and_told_who_holds_it(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    """Opening a home that another process writes raises `LedgerBusy` with its pid and host."""
    with pytest.raises(bb.LedgerBusy) as caught:
        bb.Ledger.open(tmp_path / "books")
    assert (caught.value.pid, caught.value.host) == (holder.pid, socket.gethostname())
    assert f"process {holder.pid} on" in str(caught.value)
    assert caught.value.retryable
    with pytest.raises(bb.LedgerBusy):
        bb.Ledger.open_or_create(tmp_path / "books")


def test_a_reader_needs_no_lock(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    """An audit reads a home that another process writes."""
    assert bb.audit_home(tmp_path / "books").lines == 3


def test_the_lock_goes_when_its_holder_ends(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    """A holder that closes its ledger makes room for the next."""
    holder.communicate()
    with bb.Ledger.open(tmp_path / "books") as ledger:
        assert ledger.head.sequence == 3


def test_who_waits_for_the_lock_gets_it(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    """Within its timeout an opening waits for the other writer to close, and then goes on."""
    assert holder.stdin is not None
    closing = threading.Timer(0.05, holder.stdin.close)
    closing.start()
    with bb.Ledger.open(tmp_path / "books", lock_timeout_seconds=30) as ledger:
        assert ledger.head.sequence == 3
    closing.join()


@pytest.mark.usefixtures("holder")
def test_a_lock_that_does_not_come_free_in_time_is_busy(tmp_path: Path) -> None:
    """When the time is over, the error is the same as without waiting, for every way of opening."""
    for act in (bb.Ledger.open, bb.Ledger.open_or_create):
        with pytest.raises(bb.LedgerBusy) as caught:
            act(tmp_path / "books", lock_timeout_seconds=0.05)
        assert caught.value.pid is not None


@pytest.mark.parametrize("seconds", [-1, -0.001, float("nan"), float("inf"), True, "1", None, 86_401])
def test_a_lock_timeout_is_a_time(tmp_path: Path, seconds: object) -> None:
    """What is no time to wait is refused, and nothing is made."""
    with pytest.raises(bb.ConfigurationError, match="lock_timeout_seconds"):
        bb.Ledger.create(tmp_path / "books", lock_timeout_seconds=seconds)  # type: ignore[arg-type]  # wrong on purpose
    assert not (tmp_path / "books").exists()


def test_the_lock_of_a_killed_holder_is_free(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    """A holder that is killed leaves no lock behind, and what it acknowledged is there."""
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with bb.Ledger.open(tmp_path / "books") as ledger:
        assert ledger.entry(3).correlation_id == "held"


def test_the_same_process_is_told_so(tmp_path: Path) -> None:
    """Whoever opens a home twice in one process is told that it is this very process."""
    with bb.Ledger.create(tmp_path / "books") as ledger:
        with pytest.raises(bb.LedgerBusy, match=f"this very process \\({os.getpid()}\\)") as caught:
            bb.Ledger.open(tmp_path / "books")
        assert caught.value.pid == os.getpid()
        with pytest.raises(bb.HomeExists):
            bb.Ledger.create(tmp_path / "books")
        ledger.deposit("A", "1 USDT", correlation_id="r1")
    bb.Ledger.open(tmp_path / "books").close()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid":"x"}', b"\xff" * 600])
def test_an_unreadable_holder_is_another_process(tmp_path: Path, content: bytes) -> None:
    """Whatever stands in the lock file, a second opening is refused as busy."""
    with bb.Ledger.create(tmp_path / "books"):
        (tmp_path / "books" / "journal" / ".lock").write_bytes(content)
        with pytest.raises(bb.LedgerBusy):
            bb.Ledger.open(tmp_path / "books")


def test_the_lock_names_its_holder(tmp_path: Path) -> None:
    """Pid and host stand in the lock file, and nothing of an earlier, longer content."""
    (tmp_path / "books" / "journal").mkdir(parents=True)
    lock = tmp_path / "books" / "journal" / ".lock"
    lock.write_bytes(b"x" * 400)
    with bb.Ledger.create(tmp_path / "books"):
        assert json.loads(lock.read_bytes()) == {"pid": os.getpid(), "host": socket.gethostname()}


def test_a_lock_that_is_replaced_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock file that is swapped between opening and locking is no lock."""
    import fcntl

    real = fcntl.flock

    def swapping(handle: int, operation: int) -> None:
        real(handle, operation)
        (tmp_path / ".lock").unlink()
        (tmp_path / ".lock").touch()

    monkeypatch.setattr(fcntl, "flock", swapping)
    with pytest.raises(bb.LedgerBusy, match="replaced"):
        OsFiles(tmp_path).lock(".lock")


@pytest.mark.parametrize("number", range(4))
def test_an_interrupted_close_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Whichever lock is being given up when the interrupt comes, closing again leaves nothing open."""
    import fcntl

    home = tmp_path / "books"
    bb.Ledger.create(home).close()
    before = set(os.listdir("/dev/fd"))
    ledger = bb.Ledger.open(home)
    ledger.deposit("A", "1 USDT", correlation_id="r1")
    real, given_up = fcntl.flock, 0

    def interrupted(handle: int, operation: int) -> None:
        nonlocal given_up
        given_up += operation == fcntl.LOCK_UN
        if given_up == number // 2 + 1 and number % 2:
            real(handle, operation)
        if given_up == number // 2 + 1:
            raise KeyboardInterrupt
        real(handle, operation)

    monkeypatch.setattr(fcntl, "flock", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ledger.close()
    assert set(os.listdir("/dev/fd")) > before
    monkeypatch.setattr(fcntl, "flock", real)
    ledger.close()
    assert set(os.listdir("/dev/fd")) == before
    bb.Ledger.open(home).close()


def in_child(path: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run a script that forks; the child's verdict and the parent's are printed."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", body, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


FORK = """
import os, sys
import bibank as bb
ledger = bb.Ledger.create(sys.argv[1], opening={"USDT": "5"})
ledger.deposit("A", "1 USDT", correlation_id="parent")
child = os.fork()
if child == 0:
    try:
        ledger.deposit("A", "1 USDT", correlation_id="child")
    except bb.LedgerPoisoned as error:
        print("child:", error, flush=True)
    try:
        ledger.balance("A", "USDT")
    except bb.LedgerPoisoned as error:
        print("child: poisoned", flush=True)
    ledger.close()
    os._exit(0)
os.waitpid(child, 0)
print("parent:", ledger.deposit("A", "1 USDT", correlation_id="parent").sequence, flush=True)
try:
    bb.Ledger.open(sys.argv[1])
except bb.LedgerBusy:
    print("parent: still the writer")
ledger.close()
"""


def test_a_forked_child_cannot_write_and_takes_nothing_from_its_parent(tmp_path: Path) -> None:
    """After a fork the child's ledger is poisoned; the parent goes on and keeps the lock."""
    done = in_child(tmp_path / "books", FORK)
    assert done.stdout.splitlines() == [
        "child: the ledger was opened by the parent of this process; open the ledger again",
        "child: poisoned",
        "parent: 4",
        "parent: still the writer",
    ], done.stderr
    assert bb.audit_home(tmp_path / "books").lines == 4


CLOSED_BESIDE_A_CHILD = """
import os, sys
reading, writing = os.pipe()
def wait_for_the_parent():
    os.close(writing)
    os.read(reading, 1)
os.register_at_fork(after_in_child=wait_for_the_parent)  # before the library can do anything in the child
import bibank as bb
ledger = bb.Ledger.create(sys.argv[1])
child = os.fork()
if child == 0:
    os._exit(0)
ledger.close()
bb.Ledger.open(sys.argv[1]).close()
print("opened again beside a living child")
os.close(writing)
os.waitpid(child, 0)
"""


def test_a_living_child_does_not_keep_a_closed_home(tmp_path: Path) -> None:
    """A parent that closes its ledger gives the home up, whatever its forked children do."""
    done = in_child(tmp_path / "books", CLOSED_BESIDE_A_CHILD)
    assert done.stdout == "opened again beside a living child\n", done.stderr


ORPHAN = """
import os, sys
import bibank as bb
ledger = bb.Ledger.create(sys.argv[1])
if os.fork() == 0:
    print("child lives", flush=True)
    sys.stdin.read()
    os._exit(0)
os.wait()
"""


def test_an_orphaned_child_does_not_keep_the_home(tmp_path: Path) -> None:
    """A parent that is killed leaves no lock in the hands of its forked child."""
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(tmp_path / "books")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "child lives\n"
        parent.kill()
        parent.wait()
        bb.Ledger.open(tmp_path / "books").close()
