"""The intent table: every row with what it takes and what it refuses."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibank.errors import IntentViolation
from bibank.journal.intents import (
    ADJUSTMENT_PURPOSES,
    FEE_KINDS,
    INTENT_TABLE,
    TWO_POSTING_CATEGORIES,
    check_intent,
    check_written,
    trade_price,
)
from bibank.model.account import AccountCategory, Side
from bibank.model.amount import text_to_units
from bibank.model.entry import Posting, TransactionIntent, UnsignedEntry
from bibank.testing.strategies import unsigned_entries

GENESIS, DEPOSIT, WITHDRAWAL, TRANSFER, TRADE, FEE, ADJUSTMENT = TransactionIntent
CATEGORIES = ("ASSET", "LIAB", "EQUITY", "REV", "EXP")

# Written down from the table of the format, not from the code: (intent, debit, credit) that may pass.
ALLOWED = {
    (GENESIS, "ASSET", "EQUITY"),
    (GENESIS, "ASSET", "LIAB"),
    (DEPOSIT, "ASSET", "LIAB"),
    (WITHDRAWAL, "LIAB", "ASSET"),
    (TRANSFER, "LIAB", "LIAB"),
    (TRADE, "LIAB", "LIAB"),
    (FEE, "LIAB", "REV"),
    *((ADJUSTMENT, debit, credit) for debit in CATEGORIES for credit in CATEGORIES),
}

SHORT = {"LU:": "LIAB:USER:", "LS:": "LIAB:SYSTEM:", "AV:": "ASSET:SYSTEM:V:"}

SWAP = {
    "trade_id": "t1",
    "base_asset": "BTC",
    "quote_asset": "USDT",
    "price": "100000",
    "base_amount": "0.001",
    "quote_amount": "100",
    "maker": "ALICE",
    "taker": "BOB",
}
FEE_FIELDS = {"fee_amount": "5", "fee_asset": "USDT", "fee_type": "trading"}
APPROVAL = {"requires_approval": True, "reason": "a typing error", "purpose": "CORRECTION"}
FIELDS: dict[TransactionIntent, dict[str, Any]] = {TRADE: SWAP, FEE: FEE_FIELDS, ADJUSTMENT: APPROVAL}


def legs(text: str) -> list[Posting]:
    """Read postings as `D LIAB:USER:A:USDT:MAIN 5, C LU:B:USDT:MAIN 5`, LU short for LIAB:USER."""
    found = []
    for leg in text.split(", "):
        side, account, amount = leg.split()
        for short, prefix in SHORT.items():
            account = account.replace(short, prefix, 1) if account.startswith(short) else account
        found.append(Posting(account, amount, Side.DEBIT if side == "D" else Side.CREDIT))
    return found


def swap_legs(*, debit: str = "LIAB", credit: str = "LIAB") -> list[Posting]:
    """Give the trade of the seed: ALICE gives 100 USDT, BOB 0.001 BTC."""
    return legs(
        f"D {debit}:USER:ALICE:USDT:AVAILABLE 100, C {credit}:USER:BOB:USDT:AVAILABLE 100, "
        f"D {debit}:USER:BOB:BTC:AVAILABLE 0.001, C {credit}:USER:ALICE:BTC:AVAILABLE 0.001"
    )


def verdict(intent: TransactionIntent, postings: Sequence[Posting], fields: Mapping[str, Any]) -> str:
    """Give the reason of a refusal, or nothing."""
    try:
        check_intent(intent, postings, fields)
    except IntentViolation as violation:
        found = violation
    else:
        return ""
    assert found.intent is intent
    assert str(found) == f"{intent.value}: {found.reason}"
    assert found.reason
    return found.reason


@pytest.mark.parametrize("credit", CATEGORIES)
@pytest.mark.parametrize("debit", CATEGORIES)
@pytest.mark.parametrize("intent", TransactionIntent)
def test_categories(intent: TransactionIntent, debit: str, credit: str) -> None:
    """Each of the 175 combinations of intent, debit category and credit category."""
    postings = legs(f"D {debit}:USER:ALICE:USDT:AVAILABLE 5, C {credit}:SYSTEM:FEE:USDT:TRADING 5")
    if intent is TRADE:
        postings = swap_legs(debit=debit, credit=credit)
    reason = verdict(intent, postings, FIELDS.get(intent, {}))
    assert (reason == "") == ((intent, debit, credit) in ALLOWED), reason
    if reason:
        assert "allowed on the" in reason


def test_table_is_closed() -> None:
    """Every intent has a row, and the fast table says the same as the rows."""
    assert set(INTENT_TABLE) == set(TransactionIntent)
    for intent, (debit, credit) in TWO_POSTING_CATEGORIES.items():
        assert INTENT_TABLE[intent].debit == {debit}
        assert INTENT_TABLE[intent].credit == {credit}
    assert {rule.minimum_postings for rule in INTENT_TABLE.values()} == {0, 2, 4}


@given(st.sampled_from(TransactionIntent).flatmap(unsigned_entries))
def test_drawn_entries_satisfy_their_row(draft: UnsignedEntry) -> None:
    """The public strategies draw what the table takes, in any order of the postings."""
    assert verdict(draft.intent, draft.postings, draft.metadata) == ""
    assert verdict(draft.intent, draft.postings[::-1], draft.metadata) == ""
    check_written(draft.intent, draft.postings)


@given(unsigned_entries(), st.sampled_from([i for i in TransactionIntent if i is not GENESIS]))
def test_a_row_takes_its_own_categories_only(draft: UnsignedEntry, intent: TransactionIntent) -> None:
    """An entry under another intent passes only where the categories of every posting fit that row too."""
    if verdict(intent, draft.postings, draft.metadata) == "" and intent is not ADJUSTMENT:
        sides = {(p.side, p.account.category) for p in draft.postings}
        assert all(
            (intent, d.value, c.value) in ALLOWED
            for ds, d in sides
            for cs, c in sides
            if (ds, cs) == (Side.DEBIT, Side.CREDIT)
        )


@pytest.mark.parametrize(
    ("intent", "text"),
    [
        (GENESIS, "D ASSET:SYSTEM:V:USDT:M 5, C EQUITY:SYSTEM:C:USDT:M 5"),
        (
            GENESIS,
            "D AV:USDT:M 5, C EQUITY:SYSTEM:C:USDT:M 2, C LU:A:USDT:M 3, D AV:BTC:M 1, C LU:B:BTC:M 1",
        ),
        (DEPOSIT, "D AV:USDT:M 5, C LU:A:USDT:AVAILABLE 3, C LU:A:USDT:VAULT 2"),
        (
            DEPOSIT,
            "D AV:USDT:M 5, C LU:A:USDT:M 5, D AV:BTC:M 1, C LU:A:BTC:M 1",
        ),
        (DEPOSIT, "D AV:USDT:M 5, C LS:A:USDT:M 5"),
        (WITHDRAWAL, "D LU:A:USDT:M 5, C AV:USDT:M 3, C ASSET:SYSTEM:W:USDT:M 2"),
        (TRANSFER, "D LU:A:USDT:AVAILABLE 5, C LU:A:USDT:VAULT 5"),
        (TRANSFER, "D LU:A:USDT:M 5, C LU:B:USDT:M 2, C LS:C:USDT:M 3"),
        (
            TRANSFER,
            "D LU:A:USDT:M 5, C LU:B:USDT:M 5, D LU:B:BTC:M 1, C LU:A:BTC:M 1",
        ),
    ],
)
def test_rows_take(intent: TransactionIntent, text: str) -> None:
    """Accepted examples of the four plain rows."""
    assert verdict(intent, legs(text), {"anything": "else"}) == ""


def test_genesis_takes_an_empty_opening() -> None:
    """No postings at all are a genesis, and nothing else."""
    assert verdict(GENESIS, [], {}) == ""
    for intent in (DEPOSIT, WITHDRAWAL, TRANSFER, TRADE, FEE, ADJUSTMENT):
        assert "0 postings" in verdict(intent, [], FIELDS.get(intent, {}))


@pytest.mark.parametrize(
    ("intent", "text", "reason"),
    [
        (
            DEPOSIT,
            "D AV:USDT:M 5, C LU:A:USDT:M 3, C LU:B:USDT:M 2",
            "2 owners",
        ),
        (
            DEPOSIT,
            "D AV:USDT:M 5, C LU:A:USDT:M 3, C LS:A:USDT:M 2",
            "2 owners",
        ),
        (
            WITHDRAWAL,
            "D LU:A:USDT:M 3, D LU:B:USDT:M 2, C AV:USDT:M 5",
            "2 owners",
        ),
        (TRANSFER, "D LU:A:USDT:M 5, C LU:A:USDT:M 5", "both sides"),
        (
            TRANSFER,
            "D LU:A:USDT:M 5, C LU:B:USDT:M 4, C LU:A:USDT:M 1",
            "LIAB:USER:A:USDT:M stands on both sides",
        ),
    ],
)
def test_rows_refuse(intent: TransactionIntent, text: str, reason: str) -> None:
    """Refused examples of the plain rows, beyond categories."""
    assert reason in verdict(intent, legs(text), {})


# --------------------------------------------------------------------------- trade


def test_trade_of_the_seed() -> None:
    """The example of phase 1, 6.2, either way round, in any order of the postings."""
    assert verdict(TRADE, swap_legs(), SWAP) == ""
    assert verdict(TRADE, swap_legs()[::-1], SWAP) == ""
    turned = {
        **SWAP,
        "base_asset": "USDT",
        "quote_asset": "BTC",
        "base_amount": "100",
        "quote_amount": "0.001",
        "price": "0.00001",
        "maker": "BOB",
        "taker": "ALICE",
    }
    assert verdict(TRADE, swap_legs(), turned) == ""


def test_trade_with_more_legs() -> None:
    """Either party may give from, and receive on, several accounts; the house may be a party."""
    postings = legs(
        "D LU:ALICE:USDT:AVAILABLE 60, D LU:ALICE:USDT:VAULT 40, C LS:DESK:USDT:M 100, "
        "D LS:DESK:BTC:M 0.001, C LU:ALICE:BTC:AVAILABLE 0.0004, C LU:ALICE:BTC:VAULT 0.0006"
    )
    assert verdict(TRADE, postings, {**SWAP, "taker": "SYSTEM:DESK"}) == ""
    assert "maker and taker" in verdict(TRADE, postings, {**SWAP, "taker": "DESK"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("D LU:A:USDT:M 5, C LU:B:USDT:M 5", "at least 4"),
        ("D LU:A:USDT:M 5, C LU:B:USDT:M 4, C LU:B:USDT:V 1", "at least 4"),
        (
            "D LU:A:USDT:M 5, C LU:B:USDT:M 5, D LU:B:USDT:V 1, C LU:A:USDT:V 1",
            "1 assets",
        ),
        (
            "D LU:A:USDT:M 5, C LU:B:USDT:M 5, D LU:B:BTC:M 1, C LU:A:BTC:M 1, "
            "D LU:A:EUR:M 1, C LU:B:EUR:M 1",
            "3 assets",
        ),
        (
            "D LU:A:USDT:M 5, C LU:B:USDT:M 5, D LU:C:BTC:M 1, C LU:A:BTC:M 1",
            "3 owners",
        ),
        (
            "D LU:A:USDT:M 5, C LU:A:USDT:V 5, D LU:A:BTC:M 1, C LU:A:BTC:V 1",
            "1 owners",
        ),
        (
            "D LU:A:USDT:M 5, C LU:B:USDT:M 5, D LU:A:BTC:M 1, C LU:B:BTC:M 1",
            "must give one",
        ),
        (
            "D LU:A:USDT:M 5, C LU:A:USDT:V 5, D LU:B:BTC:M 1, C LU:B:BTC:V 1",
            "must give one",
        ),
        (
            "D LU:A:USDT:M 5, C LU:B:USDT:M 4, C LU:A:USDT:V 1, D LU:B:BTC:M 1, C LU:A:BTC:M 1",
            "must give one",
        ),
    ],
)
def test_trades_that_are_no_swap(text: str, reason: str) -> None:
    """Two assets and two owners, each giving one asset and receiving the other."""
    assert reason in verdict(TRADE, legs(text), SWAP)


@pytest.mark.parametrize("name", SWAP)
@pytest.mark.parametrize("value", [None, 5, True, "", "x", "1.0", ["100"]])
def test_fields_of_a_trade(name: str, value: Any) -> None:
    """Each of the eight fields is required, is text, and must say what the postings say."""
    if name == "trade_id" and value in ("x", "1.0"):
        assert verdict(TRADE, swap_legs(), {**SWAP, name: value}) == ""
    else:
        assert verdict(TRADE, swap_legs(), {**SWAP, name: value}) != ""
        missing = {key: text for key, text in SWAP.items() if key != name}
        assert name in verdict(TRADE, swap_legs(), missing)


@pytest.mark.parametrize(
    "changes",
    [
        {"base_asset": "USDT"},
        {"quote_asset": "BTC"},
        {"base_asset": "EUR"},
        {"base_asset": "USDT", "quote_asset": "BTC"},
        {"price": "100000.0"},
        {"price": "1e5"},
        {"price": "0.00001"},
        {"price": "100000/1"},
        {"base_amount": "0.0010"},
        {"quote_amount": "100.00"},
        {"maker": "BOB"},
        {"taker": "ALICE"},
        {"maker": "CAROL"},
        {"maker": "alice"},
        {"trade_id": "x" * 129},
        {"trade_id": "a\nb"},
        {"trade_id": "\u00e9"},
    ],
)
def test_fields_of_a_trade_that_do_not_fit(changes: dict[str, str]) -> None:
    """Other spellings of a number, the parties twice, an id that is none."""
    assert verdict(TRADE, swap_legs(), {**SWAP, **changes}) != ""


@pytest.mark.parametrize(
    ("base", "quote", "price"),
    [
        ("0.001", "100", "100000"),
        ("3", "100", "100/3"),
        ("1.5", "50", "100/3"),
        ("8", "1", "0.125"),
        ("100000000", "1", "0.00000001"),
        ("200000000", "1", "1/200000000"),
        ("1000000000", "1", "1/1000000000"),
        ("7", "7", "1"),
        ("0.00000001", "1000000000000000000000000000000", "100000000000000000000000000000000000000"),
        ("256", "1", "0.00390625"),
        ("512", "1", "1/512"),
    ],
)
def test_price(base: str, quote: str, price: str) -> None:
    """A canonical decimal where eight places hold it exactly, else the reduced fraction."""
    assert trade_price(base_units=text_to_units(base), quote_units=text_to_units(quote)) == price


@given(st.integers(1, 10**20), st.integers(1, 10**20))
def test_price_is_exact(base_units: int, quote_units: int) -> None:
    """Read as a fraction, the text of a price is quote divided by base."""
    text = trade_price(base_units=base_units, quote_units=quote_units)
    assert Fraction(text) == Fraction(quote_units, base_units)
    if "/" in text:
        assert (Fraction(text) * 10**8).denominator != 1
        numerator, denominator = text.split("/")
        assert Fraction(text).numerator == int(numerator)
        assert Fraction(text).denominator == int(denominator)


# --------------------------------------------------------------------------- fee


def fee_legs(kind: str = "TRADING", *, account: str = "REV:SYSTEM:FEE:USDT") -> list[Posting]:
    """Give a fee of 5 USDT."""
    return legs(f"D LIAB:USER:A:USDT:AVAILABLE 5, C {account}:{kind} 5")


@pytest.mark.parametrize("kind", FEE_KINDS)
def test_kinds_of_fee(kind: str) -> None:
    """The four kinds of phase 2, one sub-account each, with the kind in lower case as field."""
    assert FEE_KINDS == ("TRADING", "WITHDRAWAL", "MARGIN", "LIQUIDATION")
    assert verdict(FEE, fee_legs(kind), {**FEE_FIELDS, "fee_type": kind.lower()}) == ""
    check_written(FEE, fee_legs(kind))


def test_fee_of_phase_one_is_read_and_not_written() -> None:
    """The single fee account of phase 1 stands in old journals only."""
    assert verdict(FEE, fee_legs("REVENUE"), {**FEE_FIELDS, "fee_type": "revenue"}) == ""
    with pytest.raises(IntentViolation, match="no longer written"):
        check_written(FEE, fee_legs("REVENUE"))
    check_written(ADJUSTMENT, fee_legs("REVENUE"))


@pytest.mark.parametrize(
    ("postings", "reason"),
    [
        (fee_legs("BONUS"), "no kind of fee"),
        (fee_legs("MAIN"), "no kind of fee"),
        (fee_legs(account="REV:USER:FEE:USDT"), "must be REV:SYSTEM:FEE:USDT:<KIND>"),
        (fee_legs(account="REV:SYSTEM:FEES:USDT"), "must be REV:SYSTEM:FEE:USDT:<KIND>"),
        (
            legs("D LU:A:USDT:M 5, C REV:SYSTEM:FEE:USDT:TRADING 2, C REV:SYSTEM:FEE:USDT:MARGIN 3"),
            "2 kinds of fee",
        ),
        (
            legs(
                "D LU:A:USDT:M 5, C REV:SYSTEM:FEE:USDT:TRADING 5, "
                "D LU:A:BTC:M 1, C REV:SYSTEM:FEE:BTC:TRADING 1"
            ),
            "2 assets",
        ),
    ],
)
def test_postings_of_a_fee(postings: list[Posting], reason: str) -> None:
    """One kind, one asset, the house's fee account."""
    assert reason in verdict(FEE, postings, FEE_FIELDS)


def test_fee_from_several_accounts() -> None:
    """The payers may be several, the amount is their sum."""
    postings = legs(
        "D LU:A:USDT:M 2, D LU:B:USDT:M 3, C REV:SYSTEM:FEE:USDT:TRADING 4, C REV:SYSTEM:FEE:USDT:TRADING 1"
    )
    assert verdict(FEE, postings, FEE_FIELDS) == ""


@pytest.mark.parametrize("name", FEE_FIELDS)
@pytest.mark.parametrize("value", [None, 5, "", "5.0", "BTC", "TRADING", "margin"])
def test_fields_of_a_fee(name: str, value: Any) -> None:
    """Each field is required and must say what the postings say."""
    assert name in verdict(FEE, fee_legs(), {**FEE_FIELDS, name: value})
    assert name in verdict(FEE, fee_legs(), {key: text for key, text in FEE_FIELDS.items() if key != name})


# --------------------------------------------------------------------------- adjustment


@pytest.mark.parametrize("purpose", ["CAPITAL", "EXPENSE", "REVENUE_PAYOUT", "CORRECTION"])
def test_purposes_of_an_adjustment(purpose: str) -> None:
    """The four purposes of the table."""
    assert purpose in ADJUSTMENT_PURPOSES
    assert verdict(ADJUSTMENT, fee_legs(), {**APPROVAL, "purpose": purpose}) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"requires_approval": None},
        {"requires_approval": False},
        {"requires_approval": 1},
        {"requires_approval": "true"},
        {"reason": None},
        {"reason": ""},
        {"reason": "  \u2003"},
        {"reason": 5},
        {"reason": True},
        {"purpose": None},
        {"purpose": "correction"},
        {"purpose": "OTHER"},
        {"purpose": ""},
        {"purpose": ("CORRECTION",)},
    ],
)
def test_fields_of_an_adjustment(changes: dict[str, Any]) -> None:
    """Approval asked for, a reason given, a purpose named: exactly, and each of them."""
    (name,) = changes
    assert name in verdict(ADJUSTMENT, fee_legs(), {**APPROVAL, **changes})
    assert name in verdict(ADJUSTMENT, fee_legs(), {k: v for k, v in APPROVAL.items() if k != name})


def test_categories_are_the_seed_s() -> None:
    """The names used above are all categories there are."""
    assert {category.value for category in AccountCategory} == set(CATEGORIES)
