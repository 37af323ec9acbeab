"""What became of many independent commits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from bibank.errors import Refused
from bibank.journal.batches import SealedBatch
from bibank.model.entry import JournalEntry
from bibank.model.record import JournalLine
from bibank.write_group import StoredBatch


class Committed:
    """One item that was committed and is durable. Its lines are built when they are looked at."""

    __slots__ = ("_sealed",)

    def __init__(self, sealed: SealedBatch | StoredBatch) -> None:
        self._sealed = sealed

    def __repr__(self) -> str:
        return f"<Committed {', '.join(map(str, self.sequences))}>"

    def __eq__(self, other: object) -> bool:
        return self._sealed is other._sealed if isinstance(other, Committed) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._sealed)

    @property
    def sequences(self) -> range:
        """The sequences of the item's lines."""
        return range(self._sealed.first, self._sealed.first + len(self._sealed.lines))

    @property
    def lines(self) -> tuple[JournalLine, ...]:
        """The item's lines."""
        return tuple(map(self._sealed.view, range(len(self._sealed.lines))))

    @property
    def entry(self) -> JournalEntry:
        """The item's first entry."""
        for index in range(len(self._sealed.lines)):
            line = self._sealed.view(index)
            if isinstance(line, JournalEntry):
                return line
        raise AssertionError("an item of records only is not committed here")

    @property
    def entries(self) -> tuple[JournalEntry, ...]:
        """The item's entries."""
        return tuple(line for line in self.lines if isinstance(line, JournalEntry))


class Outcomes(Sequence[Committed | Refused]):
    """One outcome for each item of `commit_each`, in the order of the items."""

    __slots__ = ("_outcomes", "_results")

    def __init__(self, results: Iterable[SealedBatch | StoredBatch | Committed | Refused]) -> None:
        self._results = tuple(results)
        self._outcomes: tuple[Committed | Refused, ...] | None = None

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[Committed | Refused]:
        return iter(self._shown())

    def _shown(self) -> tuple[Committed | Refused, ...]:
        """Give the outcomes, made when they are first looked at: most callers ask for refusals only."""
        if self._outcomes is None:
            self._outcomes = tuple(
                Committed(result) if isinstance(result, SealedBatch | StoredBatch) else result
                for result in self._results
            )
        return self._outcomes

    @overload
    def __getitem__(self, index: int) -> Committed | Refused: ...
    @overload
    def __getitem__(self, index: slice) -> Outcomes: ...
    def __getitem__(self, index: int | slice) -> Committed | Refused | Outcomes:
        """Give one outcome, or the outcomes of a slice."""
        outcomes = self._shown()[index]
        return Outcomes(outcomes) if isinstance(outcomes, tuple) else outcomes

    def __repr__(self) -> str:
        refused = len(self.refused)
        return f"<Outcomes: {len(self) - refused} committed, {refused} refused>"

    @property
    def committed(self) -> tuple[Committed, ...]:
        """The items that were committed."""
        return tuple(outcome for outcome in self._shown() if isinstance(outcome, Committed))

    @property
    def refused(self) -> tuple[Refused, ...]:
        """The refusals, as the errors that a single commit would have raised."""
        return tuple(outcome for outcome in self._results if isinstance(outcome, Refused))

    def raise_for_refusals(self) -> None:
        """Raise the first refusal, if there is one."""
        for refusal in self.refused:
            raise refusal
