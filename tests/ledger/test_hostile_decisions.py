"""Hostile arguments of decisions: every one is a typed error, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

import bibank as bb
from bibank import drafts
from bibank.model.json_value import FrozenMap
from bibank.signing import AdjustmentPurpose, ApprovalTerms, Envelope, KeyringChange, Policy, Purpose, Role
from tests.ledger.operators import (
    ALICE,
    ANNA,
    BERT,
    CLEO,
    approve,
    correction,
    decide,
    governed,
    propose,
    shown,
)
from tests.store.journals import StillClock

ODD: tuple[Any, ...] = (
    None,
    True,
    5,
    -1,
    2**70,
    1.5,
    "",
    "\ud800",
    "x" * 5000,
    b"x",
    [],
    [[]],
    {},
    {"a": []},
)
LATER = datetime(2027, 1, 1, tzinfo=UTC)
ONE = drafts.transfer("ALICE", "BOB", "1 USDT", correlation_id="x")


@attrs.define
class Strange:
    """A signer whose parts are what a test says."""

    signer_id: Any = "BERT_OPS"
    public_key: Any = BERT.public_key
    algorithm: Any = bb.SignatureAlgorithm.ED25519
    signature: Any = b"\0" * 64

    def sign(self, message: bytes) -> Any:
        """Give what the test says."""
        return self.signature


def _no_text(odd: Any) -> Any:
    return b"" if odd is None or isinstance(odd, str) else odd


Attempt = Callable[[bb.Ledger, Any], object]
ATTEMPTS: dict[str, Attempt] = {
    "account": lambda ledger, odd: ledger.governance.freeze(odd, reason="r", idempotency_key="k"),
    "reason": lambda ledger, odd: ledger.governance.freeze(ALICE, reason=odd, idempotency_key="k"),
    "floor": lambda ledger, odd: ledger.governance.limit(ALICE, floor=odd, reason="\ud800"),
    "authorised_by": lambda ledger, odd: ledger.governance.freeze(ALICE, reason="r", authorised_by=odd),
    "key": lambda ledger, odd: ledger.governance.freeze(
        ALICE, reason="\ud800", idempotency_key=odd, authorised_by=(ANNA.signer,)
    ),
    "entry": lambda ledger, odd: ledger.governance.propose(odd),
    "proposed_by": lambda ledger, odd: ledger.governance.propose(
        correction("999999"), proposed_by=odd if odd is not None else Strange()
    ),
    "line": lambda ledger, odd: ledger.governance.approve(odd, BERT.signer),
    "approver": lambda ledger, odd: ledger.governance.approve(8, odd, idempotency_key="k"),
    "signer's id": lambda ledger, odd: ledger.governance.attest(
        3, Strange(signer_id=odd), idempotency_key="k"
    ),
    "signer's key": lambda ledger, odd: ledger.governance.attest(3, Strange(public_key=odd)),
    "signature": lambda ledger, odd: ledger.governance.attest(3, Strange(signature=odd)),
    "attested line": lambda ledger, odd: ledger.governance.attest(odd, BERT.signer),
    "override's entry": lambda ledger, odd: ledger.governance.override(
        odd, rule="a/1", expires_at=LATER, reason="r"
    ),
    "override's rule": lambda ledger, odd: ledger.governance.override(
        ONE, rule=odd, expires_at=LATER, reason="r", idempotency_key="k"
    ),
    "override's end": lambda ledger, odd: ledger.governance.override(
        ONE, rule="a/1", expires_at=odd, reason="r", idempotency_key="k"
    ),
    "envelope": lambda ledger, odd: ledger.governance.commit(odd, correlation_id="c"),
    "envelope's kind": lambda ledger, odd: ledger.governance.commit(
        Envelope(kind=odd, payload=FrozenMap()), correlation_id="c"
    ),
    "payload": lambda ledger, odd: ledger.governance.commit(
        Envelope(kind="approval", payload=odd), correlation_id="c"
    ),
    "member": lambda ledger, odd: ledger.governance.commit(
        Envelope(
            kind="account_frozen",
            payload=FrozenMap({"account": odd, "ledger": odd, "previous": 0, "reason": "r"}),
        ),
        correlation_id="c",
    ),
    "envelope's signatures": lambda ledger, odd: ledger.governance.commit(
        Envelope(kind="approval", payload=FrozenMap(), signatures=odd if odd != () else None),
        correlation_id="c",
    ),
    "json": lambda ledger, odd: Envelope.from_json(odd),
    "keyring draft": lambda ledger, odd: ledger.keyring.draft(odd),
    "keyring commit": lambda ledger, odd: ledger.keyring.commit(odd, correlation_id="c"),
    "added": lambda ledger, odd: KeyringChange(add=odd or (None,), retire=("0" * 16,)),
    "retired": lambda ledger, odd: KeyringChange(retire=odd or (None,)),
    "revoked": lambda ledger, odd: KeyringChange(revoke=odd or {"0" * 16: None}),
    "policies": lambda ledger, odd: KeyringChange(policies=odd or {Purpose.RULES: None}),
    "role": lambda ledger, odd: Policy(role=odd, threshold=1),
    "threshold": lambda ledger, odd: Policy(role=Role.OPERATOR, threshold=-1 if odd in (5, True) else odd),
    "postings": lambda ledger, odd: drafts.adjustment(
        odd, purpose=bb.AdjustmentPurpose.CORRECTION, reason="r", correlation_id="c"
    ),
    "terms of": lambda ledger, odd: ledger.terms_of(odd),
    "prefix": lambda ledger, odd: ledger.account_terms(_no_text(odd)),
    "kind of records": lambda ledger, odd: ledger.records(kind=_no_text(odd)),
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_hostile_arguments_are_typed_errors(name: str) -> None:
    """Whatever is given, `BibankError` comes out, and the ledger is as it was and goes on."""
    ledger = governed(ANNA, BERT, CLEO)
    ledger.governance.propose(correction())
    before = shown(ledger)
    for odd in ODD:
        with pytest.raises(bb.BibankError):
            ATTEMPTS[name](ledger, odd)
        assert shown(ledger) == before, odd
    ledger.deposit("ALICE", "1 USDT", correlation_id="d")


def test_a_payload_is_what_it_was_when_the_envelope_was_made() -> None:
    """A mapping that is changed afterwards changes neither what is signed nor what is committed."""
    ledger = governed(ANNA, BERT, CLEO)
    members: dict[str, Any] = dict(ledger.governance.draft_attestation(3).payload)
    envelope = Envelope(kind="attestation", payload=members)
    members["sequence"] = 1
    signed = envelope.signed_by(BERT.signer)
    members.clear()
    (record,) = ledger.governance.commit(signed, correlation_id="c")
    assert record.causality_id == "3"


def test_a_clock_that_raises_stops_a_decision_and_not_the_ledger() -> None:
    """Whatever the clock raises passes on, nothing is changed, and the next commit goes through."""

    class Clock(StillClock):
        is_broken = False

        def now(self) -> datetime:
            if self.is_broken:
                raise OSError("ntp")
            return super().now()

    clock = Clock()
    ledger = governed(ANNA, BERT, CLEO, clock=clock)
    before = shown(ledger)
    clock.is_broken = True
    attempts: tuple[Callable[[], object], ...] = (
        lambda: ledger.governance.freeze(ALICE, reason="r", authorised_by=[ANNA.signer], correlation_id="c"),
        lambda: ledger.keyring.rotate(Strange(), correlation_id="c"),
    )
    for attempt in attempts:
        with pytest.raises((OSError, bb.BibankError)):
            attempt()
    clock.is_broken = False
    assert shown(ledger) == before
    ledger.governance.freeze(ALICE, reason="r", authorised_by=[ANNA.signer], correlation_id="c")


def test_the_longest_account_can_be_frozen() -> None:
    """An account's key may be longer than an identifier, and is a record's subject all the same."""
    ledger = governed(ANNA, BERT, CLEO)
    account = bb.AccountKey(f"LIAB:USER:{'A' * 64}:{'B' * 64}:{'C' * 64}")
    record = ledger.governance.freeze(account, reason="r", authorised_by=[ANNA.signer], correlation_id="c")
    assert record.subject == account.text
    assert ledger.audit().records == ledger.head.sequence - 2
    assert ledger.terms_of(account) == ledger.account_terms(account.text)[0]


def test_an_adjustment_is_no_way_round_the_limit_of_withdrawals() -> None:
    """One that takes more out of the vault than the policy's sum needs the larger number of approvals."""
    ledger = governed(ANNA, BERT, CLEO)
    thresholds = {AdjustmentPurpose.CORRECTION: 1}
    decide(ledger, approvals=ApprovalTerms(thresholds=thresholds, withdrawals_above=["10 USDT"]))
    assert approve(ledger, propose(ledger, correction("10")), BERT) is not None
    large = propose(ledger, correction("10.00000001"))
    assert approve(ledger, large, BERT) is None
    (waiting,) = ledger.pending()
    assert (waiting.needed, waiting.approved_by) == (2, ("BERT_OPS",))
    assert approve(ledger, large, CLEO) is not None
