"""Deliveries in threads: one of the subscriber's own, or the caller's by `pump()`.

Each takes the steps of one mailbox. Whatever a subscriber raises stays here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from bibank.bus.mailbox import Mailbox
from bibank.bus.protocol import Delivery
from bibank.bus.recipient import Recipient, at_once
from bibank.bus.status import SubscriberState, SubscriberStatus
from bibank.bus.steps import Do, Handle, Step, Wait
from bibank.errors import ConfigurationError
from bibank.model.event import Cursor, EntryCommitted, LedgerEvent


class Deliverer(Protocol):
    """Takes the steps of one mailbox."""

    delivery: Delivery
    mailbox: Mailbox
    waiting: bool
    """Whether it has to be woken; reset by whoever wakes it. Set before a last look, so no wake is lost."""

    def wake(self) -> None:
        """Let it look again. Never waits, never raises."""

    def join(self, timeout_seconds: float) -> None:
        """Wait until it has come to rest, at most so long, unless it is the caller."""

    @property
    def alive(self) -> bool:
        """Whether somebody delivers."""


class PumpDelivery:
    """Delivers when somebody pumps, in their thread."""

    delivery: Delivery = "pump"
    waiting = False
    alive = True

    def __init__(self, mailbox: Mailbox, recipient: Recipient) -> None:
        self.mailbox = mailbox
        self._recipient = recipient
        self._taken: dict[str, object] = {}
        """Whose turn it is. An entry is made and found in one step, so an interrupt leaves none behind."""
        self._free = threading.Event()
        self._free.set()
        self._pumping: int | None = None

    def pump(self, limit: int | None) -> int:
        """Deliver what is there, at most so many events; give their number.

        Stops at a failure, which is tried again next time. What another thread is pumping is left to it.
        """
        if self._pumping == threading.get_ident():
            raise ConfigurationError("a subscriber may not pump the bus that tells it")
        turn = object()
        try:
            if self._taken.setdefault("by", turn) is not turn:
                return 0
            self._free.clear()
            self._pumping = threading.get_ident()
            self.mailbox.hurry()
            return self._deliver(limit)
        finally:
            if self._taken.get("by") is turn:
                self._pumping = None
                self._taken.clear()
                self._free.set()

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
        if self._pumping != threading.get_ident():
            self._free.wait(timeout_seconds)


def _comes_after(event: LedgerEvent, sequence: int) -> bool:
    return isinstance(event, EntryCommitted) and event.sequence > sequence


class ThreadDelivery:
    """Delivers in a thread of its own, which ends with the process if nothing ends it before."""

    delivery: Delivery = "thread"

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
        self._thread.start()

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
        while (step := self.mailbox.step()) is not Do.STOP:
            try:
                self._take(step)
            except BaseException as error:  # noqa: BLE001 - whatever a subscriber raises is its own affair
                self.mailbox.busy = False
                self.mailbox.failed(error)
        self.mailbox.save()
        self._rested()

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
