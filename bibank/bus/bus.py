"""The event bus: everyone hears what was committed, at their own pace, and nobody waits for them.

>>> import bibank as bb
>>> ledger = bb.Ledger.in_memory({"USDT": "1000"})
>>> heard = []
>>> ledger.bus.subscribe(heard.append, name="notebook")
>>> _ = ledger.deposit("ALICE", "100 USDT", correlation_id="r1")
>>> ledger.bus.pump()
1
>>> print(heard[0].entry.intent.value, heard[0].sequence)
deposit 3

For each subscriber: entries come in the order of the journal, at least once, after they are durable; what it
raises is counted and tried again, and touches neither commits nor other subscribers; it goes on from its
cursor, and what the buffer no longer holds is read from the journal (phase 2, 4.6 and 4.7).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from weakref import WeakSet

from bibank.bus.beginning import Beginning
from bibank.bus.cursor_files import CursorFile, check_name, saved_cursors
from bibank.bus.deliveries import Deliverer, PumpDelivery, ThreadDelivery, status_of
from bibank.bus.mailbox import Mailbox, Reach
from bibank.bus.protocol import Delivery, EventSource
from bibank.bus.recipient import Recipient, Subscriber
from bibank.bus.ring import Ring
from bibank.bus.saving import Clock
from bibank.bus.status import Retry, SubscriberStatus
from bibank.errors import (
    ConfigurationError,
    InvalidType,
    InvalidValue,
    LedgerClosed,
    StoreError,
    SubscriberExists,
    UnknownSequence,
    UnknownSubscriber,
    excerpt,
)
from bibank.home import Home
from bibank.journal.batches import SealedBatch
from bibank.model.event import ChainVerified
from bibank.model.lines import Head
from bibank.model.table import Table

CLOSE_SECONDS = 5.0
"""How long an ending bus waits for who is handling an event; whoever takes longer is told it again."""

DRAIN_SECONDS = 0.02
"""How often `drain` looks again: who has reached its line may go on with others, and never rest."""

MAX_WAIT_SECONDS = 86_400.0
"""A day: nobody waits longer on purpose."""

_DELIVERIES = ("pump", "thread", "task")

_buses: WeakSet[EventBus] = WeakSet()
"""Every bus of this process, for the day it forks."""


class EventBus:
    """The subscribers of one ledger, or of a reader in another process: `ledger.bus`, `reader.bus`.

    Safe to use from any number of threads. After the ledger was closed, every method but `status` and
    `close` raises `LedgerClosed`.
    """

    def __init__(
        self,
        source: EventSource,
        *,
        head: Head,
        home: Home | None = None,
        reach: Reach = "final",
        clock: Clock = time.monotonic,
    ) -> None:
        self._source = source
        self._reach = reach
        self._home = home
        self._clock = clock
        self._ring = Ring(head)
        self._lock = threading.RLock()
        self._deliverers: tuple[Deliverer, ...] = ()
        """Replaced whole, so that the publishing thread needs no lock to look."""
        self._beginning = Beginning(self._ring, source, home=home, reach=reach, clock=clock)
        self._changed: set[str] = set()
        """Names whose subscription is being made or ended."""
        self._resting = threading.Event()
        self._closed: str | None = None
        _buses.add(self)

    # ------------------------------------------------------------------ subscribing

    def subscribe(
        self,
        subscriber: Subscriber,
        *,
        delivery: Delivery | None = None,
        name: str | None = None,
        after_sequence: int | None = None,
        retry: Retry | None = None,
    ) -> None:
        """Tell a subscriber, or a plain function, what is committed from its cursor on.

        `delivery` is `"pump"`, in the thread that calls :meth:`pump`; `"thread"`, in one of its own; or
        `"task"`, in the running asyncio loop. Unless given it is by task for async ones, by pump for all
        others. `name` is that of the subscriber or function, unless given; the cursor is kept under it, in
        the home where there is one. One without a cursor yet begins behind the line `after_sequence`: unless
        given, behind the last line, and a `CursorKeeper` before the first.

        Raises `SubscriberExists`, `SubscriberBusy`, `CursorMismatch`, `UnknownSequence`, other `InvalidInput`
        kinds, `ConfigurationError` where the delivery does not fit, `StoreUnavailable`.
        """
        if retry is not None and not isinstance(retry, Retry):
            raise InvalidType(f"retry is a Retry, not {excerpt(retry)}")
        recipient = Recipient(subscriber, name)
        chosen = _check_delivery(delivery, recipient)
        make = self._maker(chosen)
        with self._changing(recipient.name):
            ended = [found for found in self._deliverers if found.mailbox.name == recipient.name]
            self._remove(ended, 0.0)
            mailbox = self._beginning.mailbox(recipient, after_sequence, retry or Retry())
            try:
                made = make(mailbox, recipient)
                self._add(made)
            except BaseException:
                mailbox.abandon()
                raise

    @contextmanager
    def _changing(self, name: str) -> Iterator[None]:
        """Hold a name while its subscription is made or ended: files and the ledger are waited for meanwhile.

        So the bus's own lock is never held for long, and never while another lock is waited for.
        """
        with self._lock:
            self._check_open()
            is_taken = any(
                found.mailbox.name == name and found.alive and not found.mailbox.stopped
                for found in self._deliverers
            )
            if is_taken or name in self._changed:
                raise SubscriberExists(f"somebody subscribed as {name!r} already, or is about to end")
            self._changed.add(name)
        try:
            yield
        finally:
            self._changed.discard(name)

    def _add(self, made: Deliverer) -> None:
        with self._lock:
            self._check_open()  # it may have been closed meanwhile
            made.start()
            self._deliverers = (*self._deliverers, made)
        made.wake()  # what was published in between has woken nobody

    def _remove(self, ended: Sequence[Deliverer], seconds: float) -> None:
        """End subscriptions and remember where they go on."""
        with self._lock:
            self._deliverers = tuple(other for other in self._deliverers if other not in ended)
        _end(ended, seconds)
        for found in ended:
            self._beginning.leave(found.mailbox)

    def _maker(self, delivery: Delivery) -> Callable[[Mailbox, Recipient], Deliverer]:
        """Say how deliveries are made, or that none of this kind can be here; `ConfigurationError`."""
        match delivery:
            case "pump":
                return PumpDelivery
            case "thread":
                return partial(ThreadDelivery, rested=self._rested)
            case "task":
                from bibank.bus.tasks import TaskDelivery, running_loop

                return partial(TaskDelivery, loop=running_loop(), rested=self._rested)

    def unsubscribe(self, name: str, *, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """Tell a subscriber no more; it goes on from its cursor when it subscribes again.

        Waits so long for it to finish what it is handling; one that unsubscribes itself in that is told the
        event again. Raises `UnknownSubscriber`.
        """
        seconds = _check_seconds(timeout_seconds)
        with self._lock:
            found = self._find(name)
            self._deliverers = tuple(other for other in self._deliverers if other is not found)
            self._changed.add(name)
        try:
            self._remove([found], seconds)
        finally:
            self._changed.discard(name)

    def forget(self, name: str) -> None:
        """Unsubscribe, and delete the cursor, which may be damaged: the next time begins anew.

        Raises `UnknownSubscriber` where there is neither, `SubscriberBusy`, `StoreUnavailable`.
        """
        name = check_name(name)
        with self._lock:
            self._check_open()
            is_known = any(found.mailbox.name == name for found in self._deliverers)
        if is_known:
            self.unsubscribe(name)
        if self._home is None:
            if not self._beginning.forget(name):
                raise UnknownSubscriber(f"nobody subscribed as {name!r}")
            return
        if not is_known and not any(path.stem == name for path in saved_cursors(self._home)):
            raise UnknownSubscriber(f"nobody subscribed as {name!r}, and there is no cursor of that name")
        file = CursorFile(self._home, name)
        try:
            file.delete()
        finally:
            file.release()

    # ------------------------------------------------------------------ delivering

    def pump(self, name: str | None = None, *, limit: int | None = None) -> int:
        """Deliver in this thread what is there, or `limit` events, to all who are told by pump, or to one.

        Gives the number of events that were handled. A subscriber that fails is tried again by the next call;
        the others go on. What interrupts this thread is raised, and the event is told again. Raises
        `UnknownSubscriber`, `ConfigurationError` for one that is told otherwise, and for a call by a
        subscriber that is being told.
        """
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
            raise InvalidType(f"a limit is an int, not {type(limit).__name__}")
        if limit is not None and limit < 0:
            raise InvalidValue(f"limit {excerpt(limit)} is negative")
        self._check_open()
        if name is None:
            pumped = [found for found in self._deliverers if isinstance(found, PumpDelivery)]
        else:
            one = self._find(name)
            if not isinstance(one, PumpDelivery):
                raise ConfigurationError(f"{name!r} is told by {one.delivery}, not by pump")
            pumped = [one]
        done = 0
        for each in pumped:
            done += each.pump(None if limit is None else limit - done)
        return done

    def replay_from(self, sequence: int, *, name: str | None = None) -> None:
        """Tell every entry from a line to the last once more, to all subscribers or one, in its own delivery.

        It hears `ReplayStarted`, the entries, `ReplayCompleted`, and then what is new. Its cursor is moved
        back before this returns. A replay that is asked for during another takes its place. Raises
        `UnknownSequence` for a line that is not there, `UnknownSubscriber`, and a `StoreError` when a cursor
        cannot be moved; the others are told all the same.
        """
        self._check_open()
        if isinstance(sequence, bool) or not isinstance(sequence, int):
            raise InvalidType(f"a sequence is an int, not {type(sequence).__name__}")
        until = self._ring.head.sequence
        if not 1 <= sequence <= until:
            raise UnknownSequence(f"there is no line {excerpt(sequence)}; a replay begins at 1 to {until}")
        cursor = self._beginning.cursor_at(sequence - 1)
        unmoved: StoreError | None = None
        for found in self._deliverers if name is None else (self._find(name),):
            try:
                found.mailbox.rewind(cursor, from_sequence=sequence, until_sequence=until)
            except StoreError as error:
                unmoved = unmoved or error
            found.wake()
        if unmoved is not None:
            raise unmoved

    def resume(self, name: str) -> None:
        """Try again what a subscriber failed at, as often as at first. Raises `UnknownSubscriber`."""
        self._check_open()
        found = self._find(name)
        found.mailbox.resume()
        found.wake()

    def drain(self, *, timeout_seconds: float) -> bool:
        """Wait until all who are told by thread or task have handled what is committed by now.

        Says whether they have; one that is parked or stopped will not, but one whose loop has ended is not
        waited for. In a loop, call it in a thread.
        """
        end = time.monotonic() + _check_seconds(timeout_seconds)
        self._check_open()
        goal = self._ring.head.sequence
        told = [found for found in self._deliverers if found.delivery != "pump"]
        while True:
            self._resting.clear()
            told = [found for found in told if not (found.is_left or found.mailbox.has_reached(goal))]
            if not told:
                return True
            left = end - time.monotonic()
            if left <= 0 or not any(map(_may_go_on, told)):
                return False
            self._resting.wait(min(left, DRAIN_SECONDS))

    def status(self) -> Table[SubscriberStatus]:
        """List how each subscriber fares, sorted by name."""
        rows = sorted(map(status_of, self._deliverers), key=lambda row: row.name)
        return Table(rows, row_type=SubscriberStatus)

    # ------------------------------------------------------------------ for the ledger

    def publish(self, batches: Sequence[SealedBatch]) -> None:
        """Take batches that became durable, in order. Never waits; raises nothing but an interrupt."""
        try:
            if self._deliverers:
                self._ring.put(batches)
        except Exception:  # noqa: BLE001 - out of memory, say: the store has the lines
            pass
        self._ring.head = batches[-1].head
        self._wake()  # whoever subscribed in between too

    def advance(self, head: Head) -> None:
        """Learn that the journal reaches further; for a reader, whose lines are in the store."""
        self._ring.head = head
        self._wake()

    def announce(self, event: ChainVerified) -> None:
        """Tell everyone, behind the entries of its line."""
        for found in self._deliverers:
            found.mailbox.notify(event)
        self._wake()

    def _wake(self) -> None:
        for found in self._deliverers:
            if found.waiting:
                found.waiting = False
                with suppress(Exception):  # a bell that does not ring is no affair of a commit
                    found.wake()

    def _rested(self) -> None:
        self._resting.set()

    def close(self, *, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """Tell nobody any more, and save the cursors. Twice is harmless; closing a ledger does it first.

        Waits so long for who is handling an event; whoever takes longer is left to it, and told it again.
        """
        seconds = _check_seconds(timeout_seconds)
        with self._lock:
            self._closed = self._closed or "the bus was closed"
            ended, self._deliverers = self._deliverers, ()
        _end(ended, seconds)

    def disown(self) -> None:
        """In a forked child: the subscribers are the parent's."""
        self._lock = threading.RLock()
        self._resting = threading.Event()
        self._closed = self._closed or "the ledger was opened by the parent of this process"
        for found in self._deliverers:
            found.mailbox.disown()
        self._deliverers = ()

    def _check_open(self) -> None:
        if self._closed is not None:
            raise LedgerClosed(self._closed)

    def _find(self, name: object) -> Deliverer:
        sought = str.__str__(name) if isinstance(name, str) else None
        for found in self._deliverers:
            if found.mailbox.name == sought:
                return found
        self._check_open()
        raise UnknownSubscriber(f"nobody subscribed as {excerpt(name)}")

    def __repr__(self) -> str:
        return f"<EventBus of {len(self._deliverers)} subscribers, line {self._ring.head.sequence}>"


def _may_go_on(found: Deliverer) -> bool:
    """Tell whether a subscriber may still be told something without anybody's doing."""
    return found.alive and not (found.mailbox.parked or found.mailbox.stopped)


def _end(deliverers: Iterable[Deliverer], seconds: float) -> None:
    """End deliveries: all are told first, then each is waited for, and its cursor saved."""
    ended = list(deliverers)
    end = time.monotonic() + seconds
    for found in ended:
        found.mailbox.stopped = True
        found.wake()
    for found in ended:
        found.join(max(0.0, end - time.monotonic()))
        found.mailbox.end()


def _check_delivery(delivery: object, recipient: Recipient) -> Delivery:
    if delivery is None:
        return "task" if recipient.is_async else "pump"
    match delivery:
        case "pump" | "thread" | "task" as chosen:
            if recipient.is_async and chosen != "task":
                raise ConfigurationError(
                    f"{recipient.name!r} is async, so a task has to tell it: delivery='task'"
                )
            return chosen
    raise ConfigurationError(f"delivery is one of {', '.join(_DELIVERIES)}, not {excerpt(delivery)}")


def _check_seconds(seconds: object) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidType(f"seconds are a number, not {excerpt(seconds)}")
    if not 0 <= seconds <= MAX_WAIT_SECONDS:
        raise InvalidValue(f"to wait is from 0 to {MAX_WAIT_SECONDS:.0f} seconds, not {excerpt(seconds)}")
    return float(seconds)


def _disown_all() -> None:
    for bus in list(_buses):
        bus.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
