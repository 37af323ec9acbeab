"""The faulty store, the strategy of plans, and how light the module of faults is."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from hypothesis import Phase, find, given, settings

import bibank as bb
from bibank.stores import Head, LedgerStore, LineGroup, MemoryStore
from bibank.testing.faults import Fault, FaultPlan, FaultyStore, StoreFault, StoreFaultPlan
from bibank.testing.strategies import fault_plans
from tests.store.journals import StillClock, deposit

ROOT = Path(__file__).parents[2]
GROUPS = [
    LineGroup(
        date=date(2026, 1, 25),
        lines=(b"line %d" % number,),
        expected_head=Head(number - 1, str(number - 1)) if number > 1 else Head(),
        head=Head(number, str(number)),
    )
    for number in (1, 2, 3)
]


def faulty(fault: StoreFault, *, append: int = 2) -> FaultyStore:
    """A store whose second append fails, or another."""
    return FaultyStore(MemoryStore(), StoreFaultPlan(append, fault))


def test_it_is_a_store() -> None:
    """It has the protocol, and shows what it is over."""
    store = faulty(StoreFault.UNAVAILABLE)
    assert isinstance(store, LedgerStore)
    assert repr(store) == "<FaultyStore over <MemoryStore of 0 lines>>"


def test_a_store_without_luck_once() -> None:
    """When it says that nothing was written, nothing was, and the same group passes the next time."""
    store = faulty(StoreFault.UNAVAILABLE)
    store.append(GROUPS[0])
    with pytest.raises(bb.StoreUnavailable, match="planted"):
        store.append(GROUPS[1])
    assert store.head() == GROUPS[0].head
    for group in GROUPS[1:]:
        store.append(group)
    assert list(store.read(after_sequence=1)) == [b"line 2", b"line 3"]
    assert store.appends == 4


@pytest.mark.parametrize(
    ("fault", "written"),
    [(StoreFault.UNKNOWN_LOST, [b"line 1"]), (StoreFault.UNKNOWN_WRITTEN, [b"line 1", b"line 2"])],
)
def test_an_unknown_outcome_poisons(fault: StoreFault, written: list[bytes]) -> None:
    """Behind an outcome that it cannot tell the store stands still, and the inner one has the truth."""
    store = faulty(fault)
    store.append(GROUPS[0])
    with pytest.raises(bb.CommitOutcomeUnknown, match="planted"):
        store.append(GROUPS[1])
    assert store.head() == GROUPS[0].head
    with pytest.raises(bb.LedgerPoisoned):
        store.append(GROUPS[1])
    with pytest.raises(bb.LedgerPoisoned):
        store.read()
    assert list(store.inner.read()) == written


def test_close_reaches_the_inner_store() -> None:
    """Closing closes what it is over, twice if asked."""
    store = faulty(StoreFault.UNAVAILABLE)
    store.close()
    store.close()
    with pytest.raises(bb.LedgerClosed):
        store.append(GROUPS[0])


@pytest.mark.parametrize(("fault", "lines"), [(StoreFault.UNKNOWN_LOST, 2), (StoreFault.UNKNOWN_WRITTEN, 3)])
def test_a_ledger_over_it_is_opened_again(fault: StoreFault, lines: int) -> None:
    """A ledger whose commit has an unknown outcome is poisoned; one over the inner store knows it."""
    store = faulty(fault, append=3)
    ledger = bb.Ledger(store=store, opening={"USDT": "9"}, clock=StillClock())
    ledger.commit(deposit("ALICE", "1 USDT"))
    before = store.head().sequence
    with pytest.raises(bb.CommitOutcomeUnknown):
        ledger.commit(deposit("ALICE", "1 USDT"))
    with pytest.raises(bb.LedgerPoisoned):
        ledger.balance("ALICE", "USDT")
    again = bb.Ledger(store=store.inner, clock=StillClock())
    assert store.inner.head().sequence == before + lines - 2
    assert str(again.balance("ALICE", "USDT").posted) == str(lines - 1)


def test_a_plan_counts_from_one() -> None:
    """There is no append zero."""
    with pytest.raises(ValueError, match="append"):
        StoreFaultPlan(0, StoreFault.UNAVAILABLE)


# --------------------------------------------------------------------------- the strategy


@given(fault_plans(max_call=5))
def test_plans_keep_their_bound(plan: FaultPlan) -> None:
    """A plan is for one of the first calls."""
    assert 1 <= plan.call <= 5


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_is_drawn(fault: Fault) -> None:
    """Each fault comes up within a few hundred plans, for early calls and for late ones."""
    quick = settings(max_examples=2_000, database=None, deadline=None, phases=[Phase.generate])
    find(fault_plans(), lambda plan: plan.fault is fault and plan.call < 5, settings=quick)
    find(fault_plans(), lambda plan: plan.fault is fault and plan.call > 50, settings=quick)


def test_faults_need_no_test_tools() -> None:
    """The faults are used without Hypothesis and pytest, and plans drawn with the other strategies."""
    script = (
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "import bibank.testing.faults\nprint(*{'hypothesis', 'pytest', 'nacl'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
