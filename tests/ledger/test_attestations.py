"""Attestations: signatures for lines that stand already, by whom and of what, and forged ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

import bibank as bb
from bibank.journal.batches import PreparedBatch
from bibank.model.json_value import FrozenMap
from bibank.model.record import UnsignedRecord
from bibank.signing import Envelope, KeyringChange, Role
from tests.ledger.operators import (
    ANNA,
    BERT,
    BERT_AGAIN,
    CLEO,
    DORA,
    OWN,
    OWNER,
    STRANGER,
    change,
    govern,
    governed,
    join,
    refused,
    signed,
)
from tests.signing.forge import Key, make, reopen

DEPOSIT = 7
"""The line of Alice's deposit."""


def attest(ledger: bb.Ledger, sequence: int, key: Key, **fields: Any) -> bb.JournalRecord:
    """Attest a line with a key."""
    return ledger.governance.attest(sequence, key.signer, **{"correlation_id": "s", **fields})


def crafted(ledger: bb.Ledger, line: int, key: Key, **changes: Any) -> Envelope:
    """Sign an attestation with other members than were drafted."""
    draft = ledger.governance.draft_attestation(line)
    return signed(attrs.evolve(draft, payload=FrozenMap({**draft.payload, **changes})), key)


def forced(ledger: bb.Ledger, envelope: Envelope, subject: str = "BERT_OPS") -> None:
    """Commit an attestation past all that governance looks at."""
    record = UnsignedRecord(
        kind=bb.RecordKind.ATTESTATION, subject=subject, correlation_id="s", body=envelope.to_body()
    )
    ledger._committer.commit(PreparedBatch((record,)))


def test_any_line_is_attested_by_any_key() -> None:
    """Entries and records, by operators, owners and the system; the line stays as it is."""
    ledger = governed()
    join(ledger, OWNER, Role.OWNER)
    lines = [ledger.line(sequence) for sequence in range(1, 9)]
    keys = (ANNA, OWN, OWNER, BERT)
    for line, key in [(line, key) for line in lines for key in keys]:
        record = attest(ledger, line.sequence, key)
        assert (record.kind, record.subject, record.causality_id) == (
            bb.RecordKind.ATTESTATION,
            key.signer_id,
            str(line.sequence),
        )
        (*_, found) = ledger.attestations(line.sequence)
        assert found == bb.Attestation(
            sequence=record.sequence,
            line=line.sequence,
            hash=line.hash,
            signer_id=key.signer_id,
            key_id=key.key_id,
        )
    assert [ledger.line(line.sequence) for line in lines] == lines
    assert [found.line for found in ledger.attestations()] == sorted([line.sequence for line in lines] * 4)
    ledger.audit(level="signatures")


def test_a_key_attests_a_line_once() -> None:
    """The same person may do so with another key, and the same key for another line."""
    ledger = governed()
    join(ledger, BERT_AGAIN)
    first = attest(ledger, DEPOSIT, BERT)
    with refused(ledger, "same_key"):
        attest(ledger, DEPOSIT, BERT)
    attest(ledger, DEPOSIT, BERT_AGAIN)
    attest(ledger, DEPOSIT, CLEO)
    attest(ledger, first.sequence, BERT)
    assert [found.signer_id for found in ledger.attestations(DEPOSIT)] == ["BERT_OPS", "BERT_OPS", "CLEO_OPS"]
    assert len(ledger.attestations()) == 4
    assert list(ledger.attestations(1)) == []
    assert list(ledger.attestations(10**6)) == []


@pytest.mark.parametrize(
    ("key", "reason"),
    [(STRANGER, "unknown_key"), (Key(99, "BERT_OPS"), "unknown_key"), (DORA, "inactive_key")],
)
def test_a_key_that_is_not_in_force_attests_nothing(key: Key, reason: str) -> None:
    """Unknown ones, and those that were given up."""
    ledger = governed()
    change(ledger, KeyringChange(revoke={DORA.key_id: 3}))
    with refused(ledger, reason):
        attest(ledger, DEPOSIT, key)
    attest(ledger, DEPOSIT, BERT)


def test_what_was_attested_stays_when_the_key_goes() -> None:
    """A signature that was good when it was given is listed for good."""
    ledger = governed()
    attest(ledger, DEPOSIT, DORA)
    change(ledger, KeyringChange(retire=(DORA.key_id,)))
    assert [found.signer_id for found in ledger.attestations()] == ["DORA_OPS"]


def test_a_line_that_is_not_there_is_not_attested() -> None:
    """Later lines, and what is no line; also by a record made by hand, and also its own."""
    ledger = governed()
    following = ledger.head.sequence + 1
    for sequence in (following, following + 5, 0, -1):
        with refused(ledger, kind=bb.UnknownSequence):
            attest(ledger, sequence, BERT)
    for sequence in (following, following + 1):
        envelope = crafted(ledger, DEPOSIT, BERT, sequence=sequence)
        with refused(ledger, kind=bb.UnknownSequence):
            ledger.governance.commit(envelope, correlation_id="s")
        with refused(ledger, kind=bb.InvalidValue):
            forced(ledger, envelope)
    odd: Any = "7"
    with refused(ledger, kind=bb.InvalidType):
        attest(ledger, odd, BERT)


def test_another_line_is_not_attested() -> None:
    """Who signs a hash that the journal does not hold there is told, and nothing is committed."""
    ledger = governed()
    with refused(ledger, "other_content"):
        ledger.governance.commit(crafted(ledger, DEPOSIT, BERT, hash="5a" * 32), correlation_id="s")
    with refused(ledger, "other_content"):
        ledger.governance.commit(crafted(ledger, DEPOSIT, BERT, sequence=3), correlation_id="s")
    draft = ledger.governance.draft_attestation(DEPOSIT)
    renamed = signed(attrs.evolve(draft, payload=FrozenMap({**draft.payload, "ledger": "books/0"})), BERT)
    with refused(ledger, "other_ledger"):
        ledger.governance.commit(renamed, correlation_id="s")
    moved = attrs.evolve(draft, signatures=signed(ledger.governance.draft_attestation(3), BERT).signatures)
    with refused(ledger, "bad_signature"):
        ledger.governance.commit(moved, correlation_id="s")
    with refused(ledger, "too_many"):
        ledger.governance.commit(signed(draft, BERT, CLEO), correlation_id="s")
    with refused(ledger, kind=bb.InvalidEntry):
        forced(ledger, signed(draft, BERT), "CLEO_OPS")
    ledger.governance.commit(signed(draft, BERT), correlation_id="s")


def test_a_journal_in_which_another_line_was_attested() -> None:
    """Whoever has signed another hash there is evidence: listing and auditing name the attestation's line."""
    ledger = governed()
    attest(ledger, 3, CLEO)
    forced(ledger, crafted(ledger, DEPOSIT, BERT, hash="5a" * 32))
    sequence = ledger.head.sequence
    assert len(ledger.attestations(3)) == 1
    for look in (ledger.attestations, lambda: ledger.attestations(DEPOSIT), ledger.audit):
        with pytest.raises(bb.JournalCorrupt, match="there is, or was, another journal") as caught:
            look()
        assert caught.value.sequence == sequence


def test_an_audit_of_a_home_compares_what_was_attested(tmp_path: Path) -> None:
    """Also where the attested line and its attestation stand in different places of the file."""
    home = tmp_path / "books"
    with make(home) as ledger:
        govern(ledger)
        ledger.deposit("ALICE", "100 USDT", correlation_id="d")
        for number in range(3):
            attest(ledger, DEPOSIT - number, BERT)
        ledger.deposit("ALICE", "1 USDT", correlation_id="d")
    assert bb.audit_home(home, level="signatures").lines == 11
    with reopen(home) as ledger:
        assert [(found.line, found.sequence) for found in ledger.attestations()] == [(5, 10), (6, 9), (7, 8)]
        forced(ledger, crafted(ledger, 4, BERT, hash="0" * 64))
    with pytest.raises(bb.JournalCorrupt, match="has attested") as caught:
        bb.audit_home(home)
    assert (caught.value.sequence, caught.value.line) == (12, 12)
    with bb.LedgerReader.open(home, show="written") as reader:
        assert len(reader.attestations(5)) == 1
        with pytest.raises(bb.JournalCorrupt, match="has attested"):
            reader.attestations()
    reopen(home).close()


def test_a_retry_of_an_attestation_gives_the_same_record() -> None:
    """With its key; under the key another request is a conflict."""
    ledger = governed()
    record = attest(ledger, DEPOSIT, BERT, idempotency_key="k")
    assert attest(ledger, DEPOSIT, BERT, idempotency_key="k", correlation_id="other") == record
    for sequence, key in ((3, BERT), (DEPOSIT, CLEO)):
        with refused(ledger, kind=bb.IdempotencyConflict):
            attest(ledger, sequence, key, idempotency_key="k")


def test_forks_attest_for_themselves() -> None:
    """A fork has what was attested before it, and its own; nothing comes back."""
    ledger = governed()
    attest(ledger, DEPOSIT, BERT)
    fork = ledger.fork()
    attest(fork, DEPOSIT, CLEO)
    entry = fork.deposit("BOB", "1 USDT", correlation_id="d")
    attest(fork, entry.sequence, BERT)
    with refused(fork, "same_key"):
        attest(fork, DEPOSIT, BERT)
    assert [found.signer_id for found in fork.attestations()] == ["BERT_OPS", "CLEO_OPS", "BERT_OPS"]
    assert [found.signer_id for found in ledger.attestations()] == ["BERT_OPS"]
    fork.audit(level="signatures")
