"""Real processes on a real disk: killed writers, interrupted commits, writers that race for one home."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from random import Random
from types import FrameType

import bibank as bb
from bibank.testing.faults import Fault, FaultPlan, SimulatedFiles
from tests.faults.pure import quiet
from tests.faults.state_check import (
    Promise,
    Violation,
    check_ledger,
    demand,
    naive_balances,
    stored_lines,
)
from tests.faults.workloads import (
    OTHER_SIGNER,
    SIGNED,
    UNSIGNED,
    Setting,
    Workload,
    open_ledger,
    owing,
)
from tests.store.journals import deposit, transfer

HOME_CYCLES = 25
"""Kills after which a fresh home is begun: replay takes longer with each."""

_LONGEST_COMMIT_SECONDS = 400e-6
_RECORD = 8


def in_child(work: Callable[[int], None]) -> tuple[int, int]:
    """Fork, let the child do its work with the end of a pipe to write to, and give its pid and our end."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return pid, ours
    try:
        os.close(ours)
        work(theirs)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - a child must not run on into the parent's test
        os._exit(1)


def write_for_ever(home: Path, pipe: int) -> None:
    """Commit in every way, and say after each call up to which line it is acknowledged."""
    with bb.Ledger.open_or_create(home, opening={"USDT": "1"}, lock_timeout_seconds=5) as ledger:
        while True:
            several = [deposit("A", "1 USDT") for _ in range(12)]
            ledger.commit_each([several[:3], *several[3:]])
            tell(pipe, ledger.head.sequence)
            ledger.commit(deposit("A", "1 USDT"))
            tell(pipe, ledger.head.sequence)


def tell(pipe: int, sequence: int) -> None:
    """Acknowledge a line to the parent: small writes to a pipe are whole or not at all."""
    os.write(pipe, sequence.to_bytes(_RECORD, "big"))


def kill_loop(directory: Path, *, cycles: int, seed: int) -> int:
    """Kill a writer so many times, each at a random moment; give how many lines were acknowledged.

    `SIGKILL` takes the process and leaves the page cache: this shows that nothing acknowledged was still in
    the process's memory, not that it was on the disk. Syncs are `crash_states`' to judge.
    """
    random = Random(seed)
    total = 0
    for cycle in range(cycles):
        home = directory / str(cycle // HOME_CYCLES)
        pid, pipe = in_child(partial(write_for_ever, home))
        heard = b""
        for _ in range(random.choice((0, 0, 1, 2, 5, 9))):
            heard += os.read(pipe, _RECORD)
        if random.random() < 0.5:
            time.sleep(random.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        while part := os.read(pipe, 1 << 16):
            heard += part
        os.close(pipe)
        os.waitpid(pid, 0)
        acknowledged = int.from_bytes(heard[-_RECORD:], "big")
        total += len(heard) // _RECORD
        where = f"kill {cycle}, seed {seed}"
        try:
            with bb.Ledger.open(home) as ledger:
                demand(ledger.head.sequence >= acknowledged, f"{where}: line {acknowledged} was lost")
                report = ledger.audit()
                demand(report.lines == ledger.head.sequence, f"{where}: the audit ends early")
                units = ledger.balance("A", "USDT").available.units
                demand(units == (report.entries - 1) * 10**8, f"{where}: the balance is not the entries'")
        except bb.HomeNotFound:
            demand(not acknowledged, f"{where}: the home is gone")
        except bb.BibankError as error:
            raise Violation(f"{where}: refused: {error}") from error
    return total


def race(directory: Path, *, writers: int, turns: int) -> int:
    """Let processes race for one home; give how many turns were refused with `LedgerBusy`."""
    home = directory / "raced"
    with bb.Ledger.create(home, opening={"USDT": "1"}):
        pass
    children = [in_child(partial(take_turns, home, number, turns)) for number in range(writers)]
    done = busy = 0
    for pid, pipe in children:
        heard = b""
        while part := os.read(pipe, 1 << 16):
            heard += part
        os.close(pipe)
        _, status = os.waitpid(pid, 0)
        demand(status == 0, "a racing writer ended in an error")
        done += heard.count(b"c")
        busy += heard.count(b"b")
    with bb.Ledger.open(home) as ledger:
        demand(ledger.audit(level="signatures").entries == done + 1, "the race lost or doubled a commit")
    return busy


def take_turns(home: Path, number: int, turns: int, pipe: int) -> None:
    """Open, commit once, close; again and again, and say each time how it went."""
    for turn in range(turns):
        try:
            with bb.Ledger.open(home, lock_timeout_seconds=0 if turn % 2 else 0.05) as ledger:
                ledger.deposit(f"W{number}", "1 USDT", correlation_id=f"r{turn}")
            os.write(pipe, b"c")
        except bb.LedgerBusy:
            os.write(pipe, b"b")


def interrupt_loop(*, interrupts: int, seed: int) -> int:
    """Interrupt commits and closes at random moments; give how many of the ledgers were usable afterwards."""
    random = Random(seed)
    landed = usable = 0
    with quiet():
        while landed < interrupts:
            setting = random.choice((UNSIGNED, SIGNED))
            hit, works = interrupt_once(setting, random)
            landed += hit
            usable += hit and works
    return usable


def interrupt_once(setting: Setting, random: Random) -> tuple[bool, bool]:
    """Interrupt one act; tell whether the interrupt came in time, and whether the ledger goes on.

    Some ledgers owe a recovery record, and of some the files fail once, about when the interrupt comes.
    """
    owes = random.random() < 0.2
    plan = None
    if random.random() < 0.2:
        call = calls_before(setting, owes=owes) + random.randint(1, 6)
        plan = FaultPlan(call, random.choice((Fault.EIO, Fault.ENOSPC, Fault.ENOSPC_PARTIAL)))
    files, ledger = begun(setting, owes=owes, plan=plan)
    act = random.choice(acts_on(ledger, setting))
    hit = interrupted(act, after_seconds=random.uniform(1e-6, _LONGEST_COMMIT_SECONDS))
    shown, rows = ledger.head, rows_of(ledger)
    if rows is not None:
        balances = {row.account.text: row.balance.units for row in rows}
        there = stored_lines(files.disk())[: shown.sequence]
        demand(balances == naive_balances(there), "a read shows what is not on the disk")
    try:
        entry = ledger.commit(deposit("D", "1 USDT"))
        shown, rows = ledger.head, rows_of(ledger)
        demand(entry.sequence == shown.sequence, "the head is not the last line committed")
    except bb.StoreError:
        rows = None
    with suppress(bb.StoreError):
        ledger.close()
    left = {name for name in files.open_handles.values() if not (owes and name.endswith(".jsonl"))}
    demand(not left, f"left open: {left}")  # a day file that was just being opened is known to nobody
    demand(not files.machine.is_directory_locked and not files.machine.is_file_locked, "still locked")
    again_files = files.restart()
    again = open_ledger(again_files, setting)
    check_ledger(again, again_files.disk(), Promise(shown.sequence, shown.hash))
    demand(rows is None or (again.accounts(), again.head) == (rows, shown), "memory and disk have diverged")
    return hit, rows is not None


def acts_on(ledger: bb.Ledger, setting: Setting) -> list[Callable[[], object]]:
    """What is interrupted: everything that writes, a commit that is refused, and closing."""

    def rotate() -> object:
        return ledger.keyring.rotate(OTHER_SIGNER, correlation_id="rotate")

    return [
        lambda: ledger.commit(transfer("A", "B", "1 USDT")),
        lambda: ledger.commit(transfer("B", "A", "999 USDT")),
        lambda: ledger.commit_batch([deposit("B", "1 USDT"), deposit("C", "1 USDT")]),
        lambda: ledger.commit_each([transfer("A", "B", "1 USDT"), [deposit("C", "1 USDT")] * 2]),
        ledger.close,
        *([rotate] if setting.signing != "none" else []),
    ]


def begun(setting: Setting, *, owes: bool, plan: FaultPlan | None) -> tuple[SimulatedFiles, bb.Ledger]:
    """Open a ledger that owes a recovery record, or one that has its day file open already."""
    disk = Workload(name="", setting=setting, work=owing, begins="torn" if owes else "founded").disk
    files = SimulatedFiles(disk, plan=plan)
    ledger = open_ledger(files, setting)
    if not owes:
        ledger.commit(deposit("A", "9 USDT"))
    return files, ledger


@lru_cache
def calls_before(setting: Setting, *, owes: bool) -> int:
    """Count the calls until the act."""
    return len(begun(setting, owes=owes, plan=None)[0].calls)


def rows_of(ledger: bb.Ledger) -> Sequence[bb.AccountBalance] | None:
    """Read the accounts; None when the ledger shows nothing any more."""
    try:
        return ledger.accounts()
    except (bb.LedgerPoisoned, bb.LedgerClosed):
        return None


def interrupted(act: Callable[[], object], *, after_seconds: float) -> bool:
    """Act, and be interrupted meanwhile by a real signal; tell whether that came in time.

    The act may be refused, or fail because its files do.
    """
    acting = True

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if acting:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, after_seconds)
        with suppress(bb.Refused, bb.StoreError):
            act()
        acting = False
    except KeyboardInterrupt:
        return True
    finally:
        acting = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return False
