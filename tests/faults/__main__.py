"""The whole of the fault tests, with every count: `python -m tests.faults`, or `nox -s faults`.

Ends with status 1 on any violation, on any mutant that survives, on any control that does not, and when there
were fewer crash states than the harness is there for, or they took too long. The ordinary tests run a short
form of each part.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from tests.faults.campaign import SEED, Tally, full_campaign, run_tasks
from tests.faults.fault_loop import LoopTally, fault_loop
from tests.faults.hunt import Catch, hunt, hunt_thinly
from tests.faults.mutants import CONTROLS, MUTANTS, Mutant
from tests.faults.processes import interrupt_loop, kill_loop, race
from tests.faults.pure import remembering
from tests.faults.tampering import (
    TamperTally,
    cut_and_rearrange,
    cut_behind_older_heads,
    flip_every_bit,
    flip_every_newline,
    flip_head,
)
from tests.faults.workloads import WORKLOADS, Workload

LEAST_STATES = 150_000
LEAST_TWICE_SHARE = 0.1
LONGEST_SECONDS = 90
KILLS = 300
INTERRUPTS = 400
_SHOWN = 20

T = TypeVar("T")


def main() -> int:
    """Run every part; give the exit status."""
    failures = 0
    workers = os.cpu_count() or 1
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        for part in (crash_states_part, fault_part, tamper_part, mutant_part):
            failures += part(pool.map, workers)
    failures += process_part()
    print("no violation" if not failures else f"{failures} violations")
    return 1 if failures else 0


Mapper = Callable[..., Iterable[T]]


def crash_states_part(mapped: Mapper[Tally], workers: int) -> int:
    """Every state of the campaign."""
    begun = time.monotonic()
    tasks = full_campaign()
    shares = [tasks[number :: workers * 12] for number in range(workers * 12)]
    states: set[bytes] = set()
    single: set[bytes] = set()
    recovered: set[bytes] = set()
    kinds: Counter[str] = Counter()
    violations: list[str] = []
    for tally in mapped(run_tasks, shares):
        states |= tally.states
        single |= tally.single
        kinds += tally.kinds
        recovered |= tally.went_on
        violations += tally.violations
    seconds = time.monotonic() - begun
    twice = 1 - len(single) / len(states)
    print(
        f"{len(states)} distinct crash states in {seconds:.0f} s, {len(violations)} violations (seed {SEED})"
    )
    print(f"  {dict(kinds)}; {twice:.0%} of the distinct ones need a double crash or a failed call")
    print(f"  {len(recovered)} distinct disks after recovery, each recovered again and committed to")
    if len(states) < LEAST_STATES or twice < LEAST_TWICE_SHARE:
        violations.append(f"there should be {LEAST_STATES} states, {LEAST_TWICE_SHARE:.0%} of them such")
    if seconds > LONGEST_SECONDS:
        violations.append(f"it took {seconds:.0f} s, and should take {LONGEST_SECONDS} s at most")
    return told(violations)


def fault_part(mapped: Mapper[LoopTally], _workers: int) -> int:
    """Every call, every failure."""
    kinds: Counter[str] = Counter()
    violations: list[str] = []
    for tally in mapped(_looped, WORKLOADS):
        kinds += tally.kinds
        violations += tally.violations
    print(f"{kinds.total()} failed calls {dict(kinds)}, {len(violations)} violations")
    return told(violations)


def _looped(workload: Workload) -> LoopTally:
    tally = LoopTally()
    with remembering():
        fault_loop(workload, tally)
    return tally


def tamper_part(mapped: Mapper[TamperTally], workers: int) -> int:
    """Every change of a signed journal."""
    shards = [(number, workers * 4) for number in range(workers * 4)]
    sweeps: list[Callable[[TamperTally], None]] = [
        *(partial(flip_every_bit, shard=shard) for shard in shards),
        *(partial(flip_every_newline, shard=shard) for shard in shards),
        *(partial(cut_and_rearrange, shard=shard) for shard in shards),
        cut_behind_older_heads,
        flip_head,
    ]
    kinds: Counter[str] = Counter()
    violations: list[str] = []
    for tally in mapped(_swept, sweeps):
        kinds += tally.kinds
        violations += tally.violations
    print(f"{kinds.total()} changes {dict(kinds)}, {len(violations)} undetected")
    return told(violations)


def _swept(sweep: Callable[[TamperTally], None]) -> TamperTally:
    tally = TamperTally()
    with remembering():
        sweep(tally)
    return tally


def mutant_part(mapped: Mapper[Catch | None], _workers: int) -> int:
    """Every planted mutant."""
    survivors = []
    for mutant, catch in zip(MUTANTS, mapped(hunt, MUTANTS), strict=True):
        print(f"  {mutant.name}: {_said(catch)}")
        if catch is None:
            survivors.append(mutant)
    print(f"{len(MUTANTS)} mutants planted, {len(survivors)} survived")
    wrong = [f"mutant survives: {_name(mutant)}" for mutant in survivors]
    for control, catch in zip(CONTROLS, mapped(hunt_thinly, CONTROLS), strict=True):
        if catch is not None:
            wrong.append(f"{control.name}, and yet: {catch.violation}")
    print(f"{len(CONTROLS)} controls planted, in which nothing is broken")
    return told(wrong)


def _name(mutant: Mutant) -> str:
    return mutant.name


def _said(catch: Catch | None) -> str:
    return "survives" if catch is None else f"caught after {catch.tried} states and failures"


def process_part() -> int:
    """Real processes, real signals, a real disk."""
    with tempfile.TemporaryDirectory() as scratch:
        acknowledged = kill_loop(Path(scratch), cycles=KILLS, seed=SEED)
        print(f"{KILLS} kills, {acknowledged} calls acknowledged before them, 0 lost")
        busy = race(Path(scratch), writers=4, turns=25)
        print(f"4 racing writers, 100 turns, {busy} of them refused as busy, nothing lost or doubled")
    usable = interrupt_loop(interrupts=INTERRUPTS, seed=SEED)
    print(f"{INTERRUPTS} interrupts in commits, {usable} ledgers went on, 0 divergences")
    return 0


def told(violations: Sequence[str]) -> int:
    """Print the first violations; give how many there are."""
    for violation in violations[:_SHOWN]:
        print(f"  VIOLATION: {violation}")
    return len(violations)


if __name__ == "__main__":
    sys.exit(main())
