"""A machine with one directory: what of it survives a killed process, and what a power cut.

A name is an entry of the directory, and durable only after a sync of the directory: syncing a file does
not make its name durable. Whoever watches the machine is told each moment at which it has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping

import attrs

from bibank.testing.page_cache import Change, Inode, Pages


@attrs.frozen
class Create:
    """A name for a new file."""

    name: str
    inode: int


def operated(entries: Mapping[str, int], operations: Iterable[Create]) -> dict[str, int]:
    """Give a directory after some operations."""
    return {**entries, **{operation.name: operation.inode for operation in operations}}


@attrs.frozen(kw_only=True, eq=False)
class Moment:
    """The machine at one moment: references to what never changes."""

    pages: Mapping[int, Pages]
    """Every file by its inode number."""

    durable_entries: Mapping[str, int]
    operations: tuple[Create, ...]
    """What the next sync of the directory makes durable, in order."""

    promise: Hashable
    after_call: int
    """How many calls had begun, over all processes."""

    call: str
    """The name of the last of them, empty before the first."""


class SimulatedMachine:
    """Memory and disk behind `SimulatedFiles`. Processes come and go, the machine stays."""

    def __init__(self, disk: Mapping[str, bytes], *, capacity_bytes: int) -> None:
        self.inodes = {number: Inode(number, bytes(disk[name])) for number, name in enumerate(disk, 1)}
        self.entries: Mapping[str, int] = {name: number for number, name in enumerate(disk, 1)}
        self.promise: Hashable = None
        self.has_failed = False
        """Whether a planted fault has happened, in whatever process."""
        self.is_directory_locked = False
        self.is_file_locked = False
        self._durable_entries: Mapping[str, int] = self.entries
        self._operations: tuple[Create, ...] = ()
        self._capacity_bytes = capacity_bytes
        self._calls = 0
        self._call = ""
        self._watcher: Callable[[Moment], None] | None = None
        self._version = 0
        self._told: tuple[int, Hashable] | None = None

    def watch(self, watcher: Callable[[Moment], None] | None) -> None:
        """Tell somebody, or nobody any more, every moment that differs from the one before, and this one."""
        self._watcher, self._told = watcher, None
        self.note()

    def begin(self, call: str) -> None:
        """Count a call; the moment before it is noted, with what was promised since the last one."""
        self.note()
        self._calls += 1
        self._call = call

    def note(self) -> None:
        """Tell the watcher this moment, if it is a new one."""
        if self._watcher is None or self._told == (self._version, self.promise):
            return
        self._told = self._version, self.promise
        self._watcher(
            Moment(
                pages={number: inode.pages for number, inode in self.inodes.items()},
                durable_entries=self._durable_entries,
                operations=self._operations,
                promise=self.promise,
                after_call=self._calls,
                call=self._call,
            )
        )

    def free_bytes(self) -> int:
        """Tell what is left of the capacity."""
        used = sum(len(self.inodes[number].content) for number in self.entries.values())
        return max(self._capacity_bytes - used, 0)

    def open(self, name: str) -> Inode:
        """Give the file of a name, a new one when there is none."""
        number = self.entries.get(name)
        if number is not None:
            return self.inodes[number]
        made = Inode(max(self.inodes, default=0) + 1)
        self.inodes[made.number] = made
        self.entries = {**self.entries, name: made.number}
        self._operations = (*self._operations, Create(name, made.number))
        self._version += 1
        return made

    def find(self, name: str) -> Inode | None:
        """Give the file of a name, or None."""
        number = self.entries.get(name)
        return None if number is None else self.inodes[number]

    def sync_directory(self) -> None:
        """Make every entry durable."""
        self._durable_entries, self._operations = self.entries, ()
        self._version += 1

    def change(self, inode: Inode, change: Change) -> None:
        """Write or cut in the cache."""
        inode.change(change)
        self._version += 1

    def sync(self, inode: Inode) -> None:
        """Make what is pending of a file durable."""
        inode.sync()
        self._version += 1

    def drop(self, inode: Inode) -> None:
        """Fail to sync a file; see `Inode.drop`."""
        inode.drop()
        self._version += 1

    def forget(self, inode: Inode) -> None:
        """Fail to sync a file; see `Inode.forget`."""
        inode.forget()
        self._version += 1

    def cached(self) -> dict[str, bytes]:
        """Give every file as a reader sees it, by name."""
        return {name: bytes(self.inodes[self.entries[name]].content) for name in sorted(self.entries)}

    def durable(self) -> dict[str, bytes]:
        """Give every file whose name is durable, with what is on the disk of it."""
        names = self._durable_entries
        return {name: self.inodes[names[name]].pages.durable for name in sorted(names)}
