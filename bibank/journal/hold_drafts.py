"""Drafts of holds: opening one, paying from it, giving it back.

>>> draft = hold("ALICE", "100 USDT", to="SHOP", correlation_id="r1")
>>> draft.links.to_metadata()
{'bb.payee': 'LIAB:USER:SHOP:USDT:AVAILABLE'}
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from bibank.errors import InvalidValue
from bibank.journal.drafts import vault_account
from bibank.journal.links import check_links, sub_account
from bibank.model.account import LOCKED, Owner, Side, party_account
from bibank.model.amount import Amount
from bibank.model.entry import Posting, TransactionIntent, UnsignedEntry
from bibank.model.hold import Hold, Outside, Payee
from bibank.model.json_value import EMPTY_MAP
from bibank.model.links import EntryLinks, HoldTerms
from bibank.model.money import Money


def hold(
    owner: Owner,
    money: Money | str,
    *,
    to: Payee,
    expires_at: datetime | None = None,
    correlation_id: str | UUID,
    effective_at: datetime | None = None,
    metadata: Mapping[str, object] = EMPTY_MAP,
) -> UnsignedEntry:
    """Keep money for a payee: debit the owner's AVAILABLE, credit LOCKED, and say for whom and until when.

    `to` is an owner, an exact LIAB account, or `WITHDRAWAL`; `expires_at` is aware UTC, None for never.
    Raises `IntentViolation` when the payee is the owner, or no LIAB account in the asset of the money.
    """
    money = Money.of(money)
    account = party_account(owner, asset=money.asset)
    payee = None if isinstance(to, Outside) else party_account(to, asset=money.asset)
    draft = UnsignedEntry(
        intent=TransactionIntent.TRANSFER,
        correlation_id=correlation_id,
        postings=(
            Posting(account, money.amount, Side.DEBIT),
            Posting(sub_account(account, LOCKED), money.amount, Side.CREDIT),
        ),
        metadata=metadata,
        links=EntryLinks(effective_at=effective_at, opens=HoldTerms(payee=payee, expires_at=expires_at)),
    )
    check_links(draft.intent, draft.postings, draft.links)
    return draft


def post_hold(
    opened: Hold,
    amount: Amount | None = None,
    *,
    correlation_id: str | UUID,
    effective_at: datetime | None = None,
    metadata: Mapping[str, object] = EMPTY_MAP,
) -> tuple[UnsignedEntry, ...]:
    """Pay from a hold, all of it or an amount, and return the rest.

    To a payee this is one transfer; out of the ledger it is a withdrawal and, for the rest, a transfer.
    Raises `InvalidValue` for an amount of zero, or of more than is held.
    """
    held = opened.money.amount
    paid = held if amount is None else amount
    if not paid.units or paid > held:
        raise InvalidValue(
            f"{paid} {opened.money.asset} cannot be posted from hold {opened.id}; "
            f"more than 0 and at most {held} would pass"
        )
    locked = sub_account(opened.account, LOCKED)
    rest = held - paid
    returned = (Posting(opened.account, rest, Side.CREDIT),) if rest.units else ()
    links = EntryLinks(effective_at=effective_at, hold=opened.id)

    def entry(intent: TransactionIntent, *postings: Posting) -> UnsignedEntry:
        return UnsignedEntry(
            intent=intent, correlation_id=correlation_id, postings=postings, metadata=metadata, links=links
        )

    if opened.payee is not None:
        payment = Posting(opened.payee, paid, Side.CREDIT)
        return (entry(TransactionIntent.TRANSFER, Posting(locked, held, Side.DEBIT), payment, *returned),)
    leaving = Posting(vault_account(opened.money.asset), paid, Side.CREDIT)
    withdrawal = entry(TransactionIntent.WITHDRAWAL, Posting(locked, paid, Side.DEBIT), leaving)
    if not returned:
        return (withdrawal,)
    return withdrawal, entry(TransactionIntent.TRANSFER, Posting(locked, rest, Side.DEBIT), *returned)


def void_hold(
    opened: Hold,
    *,
    correlation_id: str | UUID,
    effective_at: datetime | None = None,
    metadata: Mapping[str, object] = EMPTY_MAP,
) -> tuple[UnsignedEntry, ...]:
    """Give all of a hold back to its owner."""
    money = opened.money.amount
    return (
        UnsignedEntry(
            intent=TransactionIntent.TRANSFER,
            correlation_id=correlation_id,
            postings=(
                Posting(sub_account(opened.account, LOCKED), money, Side.DEBIT),
                Posting(opened.account, money, Side.CREDIT),
            ),
            metadata=metadata,
            links=EntryLinks(effective_at=effective_at, hold=opened.id),
        ),
    )
