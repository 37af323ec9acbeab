"""The strict line codec: bytes to a `JournalEntry` or `JournalRecord`, or a typed error.

Reading parses, rebuilds the line with the reference encoder and compares: a line is accepted only
in the one spelling that the format gives it. Duplicate or unknown members, floats, NaN, other
spellings of a number or an escape, spelled-out defaults: all are `MalformedLine`. Work is bounded
before parsing: by length, by nesting, by the digits of an integer.

The hash is not checked here; that needs the ledger id, and is the chain's business.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn, TypeVar

from bibank.errors import BibankError, InvalidEntry, InvalidValue, MalformedLine, excerpt
from bibank.journal.intents import check_intent
from bibank.journal.links import check_links
from bibank.journal.records import check_record
from bibank.journal.reference import encode_line
from bibank.model.account import AccountKey, Side
from bibank.model.amount import Amount
from bibank.model.entry import (
    MAX_POSTINGS,
    BatchMark,
    JournalEntry,
    Posting,
    TransactionIntent,
    check_totals,
)
from bibank.model.identifier import check_identifier
from bibank.model.json_value import BODY_LIMITS, METADATA_LIMITS, FrozenMap, check_encodable_text, freeze
from bibank.model.lines import GENESIS_PREV_HASH
from bibank.model.links import EntryLinks
from bibank.model.record import JournalLine, JournalRecord, RecordKind, check_subject
from bibank.model.signature import MAX_SIGNATURES, EntrySignature, SignatureAlgorithm
from bibank.model.timestamp import parse_timestamp

T = TypeVar("T")

MAX_LINE_BYTES = 65_535
"""A line, without its newline: bounds what one line can cost every reader for ever."""

MAX_NESTING = 16
"""Brackets within brackets: a line, a record's body (8) and a signed envelope inside it."""

MAX_INTEGER = 2**63 - 1
MAX_BATCH_LINES = 8192
"""Lines of one atomic batch, and of one write group."""

_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HEX = re.compile(r"(?:[0-9a-f]{2})+", re.ASCII)
_SEQUENCE_TEXT = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""A string without an end takes the rest of the line, so that the scan looks at each byte once."""

_ENTRY_MEMBERS = frozenset(
    [
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
)
_RECORD_MEMBERS = frozenset(
    [
        "sequence",
        "prev_hash",
        "hash",
        "timestamp",
        "record",
        "subject",
        "correlation_id",
        "causality_id",
        "batch",
        "body",
        "signatures",
    ]
)
_MARK_MEMBERS = frozenset({"cover", "first", "group", "size"})
_POSTING_MEMBERS = frozenset({"account", "amount", "side"})
_SIGNATURE_MEMBERS = frozenset({"signer_id", "algorithm", "public_key", "signature", "signed_at"})
_INTENTS = {intent.value: intent for intent in TransactionIntent}
_KINDS = {kind.value: kind for kind in RecordKind}
_SIDES = {side.value: side for side in Side}
_ALGORITHMS = {algorithm.value: algorithm for algorithm in SignatureAlgorithm}


def decode_line(data: bytes) -> JournalLine:
    """Read one line, without its newline. Raises `MalformedLine` for anything not canonical."""
    line = _build_line(parse_object(decode_text(data)))
    if encode_line(line) != data:
        raise MalformedLine("the line is not spelled canonically")
    return line


def decode_text(data: bytes) -> str:
    """Decode a line's UTF-8 after checking its length."""
    if len(data) > MAX_LINE_BYTES:
        raise MalformedLine(f"the line is {len(data)} bytes, over the limit of {MAX_LINE_BYTES}")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise MalformedLine(f"the line is not UTF-8: {error.reason} at byte {error.start}") from None


def parse_object(text: str) -> dict[str, Any]:
    """Parse one JSON object strictly; `MalformedLine` for what the format's JSON does not have."""
    _check_nesting(text)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique_members,
            parse_int=_bounded_integer,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except MalformedLine:
        raise
    except (ValueError, RecursionError) as error:
        raise MalformedLine(f"the line is not JSON: {excerpt(str(error))}") from None
    if not isinstance(value, dict):
        raise MalformedLine("the line is not a JSON object")
    return value


def _check_nesting(text: str) -> None:
    if text.count("{") + text.count("[") <= MAX_NESTING:
        return
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        bracket = match[0]
        if bracket in "{[":
            depth += 1
            if depth > MAX_NESTING:
                raise MalformedLine(f"the line is nested over {MAX_NESTING} levels")
        elif bracket in "}]":
            depth -= 1


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedLine("a JSON object has the same name twice")
    return members


def _bounded_integer(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > MAX_INTEGER:
        raise MalformedLine(f"the integer {excerpt(text)} is beyond 2**63-1")
    return int(text)


def _refuse_number(text: str) -> NoReturn:
    raise MalformedLine(f"{excerpt(text)} is no integer; the format has no other numbers")


def _build_line(members: dict[str, Any]) -> JournalLine:
    """Build the value; whatever a constructor refuses makes the line malformed."""
    try:
        if "record" in members:
            _check_members(members, _RECORD_MEMBERS)
            return _build_record(members)
        _check_members(members, _ENTRY_MEMBERS)
        return _build_entry(members)
    except MalformedLine:
        raise
    except KeyError as error:
        raise MalformedLine(f"the line lacks {error}") from None
    except BibankError as error:
        raise MalformedLine(str(error)) from error


def _build_entry(members: dict[str, Any]) -> JournalEntry:
    intent = _pick(_INTENTS, members["intent"], "intent")
    postings = tuple(map(_build_posting, _expect(members["postings"], list, "postings")))
    metadata = read_metadata(members["metadata"])
    common = _common(members)
    check_structure(intent, postings, metadata, causality_id=common["causality_id"])
    return JournalEntry(
        **common,
        intent=intent,
        postings=postings,
        metadata=metadata,
        signatures=_signatures(members),
    )


def check_structure(
    intent: TransactionIntent,
    postings: tuple[Posting, ...],
    metadata: FrozenMap,
    *,
    causality_id: str | None = None,
) -> None:
    """Hold a read entry to what the format fixes for ever: counts, sums, the intent table."""
    if intent is not TransactionIntent.GENESIS:
        if len(postings) > MAX_POSTINGS:
            raise InvalidEntry(f"{len(postings)} postings, over the limit of {MAX_POSTINGS}")
        if len(postings) < 2:
            raise InvalidEntry(f"{len(postings)} postings, double entry needs at least 2")
        links = EntryLinks.from_metadata(metadata, causality_id=causality_id)
        if links is not None:
            check_links(intent, postings, links)
    check_totals((p.account.asset, p.amount.units, p.side is Side.DEBIT) for p in postings)
    check_intent(intent, postings, metadata)


def read_metadata(value: object) -> FrozenMap:
    """Freeze metadata that was read, by the format's limits."""
    return freeze(value, METADATA_LIMITS, check_text=check_encodable_text)


def _build_record(members: dict[str, Any]) -> JournalRecord:
    kind = _pick(_KINDS, members["record"], "record")
    body = freeze(members["body"], BODY_LIMITS, check_text=check_encodable_text)
    check_record(kind, body)
    return JournalRecord(
        **_common(members),
        kind=kind,
        subject=check_subject(members["subject"]),
        body=body,
        signatures=_signatures(members),
    )


def _common(members: dict[str, Any]) -> dict[str, Any]:
    sequence = _sequence(members["sequence"], "sequence")
    causality_id = members["causality_id"]
    if causality_id is not None and (
        _SEQUENCE_TEXT.fullmatch(_expect(causality_id, str, "causality_id")) is None
        or int(causality_id) >= sequence
    ):
        raise MalformedLine(f"causality_id {excerpt(causality_id)} is not the sequence of an earlier line")
    prev_hash = _expect(members["prev_hash"], str, "prev_hash")
    if prev_hash != GENESIS_PREV_HASH:
        _matching(_HASH, prev_hash, "prev_hash")
    return {
        "sequence": sequence,
        "prev_hash": prev_hash,
        "hash": _matching(_HASH, members["hash"], "hash"),
        "timestamp": parse_timestamp(_expect(members["timestamp"], str, "timestamp")),
        "correlation_id": check_identifier(members["correlation_id"], name="correlation_id"),
        "causality_id": causality_id,
        "batch": _mark(members.get("batch", {}), sequence),
    }


def _mark(value: object, sequence: int) -> BatchMark:
    members = _expect(value, dict, "batch")
    _check_members(members, _MARK_MEMBERS)
    first = _sequence(members.get("first", sequence), "batch.first")
    group = _sequence(members.get("group", sequence), "batch.group")
    size = _sequence(members.get("size", 1), "batch.size")
    cover = members.get("cover")
    if cover not in (None, "group"):
        raise MalformedLine(f"batch.cover {excerpt(cover)} is not 'group'")
    if size > MAX_BATCH_LINES or not group <= first <= sequence < first + size:
        raise MalformedLine(
            f"batch mark first {first}, size {size}, group {group} cannot hold line {sequence}"
        )
    return BatchMark(first=first, size=size, group=group, cover=cover)


def _build_posting(value: object) -> Posting:
    members = _expect(value, dict, "posting")
    _check_members(members, _POSTING_MEMBERS)
    return Posting(
        AccountKey(_expect(members["account"], str, "account")),
        Amount(_expect(members["amount"], str, "amount")),
        _pick(_SIDES, members["side"], "side"),
    )


def _signatures(members: dict[str, Any]) -> tuple[EntrySignature, ...]:
    if "signatures" not in members:
        return ()
    signatures = tuple(map(_build_signature, _expect(members["signatures"], list, "signatures")))
    if not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise MalformedLine(f"{len(signatures)} signatures; 1 to {MAX_SIGNATURES} may stand on a line")
    order = [(signature.signer_id, signature.public_key) for signature in signatures]
    if order != sorted(set(order)) or len({key for _, key in order}) != len(order):
        raise MalformedLine("signatures are not sorted by signer and key, one per key")
    return signatures


def _build_signature(value: object) -> EntrySignature:
    members = _expect(value, dict, "signature")
    _check_members(members, _SIGNATURE_MEMBERS)
    return EntrySignature(
        signer_id=check_identifier(members["signer_id"], name="signer_id"),
        algorithm=_pick(_ALGORITHMS, members["algorithm"], "algorithm"),
        public_key=_matching(_HEX, members["public_key"], "public_key"),
        signature=_matching(_HEX, members["signature"], "signature"),
        signed_at=parse_timestamp(_expect(members["signed_at"], str, "signed_at")),
    )


def _check_members(members: dict[str, Any], allowed: frozenset[str]) -> None:
    unknown = members.keys() - allowed
    if unknown:
        raise MalformedLine(f"unknown member {excerpt(min(unknown))}")


def _expect(value: object, kind: type[T], name: str) -> T:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise MalformedLine(f"{name} is not of the right type")
    return value


def _sequence(value: object, name: str) -> int:
    number = _expect(value, int, name)
    if number < 1:
        raise MalformedLine(f"{name} {number} is below 1")
    return number


def _pick(table: dict[str, T], value: object, name: str) -> T:
    if not isinstance(value, str) or value not in table:
        raise MalformedLine(f"{name} {excerpt(value)} is not known to the format")
    return table[value]


def _matching(pattern: re.Pattern[str], value: object, name: str) -> str:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise InvalidValue(f"{name} {excerpt(value)} is not lower-case hex of the right length")
    return value
