"""From drafts to sealed batches: stamp, judgement and the chain, under one lock.

Memory runs ahead of the disk here; :mod:`bibank.committer` waits until the disk has caught up. A request
with an idempotency key is looked up before it is judged: what was committed under that key is the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from threading import get_ident

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
from bibank.model.links import IdempotencyMark
from bibank.model.record import JournalLine
from bibank.signing.lines import LineSigner
from bibank.store.protocol import LedgerStore
from bibank.stored_lines import PassedLines, Placer, checked_lines, key_borne_by
from bibank.write_group import StoredBatch, WriteGroup
from bibank.write_queue import INTERRUPTED, WriteQueue

_UNREADABLE = (StoreError, IntegrityError)
"""What looking for a key may raise, and nothing else before a group is written."""

Found = SealedBatch | StoredBatch
"""What stands in the journal: sealed here, or read from it."""

Sealed = tuple[Found, WriteGroup | None]
"""What was sealed or found, and the group that it waits for where it is not durable."""

SealedApart = tuple[int, Found, WriteGroup | None]
"""The same, behind the place of the caller that it is for."""


class Sealing:
    """Seals batches for one machine and one store; each method takes the lock itself."""

    def __init__(
        self, machine: LedgerMachine, store: LedgerStore, clock: ClockWatch, signer: LineSigner | None
    ) -> None:
        self.machine = machine
        self.store = store
        self.clock = clock
        self._queue = WriteQueue(machine, store, signer)
        self.passed: PassedLines | None = None

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
    ) -> Sealed:
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

    def _seal_apart(
        self, asked: list[tuple[int, PreparedBatch]], outcomes: list[Found | Exception | None]
    ) -> list[SealedApart]:
        """Seal batches from the end of a list on, until a write group is full; each is answered for itself.

        What cannot be sealed has its error among the outcomes, at the place that stands beside it. Gives
        what was sealed, or found under its key, each with its place.
        """
        queue = self._queue
        sealed: list[SealedApart] = []
        with queue.lock:
            try:
                now = self._enter()
            except Exception as error:  # noqa: BLE001 - whatever a clock raises is for who asked it; the next asks again
                outcomes[asked.pop()[0]] = error
                return sealed
            try:
                queue.inside.asking = get_ident()
                try:
                    self._seal_those_that_fit(asked, now, outcomes, sealed)
                finally:
                    queue.inside.asking = 0
            except BaseException as error:
                self._leave(error)
                if not isinstance(error, Exception):
                    raise
                outcomes[asked.pop()[0]] = error
            else:
                self._leave()
        return sealed

    def _seal_those_that_fit(
        self,
        asked: list[tuple[int, PreparedBatch]],
        now: datetime,
        outcomes: list[Found | Exception | None],
        sealed: list[SealedApart],
    ) -> None:
        group: WriteGroup | None = None
        position, propose = self.machine.position, self.machine.propose
        while asked:
            place, batch = asked[-1]
            if group is not None and not position.has_room(len(batch.drafts)):
                return
            try:
                found = self._find(batch.key) if batch.key is not None else None
                if found is not None:
                    sealed.append((place, *found))
                elif group is None:
                    one, group = self._propose(batch, now, self._queue.newest_signer)
                    sealed.append((place, one, group))
                else:
                    one = propose(batch, now)
                    group.batches.append(one)
                    sealed.append((place, one, group))
            except (Refused, InvalidInput, *_UNREADABLE) as error:
                outcomes[place] = error
            asked.pop()

    def _find(self, mark: IdempotencyMark) -> Sealed | None:
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


def _newer(one: WriteGroup | None, other: WriteGroup | None) -> WriteGroup | None:
    """Give the group that is written later: when it is durable, so is the other."""
    if one is None or other is None:
        return one or other
    return one if one.batches[0].first > other.batches[0].first else other
