"""Cursor files on a real disk: damaged, foreign, in the way, in use by somebody else, and a disk that fails.

What is wrong with one is a typed error for who subscribes, and no affair of commits and of other subscribers.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from tests.bus.ears import Ear, deposit, home_at


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """A home of five lines with the cursor of `ear` at line 4."""
    with home_at(tmp_path / "books") as ledger:
        ledger.bus.subscribe(Ear())
        deposit(ledger, 3)
        ledger.bus.pump(limit=2)
    return tmp_path / "books"


def cursor_file(books: Path, name: str = "ear") -> Path:
    """Where the cursor of a subscriber is kept."""
    return books / "cursors" / f"{name}.json"


def open_descriptors() -> list[str]:
    """What this process has open."""
    return sorted(os.listdir("/proc/self/fd"))


def check_refused(books: Path, error: type[bb.BibankError] | tuple[type[bb.BibankError], ...]) -> None:
    """Demand that `ear` is refused each time, that others are not, and that nothing stays open."""
    before = open_descriptors()
    with home_at(books) as ledger:
        opened = len(open_descriptors())
        for _ in range(2):
            with pytest.raises(error):
                ledger.bus.subscribe(Ear())
        assert len(open_descriptors()) <= opened, "a descriptor stays open"
        other = Ear("other")
        ledger.bus.subscribe(other)
        deposit(ledger)
        ledger.bus.pump()
        assert len(other.sequences) == 1
        ledger.bus.forget("other")
    assert open_descriptors() == before


# ------------------------------------------------------------------ what is in the file


def test_every_cut_of_a_cursor_file_is_noticed(books: Path) -> None:
    """However much of it is left: nothing is told from a place that is not sure."""
    whole = cursor_file(books).read_bytes()
    with home_at(books) as ledger:
        for size in range(len(whole)):
            cursor_file(books).write_bytes(whole[:size])
            with pytest.raises(bb.CursorMismatch):
                ledger.bus.subscribe(Ear())
        cursor_file(books).write_bytes(whole)
        ear = Ear()
        ledger.bus.subscribe(ear)
        ledger.bus.pump()
        assert ear.sequences == [5]


def test_every_changed_byte_is_noticed_or_harmless(books: Path) -> None:
    """Each byte replaced by several others: a typed error, or the very same delivery."""
    whole = cursor_file(books).read_bytes()
    with home_at(books) as ledger:
        for place in range(len(whole)):
            for byte in (0, ord("0"), ord("9"), ord("f"), ord('"'), ord("\n"), 0xFF):
                changed = bytearray(whole)
                changed[place] = byte
                cursor_file(books).write_bytes(changed)
                ear = Ear()
                try:
                    ledger.bus.subscribe(ear)
                except bb.CursorMismatch:
                    continue
                ledger.bus.pump()
                assert ear.sequences == [5], f"byte {place} became {byte}"
                ledger.bus.unsubscribe("ear")
                assert status_names(ledger) == []


def status_names(ledger: bb.Ledger) -> list[str]:
    """Who has subscribed."""
    return [row.name for row in ledger.bus.status()]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 300,
        b"{}",
        b"[]",
        b"null",
        b"7",
        b'{"sequence": 4}',
        b"[" * 100_000,
        b"\xff\xfe",
        b"4",
        b"9" * 5_000,
        b" " * (1 << 20),
    ],
    ids=range(12),
)
def test_what_is_no_cursor_file_is_refused(books: Path, content: bytes) -> None:
    """A typed error, whatever stands there."""
    cursor_file(books).write_bytes(content)
    check_refused(books, bb.CursorMismatch)


def test_who_is_refused_can_be_forgotten(books: Path) -> None:
    """The way out of a damaged cursor: `forget`, and begin anew."""
    cursor_file(books).write_bytes(b"damaged")
    with home_at(books) as ledger:
        with pytest.raises(bb.CursorMismatch):
            ledger.bus.subscribe(Ear())
        ledger.bus.forget("ear")
        ear = Ear()
        ledger.bus.subscribe(ear, after_sequence=3)
        ledger.bus.pump()
        assert ear.sequences == [4, 5]


def test_a_cursor_of_another_ledger_is_refused(books: Path, tmp_path: Path) -> None:
    """Also where that ledger has a line of the same number."""
    with bb.Ledger.create(tmp_path / "other", opening={"USDT": "1"}) as other:
        other.bus.subscribe(Ear())
        deposit(other, 2)
        other.bus.pump()
    shutil.copy(cursor_file(tmp_path / "other"), cursor_file(books))
    check_refused(books, bb.CursorMismatch)


def test_a_cursor_of_another_subscriber_is_refused_or_known(books: Path) -> None:
    """A file that was copied under another name is not that subscriber's word."""
    shutil.copy(cursor_file(books), cursor_file(books, "copied"))
    with home_at(books) as ledger, pytest.raises(bb.CursorMismatch):
        ledger.bus.subscribe(Ear("copied"))


def test_a_cursor_ahead_of_the_journal_is_refused(books: Path, tmp_path: Path) -> None:
    """The journal was restored from a backup, and the cursor was not: some events will never come again."""
    shutil.copytree(books, tmp_path / "backup")
    with home_at(books) as ledger:
        ledger.bus.subscribe(Ear())
        deposit(ledger, 2)
        ledger.bus.pump()
    shutil.copy(cursor_file(books), cursor_file(tmp_path / "backup"))
    check_refused(tmp_path / "backup", bb.CursorMismatch)


def test_a_cursor_of_another_history_is_refused(books: Path, tmp_path: Path) -> None:
    """Two lines of the same number and the same ledger, with different hashes."""
    shutil.copytree(books, tmp_path / "twin")
    with home_at(books) as ledger:
        ledger.bus.subscribe(Ear())
        ledger.deposit("ALICE", "7 USDT", correlation_id="r")
        ledger.bus.pump()
    shutil.copy(cursor_file(books), cursor_file(tmp_path / "twin"))
    with home_at(tmp_path / "twin") as ledger:
        deposit(ledger, 3)
    check_refused(tmp_path / "twin", bb.CursorMismatch)


# ------------------------------------------------------------------ what stands in its place


def in_the_way(path: Path, kind: str) -> None:
    """Put something else where a cursor file should be."""
    path.unlink(missing_ok=True)
    match kind:
        case "link to nowhere":
            path.symlink_to(path.with_name("nowhere"))
        case "link to a file":
            target = path.with_name("target")
            target.write_bytes(b"{}")
            path.symlink_to(target)
        case "link to itself":
            path.symlink_to(path)
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    "kind", ["link to nowhere", "link to a file", "link to itself", "pipe", "directory", "device"]
)
def test_what_is_no_plain_file_is_refused_without_waiting(books: Path, kind: str) -> None:
    """A link is not followed, a pipe not waited for, a directory not read."""
    in_the_way(cursor_file(books), kind)
    check_refused(books, (bb.CursorMismatch, bb.StoreError))


@pytest.mark.parametrize("kind", ["link to nowhere", "link to itself", "pipe", "device"])
def test_a_link_that_comes_later_is_replaced_and_not_followed(books: Path, kind: str) -> None:
    """Saving renames over what is there: nothing is written through a link."""
    with home_at(books) as ledger:
        ear = Ear()
        ledger.bus.subscribe(ear)
        in_the_way(cursor_file(books), kind)
        ledger.bus.pump()
    assert cursor_file(books).is_file()
    assert not cursor_file(books).is_symlink()
    assert not (books / "cursors" / "nowhere").exists()


def test_a_file_in_place_of_the_directory_is_a_typed_error(tmp_path: Path) -> None:
    """Nobody can subscribe, and everything else goes on."""
    with home_at(tmp_path / "books") as ledger:
        (tmp_path / "books" / "cursors").write_bytes(b"")
        with pytest.raises(bb.StoreError):
            ledger.bus.subscribe(Ear())
        assert deposit(ledger) == [3]


def test_cursor_files_are_ours_alone(books: Path) -> None:
    """0600, whatever the mode was before and whatever the umask says."""
    cursor_file(books).chmod(0o666)
    before = os.umask(0)
    try:
        with home_at(books) as ledger:
            ledger.bus.subscribe(Ear())
            deposit(ledger)
            ledger.bus.pump()
    finally:
        os.umask(before)
    assert cursor_file(books).stat().st_mode & 0o777 == 0o600
    assert (books / "cursors").stat().st_mode & 0o077 == 0


# ------------------------------------------------------------------ one name, two buses


def test_a_name_is_delivered_to_by_one_bus(books: Path) -> None:
    """A reader's bus beside the writer's is told that the subscriber is busy, until the other has left."""
    with home_at(books) as ledger, bb.LedgerReader.open(books) as reader:
        ledger.bus.subscribe(Ear())
        for _ in range(2):
            with pytest.raises(bb.SubscriberBusy):
                reader.bus.subscribe(Ear())
        reader.bus.subscribe(Ear("other"))
        ledger.bus.unsubscribe("ear")
        reader.bus.subscribe(Ear())
        with pytest.raises(bb.SubscriberBusy):
            ledger.bus.subscribe(Ear())


def test_a_name_in_use_cannot_be_forgotten_elsewhere(books: Path) -> None:
    """Who holds the cursor keeps it."""
    with home_at(books) as ledger, bb.LedgerReader.open(books) as reader:
        ledger.bus.subscribe(Ear())
        with pytest.raises((bb.SubscriberBusy, bb.UnknownSubscriber)):
            reader.bus.forget("ear")
    assert cursor_file(books).exists()


def test_who_lost_its_lock_writes_no_more(books: Path) -> None:
    """Whoever deletes a "stale" lock lets another bus in; the first one leaves the cursor alone then."""
    ear, other = Ear(), Ear()
    with home_at(books) as ledger, bb.LedgerReader.open(books) as reader:
        ledger.bus.subscribe(ear)
        (lock,) = (found for found in (books / "cursors").iterdir() if found.name.endswith(".lock"))
        lock.unlink()
        reader.bus.subscribe(other)
        ledger.bus.pump()
        reader.bus.pump()
        before = cursor_file(books).read_bytes()
        with pytest.raises(bb.StoreError):
            ledger.bus.replay_from(3)
        ledger.bus.unsubscribe("ear")
        assert cursor_file(books).read_bytes() == before
        assert deposit(ledger) == [6]


OTHER_PROCESS = """
import sys
import bibank as bb
with bb.LedgerReader.open(sys.argv[1]) as reader:
    try:
        reader.bus.subscribe(print, name="ear")
    except bb.SubscriberBusy:
        print("busy")
"""


def in_another_process(books: Path) -> str:
    """Subscribe under the same name in another process; give what it says."""
    done = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, str(books)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def test_a_name_is_delivered_to_by_one_process(books: Path) -> None:
    """The lock is seen from outside, and ends with the subscription."""
    with home_at(books) as ledger:
        ledger.bus.subscribe(Ear())
        assert in_another_process(books) == "busy"
        ledger.bus.unsubscribe("ear")
        assert in_another_process(books) == ""
    with home_at(books) as ledger:
        ear = Ear()
        ledger.bus.subscribe(ear)
        ledger.bus.pump()
        assert ear.sequences == [5]


# ------------------------------------------------------------------ a disk that fails


class Disk:
    """Lets calls of the operating system fail that concern a directory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self.directory = str(directory)
        self.failing: dict[str, int] = {}
        """Which calls fail, and with which error."""
        self.failed = 0
        self.handles: set[int] = set()
        for name in ("open", "write", "fsync", "replace", "rename", "unlink"):
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            first = arguments[0]
            ours = first in self.handles if isinstance(first, int) else self.directory in str(first)
            is_making = name != "open" or bool(arguments[1] & os.O_CREAT and ".lock" not in str(first))
            if ours and is_making and name in self.failing:
                self.failed += 1
                raise OSError(self.failing[name], os.strerror(self.failing[name]))
            result = real(*arguments, **options)
            if name == "open" and isinstance(result, int):
                (self.handles.add if ours else self.handles.discard)(result)
            return result

        return call


FAILURES = [
    ("open", errno.EROFS),
    ("open", errno.EACCES),
    ("open", errno.ENOSPC),
    ("open", errno.EMFILE),
    ("write", errno.ENOSPC),
    ("write", errno.EIO),
    ("fsync", errno.EIO),
    ("replace", errno.EROFS),
]


@pytest.mark.parametrize(
    ("call", "code"), FAILURES, ids=[f"{call}-{errno.errorcode[code]}" for call, code in FAILURES]
)
def test_a_cursor_that_cannot_be_saved_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    """Delivery and commits go on, closing too; after the restart the events are told again."""
    books, ear = tmp_path / "books", Ear()
    with home_at(books) as ledger:
        ledger.bus.subscribe(ear)
        deposit(ledger, 2)
        disk = Disk(monkeypatch, books / "cursors")
        disk.failing = {call: code}
        assert ledger.bus.pump() == 2
        deposit(ledger)
        ledger.bus.pump()
        assert ear.sequences == [3, 4, 5]
        ledger.bus.unsubscribe("ear")
        assert disk.failed
        disk.failing = {}
    again = Ear()
    with home_at(books) as ledger:
        ledger.bus.subscribe(again)
        ledger.bus.pump()
    assert again.sequences == [3, 4, 5]


@pytest.mark.parametrize(
    ("call", "code"), FAILURES, ids=[f"{call}-{errno.errorcode[code]}" for call, code in FAILURES]
)
def test_who_cannot_be_given_a_cursor_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    """A typed error at the subscription, which leaves neither a subscriber nor a lock."""
    with home_at(tmp_path / "books") as ledger:
        ledger.bus.subscribe(Ear("other"))  # so that the directory is there
        disk = Disk(monkeypatch, tmp_path / "books" / "cursors")
        disk.failing = {call: code}
        for _ in range(2):
            with pytest.raises(bb.StoreUnavailable):
                ledger.bus.subscribe(Ear())
        assert disk.failed
        assert status_names(ledger) == ["other"]
        disk.failing = {}
        ledger.bus.subscribe(Ear())
        assert deposit(ledger) == [3]


def test_a_cursor_that_cannot_be_moved_back_is_an_error_of_the_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`replay_from` says so; what was not asked for durably is not begun, and delivery goes on."""
    books, ear = tmp_path / "books", Ear()
    with home_at(books) as ledger:
        ledger.bus.subscribe(ear)
        deposit(ledger, 2)
        ledger.bus.pump()
        disk = Disk(monkeypatch, books / "cursors")
        disk.failing = {"write": errno.ENOSPC}
        with pytest.raises(bb.StoreUnavailable):
            ledger.bus.replay_from(3)
        disk.failing = {}
        deposit(ledger)
        ledger.bus.pump()
        assert ear.sequences == [3, 4, 5]
