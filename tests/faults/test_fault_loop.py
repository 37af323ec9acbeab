"""Failing calls: typed errors, whole batches, poison where nobody can know, and no second try of a sync."""

from __future__ import annotations

import pytest

import bibank as bb
from bibank.testing.faults import Fault, FaultPlan, SimulatedFiles
from tests.faults.campaign import calls_of
from tests.faults.fault_loop import KINDS, LoopTally, fault_loop
from tests.faults.pure import remembering
from tests.faults.workloads import AHEAD, UNSIGNED, WORKLOADS, Setting, Workload, groups, open_ledger
from tests.store.journals import deposit


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_whatever_fails_once_loses_nothing_acknowledged(workload: Workload) -> None:
    """Calls fail once in each way: typed errors only, whole batches only, and every acknowledged one.

    A short form: each fifth of the failures, of which `nox -s faults` tries all.
    """
    tally = LoopTally()
    with remembering():
        fault_loop(workload, tally, stride=5)
    assert not tally.violations
    assert tally.kinds.keys() <= KINDS.keys()
    assert tally.kinds.total() >= 10


@pytest.mark.parametrize("setting", [UNSIGNED, AHEAD], ids=["appended", "preallocated"])
def test_a_failed_sync_is_never_tried_again(setting: Setting) -> None:
    """After a sync that failed there is no other sync, no write, and no new file: only closing."""
    work = Workload(name="groups", setting=setting, work=groups)
    syncs = [number for number, call in enumerate(calls_of(work), 1) if call in ("fdatasync", "fsync_dir")]
    assert len(syncs) > 5
    for number in syncs:
        files = SimulatedFiles(work.disk, plan=FaultPlan(number, Fault.EIO))
        try:
            work(files)
        except bb.StoreError as error:
            expected = (
                bb.CommitOutcomeUnknown,
                bb.StoreUnavailable,
                bb.LedgerPoisoned,
            )  # poisoned by HEAD alone
            assert isinstance(error, expected)  # noqa: PT017 - or nothing is raised, on closing
        assert files.has_failed
        assert set(files.calls[number:]) <= {"close", "release"}, f"call {number}"


def failing_ledger(call: str, fault: Fault = Fault.EIO) -> tuple[bb.Ledger, SimulatedFiles]:
    """A ledger whose next commit fails in the first such call that it makes."""
    probe = SimulatedFiles()
    ledger = open_ledger(probe, UNSIGNED)
    before = len(probe.calls)
    ledger.commit(deposit("A", "1 USDT"))
    number = before + probe.calls[before:].index(call) + 1
    files = SimulatedFiles(plan=FaultPlan(number, fault))
    return open_ledger(files, UNSIGNED), files


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_a_ledger_whose_write_failed_stays_poisoned(call: str) -> None:
    """Once poisoned, a ledger touches its files no more, however often it is asked."""
    ledger, files = failing_ledger(call)
    shown = ledger.head, ledger.accounts()
    with pytest.raises(bb.CommitOutcomeUnknown):
        ledger.commit(deposit("A", "1 USDT"))
    before = len(files.calls)
    for _ in range(3):
        with pytest.raises(bb.LedgerPoisoned):
            ledger.commit(deposit("A", "1 USDT"))
    assert ledger.head == shown[0]
    assert len(files.calls) == before
    ledger.close()
    assert set(files.calls[before:]) <= {"close", "release"}


@pytest.mark.parametrize("fault", [Fault.EIO, Fault.EMFILE])
def test_a_write_that_never_began_can_be_repeated(fault: Fault) -> None:
    """A look at the day file that fails leaves the ledger where it was: the same commit passes later."""
    ledger, files = failing_ledger("stat", fault)
    before = ledger.head, ledger.accounts()
    with pytest.raises(bb.StoreUnavailable):
        ledger.commit(deposit("A", "2 USDT"))
    assert files.has_failed
    assert (ledger.head, ledger.accounts()) == before
    assert ledger.commit(deposit("A", "2 USDT")).sequence == before[0].sequence + 1
    assert str(ledger.balance("A", "USDT").available) == "2"
    ledger.close()


def test_a_head_that_cannot_be_written_poisons_and_loses_nothing() -> None:
    """The group before it is acknowledged, because it is on the disk; the next commit is refused."""
    probe = SimulatedFiles()
    ledger = open_ledger(probe, AHEAD)
    before = len(probe.calls)
    for _ in range(2):
        ledger.commit(deposit("A", "1 USDT"))
    syncs = [number for number, call in enumerate(probe.calls, 1) if call == "fdatasync" and number > before]
    assert len(syncs) == 3  # two groups, and HEAD once
    files = SimulatedFiles(plan=FaultPlan(syncs[2], Fault.EIO))
    ledger = open_ledger(files, AHEAD)
    for _ in range(2):
        entry = ledger.commit(deposit("A", "1 USDT"))
    assert files.has_failed
    with pytest.raises(bb.LedgerPoisoned, match="HEAD"):
        ledger.commit(deposit("A", "1 USDT"))
    again = open_ledger(SimulatedFiles(files.durable()), AHEAD)
    assert (again.head.sequence, again.head.hash) == (entry.sequence, entry.hash)
