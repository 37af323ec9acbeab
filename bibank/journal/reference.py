"""The reference encoder: what a line and its hash are, spelled as plainly as the format says it.

Slow and obvious. The codec rebuilds every line that it reads with it, and the tests hold the
hot-path encoder to it byte for byte.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Any

from bibank.model.entry import BatchMark, JournalEntry
from bibank.model.json_value import canonical_text, encode_string
from bibank.model.record import JournalLine
from bibank.model.signature import EntrySignature
from bibank.model.timestamp import format_timestamp

_ENTRY_SIGNED = ("sequence", "timestamp", "intent", "postings", "metadata", "prev_hash", "hash")
_RECORD_SIGNED = ("sequence", "timestamp", "record", "subject", "body", "prev_hash", "hash")


def line_members(line: JournalLine) -> dict[str, Any]:
    """Give a line's JSON members in the order of the line, defaults left out."""
    members: dict[str, Any] = {
        "sequence": line.sequence,
        "prev_hash": line.prev_hash,
        "hash": line.hash,
        "timestamp": format_timestamp(line.timestamp),
    }
    if isinstance(line, JournalEntry):
        members["intent"] = line.intent.value
    else:
        members["record"] = line.kind.value
        members["subject"] = line.subject
    members["correlation_id"] = line.correlation_id
    members["causality_id"] = line.causality_id
    mark = mark_members(line.sequence, line.batch)
    if mark:
        members["batch"] = mark
    if isinstance(line, JournalEntry):
        members["postings"] = [
            {"account": p.account.text, "amount": str(p.amount), "side": p.side.value} for p in line.postings
        ]
        members["metadata"] = line.metadata
    else:
        members["body"] = line.body
    if line.signatures:
        members["signatures"] = [_signature_members(signature) for signature in line.signatures]
    return members


def mark_members(sequence: int, mark: BatchMark) -> dict[str, Any]:
    """Give the members of `batch` that differ from their defaults."""
    members: dict[str, Any] = {}
    if mark.cover is not None:
        members["cover"] = mark.cover
    if mark.first != sequence:
        members["first"] = mark.first
    if mark.group != sequence:
        members["group"] = mark.group
    if mark.size != 1:
        members["size"] = mark.size
    return members


def _signature_members(signature: EntrySignature) -> dict[str, str]:
    return {
        "signer_id": signature.signer_id,
        "algorithm": signature.algorithm.value,
        "public_key": signature.public_key,
        "signature": signature.signature,
        "signed_at": format_timestamp(signature.signed_at),
    }


def encode_line(line: JournalLine) -> bytes:
    """Spell a line: compact JSON, members in the seed's order, values as RFC 8785."""
    members = ",".join(
        f"{encode_string(name)}:{canonical_text(value)}" for name, value in line_members(line).items()
    )
    return f"{{{members}}}".encode()


def line_preimage(line: JournalLine, *, ledger_id: str) -> bytes:
    """Give the bytes that a line's hash covers: JCS without hash and signatures, with the ledger id."""
    members = line_members(line)
    del members["hash"]
    members.pop("signatures", None)
    members["ledger"] = ledger_id
    return canonical_text(members).encode()


def line_hash(line: JournalLine, *, ledger_id: str) -> str:
    """Hash a line: SHA-256 of its preimage, lower-case hex."""
    return sha256(line_preimage(line, ledger_id=ledger_id)).hexdigest()


def signing_payload(line: JournalLine, *, signed_at: datetime) -> bytes:
    """Give what an `ed25519` signature covers: JCS of the seed's eight fields, or of a record's."""
    members = line_members(line)
    names = _ENTRY_SIGNED if isinstance(line, JournalEntry) else _RECORD_SIGNED
    covered = {name: members[name] for name in names}
    covered["signed_at"] = format_timestamp(signed_at)
    return canonical_text(covered).encode()
