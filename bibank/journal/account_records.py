"""Records about accounts: freeze, reopen, close, the floor of an overdraft; a table of what follows what.

Like everything that is signed beforehand, each names the record about the same account that it was decided
on, so that an old decision cannot be played again.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from bibank.errors import AccountClosed, AccountFrozen, AccountNotEmpty, InvalidValue, Refused, excerpt
from bibank.journal.accounts import AccountBook, default_floor
from bibank.journal.authority import refusal
from bibank.journal.change_log import ChangeLog
from bibank.journal.links import sub_account
from bibank.model.account import AVAILABLE, LOCKED, AccountKey
from bibank.model.account_terms import AccountStatus, AccountTerms
from bibank.model.amount import SignedAmount
from bibank.model.json_members import exact_members
from bibank.model.json_value import FrozenMap, JsonValue, check_clean_text
from bibank.model.record import RecordKind

MAX_REASON_LENGTH = 1024
"""Characters of the words that say why: a sentence or a case number, no file."""

ACCOUNTS_NAME = "accounts/1"
"""What refusals because of an account's terms name as their rule."""

TRANSITIONS: Mapping[RecordKind, Mapping[AccountStatus, AccountStatus]] = {
    RecordKind.ACCOUNT_FROZEN: {AccountStatus.OPEN: AccountStatus.FROZEN},
    RecordKind.ACCOUNT_REOPENED: {
        AccountStatus.FROZEN: AccountStatus.OPEN,
        AccountStatus.CLOSED: AccountStatus.OPEN,
    },
    RecordKind.ACCOUNT_CLOSED: {
        AccountStatus.OPEN: AccountStatus.CLOSED,
        AccountStatus.FROZEN: AccountStatus.CLOSED,
    },
    RecordKind.LIMIT_SET: {
        AccountStatus.OPEN: AccountStatus.OPEN,
        AccountStatus.FROZEN: AccountStatus.FROZEN,
    },
}
"""From which status each kind of record leads to which; everything else is refused."""


@attrs.frozen(kw_only=True)
class AccountDecision:
    """What a record decides about an account: read from its payload."""

    account: AccountKey
    previous: int
    """The record about this account before; 0 for the first."""
    floor: SignedAmount | None
    """Of a `limit_set`."""


def read_decision(kind: RecordKind, payload: JsonValue) -> AccountDecision:
    """Read the payload of a record about an account; `InvalidValue` kinds for anything else."""
    names = {"account", "ledger", "previous", "reason"}
    if kind is RecordKind.LIMIT_SET:
        names.add("floor")
    members = exact_members(payload, names, f"payload of a record {kind.value}")
    check_reason(members["reason"])
    previous = members["previous"]
    if isinstance(previous, bool) or not isinstance(previous, int) or previous < 0:
        raise InvalidValue(f"previous is the sequence of a record, or 0, not {excerpt(previous)}")
    account = members["account"]
    if not isinstance(account, str):
        raise InvalidValue("account is the text of an account key")
    key = AccountKey(account)
    floor = _read_floor(key, members["floor"]) if kind is RecordKind.LIMIT_SET else None
    return AccountDecision(account=key, previous=previous, floor=floor)


def check_reason(reason: object) -> str:
    """Return the words that say why; `InvalidValue` when there are none, or too many."""
    if not isinstance(reason, str) or not reason.strip() or len(reason) > MAX_REASON_LENGTH:
        raise InvalidValue(f"the reason says why, in 1 to {MAX_REASON_LENGTH} characters")
    return reason


def given_reason(reason: object) -> str:
    """Take a reason as it is given: `InvalidMetadata` for what is no clean text, besides."""
    text = check_reason(reason)
    check_clean_text(text, what="the reason")
    return text


def _read_floor(account: AccountKey, value: JsonValue) -> SignedAmount:
    if not isinstance(value, str) or str(floor := SignedAmount(value)) != value:
        raise InvalidValue(f"floor {excerpt(value)} is not spelled canonically")
    return check_floor(account, floor)


def check_floor(account: AccountKey, floor: SignedAmount) -> SignedAmount:
    """Demand that an account can have this floor; `InvalidValue` says why it cannot."""
    if floor.units > 0:
        raise InvalidValue(f"the floor {floor} is above zero; an overdraft lowers it, 0 ends it")
    if default_floor(account.category) is None:
        raise InvalidValue(f"{account} has no floor: only ASSET and LIAB accounts do")
    if account.sub_account == LOCKED:
        raise InvalidValue(f"{account} is held money, which is never overdrawn")
    return floor


def take_decision(
    kind: RecordKind, payload: FrozenMap, *, sequence: int, book: AccountBook, log: ChangeLog
) -> None:
    """Let a record about an account be in force; the error says which state it does not follow from."""
    decision = read_decision(kind, payload)
    text = decision.account.text
    terms = book.terms.get(text)
    status = AccountStatus.OPEN if terms is None else terms.status
    following = TRANSITIONS[kind].get(status)
    if following is None:
        raise _impossible(kind, decision.account, status)
    before = 0 if terms is None else terms.sequence
    if decision.previous != before:
        raise refusal(
            f"the {kind.value} of {text} was decided behind line {decision.previous}, and line {before} has "
            "decided since",
            reason="stale",
            advice="decide it anew",
        )
    floor = default_floor(decision.account.category) if terms is None else terms.floor
    if decision.floor is not None:
        floor = decision.floor
    log.set(
        book.terms,
        text,
        AccountTerms(account=decision.account, status=following, floor=floor, sequence=sequence),
    )


def _impossible(kind: RecordKind, account: AccountKey, status: AccountStatus) -> Exception:
    if status is AccountStatus.CLOSED:
        return AccountClosed(
            f"{account} is closed", rule=ACCOUNTS_NAME, advice="reopen it first", account=account
        )
    if status is AccountStatus.FROZEN:
        return AccountFrozen(
            f"{account} is frozen already",
            rule=ACCOUNTS_NAME,
            advice="nothing is left to do",
            account=account,
        )
    return Refused(
        f"{account} is open", rule=ACCOUNTS_NAME, advice="nothing is left to reopen", account=account
    )


def check_empty(account: AccountKey, book: AccountBook) -> None:
    """Demand that an account about to be closed holds nothing, and that nothing of it is held."""
    for key in (account, sub_account(account, LOCKED)) if account.sub_account == AVAILABLE else (account,):
        found = book.find(key.text)
        if found is None or not found.balance:
            continue
        balance = SignedAmount.from_units(found.balance)
        raise AccountNotEmpty(
            f"{key} has {balance} {key.asset}, so {account} cannot be closed",
            rule=ACCOUNTS_NAME,
            advice="it could with a balance of 0, and without open holds; freeze it meanwhile",
            account=key,
            asset=key.asset,
            available=balance,
        )
