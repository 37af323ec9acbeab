"""The `Files` protocol in memory, with a page cache, a disk, and a fault at the call of one's choice.

Results and errors are those of `OsFiles`: a bare `OSError` where the caller has to judge what is half done
(write, pwrite, fdatasync, fsync_dir), `StoreUnavailable` elsewhere. The directory always exists,
and the lock is no file in it. Not for use from several threads at once.

>>> from bibank.testing.faults import SimulatedFiles
>>> files = SimulatedFiles({"a": b"old"})
>>> handle = files.open_append("a")
>>> files.write(handle, b" new")
4
>>> files.disk(), files.durable()
({'a': b'old new'}, {'a': b'old'})
>>> files.fdatasync(handle)
>>> files.durable()
{'a': b'old new'}
"""

from __future__ import annotations

import errno
import os
from collections.abc import Hashable, Mapping
from types import MappingProxyType, TracebackType

import attrs

from bibank.errors import LedgerBusy, StoreUnavailable
from bibank.store.jsonl.files import FileStat
from bibank.testing.fault_plan import Fault, FaultPlan
from bibank.testing.page_cache import Cut, Inode, Write
from bibank.testing.simulated_machine import SimulatedMachine

CAPACITY_BYTES = 1 << 40
"""A disk that no test fills without wanting to."""

_FIRST_HANDLE = 3
_BARE = frozenset({"write", "pwrite", "fdatasync", "fsync_dir"})
"""The calls that raise `OSError` as it comes."""

_HALVED = frozenset({Fault.SHORT, Fault.ENOSPC_PARTIAL})
_WITHOUT_ERROR = frozenset({Fault.SHORT, Fault.ZERO})
_AT_ONCE = frozenset({Fault.EIO, Fault.ENOSPC, Fault.EMFILE})
_DONE_FIRST = frozenset({"fdatasync", "close"})
"""The calls that do something even where they fail with `EIO` or `ENOSPC`."""

_CODES = {
    Fault.ENOSPC: errno.ENOSPC,
    Fault.ENOSPC_PARTIAL: errno.ENOSPC,
    Fault.EMFILE: errno.EMFILE,
}


@attrs.define(eq=False)
class _Opened:
    """What a handle stands for; without an inode it is the lock."""

    name: str
    inode: Inode | None
    appends: bool = True
    position: int = 0


class SimulatedFiles:
    """One process that uses the directory of a simulated machine.

    `disk` is what the directory holds, all of it durable. `capacity_bytes` is what fits in: a write takes
    what still fits, and raises `OSError` with ENOSPC when nothing does. Using a closed handle, other than to
    close it again, is an `AssertionError`, as is any call after `restart`.
    """

    def __init__(
        self,
        disk: Mapping[str, bytes] = MappingProxyType({}),
        *,
        plan: FaultPlan | None = None,
        capacity_bytes: int = CAPACITY_BYTES,
    ) -> None:
        self._start(SimulatedMachine(disk, capacity_bytes=capacity_bytes), plan)

    def _start(self, machine: SimulatedMachine, plan: FaultPlan | None) -> None:
        self.machine = machine
        """What the process shares with those before and after it."""
        self.calls: list[str] = []
        """The name of every call, in order."""
        self.has_failed = False
        """Whether the fault of the plan has happened."""
        self._plan = plan
        self._handles: dict[int, _Opened] = {}
        self._next_handle = _FIRST_HANDLE
        self._keeps_directory = False
        self._is_killed = False

    def __repr__(self) -> str:
        return f"<SimulatedFiles after {len(self.calls)} calls>"

    # ------------------------------------------------------------------ for the test

    @property
    def promise(self) -> Hashable:
        """What the workload has been promised so far; set to any immutable value by the workload.

        Every crash state says what was promised when the crash came. It outlives a restart.
        """
        return self.machine.promise

    @promise.setter
    def promise(self, promise: Hashable) -> None:
        self.machine.promise = promise

    @property
    def open_handles(self) -> Mapping[int, str]:
        """The handles that are open now, the lock's too, with the name that each was opened by."""
        return {handle: opened.name for handle, opened in self._handles.items()}

    def disk(self) -> dict[str, bytes]:
        """Give every file as a reader sees it now."""
        return self.machine.cached()

    def durable(self) -> dict[str, bytes]:
        """Give what is on the disk for certain: what a power cut now cannot take away."""
        return self.machine.durable()

    def restart(self, *, plan: FaultPlan | None = None) -> SimulatedFiles:
        """Kill the process and give the next one on the same machine, with a plan of its own.

        The page cache survives, with what is pending and what a failed sync dropped; handles and lock are
        gone.
        """
        self._is_killed = True
        self._handles.clear()
        self.machine.is_directory_locked = self.machine.is_file_locked = False
        successor = SimulatedFiles.__new__(SimulatedFiles)
        successor._start(self.machine, plan)  # noqa: SLF001 - an object of this very class
        return successor

    # ------------------------------------------------------------------ Files

    def listdir(self) -> list[str]:
        """Name the files, sorted; the lock is not among them."""
        with self._calling("listdir"):
            return sorted(self.machine.entries)

    def stat(self, name: str) -> FileStat | None:
        """Describe a file; None when there is none."""
        with self._calling("stat"):
            found = self.machine.find(name)
            if found is None:
                return None
            return FileStat(
                size=len(found.content), is_regular=True, links=1, owner=os.geteuid(), inode=found.number
            )

    def mkdir(self) -> None:
        """Do nothing: the directory exists."""
        with self._calling("mkdir"):
            pass

    def read(self, name: str, *, offset: int, size: int) -> bytes:
        """Read up to `size` bytes; `StoreUnavailable` when there is no such file."""
        with self._calling("read"):
            return bytes(self._named(name, "read").content[offset : offset + size])

    def open_append(self, name: str) -> int:
        """Open or make a file; whatever is written goes to its end, `pwrite` too, as under Linux."""
        with self._calling("open_append") as fault:
            return self._hold(_Opened(name, self.machine.open(name)), fault)

    def open_update(self, name: str) -> int:
        """Open or make a file for writing at offsets; `write` goes on where the last `write` ended."""
        with self._calling("open_update") as fault:
            return self._hold(_Opened(name, self.machine.open(name), appends=False), fault)

    def write(self, handle: int, data: bytes) -> int:
        """Write at the end; `OSError` with ENOSPC when nothing fits."""
        opened, inode = self._opened(handle)
        taken = self._put("write", inode, data, len(inode.content) if opened.appends else opened.position)
        opened.position += taken
        return taken

    def pwrite(self, handle: int, data: bytes, *, offset: int) -> int:
        """Write at an offset; `OSError` with ENOSPC when nothing fits."""
        opened, inode = self._opened(handle)
        return self._put("pwrite", inode, data, len(inode.content) if opened.appends else offset)

    def _put(self, call: str, inode: Inode, data: bytes, offset: int) -> int:
        with self._calling(call) as fault:
            if fault is Fault.ZERO:
                return 0
            if fault in _HALVED:
                data = data[: len(data) // 2]
            if not data:
                return 0
            fitting = len(inode.content) + self.machine.free_bytes() - offset
            if fitting <= 0:
                raise OSError(errno.ENOSPC, "no space left")
            data = bytes(data[:fitting])
            self.machine.change(inode, Write(offset, data))
            return len(data)

    def fdatasync(self, handle: int) -> None:
        """Make a file's content and size durable, but not its name; `OSError` when that fails."""
        _, inode = self._opened(handle)
        with self._calling("fdatasync") as fault:
            match fault:
                case None | Fault.INTERRUPT_AFTER:
                    self.machine.sync(inode)
                case Fault.EIO_DROPPED:
                    self.machine.forget(inode)
                case _:
                    self.machine.drop(inode)

    def fsync_dir(self) -> None:
        """Make every entry durable; when that fails (`OSError`), the next sync may still do it."""
        with self._calling("fsync_dir"):
            self.machine.sync_directory()

    def truncate(self, name: str, *, size: int) -> None:
        """Cut a file, or fill it with NULs, and sync it. Between the two the power may fail."""
        with self._calling("truncate") as fault:
            inode = self._named(name, "cut")
            if size - len(inode.content) > self.machine.free_bytes():
                raise _unavailable(f"cannot cut {name}", OSError(errno.ENOSPC, "no space left"))
            self.machine.change(inode, Cut(size))
            self.machine.note()
            if fault is Fault.EIO_DROPPED:
                self.machine.forget(inode)
            else:
                self.machine.sync(inode)

    def lock(self, name: str) -> int:
        """Take the one lock of the machine or raise `LedgerBusy`."""
        with self._calling("lock") as fault:
            if self.machine.is_directory_locked or self.machine.is_file_locked:
                raise LedgerBusy(
                    "the simulated directory is being written; one process writes a home",
                    pid=os.getpid(),
                    host=None,
                )
            self.machine.is_directory_locked = self.machine.is_file_locked = True
            self._keeps_directory = True
            return self._hold(_Opened(name, None), fault)

    def free_bytes(self) -> int:
        """Tell how much of the capacity is left."""
        with self._calling("free_bytes"):
            return self.machine.free_bytes()

    def close(self, handle: int) -> None:
        """Close a handle, and give up the lock if it is the lock's; also where it fails with an error."""
        assert _FIRST_HANDLE <= handle < self._next_handle, f"handle {handle} was never given"
        with self._calling("close"):
            opened = self._handles.get(handle)
            if opened is not None and opened.inode is None:
                self.machine.is_file_locked = False
            self._handles.pop(handle, None)

    def release(self) -> None:
        """Let go of the directory, which stays locked until then."""
        with self._calling("release"):
            if self._keeps_directory:
                self.machine.is_directory_locked = self._keeps_directory = False

    # ------------------------------------------------------------------ calls and their faults

    def _calling(self, call: str) -> _Calling:
        """Log a call and let it have its fault, before or behind what it does."""
        assert not self._is_killed, "this process was killed by restart()"
        self.machine.begin(call)
        self.calls.append(call)
        return _Calling(self.machine, call, None if self._plan is None else self._fault_of(call))

    def _fault_of(self, call: str) -> Fault | None:
        plan = self._plan
        if plan is None or plan.call != len(self.calls) or plan.fault not in Fault.possible_in(call):
            return None
        self.has_failed = self.machine.has_failed = True
        return plan.fault

    def _hold(self, opened: _Opened, fault: Fault | None) -> int:
        """Give a handle, never one that was given before."""
        if fault is Fault.INTERRUPT_AFTER:
            return 0  # nobody will get it: the file is there, and not open
        handle, self._next_handle = self._next_handle, self._next_handle + 1
        self._handles[handle] = opened
        return handle

    def _opened(self, handle: int) -> tuple[_Opened, Inode]:
        opened = self._handles.get(handle)
        assert opened is not None, f"handle {handle} is not open"
        assert opened.inode is not None, "the lock is not a file to write to"
        return opened, opened.inode

    def _named(self, name: str, verb: str) -> Inode:
        found = self.machine.find(name)
        if found is None:
            raise _unavailable(
                f"cannot {verb} {name}", FileNotFoundError(errno.ENOENT, "there is no such file")
            )
        return found


class _Calling:
    """One call under way: raises its fault before what it does, or behind it."""

    __slots__ = ("_call", "_fault", "_machine")

    def __init__(self, machine: SimulatedMachine, call: str, fault: Fault | None) -> None:
        self._machine = machine
        self._call = call
        self._fault = fault

    def __enter__(self) -> Fault | None:
        fault = self._fault
        if fault is Fault.INTERRUPT or (fault in _AT_ONCE and self._call not in _DONE_FIRST):
            self._machine.note()
            raise _error(self._call, fault)
        return fault

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._machine.note()
        if error is None and self._fault is not None and self._fault not in _WITHOUT_ERROR:
            raise _error(self._call, self._fault)


def _error(call: str, fault: Fault | None) -> BaseException:
    """Make the error that `OsFiles` would raise."""
    if fault is Fault.INTERRUPT or fault is Fault.INTERRUPT_AFTER:
        return KeyboardInterrupt(f"planted in {call}")
    code = errno.EIO if fault is None else _CODES.get(fault, errno.EIO)
    error = OSError(code, f"planted in {call}")
    return error if call in _BARE else _unavailable(os.strerror(code), error)


def _unavailable(message: str, error: OSError) -> StoreUnavailable:
    unavailable = StoreUnavailable(f"{message}: {error.strerror}")
    unavailable.__cause__ = error
    return unavailable
