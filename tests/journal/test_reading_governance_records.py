"""Reading records that an attacker sealed who holds the system key: replayed, unsigned, misfiled, late."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

import bibank as bb
from bibank.journal.machine import LedgerMachine
from bibank.risk.engine import RiskEngine
from bibank.signing.trust import KeyringTrust, verify_never
from tests.journal.governed import (
    ALICE,
    BERT_AGAIN,
    BOB,
    CLEO,
    DEPOSIT,
    DORA,
    FIRST,
    GONE,
    LAST,
    OPEN,
    OWNER,
    PROPOSAL,
    STRANGER,
    Attack,
    Line,
    altered,
    approval,
    carried,
    journal,
    keyed,
    known,
    line,
    refused,
    replayed,
    resigned,
    seal,
    signed,
)
from tests.journal.machines import Diary
from tests.signing.forge import ANNA, ANNA_AGAIN, BERT, OWN

LEDGER, LINES = journal()
END = len(LINES)
FROZEN, REOPENED, FROZEN_AGAIN, OVERRIDE, ATTESTATION = 18, 19, 20, 22, 26
LATE, IN_TIME = "2026-01-25T11:00:00Z", "2026-01-25T10:59:59.999999Z"
UNKNOWN = "which is not in the keyring"


def moved(at: int, other: Line) -> Line:
    """A record with the signatures that stand under another payload."""
    found = line(at)
    found["body"]["signatures"] = other["body"]["signatures"]
    return found


def decided(at: int, *keys: Any, previous: int = 21, **changes: Any) -> Line:
    """A decision about an account behind the last one."""
    return resigned(at, *keys, previous=previous, **changes)


def limit(floor: str, *keys: Any, account: str = BOB) -> Line:
    """A floor for an account about which nothing was decided."""
    found = line(FROZEN, record="limit_set", subject=account)
    found["body"]["payload"] |= {"account": account, "floor": floor, "previous": 0}
    found["body"] = signed("limit_set", found["body"]["payload"], *keys)
    return found


RECORDS: dict[str, Attack] = {
    "approved by the proposer": Attack("has proposed line 24", lambda: [approval(ANNA)]),
    "approved by the proposer's other key": Attack("has proposed line 24", lambda: [approval(ANNA_AGAIN)]),
    "approved twice by a key": Attack("with this key already, in line 25", lambda: [approval(BERT)]),
    "an approval played again": Attack("with this key already", lambda: [line(FIRST)], after=LAST - 1),
    "an approval played again when all is done": Attack("is no open proposal", lambda: [line(FIRST)]),
    "approved twice by a person": Attack(
        "with another key in line 25", lambda: [approval(BERT_AGAIN), approval(CLEO)]
    ),
    "approved by the system": Attack("is no operator key", lambda: [approval(OWN, subject="SYSTEM")]),
    "approved by an owner": Attack("is no operator key", lambda: [approval(OWNER, subject="USER:ALICE")]),
    "approved by a stranger": Attack(UNKNOWN, lambda: [approval(STRANGER)]),
    "approved by a retired key": Attack("which was retired", lambda: [approval(GONE)]),
    "proposed by a key before it was there": Attack(UNKNOWN, lambda: [resigned(PROPOSAL, BERT)], after=3),
    "approved by nobody": Attack("is signed by 0 keys", lambda: [approval(subject="CLEO_OPS")]),
    "approved by two in one record": Attack("is signed by 2 keys", lambda: [approval(CLEO, DORA)]),
    "approved in other words": Attack("another content", lambda: [approval(CLEO, of=OPEN) | other_hash()]),
    "approved for another ledger": Attack(
        "was signed for ledger 'books/0'", lambda: [for_ledger(FIRST, CLEO)]
    ),
    "approved and altered": Attack("it was altered", lambda: [altered(FIRST, sequence=OPEN) | cause(OPEN)]),
    "approved with another's signature": Attack(
        "it was altered", lambda: [moved(FIRST, line(OPEN + 1))], after=FIRST - 1
    ),
    "approved a line that is no proposal": Attack(
        f"line {DEPOSIT} is no open proposal", lambda: [resigned(FIRST, CLEO, sequence=DEPOSIT)]
    ),
    "approved a later line": Attack(
        "is not the sequence of an earlier line", lambda: [resigned(FIRST, CLEO, sequence=END + 5)]
    ),
    "approved when the proposal is over": Attack("has expired", lambda: [approval(DORA) | at(LATE)]),
    "carried out when the proposal is over": Attack("has expired", lambda: in_batch(LATE)),
    # proposals
    "proposed by an owner": Attack(
        "is no operator or system key", lambda: [resigned(OPEN, OWNER, subject="USER:ALICE")]
    ),
    "proposed by a stranger": Attack(UNKNOWN, lambda: [resigned(OPEN, STRANGER)]),
    "proposed and altered": Attack("it was altered", lambda: [altered(OPEN, correlation_id="x")]),
    "proposed by nobody": Attack("is signed by 0 keys", lambda: [resigned(OPEN, subject="ANNA_OPS")]),
    "proposed for another ledger": Attack("was signed for ledger", lambda: [for_ledger(OPEN, ANNA)]),
    # decisions about accounts
    "a freeze played again": Attack("and line 21 has decided since", lambda: [line(FROZEN)]),
    "a freeze played again on a frozen account": Attack(
        "is frozen already", lambda: [line(FROZEN)], after=FROZEN_AGAIN
    ),
    "a reopening played again": Attack(
        "was decided behind line 18, and line 20", lambda: [line(REOPENED)], after=FROZEN_AGAIN
    ),
    "a reopening of an open account": Attack("nothing is left to reopen", lambda: [line(REOPENED)]),
    "a freeze decided behind nothing": Attack(
        "line 21 has decided", lambda: [decided(FROZEN, BERT, previous=0)]
    ),
    "a freeze decided behind what will be": Attack(
        "was decided behind line 99", lambda: [decided(FROZEN, BERT, previous=99)]
    ),
    "frozen by the system": Attack("its policy asks for 1", lambda: [decided(FROZEN, OWN)]),
    "frozen by an owner": Attack("its policy asks for 1", lambda: [decided(FROZEN, OWNER)]),
    "frozen by nobody": Attack("is signed by 0 operator keys", lambda: [decided(FROZEN)]),
    "frozen by a retired key": Attack("which was retired", lambda: [decided(FROZEN, GONE)]),
    "frozen by one who is and one who is not": Attack(UNKNOWN, lambda: [decided(FROZEN, BERT, STRANGER)]),
    "frozen for another ledger": Attack("was signed for ledger", lambda: [for_ledger(FROZEN, BERT)]),
    "frozen another account than was signed": Attack(
        "it was altered", lambda: [altered(FROZEN, account=BOB)]
    ),
    "a floor above zero": Attack("is above zero", lambda: [limit("1", BERT)]),
    "a floor of held money": Attack(
        "never overdrawn", lambda: [limit("-1", BERT, account=BOB.replace("AVAILABLE", "LOCKED"))]
    ),
    "a floor by nobody": Attack("is signed by 0 operator keys", lambda: [limit("-1")]),
    # overrides
    "an override played again": Attack("given before, in line 22", lambda: [line(OVERRIDE)]),
    "an override signed by another": Attack("given before", lambda: [resigned(OVERRIDE, CLEO)]),
    "an override that is over": Attack(
        "the override ended", lambda: [resigned(OVERRIDE, BERT, expires_at="2026-01-25T10:00:00Z")]
    ),
    "an override by nobody": Attack("is signed by 0", lambda: [resigned(OVERRIDE, reason="x")]),
    "an override altered": Attack("it was altered", lambda: [altered(OVERRIDE, reason="x")]),
    # attestations
    "attested twice": Attack("with this key already, in line 26", lambda: [line(ATTESTATION)]),
    "attested by a stranger": Attack(UNKNOWN, lambda: [resigned(ATTESTATION, STRANGER)]),
    "attested by nobody": Attack("is signed by 0 keys", lambda: [resigned(ATTESTATION, subject="DORA_OPS")]),
    "attested a later line": Attack(
        "not the sequence of an earlier line", lambda: [resigned(ATTESTATION, DORA, sequence=END + 9)]
    ),
    "attested itself": Attack(
        "not the sequence of an earlier line", lambda: [resigned(ATTESTATION, DORA, sequence=END + 1)]
    ),
    "attested for another ledger": Attack("was signed for ledger", lambda: [for_ledger(ATTESTATION, BERT)]),
    "attested and altered": Attack("it was altered", lambda: [altered(ATTESTATION, hash="5a" * 32)]),
    # subjects, causes and keys
    "an approval under another's name": Attack(
        "is who signed it, CLEO_OPS", lambda: [approval(CLEO) | of("DORA_OPS")]
    ),
    "a proposal under the ledger's name": Attack("is who signed it", lambda: [line(OPEN, subject=LEDGER)]),
    "an attestation under another's name": Attack(
        "is who signed it", lambda: [resigned(ATTESTATION, BERT, subject="DORA_OPS")]
    ),
    "a freeze of another account": Attack("is the account", lambda: [decided(FROZEN, BERT) | of(BOB)]),
    "an override under an account": Attack(
        "is the ledger", lambda: [resigned(OVERRIDE, BERT, reason="x") | of(ALICE)]
    ),
    "a keyring change under an account": Attack("does not follow keyring", lambda: [line(3)]),
    "an approval without a cause": Attack(
        "causality_id is not the line", lambda: [approval(CLEO) | cause(None)]
    ),
    "an approval with another cause": Attack(
        "causality_id is not the line", lambda: [approval(CLEO) | cause(PROPOSAL)]
    ),
    "an attestation without a cause": Attack(
        "causality_id is not the line", lambda: [resigned(ATTESTATION, BERT) | cause(None)]
    ),
    "a freeze with a cause": Attack(
        "causality_id is not the line", lambda: [decided(FROZEN, BERT) | cause(21)]
    ),
    "a proposal with a cause": Attack("causality_id is not the line", lambda: [line(OPEN) | cause(PROPOSAL)]),
    "the key on the second record": Attack(
        "stands on its first entry, or its first record",
        lambda: [decided(FROZEN, BERT), keyed(resigned(ATTESTATION, BERT))],
        at=1,
    ),
    "half a key": Attack("digest None is not 64", lambda: [half_keyed()]),
    "a member more": Attack("exactly the members", lambda: [approval(CLEO, note="x")]),
    "a member more in the body": Attack("no DSSE envelope", lambda: [with_body(more=1)]),
    "another type": Attack("no DSSE envelope", lambda: [with_body(payloadType="application/json")]),
}


def at(timestamp: str) -> Line:
    """A time for a line."""
    return {"timestamp": timestamp}


def of(subject: str) -> Line:
    """A subject for a record."""
    return {"subject": subject}


def cause(sequence: int | None) -> Line:
    """A cause for a line."""
    return {"causality_id": None if sequence is None else str(sequence)}


def other_hash() -> Line:
    """An approval of other words, signed as it is."""
    return {"body": resigned(FIRST, CLEO, sequence=OPEN, proposal="5a" * 32)["body"]}


def for_ledger(sequence: int, key: Any) -> Line:
    """A record that was signed for another ledger."""
    return resigned(sequence, key, ledger="books/0")


def in_batch(timestamp: str) -> list[Line]:
    """The approval that makes enough for the open proposal, and its entry, at a time."""
    last = approval(DORA) | at(timestamp)
    return [last, carried(line(OPEN + 1)["body"], last["body"]) | at(timestamp)]


def half_keyed() -> Line:
    """A record that bears a key without the hash of what was asked."""
    found = approval(CLEO)
    found["body"]["bb.idempotency_key"] = "k"
    return found


def with_body(**changes: Any) -> Line:
    """An approval whose envelope has other members."""
    found = approval(CLEO)
    found["body"] |= changes
    return found


BOTH = [pytest.param((), id="fast path first"), pytest.param((Diary,), id="slow path")]


@pytest.mark.parametrize("rules", BOTH)
@pytest.mark.parametrize("name", RECORDS)
def test_a_forged_record_is_refused(name: str, rules: tuple[type[Diary], ...]) -> None:
    """At its own line, for its own reason; nothing is changed, and the good lines go on."""
    refused(RECORDS[name], rules=[rule() for rule in rules])


@pytest.mark.parametrize("name", ["approved and altered", "approved by a stranger", "frozen by nobody"])
def test_what_operators_sign_is_verified_where_lines_are_not(name: str) -> None:
    """A replay that leaves out the signatures of lines still verifies those inside records."""
    machine = LedgerMachine(RiskEngine(), KeyringTrust(verify_never))
    for data in LINES:
        machine.accept(data)
    before = known(machine)
    with pytest.raises(bb.JournalCorrupt):
        machine.accept(RECORDS[name].lines()[0])
    assert known(machine) == before


def test_what_comes_in_time_is_read() -> None:
    """One microsecond before its end a proposal is carried out; a record with a key bears it."""
    machine = replayed(LINES)
    for data in seal(END, in_batch(IN_TIME)):
        machine.accept(data)
    assert machine.links.approvals.find(OPEN) is None
    machine = replayed(LINES)
    for data in seal(END, [keyed(decided(FROZEN, BERT)), resigned(ATTESTATION, BERT)]):
        machine.accept(data)
    assert list(machine.links.bearers("k2")) == [END + 1]
    assert [found.signer_id for found in machine.links.attestations.of(DEPOSIT)] == ["DORA_OPS", "BERT_OPS"]


def test_an_attestation_of_another_hash_is_read_and_found_later() -> None:
    """Replay keeps no old hashes; what was attested is listed with the line that attests it."""
    machine = replayed(LINES)
    for data in seal(END, [resigned(ATTESTATION, BERT, hash="5a" * 32)]):
        machine.accept(data)
    (_, found) = machine.links.attestations.of(DEPOSIT)
    assert (found.hash, found.sequence) == ("5a" * 32, END + 1)


def test_nothing_of_a_batch_is_in_force_when_its_last_line_is_bad() -> None:
    """What its first lines decided is taken back: terms, attestations, proposals, approvals."""
    bad = attrs.evolve(
        RECORDS["attested twice"],
        make=lambda: [
            decided(FROZEN, BERT),
            limit("-5", BERT),
            resigned(ATTESTATION, BERT),
            line(OPEN),
            *in_batch("2026-01-25T10:00:00Z"),
            line(ATTESTATION),
        ],
        at=6,
    )
    machine = replayed(LINES)
    before = known(machine)
    *first, last = bad.lines()
    for data in first:
        machine.accept(data)
    with pytest.raises(bb.JournalCorrupt, match="with this key already") as caught:
        machine.accept(last)
    assert caught.value.sequence == END + 7
    after = known(machine)
    assert {name for name in before if before[name] != after[name]} == {"position"}


@pytest.mark.parametrize("first", ["override", "freeze"])
def test_an_override_is_a_batch_of_its_own(first: str) -> None:
    """Beside another line it would be asked before or after that line, as one reads."""
    lines = [resigned(OVERRIDE, BERT, reason="another"), decided(FROZEN, BERT)]
    machine = replayed(LINES)
    *begun, last = seal(END, lines if first == "override" else lines[::-1])
    for data in begun:
        machine.accept(data)
    with pytest.raises(bb.JournalCorrupt, match="an override is a batch of its own"):
        machine.accept(last)
    assert len(machine.links.overrides.open) == len(replayed(LINES).links.overrides.open)
