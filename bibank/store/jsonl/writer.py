"""The writing half: one write and one sync a group, in the file of the group's date.

Everything is serialised before the first byte is written. A write or a sync that fails midway
poisons the store: the bytes may or may not be there, and a failed sync is never tried again,
because the kernel has dropped the pages it could not write.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Literal
from weakref import WeakSet

from bibank.errors import (
    CommitOutcomeUnknown,
    HeadConflict,
    LedgerClosed,
    LedgerPoisoned,
    StoreError,
    StoreUnavailable,
)
from bibank.model.lines import Head, LineGroup
from bibank.store.jsonl.days import DayFile, Days
from bibank.store.jsonl.files import Files


def write_all(files: Files, handle: int, data: bytes) -> None:
    """Write until every byte is taken; `OSError` when the operating system takes none."""
    left = memoryview(data)
    while left:
        taken = files.write(handle, bytes(left) if len(left) != len(data) else data)
        if taken <= 0:
            raise OSError(errno.EIO, "the operating system took no bytes")
        left = left[taken:]


class JsonlStore:
    """A `LedgerStore` in daily files. Made by `OpenPlan.repair`, which holds the writer's lock.

    `durability="none"` leaves syncing to the operating system: for simulations.
    """

    def __init__(
        self, files: Files, days: Days, head: Head, lock: int, *, durability: Literal["sync", "none"]
    ) -> None:
        self._files = files
        self._days = days
        self._head = head
        self._lock: int | None = lock
        self._syncs = durability == "sync"
        self._handle: int | None = None
        self._handle_name = ""
        self._inode = -1
        self._poison: str | None = None
        self._closed = False
        _stores.add(self)

    def __repr__(self) -> str:
        return f"<JsonlStore at line {self._head.sequence}{'' if self._syncs else ', durability none'}>"

    def head(self) -> Head:
        """Tell the last durable line."""
        return self._head

    def append(self, group: LineGroup) -> None:
        """Append a group: one write, one sync. Errors as the protocol says."""
        self._check_usable()
        if group.expected_head != self._head:
            raise HeadConflict(
                f"the journal stands at line {self._head.sequence}, "
                f"the group expects {group.expected_head.sequence}"
            )
        data = b"\n".join(group.lines) + b"\n"
        name = f"{group.date.isoformat()}.jsonl"
        newest = self._days.files[-1].name if self._days.files else ""
        if name < newest:
            raise StoreUnavailable(f"the group is of {group.date}, the journal has reached {newest}")
        handle = self._open(name)
        self._check_file(name)
        self._poison = "a write was interrupted"
        try:
            write_all(self._files, handle, data)
            if self._syncs:
                self._files.fdatasync(handle)
        except OSError as error:
            self._poison = f"writing {name} failed: {error.strerror}"
            raise CommitOutcomeUnknown(f"{self._poison}; reopen the ledger to see what is on disk") from error
        self._note(name, group, len(data))
        self._head = group.head
        self._poison = None

    def read(self, *, after_sequence: int = 0) -> Iterator[bytes]:
        """Give the durable lines after a sequence."""
        self._check_usable()
        return self._days.read(after_sequence=after_sequence)

    def locate(self, sequence: int) -> tuple[str, int]:
        """Say in which file, and which line of it, a sequence stands."""
        return self._days.locate(sequence)

    def close(self) -> None:
        """Close the day file and let go of the lock."""
        if not self._closed:
            self._closed = True
            self._let_go()

    def _let_go(self) -> None:
        """Close the day file, the lock and the directory, each whatever becomes of the others."""
        handles = (self._lock, self._handle)
        self._lock = self._handle = None
        with ExitStack() as stack:
            stack.callback(self._files.release)
            for handle in handles:
                if handle is not None:
                    stack.callback(self._files.close, handle)

    def _disown(self) -> None:
        """In a forked child: leave the files to the parent, who would otherwise share its lock for ever."""
        if not self._closed:
            self._poison = "the ledger was opened by the parent of this process"
            with suppress(StoreError):
                self._let_go()

    def _check_usable(self) -> None:
        if self._closed:
            raise LedgerClosed("the store was closed")
        if self._poison is not None:
            raise LedgerPoisoned(f"{self._poison}; open the ledger again")

    def _open(self, name: str) -> int:
        """Open the day file; a new one is made known to its directory before it is written."""
        if self._handle is not None and self._handle_name == name:
            return self._handle
        older, self._handle, self._handle_name = self._handle, None, ""
        if older is not None:
            self._files.close(older)
        self._handle = self._files.open_append(name)
        try:
            self._files.fsync_dir()
        except OSError as error:
            self._poison = f"making {name} known to its directory failed: {error.strerror}"
            raise StoreUnavailable(f"{self._poison}; nothing was written") from error
        found = self._files.stat(name)
        self._inode = found.inode if found is not None else -1
        self._handle_name = name
        return self._handle

    def _check_file(self, name: str) -> None:
        """Demand that the day file is the one this writer left, as it left it."""
        found = self._files.stat(name)
        days = self._days.files
        size = days[-1].size if days and days[-1].name == name else 0
        if found is None or found.inode != self._inode or found.size != size:
            self._poison = f"{name} is not as this writer left it: it was moved, cut or written to by others"
            raise HeadConflict(f"{self._poison}; nothing was written")

    def _note(self, name: str, group: LineGroup, size: int) -> None:
        """Index what is durable now."""
        files = self._days.files
        if not files or files[-1].name != name:
            files.append(DayFile(name=name, size=0, first_sequence=group.expected_head.sequence + 1))
        day = files[-1]
        if day.lines == 0:
            day.first_sequence = group.expected_head.sequence + 1
        day.note_all(group.lines, offset=day.size)
        day.size += size


_stores: WeakSet[JsonlStore] = WeakSet()
"""Every store of this process, for the day it forks."""


def _disown_all() -> None:
    for store in list(_stores):
        store._disown()  # noqa: SLF001 - the hook of this class, which Python calls without an object


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
