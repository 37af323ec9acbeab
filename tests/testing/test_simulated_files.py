"""Simulated files: the results and errors of the real ones, and the page cache of a Linux kernel."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import bibank as bb
from bibank.store.jsonl.files import Files, FileStat, OsFiles, write_all
from bibank.testing.faults import Fault, FaultPlan, SimulatedFiles
from bibank.testing.strategies import fault_plans

LOCK = ".lock"
CALLS = sorted(name for name in vars(Files) if not name.startswith("_"))

names = st.sampled_from("abc")
sizes = st.sampled_from([0, 1, 7, 511, 512, 513, 1_500])
payloads = st.binary(max_size=9) | sizes.map(lambda size: b"x" * size)
picks = st.integers(0, 9)
steps = st.one_of(
    st.tuples(st.sampled_from(["listdir", "mkdir", "fsync_dir", "lock", "release"])),
    st.tuples(st.sampled_from(["stat", "open_append", "open_update"]), names),
    st.tuples(st.just("read"), names, sizes, sizes),
    st.tuples(st.just("truncate"), names, sizes),
    st.tuples(st.sampled_from(["fdatasync", "close"]), picks),
    st.tuples(st.just("write"), picks, payloads),
    st.tuples(st.just("pwrite"), picks, payloads, sizes),
)


@attrs.define
class Player:
    """Plays steps on files and says what came of each."""

    files: Files
    handles: list[tuple[str, int]] = attrs.field(factory=list)

    def play(self, step: tuple[Any, ...]) -> object:
        """Give the result of a step, or what was raised, without what may differ."""
        try:
            return self._play(*step)
        except OSError as error:
            return "OSError", error.errno
        except bb.StoreUnavailable as error:
            return "StoreUnavailable", getattr(error.__cause__, "errno", None)
        except bb.LedgerBusy:
            return "LedgerBusy"

    def _play(self, call: str, *arguments: Any) -> object:
        match call:
            case "listdir":
                return [name for name in self.files.listdir() if name != LOCK]
            case "stat":
                found = self.files.stat(*arguments)
                return None if found is None else attrs.evolve(found, inode=0)
            case "read":
                return self.files.read(arguments[0], offset=arguments[1], size=arguments[2])
            case "truncate":
                self.files.truncate(arguments[0], size=arguments[1])
                return None
            case "open_append" | "open_update":
                self.handles.append(("file", getattr(self.files, call)(*arguments)))
                return None
            case "lock":
                self.handles.append(("lock", self.files.lock(LOCK)))
                return None
            case "close":
                if self.handles:
                    self.files.close(self.handles.pop(arguments[0] % len(self.handles))[1])
                return None
            case "write" | "pwrite" | "fdatasync":
                return self._play_on_handle(call, *arguments)
        return getattr(self.files, call)(*arguments)

    def _play_on_handle(self, call: str, pick: int, *arguments: Any) -> object:
        handles = [handle for kind, handle in self.handles if kind == "file"]
        if not handles:
            return None
        handle = handles[pick % len(handles)]
        if call == "pwrite":
            return self.files.pwrite(handle, arguments[0], offset=arguments[1])
        return getattr(self.files, call)(handle, *arguments)


@given(st.lists(steps, max_size=25))
@example([("open_update", "a"), ("write", 0, b"1234"), ("write", 0, b"5"), ("pwrite", 0, b"6", 7)])
@example([("open_append", "a"), ("write", 0, b"1234"), ("pwrite", 0, b"5", 0)])
@example([("lock",), ("close", 0), ("lock",), ("release",), ("lock",)])
@example([("lock",), ("release",), ("lock",), ("close", 0), ("lock",), ("lock",)])
def test_simulated_files_do_what_real_ones_do(sequence: list[tuple[Any, ...]]) -> None:
    """Any sequence of calls has the same results and errors as on a real directory, and the same end."""
    with tempfile.TemporaryDirectory() as directory:
        real = Player(OsFiles(Path(directory)))
        files = SimulatedFiles()
        simulated = Player(files)
        try:
            for step in sequence:
                assert simulated.play(step) == real.play(step), step
            found = {path.name: path.read_bytes() for path in Path(directory).iterdir() if path.name != LOCK}
            assert files.disk() == found
        finally:
            for _, handle in real.handles:
                real.files.close(handle)
            real.files.release()


def test_files_have_numbers_of_their_own() -> None:
    """Two files differ in their inode, and a new one has another."""
    files = SimulatedFiles({"a": b"", "b": b""})
    before = {name: stat_of(files, name).inode for name in "ab"}
    assert before["a"] != before["b"]
    files.close(files.open_append("a"))
    files.close(files.open_append("c"))
    assert stat_of(files, "a").inode == before["a"]
    assert stat_of(files, "c").inode not in before.values()


def stat_of(files: SimulatedFiles, name: str) -> FileStat:
    """Describe a file that is there."""
    found = files.stat(name)
    assert found is not None
    return found


# --------------------------------------------------------------------------- handles, lock, space


def test_a_closed_handle_is_not_used() -> None:
    """Whoever uses a handle that is not open has a bug, and hears of it; closing it again is harmless."""
    files = SimulatedFiles()
    handle = files.open_append("a")
    assert files.open_handles == {handle: "a"}
    files.close(handle)
    assert files.open_handles == {}
    uses: list[Callable[[], object]] = [
        lambda: files.write(handle, b"x"),
        lambda: files.pwrite(handle, b"x", offset=0),
        lambda: files.fdatasync(handle),
    ]
    for use in uses:
        with pytest.raises(AssertionError, match="not open"):
            use()
    files.close(handle)
    with pytest.raises(AssertionError, match="never given"):
        files.close(handle + 1)


def test_a_handle_is_given_once() -> None:
    """The number of a closed handle does not come again, so that a stale one is always seen."""
    files = SimulatedFiles()
    first = files.open_append("a")
    files.close(first)
    assert files.open_append("a") != first


def test_the_lock_is_no_file() -> None:
    """The lock is held through a handle, which cannot be written to, and is not on the disk."""
    files = SimulatedFiles()
    lock = files.lock(LOCK)
    assert files.open_handles == {lock: LOCK}
    assert files.disk() == {}
    with pytest.raises(AssertionError, match="lock"):
        files.write(lock, b"x")
    with pytest.raises(bb.LedgerBusy):
        files.lock(LOCK)


def test_a_killed_process_lets_go() -> None:
    """After a restart lock and handles are gone, unsynced bytes can be read, and the old process is dead."""
    killed = SimulatedFiles({"a": b"ab"})
    killed.lock(LOCK)
    killed.promise = 7
    killed.write(killed.open_append("a"), b"cd")
    files = killed.restart()
    assert repr(files) == "<SimulatedFiles after 0 calls>"
    assert (files.open_handles, files.calls, files.promise) == ({}, [], 7)
    assert files.disk() == {"a": b"abcd"}
    assert files.durable() == {"a": b"ab"}
    files.lock(LOCK)
    files.fdatasync(files.open_append("a"))
    assert files.durable() == {"a": b"abcd"}
    with pytest.raises(AssertionError, match="killed"):
        killed.listdir()


def test_a_restarted_process_has_a_plan_of_its_own() -> None:
    """The plan of the killed process is gone with it, and the new one counts from one."""
    killed = SimulatedFiles(plan=FaultPlan(3, Fault.EIO))
    killed.listdir()
    files = killed.restart(plan=FaultPlan(2, Fault.EIO))
    files.listdir()
    with pytest.raises(bb.StoreUnavailable):
        files.listdir()
    files.listdir()
    assert (killed.has_failed, files.has_failed) == (False, True)


def test_a_full_disk_takes_what_fits() -> None:
    """A write is cut short at the end of the space, the next one fails; overwriting needs no space."""
    files = SimulatedFiles({"a": b"1234"}, capacity_bytes=10)
    handle = files.open_update("a")
    assert files.free_bytes() == 6
    assert files.pwrite(handle, b"x" * 9, offset=4) == 6
    with pytest.raises(OSError, match="no space") as raised:
        files.pwrite(handle, b"x", offset=10)
    assert raised.value.errno == errno.ENOSPC
    assert files.pwrite(handle, b"5678", offset=8) == 2
    assert files.disk() == {"a": b"1234xxxx56"}
    with pytest.raises(bb.StoreUnavailable, match="no space"):
        files.truncate("a", size=11)
    files.truncate("a", size=1)
    assert files.free_bytes() == 9


# --------------------------------------------------------------------------- durability


def test_a_sync_does_not_sync_the_name() -> None:
    """A new file that was synced is not there after a power cut until its directory was synced too."""
    files = SimulatedFiles()
    handle = files.open_append("a")
    files.write(handle, b"x")
    files.fdatasync(handle)
    assert files.durable() == {}
    files.fsync_dir()
    assert files.durable() == {"a": b"x"}


def test_a_name_is_durable_without_content() -> None:
    """Syncing the directory does not sync the files in it."""
    files = SimulatedFiles()
    write_all(files, files.open_append("a"), b"new")
    assert (files.disk(), files.durable()) == ({"a": b"new"}, {})
    files.fsync_dir()
    assert files.durable() == {"a": b""}


def test_bytes_beyond_the_end_leave_nuls() -> None:
    """Writing behind the end of a file fills the gap with NULs."""
    files = SimulatedFiles({"a": b"x"})
    handle = files.open_update("a")
    files.pwrite(handle, b"y", offset=3)
    files.fdatasync(handle)
    assert files.durable() == files.disk() == {"a": b"x\0\0y"}


def failed_sync(fault: Fault) -> tuple[SimulatedFiles, int]:
    """Sync `ab`, write `cd`, and fail to sync that."""
    files = SimulatedFiles({"a": b"ab"}, plan=FaultPlan(3, fault))
    handle = files.open_update("a")
    files.pwrite(handle, b"cd", offset=2)
    with pytest.raises(OSError, match="planted"):
        files.fdatasync(handle)
    return files, handle


@pytest.mark.parametrize("fault", [Fault.EIO, Fault.ENOSPC])
def test_a_failed_sync_drops_the_pages(fault: Fault) -> None:
    """They can be read and are never written: the next sync succeeds, and the bytes are NULs on the disk."""
    files, handle = failed_sync(fault)
    assert (files.disk(), files.durable()) == ({"a": b"abcd"}, {"a": b"ab"})
    files = files.restart()
    handle = files.open_update("a")
    files.fdatasync(handle)
    assert (files.disk(), files.durable()) == ({"a": b"abcd"}, {"a": b"ab\0\0"})


def test_a_failed_sync_may_show_the_old_content() -> None:
    """Where the pages are gone from the cache too, a reader sees what is on the disk."""
    files, _ = failed_sync(Fault.EIO_DROPPED)
    assert files.disk() == files.durable() == {"a": b"ab"}


def test_bytes_written_again_are_saved() -> None:
    """Writing lost bytes onto themselves makes them pending, and the next sync durable."""
    files, handle = failed_sync(Fault.EIO)
    files.pwrite(handle, b"d", offset=3)
    files.fdatasync(handle)
    assert files.durable() == {"a": b"ab\0d"}
    files.pwrite(handle, b"c", offset=2)
    files.fdatasync(handle)
    assert files.durable() == {"a": b"abcd"}


def test_a_cut_that_failed_to_sync() -> None:
    """A cut whose sync fails can be seen, is not durable, and becomes so with the next sync."""
    files = SimulatedFiles({"a": b"abcd"}, plan=FaultPlan(3, Fault.EIO_DROPPED))
    handle = files.open_update("a")
    files.pwrite(handle, b"X", offset=0)
    with pytest.raises(bb.StoreUnavailable):
        files.truncate("a", size=2)
    assert (files.disk(), files.durable()) == ({"a": b"ab"}, {"a": b"abcd"})
    files.fdatasync(handle)
    assert files.durable() == {"a": b"ab"}


cache_steps = st.one_of(
    st.tuples(st.just("pwrite"), st.binary(min_size=1, max_size=6), st.integers(0, 12)),
    st.tuples(st.just("truncate"), st.just(b""), st.integers(0, 12)),
    st.tuples(st.just("failed truncate"), st.just(b""), st.integers(0, 12)),
    st.tuples(st.sampled_from(["sync", "drop", "forget"]), st.just(b""), st.just(0)),
)


@given(st.binary(max_size=6), st.lists(cache_steps, max_size=12))
def test_the_page_cache_against_bytes_with_a_mark(
    content: bytes, sequence: list[tuple[str, bytes, int]]
) -> None:
    """The cache agrees with a model that marks each byte as dirty and knows nothing of writes."""
    files = SimulatedFiles({"a": content})
    cache, disk = list(content), list(content)
    dirty: set[int] = set()
    cuts: list[int] = []
    for kind, data, number in sequence:
        files = files.restart(plan=plan_for(kind))
        handle = files.open_update("a")
        match kind:
            case "pwrite":
                files.pwrite(handle, data, offset=number)
                dirty |= set(range(number, number + len(data)))
                cache += [0] * (number + len(data) - len(cache))
                cache[number : number + len(data)] = data
            case "truncate":
                files.truncate("a", size=number)
                cache = resized(cache, number)
            case "failed truncate":
                with pytest.raises(bb.StoreUnavailable, match="planted"):
                    files.truncate("a", size=number)
                cuts.append(number)
            case "sync":
                files.fdatasync(handle)
            case _:
                with pytest.raises(OSError, match="planted"):
                    files.fdatasync(handle)
        if kind in ("truncate", "sync"):
            disk = resized(disk, *cuts, len(cache))
            for at in dirty & set(range(len(cache))):
                disk[at] = cache[at]
            cuts = []
        if kind == "drop":
            cuts.append(len(cache))
        if kind in ("forget", "failed truncate"):
            cache = resized(disk, *cuts)
        if kind != "pwrite":
            dirty = set()
        assert files.disk() == {"a": bytes(cache)}
        assert files.durable() == {"a": bytes(disk)}
        assert files.machine.inodes[1].pages.cached() == bytes(cache)


def plan_for(kind: str) -> FaultPlan | None:
    """Plan for the call behind the open to fail in a way."""
    faults = {"drop": Fault.EIO, "forget": Fault.EIO_DROPPED, "failed truncate": Fault.EIO_DROPPED}
    fault = faults.get(kind)
    return None if fault is None else FaultPlan(2, fault)


def resized(content: list[int], *sizes: int) -> list[int]:
    """Cut, or fill with NULs, to one size after the other."""
    for size in sizes:
        content = content[:size] + [0] * (size - len(content))
    return list(content)


# --------------------------------------------------------------------------- faults


def test_every_call_has_its_faults() -> None:
    """Every method of `Files` can fail, every fault is possible somewhere."""
    assert all(Fault.possible_in(call) for call in CALLS)
    assert {fault for call in CALLS for fault in Fault.possible_in(call)} == set(Fault)
    assert Fault.possible_in("unknown") == ()


ACTIONS: dict[str, Callable[[SimulatedFiles, int], object]] = {
    "listdir": lambda files, _: files.listdir(),
    "stat": lambda files, _: files.stat("a"),
    "mkdir": lambda files, _: files.mkdir(),
    "read": lambda files, _: files.read("a", offset=0, size=9),
    "open_append": lambda files, _: files.open_append("new"),
    "open_update": lambda files, _: files.open_update("new"),
    "write": lambda files, handle: files.write(handle, b"1234"),
    "pwrite": lambda files, handle: files.pwrite(handle, b"1234", offset=2),
    "fdatasync": lambda files, handle: files.fdatasync(handle),
    "fsync_dir": lambda files, _: files.fsync_dir(),
    "truncate": lambda files, _: files.truncate("a", size=1),
    "lock": lambda files, _: files.lock(LOCK),
    "free_bytes": lambda files, _: files.free_bytes(),
    "close": lambda files, handle: files.close(handle),
    "release": lambda files, _: files.release(),
}
PLANTED = [(call, fault) for call in ACTIONS for fault in Fault.possible_in(call)]
BARE = {"write", "pwrite", "fdatasync", "fsync_dir"}
CODES = {Fault.EIO: errno.EIO, Fault.EIO_DROPPED: errno.EIO, Fault.EMFILE: errno.EMFILE}
DONE = {Fault.INTERRUPT_AFTER}
HALF = {Fault.SHORT, Fault.ENOSPC_PARTIAL}


def state_after(call: str, size: int | None) -> object:
    """Give what is there after an action without fault; `size` is how many bytes of a write were taken."""
    files = SimulatedFiles({"a": b"ab"})
    handle = files.open_append("a")
    match call, size:
        case (("write" | "pwrite"), int(taken)):
            files.write(handle, b"1234"[:taken])
        case _, None:
            ACTIONS[call](files, handle)
    return files.disk(), files.durable()


@pytest.mark.parametrize(("call", "fault"), PLANTED, ids=lambda value: getattr(value, "name", value))
def test_a_planted_fault(call: str, fault: Fault) -> None:
    """A call fails as planned, with the type of error that real files raise there, and no more effect."""
    files = SimulatedFiles({"a": b"ab"}, plan=FaultPlan(2, fault))
    handle = files.open_append("a")
    action = ACTIONS[call]
    if fault in (Fault.SHORT, Fault.ZERO):
        assert action(files, handle) == (2 if fault is Fault.SHORT else 0)
    elif fault in (Fault.INTERRUPT, Fault.INTERRUPT_AFTER):
        with pytest.raises(KeyboardInterrupt):
            action(files, handle)
    elif call in BARE:
        with pytest.raises(OSError, match="planted") as bare:
            action(files, handle)
        assert bare.value.errno == CODES.get(fault, errno.ENOSPC)
    else:
        with pytest.raises(bb.StoreUnavailable, match="planted") as raised:
            action(files, handle)
        assert isinstance(raised.value.__cause__, OSError)
        assert raised.value.__cause__.errno == CODES.get(fault, errno.ENOSPC)
    assert files.has_failed
    assert files.calls == ["open_append", call]
    assert list(files.open_handles) == ([] if call == "close" and fault is not Fault.INTERRUPT else [handle])
    taken = None if fault in DONE else 2 if fault in HALF else 0
    expected = state_after(call, taken)
    if (call, fault) == ("truncate", Fault.EIO_DROPPED):
        expected = {"a": b"a"}, {"a": b"ab"}
    assert (files.disk(), files.durable()) == expected


REPEATABLE = sorted(ACTIONS.keys() - {"close", "lock"})


@given(fault_plans(max_call=20), st.lists(st.sampled_from(REPEATABLE), max_size=20))
def test_a_plan_breaks_one_call(plan: FaultPlan, sequence: list[str]) -> None:
    """The call that was named fails if it can fail that way, and no other does."""
    files = SimulatedFiles({"a": b"ab"}, plan=attrs.evolve(plan, call=plan.call + 1))
    handle = files.open_append("a")
    for number, call in enumerate(sequence, 1):
        fails = number == plan.call and plan.fault in Fault.possible_in(call)
        try:
            ACTIONS[call](files, handle)
        except (OSError, bb.StoreUnavailable, KeyboardInterrupt):
            assert fails
        else:
            assert not fails or plan.fault in (Fault.SHORT, Fault.ZERO)
        assert files.has_failed or not fails
    assert files.calls == ["open_append", *sequence]


def test_a_plan_counts_from_one() -> None:
    """There is no call zero."""
    with pytest.raises(ValueError, match="call"):
        FaultPlan(0, Fault.EIO)
