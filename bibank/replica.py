"""A replica: the state of a ledger that another process writes, kept up to date by reading its files.

New lines are judged twice. A `Trial` stands where the replica's machine does and goes on alone, to
the end of what is written: every rule of replay, the signatures included. Only then does the machine
take the lines that may be shown, up to the end of a batch. So an error leaves the replica where it
was, and what is written but not yet known to be on the disk can be looked at without being shown.

A batch is known to be on the disk when HEAD covers it, or when a valid line of a later write group
follows: a writer begins a group after it has synced the one before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Lock, RLock
from typing import TYPE_CHECKING, Literal
from weakref import WeakSet

from bibank.errors import BibankError, JournalCorrupt, JournalError, LedgerClosed, LedgerPoisoned
from bibank.journal.accounts import Account, AccountBook
from bibank.journal.gate import Bystander
from bibank.journal.machine import LedgerMachine
from bibank.journal.reader import LineReader
from bibank.model.account import AccountKey
from bibank.model.lines import Head
from bibank.opening import Verify, accept_all
from bibank.signing.trust import KeyringTrust, Sink, verify_never, verify_now
from bibank.store.jsonl.days import Days
from bibank.store.jsonl.files import Files
from bibank.store.jsonl.follow import (
    Spot,
    Walk,
    below_head,
    check_mark,
    check_spot,
    days_up_to,
    is_unchanged,
    look_again,
    note_line,
    read_mark,
    spot_of,
)
from bibank.store.jsonl.head import HeadMark
from bibank.write_group import DurableView

if TYPE_CHECKING:
    from bibank.bus.bus import EventBus

Show = Literal["durable", "written"]

_TAKEN_BYTES = 1 << 20
"""How many bytes of lines are taken together: bounds memory, and how long a question waits."""

_replicas: WeakSet[Replica] = WeakSet()
"""Every replica of this process, for the day it forks."""


class _TrialBook(AccountBook):
    """Accounts that begin with the balances of another book, and change without it."""

    __slots__ = ("_real",)

    def __init__(self, real: AccountBook) -> None:
        super().__init__()
        self._real = real
        self.terms.update(real.terms)

    def make(self, key: AccountKey) -> Account:
        """Make an account as it stands in the other book, or a new one."""
        account = super().make(key)
        known = self._real.find(account.text)
        if known is not None:
            account.balance = known.balance
        return account


class Trial:
    """Judges the lines behind a machine as the machine would, and leaves it as it is."""

    def __init__(self, machine: LedgerMachine, trust: KeyringTrust, sink: Sink) -> None:
        self.position = machine.position.copy()
        self.trust = trust.copy(sink)
        self._reader = LineReader(
            _TrialBook(machine.book), machine.links.trial(), self.position, Bystander(), self.trust
        )
        self._reader.rules = machine.rules.copy()
        self._reader.ledger_id = machine.ledger_id

    def accept(self, line: bytes, spot: Spot) -> None:
        """Take one line; `JournalCorrupt` or `UnsupportedFormat`, with file and line."""
        sequence = self.position.sequence + 1
        try:
            if b'"timestamp":"%b' % spot.file[:10].encode() not in line:
                raise JournalCorrupt(
                    "the line is not of the date that the file is named for", sequence=sequence
                )
            self._reader.accept(line)
        except JournalError as error:
            number = spot.lines - sequence + error.sequence  # a batch stands in one file
            raise type(error)(
                error.reason, sequence=error.sequence, file=spot.file, line=number
            ) from error.__cause__
        except BibankError as error:
            raise JournalCorrupt(str(error), sequence=sequence, file=spot.file, line=spot.lines) from error

    @property
    def whole(self) -> bool:
        """Whether the last line ends a batch, and leaves no write group without its signature."""
        return self.position.batch is None and not self.position.unsigned

    @property
    def begins_group(self) -> bool:
        """Whether the last line began a write group."""
        return self.position.group == self.position.sequence


class Replica:
    """A `Source` for queries that follows a journal. Safe for use from many threads.

    Raises what the journal's lines deserve: `JournalCorrupt`, `JournalTruncated`,
    `UnsupportedFormat`, `StoreUnavailable`.
    """

    def __init__(self, files: Files, mark: HeadMark, *, verify: Verify, show: Show) -> None:
        self._files = files
        self.shows_all = show == "written"
        self._sink = verify_never if verify == "chain" else verify_now
        mark = read_mark(files, mark)
        self._days = days_up_to(files, mark)
        self.machine, self._trust = accept_all(
            self._days.scan(), gate=Bystander(), verify=verify, place=self._days.place
        )
        self._trust.sink = verify_never  # what the machine takes has passed a trial
        self.durable = self.machine.head
        self._mark = mark
        self._spot = spot_of(files, self._days, mark)
        """Behind the last line that the machine has."""
        check_mark(mark, self._spot, self.durable)
        self._seen: Spot | None = None
        """Where the last look ended: everything up to there was judged."""
        self.known = self._trust
        """Every keyring version that is written, also by lines that are not shown yet."""
        self._poison: str | None = None
        self._closed = False
        """Set without the lock: who reads at that moment still gets an answer."""
        self._taking = False
        """Set while the machine changes; found set by the next caller after an interrupt."""
        self.bus: EventBus | None = None
        self._renew_locks()
        _replicas.add(self)
        self.refresh()

    def _renew_locks(self) -> None:
        self._looking = Lock()
        self._lock = RLock()
        self._ended = Event()

    # ------------------------------------------------------------------ what queries need

    @property
    def store(self) -> Days:
        """The lines."""
        return self._days

    @contextmanager
    def reading(self) -> Iterator[DurableView]:
        """Hold the lock around a look at the accounts."""
        with self._lock:
            self._check_usable()
            yield DurableView(self.machine, self.durable, ())

    def publishing(self, make: Callable[[Head], EventBus]) -> EventBus:
        """Give the bus that hears of everything shown; make it at first, as of the last line shown."""
        with self._lock:
            if self.bus is None:
                self._check_usable()
                self.bus = make(self.durable)
            return self.bus

    # ------------------------------------------------------------------ following

    def refresh(self) -> int:
        """Take what may be shown by now; give the number of new lines."""
        with self._looking:
            with self._lock:
                self._check_usable()
            before = self.durable.sequence
            look_again(self._advance)
            return self.durable.sequence - before

    def _advance(self) -> None:
        """Look at HEAD first, then at the lines up to the end of what is written; take what may be shown."""
        mark = read_mark(self._files, self._mark)
        if mark == self._mark and self._seen is not None and is_unchanged(self._files, self._seen):
            return
        check_spot(self._files, self._spot, sequence=self.durable.sequence)
        trial = Trial(self.machine, self._trust, self._sink)
        position = trial.position
        walk = Walk(self._files, self._spot)
        ahead: list[tuple[bytes, Spot]] = []
        size = reach = 0
        for line, spot in walk:
            trial.accept(line, spot)
            if trial.begins_group:
                reach = len(ahead)
            ahead.append((line, spot))
            size += len(line)
            if position.sequence == mark.sequence:
                check_mark(mark, spot, position.head)
                if not trial.whole:
                    raise _inside_batch(mark, spot)
            if trial.whole and (self.shows_all or position.sequence <= mark.sequence):
                reach = len(ahead)
            if reach and size >= _TAKEN_BYTES:
                self._take(ahead[:reach])
                del ahead[:reach]
                size, reach = sum(len(line) for line, _ in ahead), 0
        sequence = position.sequence + 1
        if sequence <= mark.sequence:
            raise below_head(mark, walk.spot, walk.stop, sequence=sequence)
        stop = walk.stop
        if stop is not None and not stop.last:
            reason = f"{stop.reason}, and this is not the newest file"
            raise JournalCorrupt(reason, sequence=sequence, file=stop.file, line=stop.line)
        self._take(ahead[:reach])
        self.known = trial.trust
        self._mark, self._seen = mark, walk.spot

    def _take(self, lines: Sequence[tuple[bytes, Spot]]) -> None:
        """Let the machine have lines that passed their trial and end a batch."""
        if not lines:
            return
        with self._lock:
            self._check_usable()
            self._taking = True
            for line, spot in lines:
                self.machine.accept(line)
                note_line(self._days, spot, sequence=self.machine.head.sequence)
            self.machine.check_end()
            self.durable = self.machine.head
            self._spot = spot
            self._taking = False
            if self.bus is not None:
                self.bus.advance(self.durable)

    # ------------------------------------------------------------------ ending

    def close(self) -> None:
        """Take no more questions, and wake who waits. Nothing is held open."""
        self._closed = True
        self._ended.set()

    def wait(self, seconds: float) -> None:
        """Wait so long, or until the replica is closed."""
        self._ended.wait(seconds)

    @property
    def state(self) -> str:
        """Say whether the replica is open, closed or poisoned."""
        if self._closed:
            return "closed"
        return "open" if self._poison is None else "poisoned"

    def disown(self) -> None:
        """In a forked child: another thread of the parent may have been changing the machine."""
        self._renew_locks()
        self._poison = "the reader was opened by the parent of this process"

    def _check_usable(self) -> None:
        if self._closed:
            raise LedgerClosed("the reader was closed")
        if self._taking:
            self._poison = self._poison or "a refresh was interrupted"
        if self._poison is not None:
            raise LedgerPoisoned(f"{self._poison}; open a reader again")


def _inside_batch(mark: HeadMark, spot: Spot) -> JournalCorrupt:
    return JournalCorrupt(
        f"HEAD names line {mark.sequence}, which does not end a batch",
        sequence=mark.sequence,
        file=spot.file,
        line=spot.lines,
    )


def _disown_all() -> None:
    for replica in list(_replicas):
        replica.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
