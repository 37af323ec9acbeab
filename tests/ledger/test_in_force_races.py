"""Decisions that race, that fail on their way, and that are asked for again: each is taken once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from bibank.committer import Committer
from bibank.rules import EntryLimit
from bibank.signing import KeyringChange, Policy, Purpose
from bibank.testing.faults import FaultyStore, StoreFault, StoreFaultPlan
from tests.ledger.operators import (
    ALICE,
    ANNA,
    BERT,
    BERT_AGAIN,
    BOB,
    CLEO,
    DORA,
    OWN,
    approve,
    change,
    correction,
    governed,
    join,
    propose,
    signed,
)
from tests.ledger.test_in_force import PATIENCE_SECONDS, Place, together
from tests.signing.forge import Key
from tests.store.journals import deposit, transfer

ROUNDS = 32
LATER = datetime(2026, 2, 1, tzinfo=UTC)


def approving(ledger: bb.Ledger, sequence: int, *keys: Key) -> list[Callable[[], bb.Approved]]:
    """Give the approvals of a proposal by each key, to be called later."""

    def call(key: Key) -> Callable[[], bb.Approved]:
        return lambda: ledger.governance.approve(sequence, key.signer, correlation_id="a")

    return [call(key) for key in keys]


def said(outcome: Any) -> str:
    """Name an outcome: what was carried out, what was not yet, or why not."""
    if isinstance(outcome, bb.Approved):
        return "approved" if outcome.entry is None else "carried out"
    return outcome.reason if isinstance(outcome, bb.NotAuthorised) else type(outcome).__name__


def carried_out(ledger: bb.Ledger) -> list[tuple[int, str | None]]:
    """List the adjustments of a ledger, and what they follow from."""
    found = [entry for entry in ledger.entries() if entry.intent is bb.TransactionIntent.ADJUSTMENT]
    return [(entry.sequence, entry.causality_id) for entry in found]


def test_approvals_that_race_carry_out_one_entry() -> None:
    """Of operators that approve at the same moment the second makes enough, and a third comes too late."""
    ledger = governed()
    ledger.commit(deposit("ALICE", "1000 USDT"))
    last: list[tuple[int, str | None]] = []
    for number in range(ROUNDS):
        sequence = propose(ledger, correction("1"), by=OWN)
        keys = (BERT, CLEO) if number % 2 else (ANNA, BERT, CLEO)
        outcomes = together(*approving(ledger, sequence, *keys))
        expected = Counter({"approved": 1, "carried out": 1, "not_pending": len(keys) - 2})
        assert Counter(map(said, outcomes)) == +expected
        last.append((ledger.head.sequence, str(sequence)))
        assert carried_out(ledger) == last
        assert list(ledger.pending()) == []
    assert str(ledger.balance("ALICE", "USDT").available) == str(1100 - ROUNDS)
    assert ledger.audit(level="signatures").head == ledger.head


def test_approvals_that_meet_at_the_door_carry_out_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two approvals of which neither has seen the other, both about to be committed, are one entry."""
    ledger, door = governed(), threading.Barrier(2)
    sequence = propose(ledger, by=OWN)
    commit_written = Committer.commit_written

    def meet(*asked: Any, **options: Any) -> Any:
        door.wait(PATIENCE_SECONDS)
        return commit_written(*asked, **options)

    monkeypatch.setattr(Committer, "commit_written", meet)
    assert sorted(map(said, together(*approving(ledger, sequence, BERT, CLEO)))) == [
        "approved",
        "carried out",
    ]
    assert carried_out(ledger) == [(ledger.head.sequence, str(sequence))]
    assert list(ledger.pending()) == []


@pytest.mark.parametrize(
    ("keys", "reason"), [((BERT, BERT), "same_key"), ((BERT, BERT_AGAIN), "same_person")]
)
def test_one_person_that_races_counts_once(keys: tuple[Key, Key], reason: str) -> None:
    """The same operator twice at the same moment, with one key or with two, is one approval, one refusal."""
    ledger = governed()
    join(ledger, BERT_AGAIN)
    for _ in range(ROUNDS):
        sequence = propose(ledger, correction("1"))
        assert sorted(map(said, together(*approving(ledger, sequence, *keys)))) == ["approved", reason]
        (row,) = [row for row in ledger.pending() if row.sequence == sequence]
        assert row.approved_by == (BERT.signer_id,)
    assert carried_out(ledger) == []


def test_freezes_that_race_are_one_freeze() -> None:
    """Of two operators that freeze an account at the same moment one is told that it is frozen already."""
    ledger = governed().bind(correlation_id="g")
    for _ in range(ROUNDS):
        head = ledger.head.sequence
        outcomes = together(
            *(
                lambda key=key: ledger.governance.freeze(ALICE, reason="x", authorised_by=(key.signer,))
                for key in (ANNA, BERT)
            )
        )
        lost = [outcome for outcome in outcomes if not isinstance(outcome, bb.JournalRecord)]
        assert len(lost) == 1
        assert said(lost[0]) in ("AccountFrozen", "stale")
        terms = ledger.terms_of(ALICE)
        assert terms is not None
        assert (terms.status.value, terms.sequence, ledger.head.sequence) == ("frozen", head + 1, head + 1)
        ledger.governance.reopen(ALICE, reason="x", authorised_by=(CLEO.signer,))


def test_an_old_decision_is_not_played_again() -> None:
    """What was signed on an earlier state of an account is stale, also when it would be possible again."""
    ledger = governed().bind(correlation_id="g")
    draft = ledger.governance.draft_decision(bb.RecordKind.ACCOUNT_FROZEN, ALICE, reason="x")
    envelope = signed(draft, ANNA)
    ledger.governance.commit(envelope)
    ledger.governance.reopen(ALICE, reason="x", authorised_by=(ANNA.signer,))
    head = ledger.head
    with pytest.raises(bb.NotAuthorised) as caught:
        ledger.governance.commit(envelope)
    assert (caught.value.reason, ledger.head) == ("stale", head)
    assert ledger.transfer("ALICE", "BOB", "1 USDT").sequence == head.sequence + 1


def test_what_a_revoked_key_approved_counts_only_before_its_line() -> None:
    """Of approvals and a revocation that race, an entry is there only if it stands before the revocation."""
    seen = Counter[str]()
    for _ in range(ROUNDS):
        ledger = governed(ANNA, BERT, CLEO)
        sequence = propose(ledger, by=OWN)
        revocation = KeyringChange(revoke={BERT.key_id: sequence})
        outcomes = together(*approving(ledger, sequence, BERT, CLEO), partial(change, ledger, revocation))
        assert outcomes[2] is None
        revoked = ledger.records(kind=bb.RecordKind.KEYRING_CHANGED)[-1].sequence
        given = [record.sequence for record in ledger.records(kind=bb.RecordKind.APPROVAL)]
        by_bert = [number for number in given if ledger.record(number).subject == BERT.signer_id]
        assert all(number < revoked for number in by_bert)
        if len(given) == 2 and max(given) < revoked:
            assert carried_out(ledger) == [(max(given) + 1, str(sequence))]
            seen["carried out"] += 1
            continue
        assert carried_out(ledger) == []
        (row,) = ledger.pending()
        assert row.approved_by == (CLEO.signer_id,)
        assert said(outcomes[0]) == ("approved" if by_bert else "inactive_key")
        entry = approve(ledger, sequence, ANNA)
        assert entry is not None
        assert ledger.audit(level="signatures").head == ledger.head
        seen["waits"] += 1
    assert seen.total() == ROUNDS


def test_two_keys_of_one_person_are_one_who_decides() -> None:
    """Where two persons freeze, one with two keys is too few, and leaves the account as it was."""
    ledger = governed().bind(correlation_id="g")
    join(ledger, BERT_AGAIN)
    change(ledger, KeyringChange(policies={Purpose.RULES: Policy(role=bb.Role.OPERATOR, threshold=2)}))
    with pytest.raises(bb.NotAuthorised) as caught:
        ledger.governance.freeze(ALICE, reason="x", authorised_by=(BERT.signer, BERT_AGAIN.signer))
    assert (caught.value.reason, ledger.terms_of(ALICE)) == ("too_few", None)
    ledger.governance.freeze(ALICE, reason="x", authorised_by=(BERT.signer, CLEO.signer))


@pytest.mark.parametrize("in_a_batch", ["alone", "first", "after another"])
def test_an_overridden_entry_passes_once(in_a_batch: str) -> None:
    """Twice in one batch is refused and leaves the override; once uses it up, however committed."""
    ledger = governed().bind(correlation_id="g")
    ledger.adopt_rules([EntryLimit(name="small/1", money="5 USDT")], authorised_by=(ANNA.signer,))
    draft, small = transfer("ALICE", "BOB", "6 USDT"), transfer("ALICE", "BOB", "1 USDT")
    ledger.governance.override(
        draft, rule="small/1", expires_at=LATER, reason="x", authorised_by=(ANNA.signer,)
    )
    for refused in ([draft, draft], [draft, small, draft], [transfer("ALICE", "BOB", "7 USDT")]):
        with pytest.raises(bb.Refused, match="the limit is 5 USDT"):
            ledger.commit_batch(refused)
        assert ledger.preview(draft)
    batch = {"alone": [draft], "first": [draft, small], "after another": [small, draft]}[in_a_batch]
    ledger.commit_batch(batch)
    with pytest.raises(bb.Refused, match="the limit is 5 USDT"):
        ledger.commit(draft)


# --------------------------------------------------------------------------- failing stores


def faulty(append: int, fault: StoreFault) -> tuple[FaultyStore, bb.Ledger]:
    """Make a governed ledger over a store that will fail; Alice has 100 USDT."""
    store = FaultyStore(bb.MemoryStore(), StoreFaultPlan(append=append, fault=fault))
    ledger = bb.Ledger(store=store, opening={"USDT": "1000"}, signer=OWN.signer)
    for key in (ANNA, BERT, CLEO):
        join(ledger, key)
    ledger.commit(deposit("ALICE", "100 USDT"))
    assert store.appends == 5
    return store, ledger


@pytest.mark.parametrize("fault", StoreFault)
def test_an_approval_that_is_not_written_carries_nothing_out(fault: StoreFault) -> None:
    """When the write of the last approval fails, both lines are there or none, and it can be given again."""
    store, ledger = faulty(8, fault)
    sequence = propose(ledger, by=OWN)
    approve(ledger, sequence, BERT)
    with pytest.raises((bb.StoreUnavailable, bb.CommitOutcomeUnknown)):
        approve(ledger, sequence, CLEO)
    if fault is not StoreFault.UNAVAILABLE:
        with pytest.raises(bb.LedgerPoisoned):
            approve(ledger, sequence, CLEO)
        ledger = bb.Ledger(store=store.inner, signer=OWN.signer)
    if fault is StoreFault.UNKNOWN_WRITTEN:
        assert ledger.head.sequence == sequence + 3
        (outcome,) = together(*approving(ledger, sequence, CLEO))
        assert said(outcome) == "not_pending"
    else:
        assert ledger.head.sequence == sequence + 1
        assert [row.approved_by for row in ledger.pending()] == [(BERT.signer_id,)]
        assert str(ledger.balance("ALICE", "USDT").available) == "100"
        assert approve(ledger, sequence, CLEO) is not None
    assert carried_out(ledger) == [(sequence + 3, str(sequence))]
    assert str(ledger.balance("ALICE", "USDT").available) == "55"
    assert ledger.audit(level="signatures").head == ledger.head


@pytest.mark.parametrize("fault", StoreFault)
def test_a_freeze_that_is_not_written_is_not_in_force(fault: StoreFault) -> None:
    """After a failed write an account is frozen or not as the store says, and can be frozen then."""
    store, ledger = faulty(6, fault)
    asked: Any = {
        "reason": "x",
        "authorised_by": (ANNA.signer,),
        "correlation_id": "g",
        "idempotency_key": "k",
    }
    with pytest.raises((bb.StoreUnavailable, bb.CommitOutcomeUnknown)):
        ledger.governance.freeze(ALICE, **asked)
    if fault is not StoreFault.UNAVAILABLE:
        ledger = bb.Ledger(store=store.inner, signer=OWN.signer)
    if fault is not StoreFault.UNKNOWN_WRITTEN:
        assert ledger.terms_of(ALICE) is None
        ledger.commit(transfer("ALICE", "BOB", "1 USDT"))
    record = ledger.governance.freeze(ALICE, **asked)
    assert ledger.head.sequence == record.sequence
    with pytest.raises(bb.AccountFrozen):
        ledger.commit(transfer("ALICE", "BOB", "1 USDT"))
    assert ledger.audit().head == ledger.head


@pytest.mark.parametrize("fault", StoreFault)
def test_a_revocation_that_is_not_written_ends_no_key(fault: StoreFault) -> None:
    """After a failed write what a key approved counts, unless the store has its revocation."""
    store, ledger = faulty(8, fault)
    sequence = propose(ledger, by=OWN)
    approve(ledger, sequence, BERT)
    revocation = KeyringChange(revoke={BERT.key_id: sequence})
    with pytest.raises((bb.StoreUnavailable, bb.CommitOutcomeUnknown)):
        change(ledger, revocation)
    if fault is not StoreFault.UNAVAILABLE:
        ledger = bb.Ledger(store=store.inner, signer=OWN.signer)
    entry = approve(ledger, sequence, CLEO)
    assert (entry is None) is (fault is StoreFault.UNKNOWN_WRITTEN)
    if entry is None:
        assert [row.approved_by for row in ledger.pending()] == [(CLEO.signer_id,)]
    else:
        change(ledger, revocation)
    assert ledger.audit(level="signatures").head == ledger.head


# --------------------------------------------------------------------------- keys of requests

Asking = Callable[[bb.Ledger, str, dict[str, Any]], object]


def _freeze(ledger: bb.Ledger, what: str, common: dict[str, Any]) -> object:
    return ledger.governance.freeze(ALICE, reason=what, authorised_by=(ANNA.signer,), **common)


def _reopen(ledger: bb.Ledger, what: str, common: dict[str, Any]) -> object:
    return ledger.governance.reopen(BOB, reason=what, authorised_by=(ANNA.signer,), **common)


def _close(ledger: bb.Ledger, what: str, common: dict[str, Any]) -> object:
    return ledger.governance.close(BOB, reason=what, authorised_by=(ANNA.signer,), **common)


def _limit(ledger: bb.Ledger, what: str, common: dict[str, Any]) -> object:
    floor = {"this": "-5", "that": "-6"}[what]
    return ledger.governance.limit(ALICE, floor=floor, reason="x", authorised_by=(ANNA.signer,), **common)


def _propose(ledger: bb.Ledger, what: str, common: dict[str, Any]) -> object:
    entry = correction({"this": "5", "that": "6"}[what])
    key = common["idempotency_key"]
    return ledger.governance.propose(entry, proposed_by=ANNA.signer, idempotency_key=key)


def _approve(ledger: bb.Ledger, what: str, common: dict[str, Any]) -> object:
    first, second = (row.sequence for row in ledger.records(kind=bb.RecordKind.PROPOSAL))
    return ledger.governance.approve(first if what == "this" else second, CLEO.signer, **common)


def _attest(ledger: bb.Ledger, what: str, common: dict[str, Any]) -> object:
    return ledger.governance.attest({"this": 3, "that": 4}[what], CLEO.signer, **common)


def _override(ledger: bb.Ledger, what: str, common: dict[str, Any]) -> object:
    return ledger.governance.override(
        transfer("ALICE", "BOB", "60 USDT"),
        rule="small/1",
        expires_at=LATER,
        reason=what,
        authorised_by=(ANNA.signer,),
        **common,
    )


@pytest.mark.parametrize("where", ["memory", "home"])
@pytest.mark.parametrize(
    "ask",
    [_freeze, _reopen, _close, _limit, _propose, _approve, _attest, _override],
    ids=lambda ask: ask.__name__[1:],
)
def test_every_verb_is_done_once_under_a_key(ask: Asking, where: str, tmp_path: Path) -> None:
    """Threads and restarts with one key get the first result; another request under it is a conflict."""
    place = Place(tmp_path / "books" if where == "home" else None)
    ledger = place.create()
    ledger.adopt_rules(
        [EntryLimit(name="small/1", money="50 USDT")], authorised_by=(ANNA.signer,), correlation_id="r"
    )
    if ask is _reopen:
        _freeze_of_bob(ledger)
    if ask is _approve:
        first, _ = propose(ledger, correction("5")), propose(ledger, correction("6"))
        approve(ledger, first, DORA)
    head = ledger.head.sequence
    common = {"correlation_id": "g", "idempotency_key": "k"}
    results = together(*[lambda: ask(ledger, "this", common)] * 6)
    assert all(result == results[0] for result in results)
    after = ledger.head
    assert after.sequence == head + (2 if ask is _approve else 1)
    for _ in range(2):
        assert ask(ledger, "this", {**common, "correlation_id": "another"}) == results[0]
        with pytest.raises(bb.IdempotencyConflict) as caught:
            ask(ledger, "that", common)
        assert (caught.value.key, ledger.head) == ("k", after)
        with pytest.raises(bb.IdempotencyConflict):
            ledger.deposit("ALICE", "1 USDT", correlation_id="d", idempotency_key="k")
        ledger = place.reopened(ledger)
    assert ledger.audit(level="signatures").head == after
    ledger.close()


def _freeze_of_bob(ledger: bb.Ledger) -> None:
    ledger.governance.freeze(BOB, reason="x", authorised_by=(BERT.signer,), correlation_id="g")
