"""The link table: what entries that open holds, end them, or reverse lines must look like.

Like the intent table it is part of the format: it judges proposals and, on replay, every line that was
ever accepted. Whether a hold is open, or a line may be reversed, is no question of form; rules in
`bibank.risk` answer it when an entry is proposed.
"""

from __future__ import annotations

from collections.abc import Sequence

from bibank.errors import IntentViolation, InvalidMetadata, InvalidValue
from bibank.model.account import AVAILABLE, LOCKED, AccountCategory, AccountKey, Side
from bibank.model.entry import RELATED_TRADE, JournalEntry, Posting, TransactionIntent
from bibank.model.links import KEY_NAME, EntryLinks, HoldTerms
from bibank.model.record import JournalLine, JournalRecord

_APPROVED = (TransactionIntent.ADJUSTMENT, TransactionIntent.WITHDRAWAL)

_ENDS_HOLDS = (TransactionIntent.TRANSFER, TransactionIntent.WITHDRAWAL)


def sub_account(account: AccountKey, name: str) -> AccountKey:
    """Name another sub-account of the same owner and asset."""
    return AccountKey(f"{account.text.rpartition(':')[0]}:{name}")


def check_links(intent: TransactionIntent, postings: Sequence[Posting], links: EntryLinks) -> None:
    """Hold an entry to the form that its links ask for; `IntentViolation` says what is wrong."""
    wrong = None
    if links.opens is not None:
        wrong = _wrong_opening(intent, postings, links.opens)
    elif links.hold is not None:
        wrong = _wrong_ending(intent, postings)
    elif links.approved is not None and intent not in _APPROVED:
        wrong = "only adjustments and withdrawals are approved"
    elif links.reverses is not None and intent is TransactionIntent.ADJUSTMENT:
        wrong = "an adjustment reverses nothing; it is approved for what it says"
    if wrong is not None:
        raise IntentViolation(intent=intent, reason=wrong)


def _wrong_opening(intent: TransactionIntent, postings: Sequence[Posting], terms: HoldTerms) -> str | None:
    if intent is not TransactionIntent.TRANSFER or len(postings) != 2:
        return "a hold is opened by a transfer of two postings"
    debit, credit = postings
    if debit.side is not Side.DEBIT:
        return "the opening of a hold begins with its debit"
    owner = debit.account
    if owner.sub_account != AVAILABLE or credit.account != sub_account(owner, LOCKED):
        return f"a hold moves money from {AVAILABLE} to {LOCKED} of one owner"
    payee = terms.payee
    if payee is None:
        return None
    if payee.category is not AccountCategory.LIABILITY or payee.asset != owner.asset:
        return f"the payee of a hold is a LIAB account in {owner.asset}, {payee} is not"
    if payee.sub_account == LOCKED or (payee.segment, payee.id) == (owner.segment, owner.id):
        return f"{payee} cannot be paid from a hold of {owner.owner}"
    return None


def _wrong_ending(intent: TransactionIntent, postings: Sequence[Posting]) -> str | None:
    if intent not in _ENDS_HOLDS:
        return "a hold is ended by transfers and withdrawals"
    paying = {posting.account for posting in postings if posting.side is Side.DEBIT}
    if len(paying) != 1 or paying.pop().sub_account != LOCKED:
        return f"an entry that cites a hold pays from one {LOCKED} account"
    return None


def check_cause(line: JournalEntry, links: EntryLinks | None) -> None:
    """Demand that an entry names as its cause exactly what its links and its relation say."""
    expected = links.cause if links is not None else None
    if RELATED_TRADE in line.metadata:
        if line.intent is not TransactionIntent.FEE or expected is not None:
            raise InvalidMetadata(f"metadata.{RELATED_TRADE} belongs to a fee that follows a trade")
        if line.causality_id is None or line.metadata[RELATED_TRADE] != line.causality_id:
            raise InvalidMetadata(f"metadata.{RELATED_TRADE} differs from causality_id")
        return
    if line.causality_id != (None if expected is None else str(expected)):
        raise InvalidValue(f"causality_id is not the line that the entry follows from ({expected})")


def check_batch(lines: Sequence[JournalLine]) -> None:
    """Demand that a whole batch bears one key, on its first entry, and that its fees name their trade."""
    trade: int | None = None
    first = True
    has_entry = any(isinstance(line, JournalEntry) for line in lines)
    for line in lines:
        if isinstance(line, JournalRecord):
            if KEY_NAME in line.body and (has_entry or line is not lines[0]):
                raise InvalidValue(
                    f"line {line.sequence}: the key of a batch stands on its first entry, or its first record"
                )
            continue
        if not first and KEY_NAME in line.metadata:
            raise InvalidValue(f"line {line.sequence}: the key of a batch stands on its first entry")
        first = False
        if line.intent is TransactionIntent.TRADE:
            trade = line.sequence
        elif line.intent is TransactionIntent.FEE and "bb.reverses" not in line.metadata:
            expected = "absent" if trade is None else str(trade)
            if line.metadata.get(RELATED_TRADE, "absent") != expected:
                raise InvalidValue(f"line {line.sequence}: {RELATED_TRADE} must be {expected}")
