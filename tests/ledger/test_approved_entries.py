"""Approved entries: what they say, what they follow from, and that no other entry passes in their place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
import rfc8785

import bibank as bb
from bibank import drafts
from bibank.journal.batches import PreparedBatch
from bibank.model.json_value import FrozenMap, thaw
from bibank.model.links import ApprovedBy, EntryLinks
from bibank.model.record import UnsignedRecord
from bibank.signing import Envelope
from tests.ledger.operators import (
    ALICE,
    ANNA,
    BERT,
    CLEO,
    DORA,
    approve,
    correction,
    digests,
    governed,
    propose,
    refused,
    shown,
    signed,
)


def test_what_an_approved_entry_says() -> None:
    """It is what was proposed, follows from it, and names the hashes of the proposal and its approvals."""
    ledger = governed()
    when = datetime(2026, 1, 2, tzinfo=UTC)
    draft = correction(effective_at=when, metadata={"ticket": [7, {"a": None}]})
    sequence = propose(ledger, draft)
    one = ledger.governance.approve(sequence, BERT.signer, correlation_id="a", idempotency_key="k1").record
    two = ledger.governance.approve(sequence, CLEO.signer, correlation_id="a", idempotency_key="k2")
    entry = two.entry
    assert entry is not None
    assert (entry.sequence, entry.batch.first, entry.batch.size) == (
        two.record.sequence + 1,
        two.record.sequence,
        2,
    )
    assert (entry.causality_id, two.record.causality_id) == (str(sequence), str(sequence))
    assert (entry.intent, entry.postings, entry.correlation_id) == (draft.intent, draft.postings, "case-7")
    payload = thaw(ledger.record(sequence).body["payload"])
    assert payload == {
        "correlation_id": "case-7",
        "intent": "adjustment",
        "ledger": ledger.ledger_id,
        "metadata": {
            "bb.effective_at": "2026-01-02T00:00:00Z",
            "purpose": "CORRECTION",
            "reason": "typed twice",
            "requires_approval": True,
            "ticket": [7, {"a": None}],
        },
        "postings": [
            {"account": "LIAB:USER:ALICE:USDT:AVAILABLE", "amount": "45", "side": "debit"},
            {"account": "ASSET:SYSTEM:VAULT:USDT:MAIN", "amount": "45", "side": "credit"},
        ],
    }
    added = {name: value for name, value in entry.metadata.items() if name not in payload["metadata"]}
    assert added.pop("bb.idempotency_key") == "k2"
    assert len(str(added.pop("bb.idempotency_digest"))) == 64
    assert added == {
        "bb.approvals": digests(one, two.record),
        "bb.proposal": hashlib.sha256(rfc8785.dumps(payload)).hexdigest(),
    }
    assert two.record.subject == "CLEO_OPS"
    assert ledger.record(sequence).subject == "ANNA_OPS"


def test_what_is_pending_is_shown_as_it_is() -> None:
    """A row names the line, who proposed and approved it, what it moves, how many it needs, its hash."""
    ledger = governed()
    sequence = propose(ledger)
    approve(ledger, sequence, CLEO)
    (row,) = ledger.pending()
    assert (row.sequence, row.proposer, row.approved_by, row.needed) == (
        sequence,
        "ANNA_OPS",
        ("CLEO_OPS",),
        2,
    )
    assert (row.intent, row.purpose, row.reason) == (
        bb.TransactionIntent.ADJUSTMENT,
        bb.AdjustmentPurpose.CORRECTION,
        "typed twice",
    )
    assert (row.correlation_id, row.postings) == ("case-7", correction().postings)
    assert row.digest == ledger.governance.draft_approval(sequence).payload["proposal"]
    approve(ledger, sequence, BERT)
    assert list(ledger.pending()) == []


def test_two_proposals_of_one_content_are_two() -> None:
    """An approval of one counts for that one, and its signature is none for the other."""
    ledger = governed()
    first, second = propose(ledger), propose(ledger)
    draft = ledger.governance.draft_approval
    assert draft(first).payload["proposal"] == draft(second).payload["proposal"]
    approve(ledger, first, BERT)
    with refused(ledger, "bad_signature"):
        moved = attrs.evolve(draft(second), signatures=signed(draft(first), BERT).signatures)
        ledger.governance.commit(moved, correlation_id="a")
    assert [row.approved_by for row in ledger.pending()] == [("BERT_OPS",), ()]
    assert approve(ledger, second, CLEO) is None
    assert approve(ledger, first, DORA) is not None
    assert [(row.sequence, row.approved_by) for row in ledger.pending()] == [(second, ("CLEO_OPS",))]
    assert approve(ledger, second, BERT) is not None
    assert str(ledger.balance(ALICE).available) == "10"


def test_a_proposal_is_carried_out_once() -> None:
    """Whoever comes later approves nothing that is open any more."""
    ledger = governed()
    sequence = propose(ledger)
    approve(ledger, sequence, BERT, CLEO)
    for key in (DORA, BERT, CLEO, ANNA):
        with refused(ledger, "not_pending"):
            approve(ledger, sequence, key)


def crafted(ledger: bb.Ledger, envelope: Envelope, subject: str) -> UnsignedRecord:
    """Put an envelope into a record past all that governance checks by itself."""
    return UnsignedRecord(
        kind=bb.RecordKind(envelope.kind), subject=subject, correlation_id="a", body=envelope.to_body()
    )


@pytest.mark.parametrize("line", [1, 2, 3, 7, 8], ids=str)
def test_a_line_that_is_no_proposal_is_not_approved(line: int) -> None:
    """Neither by asking for it nor by a record that was made by hand."""
    ledger = governed()
    sequence = propose(ledger)
    approve(ledger, sequence, BERT)
    line = sequence + 1 if line == 8 else line
    with refused(ledger, kind=bb.UnknownSequence):
        approve(ledger, line, CLEO)
    draft = ledger.governance.draft_approval(sequence)
    envelope = signed(attrs.evolve(draft, payload=FrozenMap({**draft.payload, "sequence": line})), CLEO)
    with refused(ledger, kind=bb.UnknownSequence):
        ledger.governance.commit(envelope, correlation_id="a")
    with refused(ledger, "not_pending"):
        ledger._committer.commit(PreparedBatch((crafted(ledger, envelope, "CLEO_OPS"),)))
    assert approve(ledger, sequence, CLEO) is not None


@pytest.mark.parametrize(
    ("entry", "kind", "reason"),
    [
        (correction("44"), bb.NotAuthorised, "other_content"),
        (correction(correlation_id="case-8"), bb.NotAuthorised, "other_content"),
        (correction(reason="typed thrice"), bb.NotAuthorised, "other_content"),
        (correction(metadata={"note": "x"}), bb.NotAuthorised, "other_content"),
        (correction(effective_at=datetime(2026, 1, 2, tzinfo=UTC)), bb.NotAuthorised, "other_content"),
    ],
    ids=["amount", "correlation", "reason", "metadata", "time"],
)
def test_what_was_approved_is_what_is_committed(
    entry: bb.UnsignedEntry, kind: type[bb.BibankError], reason: str
) -> None:
    """A caller who writes the last approval and another entry himself gets neither committed."""
    ledger = governed()
    sequence = propose(ledger)
    one = ledger.governance.approve(sequence, BERT.signer, correlation_id="a").record
    envelope = signed(ledger.governance.draft_approval(sequence), CLEO)
    body = thaw(envelope.to_body())
    last = crafted(ledger, envelope, "CLEO_OPS")
    digest = str(envelope.payload["proposal"])
    approvals = tuple(sorted((*digests(one), hashlib.sha256(rfc8785.dumps(body)).hexdigest())))

    def links(given: bb.UnsignedEntry, found: tuple[str, ...]) -> bb.UnsignedEntry:
        claim = ApprovedBy(sequence=sequence, proposal=digest, approvals=found)
        return attrs.evolve(given, links=attrs.evolve(given.links, approved=claim))

    def commit(*drafts: bb.UnsignedEntry | UnsignedRecord) -> None:
        ledger._committer.commit(PreparedBatch(drafts))

    with refused(ledger, reason, kind=kind):
        commit(last, links(entry, approvals))
    with refused(ledger, "other_content"):
        commit(last, links(correction(), approvals[:1]))
    with refused(ledger, "other_content"):
        commit(last, links(correction(), tuple(sorted((*approvals, "5a" * 32)))))
    with refused(ledger, kind=bb.ApprovalRequired):
        commit(last, correction())
    with refused(ledger, kind=bb.ApprovalRequired):
        commit(last, links(correction(), approvals), links(correction(), approvals))
    with refused(ledger, kind=bb.InvalidValue):
        commit(last)
    for claimed in (links(correction(), approvals), links(correction(), digests(one))):
        with refused(ledger, kind=bb.ApprovalRequired):
            ledger.commit(claimed)
    commit(last, links(correction(), approvals))
    assert list(ledger.pending()) == []


def test_an_adjustment_without_a_proposal_is_refused_at_every_door() -> None:
    """Alone, in batches, among many, and in a preview."""
    ledger = governed()
    calls: list[Callable[[], object]] = [
        lambda: ledger.commit(correction()),
        lambda: ledger.preview(correction()),
        lambda: ledger.commit_batch([correction(), correction()]),
        lambda: ledger.fork().commit(correction()),
    ]
    for call in calls:
        with refused(ledger, kind=bb.ApprovalRequired):
            call()
    with refused(ledger, kind=bb.ApprovalRequired):
        ledger.commit(correction(), idempotency_key="k")
    (outcome,) = ledger.commit_each([correction()])
    assert isinstance(outcome, bb.ApprovalRequired)
    with refused(ledger, kind=bb.ApprovalRequired):
        ledger.commit_batch([drafts.deposit("ALICE", "1 USDT", correlation_id="b"), correction()])


def test_only_what_needs_approvals_is_proposed() -> None:
    """Other intents, links to other lines and keys are refused before anybody is asked."""
    ledger = governed()
    hold = ledger.hold("ALICE", "1 USDT", to=bb.WITHDRAWAL, correlation_id="h")
    plain = bb.UnsignedEntry(
        intent=bb.TransactionIntent.WITHDRAWAL, correlation_id="w", postings=correction().postings
    )
    for entry in (
        attrs.evolve(plain, intent=bb.TransactionIntent.TRANSFER),
        attrs.evolve(plain, links=EntryLinks(hold=hold.id)),
        attrs.evolve(plain, links=EntryLinks(reverses=7)),
        plain,
    ):
        before = shown(ledger)
        with pytest.raises(bb.InvalidInput):
            propose(ledger, entry)
        assert shown(ledger) == before
    nothing: Any = None
    with pytest.raises(bb.InvalidType):
        ledger.governance.propose(nothing, proposed_by=ANNA.signer)
    assert list(ledger.pending()) == []
