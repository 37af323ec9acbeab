"""Crash states: exactly what a power cut may leave, in small cases by hand, in others by a naive model."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bibank as bb
from bibank.store.jsonl.files import write_all, write_all_at
from bibank.stores import plan_journal
from bibank.testing.crash_images import SECTOR_BYTES, directories, versions
from bibank.testing.faults import CrashState, Fault, FaultPlan, SimulatedFiles, crash_states
from bibank.testing.page_cache import Cut, Pages, Write, changed
from bibank.testing.simulated_machine import Create
from tests.store.journals import StillClock

ROOT = Path(__file__).parents[2]
NUL_SECTOR = bytes(SECTOR_BYTES)
Workload = Callable[[SimulatedFiles], object]


def appending(data: bytes, *, name: str = "a") -> Workload:
    """Append to a file and sync nothing."""

    def work(files: SimulatedFiles) -> None:
        write_all(files, files.open_append(name), data)

    return work


def contents(states: Iterable[CrashState], name: str = "a") -> set[bytes | None]:
    """Give the contents of a file, None where it is missing."""
    return {state.disk.get(name) for state in states}


def identity(state: CrashState) -> tuple[object, ...]:
    """Give what no two states share."""
    return tuple(sorted(state.disk.items())), state.promise


# --------------------------------------------------------------------------- by hand


def test_an_append_leaves_its_prefixes() -> None:
    """Any number of its bytes, or the size without the bytes."""
    found = contents(crash_states(appending(b"cd"), disk={"a": b"ab"}))
    assert found == {b"ab", b"abc", b"abcd", b"ab\0\0"}


def test_sectors_land_in_any_order() -> None:
    """Of two sectors the second may be there without the first, and neither, with the full size."""
    first, second = b"x" * SECTOR_BYTES, b"y" * SECTOR_BYTES
    found = contents(crash_states(appending(first + second), disk={"a": b""}))
    prefixes = {(first + second)[:size] for size in range(2 * SECTOR_BYTES + 1)}
    assert found == prefixes | {NUL_SECTOR * 2, first + NUL_SECTOR, NUL_SECTOR + second}


def test_sectors_are_those_of_the_disk() -> None:
    """A write that starts in the middle of a sector is divided where the disk's sectors end."""
    old, new = b"o" * 500, b"n" * 24
    found = contents(crash_states(appending(new), disk={"a": old}))
    prefixes = {old + new[:size] for size in range(25)}
    halves = {old + b"n" * 12 + bytes(12), old + bytes(12) + b"n" * 12, old + bytes(24)}
    assert found == prefixes | halves


def test_an_overwrite_leaves_old_and_new_sectors() -> None:
    """Where bytes are written over others, any prefix and any subset of sectors is new."""
    old, new = b"o" * SECTOR_BYTES, b"n" * SECTOR_BYTES

    def work(files: SimulatedFiles) -> None:
        write_all_at(files, files.open_update("a"), new * 2, offset=0)

    found = contents(crash_states(work, disk={"a": old * 2}))
    prefixes = {(new * 2)[:size] + (old * 2)[size:] for size in range(2 * SECTOR_BYTES + 1)}
    assert found == prefixes | {old + new}


def test_an_overwrite_that_extends_may_land_without_the_size() -> None:
    """New bytes inside the old size can be there while the file has not yet grown."""

    def work(files: SimulatedFiles) -> None:
        handle = files.open_update("a")
        files.pwrite(handle, b"ZZ", offset=1)
        files.pwrite(handle, b"Y", offset=0)

    found = contents(crash_states(work, disk={"a": b"ab"}))
    assert found == {b"ab", b"aZ", b"aZZ", b"YZZ", b"ab\0", b"YZ"}


def test_a_name_that_was_not_synced() -> None:
    """A new file may be missing although it was synced, or be there with all of it."""

    def work(files: SimulatedFiles) -> None:
        handle = files.open_append("a")
        files.write(handle, b"xy")
        files.fdatasync(handle)
        files.promise = "synced"

    states = list(crash_states(work))
    assert contents(state for state in states if state.promise == "synced") == {None, b"xy"}
    assert contents(states) == {None, b"", b"x", b"xy", b"\0\0"}


def test_a_cut_may_land_before_what_was_written() -> None:
    """Inside a truncation the size may be the new one with and without the bytes before it."""

    def work(files: SimulatedFiles) -> None:
        files.pwrite(files.open_update("a"), b"X", offset=0)
        files.truncate("a", size=2)

    found = contents(crash_states(work, disk={"a": b"abc"}))
    assert found == {b"abc", b"Xbc", b"ab", b"Xb"}


def test_a_cut_that_never_landed_can_be_undone() -> None:
    """After a cut whose sync failed, and a write behind it, any mixture of the three may be there."""

    def work(files: SimulatedFiles) -> None:
        with pytest.raises(bb.StoreUnavailable):
            files.truncate("a", size=1)
        files.write(files.open_append("a"), b"Y")

    plan = FaultPlan(1, Fault.EIO_DROPPED)
    assert contents(crash_states(work, disk={"a": b"abc"}, plan=plan)) == {b"abc", b"a", b"aY", b"a\0"}


def test_a_cut_between_writes() -> None:
    """What was written before a cut and behind it may be there or not, each without the other."""
    pending = (Write(0, b"X"), Cut(2), Write(2, b"Y"))
    pages = Pages(durable=b"abc", base=b"abc", pending=pending)
    found = {version.build() for version in versions(pages, random=Random(0), samples=0)}
    assert found == {b"abc", b"Xbc", b"ab", b"Xb", b"abY", b"XbY", b"ab\0", b"Xb\0"}


def test_a_failed_sync_loses_what_can_be_read() -> None:
    """A killed process leaves the bytes of a failed sync readable; a power cut takes them."""

    def work(files: SimulatedFiles) -> None:
        handle = files.open_append("a")
        files.write(handle, b"cd")
        with pytest.raises(OSError, match="planted"):
            files.fdatasync(handle)
        files.promise = "failed"
        files.fdatasync(handle)
        files.promise = "synced again"

    states = list(crash_states(work, disk={"a": b"ab"}, plan=FaultPlan(3, Fault.EIO)))
    by_promise = {
        promise: {(state.kind.split(":")[0], state.disk["a"]) for state in states if state.promise == promise}
        for promise in ("failed", "synced again")
    }
    assert by_promise["failed"] == {
        ("killed", b"abcd"),
        ("power cut", b"ab"),
        ("power cut", b"ab\0\0"),
    }
    assert by_promise["synced again"] == {("killed", b"abcd"), ("power cut", b"ab\0\0")}


def test_two_files_vary_together() -> None:
    """With two files unsynced each has all its contents with the other old and with it new."""

    def work(files: SimulatedFiles) -> None:
        write_all(files, files.open_append("a"), b"12")
        write_all(files, files.open_append("b"), b"34")

    found = {
        (state.disk["a"], state.disk["b"])
        for state in crash_states(work, disk={"a": b"", "b": b""}, samples=0)
    }
    some, others = {b"", b"1", b"12", b"\0\0"}, {b"", b"3", b"34", b"\0\0"}
    assert found == set(product(some, [b"", b"34"])) | set(product([b"", b"12"], others))
    drawn = crash_states(work, disk={"a": b"", "b": b""}, samples=200)
    assert {(state.disk["a"], state.disk["b"]) for state in drawn} == set(product(some, others))


# --------------------------------------------------------------------------- against a naive model


chunks = st.tuples(
    st.sampled_from([0, 1, 10, 500, 511, 512, 513, 1_000, 1_024, 1_300]),
    st.sampled_from([1, 2, 11, 12, 13, 500, 512, 600]),
    st.sampled_from(b"abcdef"),
)


@given(st.sampled_from([0, 1, 5, 511, 512, 513, 1_100]), st.lists(chunks, min_size=1, max_size=3))
def test_versions_against_a_naive_model(size: int, drawn: list[tuple[int, int, int]]) -> None:
    """Prefixes, prefixes at the full size and subsets of sectors: exactly those, and nothing else."""
    durable = b"o" * size
    writes = [Write(offset, bytes([value]) * length) for offset, length, value in drawn]
    pages = Pages(durable=durable, base=durable, pending=tuple(writes))
    found = {version.build() for version in versions(pages, random=Random(0), samples=0)}
    final = changed(durable, writes)
    expected = {durable}
    content = bytearray(durable)
    for write in writes:
        for at, value in enumerate(write.data):
            offset = write.offset + at
            if at == 0 or offset % SECTOR_BYTES == 0:
                expected.add(bytes(content).ljust(len(final), b"\0"))
            content += bytes(max(offset + 1 - len(content), 0))
            content[offset] = value
            expected.add(bytes(content))
    old = durable.ljust(len(final), b"\0")
    sectors = [
        range(start, min(start + SECTOR_BYTES, len(final))) for start in range(0, len(final), SECTOR_BYTES)
    ]
    sectors = [sector for sector in sectors if any(old[at] != final[at] for at in sector)]
    for choice in product([False, True], repeat=len(sectors)):
        mixed = bytearray(old)
        for sector, is_new in zip(sectors, choice, strict=True):
            for at in sector if is_new else ():
                mixed[at] = final[at]
        expected |= {bytes(mixed), bytes(mixed[: len(durable)])}
    assert found == expected


def test_rewriting_what_is_there_changes_nothing() -> None:
    """Bytes written onto themselves leave one image, and do not use up the sectors that are enumerated."""
    content = b"x" * 20 * SECTOR_BYTES
    pages = Pages(durable=content, base=content, pending=(Write(0, content),))
    assert {version.build() for version in versions(pages, random=Random(0), samples=9)} == {content}


def test_many_sectors_are_sampled() -> None:
    """Beyond six changed sectors as many subsets are drawn as were asked for."""
    new = b"n" * 7 * SECTOR_BYTES
    pages = Pages(durable=bytes(len(new)), base=bytes(len(new)), pending=(Write(0, new),))
    kinds = [version.kind for version in versions(pages, random=Random(0), samples=50)]
    assert sum(kind.startswith("sectors") for kind in kinds) == 50


def test_long_runs_of_nuls_are_thinned() -> None:
    """Of a megabyte of NULs behind a line only the ends of sectors are tried, and the ends of the run."""
    data = b"line\n" + bytes(1 << 20) + b"end\n"
    pages = Pages(durable=b"", base=b"", pending=(Write(0, data),))
    found = versions(pages, random=Random(0), samples=1)
    sizes = {len(version.build()) for version in found if version.kind.startswith("prefix")}
    assert {1, 2, 3, 4, 5, 6, len(data) - 5, len(data) - 4, len(data) - 3, len(data)} <= sizes
    assert len(found) < 5 * len(data) // SECTOR_BYTES


def test_directories_are_subsets_of_operations() -> None:
    """Up to four operations every subset is taken; beyond, every one in order and a sample."""
    operations = [Create("a", 2), Create("b", 3)]
    found = directories({"c": 1}, operations, random=Random(0), samples=0)
    assert sorted(sorted(entries.items()) for entries in found) == [
        [("a", 2), ("b", 3), ("c", 1)],
        [("a", 2), ("c", 1)],
        [("b", 3), ("c", 1)],
        [("c", 1)],
    ]
    many = [Create(name, number) for number, name in enumerate("abcdef", 1)]
    few = directories({}, many, random=Random(0), samples=0)
    assert [len(entries) for entries in few] == list(range(7))
    assert 7 < len(directories({}, many, random=Random(0), samples=9)) <= 16


# --------------------------------------------------------------------------- the run


def busy(files: SimulatedFiles) -> None:
    """Do a little of everything; the promise is how many groups were synced."""
    random = Random(1)
    head = files.open_update("HEAD")
    files.pwrite(head, bytes(2 * SECTOR_BYTES), offset=0)
    day = files.open_append("day")
    for number in range(3):
        write_all(files, day, random.randbytes(1_100))
        files.pwrite(head, random.randbytes(SECTOR_BYTES), offset=number % 2 * SECTOR_BYTES)
        if number == 1:
            files.fsync_dir()
        files.fdatasync(day)
        files.promise = number


def digest_of(states: Iterable[CrashState]) -> str:
    """Digest everything about a sequence of states."""
    digest = hashlib.sha256()
    for state in states:
        digest.update(repr((state.kind, state.call, state.after_call, state.promise)).encode())
        digest.update(b"".join(part for name, data in state.disk.items() for part in (name.encode(), data)))
    return digest.hexdigest()


def test_states_are_distinct() -> None:
    """No image comes twice with one promise, and equal images come again with another."""
    states = list(crash_states(busy, samples=4))
    assert len(states) > 3_000
    assert len({identity(state) for state in states}) == len(states)
    assert len({identity(state)[0] for state in states}) < len(states)


def test_states_are_the_same_at_each_run() -> None:
    """Two runs with one seed give the same states in the same order; another seed draws others."""
    first = digest_of(crash_states(busy, samples=4, seed=5))
    assert digest_of(crash_states(busy, samples=4, seed=5)) == first
    assert digest_of(crash_states(busy, samples=4, seed=6)) != first


def test_states_do_not_depend_on_hashing() -> None:
    """Processes with different hash seeds find the same, so that a shard means the same in all."""
    script = (
        "from tests.testing.test_crash_states import busy, crash_states, digest_of\n"
        "print(digest_of(crash_states(busy, samples=4, shard=(1, 3))))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_shards_divide_the_states() -> None:
    """Every state is in one shard, and each shard has its share."""
    whole = [identity(state) for state in crash_states(busy, samples=4)]
    shards = [[identity(state) for state in crash_states(busy, samples=4, shard=(n, 3))] for n in range(3)]
    assert sum(map(len, shards)) == len(whole)
    assert set().union(*shards) == set(whole)
    assert all(abs(len(shard) - len(whole) / 3) < len(whole) / 30 for shard in shards)


def test_the_workload_runs_once_and_states_come_as_they_are_found() -> None:
    """A first state is there without the rest; nothing is run before it is asked for."""
    runs: list[int] = []

    def work(files: SimulatedFiles) -> None:
        runs.append(1)
        busy(files)

    states = crash_states(work)
    assert not runs
    first = next(states)
    assert (first.disk, first.call, first.after_call, first.kind) == ({}, "", 0, "killed")
    next(states)
    assert runs == [1]


def test_states_say_where_they_come_from() -> None:
    """A state names its call, its seed, and what makes it differ."""

    def work(files: SimulatedFiles) -> None:
        files.listdir()
        files.write(files.open_append("a"), b"xy")

    (half,) = [state for state in crash_states(work, disk={"a": b""}, seed=3) if state.disk["a"] == b"x"]
    assert (half.call, half.after_call, half.seed) == ("write", 3, 3)
    assert half.kind == "power cut: a: prefix 1 of 2"


def test_a_promise_counts_from_when_it_was_made() -> None:
    """What is promised behind the last call, or between two, stands in the states from there on."""

    def work(files: SimulatedFiles) -> None:
        files.promise = 1
        files.listdir()
        files.promise = 2

    assert [state.promise for state in crash_states(work)] == [None, 1, 2]


def test_a_workload_may_be_killed_on_the_way() -> None:
    """Crashes are found in the process after a restart too, with calls counted on."""

    def work(files: SimulatedFiles) -> None:
        files.write(files.open_append("a"), b"x")
        files = files.restart()
        files.promise = "restarted"
        files.write(files.open_append("a"), b"y")

    states = [state for state in crash_states(work, disk={"a": b""}) if state.promise == "restarted"]
    assert contents(states) == {b"", b"x", b"xy", b"\0", b"\0\0", b"x\0"}
    assert max(state.after_call for state in states) == 4


# --------------------------------------------------------------------------- what the workload raises


def test_a_planned_failure_is_recorded() -> None:
    """What the plan made the workload raise stands in every state."""

    def work(files: SimulatedFiles) -> None:
        files.write(files.open_append("a"), b"x")
        files.truncate("a", size=0)

    plan = FaultPlan(3, Fault.EIO)
    errors = {state.error for state in crash_states(work, plan=plan)}
    assert errors == {"StoreUnavailable: Input/output error: planted in truncate"}
    assert {state.error for state in crash_states(work, plan=FaultPlan(9, Fault.EIO))} == {None}
    (error,) = {state.error for state in crash_states(work, plan=FaultPlan(3, Fault.INTERRUPT))}
    assert error is not None
    assert error.startswith("KeyboardInterrupt")


@pytest.mark.parametrize("error", [bb.StoreUnavailable("no"), KeyboardInterrupt(), ValueError("no")])
def test_an_unplanned_failure_is_raised(error: BaseException) -> None:
    """What a workload raises of itself is nothing to tolerate."""

    def work(files: SimulatedFiles) -> None:
        raise error

    with pytest.raises(type(error)):
        next(crash_states(work))


def test_a_leaked_error_is_raised() -> None:
    """An `OSError` that the store let through is a bug, planned or not."""
    with pytest.raises(OSError, match="planted"):
        next(crash_states(appending(b"x"), plan=FaultPlan(2, Fault.EIO)))


def test_a_shard_is_one_of_some() -> None:
    """An index beyond the count is a mistake of the caller."""
    with pytest.raises(AssertionError, match="shard"):
        next(crash_states(busy, shard=(3, 3)))


# --------------------------------------------------------------------------- the journal itself


def test_a_journal_can_be_opened_after_every_crash() -> None:
    """A ledger on simulated files, cut off anywhere, opens again with all that it acknowledged."""

    def work(files: SimulatedFiles) -> None:
        files.promise = 0
        store = plan_journal(files).repair(preallocate_bytes=0)
        with bb.Ledger(store=store, clock=StillClock()) as ledger:
            ledger.deposit("ALICE", "1 USDT", correlation_id="r1")
            files.promise = store.head().sequence
        assert not files.open_handles

    count = 0
    for state in crash_states(work, samples=2, shard=(0, 40)):
        plan = plan_journal(SimulatedFiles(state.disk))
        assert isinstance(state.promise, int)
        assert plan.head.sequence >= state.promise
        plan.abandon()
        count += 1
    assert count > 20
