"""Drafts of entries: double entry by construction."""

import pickle
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import attrs
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from bibank.errors import (
    AmountOverflow,
    EntryTooLarge,
    InsufficientPostings,
    InvalidAccountKey,
    InvalidAmount,
    InvalidEntry,
    InvalidIdentifier,
    InvalidInput,
    InvalidMetadata,
    InvalidType,
    MissingCorrelationId,
    UnbalancedEntry,
)
from bibank.model.account import AccountKey, Side
from bibank.model.amount import MAX_UNITS, Amount, SignedAmount
from bibank.model.entry import (
    MAX_DRAFT_BYTES,
    MAX_POSTINGS,
    Posting,
    TransactionIntent,
    UnsignedEntry,
    check_totals,
)
from bibank.model.genesis import GenesisMark
from bibank.model.json_value import thaw
from bibank.testing.strategies import genesis_marks, metadata, postings, single_postings, unsigned_entries

ALICE = "LIAB:USER:ALICE:USDT:AVAILABLE"
BOB = "LIAB:USER:BOB:USDT:AVAILABLE"
MARK = GenesisMark(name="test", keyring_hash="0" * 64, nonce="1" * 32)


def transfer(**changes: Any) -> UnsignedEntry:
    """Make a transfer of 5 USDT, with some arguments changed."""
    arguments: dict[str, Any] = {
        "intent": TransactionIntent.TRANSFER,
        "correlation_id": "r1",
        "postings": (Posting.debit(ALICE, 5), Posting.credit(BOB, 5)),
    }
    return UnsignedEntry(**{**arguments, **changes})


def many(count: int) -> list[Posting]:
    """Make so many balanced postings."""
    return [
        Posting(f"LIAB:USER:U{i}:USDT:AVAILABLE", 1, Side.CREDIT if i % 2 else Side.DEBIT)
        for i in range(count)
    ]


@given(single_postings())
def test_posting_takes_values_or_texts(posting: Posting) -> None:
    """An account and an amount may be given as values or as their input."""
    same = Posting(str(posting.account), str(posting.amount), posting.side)
    assert same == posting
    assert hash(same) == hash(posting)
    assert pickle.loads(pickle.dumps(posting)) == posting
    named = Posting.debit if posting.side is Side.DEBIT else Posting.credit
    assert named(posting.account, posting.amount.to_decimal()) == posting


@pytest.mark.parametrize("zero", [0, "0", "0.00000000", Decimal("-0"), Amount(0)])
def test_posting_of_zero(zero: Any) -> None:
    """A posting that moves nothing is refused."""
    with pytest.raises(InvalidEntry):
        Posting.debit(ALICE, zero)


@pytest.mark.parametrize(
    ("account", "amount", "side", "error"),
    [
        (ALICE, 1.0, Side.DEBIT, InvalidType),
        (ALICE, True, Side.DEBIT, InvalidType),
        (ALICE, SignedAmount(1), Side.DEBIT, InvalidType),
        (ALICE, "-1", Side.DEBIT, InvalidAmount),
        (ALICE, "0.000000001", Side.DEBIT, InvalidAmount),
        (ALICE, 1, "debit", InvalidType),
        (ALICE, 1, None, InvalidType),
        ("alice", 1, Side.DEBIT, InvalidAccountKey),
        (None, 1, Side.DEBIT, InvalidType),
        (None, 0, Side.DEBIT, InvalidType),
    ],
)
def test_posting_of_wrong_parts(account: Any, amount: Any, side: Any, error: type[Exception]) -> None:
    """Each part has its typed error."""
    with pytest.raises(error):
        Posting(account, amount, side)


@given(postings(), metadata())
def test_draft_that_balances(legs: tuple[Posting, ...], free: dict[str, Any]) -> None:
    """What balances for every asset is a draft, with its metadata as RFC 8785 spells it."""
    draft = transfer(postings=legs, metadata=free)
    assert draft.postings == legs
    assert draft.metadata_json.encode() == rfc8785.dumps(free)
    assert pickle.loads(pickle.dumps(draft)) == draft
    assert hash(transfer(postings=list(legs), metadata=free)) == hash(draft)


@given(postings(), st.data())
def test_draft_that_does_not_balance(legs: tuple[Posting, ...], data: st.DataObject) -> None:
    """One leg changed by some units: the asset and the exact imbalance are named."""
    index = data.draw(st.integers(0, len(legs) - 1))
    leg = legs[index]
    units = data.draw(st.integers(1, MAX_UNITS).filter(lambda units: units != leg.amount.units))
    wrong = attrs.evolve(leg, amount=Amount.from_units(units))
    sides: dict[Side, int] = {Side.DEBIT: 0, Side.CREDIT: 0}
    for posting in (*legs[:index], wrong, *legs[index + 1 :]):
        if posting.account.asset == leg.account.asset:
            sides[posting.side] += posting.amount.units
    with pytest.raises((UnbalancedEntry, AmountOverflow)) as caught:
        transfer(postings=(*legs[:index], wrong, *legs[index + 1 :]))
    if isinstance(caught.value, UnbalancedEntry):
        assert caught.value.asset == leg.account.asset
        assert caught.value.imbalance.units == sides[Side.DEBIT] - sides[Side.CREDIT]
        assert str(caught.value.imbalance) in str(caught.value)
    else:
        assert max(sides.values()) > MAX_UNITS


@pytest.mark.parametrize(
    ("legs", "asset", "imbalance"),
    [
        ([("USDT", 5, "debit"), ("USDT", 4, "credit")], "USDT", "1"),
        ([("USDT", 5, "debit"), ("BTC", 5, "credit")], "USDT", "5"),
        ([("BTC", 5, "credit"), ("USDT", 5, "debit")], "USDT", "5"),
        ([("USDT", 5, "debit"), ("USDT", 5, "debit")], "USDT", "10"),
        ([("USDT", 5, "credit"), ("USDT", 5, "credit")], "USDT", "-10"),
        ([("USDT", 5, "debit"), ("USDT", 5, "credit"), ("BTC", 1, "credit")], "BTC", "-1"),
    ],
)
def test_imbalance_is_per_asset(legs: list[tuple[str, int, str]], asset: str, imbalance: str) -> None:
    """Equal totals in different assets do not balance; the sign is debits minus credits."""
    entries = [Posting(f"LIAB:USER:A{i}:{a}:MAIN", n, Side(s)) for i, (a, n, s) in enumerate(legs)]
    with pytest.raises(UnbalancedEntry) as caught:
        transfer(postings=entries)
    assert (caught.value.asset, str(caught.value.imbalance)) == (asset, imbalance)


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("intent", [i for i in TransactionIntent if i is not TransactionIntent.GENESIS])
def test_too_few_postings(count: int, intent: TransactionIntent) -> None:
    """Double entry needs two, for every intent but an empty genesis."""
    with pytest.raises(InsufficientPostings):
        transfer(intent=intent, postings=many(2)[:count])


def test_number_of_postings_has_a_limit() -> None:
    """256 postings pass, more do not; an opening has as many as its assets need."""
    assert len(transfer(postings=many(MAX_POSTINGS)).postings) == 256
    for count in (257, 258, 10_000):
        with pytest.raises(InvalidEntry, match="at most 256"):
            transfer(postings=many(count))
    draft = transfer(intent=TransactionIntent.GENESIS, postings=many(258), genesis=MARK)
    assert len(draft.postings) == 258


def test_genesis_has_no_posting_or_two() -> None:
    """An empty opening is the one exception; a single posting is none."""
    assert transfer(intent=TransactionIntent.GENESIS, postings=(), genesis=MARK).postings == ()
    with pytest.raises(InsufficientPostings):
        transfer(intent=TransactionIntent.GENESIS, postings=many(1), genesis=MARK)


def test_genesis_mark_stands_on_genesis_only() -> None:
    """The mark and the intent come together, and the mark is one."""
    with pytest.raises(InvalidEntry):
        transfer(genesis=MARK)
    with pytest.raises(InvalidEntry):
        transfer(intent=TransactionIntent.GENESIS)
    for junk in ("x", {"bb.format": "bibank/1"}, 0):
        with pytest.raises(InvalidType):
            transfer(intent=TransactionIntent.GENESIS, genesis=junk)


@given(genesis_marks())
def test_genesis_mark_is_the_metadata(mark: GenesisMark) -> None:
    """The draft's metadata is what the mark says."""
    draft = transfer(intent=TransactionIntent.GENESIS, postings=(), genesis=mark)
    assert draft.metadata == {}
    assert draft.metadata_json.encode() == rfc8785.dumps(mark.to_metadata())


def test_side_beyond_i128() -> None:
    """Amounts that fit one by one, but not together, are a typed overflow."""
    half = Amount.from_units(2**126)
    legs = [
        Posting.debit(ALICE, half),
        Posting.debit(ALICE, half),
        Posting.credit(BOB, half),
        Posting.credit(BOB, half),
    ]
    with pytest.raises(AmountOverflow, match="USDT"):
        transfer(postings=legs)
    largest = Amount.from_units(MAX_UNITS)
    legs = [Posting.debit(ALICE, largest), Posting.credit(BOB, largest)]
    assert transfer(postings=legs).postings == tuple(legs)
    with pytest.raises(AmountOverflow):
        check_totals([("USDT", MAX_UNITS, False), ("USDT", 1, False)])


@pytest.mark.parametrize("key", ["bb.", "bb.hold", "bb.idempotency_key", "bb.x"])
def test_reserved_names_are_refused(key: str) -> None:
    """Names that begin with `bb.` are the library's; deeper down and without the dot they are free."""
    with pytest.raises(InvalidMetadata, match=r"bb\."):
        transfer(metadata={key: "x"})
    assert transfer(metadata={"bb": 1, "a": {key: "x"}, "bbx": 2}).metadata["bb"] == 1


@pytest.mark.parametrize("value", [None, 0, 0.0, "", [], (), False, "x", [("a", 1)]])
def test_metadata_of_another_type(value: Any) -> None:
    """Metadata is a mapping; an empty something else is not forgiven."""
    with pytest.raises(InvalidType):
        transfer(metadata=value)


def test_mutating_the_input_changes_nothing() -> None:
    """A draft keeps copies of the metadata and of the list of postings."""
    legs = [Posting.debit(ALICE, 5), Posting.credit(BOB, 5)]
    free: dict[str, Any] = {"tags": ["a"], "deep": {"n": 1}}
    draft = transfer(postings=legs, metadata=free)
    before = (draft.postings, draft.metadata_json)
    legs.clear()
    free["tags"].append("b")
    free["deep"]["n"] = 2
    free["bb.hold"] = "x"
    assert (draft.postings, draft.metadata_json) == before
    assert draft.metadata == {"tags": ("a",), "deep": {"n": 1}}


def test_draft_is_frozen() -> None:
    """No attribute can be set."""
    draft: Any = transfer()
    for name in ("intent", "postings", "metadata", "metadata_json", "correlation_id"):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(draft, name, None)


@pytest.mark.parametrize("value", ["transfer", None, 5, Side.DEBIT])
def test_intent_is_an_intent(value: Any) -> None:
    """Its text is not enough."""
    with pytest.raises(InvalidType):
        transfer(intent=value)


@pytest.mark.parametrize("value", [None, 5, "ab", [1, 2], [ALICE, BOB], [None], {"a": 1}])
def test_postings_are_postings(value: Any) -> None:
    """Anything else in their place is a type error."""
    with pytest.raises(InvalidType):
        transfer(postings=value)


def test_postings_from_any_iterable() -> None:
    """A generator is read once."""

    def legs() -> Iterator[Posting]:
        yield Posting.debit(ALICE, 5)
        yield Posting.credit(BOB, 5)

    assert transfer(postings=legs()) == transfer()


def test_correlation_id_is_required() -> None:
    """None and the empty text are missing, a bad one is invalid, a UUID is its text."""
    for missing in (None, ""):
        with pytest.raises(MissingCorrelationId):
            transfer(correlation_id=missing)
    with pytest.raises(InvalidIdentifier):
        transfer(correlation_id="a\n")
    with pytest.raises(InvalidIdentifier):
        transfer(correlation_id="x" * 129)
    uuid = UUID(int=1)
    assert transfer(correlation_id=uuid).correlation_id == str(uuid)


def wide(pairs: int, note: str, *, fill: str = "") -> UnsignedEntry:
    """Make an entry of long postings and a note."""
    long = "X" * 64
    legs = []
    for number in range(pairs):
        for side in Side:
            account = f"LIAB:SYSTEM:{side.name[0]}{number:063d}:{long}:{long}"
            legs.append(Posting(account, "1000000000000000000000000.00000001", side))
    return transfer(postings=legs, metadata={"note": note, "tail": fill})


def jcs_size(draft: UnsignedEntry) -> int:
    """Measure a draft with an independent library."""
    return len(
        rfc8785.dumps(
            {
                "correlation_id": draft.correlation_id,
                "intent": draft.intent.value,
                "metadata": thaw(draft.metadata),
                "postings": [
                    {"account": str(p.account), "amount": str(p.amount), "side": p.side.value}
                    for p in draft.postings
                ],
            }
        )
    )


@pytest.mark.parametrize("character", ["x", "\u00e9", "\u20ac", "\U0001f602", '"'])
def test_size_of_a_draft_in_bytes(character: str) -> None:
    """36,864 bytes of JCS pass and one more does not, however few characters they are."""
    width = len(rfc8785.dumps(character)) - 2
    for pairs in (37, 49, 60):
        room = MAX_DRAFT_BYTES - jcs_size(wide(pairs, ""))
        if not 0 <= room < 16_000:
            continue
        note, fill = character * (room // width), "x" * (room % width)
        fits = wide(pairs, note, fill=fill)
        assert jcs_size(fits) == MAX_DRAFT_BYTES
        with pytest.raises(EntryTooLarge, match="36865"):
            wide(pairs, note, fill=fill + "x")
        break
    else:
        pytest.fail("no number of postings leaves room for the note")


@given(unsigned_entries())
def test_draft_is_within_its_limit(draft: UnsignedEntry) -> None:
    """Whatever passes is at most 36,864 bytes as an independent library measures it."""
    assert jcs_size(draft) <= MAX_DRAFT_BYTES


@given(st.lists(st.tuples(st.sampled_from(["A", "B"]), st.integers(1, 3), st.booleans()), max_size=6))
def test_totals_against_fractions(legs: list[tuple[str, int, bool]]) -> None:
    """Legs balance exactly when their signed sums are zero for every asset."""
    sums = {
        asset: sum(Fraction(n if is_debit else -n) for a, n, is_debit in legs if a == asset)
        for asset in ("A", "B")
    }
    if any(sums.values()):
        with pytest.raises(UnbalancedEntry):
            check_totals(legs)
    else:
        check_totals(legs)


@given(st.lists(st.tuples(st.text(max_size=8) | st.just(ALICE), st.text(max_size=4)), max_size=4))
def test_any_input_is_a_draft_or_a_typed_error(parts: list[tuple[str, str]]) -> None:
    """Texts of any kind end in a draft or in a child of `InvalidInput`."""
    try:
        transfer(postings=[Posting(account, amount, Side.DEBIT) for account, amount in parts])
    except InvalidInput:
        return
    raise AssertionError("debits alone never balance")


def test_keys_may_be_given_as_values() -> None:
    """A key object and its text make the same draft."""
    legs = (Posting.debit(AccountKey(ALICE), Amount(5)), Posting.credit(AccountKey(BOB), "5.0"))
    assert transfer(postings=legs) == transfer()
