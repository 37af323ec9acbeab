"""Drafts of trades and fees: their postings, and the metadata that the intent table asks for.

>>> draft = trade(
...     maker="ALICE", maker_gives="100 USDT", taker="BOB", taker_gives="0.001 BTC",
...     trade_id="t1", correlation_id="r1",
... )
>>> draft.metadata["price"], draft.metadata["base_asset"], len(draft.postings)
('100000', 'BTC', 4)
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from bibank.errors import InvalidType, InvalidValue, excerpt
from bibank.journal.drafts import effective, with_fields
from bibank.journal.intents import trade_price
from bibank.model.account import AccountKey, Owner, Side, party_account
from bibank.model.amount import Amount
from bibank.model.entry import Posting, TransactionIntent, UnsignedEntry
from bibank.model.identifier import check_correlation_id, check_identifier
from bibank.model.json_value import EMPTY_MAP
from bibank.model.money import Money
from bibank.model.trade import FeeKind, Given, check_fee_kind, sums


def fee_account(asset: str, kind: FeeKind) -> AccountKey:
    """Name the revenue account of a kind of fee (phase 2, 3.2)."""
    return AccountKey(f"REV:SYSTEM:FEE:{asset}:{kind.name}")


def trader_account(owner: Owner, *, asset: str) -> AccountKey:
    """Find a trader's account in one of the two assets; a given key stands for its owner in both."""
    if not isinstance(owner, AccountKey) or owner.asset == asset:
        return party_account(owner, asset=asset)
    return AccountKey.of(
        category=owner.category,
        segment=owner.segment,
        id=owner.id,
        asset=asset,
        sub_account=owner.sub_account,
    )


def trade(
    *,
    maker: Owner,
    maker_gives: Given,
    taker: Owner,
    taker_gives: Given,
    trade_id: str | UUID | None = None,
    base: str | None = None,
    correlation_id: str | UUID,
    effective_at: datetime | None = None,
    metadata: Mapping[str, object] = EMPTY_MAP,
) -> UnsignedEntry:
    """Two owners swap two assets in one entry (phase 2, section 2).

    What a side gives is one sum, or several of one asset, a leg each. `base` names the asset that the
    price is of: what the maker receives, unless given. `trade_id` is the correlation id, unless given.
    Raises `InvalidValue` kinds.
    """
    trace = check_correlation_id(correlation_id)
    given, received = sums(maker_gives), sums(taker_gives)
    totals = {moneys[0].asset: sum(money.amount.units for money in moneys) for moneys in (given, received)}
    paid, bought = given[0].asset, received[0].asset
    if base is None:
        base = bought
    if not isinstance(base, str):
        raise InvalidType(f"base is an asset code, not {type(base).__name__}")
    if base not in totals or paid == bought:
        raise InvalidValue(
            f"a trade of {paid} for {bought} has no base {excerpt(base)}; name one of two assets"
        )
    quote = paid if base == bought else bought
    postings = [
        posting
        for payer, payee, moneys in ((maker, taker, given), (taker, maker, received))
        for money in moneys
        for posting in (
            Posting(trader_account(payer, asset=money.asset), money.amount, Side.DEBIT),
            Posting(trader_account(payee, asset=money.asset), money.amount, Side.CREDIT),
        )
    ]
    fields = {
        "trade_id": trace if trade_id is None else check_identifier(trade_id, name="trade_id"),
        "base_asset": base,
        "quote_asset": quote,
        "price": trade_price(base_units=totals[base], quote_units=totals[quote]),
        "base_amount": str(Amount.from_units(totals[base])),
        "quote_amount": str(Amount.from_units(totals[quote])),
        "maker": trader_account(maker, asset=paid).owner,
        "taker": trader_account(taker, asset=bought).owner,
    }
    return UnsignedEntry(
        intent=TransactionIntent.TRADE,
        correlation_id=trace,
        postings=postings,
        metadata=with_fields(metadata, fields),
        links=effective(effective_at),
    )


def fee(
    payer: Owner,
    money: Money | str,
    *,
    kind: FeeKind = FeeKind.TRADING,
    correlation_id: str | UUID,
    effective_at: datetime | None = None,
    metadata: Mapping[str, object] = EMPTY_MAP,
) -> UnsignedEntry:
    """An owner pays the house: debit the payer, credit the revenue account of the kind (phase 2, section 3).

    In a batch, a fee behind a trade is tied to it by the ledger.
    """
    money = Money.of(money)
    account = fee_account(money.asset, check_fee_kind(kind))
    return UnsignedEntry(
        intent=TransactionIntent.FEE,
        correlation_id=correlation_id,
        postings=(
            Posting(party_account(payer, asset=money.asset), money.amount, Side.DEBIT),
            Posting(account, money.amount, Side.CREDIT),
        ),
        metadata=with_fields(
            metadata, {"fee_amount": str(money.amount), "fee_asset": money.asset, "fee_type": kind.value}
        ),
        links=effective(effective_at),
    )
