"""A mailbox: what one subscriber is told next, and how far it has come. It decides; who delivers acts.

>>> import bibank as bb
>>> ledger = bb.Ledger.in_memory()
>>> saving = CursorSaving("printer", ledger.ledger_id)
>>> mailbox = Mailbox("printer", Ring(ledger.head), ledger, saving, start=Cursor(), retry=Retry())
>>> mailbox.step()
<Do.FETCH: 'call `fetch`, which reads the store'>

Whoever delivers asks for the next step, takes it, says how it went, and asks again: a thread, a task and
`pump()` do the same, each in its own way. One of them at a time has a mailbox; others may only look, ask for
a replay, or end it.

An event stays in hand until it is done, so nothing is skipped, and nothing comes out of order.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import Literal, TypeAlias

import attrs

from bibank.bus.protocol import EventSource
from bibank.bus.ring import Ring
from bibank.bus.saving import Clock, CursorSaving, KeptBy
from bibank.bus.status import Retry
from bibank.bus.steps import Do, Handle, Step, Wait
from bibank.errors import (
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

LOOK_SECONDS = 5.0
"""The longest wait. A bell may not be rung: an interrupt of whoever commits falls between taking and ringing
it, or an interpreter without a global lock shows two threads each other's writes late."""

MAX_NOTICES = 64
"""Events that stand in no journal and wait for a subscriber; of more, the oldest are dropped."""

_MAX_ERROR_CHARACTERS = 200
"""Of the last error's text: a status is read in a table."""

logger = logging.getLogger("bibank")

Reach: TypeAlias = Literal["final", "lagging"]
"""Whether the head is the end of the journal, or may lag behind it, as a reader's does."""


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
        source: EventSource,
        saving: CursorSaving,
        *,
        start: Cursor,
        retry: Retry,
        reach: Reach = "final",
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
        self._saving = saving
        self._reach = reach
        self._wants_cursor = saving.kept_by is KeptBy.SUBSCRIBER
        self._clock = clock
        self._in_hand: LedgerEvent | None = None
        self._page: deque[JournalLine] = deque()
        self._notices: deque[tuple[int, ChainVerified]] = deque(maxlen=MAX_NOTICES)
        self._rewind: _Rewind | None = None
        self._replay: _Replay | None = None
        self._retry_at = 0.0

    # ------------------------------------------------------------------ the next step

    def step(self) -> Step:
        """Say what is to be done next."""
        if self.stopped:
            return Do.STOP
        if self._rewind is not None and not self._wants_cursor:
            self._go_back()
        is_due = self._saving.is_due
        if self.parked:
            return Do.SAVE if is_due else self._wait()
        pause = self._retry_at - self._clock()
        if pause > 0:
            return Do.SAVE if is_due else self._wait(pause)
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
        return self._wait() if event is None else Handle(event)

    def _wait(self, *pauses: float) -> Wait:
        """Wait until a pause is over, or the cursor is to be saved."""
        left = self._saving.seconds_left
        return Wait(min((LOOK_SECONDS, *pauses, *(() if left is None else (left,)))))

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
            notice = self._next_notice()
            if notice is not None:
                return notice
            line = self._next_line()
            if line is None:
                return None
            if isinstance(line, JournalEntry):
                return EntryCommitted(entry=line)
            self._move(Cursor(sequence=line.sequence, hash=line.hash))  # a record moves no money

    def _next_notice(self) -> ChainVerified | None:
        """Take the oldest event that stands in no journal, behind the entries of its line."""
        if not self._notices or self._notices[0][0] > self.position.sequence:
            return None
        found = self._notices.popleft()
        if found[0] > self.position.sequence:  # a full list has dropped the one that was looked at
            self._notices.appendleft(found)
            return None
        return found[1]

    def _next_line(self) -> JournalLine | None:
        """Look at the line behind the position, where memory has it; `CursorMismatch`."""
        head, position = self._ring.head, self.position
        if position.sequence > head.sequence and self._reach == "lagging":
            return None  # it is judged when the reader has come so far
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
        self._log(
            logging.INFO,
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
        self._saving.hurry()
        self._log(
            logging.WARNING,
            "the subscriber %s is parked behind line %d: %s",
            self.name,
            self.position.sequence,
            type(error).__name__,
        )

    def _log(self, level: int, message: str, *arguments: object) -> None:
        with suppress(Exception):  # a handler of the host's that raises is no affair of a delivery
            logger.log(level, message, *arguments)

    def resume(self) -> None:
        """Try again at once, as often as at first."""
        self.attempts = 0
        self._retry_at = 0.0
        self._wants_cursor = self._keeps_cursor and self._replay is None
        self.parked = False
        self._saving.hurry()

    def hurry(self) -> None:
        """Wait no longer before the next attempt."""
        self._retry_at = 0.0

    def _move(self, cursor: Cursor) -> None:
        self.position = cursor
        self._saving.note()

    # ------------------------------------------------------------------ what others ask for

    def notify(self, event: ChainVerified) -> None:
        """Tell this behind the entries of its line."""
        self._notices.append((event.last_sequence, event))

    def rewind(self, cursor: Cursor, *, from_sequence: int, until_sequence: int) -> None:
        """Ask for a replay, durably; it takes the place of one that is on its way. `StoreUnavailable`.

        Who has not come so far yet is told what is missing first: a replay goes back, and skips nothing.
        """
        with self._saving.lock:
            self._saving.write(min(cursor, self.position, key=_place), parked=self._parked_for)
            self._saving.note()
            self._rewind = _Rewind(cursor=cursor, from_sequence=from_sequence, until_sequence=until_sequence)

    def _go_back(self) -> None:
        rewind = self._rewind
        assert rewind is not None
        self.position = min(rewind.cursor, self.position, key=_place)
        if not isinstance(self._in_hand, ChainVerified):  # which stands in no journal
            self._in_hand = None
        self._wants_cursor = False
        self._page.clear()
        self.attempts = 0
        self._replay = _Replay(from_sequence=rewind.from_sequence, until_sequence=rewind.until_sequence)
        with self._saving.lock:
            if self._rewind is rewind:  # last, so that an interrupt before leaves it to be begun again
                self._rewind = None

    def has_reached(self, sequence: int) -> bool:
        """Tell whether the subscriber is done with a line, and with a replay that was asked for."""
        is_elsewhere = self._wants_cursor or self._rewind is not None or self._replay is not None
        return self.position.sequence >= sequence and not is_elsewhere

    # ------------------------------------------------------------------ the cursor

    def keep(self) -> None:
        """Save where it begins, which has to succeed; `StoreUnavailable`."""
        with self._saving.lock:
            self._saving.write(self.position, parked=None)

    def save(self) -> None:
        """Save how far the subscriber has come. What cannot be saved now is saved later, or told again."""
        error = self._saving.save(lambda: self.cursor, parked=self._parked_for)
        if isinstance(error, SubscriberBusy):
            self._park(error)
            self._saving.give_up()
        elif error is not None:
            self.last_error = _told(error)

    def save_if_due(self) -> None:
        """Save where it is time to."""
        if self._saving.is_due:
            self.save()

    @property
    def _parked_for(self) -> str | None:
        """The kind of error that it is parked for; its text may hold what is nobody's business."""
        return (self.last_error or "").partition(":")[0] if self.parked else None

    @property
    def _keeps_cursor(self) -> bool:
        return self._saving.kept_by is KeptBy.SUBSCRIBER

    def abandon(self) -> None:
        """Take back what `keep` did, because nobody will deliver."""
        self.stopped = True
        self._saving.abandon()

    def end(self) -> None:
        """Deliver no more, and save the cursor for the last time."""
        self.stopped = True
        self.save()
        self._saving.end()

    def disown(self) -> None:
        """In a forked child: the subscription is the parent's, and so is whatever its thread held."""
        self.stopped = True
        self._saving.disown()


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
