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

from bibank.errors.base import (
    BibankError,
    excerpt,
)
from bibank.errors.integrity import (
    CursorMismatch,
    IntegrityError,
    JournalCorrupt,
    JournalError,
    JournalTorn,
    JournalTruncated,
    PinMismatch,
    ProjectionMismatch,
    UnsupportedFormat,
)
from bibank.errors.invalid import (
    AmountOverflow,
    AmountUnderflow,
    AssetMismatch,
    EntryTooLarge,
    InsufficientPostings,
    IntentViolation,
    InvalidAccountKey,
    InvalidAmount,
    InvalidEntry,
    InvalidIdentifier,
    InvalidInput,
    InvalidMetadata,
    InvalidMoney,
    InvalidTimestamp,
    InvalidType,
    InvalidValue,
    MalformedLine,
    MissingCorrelationId,
    SubscriberExists,
    UnbalancedEntry,
    UnknownSequence,
    UnknownSubscriber,
)
from bibank.errors.operation import (
    ClockJumped,
    CommitOutcomeUnknown,
    ConfigurationError,
    HeadConflict,
    HomeExists,
    HomeNotFound,
    KeystoreError,
    LedgerBusy,
    LedgerClosed,
    LedgerPoisoned,
    RulesMismatch,
    StoreError,
    StoreFull,
    StoreUnavailable,
    SubscriberBusy,
)
from bibank.errors.refused import (
    AccountClosed,
    AccountFrozen,
    AccountNotEmpty,
    AlreadyReversed,
    ApprovalRequired,
    BalanceOutOfRange,
    HoldExpired,
    HoldNotOpen,
    IdempotencyConflict,
    InsufficientBalance,
    NotAuthorised,
    NotReversible,
    Refused,
    RuleFailed,
)

__all__ = [
    "AccountClosed",
    "AccountFrozen",
    "AccountNotEmpty",
    "AlreadyReversed",
    "AmountOverflow",
    "AmountUnderflow",
    "ApprovalRequired",
    "AssetMismatch",
    "BalanceOutOfRange",
    "BibankError",
    "ClockJumped",
    "CommitOutcomeUnknown",
    "ConfigurationError",
    "CursorMismatch",
    "EntryTooLarge",
    "HeadConflict",
    "HoldExpired",
    "HoldNotOpen",
    "HomeExists",
    "HomeNotFound",
    "IdempotencyConflict",
    "InsufficientBalance",
    "InsufficientPostings",
    "IntegrityError",
    "IntentViolation",
    "InvalidAccountKey",
    "InvalidAmount",
    "InvalidEntry",
    "InvalidIdentifier",
    "InvalidInput",
    "InvalidMetadata",
    "InvalidMoney",
    "InvalidTimestamp",
    "InvalidType",
    "InvalidValue",
    "JournalCorrupt",
    "JournalError",
    "JournalTorn",
    "JournalTruncated",
    "KeystoreError",
    "LedgerBusy",
    "LedgerClosed",
    "LedgerPoisoned",
    "MalformedLine",
    "MissingCorrelationId",
    "NotAuthorised",
    "NotReversible",
    "PinMismatch",
    "ProjectionMismatch",
    "Refused",
    "RuleFailed",
    "RulesMismatch",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "SubscriberBusy",
    "SubscriberExists",
    "UnbalancedEntry",
    "UnknownSequence",
    "UnknownSubscriber",
    "UnsupportedFormat",
    "excerpt",
]

for _name in __all__:  # an error is shown, and pickled, under the name that callers import
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__
