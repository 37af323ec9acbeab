"""Whom a bus tells: subscribers, and what they may have besides; and where it reads what it did not keep.

>>> class Printer:
...     name = "printer"
...
...     def handle(self, event):
...         print(event)
>>> isinstance(Printer(), EventSubscriber)
True
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from bibank.model.event import Cursor, LedgerEvent
from bibank.model.lines import Head
from bibank.model.record import JournalLine

Delivery: TypeAlias = Literal["pump", "thread", "task"]
"""Who calls a subscriber: whoever calls `pump()`, a thread of its own, or a task in the running loop."""

Listener: TypeAlias = Callable[[LedgerEvent], object]
"""A plain function that subscribes, sync or async. What it returns is thrown away."""


@runtime_checkable
class EventSubscriber(Protocol):
    """Hears of what is committed, after it is durable.

    Obligations: `handle` may be called again with an event that it has handled (at least once), so its
    effect is idempotent, or saved together with the event's cursor. Whatever it raises is counted and tried
    again; it never reaches a commit.
    """

    @property
    def name(self) -> str:
        """What its cursor is kept under: `[a-z0-9][a-z0-9_-]{0,63}`, the same in every process."""

    def handle(self, event: LedgerEvent) -> None:
        """Take an event in. Returning says that it is done, and is not told again but in a replay."""


@runtime_checkable
class AsyncEventSubscriber(Protocol):
    """An `EventSubscriber` that is told by a task, and may wait in it."""

    @property
    def name(self) -> str:
        """As that of an `EventSubscriber`."""

    async def handle(self, event: LedgerEvent) -> None:
        """Take an event in; a cancellation leaves it to be told again."""


@runtime_checkable
class ReplayAware(Protocol):
    """What a subscriber may have besides: it wants to prepare for a replay, such as by emptying a table."""

    def on_replay_start(self) -> Awaitable[None] | None:
        """Called before `handle` is told `ReplayStarted`."""

    def on_replay_complete(self) -> Awaitable[None] | None:
        """Called after `handle` was told `ReplayCompleted`."""


@runtime_checkable
class CursorKeeper(Protocol):
    """What a subscriber may have besides: it keeps its cursor itself, in the transaction of its own work.

    It saves `event.cursor` when it handles an `EntryCommitted`. The bus keeps no cursor for it, and asks
    for the one that was saved before the first event, and again after each failure. As long as it has saved
    none it begins before the first line, or where `after_sequence` says.
    """

    def load_cursor(self) -> Awaitable[Cursor | None] | Cursor | None:
        """Give the cursor that was saved last; None where none ever was."""


class StoredLine(Protocol):
    """A verified line of the journal."""

    def view(self) -> JournalLine:
        """Give the line as people read it."""


class EventSource(Protocol):
    """A ledger or a reader, for the events that the buffer no longer holds."""

    @property
    def ledger_id(self) -> str:
        """Whose journal it is."""

    @property
    def head(self) -> Head:
        """The last durable line."""

    def line(self, sequence: int) -> JournalLine:
        """Give one durable line; `UnknownSequence`."""

    def verified_lines(self, *, after: Head) -> Iterator[StoredLine]:
        """Give the durable lines behind a position; `ProjectionMismatch` when it is none of this journal."""
