"""A caller that is cancelled, at whatever step, leaves its commit to its course: once, or not at all."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import bibank as bb
from bibank.opening import Signing
from tests.aio.stores import WatchedStore, run, until, watched
from tests.store.journals import SIGNER, transfer

EACH_TURN = 16
"""So many turns are tried one by one: more than there are steps before the thread has the commit."""

HOME_TURNS = (0, 1, 2, 3, 4, 5, 6, 8, 16, 64)
"""The turns that are tried where each commit waits for a disk."""

Commit = Callable[[bb.AsyncLedger, str], Awaitable[object]]


async def one(ledger: bb.AsyncLedger, key: str) -> object:
    """Commit one verb."""
    return await ledger.transfer("ALICE", "BOB", "1 USDT", correlation_id=key, idempotency_key=key)


async def draft(ledger: bb.AsyncLedger, key: str) -> object:
    """Commit a draft by hand."""
    return await ledger.commit(transfer("ALICE", "BOB", "1 USDT"), idempotency_key=key)


async def batch(ledger: bb.AsyncLedger, key: str) -> object:
    """Commit a batch whose verbs come one after the other, one of which reads."""
    async with ledger.batch(correlation_id=key, idempotency_key=key) as collected:
        collected.transfer("ALICE", "CAROL", "2 USDT")
        await asyncio.sleep(0)
        await collected.reverse(4, "0.001")
        collected.transfer("CAROL", "BOB", "1 USDT")
    return collected.entries


async def retried(ledger: bb.AsyncLedger, key: str) -> object:
    """Commit twice under one key."""
    await one(ledger, key)
    return await one(ledger, key)


async def cancelled_at(step: int, main: Awaitable[object]) -> bool:
    """Cancel a task in the n-th turn of the loop; tell whether it had come to its end before."""
    task = asyncio.ensure_future(main)
    for _ in range(step):
        await asyncio.sleep(0)
        if task.done():
            break
    task.cancel()
    await asyncio.wait([task])
    return not task.cancelled()


@pytest.mark.parametrize("commit", [one, draft, batch, retried])
@pytest.mark.parametrize("beside", [0, 3])
def test_cancelled_at_every_turn_of_the_loop(commit: Commit, beside: int) -> None:
    """Cancelled at the n-th turn, for every n until it passes: the key tells the outcome, there once."""
    store = WatchedStore()

    async def main() -> None:
        async with watched(store) as ledger:
            await ledger.transfer("ALICE", "BOB", "1 USDT", correlation_id="first")
            passed, step = 0, 0
            while passed < 2:
                key = f"k{step}"
                others = [asyncio.ensure_future(one(ledger, f"{key}-{n}")) for n in range(beside)]
                before = ledger.head.sequence
                if await cancelled_at(step, commit(ledger, key)):
                    passed += 1
                await asyncio.gather(*others)
                again = await asyncio.create_task(_again(commit, ledger, key))
                assert again == await _again(commit, ledger, key)
                lines = (3 if commit is batch else 1) + beside
                assert ledger.head.sequence == before + lines  # once: neither lost nor doubled
                step = step + 1 if step < EACH_TURN else 2 * step  # there it only waits for the thread
            assert step > 3
            assert (await ledger.audit()).head == ledger.head

    run(main)


@pytest.mark.parametrize("signing", ["entry", "group"])
@pytest.mark.parametrize("commit", [one, batch])
def test_cancelled_at_every_turn_in_a_signed_home(commit: Commit, signing: Signing, tmp_path: Path) -> None:
    """The same with signatures, files and syncs; and whoever opens the home afterwards finds the same."""
    keys = [f"k{step}" for step in HOME_TURNS]

    async def main() -> None:
        ledger = await bb.AsyncLedger.create(
            tmp_path / "home", opening={"USDT": "1"}, signer=SIGNER, signing=signing
        )
        async with ledger:
            await ledger.deposit("ALICE", "100 USDT", correlation_id="first")
            await ledger.transfer("ALICE", "BOB", "1 USDT", correlation_id="first")
            before, found = ledger.head.sequence, []
            for step, key in zip(HOME_TURNS, keys, strict=True):
                beside = asyncio.ensure_future(one(ledger, f"{key}-beside"))
                await cancelled_at(step, commit(ledger, key))
                await beside
                found.append(await _again(commit, ledger, key))
            assert ledger.head.sequence == before + len(keys) * ((3 if commit is batch else 1) + 1)
            assert (await ledger.audit(level="signatures")).head == ledger.head
        async with bb.AsyncLedger.open(tmp_path / "home", signer=SIGNER, signing=signing) as ledger:
            assert [await _again(commit, ledger, key) for key in keys] == found
            assert (await ledger.audit(level="signatures")).head == ledger.head

    run(main)


async def _again(commit: Commit, ledger: bb.AsyncLedger, key: str) -> tuple[bb.JournalEntry, ...]:
    """Ask for the same once more, and give what it came to."""
    found = await commit(ledger, key)
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("commit", [one, draft, batch])
@pytest.mark.parametrize("held", [False, True])
def test_cancelled_while_the_disk_is_busy(commit: Commit, *, held: bool) -> None:
    """Cancelled in each turn while its own group, or the one before, is written: done once nevertheless."""
    store = WatchedStore()

    async def main() -> None:
        async with watched(store) as ledger:
            await ledger.transfer("ALICE", "BOB", "1 USDT", correlation_id="first")
            for step in range(8):
                before = ledger.head.sequence
                store.hold()
                if held:
                    other = asyncio.ensure_future(one(ledger, f"other{step}"))
                    await until(store.begun)
                task = asyncio.ensure_future(commit(ledger, f"k{step}"))
                for _ in range(step):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()
                assert ledger.head.sequence == before
                store.let_go()
                if held:
                    await other
                entries = await _again(commit, ledger, f"k{step}")
                assert ledger.head.sequence == before + len(entries) + held

    run(main)


def test_a_time_that_runs_out_leaves_the_commit_to_its_course() -> None:
    """`asyncio.timeout` raises `TimeoutError`; the same key gives what was committed."""
    store = WatchedStore()

    async def main() -> None:
        async with watched(store) as ledger:
            store.hold()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await one(ledger, "k")
            store.let_go()
            entry = await one(ledger, "k")
            assert isinstance(entry, bb.JournalEntry)
            assert entry.sequence == ledger.head.sequence == 4

    run(main)


def test_what_was_submitted_takes_its_course() -> None:
    """Cancelled in the very turn of its submission, before any thread has heard of it: it is committed."""

    async def main() -> None:
        async with watched(WatchedStore()) as ledger:
            task = asyncio.ensure_future(ledger.deposit("A", "1 USDT", correlation_id="r"))
            await asyncio.sleep(0)
            assert len(ledger._submissions._lanes[asyncio.get_running_loop()].waiting) == 1
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert (await ledger.deposit("B", "1 USDT", correlation_id="r")).sequence == 5
            assert ledger.balance("A", "USDT").available == bb.SignedAmount(1)

    run(main)


def test_cancelled_when_the_error_is_there_already() -> None:
    """The refusal has arrived and the task has not been woken: its cancellation leaves nothing unsaid."""

    async def main() -> None:
        async with watched(WatchedStore()) as ledger:
            task = asyncio.ensure_future(ledger.transfer("POOR", "BOB", "1 USDT", correlation_id="r"))
            await asyncio.sleep(0)
            ((_, arrives),) = ledger._submissions._lanes[asyncio.get_running_loop()].waiting
            while not arrives.done():  # noqa: ASYNC110 - turn by turn: the task is woken in the one after this
                await asyncio.sleep(0)
            assert not task.done()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

    run(main)


def test_errors_that_nobody_fetches_do_not_warn() -> None:
    """A refusal, a full disk, a broken read: cancelled callers leave no word in the log (`run` looks)."""
    store = WatchedStore()

    async def main() -> None:
        async with watched(store) as ledger:
            for make in (
                lambda: ledger.transfer("POOR", "BOB", "1 USDT", correlation_id="r"),
                lambda: ledger.reverse(99, correlation_id="r"),
                lambda: ledger.entry(99),
                lambda: ledger.preview(transfer("POOR", "BOB", "1 USDT")),
            ):
                for step in itertools.count():
                    if await cancelled_at(step, make()):
                        break
            store.fail(bb.StoreUnavailable("planted"))
            store.hold()
            task = asyncio.ensure_future(one(ledger, "k"))
            await until(store.begun)
            task.cancel()
            store.let_go()
            assert isinstance(await one(ledger, "k"), bb.JournalEntry)

    run(main)


def test_a_read_that_was_not_begun_is_never_done() -> None:
    """Calls that wait for a thread and are cancelled there are dropped."""
    done: list[str] = []

    async def main() -> None:
        store = WatchedStore()
        async with watched(store) as ledger:
            store.hold()
            calls = ledger._submissions
            gates = [asyncio.ensure_future(calls.call(lambda: store.go_on.wait(60))) for _ in range(4)]
            await asyncio.sleep(0)
            late = asyncio.ensure_future(calls.call(lambda: done.append("late")))
            await asyncio.sleep(0)
            late.cancel()
            await asyncio.wait([late])
            store.let_go()
            await asyncio.gather(*gates)
        assert done == []

    run(main)
