"""Checking a stored line again, in a few microseconds: does its content still have the hash that it says?

For lines that were judged before, when the journal was opened. What a line's hash covers is spelled from the
same pieces as the line itself, so the pieces are cut out of it and hashed in the other order. A line whose
form is not at once clear is decoded instead, and hashed as the reference does it.
"""

from __future__ import annotations

import re
from hashlib import sha256

from bibank.errors import InvalidValue
from bibank.journal.codec import MAX_LINE_BYTES, decode_line
from bibank.journal.reference import line_hash

_SIGNATURE = (
    r'\{"algorithm":"[a-z0-9_-]+","public_key":"[0-9a-f]+","signature":"[0-9a-f]+",'
    r'"signed_at":"[0-9T:.Z-]+","signer_id":"[ !#-\[\]-~]+"\}'
)

_ENTRY = re.compile(
    r'\{"sequence":([0-9]{1,16}),"prev_hash":"([0-9A-Za-z]{1,64})","hash":"([0-9a-f]{64})",'
    r'"timestamp":"([0-9T:.Z-]+)","intent":"([a-z_]+)","correlation_id":("(?:[^"\\]|\\.)*"),'
    r'"causality_id":(null|"[0-9]+"),((?:"batch":\{[^{}]*\},)?)"postings":\[([^\[\]]*)\],'
    rf'"metadata":(\{{.*\}})(?:,"signatures":\[{_SIGNATURE}(?:,{_SIGNATURE})*\])?\}}',
    re.ASCII | re.DOTALL,
)
"""An entry, spelled as the ledger spells it. The hash does not cover signatures, so nothing but signatures
may stand in their place: no member that a reader of JSON would take for another one."""


def recheck(data: bytes, *, ledger_id: str) -> tuple[int, str, str]:
    """Give sequence, previous hash and hash of a line; `InvalidValue` when it is not what was hashed.

    `ledger_id` is the one that the line is hashed under.
    """
    found = _taken_apart(data, ledger_id)
    if found is not None:
        return found
    line = decode_line(data)
    if line_hash(line, ledger_id=ledger_id) != line.hash:
        raise InvalidValue("the line's hash is not that of its content")
    return line.sequence, line.prev_hash, line.hash


def _taken_apart(data: bytes, ledger_id: str) -> tuple[int, str, str] | None:
    """Check an entry by its pieces; None where it takes a closer look to say what is wrong, if anything."""
    if len(data) > MAX_LINE_BYTES:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    match = _ENTRY.fullmatch(text)
    if match is None:
        return None
    sequence, prev_hash, digest, timestamp, intent, correlation_id, cause, mark, postings, metadata = (
        match.groups()
    )
    preimage = (
        f'{{{mark}"causality_id":{cause},"correlation_id":{correlation_id},"intent":"{intent}",'
        f'"ledger":"{ledger_id}","metadata":{metadata},"postings":[{postings}],'
        f'"prev_hash":"{prev_hash}","sequence":{sequence},"timestamp":"{timestamp}"}}'
    )
    if sha256(preimage.encode()).hexdigest() != digest:
        return None
    return int(sequence), prev_hash, digest
