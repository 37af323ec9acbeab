"""From drafts to durable lines: the one way in.

One lock covers stamp, judgement, sealing and writing. What the machine sealed but the store did
not take leaves memory ahead of the disk, so whatever stops a commit between the two, an interrupt
included, poisons the ledger: every later call raises `LedgerPoisoned` until it is opened again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import chain
from threading import RLock
from weakref import WeakSet

from bibank.clock import Clock
from bibank.errors import (
    CommitOutcomeUnknown,
    ConfigurationError,
    InvalidInput,
    InvalidValue,
    KeystoreError,
    LedgerClosed,
    LedgerPoisoned,
    Refused,
    StoreError,
    StoreUnavailable,
)
from bibank.journal.batches import PreparedBatch, SealedBatch
from bibank.journal.machine import BalanceChange, LedgerMachine
from bibank.journal.position import Position
from bibank.model.lines import Head, LineGroup
from bibank.model.record import UnsignedRecord
from bibank.model.timestamp import check_utc
from bibank.signing.lines import LineSigner
from bibank.store.protocol import LedgerStore

_committers: WeakSet[Committer] = WeakSet()
"""Every committer of this process, for the day it forks."""


class Committer:
    """Commits to one machine and one store, for any number of threads."""

    def __init__(
        self, machine: LedgerMachine, store: LedgerStore, clock: Clock, signer: LineSigner | None
    ) -> None:
        self.machine = machine
        self.store = store
        self.signer = signer
        self._clock = clock
        self._lock = RLock()
        self._inside = False
        self._poison: str | None = None
        self._closed = False
        _committers.add(self)

    def commit(self, batch: PreparedBatch, *, successor: LineSigner | None = None) -> SealedBatch:
        """Commit one batch: all of it is durable on return, or an error says what happened.

        A `successor` signs this batch already, and all that follow when it is committed.
        """
        signer = self.signer if successor is None else successor
        with self._committing() as now:
            mark = self.machine.mark()
            self._cover(signer)
            sealed = self.machine.propose(batch, now)
            self._write([sealed], mark, signer)
            self.signer = signer
        return sealed

    def commit_each(self, batches: Sequence[PreparedBatch]) -> list[SealedBatch | Refused]:
        """Commit many independent batches in as few write groups as they fit into."""
        outcomes: list[SealedBatch | Refused] = []
        group: list[SealedBatch] = []
        with self._committing() as now:
            propose, position = self.machine.propose, self.machine.position
            self._cover(self.signer)
            mark = self.machine.mark()
            for batch in batches:
                if group and not position.has_room(len(batch.drafts)):
                    self._write(group, mark, self.signer)
                    group, mark = [], self.machine.mark()
                try:
                    sealed = propose(batch, now)
                except Refused as refusal:
                    outcomes.append(refusal)
                    continue
                group.append(sealed)
                outcomes.append(sealed)
            if group:
                self._write(group, mark, self.signer)
        return outcomes

    def preview(self, batch: PreparedBatch) -> tuple[BalanceChange, ...]:
        """Judge a batch and change nothing."""
        with self._committing() as now:
            return self.machine.preview(batch, now)

    @contextmanager
    def reading(self) -> Iterator[LedgerMachine]:
        """Hold the lock around a look at the machine: what it shows is durable."""
        with self._lock:
            self._check_usable()
            yield self.machine

    def close(self) -> None:
        """Close the store; waits for a commit that is under way."""
        with self._lock:
            self._check_outside()
            self._closed = True
            self.store.close()

    @property
    def state(self) -> str:
        """Say whether the ledger is open, closed or poisoned."""
        if self._closed:
            return "closed"
        return "open" if self._poison is None else "poisoned"

    @contextmanager
    def _committing(self) -> Iterator[datetime]:
        """Hold the lock and give the time. Whatever stops what is inside poisons, unless nothing changed."""
        with self._lock:
            self._check_usable()
            before = self.machine.head
            try:
                self._inside = True
                now = check_utc(self._clock.now())
                self._poison = "a commit was interrupted"
                yield now
                self._poison = None
            except (Refused, InvalidInput) as error:
                unchanged = self.machine.head == before  # judged before sealing, or taken back
                self._poison = None if unchanged else f"a commit failed: {error}"
                raise
            except (KeystoreError, StoreUnavailable) as error:
                # Taken back; groups before it may be durable. Memory is to be where the store is.
                consistent = self.machine.head == self.store.head()
                self._poison = None if consistent else f"a commit failed: {error}"
                raise
            except StoreError as error:
                self._poison = f"a commit failed: {error}"
                raise
            finally:
                self._inside = False

    def _cover(self, signer: LineSigner | None) -> None:
        """Let the marks of the next lines say what their signer will sign."""
        self.machine.cover = signer.cover if signer is not None else None

    def _write(self, group: list[SealedBatch], mark: tuple[Position, int], signer: LineSigner | None) -> None:
        """Sign and append a group. What was certainly not written is taken back."""
        machine = self.machine
        first = group[0]
        try:
            if signer is not None:
                signer.sign(group, ledger_id=machine.ledger_id)
            if type(first.drafts[-1]) is UnsignedRecord:  # it may have changed who signs
                machine.check_signed(first)
            self._append(group, first)
        except (InvalidValue, KeystoreError, StoreUnavailable):
            machine.take_back(group, mark)
            raise
        machine.settle()

    def _append(self, group: list[SealedBatch], first: SealedBatch) -> None:
        lines = LineGroup(
            date=first.moment.date(),
            lines=tuple(first.lines if len(group) == 1 else chain.from_iterable(s.lines for s in group)),
            expected_head=Head(first.first - 1, first.prev_hash),
            head=group[-1].head,
        )
        try:
            self.store.append(lines)
        except StoreError:
            raise
        except Exception as error:
            raise CommitOutcomeUnknown(
                f"the store raised {type(error).__name__}; reopen the ledger to see what is on disk"
            ) from error

    def disown(self) -> None:
        """In a forked child: the ledger is the parent's, and so is whatever thread held its lock."""
        self._lock = RLock()
        self._inside = False
        if not self._closed:
            self._poison = "the ledger was opened by the parent of this process"

    def _check_usable(self) -> None:
        self._check_outside()
        if self._closed:
            raise LedgerClosed("the ledger was closed")
        if self._poison is not None:
            raise LedgerPoisoned(f"{self._poison}; open the ledger again")

    def _check_outside(self) -> None:
        if self._inside:
            raise ConfigurationError("a risk rule or a clock may not call the ledger that asks it")


def _disown_all() -> None:
    for committer in list(_committers):
        committer.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
