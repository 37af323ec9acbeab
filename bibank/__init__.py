"""bibank: an embeddable financial-state engine.

>>> import bibank as bb
>>> with bb.Ledger.in_memory({"USDT": "1000"}) as ledger:
...     entry = ledger.deposit("ALICE", "100 USDT", correlation_id="r1")
...     print(entry.sequence, ledger.balance("ALICE", "USDT").available)
3 100

Names are loaded when they are first used, so importing the package is light. Further public
modules: `bibank.drafts`, `bibank.rules`, `bibank.stores`, `bibank.projections`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bibank.audit import AuditReport, Pin, SelfConsistent, Verified, audit_home
    from bibank.batch import Batch
    from bibank.clock import Clock, SystemClock
    from bibank.doctor.diagnose import diagnose_home
    from bibank.doctor.findings import Diagnosis, Finding
    from bibank.errors import (
        AmountOverflow,
        AmountUnderflow,
        ApprovalRequired,
        AssetMismatch,
        BalanceOutOfRange,
        BibankError,
        ClockJumped,
        CommitOutcomeUnknown,
        ConfigurationError,
        EntryTooLarge,
        HeadConflict,
        HomeExists,
        HomeNotFound,
        InsufficientBalance,
        InsufficientPostings,
        IntegrityError,
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
        JournalCorrupt,
        JournalError,
        JournalTorn,
        JournalTruncated,
        KeystoreError,
        LedgerBusy,
        LedgerClosed,
        LedgerPoisoned,
        MalformedLine,
        MissingCorrelationId,
        PinMismatch,
        ProjectionMismatch,
        Refused,
        RuleFailed,
        StoreError,
        StoreFull,
        StoreUnavailable,
        UnbalancedEntry,
        UnknownSequence,
        UnsupportedFormat,
    )
    from bibank.journal.machine import BalanceChange
    from bibank.keyring import LedgerKeyring
    from bibank.ledger import Ledger
    from bibank.model.account import AccountCategory, AccountKey, Owner, Side
    from bibank.model.amount import Amount, Rounding, SignedAmount
    from bibank.model.balance import AccountBalance, Balance
    from bibank.model.entry import BatchMark, JournalEntry, Posting, TransactionIntent, UnsignedEntry
    from bibank.model.keyring import Keyring, Role
    from bibank.model.lines import Head
    from bibank.model.money import Money
    from bibank.model.record import JournalRecord, RecordKind
    from bibank.model.signature import EntrySignature, SignatureAlgorithm
    from bibank.model.table import Table
    from bibank.outcomes import Committed, Outcomes
    from bibank.reader import LedgerReader
    from bibank.risk.engine import RiskEngine
    from bibank.store.memory import MemoryStore

__all__ = [
    "AccountBalance",
    "AccountCategory",
    "AccountKey",
    "Amount",
    "AmountOverflow",
    "AmountUnderflow",
    "ApprovalRequired",
    "AssetMismatch",
    "AuditReport",
    "Balance",
    "BalanceChange",
    "BalanceOutOfRange",
    "Batch",
    "BatchMark",
    "BibankError",
    "Clock",
    "ClockJumped",
    "CommitOutcomeUnknown",
    "Committed",
    "ConfigurationError",
    "Diagnosis",
    "EntrySignature",
    "EntryTooLarge",
    "Finding",
    "Head",
    "HeadConflict",
    "HomeExists",
    "HomeNotFound",
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
    "JournalEntry",
    "JournalError",
    "JournalRecord",
    "JournalTorn",
    "JournalTruncated",
    "Keyring",
    "KeystoreError",
    "Ledger",
    "LedgerBusy",
    "LedgerClosed",
    "LedgerKeyring",
    "LedgerPoisoned",
    "LedgerReader",
    "MalformedLine",
    "MemoryStore",
    "MissingCorrelationId",
    "Money",
    "Outcomes",
    "Owner",
    "Pin",
    "PinMismatch",
    "Posting",
    "ProjectionMismatch",
    "RecordKind",
    "Refused",
    "RiskEngine",
    "Role",
    "Rounding",
    "RuleFailed",
    "SelfConsistent",
    "Side",
    "SignatureAlgorithm",
    "SignedAmount",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "SystemClock",
    "Table",
    "TransactionIntent",
    "UnbalancedEntry",
    "UnknownSequence",
    "UnsignedEntry",
    "UnsupportedFormat",
    "Verified",
    "audit_home",
    "diagnose_home",
]

_HOMES = {
    "AccountBalance": "bibank.model.balance",
    "AccountCategory": "bibank.model.account",
    "AccountKey": "bibank.model.account",
    "Amount": "bibank.model.amount",
    "AmountOverflow": "bibank.errors",
    "AmountUnderflow": "bibank.errors",
    "ApprovalRequired": "bibank.errors",
    "AssetMismatch": "bibank.errors",
    "AuditReport": "bibank.audit",
    "Balance": "bibank.model.balance",
    "BalanceChange": "bibank.journal.machine",
    "BalanceOutOfRange": "bibank.errors",
    "Batch": "bibank.batch",
    "BatchMark": "bibank.model.entry",
    "BibankError": "bibank.errors",
    "Clock": "bibank.clock",
    "ClockJumped": "bibank.errors",
    "CommitOutcomeUnknown": "bibank.errors",
    "Committed": "bibank.outcomes",
    "ConfigurationError": "bibank.errors",
    "Diagnosis": "bibank.doctor.findings",
    "EntrySignature": "bibank.model.signature",
    "EntryTooLarge": "bibank.errors",
    "Finding": "bibank.doctor.findings",
    "Head": "bibank.model.lines",
    "HeadConflict": "bibank.errors",
    "HomeExists": "bibank.errors",
    "HomeNotFound": "bibank.errors",
    "InsufficientBalance": "bibank.errors",
    "InsufficientPostings": "bibank.errors",
    "IntegrityError": "bibank.errors",
    "IntentViolation": "bibank.errors",
    "InvalidAccountKey": "bibank.errors",
    "InvalidAmount": "bibank.errors",
    "InvalidEntry": "bibank.errors",
    "InvalidIdentifier": "bibank.errors",
    "InvalidInput": "bibank.errors",
    "InvalidMetadata": "bibank.errors",
    "InvalidMoney": "bibank.errors",
    "InvalidTimestamp": "bibank.errors",
    "InvalidType": "bibank.errors",
    "InvalidValue": "bibank.errors",
    "JournalCorrupt": "bibank.errors",
    "JournalError": "bibank.errors",
    "JournalEntry": "bibank.model.entry",
    "JournalRecord": "bibank.model.record",
    "JournalTorn": "bibank.errors",
    "JournalTruncated": "bibank.errors",
    "Keyring": "bibank.model.keyring",
    "KeystoreError": "bibank.errors",
    "Ledger": "bibank.ledger",
    "LedgerBusy": "bibank.errors",
    "LedgerClosed": "bibank.errors",
    "LedgerKeyring": "bibank.keyring",
    "LedgerPoisoned": "bibank.errors",
    "LedgerReader": "bibank.reader",
    "MalformedLine": "bibank.errors",
    "MemoryStore": "bibank.store.memory",
    "MissingCorrelationId": "bibank.errors",
    "Money": "bibank.model.money",
    "Outcomes": "bibank.outcomes",
    "Owner": "bibank.model.account",
    "Pin": "bibank.audit",
    "PinMismatch": "bibank.errors",
    "Posting": "bibank.model.entry",
    "ProjectionMismatch": "bibank.errors",
    "RecordKind": "bibank.model.record",
    "Refused": "bibank.errors",
    "RiskEngine": "bibank.risk.engine",
    "Role": "bibank.model.keyring",
    "Rounding": "bibank.model.amount",
    "RuleFailed": "bibank.errors",
    "SelfConsistent": "bibank.audit",
    "Side": "bibank.model.account",
    "SignatureAlgorithm": "bibank.model.signature",
    "SignedAmount": "bibank.model.amount",
    "StoreError": "bibank.errors",
    "StoreFull": "bibank.errors",
    "StoreUnavailable": "bibank.errors",
    "SystemClock": "bibank.clock",
    "Table": "bibank.model.table",
    "TransactionIntent": "bibank.model.entry",
    "UnbalancedEntry": "bibank.errors",
    "UnknownSequence": "bibank.errors",
    "UnsignedEntry": "bibank.model.entry",
    "UnsupportedFormat": "bibank.errors",
    "Verified": "bibank.audit",
    "audit_home": "bibank.audit",
    "diagnose_home": "bibank.doctor.diagnose",
}


def __getattr__(name: str) -> object:
    """Load a public name, or the version, when it is first asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("bibank")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'bibank' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
