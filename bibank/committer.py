"""From drafts to durable lines: the one way in, for any number of threads.

One lock covers stamp, judgement, sealing and the machine's memory (:mod:`bibank.sealing`); the write
queue does the rest. Results leave, and reads see, only what is durable.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from threading import get_ident
from typing import TYPE_CHECKING
from weakref import WeakSet

from bibank.clock import ClockWatch
from bibank.errors import BibankError, Refused
from bibank.journal.batches import PreparedBatch
from bibank.journal.machine import LedgerMachine
from bibank.journal.records import recovery_record
from bibank.model.lines import Head
from bibank.model.links import IdempotencyMark
from bibank.model.record import UnsignedRecord
from bibank.sealing import Found, Sealing
from bibank.signing.lines import LineSigner
from bibank.store.protocol import HeadNotingStore, LedgerStore
from bibank.write_group import DurableView, WriteGroup
from bibank.write_queue import INTERRUPTED, WriteQueue

if TYPE_CHECKING:
    from bibank.bus.bus import EventBus

_committers: WeakSet[Committer] = WeakSet()
"""Every committer of this process, for the day it forks."""

Request = PreparedBatch | Callable[[], PreparedBatch | Found]
"""A batch, or what writes it, or finds what was committed before, when its turn comes."""


class Committer(Sealing):
    """Commits to one machine and one store, for any number of threads."""

    def __init__(
        self, machine: LedgerMachine, store: LedgerStore, clock: ClockWatch, signer: LineSigner | None
    ) -> None:
        super().__init__(machine, store, clock, signer)
        self.when_due: Callable[[], None] | None = None
        """What is called, outside every lock, after a commit that reaches `due`."""
        self.due = 0
        self.bus: EventBus | None = None
        _committers.add(self)

    @property
    def durable(self) -> Head:
        """The last line that is on the disk."""
        return self._queue.durable

    @property
    def signer(self) -> LineSigner | None:
        """Who signed the last line on the disk, or will sign the next."""
        return self._queue.signer

    # ------------------------------------------------------------------ committing

    def commit(self, batch: PreparedBatch, *, successor: LineSigner | None = None) -> Found:
        """Commit one batch: all of it is durable on return, or an error says what happened.

        A `successor` signs this batch already, and all that follow when it is committed. A batch whose
        key was used for the same request gives what was committed then.
        """
        if any(type(draft) is UnsignedRecord for draft in batch.drafts):
            return self._commit_alone(lambda _: batch, successor)
        sealed, group = self._seal(batch)
        if group is not None:
            self._queue.settle(group)
            self.tend()
        return sealed

    def commit_written(self, write: Callable[[LedgerMachine], PreparedBatch]) -> Found:
        """Commit a batch with records that is written in sight of the state, while nothing else is under way.

        `write` asks nobody and changes nothing.
        """
        return self._commit_alone(write, None)

    def commit_each(self, batches: Sequence[PreparedBatch]) -> list[Found | Refused]:
        """Commit many independent batches in as few write groups as they fit into."""
        outcomes: list[Found | Refused] = []
        now: datetime | None = None
        kept = 0
        try:
            while True:
                now, group = self._seal_each(batches, now, outcomes)
                if group is not None:
                    self._queue.settle(group)
                    kept = group.head.sequence
                if self.when_due is not None and kept >= self.due:
                    self.when_due()
                if len(outcomes) == len(batches):
                    return outcomes
        except BibankError as error:
            if kept:
                error.add_note(f"the items before, up to line {kept}, are committed and durable")
            raise

    def commit_apart(self, requests: Sequence[Request], outcomes: list[Found | Exception | None]) -> None:
        """Commit requests of many callers, of whom each gets what it would have got alone.

        They share as few write groups as they fit into. `outcomes` has a place for each, which is filled
        when its outcome is known: what stands in the journal, or the error that is raised to that
        caller. What ends this call itself, such as an interrupt, leaves the others empty. Batches with
        records are not taken here. Does not :meth:`tend`.
        """
        asked: list[tuple[int, PreparedBatch]] = []
        for place, request in enumerate(requests):
            try:
                batch = request() if callable(request) else request
            except Exception as error:  # noqa: BLE001 - whatever it is, it is for that caller and for no other
                outcomes[place] = error
                continue
            if isinstance(batch, PreparedBatch):
                asked.append((place, batch))
            else:
                outcomes[place] = batch
        asked.reverse()
        while asked:
            kept: WriteGroup | None = None
            for place, found, group in self._seal_apart(asked, outcomes):
                if group is not None and group is not kept:
                    try:
                        self._queue.settle(group)
                    except Exception as error:  # noqa: BLE001 - each who asks is told by an error of its own
                        outcomes[place] = error
                        continue
                    kept = group
                outcomes[place] = found

    @property
    def is_due(self) -> bool:
        """Tell whether :meth:`tend` has something to do."""
        return self.when_due is not None and self._queue.durable.sequence >= self.due

    def tend(self) -> None:
        """Do what is due after commits, such as a snapshot."""
        if self.when_due is not None and self.is_due:
            self.when_due()

    def find(self, mark: IdempotencyMark) -> Found | None:
        """Give what was committed under a key, when it is durable; None when the key was not used.

        Raises `IdempotencyConflict` when something else was asked for.
        """
        queue = self._queue
        with queue.lock:
            queue.check_usable()
            queue.inside.reader = get_ident()
            try:
                found = self._find(mark)
            finally:
                queue.inside.reader = 0
        if found is None:
            return None
        if found[1] is not None:
            queue.settle(found[1])
        return found[0]

    def _commit_alone(
        self, write: Callable[[LedgerMachine], PreparedBatch], successor: LineSigner | None
    ) -> Found:
        """Commit a batch with records in a group of its own, while nobody seals on top of it.

        A record may change who signs and what is demanded: none is in force, or seen, before it
        is durable.
        """
        queue = self._queue
        queue.inside.check_waiting()
        with queue.lead, queue.lock:
            queue.check_usable()
            queue.settle_all()
            queue.check_usable()  # what others wait for may have failed in a way that ends this ledger
            if queue.recovered and self.machine.head.sequence:
                self._record_recovery()
            batch = write(self.machine)
            now = self._enter()  # here nothing is sealed yet, whatever the clock raises
            self._leave()
            try:
                sealed, group = self._seal(batch, successor=successor, now=now)
                if group is not None:  # otherwise it was committed before, under its key
                    queue.write_until(group)
            except BaseException as error:
                if not isinstance(error, BibankError):  # what is sealed may change who signs
                    queue.poison = queue.poison or INTERRUPTED
                raise
            return sealed

    def _record_recovery(self) -> None:
        """Commit the record of torn bytes by itself, signed by whoever signs now."""
        queue = self._queue
        recovered, queue.recovered = queue.recovered, ()
        record = recovery_record([found.to_body() for found in recovered], ledger_id=self.machine.ledger_id)
        try:
            _, group = self._seal(PreparedBatch((record,)))
            assert group is not None, "a record bears no key"
            queue.write_until(group)
        except BaseException:
            if self.machine.head == self.durable:  # nothing of it was kept
                queue.recovered = recovered
            raise

    # ------------------------------------------------------------------ reading, ending

    def publishing(self, make: Callable[[Head], EventBus]) -> EventBus:
        """Give the bus that hears of everything durable; make it at first, as of the last durable line."""
        if self.bus is not None:
            return self.bus
        queue = self._queue
        with queue.lock:
            if self.bus is None:
                queue.check_usable()
                self.bus = make(queue.durable)
                queue.published = self.bus.publish
            return self.bus

    def flush_head(self) -> None:
        """Let the store note how far it is durable, where it keeps such a note."""
        queue = self._queue
        queue.inside.check_waiting()
        with queue.lead:
            with queue.lock:
                queue.check_usable()
            if isinstance(self.store, HeadNotingStore):
                self.store.flush_head()

    def settled(self) -> AbstractContextManager[WriteQueue]:
        """Hold both locks where all that was sealed is on the disk, and HEAD says so."""
        return self._queue.settled()

    @contextmanager
    def reading(self) -> Iterator[DurableView]:
        """Hold the lock around a look at the accounts as they are on the disk."""
        queue = self._queue
        with queue.lock:
            queue.check_usable()
            queue.inside.reader = get_ident()
            try:
                yield DurableView(self.machine, queue.durable, queue.groups)
            finally:
                queue.inside.reader = 0

    def close(self) -> None:
        """Close the store; what was sealed until then is written first."""
        self._queue.close()

    @property
    def state(self) -> str:
        """Say whether the ledger is open, closed or poisoned."""
        queue = self._queue
        return "closed" if queue.closed else "open" if queue.poison is None else "poisoned"

    def disown(self) -> None:
        """In a forked child: the ledger is the parent's."""
        self._queue.disown()


def _disown_all() -> None:
    for committer in list(_committers):
        committer.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
