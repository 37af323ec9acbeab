"""The hot-path encoder: hash preimage and journal line from the same fragments.

A line's members stand in the seed's order; the preimage of its hash has them sorted, with the
ledger id among them and without `hash` and `signatures`. Every value is spelled as in RFC 8785,
so both are f-strings over fragments that are encoded once. `bibank.journal.reference` spells the
same bytes slowly and plainly; the tests prove the two equal.
"""

from __future__ import annotations

from hashlib import sha256

from bibank.model.amount import units_to_text

_AMOUNT_TEXTS_KEPT = 65_536
"""Bound of the amount text cache: the amounts of a busy hour, a few megabytes."""

_amount_texts: dict[int, str] = {}


def amount_text(units: int) -> str:
    """Spell units as :func:`units_to_text` does, through a bounded cache."""
    text = _amount_texts.get(units)
    if text is None:
        if len(_amount_texts) >= _AMOUNT_TEXTS_KEPT:
            _amount_texts.clear()
        text = _amount_texts[units] = units_to_text(units)
    return text


def mark_json(sequence: int, first: int, size: int, group: int, cover: str | None) -> str:
    """Spell the batch mark of a line, `"batch":{...},` without the defaults, or nothing at all."""
    members = []
    if cover is not None:
        members.append(f'"cover":"{cover}"')
    if first != sequence:
        members.append(f'"first":{first}')
    if group != sequence:
        members.append(f'"group":{group}')
    if size != 1:
        members.append(f'"size":{size}')
    return f'"batch":{{{",".join(members)}}},' if members else ""


def lone_mark_json(sequence: int, group: int, cover: str | None) -> str:
    """Spell the mark of a line that is a batch of its own, as :func:`mark_json` does."""
    if cover is None:
        return f'"batch":{{"group":{group}}},' if group != sequence else ""
    if group != sequence:
        return f'"batch":{{"cover":"{cover}","group":{group}}},'
    return f'"batch":{{"cover":"{cover}"}},'


def entry_hash(
    ledger_id: str,
    sequence: int,
    prev_hash: str,
    timestamp: str,
    intent: str,
    correlation_id: str,
    causality_id: str,
    mark: str,
    postings: str,
    metadata: str,
) -> str:
    """Hash an entry. The last six arguments are JSON fragments, `mark` as :func:`mark_json` gives it."""
    preimage = (
        f'{{{mark}"causality_id":{causality_id},"correlation_id":{correlation_id},"intent":"{intent}",'
        f'"ledger":"{ledger_id}","metadata":{metadata},"postings":[{postings}],'
        f'"prev_hash":"{prev_hash}","sequence":{sequence},"timestamp":"{timestamp}"}}'
    )
    return sha256(preimage.encode()).hexdigest()


def entry_line(
    sequence: int,
    prev_hash: str,
    digest: str,
    timestamp: str,
    intent: str,
    correlation_id: str,
    causality_id: str,
    mark: str,
    postings: str,
    metadata: str,
) -> str:
    """Spell an entry's line without signatures, from the fragments that were hashed."""
    return (
        f'{{"sequence":{sequence},"prev_hash":"{prev_hash}","hash":"{digest}","timestamp":"{timestamp}",'
        f'"intent":"{intent}","correlation_id":{correlation_id},"causality_id":{causality_id},{mark}'
        f'"postings":[{postings}],"metadata":{metadata}}}'
    )


def record_hash(
    ledger_id: str,
    sequence: int,
    prev_hash: str,
    timestamp: str,
    kind: str,
    subject: str,
    correlation_id: str,
    causality_id: str,
    mark: str,
    body: str,
) -> str:
    """Hash a record; `subject` and what follows are JSON fragments."""
    preimage = (
        f'{{{mark}"body":{body},"causality_id":{causality_id},"correlation_id":{correlation_id},'
        f'"ledger":"{ledger_id}","prev_hash":"{prev_hash}","record":"{kind}","sequence":{sequence},'
        f'"subject":{subject},"timestamp":"{timestamp}"}}'
    )
    return sha256(preimage.encode()).hexdigest()


def record_line(
    sequence: int,
    prev_hash: str,
    digest: str,
    timestamp: str,
    kind: str,
    subject: str,
    correlation_id: str,
    causality_id: str,
    mark: str,
    body: str,
) -> str:
    """Spell a record's line without signatures."""
    return (
        f'{{"sequence":{sequence},"prev_hash":"{prev_hash}","hash":"{digest}","timestamp":"{timestamp}",'
        f'"record":"{kind}","subject":{subject},"correlation_id":{correlation_id},'
        f'"causality_id":{causality_id},{mark}"body":{body}}}'
    )


def entry_payload(
    sequence: int,
    prev_hash: str,
    digest: str,
    timestamp: str,
    intent: str,
    postings: str,
    metadata: str,
    signed_at: str,
) -> bytes:
    """Spell what an `ed25519` signature of an entry covers: JCS of the seed's eight fields (phase 2, 5.5)."""
    return (
        f'{{"hash":"{digest}","intent":"{intent}","metadata":{metadata},"postings":[{postings}],'
        f'"prev_hash":"{prev_hash}","sequence":{sequence},"signed_at":"{signed_at}","timestamp":"{timestamp}"}}'
    ).encode()


def record_payload(
    sequence: int,
    prev_hash: str,
    digest: str,
    timestamp: str,
    kind: str,
    subject: str,
    body: str,
    signed_at: str,
) -> bytes:
    """Spell what an `ed25519` signature of a record covers; `subject` and `body` are JSON fragments."""
    return (
        f'{{"body":{body},"hash":"{digest}","prev_hash":"{prev_hash}","record":"{kind}",'
        f'"sequence":{sequence},"signed_at":"{signed_at}","subject":{subject},"timestamp":"{timestamp}"}}'
    ).encode()


def signature_json(algorithm: str, public_key: str, signature: str, signed_at: str, signer_id: str) -> str:
    """Spell one signature of a line; its members sort as in JCS."""
    return (
        f'{{"algorithm":"{algorithm}","public_key":"{public_key}","signature":"{signature}",'
        f'"signed_at":"{signed_at}","signer_id":"{signer_id}"}}'
    )
