"""A mailbox: what one subscriber is told next, and how far it has come. It decides; who delivers acts.

>>> from bibank.bus.ring import Ring
>>> mailbox = Mailbox("printer", Ring(Head()), source=None, start=Cursor(), retry=Retry())
>>> mailbox.step()
Wait(seconds=5.0)

Whoever delivers asks for the next step, takes it, says how it went, and asks again: a thread, a task and
`pump()` do the same, each in its own way. One of them at a time has a mailbox; others may only look, ask for
a replay, or end it.

An event stays in hand until it is done, so nothing is skipped, and nothing comes out of order.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from itertools import islice
from threading import Lock
from typing import TypeAlias

import attrs

from bibank.bus.cursor_files import CursorFile, SavedCursor
from bibank.bus.protocol import EventSource
from bibank.bus.ring import Ring
from bibank.bus.status import Retry
from bibank.errors import (
    BibankError,
    CursorMismatch,
    IntegrityError,
    InvalidType,
    LedgerClosed,
    LedgerPoisoned,
    ProjectionMismatch,
    StoreUnavailable,
    SubscriberBusy,
)
from bibank.model.entry import JournalEntry
from bibank.model.event import (
    ChainVerified,
    Cursor,
    EntryCommitted,
    LedgerEvent,
    ReplayCompleted,
    ReplayStarted,
)
from bibank.model.lines import Head
from bibank.model.record import JournalLine

PAGE_LINES = 256
"""Lines that are read from the store at a time."""

SAVE_SECONDS = 1.0
"""How often a cursor is saved: what came since is told again after a crash, and a save costs two syncs."""

LOOK_SECONDS = 5.0
"""The longest wait: an interrupt of whoever commits may fall between taking a bell and ringing it."""

MAX_NOTICES = 64
"""Events that stand in no journal and wait for a subscriber; of more, the oldest are dropped."""

_MAX_ERROR_CHARACTERS = 200

logger = logging.getLogger("bibank")

Clock: TypeAlias = Callable[[], float]
"""Tells seconds since some moment; never runs back."""


@attrs.frozen
class Handle:
    """Let the subscriber handle this event, and then say `done` or `failed`."""

    event: LedgerEvent


@attrs.frozen
class Wait:
    """There is nothing to do for so long, or until somebody wakes whoever delivers."""

    seconds: float


class Do(Enum):
    """Steps without an event."""

    LOAD = "ask the subscriber for its cursor, and then say `loaded` or `failed`"
    FETCH = "call `fetch`, which reads the store"
    SAVE = "call `save`, which writes the cursor file"
    STOP = "deliver no more"


Step: TypeAlias = Handle | Wait | Do


@attrs.frozen(kw_only=True)
class _Rewind:
    """A replay that was asked for, and has not begun."""

    cursor: Cursor
    from_sequence: int
    until_sequence: int


@attrs.define(kw_only=True)
class _Replay:
    """A replay that is on its way."""

    from_sequence: int
    until_sequence: int
    started: bool = False
    entries: int = 0


class Mailbox:
    """The state of one subscription. `start` is where a subscriber begins that has no cursor of its own."""

    def __init__(
        self,
        name: str,
        ring: Ring,
        source: EventSource | None,
        *,
        start: Cursor,
        retry: Retry,
        file: CursorFile | None = None,
        keeps_cursor: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        self.name = name
        self.position = start
        """The last line that the subscriber is done with."""
        self.handled = 0
        self.failures = 0
        self.attempts = 0
        self.from_store = 0
        self.last_error: str | None = None
        self.parked = False
        self.stopped = False
        self.busy = False
        """Whether the subscriber is handling something at the moment."""
        self._ring = ring
        self._source = source
        self._start = start
        self._retry = retry
        self._file = file
        self._keeps_cursor = keeps_cursor
        self._wants_cursor = keeps_cursor
        self._clock = clock
        self._in_hand: LedgerEvent | None = None
        self._page: deque[JournalLine] = deque()
        self._notices: deque[tuple[int, ChainVerified]] = deque(maxlen=MAX_NOTICES)
        self._rewind: _Rewind | None = None
        self._replay: _Replay | None = None
        self._retry_at = 0.0
        self._saving = Lock()
        self._dirty = False
        self._saved_at = clock()

    # ------------------------------------------------------------------ the next step

    def step(self) -> Step:
        """Say what is to be done next."""
        if self.stopped:
            return Do.STOP
        if self._rewind is not None and not self._wants_cursor:
            self._go_back()
        now = self._clock()
        is_due = self._dirty and now - self._saved_at >= SAVE_SECONDS
        if self.parked:
            return Do.SAVE if is_due else Wait(self._until_save(now))
        if self._retry_at > now:
            return Do.SAVE if is_due else Wait(min(self._retry_at - now, LOOK_SECONDS))
        if self._wants_cursor:
            return Do.LOAD
        try:
            event = self._next()
        except CursorMismatch as error:
            self._park(error)
            return self.step()
        if event is None and self.behind:
            return Do.FETCH
        if is_due:
            return Do.SAVE
        return Wait(self._until_save(now)) if event is None else Handle(event)

    def _until_save(self, now: float) -> float:
        return max(0.0, self._saved_at + SAVE_SECONDS - now) if self._dirty else LOOK_SECONDS

    @property
    def cursor(self) -> Cursor:
        """Where it goes on the next time: where it is, or where a replay that has not begun goes back to."""
        rewind = self._rewind
        return self.position if rewind is None else min(self.position, rewind.cursor, key=_place)

    @property
    def last(self) -> int:
        """The last durable line."""
        return self._ring.head.sequence

    @property
    def behind(self) -> int:
        """How many lines come after the position."""
        return max(0, self.last - self.position.sequence)

    def _next(self) -> LedgerEvent | None:
        """Give the event in hand, or take the next one from memory; None where there is none in memory."""
        if self._in_hand is None:
            self._in_hand = self._take()
        return self._in_hand

    def _take(self) -> LedgerEvent | None:
        replay = self._replay
        while True:
            if replay is not None:
                if not replay.started and self.position.sequence >= replay.from_sequence - 1:
                    return ReplayStarted(from_sequence=replay.from_sequence)
                if replay.started and self.position.sequence >= replay.until_sequence:
                    return ReplayCompleted(entries_count=replay.entries)
            if self._notices and self._notices[0][0] <= self.position.sequence:
                return self._notices.popleft()[1]
            line = self._next_line()
            if line is None:
                return None
            if isinstance(line, JournalEntry):
                return EntryCommitted(entry=line)
            self._move(Cursor(sequence=line.sequence, hash=line.hash))  # a record moves no money

    def _next_line(self) -> JournalLine | None:
        """Look at the line behind the position, where memory has it; `CursorMismatch`."""
        head, position = self._ring.head, self.position
        if position.sequence >= head.sequence:
            if position.sequence > head.sequence or position.hash != head.hash:
                raise _foreign(position, head)
            return None
        while self._page:
            line = self._page.popleft()
            if line.sequence == position.sequence + 1:
                self.from_store += isinstance(line, JournalEntry)
                break
        else:
            found = self._ring.get(position.sequence + 1)
            if found is None:
                return None
            line = found
        if line.prev_hash != position.hash:
            raise _foreign(position, head)
        return line

    # ------------------------------------------------------------------ how it went

    def done(self) -> None:
        """Say that the event in hand was handled."""
        event, self._in_hand = self._in_hand, None
        self.attempts = 0
        self.handled += 1
        replay = self._replay
        match event:
            case EntryCommitted():
                if replay is not None and replay.started:
                    replay.entries += 1
                self._move(event.cursor)
            case ReplayStarted() if replay is not None:
                replay.started = True
            case ReplayCompleted():
                self._replay = None
            case _:
                pass

    def failed(self, error: BaseException) -> None:
        """Say that the subscriber raised; the event stays in hand."""
        self.failures += 1
        self.attempts += 1
        self.last_error = _told(error)
        if self.attempts >= self._retry.attempts:
            self._park(error)
            return
        self._retry_at = self._clock() + self._retry.seconds_after(self.attempts)
        # Its transaction may have been committed all the same; in a replay its cursor says nothing of that.
        self._wants_cursor = self._keeps_cursor and self._replay is None
        logger.info(
            "the subscriber %s raised %s behind line %d, attempt %d of %d",
            self.name,
            type(error).__name__,
            self.position.sequence,
            self.attempts,
            self._retry.attempts,
        )

    def loaded(self, cursor: Cursor | None) -> None:
        """Begin where the subscriber says that it stands."""
        if cursor is not None and not isinstance(cursor, Cursor):
            self.failed(InvalidType(f"load_cursor() gives a Cursor or None, not {type(cursor).__name__}"))
            return
        self._wants_cursor = False
        found = self._start if cursor is None else cursor
        if found.sequence > self.position.sequence:  # what it failed at is done
            self.attempts = 0
        if found == self.position:
            return
        self.position = found
        self._page.clear()
        if isinstance(self._in_hand, EntryCommitted):
            self._in_hand = None

    def fetch(self) -> None:
        """Read the next lines from the store. A store that cannot be read now is tried again."""
        assert self._source is not None
        try:
            lines = self._source.verified_lines(after=self.position.head)
            self._page = deque(line.view() for line in islice(lines, PAGE_LINES))
            if not self._page:
                raise StoreUnavailable(f"the store does not give line {self.position.sequence + 1}")
        except (LedgerClosed, LedgerPoisoned) as error:
            self.last_error = _told(error)
            self.stopped = True
        except ProjectionMismatch:
            self._park(_foreign(self.position, self._ring.head))
        except IntegrityError as error:
            self._park(error)
        except Exception as error:  # noqa: BLE001 - a store of a host may raise anything
            self.failed(error)

    def _park(self, error: BaseException) -> None:
        self.last_error = _told(error)
        self.parked = True
        self._dirty = self._dirty or self._file is not None
        logger.warning(
            "the subscriber %s is parked behind line %d: %s",
            self.name,
            self.position.sequence,
            type(error).__name__,
        )

    def resume(self) -> None:
        """Try again at once, as often as at first."""
        self.attempts = 0
        self._retry_at = 0.0
        self._wants_cursor = self._keeps_cursor and self._replay is None
        self.parked = False
        self._dirty = self._dirty or self._file is not None

    def hurry(self) -> None:
        """Wait no longer before the next attempt."""
        self._retry_at = 0.0

    def _move(self, cursor: Cursor) -> None:
        self.position = cursor
        self._dirty = self._file is not None

    # ------------------------------------------------------------------ what others ask for

    def notify(self, event: ChainVerified) -> None:
        """Tell this behind the entries of its line."""
        self._notices.append((event.last_sequence, event))

    def rewind(self, cursor: Cursor, *, from_sequence: int, until_sequence: int) -> None:
        """Ask for a replay, durably; it takes the place of one that is on its way. `StoreUnavailable`.

        Who has not come so far yet is told what is missing first: a replay goes back, and skips nothing.
        """
        with self._saving:
            if self._file is not None and not self.stopped:
                self._file.save(self._to_save(min(cursor, self.position, key=_place)))
            self._rewind = _Rewind(cursor=cursor, from_sequence=from_sequence, until_sequence=until_sequence)

    def _go_back(self) -> None:
        with self._saving:
            rewind, self._rewind = self._rewind, None
            assert rewind is not None
            self.position = min(rewind.cursor, self.position, key=_place)
        if not isinstance(self._in_hand, ChainVerified):  # which stands in no journal
            self._in_hand = None
        self._wants_cursor = False
        self._page.clear()
        self.attempts = 0
        self._replay = _Replay(from_sequence=rewind.from_sequence, until_sequence=rewind.until_sequence)

    def has_reached(self, sequence: int) -> bool:
        """Tell whether the subscriber is done with a line, and with a replay that was asked for."""
        is_elsewhere = self._wants_cursor or self._rewind is not None or self._replay is not None
        return self.position.sequence >= sequence and not is_elsewhere

    # ------------------------------------------------------------------ the cursor

    def keep(self, cursor: Cursor) -> None:
        """Save a first cursor, which has to succeed; `StoreUnavailable`."""
        assert self._file is not None
        self._file.save(self._to_save(cursor))

    def save(self) -> None:
        """Save how far the subscriber has come. What cannot be saved now is saved later, or told again."""
        with self._saving:
            self._saved_at = self._clock()
            if self._file is None or not self._dirty:
                return
            self._dirty = False
            try:
                self._file.save(self._to_save(self.cursor))
            except SubscriberBusy as error:
                self._park(error)
                self._dirty = False  # the file may be another bus's now
            except BibankError as error:
                self._dirty = True
                self.last_error = _told(error)
                logger.warning("the cursor of the subscriber %s could not be saved: %s", self.name, error)

    def _to_save(self, cursor: Cursor) -> SavedCursor:
        assert self._source is not None
        parked = (self.last_error or "").partition(":")[0] if self.parked else None
        return SavedCursor(name=self.name, ledger_id=self._source.ledger_id, cursor=cursor, parked=parked)

    def end(self) -> None:
        """Deliver no more, and save the cursor for the last time."""
        self.stopped = True
        self.save()
        with self._saving:
            file, self._file = self._file, None
            if file is not None:
                file.release()

    def disown(self) -> None:
        """In a forked child: the subscription is the parent's, and so is whatever its thread held."""
        self.stopped = True
        self._saving = Lock()
        file, self._file = self._file, None
        if file is not None:
            file.release()


def _place(cursor: Cursor) -> int:
    return cursor.sequence


def _told(error: BaseException) -> str:
    """Spell an error of somebody else, whose text may raise as well."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a host's error may not be able to spell itself
        text = "an error that cannot be spelled"
    return f"{type(error).__name__}: {text}"[:_MAX_ERROR_CHARACTERS]


def _foreign(position: Cursor, head: Head) -> CursorMismatch:
    return CursorMismatch(
        f"the cursor {position} is not of this journal, which ends at line {head.sequence}: it is of another "
        "ledger, or of another history of this one"
    )
