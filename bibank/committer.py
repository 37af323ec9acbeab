"""From drafts to durable lines: the one way in, for any number of threads.

One lock covers stamp, judgement, sealing and the machine's memory. Signing, writing and syncing
happen outside it, by one leader at a time: who has sealed a batch queues for the lead, writes the
whole group that was queued until then, and finds its own written when somebody else led.

Memory runs ahead of the disk meanwhile. Results leave, and reads see, only what is durable. What
the store did certainly not take is taken back, with all that was sealed on top of it. Whatever else
stops a commit midway, an interrupt included, poisons: every later call raises `LedgerPoisoned`.
"""

from __future__ import annotations

import copy
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import chain
from threading import RLock, get_ident
from weakref import WeakSet

from bibank.clock import ClockWatch
from bibank.errors import (
    BibankError,
    CommitOutcomeUnknown,
    InvalidInput,
    InvalidValue,
    KeystoreError,
    LedgerClosed,
    LedgerPoisoned,
    Refused,
    StoreError,
    StoreUnavailable,
)
from bibank.inside import Inside
from bibank.journal.batches import PreparedBatch, SealedBatch
from bibank.journal.machine import BalanceChange, LedgerMachine
from bibank.journal.records import recovery_record
from bibank.model.lines import LineGroup
from bibank.model.record import UnsignedRecord
from bibank.signing.lines import LineSigner
from bibank.store.protocol import LedgerStore
from bibank.write_group import DurableView, WriteGroup

_INTERRUPTED = "a commit was interrupted"

_committers: WeakSet[Committer] = WeakSet()
"""Every committer of this process, for the day it forks."""


class Committer:
    """Commits to one machine and one store, for any number of threads."""

    def __init__(
        self, machine: LedgerMachine, store: LedgerStore, clock: ClockWatch, signer: LineSigner | None
    ) -> None:
        self.machine = machine
        self.store = store
        self.signer = signer
        self.durable = machine.head
        """The last line that is on the disk."""
        self._clock = clock
        self._recovered = getattr(store, "set_aside", ())
        """Torn bytes that the next group has to record, before anything else."""
        self._queue: deque[WriteGroup] = deque()
        self._poison: str | None = None
        self._closed = False
        self._renew_locks()
        _committers.add(self)

    def _renew_locks(self) -> None:
        self._lock = RLock()
        self._sealing = False
        """Set while memory changes under the lock; found set by the next holder after an interrupt."""
        self._inside = Inside()
        self._lead = RLock()
        self._writing: WriteGroup | None = None
        """The group on its way to the disk; found by the next leader after an interrupt."""

    # ------------------------------------------------------------------ committing

    def commit(self, batch: PreparedBatch, *, successor: LineSigner | None = None) -> SealedBatch:
        """Commit one batch: all of it is durable on return, or an error says what happened.

        A `successor` signs this batch already, and all that follow when it is committed.
        """
        if any(type(draft) is UnsignedRecord for draft in batch.drafts):
            return self._commit_alone(batch, successor)
        sealed, group = self._seal(batch)
        self._settle(group)
        return sealed

    def commit_each(self, batches: Sequence[PreparedBatch]) -> list[SealedBatch | Refused]:
        """Commit many independent batches in as few write groups as they fit into."""
        outcomes: list[SealedBatch | Refused] = []
        now: datetime | None = None
        kept = 0
        try:
            while True:
                now, group = self._seal_each(batches, now, outcomes)
                if group is not None:
                    self._settle(group)
                    kept = group.head.sequence
                if len(outcomes) == len(batches):
                    return outcomes
        except BibankError as error:
            if kept:
                error.add_note(f"the items before, up to line {kept}, are committed and durable")
            raise

    def preview(self, batch: PreparedBatch) -> tuple[BalanceChange, ...]:
        """Judge a batch and change nothing."""
        with self._lock:
            now = self._enter()
            try:
                self._inside.asking = get_ident()
                try:
                    changes = self.machine.preview(batch, now)
                finally:
                    self._inside.asking = 0
            except BaseException as error:
                self._leave(error)
                raise
            self._leave()
        return changes

    def _seal(
        self, batch: PreparedBatch, *, successor: LineSigner | None = None
    ) -> tuple[SealedBatch, WriteGroup]:
        """Seal one batch and queue it, to be signed by a successor or by whoever signs now."""
        with self._lock:
            now = self._enter()
            try:
                self._inside.asking = get_ident()
                try:
                    sealed, group = self._propose(batch, now, successor or self._newest_signer())
                finally:
                    self._inside.asking = 0
            except BaseException as error:
                self._leave(error)
                raise
            self._leave()
        return sealed, group

    def _propose(
        self, batch: PreparedBatch, now: datetime, signer: LineSigner | None
    ) -> tuple[SealedBatch, WriteGroup]:
        """Seal a batch into the open write group, or into a new one."""
        machine, queue = self.machine, self._queue
        if machine.position.group and queue and machine.joins(len(batch.drafts), now):
            group = queue[-1]
            sealed = machine.propose(batch, now)
            group.batches.append(sealed)
            return sealed, group
        machine.close_group()
        group = WriteGroup(machine.mark(), signer)
        machine.cover = signer.cover if signer is not None else None
        if self._recovered and machine.head.sequence:
            group = self._propose_recovery(group, batch, now)
        try:
            sealed = machine.propose(batch, now)
        except (Refused, InvalidInput):
            if group.recovered:
                machine.take_back(group.batches, group.mark)
            raise
        group.batches.append(sealed)
        queue.append(group)
        if group.recovered:
            self._recovered = ()
        return sealed, group

    def _propose_recovery(self, group: WriteGroup, batch: PreparedBatch, now: datetime) -> WriteGroup:
        """Let a group begin with the record of the torn bytes that an opening set aside."""
        machine = self.machine
        record = recovery_record([found.to_body() for found in self._recovered], ledger_id=machine.ledger_id)
        sealed = machine.propose(PreparedBatch((record,)), now)
        group.batches.append(sealed)
        group.recovered = self._recovered
        if machine.joins(len(batch.drafts), now):
            return group
        self._queue.append(group)  # the batch fills a group of its own
        self._recovered = ()
        machine.close_group()
        return WriteGroup(machine.mark(), group.signer)

    def _seal_each(
        self,
        batches: Sequence[PreparedBatch],
        now: datetime | None,
        outcomes: list[SealedBatch | Refused],
    ) -> tuple[datetime, WriteGroup | None]:
        """Seal batches from the first without an outcome on, until their write group is full."""
        group: WriteGroup | None = None
        with self._lock:
            current = self._enter(now)
            machine = self.machine
            propose, position = machine.propose, machine.position
            self._inside.asking = get_ident()
            try:
                for batch in batches[len(outcomes) :] if outcomes else batches:
                    if group is None:
                        try:
                            sealed, group = self._propose(batch, current, self._newest_signer())
                        except Refused as refusal:
                            outcomes.append(refusal)
                            continue
                        outcomes.append(sealed)
                        continue
                    if not position.has_room(len(batch.drafts)):
                        break
                    try:
                        sealed = propose(batch, current)
                    except Refused as refusal:
                        outcomes.append(refusal)
                        continue
                    group.batches.append(sealed)
                    outcomes.append(sealed)
            except BaseException as error:
                self._leave(error)
                if group is not None and self._poison is None:  # what was sealed before it has nobody to wait
                    self._poison = f"a commit failed: {error}"
                raise
            finally:
                self._inside.asking = 0
            self._leave()
        return current, group

    def _newest_signer(self) -> LineSigner | None:
        """Tell who signs what is sealed now: the lock's holder alone may ask."""
        return self._queue[-1].signer if self._queue else self.signer

    def _commit_alone(self, batch: PreparedBatch, successor: LineSigner | None) -> SealedBatch:
        """Commit a batch with records in a group of its own, while nobody seals on top of it.

        A record may change who signs and what is demanded: none is in force, or seen, before it
        is durable.
        """
        self._inside.check_waiting()
        with self._lead, self._lock:
            while self._queue:
                self._settle(self._queue[-1])
            if self._recovered and self.machine.head.sequence:
                self._record_recovery()
            try:
                sealed, group = self._seal(batch, successor=successor)
                self._settle(group)
            except BaseException as error:
                if not isinstance(error, BibankError):  # what is sealed may change who signs
                    self._poison = self._poison or _INTERRUPTED
                raise
            return sealed

    def _record_recovery(self) -> None:
        """Commit the record of torn bytes by itself, signed by whoever signs now."""
        recovered, self._recovered = self._recovered, ()
        record = recovery_record([found.to_body() for found in recovered], ledger_id=self.machine.ledger_id)
        try:
            _, group = self._seal(PreparedBatch((record,)))
            self._settle(group)
        except BaseException:
            if self.machine.head == self.durable:  # nothing of it was kept
                self._recovered = recovered
            raise

    def _enter(self, now: datetime | None = None) -> datetime:
        """Begin to change memory, under the lock, and give the time."""
        self._check_usable()
        if now is None:
            position = self.machine.position
            self._inside.asking = get_ident()
            try:
                now = self._clock.now(after=position.moment if position.sequence else None)
            finally:
                self._inside.asking = 0
        self._sealing = True
        return now

    def _leave(self, error: BaseException | None = None) -> None:
        """Say that memory is whole: a proposal that was refused has changed nothing, any other may have."""
        if error is not None and not isinstance(error, Refused | InvalidInput):
            self._poison = f"a commit failed: {error}" if isinstance(error, Exception) else _INTERRUPTED
        self._sealing = False

    # ------------------------------------------------------------------ writing

    def _settle(self, group: WriteGroup) -> None:
        """Return when a group is on the disk, leading until it is; raise what became of it otherwise."""
        self._inside.check_waiting()
        with self._lead:
            while not group.settled:
                if group.error is not None:
                    raise group.failure()
                if self._writing is not None and self._poison is None:  # whoever led was interrupted
                    self._poison = "a write was interrupted"
                    self._give_up(None)
                    continue
                if self._poison is not None or not self._queue:
                    raise CommitOutcomeUnknown(
                        f"{self._poison or _INTERRUPTED}; reopen the ledger to see what is on disk"
                    )
                self._write_next()

    def _write_next(self) -> None:
        """Sign, write and sync the oldest group of the queue, as its leader, and tell each how it went."""
        with self._lock:
            self._writing = group = self._queue[0]
            if len(self._queue) == 1:
                self.machine.close_group()
        try:
            self._inside.leader = get_ident()
            try:
                self._write(group)
            finally:
                self._inside.leader = 0
        except (InvalidValue, KeystoreError, StoreUnavailable) as error:
            with self._lock:
                self._take_back(group, error)
            self._writing = None
            return
        except BaseException as error:
            self._poison = f"a commit failed: {error}" if isinstance(error, Exception) else _INTERRUPTED
            self._give_up(error)
            if not isinstance(error, BibankError):
                raise
            return
        with self._lock:
            self.durable = group.head
            self.signer = group.signer
            self._queue.popleft()
            group.settled = True
            if self._queue:
                self.machine.forget(self._queue[0].mark)
            elif not self._sealing:
                self.machine.settle()
        self._writing = None

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
        """Undo a group that was certainly not written, and every group that was sealed on top of it."""
        queued = list(self._queue)
        self._queue.clear()
        batches = [sealed for group in queued for sealed in group.batches]
        self.machine.take_back(batches, failed.mark)
        self.machine.close_group()
        for group in queued:
            self._recovered = self._recovered or group.recovered
            group.error = error if group is failed else copy.copy(error)
        if self.machine.head != self.store.head():
            self._poison = f"a commit failed: {error}"

    def _give_up(self, error: BaseException | None) -> None:
        """Say of the group that was on its way that it may be on the disk, of others that they are not."""
        with self._lock:
            for group in self._queue:
                group.error = LedgerPoisoned(f"{self._poison}; nothing of this commit was written")
            if self._writing is not None:
                reason = f"{self._poison}; reopen the ledger to see what is on disk"
                unknown = error if isinstance(error, BibankError) else CommitOutcomeUnknown(reason)
                self._writing.error = unknown

    def flush_head(self) -> None:
        """Let the store note how far it is durable, where it keeps such a note."""
        self._inside.check_waiting()
        with self._lead:
            with self._lock:
                self._check_usable()
            getattr(self.store, "flush_head", lambda: None)()

    # ------------------------------------------------------------------ reading, ending

    @contextmanager
    def reading(self) -> Iterator[DurableView]:
        """Hold the lock around a look at the accounts as they are on the disk."""
        with self._lock:
            self._check_usable()
            self._inside.reader = get_ident()
            try:
                yield DurableView(self.machine, self.durable, self._queue)
            finally:
                self._inside.reader = 0

    def close(self) -> None:
        """Close the store; what was sealed until then is written first."""
        self._inside.check_waiting()
        with self._lead:
            with self._lock:
                closed, self._closed = self._closed, True
            try:
                if not closed:
                    with suppress(BibankError):  # who waits for a group hears what became of it
                        self._settle_all()
            finally:
                self.store.close()

    def _settle_all(self) -> None:
        while self._queue and self._poison is None and not self._sealing:
            self._settle(self._queue[-1])

    @property
    def state(self) -> str:
        """Say whether the ledger is open, closed or poisoned."""
        return "closed" if self._closed else "open" if self._poison is None else "poisoned"

    def disown(self) -> None:
        """In a forked child: the ledger is the parent's, and so is whatever thread held its locks."""
        self._renew_locks()
        self._queue = deque()
        if not self._closed:
            self._poison = "the ledger was opened by the parent of this process"

    def _check_usable(self) -> None:
        self._inside.check()
        if self._closed:
            raise LedgerClosed("the ledger was closed")
        if self._sealing:
            self._poison = self._poison or _INTERRUPTED
        if self._poison is not None:
            raise LedgerPoisoned(f"{self._poison}; open the ledger again")


def _disown_all() -> None:
    for committer in list(_committers):
        committer.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
