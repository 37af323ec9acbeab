"""The index of idempotency keys: from a key to the line that bears it, in about 32 bytes a key.

Keys themselves are not kept: a slot holds 64 bits of the key's hash and a sequence, and whoever asks
compares the key in that line. So a wrong candidate costs one look, never a wrong answer. Slots are split
over segments that grow one at a time, so that no commit pays for all keys at once.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

_SEGMENT_BITS = 10
_SEGMENTS = 1 << _SEGMENT_BITS
_FIRST_SLOTS = 8
_HASH_MASK = (1 << 64) - 1


class KeyIndex:
    """Finds the sequences that may bear a key. Only grows; what may be taken back is kept elsewhere."""

    __slots__ = ("_counts", "_segments")

    def __init__(self) -> None:
        self._segments: dict[int, array[int]] = {}
        """Pairs of hash and sequence, open addressing; a sequence of 0 is an empty slot."""
        self._counts = array("Q", bytes(8 * _SEGMENTS))

    def __len__(self) -> int:
        return sum(self._counts)

    def add(self, key: str, sequence: int) -> None:
        """Note that a line bears a key."""
        digest = hash(key) & _HASH_MASK
        number = digest & _SEGMENTS - 1
        slots = self._segments.get(number)
        if slots is None:
            slots = self._segments[number] = _empty(_FIRST_SLOTS)
        elif 5 * (self._counts[number] + 1) > 2 * len(slots):  # four fifths of the slots: len counts pairs
            slots = self._segments[number] = _grown(slots)
        _put(slots, digest, sequence)
        self._counts[number] += 1

    def candidates(self, key: str) -> Iterator[int]:
        """Give the sequences of lines that may bear a key; nearly always the right one, or none."""
        digest = hash(key) & _HASH_MASK
        slots = self._segments.get(digest & _SEGMENTS - 1)
        if slots is None:
            return
        size = len(slots)
        at = _start(digest, size)
        while slots[at + 1]:
            if slots[at] == digest:
                yield slots[at + 1]
            at = (at + 2) % size


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
