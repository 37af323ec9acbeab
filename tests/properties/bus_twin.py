"""A twin of a ledger, to which nobody listens: the same commits have the same outcomes and bytes."""

from __future__ import annotations

from collections.abc import Callable

import bibank as bb
from tests.bus.ears import in_memory, lines_of

Do = Callable[[bb.Ledger], object]


class Twin:
    """Does what the other ledger does, under the same clock, entropy and key; nobody listens."""

    def __init__(self) -> None:
        self.ledger = in_memory()

    def both(self, other: bb.Ledger, do: Do) -> None:
        """Do something to both, and demand the same outcome: what was given, or the refusal."""
        assert _outcome(other, do) == _outcome(self.ledger, do)

    def compare(self, other: bb.Ledger) -> None:
        """Demand the same journal, byte by byte, and the same balances."""
        assert lines_of(other._committer.store) == lines_of(self.ledger._committer.store)
        assert other.head == self.ledger.head
        assert list(other.accounts()) == list(self.ledger.accounts())
        assert self.ledger._committer.bus is None, "the twin has no bus"


def _outcome(ledger: bb.Ledger, do: Do) -> str:
    try:
        return repr(do(ledger))
    except bb.Refused as refusal:
        return repr((refusal.code, refusal))
