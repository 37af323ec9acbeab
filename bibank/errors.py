"""Every error that bibank raises, in one tree.

One root, :class:`BibankError`, and one family for each party who has to act:

======================  ==========================================================
`InvalidInput`          the caller: fix the request; nothing was changed
`Refused`               nobody: a rule said no, and says what would have passed
`IntegrityError`        an auditor: stop, the journal is not what it was
`StoreError`            the operator: disk, lock, another writer
`KeystoreError`         the operator: a key cannot be read or may not be used
`ConfigurationError`    the developer: parts were put together wrongly
======================  ==========================================================

Each class has a stable `code` that a program may match on, a `retryable` flag and typed attributes.
Texts are for people and may change. A retryable request may succeed later as it is; where a commit
raised it as a `StoreError`, on the ledger opened again. All errors can be pickled, so they cross
process pools.

>>> from bibank import Amount, BibankError
>>> try:
...     Amount("0.123456789")
... except BibankError as error:
...     print(error.code)
invalid_amount
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from bibank.model.account import AccountKey
    from bibank.model.amount import SignedAmount
    from bibank.model.entry import TransactionIntent


def _restore(cls: type[BibankError], args: tuple[Any, ...], state: dict[str, Any]) -> BibankError:
    """Rebuild a pickled error without calling its constructor."""
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


def excerpt(value: object, *, limit: int = 80) -> str:
    """Show an offending value in an error text: its repr, cut to `limit` characters. Never raises."""
    try:
        text = repr(value[: limit * 4] if isinstance(value, (str, bytes)) else value)
    except Exception:  # noqa: BLE001 - an int of 5,000 digits has no repr, and a host's repr may be broken
        text = f"<{type(value).__name__} without a repr>"
    return text if len(text) <= limit else text[: limit - 3] + "..."


class BibankError(Exception):
    """Root of every error raised by bibank."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by state, so that keyword-only constructors are no obstacle."""
        return _restore, (type(self), self.args, self.__dict__.copy())


# --------------------------------------------------------------------------- invalid input


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


class MalformedLine(InvalidValue):
    """Bytes that are not exactly one canonical journal line.

    Raised by the codec, which knows neither file nor position; whoever reads a journal turns it
    into :class:`JournalCorrupt`.
    """

    code = "malformed_line"


# --------------------------------------------------------------------------- refusals


class Refused(BibankError):
    """A rule refused a well-formed request. Nothing was changed.

    Attributes: `rule` (name of the rule), `account`, `asset`, `required`, `available`,
    `shortfall` (each None where the rule has no such figure) and `advice`, which says what would
    have passed.
    """

    code = "refused"

    def __init__(
        self,
        message: str,
        *,
        rule: str,
        advice: str,
        account: AccountKey | None = None,
        asset: str | None = None,
        required: SignedAmount | None = None,
        available: SignedAmount | None = None,
        shortfall: SignedAmount | None = None,
    ) -> None:
        """Compose the text from what was refused and what would pass."""
        super().__init__(f"{message}; {advice}")
        self.rule = rule
        self.advice = advice
        self.account = account
        self.asset = asset
        self.required = required
        self.available = available
        self.shortfall = shortfall


class InsufficientBalance(Refused):
    """An account would fall below its floor."""

    code = "insufficient_balance"


class BalanceOutOfRange(Refused):
    """A balance would leave the signed 128-bit range of the format."""

    code = "balance_out_of_range"


class ApprovalRequired(Refused):
    """The entry needs approvals that it does not have."""

    code = "approval_required"


class HoldNotOpen(Refused):
    """Held money is touched without an open hold, or in another way than its hold allows.

    `hold` is the line that opened it, None where no hold was cited.
    """

    code = "hold_not_open"

    def __init__(self, message: str, *, hold: int | None = None, **figures: Any) -> None:  # noqa: ANN401 - as `Refused` takes them
        """Keep which hold it was."""
        super().__init__(message, **figures)
        self.hold = hold


class HoldExpired(Refused):
    """The hold's time is over: it can only be voided."""

    code = "hold_expired"


class NotReversible(Refused):
    """The entry of `sequence` has an ending of its own, or none, and is not reversed, or not in this way."""

    code = "not_reversible"

    def __init__(self, message: str, *, sequence: int, **figures: Any) -> None:  # noqa: ANN401 - as `Refused` takes them
        """Keep which line it was."""
        super().__init__(message, **figures)
        self.sequence = sequence


class AlreadyReversed(NotReversible):
    """What is left of the entry to reverse is less than what is asked for, or nothing."""

    code = "already_reversed"


class IdempotencyConflict(Refused):
    """The key was used for another request. `key` is that key, `sequence` the line that bears it."""

    code = "idempotency_conflict"

    def __init__(self, *, key: str, sequence: int) -> None:
        """Say where the key stands."""
        super().__init__(
            f"idempotency key {key!r} belongs to line {sequence}, where something else was asked for",
            rule="idempotency/1",
            advice="a new request takes a new key",
        )
        self.key = key
        self.sequence = sequence


class RuleFailed(Refused):
    """A rule raised instead of answering; the engine is fail-closed. `__cause__` has the reason."""

    code = "rule_failed"


# --------------------------------------------------------------------------- integrity


class IntegrityError(BibankError):
    """The journal is not what was written. Stop and call the auditor."""

    code = "integrity"


class JournalError(IntegrityError):
    """Something is wrong at one place of the journal.

    `file` and `line` (counted from 1) say where, `sequence` which line of the journal it is, and
    `reason` what is wrong. `file` and `line` are None for a store that has no files.
    """

    code = "journal_error"

    def __init__(
        self, reason: str, *, sequence: int, file: str | None = None, line: int | None = None
    ) -> None:
        """Compose `file:line: reason`."""
        place = f"{file}:{line}" if file is not None else f"line {sequence} of the journal"
        super().__init__(f"{place}: {reason}")
        self.reason = reason
        self.sequence = sequence
        self.file = file
        self.line = line


class JournalCorrupt(JournalError):
    """A line does not follow from the lines before it."""

    code = "journal_corrupt"


class JournalTorn(JournalCorrupt):
    """The journal ends in an incomplete write. Opening it for writing sets the torn bytes aside."""

    code = "journal_torn"


class JournalTruncated(JournalCorrupt):
    """The journal ends below a line that is known to have been on the disk."""

    code = "journal_truncated"


class UnsupportedFormat(JournalError):
    """The journal says that it is in a format that this version does not know."""

    code = "unsupported_format"


class PinMismatch(IntegrityError):
    """The journal is not of the ledger, or does not reach the keyring, that was pinned."""

    code = "pin_mismatch"


class ProjectionMismatch(IntegrityError):
    """A projection does not belong to this journal, or is ahead of it. Rebuild it."""

    code = "projection_mismatch"


# --------------------------------------------------------------------------- store


class StoreError(BibankError):
    """The operator has to act: the disk, the lock, another writer."""

    code = "store"


class StoreUnavailable(StoreError):
    """The operating system refused a file operation before anything was written."""

    code = "store_unavailable"
    retryable = True


class StoreFull(StoreUnavailable):
    """The disk is down to what recovery needs. Make room; nothing was written."""

    code = "store_full"


class ClockJumped(StoreError):
    """The clock is far from the time of the last line. Mend the clock, or say that it is right."""

    code = "clock_jumped"
    retryable = True


class LedgerBusy(StoreError):
    """Another writer holds the home. `pid` and `host` name it where they could be read."""

    code = "ledger_busy"
    retryable = True

    def __init__(self, message: str, *, pid: int | None, host: str | None) -> None:
        """Keep who holds the lock."""
        super().__init__(message)
        self.pid = pid
        self.host = host


class HeadConflict(StoreError):
    """The store's head is not the expected one: somebody else appended. Reopen and retry."""

    code = "head_conflict"
    retryable = True


class CommitOutcomeUnknown(StoreError):
    """The write failed midway: the commit may or may not be on disk. Reopen the ledger and look."""

    code = "commit_outcome_unknown"


class LedgerPoisoned(StoreError):
    """An earlier write failed midway. This ledger object is of no more use; open it again."""

    code = "ledger_poisoned"


class LedgerClosed(StoreError):
    """The ledger was closed."""

    code = "ledger_closed"


class HomeNotFound(StoreError):
    """There is no ledger at this path."""

    code = "home_not_found"


class HomeExists(StoreError):
    """There is a ledger at this path already."""

    code = "home_exists"


class KeystoreError(BibankError):
    """A key cannot be read, or may not be used."""

    code = "keystore"


class ConfigurationError(BibankError):
    """Parts were put together in a way that cannot work."""

    code = "configuration"


class RulesMismatch(ConfigurationError):
    """The rules given are not those that the ledger has adopted. `missing` names what has to be supplied."""

    code = "rules_mismatch"

    def __init__(self, message: str, *, missing: tuple[str, ...] = ()) -> None:
        """Keep the names of the rules that are missing."""
        super().__init__(message)
        self.missing = missing
