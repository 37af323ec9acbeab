"""The request is malformed: the caller has to fix it. Nothing was changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bibank.errors.base import BibankError

if TYPE_CHECKING:
    from bibank.model.amount import SignedAmount
    from bibank.model.entry import TransactionIntent


class InvalidInput(BibankError):
    """The request is malformed. Nothing was changed; fix the request."""

    code = "invalid_input"


class InvalidType(InvalidInput, TypeError):
    """A value of a type that is never accepted here, such as a float for money."""

    code = "invalid_type"


class InvalidValue(InvalidInput, ValueError):
    """A value of the right type that breaks a rule of the format."""

    code = "invalid_value"


class InvalidAmount(InvalidValue):
    """Text or number that is no amount with at most 8 decimals."""

    code = "invalid_amount"


class AmountOverflow(InvalidAmount):
    """The result does not fit into a signed 128-bit count of 10^-8 units."""

    code = "amount_overflow"


class AmountUnderflow(InvalidAmount):
    """The result would be below zero, which an `Amount` cannot be."""

    code = "amount_underflow"


class AssetMismatch(InvalidValue):
    """Two sums of money in different assets were added, subtracted or compared."""

    code = "asset_mismatch"


class InvalidMoney(InvalidValue):
    """Text that is not an amount, one space and an asset."""

    code = "invalid_money"


class InvalidAccountKey(InvalidValue):
    """Text that is no five-part account key, or a part that is not allowed in one."""

    code = "invalid_account_key"


class InvalidIdentifier(InvalidValue):
    """An id that is not 1 to 128 printable ASCII characters."""

    code = "invalid_identifier"


class MissingCorrelationId(InvalidInput):
    """No correlation id was given. The ledger never invents one (phase 1, 13.1)."""

    code = "missing_correlation_id"


class InvalidTimestamp(InvalidValue):
    """A time that is naive, not UTC, or not spelled canonically."""

    code = "invalid_timestamp"


class InvalidMetadata(InvalidValue):
    """Metadata that the format cannot hold: a float, a bad key, too deep, too large."""

    code = "invalid_metadata"


class InvalidEntry(InvalidValue):
    """Postings that are no double entry."""

    code = "invalid_entry"


class InsufficientPostings(InvalidEntry):
    """Fewer than two postings."""

    code = "insufficient_postings"


class UnbalancedEntry(InvalidEntry):
    """Debits and credits differ for an asset.

    `asset` names the first such asset, `imbalance` is debits minus credits.
    """

    code = "unbalanced_entry"

    def __init__(self, *, asset: str, imbalance: SignedAmount) -> None:
        """Describe the imbalance."""
        super().__init__(f"unbalanced entry: debits minus credits of {asset} is {imbalance}, it must be 0")
        self.asset = asset
        self.imbalance = imbalance


class IntentViolation(InvalidEntry):
    """Postings or metadata that the intent table does not allow for this intent."""

    code = "intent_violation"

    def __init__(self, *, intent: TransactionIntent, reason: str) -> None:
        """Name the intent and the row of the table that was broken."""
        super().__init__(f"{intent.value}: {reason}")
        self.intent = intent
        self.reason = reason


class EntryTooLarge(InvalidEntry):
    """An entry, a record or a batch over one of the format's size limits."""

    code = "entry_too_large"


class UnknownSequence(InvalidValue):
    """No line, or no entry, has this sequence."""

    code = "unknown_sequence"


class UnknownSubscriber(InvalidValue):
    """Nobody subscribed under this name."""

    code = "unknown_subscriber"


class SubscriberExists(InvalidValue):
    """Somebody subscribed under this name already."""

    code = "subscriber_exists"


class MalformedLine(InvalidValue):
    """Bytes that are not exactly one canonical journal line.

    Raised by the codec, which knows neither file nor position; whoever reads a journal turns it
    into :class:`JournalCorrupt`.
    """

    code = "malformed_line"
