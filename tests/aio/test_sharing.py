"""Tasks share writes and syncs: with each other, with threads, across loops. Results wait for the disk."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Barrier, Thread, active_count
from threading import enumerate as threads

import pytest

import bibank as bb
from tests.aio.stores import PATIENCE_SECONDS, WatchedStore, run, until, watched
from tests.store.journals import SIGNER, deposit, transfer


def test_one_turn_of_the_loop_is_one_write() -> None:
    """A thousand tasks that ask at once cost one append and one sync, and each gets its own entry."""
    store = WatchedStore()

    async def main() -> None:
        async with watched(store) as ledger:
            found = await asyncio.gather(
                *(ledger.deposit(f"U{n}", "1 USDT", correlation_id="r") for n in range(1000))
            )
            assert [entry.postings[1].account.id for entry in found] == [f"U{n}" for n in range(1000)]
            assert [entry.sequence for entry in found] == list(range(4, 1004))
        assert store.appends == [1000]

    run(main)


def test_what_comes_while_a_write_is_under_way_is_the_next_write() -> None:
    """Everything that is submitted, turn by turn, while the disk is busy is written together afterwards."""
    store = WatchedStore()

    async def main() -> None:
        async with watched(store) as ledger:
            store.hold()
            first = asyncio.create_task(ledger.deposit("A", "1 USDT", correlation_id="r"))
            await until(store.begun)
            later = []
            for n in range(20):
                later.append(asyncio.create_task(ledger.deposit(f"U{n}", "1 USDT", correlation_id="r")))
                await asyncio.sleep(0)
            await asyncio.sleep(0)  # the last of them is handed over in the turn after its own
            store.let_go()
            await asyncio.gather(first, *later)
        assert store.appends == [1, 20]

    run(main)


def test_verbs_batches_and_drafts_stand_in_one_group() -> None:
    """Whatever tasks commit in one turn, in any form, is one write group."""
    store = WatchedStore()

    async def batch(ledger: bb.AsyncLedger) -> tuple[bb.JournalEntry, ...]:
        async with ledger.batch(correlation_id="r") as collected:
            collected.deposit("C", "1 USDT")
            collected.transfer("C", "D", "1 USDT")
        return collected.entries

    async def main() -> None:
        async with watched(store) as ledger:
            await asyncio.gather(
                ledger.transfer("ALICE", "BOB", "1 USDT", correlation_id="r"),
                ledger.transfer("ALICE", "BOB", "1 USDT", correlation_id="r", idempotency_key="k"),
                ledger.commit(transfer("ALICE", "BOB", "1 USDT"), idempotency_key="k2"),
                ledger.commit(transfer("ALICE", "BOB", "1 USDT")),
                ledger.commit_batch([deposit("A", "1 USDT"), deposit("B", "1 USDT")]),
                ledger.hold("ALICE", "1 USDT", to="SHOP", correlation_id="r"),
                ledger.reverse(3, "5", correlation_id="r"),
                batch(ledger),
            )
            lines = [await ledger.line(sequence) for sequence in range(4, ledger.head.sequence + 1)]
        assert store.appends == [10]
        assert {line.batch.group for line in lines} == {4}

    run(main)


def test_one_key_in_one_turn_is_one_commit() -> None:
    """Tasks that ask for the same under one key all get the one entry; for another they conflict."""
    store = WatchedStore()

    async def main() -> None:
        async with watched(store) as ledger:
            asked = [
                ledger.transfer("ALICE", "BOB", f"{n} USDT", correlation_id="r", idempotency_key="k")
                for n in (1, 1, 2, 1)
            ]
            found = await asyncio.gather(*asked, return_exceptions=True)
            assert found[0] == found[1] == found[3]
            assert isinstance(found[2], bb.IdempotencyConflict)
            assert ledger.balance("BOB", "USDT").available == bb.SignedAmount(1)
        assert store.appends == [1]

    run(main)


def test_more_than_a_group_holds_takes_as_few_groups_as_it_fits_into() -> None:
    """What does not fit into one write group goes on into the next."""
    store = WatchedStore()
    many = 9000

    async def main() -> None:
        async with watched(store) as ledger:
            draft = deposit("A", "1 USDT")
            found = await asyncio.gather(*(ledger.commit(draft) for _ in range(many)))
            assert [entry.sequence for entry in found] == list(range(4, 4 + many))
        assert sum(store.appends) == many
        assert len(store.appends) == 2

    run(main)


@pytest.mark.parametrize("signed", [False, True])
def test_tasks_beside_threads(*, signed: bool) -> None:
    """Threads that commit on the same ledger at the same time: every line is there once, in one chain."""
    store = WatchedStore()
    each, workers = 30, 4

    async def main() -> None:
        ledger = watched(store, **({"signer": SIGNER} if signed else {}))
        blocking = ledger.sync_ledger
        start = Barrier(workers + 1)

        def commit(name: str) -> None:
            start.wait(PATIENCE_SECONDS)
            for n in range(each):
                blocking.deposit(name, "1 USDT", correlation_id=f"{name}-{n}", idempotency_key=f"{name}-{n}")

        async def task(name: str) -> None:
            for n in range(each):
                await ledger.deposit(name, "1 USDT", correlation_id=f"{name}-{n}")

        started = [Thread(target=commit, args=(f"T{n}",)) for n in range(workers)]
        for thread in started:
            thread.start()
        start.wait(PATIENCE_SECONDS)
        await asyncio.gather(*(task(f"A{n}") for n in range(20)))
        for thread in started:
            await asyncio.to_thread(thread.join, PATIENCE_SECONDS)
        names = [*(f"T{n}" for n in range(workers)), *(f"A{n}" for n in range(20))]
        entries = await ledger.entries(after_sequence=3)
        for name in names:
            traces = [
                entry.correlation_id for entry in entries if entry.correlation_id.startswith(f"{name}-")
            ]
            assert traces == [f"{name}-{n}" for n in range(each)]  # each thread and task in its own order
            assert ledger.balance(name, "USDT").available == bb.SignedAmount(each)
        assert (await ledger.audit(level="signatures")).head == ledger.head
        await ledger.close()

    run(main)


def test_several_loops_share_one_ledger() -> None:
    """Loops in threads of their own commit on one object; each gets its own results."""
    store = WatchedStore()
    ledger = watched(store)
    loops, each = 4, 50
    found: dict[int, list[bb.JournalEntry]] = {}

    async def main(number: int) -> None:
        found[number] = await asyncio.gather(
            *(ledger.deposit(f"L{number}", "1 USDT", correlation_id=f"l{number}-{n}") for n in range(each))
        )

    started = [Thread(target=lambda n=n: asyncio.run(main(n))) for n in range(loops)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(PATIENCE_SECONDS)
    for number in range(loops):
        assert [one.correlation_id for one in found[number]] == [f"l{number}-{n}" for n in range(each)]
    assert ledger.head.sequence == 3 + loops * each
    asyncio.run(ledger.close())


def test_a_loop_after_another() -> None:
    """A ledger outlives the loop that it was first used in, and forgets it."""
    ledger = watched(WatchedStore())
    for n in range(5):
        assert asyncio.run(_deposit(ledger)).sequence == 4 + n
    assert len(ledger._submissions._lanes) == 1
    asyncio.run(ledger.close())


async def _deposit(ledger: bb.AsyncLedger) -> bb.JournalEntry:
    return await ledger.deposit("A", "1 USDT", correlation_id="r")


def test_nothing_is_seen_before_it_is_durable() -> None:
    """While the disk holds an append: no result, no read, no history shows what is in it."""
    store = WatchedStore()

    async def main() -> None:
        async with watched(store) as ledger:
            head = ledger.head
            store.hold()
            task = asyncio.create_task(ledger.transfer("ALICE", "BOB", "7 USDT", correlation_id="r"))
            keyed = asyncio.create_task(
                ledger.transfer("ALICE", "CAROL", "7 USDT", correlation_id="r", idempotency_key="k")
            )
            await until(store.begun)
            again = asyncio.create_task(
                ledger.transfer("ALICE", "CAROL", "7 USDT", correlation_id="r", idempotency_key="k")
            )
            for _ in range(50):
                await asyncio.sleep(0)
            assert not any(one.done() for one in (task, keyed, again))
            assert ledger.head == head
            assert ledger.balance("ALICE", "USDT").available == bb.SignedAmount(1000)
            assert [row.asset for row in ledger.balances("BOB")] == []
            assert [row.account.id for row in ledger.accounts("LIAB:USER:")] == ["ALICE"]
            assert len(await ledger.entries()) == 2
            with pytest.raises(bb.UnknownSequence):
                await ledger.entry(head.sequence + 1)
            store.let_go()
            assert (await task).sequence == head.sequence + 1
            assert (await keyed) == (await again)
            assert ledger.head.sequence == head.sequence + 2

    run(main)


def test_no_thread_before_the_first_commit(tmp_path: Path) -> None:
    """Reads from memory need no thread; the thread that commits ends with the ledger."""
    before = active_count()

    async def main() -> None:
        ledger = bb.AsyncLedger.in_memory({"USDT": "1"})
        assert ledger.balance("A", "USDT").available == bb.SignedAmount(0)
        assert active_count() == before
        await ledger.deposit("A", "1 USDT", correlation_id="r")
        await asyncio.gather(*(ledger.deposit("A", "1 USDT", correlation_id="r") for _ in range(50)))
        assert sum(thread.name.startswith("bibank-commit") for thread in threads()) == 1
        await ledger.entries()
        await ledger.close()

    run(main)
    for thread in threads():
        if thread.name.startswith("bibank-"):
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()
