"""Adopted rules: written down under the policy for rules, in force from their line on, never forgotten."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from bibank.risk.engine import RiskEngine
from bibank.rules import AllowedAssets, EntryLimit, Refusal, RiskRule, RiskView, SpendingLimit
from bibank.signing import Ed25519Signer, Role
from bibank.testing.faults import FaultyStore, StoreFault, StoreFaultPlan
from tests.store.journals import SIGNER, StillClock, deposit, transfer

ANNA = Ed25519Signer(bytes(31) + b"a", signer_id="ANNA_OPS")
LIMIT = SpendingLimit(name="daily-limit/1", money="20 USDT", window=timedelta(days=1))
SMALL = EntryLimit(name="small/1", money="5 USDT")


class Host:
    """A rule of a host's own, which says nothing about itself but its name."""

    name = "no-mallory/1"

    def check(self, entry: bb.UnsignedEntry, view: RiskView) -> Refusal | None:
        """Refuse one owner."""
        if any(posting.account.id == "MALLORY" for posting in entry.postings):
            return Refusal(message="MALLORY does not take part", advice="everybody else does")
        return None


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home in which ALICE has 100 USDT, and has spent 30 of them."""
    path = tmp_path / "books"
    with bb.Ledger.create(path, opening={"USDT": "1000"}, clock=StillClock()) as ledger:
        ledger.commit(deposit("ALICE", "130 USDT"))
        ledger.commit(transfer("ALICE", "BOB", "30 USDT"))
    return path


def reopened(home: Path, *rules: RiskRule) -> bb.Ledger:
    """Open a home with a host's own rules."""
    return bb.Ledger.open(home, clock=StillClock(), risk=RiskEngine(rules))


def refused(ledger: bb.Ledger, draft: bb.UnsignedEntry) -> str:
    """Name the rule that refuses a draft, and see that nothing was changed."""
    before = ledger.head
    with pytest.raises(bb.Refused) as caught:
        ledger.commit(draft)
    assert ledger.head == before
    return caught.value.rule


def test_a_set_is_in_force_from_the_next_line_and_after_a_restart(home: Path) -> None:
    """Adopted rules judge what comes after them, also in a process that was given none."""
    with reopened(home) as ledger:
        record = ledger.adopt_rules([LIMIT, SMALL], correlation_id="r")
        assert (record.kind, record.subject, record.sequence) == (
            bb.RecordKind.RULES_ADOPTED,
            ledger.ledger_id,
            5,
        )
        assert [rule.name for rule in ledger.rules] == ["daily-limit/1", "small/1"]
        assert refused(ledger, transfer("ALICE", "BOB", "6 USDT")) == "small/1"
        for _ in range(4):
            ledger.commit(transfer("ALICE", "BOB", "5 USDT"))
    with reopened(home) as ledger:
        assert [rule.hash for rule in ledger.rules] == [
            rule.hash for rule in bb.LedgerReader.open(home).rules
        ]
        assert refused(ledger, transfer("ALICE", "BOB", "1 USDT")) == "daily-limit/1"
        ledger.commit(transfer("BOB", "ALICE", "1 USDT"))


def test_what_was_spent_before_a_limit_was_adopted_does_not_count(home: Path) -> None:
    """A set begins without memory, at its own line: 30 were spent before, and 20 pass after it."""
    with reopened(home) as ledger:
        ledger.adopt_rules([LIMIT], correlation_id="r")
        ledger.commit(transfer("ALICE", "BOB", "20 USDT"))
        assert str(ledger.balance("BOB", "USDT").posted) == "50"
        assert refused(ledger, transfer("ALICE", "BOB", "1 USDT")) == "daily-limit/1"


def test_a_rule_that_stays_keeps_its_memory(home: Path) -> None:
    """The same rule with the same data in the next set goes on; another limit begins anew; restarts agree."""
    with reopened(home) as ledger:
        ledger.adopt_rules([LIMIT], correlation_id="r")
        ledger.commit(transfer("ALICE", "BOB", "15 USDT"))
        ledger.adopt_rules([SMALL, LIMIT], correlation_id="r")
    with reopened(home) as ledger:
        ledger.commit(transfer("ALICE", "BOB", "5 USDT"))
        assert refused(ledger, transfer("ALICE", "BOB", "1 USDT")) == "daily-limit/1"
        wider = SpendingLimit(name="daily-limit/1", money="21 USDT", window=timedelta(days=1))
        ledger.adopt_rules([wider], correlation_id="r")
    with reopened(home) as ledger:
        ledger.commit(transfer("ALICE", "BOB", "21 USDT"))
        assert refused(ledger, transfer("ALICE", "BOB", "1 USDT")) == "daily-limit/1"


def test_a_stricter_set_never_makes_a_home_unopenable(home: Path) -> None:
    """What was accepted stands whatever is adopted later; audits judge each line by the set of its time."""
    with reopened(home) as ledger:
        ledger.adopt_rules([EntryLimit(name="small/1", money="0.00000001 USDT")], correlation_id="r")
        ledger.adopt_rules([AllowedAssets(assets=["EUR"])], correlation_id="r")
    with reopened(home) as ledger:
        assert refused(ledger, deposit("ALICE", "1 USDT")) == "allowed-assets/1"
        ledger.adopt_rules([], correlation_id="r")
        ledger.commit(deposit("ALICE", "1 USDT"))
        report = ledger.audit()
    assert (report.violated, report.not_rechecked) == ((), ())


@pytest.mark.parametrize(
    ("rules", "missing", "said"),
    [
        ([], ("no-mallory/1",), "does not have"),
        ([LIMIT], ("no-mallory/1",), "does not have"),
        ([Host(), SMALL], (), "small/1 is not in the rule set"),
        (
            [Host(), SpendingLimit(name="daily-limit/1", money="21 USDT", window=timedelta(days=1))],
            (),
            "not with",
        ),
    ],
    ids=["none", "shipped only", "one too many", "other data"],
)
def test_another_set_cannot_write(
    home: Path, rules: list[RiskRule], missing: tuple[str, ...], said: str
) -> None:
    """Whoever opens for writing without the adopted rules, or with others, is refused; readers are not."""
    with reopened(home) as ledger:
        ledger.adopt_rules([LIMIT, Host()], correlation_id="r")
    with pytest.raises(bb.RulesMismatch, match=said) as caught:
        reopened(home, *rules)
    assert caught.value.missing == missing
    assert bb.LedgerReader.open(home).head.sequence == 5
    for supplied in ([Host()], [Host(), LIMIT]):
        with reopened(home, *supplied) as ledger:
            assert refused(ledger, deposit("MALLORY", "1 USDT")) == "no-mallory/1"


def test_rules_that_were_never_adopted_are_the_process_own(home: Path) -> None:
    """Without an adopted set, each process judges by what it was given; the first set ends that."""
    with reopened(home, SMALL) as ledger:
        assert refused(ledger, transfer("ALICE", "BOB", "6 USDT")) == "small/1"
    with reopened(home) as ledger:
        ledger.commit(transfer("ALICE", "BOB", "6 USDT"))
    with reopened(home, SMALL) as ledger:
        ledger.adopt_rules([Host()], correlation_id="r")
        ledger.commit(transfer("ALICE", "BOB", "6 USDT"))


def test_operators_decide_on_rules_once_there_is_one(home: Path) -> None:
    """The ledger's own key adopts rules until an operator's key was added; then it takes an operator."""
    with reopened(home) as ledger:
        ledger.keyring.add(ANNA, roles=(Role.OPERATOR,), correlation_id="k")
        before = ledger.head
        for signers in ((), (Ed25519Signer(bytes(31) + b"x", signer_id="ANNA_OPS"),)):
            with pytest.raises(bb.NotAuthorised, match=r"policy asks for 1|not in the keyring"):
                ledger.adopt_rules([SMALL], authorised_by=signers, correlation_id="r")
        assert (ledger.head, len(ledger.rules)) == (before, 0)
        ledger.commit(transfer("ALICE", "BOB", "6 USDT"))
        ledger.adopt_rules([SMALL], authorised_by=[ANNA], correlation_id="r")
        assert refused(ledger, transfer("ALICE", "BOB", "6 USDT")) == "small/1"
    with reopened(home) as ledger:
        assert refused(ledger, transfer("ALICE", "BOB", "6 USDT")) == "small/1"


def test_an_old_decision_cannot_be_played_again(home: Path) -> None:
    """The signed body of an earlier set names the set before it, and is refused afterwards."""
    from bibank.journal.batches import PreparedBatch
    from bibank.model.record import UnsignedRecord

    with reopened(home) as ledger:
        lax = ledger.adopt_rules([], correlation_id="r")
        ledger.adopt_rules([SMALL], correlation_id="r")
        again = UnsignedRecord(kind=lax.kind, subject=lax.subject, correlation_id="r", body=lax.body)
        with pytest.raises(bb.InvalidValue, match="does not follow version 2"):
            ledger._committer.commit(PreparedBatch((again,)))
        assert [rule.name for rule in ledger.rules] == ["small/1"]
        assert refused(ledger, transfer("ALICE", "BOB", "6 USDT")) == "small/1"


@pytest.mark.parametrize(
    "rules",
    [
        lambda: "small/1",
        lambda: [SMALL, SMALL],
        lambda: [EntryLimit],
        lambda: [object()],
        lambda: None,
        lambda: [type("Odd", (Host,), {"name": "sufficiency/1"})()],
    ],
    ids=["text", "twice", "a class", "no rule", "nothing", "a built-in name"],
)
def test_what_is_no_set_of_rules_is_refused(home: Path, rules: Callable[[], Any]) -> None:
    """Bad sets are a configuration error before anything is written."""
    with reopened(home) as ledger:
        before = ledger.head
        with pytest.raises(bb.ConfigurationError):
            ledger.adopt_rules(rules(), correlation_id="r")
        assert ledger.head == before


@pytest.mark.parametrize(
    "fault", [StoreFault.UNAVAILABLE, StoreFault.UNKNOWN_LOST, StoreFault.UNKNOWN_WRITTEN]
)
def test_a_set_that_was_not_written_is_not_in_force(fault: StoreFault) -> None:
    """Before its record is durable a set judges nothing, and one that failed never did."""
    inner = bb.MemoryStore()
    ledger = bb.Ledger(
        store=FaultyStore(inner, StoreFaultPlan(append=3, fault=fault)),
        opening={"USDT": "100"},
        signer=SIGNER,
    )
    ledger.commit(deposit("ALICE", "50 USDT"))
    with pytest.raises(bb.StoreError):
        ledger.adopt_rules([SMALL], correlation_id="r")
    if fault is not StoreFault.UNAVAILABLE:
        ledger = bb.Ledger(store=inner, signer=SIGNER)
    if fault is StoreFault.UNKNOWN_WRITTEN:
        assert refused(ledger, transfer("ALICE", "BOB", "6 USDT")) == "small/1"
        return
    assert len(ledger.rules) == 0
    ledger.commit(transfer("ALICE", "BOB", "6 USDT"))
    ledger.adopt_rules([SMALL], correlation_id="r")
    assert refused(ledger, transfer("ALICE", "BOB", "6 USDT")) == "small/1"


def test_an_audit_finds_what_the_rules_refuse(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that got past an adopted rule is named with its line; earlier ones are judged by their set."""
    with reopened(home) as ledger:
        ledger.adopt_rules([SMALL, LIMIT, Host()], correlation_id="r")
        ledger.commit(transfer("ALICE", "BOB", "5 USDT"))
        with monkeypatch.context() as patch:
            patch.setattr(RiskEngine, "ask", lambda *_, **__: None)
            ledger.commit(transfer("ALICE", "BOB", "6 USDT"))
            ledger.commit(deposit("MALLORY", "1 USDT"))
        ledger.adopt_rules([], correlation_id="r")
        ledger.commit(transfer("ALICE", "BOB", "7 USDT"))
    report = bb.audit_home(home)
    assert [found.partition(": ALICE")[0] for found in report.violated] == ["line 7: small/1"]
    assert report.not_rechecked == ("no-mallory/1, from line 5",)
    assert "violated: line 7: small/1" in str(report)
    assert "not re-checked (rule not supplied): no-mallory/1" in str(report)
    report = bb.audit_home(home, rules=[Host()])
    assert [found[:8] for found in report.violated] == ["line 7: ", "line 8: "]
    assert report.not_rechecked == ()


def test_a_rule_that_raises_in_an_audit_is_a_finding(home: Path) -> None:
    """An audit does not fail because a rule does."""

    class Broken(Host):
        def check(self, entry: bb.UnsignedEntry, view: RiskView) -> Refusal | None:
            raise ZeroDivisionError

        def apply(self, line: object, state: object) -> None:
            raise ZeroDivisionError

    with reopened(home) as ledger:
        ledger.adopt_rules([Host()], correlation_id="r")
        ledger.commit(transfer("ALICE", "BOB", "5 USDT"))
        report = ledger.audit(rules=[Broken()])
    assert report.lines == 6
    assert len(report.violated) >= 1
    assert all("ZeroDivisionError" in found for found in report.violated)


class Stricter(EntryLimit):
    """A rule of a host's that is built on a shipped one, and would be rebuilt as that."""


class Impostor(Host):
    """A rule of a host's that takes the kind of a shipped one."""

    kind = "entry_limit"

    def to_data(self) -> dict[str, str]:
        """Give what that kind would have."""
        return {"amount": "1", "asset": "USDT"}


class Failing(Host):
    """A rule that cannot say what it is made of."""

    kind = "failing"

    def to_data(self) -> dict[str, object]:
        """Fail."""
        raise ZeroDivisionError


class Floating(Failing):
    """A rule whose data the journal cannot hold."""

    def to_data(self) -> dict[str, object]:
        """Give a float."""
        return {"limit": 0.5}


@pytest.mark.parametrize(
    "rule",
    [
        Stricter(name="small/1", money="1 USDT"),
        Impostor(),
        type("Hosted", (Impostor,), {"kind": "host"})(),
        Failing(),
        Floating(),
    ],
    ids=lambda rule: type(rule).__name__,
)
def test_a_rule_is_recorded_as_what_it_is_or_not_at_all(home: Path, rule: Any) -> None:
    """A rule that the journal would rebuild as another one is refused when the engine is made."""
    with pytest.raises(bb.ConfigurationError):
        RiskEngine([rule])
    with reopened(home) as ledger, pytest.raises(bb.ConfigurationError):
        ledger.adopt_rules([rule], correlation_id="r")


@pytest.mark.parametrize(
    "signers", [None, 5, ANNA, ["x"], [object()]], ids=["none", "5", "bare", "text", "object"]
)
def test_who_authorises_is_a_sequence_of_signers(home: Path, signers: Any) -> None:
    """Anything else is a configuration error, for rules and for keys."""
    with reopened(home) as ledger:
        with pytest.raises(bb.ConfigurationError):
            ledger.adopt_rules([SMALL], authorised_by=signers, correlation_id="r")
        with pytest.raises(bb.ConfigurationError):
            ledger.keyring.add(ANNA, roles=(Role.OPERATOR,), authorised_by=signers, correlation_id="r")
        assert ledger.head.sequence == 4


class BehindTrades(Host):
    """A rule that takes fees behind trades only."""

    name = "behind-trades/1"

    def check(self, entry: bb.UnsignedEntry, view: RiskView) -> Refusal | None:
        """Look at what the ledger ties a fee to."""
        if entry.intent is bb.TransactionIntent.FEE and entry.cause is None:
            return Refusal(message="a fee without a trade", advice="a fee behind a trade")
        return None


def test_an_audit_shows_rules_what_they_were_shown(home: Path) -> None:
    """A fee is shown with the trade before it, when it is proposed and when it is audited."""
    with reopened(home) as ledger:
        ledger.adopt_rules([BehindTrades()], correlation_id="r")
        bound = ledger.bind(correlation_id="r")
        ledger.commit(deposit("CAROL", "1 BTC"))
        with pytest.raises(bb.Refused, match="without a trade"):
            bound.fee("ALICE", "1 USDT")
        bound.trade(
            maker="ALICE",
            maker_gives="1 USDT",
            taker="CAROL",
            taker_gives="1 BTC",
            fees=[bb.TradeFee("ALICE", "1 USDT")],
        )
        assert ledger.audit(rules=[BehindTrades()]).violated == ()


def test_a_long_list_of_findings_says_how_long_it_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not listed is counted."""
    monkeypatch.setattr("bibank.risk.review.MAX_FINDINGS", 2)
    with reopened(home) as ledger:
        ledger.adopt_rules([SMALL], correlation_id="r")
        with monkeypatch.context() as patch:
            patch.setattr(RiskEngine, "ask", lambda *_, **__: None)
            for _ in range(4):
                ledger.commit(transfer("ALICE", "BOB", "6 USDT"))
        assert [found[:12] for found in ledger.audit().violated] == [
            "line 6: smal",
            "line 7: smal",
            "and 2 more",
        ]


def test_a_fork_needs_the_rules_of_its_place(home: Path) -> None:
    """Where a set of long ago cannot be asked, there is no fork that would pretend to."""
    with reopened(home) as ledger:
        ledger.adopt_rules([Host()], correlation_id="r")
        ledger.adopt_rules([], correlation_id="r")
    with reopened(home) as ledger:
        with pytest.raises(bb.RulesMismatch) as caught:
            ledger.fork(at=5)
        assert caught.value.missing == ("no-mallory/1",)
        assert ledger.fork(at=4).head.sequence == 4
        assert ledger.fork().head.sequence == 6
    with reopened(home) as ledger:
        ledger.adopt_rules([Host()], correlation_id="r")
        fork = ledger.fork(at=5)
        assert refused(fork, deposit("MALLORY", "1 USDT")) == "no-mallory/1"


def test_expired_holds_are_given_back_although_one_is_refused(home: Path) -> None:
    """One owner on a deny list does not keep the holds of others."""
    from datetime import UTC, datetime

    from bibank.rules import DenyList

    clock = StillClock()
    with bb.Ledger.open(home, clock=clock) as ledger:
        soon = datetime(2026, 1, 25, 11, tzinfo=UTC)
        for owner in ("ALICE", "BOB"):
            ledger.hold(owner, "1 USDT", to="SHOP", expires_at=soon, correlation_id="h")
        ledger.adopt_rules([DenyList(owners=["ALICE"])], correlation_id="r")
        clock.set("2026-01-26")
        outcomes = ledger.void_expired_holds(correlation_id="v")
        assert [refusal.rule for refusal in outcomes.refused] == ["deny-list/1"]
        assert [done.entry.postings[0].account.id for done in outcomes.committed] == ["BOB"]
        assert len(ledger.void_expired_holds(correlation_id="v").committed) == 0


class Fickle(Host):
    """A rule that says something else of itself each time."""

    kind = "fickle"
    asked = 0

    def to_data(self) -> dict[str, int]:
        """Count."""
        self.asked += 1
        return {"asked": self.asked}


def test_a_rule_is_written_down_once_when_it_is_adopted(home: Path) -> None:
    """What is recorded is what judges, whatever the rule would say of itself later."""
    with reopened(home) as ledger:
        ledger.adopt_rules([Fickle()], correlation_id="r")
        assert refused(ledger, deposit("MALLORY", "1 USDT")) == "no-mallory/1"
