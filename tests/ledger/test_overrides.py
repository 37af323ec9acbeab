"""Overrides: one entry passes one rule once, until a time; what every ledger has nothing passes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

import bibank as bb
from bibank import drafts
from bibank.journal.batches import PreparedBatch
from bibank.model.json_value import FrozenMap
from bibank.model.record import UnsignedRecord
from bibank.risk.engine import BUILT_IN_NAMES
from bibank.rules import EntryLimit, Refusal, RiskRule, RiskView, SpendingLimit
from bibank.signing import KeyringChange, Policy, Purpose, Role
from tests.ledger.operators import (
    ALICE,
    ANNA,
    BERT,
    BERT_AGAIN,
    CLEO,
    OWN,
    VAULT,
    change,
    governed,
    join,
    refused,
    signed,
)
from tests.signing.forge import make, reopen
from tests.store.journals import StillClock

DAILY = SpendingLimit(name="daily/1", money="20 USDT", window=timedelta(days=1))
SMALL = EntryLimit(name="small/1", money="25 USDT")
START = StillClock().moment
HOUR = timedelta(hours=1)


def payment(money: str = "30", **fields: Any) -> bb.UnsignedEntry:
    """A transfer that the daily limit refuses."""
    asked = {"correlation_id": "t", **fields}
    return drafts.transfer("ALICE", "BOB", f"{money} USDT", **asked)


def ruled(*rules: RiskRule, clock: StillClock | None = None) -> bb.Ledger:
    """A governed ledger that has adopted a daily limit of 20 USDT, or other rules."""
    ledger = governed(clock=clock)
    ledger.adopt_rules(rules or [DAILY], authorised_by=[ANNA.signer], correlation_id="r")
    return ledger


def override(ledger: bb.Ledger, entry: bb.UnsignedEntry | None = None, **fields: Any) -> bb.JournalRecord:
    """Let a payment pass the daily limit for an hour, unless told otherwise."""
    asked: dict[str, Any] = {
        "rule": "daily/1",
        "expires_at": START + HOUR,
        "reason": "rent",
        "authorised_by": [BERT.signer],
        "correlation_id": "o",
        **fields,
    }
    return ledger.governance.override(entry or payment(), **asked)


def is_refused(ledger: bb.Ledger, entry: bb.UnsignedEntry, rule: str = "daily/1") -> None:
    """Demand that a rule refuses an entry, and that nothing changes."""
    with refused(ledger, kind=bb.Refused):
        ledger.commit(entry)
    with pytest.raises(bb.Refused) as caught:
        ledger.preview(entry)
    assert caught.value.rule == rule


def test_an_override_lets_exactly_this_entry_through_once() -> None:
    """Refused before, passed once, refused again; and what it spends is spent."""
    ledger = ruled()
    is_refused(ledger, payment())
    record = override(ledger)
    assert (record.kind, record.subject) == (bb.RecordKind.OVERRIDE, ledger.ledger_id)
    is_refused(ledger, payment("30.00000001"))
    entry = ledger.commit(payment())
    assert (entry.causality_id, dict(entry.metadata)) == (None, {})
    is_refused(ledger, payment())
    is_refused(ledger, payment("0.00000001"))
    assert ledger.audit(level="signatures").violated == ()


@pytest.mark.parametrize(
    "other",
    [
        payment("31"),
        payment(correlation_id="t2"),
        payment(metadata={"note": "x"}),
        payment(effective_at=START),
        drafts.transfer("ALICE", "CAROL", "30 USDT", correlation_id="t"),
        drafts.withdrawal("ALICE", "30 USDT", correlation_id="t"),
        attrs.evolve(payment(), postings=payment().postings[::-1]),
    ],
    ids=["amount", "correlation", "metadata", "time", "payee", "intent", "order"],
)
def test_another_content_does_not_pass(other: bb.UnsignedEntry) -> None:
    """Whatever differs makes it another entry, and leaves the override for its own."""
    ledger = ruled()
    override(ledger)
    is_refused(ledger, other)
    ledger.commit(payment())
    is_refused(ledger, other)


def test_an_idempotency_key_is_no_content() -> None:
    """The entry passes with a key, and a retry is no second use."""
    ledger = ruled()
    override(ledger)
    entry = ledger.commit(payment(), idempotency_key="k")
    assert ledger.commit(payment(), idempotency_key="k") == entry
    is_refused(ledger, payment())


def test_another_rule_is_not_passed() -> None:
    """Each rule that refuses takes an override of its own."""
    ledger = ruled(DAILY, SMALL)
    override(ledger, rule="small/1")
    is_refused(ledger, payment())
    override(ledger)
    ledger.commit(payment())
    assert not ledger._committer.machine.links.overrides.open, "both were used up"
    with refused(ledger, kind=bb.InvalidValue):
        override(ledger, rule="unheard-of/1", reason="nothing")
    is_refused(ledger, payment())


def test_an_override_ends_at_its_time() -> None:
    """A microsecond before it the entry passes, at it the entry is refused."""
    clock = StillClock()
    ledger = ruled(clock=clock)
    override(ledger)
    override(ledger, payment("40"))
    clock.moment = START + HOUR - timedelta(microseconds=1)
    ledger.commit(payment())
    clock.moment = START + HOUR
    is_refused(ledger, payment("40"))
    ledger.deposit("BOB", "1 USDT", correlation_id="d")
    assert not ledger._committer.machine.links.overrides.open, "what is over is forgotten"
    with refused(ledger, "expired"):
        override(ledger, reason="again")
    override(ledger, payment("40"), expires_at=START + HOUR + timedelta(microseconds=1))
    ledger.commit(payment("40"))
    assert ledger.audit().violated == ()


def test_a_payload_is_given_once() -> None:
    """What was signed cannot be played again, used or not; with another reason it is another one."""
    ledger = ruled()
    draft = ledger.governance.draft_override(
        payment(), rule="daily/1", expires_at=START + HOUR, reason="rent"
    )
    envelope = signed(draft, BERT)
    ledger.governance.commit(envelope, correlation_id="o")
    for _ in range(2):
        with refused(ledger, "stale"):
            ledger.governance.commit(envelope, correlation_id="o")
        with refused(ledger, "stale"):
            ledger.governance.commit(signed(draft, CLEO), correlation_id="o")
        if ledger._committer.machine.links.overrides.open:
            ledger.commit(payment())
    is_refused(ledger, payment())
    override(ledger, reason="rent, and again")
    ledger.commit(payment())


def test_who_may_override() -> None:
    """Whoever may change the rules: operators, as many as their policy asks for, with keys in force."""
    ledger = ruled()
    join(ledger, BERT_AGAIN)
    for signers, reason in (((), "too_few"), ((OWN.signer,), "wrong_role")):
        with refused(ledger, reason):
            override(ledger, authorised_by=signers)
    change(ledger, KeyringChange(policies={Purpose.RULES: Policy(role=Role.OPERATOR, threshold=2)}))
    for several in ([BERT.signer], [BERT.signer, BERT_AGAIN.signer]):
        with refused(ledger, "too_few"):
            override(ledger, authorised_by=several)
    change(ledger, KeyringChange(retire=(CLEO.key_id,)))
    with refused(ledger, "inactive_key"):
        override(ledger, authorised_by=(BERT.signer, CLEO.signer))
    override(ledger, authorised_by=(BERT.signer, ANNA.signer))
    ledger.commit(payment())


@pytest.mark.parametrize("rule", [*BUILT_IN_NAMES, "approvals/1"])
def test_what_every_ledger_has_is_not_overridden(rule: str) -> None:
    """An override of a rule that is no adopted one, nor the host's, is refused; the entry does not pass."""
    ledger = ruled()
    beyond = drafts.transfer("BOB", "ALICE", "1 USDT", correlation_id="t")
    for _ in range(2):
        with refused(ledger, kind=bb.InsufficientBalance):
            ledger.commit(beyond)
        with refused(ledger, kind=bb.InvalidValue):
            override(ledger, beyond, rule=rule)
        draft = ledger.governance.draft_override(beyond, rule="daily/1", expires_at=START + HOUR, reason="x")
        payload = FrozenMap({**draft.payload, "rule": rule, "reason": f"r{ledger.head.sequence}"})
        with refused(ledger, kind=bb.InvalidValue):
            ledger.governance.commit(signed(attrs.evolve(draft, payload=payload), BERT), correlation_id="o")
    frozen = drafts.transfer("ALICE", "BOB", "1 USDT", correlation_id="t")
    override(ledger, frozen, rule="daily/1")
    ledger.governance.freeze(ALICE, reason="court", authorised_by=[BERT.signer], correlation_id="f")
    with refused(ledger, kind=bb.AccountFrozen):
        ledger.commit(frozen)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"rule": "daily"}, bb.InvalidValue),
        ({"rule": 5}, bb.InvalidValue),
        ({"reason": " "}, bb.InvalidValue),
        ({"reason": "x" * 1025}, bb.InvalidValue),
        ({"expires_at": datetime(2026, 2, 1)}, bb.InvalidTimestamp),  # noqa: DTZ001 - naive on purpose
        ({"correlation_id": ""}, bb.MissingCorrelationId),
        ({"authorised_by": "BERT"}, bb.ConfigurationError),
    ],
)
def test_an_override_of_wrong_parts(fields: dict[str, Any], kind: type[bb.BibankError]) -> None:
    """Each argument has its typed error."""
    ledger = ruled()
    with refused(ledger, kind=kind):
        override(ledger, **fields)
    nothing: Any = "payment"
    with refused(ledger, kind=bb.InvalidType):
        override(ledger, nothing)
    with refused(ledger, kind=bb.InvalidType):
        ledger.governance.draft_override(nothing, rule="daily/1", expires_at=START, reason="x")


class Broken:
    """A host's rule that raises."""

    name = "broken/1"

    def check(self, entry: bb.UnsignedEntry, view: RiskView) -> Refusal | None:
        """Fail for payments."""
        if entry.intent is bb.TransactionIntent.TRANSFER:
            raise ZeroDivisionError
        return None


class Strict:
    """A host's rule that refuses payments."""

    name = "strict/1"

    def check(self, entry: bb.UnsignedEntry, view: RiskView) -> Refusal | None:
        """Refuse payments."""
        if entry.intent is bb.TransactionIntent.TRANSFER:
            return Refusal(message="no payments", advice="nothing")
        return None


def test_a_rule_that_raises_is_not_passed() -> None:
    """Its answer is unknown, and stays a refusal; a host's rule that answers is passed."""
    ledger = governed(risk=bb.RiskEngine([Broken()]))
    override(ledger, rule="broken/1")
    with refused(ledger, kind=bb.RuleFailed):
        ledger.commit(payment())
    ledger = governed(risk=bb.RiskEngine([Strict()]))
    is_refused(ledger, payment(), "strict/1")
    override(ledger, rule="strict/1")
    ledger.commit(payment())
    is_refused(ledger, payment(), "strict/1")


def test_what_comes_to_nothing_uses_nothing_up() -> None:
    """A preview, a batch that rolls back and an entry that another rule refuses keep the override."""
    ledger = ruled()
    override(ledger)
    ledger.preview(payment())
    ledger.preview([payment(), drafts.deposit("BOB", "1 USDT", correlation_id="d")])
    bad = drafts.transfer("CAROL", "BOB", "1 USDT", correlation_id="t")
    for batch in ([payment(), bad], [payment(), payment()]):
        with refused(ledger, kind=bb.Refused if batch[1] is not bad else bb.InsufficientBalance):
            ledger.commit_batch(batch)
    done = ledger.commit_each([[payment(), bad], payment(), payment()])
    assert [type(outcome).__name__ for outcome in done] == ["InsufficientBalance", "Committed", "Refused"]
    is_refused(ledger, payment())
    assert ledger.audit().violated == ()


def test_one_use_takes_every_override_of_the_entry() -> None:
    """Two reasons do not make two payments."""
    ledger = ruled()
    override(ledger)
    override(ledger, reason="another")
    ledger.commit(payment())
    is_refused(ledger, payment())


def test_an_override_that_was_not_needed_is_used_up_too() -> None:
    """The entry passed; it was let through once."""
    ledger = ruled()
    override(ledger, payment("20"))
    ledger.commit(payment("20"))
    is_refused(ledger, payment("20"))


@pytest.mark.parametrize("mode", ["entry", "group"])
def test_an_override_outlives_a_restart(tmp_path: Path, mode: Any) -> None:
    """Open before it is open after, used before it is used after, and its payload is known for good."""
    home = tmp_path / "books"
    with make(home, mode=mode) as ledger:
        ledger.deposit("ALICE", "100 USDT", correlation_id="d")
        ledger.adopt_rules([DAILY], correlation_id="r")
        override(ledger, authorised_by=())
        override(ledger, payment("40"), authorised_by=())
        ledger.commit(payment("40"))
    with reopen(home, mode=mode) as ledger:
        is_refused(ledger, payment("40"))
        with refused(ledger, "stale"):
            override(ledger, payment("40"), authorised_by=())
        ledger.commit(payment())
    with reopen(home, mode=mode) as ledger:
        is_refused(ledger, payment())
        assert ledger.audit(level="signatures").violated == ()
    assert bb.audit_home(home, level="signatures").violated == ()


def test_a_fork_has_what_is_open_and_uses_its_own() -> None:
    """What was given before it serves on both sides; what is given after serves on one."""
    ledger = ruled()
    override(ledger)
    fork = ledger.fork()
    fork.commit(payment())
    is_refused(fork, payment())
    ledger.commit(payment())
    override(fork, payment("40"), authorised_by=())
    is_refused(ledger, payment("40"))
    fork.commit(payment("40"))
    assert fork.audit().violated == ()


def test_a_retry_gives_the_same_override() -> None:
    """With its key it is given once, and another request under the key is a conflict."""
    ledger = ruled()
    record = override(ledger, idempotency_key="k")
    ledger.commit(payment())
    assert override(ledger, idempotency_key="k") == record
    is_refused(ledger, payment())
    with refused(ledger, kind=bb.IdempotencyConflict):
        override(ledger, payment("40"), idempotency_key="k")


def test_what_an_override_may_not_be_about() -> None:
    """One for another ledger, or under another subject, is refused; a hold may be let pass."""
    ledger = ruled(SMALL)
    other = ruled()
    draft = other.governance.draft_override(payment(), rule="small/1", expires_at=START + HOUR, reason="r")
    with refused(ledger, "other_ledger"):
        ledger.governance.commit(signed(draft, BERT), correlation_id="o")
    record = UnsignedRecord(
        kind=bb.RecordKind.OVERRIDE,
        subject=str(VAULT),
        correlation_id="o",
        body=signed(
            attrs.evolve(draft, payload=FrozenMap({**draft.payload, "ledger": ledger.ledger_id})), BERT
        ).to_body(),
    )
    with refused(ledger, kind=bb.InvalidEntry):
        ledger._committer.commit(PreparedBatch((record,)))
    strict = governed(risk=bb.RiskEngine([Strict()]))
    end = datetime(2027, 1, 1, tzinfo=UTC)
    hold = drafts.hold("ALICE", "30 USDT", to="BOB", correlation_id="h", expires_at=end)
    is_refused(strict, hold, "strict/1")
    override(strict, hold, rule="strict/1")
    strict.commit(hold)
    assert len(strict.holds()) == 1
