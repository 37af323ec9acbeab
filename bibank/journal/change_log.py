"""The change log: what was changed in some mappings, so that it can be taken back until it is final.

>>> log = ChangeLog()
>>> holds = {5: "open"}
>>> mark = log.mark()
>>> log.set(holds, 6, "open")
>>> log.remove(holds, 5)
>>> log.rollback(mark)
>>> holds
{5: 'open'}
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

MISSING = object()
"""What stood under a name that was not there."""

Change = tuple[MutableMapping[Any, Any], int | str, object]
"""A mapping, one of its keys, and what stood there before."""


class ChangeLog:
    """Changes of mappings, oldest first. Marks count all that there ever were."""

    def __init__(self) -> None:
        self._changes: list[Change] = []
        self._forgotten = 0
        """How many changes before those in the list are final."""

    def set(self, values: MutableMapping[Any, Any], key: int | str, value: object) -> None:
        """Set a value, and remember what stood there."""
        self._changes.append((values, key, values.get(key, MISSING)))
        values[key] = value

    def remove(self, values: MutableMapping[Any, Any], key: int | str) -> None:
        """Remove a value where there is one, and remember it."""
        if key in values:
            self._changes.append((values, key, values[key]))
            del values[key]

    def __reversed__(self) -> Iterator[Change]:
        """Give the changes that can still be taken back, newest first."""
        return reversed(self._changes)

    def mark(self) -> int:
        """Remember what stands now."""
        return self._forgotten + len(self._changes)

    def forget(self, mark: int) -> list[Change]:
        """Make final, and give, what was changed up to a mark."""
        count = mark - self._forgotten
        if count <= 0:
            return []
        final = self._changes[:count]
        del self._changes[:count]
        self._forgotten = mark
        return final

    def rollback(self, mark: int) -> None:
        """Return to what stood at a mark."""
        assert mark >= self._forgotten, "what was forgotten cannot be taken back"
        while self._forgotten + len(self._changes) > mark:
            values, key, before = self._changes.pop()
            if before is MISSING:
                del values[key]
            else:
                values[key] = before
