"""The public API as a strictly typed caller writes it: mypy reads this file, pytest runs it.

The `if TYPE_CHECKING` parts state what the types are; a change of a signature shows up here first.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, assert_never, assert_type
from uuid import UUID

import pytest

import bibank as bb
from bibank import drafts, rules, stores


def test_values() -> None:
    """Amounts, money and keys from every accepted input, with the types that operations keep."""
    amount = bb.Amount("1.5") + bb.Amount(Decimal("0.5")) + bb.Amount(1)
    assert_type(amount, bb.Amount)
    assert_type(amount - amount, bb.Amount)
    assert_type(amount.signed() - amount.signed(), bb.SignedAmount)
    assert_type(-amount.signed(), bb.SignedAmount)
    assert_type(abs(amount.signed()).to_amount(), bb.Amount)
    assert_type(amount.split(3), tuple[bb.Amount, ...])
    assert_type(amount.allocate([1, 2]), tuple[bb.Amount, ...])
    assert_type(amount.scaled(1, 3, rounding=bb.Rounding.HALF_EVEN), bb.Amount)
    assert_type(amount.to_decimal(), Decimal)
    assert_type(amount.units, int)
    assert_type(bb.Money("1 USDT") + bb.Money(amount, "USDT"), bb.Money)
    key = bb.AccountKey("LIAB:USER:ALICE:USDT:AVAILABLE")
    assert_type(key.category, bb.AccountCategory)
    assert_type(key.category.normal_balance, bb.Side)
    assert key == bb.AccountKey.of(
        category=bb.AccountCategory.LIABILITY,
        segment="USER",
        id="ALICE",
        asset="USDT",
        sub_account="AVAILABLE",
    )


def side_by_match(side: bb.Side) -> str:
    """Match over an enumeration ends in `assert_never`, which mypy proves."""
    match side:
        case bb.Side.DEBIT:
            return "left"
        case bb.Side.CREDIT:
            return "right"
        case _:
            assert_never(side)


def test_ledger() -> None:
    """Single verbs give entries, batches tuples, many items outcomes, listings tables."""
    with bb.Ledger.in_memory({"USDT": "1000", "BTC": Decimal(1)}) as ledger:
        assert_type(ledger, bb.Ledger)
        owner: bb.Owner = UUID(int=1)
        entry = ledger.deposit("ALICE", "100 USDT", correlation_id="r1", metadata={"note": ["x", 1, None]})
        assert_type(entry, bb.JournalEntry)
        assert_type(entry.timestamp, datetime)
        assert_type(entry.postings, tuple[bb.Posting, ...])
        assert_type(entry.causality_id, str | None)
        ledger.transfer("ALICE", owner, bb.Money("1 USDT"), correlation_id=UUID(int=2))
        batch = ledger.commit_batch([drafts.deposit("BOB", "1 USDT", correlation_id="r2")])
        assert_type(batch, tuple[bb.JournalEntry, ...])
        outcomes = ledger.commit_each([drafts.withdrawal("CAROL", "1 USDT", correlation_id="r3")])
        assert_type(outcomes, bb.Outcomes)
        for outcome in outcomes:
            if isinstance(outcome, bb.Refused):
                assert_type(outcome.shortfall, bb.SignedAmount | None)
            else:
                assert_type(outcome, bb.Committed)
        changes = ledger.preview(drafts.deposit("BOB", "1 USDT", correlation_id="r4"))
        assert_type(changes, bb.Table[bb.BalanceChange])
        rows: Sequence[bb.BalanceChange] = changes
        assert_type(rows[0].after, bb.SignedAmount)
        balance = ledger.balance("ALICE", "USDT")
        assert_type(balance, bb.Balance)
        assert str(balance.available) == "99"
        assert_type(ledger.head, bb.Head)
        assert_type(ledger.bind(correlation_id="r5"), bb.Ledger)
        with ledger.batch(correlation_id="r6") as together:
            assert_type(together.deposit("ALICE", "1 USDT"), bb.UnsignedEntry)
        assert_type(together.entries, tuple[bb.JournalEntry, ...])


class Clock:
    """A clock of the host; it has to say `now`, and nothing else."""

    def now(self) -> datetime:
        """Stand still."""
        return datetime(2026, 1, 25, tzinfo=UTC)


class Limit:
    """A rule of the host with a memory, typed as the protocol asks."""

    name = "limit/1"

    def check(self, entry: bb.UnsignedEntry, view: rules.RiskView) -> rules.Refusal | None:
        """Let three entries pass."""
        count = view.state.get("count", 0)
        assert isinstance(count, int)
        assert_type(view.balance(entry.postings[0].account), bb.SignedAmount)
        assert_type(view.outflows(entry), tuple[bb.Posting, ...])
        return rules.Refusal(message="too many", advice="wait") if count >= 3 else None

    def apply(self, line: rules.StampedLine, state: rules.RuleState) -> None:
        """Count entries."""
        if isinstance(line, rules.StampedEntry):
            count = state.get("count", 0)
            assert isinstance(count, int)
            state["count"] = count + 1


def test_parts_of_the_host() -> None:
    """A clock, a rule and a store fit their protocols."""
    rule: rules.StatefulRiskRule = Limit()
    clock: bb.Clock = Clock()
    store: stores.LedgerStore = bb.MemoryStore()
    ledger = bb.Ledger(store=store, risk=bb.RiskEngine([rule]), clock=clock, opening={"USDT": 1})
    ledger.deposit("ALICE", "1 USDT", correlation_id="r1")
    ledger.deposit("ALICE", "1 USDT", correlation_id="r2")
    with pytest.raises(bb.Refused) as caught:
        ledger.deposit("ALICE", "1 USDT", correlation_id="r3")
    assert (caught.value.rule, caught.value.advice) == ("limit/1", "wait")
    assert side_by_match(bb.Side.DEBIT) + side_by_match(bb.Side.CREDIT) == "leftright"


def test_reader(tmp_path: Path) -> None:
    """A reader answers as a ledger does, and gives lines of both kinds."""
    with (
        bb.Ledger.create(tmp_path / "books", opening={"USDT": 1}) as ledger,
        bb.LedgerReader.open(tmp_path / "books", verify="chain", show="written") as reader,
    ):
        ledger.deposit("ALICE", "1 USDT", correlation_id="r1")
        assert_type(reader.refresh(), int)
        assert_type(reader.balance("ALICE", "USDT"), bb.Balance)
        assert_type(reader.accounts(), bb.Table[bb.AccountBalance])
        line = next(reader.follow(after_sequence=1))
        assert_type(line, bb.JournalEntry | bb.JournalRecord)
        assert isinstance(line, bb.JournalRecord)


if TYPE_CHECKING:

    def wrong() -> None:
        """State what mypy must refuse; an ignore that is not needed is an error of its own."""
        bb.Amount(1.5)  # type: ignore[arg-type]  # a float is no money
        bb.Money("1 USDT") + bb.Amount(1)  # type: ignore[operator]  # an amount has no asset
        bb.Amount(1) + bb.SignedAmount(1)  # type: ignore[operator]  # the two do not mix
        bb.Amount(1).scaled(1, 3)  # type: ignore[call-arg]  # rounding is always named
        bb.Amount(1).units = 5  # type: ignore[misc]  # values are frozen
        bb.Ledger.in_memory().deposit("ALICE", 5, correlation_id="r")  # type: ignore[arg-type]  # money has an asset
        bb.Ledger.in_memory().transfer("ALICE", "BOB", "5 USDT", "r")  # type: ignore[call-arg]  # ids are named
