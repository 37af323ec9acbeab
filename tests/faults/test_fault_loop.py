"""The fault loop: the n-th call fails, for every n and in every way; nothing acknowledged is ever lost."""

from __future__ import annotations

import os
from pathlib import Path

import attrs
import pytest

import bibank as bb
from bibank.batch import Item
from bibank.store.jsonl.plan import plan_journal
from tests.faults.faulty_files import FAULTS_OF, Fault, FaultyFiles
from tests.store.journals import (
    DAYS,
    NEWEST,
    SIGNER,
    StillClock,
    counted_bytes,
    day_files,
    deposit,
    put,
    put_key,
    transfer,
    whole_batches,
    write_journal,
)

TORN = b'{"sequence":14,"prev_hash":"' + b"torn" * 100


@attrs.define
class Run:
    """What came out of a workload: the last line that was acknowledged, the error, and the calls."""

    files: FaultyFiles
    acknowledged: int = 0
    error: BaseException | None = None


def found_and_commit(run: Run, clock: StillClock) -> None:
    """Found a ledger and commit in every way over two days, read, audit, and do it again after a restart."""
    for day in DAYS[:2]:
        store = plan_journal(run.files).repair()
        try:
            ledger = bb.Ledger(
                store=store, opening={"USDT": "9"}, signer=SIGNER, clock=clock, entropy=counted_bytes
            )
            run.acknowledged = ledger.head.sequence
            clock.set(day)
            run.acknowledged = ledger.commit(deposit("A", "5 USDT")).sequence
            run.acknowledged = ledger.commit_batch([transfer("A", "B", "1 USDT")] * 3)[-1].sequence
            several: list[Item] = [
                deposit("C", "1 BTC"),
                transfer("A", "B", "999 USDT"),
                [transfer("C", "A", "1 BTC")] * 1,
            ]
            run.acknowledged = ledger.commit_each(several).committed[-1].sequences[-1]
            clock.set(DAYS[2] if day == DAYS[1] else day)
            run.acknowledged = ledger.commit(deposit("D", "1 EUR")).sequence
            assert ledger.entry(3).sequence == 3
            assert ledger.audit().lines == run.acknowledged
        finally:
            store.close()


def recover_and_commit(run: Run, clock: StillClock) -> None:
    """Open a journal with a torn tail, and commit."""
    clock.set(DAYS[2])
    run.acknowledged = 13
    store = plan_journal(run.files).repair()
    try:
        ledger = bb.Ledger(store=store, signer=SIGNER, clock=clock)
        run.acknowledged = ledger.commit(deposit("A", "5 USDT")).sequence
    finally:
        store.close()


def torn_home(home: Path) -> Path:
    """A home whose last write was interrupted."""
    write_journal(home.parent / "original")
    files = day_files(home.parent / "original")
    return put(home, {**files, NEWEST: files[NEWEST] + TORN})


def perform(name: str, home: Path, *, fail_at: int = 0, fault: Fault = Fault.EIO) -> Run:
    """Run a workload in a fresh home, with one fault; it leaves no descriptor open."""
    before = set(os.listdir("/dev/fd"))
    if name == "found":
        (home / "journal").mkdir(parents=True)
        put_key(home)
        work = found_and_commit
    else:
        torn_home(home)
        work = recover_and_commit
    run = Run(FaultyFiles(home / "journal", fail_at=fail_at, fault=fault))
    try:
        work(run, StillClock())
    except (bb.BibankError, KeyboardInterrupt) as error:  # anything else is a bug and comes out
        run.error = error
    assert set(os.listdir("/dev/fd")) == before, f"{name}: call {fail_at}: {fault.value}"
    return run


def lines_of(home: Path) -> list[bytes]:
    """All lines, in order."""
    return b"".join(day_files(home).values()).splitlines(keepends=True)


def whole_lengths(lines: list[bytes]) -> set[int]:
    """After how many lines a batch is whole."""
    return {end.sequence for end in whole_batches(b"".join(lines), before=0)}


@pytest.fixture(autouse=True)
def fast_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk itself does not fail here, so it need not be waited for."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr("bibank.store.jsonl.files._sync_content", lambda handle: None)


def check_after_fault(home: Path, run: Run, reference: list[bytes], where: str) -> None:
    """Demand what a fault may leave: whole batches of the history, all acknowledged ones among them."""
    try:
        with bb.Ledger.open(home, clock=StillClock(DAYS[2])) as ledger:
            kept = ledger.head.sequence
            assert lines_of(home) == reference[:kept], where
            assert kept in whole_lengths(reference), where
            assert kept >= run.acknowledged, where
            ledger.commit(deposit("Z", "1 USDT"))
            balances = ledger.accounts()
    except bb.HomeNotFound:
        assert run.acknowledged == 0, where
        bb.Ledger.create(home, clock=StillClock(DAYS[2])).close()
        return
    with bb.Ledger.open(home) as ledger:
        assert ledger.head.sequence == kept + 1, where
        assert ledger.accounts() == balances, where
        assert ledger.audit().lines == kept + 1, where


@pytest.mark.parametrize("name", ["found", "recover"])
def test_whatever_fails_once_loses_nothing_acknowledged(tmp_path: Path, name: str) -> None:
    """Each call fails once in each way: typed errors only, whole batches only, and every acknowledged one."""
    clean = perform(name, tmp_path / "clean")
    assert clean.error is None
    reference = lines_of(tmp_path / "clean")
    assert len(reference) == clean.acknowledged
    assert set(clean.files.calls) >= {
        "lock",
        "listdir",
        "stat",
        "read",
        "open_append",
        "write",
        "fdatasync",
        "close",
    }
    count = 0
    for number, call in enumerate(clean.files.calls, 1):
        for fault in FAULTS_OF[call]:
            count += 1
            where = f"{name}: call {number}, {call}: {fault.value}"
            home = tmp_path / f"{number}-{fault.name}" / "books"
            run = perform(name, home, fail_at=number, fault=fault)
            assert run.files.has_failed, where
            if fault is Fault.SHORT:
                assert run.error is None, where
                assert lines_of(home) == reference, where
            else:
                assert isinstance(run.error, (bb.StoreError, KeyboardInterrupt)), where  # never "corrupt"
            check_after_fault(home, run, reference, where)
    assert count > 100 if name == "found" else count > 30


def test_a_failed_sync_is_never_tried_again(tmp_path: Path) -> None:
    """After a sync that failed there is no other sync, no write, and no new file: only closing."""
    clean = perform("found", tmp_path / "clean")
    syncs = [number for number, call in enumerate(clean.files.calls, 1) if call in ("fdatasync", "fsync_dir")]
    assert len(syncs) > 8
    for number in syncs:
        home = tmp_path / str(number) / "books"
        run = perform("found", home, fail_at=number, fault=Fault.EIO)
        assert set(run.files.calls[number:]) <= {"close"}, f"call {number}"
        assert isinstance(run.error, (bb.CommitOutcomeUnknown, bb.StoreUnavailable))


def failing_ledger(home: Path, call: str) -> tuple[bb.Ledger, FaultyFiles]:
    """A ledger whose next commit fails in the last such call that it makes."""
    (home / "journal").mkdir()
    clock = StillClock()
    bb.Ledger.create(home, signer=SIGNER, clock=clock).close()
    probe = FaultyFiles(home / "journal")
    store = plan_journal(probe).repair()
    bb.Ledger(store=store, signer=SIGNER, clock=clock).commit(deposit("A", "1 USDT"))
    store.close()
    number = len(probe.calls) - probe.calls[::-1].index(call)
    files = FaultyFiles(home / "journal", fail_at=number)
    return bb.Ledger(store=plan_journal(files).repair(), signer=SIGNER, clock=clock), files


@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync_dir"])
def test_a_ledger_whose_write_failed_stays_poisoned(tmp_path: Path, call: str) -> None:
    """Once poisoned, a ledger writes nothing more, however often it is asked."""
    ledger, files = failing_ledger(tmp_path, call)
    with pytest.raises(bb.StoreError):
        ledger.commit(deposit("A", "1 USDT"))
    assert files.has_failed
    before = len(files.calls)
    for _ in range(3):
        with pytest.raises(bb.LedgerPoisoned):
            ledger.commit(deposit("A", "1 USDT"))
    assert len(files.calls) == before
    ledger.close()


def test_a_write_that_never_began_can_be_repeated(tmp_path: Path) -> None:
    """A day file that could not be opened leaves the ledger where it was: the same commit passes later."""
    ledger, files = failing_ledger(tmp_path, "open_append")
    before = ledger.head, ledger.accounts()
    with pytest.raises(bb.StoreUnavailable):
        ledger.commit(deposit("A", "2 USDT"))
    assert files.has_failed
    assert (ledger.head, ledger.accounts()) == before
    assert ledger.commit(deposit("A", "2 USDT")).sequence == before[0].sequence + 1
    assert str(ledger.balance("A", "USDT").available) == "3"
    ledger.close()
    assert bb.audit_home(tmp_path, level="signatures").signatures == 4


def test_torn_bytes_survive_every_fault_of_their_recovery(tmp_path: Path) -> None:
    """Whatever fails while torn bytes are set aside, they end up whole in a torn file."""
    clean = perform("recover", tmp_path / "clean" / "books")
    for number, call in enumerate(clean.files.calls, 1):
        for fault in FAULTS_OF[call]:
            home = tmp_path / f"{number}-{fault.name}" / "books"
            perform("recover", home, fail_at=number, fault=fault)
            bb.Ledger.open(home).close()
            aside = [file.read_bytes() for file in (home / "journal").glob("*.torn-*")]
            assert TORN in aside, f"call {number}, {call}: {fault.value}"
