"""What is sealed and not yet on the disk: write groups in a queue, and the balances without them.

Inside the machine balances run ahead of the disk. Whoever looks at the ledger sees them through a
`DurableView`, which takes what is still queued off again.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from threading import Lock
from typing import Protocol

from bibank.errors import BibankError
from bibank.journal.accounts import Account
from bibank.journal.batches import SealedBatch
from bibank.journal.machine import LedgerMachine, MachineMark
from bibank.model.lines import Head
from bibank.model.record import JournalLine
from bibank.signing.lines import LineSigner
from bibank.store.protocol import SetAside


class Latch(Protocol):
    """What one thread waits on: a lock that is held until another thread lets it go."""

    def release(self) -> None:
        """Let the thread go on."""


class WriteGroup:
    """Sealed batches that are written and synced together, and what became of them.

    `mark` is where the machine stood before the first of them; `recovered` is what the first
    batch records of torn bytes, if it does.
    """

    __slots__ = ("batches", "error", "mark", "recovered", "settled", "signer", "told", "waiting")

    def __init__(self, mark: MachineMark, signer: LineSigner | None) -> None:
        self.mark = mark
        self.signer = signer
        self.batches: list[SealedBatch] = []
        self.recovered: tuple[SetAside, ...] = ()
        self.settled = False
        """Whether the group is on the disk."""
        self.error: BibankError | None = None
        """Why it is not, and will not be by this ledger."""
        self.waiting: deque[Latch] = deque()
        """Who waits to be told of it, or to lead; each is let go by whoever takes its latch out."""
        self.told = False
        """Whether all who waited were told, and the lead was handed on."""

    @property
    def is_over(self) -> bool:
        """Whether it is known what became of the group."""
        return self.settled or self.error is not None

    def wait(self, seconds: float, *, unless: Callable[[], bool]) -> bool:
        """Wait to be called, for so long; not at all when the group is over, or something else is so.

        Says whether somebody called. Who calls looks for a latch after it has changed what is asked here,
        and who waits leaves one before it asks: so either this sees the change, or the other sees the latch.
        """
        latch = Lock()
        latch.acquire()
        self.waiting.append(latch)
        if self.is_over or unless() or not latch.acquire(timeout=seconds):
            with suppress(ValueError):  # then somebody has just taken it: this thread is called
                self.waiting.remove(latch)
                return False
        return True

    def call_one(self) -> bool:
        """Let one of those who wait go on; False when nobody waits."""
        if not self.waiting:
            return False
        try:
            latch = self.waiting.popleft()
        except IndexError:  # another thread has called the last
            return False
        latch.release()
        return True

    @property
    def head(self) -> Head:
        """Where the journal stands after the group."""
        return self.batches[-1].head

    def failure(self) -> BibankError:
        """Give the error, and to the next who asks one of its own: no two threads raise the same object."""
        error = self.error
        assert error is not None
        self.error = copy.copy(error)
        self.error.__cause__ = error.__cause__
        return error


class DurableView:
    """The accounts of a machine as they are on the disk, and the last line there.

    Valid while the lock is held under which it was made.
    """

    def __init__(self, machine: LedgerMachine, head: Head, queued: Iterable[WriteGroup]) -> None:
        self.machine = machine
        self.head = head
        self._ahead: dict[Account, int] = {}
        self._made: set[Account] = set()
        for group in queued:
            for batch in group.batches:
                self._made.update(batch.made)
                for account, delta in machine.moves_of(batch.drafts):
                    self._ahead[account] = self._ahead.get(account, 0) + delta

    def units(self, text: str) -> int:
        """Tell the balance of an account in units; 0 when nobody used it."""
        account = self.machine.book.find(text)
        return self.balance(account) if account is not None else 0

    def balance(self, account: Account) -> int:
        """Tell the balance of an account in units."""
        return account.balance - self._ahead.get(account, 0)

    def accounts(self, prefix: str = "", *, after: str = "") -> Iterator[Account]:
        """Give the accounts whose key begins with a text, those after a key, sorted by key."""
        found = self.machine.book.with_prefix(prefix, after=after)
        return (account for account in found if account not in self._made)


class StoredBatch:
    """A batch that was found in the journal: its lines, as they were read."""

    __slots__ = ("first", "lines")

    def __init__(self, lines: tuple[JournalLine, ...]) -> None:
        self.lines = lines
        self.first = lines[0].sequence

    def view(self, index: int) -> JournalLine:
        """Give one line."""
        return self.lines[index]

    def views(self) -> tuple[JournalLine, ...]:
        """Give all lines."""
        return self.lines
