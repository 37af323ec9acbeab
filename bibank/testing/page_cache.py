"""A file in the page cache: what of it is on the disk, what is only in memory, what a sync will write.

The rules are those of Linux. A write changes the cache, and the disk at some time later. A sync writes
what is pending. One that fails **drops** it: the pages count as clean from then on, so they can still be
read while the power is on, and no later sync writes them. Only writing the same bytes again makes them
pending once more. The model goes by bytes where a kernel goes by pages: less is saved by chance.

Contents are immutable, so that whoever keeps a `Pages` keeps that moment at no cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

import attrs


@attrs.frozen
class Write:
    """Bytes that were written at an offset."""

    offset: int
    data: bytes


@attrs.frozen
class Cut:
    """A new size, in bytes."""

    size: int


Change = Write | Cut


def put(content: bytearray, change: Change) -> None:
    """Change a content in place; what was never written reads as NULs."""
    match change:
        case Write(offset, data):
            resize(content, max(len(content), offset))
            content[offset : offset + len(data)] = data
        case Cut(size):
            resize(content, size)
        case _:
            assert_never(change)


def resize(content: bytearray, size: int) -> None:
    """Cut a content to a size, or fill it with NULs."""
    del content[size:]
    content.extend(bytes(size - len(content)))


def changed(content: bytes, changes: Iterable[Change]) -> bytes:
    """Give a content after some changes."""
    result = bytearray(content)
    for change in changes:
        put(result, change)
    return bytes(result)


@attrs.frozen(kw_only=True, eq=False)
class Pages:
    """One moment of a file. Two are equal when they are the same object."""

    durable: bytes
    """What is on the disk for certain."""

    pending: tuple[Change, ...] = ()
    """What the next sync makes durable, in order. A power cut may leave any part of it."""

    base: bytes
    """The cache before the changes that it does not hold yet: the durable bytes, but after a failed sync."""

    held: int = 0
    """How many of the pending changes `base` already holds."""

    @classmethod
    def synced(cls, content: bytes) -> Pages:
        """Give a file that is on the disk and nowhere else."""
        return cls(durable=content, base=content)

    def cached(self) -> bytes:
        """Give what a reader sees."""
        return changed(self.base, self.pending[self.held :])

    def landed(self) -> bytes:
        """Give what is on the disk when everything pending has reached it."""
        return changed(self.durable, self.pending)


class Inode:
    """A file that lives: its pages, and its cached content ready for reading."""

    def __init__(self, number: int, content: bytes = b"") -> None:
        self.number = number
        self.pages = Pages.synced(content)
        self.content = bytearray(content)
        """What a reader sees."""

    def change(self, change: Change) -> None:
        """Write or cut in the cache."""
        put(self.content, change)
        self.pages = attrs.evolve(self.pages, pending=(*self.pages.pending, change))

    def sync(self) -> None:
        """Make everything pending durable. What an earlier sync dropped is not pending."""
        durable = self.pages.landed()
        base = durable if durable == self.content else bytes(self.content)
        self.pages = Pages(durable=durable, base=base)

    def drop(self) -> None:
        """Fail to sync: nothing that was written is pending any more, all of it can be read.

        The size stays pending, because it is the inode's and not the pages': it may reach the disk without
        them, and a later sync makes it durable, with NULs where bytes were lost.
        """
        cuts = self._cuts()
        if len(changed(self.pages.durable, cuts)) != len(self.content):
            cuts = (*cuts, Cut(len(self.content)))
        self.pages = attrs.evolve(self.pages, pending=cuts, base=bytes(self.content), held=len(cuts))

    def forget(self) -> None:
        """Fail to sync, and let the cache show what is on the disk."""
        self.pages = Pages(durable=self.pages.durable, base=self.pages.durable, pending=self._cuts())
        self.content[:] = self.pages.cached()

    def _cuts(self) -> tuple[Change, ...]:
        return tuple(change for change in self.pages.pending if isinstance(change, Cut))
