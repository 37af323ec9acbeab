"""The verbs of money, the same on a ledger and in a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Generic, TypeVar
from uuid import UUID

from bibank.calls import Call, Written
from bibank.errors import InvalidType
from bibank.journal import drafts, hold_drafts, trade_drafts
from bibank.journal.reversals import reversal
from bibank.model.account import Owner
from bibank.model.amount import Amount
from bibank.model.entry import JournalEntry, UnsignedEntry
from bibank.model.hold import Hold, Payee
from bibank.model.identifier import check_correlation_id, check_identifier
from bibank.model.json_value import EMPTY_MAP, METADATA_LIMITS, FrozenMap, freeze
from bibank.model.money import Money
from bibank.model.trade import FeeKind, Given, TradeFee, sums
from bibank.source import check_sequence

One = TypeVar("One")
Many = TypeVar("Many")
Traded = TypeVar("Traded")
Held = TypeVar("Held")

Metadata = Mapping[str, object]


class Verbs(ABC, Generic[One, Many, Traded, Held]):
    """Turns each verb into a call and takes it.

    Parties stand in the order payer, payee; an id means that user's AVAILABLE account, an
    `AccountKey` exactly that account. `correlation_id` is required unless it was bound; the ledger
    never makes one up (phase 1, 13.1). `idempotency_key` makes a retry safe: the second try gives what
    the first committed. `effective_at` is when it counts (aware UTC), where that is not when it is
    recorded. Every verb raises `InvalidInput` kinds before anything is changed.
    """

    def __init__(self, *, correlation_id: str | UUID | None) -> None:
        self._correlation_id = None if correlation_id is None else check_correlation_id(correlation_id)

    @abstractmethod
    def _one(self, call: Call, key: str | UUID | None) -> One:
        """Take a call of one entry."""

    @abstractmethod
    def _many(self, call: Call, key: str | UUID | None) -> Many:
        """Take a call of one or more entries."""

    @abstractmethod
    def _traded(self, call: Call, key: str | UUID | None) -> Traded:
        """Take a trade and its fees."""

    @abstractmethod
    def _held(self, call: Call, key: str | UUID | None) -> Held:
        """Take the opening of a hold."""

    @abstractmethod
    def _hold_of(self, hold_id: int) -> Hold:
        """Find a hold by the line that opened it, also when it has ended."""

    @abstractmethod
    def _entry_of(self, sequence: int) -> JournalEntry:
        """Find a committed entry."""

    def _trace(self, correlation_id: str | UUID | None) -> str:
        return check_correlation_id(self._correlation_id if correlation_id is None else correlation_id)

    # ------------------------------------------------------------------ money in, out and across

    def deposit(
        self,
        owner: Owner,
        money: Money | str,
        *,
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
        effective_at: datetime | None = None,
        metadata: Metadata = EMPTY_MAP,
    ) -> One:
        """Money enters from outside: debit the vault, credit the owner."""
        trace = self._trace(correlation_id)
        draft = drafts.deposit(
            owner, money, correlation_id=trace, effective_at=effective_at, metadata=metadata
        )
        call = _moved("deposit", {"owner": owner}, money, metadata, draft, effective_at)
        return self._one(call, idempotency_key)

    def withdraw(
        self,
        owner: Owner,
        money: Money | str,
        *,
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
        effective_at: datetime | None = None,
        metadata: Metadata = EMPTY_MAP,
    ) -> One:
        """Money leaves: debit the owner, credit the vault."""
        trace = self._trace(correlation_id)
        draft = drafts.withdrawal(
            owner, money, correlation_id=trace, effective_at=effective_at, metadata=metadata
        )
        call = _moved("withdraw", {"owner": owner}, money, metadata, draft, effective_at)
        return self._one(call, idempotency_key)

    def transfer(
        self,
        payer: Owner,
        payee: Owner,
        money: Money | str,
        *,
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
        effective_at: datetime | None = None,
        metadata: Metadata = EMPTY_MAP,
    ) -> One:
        """Money moves between two owners: debit the payer, credit the payee."""
        trace = self._trace(correlation_id)
        draft = drafts.transfer(
            payer, payee, money, correlation_id=trace, effective_at=effective_at, metadata=metadata
        )
        parties = {"payer": payer, "payee": payee}
        return self._one(_moved("transfer", parties, money, metadata, draft, effective_at), idempotency_key)

    # ------------------------------------------------------------------ trades and fees

    def trade(
        self,
        *,
        maker: Owner,
        maker_gives: Given,
        taker: Owner,
        taker_gives: Given,
        fees: Sequence[TradeFee] = (),
        trade_id: str | UUID | None = None,
        base: str | None = None,
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
        effective_at: datetime | None = None,
        metadata: Metadata = EMPTY_MAP,
    ) -> Traded:
        """Two owners swap two assets, and pay fees in the same atomic batch (phase 2, sections 2 and 3.5).

        What a side gives is a sum, or several sums of one asset, a leg each. `base` names the asset that
        the price is of: what the maker receives, unless given. `trade_id` is the correlation id, unless
        given. Each fee is an entry of its own that names the trade's sequence.
        """
        trace = self._trace(correlation_id)
        entry = trade_drafts.trade(
            maker=maker,
            maker_gives=maker_gives,
            taker=taker,
            taker_gives=taker_gives,
            trade_id=trade_id,
            base=base,
            correlation_id=trace,
            effective_at=effective_at,
            metadata=metadata,
        )
        charges = _check_fees(fees)
        charged = [
            trade_drafts.fee(
                fee.payer, fee.money, kind=fee.kind, correlation_id=trace, effective_at=effective_at
            )
            for fee in charges
        ]
        arguments = {
            "maker": maker,
            "maker_gives": sums(maker_gives),
            "taker": taker,
            "taker_gives": sums(taker_gives),
            "fees": charges,
            "trade_id": None if trade_id is None else check_identifier(trade_id, name="trade_id"),
            "base": base,
            "effective_at": effective_at,
            "metadata": _frozen(metadata),
        }
        return self._traded(Call("trade", arguments, Written((entry, *charged))), idempotency_key)

    def fee(
        self,
        payer: Owner,
        money: Money | str,
        *,
        kind: FeeKind = FeeKind.TRADING,
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
        effective_at: datetime | None = None,
        metadata: Metadata = EMPTY_MAP,
    ) -> One:
        """An owner pays the house: debit the payer, credit the revenue account of the kind (phase 2, 3)."""
        trace = self._trace(correlation_id)
        draft = trade_drafts.fee(
            payer, money, kind=kind, correlation_id=trace, effective_at=effective_at, metadata=metadata
        )
        call = _moved("fee", {"payer": payer, "kind": kind}, money, metadata, draft, effective_at)
        return self._one(call, idempotency_key)

    # ------------------------------------------------------------------ holds

    def hold(
        self,
        owner: Owner,
        money: Money | str,
        *,
        to: Payee,
        expires_at: datetime | None = None,
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
        effective_at: datetime | None = None,
        metadata: Metadata = EMPTY_MAP,
    ) -> Held:
        """Keep money for a payee: it moves from AVAILABLE to LOCKED, still the owner's until it is posted.

        `to` is an owner, an exact LIAB account, or `WITHDRAWAL` for money that will leave the ledger. From
        `expires_at` on (aware UTC; None for never) it can only be voided.
        """
        trace = self._trace(correlation_id)
        draft = hold_drafts.hold(
            owner,
            money,
            to=to,
            expires_at=expires_at,
            correlation_id=trace,
            effective_at=effective_at,
            metadata=metadata,
        )
        payee = draft.links.opens.payee if draft.links.opens is not None else None
        parties = {"owner": owner, "to": payee, "expires_at": expires_at}
        return self._held(_moved("hold", parties, money, metadata, draft, effective_at), idempotency_key)

    def post_hold(
        self,
        hold_id: int,
        amount: Amount | Decimal | str | int | None = None,
        *,
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
        effective_at: datetime | None = None,
        metadata: Metadata = EMPTY_MAP,
    ) -> Many:
        """Pay the payee from a hold, all of it or an amount; the rest returns to the owner in the same batch.

        Raises `HoldNotOpen` when it was ended before, `HoldExpired` when only voiding it is left.
        """
        trace = self._trace(correlation_id)
        paid = _amount(amount)
        check_sequence(hold_id, minimum=1)

        def write() -> Written:
            opened = self._hold_of(hold_id)
            return Written(
                hold_drafts.post_hold(
                    opened, paid, correlation_id=trace, effective_at=effective_at, metadata=metadata
                )
            )

        arguments = {
            "hold": hold_id,
            "amount": paid,
            "effective_at": effective_at,
            "metadata": _frozen(metadata),
        }
        return self._many(Call("post_hold", arguments, write), idempotency_key)

    def void_hold(
        self,
        hold_id: int,
        *,
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
        effective_at: datetime | None = None,
        metadata: Metadata = EMPTY_MAP,
    ) -> Many:
        """Give all of a hold back to its owner. Raises `HoldNotOpen` when it was ended before."""
        trace = self._trace(correlation_id)
        check_sequence(hold_id, minimum=1)

        def write() -> Written:
            opened = self._hold_of(hold_id)
            return Written(
                hold_drafts.void_hold(
                    opened, correlation_id=trace, effective_at=effective_at, metadata=metadata
                )
            )

        arguments = {"hold": hold_id, "effective_at": effective_at, "metadata": _frozen(metadata)}
        return self._many(Call("void_hold", arguments, write), idempotency_key)

    # ------------------------------------------------------------------ reversals

    def reverse(
        self,
        sequence: int,
        amount: Amount | Decimal | str | int | None = None,
        *,
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
        effective_at: datetime | None = None,
        metadata: Metadata = EMPTY_MAP,
    ) -> One:
        """Take a committed entry back by a new one with the sides swapped; or an `amount` of it.

        A part can be taken of entries with one asset and two postings, and parts sum at most to the whole.
        Raises `NotReversible` for entries that have their own endings (genesis, adjustments, what belongs
        to a hold, reversals), `AlreadyReversed` when less is left than is asked for.
        """
        trace = self._trace(correlation_id)
        part = _amount(amount)
        check_sequence(sequence, minimum=1)

        def write() -> Written:
            original = self._entry_of(sequence)
            draft = reversal(
                original, part, correlation_id=trace, effective_at=effective_at, metadata=metadata
            )
            return Written((draft,), {sequence: original})

        arguments = {
            "sequence": sequence,
            "amount": part,
            "effective_at": effective_at,
            "metadata": _frozen(metadata),
        }
        return self._one(Call("reverse", arguments, write), idempotency_key)


def _moved(
    verb: str,
    arguments: Mapping[str, object],
    money: Money | str,
    metadata: Metadata,
    draft: UnsignedEntry,
    effective_at: datetime | None,
) -> Call:
    arguments = {
        **arguments,
        "money": Money.of(money),
        "effective_at": effective_at,
        "metadata": _frozen(metadata),
    }
    return Call(verb, arguments, Written((draft,)))


def _frozen(metadata: Metadata) -> FrozenMap:
    """Take metadata as it is now: whoever gave it may change it later."""
    return EMPTY_MAP if metadata is EMPTY_MAP else freeze(metadata, METADATA_LIMITS)


def _amount(value: Amount | Decimal | str | int | None) -> Amount | None:
    return value if value is None or isinstance(value, Amount) else Amount(value)


def _check_fees(fees: object) -> tuple[TradeFee, ...]:
    if isinstance(fees, Sequence) and not isinstance(fees, str):
        taken = tuple(fees)
        if all(isinstance(fee, TradeFee) for fee in taken):
            return taken
    raise InvalidType("fees are a sequence of TradeFee(payer, money)")
