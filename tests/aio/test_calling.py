"""Everything else that is awaited: history, decisions, keys, rules, upkeep, forks, batches."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import bibank as bb
from bibank import drafts, rules
from bibank.signing import Ed25519Signer, Role
from tests.aio.stores import WatchedStore, run, watched
from tests.ledger.operators import ALICE, ANNA, BERT, CLEO, governed
from tests.store.journals import deposit, transfer


def test_history_is_awaited(tmp_path: Path) -> None:
    """What reads the journal or the projection gives what the ledger that blocks gives."""

    async def main() -> None:
        async with bb.AsyncLedger.create(tmp_path / "home", opening={"USDT": "1000", "BTC": "1"}) as ledger:
            bound = ledger.bind(correlation_id="b")
            await bound.deposit("ALICE", "100 USDT")
            await bound.deposit("BOB", "1 BTC")
            await bound.trade(maker="ALICE", maker_gives="10 USDT", taker="BOB", taker_gives="0.1 BTC")
            await bound.fee("ALICE", "1 USDT")
            await ledger.project()
            blocking = ledger.sync_ledger
            assert await ledger.entry(3) == blocking.entry(3)
            assert await ledger.line(2) == blocking.line(2)
            assert await ledger.record(2) == blocking.record(2)
            assert await ledger.records() == blocking.records()
            assert await ledger.entries(limit=2) == blocking.entries(limit=2)
            assert await ledger.trades() == blocking.trades()
            assert await ledger.fee_totals() == blocking.fee_totals()
            assert await ledger.statement("ALICE") == blocking.statement("ALICE")
            assert await ledger.trial_balance() == blocking.trial_balance()
            assert await ledger.attestations() == blocking.attestations()
            assert await ledger.balance("ALICE", "USDT", as_of=3) == blocking.balance(
                "ALICE", "USDT", as_of=3
            )
            assert await ledger.balances("ALICE", as_of=4) == blocking.balances("ALICE", as_of=4)
            assert await ledger.accounts("LIAB", as_of=4) == blocking.accounts("LIAB", as_of=4)
            assert ledger.accounts("LIAB", limit=1) == blocking.accounts("LIAB", limit=1)
            assert ledger.balances("ALICE") == blocking.balances("ALICE")
            assert ledger.holds() == blocking.holds()
            assert ledger.rules == blocking.rules
            assert ledger.keyring.keys == blocking.keyring.keys
            assert (await ledger.audit(level="signatures")).head == ledger.head
            assert (await ledger.snapshot()).sequence == ledger.head.sequence
            await ledger.flush_head()
            assert ledger.bus is blocking.bus

    run(main)


def test_the_loop_never_reads_the_disk() -> None:
    """Keys, holds, reversals, history: whatever reads the store does so in a thread of the ledger."""
    store = WatchedStore()

    async def main() -> None:
        async with watched(store) as ledger:
            bound = ledger.bind(correlation_id="r")
            hold = await bound.hold("ALICE", "5 USDT", to="BOB")
            entry = await bound.transfer("ALICE", "BOB", "5 USDT", idempotency_key="k")
            store.readers.clear()
            await bound.transfer("ALICE", "BOB", "5 USDT", idempotency_key="k")
            await bound.post_hold(hold.id)
            await bound.reverse(entry.sequence, "1")
            await ledger.commit(drafts.reversal(entry, bb.Amount("1"), correlation_id="r"))
            await ledger.commit_batch(
                [drafts.reversal(entry, bb.Amount("1"), correlation_id="r")], idempotency_key="k2"
            )
            async with bound.batch(idempotency_key="k3") as batch:
                await batch.reverse(entry.sequence, "1")
                await batch.preview()
            await ledger.preview(drafts.reversal(entry, bb.Amount("1"), correlation_id="r"))
            await ledger.commit_each([drafts.reversal(entry, bb.Amount("0.5"), correlation_id="r")])
            await ledger.balance("ALICE", "USDT", as_of=3)
            await ledger.balances("ALICE", as_of=3)
            await ledger.accounts(as_of=3)
            await ledger.pending()
            await ledger.trial_balance()
            ledger.balance("ALICE", "USDT")
            ledger.accounts()
            ledger.holds()
            await ledger.entries()

    run(main)
    assert store.readers != set()
    assert all(name.startswith("bibank-") for name in store.readers)


def test_preview_and_many_items() -> None:
    """`preview`, `commit_each` and `void_expired_holds` are those of the ledger."""

    async def main() -> None:
        async with bb.AsyncLedger.in_memory({"USDT": "1"}) as ledger:
            (vault, alice) = await ledger.preview(deposit("ALICE", "5 USDT"))
            assert (str(vault.after - vault.before), str(alice.after)) == ("5", "5")
            items = (deposit("ALICE", "5 USDT"), transfer("ALICE", "BOB", "6 USDT"))
            outcomes = await ledger.commit_each(items)
            assert [type(one).__name__ for one in outcomes] == ["Committed", "InsufficientBalance"]
            assert len(await ledger.void_expired_holds(correlation_id="r")) == 0

    run(main)


def test_decisions_are_awaited() -> None:
    """Operators freeze, limit, propose, approve, attest and override from tasks."""

    async def main() -> None:
        async with bb.AsyncLedger(governed(ANNA, BERT, CLEO)) as ledger:
            decide = ledger.governance
            agreed = {"authorised_by": (ANNA.signer,), "correlation_id": "case"}
            await decide.freeze(ALICE, reason="asked for", **agreed)  # type: ignore[arg-type] # options of two types
            with pytest.raises(bb.AccountFrozen):
                await ledger.transfer("ALICE", "BOB", "1 USDT", correlation_id="r")
            terms = ledger.terms_of(ALICE)
            assert terms is not None
            assert [row.account for row in ledger.account_terms()] == [ALICE]
            await decide.reopen(ALICE, reason="over", **agreed)  # type: ignore[arg-type] # options of two types
            draft = drafts.adjustment(
                [
                    bb.Posting.debit("LIAB:USER:ALICE:USDT:AVAILABLE", 45),
                    bb.Posting.credit("ASSET:SYSTEM:VAULT:USDT:MAIN", 45),
                ],
                purpose=bb.AdjustmentPurpose.CORRECTION,
                reason="typed wrong",
                correlation_id="case",
            )
            proposed = await decide.propose(draft, proposed_by=ANNA.signer)
            assert [row.sequence for row in await ledger.pending()] == [proposed.sequence]
            first = await decide.approve(proposed.sequence, BERT.signer, correlation_id="case")
            assert first.entry is None
            elsewhere = (await decide.draft_approval(proposed.sequence)).signed_by(CLEO.signer)
            lines = await decide.commit(elsewhere, correlation_id="case")
            assert len(lines) == 2
            assert ledger.balance("ALICE", "USDT").available == bb.SignedAmount(55)
            await decide.attest(3, BERT.signer, correlation_id="case")
            assert len(await ledger.attestations(3)) == 1
            assert repr(decide) == repr(ledger.sync_ledger.governance)

    run(main)


def test_keys_are_changed() -> None:
    """A key is rotated while tasks commit: each line is signed by who signed then."""

    async def main() -> None:
        old, new = (Ed25519Signer(bytes([n]) * 32, signer_id=f"SYSTEM{n}") for n in (1, 2))
        async with bb.AsyncLedger.in_memory({"USDT": "1"}, signer=old) as ledger:
            version = ledger.keyring.version
            commits = [ledger.deposit("A", "1 USDT", correlation_id="r") for _ in range(20)]
            rotated = ledger.keyring.rotate(new, correlation_id="r")
            await asyncio.gather(*commits, rotated)
            assert ledger.keyring.version == version + 1
            after = await ledger.deposit("A", "1 USDT", correlation_id="r")
            assert [one.signer_id for one in after.signatures] == ["SYSTEM2"]
            await ledger.keyring.add(
                ANNA.signer, roles=(Role.OPERATOR,), authorised_by=(), correlation_id="r"
            )
            assert ledger.keyring.fingerprint == ledger.sync_ledger.keyring.fingerprint
            assert ledger.keyring.policies == ledger.sync_ledger.keyring.policies
            assert repr(ledger.keyring) == repr(ledger.sync_ledger.keyring)
            assert (await ledger.audit(level="signatures")).head == ledger.head

    run(main)


def test_rules_are_adopted_and_forks_made() -> None:
    """A rule set is in force from its line on; a fork is a face of its own, and the first is untouched."""

    async def main() -> None:
        async with bb.AsyncLedger.in_memory({"USDT": "1"}) as ledger:
            await ledger.deposit("A", "9 USDT", correlation_id="r")
            await ledger.adopt_rules([rules.EntryLimit(name="small/1", money="5 USDT")], correlation_id="r")
            with pytest.raises(bb.Refused):
                await ledger.transfer("A", "B", "6 USDT", correlation_id="r")
            assert len(ledger.rules) == 1
            async with await ledger.fork() as fork:
                await fork.deposit("A", "5 USDT", correlation_id="r")
                assert fork.balance("A", "USDT").available == bb.SignedAmount(14)
            assert ledger.balance("A", "USDT").available == bb.SignedAmount(9)

    run(main)


def test_snapshots_are_made_beside_commits(tmp_path: Path) -> None:
    """What is due after many commits is done by another thread, and before the ledger is closed."""

    async def main() -> None:
        ledger = await bb.AsyncLedger.create(tmp_path / "home", opening={"USDT": "1"}, snapshot_every=50)
        for _ in range(3):
            await asyncio.gather(*(ledger.deposit("A", "1 USDT", correlation_id="r") for _ in range(60)))
        making = ledger._submissions._tending
        assert making is not None
        assert making.future is not None
        await asyncio.wrap_future(making.future)
        assert list((tmp_path / "home" / "snapshots").iterdir()) != []
        await ledger.close()

    run(main)
    with bb.Ledger.open(tmp_path / "home") as ledger:
        assert ledger.head.sequence == 182


def test_batches() -> None:
    """A batch is used once, discarded when its block raises, and tells what it holds."""

    async def main() -> None:
        async with bb.AsyncLedger.in_memory({"USDT": "9"}) as ledger:
            bound = ledger.bind(correlation_id="b")
            async with bound.batch(idempotency_key="k") as batch:
                draft = batch.deposit("A", "5 USDT")
                assert batch.drafts == (draft,)
                with pytest.raises(bb.ConfigurationError):
                    _ = batch.entries
                opened = batch.add(drafts.transfer("A", "B", "1 USDT", correlation_id="x"))
                assert opened.correlation_id == "x"
                assert len(await batch.preview()) == 3
                with pytest.raises(bb.InvalidValue, match="whole batch"):
                    await batch.reverse(3, idempotency_key="other")
                with pytest.raises(bb.UnknownSequence):
                    await batch.reverse(99)
                assert len(batch) == 2
            assert [entry.sequence for entry in batch.entries] == [3, 4]
            with pytest.raises(bb.ConfigurationError, match="inside"):
                batch.deposit("A", "1 USDT")
            with pytest.raises(bb.ConfigurationError, match="inside"):
                await batch.reverse(3)
            with pytest.raises(bb.ConfigurationError, match="once"):
                async with batch:
                    pass
            with pytest.raises(ZeroDivisionError):
                await _broken(bound)
            async with bound.batch() as empty:
                pass
            assert empty.entries == ()
            assert ledger.head.sequence == 4

    run(main)


async def _broken(ledger: bb.AsyncLedger) -> None:
    async with ledger.batch() as batch:
        batch.deposit("A", "5 USDT")
        raise ZeroDivisionError
