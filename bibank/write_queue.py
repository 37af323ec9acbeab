"""The write queue: sealed groups on their way to the disk, one leader at a time.

Signing, writing and syncing happen outside the lock. Who has sealed a batch writes the whole group that was
queued until then, as its leader; when somebody leads already it waits to be called. The leader calls one
of those who waited for its group, who calls the next, and the last calls whoever leads next: so each
thread is woken once, one at a time, and by then the next group holds whatever they have sealed since.

A call may be lost with the thread that should have made it. So who waits looks up every `PATIENCE`: when
its group is over it goes, and when nobody has been at work it asks for the lead itself, which is free, or
falls free, also when its holder dies. While somebody is at work it waits on, however long a sync takes.

Memory runs ahead of the disk meanwhile. What the store did certainly not take is taken back, with all
that was sealed on top of it. Whatever else stops a write midway, an interrupt included, poisons.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from threading import RLock, get_ident

from bibank.errors import (
    BibankError,
    CommitOutcomeUnknown,
    InvalidValue,
    KeystoreError,
    LedgerClosed,
    LedgerPoisoned,
    StoreError,
    StoreUnavailable,
)
from bibank.inside import Inside
from bibank.journal.batches import SealedBatch
from bibank.journal.machine import LedgerMachine
from bibank.model.lines import LineGroup
from bibank.model.record import UnsignedRecord
from bibank.signing.lines import LineSigner
from bibank.store.protocol import HeadNotingStore, LedgerStore, RepairedStore
from bibank.write_group import WriteGroup

INTERRUPTED = "a commit was interrupted"

PATIENCE = 0.1
"""Seconds after which a thread that waits to be called looks whether it still has to: short for one whose
call was lost, and long beside what looking costs. A sync may take longer."""


class WriteQueue:
    """Write groups in the order of their lines, and what became of the ledger that they belong to.

    `lock` covers the machine, the groups and everything said of them; `lead` the store. Who needs both
    takes the lead first.
    """

    def __init__(self, machine: LedgerMachine, store: LedgerStore, signer: LineSigner | None) -> None:
        self.machine = machine
        self.store = store
        self.signer = signer
        """Who signed the last line on the disk."""
        self.durable = machine.head
        """The last line that is on the disk."""
        self.recovered = store.set_aside if isinstance(store, RepairedStore) else ()
        """Torn bytes that the next group has to record, before anything else."""
        self.poison: str | None = None
        """Why the ledger is of no more use, when it is not."""
        self.groups: deque[WriteGroup] = deque()
        self.closed = False
        self.published: Callable[[Sequence[SealedBatch]], None] | None = None
        """Who is told what became durable, in order, under the lock: it neither waits nor raises."""
        self._renew_locks()

    def _renew_locks(self) -> None:
        self.lock = RLock()
        self.changing = False
        """Set while memory changes under the lock; found set by the next holder after an interrupt."""
        self.inside = Inside()
        self.lead = RLock()
        self.led = False
        """A hint, and no lock: somebody leads or was called to, so who comes now waits to be called."""
        self.at_work = False
        """Set while the lead's holder writes, or waits for `lock` to do so; whatever ends that resets it."""
        self._writing: WriteGroup | None = None
        """The group on its way to the disk; found by the next leader after an interrupt."""

    # ------------------------------------------------------------------ who may go on

    def check_usable(self) -> None:
        """Raise `LedgerClosed`, `LedgerPoisoned`, or `ConfigurationError` for a call from inside."""
        self.inside.check()
        if self.closed:
            raise LedgerClosed("the ledger was closed")
        if self.changing:
            self.poison = self.poison or INTERRUPTED
        if self.poison is not None:
            raise LedgerPoisoned(f"{self.poison}; open the ledger again")

    @property
    def newest_signer(self) -> LineSigner | None:
        """Who signs what is sealed now: the lock's holder alone may ask."""
        return self.groups[-1].signer if self.groups else self.signer

    # ------------------------------------------------------------------ writing

    def settle(self, group: WriteGroup) -> None:
        """Return when a group is on the disk, led by whomever; raise what became of it otherwise.

        Who holds the lead calls :meth:`write_until`: nobody else would write meanwhile.
        """
        self.inside.check_waiting()
        try:
            if self.led:
                self._wait_for(group)
            if not group.settled:
                with self.lead:
                    if not group.is_over:  # then nobody has told those who wait for it; this thread will
                        self.led = True
                    self.write_until(group)
        finally:
            self._hand_on(group)

    def _wait_for(self, group: WriteGroup) -> None:
        """Wait until called, or until a look shows that no call is to be waited for.

        Who asked for the lead meanwhile would stand in line there, where no call reaches it; with all
        in that line each writes a group of its own. The loop stands alone, as in :meth:`_write_until`.
        """
        while self.led and not group.is_over:
            before = self.durable
            if group.wait(PATIENCE, unless=self._is_unled):
                return
            if not self.at_work and self.durable is before:
                return

    def _is_unled(self) -> bool:
        return not self.led

    def _hand_on(self, group: WriteGroup) -> None:
        """Call the next who waits for a group, or, after the last of them, whoever leads next."""
        if group.call_one() or group.told:
            return
        group.told = group.is_over
        while not (self.groups and self._call_first()):
            self.led = False
            if not (self.groups and self._is_waited_for()):  # by who has seen that somebody led
                return
            self.led = True

    def _call_first(self) -> bool:
        """Call one of those who wait for the oldest group, to lead; False when there is none."""
        try:
            return self.groups[0].call_one()
        except IndexError:  # the last group was written just now
            return False

    def _is_waited_for(self) -> bool:
        try:
            return bool(self.groups[0].waiting)
        except IndexError:
            return False

    def write_until(self, group: WriteGroup) -> None:
        """Take the lead and write what is queued until a group is on the disk, or raise as :meth:`settle`."""
        with self.lead:
            self.at_work = True
            try:
                self._write_until(group)
            finally:
                self.at_work = False

    def _write_until(self, group: WriteGroup) -> None:
        """Do so. The loop stands alone: where one goes round, CPython 3.13 lets interrupts past a `with`."""
        while not group.settled:
            if group.error is not None:
                raise group.failure()
            if self._writing is not None and self.poison is None:  # whoever led was interrupted
                self.poison = "a write was interrupted"
                self._give_up(None)
                continue
            if self.poison is not None or not self.groups:
                raise CommitOutcomeUnknown(
                    f"{self.poison or INTERRUPTED}; reopen the ledger to see what is on disk"
                )
            oldest = self.groups[0]
            self._write_next()
            if oldest is not group:
                oldest.call_one()

    def settle_all(self) -> None:
        """Write what is queued; who waits for a group hears what became of it. The lead's holder may ask."""
        with suppress(BibankError):
            while self.groups and self.poison is None and not self.changing:
                newest = self.groups[-1]
                self.write_until(newest)
                newest.call_one()

    @contextmanager
    def settled(self) -> Iterator[WriteQueue]:
        """Hold both locks where all that was sealed is on the disk, and noted to be where that is noted.

        Raises what became of the ledger, and `StoreError` kinds.
        """
        self.inside.check_waiting()
        with self.lead, self.lock:
            self.settle_all()
            self.check_usable()
            if isinstance(self.store, HeadNotingStore):
                self.store.flush_head()
            self.machine.settle()
            yield self

    def _write_next(self) -> None:
        """Sign, write and sync the oldest group of the queue, as its leader, and tell each how it went."""
        with self.lock:
            self._writing = group = self.groups[0]
            if len(self.groups) == 1:
                self.machine.close_group()
        try:
            self.inside.leader = get_ident()
            try:
                self._write(group)
            finally:
                self.inside.leader = 0
        except (InvalidValue, KeystoreError, StoreUnavailable) as error:
            with self.lock:
                self._take_back(group, error)
            self._writing = None
            return
        except BaseException as error:
            self.poison = f"a commit failed: {error}" if isinstance(error, Exception) else INTERRUPTED
            self._give_up(error)
            if not isinstance(error, BibankError):
                raise
            return
        with self.lock:
            self._keep(group)
        self._writing = None

    def _keep(self, group: WriteGroup) -> None:
        """Say that the oldest group is on the disk."""
        before, self.changing = self.changing, True
        self.durable = group.head
        self.signer = group.signer
        self.groups.popleft()
        if self.groups:
            self.machine.forget(self.groups[0].mark)
        elif not before:
            self.machine.settle()
        self.changing = before
        if self.published is not None:
            self.published(group.batches)
        group.settled = True  # last: who is let out by this finds it published

    def _write(self, group: WriteGroup) -> None:
        machine, batches = self.machine, group.batches
        first = batches[0]
        if group.signer is not None:
            group.signer.sign(batches, ledger_id=machine.ledger_id)
        if type(batches[-1].drafts[-1]) is UnsignedRecord:  # it may have changed who signs
            machine.check_signed(batches[-1])
        lines = LineGroup(
            date=first.moment.date(),
            lines=tuple(chain.from_iterable(sealed.lines for sealed in batches)),
            expected_head=self.durable,
            head=group.head,
        )
        try:
            self.store.append(lines)
        except StoreError:
            raise
        except Exception as error:
            raise CommitOutcomeUnknown(
                f"the store raised {type(error).__name__}; reopen the ledger to see what is on disk"
            ) from error

    def _take_back(self, failed: WriteGroup, error: BibankError) -> None:
        """Undo a group that was certainly not written, and every group that was sealed on top of it.

        Reads take what is queued off the balances, so the queue is emptied after they are undone; an
        interrupt in between leaves `changing` set.
        """
        before, self.changing = self.changing, True
        queued = list(self.groups)
        batches = [sealed for group in queued for sealed in group.batches]
        self.machine.take_back(batches, failed.mark)
        self.machine.close_group()
        self.groups.clear()
        for group in queued:
            self.recovered = self.recovered or group.recovered
            group.error = error if group is failed else copy.copy(error)
        self._call_all(queued)
        if self.machine.head != self.store.head():
            self.poison = f"a commit failed: {error}"
        self.changing = before

    def _give_up(self, error: BaseException | None) -> None:
        """Say of the group that was on its way that it may be on the disk, of others that they are not."""
        with self.lock:
            self._fail_all(error)

    def _fail_all(self, error: BaseException | None) -> None:
        for group in self.groups:
            group.error = LedgerPoisoned(f"{self.poison}; nothing of this commit was written")
        if self._writing is not None:
            reason = f"{self.poison}; reopen the ledger to see what is on disk"
            unknown = error if isinstance(error, BibankError) else CommitOutcomeUnknown(reason)
            self._writing.error = unknown
        self._call_all(self.groups)

    def _call_all(self, groups: Iterable[WriteGroup]) -> None:
        """Let all go on who wait for groups that failed: their chain of calls would end with the first."""
        for group in groups:
            while group.call_one():
                pass

    def batch_of(self, sequence: int) -> tuple[SealedBatch, WriteGroup] | None:
        """Find the batch that holds a line which is not on the disk yet."""
        for group in self.groups:
            for sealed in group.batches:
                if sealed.first <= sequence < sealed.first + len(sealed.lines):
                    return sealed, group
        return None

    # ------------------------------------------------------------------ ending

    def close(self) -> None:
        """Close the store; what was sealed until then is written first."""
        self.inside.check_waiting()
        with self.lead:
            with self.lock:
                was_closed, self.closed = self.closed, True
            try:
                if not was_closed:
                    self.settle_all()
            finally:
                self.store.close()

    def disown(self) -> None:
        """In a forked child: the ledger is the parent's, and so is whatever thread held its locks."""
        self._renew_locks()
        self.groups = deque()
        if not self.closed:
            self.poison = "the ledger was opened by the parent of this process"
