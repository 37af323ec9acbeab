"""The writing half: one write and one sync a group, in the file of the group's date.

Everything is serialised before the first byte is written. A write or a sync that fails midway
poisons the store: the bytes may or may not be there, and a failed sync is never tried again,
because the kernel has dropped the pages it could not write.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal

from bibank.errors import CommitOutcomeUnknown, HeadConflict, LedgerClosed, LedgerPoisoned, StoreUnavailable
from bibank.model.lines import Head, LineGroup
from bibank.store.jsonl.days import DayFile, Days
from bibank.store.jsonl.files import Files


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
        self._lock = lock
        self._syncs = durability == "sync"
        self._handle: int | None = None
        self._handle_name = ""
        self._poison: str | None = None
        self._closed = False
        self._process = os.getpid()

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
        self._poison = "a write was interrupted"
        try:
            self._write(handle, data)
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
        return self._days.read(after_sequence=after_sequence)

    def locate(self, sequence: int) -> tuple[str, int]:
        """Say in which file, and which line of it, a sequence stands."""
        return self._days.locate(sequence)

    def close(self) -> None:
        """Close the day file and let go of the lock."""
        if self._closed:
            return
        self._closed = True
        if self._handle is not None:
            self._files.close(self._handle)
        self._files.close(self._lock)

    def _check_usable(self) -> None:
        if self._closed:
            raise LedgerClosed("the store was closed")
        if self._poison is not None:
            raise LedgerPoisoned(f"{self._poison}; open the ledger again")
        if os.getpid() != self._process:
            raise LedgerPoisoned("the store was opened by the parent of this process; open it here")

    def _open(self, name: str) -> int:
        """Open the day file; a new one is made known to its directory before it is written."""
        if self._handle is not None and self._handle_name == name:
            return self._handle
        handle = self._files.open_append(name)
        try:
            self._files.fsync_dir()
        except OSError as error:
            self._files.close(handle)
            raise StoreUnavailable(f"cannot make {name} known to its directory: {error.strerror}") from error
        if self._handle is not None:
            self._files.close(self._handle)
        self._handle, self._handle_name = handle, name
        return handle

    def _write(self, handle: int, data: bytes) -> None:
        left = memoryview(data)
        while left:
            taken = self._files.write(handle, bytes(left) if len(left) != len(data) else data)
            if taken <= 0:
                raise OSError(0, "the operating system took no bytes")
            left = left[taken:]

    def _note(self, name: str, group: LineGroup, size: int) -> None:
        """Index what is durable now."""
        files = self._days.files
        if not files or files[-1].name != name:
            files.append(DayFile(name=name, size=0, first_sequence=group.expected_head.sequence + 1))
        day = files[-1]
        if day.lines == 0:
            day.first_sequence = group.expected_head.sequence + 1
        offset = day.size
        for line in group.lines:
            day.note(offset)
            offset += len(line) + 1
        assert offset == day.size + size
        day.size = offset
