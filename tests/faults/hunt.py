"""The hunt for planted mutants: how many states and failures it takes until the harness notices each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import attrs

from bibank.testing.faults import Fault
from tests.faults.campaign import Tally, calls_of, double_crash, failed_sync, power_cut
from tests.faults.fault_loop import LoopTally, fault_loop
from tests.faults.mutants import Mutant, planted
from tests.faults.pure import remembering
from tests.faults.workloads import (
    AHEAD,
    COVERED,
    UNSIGNED,
    WORKLOADS,
    Setting,
    Workload,
    reopened_after_failure,
)

_STRIDES = (211, 41, 11)
"""Every so many of the states, thinly first: most mutants are seen at once."""


class Caught(Exception):
    """The harness noticed."""


class FirstState(Tally):
    """Stops at the first violation among states."""

    def report(self, violation: str) -> None:
        """Stop."""
        raise Caught(violation)


class FirstFault(LoopTally):
    """Stops at the first violation among failures."""

    def report(self, violation: str) -> None:
        """Stop."""
        raise Caught(violation)


@attrs.frozen(kw_only=True)
class Catch:
    """After how many states and failed calls a mutant was noticed, and by what."""

    tried: int
    violation: str


def hunt(mutant: Mutant) -> Catch | None:
    """Look for a violation; None when the mutant survives all of it."""
    states, faults = FirstState(), FirstFault()
    violation = None
    with planted(mutant), remembering():
        try:
            for look in _looks():
                look(states, faults)
        except Caught as caught:
            violation = str(caught)
        except Exception as error:  # noqa: BLE001 - a workload that fails without a fault is a catch too
            violation = f"a run without a fault ended in {type(error).__name__}: {error}"
    if violation is None:
        return None
    return Catch(tried=len(states.states) + sum(faults.kinds.values()), violation=violation)


Look = Callable[[FirstState, FirstFault], None]


def _looks() -> Iterator[Look]:
    """All that is tried, the thinnest first."""
    for stride in _STRIDES:
        for workload in WORKLOADS:
            yield partial(_cut, workload, stride)
        for workload in WORKLOADS:
            yield partial(_loop, workload, stride // 4)
        for setting in (UNSIGNED, AHEAD, COVERED):
            yield partial(_failed, setting, stride)
        for workload in WORKLOADS:
            yield partial(_twice, workload, stride)


def _cut(workload: Workload, stride: int, states: FirstState, _faults: FirstFault) -> None:
    power_cut(workload, states, stride=stride)


def _loop(workload: Workload, stride: int, _states: FirstState, faults: FirstFault) -> None:
    fault_loop(workload, faults, stride=stride)


def _failed(setting: Setting, stride: int, states: FirstState, _faults: FirstFault) -> None:
    for call, name in enumerate(calls_of(Workload(name="", setting=setting, work=reopened_after_failure)), 1):
        if name == "fdatasync":
            for fault in (Fault.EIO, Fault.EIO_DROPPED):
                failed_sync(setting, call, fault, states, stride=stride)


def _twice(workload: Workload, stride: int, states: FirstState, _faults: FirstFault) -> None:
    double_crash(workload, states, first=3, stride=stride)
