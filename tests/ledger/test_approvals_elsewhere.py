"""Approvals elsewhere: refused entries, unsigned ledgers, forks, retries, restarts, other machines."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

import bibank as bb
from bibank import drafts
from bibank.model.json_value import FrozenMap
from bibank.rules import AllowedAssets, EntryLimit, SpendingLimit
from bibank.signing import KeyringChange, Purpose
from tests.ledger.operators import (
    ALICE,
    ANNA,
    BERT,
    CLEO,
    DORA,
    OWN,
    approve,
    correction,
    govern,
    governed,
    propose,
    refused,
    shown,
    signed,
)
from tests.signing.forge import make, reopen

# --------------------------------------------------------------------------- what a rule refuses


def test_an_entry_that_a_rule_refuses_leaves_the_proposal_as_it_was() -> None:
    """The approval is refused with it, and the same approval passes when the money is there."""
    ledger = governed()
    sequence = propose(ledger)
    approve(ledger, sequence, BERT)
    ledger.transfer("ALICE", "BOB", "80 USDT", correlation_id="t")
    last = signed(ledger.governance.draft_approval(sequence), CLEO)
    with refused(ledger, kind=bb.InsufficientBalance):
        ledger.governance.commit(last, correlation_id="a")
    ledger.deposit("ALICE", "25 USDT", correlation_id="d")
    record, entry = ledger.governance.commit(last, correlation_id="a")
    assert isinstance(entry, bb.JournalEntry)
    assert (record.sequence + 1, str(ledger.balance(ALICE).available)) == (entry.sequence, "0")


def test_nothing_leaves_a_frozen_account_by_approvals_either() -> None:
    """Reopened, the proposal that waited is carried out."""
    ledger = governed()
    sequence = propose(ledger)
    approve(ledger, sequence, BERT)
    ledger.governance.freeze(ALICE, reason="court", authorised_by=[DORA.signer], correlation_id="f")
    with refused(ledger, kind=bb.AccountFrozen):
        approve(ledger, sequence, CLEO)
    ledger.governance.reopen(ALICE, reason="done", authorised_by=[DORA.signer], correlation_id="f")
    assert approve(ledger, sequence, CLEO) is not None


def test_adopted_rules_judge_what_was_approved() -> None:
    """An override lets the proposed entry pass one all the same."""
    ledger = governed()
    sequence = propose(ledger)
    approve(ledger, sequence, BERT)
    rules = [AllowedAssets(assets=["EUR"])]
    ledger.adopt_rules(rules, authorised_by=[DORA.signer], correlation_id="r")
    with refused(ledger, kind=bb.Refused):
        approve(ledger, sequence, CLEO)
    ledger.governance.override(
        correction(),
        rule="allowed-assets/1",
        expires_at=ledger.record(sequence).timestamp + timedelta(hours=1),
        reason="as approved",
        authorised_by=[DORA.signer],
        correlation_id="o",
    )
    assert approve(ledger, sequence, CLEO) is not None
    assert ledger.audit().violated == ()


def test_what_is_remembered_of_a_refused_approval_is_nothing() -> None:
    """Rules with a memory have not seen it."""
    ledger = governed()
    limit = SpendingLimit(name="daily/1", money="50 USDT", window=timedelta(days=1))
    ledger.adopt_rules(
        [limit, EntryLimit(name="small/1", money="60 USDT")], authorised_by=[ANNA.signer], correlation_id="r"
    )
    sequence = propose(ledger, correction("45"))
    approve(ledger, sequence, BERT)
    ledger.transfer("ALICE", "BOB", "50 USDT", correlation_id="t")
    before = shown(ledger)
    for _ in range(3):
        with pytest.raises(bb.Refused):
            approve(ledger, sequence, CLEO)
    assert shown(ledger) == before


# --------------------------------------------------------------------------- unsigned ledgers, forks


def test_an_unsigned_ledger_has_nobody_to_approve() -> None:
    """Adjustments are refused, proposed by whomever; what needs no approval passes."""
    ledger = bb.Ledger.in_memory({"USDT": "100"})
    ledger.deposit("ALICE", "100 USDT", correlation_id="d")
    before = shown(ledger)
    with pytest.raises(bb.ApprovalRequired, match="0 persons with the role operator"):
        ledger.commit(correction())
    with pytest.raises(bb.ApprovalRequired):
        propose(ledger)
    with pytest.raises(bb.ConfigurationError, match="has no signer of its own"):
        ledger.governance.propose(correction())
    draft = signed(ledger.governance.draft_proposal(correction()), ANNA)
    with pytest.raises(bb.ApprovalRequired):
        ledger.governance.commit(draft, correlation_id="p")
    assert shown(ledger) == before
    frozen = ledger.governance.freeze(ALICE, reason="because", correlation_id="f")
    assert frozen.body["signatures"] == ()
    with pytest.raises(bb.AccountFrozen):
        ledger.transfer("ALICE", "BOB", "1 USDT", correlation_id="t")


def test_a_fork_goes_on_with_what_is_open() -> None:
    """Its operators approve there for themselves, also what was proposed before, and nothing comes back."""
    ledger = governed()
    sequence = propose(ledger)
    approve(ledger, sequence, BERT)
    fork = ledger.fork()
    assert list(fork.pending()) == list(ledger.pending())
    entry = approve(fork, sequence, CLEO)
    assert entry is not None
    assert entry.causality_id == str(sequence)
    assert (list(fork.pending()), str(fork.balance(ALICE).available)) == ([], "55")
    assert [row.approved_by for row in ledger.pending()] == [("BERT_OPS",)]
    again = propose(fork, correction("1"))
    with refused(fork, "own_proposal"):
        approve(fork, again, ANNA)
    assert approve(fork, again, BERT, CLEO) is not None
    fork.audit(level="signatures")
    assert approve(ledger, sequence, DORA) is not None
    past = ledger.fork(at=sequence)
    assert [row.approved_by for row in past.pending()] == [()]
    assert approve(past, sequence, BERT, CLEO) is not None


def test_what_is_signed_for_a_ledger_is_not_for_its_fork() -> None:
    """Nor the other way round, nor for a fork of the fork: approvals, proposals, attestations, decisions."""
    ledger = governed()
    sequence = propose(ledger)
    fork = ledger.fork()
    fork.deposit("BOB", "1 USDT", correlation_id="d")
    ledgers = (ledger, fork, fork.fork())
    envelopes = [
        [
            signed(each.governance.draft_approval(sequence), BERT),
            signed(each.governance.draft_proposal(correction("2")), ANNA),
            signed(each.governance.draft_attestation(3), BERT),
            signed(each.governance.draft_decision(bb.RecordKind.ACCOUNT_FROZEN, ALICE, reason="r"), BERT),
        ]
        for each in ledgers
    ]
    for at, each in enumerate(ledgers):
        for foreign in envelopes[:at] + envelopes[at + 1 :]:
            for envelope in foreign:
                with refused(each, "other_ledger"):
                    each.governance.commit(envelope, correlation_id="a")
        for envelope in envelopes[at]:
            each.governance.commit(envelope, correlation_id="a")


def test_a_fork_decides_about_accounts_without_signatures() -> None:
    """What operators would have to agree to, a what-if does by itself; its keyring stays."""
    fork = governed().fork()
    record = fork.governance.freeze(ALICE, reason="what if", correlation_id="f")
    assert record.body["signatures"] == ()
    with pytest.raises(bb.AccountFrozen):
        fork.transfer("ALICE", "BOB", "1 USDT", correlation_id="t")
    with pytest.raises(bb.ApprovalRequired):
        fork.commit(correction())
    assert fork.account_terms()[0].sequence == record.sequence
    fork.audit(level="signatures")


# --------------------------------------------------------------------------- retries and restarts


def test_a_retry_gives_what_was_committed() -> None:
    """With the same key: the record, and the entry where it carried one out, also when that is long done."""
    ledger = governed()
    first = ledger.governance.propose(correction(), proposed_by=ANNA.signer, idempotency_key="p")
    again = ledger.governance.propose(
        correction(correlation_id="case-9"), proposed_by=ANNA.signer, idempotency_key="p"
    )
    assert again == first
    ask = ledger.governance.approve
    one = ask(first.sequence, BERT.signer, correlation_id="a", idempotency_key="b")
    assert ask(first.sequence, BERT.signer, correlation_id="other", idempotency_key="b") == one
    two = ask(first.sequence, CLEO.signer, correlation_id="a", idempotency_key="c")
    assert two.entry is not None
    head = ledger.head
    for key, signer, found in (("b", BERT, one), ("c", CLEO, two)):
        assert ask(first.sequence, signer.signer, correlation_id="z", idempotency_key=key) == found
    assert ledger.head == head
    with refused(ledger, kind=bb.IdempotencyConflict):
        ask(first.sequence, DORA.signer, correlation_id="a", idempotency_key="c")
    with refused(ledger, kind=bb.IdempotencyConflict):
        ledger.deposit("BOB", "1 USDT", correlation_id="d", idempotency_key="b")
    with refused(ledger, kind=bb.IdempotencyConflict):
        ledger.governance.propose(correction("2"), proposed_by=ANNA.signer, idempotency_key="p")
    with refused(ledger, kind=bb.IdempotencyConflict):
        ledger.governance.attest(3, BERT.signer, correlation_id="a", idempotency_key="p")


def test_a_key_of_a_refused_approval_is_free() -> None:
    """What was refused was never asked."""
    ledger = governed()
    sequence = propose(ledger)
    with refused(ledger, "own_proposal"):
        ledger.governance.approve(sequence, ANNA.signer, correlation_id="a", idempotency_key="k")
    done = ledger.governance.approve(sequence, BERT.signer, correlation_id="a", idempotency_key="k")
    assert done.entry is None


@pytest.mark.parametrize("mode", ["entry", "group"])
def test_proposals_outlive_a_restart(tmp_path: Path, mode: Any) -> None:
    """What was proposed and approved by then is open after opening again, for readers too."""
    with make(tmp_path / "books", mode=mode) as ledger:
        govern(ledger)
        ledger.deposit("ALICE", "100 USDT", correlation_id="d")
        sequence = propose(ledger)
        done = ledger.governance.approve(sequence, BERT.signer, correlation_id="a", idempotency_key="k")
        pending = list(ledger.pending())
    with reopen(tmp_path / "books", mode=mode) as ledger:
        assert list(ledger.pending()) == pending
        with bb.LedgerReader.open(tmp_path / "books", show="written") as reader:
            assert list(reader.pending()) == pending
            assert list(reader.records(kind=bb.RecordKind.APPROVAL)) == [done.record]
            again = ledger.governance.approve(sequence, BERT.signer, correlation_id="a", idempotency_key="k")
            assert again == done
            with refused(ledger, "same_key"):
                approve(ledger, sequence, BERT)
            assert approve(ledger, sequence, CLEO) is not None
            ledger.flush_head()
            assert reader.refresh() == 2
            assert list(reader.pending()) == []
    with reopen(tmp_path / "books", mode=mode) as ledger:
        with refused(ledger, "not_pending"):
            approve(ledger, sequence, DORA)
        assert ledger.records(kind=bb.RecordKind.PROPOSAL)[0].sequence == sequence
    bb.audit_home(tmp_path / "books", level="signatures")


# --------------------------------------------------------------------------- signers on other machines


def test_envelopes_travel_and_come_back() -> None:
    """What is drafted here and signed elsewhere is committed as the verbs would."""
    ledger, g = (made := governed()), made.governance
    (proposal,) = g.commit(signed(g.draft_proposal(correction()), ANNA), correlation_id="case-7")
    assert isinstance(proposal, bb.JournalRecord)
    assert (proposal.kind, proposal.subject) == (bb.RecordKind.PROPOSAL, "ANNA_OPS")
    (first,) = g.commit(signed(g.draft_approval(proposal.sequence), BERT), correlation_id="a")
    record, entry = g.commit(signed(g.draft_approval(proposal.sequence), CLEO), correlation_id="b")
    assert isinstance(first, bb.JournalRecord)
    assert isinstance(entry, bb.JournalEntry)
    assert (record.correlation_id, entry.correlation_id) == ("b", "case-7")
    draft = g.draft_decision(bb.RecordKind.LIMIT_SET, ALICE, reason="r", floor=bb.SignedAmount("-5"))
    (limit,) = g.commit(signed(draft, BERT, CLEO), correlation_id="l")
    assert ledger.account_terms()[0].sequence == limit.sequence
    (attested,) = g.commit(signed(g.draft_attestation(entry.sequence), OWN), correlation_id="s")
    assert ledger.attestations()[0].sequence == attested.sequence


def test_what_is_no_envelope_of_governance_is_not_committed() -> None:
    """Envelopes of other kinds, unsigned ones, and other objects are refused."""
    ledger = governed()
    g = ledger.governance
    sequence = propose(ledger)
    nothing: Any = g.draft_approval(sequence).to_body()
    with refused(ledger, kind=bb.InvalidType):
        g.commit(nothing, correlation_id="a")
    foreign = ledger.keyring.draft(KeyringChange(retire=(DORA.key_id,)))
    with refused(ledger, kind=bb.ConfigurationError):
        g.commit(signed(foreign, ANNA), correlation_id="a")
    for kind in ("line", "permit", "rules_adopted"):
        with refused(ledger, kind=bb.ConfigurationError):
            g.commit(signed(attrs.evolve(g.draft_approval(sequence), kind=kind), BERT), correlation_id="a")
    with refused(ledger, kind=bb.MissingCorrelationId):
        g.commit(signed(g.draft_approval(sequence), BERT))
    for payload in ({}, {"sequence": sequence}, {**g.draft_approval(sequence).payload, "more": 1}):
        with refused(ledger, kind=bb.InvalidValue):
            odd = attrs.evolve(g.draft_approval(sequence), payload=FrozenMap(payload))
            g.commit(signed(odd, BERT), correlation_id="a")
    for draft in (g.draft_proposal(correction()), g.draft_attestation(3)):
        with refused(ledger, "too_few"):
            g.commit(draft, correlation_id="a")
    freeze = g.draft_decision(bb.RecordKind.ACCOUNT_FROZEN, ALICE, reason="r")
    with refused(ledger, "too_few"):
        g.commit(freeze, correlation_id="a")
    with refused(ledger, "wrong_role"):
        g.commit(signed(freeze, OWN), correlation_id="a")


def test_a_signer_that_is_none_is_refused() -> None:
    """A bare key, a name and nothing are no signers; a line is named by its number."""
    ledger = governed()
    sequence = propose(ledger)
    for odd in (None, "ANNA_OPS", b"", object()):
        junk: Any = odd
        with refused(ledger, kind=bb.ConfigurationError):
            ledger.governance.approve(sequence, junk, correlation_id="a")
        with refused(ledger, kind=bb.ConfigurationError):
            ledger.governance.attest(3, junk, correlation_id="a")
    for number in (True, "9", 9.0):
        junk = number
        with refused(ledger, kind=bb.InvalidType):
            ledger.governance.approve(junk, BERT.signer, correlation_id="a")
    for number in (0, -1, 99, 2**63):
        with refused(ledger, kind=bb.UnknownSequence):
            ledger.governance.approve(number, BERT.signer, correlation_id="a")


def test_the_thresholds_of_other_purposes_have_no_say() -> None:
    """Approvals are asked for by the policy for adjustments alone."""
    ledger = governed()
    rows = {row.purpose: row.threshold for row in ledger.keyring.policies}
    assert (rows[Purpose.ADJUSTMENT], rows[Purpose.RULES]) == (2, 1)
    ledger.commit(drafts.transfer("ALICE", "BOB", "1 USDT", correlation_id="t"))
    assert approve(ledger, propose(ledger), CLEO, DORA) is not None
