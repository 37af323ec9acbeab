"""Drafts: the everyday entries, written out as postings.

Public as `bibank.drafts`. Each gives an `UnsignedEntry` that can be committed alone or in a batch
with others. `effective_at` is when it counts, where that is not when it is recorded: aware UTC.

>>> draft = transfer("ALICE", "BOB", "5 USDT", correlation_id="r1")
>>> [(str(p.account), p.side.value) for p in draft.postings]
[('LIAB:USER:ALICE:USDT:AVAILABLE', 'debit'), ('LIAB:USER:BOB:USDT:AVAILABLE', 'credit')]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from uuid import UUID

from bibank.errors import InvalidMetadata, InvalidType
from bibank.model.account import AccountKey, Owner, Side, party_account
from bibank.model.amount import Amount
from bibank.model.entry import Posting, TransactionIntent, UnsignedEntry
from bibank.model.genesis import GenesisMark
from bibank.model.json_value import EMPTY_MAP
from bibank.model.links import NO_LINKS, EntryLinks
from bibank.model.money import Money
from bibank.model.policy import AdjustmentPurpose


@lru_cache(maxsize=1024)
def vault_account(asset: str) -> AccountKey:
    """Name the house's own account of an asset (phase 1, 3.3)."""
    return AccountKey(f"ASSET:SYSTEM:VAULT:{asset}:MAIN")


def capital_account(asset: str) -> AccountKey:
    """Name the equity account that an opening is booked against."""
    return AccountKey(f"EQUITY:SYSTEM:CAPITAL:{asset}:MAIN")


def genesis(
    opening: Mapping[str, str | Decimal | int | Amount],
    *,
    mark: GenesisMark,
    correlation_id: str | UUID = "genesis",
) -> UnsignedEntry:
    """Open the books: for each asset debit the vault, credit capital. An empty opening has no postings."""
    postings = []
    for asset, amount in opening.items():
        money = Money(amount, asset)
        postings.append(Posting(vault_account(asset), money.amount, Side.DEBIT))
        postings.append(Posting(capital_account(asset), money.amount, Side.CREDIT))
    return UnsignedEntry(
        intent=TransactionIntent.GENESIS,
        correlation_id=correlation_id,
        postings=postings,
        genesis=mark,
    )


def _two_postings(
    intent: TransactionIntent,
    debit: AccountKey,
    credit: AccountKey,
    amount: Amount,
    correlation_id: str | UUID,
    effective_at: datetime | None,
    metadata: Mapping[str, object],
) -> UnsignedEntry:
    return UnsignedEntry(
        intent=intent,
        correlation_id=correlation_id,
        postings=(Posting(debit, amount, Side.DEBIT), Posting(credit, amount, Side.CREDIT)),
        metadata=metadata,
        links=effective(effective_at),
    )


def effective(at: datetime | None) -> EntryLinks:
    """Give the links of an entry that has none but, perhaps, the time when it counts."""
    return NO_LINKS if at is None else EntryLinks(effective_at=at)


def with_fields(metadata: Mapping[str, object], fields: Mapping[str, str | bool]) -> Mapping[str, object]:
    """Add the fields that the table asks for to a caller's metadata, which may not set them itself."""
    if metadata is EMPTY_MAP:
        return fields
    if not fields:
        return metadata
    if not isinstance(metadata, Mapping):
        raise InvalidType(f"metadata is a mapping, not {type(metadata).__name__}")
    for name in fields:
        if name in metadata:
            raise InvalidMetadata(f"metadata.{name} is written by the draft; leave it out")
    return {**metadata, **fields}


def deposit(
    owner: Owner,
    money: Money | str,
    *,
    correlation_id: str | UUID,
    effective_at: datetime | None = None,
    metadata: Mapping[str, object] = EMPTY_MAP,
) -> UnsignedEntry:
    """Money enters from outside: debit the vault, credit the owner."""
    money = Money.of(money)
    return _two_postings(
        TransactionIntent.DEPOSIT,
        vault_account(money.asset),
        party_account(owner, asset=money.asset),
        money.amount,
        correlation_id,
        effective_at,
        metadata,
    )


def withdrawal(
    owner: Owner,
    money: Money | str,
    *,
    correlation_id: str | UUID,
    effective_at: datetime | None = None,
    metadata: Mapping[str, object] = EMPTY_MAP,
) -> UnsignedEntry:
    """Money leaves: debit the owner, credit the vault."""
    money = Money.of(money)
    return _two_postings(
        TransactionIntent.WITHDRAWAL,
        party_account(owner, asset=money.asset),
        vault_account(money.asset),
        money.amount,
        correlation_id,
        effective_at,
        metadata,
    )


def transfer(
    payer: Owner,
    payee: Owner,
    money: Money | str,
    *,
    correlation_id: str | UUID,
    effective_at: datetime | None = None,
    metadata: Mapping[str, object] = EMPTY_MAP,
) -> UnsignedEntry:
    """Money moves between two owners: debit the payer, credit the payee."""
    money = Money.of(money)
    return _two_postings(
        TransactionIntent.TRANSFER,
        party_account(payer, asset=money.asset),
        party_account(payee, asset=money.asset),
        money.amount,
        correlation_id,
        effective_at,
        metadata,
    )


def adjustment(
    postings: Iterable[Posting],
    *,
    purpose: AdjustmentPurpose,
    reason: str,
    correlation_id: str | UUID,
    effective_at: datetime | None = None,
    metadata: Mapping[str, object] = EMPTY_MAP,
) -> UnsignedEntry:
    """Correct the books by hand, between accounts of any category (phase 1, 13.3).

    It is proposed and approved before it is committed. Raises `InvalidType`, or `InvalidEntry` kinds for
    postings that are no double entry.
    """
    if not isinstance(purpose, AdjustmentPurpose):
        raise InvalidType(f"purpose is an AdjustmentPurpose, not {type(purpose).__name__}")
    fields: dict[str, str | bool] = {
        "requires_approval": True,
        "reason": reason,
        "purpose": str(purpose.value),
    }
    return UnsignedEntry(
        intent=TransactionIntent.ADJUSTMENT,
        correlation_id=correlation_id,
        postings=postings,
        metadata=with_fields(metadata, fields),
        links=effective(effective_at),
    )
