"""Holds: money that is kept for a payee, paid whole or in part, given back, or too late."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import bibank as bb
from bibank import drafts
from bibank.model.links import EntryLinks, HoldTerms

NOON = datetime(2026, 1, 25, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
AVAILABLE, LOCKED = "LIAB:USER:ALICE:USDT:AVAILABLE", "LIAB:USER:ALICE:USDT:LOCKED"
SHOP = "LIAB:USER:SHOP:USDT:AVAILABLE"


class Clock:
    """A clock that the test moves."""

    moment = NOON

    def now(self) -> datetime:
        """Give the time that was set."""
        return self.moment


@pytest.fixture
def clock() -> Clock:
    """Noon."""
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> Iterator[bb.Ledger]:
    """A ledger where ALICE has 100 USDT and BOB has 50."""
    with bb.Ledger.in_memory({"USDT": "1000"}, clock=clock) as ledger:
        bound = ledger.bind(correlation_id="r")
        bound.deposit("ALICE", "100 USDT")
        bound.deposit("BOB", "50 USDT")
        yield bound


def figures(ledger: bb.Ledger, owner: str = "ALICE") -> tuple[str, str, str]:
    """Posted, pending and available USDT."""
    balance = ledger.balance(owner, "USDT")
    return str(balance.posted), str(balance.pending), str(balance.available)


def citing(hold: int, *legs: tuple[str, str, str], intent: str = "transfer") -> bb.UnsignedEntry:
    """An entry by hand that cites a hold."""
    return bb.UnsignedEntry(
        intent=bb.TransactionIntent(intent),
        correlation_id="r",
        postings=[bb.Posting(account, amount, bb.Side(side)) for account, amount, side in legs],
        links=EntryLinks(hold=hold),
    )


# --------------------------------------------------------------------------- opening


def test_a_hold_is_the_owners_until_it_is_paid(ledger: bb.Ledger) -> None:
    """Money moves from available to pending; posted stays."""
    hold = ledger.hold("ALICE", "60 USDT", to="SHOP")
    assert (hold.id, str(hold.account), str(hold.money), str(hold.payee)) == (5, AVAILABLE, "60 USDT", SHOP)
    assert figures(ledger) == ("100", "60", "40")
    assert list(ledger.holds()) == list(ledger.holds("ALICE")) == [hold]
    assert not ledger.holds("BOB")
    assert ledger.holds(bb.AccountKey(AVAILABLE))[0] == hold
    assert not ledger.holds(bb.AccountKey("LIAB:USER:ALICE:BTC:AVAILABLE"))


def test_a_hold_needs_the_money(ledger: bb.Ledger) -> None:
    """What is held is available before, and what the advice says passes."""
    with pytest.raises(bb.InsufficientBalance) as caught:
        ledger.hold("ALICE", "100.00000001 USDT", to="SHOP")
    assert caught.value.advice == "at most 100 USDT would pass"
    ledger.hold("ALICE", "100 USDT", to="SHOP")
    with pytest.raises(bb.InsufficientBalance):
        ledger.transfer("ALICE", "BOB", "0.00000001 USDT")


@pytest.mark.parametrize(
    "to",
    [
        "ALICE",
        bb.AccountKey("LIAB:USER:ALICE:USDT:MAIN"),
        bb.AccountKey("LIAB:USER:BOB:USDT:LOCKED"),
        bb.AccountKey("ASSET:SYSTEM:VAULT:USDT:MAIN"),
        bb.AccountKey("REV:SYSTEM:FEE:USDT:TRADING"),
        bb.AccountKey("LIAB:USER:BOB:BTC:AVAILABLE"),
        "bob",
        None,
        5,
    ],
)
def test_payees_that_a_hold_cannot_have(ledger: bb.Ledger, to: Any) -> None:
    """Not the owner, no held money, no account that is not LIAB, none in another asset."""
    with pytest.raises(bb.InvalidInput):
        ledger.hold("ALICE", "1 USDT", to=to)
    assert ledger.head.sequence == 4


@pytest.mark.parametrize("account", [LOCKED, "LIAB:USER:ALICE:USDT:MAIN", "ASSET:SYSTEM:VAULT:USDT:MAIN"])
def test_accounts_that_hold_nothing(ledger: bb.Ledger, account: str) -> None:
    """Only AVAILABLE money is held."""
    with pytest.raises(bb.IntentViolation, match="from AVAILABLE to LOCKED"):
        ledger.hold(bb.AccountKey(account), "1 USDT", to="SHOP")


def test_house_accounts_hold_and_are_paid(ledger: bb.Ledger) -> None:
    """A desk is an owner like any other, on either side."""
    desk = bb.AccountKey("LIAB:SYSTEM:DESK:USDT:AVAILABLE")
    paid = ledger.hold("ALICE", "10 USDT", to=desk)
    ledger.post_hold(paid.id)
    hold = ledger.hold(desk, "4 USDT", to=bb.AccountKey("LIAB:SYSTEM:POOL:USDT:AVAILABLE"))
    assert list(ledger.holds(desk)) == [hold]
    assert str(ledger.balance(bb.AccountKey("LIAB:SYSTEM:DESK:USDT:LOCKED")).posted) == "4"
    ledger.post_hold(hold.id, "1")
    assert str(ledger.balance(desk).posted) == "9"


def test_forged_openings_are_refused(ledger: bb.Ledger) -> None:
    """A draft that says it opens a hold has exactly the two postings of one, debit first."""
    terms = EntryLinks(opens=HoldTerms(payee=bb.AccountKey(SHOP)))
    debit, credit = bb.Posting.debit(AVAILABLE, 1), bb.Posting.credit(LOCKED, 1)
    wrong = [
        ("transfer", [credit, debit]),
        ("transfer", [debit, bb.Posting.credit("LIAB:USER:BOB:USDT:LOCKED", 1)]),
        ("transfer", [debit, bb.Posting.credit(SHOP, 1)]),
        ("transfer", [bb.Posting.debit("LIAB:USER:ALICE:USDT:MAIN", 1), credit]),
        ("transfer", [debit, debit, credit, credit]),
        ("deposit", [bb.Posting.debit("ASSET:SYSTEM:VAULT:USDT:MAIN", 1), credit]),
        ("withdrawal", [debit, bb.Posting.credit("ASSET:SYSTEM:VAULT:USDT:MAIN", 1)]),
    ]
    for intent, postings in wrong:
        draft = bb.UnsignedEntry(
            intent=bb.TransactionIntent(intent), correlation_id="r", postings=postings, links=terms
        )
        with pytest.raises(bb.IntentViolation):
            ledger.commit(draft)
    assert not ledger.holds()


# --------------------------------------------------------------------------- ending


def test_a_hold_is_paid_whole(ledger: bb.Ledger) -> None:
    """One transfer from LOCKED to the payee, which names the hold as its cause."""
    hold = ledger.hold("ALICE", "60 USDT", to="SHOP")
    (entry,) = ledger.post_hold(hold.id)
    assert entry.postings == (bb.Posting.debit(LOCKED, 60), bb.Posting.credit(SHOP, 60))
    assert (entry.causality_id, entry.metadata["bb.hold"]) == ("5", "5")
    assert (figures(ledger), figures(ledger, "SHOP")) == (("40", "0", "40"), ("60", "0", "60"))
    assert not ledger.holds()


def test_a_hold_is_paid_in_part_and_the_rest_returns(ledger: bb.Ledger) -> None:
    """One transfer again: debit LOCKED 100, credit payee 60, credit own AVAILABLE 40."""
    hold = ledger.hold("ALICE", "100 USDT", to="SHOP")
    (entry,) = ledger.post_hold(hold.id, "60")
    assert entry.postings == (
        bb.Posting.debit(LOCKED, 100),
        bb.Posting.credit(SHOP, 60),
        bb.Posting.credit(AVAILABLE, 40),
    )
    assert figures(ledger) == ("40", "0", "40")


def test_a_hold_for_a_withdrawal_ends_in_two_entries(ledger: bb.Ledger) -> None:
    """A withdrawal, and a transfer of the rest, in one batch; paid whole, only the withdrawal."""
    hold = ledger.hold("ALICE", "100 USDT", to=bb.WITHDRAWAL)
    assert hold.payee is None
    entries = ledger.post_hold(hold.id, "60")
    assert [entry.intent.value for entry in entries] == ["withdrawal", "transfer"]
    assert {entry.batch.first for entry in entries} == {6}
    assert {entry.causality_id for entry in entries} == {"5"}
    assert figures(ledger) == ("40", "0", "40")
    again = ledger.hold("ALICE", "40 USDT", to=bb.WITHDRAWAL)
    assert [entry.intent.value for entry in ledger.post_hold(again.id)] == ["withdrawal"]
    assert figures(ledger) == ("0", "0", "0")


def test_a_voided_hold_returns_all(ledger: bb.Ledger) -> None:
    """Everything is available again."""
    hold = ledger.hold("ALICE", "60 USDT", to="SHOP")
    (entry,) = ledger.void_hold(hold.id)
    assert entry.postings == (bb.Posting.debit(LOCKED, 60), bb.Posting.credit(AVAILABLE, 60))
    assert figures(ledger) == ("100", "0", "100")


@pytest.mark.parametrize("amount", ["0", "60.00000001"])
def test_amounts_that_a_hold_cannot_pay(ledger: bb.Ledger, amount: str) -> None:
    """More than nothing, at most what is held; exactly that passes."""
    hold = ledger.hold("ALICE", "60 USDT", to="SHOP")
    with pytest.raises(bb.InvalidValue, match="at most 60 would pass"):
        ledger.post_hold(hold.id, amount)
    ledger.post_hold(hold.id, "60")


@pytest.mark.parametrize("verb", ["post_hold", "void_hold"])
def test_a_hold_ends_once(ledger: bb.Ledger, verb: str) -> None:
    """The second end is refused with the hold's id, whatever the first was."""
    for first in ("post_hold", "void_hold"):
        hold = ledger.hold("ALICE", "6 USDT", to="SHOP")
        getattr(ledger, first)(hold.id)
        with pytest.raises(bb.HoldNotOpen, match=r"holds\(\) lists the open ones") as caught:
            getattr(ledger, verb)(hold.id)
        assert (caught.value.hold, caught.value.rule, caught.value.code) == (
            hold.id,
            "holds/1",
            "hold_not_open",
        )


def test_lines_that_are_no_hold(ledger: bb.Ledger) -> None:
    """Genesis, records, other entries, sequences that do not exist, and what is no sequence."""
    for verb in (ledger.post_hold, ledger.void_hold):
        for wrong, error in ((1, bb.InvalidValue), (3, bb.InvalidValue), (2, bb.UnknownSequence)):
            with pytest.raises(error):
                verb(wrong)
        for wrong in (99, 0, -1):
            with pytest.raises(bb.UnknownSequence):
                verb(wrong)
        for odd in (True, "5", None, 5.0):
            with pytest.raises(bb.InvalidType):
                verb(odd)  # type: ignore[arg-type]  # wrong on purpose


def test_a_hold_may_be_opened_and_others_ended_in_one_batch(ledger: bb.Ledger) -> None:
    """Ends of two holds and a new one stand or fall together; ending one twice falls."""
    one, two = (ledger.hold("ALICE", "10 USDT", to="SHOP") for _ in range(2))
    twice = [drafts.post_hold(one, correlation_id="r"), drafts.void_hold(one, correlation_id="r")]
    with pytest.raises(bb.HoldNotOpen):
        ledger.commit_batch([draft for ends in twice for draft in ends])
    assert list(ledger.holds()) == [one, two]
    with ledger.batch() as batch:
        batch.post_hold(one.id)
        batch.void_hold(two.id)
        batch.hold("ALICE", "90 USDT", to="BOB")
        rows = batch.preview()
        assert {str(row.account): str(row.after) for row in rows}[LOCKED] == "90"
    assert [hold.id for hold in ledger.holds()] == [9]


# --------------------------------------------------------------------------- whoever commits


@pytest.mark.parametrize(
    "draft",
    [
        drafts.transfer(bb.AccountKey(LOCKED), "BOB", "1 USDT", correlation_id="r"),
        drafts.transfer("BOB", bb.AccountKey(LOCKED), "1 USDT", correlation_id="r"),
        drafts.transfer("ALICE", bb.AccountKey(LOCKED), "1 USDT", correlation_id="r"),
        drafts.withdrawal(bb.AccountKey(LOCKED), "1 USDT", correlation_id="r"),
        drafts.deposit(bb.AccountKey(LOCKED), "1 USDT", correlation_id="r"),
        drafts.fee(bb.AccountKey(LOCKED), "1 USDT", correlation_id="r"),
    ],
)
def test_held_money_is_moved_by_holds_alone(ledger: bb.Ledger, draft: bb.UnsignedEntry) -> None:
    """Whoever commits: an entry that cites no hold neither takes from LOCKED nor puts there."""
    ledger.hold("ALICE", "60 USDT", to="SHOP")
    head = ledger.head
    for call in (ledger.commit, ledger.preview):
        with pytest.raises(bb.HoldNotOpen, match="opens no hold and cites none") as caught:
            call(draft)
        assert (str(caught.value.account), caught.value.hold) == (LOCKED, None)
    assert ledger.head == head


FORGED: dict[str, list[tuple[str, str, str]]] = {
    "another payee": [(LOCKED, "60", "debit"), ("LIAB:USER:EVE:USDT:AVAILABLE", "60", "credit")],
    "the payee's other account": [(LOCKED, "60", "debit"), ("LIAB:USER:SHOP:USDT:MAIN", "60", "credit")],
    "a payee too many": [
        (LOCKED, "60", "debit"),
        (SHOP, "59", "credit"),
        ("LIAB:USER:EVE:USDT:AVAILABLE", "1", "credit"),
    ],
    "the owner's other account": [(LOCKED, "60", "debit"), ("LIAB:USER:ALICE:USDT:MAIN", "60", "credit")],
    "back into LOCKED": [(LOCKED, "60", "debit"), ("LIAB:USER:BOB:USDT:LOCKED", "60", "credit")],
    "another's held money": [("LIAB:USER:BOB:USDT:LOCKED", "60", "debit"), (SHOP, "60", "credit")],
    "too much": [(LOCKED, "61", "debit"), (SHOP, "61", "credit")],
    "too little": [(LOCKED, "59", "debit"), (SHOP, "59", "credit")],
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_ends_are_refused(ledger: bb.Ledger, name: str) -> None:
    """An entry that cites a hold pays its payee or its owner, from its own money, and ends it."""
    hold = ledger.hold("ALICE", "60 USDT", to="SHOP")
    ledger.deposit("BOB", "10 USDT")
    ledger.hold("BOB", "60 USDT", to="SHOP")
    ledger.hold("ALICE", "40 USDT", to="SHOP")  # LOCKED has more than the hold
    before = ledger.head, ledger.accounts(), ledger.holds()
    with pytest.raises(bb.HoldNotOpen) as caught:
        ledger.commit(citing(hold.id, *FORGED[name]))
    assert (caught.value.hold, caught.value.rule) == (hold.id, "holds/1")
    assert (ledger.head, ledger.accounts(), ledger.holds()) == before
    if name == "too much":
        assert (str(caught.value.required), str(caught.value.available)) == ("61", "60")
        assert (str(caught.value.shortfall), caught.value.advice) == ("1", "at most 60 USDT would pass")
        ledger.commit(citing(hold.id, (LOCKED, "60", "debit"), (SHOP, "60", "credit")))
    if name == "too little":
        assert "the batch leaves 1 USDT" in str(caught.value)
        rest = citing(hold.id, (LOCKED, "1", "debit"), (AVAILABLE, "1", "credit"))
        ledger.commit_batch([citing(hold.id, *FORGED[name]), rest])
        assert hold not in list(ledger.holds())


def test_a_hold_is_paid_in_parts_within_one_batch(ledger: bb.Ledger) -> None:
    """Parts are counted together: they may sum to the hold, to no less, and to no more."""
    hold = ledger.hold("ALICE", "60 USDT", to="SHOP")
    ledger.hold("ALICE", "40 USDT", to="SHOP")
    paid, back = (
        citing(hold.id, (LOCKED, "20", "debit"), (account, "20", "credit")) for account in (SHOP, AVAILABLE)
    )
    for wrong in ([paid, paid], [paid, paid, back, back], [paid, paid, paid, paid]):
        with pytest.raises(bb.HoldNotOpen):
            ledger.commit_batch(wrong)
    ledger.commit_batch([paid, back, paid])
    assert (figures(ledger), figures(ledger, "SHOP")) == (("60", "40", "20"), ("40", "0", "40"))


@pytest.mark.parametrize("payee", ["SHOP", bb.WITHDRAWAL])
def test_only_a_hold_for_a_withdrawal_leaves_the_ledger(ledger: bb.Ledger, payee: Any) -> None:
    """Held money is withdrawn where that was agreed, and not paid to somebody there."""
    hold = ledger.hold("ALICE", "60 USDT", to=payee)
    outside = citing(
        hold.id,
        (LOCKED, "60", "debit"),
        ("ASSET:SYSTEM:VAULT:USDT:MAIN", "60", "credit"),
        intent="withdrawal",
    )
    inside = citing(hold.id, (LOCKED, "60", "debit"), (SHOP, "60", "credit"))
    good, bad = (inside, outside) if payee == "SHOP" else (outside, inside)
    with pytest.raises(bb.HoldNotOpen):
        ledger.commit(bad)
    ledger.commit(good)


@pytest.mark.parametrize("intent", ["transfer", "deposit", "fee"])
def test_what_cites_a_hold_pays_from_one_locked_account(ledger: bb.Ledger, intent: str) -> None:
    """Other intents and other sources are no end of a hold, by the form alone."""
    hold = ledger.hold("ALICE", "60 USDT", to="SHOP")
    with pytest.raises(bb.IntentViolation):
        ledger.commit(citing(hold.id, (AVAILABLE, "1", "debit"), (SHOP, "1", "credit"), intent=intent))
    mixed = citing(hold.id, (LOCKED, "60", "debit"), (AVAILABLE, "1", "debit"), (SHOP, "61", "credit"))
    with pytest.raises(bb.IntentViolation, match="pays from one LOCKED account"):
        ledger.commit(mixed)


# --------------------------------------------------------------------------- time


def test_a_hold_expires_at_its_moment(ledger: bb.Ledger, clock: Clock) -> None:
    """A microsecond before it is paid; at the moment itself it can only be voided."""
    until = NOON + timedelta(hours=1)
    early, late = (ledger.hold("ALICE", "10 USDT", to="SHOP", expires_at=until) for _ in range(2))
    assert early.expires_at == until
    clock.moment = until - MICROSECOND
    ledger.post_hold(early.id)
    clock.moment = until
    with pytest.raises(bb.HoldExpired, match=rf"void_hold\({late.id}\) would pass") as caught:
        ledger.post_hold(late.id)
    assert (caught.value.code, caught.value.rule) == ("hold_expired", "holds/1")
    with pytest.raises(bb.HoldExpired):
        ledger.post_hold(late.id, "1")
    ledger.void_hold(late.id)
    assert figures(ledger) == ("90", "0", "90")


def test_a_hold_for_a_withdrawal_expires_too(ledger: bb.Ledger, clock: Clock) -> None:
    """Money that was to leave stays."""
    hold = ledger.hold("ALICE", "10 USDT", to=bb.WITHDRAWAL, expires_at=NOON + MICROSECOND)
    clock.moment = NOON + MICROSECOND
    with pytest.raises(bb.HoldExpired):
        ledger.post_hold(hold.id)
    ledger.void_hold(hold.id)


@pytest.mark.parametrize("until", [NOON, NOON - MICROSECOND])
def test_a_hold_that_would_have_expired_is_not_opened(ledger: bb.Ledger, until: datetime) -> None:
    """The moment of opening is too late already; a microsecond after it passes."""
    with pytest.raises(bb.HoldExpired, match="would pass"):
        ledger.hold("ALICE", "10 USDT", to="SHOP", expires_at=until)
    ledger.hold("ALICE", "10 USDT", to="SHOP", expires_at=NOON + MICROSECOND)


@pytest.mark.parametrize("until", [NOON.replace(tzinfo=None), "2026-01-25T12:00:00Z", 5])
def test_a_hold_until_no_moment(ledger: bb.Ledger, until: Any) -> None:
    """An expiry is an aware UTC time."""
    with pytest.raises(bb.InvalidInput):
        ledger.hold("ALICE", "10 USDT", to="SHOP", expires_at=until)


def test_expired_holds_are_voided_together(ledger: bb.Ledger, clock: Clock) -> None:
    """Those whose moment has come, each in a batch of its own; the others stay."""
    untils = [NOON + timedelta(minutes=minutes) for minutes in (1, 2, 3)]
    holds = [ledger.hold("ALICE", "10 USDT", to="SHOP", expires_at=until) for until in (*untils, None)]
    assert list(ledger.void_expired_holds()) == []
    clock.moment = untils[1]
    outcomes = ledger.void_expired_holds(correlation_id="night")
    entries = tuple(done.entry for done in outcomes.committed)
    assert [entry.causality_id for entry in entries] == [str(hold.id) for hold in holds[:2]]
    assert {entry.correlation_id for entry in entries} == {"night"}
    assert {entry.batch.size for entry in entries} == {1}
    assert list(ledger.holds()) == holds[2:]
    assert list(ledger.void_expired_holds()) == []


def test_holds_after_a_restart() -> None:
    """What is open is read from the journal; what was ended stays ended."""
    store = bb.MemoryStore()
    ledger = bb.Ledger(store=store, opening={"USDT": "10"}, clock=Clock()).bind(correlation_id="r")
    ledger.deposit("ALICE", "10 USDT")
    one, two = (
        ledger.hold("ALICE", "5 USDT", to=to, expires_at=until)
        for to, until in (("SHOP", None), (bb.WITHDRAWAL, NOON + MICROSECOND))
    )
    ledger.void_hold(one.id)
    again = bb.Ledger(store=store, clock=Clock()).bind(correlation_id="r")
    assert list(again.holds()) == [two] == list(ledger.holds())
    with pytest.raises(bb.HoldNotOpen):
        again.post_hold(one.id)
    assert len(again.post_hold(two.id, "1")) == 2
