"""The encoder of the hot path against the reference encoder and against independent libraries."""

import hashlib
import json
from datetime import datetime
from typing import Any

import attrs
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from bibank.journal import encoder
from bibank.journal.encoder import amount_text, entry_hash, entry_line, mark_json, record_hash, record_line
from bibank.journal.reference import encode_line, line_hash, line_members, line_preimage, mark_members
from bibank.model.amount import MAX_UNITS, units_to_text
from bibank.model.entry import BatchMark, JournalEntry, Posting, TransactionIntent, UnsignedEntry
from bibank.model.genesis import GenesisMark
from bibank.model.json_value import METADATA_LIMITS, FrozenMap, canonical_text, encode_string, freeze
from bibank.model.record import JournalLine, JournalRecord, RecordKind
from bibank.model.signature import EntrySignature, SignatureAlgorithm
from bibank.model.timestamp import format_timestamp
from bibank.testing.strategies import genesis_marks, identifiers, metadata, unsigned_entries
from tests.journal.machines import ALICE, BOB, NOON, members, rehash, spell
from tests.journal.values import hashes, journal_entries, journal_records, marks, moments

LEDGER = "test/" + "0" * 32


def independent_hash(line: bytes, ledger_id: str) -> str:
    """Hash a line with `rfc8785` and `hashlib`, from its bytes alone."""
    found: str = rehash(members(line), ledger_id)["hash"]
    return found


@given(journal_entries() | journal_records(), genesis_marks())
def test_reference_equals_independent_libraries(line: JournalLine, mark: GenesisMark) -> None:
    """The reference spells the line as the format says, and hashes its JCS with the ledger id."""
    data = encode_line(line)
    assert data == spell(members(data))
    assert line_hash(line, ledger_id=mark.ledger_id) == independent_hash(data, mark.ledger_id)
    preimage = line_preimage(line, ledger_id=mark.ledger_id)
    assert preimage == rfc8785.dumps(json.loads(preimage))
    assert hashlib.sha256(preimage).hexdigest() == line_hash(line, ledger_id=mark.ledger_id)


@given(unsigned_entries(), marks(), hashes(), moments(), st.sampled_from([None, "1"]), genesis_marks())
def test_hot_path_entry(
    draft: UnsignedEntry,
    place: tuple[int, BatchMark],
    prev_hash: str,
    moment: datetime,
    cause: str | None,
    mark: GenesisMark,
) -> None:
    """Line and hash of an entry from fragments equal those of the reference, byte for byte."""
    sequence, batch = place
    ledger_id = mark.ledger_id
    postings = canonical_text(
        [
            {"account": p.account.text, "amount": amount_text(p.amount.units), "side": p.side.value}
            for p in draft.postings
        ]
    )[1:-1]
    fragments = (
        format_timestamp(moment),
        draft.intent.value,
        encode_string(draft.correlation_id),
        f'"{cause}"' if cause else "null",
        mark_json(sequence, batch.first, batch.size, batch.group, batch.cover),
        postings,
        draft.metadata_json,
    )
    digest = entry_hash(ledger_id, sequence, prev_hash, *fragments)
    line = JournalEntry(
        sequence=sequence,
        prev_hash=prev_hash,
        hash=digest,
        timestamp=moment,
        intent=draft.intent,
        correlation_id=draft.correlation_id,
        causality_id=cause,
        batch=batch,
        postings=draft.postings,
        metadata=draft.whole_metadata,
    )
    data = entry_line(sequence, prev_hash, digest, *fragments).encode()
    assert data == encode_line(line)
    assert digest == line_hash(line, ledger_id=ledger_id) == independent_hash(data, ledger_id)


@given(metadata(), identifiers(), identifiers(), marks(), hashes(), moments())
def test_hot_path_record(
    free: dict[str, Any],
    subject: str,
    correlation_id: str,
    place: tuple[int, BatchMark],
    prev_hash: str,
    moment: datetime,
) -> None:
    """Line and hash of a record from fragments equal those of the reference, byte for byte."""
    sequence, batch = place
    body = freeze(free, METADATA_LIMITS)
    fragments = (
        format_timestamp(moment),
        RecordKind.KEYRING_ADOPTED.value,
        encode_string(subject),
        encode_string(correlation_id),
        "null",
        mark_json(sequence, batch.first, batch.size, batch.group, batch.cover),
        canonical_text(body),
    )
    digest = record_hash(LEDGER, sequence, prev_hash, *fragments)
    line = JournalRecord(
        sequence=sequence,
        prev_hash=prev_hash,
        hash=digest,
        timestamp=moment,
        kind=RecordKind.KEYRING_ADOPTED,
        subject=subject,
        correlation_id=correlation_id,
        causality_id=None,
        batch=batch,
        body=body,
    )
    data = record_line(sequence, prev_hash, digest, *fragments).encode()
    assert data == encode_line(line)
    assert digest == line_hash(line, ledger_id=LEDGER) == independent_hash(data, LEDGER)


@given(marks())
def test_batch_mark_leaves_out_defaults(place: tuple[int, BatchMark]) -> None:
    """Own sequence, one line, own group and no cover are not written; all defaults, nothing is."""
    sequence, mark = place
    expected = {
        name: value
        for name, value, default in (
            ("cover", mark.cover, None),
            ("first", mark.first, sequence),
            ("group", mark.group, sequence),
            ("size", mark.size, 1),
        )
        if value != default
    }
    assert mark_members(sequence, mark) == expected
    fragment = mark_json(sequence, mark.first, mark.size, mark.group, mark.cover)
    assert fragment == (f'"batch":{rfc8785.dumps(expected).decode()},' if expected else "")


@given(journal_entries())
def test_signatures_and_the_hash_itself_are_not_hashed(entry: JournalEntry) -> None:
    """What a signature signs cannot cover the signature; everything else is covered."""
    signed = attrs.evolve(entry, signatures=(), hash="f" * 64)
    assert line_hash(signed, ledger_id=LEDGER) == line_hash(entry, ledger_id=LEDGER)
    assert b"signatures" not in line_preimage(attrs.evolve(entry, metadata=FrozenMap()), ledger_id=LEDGER)


ENTRY = JournalEntry(
    sequence=5,
    prev_hash="a" * 64,
    hash="b" * 64,
    timestamp=NOON,
    intent=TransactionIntent.TRANSFER,
    correlation_id="r1",
    causality_id="4",
    batch=BatchMark(first=5, group=5),
    postings=(Posting.debit(ALICE, 1), Posting.credit(BOB, 1)),
    metadata=FrozenMap(),
)


def test_everything_else_is_hashed() -> None:
    """Each member, and the ledger id, changes the hash."""
    changes: list[dict[str, Any]] = [
        {"sequence": 6},
        {"prev_hash": "c" * 64},
        {"timestamp": NOON.replace(microsecond=1)},
        {"intent": TransactionIntent.TRADE},
        {"correlation_id": "r2"},
        {"causality_id": None},
        {"batch": BatchMark(first=5, group=4)},
        {"batch": BatchMark(first=5, group=5, size=2)},
        {"batch": BatchMark(first=5, group=5, cover="group")},
        {"postings": ENTRY.postings[::-1]},
        {"metadata": FrozenMap({"a": 1})},
    ]
    digests = {line_hash(attrs.evolve(ENTRY, **change), ledger_id=LEDGER) for change in changes}
    digests |= {line_hash(ENTRY, ledger_id=LEDGER), line_hash(ENTRY, ledger_id="other/" + "0" * 32)}
    assert len(digests) == len(changes) + 2


def test_members_of_a_line_stand_in_the_order_of_the_seed() -> None:
    """A signed entry spells every member once, signatures last."""
    signature = EntrySignature(
        signer_id="s",
        algorithm=SignatureAlgorithm.ED25519,
        public_key="00",
        signature="11",
        signed_at=NOON,
    )
    entry = attrs.evolve(
        ENTRY,
        batch=BatchMark(first=4, group=3, size=2, cover="group"),
        postings=(),
        signatures=(signature,),
    )
    assert list(line_members(entry)) == [
        "sequence",
        "prev_hash",
        "hash",
        "timestamp",
        "intent",
        "correlation_id",
        "causality_id",
        "batch",
        "postings",
        "metadata",
        "signatures",
    ]
    assert encode_line(entry).endswith(
        b'"batch":{"cover":"group","first":4,"group":3,"size":2},"postings":[],"metadata":{},'
        b'"signatures":[{"algorithm":"ed25519","public_key":"00","signature":"11",'
        b'"signed_at":"2026-01-25T12:00:00Z","signer_id":"s"}]}'
    )


@given(st.lists(st.integers(0, MAX_UNITS), max_size=20))
def test_amount_texts_through_the_cache(numbers: list[int]) -> None:
    """The cache never changes a text."""
    for units in numbers:
        assert amount_text(units) == units_to_text(units) == amount_text(units)


def test_amount_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger with endlessly many different amounts does not grow for ever."""
    monkeypatch.setattr(encoder, "_AMOUNT_TEXTS_KEPT", 4)
    monkeypatch.setattr(encoder, "_amount_texts", {})
    for units in range(20):
        assert amount_text(units) == units_to_text(units)
        assert len(encoder._amount_texts) <= 4
