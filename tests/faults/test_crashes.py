"""Crashes: every state that a power cut can leave, in a short form of `nox -s faults`."""

from __future__ import annotations

from pathlib import Path

import pytest

import bibank as bb
from bibank.testing.faults import Fault, SimulatedFiles
from tests.faults import tampering
from tests.faults.campaign import SEED, Tally, calls_of, double_crash, failed_sync, power_cut
from tests.faults.hunt import hunt
from tests.faults.mutants import CONTROLS, MUTANTS, Mutant, planted
from tests.faults.processes import interrupt_loop, kill_loop, race
from tests.faults.pure import remembering
from tests.faults.state_check import Disk, Promise, Violation, check_ledger, torn_before
from tests.faults.workloads import (
    AHEAD,
    COVERED,
    UNSIGNED,
    WORKLOADS,
    Workload,
    groups,
    open_ledger,
    owing,
    reopened_after_failure,
)

SOON = {
    "a group is not synced",
    "HEAD names a group before it is synced",
    "HEAD is one slot",
    "torn bytes are cut off and not set aside",
    "a recovery is never recorded",
    "what a batch leaves half written counts",
    "unsynced bytes are served without being written again",
    "the free-space floor is ignored",
    "closing leaves unwritten space",
}
"""Mutants that are noticed at once; `nox -s faults` plants all of them."""


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_a_power_cut_loses_nothing_acknowledged(workload: Workload) -> None:
    """What was acknowledged is there, nothing partial is seen, the books add up, and work goes on."""
    tally = Tally()
    with remembering():
        power_cut(workload, tally, stride=31)
    assert not tally.violations
    assert len(tally.states) > (20 if workload.begins == "torn" else 80)


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
    assert len(MUTANTS) >= 30
    assert {mutant.name for mutant in MUTANTS} >= SOON
    for mutant in (*MUTANTS, *CONTROLS):
        with planted(mutant):
            pass


def test_a_module_planted_as_it_is_survives() -> None:
    """What the harness catches is the broken rule, and not that a module was put in another's place."""
    (control,) = (control for control in CONTROLS if control.module == "bibank.store.jsonl.writer")
    assert hunt(control, strides=(211,), workloads=WORKLOADS[:1]) is None


def test_a_mutant_whose_text_is_wrong_is_no_catch() -> None:
    """An error that is nobody's rule ends the hunt instead of counting for it."""
    wrong = Mutant(name="wrong", module="bibank.store.jsonl.writer", old="if free < need", new="if missing")
    with pytest.raises(bb.CommitOutcomeUnknown, match="NameError"):
        hunt(wrong)


def written(workload: Workload) -> tuple[SimulatedFiles, Disk]:
    """What a workload leaves."""
    files = SimulatedFiles(workload.disk)
    workload(files)
    return files, files.disk()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"batch":{"group":5,"size":2}', b'"batch":{"group":5,"size":1}'),
        (b'"batch":{"group":5,"size":2}', b'"batch":{"group":4,"size":2}'),
        (b'"batch":{"first":6,"group":5,"size":2}', b'"batch":{"first":5,"group":5,"size":2}'),
    ],
)
def test_the_check_reads_the_batch_marks_of_all_lines(old: bytes, new: bytes) -> None:
    """A mark that does not fit those around it is seen wherever it stands, not only in the last line."""
    files, disk = written(Workload(name="", setting=UNSIGNED, work=groups))
    ledger = open_ledger(files, UNSIGNED)
    check_ledger(ledger, disk, Promise())
    (day,) = (name for name in disk if name.endswith(".jsonl"))
    assert disk[day].count(old) == 1
    with pytest.raises(Violation, match=r"line [67] of batch"):
        check_ledger(ledger, {**disk, day: disk[day].replace(old, new)}, Promise())


def test_the_check_looks_for_the_recovery_record() -> None:
    """Torn bytes whose line is there have to be named by it; a number is compared whole."""
    files, disk = written(Workload(name="", setting=UNSIGNED, work=owing, begins="torn"))
    ledger = open_ledger(files, UNSIGNED)
    check_ledger(ledger, disk, Promise())
    (day,) = (name for name in disk if name.endswith(".jsonl"))
    for name, content in ((f"{day}.torn-30", b"x"), (f"{day}.torn-1", b"x"), (f"{day}.torn-4", b"")):
        check_ledger(ledger, {**disk, name: content}, Promise())
    for name in (f"{day}.torn-4", f"{day}.torn-3-2"):
        with pytest.raises(Violation, match="does not record"):
            check_ledger(ledger, {**disk, name: b"x"}, Promise())
    numbers = (f"{day}.torn-3", f"{day}.torn-3-2", f"{day}.torn-30", day, f"{day}.torn-")
    assert [torn_before(name) for name in numbers] == [3, 3, 30, None, None]


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
    assert 0 <= race(tmp_path, writers=3, turns=4) < 3 * 4


@pytest.mark.interrupts
def test_interrupted_commits_never_diverge() -> None:
    """After an interrupt a ledger shows what is on the disk, or nothing any more."""
    assert 0 < interrupt_loop(interrupts=40, seed=SEED) < 40


def test_every_kind_of_tampering_is_seen() -> None:
    """Bits, lines and ends of a signed journal of several files, and HEAD: each kind at many places."""
    tally = tampering.TamperTally()
    with remembering():
        tampering.flip_every_bit(tally, stride=509)
        tampering.flip_every_newline(tally, stride=67)
        tampering.cut_and_rearrange(tally, stride=67)
        tampering.cut_behind_older_heads(tally, stride=521)
        tampering.flip_head(tally, stride=67)
    assert not tally.violations
    assert len(tally.kinds) == 12
