"""The search for disks: every image that a crash at some moment may leave, each of them once.

A moment with several files that were not synced has more images than can be listed: each file is varied
while the others are at their durable content and at their full one, and some combinations are drawn.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from hashlib import sha256
from random import Random
from typing import NamedTuple

import attrs

from bibank.testing.crash_images import Version, directories, versions
from bibank.testing.page_cache import Pages
from bibank.testing.simulated_machine import Moment, operated

_DIGEST_BYTES = 16

Image = dict[str, bytes]


class _Content(NamedTuple):
    """A file's bytes and their digest, which stands for them in keys."""

    data: bytes
    digest: bytes


def _content(data: bytes) -> _Content:
    return _Content(data, sha256(data).digest()[:_DIGEST_BYTES])


def _part(name: str, digest: bytes) -> bytes:
    return name.encode() + b"\0" + digest


class _Known:
    """What is worked out once for one state of a file."""

    def __init__(self, pages: Pages, *, random: Random, samples: int) -> None:
        self.is_dirty = bool(pages.pending)
        self.durable = _content(pages.durable)
        self.landed = _content(pages.landed()) if pages.pending else self.durable
        self.cached = self.durable if pages.base is self.landed.data else _content(pages.cached())
        self.versions = versions(pages, random=random, samples=samples)


@attrs.frozen
class _Frame:
    """A directory in which one file varies: its image, and its key around that file's digest."""

    image: Image
    name: str
    before: bytes
    after: bytes
    label: str


class Search:
    """Takes one moment after the other, and gives the images that none before had with the same promise."""

    def __init__(self, *, seed: int, samples: int, shard: tuple[int, int]) -> None:
        self._seed = seed
        self._samples = samples
        self._shard, self._shards = shard
        self._seen: set[bytes] = set()
        self._promises: dict[Hashable, int] = {}
        self._known: dict[Pages, _Known] = {}
        self._moments = 0

    def images(self, moment: Moment) -> Iterator[tuple[str, Image]]:
        """Give each new image with what makes it differ, for people."""
        self._moments += 1
        random = Random(f"{self._seed}/{self._moments}")
        known = self._look(moment, random)
        promise = self._promises.setdefault(moment.promise, len(self._promises)).to_bytes(8, "big")
        entries = operated(moment.durable_entries, moment.operations)
        yield from self._single(
            promise, {name: known[inode].cached for name, inode in entries.items()}, "killed"
        )
        possible = directories(
            moment.durable_entries, moment.operations, random=random, samples=self._samples
        )
        labels = [
            f"; entries: {' '.join(sorted(found)) or 'none'}" if moment.operations else ""
            for found in possible
        ]
        places = list(zip(possible, labels, strict=True))
        for found, label in places:
            contents = {name: known[inode].durable for name, inode in found.items()}
            yield from self._single(promise, contents, f"power cut: durable{label}")
        for inode in sorted(known):
            if known[inode].is_dirty:
                yield from self._varied(promise, known, places, inode)
        yield from self._combined(promise, known, places, random)

    def _look(self, moment: Moment, random: Random) -> dict[int, _Known]:
        """Work out the files of a moment; those that are as in the moment before are known."""
        fresh = {
            pages: self._known.get(pages) or _Known(pages, random=random, samples=self._samples)
            for pages in moment.pages.values()
        }
        self._known = fresh
        return {inode: fresh[pages] for inode, pages in moment.pages.items()}

    def _varied(
        self,
        promise: bytes,
        known: Mapping[int, _Known],
        places: list[tuple[dict[str, int], str]],
        inode: int,
    ) -> Iterator[tuple[str, Image]]:
        """Vary one file wherever it has a name, with the others durable and with the others landed."""
        frames = [
            frame
            for entries, label in places
            if inode in entries.values()
            for frame in _frames(promise, known, entries, inode, label)
        ]
        if not frames:
            return
        for version in known[inode].versions:
            content = _content(version.build())
            for frame in frames:
                if self._is_new(frame.before + content.digest + frame.after):
                    kind = f"power cut: {frame.name}: {version.kind}{frame.label}"
                    yield kind, {**frame.image, frame.name: content.data}

    def _combined(
        self,
        promise: bytes,
        known: Mapping[int, _Known],
        places: list[tuple[dict[str, int], str]],
        random: Random,
    ) -> Iterator[tuple[str, Image]]:
        """Draw combinations where several files of a directory vary."""
        several = [place for place in places if sum(known[inode].is_dirty for inode in place[0].values()) > 1]
        for _ in range(self._samples if several else 0):
            entries, label = random.choice(several)
            drawn: dict[str, Version] = {}
            contents = {}
            for name in sorted(entries):
                drawn[name] = random.choice(known[entries[name]].versions)
                contents[name] = _content(drawn[name].build())
            mixed = ", ".join(f"{name}: {version.kind}" for name, version in drawn.items())
            yield from self._single(promise, contents, f"power cut: {mixed}{label}")

    def _single(
        self, promise: bytes, contents: Mapping[str, _Content], kind: str
    ) -> Iterator[tuple[str, Image]]:
        names = sorted(contents)
        if self._is_new(promise + b"".join([_part(name, contents[name].digest) for name in names])):
            yield kind, {name: contents[name].data for name in names}

    def _is_new(self, key: bytes) -> bool:
        """Tell whether an image belongs to this shard and was not given before."""
        digest = sha256(key).digest()[:_DIGEST_BYTES]
        if self._shards > 1 and int.from_bytes(digest, "big") % self._shards != self._shard:
            return False
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True


def _frames(
    promise: bytes, known: Mapping[int, _Known], entries: Mapping[str, int], inode: int, label: str
) -> Iterator[_Frame]:
    """Give a directory around one varying file, once or, where others are dirty too, twice."""
    names = sorted(entries)
    others_dirty = any(known[entries[name]].is_dirty for name in names if entries[name] != inode)
    varied = next(name for name in names if entries[name] == inode)
    at = names.index(varied)
    for landed in (False, True) if others_dirty else (False,):
        files = {
            name: known[entries[name]].landed if landed else known[entries[name]].durable for name in names
        }
        parts = [_part(name, files[name].digest) for name in names]
        yield _Frame(
            image={name: files[name].data for name in names},
            name=varied,
            before=promise + b"".join(parts[:at]) + varied.encode() + b"\0",
            after=b"".join(parts[at + 1 :]),
            label=f"{label}; the others landed" if landed else label,
        )
