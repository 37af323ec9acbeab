"""A result, an event or a read never shows what is not durable: at every crash point, under every failure."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import cast

import pytest

import bibank as bb
from bibank.testing.faults import Fault, FaultPlan, SimulatedFiles
from tests.faults.campaign import Tally, calls_of, power_cut
from tests.faults.pure import remembering
from tests.faults.state_check import Violation
from tests.faults.telling import FAULTS, Listener, Looking, check_told, listened, told_under_failure
from tests.faults.workloads import (
    COVERED,
    SIGNED,
    UNSIGNED,
    WORKLOADS,
    Setting,
    Workload,
    governing,
    groups,
    open_ledger,
    working,
)
from tests.store.journals import deposit, transfer

SETTINGS = pytest.mark.parametrize(
    "setting", [UNSIGNED, SIGNED, COVERED], ids=["unsigned", "signed", "group signed"]
)


def looks_for_each_read(workload: Workload) -> int:
    """How many looks there may be for each that reads: a look at a call that holds the lock reads nothing.

    Those who govern write under the lock, one call after the other, so that there is not much more to read
    than what each of them has left.
    """
    return 6 if workload.work is governing else 2


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_only_what_no_power_cut_takes_is_told_and_shown(workload: Workload) -> None:
    """At every call to the files, before and behind it, inside of a sync too, in every way of writing."""
    files, listener = SimulatedFiles(workload.disk), Listener()
    with remembering():
        listened(workload, files, listener)
        check_told(listener, files.disk(), workload.setting)
        check_told(listener, files.durable(), workload.setting)
    assert listener.looks > len(files.calls) / 2
    assert listener.reads * looks_for_each_read(workload) >= listener.looks
    assert len(listener.told) > 1


@SETTINGS
def test_what_was_told_is_in_every_crash_state(setting: Setting) -> None:
    """What a listener was told counts as promised from then on: no state of the disk is without it."""
    heard: list[Listener] = []

    def work(files: SimulatedFiles, chosen: Setting) -> None:
        heard.append(Listener())
        listened(Workload(name="", setting=chosen, work=groups), files, heard[-1])

    tally = Tally()
    with remembering():
        power_cut(Workload(name="told", setting=setting, work=work), tally, stride=7)
    assert not tally.violations
    assert heard
    assert len(tally.states) > 80


@SETTINGS
def test_whatever_fails_nothing_is_told_that_is_not_there(setting: Setting) -> None:
    """Each call fails once in each way; a reopened ledger then tells exactly what is left to tell."""
    workload = Workload(name="groups", setting=setting, work=groups)
    tried = told = reads = 0
    with remembering():
        for number, call in enumerate(calls_of(workload), 1):
            for fault in FAULTS:
                if fault in Fault.possible_in(call):
                    tried += 1
                    listener = told_under_failure(workload, FaultPlan(number, fault))
                    told += len(listener.told)
                    reads += listener.reads
    assert tried > 60
    assert told > tried
    assert reads > 4 * tried


def committing(files: SimulatedFiles, setting: Setting, listener: Listener) -> None:
    """Let tasks commit at once, round after round; what a task is given is on the disk."""

    async def one(ledger: bb.AsyncLedger, money: str) -> None:
        with suppress(bb.Refused):
            entry = await ledger.commit(transfer("A", "B", money))
            assert entry.hash.encode() in b"".join(files.durable().values())

    async def main() -> None:
        ledger = open_ledger(cast("SimulatedFiles", Looking(files, listener.look)), setting)
        try:
            listener.attach(files, ledger)
            books = bb.AsyncLedger(ledger)
            for number in range(3):
                await books.commit_batch([deposit("A", "5 USDT"), deposit("C", "1 USDT")])
                found = await asyncio.gather(
                    *(one(books, money) for money in ("1 USDT", "999 USDT", "2 USDT", "1 USDT")),
                    return_exceptions=True,
                )
                for error in found:
                    if isinstance(error, BaseException):
                        raise error
                listener.look()
                assert len(listener.told) >= 5 * (number + 1)
            await books.close()
        finally:
            ledger.close()

    asyncio.run(main())


@SETTINGS
def test_what_tasks_are_given_and_told_is_durable(setting: Setting) -> None:
    """Under an `AsyncLedger`, with every call that fails once."""
    clean, listener = SimulatedFiles(), Listener()
    with remembering():
        committing(clean, setting, listener)
        check_told(listener, clean.disk(), setting)
        assert len(listener.told) == 1 + 3 * 5
        assert listener.reads * 2 >= listener.looks
        for number, call in enumerate(clean.calls, 1):
            for fault in (Fault.EIO, Fault.ENOSPC):
                if fault not in Fault.possible_in(call):
                    continue
                files, listener = SimulatedFiles(plan=FaultPlan(number, fault)), Listener()
                with suppress(bb.StoreError):
                    committing(files, setting, listener)
                for disk in (files.disk(), files.durable()):
                    check_told(listener, disk, setting)


def test_the_listener_notices_what_is_told_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that cannot fail is none: a ledger that publishes before it syncs is caught."""
    from bibank.write_queue import WriteQueue

    write, keep = WriteQueue._write, WriteQueue._keep

    def early(self: WriteQueue, group: object) -> None:
        before = self.store.append

        def append(lines: object) -> None:
            if self.published is not None:
                self.published(group.batches)  # type: ignore[attr-defined]  # a planted mutant
            before(lines)  # type: ignore[arg-type]  # a planted mutant

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(self.store, "append", append, raising=False)
            write(self, group)  # type: ignore[arg-type]  # a planted mutant

    monkeypatch.setattr(WriteQueue, "_write", early)
    assert keep is WriteQueue._keep
    workload = Workload(name="groups", setting=UNSIGNED, work=groups)
    with pytest.raises(Violation):
        listened(workload, SimulatedFiles(workload.disk), Listener())


def test_a_listener_that_works_alone_is_told_everything() -> None:
    """The harness itself: without looks in between, the last look tells all."""
    files, listener = SimulatedFiles(), Listener()
    with working(files, UNSIGNED) as ledger:
        listener.attach(files, ledger)
        ledger.commit(deposit("A", "1 USDT"))
        listener.look()
    assert [sequence for sequence, _ in listener.told] == [1, 3]
