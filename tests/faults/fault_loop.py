"""The fault loop: every call of every workload fails once, in each way that it can.

Nothing but typed errors and the interrupt itself may come out, no handle and no lock may stay, and what was
said not to be written is not there. Both what the killed process leaves in the page cache and what a power
cut leaves has to pass the check of every state.
"""

from __future__ import annotations

from collections import Counter

import attrs

import bibank as bb
from bibank.testing.faults import Fault, FaultPlan, SimulatedFiles
from tests.faults.state_check import (
    Disk,
    Promise,
    Violation,
    check_clean_close,
    check_state,
    demand,
    stored_lines,
)
from tests.faults.workloads import Workload

KINDS = {
    "EIO": (Fault.EIO, Fault.EIO_DROPPED),
    "no space": (Fault.ENOSPC,),
    "no space after half": (Fault.ENOSPC_PARTIAL,),
    "short write": (Fault.SHORT, Fault.ZERO),
    "too many files": (Fault.EMFILE,),
    "interrupt": (Fault.INTERRUPT, Fault.INTERRUPT_AFTER),
}
"""The six kinds of failure, and how each can look."""


@attrs.define
class LoopTally:
    """How often which kind of failure was tried, and what went wrong."""

    kinds: Counter[str] = attrs.field(factory=Counter)
    violations: list[str] = attrs.field(factory=list)

    def report(self, violation: str) -> None:
        """Take note of a violation."""
        self.violations.append(violation)


def fault_loop(workload: Workload, tally: LoopTally, *, stride: int = 1) -> None:
    """Run a workload once for every call and fault; of many, try each `stride`-th."""
    clean = SimulatedFiles(workload.disk)
    workload(clean)
    if workload.closes:
        try:
            check_clean_close(clean)
        except Violation as violation:
            tally.report(f"{workload.name}: {violation}")
    lines = stored_lines(clean.disk())
    number = 0
    for call, name in enumerate(clean.calls, 1):
        for kind, faults in KINDS.items():
            for fault in faults:
                if fault not in Fault.possible_in(name):
                    continue
                number += 1
                if number % stride:
                    continue
                tally.kinds[kind] += 1
                try:
                    fail_once(workload, FaultPlan(call, fault), lines)
                except Violation as violation:
                    where = f"{workload.name}, call {call} ({name}), {fault.name}"
                    tally.report(f"{where}: {violation}")


def count_lines(disk: Disk) -> int:
    """Count what ends in a newline in the day files: more than can be there after the next opening."""
    return sum(content.count(b"\n") for name, content in disk.items() if name.endswith(".jsonl"))


def fail_once(workload: Workload, plan: FaultPlan, clean: tuple[bytes, ...]) -> None:
    """Run a workload whose call fails, and check what is left."""
    files = SimulatedFiles(workload.disk, plan=plan)
    error: BaseException | None = None
    try:
        workload(files)
    except (bb.StoreError, KeyboardInterrupt) as raised:
        error = raised
    except BaseException as raised:
        raise Violation(f"{type(raised).__name__} came out: {raised}") from raised
    demand(files.has_failed, "the planned call did not come")
    if plan.fault is Fault.SHORT:
        demand(error is None, f"a short write was not continued: {error}")
        demand(stored_lines(files.disk()) == clean, "a short write changed the journal")
    demand(not files.open_handles, f"left open: {sorted(files.open_handles.values())}")
    demand(not (files.machine.is_directory_locked or files.machine.is_file_locked), "still locked")
    promise = Promise(*files.promise) if isinstance(files.promise, tuple) else Promise()
    if isinstance(error, bb.StoreError) and not isinstance(error, bb.CommitOutcomeUnknown):
        told = max(promise.sequence, count_lines(workload.disk))
        for disk in (files.disk(), files.durable()):
            left = count_lines(disk)
            demand(left <= told, f"line {left} is there, and was said not to be written: {error}")
    check_state(files.disk(), promise, workload.setting)
    check_state(files.durable(), promise, workload.setting)
