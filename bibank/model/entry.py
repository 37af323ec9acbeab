"""Entries: postings that balance, before sealing (`UnsignedEntry`) and after (`JournalEntry`).

An `UnsignedEntry` that exists is double entry: 2 to 256 postings, every amount positive, debits
equal to credits for every asset. It has no sequence, time or hash; the ledger gives it those.

>>> UnsignedEntry(
...     intent=TransactionIntent.TRANSFER,
...     correlation_id="r1",
...     postings=(
...         Posting.debit("LIAB:USER:ALICE:USDT:AVAILABLE", "5"),
...         Posting.credit("LIAB:USER:BOB:USDT:AVAILABLE", "5"),
...     ),
... ).intent
<TransactionIntent.TRANSFER: 'transfer'>
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum

import attrs

from bibank.errors import (
    AmountOverflow,
    EntryTooLarge,
    InsufficientPostings,
    InvalidEntry,
    InvalidMetadata,
    InvalidType,
    UnbalancedEntry,
    excerpt,
)
from bibank.model.account import AccountKey, Side
from bibank.model.amount import MAX_UNITS, Amount, SignedAmount
from bibank.model.genesis import GenesisMark
from bibank.model.identifier import check_correlation_id
from bibank.model.json_value import (
    EMPTY_MAP,
    METADATA_LIMITS,
    FrozenMap,
    JsonValue,
    canonical_text,
    encode_string,
    freeze,
)
from bibank.model.links import NO_LINKS, RESERVED_PREFIX, EntryLinks, IdempotencyMark
from bibank.model.signature import EntrySignature

MIN_POSTINGS = 2
MAX_POSTINGS = 256
"""Wide enough for a payroll page, small enough that one entry is judged in bounded time."""

MAX_DRAFT_BYTES = 36_864
"""JCS bytes of what a caller gives, so that a reversal, a proposal and 16 signatures still fit a line."""

MAX_REVERSAL_BYTES = MAX_DRAFT_BYTES + METADATA_LIMITS.size_bytes
"""The same of an entry that reverses another: whatever was committed can be taken back, and explained."""

RELATED_TRADE = "related_trade_sequence"
"""The metadata name under which the ledger ties a fee to the trade before it in its batch (phase 2, 3.5)."""

_FEE_FIELDS = 3
"""Members that the intent table asks of a fee: fee_amount, fee_asset, fee_type."""

_SURELY_WITHIN_KEYS = METADATA_LIMITS.keys - 1
_SURELY_WITHIN_BYTES = METADATA_LIMITS.size_bytes - 64
"""Up to here what a caller gives and what the ledger adds, a fee's relation included, fits the limits."""

_SURELY_WITHIN_POSTINGS = 64
"""So many of the longest postings leave room for a key."""

_LATEST_RELATION = {RELATED_TRADE: str(2**63 - 1)}
"""The longest relation that the ledger may add to a fee when it seals it."""

_LARGEST_POSTING_BYTES = 320
"""An upper bound of one posting as JCS: three parts of 64 characters and an amount of 40."""


class TransactionIntent(Enum):
    """Why money moves: seven financial primitives, closed within the format (phase 1, 4.1)."""

    GENESIS = "genesis"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    TRANSFER = "transfer"
    TRADE = "trade"
    FEE = "fee"
    ADJUSTMENT = "adjustment"


@attrs.frozen(init=False)
class Posting:
    """One side of an entry: an account, a positive amount, debit or credit.

    Raises `InvalidAccountKey`, `InvalidAmount` or `InvalidType`; an amount of zero is refused.
    """

    account: AccountKey
    amount: Amount
    side: Side

    def __init__(self, account: AccountKey | str, amount: Amount | Decimal | str | int, side: Side) -> None:
        if not isinstance(side, Side):
            raise InvalidType(f"side is Side.DEBIT or Side.CREDIT, not {excerpt(side)}")
        if not isinstance(account, AccountKey):
            account = AccountKey(account)
        if not isinstance(amount, Amount):
            amount = Amount(amount)
        if not amount.units:
            raise InvalidEntry(f"a posting of 0 to {account} moves nothing; leave it out")
        put = object.__setattr__
        put(self, "account", account)
        put(self, "amount", amount)
        put(self, "side", side)

    @classmethod
    def debit(cls, account: AccountKey | str, amount: Amount | Decimal | str | int) -> Posting:
        """A posting on the debit side."""
        return cls(account, amount, Side.DEBIT)

    @classmethod
    def credit(cls, account: AccountKey | str, amount: Amount | Decimal | str | int) -> Posting:
        """A posting on the credit side."""
        return cls(account, amount, Side.CREDIT)


def check_totals(legs: Iterable[tuple[str, int, bool]]) -> None:
    """Demand that debits equal credits for every asset (phase 1, 4.2 rule 2).

    `legs` are (asset, units, is debit). Raises `UnbalancedEntry`, or `AmountOverflow` when one
    side of an asset is beyond the range of an amount.
    """
    debits: dict[str, int] = {}
    credits: dict[str, int] = {}
    for asset, units, is_debit in legs:
        side = debits if is_debit else credits
        side[asset] = side.get(asset, 0) + units
    for totals in (debits, credits):
        for asset, total in totals.items():
            if total > MAX_UNITS:
                raise AmountOverflow(f"one side of the entry sums to over 2**127-1 units of {asset}")
    if debits != credits:
        asset = next(name for name in (*debits, *credits) if debits.get(name, 0) != credits.get(name, 0))
        imbalance = debits.get(asset, 0) - credits.get(asset, 0)
        raise UnbalancedEntry(asset=asset, imbalance=SignedAmount.from_units(imbalance))


def _check_postings(intent: TransactionIntent, postings: tuple[Posting, ...]) -> None:
    for posting in postings:
        if not isinstance(posting, Posting):
            raise InvalidType(f"postings hold Posting values, not {type(posting).__name__}")
    count = len(postings)
    if intent is TransactionIntent.GENESIS:
        if not count:
            return  # an empty opening: the one exception, docs/adr/0001
    elif count > MAX_POSTINGS:
        raise InvalidEntry(f"{count} postings; an entry has at most {MAX_POSTINGS}, so split it into a batch")
    if count < MIN_POSTINGS:
        raise InsufficientPostings(f"{count} postings; double entry needs at least {MIN_POSTINGS}")
    if count == MIN_POSTINGS:
        first, second = postings
        if (
            first.amount.units == second.amount.units
            and first.side is not second.side
            and first.account.asset == second.account.asset
        ):
            return
    check_totals((p.account.asset, p.amount.units, p.side is Side.DEBIT) for p in postings)


def _freeze_free_metadata(value: Mapping[str, object]) -> FrozenMap:
    if value is EMPTY_MAP:
        return EMPTY_MAP
    frozen = freeze(value, METADATA_LIMITS)
    for key in frozen:
        if key.startswith(RESERVED_PREFIX):
            raise InvalidMetadata(
                f"metadata.{key}: names that begin with {RESERVED_PREFIX!r} are written by the ledger"
            )
    return frozen


def _check_intent(value: object) -> TransactionIntent:
    if not isinstance(value, TransactionIntent):
        raise InvalidType(f"intent is a TransactionIntent, not {excerpt(value)}")
    return value


def _check_genesis_mark(value: object) -> GenesisMark | None:
    if value is not None and not isinstance(value, GenesisMark):
        raise InvalidType(f"genesis is a GenesisMark or None, not {type(value).__name__}")
    return value


def _check_links(value: object) -> EntryLinks:
    if value is NO_LINKS:
        return NO_LINKS
    if type(value) is not EntryLinks:  # a subclass could spell itself in its own way
        raise InvalidType(f"links are EntryLinks, not {type(value).__name__}")
    return NO_LINKS if value == NO_LINKS else value


def _as_tuple(postings: Iterable[Posting]) -> tuple[Posting, ...]:
    try:
        return tuple(postings)
    except TypeError:
        raise InvalidType(f"postings are a sequence of Posting, not {type(postings).__name__}") from None


@attrs.frozen(kw_only=True)
class UnsignedEntry:
    """A draft: what should move and why, valid by construction.

    `metadata` is free JSON (see the reference of values) without `bb.` names; what the library
    itself writes there comes from typed fields, such as `links`. Raises children of
    `InvalidInput`: `MissingCorrelationId`, `InsufficientPostings`, `UnbalancedEntry`,
    `InvalidMetadata`, `EntryTooLarge`.
    """

    intent: TransactionIntent = attrs.field(converter=_check_intent)
    correlation_id: str = attrs.field(converter=check_correlation_id)
    postings: tuple[Posting, ...] = attrs.field(converter=_as_tuple)
    metadata: FrozenMap = attrs.field(converter=_freeze_free_metadata, default=EMPTY_MAP)
    genesis: GenesisMark | None = attrs.field(converter=_check_genesis_mark, default=None)
    links: EntryLinks = attrs.field(converter=_check_links, default=NO_LINKS)
    related_trade: int | None = attrs.field(init=False, default=None)
    """The sequence of the trade before a fee in its batch: set by the ledger when it seals the batch."""
    metadata_json: str = attrs.field(init=False, repr=False, eq=False)
    """The whole metadata as it will stand in the line."""

    def __attrs_post_init__(self) -> None:
        """Check what no field can check alone."""
        _check_postings(self.intent, self.postings)
        if (self.genesis is not None) != (self.intent is TransactionIntent.GENESIS):
            raise InvalidEntry("a genesis mark belongs to the genesis entry, and only there")
        if self.genesis is not None and self.links is not NO_LINKS:
            raise InvalidEntry("a genesis entry has no links")
        if RELATED_TRADE in self.metadata:
            raise InvalidMetadata(f"metadata.{RELATED_TRADE} is filled in by the ledger; leave it out")
        metadata_json, metadata_bytes = "{}", 2
        if self.metadata or self.genesis or self.links is not NO_LINKS:
            metadata_json = canonical_text(self.whole_metadata)
            metadata_bytes = len(metadata_json.encode())
            if metadata_bytes > _SURELY_WITHIN_BYTES or metadata_json.count('":') > _SURELY_WITHIN_KEYS:
                relation = _LATEST_RELATION if self.intent is TransactionIntent.FEE else {}
                freeze({**self.whole_metadata, **relation}, METADATA_LIMITS)
        object.__setattr__(self, "metadata_json", metadata_json)
        if metadata_bytes + _LARGEST_POSTING_BYTES * len(self.postings) > MAX_DRAFT_BYTES - 1024:
            size = len(self._canonical_text().encode())
            follows = self.links.reverses is not None or self.links.approved is not None
            most = MAX_REVERSAL_BYTES if follows else MAX_DRAFT_BYTES
            if size > most:
                raise EntryTooLarge(f"the entry is {size} bytes as JSON; at most {most} fit")

    @property
    def whole_metadata(self) -> FrozenMap:
        """The metadata as it will stand in the line: the free part and what typed fields add."""
        added: dict[str, JsonValue] = {}
        if self.genesis is not None:
            added.update(self.genesis.to_metadata())
        if self.links is not NO_LINKS:
            added.update(self.links.to_metadata())
        if self.related_trade is not None:
            added[RELATED_TRADE] = str(self.related_trade)
        return FrozenMap({**self.metadata, **added}) if added else self.metadata

    @property
    def cause(self) -> int | None:
        """The sequence of the line that the entry follows from, its `causality_id`."""
        return self.links.cause if self.related_trade is None else self.related_trade

    def _canonical_text(self) -> str:
        postings = ",".join(
            f'{{"account":"{p.account}","amount":"{p.amount}","side":"{p.side.value}"}}'
            for p in self.postings
        )
        correlation_id = encode_string(self.correlation_id)
        return (
            f'{{"correlation_id":{correlation_id},"intent":"{self.intent.value}",'
            f'"metadata":{self.metadata_json},"postings":[{postings}]}}'
        )


_DRAFT_FIELDS = tuple(field.name for field in attrs.fields(UnsignedEntry))


def with_key(draft: UnsignedEntry, mark: IdempotencyMark) -> UnsignedEntry:
    """Give the same draft as the bearer of a request's key; raises as the constructor does."""
    if draft.links is not NO_LINKS or draft.metadata or len(draft.postings) > _SURELY_WITHIN_POSTINGS:
        return attrs.evolve(draft, links=attrs.evolve(draft.links, idempotency=mark))
    text = f'{{"bb.idempotency_digest":"{mark.digest}","bb.idempotency_key":{encode_string(mark.key)}}}'
    return _changed(draft, links=EntryLinks(idempotency=mark), metadata_json=text)


def tied_to_trade(draft: UnsignedEntry, sequence: int) -> UnsignedEntry:
    """Give the same fee, tied to the trade of a sequence: the ledger's part, when it seals a batch.

    Nothing of it has to be checked again.
    """
    fee = _changed(draft, related_trade=sequence)
    if len(draft.metadata) == _FEE_FIELDS and draft.links is NO_LINKS:  # their names come before this one
        text = f'{draft.metadata_json[:-1]},"{RELATED_TRADE}":"{sequence}"}}'
    else:
        text = canonical_text(fee.whole_metadata)
    object.__setattr__(fee, "metadata_json", text)
    return fee


def _changed(draft: UnsignedEntry, **fields: object) -> UnsignedEntry:
    """Give a draft with other fields, none of which has to be checked."""
    changed = object.__new__(UnsignedEntry)
    put = object.__setattr__
    for name in _DRAFT_FIELDS:
        put(changed, name, getattr(draft, name))
    for name, value in fields.items():
        put(changed, name, value)
    return changed


@attrs.frozen(kw_only=True)
class BatchMark:
    """What stood together: the batch a line is part of, and the write group of that batch.

    `first` and `size` delimit the atomic batch, `group` is the first sequence of the write group,
    `cover` is "group" where one signature covers the group.
    """

    first: int
    size: int = 1
    group: int
    cover: str | None = None


@attrs.frozen(kw_only=True)
class JournalEntry:
    """A committed entry as it stands in the journal: the view that people read (phase 1, 4.1)."""

    sequence: int
    prev_hash: str
    hash: str
    timestamp: datetime
    intent: TransactionIntent
    correlation_id: str
    causality_id: str | None
    batch: BatchMark
    postings: tuple[Posting, ...]
    metadata: FrozenMap
    signatures: tuple[EntrySignature, ...] = ()
