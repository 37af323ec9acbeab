"""Errors: one tree, stable codes, attributes that survive a process boundary."""

import copy
import inspect
import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest

from bibank import errors
from bibank.errors import (
    AlreadyReversed,
    BalanceOutOfRange,
    BibankError,
    HoldExpired,
    HoldNotOpen,
    IdempotencyConflict,
    InsufficientBalance,
    IntentViolation,
    InvalidInput,
    InvalidType,
    InvalidValue,
    JournalCorrupt,
    JournalError,
    JournalTorn,
    LedgerBusy,
    NotAuthorised,
    NotReversible,
    Refused,
    RuleFailed,
    RulesMismatch,
    UnbalancedEntry,
    UnsupportedFormat,
    excerpt,
)
from bibank.model.account import AccountKey
from bibank.model.amount import SignedAmount
from bibank.model.entry import TransactionIntent

CLASSES: list[type[BibankError]] = sorted(
    (
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, BibankError) and value.__name__ in errors.__all__
    ),
    key=lambda cls: cls.__name__,
)

# Codes are promises to programs: a change here is a breaking change. (family, code, retryable)
TABLE = {
    "AccountClosed": ("Refused", "account_closed", False),
    "AccountFrozen": ("Refused", "account_frozen", False),
    "AccountNotEmpty": ("Refused", "account_not_empty", False),
    "AlreadyReversed": ("Refused", "already_reversed", False),
    "AmountOverflow": ("InvalidInput", "amount_overflow", False),
    "AmountUnderflow": ("InvalidInput", "amount_underflow", False),
    "ApprovalRequired": ("Refused", "approval_required", False),
    "AssetMismatch": ("InvalidInput", "asset_mismatch", False),
    "BalanceOutOfRange": ("Refused", "balance_out_of_range", False),
    "BibankError": ("", "error", False),
    "ClockJumped": ("StoreError", "clock_jumped", True),
    "CommitOutcomeUnknown": ("StoreError", "commit_outcome_unknown", False),
    "ConfigurationError": ("ConfigurationError", "configuration", False),
    "CursorMismatch": ("IntegrityError", "cursor_mismatch", False),
    "EntryTooLarge": ("InvalidInput", "entry_too_large", False),
    "HeadConflict": ("StoreError", "head_conflict", True),
    "HoldExpired": ("Refused", "hold_expired", False),
    "HoldNotOpen": ("Refused", "hold_not_open", False),
    "HomeExists": ("StoreError", "home_exists", False),
    "HomeNotFound": ("StoreError", "home_not_found", False),
    "IdempotencyConflict": ("Refused", "idempotency_conflict", False),
    "InsufficientBalance": ("Refused", "insufficient_balance", False),
    "InsufficientPostings": ("InvalidInput", "insufficient_postings", False),
    "IntegrityError": ("IntegrityError", "integrity", False),
    "IntentViolation": ("InvalidInput", "intent_violation", False),
    "InvalidAccountKey": ("InvalidInput", "invalid_account_key", False),
    "InvalidAmount": ("InvalidInput", "invalid_amount", False),
    "InvalidEntry": ("InvalidInput", "invalid_entry", False),
    "InvalidIdentifier": ("InvalidInput", "invalid_identifier", False),
    "InvalidInput": ("InvalidInput", "invalid_input", False),
    "InvalidMetadata": ("InvalidInput", "invalid_metadata", False),
    "InvalidMoney": ("InvalidInput", "invalid_money", False),
    "InvalidTimestamp": ("InvalidInput", "invalid_timestamp", False),
    "InvalidType": ("InvalidInput", "invalid_type", False),
    "InvalidValue": ("InvalidInput", "invalid_value", False),
    "JournalCorrupt": ("IntegrityError", "journal_corrupt", False),
    "JournalError": ("IntegrityError", "journal_error", False),
    "JournalTorn": ("IntegrityError", "journal_torn", False),
    "JournalTruncated": ("IntegrityError", "journal_truncated", False),
    "KeystoreError": ("KeystoreError", "keystore", False),
    "LedgerBusy": ("StoreError", "ledger_busy", True),
    "LedgerClosed": ("StoreError", "ledger_closed", False),
    "LedgerPoisoned": ("StoreError", "ledger_poisoned", False),
    "MalformedLine": ("InvalidInput", "malformed_line", False),
    "MissingCorrelationId": ("InvalidInput", "missing_correlation_id", False),
    "NotAuthorised": ("Refused", "not_authorised", False),
    "NotReversible": ("Refused", "not_reversible", False),
    "PinMismatch": ("IntegrityError", "pin_mismatch", False),
    "ProjectionMismatch": ("IntegrityError", "projection_mismatch", False),
    "Refused": ("Refused", "refused", False),
    "RuleFailed": ("Refused", "rule_failed", False),
    "RulesMismatch": ("ConfigurationError", "rules_mismatch", False),
    "StoreError": ("StoreError", "store", False),
    "StoreFull": ("StoreError", "store_full", True),
    "StoreUnavailable": ("StoreError", "store_unavailable", True),
    "SubscriberBusy": ("StoreError", "subscriber_busy", True),
    "SubscriberExists": ("InvalidInput", "subscriber_exists", False),
    "UnbalancedEntry": ("InvalidInput", "unbalanced_entry", False),
    "UnknownSequence": ("InvalidInput", "unknown_sequence", False),
    "UnknownSubscriber": ("InvalidInput", "unknown_subscriber", False),
    "UnsupportedFormat": ("IntegrityError", "unsupported_format", False),
}
FAMILIES = [cls for cls in CLASSES if cls.__base__ is BibankError]

FIGURES: dict[str, Any] = {
    "rule": "sufficiency/1",
    "advice": "less would pass",
    "account": AccountKey("LIAB:USER:ALICE:USDT:AVAILABLE"),
    "asset": "USDT",
    "required": SignedAmount(5),
    "available": SignedAmount(3),
    "shortfall": SignedAmount(2),
}


def example(cls: type[BibankError]) -> BibankError:
    """Make an error of a class, with every attribute that it has."""
    if issubclass(cls, IdempotencyConflict):
        return cls(key="r1", sequence=7)
    if issubclass(cls, NotReversible):
        return cls("no", sequence=7, **FIGURES)
    if issubclass(cls, NotAuthorised):
        return cls("no", reason="expired", **FIGURES)
    if issubclass(cls, HoldNotOpen):
        return cls("no", hold=7, **FIGURES)
    if issubclass(cls, Refused):
        return cls("no", **FIGURES)
    if issubclass(cls, RulesMismatch):
        return cls("no", missing=("host/1",))
    if issubclass(cls, UnbalancedEntry):
        return cls(asset="USDT", imbalance=SignedAmount(-5))
    if issubclass(cls, IntentViolation):
        return cls(intent=TransactionIntent.TRADE, reason="because")
    if issubclass(cls, JournalError):
        return cls("bits", sequence=7, file="2026-01-25.jsonl", line=3)
    if issubclass(cls, LedgerBusy):
        return cls("busy", pid=42, host="here")
    return cls("something")


@pytest.mark.parametrize("cls", CLASSES)
def test_family_code_and_retryable(cls: type[BibankError]) -> None:
    """Each class stands in one family, with a code that does not change."""
    families = [family.__name__ for family in FAMILIES if issubclass(cls, family)]
    assert ("".join(families), cls.code, cls.retryable) == TABLE[cls.__name__]
    assert inspect.getdoc(cls)


def test_table_is_complete() -> None:
    """No class without a row, no row without a class, no code twice."""
    assert [cls.__name__ for cls in CLASSES] == sorted(TABLE)
    assert len({cls.code for cls in CLASSES}) == len(CLASSES)


def test_types_that_python_knows() -> None:
    """Wrong types are TypeErrors, wrong values ValueErrors, and no class is both."""
    assert issubclass(InvalidType, TypeError)
    assert issubclass(InvalidValue, ValueError)
    for cls in CLASSES:
        assert not (issubclass(cls, TypeError) and issubclass(cls, ValueError))
        assert issubclass(cls, InvalidInput) or not issubclass(cls, (TypeError, ValueError))


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_cross_processes(cls: type[BibankError], protocol: int) -> None:
    """Class, text and every attribute survive pickling and copying."""
    error = example(cls)
    error.add_note("a note")
    for again in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is cls
        assert str(again) == str(error)
        assert again.args == error.args
        assert vars(again) == vars(error)
        assert again.__notes__ == ["a note"]
    assert type(ForkingPickler.loads(ForkingPickler.dumps(error))) is cls


def test_attributes_and_texts() -> None:
    """What an error knows stands in its text and in its attributes."""
    refused = InsufficientBalance("no", **FIGURES)
    assert str(refused) == "no; less would pass"
    assert {name: getattr(refused, name) for name in FIGURES} == FIGURES
    bare = RuleFailed("no", rule="a/1", advice="yes")
    assert (bare.account, bare.asset, bare.required, bare.available, bare.shortfall) == (None,) * 5
    corrupt = JournalCorrupt("bits", sequence=7, file="f.jsonl", line=3)
    assert str(corrupt) == "f.jsonl:3: bits"
    assert (corrupt.reason, corrupt.sequence, corrupt.file, corrupt.line) == ("bits", 7, "f.jsonl", 3)
    assert issubclass(UnsupportedFormat, JournalError)
    assert not issubclass(UnsupportedFormat, JournalCorrupt)
    assert str(JournalTorn("end", sequence=8)) == "line 8 of the journal: end"
    assert (LedgerBusy("x", pid=None, host=None).pid, LedgerBusy("x", pid=1, host="h").host) == (None, "h")
    violation = IntentViolation(intent=TransactionIntent.FEE, reason="because")
    assert (str(violation), violation.intent) == ("fee: because", TransactionIntent.FEE)
    unbalanced = UnbalancedEntry(asset="USDT", imbalance=SignedAmount("0.5"))
    assert "debits minus credits of USDT is 0.5" in str(unbalanced)
    assert isinstance(BalanceOutOfRange("x", rule="range", advice="y"), Refused)


def test_attributes_of_holds_reversals_and_keys() -> None:
    """Errors about an earlier line name that line."""
    cited = HoldNotOpen("no", hold=7, **FIGURES)
    assert (cited.hold, cited.shortfall, str(cited)) == (7, SignedAmount(2), "no; less would pass")
    assert HoldNotOpen("no", **FIGURES).hold is None
    assert not isinstance(HoldExpired("no", **FIGURES), HoldNotOpen)
    reversed_before = AlreadyReversed("no", sequence=7, **FIGURES)
    assert isinstance(reversed_before, NotReversible)
    assert (reversed_before.sequence, reversed_before.available) == (7, SignedAmount(3))
    conflict = IdempotencyConflict(key="order-7", sequence=12)
    assert (conflict.key, conflict.sequence, conflict.rule) == ("order-7", 12, "idempotency/1")
    assert "'order-7' belongs to line 12" in str(conflict)
    assert RulesMismatch("no").missing == ()
    assert RulesMismatch("no", missing=("host/1",)).missing == ("host/1",)


class Unshowable:
    """A value of a host whose repr is broken."""

    def __repr__(self) -> str:
        raise RuntimeError("broken")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("short", "'short'"),
        (b"short", "b'short'"),
        (5, "5"),
        (None, "None"),
        ("x" * 78, "'" + "x" * 78 + "'"),
        ("x" * 79, "'" + "x" * 76 + "..."),
        ("\n" * 10**6, "'" + "\\n" * 38 + "..."),
        (Unshowable(), "<Unshowable without a repr>"),
    ],
    ids=range(8),
)
def test_excerpt(value: object, text: str) -> None:
    """An offending value is shown in at most 80 characters, whatever it is."""
    assert excerpt(value) == text
    assert len(excerpt(value)) <= 80


def test_excerpt_of_what_python_refuses_to_show() -> None:
    """An int of 5,000 digits has no repr; its type is shown instead."""
    assert excerpt(10**5000) == "<int without a repr>"
    assert len(excerpt([1] * 1000)) == 80
    assert excerpt("abcdef", limit=5) == "'a..."
