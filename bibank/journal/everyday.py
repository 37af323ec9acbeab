"""Taking everyday lines apart: an entry of two postings, split at its quotes.

Nothing that comes out of here is believed. The reader spells the whole line again from these
pieces, hash included, and compares it with the stored bytes; a line that is anything else, or is
spelled in any other way, gives None or does not compare equal, and goes the slow way.
"""

from __future__ import annotations

import re
from datetime import datetime

from bibank.journal.codec import MAX_LINE_BYTES
from bibank.journal.encoder import signature_json
from bibank.journal.intents import TWO_POSTING_CATEGORIES
from bibank.model.identifier import MAX_ID_LENGTH
from bibank.model.signature import EntrySignature, SignatureAlgorithm
from bibank.model.timestamp import parse_timestamp

EVERYDAY_INTENTS = {intent.value: categories for intent, categories in TWO_POSTING_CATEGORIES.items()}

_PARTS = 52
"""Quotes before the metadata of an entry with two postings, no cause and no batch mark."""

_MOST_MARK_PARTS = 8
"""Quotes in the longest everyday batch mark: cover and group."""

SIGNATURES = ',"signatures":['
"""What begins the signatures of a line, which end it."""
_SIGNATURE_PARTS = 23
_ALGORITHMS = {algorithm.value: algorithm for algorithm in SignatureAlgorithm}

_LONE_KEY = re.compile(
    r'\{"bb\.idempotency_digest":"[0-9a-f]{64}",'
    rf'"bb\.idempotency_key":"([ -!#-\[\]-~]{{1,{MAX_ID_LENGTH}}})"\}}',
    re.ASCII,
)
"""A key with a quote or a backslash goes the slow way."""


Pieces = tuple[str, str, str, str, str, int, str | None, str, str, str, str, str, str]
"""The line without signatures, timestamp, intent, correlation id (JSON), batch mark (JSON), write
group, cover, first account, second account, amount, first side, metadata (JSON), signature (JSON or
nothing)."""


def take_apart(data: bytes, *, sequence: int, group: int) -> Pieces | None:
    """Split a line that would be the given sequence in, or after, the given write group."""
    if len(data) > MAX_LINE_BYTES:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    if "\\" in text:
        return None
    signature = ""
    if text[-2:] == "]}":
        at = text.rfind(SIGNATURES)
        signature = text[at + len(SIGNATURES) : -2]
        text = f"{text[:at]}}}"
    parts = text.split('"', _PARTS + _MOST_MARK_PARTS)
    if len(parts) <= _PARTS:
        return None
    mark, at, cover = "", 29, None
    if parts[25] != "batch":
        group = sequence
    elif parts[27] == "group":
        mark, at = f'"batch":{{"group":{group}}},', 33
    elif parts[27] == "cover" and parts[31] == "postings":
        mark, at, group, cover = '"batch":{"cover":"group"},', 35, sequence, "group"
    elif parts[27] == "cover" and parts[31] == "group":
        mark, at, cover = f'"batch":{{"cover":"group","group":{group}}},', 37, "group"
    else:
        return None
    rest = at + 23
    metadata = (parts[rest] if len(parts) == rest + 1 else '"'.join(parts[rest:]))[1:-1]
    name = parts[21]
    if not (name.isascii() and name.isprintable() and 1 <= len(name) <= MAX_ID_LENGTH):
        return None
    if not metadata or parts[17] not in EVERYDAY_INTENTS:
        return None
    return (
        text,
        parts[13],
        parts[17],
        f'"{name}"',
        mark,
        group,
        cover,
        parts[at],
        parts[at + 12],
        parts[at + 4],
        parts[at + 8],
        metadata,
        signature,
    )


def read_lone_key(metadata: str) -> str | None:
    """Read the key of metadata that holds an idempotency key, spelled canonically, and nothing else."""
    found = _LONE_KEY.fullmatch(metadata)
    return found[1] if found is not None else None


def read_signature(text: str, *, timestamp: str, moment: datetime) -> EntrySignature | None:
    """Read one signature; None for several, or for any other spelling. `moment` is the timestamp's."""
    parts = text.split('"')
    if len(parts) != _SIGNATURE_PARTS - 2:
        return None
    algorithm = _ALGORITHMS.get(parts[3])
    if algorithm is None or signature_json(parts[3], parts[7], parts[11], parts[15], parts[19]) != text:
        return None
    if bytes.fromhex(parts[11]).hex() != parts[11]:
        return None
    signed_at = moment if parts[15] == timestamp else parse_timestamp(parts[15])
    return EntrySignature(
        signer_id=parts[19],
        algorithm=algorithm,
        public_key=parts[7],
        signature=parts[11],
        signed_at=signed_at,
    )
