"""Homes for the tests of snapshots: a history of everything, and all that a ledger shows of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bibank as bb
from bibank import drafts
from bibank.risk.engine import RiskEngine
from bibank.rules import EntryLimit, RiskRule, SpendingLimit
from bibank.snapshots.state import State
from tests.ledger.operators import ALICE, ANNA, BERT, BOB, CLEO, OWN, correction, govern

NOON = datetime(2026, 1, 25, 12, tzinfo=UTC)
DAILY = SpendingLimit(name="daily/1", money="500 USDT", window=timedelta(days=1))
SMALL = EntryLimit(name="small/1", money="50 USDT")


class Clock:
    """A clock that goes on by some seconds at each look, from noon on."""

    def __init__(self, moment: datetime = NOON) -> None:
        self.moment = moment

    def now(self) -> datetime:
        """Give the next time."""
        self.moment += timedelta(seconds=7)
        return self.moment


Step = Callable[[bb.Ledger, Clock], object]


def _money(ledger: bb.Ledger, clock: Clock) -> None:
    ledger.deposit("ALICE", "100 USDT", correlation_id="a", idempotency_key="k1")
    ledger.deposit("BOB", "5 BTC", correlation_id="b")
    ledger.transfer("ALICE", "CAROL", "1 USDT", correlation_id="c", metadata={"note": "caffè"})
    ledger.trade(maker="ALICE", maker_gives="2 USDT", taker="BOB", taker_gives="1 BTC", correlation_id="t1")


def _keys(ledger: bb.Ledger, clock: Clock) -> None:
    for number in range(40):
        ledger.deposit(f"U{number}", "1 USDT", correlation_id="k", idempotency_key=f"many-{number}")


def _hold(ledger: bb.Ledger, clock: Clock) -> None:
    common: Any = {"correlation_id": "h"}
    first = ledger.hold("ALICE", "7 USDT", to="BOB", idempotency_key="k2", **common)
    ledger.hold("ALICE", "2 USDT", to=bb.WITHDRAWAL, expires_at=NOON + timedelta(days=9), **common)
    ledger.hold("BOB", "1 BTC", to="CAROL", **common)
    ledger.post_hold(first.id, "3", **common)


def _reverse(ledger: bb.Ledger, clock: Clock) -> None:
    ledger.reverse(3, amount="5", correlation_id="v")
    ledger.reverse(3, amount="1", correlation_id="v", idempotency_key="k3")


def _propose(ledger: bb.Ledger, clock: Clock) -> None:
    for money, keys in (("3", [BERT, CLEO]), ("4", [BERT]), ("5", [])):
        made = ledger.governance.propose(correction(money), proposed_by=ANNA.signer)
        for key in keys:
            ledger.governance.approve(made.sequence, key.signer, correlation_id="a")


def _decide(ledger: bb.Ledger, clock: Clock) -> None:
    common: Any = {"reason": "x", "authorised_by": [ANNA.signer], "correlation_id": "d"}
    later = bb.AccountKey("LIAB:USER:LATER:USDT:AVAILABLE")
    ledger.governance.freeze(BOB, **common)
    ledger.governance.limit(ALICE, floor="-20", **common)
    ledger.governance.freeze(later, **common)


def _override(ledger: bb.Ledger, clock: Clock) -> None:
    common: Any = {"reason": "x", "authorised_by": [ANNA.signer], "correlation_id": "o"}
    large = drafts.transfer("ALICE", "CAROL", "51 USDT", correlation_id="l")
    again = drafts.transfer("ALICE", "CAROL", "52 USDT", correlation_id="l")
    for entry in (large, again):
        ledger.governance.override(entry, rule="small/1", expires_at=NOON + timedelta(days=9), **common)
    ledger.commit(large)


def _later(ledger: bb.Ledger, clock: Clock) -> None:
    clock.moment += timedelta(hours=13)
    ledger.deposit("ALICE", "1 USDT", correlation_id="late")


STEPS: tuple[Step, ...] = (
    _money,
    _hold,
    _reverse,
    lambda ledger, clock: govern(ledger),
    lambda ledger, clock: ledger.adopt_rules([DAILY], authorised_by=[ANNA.signer], correlation_id="r"),
    _later,
    _propose,
    _keys,
    lambda ledger, clock: ledger.adopt_rules([DAILY, SMALL], authorised_by=[ANNA.signer], correlation_id="r"),
    _override,
    lambda ledger, clock: ledger.governance.attest(5, BERT.signer, correlation_id="at"),
    _decide,
    _later,
)
"""A history of everything that a state holds; it ends two days after it began."""


def everything(ledger: bb.Ledger) -> dict[str, object]:
    """Show all that a ledger answers, and all that its machine knows."""
    committer, engine = ledger._committer, ledger._engine
    with committer.settled():
        machine = committer.machine
        state = State.of(machine, engine, ())
        inner: Any = machine.links
        known = {
            name: getattr(state, name)
            for name in ("position", "counts", "rule_sets", "accounts", "books", "memory")
        }
        floors = {account.text: (account.floor, account.klass.status) for account in machine.book}
        listing = [account.text for account in machine.book.with_prefix("")]
        books = {
            "overrides": (dict(inner.overrides.open), dict(inner.overrides._given)),
            "attestations": inner.attestations.all(),
            "proposals": dict(inner.approvals._open),
            "reversed": dict(inner._reversed),
            "holds": dict(inner._holds),
            "terms": dict(machine.book.terms),
        }
        keys = {key: list(inner.bearers(key)) for key in ("k1", "k2", "k3", "many-7", "never")}
    versions = [(v.from_sequence, v.fingerprint) for v in ledger._trust.versions]
    return {
        **known,
        "read": books,
        "floors": floors,
        "listing": listing,
        "keys": keys,
        "versions": versions,
        "head": ledger.head,
        "accounts": list(ledger.accounts()),
        "holds": list(ledger.holds()),
        "terms": list(ledger.account_terms()),
        "pending": list(ledger.pending()),
        "lines": list(ledger._committer.store.read(after_sequence=0)),
        "rules": ledger._engine.rule_names,
    }


def grow(ledger: bb.Ledger, clock: Clock, steps: Sequence[Step] = STEPS) -> None:
    """Let a history happen."""
    for step in steps:
        step(ledger, clock)


def create(path: Path, clock: Clock, *rules: RiskRule, **options: Any) -> bb.Ledger:
    """Make a home with a key of its own."""
    options = {"signer": OWN.signer, **options}
    risk = RiskEngine(rules)
    return bb.Ledger.create(path, opening={"USDT": "1000", "BTC": "10"}, clock=clock, risk=risk, **options)


def reopen(path: Path, clock: Clock, *rules: RiskRule, **options: Any) -> bb.Ledger:
    """Open it again."""
    options = {"signer": OWN.signer, "snapshot_every": None, **options}
    return bb.Ledger.open(path, clock=clock, risk=RiskEngine(rules), **options)


def twin(home: Path) -> Path:
    """Copy a home without its snapshots."""
    copy = home.with_name(home.name + "-twin")
    shutil.copytree(home, copy, ignore=shutil.ignore_patterns("snapshots", ".lock"))
    return copy


def journal(home: Path) -> dict[str, bytes]:
    """Read every day file."""
    return {path.name: path.read_bytes() for path in sorted((home / "journal").glob("*.jsonl"))}
