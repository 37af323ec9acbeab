"""The memory of a spending limit: who gave away how much when, in a state that the engine owns.

For each owner a numbered row of spends, each with its time and the sum of all spends so far; what
was spent since a moment is the difference of two sums, found by binary search. One queue over all
owners says whose spend is the oldest, so that spends which are over leave the state, whoever made
them, and an owner without spends leaves nothing. Times are microseconds since 1970.

=================  =====================================================
`ALICE`            (first number, next number, sum before the first)
`ALICE|7`          (time, sum of ALICE's spends up to this one)
`#`                (first number, next number) of the queue
`#12`              the owner of the 12th spend of all
=================  =====================================================

No text of an owner has a `|` or a `#`.

>>> memory = {}
>>> spends = Spends(memory)
>>> for time, units in ((10, 5), (20, 7), (30, 1)):
...     spends.record("ALICE", units, time=time)
>>> spends.since("ALICE", 10).units  # 10 itself is over
8
>>> spends.prune(20, at_most=5)
>>> sorted(memory)
['#', '#2', 'ALICE', 'ALICE|2']
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import MutableMapping
from typing import cast

import attrs

from bibank.risk.view import StateValue

_QUEUE = "#"


@attrs.frozen(kw_only=True)
class Spent:
    """The spends of one owner that still count: numbers `first` to `end - 1`, and the sum before them."""

    owner: str
    first: int
    end: int
    before: int
    total: int

    @property
    def units(self) -> int:
        """What the owner spent."""
        return self.total - self.before


class Spends:
    """Reads and writes the rows of spends. Times never run backwards: they are those of the journal."""

    __slots__ = ("_state",)

    def __init__(self, state: MutableMapping[str, StateValue]) -> None:
        self._state = state

    def record(self, owner: str, units: int, *, time: int) -> None:
        """Append a spend; four writes, however many there are."""
        state = self._state
        first, end, before = self._row(owner)
        total = units + (self._spend(owner, end - 1)[1] if first < end else before)
        state[f"{owner}|{end}"] = (time, total)
        state[owner] = (first, end + 1, before)
        front, back = self._queue()
        state[f"{_QUEUE}{back}"] = owner
        state[_QUEUE] = (front, back + 1)

    def prune(self, until: int, *, at_most: int) -> None:
        """Drop the oldest spends, at `until` or before it, but not more than a number of them.

        The bound keeps a refused batch cheap, which takes the pruning back and meets it again. Whoever
        prunes more than was recorded each time still keeps up.
        """
        state = self._state
        front, back = self._queue()
        begin = front
        while front < min(back, begin + at_most):
            owner = cast("str", state[f"{_QUEUE}{front}"])  # record() wrote it
            first, end, _ = self._row(owner)
            time, total = self._spend(owner, first)
            if time > until:
                break
            del state[f"{_QUEUE}{front}"], state[f"{owner}|{first}"]
            front += 1
            if first + 1 == end:
                del state[owner]
            else:
                state[owner] = (first + 1, end, total)
        if begin < front == back:
            del state[_QUEUE]
        elif begin < front:
            state[_QUEUE] = (front, back)

    def since(self, owner: str, begin: int) -> Spent:
        """Give what an owner spent after a time; the logarithm of the number of spends in look-ups."""
        first, end, before = self._row(owner)
        if first == end:
            return Spent(owner=owner, first=first, end=end, before=before, total=before)
        found = bisect_right(range(first, end), begin, key=lambda number: self._spend(owner, number)[0])
        if found:
            before = self._spend(owner, first + found - 1)[1]
        return Spent(
            owner=owner, first=first + found, end=end, before=before, total=self._spend(owner, end - 1)[1]
        )

    def time_of(self, spent: Spent, units: int) -> int:
        """Give the time of the spend with which the oldest ones sum to so many units, or more."""
        numbers = range(spent.first, spent.end)
        wanted = spent.before + units
        found = bisect_left(numbers, wanted, key=lambda number: self._spend(spent.owner, number)[1])
        return self._spend(spent.owner, numbers[found])[0]

    def _row(self, owner: str) -> tuple[int, int, int]:
        return cast(
            "tuple[int, int, int]", self._state.get(owner, (0, 0, 0))
        )  # record() and prune() wrote it

    def _spend(self, owner: str, number: int) -> tuple[int, int]:
        return cast("tuple[int, int]", self._state[f"{owner}|{number}"])  # record() wrote it

    def _queue(self) -> tuple[int, int]:
        return cast("tuple[int, int]", self._state.get(_QUEUE, (0, 0)))  # record() and prune() wrote it
