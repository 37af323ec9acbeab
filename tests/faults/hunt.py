"""The hunt for planted mutants: how many states and failures it takes until the harness notices each.

A catch is a `Violation`, or a typed refusal where nothing had failed. Any other error is one of the mutant's
text or of the harness, and ends the hunt: it would be no proof that a rule is watched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import attrs

import bibank as bb
from bibank.testing.faults import Fault
from tests.faults.campaign import Tally, calls_of, double_crash, failed_sync, power_cut
from tests.faults.fault_loop import LoopTally, fault_loop
from tests.faults.mutants import Mutant, planted
from tests.faults.pure import remembering
from tests.faults.state_check import Violation, check_floor
from tests.faults.workloads import (
    AHEAD,
    COVERED,
    UNSIGNED,
    WORKLOADS,
    Setting,
    Workload,
    owing,
    reopened_after_failure,
)

_STRIDES = (211, 41, 11)
"""Every so many of the states, thinly first: most mutants are seen at once."""

_OWING = next(workload for workload in WORKLOADS if workload.work is owing)
"""A short one with a torn write, a refusal, a commit and a close: each of its failures is tried at once."""

_FEW = 7
"""Each so many workloads are enough to see that planting itself breaks nothing."""


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


def hunt(
    mutant: Mutant, *, strides: Sequence[int] = _STRIDES, workloads: Sequence[Workload] = WORKLOADS
) -> Catch | None:
    """Look for a violation; None when the mutant survives all of it."""
    for workload in WORKLOADS:
        _ = workload.disk  # remembered by whoever asks first, and that must not be a mutant
    states, faults = FirstState(), FirstFault()
    violation = None
    with planted(mutant), remembering():
        try:
            for look in _looks(strides, workloads):
                look(states, faults)
        except (Caught, Violation) as caught:
            violation = str(caught)
        except bb.BibankError as error:
            if not isinstance(_root(error), bb.BibankError | OSError):
                raise
            violation = f"a run without a fault was refused: {type(error).__name__}: {error}"
    if violation is None:
        return None
    return Catch(tried=len(states.states) + sum(faults.kinds.values()), violation=violation)


def _root(error: BaseException) -> BaseException:
    """Give what an error began with."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def hunt_thinly(mutant: Mutant) -> Catch | None:
    """Look for a violation in the first pass over a few workloads: for what should survive."""
    return hunt(mutant, strides=_STRIDES[:1], workloads=WORKLOADS[::_FEW])


Look = Callable[[FirstState, FirstFault], None]


def _looks(strides: Sequence[int], workloads: Sequence[Workload]) -> Iterator[Look]:
    """All that is tried, the thinnest first."""
    for setting in (UNSIGNED, AHEAD):
        yield partial(_full, setting)
    for stride in strides:
        for workload in workloads:
            yield partial(_cut, workload, stride)
        yield partial(_loop, _OWING, 1)
        for workload in workloads:
            yield partial(_loop, workload, stride // 4)
        for setting in (UNSIGNED, AHEAD, COVERED):
            yield partial(_failed, setting, stride)
        for workload in workloads:
            yield partial(_twice, workload, stride)


def _full(setting: Setting, states: FirstState, _faults: FirstFault) -> None:
    try:
        check_floor(setting)
    except Violation as violation:
        states.report(str(violation))


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
