"""The bytes of the format, pinned: a library upgrade must never move a hash."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from bibank.journal.batches import PreparedBatch
from bibank.journal.codec import decode_line
from bibank.journal.machine import LedgerMachine
from bibank.journal.reference import encode_line, line_hash, line_preimage
from bibank.model.entry import UnsignedEntry
from bibank.risk.engine import RiskEngine
from bibank.signing.trust import KeyringTrust
from tests.golden.journals import NAME, NONCE, STEPS, entry_at

HERE = Path(__file__).parent
JOURNAL = (HERE / "journal.jsonl").read_bytes().splitlines()
PREIMAGES = (HERE / "preimages.jsonl").read_bytes().splitlines()
LINES = (HERE / "lines.jsonl").read_bytes().splitlines()
LEDGER_ID = (HERE / "ledger_id.txt").read_text(encoding="ascii").strip()

# The keyring without keys, written down by hand: what the ledger id of every unsigned ledger commits to.
POLICIES = {
    purpose: {"mandatory_from": 1, "role": role, "threshold": threshold}
    for purpose, role, threshold in (
        ("line", "system", 0),
        ("checkpoint", "system", 0),
        ("adjustment", "operator", 1),
        ("permit", "owner", 0),
        ("rules", "system", 0),
        ("keyring", "system", 0),
        ("snapshot", "system", 0),
    )
}
TIES = {"bb.hold", "bb.reverses", "related_trade_sequence"}
KEYRING: dict[str, Any] = {"keys": [], "policies": POLICIES, "version": 1}


def test_ledger_id_by_hashlib_alone() -> None:
    """Name, and 32 digits of SHA-256 over keyring hash and nonce; keyring and nonce stand in the journal."""
    keyring = json.dumps(KEYRING, separators=(",", ":"), sort_keys=True).encode()
    digest = hashlib.sha256(hashlib.sha256(keyring).digest() + bytes.fromhex(NONCE)).hexdigest()
    assert f"{NAME}/{digest[:32]}" == LEDGER_ID
    first, second = (json.loads(line) for line in JOURNAL[:2])
    assert first["metadata"] == {
        "bb.format": "bibank/1",
        "bb.keyring": hashlib.sha256(keyring).hexdigest(),
        "bb.ledger": LEDGER_ID,
        "bb.nonce": NONCE,
    }
    assert second["body"] == {**KEYRING, "ledger": LEDGER_ID}


@pytest.mark.parametrize("index", range(len(JOURNAL)))
def test_hash_by_hashlib_and_rfc8785_alone(index: int) -> None:
    """The files agree with each other without a line of this library."""
    line = json.loads(JOURNAL[index])
    digest = line.pop("hash")
    assert rfc8785.dumps({**line, "ledger": LEDGER_ID}) == PREIMAGES[index]
    assert hashlib.sha256(PREIMAGES[index]).hexdigest() == digest
    assert line["sequence"] == index + 1
    assert line["prev_hash"] == (json.loads(JOURNAL[index - 1])["hash"] if index else "GENESIS")


def seal() -> tuple[LedgerMachine, list[bytes]]:
    """Let a machine write the journal."""
    machine = LedgerMachine(RiskEngine(), KeyringTrust())
    lines: list[bytes] = []
    for step in STEPS:
        drafts = step.drafts(lines)
        reversed_ones = [draft.links.reverses for draft in drafts if isinstance(draft, UnsignedEntry)]
        originals = {sequence: entry_at(lines, sequence) for sequence in reversed_ones if sequence}
        batch = PreparedBatch(drafts, key=step.key, originals=originals)
        lines += machine.propose(batch, step.at).lines
        if step.closes:
            machine.settle()
    return machine, lines


def test_machine_seals_these_bytes() -> None:
    """The same drafts at the same times are the same journal, byte for byte."""
    machine, lines = seal()
    assert lines == JOURNAL
    assert machine.ledger_id == LEDGER_ID


def test_machine_accepts_these_bytes() -> None:
    """A journal of today can be opened for ever."""
    machine = LedgerMachine(RiskEngine(), KeyringTrust())
    for line in JOURNAL:
        machine.accept(line)
    assert not machine.in_batch
    assert (machine.ledger_id, machine.head.sequence) == (LEDGER_ID, len(JOURNAL))
    assert {account.text: account.balance for account in machine.book.with_prefix("LIAB:USER")} == {
        "LIAB:USER:ALICE:BTC:AVAILABLE": 0,
        "LIAB:USER:ALICE:USDT:AVAILABLE": 85_474_999_999,
        "LIAB:USER:ALICE:USDT:LOCKED": 0,
        "LIAB:USER:BOB:BTC:AVAILABLE": 100_000_000,
        "LIAB:USER:BOB:USDT:AVAILABLE": 4_800_000_001,
        "LIAB:USER:BOB:USDT:LOCKED": 0,
        "LIAB:USER:CAROL:USDT:AVAILABLE": 200_000_000,
        "LIAB:USER:SHOP:USDT:AVAILABLE": 4_550_000_000,
    }


@pytest.mark.parametrize("data", [*JOURNAL, *LINES], ids=range(len(JOURNAL) + len(LINES)))
def test_spelling(data: bytes) -> None:
    """Each line is read and spelled again as it stands, its members in the order of the seed."""
    assert encode_line(decode_line(data)) == data
    order = list(json.loads(data))
    assert order == [
        name
        for name in (
            *("sequence", "prev_hash", "hash", "timestamp", "intent", "record", "subject"),
            *("correlation_id", "causality_id", "batch", "postings", "metadata", "body", "signatures"),
        )
        if name in order
    ]


@pytest.mark.parametrize("index", range(len(JOURNAL)))
def test_reference_hashes_these_bytes(index: int) -> None:
    """The reference gives these preimages and these hashes."""
    line = decode_line(JOURNAL[index])
    assert line_preimage(line, ledger_id=LEDGER_ID) == PREIMAGES[index]
    assert line_hash(line, ledger_id=LEDGER_ID) == line.hash


def test_what_the_lines_of_the_journal_say_of_each_other() -> None:
    """Cause, hold, reversal and relation, as plain JSON: what ties a line to an earlier one."""
    entries = [line for line in map(json.loads, JOURNAL) if "metadata" in line]
    tied = {
        line["sequence"]: (line["causality_id"], *sorted(set(line["metadata"]) & TIES))
        for line in entries
        if line["causality_id"] is not None
    }
    assert tied == {
        7: ("6", "related_trade_sequence"),
        10: ("9", "bb.hold"),
        12: ("11", "bb.hold"),
        14: ("13", "bb.hold"),
        15: ("13", "bb.hold"),
        17: ("6", "bb.reverses"),
        18: ("7", "bb.reverses"),
        19: ("3", "bb.reverses"),
    }
    for line in entries:
        for name in TIES & set(line["metadata"]):
            assert line["metadata"][name] == line["causality_id"]
    found = {name for line in entries for name in line["metadata"]}
    assert found >= {"bb.payee", "bb.expires_at", "bb.effective_at"}
    assert found >= {"bb.idempotency_key", "bb.idempotency_digest"}


def test_lines_beyond_an_unsigned_ledger() -> None:
    """The other lines show what the journal cannot: signatures, a cause, a cover."""
    found = [set(json.loads(line)) for line in LINES]
    assert all("signatures" in names for names in found)
    assert any("body" in names for names in found)
    lines = [decode_line(line) for line in LINES]
    assert {line.batch.cover for line in lines} == {None, "group"}
    assert any(line.causality_id for line in lines)
    assert max(len(line.signatures) for line in lines) == 3
