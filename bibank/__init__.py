"""bibank: an embeddable financial-state engine.

>>> import bibank as bb
>>> with bb.Ledger.in_memory({"USDT": "1000"}) as ledger:
...     entry = ledger.deposit("ALICE", "100 USDT", correlation_id="r1")
...     print(entry.sequence, ledger.balance("ALICE", "USDT").available)
3 100

Names are loaded when they are first used, so importing the package is light. Further public modules:
`bibank.drafts`, `bibank.fees`, `bibank.rules`, `bibank.signing`, `bibank.stores`, `bibank.projections`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bibank.audit import AuditReport, Pin, SelfConsistent, Verified, audit_home
    from bibank.batch import Batch, Keyed
    from bibank.clock import Clock, SystemClock
    from bibank.doctor.diagnose import diagnose_home
    from bibank.doctor.findings import Diagnosis, Finding
    from bibank.errors import (
        AccountClosed,
        AccountFrozen,
        AccountNotEmpty,
        AlreadyReversed,
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
        HoldExpired,
        HoldNotOpen,
        HomeExists,
        HomeNotFound,
        IdempotencyConflict,
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
        NotAuthorised,
        NotReversible,
        PinMismatch,
        ProjectionMismatch,
        Refused,
        RuleFailed,
        RulesMismatch,
        StoreError,
        StoreFull,
        StoreUnavailable,
        UnbalancedEntry,
        UnknownSequence,
        UnsupportedFormat,
    )
    from bibank.governance import Approved, Governance
    from bibank.journal.attestations import Attestation
    from bibank.journal.machine import BalanceChange
    from bibank.keyring import LedgerKeyring
    from bibank.ledger import Ledger
    from bibank.model.account import AccountCategory, AccountKey, Owner, Side
    from bibank.model.account_terms import AccountStatus, AccountTerms
    from bibank.model.amount import Amount, Rounding, SignedAmount
    from bibank.model.as_of import AsOf, PointInTime, TimeAxis
    from bibank.model.balance import AccountBalance, Balance
    from bibank.model.entry import BatchMark, JournalEntry, Posting, TransactionIntent, UnsignedEntry
    from bibank.model.hold import WITHDRAWAL, Hold
    from bibank.model.keyring import Keyring
    from bibank.model.lines import Head
    from bibank.model.links import EntryLinks
    from bibank.model.money import Money
    from bibank.model.policy import AdjustmentPurpose, Role
    from bibank.model.proposal import Proposal
    from bibank.model.record import JournalRecord, RecordKind
    from bibank.model.signature import EntrySignature, SignatureAlgorithm
    from bibank.model.statement import FeeTotal, StatementLine, TradeLine, TrialBalanceLine
    from bibank.model.table import Table
    from bibank.model.trade import FeeKind, Trade, TradeFee
    from bibank.outcomes import Committed, Outcomes
    from bibank.reader import LedgerReader
    from bibank.risk.engine import RiskEngine
    from bibank.snapshots.checking import SnapshotVerdict, verify_snapshots
    from bibank.snapshots.keeper import Snapshot
    from bibank.store.memory import MemoryStore

__all__ = [
    "WITHDRAWAL",
    "AccountBalance",
    "AccountCategory",
    "AccountClosed",
    "AccountFrozen",
    "AccountKey",
    "AccountNotEmpty",
    "AccountStatus",
    "AccountTerms",
    "AdjustmentPurpose",
    "AlreadyReversed",
    "Amount",
    "AmountOverflow",
    "AmountUnderflow",
    "ApprovalRequired",
    "Approved",
    "AsOf",
    "AssetMismatch",
    "Attestation",
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
    "EntryLinks",
    "EntrySignature",
    "EntryTooLarge",
    "FeeKind",
    "FeeTotal",
    "Finding",
    "Governance",
    "Head",
    "HeadConflict",
    "Hold",
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
    "JournalEntry",
    "JournalError",
    "JournalRecord",
    "JournalTorn",
    "JournalTruncated",
    "Keyed",
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
    "NotAuthorised",
    "NotReversible",
    "Outcomes",
    "Owner",
    "Pin",
    "PinMismatch",
    "PointInTime",
    "Posting",
    "ProjectionMismatch",
    "Proposal",
    "RecordKind",
    "Refused",
    "RiskEngine",
    "Role",
    "Rounding",
    "RuleFailed",
    "RulesMismatch",
    "SelfConsistent",
    "Side",
    "SignatureAlgorithm",
    "SignedAmount",
    "Snapshot",
    "SnapshotVerdict",
    "StatementLine",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "SystemClock",
    "Table",
    "TimeAxis",
    "Trade",
    "TradeFee",
    "TradeLine",
    "TransactionIntent",
    "TrialBalanceLine",
    "UnbalancedEntry",
    "UnknownSequence",
    "UnsignedEntry",
    "UnsupportedFormat",
    "Verified",
    "audit_home",
    "diagnose_home",
    "verify_snapshots",
]

_HOMES = {
    "AccountBalance": "bibank.model.balance",
    "AccountCategory": "bibank.model.account",
    "AccountClosed": "bibank.errors",
    "AccountFrozen": "bibank.errors",
    "AccountKey": "bibank.model.account",
    "AccountNotEmpty": "bibank.errors",
    "AccountStatus": "bibank.model.account_terms",
    "AccountTerms": "bibank.model.account_terms",
    "AdjustmentPurpose": "bibank.model.policy",
    "AlreadyReversed": "bibank.errors",
    "Amount": "bibank.model.amount",
    "AmountOverflow": "bibank.errors",
    "AmountUnderflow": "bibank.errors",
    "ApprovalRequired": "bibank.errors",
    "Approved": "bibank.governance",
    "AsOf": "bibank.model.as_of",
    "AssetMismatch": "bibank.errors",
    "Attestation": "bibank.journal.attestations",
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
    "EntryLinks": "bibank.model.links",
    "EntrySignature": "bibank.model.signature",
    "EntryTooLarge": "bibank.errors",
    "FeeKind": "bibank.model.trade",
    "FeeTotal": "bibank.model.statement",
    "Finding": "bibank.doctor.findings",
    "Governance": "bibank.governance",
    "Head": "bibank.model.lines",
    "HeadConflict": "bibank.errors",
    "Hold": "bibank.model.hold",
    "HoldExpired": "bibank.errors",
    "HoldNotOpen": "bibank.errors",
    "HomeExists": "bibank.errors",
    "HomeNotFound": "bibank.errors",
    "IdempotencyConflict": "bibank.errors",
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
    "JournalEntry": "bibank.model.entry",
    "JournalError": "bibank.errors",
    "JournalRecord": "bibank.model.record",
    "JournalTorn": "bibank.errors",
    "JournalTruncated": "bibank.errors",
    "Keyed": "bibank.batch",
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
    "NotAuthorised": "bibank.errors",
    "NotReversible": "bibank.errors",
    "Outcomes": "bibank.outcomes",
    "Owner": "bibank.model.account",
    "Pin": "bibank.audit",
    "PinMismatch": "bibank.errors",
    "PointInTime": "bibank.model.as_of",
    "Posting": "bibank.model.entry",
    "ProjectionMismatch": "bibank.errors",
    "Proposal": "bibank.model.proposal",
    "RecordKind": "bibank.model.record",
    "Refused": "bibank.errors",
    "RiskEngine": "bibank.risk.engine",
    "Role": "bibank.model.policy",
    "Rounding": "bibank.model.amount",
    "RuleFailed": "bibank.errors",
    "RulesMismatch": "bibank.errors",
    "SelfConsistent": "bibank.audit",
    "Side": "bibank.model.account",
    "SignatureAlgorithm": "bibank.model.signature",
    "SignedAmount": "bibank.model.amount",
    "Snapshot": "bibank.snapshots.keeper",
    "SnapshotVerdict": "bibank.snapshots.checking",
    "StatementLine": "bibank.model.statement",
    "StoreError": "bibank.errors",
    "StoreFull": "bibank.errors",
    "StoreUnavailable": "bibank.errors",
    "SystemClock": "bibank.clock",
    "Table": "bibank.model.table",
    "TimeAxis": "bibank.model.as_of",
    "Trade": "bibank.model.trade",
    "TradeFee": "bibank.model.trade",
    "TradeLine": "bibank.model.statement",
    "TransactionIntent": "bibank.model.entry",
    "TrialBalanceLine": "bibank.model.statement",
    "UnbalancedEntry": "bibank.errors",
    "UnknownSequence": "bibank.errors",
    "UnsignedEntry": "bibank.model.entry",
    "UnsupportedFormat": "bibank.errors",
    "Verified": "bibank.audit",
    "WITHDRAWAL": "bibank.model.hold",
    "audit_home": "bibank.audit",
    "diagnose_home": "bibank.doctor.diagnose",
    "verify_snapshots": "bibank.snapshots.checking",
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
