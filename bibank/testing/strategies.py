"""Hypothesis strategies for the values, drafts and histories of a ledger.

Everything that is drawn is valid: a strategy never draws what its constructor would refuse. All lean
towards the edges: one unit and 2**127-1 units, ids and parts of full length, quotes and backslashes
in ids, metadata in many scripts.

>>> from hypothesis import given
>>> import bibank as bb
>>> from bibank.testing.strategies import histories
>>> @given(histories())
... def test_books_balance(history):
...     ledger = bb.Ledger.in_memory(history.opening)
...     for batch in history.batches:
...         try:
...             ledger.commit_batch(batch)
...         except bb.Refused:
...             pass
...     ledger.audit()
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bibank.journal.genesis import keyring_hash
from bibank.journal.intents import ADJUSTMENT_PURPOSES, FEE_KINDS, trade_price
from bibank.model.account import SEGMENTS, AccountCategory, AccountKey, Side
from bibank.model.amount import MAX_UNITS, MIN_UNITS, Amount, SignedAmount, units_to_text
from bibank.model.entry import RESERVED_PREFIX, Posting, TransactionIntent, UnsignedEntry
from bibank.model.genesis import NONCE_BYTES, GenesisMark
from bibank.model.identifier import MAX_ID_LENGTH
from bibank.model.json_value import MAX_SAFE_INTEGER, METADATA_LIMITS, FrozenMap, freeze
from bibank.model.keyring import Keyring
from bibank.model.money import MAX_PART_LENGTH, Money
from bibank.testing.fault_strategies import fault_plans

__all__ = [
    "History",
    "account_keys",
    "amounts",
    "assets",
    "batches",
    "fault_plans",
    "frozen_metadata",
    "genesis_marks",
    "histories",
    "identifiers",
    "metadata",
    "money",
    "postings",
    "signed_amounts",
    "single_postings",
    "unsigned_entries",
]

_EDGE_UNITS = (1, 10**8 - 1, 10**8, 10**8 + 1, 2**63 - 1, 2**64, MAX_UNITS - 1, MAX_UNITS)
_ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_MAX_LEGS = 3
_LIABILITY, _ASSET, _EQUITY, _REVENUE = (
    AccountCategory.LIABILITY,
    AccountCategory.ASSET,
    AccountCategory.EQUITY,
    AccountCategory.REVENUE,
)


# --------------------------------------------------------------------------- values


def _units(minimum: int, maximum: int) -> SearchStrategy[int]:
    edges = [units for units in (minimum, *_EDGE_UNITS, maximum) if minimum <= units <= maximum]
    # Three ranges, so that neither everyday sums nor enormous ones are rare.
    return st.one_of(
        st.integers(minimum, min(maximum, max(minimum, 1_000 * 10**8))),
        st.sampled_from(edges),
        st.integers(minimum, maximum),
    )


def amounts(*, min_units: int = 0, max_units: int = MAX_UNITS) -> SearchStrategy[Amount]:
    """Draw an `Amount` between two numbers of 10^-8 units, both inclusive."""
    return _units(min_units, max_units).map(Amount.from_units)


def signed_amounts(*, min_units: int = MIN_UNITS, max_units: int = MAX_UNITS) -> SearchStrategy[SignedAmount]:
    """Draw a `SignedAmount` between two numbers of 10^-8 units, both inclusive."""
    both = st.one_of(_units(max(min_units, 0), max_units), st.integers(min_units, max_units))
    return (both if max_units > 0 else st.integers(min_units, max_units)).map(SignedAmount.from_units)


def _parts(*everyday: str) -> SearchStrategy[str]:
    """Draw an owner id, an asset code or a sub-account: the seed's SCREAMING_SNAKE_CASE."""
    words = st.text(_ALPHANUMERIC, min_size=1, max_size=12)
    snake = st.lists(words, min_size=1, max_size=4).map("_".join)
    return st.one_of(st.sampled_from([*everyday, "0", "Z" * MAX_PART_LENGTH]), snake)


def assets() -> SearchStrategy[str]:
    """Draw an asset code: everyday ones, made-up ones, one of 64 characters."""
    return _parts("USDT", "BTC", "EUR", "X_1")


def money() -> SearchStrategy[Money]:
    """Draw `Money`: any amount, zero included, of any asset."""
    return st.builds(Money, amounts(), assets())


def account_keys(
    *,
    categories: Sequence[AccountCategory] = tuple(AccountCategory),
    asset: str | None = None,
) -> SearchStrategy[AccountKey]:
    """Draw an `AccountKey` of some categories, in one asset or in any."""
    return st.builds(
        AccountKey.of,
        category=st.sampled_from(categories),
        segment=st.sampled_from(SEGMENTS),
        id=_parts("ALICE", "BOB", "VAULT", "FEE"),
        asset=assets() if asset is None else st.just(asset),
        sub_account=_parts("AVAILABLE", "LOCKED", "MAIN", "TRADING"),
    )


def identifiers() -> SearchStrategy[str]:
    """Draw an id of 1 to 128 printable ASCII characters: UUIDs, quotes, backslashes, full length."""
    edges = ["r1", " ", '"', "\\", '\\"', "\\u0041", "{}[],:", "~" * MAX_ID_LENGTH, '"' * MAX_ID_LENGTH]
    free = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=MAX_ID_LENGTH)
    return st.one_of(st.sampled_from(edges), st.uuids().map(str), free)


def _texts() -> SearchStrategy[str]:
    characters = st.characters(exclude_categories=("Cc", "Cn", "Cs"))
    free = st.text(characters, max_size=16).map(lambda text: unicodedata.normalize("NFC", text))
    # U+2028 breaks JavaScript, U+FB33 and U+1F602 sort differently in UTF-16, the slash may be escaped.
    edges = ["", '"', "\\", "</", "caffè", "số dư", "\u2028", "\U0001f602", "\u20ac\ue000", "x" * 300]
    return st.one_of(st.sampled_from(edges), free)


def _metadata_values() -> SearchStrategy[Any]:
    integers = st.one_of(
        st.integers(-9, 9),
        st.sampled_from([MAX_SAFE_INTEGER, -MAX_SAFE_INTEGER]),
        st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER),
    )
    values: SearchStrategy[Any] = st.one_of(st.none(), st.booleans(), integers, _texts())
    for _ in range(METADATA_LIMITS.depth - 1):
        values = st.one_of(
            values,
            st.lists(values, max_size=2),
            st.dictionaries(_metadata_keys(), values, max_size=2),
        )
    return values


def _metadata_keys() -> SearchStrategy[str]:
    edges = st.sampled_from(["note", "a", "a.b", "a_1", "z" * 64, "bb", "ref.id", "x..y"])
    free = st.text("abcxyz019_.", min_size=1, max_size=8).map("k".__add__)
    return st.one_of(edges, free).filter(lambda key: not key.startswith(RESERVED_PREFIX))


def metadata() -> SearchStrategy[dict[str, Any]]:
    """Draw free metadata as a caller gives it: a dict, at most 4 levels and 64 keys, without `bb.` names."""
    return st.dictionaries(_metadata_keys(), _metadata_values(), max_size=4)


def frozen_metadata() -> SearchStrategy[FrozenMap]:
    """Draw metadata as an entry holds it."""
    return metadata().map(lambda members: freeze(members, METADATA_LIMITS))


def genesis_marks() -> SearchStrategy[GenesisMark]:
    """Draw the mark of a new ledger with the keyring that has no keys."""
    return st.builds(
        GenesisMark,
        name=st.sampled_from(["bibank", "0", "a.b-c", "z" * 63]),
        keyring_hash=st.just(keyring_hash(Keyring.unsigned())),
        nonce=st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES).map(bytes.hex),
    )


# --------------------------------------------------------------------------- postings


def single_postings() -> SearchStrategy[Posting]:
    """Draw one posting: a positive amount on either side of any account."""
    return st.builds(Posting, account_keys(), amounts(min_units=1), st.sampled_from(Side))


@st.composite
def postings(draw: DrawFn) -> tuple[Posting, ...]:
    """Draw the postings of an entry: 2 to 18 that balance for each of one to three assets."""
    legs: list[Posting] = []
    for asset in draw(st.lists(assets(), min_size=1, max_size=3, unique=True)):
        accounts = st.lists(account_keys(asset=asset), min_size=1, max_size=_MAX_LEGS)
        legs += draw(_balanced(draw(accounts), draw(accounts), MAX_UNITS))
    return tuple(draw(st.permutations(legs)))


@st.composite
def _balanced(
    draw: DrawFn, debits: Sequence[AccountKey], credits: Sequence[AccountKey], max_units: int
) -> list[Posting]:
    """Draw one sum and divide it among the accounts of each side, a unit or more to each."""
    total = draw(_units(max(len(debits), len(credits)), max_units))
    return [
        Posting(account, Amount.from_units(units), side)
        for side, accounts in ((Side.DEBIT, debits), (Side.CREDIT, credits))
        for account, units in zip(accounts, draw(_shares(total, len(accounts))), strict=True)
    ]


@st.composite
def _shares(draw: DrawFn, total: int, count: int) -> list[int]:
    spare = total - count
    cuts = sorted(draw(st.lists(st.integers(0, spare), min_size=count - 1, max_size=count - 1)))
    return [1 + right - left for left, right in zip([0, *cuts], [*cuts, spare], strict=True)]


# --------------------------------------------------------------------------- entries


@attrs.frozen(kw_only=True)
class _Pool:
    """Where a history draws its parties from: few enough that they meet again."""

    owners: SearchStrategy[str]
    assets: SearchStrategy[str]
    sub_accounts: SearchStrategy[str]
    max_units: int

    def accounts(
        self, asset: str, *, category: AccountCategory = _LIABILITY, owner: str | None = None
    ) -> SearchStrategy[AccountKey]:
        """Draw an account in an asset; of one owner (as `AccountKey.owner` spells it) or of any."""
        owners = self.owners if owner is None else st.just(owner)
        return st.builds(
            lambda name, sub_account: AccountKey(
                f"{category.value}:{name if ':' in name else 'USER:' + name}:{asset}:{sub_account}"
            ),
            owners,
            self.sub_accounts,
        )


_ANYBODY = _Pool(
    owners=st.one_of(_parts("ALICE", "BOB"), _parts("HOUSE").map("SYSTEM:".__add__)),
    assets=assets(),
    sub_accounts=_parts("AVAILABLE", "LOCKED"),
    max_units=MAX_UNITS,
)
_REGULAR_OWNERS = ("ALICE", "BOB", "SYSTEM:HOUSE")
_REGULAR_ASSETS = ("USDT", "BTC")
_REGULARS = _Pool(
    owners=st.sampled_from(_REGULAR_OWNERS),
    assets=st.sampled_from(_REGULAR_ASSETS),
    sub_accounts=st.sampled_from([*["AVAILABLE"] * 6, "LOCKED"]),
    max_units=200 * 10**8,
)


def unsigned_entries(intent: TransactionIntent | None = None) -> SearchStrategy[UnsignedEntry]:
    """Draw a draft of one intent, or of any but genesis, which satisfies its row of the intent table.

    A ledger may still refuse it: for the balance, or because an adjustment needs approvals.
    """
    if intent is not None:
        return _entries(_ANYBODY, intent)
    return st.sampled_from([kind for kind in TransactionIntent if kind is not _GENESIS]).flatmap(
        lambda kind: _entries(_ANYBODY, kind)
    )


_GENESIS = TransactionIntent.GENESIS


@st.composite
def _entries(draw: DrawFn, pool: _Pool, intent: TransactionIntent) -> UnsignedEntry:
    legs, fields = draw(_LEGS[intent](pool))
    free = {} if intent is _GENESIS else draw(metadata())
    return UnsignedEntry(
        intent=intent,
        correlation_id=draw(identifiers()),
        postings=legs,
        metadata={**free, **fields},
        genesis=draw(genesis_marks()) if intent is _GENESIS else None,
    )


_Legs = tuple[list[Posting], Mapping[str, object]]
"""The postings of an entry, and the metadata that its intent demands."""


@st.composite
def _genesis_legs(draw: DrawFn, pool: _Pool) -> _Legs:
    legs: list[Posting] = []
    for asset in draw(st.lists(pool.assets, max_size=3, unique=True)):
        source = draw(account_keys(categories=(_EQUITY, _LIABILITY), asset=asset))
        target = draw(account_keys(categories=(_ASSET,), asset=asset))
        legs += draw(_balanced([target], [source], pool.max_units))
    return legs, {}


@st.composite
def _gateway_legs(draw: DrawFn, pool: _Pool, *, incoming: bool) -> _Legs:
    """Deposit or withdrawal: accounts of one owner against vaults."""
    asset, owner = draw(pool.assets), draw(pool.owners)
    count = st.sampled_from([1, 1, 1, 2])
    sides = [
        [AccountKey(f"ASSET:SYSTEM:VAULT:{asset}:MAIN")] * draw(count),
        [draw(pool.accounts(asset, owner=owner)) for _ in range(draw(count))],
    ]
    debits, credits = sides if incoming else sides[::-1]
    return draw(_balanced(debits, credits, pool.max_units)), {}


@st.composite
def _transfer_legs(draw: DrawFn, pool: _Pool) -> _Legs:
    legs: list[Posting] = []
    for asset in draw(st.lists(pool.assets, min_size=1, max_size=2, unique=True)):
        accounts = draw(
            st.lists(pool.accounts(asset), min_size=2, max_size=4, unique_by=lambda account: account.text)
        )
        payers = draw(st.integers(1, len(accounts) - 1))
        legs += draw(_balanced(accounts[:payers], accounts[payers:], pool.max_units))
    return legs, {}


@st.composite
def _trade_legs(draw: DrawFn, pool: _Pool) -> _Legs:
    maker, taker = draw(st.lists(pool.owners, min_size=2, max_size=2, unique=True))
    base, quote = draw(st.lists(pool.assets, min_size=2, max_size=2, unique=True))
    legs: list[Posting] = []
    moved: dict[str, int] = {}
    for asset, giver, receiver in ((quote, maker, taker), (base, taker, maker)):
        debits, credits = (
            [draw(pool.accounts(asset, owner=owner)) for _ in range(draw(st.sampled_from([1, 1, 2])))]
            for owner in (giver, receiver)
        )
        legs += draw(_balanced(debits, credits, pool.max_units))
        moved[asset] = sum(leg.amount.units for leg in legs if leg.account.asset == asset) // 2
    return draw(st.permutations(legs)), {
        "trade_id": draw(identifiers()),
        "base_asset": base,
        "quote_asset": quote,
        "price": trade_price(base_units=moved[base], quote_units=moved[quote]),
        "base_amount": units_to_text(moved[base]),
        "quote_amount": units_to_text(moved[quote]),
        "maker": maker,
        "taker": taker,
    }


@st.composite
def _fee_legs(draw: DrawFn, pool: _Pool) -> _Legs:
    asset, kind = draw(pool.assets), draw(st.sampled_from(FEE_KINDS))
    payers = draw(st.lists(pool.accounts(asset), min_size=1, max_size=2))
    legs = draw(_balanced(payers, [AccountKey(f"REV:SYSTEM:FEE:{asset}:{kind}")], pool.max_units))
    return legs, {
        "fee_amount": str(legs[-1].amount),
        "fee_asset": asset,
        "fee_type": kind.lower(),
    }


@st.composite
def _adjustment_legs(draw: DrawFn, pool: _Pool) -> _Legs:
    asset = draw(pool.assets)
    accounts = st.lists(account_keys(asset=asset), min_size=1, max_size=_MAX_LEGS)
    reasons = _texts().filter(lambda text: bool(text.strip()))
    return draw(_balanced(draw(accounts), draw(accounts), pool.max_units)), {
        "requires_approval": True,
        "reason": draw(reasons),
        "purpose": draw(st.sampled_from(ADJUSTMENT_PURPOSES)),
    }


_LEGS = {
    TransactionIntent.GENESIS: _genesis_legs,
    TransactionIntent.DEPOSIT: lambda pool: _gateway_legs(pool, incoming=True),
    TransactionIntent.WITHDRAWAL: lambda pool: _gateway_legs(pool, incoming=False),
    TransactionIntent.TRANSFER: _transfer_legs,
    TransactionIntent.TRADE: _trade_legs,
    TransactionIntent.FEE: _fee_legs,
    TransactionIntent.ADJUSTMENT: _adjustment_legs,
}


# --------------------------------------------------------------------------- batches and histories


def batches(*, max_size: int = 4) -> SearchStrategy[tuple[UnsignedEntry, ...]]:
    """Draw a batch: one to `max_size` drafts, of any intents but genesis, that are committed together."""
    return st.lists(unsigned_entries(), min_size=1, max_size=max_size).map(tuple)


@attrs.frozen(kw_only=True)
class History:
    """What one ledger is asked to do: open with some capital, then take one batch after the other."""

    opening: Mapping[str, Amount]
    batches: tuple[tuple[UnsignedEntry, ...], ...]


_EVERYDAY = (
    *[TransactionIntent.DEPOSIT] * 3,
    *[TransactionIntent.TRANSFER] * 2,
    TransactionIntent.WITHDRAWAL,
    TransactionIntent.TRADE,
    TransactionIntent.FEE,
)


@st.composite
def histories(draw: DrawFn, *, max_batches: int = 8, max_batch_size: int = 3) -> History:
    """Draw a `History` of few owners and assets, so that many batches pass and some are refused.

    Most begin with a batch that gives every owner something to spend. Amounts are mostly everyday
    ones; now and then one is so large that it is refused or fills an account to its limit.
    """
    wild = attrs.evolve(_REGULARS, max_units=MAX_UNITS)
    pools = st.sampled_from([*[_REGULARS] * 7, wild])
    drafts = st.tuples(pools, st.sampled_from(_EVERYDAY)).flatmap(lambda choice: _entries(*choice))
    batch = st.lists(drafts, min_size=1, max_size=max_batch_size).map(tuple)
    first: list[tuple[UnsignedEntry, ...]] = [_FUNDING] if draw(st.integers(0, 3)) else []
    capital = amounts(min_units=1, max_units=_REGULARS.max_units)
    return History(
        opening=draw(st.dictionaries(_REGULARS.assets, capital, max_size=2)),
        batches=(*first, *draw(st.lists(batch, max_size=max_batches))),
    )


_FUNDING = tuple(
    UnsignedEntry(
        intent=TransactionIntent.DEPOSIT,
        correlation_id="funding",
        postings=(
            Posting.debit(f"ASSET:SYSTEM:VAULT:{asset}:MAIN", 1_000),
            Posting.credit(f"LIAB:{owner}:{asset}:AVAILABLE", 1_000),
        ),
    )
    for owner in ("USER:ALICE", "USER:BOB", "SYSTEM:HOUSE")
    for asset in _REGULAR_ASSETS
)
