"""A store in memory: for notebooks, simulations and tests. It is gone with the process."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock

from bibank.errors import HeadConflict, LedgerClosed
from bibank.model.lines import Head, LineGroup


class MemoryStore:
    """Keeps every line in a list. Safe for use from many threads."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._head = Head()
        self._lock = Lock()
        self._closed = False

    def __repr__(self) -> str:
        return f"<MemoryStore of {self._head.sequence} lines>"

    def head(self) -> Head:
        """Tell the last line."""
        return self._head

    def append(self, group: LineGroup) -> None:
        """Append a group; `HeadConflict` or `LedgerClosed`."""
        with self._lock:
            if self._closed:
                raise LedgerClosed("the store was closed")
            if group.expected_head != self._head:
                raise HeadConflict(
                    f"the store stands at line {self._head.sequence}, "
                    f"the group expects {group.expected_head.sequence}"
                )
            self._lines.extend(group.lines)
            self._head = group.head

    def read(self, *, after_sequence: int = 0) -> Iterator[bytes]:
        """Give the lines after a sequence, up to the head at the time of the call."""
        return map(self._lines.__getitem__, range(after_sequence, self._head.sequence))

    def close(self) -> None:
        """Take no more groups; what is there can still be read."""
        self._closed = True
