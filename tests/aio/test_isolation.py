"""Each caller gets its own: refusals, malformed requests and failing stores touch nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import bibank as bb
from bibank.rules import Refusal, RiskView
from tests.aio.stores import WatchedStore, run, until, watched
from tests.store.journals import deposit


def kinds(found: list[Any]) -> list[str]:
    """Name what became of each request."""
    return [type(one).__name__ for one in found]


def test_refusals_and_malformed_requests_touch_nobody_else() -> None:
    """In one group: what is refused, malformed, in conflict or unknown raises for its caller alone."""
    store = WatchedStore()

    async def main() -> None:
        async with watched(store) as ledger:
            await ledger.deposit("BOB", "1 USDT", correlation_id="r", idempotency_key="k")
            hostile: Any = ledger
            found = await asyncio.gather(
                ledger.transfer("ALICE", "BOB", "1 USDT", correlation_id="r"),
                ledger.transfer("POOR", "BOB", "1 USDT", correlation_id="r"),
                ledger.transfer("ALICE", "BOB", "not money", correlation_id="r"),
                ledger.transfer("ALICE", "BOB", "1 USDT"),
                ledger.deposit("BOB", "2 USDT", correlation_id="r", idempotency_key="k"),
                ledger.deposit("BOB", "1 USDT", correlation_id="r", idempotency_key="k"),
                ledger.deposit("BOB", "2 USDT", correlation_id="r", idempotency_key="k\n"),
                ledger.reverse(999, correlation_id="r"),
                ledger.reverse(1, correlation_id="r"),
                ledger.post_hold(3, correlation_id="r"),
                ledger.void_hold(0, correlation_id="r"),
                ledger.commit_batch([]),
                hostile.commit("nothing"),
                hostile.commit_batch(7),
                ledger.transfer("ALICE", "BOB", "1 USDT", correlation_id="r"),
                return_exceptions=True,
            )
            assert kinds(found) == [
                "JournalEntry",
                "InsufficientBalance",
                "InvalidAmount",
                "MissingCorrelationId",
                "IdempotencyConflict",
                "JournalEntry",
                "InvalidIdentifier",
                "UnknownSequence",
                "NotReversible",
                "InvalidValue",
                "UnknownSequence",
                "EntryTooLarge",
                "InvalidType",
                "InvalidType",
                "JournalEntry",
            ]
            assert ledger.balance("BOB", "USDT").available == bb.SignedAmount(3)
        assert store.appends == [1, 2]

    run(main)


def test_errors_are_those_of_the_ledger_that_blocks() -> None:
    """The same requests one by one, blocking: the same kinds with the same words."""

    async def main() -> None:
        blocking = bb.Ledger.in_memory({"USDT": "1"})
        async with bb.AsyncLedger.in_memory({"USDT": "1"}) as ledger:
            for verb, arguments in (
                ("transfer", ("POOR", "BOB", "1 USDT")),
                ("transfer", ("POOR", "BOB", "1 BTCX!")),
                ("reverse", (99,)),
                ("reverse", (1,)),
                ("post_hold", (2,)),
                ("hold", ("POOR", "1 USDT")),
            ):
                options = {"to": "SHOP"} if verb == "hold" else {}
                with pytest.raises(bb.BibankError) as expected:
                    getattr(blocking, verb)(*arguments, correlation_id="r", **options)
                with pytest.raises(type(expected.value)) as found:
                    await getattr(ledger, verb)(*arguments, correlation_id="r", **options)
                assert str(found.value) == str(expected.value)

    run(main)


def test_a_group_that_was_not_written_fails_for_its_members_alone() -> None:
    """A full disk: each member gets an error object of its own, and what comes later is committed."""
    store = WatchedStore()

    async def main() -> None:
        async with watched(store) as ledger:
            store.fail(bb.StoreUnavailable("planted"))
            first = asyncio.gather(
                *(ledger.deposit("A", "1 USDT", correlation_id="r") for _ in range(5)),
                ledger.transfer("POOR", "BOB", "1 USDT", correlation_id="r"),
                return_exceptions=True,
            )
            store.hold()
            await until(store.begun)
            second = asyncio.gather(*(ledger.deposit("B", "1 USDT", correlation_id="r") for _ in range(5)))
            store.let_go()
            failed = await first
            assert kinds(failed) == ["StoreUnavailable"] * 5 + ["InsufficientBalance"]
            assert len({id(error) for error in failed}) == 6
            assert [entry.sequence for entry in await second] == [4, 5, 6, 7, 8]
            assert ledger.balance("A", "USDT").available == bb.SignedAmount(0)
            assert ledger.balance("B", "USDT").available == bb.SignedAmount(5)

    run(main)


def test_only_the_group_that_failed_fails() -> None:
    """Of what fills two write groups, the first is not written: the second is, in its place."""
    store = WatchedStore()

    async def main() -> None:
        async with watched(store) as ledger:
            store.fail(bb.StoreUnavailable("planted"))
            draft = deposit("A", "1 USDT")
            found = await asyncio.gather(*(ledger.commit(draft) for _ in range(9000)), return_exceptions=True)
            failed = [one for one in found if isinstance(one, bb.StoreUnavailable)]
            entries = [one for one in found if isinstance(one, bb.JournalEntry)]
            assert len(failed) + len(entries) == 9000
            assert len({id(error) for error in failed}) == len(failed)
            assert found[: len(failed)] == failed
            assert [entry.sequence for entry in entries] == list(range(4, 4 + len(entries)))
            assert store.appends == [len(entries)]

    run(main)


@pytest.mark.parametrize("error", [OSError(5, "planted"), bb.CommitOutcomeUnknown("planted"), SystemExit(3)])
def test_a_group_whose_outcome_is_unknown_ends_the_ledger(error: BaseException) -> None:
    """A sync that failed: members of the group hear that it is unknown, others that all is poisoned."""
    store = WatchedStore()

    async def main() -> None:
        ledger = watched(store)
        store.fail(error)
        store.hold()
        first = asyncio.gather(
            *(ledger.deposit("A", "1 USDT", correlation_id="r") for _ in range(5)), return_exceptions=True
        )
        await until(store.begun)
        second = asyncio.gather(
            *(ledger.deposit("B", "1 USDT", correlation_id="r") for _ in range(5)), return_exceptions=True
        )
        store.let_go()
        failed = await first
        assert kinds(failed) == ["CommitOutcomeUnknown"] * 5
        assert len({id(one) for one in failed}) == 5
        assert kinds(await second) == ["LedgerPoisoned"] * 5
        with pytest.raises(bb.LedgerPoisoned):
            await ledger.deposit("C", "1 USDT", correlation_id="r")
        with pytest.raises(bb.LedgerPoisoned):
            ledger.balance("A", "USDT")
        await ledger.close()

    run(main)


class Moody:
    """A rule of the host that does as it is told, payee by payee."""

    name = "moody/1"

    def check(self, entry: bb.UnsignedEntry, view: RiskView) -> Refusal | None:
        """Break, or let pass."""
        if entry.postings[-1].account.id == "BREAKS":
            raise ValueError("planted")
        if entry.postings[-1].account.id == "ENDS":
            raise SystemExit("planted")
        return None


def test_a_rule_that_breaks_refuses_one() -> None:
    """A rule that raises refuses that entry with `RuleFailed`; those around it are committed."""

    async def main() -> None:
        async with bb.AsyncLedger.in_memory({"USDT": "1"}, risk=bb.RiskEngine([Moody()])) as ledger:
            found = await asyncio.gather(
                *(ledger.deposit(name, "1 USDT", correlation_id="r") for name in ("A", "BREAKS", "B")),
                return_exceptions=True,
            )
            assert kinds(found) == ["JournalEntry", "RuleFailed", "JournalEntry"]

    run(main)


def test_what_stops_the_thread_is_told_to_everybody() -> None:
    """A rule that ends the thread: nobody hangs, nothing is committed, and the ledger is of no more use."""

    async def main() -> None:
        ledger = bb.AsyncLedger.in_memory({"USDT": "1"}, risk=bb.RiskEngine([Moody()]))
        found = await asyncio.gather(
            *(ledger.deposit(name, "1 USDT", correlation_id="r") for name in ("A", "ENDS", "B")),
            return_exceptions=True,
        )
        assert kinds(found) == ["CommitOutcomeUnknown"] * 3
        with pytest.raises(bb.LedgerPoisoned):
            await ledger.deposit("A", "1 USDT", correlation_id="r")
        await ledger.close()

    run(main)


class BrokenClock:
    """A clock that raises when it is told to."""

    def __init__(self) -> None:
        self.inner = bb.SystemClock()
        self.broken = 0

    def now(self) -> Any:
        """Give the time, or raise."""
        if self.broken:
            self.broken -= 1
            raise OSError(5, f"planted {self.broken}")
        return self.inner.now()


def test_a_clock_that_fails_fails_for_who_asked_it() -> None:
    """As in the ledger that blocks: the first who asks gets what the clock raises, the next asks again."""

    async def main() -> None:
        clock = BrokenClock()
        async with bb.AsyncLedger.in_memory({"USDT": "1"}, clock=clock) as ledger:
            clock.broken = 2
            found = await asyncio.gather(
                *(ledger.deposit("A", "1 USDT", correlation_id="r") for _ in range(4)), return_exceptions=True
            )
            assert kinds(found) == ["OSError", "OSError", "JournalEntry", "JournalEntry"]

    run(main)
