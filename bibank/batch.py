"""A batch built verb by verb: committed as one when its block ends, discarded when it raises."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar
from uuid import UUID

import attrs

from bibank.calls import Call, Written
from bibank.errors import ConfigurationError, IntentViolation, InvalidType, InvalidValue
from bibank.journal.machine import BalanceChange
from bibank.model.entry import JournalEntry, UnsignedEntry
from bibank.model.hold import Hold
from bibank.model.identifier import check_identifier
from bibank.model.table import Table
from bibank.verbs import Verbs

T = TypeVar("T")


def _check_key(value: str | UUID) -> str:
    return check_identifier(value, name="idempotency_key")


@attrs.frozen(kw_only=True)
class Keyed:
    """An entry, or entries that stand or fall together, under an idempotency key.

    Raises `InvalidIdentifier` or `InvalidType` for a key that is none.
    """

    entries: UnsignedEntry | Sequence[UnsignedEntry]
    idempotency_key: str = attrs.field(converter=_check_key)


Item = UnsignedEntry | Sequence[UnsignedEntry] | Keyed
"""One item of `commit_each`: an entry, entries that stand or fall together, or either with a key."""

Drafts = tuple[UnsignedEntry, ...]


class Committing(Protocol):
    """What a batch needs of its ledger."""

    def _commit_calls(self, calls: Iterable[Call], key: str | UUID | None) -> tuple[JournalEntry, ...]:
        """Commit calls as one batch."""

    def _preview_calls(self, calls: Iterable[Call], key: str | UUID | None) -> Table[BalanceChange]: ...

    def _hold_of(self, hold_id: int) -> Hold: ...

    def _entry_of(self, sequence: int) -> JournalEntry: ...


class Batch(Verbs[UnsignedEntry, Drafts, Drafts, UnsignedEntry]):
    """Collects drafts; each verb returns what it added. A key belongs to the whole batch.

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
        ledger: Committing,
        *,
        correlation_id: str | UUID | None,
        idempotency_key: str | UUID | None = None,
    ) -> None:
        super().__init__(correlation_id=correlation_id)
        self._ledger = ledger
        self._key = (
            None if idempotency_key is None else check_identifier(idempotency_key, name="idempotency_key")
        )
        self._calls: list[Call] = []
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
            self._entries = self._commit() if self._calls else ()

    def _commit(self) -> tuple[JournalEntry, ...]:
        return self._ledger._commit_calls(self._calls, self._key)  # noqa: SLF001 - the ledger that made this batch

    def __len__(self) -> int:
        return len(self.drafts)

    @property
    def drafts(self) -> Drafts:
        """What was added until now."""
        return tuple(draft for call in self._calls for draft in call.drafts)

    def add(self, draft: UnsignedEntry) -> UnsignedEntry:
        """Add a draft made by hand or by `bibank.drafts`."""
        return self._one(Call("add", {"draft": entry_of(draft)}, Written((entry_of(draft),))), None)

    def preview(self) -> Table[BalanceChange]:
        """Say what committing the batch as it is would do, and do nothing; raises what that would raise."""
        return self._ledger._preview_calls(self._calls, self._key)  # noqa: SLF001 - the ledger that made this batch

    @property
    def entries(self) -> tuple[JournalEntry, ...]:
        """The committed entries; `ConfigurationError` before the block has ended well."""
        if self._entries is None:
            raise ConfigurationError("the batch is not committed; its entries exist when its block has ended")
        return self._entries

    def _check_open(self, key: str | UUID | None) -> None:
        """Refuse what is added outside of the block, or with a key of its own."""
        if self._state != "open":
            raise ConfigurationError("drafts are added inside 'with ledger.batch(...) as batch:'")
        if key is not None:
            raise InvalidValue("a key belongs to the whole batch: ledger.batch(idempotency_key=...)")

    def _many(self, call: Call, key: str | UUID | None) -> Drafts:
        self._check_open(key)
        drafts = call.drafts
        self._calls.append(call)
        return drafts

    def _one(self, call: Call, key: str | UUID | None) -> UnsignedEntry:
        (draft,) = self._many(call, key)
        return draft

    def _traded(self, call: Call, key: str | UUID | None) -> Drafts:
        return self._many(call, key)

    def _held(self, call: Call, key: str | UUID | None) -> UnsignedEntry:
        return self._one(call, key)

    def _hold_of(self, hold_id: int) -> Hold:
        return self._ledger._hold_of(hold_id)  # noqa: SLF001 - the ledger's own part, which made this batch

    def _entry_of(self, sequence: int) -> JournalEntry:
        return self._ledger._entry_of(sequence)  # noqa: SLF001 - the ledger's own part, which made this batch


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
