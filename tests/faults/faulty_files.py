"""Files that fail at the n-th call: a wrapper over the real directory that breaks exactly once.

It raises what `OsFiles` would raise in that place: a bare `OSError` where the writer has to judge what is
half done, `StoreUnavailable` elsewhere. Every call is logged by name, so a test can see what came after.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TypeVar

import bibank as bb
from bibank.store.jsonl.files import FileStat, OsFiles

T = TypeVar("T")


class Fault(Enum):
    """How a call fails."""

    EIO = "an input/output error, nothing done"
    EIO_DROPPED = "an input/output error, and the pages that were not synced are gone"
    ENOSPC = "no space, nothing done"
    ENOSPC_PARTIAL = "no space after half of the bytes"
    SHORT = "half of the bytes, no error"
    ZERO = "no bytes, no error"
    INTERRUPT = "interrupted before it was done"
    INTERRUPT_AFTER = "interrupted after it was done"


_ANYWHERE = (Fault.EIO, Fault.INTERRUPT)
FAULTS_OF: dict[str, tuple[Fault, ...]] = {
    "listdir": _ANYWHERE,
    "stat": _ANYWHERE,
    "mkdir": _ANYWHERE,
    "read": _ANYWHERE,
    "open_append": (*_ANYWHERE, Fault.ENOSPC),
    "write": tuple(fault for fault in Fault if fault is not Fault.EIO_DROPPED),
    "fdatasync": (*_ANYWHERE, Fault.EIO_DROPPED, Fault.ENOSPC, Fault.INTERRUPT_AFTER),
    "fsync_dir": (*_ANYWHERE, Fault.INTERRUPT_AFTER),
    "truncate": (*_ANYWHERE, Fault.INTERRUPT_AFTER),
    "lock": (*_ANYWHERE, Fault.ENOSPC),
    "close": (Fault.EIO,),
}
"""Which faults each call can have. A close that is reported as failed has closed its handle all the same."""

_BARE = frozenset({"write", "fdatasync", "fsync_dir"})
_CODES = {Fault.EIO: errno.EIO, Fault.EIO_DROPPED: errno.EIO}


class FaultyFiles:
    """`Files` of a directory, of which call number `fail_at` (from 1) has a fault."""

    def __init__(self, directory: Path, *, fail_at: int = 0, fault: Fault = Fault.EIO) -> None:
        self._inner = OsFiles(directory)
        self._fail_at = fail_at
        self._fault = fault
        self._synced: dict[int, int] = {}
        self.calls: list[str] = []

    @property
    def has_failed(self) -> bool:
        """Whether the fault has happened."""
        return 0 < self._fail_at <= len(self.calls)

    def _call(self, name: str, action: Callable[[], T]) -> T:
        self.calls.append(name)
        if len(self.calls) != self._fail_at:
            return action()
        match self._fault:
            case Fault.INTERRUPT:
                raise KeyboardInterrupt
            case Fault.INTERRUPT_AFTER:
                action()
                raise KeyboardInterrupt
        if name == "close":
            action()
        error = OSError(_CODES.get(self._fault, errno.ENOSPC), f"planted in {name}")
        if name in _BARE:
            raise error
        raise bb.StoreUnavailable(f"planted in {name}") from error

    def listdir(self) -> list[str]:
        """As `OsFiles`."""
        return self._call("listdir", self._inner.listdir)

    def stat(self, name: str) -> FileStat | None:
        """As `OsFiles`."""
        return self._call("stat", lambda: self._inner.stat(name))

    def mkdir(self) -> None:
        """As `OsFiles`."""
        self._call("mkdir", self._inner.mkdir)

    def read(self, name: str, *, offset: int, size: int) -> bytes:
        """As `OsFiles`."""
        return self._call("read", lambda: self._inner.read(name, offset=offset, size=size))

    def open_append(self, name: str) -> int:
        """As `OsFiles`; what is in the file now counts as synced."""
        handle = self._call("open_append", lambda: self._inner.open_append(name))
        self._synced[handle] = os.fstat(handle).st_size
        return handle

    def write(self, handle: int, data: bytes) -> int:
        """As `OsFiles`, or a part of it."""
        failing = len(self.calls) + 1 == self._fail_at
        if failing and self._fault is Fault.ZERO:
            return self._skipped("write")
        half = data[: len(data) // 2]
        if failing and self._fault is Fault.SHORT:
            self.calls.append("write")
            return self._inner.write(handle, half)
        if failing and self._fault is Fault.ENOSPC_PARTIAL:
            self._inner.write(handle, half)
        return self._call("write", lambda: self._inner.write(handle, data))

    def _skipped(self, name: str) -> int:
        self.calls.append(name)
        return 0

    def pwrite(self, handle: int, data: bytes, *, offset: int) -> int:
        """As `OsFiles`."""
        return self._call("pwrite", lambda: self._inner.pwrite(handle, data, offset=offset))

    def fdatasync(self, handle: int) -> None:
        """As `OsFiles`; a failure may take the pages with it, as the kernel does."""
        failing = len(self.calls) + 1 == self._fail_at
        if failing and self._fault is Fault.EIO_DROPPED:
            os.ftruncate(handle, self._synced[handle])
        self._call("fdatasync", lambda: self._inner.fdatasync(handle))
        self._synced[handle] = os.fstat(handle).st_size

    def fsync_dir(self) -> None:
        """As `OsFiles`."""
        self._call("fsync_dir", self._inner.fsync_dir)

    def truncate(self, name: str, *, size: int) -> None:
        """As `OsFiles`."""
        self._call("truncate", lambda: self._inner.truncate(name, size=size))

    def replace(self, source: str, target: str) -> None:
        """As `OsFiles`."""
        self._call("replace", lambda: self._inner.replace(source, target))

    def lock(self, name: str) -> int:
        """As `OsFiles`."""
        return self._call("lock", lambda: self._inner.lock(name))

    def free_bytes(self) -> int:
        """As `OsFiles`."""
        return self._call("free_bytes", self._inner.free_bytes)

    def close(self, handle: int) -> None:
        """As `OsFiles`."""
        self._call("close", lambda: self._inner.close(handle))

    def release(self) -> None:
        """As `OsFiles`; closing a directory has no fault."""
        self._inner.release()
