"""The intent table: what each of the seven intents may do. Closed: what is not listed is refused.

One row an intent: which categories may stand on the debit side, which on the credit side, how many
postings it needs, and what must hold further (phase 1 section 6, phase 2 section 11). The table is
part of the format: it judges proposals and, on replay, every line that was ever accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import gcd

import attrs

from bibank.errors import IntentViolation
from bibank.model.account import AccountCategory, Side
from bibank.model.amount import UNITS_PER_WHOLE, units_to_text
from bibank.model.entry import Posting, TransactionIntent
from bibank.model.identifier import MAX_ID_LENGTH
from bibank.model.json_value import JsonValue
from bibank.model.policy import AdjustmentPurpose

ASSET, LIABILITY, EQUITY, REVENUE = (
    AccountCategory.ASSET,
    AccountCategory.LIABILITY,
    AccountCategory.EQUITY,
    AccountCategory.REVENUE,
)

FEE_KINDS = ("TRADING", "WITHDRAWAL", "MARGIN", "LIQUIDATION")
"""Sub-accounts that a fee may be booked to (phase 2, 3.3)."""

LEGACY_FEE_KIND = "REVENUE"
"""Phase 1's single fee account: read in old journals, not written."""

ADJUSTMENT_PURPOSES = tuple(str(purpose.value) for purpose in AdjustmentPurpose)

Metadata = Mapping[str, JsonValue]
Condition = Callable[[Sequence[Posting], Metadata], str | None]
"""Says what is wrong, or None."""


@attrs.frozen(kw_only=True)
class IntentRule:
    """One row of the table."""

    debit: frozenset[AccountCategory]
    credit: frozenset[AccountCategory]
    minimum_postings: int
    conditions: tuple[Condition, ...] = ()


def _debits(postings: Sequence[Posting]) -> list[Posting]:
    return [posting for posting in postings if posting.side is Side.DEBIT]


def _credits(postings: Sequence[Posting]) -> list[Posting]:
    return [posting for posting in postings if posting.side is Side.CREDIT]


def _one_owner_of_liabilities(postings: Sequence[Posting], metadata: Metadata) -> str | None:
    owners = {p.account.owner for p in postings if p.account.category is LIABILITY}
    if len(owners) > 1:
        return f"the LIAB accounts belong to {len(owners)} owners ({_some(owners)}), it must be one"
    return None


def _no_account_on_both_sides(postings: Sequence[Posting], metadata: Metadata) -> str | None:
    both = {p.account for p in _debits(postings)} & {p.account for p in _credits(postings)}
    return f"{min(both)} stands on both sides" if both else None


def _swap_between_two_owners(postings: Sequence[Posting], metadata: Metadata) -> str | None:
    assets = {p.account.asset for p in postings}
    owners = {p.account.owner for p in postings}
    if len(assets) != 2:
        return f"{len(assets)} assets ({_some(assets)}), it must be exactly 2"
    if len(owners) != 2:
        return f"{len(owners)} owners ({_some(owners)}), it must be exactly 2"
    for owner in sorted(owners):
        given = {p.account.asset for p in _debits(postings) if p.account.owner == owner}
        received = {p.account.asset for p in _credits(postings) if p.account.owner == owner}
        if len(given) != 1 or len(received) != 1 or given == received:
            return f"{owner} must give one asset and receive the other"
    return None


def trade_price(*, base_units: int, quote_units: int) -> str:
    """Spell quote / base: a canonical decimal where 8 places hold it exactly, else a fraction.

    >>> trade_price(base_units=100_000, quote_units=10_000_000_000)
    '100000'
    >>> trade_price(base_units=3, quote_units=100)
    '100/3'
    """
    units, rest = divmod(quote_units * UNITS_PER_WHOLE, base_units)
    if not rest:
        return units_to_text(units)
    divisor = gcd(quote_units, base_units)
    return f"{quote_units // divisor}/{base_units // divisor}"


TRADE_FIELDS = (
    "trade_id",
    "base_asset",
    "quote_asset",
    "price",
    "base_amount",
    "quote_amount",
    "maker",
    "taker",
)


def _trade_fields(postings: Sequence[Posting], metadata: Metadata) -> str | None:
    missing = [name for name in TRADE_FIELDS if not isinstance(metadata.get(name), str)]
    if missing:
        return f"metadata lacks the text {missing[0]}"
    trade_id = str(metadata["trade_id"])
    if not (trade_id.isascii() and trade_id.isprintable() and 1 <= len(trade_id) <= MAX_ID_LENGTH):
        return "metadata.trade_id is not 1 to 128 printable ASCII characters"
    moved: dict[str, int] = {}
    giver: dict[str, str] = {}
    for posting in _debits(postings):
        asset = posting.account.asset
        moved[asset] = moved.get(asset, 0) + posting.amount.units
        giver[asset] = posting.account.owner
    base, quote = metadata["base_asset"], metadata["quote_asset"]
    if {base, quote} != set(moved):
        return f"metadata.base_asset and quote_asset must be {_some(moved)}"
    base_units, quote_units = moved[str(base)], moved[str(quote)]
    expected = {
        "base_amount": units_to_text(base_units),
        "quote_amount": units_to_text(quote_units),
        "price": trade_price(base_units=base_units, quote_units=quote_units),
    }
    for name, text in expected.items():
        if metadata[name] != text:
            return f"metadata.{name} must be {text!r}"
    if {metadata["maker"], metadata["taker"]} != set(giver.values()):
        return f"metadata.maker and taker must be {_some(giver.values())}"
    return None


def _revenues(postings: Sequence[Posting]) -> list[Posting]:
    return [posting for posting in postings if posting.account.category is REVENUE]


def _fee_account(postings: Sequence[Posting], metadata: Metadata) -> str | None:
    assets = {p.account.asset for p in postings}
    if len(assets) != 1:
        return f"{len(assets)} assets ({_some(assets)}), it must be one"
    for account in (p.account for p in _revenues(postings)):
        if account.segment != "SYSTEM" or account.id != "FEE":
            return f"{account} earns it, it must be REV:SYSTEM:FEE:{account.asset}:<KIND>"
        if account.sub_account not in (*FEE_KINDS, LEGACY_FEE_KIND):
            return f"{account.sub_account} is no kind of fee; use one of {' '.join(FEE_KINDS)}"
    return None


def _fee_fields(postings: Sequence[Posting], metadata: Metadata) -> str | None:
    revenues = _revenues(postings)
    kinds = {p.account.sub_account for p in revenues}
    if len(kinds) != 1:
        return f"{len(kinds)} kinds of fee ({_some(kinds)}), it must be one"
    expected = {
        "fee_amount": units_to_text(sum(p.amount.units for p in revenues)),
        "fee_asset": revenues[0].account.asset,
        "fee_type": kinds.pop().lower(),
    }
    for name, text in expected.items():
        if metadata.get(name) != text:
            return f"metadata.{name} must be {text!r}"
    return None


def _adjustment_fields(postings: Sequence[Posting], metadata: Metadata) -> str | None:
    if metadata.get("requires_approval") is not True:
        return "metadata.requires_approval must be true"
    reason = metadata.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        return "metadata.reason must say why"
    if metadata.get("purpose") not in ADJUSTMENT_PURPOSES:
        return f"metadata.purpose must be one of {' '.join(ADJUSTMENT_PURPOSES)}"
    return None


def _some(names: object) -> str:
    return ", ".join(sorted(map(str, names))[:4])  # type: ignore[call-overload]  # any iterable of names


def _row(
    debit: set[AccountCategory], credit: set[AccountCategory], minimum_postings: int, *conditions: Condition
) -> IntentRule:
    return IntentRule(
        debit=frozenset(debit),
        credit=frozenset(credit),
        minimum_postings=minimum_postings,
        conditions=conditions,
    )


_ANY = set(AccountCategory)

INTENT_TABLE: Mapping[TransactionIntent, IntentRule] = {
    TransactionIntent.GENESIS: _row({ASSET}, {EQUITY, LIABILITY}, 0),
    TransactionIntent.DEPOSIT: _row({ASSET}, {LIABILITY}, 2, _one_owner_of_liabilities),
    TransactionIntent.WITHDRAWAL: _row({LIABILITY}, {ASSET}, 2, _one_owner_of_liabilities),
    TransactionIntent.TRANSFER: _row({LIABILITY}, {LIABILITY}, 2, _no_account_on_both_sides),
    TransactionIntent.TRADE: _row({LIABILITY}, {LIABILITY}, 4, _swap_between_two_owners, _trade_fields),
    TransactionIntent.FEE: _row({LIABILITY}, {REVENUE}, 2, _fee_account, _fee_fields),
    TransactionIntent.ADJUSTMENT: _row(_ANY, _ANY, 2, _adjustment_fields),
}

REVERSED_FEE = _row({REVENUE}, {LIABILITY}, 2, _fee_account, _fee_fields)
"""The row of a fee with `bb.reverses`: its sides are swapped."""

TWO_POSTING_CATEGORIES: Mapping[TransactionIntent, tuple[AccountCategory, AccountCategory]] = {
    TransactionIntent.DEPOSIT: (ASSET, LIABILITY),
    TransactionIntent.WITHDRAWAL: (LIABILITY, ASSET),
    TransactionIntent.TRANSFER: (LIABILITY, LIABILITY),
}
"""(debit, credit) of the rows that two postings on different accounts satisfy by category alone."""


def check_intent(intent: TransactionIntent, postings: Sequence[Posting], metadata: Metadata) -> None:
    """Hold an entry to its row of the table; `IntentViolation` says what is wrong.

    >>> from bibank.model.entry import Posting
    >>> check_intent(  # doctest: +ELLIPSIS
    ...     TransactionIntent.TRANSFER,
    ...     [Posting.debit("LIAB:USER:A:USD:AVAILABLE", 1), Posting.credit("REV:SYSTEM:FEE:USD:TRADING", 1)],
    ...     {},
    ... )
    Traceback (most recent call last):
    ...
    bibank.errors.IntentViolation: transfer: REV:SYSTEM:FEE:USD:TRADING is credited; allowed ... LIAB
    """
    rule = INTENT_TABLE[intent]
    if intent is TransactionIntent.FEE and "bb.reverses" in metadata:
        rule = REVERSED_FEE
    if len(postings) < rule.minimum_postings:
        raise IntentViolation(
            intent=intent, reason=f"{len(postings)} postings, it needs at least {rule.minimum_postings}"
        )
    for posting in postings:
        allowed = rule.debit if posting.side is Side.DEBIT else rule.credit
        if posting.account.category not in allowed:
            names = " ".join(sorted(category.value for category in allowed))
            raise IntentViolation(
                intent=intent,
                reason=f"{posting.account} is {posting.side.value}ed; "
                f"allowed on the {posting.side.value} side: {names}",
            )
    for condition in rule.conditions:
        wrong = condition(postings, metadata)
        if wrong is not None:
            raise IntentViolation(intent=intent, reason=wrong)


def check_written(intent: TransactionIntent, postings: Sequence[Posting]) -> None:
    """Refuse what the table still reads and nobody writes any more: phase 1's single fee account."""
    for posting in postings:
        if intent is TransactionIntent.FEE and posting.account.sub_account == LEGACY_FEE_KIND:
            raise IntentViolation(
                intent=intent,
                reason=f"{LEGACY_FEE_KIND} is no longer written; use one of {' '.join(FEE_KINDS)}",
            )
