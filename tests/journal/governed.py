"""A governed journal, and a workshop for whoever holds its system key and seals lines himself.

The journal is written by a ledger once; what is forged is spelled, hashed and signed by `rfc8785`, `hashlib`
and PyNaCl alone.
"""

from __future__ import annotations

import base64
import copy
import hashlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

import attrs
import rfc8785

import bibank as bb
from bibank import drafts
from bibank.errors import JournalCorrupt
from bibank.journal.machine import LedgerMachine
from bibank.risk.engine import RiskEngine
from bibank.risk.rule import RiskRule
from bibank.rules import EntryLimit
from bibank.signing import (
    AdjustmentPurpose,
    ApprovalTerms,
    KeyringChange,
    Policy,
    Purpose,
    Role,
)
from bibank.signing.trust import KeyringTrust
from tests.journal.machines import members, rehash, spell, state
from tests.ledger.operators import agreeing
from tests.signing.forge import ANNA, ANNA_AGAIN, BERT, OWN, Key, pae, signature
from tests.store.journals import StillClock, counted_bytes

CLEO, DORA, BERT_AGAIN, GONE = (
    Key(number, name)
    for number, name in ((6, "CLEO_OPS"), (7, "DORA_OPS"), (8, "BERT_OPS"), (11, "GONE_OPS"))
)
OWNER, STRANGER = Key(10, "USER:ALICE"), Key(9, "BERT_OPS")
ALICE, BOB = "LIAB:USER:ALICE:USDT:AVAILABLE", "LIAB:USER:BOB:USDT:AVAILABLE"
VAULT = "ASSET:SYSTEM:VAULT:USDT:MAIN"
EXPIRY_SECONDS = 3600

Line = dict[str, Any]

DEPOSIT, PROPOSAL, FIRST, LAST, ADJUSTMENT, OPEN, WITHDRAWAL = 13, 14, 15, 16, 17, 24, 30
"""Where they stand: a deposit; a proposal, its approvals and its entry; an open one; a withdrawal."""


def correction(money: int, **fields: Any) -> bb.UnsignedEntry:
    """A draft of an adjustment between Alice and the vault."""
    return drafts.adjustment(
        [bb.Posting.debit(ALICE, money), bb.Posting.credit(VAULT, money)],
        purpose=AdjustmentPurpose.CORRECTION,
        reason="typed twice",
        correlation_id="case-7",
        **fields,
    )


@lru_cache(maxsize=1)
def journal() -> tuple[str, tuple[bytes, ...]]:
    """Give the ledger's id and its 31 lines."""
    store = bb.MemoryStore()
    ledger = bb.Ledger(
        store=store,
        opening={"USDT": "1000"},
        signer=OWN.signer,
        clock=StillClock(),
        entropy=counted_bytes,
        risk=RiskEngine([EntryLimit(name="daily/1", money="1000 USDT")]),
    ).bind(correlation_id="r")
    ring, g = ledger.keyring, ledger.governance
    for key in (ANNA, BERT, CLEO, DORA, BERT_AGAIN, ANNA_AGAIN, GONE):  # 3 to 9
        ring.add(key.signer, roles=(Role.OPERATOR,), authorised_by=agreeing(ledger) or [ANNA.signer])
    ring.add(OWNER.signer, roles=(Role.OWNER,), authorised_by=(ANNA.signer,))  # 10
    terms = ApprovalTerms(expires_after_seconds=EXPIRY_SECONDS, withdrawals_above=("10 USDT",))
    policy = Policy(role=Role.OPERATOR, threshold=2, approvals=terms)
    for change in (
        KeyringChange(retire=(GONE.key_id,)),  # 11
        KeyringChange(policies={Purpose.ADJUSTMENT: policy}),  # 12
    ):
        envelope = ring.draft(change)
        for signer in agreeing(ledger):
            envelope = envelope.signed_by(signer)
        ring.commit(envelope)
    ledger.deposit("ALICE", "100 USDT")  # 13
    g.propose(correction(45, metadata={"note": "x"}), proposed_by=ANNA.signer)  # 14
    g.approve(14, BERT.signer)  # 15
    g.approve(14, CLEO.signer, idempotency_key="k")  # 16, 17
    account = bb.AccountKey(ALICE)
    for _ in range(2):  # 18 to 21
        g.freeze(account, reason="court", authorised_by=(BERT.signer,))
        g.reopen(account, reason="done", authorised_by=(BERT.signer,))
    payment = drafts.transfer("ALICE", "BOB", "1 USDT", correlation_id="t")
    end = StillClock().moment + timedelta(days=9)
    g.override(payment, rule="daily/1", expires_at=end, reason="r", authorised_by=(BERT.signer,))  # 22
    ledger.commit(payment)  # 23
    g.propose(correction(1), proposed_by=ANNA.signer)  # 24
    g.approve(24, BERT.signer)  # 25
    g.attest(13, DORA.signer)  # 26
    g.propose(drafts.withdrawal("ALICE", "20 USDT", correlation_id="w"), proposed_by=OWN.signer)  # 27
    g.approve(27, BERT.signer)  # 28
    g.approve(27, DORA.signer)  # 29, 30
    ledger.withdraw("ALICE", "10 USDT")  # 31
    return ledger.ledger_id, tuple(store.read())


def line(sequence: int, **changes: Any) -> Line:
    """Take a line of the journal, without its place, with some members changed."""
    found = copy.deepcopy(members(journal()[1][sequence - 1]))
    return {**found, **changes}


def with_metadata(sequence: int, **changes: Any) -> Line:
    """Take an entry with other metadata; None takes a member out, `bb_` stands for `bb.`."""
    found = line(sequence)
    for name, value in changes.items():
        name = name.replace("bb_", "bb.", 1)
        if value is None:
            del found["metadata"][name]
        else:
            found["metadata"][name] = value
    return found


def signed(kind: str, payload: Line, *keys: Key) -> Line:
    """Sign a payload and give the body of a record."""
    message = pae(kind, rfc8785.dumps(payload))
    claims = [{"keyid": key.key_id, "sig": base64.b64encode(key.sign(message)).decode()} for key in keys]
    return {
        "payload": payload,
        "payloadType": f"application/vnd.bibank.{kind}+json",
        "signatures": sorted(claims, key=lambda claim: claim["keyid"]),
    }


def resigned(at: int, /, *keys: Key, subject: str | None = None, **changes: Any) -> Line:
    """Take a record with another payload, signed by keys; its subject and cause follow."""
    found = line(at)
    payload = {**found["body"]["payload"], **changes}
    found["body"] = signed(found["record"], payload, *keys)
    if "sequence" in changes:
        found["causality_id"] = str(changes["sequence"])
    if found["subject"].endswith("_OPS") and keys:
        found["subject"] = keys[0].signer_id
    return found if subject is None else {**found, "subject": subject}


def digest(value: Any) -> str:
    """Hash JSON: SHA-256 of its JCS."""
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()


def approval(*keys: Key, of: int = OPEN, **changes: Any) -> Line:
    """Write an approval of a proposal of the journal."""
    return resigned(FIRST, *keys, sequence=of, proposal=digest(line(of)["body"]["payload"]), **changes)


def carried(*bodies: Line, of: int = OPEN, **changes: Any) -> Line:
    """Write the entry that carries a proposal out under approvals with these bodies."""
    payload = line(of)["body"]["payload"]
    return {
        "timestamp": line(of)["timestamp"],
        "intent": payload["intent"],
        "correlation_id": payload["correlation_id"],
        "causality_id": str(of),
        "postings": payload["postings"],
        "metadata": {
            **payload["metadata"],
            "bb.approvals": sorted(map(digest, bodies)),
            "bb.proposal": digest(payload),
        },
        **changes,
    }


def seal(after: int, lines: Sequence[Line], *, apart: bool = False) -> list[bytes]:
    """Number, mark, link, hash and sign lines behind so many of the journal: one batch unless `apart`."""
    ledger_id, good = journal()
    first, size = after + 1, 1 if apart else len(lines)
    prev_hash = members(good[after - 1])["hash"]
    sealed = []
    for sequence, content in enumerate(lines, first):
        made = {**content, "sequence": sequence, "prev_hash": prev_hash, "signatures": []}
        made.pop("batch", None)
        if size > 1:
            place = {} if sequence == first else {"first": first, "group": first}
            made["batch"] = {**place, "size": size}
        made = rehash(made, ledger_id)
        made["signatures"] = [signature(made, OWN, ledger_id=ledger_id, signed_at=made["timestamp"])]
        prev_hash = made["hash"]
        sealed.append(spell(made))
    return sealed


def replayed(lines: Sequence[bytes], *, rules: Sequence[RiskRule] = ()) -> LedgerMachine:
    """Read lines into a new machine that verifies every signature."""
    machine = LedgerMachine(RiskEngine(rules), KeyringTrust())
    for data in lines:
        machine.accept(data)
    return machine


def known(machine: LedgerMachine) -> dict[str, Any]:
    """Show everything that a machine knows, what operators decided included."""
    links = machine.links
    return {
        **state(machine),
        "proposals": dict(links.approvals._open),
        "reached": dict(links.approvals._reached),
        "overrides": (dict(links.overrides.open), dict(links.overrides._given)),
        "attestations": links.attestations.all(),
        "terms": dict(machine.book.terms),
        "holds": links.durable_holds(),
        "keys": (list(links.bearers("k")), dict(links._fresh_keys)),
        "keyring": (machine.keyring.version, machine.keyring),
        "rules": machine.rules.current,
        "log": links.mark(),
    }


def altered(at: int, **changes: Any) -> Line:
    """A record whose payload was altered after it was signed."""
    found = line(at)
    found["body"]["payload"].update(changes)
    return found


def keyed(found: Line) -> Line:
    """A record that bears an idempotency key."""
    found["body"] |= {"bb.idempotency_key": "k2", "bb.idempotency_digest": "5a" * 32}
    return found


@attrs.frozen
class Attack:
    """Lines forged behind so many good ones, which of them is named, and what is said of it."""

    reason: str
    make: Callable[[], list[Line]]
    after: int = 31
    at: int = 0
    apart: bool = False

    def lines(self) -> list[bytes]:
        """Seal them."""
        return seal(self.after, self.make(), apart=self.apart)


def failure(machine: LedgerMachine, data: bytes) -> JournalCorrupt | None:
    """Let a machine read a line; give what it says of one that it does not accept."""
    try:
        machine.accept(data)
    except JournalCorrupt as error:
        return error
    return None


def refused(attack: Attack, *, rules: Sequence[RiskRule] = ()) -> None:
    """Demand that a machine refuses an attack and stays as it is, and that good lines go on from there."""
    good = journal()[1]
    forged = attack.lines()
    machine = replayed(good[: attack.after], rules=rules)
    taken, error = 0, None
    while error is None:
        assert taken < len(forged), f"it was accepted up to line {machine.head.sequence}"
        before = known(machine)
        error = failure(machine, forged[taken])
        taken += error is None
    assert known(machine) == before
    assert error.sequence == attack.after + 1 + attack.at, str(error)
    assert attack.reason in str(error), str(error)
    following = good[attack.after + taken :]
    if forged[:taken] != list(good[attack.after : attack.after + taken]):
        machine, following = replayed(good[: attack.after]), good[attack.after :]
    for data in following:
        machine.accept(data)
    assert machine.head.sequence == len(good)
    assert {**known(machine), "memory": {}} == {**known(replayed(good)), "memory": {}}
