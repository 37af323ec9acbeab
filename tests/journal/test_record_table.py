"""The record table: every kind, who signs it, what it is about, and the one spelling of its body."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import rfc8785
from hypothesis import assume, given
from hypothesis import strategies as st

from bibank.errors import InvalidInput, InvalidMetadata, InvalidType, InvalidValue
from bibank.journal.account_records import read_decision
from bibank.journal.links import check_links
from bibank.journal.overrides import read_override
from bibank.journal.proposals import content_digest, digest_of, proposal_payload, read_proposal
from bibank.journal.records import RECORD_TABLE, Inner, Subject, check_record, record_cause
from bibank.model.entry import TransactionIntent, UnsignedEntry, with_key
from bibank.model.json_value import BODY_LIMITS, FrozenMap, freeze, thaw
from bibank.model.keyring import Keyring
from bibank.model.links import MAX_SEQUENCE, ApprovedBy, EntryLinks, IdempotencyMark
from bibank.model.policy import AdjustmentPurpose
from bibank.model.record import RecordKind, UnsignedRecord, key_of, with_record_key, without_key
from bibank.testing.strategies import identifiers, unsigned_entries
from tests.journal.machines import ALICE, BOB, VAULT

DIGEST = "5a" * 32
LEGS = [
    {"account": ALICE, "amount": "45", "side": "debit"},
    {"account": VAULT, "amount": "45", "side": "credit"},
]
DECISION = {"account": ALICE, "ledger": "books/0", "previous": 7, "reason": "court"}
PAYLOADS: dict[RecordKind, dict[str, Any]] = {
    RecordKind.ACCOUNT_FROZEN: DECISION,
    RecordKind.ACCOUNT_REOPENED: DECISION,
    RecordKind.ACCOUNT_CLOSED: DECISION,
    RecordKind.LIMIT_SET: {**DECISION, "floor": "-100.5"},
    RecordKind.PROPOSAL: {
        "correlation_id": "case-7",
        "intent": "adjustment",
        "ledger": "books/0",
        "metadata": {"purpose": "CORRECTION", "reason": "r", "requires_approval": True},
        "postings": LEGS,
    },
    RecordKind.APPROVAL: {"ledger": "books/0", "proposal": DIGEST, "sequence": 7},
    RecordKind.ATTESTATION: {"hash": DIGEST, "ledger": "books/0", "sequence": 7},
    RecordKind.OVERRIDE: {
        "entry": DIGEST,
        "expires_at": "2026-01-25T10:00:00Z",
        "ledger": "books/0",
        "reason": "r",
        "rule": "daily/1",
    },
}
APPROVED = ApprovedBy(sequence=3, proposal=DIGEST, approvals=(DIGEST,))
TORN = {"bytes": 5, "file": "2026-01-25.jsonl.torn-7", "sha256": DIGEST}


def envelope(kind: RecordKind, payload: object, **more: object) -> FrozenMap:
    """A body that holds an envelope, as it is read."""
    whole = {
        "payload": payload,
        "payloadType": f"application/vnd.bibank.{kind.value}+json",
        "signatures": [],
        **more,
    }
    return freeze(whole, BODY_LIMITS)


def plain(body: object) -> Any:
    """A body without an envelope, as it is read."""
    return freeze({"value": body}, BODY_LIMITS)["value"]


EXPECTED = {
    "keyring_adopted": (Inner.NOBODY, Subject.LEDGER, False),
    "keyring_changed": (Inner.KEYRING, Subject.LEDGER, False),
    "rules_adopted": (Inner.RULES, Subject.LEDGER, False),
    "account_frozen": (Inner.RULES, Subject.ACCOUNT, False),
    "account_reopened": (Inner.RULES, Subject.ACCOUNT, False),
    "account_closed": (Inner.RULES, Subject.ACCOUNT, False),
    "limit_set": (Inner.RULES, Subject.ACCOUNT, False),
    "proposal": (Inner.PROPOSER, Subject.SIGNER, False),
    "approval": (Inner.APPROVER, Subject.SIGNER, True),
    "attestation": (Inner.ANYBODY, Subject.SIGNER, True),
    "override": (Inner.RULES, Subject.LEDGER, False),
    "recovery": (Inner.NOBODY, Subject.LEDGER, False),
}


def test_the_table_covers_every_kind() -> None:
    """Each has a row that says who signs, what it is about, whether it follows a line, and what it does."""
    assert {kind.value for kind in RecordKind} == set(EXPECTED)
    assert set(RECORD_TABLE) == set(RecordKind)
    for kind, rule in RECORD_TABLE.items():
        assert (rule.inner, rule.subject, rule.cites_line) == EXPECTED[kind.value]
        assert rule.effect
        if kind in PAYLOADS:
            body = envelope(kind, PAYLOADS[kind])
            check_record(kind, body)
            assert record_cause(kind, body) == (7 if rule.cites_line else None)


@pytest.mark.parametrize("kind", RecordKind, ids=lambda kind: kind.value)
def test_no_schema_takes_another_body(kind: RecordKind) -> None:
    """Empty bodies, bodies with one member more or less, and envelopes without one of their members."""
    for body in ({}, {"x": 1}, {"payload": {}, "payloadType": "x"}):
        with pytest.raises(InvalidValue):
            check_record(kind, plain(body))
    if EXPECTED[kind.value][0] is Inner.NOBODY:
        return
    good = envelope(kind, PAYLOADS.get(kind, {}))
    check_record(kind, good)
    for name in good:
        with pytest.raises(InvalidValue):
            check_record(kind, FrozenMap({other: good[other] for other in good if other != name}))
    with pytest.raises(InvalidValue):
        check_record(kind, FrozenMap({**good, "more": 1}))


JUNK: tuple[Any, ...] = (None, True, False, -1, 0, 2**53 - 1, "", "x", " ", [], ["x"], {}, {"a": 1})


@pytest.mark.parametrize("kind", PAYLOADS, ids=lambda kind: kind.value)
def test_a_payload_has_exactly_its_members(kind: RecordKind) -> None:
    """Each of them, none besides, and nothing of another type; a payload is an object."""
    payload = PAYLOADS[kind]
    for name in payload:
        with pytest.raises(InvalidInput):
            check_record(kind, envelope(kind, {n: v for n, v in payload.items() if n != name}))
        for value in JUNK:
            is_taken = (
                name == "ledger"  # held to the ledger's id when it takes effect
                or (name in ("reason", "correlation_id") and value == "x")
                or (name == "correlation_id" and value == " ")
                or (name == "previous" and value in (0, 2**53 - 1) and type(value) is int)
                or (name == "sequence" and value == 2**53 - 1)
            )
            if not is_taken:
                with pytest.raises(InvalidInput):
                    check_record(kind, envelope(kind, {**payload, name: value}))
    for other in ({**payload, "more": 1}, list(payload), None, "x", 5):
        with pytest.raises(InvalidInput):
            check_record(kind, envelope(kind, other))


PROPOSAL = PAYLOADS[RecordKind.PROPOSAL]
META = PROPOSAL["metadata"]
WITHDRAWAL = {"intent": "withdrawal", "metadata": {}}
SPELLINGS: list[tuple[RecordKind, dict[str, Any]]] = [
    *(
        (RecordKind.LIMIT_SET, {"floor": floor})
        for floor in ("-0", "-1.0", "-01", "+1", "1", "-.5", " -1", "0.0", "-1e3")
    ),
    *(
        (RecordKind.LIMIT_SET, {"account": name})
        for name in (
            ALICE.replace("AVAILABLE", "LOCKED"),
            "REV:SYSTEM:FEE:USDT:TRADING",
            "EQUITY:SYSTEM:CAPITAL:USDT:MAIN",
            "EXP:SYSTEM:A:USDT:MAIN",
        )
    ),
    *((kind, {"account": ALICE.lower()}) for kind in (RecordKind.ACCOUNT_FROZEN, RecordKind.LIMIT_SET)),
    *((RecordKind.ACCOUNT_CLOSED, {"reason": reason}) for reason in ("\t \n", "x" * 1025)),
    (RecordKind.ACCOUNT_FROZEN, {"floor": "0"}),
    *(
        (kind, {"sequence": value})
        for kind in (RecordKind.APPROVAL, RecordKind.ATTESTATION)
        for value in (0, -1, True, "7")
    ),
    *(
        (RecordKind.APPROVAL, {"proposal": value})
        for value in (DIGEST.upper(), DIGEST[1:], DIGEST + "0", DIGEST + "\n")
    ),
    *((RecordKind.ATTESTATION, {"hash": value}) for value in (DIGEST.upper(), DIGEST[1:], "GENESIS")),
    *((RecordKind.OVERRIDE, {"rule": value}) for value in ("daily", "Daily/1", "daily/0", "daily/1\n", "/1")),
    *(
        (RecordKind.OVERRIDE, {"expires_at": value})
        for value in (
            "2026-01-25T10:00:00.000000Z",
            "2026-01-25T10:00:00+00:00",
            "2026-01-25",
            "2026-01-25T24:00:00Z",
        )
    ),
    (RecordKind.OVERRIDE, {"entry": DIGEST.upper()}),
    *(
        (RecordKind.PROPOSAL, {"intent": value})
        for value in ("deposit", "transfer", "trade", "fee", "genesis", "Adjustment")
    ),
    *(
        (RecordKind.PROPOSAL, {"postings": [{**LEGS[0], "amount": text}, {**LEGS[1], "amount": text}]})
        for text in ("45.0", "045", "45.", "+45", "-45", "0", "4e1", "45.000000001")
    ),
    (RecordKind.PROPOSAL, {"postings": [{**LEGS[0], "amount": 45}, LEGS[1]]}),
    (RecordKind.PROPOSAL, {"postings": [{**LEGS[0], "account": 45}, LEGS[1]]}),
    (RecordKind.PROPOSAL, {"postings": [{**LEGS[0], "side": "Debit"}, LEGS[1]]}),
    (RecordKind.PROPOSAL, {"postings": [{**LEGS[0], "more": 1}, LEGS[1]]}),
    (RecordKind.PROPOSAL, {"postings": [{"account": ALICE, "amount": "45"}, LEGS[1]]}),
    (RecordKind.PROPOSAL, {"postings": [{**LEGS[0], "amount": "44"}, LEGS[1]]}),
    (RecordKind.PROPOSAL, {"postings": LEGS[:1]}),
    (RecordKind.PROPOSAL, {"postings": LEGS * 129}),
    *(
        (RecordKind.PROPOSAL, {"metadata": {**META, **more}})
        for more in (
            {"requires_approval": 1},
            {"purpose": "capital"},
            {"reason": " "},
            {"bb.hold": "3"},
            {"bb.reverses": "3"},
            {"bb.idempotency_key": "k", "bb.idempotency_digest": DIGEST},
            {"bb.proposal": DIGEST},
            {"bb.approvals": [DIGEST], "bb.proposal": DIGEST},
            {"bb.unheard": "x"},
            {"bb.effective_at": "2026-01-25T10:00:00.0Z"},
            {"bb.payee": "WITHDRAWAL"},
        )
    ),
    (RecordKind.PROPOSAL, {**WITHDRAWAL, "metadata": {"bb.reverses": "3"}}),
    (
        RecordKind.PROPOSAL,
        {**WITHDRAWAL, "postings": [{**LEGS[0], "account": BOB}, {**LEGS[1], "account": ALICE}]},
    ),
    *((RecordKind.PROPOSAL, {"correlation_id": text}) for text in ("", "x" * 129, "caff\u00e8", "x\n")),
]


@pytest.mark.parametrize(("kind", "changes"), SPELLINGS, ids=lambda value: getattr(value, "value", None))
def test_a_payload_has_one_spelling(kind: RecordKind, changes: dict[str, Any]) -> None:
    """Other spellings of numbers, names and times, and what could never be carried out, are refused."""
    with pytest.raises(InvalidInput):
        check_record(kind, envelope(kind, {**PAYLOADS[kind], **changes}))


@pytest.mark.parametrize(
    "changes",
    [WITHDRAWAL, {"metadata": {**META, "bb.effective_at": "2026-01-25T10:00:00Z", "note": [1, {"a": None}]}}],
)
def test_other_proposals_that_are_one(changes: dict[str, Any]) -> None:
    """Withdrawals, and adjustments that say when they count, with notes."""
    check_record(RecordKind.PROPOSAL, envelope(RecordKind.PROPOSAL, {**PROPOSAL, **changes}))


@pytest.mark.parametrize("kind", PAYLOADS, ids=lambda kind: kind.value)
def test_an_envelope_may_bear_a_key(kind: RecordKind) -> None:
    """A whole one beside the envelope, which nobody signs: it is read, and taken off; half of one is none."""
    body = envelope(kind, PAYLOADS[kind])
    bare = UnsignedRecord(kind=kind, subject="s", correlation_id="r", body=body)
    mark = IdempotencyMark(key="k", digest=DIGEST)
    borne = with_record_key(bare, mark)
    check_record(kind, borne.body)
    assert (key_of(borne.body), without_key(borne.body), key_of(body)) == (mark, body, None)
    assert without_key(body) is body
    for half in ("bb.idempotency_key", "bb.idempotency_digest"):
        with pytest.raises(InvalidInput):
            check_record(kind, FrozenMap({n: v for n, v in borne.body.items() if n != half}))
    for odd in ({"bb.idempotency_key": ""}, {"bb.idempotency_digest": "5A" * 32}, {"bb.other": "x"}):
        with pytest.raises(InvalidInput):
            check_record(kind, FrozenMap({**borne.body, **odd}))


@pytest.mark.parametrize(
    "files",
    [
        None,
        "x",
        {},
        [],
        ["x"],
        [TORN] * 2,
        [{**TORN, "file": f"2026-01-25.jsonl.torn-{n}"} for n in range(1, 258)],
        [{**TORN, "more": 1}],
        [{"bytes": 5, "file": TORN["file"]}],
        *([{**TORN, "bytes": value}] for value in (True, -1, "5", None)),
        *(
            [{**TORN, "file": value}]
            for value in ("2026-01-25.jsonl", "../2026-01-25.jsonl.torn-7", "2026-01-25.jsonl.torn-07", 5)
        ),
        *([{**TORN, "sha256": value}] for value in (DIGEST.upper(), DIGEST[1:], 5)),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_recovery_of_wrong_parts(files: Any) -> None:
    """It lists files of torn bytes, each once, at most 256, and nothing else."""
    many = [{**TORN, "file": f"2026-01-25.jsonl.torn-{n}"} for n in range(1, 257)]
    check_record(RecordKind.RECOVERY, plain({"set_aside": many}))
    with pytest.raises(InvalidValue):
        check_record(RecordKind.RECOVERY, plain({"set_aside": files}))


def test_a_keyring_is_adopted_with_its_ledger() -> None:
    """Its body is version 1, and the ledger's id."""
    body = FrozenMap({**Keyring.unsigned().to_body(), "ledger": "books/0"})
    check_record(RecordKind.KEYRING_ADOPTED, body)
    for changes in ({"ledger": None}, {"ledger": 5}, {"version": 2}, {"more": 1}):
        with pytest.raises(InvalidValue):
            check_record(RecordKind.KEYRING_ADOPTED, FrozenMap({**body, **changes}))


# --------------------------------------------------------------------------- digests and round trips

_proposable = st.sampled_from([TransactionIntent.ADJUSTMENT, TransactionIntent.WITHDRAWAL]).flatmap(
    unsigned_entries
)
_digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
_approved = st.builds(
    ApprovedBy,
    sequence=st.integers(1, MAX_SEQUENCE),
    proposal=_digests,
    approvals=st.sets(_digests, min_size=1, max_size=15).map(sorted).map(tuple),
)


def sha256(value: object) -> str:
    """Hash JSON by `rfc8785` and `hashlib` alone."""
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()  # type: ignore[arg-type]  # plain JSON


@given(_proposable, identifiers(), _approved)
def test_a_proposal_comes_back(entry: UnsignedEntry, ledger_id: str, approved: ApprovedBy) -> None:
    """Read again it is the entry; its hash is that of its JCS, also when it is approved and bears a key."""
    assume(entry.links == EntryLinks(effective_at=entry.links.effective_at))
    payload = proposal_payload(
        ledger_id=ledger_id,
        intent=entry.intent,
        correlation_id=entry.correlation_id,
        postings=entry.postings,
        metadata=entry.whole_metadata,
    )
    read = read_proposal(freeze(thaw(payload), BODY_LIMITS))
    assert (read.intent, read.correlation_id, read.postings, read.metadata) == (
        entry.intent,
        entry.correlation_id,
        entry.postings,
        entry.whole_metadata,
    )
    is_adjustment = entry.intent is TransactionIntent.ADJUSTMENT
    assert read.purpose == (AdjustmentPurpose(entry.metadata["purpose"]) if is_adjustment else None)
    expected = sha256(
        {
            "correlation_id": entry.correlation_id,
            "intent": entry.intent.value,
            "ledger": ledger_id,
            "metadata": thaw(entry.whole_metadata),
            "postings": [
                {"account": str(p.account), "amount": str(p.amount), "side": p.side.value}
                for p in entry.postings
            ],
        }
    )
    draft = read.draft(approved)
    keyed = with_key(draft, IdempotencyMark(key="k", digest=DIGEST))
    assert draft.links.approved == approved
    assert draft.cause == approved.sequence
    assert {expected} == {
        digest_of(payload),
        *(content_digest(each, ledger_id=ledger_id) for each in (entry, draft, keyed)),
    }
    assert content_digest(entry, ledger_id=ledger_id + "x") != expected


@given(_approved, st.one_of(st.none(), st.just("k")))
def test_what_approved_an_entry_comes_back(approved: ApprovedBy, key: str | None) -> None:
    """From its metadata and its cause, and from nothing else."""
    mark = None if key is None else IdempotencyMark(key=key, digest=DIGEST)
    links = EntryLinks(approved=approved, idempotency=mark)
    members = freeze(links.to_metadata(), BODY_LIMITS)
    assert (links.is_plain, links.cause) == (False, approved.sequence)
    assert EntryLinks.from_metadata(members, causality_id=str(approved.sequence)) == links
    for cause in (None, "0", "x", f"0{approved.sequence}", str(MAX_SEQUENCE + 1)):
        with pytest.raises(InvalidMetadata):
            EntryLinks.from_metadata(members, causality_id=cause)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: ApprovedBy(sequence=None, proposal=DIGEST, approvals=(DIGEST,)), InvalidMetadata),
        (lambda: ApprovedBy(sequence=0, proposal=DIGEST, approvals=(DIGEST,)), InvalidMetadata),
        (lambda: ApprovedBy(sequence=True, proposal=DIGEST, approvals=(DIGEST,)), InvalidType),
        (lambda: ApprovedBy(sequence=1, proposal="x", approvals=(DIGEST,)), InvalidMetadata),
        (lambda: ApprovedBy(sequence=1, proposal=DIGEST, approvals=()), InvalidMetadata),
        (lambda: ApprovedBy(sequence=1, proposal=DIGEST, approvals=[DIGEST]), InvalidType),
        (lambda: ApprovedBy(sequence=1, proposal=DIGEST, approvals=(DIGEST, DIGEST)), InvalidMetadata),
        (lambda: ApprovedBy(sequence=1, proposal=DIGEST, approvals=(DIGEST, "0" * 64)), InvalidMetadata),
        (lambda: EntryLinks(approved="x"), InvalidType),
        (lambda: EntryLinks(approved=APPROVED, hold=3), InvalidMetadata),
        (lambda: EntryLinks(approved=APPROVED, reverses=3), InvalidMetadata),
    ],
)
def test_links_of_approvals_of_wrong_parts(make: Callable[[], object], error: type[Exception]) -> None:
    """Sorted, each once, at least one; with a cause; and of one thing only."""
    with pytest.raises(error):
        make()


def test_only_adjustments_and_withdrawals_are_approved() -> None:
    """The link table refuses other intents, and an adjustment that would reverse a line."""
    for intent in TransactionIntent:
        if intent in (TransactionIntent.ADJUSTMENT, TransactionIntent.WITHDRAWAL):
            check_links(intent, (), EntryLinks(approved=APPROVED))
            continue
        with pytest.raises(InvalidValue, match="only adjustments and withdrawals are approved"):
            check_links(intent, (), EntryLinks(approved=APPROVED))
    with pytest.raises(InvalidValue, match="an adjustment reverses nothing"):
        check_links(TransactionIntent.ADJUSTMENT, (), EntryLinks(reverses=3))


def test_what_is_read_of_a_payload() -> None:
    """Decisions and overrides come back as values."""
    decided = read_decision(RecordKind.LIMIT_SET, plain(PAYLOADS[RecordKind.LIMIT_SET]))
    assert (str(decided.account), decided.previous, str(decided.floor)) == (ALICE, 7, "-100.5")
    assert read_decision(RecordKind.ACCOUNT_FROZEN, plain(DECISION)) == attrs.evolve(decided, floor=None)
    override = read_override(plain(PAYLOADS[RecordKind.OVERRIDE]))
    assert (override.entry, override.rule, override.ledger_id) == (DIGEST, "daily/1", "books/0")
