"""Hypothesis strategies for planted faults; `bibank.testing.strategies` has them too."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from bibank.testing.fault_plan import Fault, FaultPlan

_SOON = 30


def fault_plans(*, max_call: int = 200) -> SearchStrategy[FaultPlan]:
    """Draw a `FaultPlan` for one of the first `max_call` calls, mostly for an early one.

    The call it falls on may be of a kind that cannot have the fault; then nothing happens.
    """
    calls = st.one_of(st.integers(1, min(_SOON, max_call)), st.integers(1, max_call))
    return st.builds(FaultPlan, calls, st.sampled_from(Fault))
