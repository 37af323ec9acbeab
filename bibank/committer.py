"""From drafts to durable lines: the one way in, for any number of threads.

One lock covers stamp, judgement, sealing and the machine's memory; the write queue does the rest.
Results leave, and reads see, only what is durable.

A request with an idempotency key is looked up before it is judged: what was committed under that key
is the answer, as soon as it is durable.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from threading import get_ident
from weakref import WeakSet

from bibank.clock import ClockWatch
from bibank.errors import (
    BibankError,
    IdempotencyConflict,
    IntegrityError,
    InvalidInput,
    JournalCorrupt,
    Refused,
    StoreError,
    StoreUnavailable,
)
from bibank.journal.batches import PreparedBatch, SealedBatch
from bibank.journal.machine import BalanceChange, LedgerMachine
from bibank.journal.records import recovery_record
from bibank.model.lines import Head
from bibank.model.links import IdempotencyMark
from bibank.model.record import JournalLine, UnsignedRecord
from bibank.signing.lines import LineSigner
from bibank.store.protocol import HeadNotingStore, LedgerStore
from bibank.stored_lines import PassedLines, Placer, checked_lines, key_borne_by
from bibank.write_group import DurableView, StoredBatch, WriteGroup
from bibank.write_queue import INTERRUPTED, WriteQueue

_committers: WeakSet[Committer] = WeakSet()
"""Every committer of this process, for the day it forks."""

_UNREADABLE = (StoreError, IntegrityError)
"""What looking for a key may raise, and nothing else before a group is written."""

Found = SealedBatch | StoredBatch
"""What stands in the journal: sealed here, or read from it."""


class Committer:
    """Commits to one machine and one store, for any number of threads."""

    def __init__(
        self, machine: LedgerMachine, store: LedgerStore, clock: ClockWatch, signer: LineSigner | None
    ) -> None:
        self.machine = machine
        self.store = store
        self.clock = clock
        self._queue = WriteQueue(machine, store, signer)
        self.when_due: Callable[[], None] | None = None
        """What is called, outside every lock, after a commit that reaches `due`."""
        self.due = 0
        self.passed: PassedLines | None = None
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
            if self.when_due is not None and self._queue.durable.sequence >= self.due:
                self.when_due()
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

    def preview(self, batch: PreparedBatch) -> tuple[BalanceChange, ...]:
        """Judge a batch and change nothing."""
        with self._queue.lock:
            now = self._enter()
            try:
                self._queue.inside.asking = get_ident()
                try:
                    changes = self.machine.preview(batch, now)
                finally:
                    self._queue.inside.asking = 0
            except BaseException as error:
                self._leave(error)
                raise
            self._leave()
        return changes

    def now(self) -> datetime:
        """Tell the time that a line proposed now would carry, or an earlier one."""
        with self._queue.lock:
            now = self._enter()
            self._leave()
        return now

    def _seal(
        self,
        batch: PreparedBatch,
        *,
        successor: LineSigner | None = None,
        now: datetime | None = None,
    ) -> tuple[Found, WriteGroup | None]:
        """Seal one batch and queue it, to be signed by a successor or by whoever signs now.

        Gives the batch, and the group that it waits for; the ones of an earlier commit under its key.
        """
        with self._queue.lock:
            now = self._enter(now)
            try:
                self._queue.inside.asking = get_ident()
                try:
                    found = self._find(batch.key) if batch.key is not None else None
                    sealed = found or self._propose(batch, now, successor or self._queue.newest_signer)
                finally:
                    self._queue.inside.asking = 0
            except BaseException as error:
                self._leave(error)
                raise
            self._leave()
        return sealed

    def _propose(
        self, batch: PreparedBatch, now: datetime, signer: LineSigner | None
    ) -> tuple[SealedBatch, WriteGroup]:
        """Seal a batch into the open write group, or into a new one."""
        machine, groups = self.machine, self._queue.groups
        if machine.position.group and groups and machine.joins(len(batch.drafts), now):
            group = groups[-1]
            sealed = machine.propose(batch, now)
            group.batches.append(sealed)
            return sealed, group
        machine.close_group()
        group = WriteGroup(machine.mark(), signer)
        machine.cover = signer.cover if signer is not None else None
        if self._queue.recovered and machine.head.sequence:
            group = self._propose_recovery(group, batch, now)
        try:
            sealed = machine.propose(batch, now)
        except (Refused, InvalidInput):
            if group.recovered:
                machine.take_back(group.batches, group.mark)
            raise
        group.batches.append(sealed)
        groups.append(group)
        if group.recovered:
            self._queue.recovered = ()
        return sealed, group

    def _propose_recovery(self, group: WriteGroup, batch: PreparedBatch, now: datetime) -> WriteGroup:
        """Let a group begin with the record of the torn bytes that an opening set aside."""
        machine, queue = self.machine, self._queue
        record = recovery_record([found.to_body() for found in queue.recovered], ledger_id=machine.ledger_id)
        sealed = machine.propose(PreparedBatch((record,)), now)
        group.batches.append(sealed)
        group.recovered = queue.recovered
        if machine.joins(len(batch.drafts), now):
            return group
        queue.groups.append(group)  # the batch fills a group of its own
        queue.recovered = ()
        machine.close_group()
        return WriteGroup(machine.mark(), group.signer)

    def _seal_each(
        self, batches: Sequence[PreparedBatch], now: datetime | None, outcomes: list[Found | Refused]
    ) -> tuple[datetime, WriteGroup | None]:
        """Seal batches from the first without an outcome on, until their write group is full.

        Gives the time, and the group to wait for: their own, or the newest that one of their keys is in.
        """
        queue, begun = self._queue, len(outcomes)
        with queue.lock:
            current = self._enter(now)
            try:
                queue.inside.asking = get_ident()
                try:
                    group = self._seal_while_room(batches, current, outcomes)
                finally:
                    queue.inside.asking = 0
            except BaseException as error:
                self._leave(error)
                sealed = any(isinstance(outcome, SealedBatch) for outcome in outcomes[begun:])
                if sealed and queue.poison is None:  # what was sealed has nobody to wait for it
                    queue.poison = f"a commit failed: {error}"
                raise
            self._leave()
        return current, group

    def _seal_while_room(
        self, batches: Sequence[PreparedBatch], now: datetime, outcomes: list[Found | Refused]
    ) -> WriteGroup | None:
        group: WriteGroup | None = None
        awaited: WriteGroup | None = None
        position, propose = self.machine.position, self.machine.propose
        for batch in batches[len(outcomes) :] if outcomes else batches:
            if group is not None and not position.has_room(len(batch.drafts)):
                break
            try:
                if batch.key is not None and (found := self._find(batch.key)) is not None:
                    outcomes.append(found[0])
                    awaited = _newer(found[1], awaited)
                    continue
                if group is None:
                    sealed, group = self._propose(batch, now, self._queue.newest_signer)
                else:
                    sealed = propose(batch, now)
                    group.batches.append(sealed)
            except Refused as refusal:
                outcomes.append(refusal)
                continue
            except _UNREADABLE:
                if group is None:
                    raise
                break  # what is sealed is written before the error is met again
            outcomes.append(sealed)
        return group or awaited

    def _find(self, mark: IdempotencyMark) -> tuple[Found, WriteGroup | None] | None:
        """Find what was committed under a key, and the group that it waits for where it is not durable.

        Raises `IdempotencyConflict` when something else was asked for.
        """
        for sequence in self.machine.links.bearers(mark.key):
            queued = self._queue.batch_of(sequence)
            line = queued[0].view(sequence - queued[0].first) if queued else self._read(sequence, sequence)[0]
            borne = key_borne_by(line)
            if borne is None or not self.machine.links.keys.collide(borne.key, mark.key):
                raise Placer(self.store)(JournalCorrupt("it lost its idempotency key", sequence=sequence))
            if borne.key != mark.key:
                continue  # another key with the same hash
            if borne.digest != mark.digest:
                raise IdempotencyConflict(key=mark.key, sequence=sequence)
            first, last = line.batch.first, line.batch.first + line.batch.size - 1
            return queued or (StoredBatch(self._read(first, last)), None)
        return None

    def _read(self, first: int, last: int) -> tuple[JournalLine, ...]:
        place, ledger_id = Placer(self.store), self.machine.ledger_id_at
        try:
            lines = self.store.read(after_sequence=first - 1)
            found = tuple(checked_lines(lines, first=first, last=last, ledger_id=ledger_id, place=place))
            self.rely_on(*found)
            return found
        except BibankError:
            raise
        except Exception as error:
            raise StoreUnavailable(f"the store raised {type(error).__name__} when it was read") from error

    def rely_on(self, *lines: JournalLine) -> None:
        """Demand of lines that were read what opening did not; `JournalCorrupt`."""
        if self.passed is not None:
            self.passed.check(lines, ledger_id=self.machine.ledger_id_at)

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
                    queue.settle(group)
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
            queue.settle(group)
        except BaseException:
            if self.machine.head == self.durable:  # nothing of it was kept
                queue.recovered = recovered
            raise

    def _enter(self, now: datetime | None = None) -> datetime:
        """Begin to change memory, under the lock, and give the time; :meth:`_leave` ends it.

        Who asks a rule next says so in `inside.asking`.
        """
        queue, inside = self._queue, self._queue.inside
        inside.check_waiting()  # what is sealed has to be waited for
        queue.check_usable()
        if now is None:
            position = self.machine.position
            inside.asking = get_ident()
            try:
                now = self.clock.now(after=position.moment if position.sequence else None)
            finally:
                inside.asking = 0
        queue.changing = True
        return now

    def _leave(self, error: BaseException | None = None) -> None:
        """Say that memory is whole.

        A proposal that was refused has changed nothing, nor has an earlier line that could not be read;
        any other error may have, and poisons.
        """
        queue = self._queue
        queue.inside.asking = 0
        if error is not None and not isinstance(error, (Refused, InvalidInput, *_UNREADABLE)):
            queue.poison = f"a commit failed: {error}" if isinstance(error, Exception) else INTERRUPTED
        queue.changing = False

    # ------------------------------------------------------------------ reading, ending

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


def _newer(one: WriteGroup | None, other: WriteGroup | None) -> WriteGroup | None:
    """Give the group that is written later: when it is durable, so is the other."""
    if one is None or other is None:
        return one or other
    return one if one.batches[0].first > other.batches[0].first else other


def _disown_all() -> None:
    for committer in list(_committers):
        committer.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
