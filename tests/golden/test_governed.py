"""Golden vectors of what operators decide: every kind of record that people sign, in one journal.

The library writes the file and accepts it; `rfc8785`, `hashlib` and PyNaCl alone come to the same hashes,
signatures and digests.
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rfc8785
from nacl.signing import VerifyKey

import bibank as bb
from bibank import drafts
from bibank.opening import replay
from bibank.risk.engine import RiskEngine
from bibank.rules import EntryLimit
from bibank.signing import (
    AdjustmentPurpose,
    ApprovalTerms,
    Ed25519Signer,
    Keyring,
    NewKey,
    Policy,
    Purpose,
    Role,
)
from tests.golden.test_signed import Ticking
from tests.signing.forge import ANNA, NEXT, OWN, Key
from tests.store.journals import counted_bytes

GOVERNED = Path(__file__).parent / "governed.jsonl"
BEN = Key(NEXT.number + 10, "BEN_OPS", "ed25519")
CLEO = Key(NEXT.number + 11, "CLEO_OPS", "ed25519")
SIGNED = {
    "account_closed",
    "account_frozen",
    "account_reopened",
    "approval",
    "attestation",
    "limit_set",
    "override",
    "proposal",
}
ALICE = bb.AccountKey("LIAB:USER:ALICE:USDT:AVAILABLE")
BOB = bb.AccountKey("LIAB:USER:BOB:USDT:AVAILABLE")
VAULT = bb.AccountKey("ASSET:SYSTEM:VAULT:USDT:MAIN")


def first_keyring() -> Keyring:
    """Three operators, two of whom approve adjustments, all three for capital; withdrawals above 500."""
    people = ((OWN, Role.SYSTEM), (ANNA, Role.OPERATOR), (BEN, Role.OPERATOR), (CLEO, Role.OPERATOR))
    keys = tuple(
        NewKey(
            signer_id=key.signer_id,
            algorithm=bb.SignatureAlgorithm.ED25519,
            public_key=key.public_key,
            roles=(role,),
        )
        for key, role in people
    )
    operator = {
        purpose: Policy(role=Role.OPERATOR, threshold=1) for purpose in (Purpose.RULES, Purpose.KEYRING)
    }
    system = {
        purpose: Policy(role=Role.SYSTEM, threshold=1)
        for purpose in (Purpose.LINE, Purpose.CHECKPOINT, Purpose.SNAPSHOT)
    }
    terms = ApprovalTerms(
        expires_after_seconds=86_400,
        thresholds={AdjustmentPurpose.CAPITAL: 3},
        withdrawals_above=["500 USDT"],
    )
    adjustment = Policy(role=Role.OPERATOR, threshold=2, approvals=terms)
    permit = Policy(role=Role.OWNER, threshold=1)
    policies = {**system, **operator, Purpose.ADJUSTMENT: adjustment, Purpose.PERMIT: permit}
    return Keyring.first(keys, {purpose: policies[purpose] for purpose in Purpose})


def write_journal(path: Path) -> bytes:
    """Write a journal with every record that people sign."""
    signer: Ed25519Signer = OWN.signer
    with bb.Ledger.create(
        path,
        opening={"USDT": "1000"},
        name="golden",
        signer=signer,
        keyring=first_keyring(),
        clock=Ticking(),
        durability="none",
        entropy=counted_bytes,
    ) as opened:
        ledger = opened.bind(correlation_id="g1")
        decide = ledger.governance
        anna = (ANNA.signer,)
        mistaken = ledger.deposit("ALICE", "50 USDT")
        correction = drafts.adjustment(
            [bb.Posting.debit(ALICE, 45), bb.Posting.credit(VAULT, 45)],
            purpose=AdjustmentPurpose.CORRECTION,
            reason='50 was typed for "5", caffè',
            correlation_id="case-7",
            effective_at=datetime(2026, 1, 24, 9, tzinfo=UTC),
        )
        proposal = decide.propose(correction, idempotency_key="p-1")
        decide.approve(proposal.sequence, CLEO.signer)
        decide.approve(proposal.sequence, ANNA.signer, idempotency_key="a-1")
        decide.freeze(ALICE, reason="court order 12", authorised_by=anna)
        decide.reopen(ALICE, reason="lifted", authorised_by=anna)
        decide.limit(ALICE, floor="-7.5", reason="credit line", authorised_by=anna)
        ledger.transfer("ALICE", "BOB", "12.5 USDT")
        ledger.transfer("BOB", "ALICE", "12.5 USDT")
        decide.close(BOB, reason="moved away", idempotency_key="c-1", authorised_by=anna)
        decide.attest(mistaken.sequence, BEN.signer)
        ledger.adopt_rules([EntryLimit(name="small/1", money="5 USDT")], authorised_by=anna)
        large = drafts.deposit("ALICE", "600 USDT", correlation_id="large-1")
        until = datetime(2026, 1, 26, tzinfo=UTC)
        decide.override(large, rule="small/1", expires_at=until, reason="quarter's end", authorised_by=anna)
        ledger.commit(large)
        ledger.adopt_rules([], authorised_by=anna)
        out = decide.propose(
            drafts.withdrawal("ALICE", "501 USDT", correlation_id="out-1"), proposed_by=BEN.signer
        )
        decide.approve(out.sequence, ANNA.signer)
        decide.approve(out.sequence, CLEO.signer)
    (day,) = (path / "journal").glob("*.jsonl")
    return day.read_bytes()


def stored() -> list[dict[str, Any]]:
    """The golden lines as JSON."""
    return [json.loads(line) for line in GOVERNED.read_bytes().splitlines()]


def payloads() -> dict[int, dict[str, Any]]:
    """What was signed in each record, by line."""
    return {line["sequence"]: line["body"]["payload"] for line in stored() if line.get("record") in SIGNED}


def digest(value: object) -> str:
    """SHA-256 of RFC 8785."""
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()  # type: ignore[arg-type]  # any JSON value


def test_a_ledger_writes_the_governed_journal(tmp_path: Path) -> None:
    """The same keys, clock and nonce give the same journal, byte for byte."""
    assert write_journal(tmp_path / "books") == GOVERNED.read_bytes()


def test_the_governed_journal_is_accepted() -> None:
    """What was written once is read for ever, with every signature, to the same balances and terms."""
    machine, _ = replay(GOVERNED.read_bytes().splitlines(), engine=RiskEngine(), verify="all")
    assert {line.get("record") for line in stored()} >= SIGNED
    balances = {account.text: account.balance for account in machine.book}
    assert (balances[ALICE.text], balances[BOB.text]) == (104 * 10**8, 0)
    terms = {text: (found.status.value, str(found.floor)) for text, found in machine.book.terms.items()}
    assert terms == {ALICE.text: ("open", "-7.5"), BOB.text: ("closed", "0")}
    assert not machine.links.approvals.pending(after=machine.position.moment)
    assert not machine.links.overrides.open


def test_the_governed_journal_by_other_means() -> None:
    """Hashes of lines and the signatures in records, by libraries that know nothing of ours."""
    lines = stored()
    keys = {
        hashlib.sha256(bytes.fromhex(key["public_key"])).hexdigest()[:16]: key
        for key in lines[1]["body"]["keys"]
    }
    previous, ledger_id = "GENESIS", lines[1]["body"]["ledger"]
    for line in lines:
        preimage = {name: line[name] for name in line if name not in ("hash", "signatures")}
        assert line["prev_hash"] == previous
        previous = line["hash"]
        assert previous == digest({**preimage, "ledger": ledger_id})
        if line.get("record") not in SIGNED:
            continue
        body = line["body"]
        kind = f"application/vnd.bibank.{line['record']}+json"
        assert (body["payloadType"], body["payload"]["ledger"]) == (kind, ledger_id)
        text = rfc8785.dumps(body["payload"])
        message = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(text), text)
        (signature,) = body["signatures"]
        key = keys[signature["keyid"]]
        VerifyKey(bytes.fromhex(key["public_key"])).verify(message, base64.b64decode(signature["sig"]))
        about = body["payload"].get("account") if "account" in body["payload"] else key["signer_id"]
        assert line["subject"] == (ledger_id if line["record"] == "override" else about)


def test_the_governed_entries_by_other_means() -> None:
    """What was carried out is what was proposed and approved, and the override names its entry."""
    lines, signed = stored(), payloads()
    carried_out = [line for line in lines if "bb.proposal" in line.get("metadata", {})]
    assert [line["intent"] for line in carried_out] == ["adjustment", "withdrawal"]
    for line in carried_out:
        proposal = int(line["causality_id"])
        added = {"bb.proposal", "bb.approvals", "bb.idempotency_key", "bb.idempotency_digest"}
        content = {name: line[name] for name in ("correlation_id", "intent", "postings")}
        content["metadata"] = {name: value for name, value in line["metadata"].items() if name not in added}
        content["ledger"] = signed[proposal]["ledger"]
        assert content == signed[proposal]
        assert line["metadata"]["bb.proposal"] == digest(content)
        approvals = [
            one["body"]
            for one in lines[: line["sequence"] - 1]
            if one.get("record") == "approval" and one["causality_id"] == str(proposal)
        ]
        assert [one["payload"]["proposal"] for one in approvals] == [digest(content)] * 2
        envelopes = [
            {name: one[name] for name in ("payload", "payloadType", "signatures")} for one in approvals
        ]
        assert line["metadata"]["bb.approvals"] == sorted(map(digest, envelopes))
    override = next(payload for payload in signed.values() if "rule" in payload)
    large = next(line for line in lines if line["correlation_id"] == "large-1")
    content = {name: large[name] for name in ("correlation_id", "intent", "postings", "metadata")}
    assert override["entry"] == digest({**content, "ledger": override["ledger"]})
    decided = [payload for payload in signed.values() if payload.get("account") == ALICE.text]
    at = [sequence for sequence, payload in signed.items() if payload.get("account") == ALICE.text]
    assert [payload["previous"] for payload in decided] == [0, *at[:-1]]
