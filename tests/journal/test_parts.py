"""The smaller parts of the journal: accounts, batches, drafts, genesis, records."""

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from bibank.errors import (
    EntryTooLarge,
    IntentViolation,
    InvalidAccountKey,
    InvalidAmount,
    InvalidEntry,
    InvalidMetadata,
    InvalidMoney,
    InvalidType,
    InvalidValue,
    MissingCorrelationId,
)
from bibank.journal import drafts
from bibank.journal.accounts import AccountBook
from bibank.journal.batches import PreparedBatch, stamp_draft
from bibank.journal.genesis import check_place, genesis_batch, keyring_hash
from bibank.journal.records import RECORD_TABLE, check_record
from bibank.model.account import AccountKey, Side
from bibank.model.amount import MIN_UNITS
from bibank.model.entry import Posting, TransactionIntent, UnsignedEntry
from bibank.model.json_value import FrozenMap, thaw
from bibank.model.keyring import Keyring
from bibank.model.money import Money
from bibank.model.record import RecordKind
from bibank.model.stamped import StampedEntry, StampedRecord
from bibank.testing.strategies import account_keys, money, unsigned_entries
from tests.journal.machines import ALICE, BOB, NOON, VAULT, founding

DRAFT = drafts.transfer("ALICE", "BOB", "5 USDT", correlation_id="r1")


# --------------------------------------------------------------------------- accounts


@given(st.lists(account_keys(), unique_by=str, max_size=12), st.data())
def test_listing_is_sorted_whatever_the_order(keys: list[AccountKey], data: st.DataObject) -> None:
    """Accounts are found by any prefix, sorted, also when some came after a listing or were taken out."""
    book = AccountBook()
    texts: list[str] = []
    for key in keys:
        account = book.make(key)
        assert book.find(key.text) is None
        book.add([account])
        texts.append(key.text)
        if data.draw(st.booleans()):
            assert [a.text for a in book.with_prefix("")] == sorted(texts)
        if data.draw(st.booleans()):
            book.remove([account])
            texts.pop()
    assert len(book) == len(texts)
    assert [a.text for a in book] == texts
    prefix = data.draw(st.sampled_from(["", "LIAB", "LIAB:USER:A", "x", *texts]))
    found = [account.key.text for account in book.with_prefix(prefix)]
    assert found == sorted(text for text in texts if text.startswith(prefix))


def test_floors_and_signs_by_category() -> None:
    """ASSET and LIAB stop at zero, the others at the range; debit raises ASSET and EXP."""
    book = AccountBook()
    expected = {
        "ASSET": (0, 5),
        "LIAB": (0, -5),
        "EQUITY": (MIN_UNITS, -5),
        "REV": (MIN_UNITS, -5),
        "EXP": (MIN_UNITS, 5),
    }
    for category, (floor, change) in expected.items():
        account = book.make(AccountKey(f"{category}:SYSTEM:A:USDT:MAIN"))
        assert (account.floor, account.balance) == (floor, 0)
        assert account.delta(5, is_debit=True) == change
        assert account.delta(5, is_debit=False) == -change
        assert account.klass is book.make(AccountKey(f"{category}:USER:B:USDT:X")).klass


# --------------------------------------------------------------------------- batches


def test_batch_of_nothing_or_too_much() -> None:
    """A batch has 1 to 8,192 lines."""
    for bad in ([], [DRAFT] * 8_193):
        with pytest.raises(EntryTooLarge):
            PreparedBatch(bad)
    assert len(PreparedBatch([DRAFT] * 8_192).drafts) == 8_192


@pytest.mark.parametrize("junk", [None, "x", 5, StampedEntry, {"intent": "transfer"}])
def test_batch_of_something_else(junk: Any) -> None:
    """Only drafts are prepared."""
    with pytest.raises(InvalidType):
        PreparedBatch([DRAFT, junk])
    with pytest.raises(InvalidType):
        PreparedBatch.single(junk)


@given(unsigned_entries())
def test_drawn_drafts_are_prepared(draft: UnsignedEntry) -> None:
    """What satisfies the intent table is prepared, alone and together."""
    assert PreparedBatch.single(draft).drafts == (draft,)
    assert PreparedBatch(iter([draft, DRAFT])).drafts == (draft, DRAFT)


def entry(intent: TransactionIntent, debit: str, credit: str, **metadata: Any) -> UnsignedEntry:
    """Make an entry of two postings."""
    legs = (Posting.debit(debit, 5), Posting.credit(credit, 5))
    return UnsignedEntry(intent=intent, correlation_id="r", postings=legs, metadata=metadata)


FEE = {"fee_amount": "5", "fee_asset": "USDT", "fee_type": "revenue"}


@pytest.mark.parametrize(
    "draft",
    [
        entry(TransactionIntent.DEPOSIT, ALICE, VAULT),
        entry(TransactionIntent.WITHDRAWAL, VAULT, ALICE),
        entry(TransactionIntent.TRANSFER, ALICE, VAULT),
        entry(TransactionIntent.TRANSFER, ALICE, ALICE),
        entry(TransactionIntent.TRADE, ALICE, BOB),
        entry(TransactionIntent.ADJUSTMENT, ALICE, BOB),
        entry(TransactionIntent.FEE, ALICE, "REV:SYSTEM:FEE:USDT:REVENUE", **FEE),
    ],
)
def test_intents_are_checked_before_the_lock(draft: UnsignedEntry) -> None:
    """A draft that its intent does not allow is refused when the batch is prepared, in either order."""
    turned = UnsignedEntry(
        intent=draft.intent,
        correlation_id="r",
        postings=draft.postings[::-1],
        metadata=draft.metadata,
    )
    for bad in (draft, turned):
        with pytest.raises(IntentViolation):
            PreparedBatch.single(bad)
        with pytest.raises(IntentViolation):
            PreparedBatch([DRAFT, bad])


def test_what_a_rule_sees_of_a_draft() -> None:
    """The stamp and the content, metadata from typed fields included; no hash."""
    first, second = founding()
    stamped = stamp_draft(first, 1, NOON)
    assert isinstance(stamped, StampedEntry)
    assert isinstance(first, UnsignedEntry)
    assert (stamped.sequence, stamped.timestamp, stamped.intent) == (1, NOON, TransactionIntent.GENESIS)
    assert stamped.metadata == first.whole_metadata
    assert stamped.metadata["bb.format"] == "bibank/1"
    record = stamp_draft(second, 2, NOON)
    assert isinstance(record, StampedRecord)
    assert (record.kind, record.causality_id) == (RecordKind.KEYRING_ADOPTED, None)
    assert DRAFT.whole_metadata is DRAFT.metadata


# --------------------------------------------------------------------------- drafts


@given(money().filter(lambda value: bool(value.amount)))
def test_everyday_drafts(value: Money) -> None:
    """Deposit, withdrawal and transfer, with the vault and the owners' available accounts."""
    vault = f"ASSET:SYSTEM:VAULT:{value.asset}:MAIN"
    a, b = (f"LIAB:USER:{name}:{value.asset}:AVAILABLE" for name in ("A", "B"))
    made = {
        "deposit": (drafts.deposit("A", value, correlation_id="r"), vault, a),
        "withdrawal": (drafts.withdrawal("A", str(value), correlation_id="r"), a, vault),
        "transfer": (drafts.transfer("A", AccountKey(b), value, correlation_id="r"), a, b),
    }
    for intent, (draft, debit, credit) in made.items():
        assert draft.intent.value == intent
        assert [(str(p.account), p.amount, p.side) for p in draft.postings] == [
            (debit, value.amount, Side.DEBIT),
            (credit, value.amount, Side.CREDIT),
        ]
        PreparedBatch.single(draft)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("A", "B", "0 USDT"), InvalidEntry),
        (("A", "B", "-1 USDT"), InvalidAmount),
        (("A", "B", "5"), InvalidMoney),
        (("A", "B", 5), InvalidType),
        (("A", "B", 5.0), InvalidType),
        (("a", "B", "5 USDT"), InvalidAccountKey),
        (("A", 5, "5 USDT"), InvalidType),
        ((["A"], "B", "5 USDT"), InvalidType),
        ((AccountKey(ALICE), "B", "5 BTC"), InvalidAccountKey),
    ],
)
def test_drafts_of_wrong_parts(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    """Each argument has its typed error."""
    with pytest.raises(error):
        drafts.transfer(*arguments, correlation_id="r")
    if arguments[0] == "A" and arguments[1] == "B":
        with pytest.raises(error):
            drafts.deposit("A", arguments[2], correlation_id="r")
        with pytest.raises(error):
            drafts.withdrawal("A", arguments[2], correlation_id="r")


def test_drafts_with_metadata_and_without_an_id() -> None:
    """Metadata is free and checked; the correlation id is never invented."""
    assert drafts.deposit("A", "5 USDT", correlation_id="r", metadata={"note": "x"}).metadata == {"note": "x"}
    missing: Any = None
    with pytest.raises(MissingCorrelationId):
        drafts.deposit("A", "5 USDT", correlation_id=missing)
    with pytest.raises(InvalidMetadata):
        drafts.deposit("A", "5 USDT", correlation_id="r", metadata={"bb.hold": "x"})
    nothing: Any = None
    with pytest.raises(InvalidType):
        drafts.deposit("A", "5 USDT", correlation_id="r", metadata=nothing)


# --------------------------------------------------------------------------- genesis and records


@pytest.mark.parametrize("opening", [{}, {"USDT": "1000"}, {"USDT": 1, "BTC": "0.00000001"}])
def test_genesis_batch(opening: Mapping[str, Any]) -> None:
    """For each asset the vault is debited and capital credited; the record adopts the keyring."""
    entry, record = genesis_batch(
        opening, name="n", keyring=Keyring.unsigned(), nonce="0" * 32, correlation_id="g"
    )
    assert {(str(p.account), str(p.amount), p.side.value) for p in entry.postings} == {
        leg
        for asset, amount in opening.items()
        for leg in (
            (f"ASSET:SYSTEM:VAULT:{asset}:MAIN", str(amount), "debit"),
            (f"EQUITY:SYSTEM:CAPITAL:{asset}:MAIN", str(amount), "credit"),
        )
    }
    assert entry.genesis is not None
    assert record.subject == record.body["ledger"] == entry.genesis.ledger_id
    body: dict[str, Any] = thaw(FrozenMap(Keyring.unsigned().to_body()))
    assert hashlib.sha256(rfc8785.dumps(body)).hexdigest() == keyring_hash(Keyring.unsigned())
    assert entry.genesis.keyring_hash == keyring_hash(Keyring.unsigned())


@pytest.mark.parametrize(
    ("opening", "error"),
    [
        ({"USDT": "0"}, InvalidEntry),
        ({"USDT": 1.0}, InvalidType),
        ({"usdt": 1}, InvalidMoney),
        ({5: 1}, InvalidType),
        ({"USDT": "-1"}, InvalidAmount),
    ],
)
def test_opening_of_wrong_parts(opening: Any, error: type[Exception]) -> None:
    """Capital is a positive amount of an asset."""
    with pytest.raises(error):
        founding(opening)


def test_every_kind_of_record_has_a_schema() -> None:
    """The table is complete, and refuses a body that is not by the schema."""
    assert set(RECORD_TABLE) == set(RecordKind)
    body = {**Keyring.unsigned().to_body(), "ledger": "x/0"}
    check_record(RecordKind.KEYRING_ADOPTED, body)
    bad: tuple[dict[str, Any], ...] = ({}, {**body, "ledger": 5}, {**body, "version": 2}, {**body, "x": 1})
    for other in bad:
        with pytest.raises(InvalidValue):
            check_record(RecordKind.KEYRING_ADOPTED, other)


def test_keyring_is_adopted_at_the_beginning() -> None:
    """Only the genesis batch adopts one."""
    check_place(RecordKind.KEYRING_ADOPTED, 2)
    with pytest.raises(InvalidEntry):
        check_place(RecordKind.KEYRING_ADOPTED, 3)
