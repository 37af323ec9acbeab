"""Files: what the journal accepts as a file of its own, with which rights, and what it leaves open."""

from __future__ import annotations

import errno
import os
import stat
import tracemalloc
from pathlib import Path

import pytest

import bibank as bb
from bibank.home import Home
from bibank.store.jsonl import files as journal_files
from bibank.store.jsonl.files import OsFiles
from bibank.store.jsonl.head import EMPTY, encode_slot
from tests.store.journals import DAYS, NEWEST, StillClock, day_files, deposit, put, tree, write_journal

GARBAGE_BYTES = 200 * 1024 * 1024


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a journal of three days."""
    write_journal(tmp_path / "books")
    return tmp_path / "books"


def append(path: Path, data: bytes) -> None:
    """Add bytes to a file."""
    with path.open("ab") as file:
        file.write(data)


def mode(path: Path) -> int:
    """The permission bits of a path."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_only_the_owner_may_look(tmp_path: Path, umask: int) -> None:
    """Directories are made 0700 and files 0600, the lock and torn bytes too, whatever the umask allows."""
    before = os.umask(umask)
    try:
        home = tmp_path / "some" / "books"
        with bb.Ledger.create(home, clock=StillClock()):
            pass
        append(home / "journal" / f"{DAYS[0]}.jsonl", b"{")
        bb.Ledger.open(home).close()
    finally:
        os.umask(before)
    assert [mode(path) for path in (tmp_path / "some", home, home / "journal")] == [0o700] * 3
    found = {path.name: mode(path) for path in (home / "journal").iterdir()}
    day = f"{DAYS[0]}.jsonl"
    assert found == {day: 0o600, ".lock": 0o600, "HEAD": 0o600, f"{day}.torn-3": 0o600}


@pytest.mark.parametrize("name", [f"{DAYS[0]}.jsonl", NEWEST])
def test_a_symbolic_link_is_no_day_file(home: Path, name: str) -> None:
    """A day file that is a link to another file is refused, for writing and for an audit."""
    file = home / "journal" / name
    elsewhere = file.rename(home / "elsewhere")
    file.symlink_to(elsewhere)
    for look in (bb.Ledger.open, bb.audit_home):
        with pytest.raises(bb.StoreUnavailable, match="not a regular file"):
            look(home)


def test_a_hard_link_is_not_written(home: Path) -> None:
    """A newest day file with a second name is refused for writing; an audit only reads."""
    (home / "copy").hardlink_to(home / "journal" / NEWEST)
    before = tree(home)
    with pytest.raises(bb.StoreUnavailable, match="2 links"):
        bb.Ledger.open(home)
    assert bb.audit_home(home).lines == 13
    assert tree(home) == before


def test_a_hard_link_that_appears_later_is_not_written(home: Path) -> None:
    """A day file that gets a second name before it is opened for writing is refused then."""
    ledger = bb.Ledger.open(home, clock=StillClock(DAYS[2]))
    (home / "copy").hardlink_to(home / "journal" / NEWEST)
    before = day_files(home)
    with pytest.raises(bb.StoreUnavailable, match="one link"):
        ledger.commit(deposit("A", "1 USDT"))
    ledger.close()
    assert day_files(home) == before


@pytest.mark.parametrize("name", [f"{DAYS[1]}.jsonl", "2026-01-28.jsonl"])
def test_a_directory_is_no_day_file(home: Path, name: str) -> None:
    """A directory under the name of a day file is refused."""
    (home / "journal" / name).unlink(missing_ok=True)
    (home / "journal" / name).mkdir()
    for look in (bb.Ledger.open, bb.audit_home):
        with pytest.raises(bb.StoreUnavailable, match="not a regular file"):
            look(home)


def test_a_pipe_is_no_day_file(home: Path) -> None:
    """A named pipe is refused and not waited for."""
    os.mkfifo(home / "journal" / "2026-01-01.jsonl")
    with pytest.raises(bb.StoreUnavailable, match="not a regular file"):
        bb.Ledger.open(home)


@pytest.mark.parametrize("kind", ["symlink", "directory"])
def test_a_lock_that_is_no_file_is_refused(home: Path, kind: str) -> None:
    """The lock is a plain file of the journal, never a link to something else."""
    lock = home / "journal" / ".lock"
    lock.unlink()
    if kind == "symlink":
        lock.symlink_to(home / "elsewhere")
    else:
        lock.mkdir()
    with pytest.raises(bb.StoreUnavailable, match=r"\.lock"):
        bb.Ledger.open(home)
    assert not (home / "elsewhere").exists()


def test_a_journal_that_is_a_link_is_refused(home: Path) -> None:
    """The directory of the journal itself is no link."""
    elsewhere = (home / "journal").rename(home / "elsewhere")
    (home / "journal").symlink_to(elsewhere)
    with pytest.raises(bb.StoreUnavailable):
        bb.Ledger.open(home)


def test_other_files_in_the_journal_are_ignored(home: Path) -> None:
    """Only names of the form YYYY-MM-DD.jsonl are day files."""
    for name in (
        "notes.txt",
        "2026-01-28.jsonl.torn-9",
        "2026-01-28.JSONL",
        "x2026-01-28.jsonl",
        "٢026-01-28.jsonl",
    ):
        (home / "journal" / name).write_bytes(b"garbage")
    with bb.Ledger.open(home) as ledger:
        assert ledger.audit().lines == 13


def open_descriptors() -> set[str]:
    """The descriptors of this process."""
    return set(os.listdir("/dev/fd"))


def test_nothing_is_left_open(home: Path, tmp_path: Path) -> None:
    """Opening, failing to open, reading, auditing and closing leave no descriptor behind."""
    before = open_descriptors()
    ledger = bb.Ledger.open(home, clock=StillClock(DAYS[2]))
    ledger.commit(deposit("A", "1 USDT"))
    ledger.entries()
    with pytest.raises(bb.LedgerBusy):
        bb.Ledger.open(home)
    with pytest.raises(bb.HomeExists):
        bb.Ledger.create(home)
    ledger.close()
    with pytest.raises(bb.ConfigurationError):
        bb.Ledger.open_or_create(home, opening={"BTC": "1"})
    bb.audit_home(home)
    with pytest.raises(bb.HomeNotFound):
        bb.Ledger.open(tmp_path / "nowhere")
    append(home / "journal" / NEWEST, b"garbage\n")
    for look in (bb.Ledger.open, bb.audit_home):
        with pytest.raises(bb.JournalCorrupt):
            look(home)
    assert open_descriptors() == before


def test_a_home_that_is_moved_while_it_is_written_stays_one_home(home: Path, tmp_path: Path) -> None:
    """A ledger writes to the directory that it locked, wherever that is by now."""
    clock = StillClock(DAYS[2])
    with bb.Ledger.open(home, clock=clock) as ledger:
        home.rename(tmp_path / "moved")
        clock.set("2026-01-28")
        ledger.commit(deposit("A", "1 USDT"))
        assert ledger.audit().lines == 14
    assert not home.exists()
    assert bb.audit_home(tmp_path / "moved").lines == 14


def append_sparse(path: Path, head: bytes, *, hole: int, end: bytes) -> None:
    """Append bytes, a hole that takes no room on the disk, and bytes again."""
    append(path, head)
    os.truncate(path, path.stat().st_size + hole)
    append(path, end)


@pytest.mark.parametrize("newline", [b"\n", b'\n{"sequence":'])
@pytest.mark.parametrize("name", [f"{DAYS[0]}.jsonl", NEWEST])
def test_a_huge_line_is_refused_in_bounded_memory(home: Path, name: str, newline: bytes) -> None:
    """A line of 200 MB costs a few megabytes to refuse, in the newest file and in an older one."""
    lines = (home / "journal" / name).read_bytes().count(b"\n")
    append_sparse(home / "journal" / name, b"x" * 70_000, hole=GARBAGE_BYTES, end=b"x" + newline)
    for look in (bb.Ledger.open, bb.audit_home):
        tracemalloc.start()
        try:
            with pytest.raises(bb.JournalCorrupt) as caught:
                look(home)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (caught.value.file, caught.value.line) == (name, lines + 1)
        assert not isinstance(caught.value, bb.JournalTorn)
        assert peak < 16 * 1024 * 1024


def test_a_huge_torn_tail_is_set_aside_in_bounded_memory(home: Path) -> None:
    """An unwritten tail of 64 MB that ends in garbage is a tear, copied piece by piece."""
    newest = home / "journal" / NEWEST
    size = newest.stat().st_size
    append_sparse(newest, b"", hole=64 << 20, end=b"{")
    tracemalloc.start()
    try:
        with bb.Ledger.open(home) as ledger:
            assert ledger.head.sequence == 13
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 1024 * 1024
    assert newest.stat().st_size == size
    assert (home / "journal" / f"{NEWEST}.torn-14").stat().st_size == (64 << 20) + 1


def test_a_directory_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    """A home below a plain file cannot be made, and there is none to be opened."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(bb.StoreUnavailable):
        bb.Ledger.create(tmp_path / "file" / "books")
    with pytest.raises(bb.HomeNotFound):
        bb.Ledger.open(tmp_path / "file" / "books")
    with pytest.raises(bb.HomeNotFound):
        bb.Ledger.open(tmp_path / "file")
    with pytest.raises(bb.StoreUnavailable):
        bb.Ledger.create(tmp_path / "file")


def test_files_of_a_directory(tmp_path: Path) -> None:
    """The port to the operating system does what its protocol says."""
    files = OsFiles(tmp_path / "a" / "b")
    assert files.listdir() == []
    files.mkdir()
    files.mkdir()
    assert repr(files) == f"OsFiles({str(tmp_path / 'a' / 'b')!r})"
    handle = files.open_append("one")
    assert files.write(handle, b"hello") == 5
    assert files.pwrite(handle, b"", offset=0) == 0
    files.fdatasync(handle)
    files.close(handle)
    files.fsync_dir()
    assert files.read("one", offset=1, size=100) == b"ello"
    files.truncate("one", size=2)
    found = files.stat("one")
    assert found is not None
    assert (found.size, found.is_regular, found.links) == (2, True, 1)
    assert files.listdir() == ["one"]
    assert files.stat("two") is None
    assert files.free_bytes() > 0
    for call in (
        lambda: files.read("two", offset=0, size=1),
        lambda: files.truncate("two", size=0),
        lambda: OsFiles(tmp_path / "c").stat("x"),
    ):
        with pytest.raises(bb.StoreUnavailable):
            call()
    files.release()


def test_a_handle_is_closed_once(tmp_path: Path) -> None:
    """Closing again is harmless, also when the number of the handle belongs to somebody else by now."""
    files = OsFiles(tmp_path)
    handle = files.open_append("one")
    files.close(handle)
    files.close(handle)
    other = os.open(tmp_path / "one", os.O_RDONLY)
    try:
        assert os.dup2(other, handle) == handle
        files.close(handle)
        os.close(handle)
    finally:
        os.close(other)


def synced_directories(monkeypatch: pytest.MonkeyPatch, *, fails: Path | None = None) -> list[Path]:
    """Take note of the directories that are synced from now on; let one of them fail."""
    synced: list[Path] = []
    real = journal_files.sync_directory

    def sync(path: Path) -> None:
        if path == fails:
            raise OSError(errno.EIO, "planted")
        real(path)
        synced.append(path)

    monkeypatch.setattr(journal_files, "sync_directory", sync)
    return synced


@pytest.mark.parametrize("made", ["some", "some/books", "some/books/journal"])
def test_directories_of_an_earlier_attempt_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    """Directories that a creation made before it was cut off become durable with the next one."""
    (tmp_path / made).mkdir(parents=True)
    synced = synced_directories(monkeypatch)
    Home(tmp_path / "some" / "books").plan_create().abandon()
    top = {"some": {tmp_path}, "some/books": {tmp_path / "some"}}.get(made, set())
    assert {*synced} >= {tmp_path / "some", tmp_path / "some" / "books"} | top


def test_directories_are_synced_again_after_a_sync_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A creation that made a directory and could not sync it leaves that to the next one."""
    home = Home(tmp_path / "books")
    with monkeypatch.context() as patch:
        synced_directories(patch, fails=tmp_path / "books")
        with pytest.raises(bb.StoreUnavailable, match="make"):
            home.plan_create()
    assert home.journal.is_dir()
    synced = synced_directories(monkeypatch)
    home.plan_create().abandon()
    assert {*synced} >= {tmp_path, tmp_path / "books"}


def test_a_parent_that_is_not_ours_need_not_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where we may not look and not write, no earlier attempt made a directory; elsewhere it is an error."""
    (tmp_path / "books").mkdir()
    real = journal_files.sync_directory

    def sync(path: Path) -> None:
        if path == tmp_path:
            raise PermissionError(errno.EACCES, "planted")
        real(path)

    monkeypatch.setattr(journal_files, "sync_directory", sync)
    with pytest.raises(bb.StoreUnavailable, match="planted"):
        Home(tmp_path / "books").plan_create()
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)
    Home(tmp_path / "books").plan_create().abandon()


def test_a_foreign_platform_cannot_hold_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no way to sync, a home is a configuration error and memory still works."""
    monkeypatch.delattr(os, "fdatasync")
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(bb.ConfigurationError, match="in_memory"):
        bb.Ledger.create(tmp_path / "books")
    assert bb.Ledger.in_memory().head.sequence == 2


def test_put_is_exact(tmp_path: Path) -> None:
    """The helper that lays out journals writes what it is told and nothing else."""
    put(tmp_path, {"2026-01-25.jsonl": b"x"})
    found = tree(tmp_path)
    assert (found.pop("keys"), found.pop("keys/SYSTEM.key") is None) == (None, False)
    assert found.pop("journal/HEAD") == encode_slot(EMPTY) * 2
    assert found == {"journal": None, "journal/2026-01-25.jsonl": b"x"}
