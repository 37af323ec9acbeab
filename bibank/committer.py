"""From drafts to durable lines: the one way in.

One lock covers stamp, judgement, sealing and writing. What the machine sealed but the store did
not take leaves memory ahead of the disk, so any failure between the two poisons the ledger: every
later call raises `LedgerPoisoned` until it is opened again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from threading import RLock

from bibank.clock import Clock
from bibank.errors import (
    CommitOutcomeUnknown,
    ConfigurationError,
    InvalidInput,
    LedgerClosed,
    LedgerPoisoned,
    Refused,
    StoreError,
)
from bibank.journal.batches import PreparedBatch, SealedBatch
from bibank.journal.machine import BalanceChange, LedgerMachine
from bibank.model.lines import Head, LineGroup
from bibank.store.protocol import LedgerStore


class Committer:
    """Commits to one machine and one store, for any number of threads."""

    def __init__(self, machine: LedgerMachine, store: LedgerStore, clock: Clock) -> None:
        self.machine = machine
        self.store = store
        self._clock = clock
        self._lock = RLock()
        self._inside = False
        self._poison: str | None = None
        self._closed = False

    def commit(self, batch: PreparedBatch) -> SealedBatch:
        """Commit one batch: all of it is durable on return, or an error says what happened."""
        with self._committing():
            now = self._clock.now()
            sealed = self.machine.propose(batch, now)
            with self._poisoning():
                self._write([sealed])
            return sealed

    def commit_each(self, batches: Sequence[PreparedBatch]) -> list[SealedBatch | Refused]:
        """Commit many independent batches in as few write groups as they fit into."""
        outcomes: list[SealedBatch | Refused] = []
        group: list[SealedBatch] = []
        with self._committing():
            now = self._clock.now()
            propose = self.machine.propose
            with self._poisoning():
                for batch in batches:
                    try:
                        sealed = propose(batch, now)
                    except Refused as refusal:
                        outcomes.append(refusal)
                        continue
                    if group and sealed.group != group[0].group:
                        self._write(group)
                        group = []
                    group.append(sealed)
                    outcomes.append(sealed)
                if group:
                    self._write(group)
        return outcomes

    def preview(self, batch: PreparedBatch) -> tuple[BalanceChange, ...]:
        """Judge a batch and change nothing."""
        with self._committing():
            return self.machine.preview(batch, self._clock.now())

    @contextmanager
    def reading(self) -> Iterator[LedgerMachine]:
        """Hold the lock around a look at the machine: what it shows is durable."""
        with self._lock:
            self._check_usable()
            yield self.machine

    def close(self) -> None:
        """Close the store; waits for a commit that is under way."""
        with self._lock:
            self._closed = True
            self.store.close()

    @property
    def state(self) -> str:
        """Say whether the ledger is open, closed or poisoned."""
        if self._closed:
            return "closed"
        return "open" if self._poison is None else "poisoned"

    @contextmanager
    def _committing(self) -> Iterator[None]:
        with self._lock:
            self._check_usable()
            if self._inside:
                raise ConfigurationError("a risk rule or a clock may not commit to the ledger that asks it")
            self._inside = True
            try:
                yield
            except (Refused, InvalidInput):
                raise  # judged before sealing: nothing has changed
            finally:
                self._inside = False

    @contextmanager
    def _poisoning(self) -> Iterator[None]:
        """Poison the ledger when what is inside does not finish."""
        self._poison = "a commit was interrupted"
        try:
            yield
        except StoreError as error:
            self._poison = f"a commit failed: {error}"
            raise
        except Exception as error:
            self._poison = f"a commit failed: {type(error).__name__}"
            raise CommitOutcomeUnknown(
                f"the store raised {type(error).__name__}; reopen the ledger to see what is on disk"
            ) from error
        self._poison = None

    def _write(self, group: list[SealedBatch]) -> None:
        first = group[0]
        self.store.append(
            LineGroup(
                date=date.fromisoformat(first.date),
                lines=tuple(line for sealed in group for line in sealed.lines),
                expected_head=Head(first.first - 1, first.prev_hash),
                head=group[-1].head,
            )
        )
        self.machine.close_group()

    def _check_usable(self) -> None:
        if self._closed:
            raise LedgerClosed("the ledger was closed")
        if self._poison is not None and not self._inside:
            raise LedgerPoisoned(f"{self._poison}; open the ledger again")
