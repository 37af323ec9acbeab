"""The index of idempotency keys: from a key to the line that bears it, in about 32 bytes a key.

Keys themselves are not kept: a slot holds 64 bits of the key's hash and a sequence, and whoever asks
compares the key in that line. So a wrong candidate costs one look, never a wrong answer. Slots are split
over segments that grow one at a time, so that no commit pays for all keys at once.

The hash is the same in every process, so that a snapshot can hold the index as it is. It is salted, because
whoever chooses keys would otherwise choose them to collide, and every look would go through all of them.

>>> index = KeyIndex(b"a secret of ours")
>>> index.add("request-1", 7)
>>> list(index.candidates("request-1"))
[7]
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Mapping
from hashlib import blake2b

from bibank.errors import InvalidValue

_SEGMENT_BITS = 10
_SEGMENTS = 1 << _SEGMENT_BITS
_FIRST_SLOTS = 8
SALT_BYTES = 16
"""What BLAKE2b takes as a salt."""

_HASH_BYTES = 8
_HASH_MASK = (1 << 64) - 1
_PAIR_BYTES = 16
_SWAPS = sys.byteorder == "big"
"""Whether the bytes of an array have to be turned round to be little-endian."""


class KeyIndex:
    """Finds the sequences that may bear a key. Only grows; what may be taken back is kept elsewhere."""

    __slots__ = ("_counts", "_hasher", "_segments", "_size", "salt")

    def __init__(self, salt: bytes | None = None) -> None:
        if salt is None:  # secret as far as Python keeps the hashes of texts secret
            salt = (hash("salt of the key index") & _HASH_MASK).to_bytes(_HASH_BYTES, "little")
        self.salt = salt
        """Up to 16 bytes that whoever chooses the keys does not know."""
        self._hasher = blake2b(digest_size=_HASH_BYTES, salt=salt)
        self._segments: dict[int, array[int]] = {}
        """Pairs of hash and sequence, open addressing; a sequence of 0 is an empty slot."""
        self._counts = array("Q", bytes(8 * _SEGMENTS))
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, key: str, sequence: int) -> None:
        """Note that a line bears a key."""
        digest = self._hash(key)
        number = digest & _SEGMENTS - 1
        slots = self._segments.get(number)
        if slots is None:
            slots = self._segments[number] = _empty(_FIRST_SLOTS)
        elif 5 * (self._counts[number] + 1) > 2 * len(slots):  # four fifths of the slots: len counts pairs
            slots = self._segments[number] = _grown(slots)
        _put(slots, digest, sequence)
        self._counts[number] += 1
        self._size += 1

    def candidates(self, key: str) -> Iterator[int]:
        """Give the sequences of lines that may bear a key; nearly always the right one, or none."""
        digest = self._hash(key)
        slots = self._segments.get(digest & _SEGMENTS - 1)
        if slots is None:
            return
        size = len(slots)
        at = _start(digest, size)
        while slots[at + 1]:
            if slots[at] == digest:
                yield slots[at + 1]
            at = (at + 2) % size

    def collide(self, one: str, other: str) -> bool:
        """Tell whether a look for one key gives the lines of another: lawful, and next to impossible."""
        return self._hash(one) == self._hash(other)

    def _hash(self, key: str) -> int:
        hasher = self._hasher.copy()  # takes half the time of a new one
        hasher.update(key.encode())
        return int.from_bytes(hasher.digest(), "little")

    # ------------------------------------------------------------------ as bytes

    def dump(self) -> dict[int, bytes]:
        """Give the slots of each segment that has some, as little-endian bytes."""
        return {number: _little_endian(slots).tobytes() for number, slots in sorted(self._segments.items())}

    def load(self, segments: Mapping[int, bytes], *, last_sequence: int) -> None:
        """Take what :meth:`dump` gave; `InvalidValue` for what it cannot have given, by size and fill."""
        loaded: dict[int, array[int]] = {}
        counts = array("Q", bytes(8 * _SEGMENTS))
        for number, data in segments.items():
            slots, size = array("Q"), len(data) // _PAIR_BYTES
            if size < _FIRST_SLOTS or len(data) != size * _PAIR_BYTES or size & (size - 1):
                raise InvalidValue(f"a segment of the key index has {len(data)} bytes")
            slots.frombytes(data)
            slots = _little_endian(slots)
            sequences = slots[1::2]
            used = size - sequences.count(0)
            if not 0 <= number < _SEGMENTS or 5 * used > 4 * size or max(sequences) > last_sequence:
                raise InvalidValue(
                    "a segment of the key index is too full, or names lines that are not there"
                )
            loaded[number], counts[number] = slots, used
        self._segments, self._counts, self._size = loaded, counts, sum(counts)


def _little_endian(slots: array[int]) -> array[int]:
    """Give the slots in the byte order of files, or back again."""
    if not _SWAPS:
        return slots
    turned = slots[:]
    turned.byteswap()
    return turned


def _empty(slots: int) -> array[int]:
    return array("Q", bytes(16 * slots))


def _start(digest: int, size: int) -> int:
    return (digest >> _SEGMENT_BITS) % (size // 2) * 2


def _put(slots: array[int], digest: int, sequence: int) -> None:
    size = len(slots)
    at = _start(digest, size)
    while slots[at + 1]:
        at = (at + 2) % size
    slots[at] = digest
    slots[at + 1] = sequence


def _grown(slots: array[int]) -> array[int]:
    larger = _empty(len(slots))  # a slot is a pair, so that this is twice as many
    for at in range(0, len(slots), 2):
        if slots[at + 1]:
            _put(larger, slots[at], slots[at + 1])
    return larger
