"""Crashes: every state that a power cut can leave, in a short form of `nox -s faults`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bibank.testing.faults import Fault
from tests.faults import tampering
from tests.faults.campaign import SEED, Tally, calls_of, double_crash, failed_sync, power_cut
from tests.faults.hunt import hunt
from tests.faults.mutants import MUTANTS, Mutant, planted
from tests.faults.processes import interrupt_loop, kill_loop, race
from tests.faults.pure import remembering
from tests.faults.workloads import AHEAD, COVERED, WORKLOADS, Workload, reopened_after_failure

SOON = {
    "a group is not synced",
    "HEAD names a group before it is synced",
    "HEAD is one slot",
    "torn bytes are cut off and not set aside",
    "a recovery is never recorded",
    "what a batch leaves half written counts",
    "unsynced bytes are served without being written again",
}
"""Mutants that are noticed at once; `nox -s faults` plants all of them."""


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_a_power_cut_loses_nothing_acknowledged(workload: Workload) -> None:
    """What was acknowledged is there, nothing partial is seen, the books add up, and work goes on."""
    tally = Tally()
    with remembering():
        power_cut(workload, tally, stride=31)
    assert not tally.violations
    assert len(tally.states) > 80


def test_a_crash_inside_recovery_is_recovered_from() -> None:
    """A second power cut while the first is repaired leaves what the first left, or its repair."""
    tally = Tally()
    with remembering():
        for workload in WORKLOADS[::3]:
            double_crash(workload, tally, first=2, stride=29)
    assert not tally.violations
    assert len(tally.states) > 100


@pytest.mark.parametrize("fault", [Fault.EIO, Fault.EIO_DROPPED])
def test_pages_of_a_failed_sync_are_not_trusted(fault: Fault) -> None:
    """Reopened on what the page cache shows after a failed sync, a ledger syncs it before it serves it."""
    tally = Tally()
    with remembering():
        for setting in (AHEAD, COVERED):
            calls = calls_of(Workload(name="", setting=setting, work=reopened_after_failure))
            for number, call in enumerate(calls, 1):
                if call == "fdatasync":
                    failed_sync(setting, number, fault, tally, stride=61)
    assert not tally.violations
    assert len(tally.states) > 100


@pytest.mark.parametrize(
    "mutant", [mutant for mutant in MUTANTS if mutant.name in SOON], ids=lambda mutant: mutant.name
)
def test_a_planted_mutant_is_caught(mutant: Mutant) -> None:
    """The harness notices a broken rule: a check that cannot fail is not one."""
    catch = hunt(mutant)
    assert catch is not None
    assert catch.tried < 10_000


def test_every_mutant_can_be_planted() -> None:
    """Each mutant still finds the text that it replaces, and what it makes of it compiles."""
    assert len(MUTANTS) >= 20
    assert {mutant.name for mutant in MUTANTS} >= SOON
    for mutant in MUTANTS:
        with planted(mutant):
            pass


def test_a_mutant_that_does_not_fit_is_an_error() -> None:
    """A mutant whose text is gone does not count as caught, nor as a survivor."""
    gone = Mutant(name="gone", module="bibank.store.jsonl.head", old="no such text", new="")
    with pytest.raises(LookupError, match="0 times"):
        hunt(gone)


def test_a_killed_writer_has_lost_nothing_it_acknowledged(tmp_path: Path) -> None:
    """Killed in the middle of its work, a writer leaves a journal that opens and adds up."""
    assert kill_loop(tmp_path, cycles=10, seed=SEED) > 0


def test_racing_writers_lose_and_double_nothing(tmp_path: Path) -> None:
    """Processes that open one home at the same time commit one after the other, or are told it is busy."""
    race(tmp_path, writers=3, turns=4)


def test_interrupted_commits_never_diverge() -> None:
    """After an interrupt a ledger shows what is on the disk, or nothing any more."""
    assert interrupt_loop(interrupts=40, seed=SEED) <= 40


def test_every_kind_of_tampering_is_seen() -> None:
    """Bits, lines and ends of a signed journal of several files, and HEAD: each kind at many places."""
    tally = tampering.TamperTally()
    with remembering():
        tampering.flip_every_bit(tally, stride=509)
        tampering.cut_and_rearrange(tally, stride=67)
        tampering.cut_behind_older_heads(tally, stride=521)
        tampering.flip_head(tally, stride=67)
    assert not tally.violations
    assert len(tally.kinds) == 11
