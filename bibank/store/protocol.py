"""The protocol of a ledger store: append, read, know the head. No update and no delete exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

from bibank.model.json_value import JsonValue
from bibank.model.lines import Head, LineGroup


@runtime_checkable
class LedgerStore(Protocol):
    """An append-only sequence of lines with one writer.

    Obligations: `append` is atomic, and durable when it returns (as far as the store promises
    durability at all); a group that was refused has left no trace; what was appended is read back
    byte for byte, in order, for ever.
    """

    def head(self) -> Head:
        """Tell the last durable line; `Head()` for an empty store."""

    def append(self, group: LineGroup) -> None:
        """Append a group of lines.

        Raises `HeadConflict` when the head is not the expected one, `StoreUnavailable` when
        nothing was written, `CommitOutcomeUnknown` when it cannot be told what was.
        """

    def read(self, *, after_sequence: int = 0) -> Iterator[bytes]:
        """Give the durable lines after a sequence, in order, as exact bytes without newlines."""

    def close(self) -> None:
        """Release what the store holds. Closing twice is harmless."""


@runtime_checkable
class HeadNotingStore(Protocol):
    """What a store may do besides: note its head elsewhere, so that a journal cut short is seen."""

    def flush_head(self) -> None:
        """Note now how far the store is durable; a kind of `StoreError` when that fails."""


@runtime_checkable
class RepairedStore(Protocol):
    """What a store may say besides: which torn bytes its opening set aside, and no line records yet."""

    @property
    def set_aside(self) -> tuple[SetAside, ...]:
        """The torn bytes, oldest first."""


class SetAside(Protocol):
    """Torn bytes that were set aside."""

    def to_body(self) -> Mapping[str, JsonValue]:
        """Describe them for a recovery record."""
