"""The buffer: the newest durable lines in a ring of fixed size, written by one, read by many, without a lock.

A slot names the line that it holds. So a reader that was overtaken sees another line, or none, where it
looks for its own, and goes to the store. The one who writes never learns of readers, and never waits.
"""

from __future__ import annotations

from collections.abc import Iterable

from bibank.journal.batches import SealedBatch
from bibank.model.lines import Head
from bibank.model.record import JournalLine

BUFFERED_LINES = 4096
"""Lines that a subscriber may lag behind without reading the store: half of the largest write group."""

BUFFERED_LINE_BYTES = 4096
"""A batch with a longer line is not kept. With the batches that its lines belong to, the ring then holds at
most 12,287 lines of 48 MiB."""


class Ring:
    """The newest lines, and the last one of all. One thread at a time may `put`."""

    __slots__ = ("_size", "_slots", "head")

    def __init__(self, head: Head, *, size: int = BUFFERED_LINES) -> None:
        self.head = head
        """The last durable line."""
        self._size = size
        self._slots: list[tuple[int, SealedBatch, int] | None] = [None] * size

    def put(self, batches: Iterable[SealedBatch]) -> None:
        """Take batches that became durable, the next ones in the order of the journal."""
        slots, size = self._slots, self._size
        for batch in batches:
            sequence, lines = batch.first, batch.lines
            if len(lines) == 1 and len(lines[0]) <= BUFFERED_LINE_BYTES:
                slots[sequence % size] = (sequence, batch, 0)
            elif max(map(len, lines)) <= BUFFERED_LINE_BYTES:
                for index in range(max(0, len(lines) - size), len(lines)):
                    slots[(sequence + index) % size] = (sequence + index, batch, index)
        self.head = batch.head

    def get(self, sequence: int) -> JournalLine | None:
        """Give a line; None where it is no longer, or was never, in the ring."""
        slot = self._slots[sequence % self._size]
        if slot is None or slot[0] != sequence:
            return None
        return slot[1].view(slot[2])
