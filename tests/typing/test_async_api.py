"""The API for asyncio as a strictly typed caller writes it: mypy reads this file, pytest runs it."""

import asyncio
from pathlib import Path
from typing import assert_type

import pytest

import bibank as bb
from bibank import drafts


async def use(ledger: bb.AsyncLedger) -> None:
    """Verbs, batches, reads, decisions: each awaited gives what the ledger that blocks gives."""
    assert_type(await ledger.deposit("ALICE", "100 USDT", correlation_id="r1"), bb.JournalEntry)
    assert_type(await ledger.hold("ALICE", "1 USDT", to="BOB", correlation_id="r1"), bb.Hold)
    assert_type(await ledger.void_hold(4, correlation_id="r1"), tuple[bb.JournalEntry, ...])
    draft = drafts.deposit("BOB", "1 USDT", correlation_id="r2")
    assert_type(await ledger.commit(draft), bb.JournalEntry)
    assert_type(await ledger.commit_batch([draft]), tuple[bb.JournalEntry, ...])
    assert_type(await ledger.commit_each([draft]), bb.Outcomes)
    assert_type(await ledger.preview(draft), bb.Table[bb.BalanceChange])
    assert_type(ledger.balance("ALICE", "USDT"), bb.Balance)
    assert_type(await ledger.balance("ALICE", "USDT", as_of=3), bb.Balance)
    assert_type(ledger.balances("ALICE"), bb.Table[bb.Balance])
    assert_type(await ledger.balances("ALICE", as_of=3), bb.Table[bb.Balance])
    assert_type(ledger.accounts(), bb.Table[bb.AccountBalance])
    assert_type(await ledger.accounts(as_of=3), bb.Table[bb.AccountBalance])
    assert_type(await ledger.entries(limit=1), bb.Table[bb.JournalEntry])
    assert_type(ledger.head, bb.Head)
    assert_type(ledger.sync_ledger, bb.Ledger)
    assert_type(await ledger.fork(), bb.AsyncLedger)
    async with ledger.batch(correlation_id="r3") as batch:
        assert_type(batch, bb.AsyncBatch)
        assert_type(batch.deposit("ALICE", "1 USDT"), bb.UnsignedEntry)
        assert_type(await batch.reverse(3, "1"), bb.UnsignedEntry)
    assert_type(batch.entries, tuple[bb.JournalEntry, ...])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ledger.bind(correlation_id="r4").deposit("ALICE", "1 USDT"))
        audit = group.create_task(ledger.audit())
    assert_type(task.result(), bb.JournalEntry)
    assert_type(audit.result(), bb.AuditReport)
    with pytest.raises(TypeError):
        await ledger.deposit("ALICE", amount="1 USDT")  # type: ignore[call-arg] # mypy sees what Python raises
    with pytest.raises(bb.InvalidType):
        await ledger.deposit("ALICE", 1, correlation_id="r")  # type: ignore[arg-type] # mypy sees it too


def test_async_ledger(tmp_path: Path) -> None:
    """Openings are awaited or entered, and give an `AsyncLedger`."""

    async def main() -> None:
        async with bb.AsyncLedger.create(tmp_path / "books", opening={"USDT": "1"}) as ledger:
            assert_type(ledger, bb.AsyncLedger)
            await use(ledger)
        opened = await bb.AsyncLedger.open(tmp_path / "books")
        assert_type(opened, bb.AsyncLedger)
        await opened.close()
        memory = bb.AsyncLedger.in_memory({"USDT": "1"})
        assert_type(memory, bb.AsyncLedger)
        await memory.close()

    asyncio.run(main())
