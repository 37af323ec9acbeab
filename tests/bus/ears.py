"""Subscribers for the tests of the bus: they write down what they hear, and fail or wait where they are told.

Every wait has a bound, so that a delivery that never comes fails a test and does not hang it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Event
from types import MappingProxyType
from unittest.mock import patch

import bibank as bb
from bibank.bus.ring import Ring
from bibank.store.protocol import LedgerStore
from tests.store.journals import SIGNER, StillClock, counted_bytes

PATIENCE_SECONDS = 20.0
"""How long a test waits for what has to happen before it fails."""

AT_ONCE = bb.Retry(attempts=3, first_seconds=0.0, factor=1.0, most_seconds=0.0)
"""Tries again without a pause, and parks at the third failure."""

Trouble = Mapping[int, Iterable[BaseException]]
"""What is raised for the entry of a sequence: one after the other, then it passes."""


class Planted(Exception):
    """A subscriber's own failure."""


def failures(count: int) -> list[BaseException]:
    """So many failures of a subscriber."""
    return [Planted(f"failure {number}") for number in range(1, count + 1)]


class Ear:
    """Writes down what it hears. Fails at the entries that it is told to."""

    def __init__(self, name: str = "ear", *, trouble: Trouble = MappingProxyType({})) -> None:
        self.name = name
        self.tried: list[bb.LedgerEvent] = []
        """Everything that came, also what it failed at."""
        self.heard: list[bb.LedgerEvent] = []
        """What it was done with."""
        self.trouble = {sequence: deque(errors) for sequence, errors in trouble.items()}
        self.changed = Condition()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.sequences}>"

    def handle(self, event: bb.LedgerEvent) -> None:
        """Take one event."""
        with self.changed:
            self.tried.append(event)
            self.changed.notify_all()
        if isinstance(event, bb.EntryCommitted):
            planned = self.trouble.get(event.sequence)
            if planned:
                raise planned.popleft()
        with self.changed:
            self.heard.append(event)
            self.changed.notify_all()

    @property
    def sequences(self) -> list[int]:
        """The sequences of the entries it was done with, in the order in which they came."""
        return [event.sequence for event in self.heard if isinstance(event, bb.EntryCommitted)]

    def attempts_at(self, sequence: int) -> int:
        """How often the entry of a sequence came."""
        return sum(
            isinstance(event, bb.EntryCommitted) and event.sequence == sequence for event in self.tried
        )

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition that only what is heard changes."""
        with self.changed:
            assert self.changed.wait_for(condition, timeout=PATIENCE_SECONDS), f"waited in vain: {self!r}"

    def wait_for(self, sequence: int) -> None:
        """Wait until it is done with the entry of a sequence."""
        self.wait_until(lambda: sequence in self.sequences)


class Gate(Ear):
    """Stands still at one entry until it is let through."""

    def __init__(self, name: str = "gate", *, at: int, trouble: Trouble = MappingProxyType({})) -> None:
        super().__init__(name, trouble=trouble)
        self.at = at
        self.reached = Event()
        self.opened = Event()

    def handle(self, event: bb.LedgerEvent) -> None:
        """Take one event, and wait at the one."""
        if isinstance(event, bb.EntryCommitted) and event.sequence == self.at:
            self.reached.set()
            assert self.opened.wait(PATIENCE_SECONDS), "nobody opened the gate"
        super().handle(event)

    def wait(self) -> None:
        """Wait until it stands at its entry."""
        assert self.reached.wait(PATIENCE_SECONDS), "the gate was never reached"


class Replayed(Ear):
    """Is told when a replay begins and ends; writes that down between the events."""

    def __init__(self, name: str = "replayed", *, trouble: Trouble = MappingProxyType({})) -> None:
        super().__init__(name, trouble=trouble)
        self.diary: list[str] = []

    def on_replay_start(self) -> None:
        """Hear that a replay begins."""
        self.diary.append("start")

    def on_replay_complete(self) -> None:
        """Hear that a replay is over."""
        self.diary.append("complete")

    def handle(self, event: bb.LedgerEvent) -> None:
        """Take one event."""
        super().handle(event)
        self.diary.append(told(event))


class Keeper(Ear):
    """Keeps its own cursor, together with its work, as one does that writes both in one transaction.

    `before` fails ahead of the transaction, `after` behind it: the work is done, and an error raised.
    """

    def __init__(
        self,
        name: str = "keeper",
        *,
        before: Trouble = MappingProxyType({}),
        after: Trouble = MappingProxyType({}),
    ) -> None:
        super().__init__(name, trouble=before)
        self.after = {sequence: deque(errors) for sequence, errors in after.items()}
        self.cursor: bb.Cursor | None = None
        self.asked = 0

    def load_cursor(self) -> bb.Cursor | None:
        """Say how far it has come."""
        self.asked += 1
        return self.cursor

    def handle(self, event: bb.LedgerEvent) -> None:
        """Take one event and the cursor with it."""
        super().handle(event)
        if isinstance(event, bb.EntryCommitted):
            self.cursor = event.cursor
            if planned := self.after.get(event.sequence):
                raise planned.popleft()


def told(event: bb.LedgerEvent) -> str:
    """Say an event in short."""
    match event:
        case bb.EntryCommitted():
            return str(event.sequence)
        case bb.ChainVerified():
            return f"verified {event.last_sequence}"
        case bb.ReplayStarted():
            return f"from {event.from_sequence}"
        case bb.ReplayCompleted():
            return f"completed {event.entries_count}"


def all_told(events: Iterable[bb.LedgerEvent]) -> list[str]:
    """Say events in short."""
    return [told(event) for event in events]


def in_memory() -> bb.Ledger:
    """A ledger without a disk: line 1 is the opening, line 2 a record, the next will be 3."""
    return bb.Ledger(
        store=bb.MemoryStore(),
        opening={"USDT": "1000"},
        clock=StillClock(),
        entropy=counted_bytes,
        signer=SIGNER,
    )


def home_at(path: Path) -> bb.Ledger:
    """The same in a directory, with the same bytes at each run; opened when it is there."""
    if path.exists():
        return bb.Ledger.open(path, clock=StillClock(), signer=SIGNER, snapshot_every=None)
    return bb.Ledger.create(
        path,
        opening={"USDT": "1000"},
        clock=StillClock(),
        entropy=counted_bytes,
        signer=SIGNER,
        snapshot_every=None,
    )


def deposit(ledger: bb.Ledger, count: int = 1) -> list[int]:
    """Commit some entries, one at a time; give their sequences."""
    return [ledger.deposit("ALICE", "1 USDT", correlation_id="r").sequence for _ in range(count)]


def record(ledger: bb.Ledger, owner: str) -> int:
    """Write a line that is no entry: freeze an owner's account; give its sequence."""
    account = bb.AccountKey(f"LIAB:USER:{owner}:USDT:AVAILABLE")
    return ledger.governance.freeze(account, reason="a test", correlation_id="r").sequence


def lines_of(store: LedgerStore) -> list[bytes]:
    """Every line of a journal."""
    return list(store.read(after_sequence=0))


def entries_of(ledger: bb.Ledger, *, after: int = 0) -> list[int]:
    """The sequences of the entries behind a line, read from the bytes."""
    members = map(json.loads, ledger._committer.store.read(after_sequence=0))
    return [line["sequence"] for line in members if "record" not in line and line["sequence"] > after]


def status_of(ledger: bb.Ledger | bb.LedgerReader, name: str) -> bb.SubscriberStatus:
    """How one subscriber stands."""
    (found,) = (row for row in ledger.bus.status() if row.name == name)
    return found


@contextmanager
def small_ring(lines: int) -> Iterator[None]:
    """Let a bus that is made meanwhile keep so few lines."""
    with patch.dict(Ring.__init__.__kwdefaults__, size=lines):
        yield
