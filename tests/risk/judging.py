"""Judging drafts by one rule, without a ledger: what the shipped rules' tests have in common."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from bibank.journal.accounts import AccountBook
from bibank.model.amount import Amount
from bibank.model.entry import Posting, TransactionIntent, UnsignedEntry
from bibank.model.stamped import StampedEntry
from bibank.risk.rule import Refusal, RiskRule, StatefulRiskRule
from bibank.risk.view import RiskView, RuleState

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 1, 25, 12, tzinfo=UTC)
Leg = tuple[str, int]
"""An account without its category, such as `USER:ALICE:USDT:AVAILABLE`, and what it gets: below 0 it pays."""


def moment(microseconds: int) -> datetime:
    """Give the time that lies so many microseconds after 1970."""
    return EPOCH + timedelta(microseconds=microseconds)


def liability(owner: str, asset: str = "USDT", sub_account: str = "AVAILABLE") -> str:
    """Spell an account of an owner, without its category."""
    return f"{owner if ':' in owner else f'USER:{owner}'}:{asset}:{sub_account}"


def moving(legs: Iterable[Leg]) -> UnsignedEntry:
    """Make a transfer of legs in units; what does not balance is paid or taken by a vault."""
    postings, rests = [], dict[str, int]()
    for account, units in legs:
        make = Posting.credit if units > 0 else Posting.debit
        postings.append(make(f"LIAB:{account}", Amount.from_units(abs(units))))
        asset = account.split(":")[2]
        rests[asset] = rests.get(asset, 0) - units
    for asset, units in rests.items():
        if units:
            make = Posting.credit if units > 0 else Posting.debit
            postings.append(make(f"ASSET:SYSTEM:VAULT:{asset}:MAIN", Amount.from_units(abs(units))))
    return UnsignedEntry(intent=TransactionIntent.TRANSFER, correlation_id="r", postings=tuple(postings))


def paying(units: int, *, payer: str = "ALICE", payee: str = "BOB", asset: str = "USDT") -> UnsignedEntry:
    """Let one owner pay another so many units."""
    return moving([(liability(payer, asset), -units), (liability(payee, asset), units)])


def judge(
    rule: RiskRule, entry: UnsignedEntry, *, state: RuleState | None = None, now: datetime = NOON
) -> Refusal | None:
    """Ask a rule, with a memory of its own or an empty one."""
    return rule.check(
        entry,
        RiskView(AccountBook(), (), sequence=1, now=now, state=RuleState([]) if state is None else state),
    )


def remember(rule: StatefulRiskRule, entry: UnsignedEntry, *, state: RuleState, now: datetime = NOON) -> None:
    """Let a rule take note of a draft as of a line that passed."""
    line = StampedEntry(
        sequence=1,
        timestamp=now,
        intent=entry.intent,
        correlation_id=entry.correlation_id,
        causality_id=None,
        postings=entry.postings,
        metadata=entry.metadata,
    )
    rule.apply(line, state)
