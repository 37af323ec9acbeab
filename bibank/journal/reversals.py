"""Reversals: the entry that takes an earlier one back, whole or in part.

Nothing is edited or deleted: a new entry with the sides swapped stands further down, and names the line
that it reverses. Swapped, the postings satisfy a row of the intent table again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from bibank.errors import NotReversible
from bibank.journal.drafts import with_fields
from bibank.journal.intents import TRADE_FIELDS
from bibank.model.amount import Amount
from bibank.model.entry import JournalEntry, Posting, TransactionIntent, UnsignedEntry
from bibank.model.json_value import EMPTY_MAP
from bibank.model.links import EntryLinks

REVERSALS_NAME = "reversals/1"
"""The rule that judges them."""

REVERSING_INTENT: Mapping[TransactionIntent, TransactionIntent] = {
    TransactionIntent.DEPOSIT: TransactionIntent.WITHDRAWAL,
    TransactionIntent.WITHDRAWAL: TransactionIntent.DEPOSIT,
    TransactionIntent.TRANSFER: TransactionIntent.TRANSFER,
    TransactionIntent.TRADE: TransactionIntent.TRADE,
    TransactionIntent.FEE: TransactionIntent.FEE,
}
"""Which intent takes back which; genesis and adjustments have none."""

_FEE_FIELDS = ("fee_amount", "fee_asset", "fee_type")

_OWN_ENDINGS = {
    "bb.payee": "it opened a hold, which is posted or voided",
    "bb.hold": "it ended a hold, which is not opened again",
    "bb.reverses": "it is a reversal itself; commit anew what should stand",
}
"""Entries that cite something have their own endings."""


def why_irreversible(original: JournalEntry) -> str | None:
    """Say why an entry can never be reversed, or None."""
    if original.intent not in REVERSING_INTENT:
        article = "an" if original.intent is TransactionIntent.ADJUSTMENT else "a"
        return f"{article} {original.intent.value} is not reversed; correct it by an approved adjustment"
    return next((reason for name, reason in _OWN_ENDINGS.items() if name in original.metadata), None)


def is_divisible(original: JournalEntry) -> bool:
    """Tell whether a part of an entry can be reversed: it has one asset and two postings."""
    return len(original.postings) == 2


def reversal(
    original: JournalEntry,
    amount: Amount | None = None,
    *,
    correlation_id: str | UUID,
    effective_at: datetime | None = None,
    metadata: Mapping[str, object] = EMPTY_MAP,
) -> UnsignedEntry:
    """Write the entry that reverses another one, or an `amount` of it.

    Raises `NotReversible` when it has another ending, or none, or cannot be taken back in part.
    """
    wrong, advice = why_irreversible(original), "nothing would pass"
    if wrong is None and amount is not None and not is_divisible(original):
        wrong, advice = f"it has {len(original.postings)} postings", "it can be reversed as a whole"
    if wrong is not None:
        raise NotReversible(
            f"line {original.sequence} cannot be reversed{'' if amount is None else ' in part'}: {wrong}",
            rule=REVERSALS_NAME,
            advice=advice,
            sequence=original.sequence,
        )
    postings = tuple(
        Posting(posting.account, posting.amount if amount is None else amount, posting.side.opposite)
        for posting in original.postings
    )
    return UnsignedEntry(
        intent=REVERSING_INTENT[original.intent],
        correlation_id=correlation_id,
        postings=postings,
        metadata=with_fields(metadata, _fields(original, amount)),
        links=EntryLinks(effective_at=effective_at, reverses=original.sequence),
    )


def _fields(original: JournalEntry, amount: Amount | None) -> dict[str, str]:
    """Give the seed's metadata of the reversing entry: maker and taker change places."""
    found = original.metadata
    match original.intent:
        case TransactionIntent.TRADE:
            kept = {name: str(found[name]) for name in TRADE_FIELDS}
            return {**kept, "maker": kept["taker"], "taker": kept["maker"]}
        case TransactionIntent.FEE:
            fields = {name: str(found[name]) for name in _FEE_FIELDS}
            return fields if amount is None else {**fields, "fee_amount": str(amount)}
        case _:
            return {}


def is_reversal_of(entry: UnsignedEntry, original: JournalEntry) -> bool:
    """Tell whether an entry swaps the sides of another one, in any amount where that is possible."""
    if why_irreversible(original) is not None or entry.intent is not REVERSING_INTENT[original.intent]:
        return False
    if len(entry.postings) != len(original.postings):
        return False
    whole = tuple(Posting(p.account, p.amount, p.side.opposite) for p in original.postings)
    if entry.postings == whole:
        return True
    return is_divisible(original) and all(
        ours.account == theirs.account and ours.side is theirs.side
        for ours, theirs in zip(entry.postings, whole, strict=True)
    )
