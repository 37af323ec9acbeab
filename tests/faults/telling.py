"""What is told and shown while the power may fail: nothing that is not on the disk for certain.

Any workload runs with somebody who listens and reads: before and behind every call to the files, from another
thread, inside of a sync too. Each event and each read is compared with what a power cut at that very moment
could not take away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any, cast
from unittest.mock import patch

import bibank as bb
from bibank.testing.fault_plan import Fault, FaultPlan
from bibank.testing.faults import SimulatedFiles
from tests.faults.state_check import Violation, demand, naive_balances, parsed, stored_lines
from tests.faults.workloads import Setting, Workload, open_ledger

PATIENCE_SECONDS = 20.0
"""After so long a look that still waits for a call to the files is one that waits for the disk."""

_QUIET = frozenset({"calls", "promise", "machine", "has_failed", "open_handles", "disk", "durable"})
"""What of simulated files is no call."""


class Listener:
    """Subscribes to each ledger that is opened, and looks at it again and again."""

    def __init__(self) -> None:
        self.files: SimulatedFiles | None = None
        self.ledger: bb.Ledger | None = None
        self.bus: bb.EventBus | None = None
        self.told: list[tuple[int, str]] = []
        """Every entry it was told, in order, by sequence and hash."""
        self.stretches: list[list[int]] = []
        """The sequences that it was told by one ledger."""
        self.looks = 0
        self.reads = 0
        """Looks that could read: nobody held the ledger's lock."""
        self.violation: BaseException | None = None

    def attach(self, files: SimulatedFiles, ledger: bb.Ledger) -> None:
        """Listen to a ledger, from where it was told before."""
        self.files = files._files if isinstance(files, Looking) else files
        self.ledger, self.bus = ledger, ledger.bus
        self.stretches.append([])
        after = self.told[-1][0] if self.told else 0
        self.bus.subscribe(self.hear, name="listener", after_sequence=after)
        self.look()

    def hear(self, event: bb.LedgerEvent) -> None:
        """Take an event, and demand that it is on the disk."""
        try:
            assert isinstance(event, bb.EntryCommitted)
            assert self.files is not None
            demand(
                b'"hash":"%b"' % event.entry.hash.encode() in b"".join(self.files.durable().values()),
                f"entry {event.sequence} was told, and a power cut may take it",
            )
            self.told.append((event.sequence, event.entry.hash))
            self.stretches[-1].append(event.sequence)
        except BaseException as violation:
            self.violation = self.violation or violation
            raise

    def look(self) -> None:
        """Be told what there is to tell, and read, in another thread; the caller stands still meanwhile."""
        if self.ledger is None:
            return
        looking = Thread(target=self._look, daemon=True)
        looking.start()
        looking.join(PATIENCE_SECONDS)
        if self.violation is not None:
            raise Violation(f"{self.violation}") from self.violation
        if looking.is_alive():
            raise Violation("who listens waits for the disk")

    def _look(self) -> None:
        try:
            assert self.ledger is not None
            self.looks += 1
            assert self.bus is not None
            self.bus.pump()
            self._read(self.ledger)
        except (bb.StoreError, KeyboardInterrupt):
            pass  # it is closed or poisoned by now, or this very look had the planted fault
        except BaseException as violation:  # noqa: BLE001 - told to whoever waits for this thread
            self.violation = self.violation or violation

    def _read(self, ledger: bb.Ledger) -> None:
        """Demand of what is shown now that it is what is on the disk for certain."""
        assert self.files is not None
        lock = ledger._committer._queue.lock
        if not lock.acquire(blocking=False):
            return  # a call that holds the lock while it writes, such as a rotation: readers wait for it
        try:
            head, rows = ledger.head, ledger.accounts()
        finally:
            lock.release()
        lines = certain_lines(self.files)[: head.sequence]
        demand(len(lines) == head.sequence, f"line {head.sequence} is shown, {len(lines)} are on the disk")
        demand(not lines or parsed(lines[-1]).hash == head.hash, "the head is shown with another hash")
        balances = {row.account.text: row.balance.units for row in rows}
        demand(balances == naive_balances(lines), "balances are shown that are not on the disk")
        self.reads += 1
        if head.sequence > 0 and isinstance(self.files.promise, tuple):
            self.files.promise = max(self.files.promise, (head.sequence, head.hash))


def certain_lines(files: SimulatedFiles) -> tuple[bytes, ...]:
    """The whole lines that no power cut takes away."""
    disk = files.durable()
    content = b"".join(disk[name].rstrip(b"\0") for name in sorted(disk) if name.endswith(".jsonl"))
    return tuple(content.split(b"\n")[:-1])


class Looking:
    """Simulated files at which somebody looks before and behind every call."""

    def __init__(self, files: SimulatedFiles, look: Callable[[], None]) -> None:
        self.__dict__.update(_files=files, _look=look)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._files, name)
        if name in _QUIET or name.startswith("_"):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            self._look()
            result = found(*arguments, **options)
            self._look()
            return Looking(result, self._look) if name == "restart" else result

        return call

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._files, name, value)
        self._look()  # a promise: a call to the ledger has returned


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let the listener hear every ledger that a workload opens."""

    def opened(files: SimulatedFiles, setting: Setting, **options: Any) -> bb.Ledger:
        listener.ledger = None
        ledger = open_ledger(files, setting, **options)
        listener.attach(files, ledger)
        return ledger

    with patch("tests.faults.workloads.open_ledger", opened):
        yield


def listened(workload: Workload, files: SimulatedFiles, listener: Listener) -> None:
    """Run a workload with somebody who looks all the time."""
    with listening(listener):
        workload(cast("SimulatedFiles", Looking(files, listener.look)))


def check_told(listener: Listener, disk: dict[str, bytes], setting: Setting) -> None:
    """Demand that what was told is there, in order, and that a reopened ledger goes on behind it."""
    files = SimulatedFiles(disk)
    ledger = open_ledger(files, setting)
    lines = [parsed(line) for line in stored_lines(files.disk())]
    entries = [line.sequence for line in lines if not line.record]
    hashes = {line.sequence: line.hash for line in lines}
    for sequence, line_hash in listener.told:
        demand(hashes.get(sequence) == line_hash, f"entry {sequence} was told, and is not there")
    told = [sequence for sequence, _ in listener.told]
    demand(told == entries[: len(told)], f"told {told}, and there is {entries}")
    later: list[int] = []
    listener = Listener()
    listener.files = files

    def hear(event: bb.LedgerEvent) -> None:
        assert isinstance(event, bb.EntryCommitted)
        later.append(event.sequence)

    ledger.bus.subscribe(hear, name="listener", after_sequence=told[-1] if told else 0)
    ledger.bus.pump()
    demand(told + later == entries, f"{entries[len(told) :]} were left to tell, and {later} were told")
    ledger.close()


def told_under_failure(workload: Workload, plan: FaultPlan) -> Listener:
    """Let one call fail while somebody listens, and check what is left in the cache and on the disk."""
    files, listener = SimulatedFiles(workload.disk, plan=plan), Listener()
    try:
        listened(workload, files, listener)
    except (bb.StoreError, KeyboardInterrupt):
        pass
    check_told(listener, files.disk(), workload.setting)
    check_told(listener, files.durable(), workload.setting)
    return listener


FAULTS = (Fault.EIO, Fault.EIO_DROPPED, Fault.ENOSPC, Fault.ENOSPC_PARTIAL, Fault.SHORT, Fault.INTERRUPT)
