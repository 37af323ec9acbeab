"""The writing half: one write and one sync a group, in the file of the group's date.

Everything is serialised before the first byte is written. A write or a sync that fails midway
poisons the store: the bytes may or may not be there, and a failed sync is never tried again,
because the kernel has dropped the pages it could not write.

Small groups are written into space that an earlier write filled with NULs: a sync that need not
record a new size takes about two thirds of the time. Readers take NULs for unwritten space.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Literal
from weakref import WeakSet

from bibank.errors import (
    CommitOutcomeUnknown,
    ConfigurationError,
    HeadConflict,
    LedgerClosed,
    LedgerPoisoned,
    StoreError,
    StoreFull,
    StoreUnavailable,
    excerpt,
)
from bibank.model.lines import Head, LineGroup
from bibank.store.jsonl.days import DayFile, DayPlace, Days
from bibank.store.jsonl.files import Files, write_all, write_all_at
from bibank.store.jsonl.head import HeadFile, HeadMark
from bibank.store.jsonl.repair import SetAside, logger

PREALLOCATE_BYTES = 1 << 18
"""How far a day file is filled with NULs ahead: some 500 lone transfers, and little to read past."""

MAX_PREALLOCATE_BYTES = 1 << 24
SMALL_GROUP_SHARE = 8
"""A group of more than 1/8 of the preallocated bytes gets no NULs behind it: its sync is its cost."""

FREE_SPACE_FLOOR = 32 << 20
"""Bytes that stay free for what recovery writes: two copies of the largest group, and room beside."""

_SPACE_CHECK_BYTES = 4 << 20
"""How many bytes may be written between two looks at the free space."""

HEAD_INTERVAL_SECONDS = 1.0
"""The first commit that finds HEAD older than this writes it."""


class JsonlStore:
    """A `LedgerStore` in daily files. Made by `OpenPlan.repair`, which holds the writer's lock.

    `durability="none"` leaves syncing to the operating system: for simulations. HEAD then stays
    where it is, because it names synced lines only. `set_aside` describes torn bytes whose
    recovery record is owed.
    """

    def __init__(
        self,
        files: Files,
        days: Days,
        head: Head,
        lock: int,
        head_file: HeadFile,
        *,
        durability: Literal["sync", "none"],
        preallocate_bytes: int,
        monotonic: Callable[[], float],
        set_aside: tuple[SetAside, ...] = (),
    ) -> None:
        self.set_aside = set_aside
        self._files = files
        self._days = days
        self._head = head
        self._lock = lock
        self._head_file = head_file
        self._monotonic = monotonic
        self._head_due = float("-inf")
        self._syncs = durability == "sync"
        self._ahead = preallocate_bytes
        self._space = 0
        """Bytes that may be written before the free space is looked at again."""
        self._handle: int | None = None
        self._handle_name = ""
        self._inode = -1
        self._allocated = 0
        """The size of the day file: its content, and NULs behind it."""
        self._poison: str | None = None
        self._midway: str | None = None
        """What is being written: the writer's own mark, found by its next call after an interrupt."""
        self._closed = False
        self._let_gone = False
        """Whether nothing is open any more."""
        _stores.add(self)

    def __repr__(self) -> str:
        return f"<JsonlStore at line {self._head.sequence}{'' if self._syncs else ', durability none'}>"

    def head(self) -> Head:
        """Tell the last durable line."""
        return self._head

    def append(self, group: LineGroup) -> None:
        """Append a group: one write, one sync. Errors as the protocol says."""
        self._check_writable()
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
        self._check_space(len(data))
        handle = self._open(name)
        end = self._content_end(name)
        self._check_file(name)
        self._midway = "a write was interrupted"
        try:
            self._write(handle, data, end)
            if self._syncs:
                self._files.fdatasync(handle)
        except OSError as error:
            self._poison = f"writing {name} failed: {error.strerror}"
            raise CommitOutcomeUnknown(f"{self._poison}; reopen the ledger to see what is on disk") from error
        self._note(name, group, len(data))
        self._head = group.head
        if self._syncs and self._monotonic() >= self._head_due and not self._write_head():
            return  # the group is on the disk all the same
        self._midway = None

    def flush_head(self) -> None:
        """Let HEAD name the last line now: for hosts with a timer. Raises `StoreUnavailable`."""
        self._check_writable()
        if not self._syncs or self._head == self._head_file.mark.head:
            return
        self._midway = "writing HEAD was interrupted"
        if not self._write_head():
            raise StoreUnavailable(f"{self._poison}; every line that was acknowledged is on the disk")
        self._midway = None

    def read(self, *, after_sequence: int = 0) -> Iterator[bytes]:
        """Give the durable lines after a sequence."""
        self._check_usable()
        return self._days.read(after_sequence=after_sequence)

    @property
    def syncs(self) -> bool:
        """Whether what was acknowledged is on the disk."""
        return self._syncs

    def places(self) -> tuple[DayPlace, ...]:
        """Tell which durable lines each day file holds."""
        return self._days.places()

    def locate(self, sequence: int) -> tuple[str, int]:
        """Say in which file, and which line of it, a sequence stands."""
        return self._days.locate(sequence)

    def close(self) -> None:
        """Give unused space back, let HEAD name the last line, and let go of files and lock.

        Nothing acknowledged depends on the first two: when they fail, that is logged. Closing
        twice is harmless, and finishes what an interrupt left.
        """
        closed, self._closed = self._closed, True
        try:
            if not closed and self._poison is None and self._midway is None:
                self._finish()
        finally:
            self._let_go()

    def _finish(self) -> None:
        try:
            self._trim()
        except StoreUnavailable as error:
            logger.warning("%s; what follows the last line is unwritten space", error)
            return
        if self._syncs and self._head != self._head_file.mark.head:
            self._write_head()

    def _let_go(self) -> None:
        """Close the day file, HEAD, the lock and the directory, each whatever becomes of the others.

        Only an interrupt may leave one open, for the next call: an error has closed it all the same.
        """
        if self._let_gone:
            return
        try:
            with ExitStack() as stack:
                stack.callback(self._files.release)
                stack.callback(self._head_file.close)
                for handle in (self._lock, self._handle):
                    if handle is not None:
                        stack.callback(self._files.close, handle)
        except StoreError:
            self._let_gone = True
            raise
        self._let_gone = True

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

    def _check_writable(self) -> None:
        self._poison = self._poison or self._midway
        self._check_usable()

    def _check_space(self, size: int) -> None:
        """Demand that a group leaves free what recovery may need; seldom asks the operating system."""
        if size > self._space:
            free = self._files.free_bytes()
            need = FREE_SPACE_FLOOR + size + self._ahead
            if free < need:
                raise StoreFull(
                    f"{free} bytes are free, and this write needs {need}: {FREE_SPACE_FLOOR} of them stay "
                    "free for recovery; nothing was written"
                )
            self._space = min(free - FREE_SPACE_FLOOR, _SPACE_CHECK_BYTES + size)
        self._space -= size

    def _open(self, name: str) -> int:
        """Open the day file; a new one is made known to its directory before it is written."""
        if self._handle is not None and self._handle_name == name:
            return self._handle
        try:
            self._trim()
        except StoreUnavailable as error:
            self._poison = f"cutting {self._handle_name} to its content failed"
            raise StoreUnavailable(f"{error}; nothing was written") from error
        if self._handle is not None:
            self._handle_name = ""  # whatever becomes of closing it, it is not written to again
            self._files.close(self._handle)
            self._handle = None
        opened = self._files.open_update if self._ahead else self._files.open_append
        self._handle = opened(name)
        try:
            self._files.fsync_dir()
        except OSError as error:
            self._poison = f"making {name} known to its directory failed: {error.strerror}"
            raise StoreUnavailable(f"{self._poison}; nothing was written") from error
        found = self._files.stat(name)
        self._inode = found.inode if found is not None else -1
        self._allocated = self._content_end(name)
        self._handle_name = name
        return self._handle

    def _content_end(self, name: str) -> int:
        days = self._days.files
        return days[-1].size if days and days[-1].name == name else 0

    def _check_file(self, name: str) -> None:
        """Demand that the day file is the one this writer left, as it left it."""
        found = self._files.stat(name)
        if found is None or found.inode != self._inode or found.size != self._allocated:
            self._poison = f"{name} is not as this writer left it: it was moved, cut or written to by others"
            raise HeadConflict(f"{self._poison}; nothing was written")

    def _write(self, handle: int, data: bytes, end: int) -> None:
        """Write a group at the end of the content, with NULs behind it where that saves time later."""
        if not self._ahead:
            write_all(self._files, handle, data)
            self._allocated = end + len(data)
            return
        size = len(data)
        if end + size > self._allocated and size * SMALL_GROUP_SHARE <= self._ahead:
            data += bytes(self._ahead)
        write_all_at(self._files, handle, data, offset=end)
        self._allocated = max(self._allocated, end + len(data))

    def _trim(self) -> None:
        """Cut the open day file to its content and sync that. Raises `StoreUnavailable`."""
        if self._handle is not None and self._handle_name:
            end = self._content_end(self._handle_name)
            if self._allocated > end:
                self._files.truncate(self._handle_name, size=end)
                self._allocated = end

    def _write_head(self) -> bool:
        """Let HEAD name the last line. A failure poisons, and is not the group's: that is on the disk."""
        day = next(day for day in reversed(self._days.files) if day.size)
        mark = HeadMark(sequence=self._head.sequence, hash=self._head.hash, file=day.name, end=day.size)
        try:
            self._head_file.write(mark)
        except OSError as error:
            self._poison = f"writing HEAD failed: {error.strerror}"
            logger.warning("%s; every line that was acknowledged is on the disk", self._poison)
            return False
        self._head_due = self._monotonic() + HEAD_INTERVAL_SECONDS
        return True

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


def check_preallocate(size: object) -> int:
    """Refuse what is no number of bytes to fill ahead; `ConfigurationError`."""
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_PREALLOCATE_BYTES:
        raise ConfigurationError(
            f"preallocate_bytes is 0 to {MAX_PREALLOCATE_BYTES} bytes, not {excerpt(size)}"
        )
    return size


_stores: WeakSet[JsonlStore] = WeakSet()
"""Every store of this process, for the day it forks."""


def _disown_all() -> None:
    for store in list(_stores):
        store._disown()  # noqa: SLF001 - the hook of this class, which Python calls without an object


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
