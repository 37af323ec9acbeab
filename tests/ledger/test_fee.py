"""Fees: every line of phase 2, sections 3.1 to 3.5 and 11, and the success criteria that concern them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bibank as bb
from bibank import drafts
from bibank.fees import percentage

REVENUE = "REV:SYSTEM:FEE:USDT:TRADING"


@pytest.fixture
def ledger() -> Iterator[bb.Ledger]:
    """A ledger where ALICE has 1000 USDT and BOB has 1 BTC."""
    with bb.Ledger.in_memory({"USDT": "10000", "BTC": "10"}) as ledger:
        bound = ledger.bind(correlation_id="r1")
        bound.deposit("ALICE", "1000 USDT")
        bound.deposit("BOB", "1 BTC")
        yield bound


def swap(ledger: bb.Ledger, *fees: bb.TradeFee, **common: Any) -> bb.Trade:
    """Let ALICE give 100 USDT for BOB's 0.001 BTC, with fees."""
    return ledger.trade(
        maker="ALICE", maker_gives="100 USDT", taker="BOB", taker_gives="0.001 BTC", fees=fees, **common
    )


def by_hand(*postings: bb.Posting, **fields: Any) -> bb.UnsignedEntry:
    """A fee written by hand."""
    metadata = {"fee_amount": "0.1", "fee_asset": "USDT", "fee_type": "trading", **fields}
    return bb.UnsignedEntry(
        intent=bb.TransactionIntent.FEE,
        correlation_id="r1",
        postings=postings
        or (bb.Posting.debit("LIAB:USER:ALICE:USDT:AVAILABLE", "0.1"), bb.Posting.credit(REVENUE, "0.1")),
        metadata=metadata,
    )


# --------------------------------------------------------------------------- phase 2, 3.2, 3.3, 9.3


def test_fee_deducts_from_the_user_and_credits_revenue(ledger: bb.Ledger) -> None:
    """Phase 2, 9.3 and 3.2: the payer has less, the house's revenue more, by the absolute amount given."""
    entry = ledger.fee("ALICE", "0.1 USDT")
    assert entry.postings == (
        bb.Posting.debit("LIAB:USER:ALICE:USDT:AVAILABLE", "0.1"),
        bb.Posting.credit(REVENUE, "0.1"),
    )
    assert dict(entry.metadata) == {"fee_amount": "0.1", "fee_asset": "USDT", "fee_type": "trading"}
    assert str(ledger.balance("ALICE", "USDT").posted) == "999.9"
    assert str(ledger.balance(bb.AccountKey(REVENUE)).posted) == "0.1"
    assert entry.causality_id is None


@pytest.mark.parametrize("kind", bb.FeeKind)
def test_fee_of_every_kind_has_its_revenue_account(ledger: bb.Ledger, kind: bb.FeeKind) -> None:
    """Phase 2, 3.3: TRADING, WITHDRAWAL, MARGIN and LIQUIDATION are sub-accounts."""
    entry = ledger.fee("ALICE", "1 USDT", kind=kind)
    assert str(entry.postings[1].account) == f"REV:SYSTEM:FEE:USDT:{kind.name}"
    assert entry.metadata["fee_type"] == kind.value


# --------------------------------------------------------------------------- phase 2, 3.4, 11


def test_fee_needs_two_postings() -> None:
    """Phase 2, 3.4: from the user, to the system."""
    with pytest.raises(bb.InsufficientPostings):
        by_hand(bb.Posting.debit("LIAB:USER:ALICE:USDT:AVAILABLE", "0.1"))


@pytest.mark.parametrize(
    "payer", ["ASSET:SYSTEM:VAULT:USDT:MAIN", "REV:SYSTEM:FEE:USDT:MARGIN", "EXP:SYSTEM:OPS:USDT:MAIN"]
)
def test_fee_is_debited_from_a_liability(ledger: bb.Ledger, payer: str) -> None:
    """Phase 2, 3.4: the user pays."""
    with pytest.raises(bb.IntentViolation, match="debit side: LIAB"):
        ledger.commit(by_hand(bb.Posting.debit(payer, "0.1"), bb.Posting.credit(REVENUE, "0.1")))


@pytest.mark.parametrize("earner", ["LIAB:USER:BOB:USDT:AVAILABLE", "EQUITY:SYSTEM:CAPITAL:USDT:MAIN"])
def test_fee_is_credited_to_revenue(ledger: bb.Ledger, earner: str) -> None:
    """Phase 2, 3.4: the system receives."""
    payer = bb.Posting.debit("LIAB:USER:ALICE:USDT:AVAILABLE", "0.1")
    with pytest.raises(bb.IntentViolation, match="credit side: REV"):
        ledger.commit(by_hand(payer, bb.Posting.credit(earner, "0.1")))


@pytest.mark.parametrize(
    "account",
    [
        "REV:SYSTEM:FEE:USDT:OTHER",
        "REV:SYSTEM:FEE:USDT:REVENUE",
        "REV:USER:FEE:USDT:TRADING",
        "REV:SYSTEM:TIPS:USDT:TRADING",
    ],
)
def test_fee_is_credited_to_an_account_of_the_table(ledger: bb.Ledger, account: str) -> None:
    """Phase 2, 3.3: no other kind; phase 1's single account is read and no longer written."""
    kind = account.rpartition(":")[2].lower()
    payer = bb.Posting.debit("LIAB:USER:ALICE:USDT:AVAILABLE", "0.1")
    with pytest.raises(bb.IntentViolation):
        ledger.commit(by_hand(payer, bb.Posting.credit(account, "0.1"), fee_type=kind))


def test_fee_is_paid_in_one_asset(ledger: bb.Ledger) -> None:
    """Phase 2, 3.4: the same asset on both sides, and only one."""
    legs = [
        bb.Posting.debit("LIAB:USER:ALICE:USDT:AVAILABLE", "0.1"),
        bb.Posting.credit(REVENUE, "0.1"),
        bb.Posting.debit("LIAB:USER:BOB:BTC:AVAILABLE", "0.1"),
        bb.Posting.credit("REV:SYSTEM:FEE:BTC:TRADING", "0.1"),
    ]
    with pytest.raises(bb.IntentViolation, match="2 assets"):
        ledger.commit(by_hand(*legs))


def test_fee_checks_the_balance(ledger: bb.Ledger) -> None:
    """Phase 2, 3.4 and 11: the user has at least the fee, and exactly that passes."""
    with pytest.raises(bb.InsufficientBalance) as caught:
        ledger.fee("ALICE", "1000.00000001 USDT")
    assert caught.value.advice == "at most 1000 USDT would pass"
    ledger.fee("ALICE", "1000 USDT")


@pytest.mark.parametrize("name", ["fee_amount", "fee_asset", "fee_type"])
def test_fee_metadata_says_what_the_postings_say(ledger: bb.Ledger, name: str) -> None:
    """Phase 2, 3.5: amount, asset and type are there and are those of the postings."""
    for wrong in ("9", None, 7):
        with pytest.raises(bb.IntentViolation, match=f"metadata.{name}"):
            ledger.commit(by_hand(**{name: wrong}))


@pytest.mark.parametrize("kind", ["trading", None, 1])
def test_fee_of_no_kind(ledger: bb.Ledger, kind: Any) -> None:
    """A kind of fee is a `FeeKind`, never a text."""
    with pytest.raises(bb.InvalidType, match="FeeKind"):
        ledger.fee("ALICE", "1 USDT", kind=kind)
    with pytest.raises(bb.InvalidType, match="FeeKind"):
        bb.TradeFee("ALICE", "1 USDT", kind=kind)


# --------------------------------------------------------------------------- phase 2, 3.5


def test_fee_with_a_trade_is_an_entry_of_its_own(ledger: bb.Ledger) -> None:
    """Phase 2, 3.5: a separate entry in the same atomic batch, that names the trade."""
    trade = swap(
        ledger, bb.TradeFee("ALICE", "0.1 USDT"), bb.TradeFee("BOB", "0.00001 BTC", kind=bb.FeeKind.MARGIN)
    )
    first = trade.entry.sequence
    assert [fee.sequence for fee in trade.fees] == [first + 1, first + 2]
    assert {entry.batch.first for entry in trade.fees} == {first}
    assert trade.entry.batch.size == 3
    for fee in trade.fees:
        assert fee.metadata["related_trade_sequence"] == fee.causality_id == str(first)
    assert dict(trade.fees[0].metadata) == {
        "fee_amount": "0.1",
        "fee_asset": "USDT",
        "fee_type": "trading",
        "related_trade_sequence": str(first),
    }
    assert trade.entry.causality_id is None


def test_fee_and_trade_stand_or_fall_together(ledger: bb.Ledger) -> None:
    """Phase 2, 3.5: a fee that cannot be paid takes the trade with it."""
    before = ledger.head, ledger.accounts()
    with pytest.raises(bb.InsufficientBalance):
        swap(ledger, bb.TradeFee("ALICE", "900.00000001 USDT"))
    assert (ledger.head, ledger.accounts()) == before
    swap(ledger, bb.TradeFee("ALICE", "900 USDT"))


def test_fee_may_be_paid_from_what_the_trade_brings(ledger: bb.Ledger) -> None:
    """Entries of a batch are judged one after the other: who had no USDT pays from those just received."""
    assert str(swap(ledger, bb.TradeFee("BOB", "100 USDT")).fees[0].postings[0].amount) == "100"


def test_fee_follows_the_last_trade_before_it_in_its_batch(ledger: bb.Ledger) -> None:
    """Each fee is tied to the trade before it; before the first, and in another batch, to none."""
    give: dict[str, Any] = {
        "maker": "ALICE",
        "maker_gives": "1 USDT",
        "taker": "BOB",
        "taker_gives": "0.1 BTC",
    }
    with ledger.batch() as batch:
        batch.fee("ALICE", "1 USDT")
        batch.trade(**give)
        batch.fee("ALICE", "2 USDT")
        batch.deposit("ALICE", "1 USDT")
        batch.fee("ALICE", "3 USDT")
        batch.trade(**give)
        batch.fee("ALICE", "4 USDT")
    first = batch.entries[0].sequence
    causes = [entry.causality_id for entry in batch.entries if entry.intent is bb.TransactionIntent.FEE]
    assert causes == [None, str(first + 1), str(first + 1), str(first + 5)]
    assert ledger.fee("ALICE", "1 USDT").causality_id is None


def test_fee_relation_is_the_ledgers_to_write(ledger: bb.Ledger) -> None:
    """Nobody names a trade by hand: neither a right one nor a wrong one."""
    trade = swap(ledger)
    with pytest.raises(bb.InvalidMetadata, match="filled in by the ledger"):
        by_hand(related_trade_sequence=str(trade.entry.sequence))
    with pytest.raises(bb.InvalidMetadata):
        ledger.fee("ALICE", "1 USDT", metadata={"related_trade_sequence": "4"})


def test_fees_are_a_sequence_of_trade_fees(ledger: bb.Ledger) -> None:
    """A single fee, a text, or a draft is a typed error."""
    for wrong in (
        bb.TradeFee("ALICE", "1 USDT"),
        ["1 USDT"],
        [drafts.fee("ALICE", "1 USDT", correlation_id="r")],
    ):
        with pytest.raises(bb.InvalidType, match="TradeFee"):
            ledger.trade(maker="ALICE", maker_gives="1 USDT", taker="BOB", taker_gives="1 BTC", fees=wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_fees_are_never_lost(ledger: bb.Ledger) -> None:
    """Fees that come as an iterator are taken, or refused; a trade does not pass without them."""
    given = (fee for fee in [bb.TradeFee("ALICE", "1 USDT")])
    try:
        trade = ledger.trade(
            maker="ALICE",
            maker_gives="1 USDT",
            taker="BOB",
            taker_gives="1 BTC",
            fees=given,  # type: ignore[arg-type]  # wrong on purpose
        )
    except bb.InvalidType:
        return
    assert len(trade.fees) == 1


@pytest.mark.parametrize("fees", [None, 5])
def test_fees_that_are_no_sequence(ledger: bb.Ledger, fees: Any) -> None:
    """What cannot be iterated is a typed error."""
    with pytest.raises(bb.InvalidType):
        ledger.trade(maker="ALICE", maker_gives="1 USDT", taker="BOB", taker_gives="1 BTC", fees=fees)


# --------------------------------------------------------------------------- phase 2, 3.1: percentages


@given(
    st.integers(0, 10**20),
    st.integers(0, 200 * 10**8),
    st.sampled_from(bb.Rounding),
)
def test_fee_percentage_is_the_exact_share_rounded_once(
    units: int, percent: int, rounding: bb.Rounding
) -> None:
    """Phase 2, 3.1: percentages are computed above the ledger, exactly, and rounded once as named."""
    share = Decimal(percent).scaleb(-8)
    money = percentage(bb.Money(bb.Amount.from_units(units), "USDT"), share, rounding=rounding)
    exact = Fraction(units) * Fraction(percent, 10**8) / 100
    off = money.amount.units - exact
    assert -1 < off < 1
    if exact.denominator == 1:
        assert off == 0
    elif rounding is bb.Rounding.UP:
        assert off > 0
    elif rounding is bb.Rounding.DOWN:
        assert off < 0
    else:
        assert abs(off) <= Fraction(1, 2)
        if abs(off) == Fraction(1, 2) and rounding is bb.Rounding.HALF_EVEN:
            assert money.amount.units % 2 == 0
    assert money.asset == "USDT"


@pytest.mark.parametrize(
    ("percent", "error"),
    [
        (0.1, bb.InvalidType),
        (True, bb.InvalidType),
        (bb.Amount("1"), bb.InvalidType),
        ("-1", bb.InvalidAmount),
        ("0.123456789", bb.InvalidAmount),
        ("1%", bb.InvalidAmount),
    ],
)
def test_fee_percentage_of_other_values(percent: Any, error: type[bb.BibankError]) -> None:
    """No float, no sign, no amount, at most 8 decimals."""
    with pytest.raises(error):
        percentage("100 USDT", percent, rounding=bb.Rounding.UP)
