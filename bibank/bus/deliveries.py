"""Deliveries in threads: one of the subscriber's own, or the caller's by `pump()`.

Each takes the steps of one mailbox. Whatever a subscriber raises stays here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol
from weakref import ref

import attrs

from bibank.bus.mailbox import Mailbox
from bibank.bus.protocol import Delivery
from bibank.bus.recipient import Recipient, at_once
from bibank.bus.status import SubscriberState, SubscriberStatus
from bibank.bus.steps import Do, Handle, Step, Wait
from bibank.errors import ConfigurationError, StoreUnavailable
from bibank.model.event import Cursor, EntryCommitted, LedgerEvent

JOIN_SECONDS = 0.05
"""How often somebody who waits looks again at what no bell tells."""


class Deliverer(Protocol):
    """Takes the steps of one mailbox."""

    delivery: Delivery
    mailbox: Mailbox
    waiting: bool
    """Whether it has to be woken; reset by whoever wakes it. Set before a last look, so no wake is lost."""

    def start(self) -> None:
        """Begin; `StoreUnavailable` where there is nothing to deliver with."""

    def wake(self) -> None:
        """Let it look again. Never waits, never raises."""

    def join(self, timeout_seconds: float) -> None:
        """Wait until it has come to rest, at most so long, unless it is the caller."""

    @property
    def alive(self) -> bool:
        """Whether somebody delivers."""

    @property
    def is_left(self) -> bool:
        """Whether who delivered has gone away by a way of its own: a loop that ended."""


@attrs.frozen(eq=False)
class _Turn:
    """Whose turn it is to pump. It lasts as long as the call that holds it, however that ends."""

    thread: int


def _nobody() -> None:
    """Hold no turn."""


class PumpDelivery:
    """Delivers when somebody pumps, in their thread."""

    delivery: Delivery = "pump"
    waiting = False
    alive = True
    is_left = False

    def __init__(self, mailbox: Mailbox, recipient: Recipient) -> None:
        self.mailbox = mailbox
        self._recipient = recipient
        self._lock = threading.Lock()
        self._holder: Callable[[], _Turn | None] = _nobody
        self._free = threading.Event()

    def start(self) -> None:
        """Nothing is to begin before somebody pumps."""

    def pump(self, limit: int | None) -> int:
        """Deliver what is there, at most so many events; give their number.

        Stops at a failure, which is tried again next time. What another thread is pumping is left to it.
        """
        turn = _Turn(threading.get_ident())
        holder = self._take_turn(turn)
        if holder is not turn:
            if holder.thread == turn.thread:
                raise ConfigurationError("a subscriber may not pump the bus that tells it")
            return 0
        try:
            self.mailbox.hurry()
            return self._deliver(limit)
        finally:
            self._holder = _nobody
            self._free.set()

    def _take_turn(self, turn: _Turn) -> _Turn:
        """Take the turn where nobody has it; give who has it now."""
        with self._lock:
            holder = self._holder()
            if holder is not None:
                return holder
            self._free.clear()
            self._holder = ref(turn)
            return turn

    def _deliver(self, limit: int | None) -> int:
        mailbox, done = self.mailbox, 0
        last = mailbox.last  # what a subscriber commits meanwhile is for the next time, or it might never end
        while limit is None or done < limit:
            step = mailbox.step()
            if isinstance(step, Wait) or step is Do.STOP:
                break
            if isinstance(step, Handle) and _comes_after(step.event, last):
                break
            if isinstance(step, Handle):
                mailbox.busy = True
                try:
                    for call in self._recipient.calls(step.event):
                        at_once(call)
                except Exception as error:  # noqa: BLE001 - whatever a subscriber raises is its own affair
                    mailbox.failed(error)
                    break
                finally:
                    mailbox.busy = False
                mailbox.done()
                done += 1
            else:
                failures = mailbox.failures
                take_step(step, mailbox, self._recipient)
                if mailbox.failures > failures:  # whatever pause comes before the next attempt, if any
                    break
        mailbox.save_if_due()
        return done

    def wake(self) -> None:
        """Nobody sleeps here."""

    def join(self, timeout_seconds: float) -> None:
        """Wait for another thread that is pumping."""
        end = time.monotonic() + timeout_seconds
        while (holder := self._holder()) is not None and holder.thread != threading.get_ident():
            left = end - time.monotonic()
            if left <= 0:
                return
            del holder  # it would hold the turn
            self._free.wait(min(left, JOIN_SECONDS))


def _comes_after(event: LedgerEvent, sequence: int) -> bool:
    return isinstance(event, EntryCommitted) and event.sequence > sequence


class ThreadDelivery:
    """Delivers in a thread of its own, which ends with the process if nothing ends it before."""

    delivery: Delivery = "thread"
    is_left = False

    def __init__(self, mailbox: Mailbox, recipient: Recipient, rested: Callable[[], None]) -> None:
        self.mailbox = mailbox
        self.waiting = False
        self._recipient = recipient
        self._rested = rested
        self._latch = threading.Lock()
        self._latch.acquire()
        self._thread = threading.Thread(
            target=self._run, name=f"bibank subscriber {mailbox.name}", daemon=True
        )

    def start(self) -> None:
        """Start the thread; `StoreUnavailable` where none can be made."""
        try:
            self._thread.start()
        except RuntimeError as error:
            raise StoreUnavailable(f"no thread can be started to deliver: {error}") from error

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Open the latch; one that is open already needs no more."""
        with suppress(RuntimeError):
            self._latch.release()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the thread to end."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        mailbox = self.mailbox
        try:
            while True:
                try:
                    step = mailbox.step()
                    if step is Do.STOP:
                        break
                    self._take(step)
                except BaseException as error:  # noqa: BLE001 - whatever a subscriber raises is its own affair
                    self._failed(error)
            mailbox.save()
        finally:
            mailbox.stopped = True
            self._rested()

    def _failed(self, error: BaseException) -> None:
        self.waiting = self.mailbox.busy = False
        try:
            self.mailbox.failed(error)
        except Exception:  # noqa: BLE001 - out of memory, say: a moment later there may be some
            self._latch.acquire(timeout=JOIN_SECONDS)

    def _take(self, step: Step) -> None:
        mailbox = self.mailbox
        if isinstance(step, Wait):
            self.waiting = True
            step = mailbox.step()  # once more: what came before it was set has woken nobody
            if isinstance(step, Wait):
                self._rested()
                self._latch.acquire(timeout=step.seconds)
            self.waiting = False
        elif isinstance(step, Handle):
            mailbox.busy = True
            for call in self._recipient.calls(step.event):
                at_once(call)
            mailbox.busy = False
            mailbox.done()
        else:
            take_step(step, mailbox, self._recipient)


def take_step(step: Do, mailbox: Mailbox, recipient: Recipient) -> None:
    """Take a step without an event, where nothing can be awaited."""
    match step:
        case Do.FETCH:
            mailbox.fetch()
        case Do.SAVE:
            mailbox.save()
        case Do.LOAD:
            try:
                cursor = at_once(recipient.load)
            except Exception as error:  # noqa: BLE001 - whatever a subscriber raises is its own affair
                mailbox.failed(error)
            else:
                mailbox.loaded(as_cursor(cursor))
        case Do.STOP:
            pass


def as_cursor(found: object) -> Cursor | None:
    """Pass on what a subscriber gave as its cursor; the mailbox refuses what is none."""
    return found  # type: ignore[return-value]  # checked by `Mailbox.loaded`


def status_of(found: Deliverer) -> SubscriberStatus:
    """Tell how a subscriber fares."""
    mailbox = found.mailbox
    if mailbox.stopped or not found.alive:
        state = SubscriberState.STOPPED
    elif mailbox.parked:
        state = SubscriberState.PARKED
    elif mailbox.attempts:
        state = SubscriberState.RETRYING
    elif mailbox.busy or mailbox.behind:
        state = SubscriberState.DELIVERING
    else:
        state = SubscriberState.WAITING
    return SubscriberStatus(
        name=mailbox.name,
        delivery=found.delivery,
        state=state,
        sequence=mailbox.position.sequence,
        behind=mailbox.behind,
        handled=mailbox.handled,
        failures=mailbox.failures,
        attempts=mailbox.attempts,
        from_store=mailbox.from_store,
        last_error=mailbox.last_error,
    )
