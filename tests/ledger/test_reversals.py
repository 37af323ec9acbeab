"""Reversals: what was committed is taken back by a new entry, once, whole or in parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import bibank as bb
from bibank import drafts
from bibank.model.links import EntryLinks

ALICE, BOB, VAULT = (
    "LIAB:USER:ALICE:USDT:AVAILABLE",
    "LIAB:USER:BOB:USDT:AVAILABLE",
    "ASSET:SYSTEM:VAULT:USDT:MAIN",
)


@pytest.fixture
def ledger() -> Iterator[bb.Ledger]:
    """A ledger where ALICE has 100 USDT and BOB 50 and 1 BTC."""
    with bb.Ledger.in_memory({"USDT": "1000", "BTC": "5"}) as ledger:
        bound = ledger.bind(correlation_id="r")
        bound.deposit("ALICE", "100 USDT")
        bound.deposit("BOB", "50 USDT")
        bound.deposit("BOB", "1 BTC")
        yield bound


def balances(ledger: bb.Ledger) -> dict[str, int]:
    """Every balance that is not zero."""
    return {str(row.account): row.balance.units for row in ledger.accounts() if row.balance.units}


def reversing(sequence: int, *legs: tuple[str, str, str], intent: str = "transfer") -> bb.UnsignedEntry:
    """An entry by hand that says it reverses another."""
    return bb.UnsignedEntry(
        intent=bb.TransactionIntent(intent),
        correlation_id="r",
        postings=[bb.Posting(account, amount, bb.Side(side)) for account, amount, side in legs],
        links=EntryLinks(reverses=sequence),
    )


ENTRIES: dict[str, tuple[Any, str]] = {
    "deposit": (lambda ledger: ledger.deposit("ALICE", "7 USDT"), "withdrawal"),
    "withdrawal": (lambda ledger: ledger.withdraw("ALICE", "7 USDT"), "deposit"),
    "transfer": (lambda ledger: ledger.transfer("ALICE", "BOB", "7 USDT"), "transfer"),
    "fee": (lambda ledger: ledger.fee("ALICE", "7 USDT", kind=bb.FeeKind.MARGIN), "fee"),
    "trade": (
        lambda ledger: (
            ledger.trade(maker="ALICE", maker_gives="7 USDT", taker="BOB", taker_gives="0.5 BTC").entry
        ),
        "trade",
    ),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_every_intent_is_taken_back(ledger: bb.Ledger, name: str) -> None:
    """Balances are as before; the new entry names the old one, and satisfies a row of the table."""
    make, intent = ENTRIES[name]
    before = balances(ledger)
    entry = make(ledger)
    taken = ledger.reverse(entry.sequence, metadata={"why": "mistake"})
    assert balances(ledger) == before
    assert taken.intent.value == intent
    assert (taken.causality_id, taken.metadata["bb.reverses"]) == (str(entry.sequence),) * 2
    assert taken.metadata["why"] == "mistake"
    assert [p.account for p in taken.postings] == [p.account for p in entry.postings]
    assert all(a.side is not b.side for a, b in zip(taken.postings, entry.postings, strict=True))
    if name == "trade":
        assert (taken.metadata["maker"], taken.metadata["taker"]) == ("BOB", "ALICE")
        for field in ("trade_id", "base_asset", "quote_asset", "price", "base_amount", "quote_amount"):
            assert taken.metadata[field] == entry.metadata[field]
    if name == "fee":
        assert (taken.metadata["fee_amount"], taken.metadata["fee_type"]) == ("7", "margin")
    ledger.audit()


@pytest.mark.parametrize("name", ENTRIES)
def test_twice_is_refused(ledger: bb.Ledger, name: str) -> None:
    """The second reversal is told that nothing is left, with the line it asked for."""
    entry = ENTRIES[name][0](ledger)
    ledger.reverse(entry.sequence)
    with pytest.raises(bb.AlreadyReversed, match="was reversed already; nothing would pass") as caught:
        ledger.reverse(entry.sequence)
    assert (caught.value.sequence, caught.value.rule) == (entry.sequence, "reversals/1")
    assert caught.value.code == "already_reversed"
    assert str(caught.value.available) == "0"


@pytest.mark.parametrize("name", [name for name in ENTRIES if name != "trade"])
def test_parts_sum_to_the_whole(ledger: bb.Ledger, name: str) -> None:
    """Parts pass while they fit; a refusal says what is left, and exactly that passes."""
    before = balances(ledger)
    entry = ENTRIES[name][0](ledger)
    first = ledger.reverse(entry.sequence, "2.5")
    assert {str(p.amount) for p in first.postings} == {"2.5"}
    if name == "fee":
        assert first.metadata["fee_amount"] == "2.5"
    with pytest.raises(bb.AlreadyReversed, match=r"4.5 USDT is left to reverse, 4.50000001") as caught:
        ledger.reverse(entry.sequence, "4.50000001")
    assert (str(caught.value.available), str(caught.value.shortfall)) == ("4.5", "0.00000001")
    assert caught.value.advice == "at most 4.5 USDT would pass"
    with pytest.raises(bb.AlreadyReversed):
        ledger.reverse(entry.sequence)
    ledger.reverse(entry.sequence, 4)
    ledger.reverse(entry.sequence, "0.5")
    assert balances(ledger) == before
    with pytest.raises(bb.AlreadyReversed):
        ledger.reverse(entry.sequence, "0.00000001")


def test_more_than_the_whole_is_told_what_is_left(ledger: bb.Ledger) -> None:
    """Asking for more than the entry moved is refused with the figures, as after a part."""
    entry = ledger.transfer("ALICE", "BOB", "7 USDT")
    with pytest.raises(bb.AlreadyReversed) as caught:
        ledger.reverse(entry.sequence, "8")
    assert caught.value.advice == "at most 7 USDT would pass"


def test_a_trade_is_not_taken_back_in_part(ledger: bb.Ledger) -> None:
    """Nor is any entry of more than two postings."""
    trade = ENTRIES["trade"][0](ledger)
    with pytest.raises(bb.NotReversible, match="in part: it has 4 postings; it can be reversed as a whole"):
        ledger.reverse(trade.sequence, "7")
    ledger.reverse(trade.sequence)


def test_a_trade_and_its_fee_are_taken_back_on_their_own(ledger: bb.Ledger) -> None:
    """Each is an entry; the reversed fee is tied to the fee and not to the trade."""
    before = balances(ledger)
    trade = ledger.trade(
        maker="ALICE",
        maker_gives="7 USDT",
        taker="BOB",
        taker_gives="0.5 BTC",
        fees=[bb.TradeFee("ALICE", "1 USDT")],
    )
    with ledger.batch() as batch:
        batch.reverse(trade.entry.sequence)
        batch.reverse(trade.fees[0].sequence)
    assert balances(ledger) == before
    fee = batch.entries[1]
    assert fee.causality_id == str(trade.fees[0].sequence)
    assert "related_trade_sequence" not in fee.metadata


def test_entries_with_endings_of_their_own_are_not_reversed(ledger: bb.Ledger) -> None:
    """Genesis, the opening and the end of a hold, a reversal; records are no entries."""
    hold = ledger.hold("ALICE", "5 USDT", to="BOB")
    (ended,) = ledger.void_hold(hold.id)
    taken = ledger.reverse(3, "1")
    for sequence, reason in (
        (1, "a genesis is not reversed"),
        (hold.id, "posted or voided"),
        (ended.sequence, "not opened again"),
        (taken.sequence, "a reversal itself"),
    ):
        with pytest.raises(bb.NotReversible, match=reason) as caught:
            ledger.reverse(sequence)
        assert (caught.value.sequence, caught.value.code) == (sequence, "not_reversible")
        with pytest.raises(bb.NotReversible, match=reason):
            ledger.reverse(sequence, "1")
    for unknown in (2, 99, 0, -1):
        with pytest.raises(bb.UnknownSequence):
            ledger.reverse(unknown)
    for odd in (True, "3", None):
        with pytest.raises(bb.InvalidType):
            ledger.reverse(odd)  # type: ignore[arg-type]  # wrong on purpose


def test_a_reversal_needs_the_money(ledger: bb.Ledger) -> None:
    """What was spent since cannot be taken back; what is there can."""
    entry = ledger.deposit("CAROL", "7 USDT")
    ledger.transfer("CAROL", "BOB", "3 USDT")
    with pytest.raises(bb.InsufficientBalance):
        ledger.reverse(entry.sequence)
    ledger.reverse(entry.sequence, "4")


@pytest.mark.parametrize("amount", ["0", 0])
def test_a_part_of_nothing(ledger: bb.Ledger, amount: Any) -> None:
    """A part is more than nothing."""
    with pytest.raises(bb.InvalidEntry):
        ledger.reverse(3, amount)


FORGED: dict[str, tuple[str, list[tuple[str, str, str]]]] = {
    "sides not swapped": ("transfer", [(ALICE, "7", "debit"), (BOB, "7", "credit")]),
    "sides of a part not swapped": ("transfer", [(ALICE, "3", "debit"), (BOB, "3", "credit")]),
    "another account in a part": (
        "transfer",
        [("LIAB:USER:EVE:USDT:AVAILABLE", "3", "credit"), (BOB, "3", "debit")],
    ),
    "another payee": ("transfer", [(BOB, "7", "debit"), ("LIAB:USER:EVE:USDT:AVAILABLE", "7", "credit")]),
    "another order": ("transfer", [(BOB, "7", "debit"), (ALICE, "7", "credit")]),
    "more": ("transfer", [(ALICE, "8", "credit"), (BOB, "8", "debit")]),
    "another intent": ("withdrawal", [(BOB, "7", "debit"), (VAULT, "7", "credit")]),
    "three postings": (
        "transfer",
        [(ALICE, "6", "credit"), (BOB, "7", "debit"), ("LIAB:USER:EVE:USDT:AVAILABLE", "1", "credit")],
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_reversals_are_refused(ledger: bb.Ledger, name: str) -> None:
    """A draft that says it reverses a line has that line's postings with the sides swapped."""
    entry = ledger.transfer("ALICE", "BOB", "7 USDT")
    intent, legs = FORGED[name]
    head = ledger.head
    draft = reversing(entry.sequence, *legs, intent=intent)
    for call in (ledger.commit, ledger.preview):
        with pytest.raises(bb.NotReversible):
            call(draft)
    (outcome,) = ledger.commit_each([draft])
    assert isinstance(outcome, bb.NotReversible)
    assert ledger.head == head
    ledger.commit(reversing(entry.sequence, (ALICE, "7", "credit"), (BOB, "7", "debit")))
    with pytest.raises(bb.AlreadyReversed):
        ledger.reverse(entry.sequence)


def test_a_reversal_of_a_line_that_is_not_there(ledger: bb.Ledger) -> None:
    """A draft that reverses a later line, a record or genesis is refused."""
    legs = (ALICE, "7", "credit"), (BOB, "7", "debit")
    for sequence in (2, 99):
        with pytest.raises(bb.UnknownSequence):
            ledger.commit(reversing(sequence, *legs))
    with pytest.raises(bb.NotReversible):
        ledger.commit(reversing(1, *legs))


def test_an_adjustment_reverses_nothing(ledger: bb.Ledger) -> None:
    """An adjustment is approved for what it says, not for what it takes back."""
    draft = bb.UnsignedEntry(
        intent=bb.TransactionIntent.ADJUSTMENT,
        correlation_id="r",
        postings=[bb.Posting.credit(VAULT, 100), bb.Posting.debit(ALICE, 100)],
        metadata={"requires_approval": True, "reason": "x", "purpose": "CORRECTION"},
        links=EntryLinks(reverses=3),
    )
    with pytest.raises(bb.IntentViolation, match="an adjustment reverses nothing"):
        ledger.commit(draft)


def test_a_fee_is_swapped_by_a_reversal_alone(ledger: bb.Ledger) -> None:
    """Without naming the fee that it takes back, revenue pays nobody."""
    entry = ledger.fee("ALICE", "7 USDT")
    draft = drafts.reversal(entry, correlation_id="r")
    with pytest.raises(bb.IntentViolation):
        ledger.commit(
            bb.UnsignedEntry(
                intent=draft.intent,
                correlation_id="r",
                postings=draft.postings,
                metadata={"fee_amount": "7", "fee_asset": "USDT", "fee_type": "trading"},
            )
        )
    ledger.commit(draft)


def test_parts_in_one_batch_are_counted_together(ledger: bb.Ledger) -> None:
    """Two parts in one batch that do not fit fall together, and leave nothing counted."""
    entry = ledger.transfer("ALICE", "BOB", "7 USDT")
    part = drafts.reversal(entry, bb.Amount(4), correlation_id="r")
    with pytest.raises(bb.AlreadyReversed):
        ledger.commit_batch([part, part])
    outcomes = ledger.commit_each([part, part])
    assert [type(outcome).__name__ for outcome in outcomes] == ["Committed", "AlreadyReversed"]
    ledger.reverse(entry.sequence, 3)


def test_reversals_after_a_restart() -> None:
    """How much was taken back is read from the journal."""
    store = bb.MemoryStore()
    ledger = bb.Ledger(store=store, opening={"USDT": "10"}).bind(correlation_id="r")
    entry = ledger.deposit("ALICE", "10 USDT")
    ledger.reverse(entry.sequence, 4)
    again = bb.Ledger(store=store).bind(correlation_id="r")
    with pytest.raises(bb.AlreadyReversed) as caught:
        again.reverse(entry.sequence)
    assert str(caught.value.available) == "6"
    again.reverse(entry.sequence, 6)


@pytest.mark.parametrize("metadata", [None, 5, "note"])
def test_metadata_of_a_reversal_is_a_mapping(ledger: bb.Ledger, metadata: Any) -> None:
    """As with every verb: anything else is a typed error."""
    with pytest.raises(bb.InvalidType):
        ledger.reverse(3, metadata=metadata)


def test_metadata_of_a_reversal_does_not_lose_a_field(ledger: bb.Ledger) -> None:
    """A name that the reversal of a trade writes itself is refused, as in the trade, and not replaced."""
    trade = ENTRIES["trade"][0](ledger)
    with pytest.raises(bb.InvalidMetadata):
        ledger.reverse(trade.sequence, metadata={"price": "1"})


def test_the_largest_entry_can_be_reversed(ledger: bb.Ledger) -> None:
    """An entry that fills the limit of a draft leaves room for the entry that takes it back."""
    ledger.deposit(bb.AccountKey(PAYER), "1 USDT")
    entry = ledger.commit(_largest())
    assert ledger.reverse(entry.sequence).causality_id == str(entry.sequence)


PAYER = f"LIAB:USER:{'P' * 60}:USDT:{'M' * 40}"


def _largest() -> bb.UnsignedEntry:
    """A transfer of 128 debits and 128 credits whose JSON is as large as a draft may be."""
    found = None
    for extra in range(5_000):
        postings = [bb.Posting.debit(PAYER, "0.00000001")] * 128
        for number in range(128):
            part = "Q" * (14 + extra // 128 + (number < extra % 128))
            payee = f"LIAB:USER:{part}{number:03d}:USDT:MAIN_ACCOUNT"
            postings.append(bb.Posting.credit(payee, "0.00000001"))
        try:
            found = bb.UnsignedEntry(
                intent=bb.TransactionIntent.TRANSFER, correlation_id="r", postings=postings
            )
        except bb.EntryTooLarge:
            assert found is not None
            return found
    raise AssertionError("every entry was small enough")
