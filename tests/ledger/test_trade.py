"""Trades: every line of phase 2, sections 2.2 to 2.4 and 11, and the success criteria that concern them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import bibank as bb
from bibank import drafts

ALICE, BOB = "LIAB:USER:ALICE", "LIAB:USER:BOB"
FIELDS = {
    "trade_id": "TRADE-2026-001",
    "base_asset": "BTC",
    "quote_asset": "USDT",
    "price": "100000",
    "base_amount": "0.001",
    "quote_amount": "100",
    "maker": "ALICE",
    "taker": "BOB",
}
LEGS = (
    bb.Posting.debit(f"{ALICE}:USDT:AVAILABLE", "100"),
    bb.Posting.credit(f"{BOB}:USDT:AVAILABLE", "100"),
    bb.Posting.debit(f"{BOB}:BTC:AVAILABLE", "0.001"),
    bb.Posting.credit(f"{ALICE}:BTC:AVAILABLE", "0.001"),
)


@pytest.fixture
def ledger() -> Iterator[bb.Ledger]:
    """A ledger where ALICE has 1000 USDT and BOB has 1 BTC."""
    with bb.Ledger.in_memory({"USDT": "10000", "BTC": "10"}) as ledger:
        bound = ledger.bind(correlation_id="r1")
        bound.deposit("ALICE", "1000 USDT")
        bound.deposit("BOB", "1 BTC")
        yield bound


def swap(ledger: bb.Ledger, **changes: Any) -> bb.Trade:
    """Let ALICE give 100 USDT for BOB's 0.001 BTC, or something else."""
    asked = {"maker": "ALICE", "maker_gives": "100 USDT", "taker": "BOB", "taker_gives": "0.001 BTC"}
    return ledger.trade(**{**asked, **changes})


def by_hand(postings: Any = LEGS, **fields: Any) -> bb.UnsignedEntry:
    """A trade written by hand, with other postings or other fields."""
    metadata = {name: value for name, value in {**FIELDS, **fields}.items() if value is not None}
    return bb.UnsignedEntry(
        intent=bb.TransactionIntent.TRADE, correlation_id="r1", postings=postings, metadata=metadata
    )


# --------------------------------------------------------------------------- phase 2, 2.2, 2.4, 9.3


def test_trade_creates_one_valid_entry_of_four_postings(ledger: bb.Ledger) -> None:
    """Phase 2, 9.3: a trade is one entry with the postings of 2.2, zero-sum for each asset."""
    trade = swap(ledger)
    assert trade.entry.postings == LEGS
    assert (trade.fees, trade.entry.batch.size) == ((), 1)
    assert str(ledger.balance("ALICE", "USDT").posted) == "900"
    assert str(ledger.balance("BOB", "USDT").posted) == "100"
    assert str(ledger.balance("ALICE", "BTC").posted) == "0.001"
    assert str(ledger.balance("BOB", "BTC").posted) == "0.999"
    assert ledger.entry(trade.entry.sequence) == trade.entry


def test_trade_metadata_is_that_of_the_specification(ledger: bb.Ledger) -> None:
    """Phase 2, 2.4: the eight fields, spelled exactly as there."""
    assert dict(swap(ledger, trade_id="TRADE-2026-001").entry.metadata) == FIELDS
    assert swap(ledger).entry.metadata["trade_id"] == "r1"
    other = swap(ledger, base="USDT").entry.metadata
    assert (other["base_asset"], other["price"]) == ("USDT", "0.00001")


@pytest.mark.parametrize(
    ("gives", "takes", "price"),
    [("1", "3", "1/3"), ("2", "4", "0.5"), ("1", "0.7", "10/7"), ("0.00000001", "1", "0.00000001")],
)
def test_trade_price_is_exact(ledger: bb.Ledger, gives: str, takes: str, price: str) -> None:
    """A price is a decimal where 8 places hold it, else the reduced fraction; never rounded."""
    ledger.deposit("BOB", "9 BTC")
    trade = swap(ledger, maker_gives=f"{gives} USDT", taker_gives=f"{takes} BTC")
    assert trade.entry.metadata["price"] == price


# --------------------------------------------------------------------------- phase 2, 2.3, 11


def test_trade_needs_at_least_four_postings(ledger: bb.Ledger) -> None:
    """Phase 2, 2.3: two legs with two sides; two postings are no trade."""
    with pytest.raises(bb.IntentViolation, match="needs at least 4"):
        ledger.commit(by_hand(LEGS[:2]))


def test_trade_is_between_exactly_two_assets(ledger: bb.Ledger) -> None:
    """Phase 2, 2.3: neither one asset nor three."""
    with pytest.raises(bb.InvalidValue, match="name one of two assets"):
        swap(ledger, taker_gives="1 USDT")
    third = (
        bb.Posting.debit(f"{ALICE}:EUR:AVAILABLE", "1"),
        bb.Posting.credit(f"{BOB}:EUR:AVAILABLE", "1"),
    )
    with pytest.raises(bb.IntentViolation, match="3 assets"):
        ledger.commit(by_hand((*LEGS, *third)))
    same = (*LEGS[:2], bb.Posting.debit(f"{BOB}:USDT:MAIN", 1), bb.Posting.credit(f"{ALICE}:USDT:MAIN", 1))
    with pytest.raises(bb.IntentViolation, match="1 assets"):
        ledger.commit(by_hand(same))


def test_trade_is_zero_sum_per_asset() -> None:
    """Phase 2, 2.3: what one gives is what the other gets, for each asset on its own."""
    with pytest.raises(bb.UnbalancedEntry):
        by_hand((*LEGS[:3], bb.Posting.credit(f"{ALICE}:BTC:AVAILABLE", "0.002")))


@pytest.mark.parametrize("other", ["ASSET:SYSTEM:VAULT", "REV:SYSTEM:FEE", "EXP:SYSTEM:OPS"])
def test_trade_touches_liabilities_only(ledger: bb.Ledger, other: str) -> None:
    """Phase 2, 2.3: no ASSET, REV or EXP account in a trade."""
    legs = (LEGS[0], bb.Posting.credit(f"{other}:USDT:TRADING", "100"), *LEGS[2:])
    with pytest.raises(bb.IntentViolation, match="LIAB"):
        ledger.commit(by_hand(legs))


@pytest.mark.parametrize(
    ("gives", "takes", "who", "lacks"),
    [("1000.00000001", "1", "ALICE", "0.00000001"), ("1000", "1.5", "BOB", "0.5")],
)
def test_trade_checks_the_balance_of_both(
    ledger: bb.Ledger, gives: str, takes: str, who: str, lacks: str
) -> None:
    """Phase 2, 2.3 and 11: either side may lack what it gives, and what would pass passes."""
    before = ledger.head, ledger.accounts()
    with pytest.raises(bb.InsufficientBalance) as caught:
        swap(ledger, maker_gives=f"{gives} USDT", taker_gives=f"{takes} BTC")
    assert caught.value.account is not None
    assert (caught.value.account.id, str(caught.value.shortfall)) == (who, lacks)
    assert (ledger.head, ledger.accounts()) == before
    swap(ledger, maker_gives="1000 USDT", taker_gives="1 BTC")


@pytest.mark.parametrize("name", FIELDS)
def test_trade_metadata_may_not_lack_or_contradict(ledger: bb.Ledger, name: str) -> None:
    """Phase 2, 2.4: each of the eight fields is there, and says what the postings say."""
    with pytest.raises(bb.IntentViolation, match=r"metadata"):
        ledger.commit(by_hand(**{name: None}))
    wrong = "" if name == "trade_id" else "EUR"
    with pytest.raises(bb.IntentViolation, match=r"metadata"):
        ledger.commit(by_hand(**{name: wrong}))


def test_trade_is_between_exactly_two_owners(ledger: bb.Ledger) -> None:
    """One owner trades not with itself, nor do three trade with each other."""
    with pytest.raises(bb.IntentViolation, match="1 owners"):
        swap(ledger, taker="ALICE")
    three = (*LEGS[:3], bb.Posting.credit("LIAB:USER:CAROL:BTC:AVAILABLE", "0.001"))
    with pytest.raises(bb.IntentViolation, match="3 owners"):
        ledger.commit(by_hand(three))


def test_trade_is_two_ways(ledger: bb.Ledger) -> None:
    """Each owner gives one asset and receives the other: two gifts are no trade."""
    gift = (
        *LEGS[:2],
        bb.Posting.debit(f"{ALICE}:BTC:AVAILABLE", 1),
        bb.Posting.credit(f"{BOB}:BTC:AVAILABLE", 1),
    )
    with pytest.raises(bb.IntentViolation, match="must give one asset and receive the other"):
        ledger.commit(by_hand(gift))


# --------------------------------------------------------------------------- several legs, house desks


def test_trade_of_several_legs(ledger: bb.Ledger) -> None:
    """What a side gives may be several sums of one asset, a leg each, in one entry."""
    trade = swap(ledger, maker_gives=["60 USDT", "40 USDT"], taker_gives=["0.0005 BTC", "0.0005 BTC"])
    assert len(trade.entry.postings) == 8
    assert (trade.entry.metadata["quote_amount"], trade.entry.metadata["price"]) == ("100", "100000")
    assert str(ledger.balance("BOB", "USDT").posted) == "100"


@pytest.mark.parametrize(
    ("gives", "error"),
    [
        ([], bb.InvalidValue),
        (["1 USDT", "1 EUR"], bb.InvalidValue),
        (5, bb.InvalidType),
        ([5], bb.BibankError),
    ],
)
def test_trade_of_sums_that_are_none(ledger: bb.Ledger, gives: Any, error: type[bb.BibankError]) -> None:
    """No sum, or sums of two assets, are refused before anything is changed."""
    with pytest.raises(error):
        swap(ledger, maker_gives=gives)
    assert ledger.head.sequence == 4


@pytest.mark.parametrize("asset", ["USDT", "BTC"])
def test_trade_of_a_house_desk(ledger: bb.Ledger, asset: str) -> None:
    """A desk is named by an account in either asset, and trades with its own accounts in both."""
    desk = bb.AccountKey(f"LIAB:SYSTEM:DESK:{asset}:AVAILABLE")
    usdt, btc = (bb.AccountKey(f"LIAB:SYSTEM:DESK:{name}:AVAILABLE") for name in ("USDT", "BTC"))
    ledger.transfer("ALICE", usdt, "200 USDT")
    trade = swap(ledger, maker=desk)
    assert (trade.entry.metadata["maker"], str(ledger.balance(btc).posted)) == ("SYSTEM:DESK", "0.001")
    swap(ledger, maker=desk, taker="ALICE", maker_gives="0.0005 BTC", taker_gives="7 USDT")
    assert (str(ledger.balance(usdt).posted), str(ledger.balance(btc).posted)) == ("107", "0.0005")


def test_trade_fields_are_the_drafts_own(ledger: bb.Ledger) -> None:
    """Free metadata stands beside the eight fields and may not name one."""
    assert swap(ledger, metadata={"note": "otc"}).entry.metadata["note"] == "otc"
    with pytest.raises(bb.InvalidMetadata, match="leave it out"):
        swap(ledger, metadata={"price": "1"})
    with pytest.raises(bb.InvalidValue):
        swap(ledger, base="EUR")
    with pytest.raises(bb.InvalidType):
        swap(ledger, base=5)


def test_trade_draft_is_the_verbs_entry(ledger: bb.Ledger) -> None:
    """A draft of `bibank.drafts` commits to what the verb commits."""
    draft = drafts.trade(
        maker="ALICE", maker_gives="100 USDT", taker="BOB", taker_gives="0.001 BTC", correlation_id="r1"
    )
    assert ledger.commit(draft).postings == swap(ledger).entry.postings
