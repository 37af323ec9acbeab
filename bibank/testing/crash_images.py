"""What a power cut may leave of one file, and of one directory.

A disk writes sectors of 512 bytes, in any order, and a file's size may reach it before the bytes do. So a
cut may leave, of writes that were not synced:

- *prefix*: any number of their bytes, in order. (Inside a run of NULs only the ends of sectors count: the
  images between them differ in nothing but the number of NULs at the end.)
- *size*: the full size, with the bytes up to the end of a sector, and behind them what was there or NULs.
- *sectors*: any subset of the sectors that they change, with the full size or the old one.

A cut to a size may have reached the disk with or without what was written before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, compress, product
from random import Random

import attrs

from bibank.testing.page_cache import Cut, Pages, Write, changed
from bibank.testing.simulated_machine import Create, operated

SECTOR_BYTES = 512
MAX_EXHAUSTIVE_SECTORS = 6
"""Up to so many sectors every subset is taken: 64 of them."""

MAX_EXHAUSTIVE_OPERATIONS = 4

_NULS = re.compile(rb"\0{%d,}" % SECTOR_BYTES)


@attrs.frozen
class Version:
    """One content that a power cut may leave, which is made only when it is wanted."""

    kind: str
    build: Callable[[], bytes]


def versions(pages: Pages, *, random: Random, samples: int) -> list[Version]:
    """List what a power cut may leave of a file: the durable content first; some may be equal.

    Where there are more than 64 subsets of sectors, `samples` of them are drawn.
    """
    if not pages.pending:
        return [Version("durable", lambda: pages.durable)]
    found: list[Version] = []
    bases = [pages.durable]
    writes: list[Write] = []
    last = len(pages.pending) - 1
    for index, change in enumerate(pages.pending):
        if isinstance(change, Write):
            writes.append(change)
            continue
        fresh = list(_stretches(bases, writes, random, samples))
        found += fresh
        if index == last:
            found += [Version(f"{version.kind}, cut", partial(_cut, version, change)) for version in fresh]
            return found
        whole = changed(pages.durable, pages.pending[: index + 1])
        bases = [changed(pages.durable, [change]), whole]
        writes = []
    found += _stretches(bases, writes, random, samples)
    return found


def _cut(version: Version, cut: Cut) -> bytes:
    return changed(version.build(), [cut])


def _stretches(
    bases: Sequence[bytes], writes: Sequence[Write], random: Random, samples: int
) -> Iterator[Version]:
    for base in bases:
        yield from _Stretch(base, writes).versions(random, samples)


class _Stretch:
    """Writes, with no cut among them, over a content."""

    def __init__(self, base: bytes, writes: Sequence[Write]) -> None:
        self.base = base
        self.writes = writes
        self.size = max([len(base), *(write.offset + len(write.data) for write in writes)])
        self._old = base.ljust(self.size, b"\0")
        self._new = changed(base, writes)
        self._before = base
        self._before_index = 0
        """What the first so many writes have made of the base; the last one that was asked for."""

    def versions(self, random: Random, samples: int) -> Iterator[Version]:
        yield Version("durable", lambda: self.base)
        for index, write in enumerate(self.writes):
            size = len(write.data)
            for taken in _stops(write.data):
                yield Version(f"prefix {taken} of {size}", partial(self._prefix, index, taken))
        if self.size > len(self.base):
            for index, write in enumerate(self.writes):
                first = -write.offset % SECTOR_BYTES
                for taken in chain([0], range(first or SECTOR_BYTES, len(write.data), SECTOR_BYTES)):
                    yield Version(f"size, {taken} of {len(write.data)}", partial(self._sized, index, taken))
        yield from self._subsets(random, samples)

    def _subsets(self, random: Random, samples: int) -> Iterator[Version]:
        sectors = self._sectors()
        choices: Iterator[Sequence[int]]
        if len(sectors) <= MAX_EXHAUSTIVE_SECTORS:
            choices = product((0, 1), repeat=len(sectors))
        else:
            choices = (random.choices((0, 1), k=len(sectors)) for _ in range(samples))
        shows_old_size = self.size > len(self.base) and bool(sectors)
        if not shows_old_size or sectors[0] * SECTOR_BYTES >= len(self.base):
            sizes = [self.size]
        else:
            sizes = [self.size, len(self.base)]
        for choice in choices:
            chosen = list(compress(sectors, choice))
            kind = f"sectors {' '.join(map(str, chosen))} of {len(sectors)}"
            for size in sizes:
                yield Version(f"{kind}, size {size}", partial(self._patched, chosen, size))

    def _sectors(self) -> list[int]:
        """Number the sectors that the writes change."""
        touched: set[int] = set()
        for write in self.writes:
            end = write.offset + len(write.data)
            touched.update(range(write.offset // SECTOR_BYTES, -(-end // SECTOR_BYTES)))
        return [
            sector
            for sector in sorted(touched)
            if self._old[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES]
            != self._new[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES]
        ]

    def _prefix(self, index: int, taken: int) -> bytes:
        write = self.writes[index]
        before = self._written(index)
        if write.offset > len(before) and taken:
            before = before.ljust(write.offset, b"\0")
        end = write.offset + taken
        return b"".join((before[: write.offset], write.data[:taken], before[end:]))

    def _sized(self, index: int, taken: int) -> bytes:
        return self._prefix(index, taken).ljust(self.size, b"\0")

    def _patched(self, sectors: Sequence[int], size: int) -> bytes:
        result = bytearray(self._old)
        for sector in sectors:
            start = sector * SECTOR_BYTES
            result[start : start + SECTOR_BYTES] = self._new[start : start + SECTOR_BYTES]
        return bytes(result[:size])

    def _written(self, count: int) -> bytes:
        if count < self._before_index:
            self._before, self._before_index = self.base, 0
        self._before = changed(self._before, self.writes[self._before_index : count])
        self._before_index = count
        return self._before


def _stops(data: bytes) -> Iterator[int]:
    """Give how many bytes of a write may be taken: 1 to all, thinned in runs of NULs."""
    done = 0
    for run in _NULS.finditer(data):
        start, end = run.span()
        yield from range(done + 1, start + 2)
        yield from range(start + SECTOR_BYTES, end, SECTOR_BYTES)
        yield from (end - 1, end)
        done = end
    yield from range(done + 1, len(data) + 1)


def directories(
    durable: Mapping[str, int], operations: Sequence[Create], *, random: Random, samples: int
) -> list[dict[str, int]]:
    """List the directories that a power cut may leave, each once: subsets of what was not synced.

    Where there are more than 4 operations, `samples` subsets are drawn, beside every one in order.
    """
    count = len(operations)
    choices: list[Sequence[int]]
    if count <= MAX_EXHAUSTIVE_OPERATIONS:
        choices = list(product((0, 1), repeat=count))
    else:
        choices = [[1] * done + [0] * (count - done) for done in range(count + 1)]
        choices += [random.choices((0, 1), k=count) for _ in range(samples)]
    found: dict[tuple[tuple[str, int], ...], dict[str, int]] = {}
    for choice in choices:
        entries = operated(durable, compress(operations, choice))
        found.setdefault(tuple(sorted(entries.items())), entries)
    return list(found.values())
