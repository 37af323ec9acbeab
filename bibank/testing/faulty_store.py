"""A ledger store that fails at the n-th append, for the tests of those who build on a ledger.

>>> import bibank as bb
>>> from bibank.testing.faults import FaultyStore, StoreFault, StoreFaultPlan
>>> plan = StoreFaultPlan(append=2, fault=StoreFault.UNKNOWN_WRITTEN)
>>> ledger = bb.Ledger(store=FaultyStore(bb.MemoryStore(), plan), opening={"USDT": "10"})
>>> try:
...     ledger.deposit("ALICE", "1 USDT", correlation_id="r1")
... except bb.CommitOutcomeUnknown:
...     print("ask for it by its correlation id, after opening the ledger again")
ask for it by its correlation id, after opening the ledger again
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import assert_never

import attrs

from bibank.errors import CommitOutcomeUnknown, LedgerPoisoned, StoreUnavailable
from bibank.model.lines import Head, LineGroup
from bibank.store.protocol import LedgerStore


class StoreFault(Enum):
    """How an append fails."""

    UNAVAILABLE = "nothing was written, and the store says so; the next append succeeds"
    UNKNOWN_LOST = "nothing was written, and the store cannot tell"
    UNKNOWN_WRITTEN = "everything was written, and the store cannot tell"


@attrs.frozen
class StoreFaultPlan:
    """Append number `append`, counted from 1, has a fault."""

    append: int = attrs.field(validator=attrs.validators.ge(1))
    fault: StoreFault


class FaultyStore:
    """A `LedgerStore` over another, of which one append fails.

    After an unknown outcome it is poisoned, as a real one is: `append` and `read` raise `LedgerPoisoned`,
    and `head` stays. What is really there is in `inner`; a new ledger over that is the one after reopening.
    """

    def __init__(self, inner: LedgerStore, plan: StoreFaultPlan) -> None:
        self.inner = inner
        """What the groups go to."""
        self.appends = 0
        """How many appends were asked for."""
        self._plan = plan
        self._head_then: Head | None = None
        """Where the store stood when it was poisoned."""

    def __repr__(self) -> str:
        return f"<FaultyStore over {self.inner!r}>"

    def head(self) -> Head:
        """Tell the last line that is known to be durable."""
        return self._head_then if self._head_then is not None else self.inner.head()

    def append(self, group: LineGroup) -> None:
        """Append a group, or fail as planned.

        Raises `StoreUnavailable`, `CommitOutcomeUnknown`, `LedgerPoisoned`.
        """
        self._check_usable()
        self.appends += 1
        if self.appends != self._plan.append:
            self.inner.append(group)
            return
        head = self.inner.head()
        match self._plan.fault:
            case StoreFault.UNAVAILABLE:
                raise StoreUnavailable("planted: nothing was written")
            case StoreFault.UNKNOWN_LOST:
                pass
            case StoreFault.UNKNOWN_WRITTEN:
                self.inner.append(group)
            case _:
                assert_never(self._plan.fault)
        self._head_then = head
        raise CommitOutcomeUnknown("planted: reopen the ledger to see what was written")

    def read(self, *, after_sequence: int = 0) -> Iterator[bytes]:
        """Give the lines after a sequence; `LedgerPoisoned` after an unknown outcome."""
        self._check_usable()
        return self.inner.read(after_sequence=after_sequence)

    def close(self) -> None:
        """Close the inner store."""
        self.inner.close()

    def _check_usable(self) -> None:
        if self._head_then is not None:
            raise LedgerPoisoned("planted: the outcome of an append is unknown; open the ledger again")
