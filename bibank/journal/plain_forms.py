"""Plain forms: the shapes that nearly every entry has, recognised in one look.

What is recognised here satisfies its row of the intent table; what is not may still, and is checked
condition by condition. The tests hold one to the other.
"""

from __future__ import annotations

from bibank.journal.encoder import amount_text
from bibank.journal.intents import FEE_KINDS, TWO_POSTING_CATEGORIES, trade_price
from bibank.model.account import AccountCategory, AccountKey, Side
from bibank.model.entry import TransactionIntent, UnsignedEntry
from bibank.model.identifier import MAX_ID_LENGTH

_DEBIT, _CREDIT = Side.DEBIT, Side.CREDIT
_LIABILITY, _REVENUE = AccountCategory.LIABILITY, AccountCategory.REVENUE
_TRADE, _FEE = TransactionIntent.TRADE, TransactionIntent.FEE


def is_plain(draft: UnsignedEntry) -> bool:
    """Tell whether an entry without links is surely what its intent asks for."""
    intent, count = draft.intent, len(draft.postings)
    if count == 2:
        categories = TWO_POSTING_CATEGORIES.get(intent)
        if categories is not None:
            first, second = draft.postings
            debit, credit = (first, second) if first.side is _DEBIT else (second, first)
            return (
                debit.account.category is categories[0]
                and credit.account.category is categories[1]
                and debit.account.text != credit.account.text
            )
        return intent is _FEE and _is_plain_fee(draft)
    return count == 4 and intent is _TRADE and _is_plain_trade(draft)


def _is_plain_fee(draft: UnsignedEntry) -> bool:
    """Recognise a fee of which the first posting pays, as the drafts write it."""
    debit, credit = draft.postings
    revenue = credit.account
    if (
        debit.side is not _DEBIT
        or debit.account.category is not _LIABILITY
        or revenue.category is not _REVENUE
        or revenue.id != "FEE"
        or revenue.segment != "SYSTEM"
        or revenue.sub_account not in FEE_KINDS
    ):
        return False
    metadata = draft.metadata
    try:
        return (
            metadata["fee_amount"] == amount_text(credit.amount.units)
            and metadata["fee_asset"] == revenue.asset
            and metadata["fee_type"] == revenue.sub_account.lower()
        )
    except KeyError:
        return False


def _is_plain_trade(draft: UnsignedEntry) -> bool:
    """Recognise a swap of two sums, the first one given by the maker, as the drafts write it."""
    first, second, third, fourth = draft.postings
    payer, payee, back, front = first.account, second.account, third.account, fourth.account
    if (
        not (payer.category is payee.category is back.category is front.category is _LIABILITY)
        or not (first.side is third.side is _DEBIT and second.side is fourth.side is _CREDIT)
        or payer.asset != payee.asset
        or back.asset != front.asset
        or payer.asset == back.asset
        or payer.id != front.id
        or payee.id != back.id
        or payer.segment != front.segment
        or payee.segment != back.segment
        or (payer.id == payee.id and payer.segment == payee.segment)
    ):
        return False
    metadata = draft.metadata
    try:
        trade_id = metadata["trade_id"]
        if metadata["base_asset"] == back.asset:
            base, quote = third.amount.units, first.amount.units
            other = payer.asset
        else:
            base, quote = first.amount.units, third.amount.units
            other = back.asset
        return (
            isinstance(trade_id, str)
            and 1 <= len(trade_id) <= MAX_ID_LENGTH
            and trade_id.isascii()
            and trade_id.isprintable()
            and metadata["quote_asset"] == other
            and metadata["base_asset"] == (back.asset if other == payer.asset else payer.asset)
            and metadata["base_amount"] == amount_text(base)
            and metadata["quote_amount"] == amount_text(quote)
            and metadata["price"] == trade_price(base_units=base, quote_units=quote)
            and metadata["maker"] == _owner(payer)
            and metadata["taker"] == _owner(payee)
        )
    except KeyError:
        return False


def _owner(account: AccountKey) -> str:
    return account.id if account.segment == "USER" else account.owner
