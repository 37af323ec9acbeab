"""Faults and crashes to plant: into files, into stores, into the power supply.

- `SimulatedFiles`: the journal's directory in memory, with a page cache; its `FaultPlan` makes one call fail.
- `crash_states`: every disk that a killed process or a power cut may leave behind a workload.
- `FaultyStore`: a ledger store that fails at the n-th append.

Neither Hypothesis nor pytest is needed; `bibank.testing.strategies.fault_plans` draws plans.

>>> from bibank.stores import plan_journal
>>> from bibank.testing.faults import SimulatedFiles, crash_states
>>> def workload(files):
...     plan_journal(files).repair().close()
>>> for state in crash_states(workload):
...     plan_journal(SimulatedFiles(state.disk)).abandon()
"""

from __future__ import annotations

from bibank.testing.crash_states import CrashState, crash_states
from bibank.testing.fault_plan import Fault, FaultPlan
from bibank.testing.faulty_store import FaultyStore, StoreFault, StoreFaultPlan
from bibank.testing.simulated_files import SimulatedFiles

__all__ = [
    "CrashState",
    "Fault",
    "FaultPlan",
    "FaultyStore",
    "SimulatedFiles",
    "StoreFault",
    "StoreFaultPlan",
    "crash_states",
]
