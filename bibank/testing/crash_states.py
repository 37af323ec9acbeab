r"""Every disk that a crash may leave behind a workload.

The workload runs once, on `SimulatedFiles`. Around each of its calls the machine's state is kept, and for
each of these moments the disks are enumerated: what a killed process leaves, and what a power cut may
leave (`crash_images` has the rules). No disk comes twice with the same promise. The order, and what is
sampled, depend on the seed alone.

>>> from bibank.testing.faults import crash_states
>>> def workload(files):
...     handle = files.open_append("a")
...     files.fsync_dir()
...     files.write(handle, b"xy")
>>> sorted({bytes(state.disk.get("a", b"absent")) for state in crash_states(workload)})
[b'', b'\x00\x00', b'absent', b'x', b'xy']
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from types import MappingProxyType

import attrs

from bibank.errors import BibankError
from bibank.testing.crash_search import Search
from bibank.testing.fault_plan import FaultPlan
from bibank.testing.simulated_files import SimulatedFiles
from bibank.testing.simulated_machine import Moment

SAMPLES = 32
"""How many subsets or combinations are drawn where there are too many for all."""


@attrs.frozen(kw_only=True)
class CrashState:
    """One disk that a crash may leave, and where in the workload the crash came."""

    disk: Mapping[str, bytes]
    """What the directory holds, by name; give it to a new `SimulatedFiles`."""

    promise: Hashable
    """What the workload had been promised by then."""

    after_call: int
    """How many calls had begun, from 1, over all processes of the workload."""

    call: str
    """The name of the last of them, empty before the first."""

    kind: str
    """What makes this disk differ from the durable one, for people."""

    seed: int
    error: str | None
    """What the workload raised in the end because of its plan."""


def crash_states(
    workload: Callable[[SimulatedFiles], object],
    *,
    disk: Mapping[str, bytes] = MappingProxyType({}),
    plan: FaultPlan | None = None,
    seed: int = 0,
    samples: int = SAMPLES,
    shard: tuple[int, int] = (0, 1),
) -> Iterator[CrashState]:
    """Run a workload on a disk and give each distinct state that a crash may leave, as it is found.

    The workload sets `files.promise` when it is promised something. What it raises is raised here, unless
    it is a `BibankError` or a `KeyboardInterrupt` that came after the fault of the plan.

    `samples` is how many subsets or combinations are drawn where there are too many for all. `shard` is an
    index and a count: each state belongs to one of so many shards, for as many processes to share the work.
    """
    index, count = shard
    assert 0 <= index < count, "a shard is an index and a count"
    moments, error = _run(workload, disk, plan)
    search = Search(seed=seed, samples=samples, shard=shard)
    for moment in moments:
        for kind, image in search.images(moment):
            yield CrashState(
                disk=image,
                promise=moment.promise,
                after_call=moment.after_call,
                call=moment.call,
                kind=kind,
                seed=seed,
                error=error,
            )


def _run(
    workload: Callable[[SimulatedFiles], object], disk: Mapping[str, bytes], plan: FaultPlan | None
) -> tuple[list[Moment], str | None]:
    """Run the workload once and give the moments around its calls."""
    moments: list[Moment] = []
    error = None
    files = SimulatedFiles(disk, plan=plan)
    files.machine.watch(moments.append)
    try:
        workload(files)
    except (BibankError, KeyboardInterrupt) as raised:
        if not files.machine.has_failed:
            raise
        error = f"{type(raised).__name__}: {raised}"
    files.machine.note()
    files.machine.watch(None)
    return moments, error
