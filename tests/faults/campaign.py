"""The crash campaign: every state that a power cut can leave, once each, checked.

Three parts. One power cut while a workload runs. A second one while the first is recovered from. A
failed call, the process started anew on the page cache that is left, and then a power cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from functools import partial
from hashlib import blake2b
from random import Random

import attrs

from bibank.testing.faults import CrashState, Fault, FaultPlan, SimulatedFiles, crash_states
from tests.faults.pure import remembering
from tests.faults.state_check import Promise, Violation, check_state
from tests.faults.workloads import (
    SETTINGS,
    WORKLOADS,
    Setting,
    Workload,
    governing,
    groups_again,
    killed_and_reopened,
    owing,
    reopened_after_failure,
)

ONE_CUT = "one power cut"
SEED = 20261121
SAMPLES = 24
_WHOLLY = 10
"""Each so many states are checked to the end, also where an equal recovered disk was."""

_THINNED: dict[Callable[[SimulatedFiles, Setting], None], int] = {
    killed_and_reopened: 4,
    owing: 2,
    governing: 4,
}
"""Workloads of which each so many states are enough."""

_SYNCS = ("write", "pwrite", "fdatasync", "fsync_dir", "truncate")


@attrs.define
class Tally:
    """What a part of the campaign saw."""

    states: set[bytes] = attrs.field(factory=set, repr=False)
    """The digest of every distinct state: disk, promise and setting."""

    single: set[bytes] = attrs.field(factory=set, repr=False)
    """Those of them that a single power cut leaves, whatever else does."""

    went_on: set[bytes] = attrs.field(factory=set, repr=False)
    """The recovered disks from which going on was tried."""

    kinds: Counter[str] = attrs.field(factory=Counter)
    violations: list[str] = attrs.field(factory=list)

    def report(self, violation: str) -> None:
        """Take note of a violation."""
        self.violations.append(violation)

    def check(self, kind: str, state: CrashState, setting: Setting, where: str) -> bool:
        """Check a state unless it was seen before; tell whether it was new and held."""
        promise = Promise(*state.promise) if isinstance(state.promise, tuple) else Promise()
        digest = blake2b(
            repr((setting, promise, sorted(state.disk.items()))).encode(), digest_size=12
        ).digest()
        if kind == ONE_CUT:
            self.single.add(digest)
        if digest in self.states:
            return False
        self.states.add(digest)
        self.kinds[kind] += 1
        try:
            known = self.went_on if len(self.states) % _WHOLLY else None
            check_state(state.disk, promise, setting, known)
        except Violation as violation:
            self.report(
                f"{where}, after call {state.after_call} ({state.call}), {state.kind}, seed {state.seed}: "
                f"{violation}"
            )
            return False
        return True


Task = Callable[[Tally], None]


def power_cut(workload: Workload, tally: Tally, *, stride: int = 1) -> None:
    """Cut the power once while a workload runs; of many states, look at each `stride`-th."""
    for number, state in enumerate(crash_states(workload, disk=workload.disk, seed=SEED, samples=SAMPLES)):
        if number % stride == 0:
            tally.check(ONE_CUT, state, workload.setting, workload.name)


def double_crash(workload: Workload, tally: Tally, *, first: int, stride: int = 1) -> None:
    """Cut the power again while a ledger recovers from the first cut and commits; `first` cuts are tried."""
    states = list(crash_states(workload, disk=workload.disk, seed=SEED, samples=SAMPLES))
    torn = [state for state in states if state.disk]
    for state in Random(SEED).sample(torn, min(first, len(torn))):
        again = partial(recover, promise=state.promise, setting=workload.setting)
        for number, second in enumerate(crash_states(again, disk=state.disk, seed=SEED, samples=4)):
            if number % stride == 0:
                where = f"{workload.name}, crashed after call {state.after_call}, then"
                tally.check("second power cut", second, workload.setting, where)


def recover(files: SimulatedFiles, *, promise: Hashable, setting: Setting) -> None:
    """Open what a power cut left, and commit."""
    files.promise = promise
    groups_again(files, setting)


def failed_sync(setting: Setting, call: int, fault: Fault, tally: Tally, *, stride: int = 1) -> None:
    """Let one call fail, start the process anew on what the cache shows, and cut the power from then on."""
    workload = Workload(name="reopened after failure", setting=setting, work=reopened_after_failure)
    plan = FaultPlan(call, fault)
    where = f"{workload.name}, call {call}, {fault.name}"
    states = crash_states(workload, disk=workload.disk, plan=plan, seed=SEED, samples=4)
    later = (state for state in states if state.after_call >= call)  # before, it is a power cut like any
    for number, state in enumerate(later):
        if number % stride == 0:
            tally.check("reopened after a failure", state, setting, where)


def failed_syncs(setting: Setting, tally: Tally, *, stride: int = 1) -> None:
    """Let each call that writes or syncs fail."""
    work = Workload(name="", setting=setting, work=reopened_after_failure)
    for number, call in enumerate(calls_of(work), 1):
        for fault in (Fault.EIO, Fault.EIO_DROPPED):
            if call in _SYNCS and fault in Fault.possible_in(call):
                failed_sync(setting, number, fault, tally, stride=stride)


def calls_of(workload: Workload) -> list[str]:
    """Name the calls of a run without a fault."""
    files = SimulatedFiles(workload.disk)
    workload(files)
    return files.calls


def full_campaign() -> list[Task]:
    """Everything, in pieces that can be shared out: first the largest."""
    tasks: list[Task] = []
    for workload in WORKLOADS:
        tasks.append(partial(power_cut, workload, stride=_THINNED.get(workload.work, 1)))
        tasks.append(partial(double_crash, workload, first=5, stride=41))
    tasks += [partial(failed_syncs, setting, stride=9) for setting in SETTINGS.values()]
    return tasks


def run_tasks(tasks: list[Task]) -> Tally:
    """Run tasks one after the other, and say what they saw together."""
    tally = Tally()
    with remembering():
        for task in tasks:
            task(tally)
    return tally
