"""What a key stands for: the digest of each verb, worked out from the reference page by other means."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import rfc8785

import bibank as bb
from bibank import drafts
from bibank.risk.engine import RiskEngine
from bibank.rules import EntryLimit
from tests.ledger.operators import ANNA, BERT, CLEO, governed
from tests.store.journals import StillClock

AT = datetime(2026, 1, 20, tzinfo=UTC)
LATER = datetime(2027, 1, 1, tzinfo=UTC)
SHOP = "LIAB:USER:SHOP:USDT:AVAILABLE"
OWNER = UUID(int=255)
PLAIN: dict[str, object] = {"effective_at": None, "metadata": {}}
Ask = Callable[[bb.Ledger], Any]


@pytest.fixture
def ledger() -> bb.Ledger:
    """A ledger with money in it: line 5 is a hold of ALICE's, line 6 a transfer."""
    made = bb.Ledger.in_memory({"USDT": "1000", "BTC": "10"}, clock=StillClock()).bind(correlation_id="r")
    made.deposit("ALICE", "100 USDT")
    made.deposit("BOB", "2 BTC")
    made.hold("ALICE", "10 USDT", to="SHOP")
    made.transfer("ALICE", "BOB", "10 USDT")
    return made


def verb(name: str, **arguments: object) -> dict[str, object]:
    """What a verb asks for."""
    return {"verb": name, "arguments": {**PLAIN, **arguments}}


TRADED = {
    "maker": "ALICE",
    "maker_gives": ["2 USDT", "3 USDT"],
    "taker": "BOB",
    "taker_gives": ["1 BTC"],
    "fees": [{"kind": "margin", "money": "1 USDT", "payer": "ALICE"}],
    "base": None,
}
POSTINGS = [
    {"account": "ASSET:SYSTEM:VAULT:USDT:MAIN", "amount": "1", "side": "debit"},
    {"account": "LIAB:USER:ALICE:USDT:AVAILABLE", "amount": "1", "side": "credit"},
]
DRAFT = {"intent": "deposit", "metadata": {}, "postings": POSTINGS}
ONE = drafts.deposit("ALICE", "1 USDT", correlation_id="x")


def trade(ledger: bb.Ledger, **more: Any) -> bb.JournalEntry:
    """A trade with two legs and a fee."""
    return ledger.trade(
        maker="ALICE",
        maker_gives=["2 USDT", "3.00 USDT"],
        taker="BOB",
        taker_gives="1 BTC",
        fees=[bb.TradeFee("ALICE", "1 USDT", kind=bb.FeeKind.MARGIN)],
        idempotency_key="k",
        **more,
    ).entry


def batch(ledger: bb.Ledger) -> bb.JournalEntry:
    """Two verbs and a draft under one key."""
    with ledger.batch(idempotency_key="k") as block:
        block.void_hold(5)
        block.add(ONE)
    return block.entries[0]


ASKED: dict[str, tuple[Ask, dict[str, object]]] = {
    "deposit": (
        lambda ledger: ledger.deposit(OWNER, "1.50 USDT", effective_at=AT, idempotency_key="k"),
        verb("deposit", owner="0" * 30 + "FF", money="1.5 USDT", effective_at="2026-01-20T00:00:00Z"),
    ),
    "withdraw": (
        lambda ledger: ledger.withdraw("ALICE", "1 USDT", metadata={"a": [1, None]}, idempotency_key="k"),
        verb("withdraw", owner="ALICE", money="1 USDT", metadata={"a": [1, None]}),
    ),
    "transfer": (
        lambda ledger: ledger.transfer("ALICE", bb.AccountKey(SHOP), "1 USDT", idempotency_key="k"),
        verb("transfer", payer="ALICE", payee=SHOP, money="1 USDT"),
    ),
    "fee": (
        lambda ledger: ledger.fee("ALICE", "1 USDT", kind=bb.FeeKind.WITHDRAWAL, idempotency_key="k"),
        verb("fee", payer="ALICE", kind="withdrawal", money="1 USDT"),
    ),
    "trade": (trade, verb("trade", trade_id=None, **TRADED)),
    "trade with an id": (
        lambda ledger: trade(ledger, trade_id=UUID(int=255), metadata={"note": "n"}),
        verb("trade", trade_id=str(UUID(int=255)), **{**TRADED, "metadata": {"note": "n"}}),
    ),
    "hold": (
        lambda ledger: ledger.entry(
            ledger.hold(
                "ALICE", "1 USDT", to="SHOP", expires_at=datetime(2027, 1, 1, tzinfo=UTC), idempotency_key="k"
            ).id
        ),
        verb("hold", owner="ALICE", money="1 USDT", to=SHOP, expires_at="2027-01-01T00:00:00Z"),
    ),
    "hold to withdraw": (
        lambda ledger: ledger.entry(ledger.hold("ALICE", "1 USDT", to=bb.WITHDRAWAL, idempotency_key="k").id),
        verb("hold", owner="ALICE", money="1 USDT", to=None, expires_at=None),
    ),
    "post_hold": (
        lambda ledger: ledger.post_hold(5, "4.0", idempotency_key="k")[0],
        verb("post_hold", hold=5, amount="4"),
    ),
    "void_hold": (lambda ledger: ledger.void_hold(5, idempotency_key="k")[0], verb("void_hold", hold=5)),
    "reverse": (
        lambda ledger: ledger.reverse(6, idempotency_key="k"),
        verb("reverse", sequence=6, amount=None),
    ),
    "commit": (
        lambda ledger: ledger.commit(ONE, idempotency_key="k"),
        {"verb": "commit", "drafts": [DRAFT]},
    ),
    "commit_batch": (
        lambda ledger: ledger.commit_batch([ONE, ONE], idempotency_key="k")[0],
        {"verb": "commit", "drafts": [DRAFT, DRAFT]},
    ),
    "commit_each": (
        lambda ledger: ledger.commit_each([bb.Keyed(entries=ONE, idempotency_key="k")]).committed[0].entry,
        {"verb": "commit", "drafts": [DRAFT]},
    ),
    "batch": (
        batch,
        {
            "verb": "batch",
            "calls": [verb("void_hold", hold=5), {"verb": "add", "arguments": {"draft": DRAFT}}],
        },
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_the_digest_is_the_one_of_the_reference(ledger: bb.Ledger, name: str) -> None:
    """SHA-256 of the canonical JSON that the page describes, whatever the correlation id."""
    ask, asked = ASKED[name]
    expected = hashlib.sha256(rfc8785.dumps(asked)).hexdigest()  # type: ignore[arg-type]  # plain JSON
    assert ask(ledger).metadata["bb.idempotency_digest"] == expected


def test_what_was_asked_is_what_it_was_when_it_was_asked(ledger: bb.Ledger) -> None:
    """A dict that is changed and used again in one batch does not change what was asked before."""

    def ask(*notes: str) -> tuple[bb.JournalEntry, ...]:
        metadata: dict[str, str] = {}
        with ledger.batch(idempotency_key="k") as block:
            for note in notes:
                metadata["note"] = note
                block.deposit("ALICE", "1 USDT", metadata=metadata)
        return block.entries

    first = ask("a", "b")
    assert ask("a", "b") == first
    with pytest.raises(bb.IdempotencyConflict):
        ask("z", "b")


@pytest.mark.parametrize("bad", [{"a": 0.5}, {"a": "\ud800"}, {"A": 1}, [1], None, "x"], ids=repr)
@pytest.mark.parametrize("key", [None, "k"])
def test_bad_metadata_is_the_same_error_with_and_without_a_key(
    ledger: bb.Ledger,
    bad: Any,
    key: str | None,
) -> None:
    """What is wrong with an argument does not depend on whether it has to be hashed."""
    kind = bb.InvalidMetadata if isinstance(bad, dict) else bb.InvalidType
    for act in (
        lambda: ledger.deposit("ALICE", "1 USDT", metadata=bad, idempotency_key=key),
        lambda: ledger.post_hold(5, metadata=bad, idempotency_key=key),
        lambda: ledger.void_hold(5, metadata=bad, idempotency_key=key),
        lambda: ledger.reverse(6, metadata=bad, idempotency_key=key),
    ):
        with pytest.raises(kind):
            act()


@pytest.mark.parametrize("bad", [10**5000, -1, 0, 2**63], ids=["huge", "-1", "0", "2**63"])
def test_a_sequence_that_no_line_has(ledger: bb.Ledger, bad: int) -> None:
    """Typed, with a key and without."""
    for key in (None, "k"):
        for act in (ledger.post_hold, ledger.void_hold, ledger.reverse):
            with pytest.raises(bb.UnknownSequence):
                act(bad, idempotency_key=key)


ACCOUNT = bb.AccountKey("LIAB:USER:ALICE:USDT:AVAILABLE")
FIX = drafts.adjustment(
    [bb.Posting.debit(ACCOUNT, 1), bb.Posting.credit("ASSET:SYSTEM:VAULT:USDT:MAIN", 1)],
    purpose=bb.AdjustmentPurpose.CORRECTION,
    reason="typed",
    correlation_id="c",
)
FIXED = {
    "intent": "adjustment",
    "metadata": {"purpose": "CORRECTION", "reason": "typed", "requires_approval": True},
    "postings": [
        {"account": str(ACCOUNT), "amount": "1", "side": "debit"},
        {"account": "ASSET:SYSTEM:VAULT:USDT:MAIN", "amount": "1", "side": "credit"},
    ],
}
BY: dict[str, Any] = {"authorised_by": (ANNA.signer,), "idempotency_key": "k"}
Decide = Callable[[bb.Governance], Any]
DECIDED: dict[str, tuple[Decide, dict[str, object]]] = {
    "freeze": (
        lambda decide: decide.freeze(ACCOUNT, reason="court", **BY),
        {
            "verb": "account_frozen",
            "arguments": {"account": str(ACCOUNT), "floor": None, "reason": "court"},
        },
    ),
    "limit": (
        lambda decide: decide.limit(ACCOUNT, floor="-5.0", reason="credit", **BY),
        {"verb": "limit_set", "arguments": {"account": str(ACCOUNT), "floor": "-5", "reason": "credit"}},
    ),
    "propose": (
        lambda decide: decide.propose(FIX, idempotency_key="k"),
        {"verb": "propose", "drafts": [FIXED]},
    ),
    "approve": (
        lambda decide: decide.approve(decide.propose(FIX).sequence, BERT.signer, idempotency_key="k").record,
        {"verb": "approve", "arguments": {"sequence": 8, "signer": "BERT_OPS"}},
    ),
    "attest": (
        lambda decide: decide.attest(1, BERT.signer, idempotency_key="k"),
        {"verb": "attest", "arguments": {"sequence": 1, "signer": "BERT_OPS"}},
    ),
    "override": (
        lambda decide: decide.override(ONE, rule="small/1", expires_at=LATER, reason="once", **BY),
        {
            "verb": "override",
            "correlation_id": "x",
            "drafts": [DRAFT],
            "expires_at": "2027-01-01T00:00:00Z",
            "reason": "once",
            "rule": "small/1",
        },
    ),
}


@pytest.mark.parametrize("name", DECIDED)
def test_the_digest_of_a_decision_is_the_one_of_the_reference(name: str) -> None:
    """It stands in the record's body, beside what was signed."""
    rules = RiskEngine([EntryLimit(name="small/1", money="1000 USDT")])
    ledger = governed(ANNA, BERT, CLEO, risk=rules).bind(correlation_id="r")
    assert ledger.head.sequence == 6
    ask, asked = DECIDED[name]
    if name == "approve":
        ledger.transfer("ALICE", "BOB", "1 USDT")
    expected = hashlib.sha256(rfc8785.dumps(asked)).hexdigest()  # type: ignore[arg-type]  # plain JSON
    assert ask(ledger.governance).body["bb.idempotency_digest"] == expected
