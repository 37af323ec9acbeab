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

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import attrs
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bibank.journal.intents import ADJUSTMENT_PURPOSES, FEE_KINDS, trade_price
from bibank.model.account import AccountCategory, AccountKey, Side
from bibank.model.amount import MAX_UNITS, Amount, units_to_text
from bibank.model.entry import Posting, TransactionIntent, UnsignedEntry
from bibank.model.links import NO_LINKS, EntryLinks, HoldTerms
from bibank.testing.fault_strategies import fault_plans
from bibank.testing.value_strategies import (
    account_keys,
    amounts,
    assets,
    frozen_metadata,
    genesis_marks,
    identifiers,
    metadata,
    money,
    parts,
    signed_amounts,
    texts,
    units,
)

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

_MAX_LEGS = 3
_LIABILITY, _ASSET, _EQUITY, _REVENUE = (
    AccountCategory.LIABILITY,
    AccountCategory.ASSET,
    AccountCategory.EQUITY,
    AccountCategory.REVENUE,
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
    total = draw(units(max(len(debits), len(credits)), max_units))
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
    owners=st.one_of(parts("ALICE", "BOB"), parts("HOUSE").map("SYSTEM:".__add__)),
    assets=assets(),
    sub_accounts=parts("AVAILABLE", "LOCKED"),
    max_units=MAX_UNITS,
)
_REGULAR_OWNERS = ("ALICE", "BOB", "SYSTEM:HOUSE")
_REGULAR_ASSETS = ("USDT", "BTC")
_REGULARS = _Pool(
    owners=st.sampled_from(_REGULAR_OWNERS),
    assets=st.sampled_from(_REGULAR_ASSETS),
    sub_accounts=st.sampled_from([*["AVAILABLE"] * 12, "LOCKED", "MAIN"]),
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
    links = NO_LINKS
    if intent is not _GENESIS:
        fields = {**draw(metadata()), **fields}
        effective_at = draw(st.one_of(st.none(), st.none(), st.none(), _MOMENTS))
        if intent is TransactionIntent.TRANSFER and draw(st.integers(0, 3)) == 0:
            legs, terms = draw(_openings(pool))
            links = EntryLinks(effective_at=effective_at, opens=terms)
        elif effective_at is not None:
            links = EntryLinks(effective_at=effective_at)
    return UnsignedEntry(
        intent=intent,
        correlation_id=draw(identifiers()),
        postings=legs,
        metadata=fields,
        genesis=draw(genesis_marks()) if intent is _GENESIS else None,
        links=links,
    )


_MOMENTS = st.datetimes(timezones=st.just(UTC))
_LATE = st.datetimes(min_value=datetime(2500, 1, 1, tzinfo=UTC).replace(tzinfo=None), timezones=st.just(UTC))
"""When holds that are drawn expire: a draft is valid whenever it is committed."""


@st.composite
def _openings(draw: DrawFn, pool: _Pool) -> tuple[list[Posting], HoldTerms]:
    """Draw the opening of a hold: from AVAILABLE to LOCKED, for another owner or for a withdrawal."""
    asset = draw(pool.assets)
    owner, other = draw(st.lists(pool.owners, min_size=2, max_size=2, unique=True))
    available, locked = (
        AccountKey(f"LIAB:{owner if ':' in owner else 'USER:' + owner}:{asset}:{name}")
        for name in ("AVAILABLE", "LOCKED")
    )
    payees = pool.accounts(asset, owner=other).filter(lambda account: account.sub_account != "LOCKED")
    return draw(_balanced([available], [locked], pool.max_units)), HoldTerms(
        payee=draw(st.one_of(st.none(), payees)),
        expires_at=draw(st.one_of(st.none(), _LATE)),
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
    reasons = texts().filter(lambda text: bool(text.strip()))
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
