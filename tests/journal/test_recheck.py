"""Checking stored lines again: what was committed passes, whatever was changed since does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bibank as bb
from bibank.journal.codec import decode_line
from bibank.journal.history import stored_movement
from bibank.journal.recheck import _taken_apart, recheck
from bibank.testing import strategies

GOLDEN = Path(__file__).parents[1] / "golden"


def golden(name: str) -> list[bytes]:
    """Lines of a golden journal."""
    return (GOLDEN / name).read_bytes().splitlines()


def ledger_id(lines: list[bytes]) -> str:
    """The id that genesis names."""
    return str(decode_line(lines[0]).metadata["bb.ledger"])  # type: ignore[union-attr]  # line 1 is an entry


@pytest.mark.parametrize("name", ["journal.jsonl", "governed.jsonl", "signed_entry.jsonl"])
def test_every_golden_line_passes(name: str) -> None:
    """All kinds of lines are found to be what they say: most by their pieces, the others decoded."""
    lines = golden(name)
    for data in lines:
        line = decode_line(data)
        assert recheck(data, ledger_id=ledger_id(lines)) == (line.sequence, line.prev_hash, line.hash)
        apart = _taken_apart(data, ledger_id(lines))
        assert (apart is not None) == isinstance(line, bb.JournalEntry)


@pytest.mark.parametrize("name", ["journal.jsonl", "governed.jsonl", "signed_entry.jsonl"])
def test_no_changed_byte_of_the_content_passes(name: str) -> None:
    """A changed byte anywhere but in the signatures is found, and another ledger's id as well."""
    lines = golden(name)
    identity = ledger_id(lines)
    for data in lines[:12]:
        end = data.find(b',"signatures":[')
        for at in range(end if end >= 0 else len(data)):
            changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            with pytest.raises(bb.BibankError):
                recheck(changed, ledger_id=identity)
        with pytest.raises(bb.InvalidValue):
            recheck(data, ledger_id=identity.replace("/", "/0"))


@pytest.mark.parametrize(
    "instead",
    [
        b'"signatures":[ ],"postings":[]',
        b'"signatures":[],"postings":[]',
        b'"signatures":[not json]',
        b'"signatures":[]',
        b'"signatures":[{}]',
        b'"postings":[]',
        b'"signatures":[%b],"postings":[]',
        b'"signatures":[%b],"metadata":{"bb.effective_at":"2020-01-01T00:00:00Z"}',
        b'"signatures":[%b,]',
        b'"signatures":[%b]]',
    ],
)
def test_nothing_but_signatures_passes_in_their_place(instead: bytes) -> None:
    """The hash leaves signatures out, so members put there, which JSON would read last, are refused."""
    lines = golden("signed_entry.jsonl")
    signed = [data for data in lines if b',"signatures":[' in data and b'"postings":[{' in data]
    assert signed
    for data in signed:
        content, signatures = data[:-2].split(b',"signatures":[')
        forged = content + b"," + instead.replace(b"%b", signatures) + b"}"
        with pytest.raises(bb.BibankError):
            recheck(forged, ledger_id=ledger_id(lines))


@settings(max_examples=60)
@given(drafts=st.lists(strategies.unsigned_entries(), min_size=1, max_size=4))
def test_committed_entries_pass_and_say_what_they_did(drafts: list[bb.UnsignedEntry]) -> None:
    """Whatever is in them: pieces and reference agree, and so do both ways to read a movement."""
    ledger = bb.Ledger.in_memory({"USDT": "100"})
    outcomes = ledger.commit_each(drafts)
    for data in ledger._committer.store.read(after_sequence=0):
        line = decode_line(data)
        assert recheck(data, ledger_id=ledger.ledger_id) == (line.sequence, line.prev_hash, line.hash)
        told = stored_movement(data)
        if isinstance(line, bb.JournalEntry):
            assert _taken_apart(data, ledger.ledger_id) is not None
            assert told is not None
            assert (told.sequence, told.timestamp, told.intent) == (
                line.sequence,
                line.timestamp,
                line.intent,
            )
            assert told.correlation_id == line.correlation_id
            changes: dict[str, int] = {}
            for posting in line.postings:
                grows = posting.side is posting.account.category.normal_balance
                name = str(posting.account)
                changes[name] = changes.get(name, 0) + (1 if grows else -1) * posting.amount.units
            assert told.changes == changes
        else:
            assert told is None
    assert ledger.head.sequence == 2 + len(outcomes.committed)
