"""A batch built verb by verb: committed as one when its block ends, discarded when it raises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar
from uuid import UUID

from bibank.errors import ConfigurationError, IntentViolation, InvalidType
from bibank.model.entry import JournalEntry, UnsignedEntry
from bibank.verbs import Verbs

T = TypeVar("T")

Item = UnsignedEntry | Sequence[UnsignedEntry]
"""One item of `commit_each`: an entry, or entries that stand or fall together."""


class Batch(Verbs[UnsignedEntry]):
    """Collects drafts; each verb returns the draft it added.

    >>> import bibank as bb
    >>> with bb.Ledger.in_memory({"USDT": "100"}) as ledger:
    ...     with ledger.batch(correlation_id="r1") as batch:
    ...         _ = batch.deposit("ALICE", "10 USDT")
    ...         _ = batch.transfer("ALICE", "BOB", "4 USDT")
    ...     [entry.sequence for entry in batch.entries]
    [3, 4]
    """

    def __init__(
        self,
        commit: Callable[[tuple[UnsignedEntry, ...]], tuple[JournalEntry, ...]],
        *,
        correlation_id: str | UUID | None,
    ) -> None:
        super().__init__(correlation_id=correlation_id)
        self._commit = commit
        self._drafts: list[UnsignedEntry] = []
        self._entries: tuple[JournalEntry, ...] | None = None
        self._state = "new"

    def __enter__(self) -> Self:
        if self._state != "new":
            raise ConfigurationError("a batch is used once, as 'with ledger.batch(...) as batch:'")
        self._state = "open"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._state = "done"
        if kind is None:
            self._entries = self._commit(tuple(self._drafts)) if self._drafts else ()

    def __len__(self) -> int:
        return len(self._drafts)

    def add(self, draft: UnsignedEntry) -> UnsignedEntry:
        """Add a draft made by hand or by `bibank.drafts`."""
        return self._take(draft)

    @property
    def entries(self) -> tuple[JournalEntry, ...]:
        """The committed entries; `ConfigurationError` before the block has ended well."""
        if self._entries is None:
            raise ConfigurationError("the batch is not committed; its entries exist when its block has ended")
        return self._entries

    def _take(self, draft: UnsignedEntry) -> UnsignedEntry:
        if self._state != "open":
            raise ConfigurationError("drafts are added inside 'with ledger.batch(...) as batch:'")
        self._drafts.append(draft)
        return draft


def entries_of(items: Iterable[UnsignedEntry]) -> tuple[UnsignedEntry, ...]:
    """Take the entries of a batch; records are written by verbs of their own."""
    return tuple(map(entry_of, iterated(items, "a batch is a sequence of UnsignedEntry")))


def entry_of(item: object) -> UnsignedEntry:
    """Take one entry that a caller may commit; `InvalidType`, or `IntentViolation` for a genesis."""
    if not isinstance(item, UnsignedEntry):
        raise InvalidType(f"an UnsignedEntry is committed, not {type(item).__name__}")
    if item.genesis is not None:
        raise IntentViolation(intent=item.intent, reason="only line 1 of a journal is its genesis")
    return item


def iterated(items: Iterable[T], what: str) -> tuple[T, ...]:
    """Take a sequence that a caller gave; `InvalidType` says what it should have been."""
    try:
        iterator = iter(items)
    except TypeError:
        raise InvalidType(f"{what}, not {type(items).__name__}") from None
    return tuple(iterator)
