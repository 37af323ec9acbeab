"""What is signed: the hot path, the reference and an independent RFC 8785 spell the same bytes."""

from __future__ import annotations

import base64
import json
from typing import Any

import attrs
import rfc8785
from hypothesis import given, reject
from hypothesis import strategies as st
from nacl.signing import VerifyKey

import bibank as bb
from bibank.journal.batches import PreparedBatch
from bibank.journal.codec import decode_line
from bibank.journal.encoder import entry_payload, record_payload, signature_json
from bibank.journal.machine import LedgerMachine
from bibank.journal.reference import encode_line, line_members, signing_payload
from bibank.model.entry import JournalEntry, UnsignedEntry
from bibank.model.json_value import FrozenMap, canonical_text, encode_string, thaw
from bibank.model.record import JournalLine
from bibank.model.signature import EntrySignature, SigningMode
from bibank.model.timestamp import format_timestamp
from bibank.opening import first_keyring, founding
from bibank.risk.engine import RiskEngine
from bibank.signing.dsse import Envelope
from bibank.signing.lines import LineSigner
from bibank.signing.trust import KeyringTrust, line_message
from bibank.testing.strategies import unsigned_entries
from tests.journal.values import journal_entries, journal_records, moments
from tests.signing.forge import OWN, Key, message_of, pae
from tests.store.journals import StillClock

LINES = st.one_of(journal_entries(), journal_records())
NONCE = "000102030405060708090a0b0c0d0e0f"


def hot_payload(line: JournalLine, signed_at: str) -> bytes:
    """Spell a payload from fragments, as the hot path does."""
    common = (line.sequence, line.prev_hash, line.hash, format_timestamp(line.timestamp))
    if isinstance(line, JournalEntry):
        postings = canonical_text([thaw_posting(posting) for posting in line.postings])[1:-1]
        return entry_payload(*common, line.intent.value, postings, canonical_text(line.metadata), signed_at)
    return record_payload(
        *common, line.kind.value, encode_string(line.subject), canonical_text(line.body), signed_at
    )


def thaw_posting(posting: bb.Posting) -> dict[str, str]:
    """Give a posting's JSON members."""
    return {"account": posting.account.text, "amount": str(posting.amount), "side": posting.side.value}


def plain_members(line: JournalLine) -> dict[str, Any]:
    """Read a line's bytes back with the standard library alone."""
    members: dict[str, Any] = json.loads(encode_line(line))
    return members


@given(LINES, moments())
def test_payloads_agree(line: JournalLine, signed_at: Any) -> None:
    """Hot path, reference and `rfc8785` over the stored line give one payload."""
    text = format_timestamp(signed_at)
    expected = message_of(
        plain_members(line), ledger_id="", signer_id="", algorithm="ed25519", signed_at=text
    )
    assert signing_payload(line, signed_at=signed_at) == expected
    assert hot_payload(line, text) == expected
    assert expected.startswith((b'{"hash":"', b'{"body":'))


@given(LINES, moments())
def test_digest_messages_agree(line: JournalLine, signed_at: Any) -> None:
    """What a digest signer signs is the DSSE encoding of six members."""
    claim = EntrySignature(
        signer_id="SYSTEM",
        algorithm=bb.SignatureAlgorithm.ED25519_DIGEST,
        public_key=OWN.public_key,
        signature="",
        signed_at=signed_at,
    )
    message = line_message(
        claim, ledger_id="books/00", sequence=line.sequence, digest=line.hash, payload=b"unused"
    )
    assert message == message_of(
        plain_members(line),
        ledger_id="books/00",
        signer_id="SYSTEM",
        algorithm="ed25519-digest",
        signed_at=format_timestamp(signed_at),
    )


@given(LINES, st.sampled_from(["SYSTEM", "ANNA_OPS", "USER:ALICE"]))
def test_signature_members_agree(line: JournalLine, signer_id: str) -> None:
    """The hot path spells the member `signatures` as the reference does."""
    claims = tuple(attrs.evolve(claim, signer_id=signer_id) for claim in line.signatures)
    line = attrs.evolve(line, signatures=claims)
    spelled = [
        signature_json(
            claim.algorithm.value,
            claim.public_key,
            claim.signature,
            format_timestamp(claim.signed_at),
            claim.signer_id,
        )
        for claim in line.signatures
    ]
    found = line_members(line).get("signatures", [])
    assert [json.loads(text) for text in spelled] == found
    assert [text.encode() for text in spelled] == [rfc8785.dumps(member) for member in found]


@given(
    st.lists(unsigned_entries(bb.TransactionIntent.DEPOSIT), min_size=1, max_size=4),
    st.sampled_from(["ed25519", "ed25519-digest"]),
    st.sampled_from(SigningMode),
)
def test_sealed_lines_are_signed_over_their_payload(
    batch: list[UnsignedEntry], algorithm: str, mode: SigningMode
) -> None:
    """Any batch, sealed and signed: its views are its bytes, an independent verifier agrees, replay too."""
    key = Key(1, "SYSTEM", algorithm)
    clock = StillClock()
    signer = LineSigner(key.signer, mode)
    machine = LedgerMachine(RiskEngine(), KeyringTrust())
    machine.cover = signer.cover
    keyring = first_keyring(key.signer)
    genesis = founding(None, name="books", nonce=NONCE, correlation_id="g", keyring=keyring)
    groups = [machine.propose(genesis, clock.now())]
    machine.settle()
    try:
        groups.append(machine.propose(PreparedBatch(batch), clock.now()))
    except bb.Refused:
        reject()
    for sealed in groups:
        signer.sign([sealed], ledger_id=machine.ledger_id)
    again = LedgerMachine(RiskEngine(), KeyringTrust())
    for sealed in groups:
        for index, data in enumerate(sealed.lines):
            again.accept(data)
            line = decode_line(data)
            assert line == sealed.view(index)
            last = index == len(sealed.lines) - 1
            assert bool(line.signatures) == (mode is SigningMode.ENTRY or last)
            for claim in json.loads(data).get("signatures", []):
                message = message_of(
                    json.loads(data),
                    ledger_id=machine.ledger_id,
                    signer_id=claim["signer_id"],
                    algorithm=claim["algorithm"],
                    signed_at=claim["signed_at"],
                )
                VerifyKey(bytes.fromhex(claim["public_key"])).verify(
                    message, bytes.fromhex(claim["signature"])
                )
    again.check_end()
    assert again.head == machine.head


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_.]{0,8}", fullmatch=True), st.text(max_size=9)))
def test_envelopes_agree_and_come_back(payload: dict[str, str]) -> None:
    """An envelope signs the DSSE encoding of its canonical payload, and reads back as what was written."""
    envelope = Envelope(kind="test", payload=FrozenMap(payload))
    assert envelope.message == pae("test", rfc8785.dumps(dict(payload)))
    signed = envelope.signed_by(OWN.signer)
    assert Envelope.from_body(signed.to_body(), kind="test") == signed
    (member,) = thaw(signed.to_body())["signatures"]
    assert base64.b64decode(member["sig"]) == OWN.sign(envelope.message)
    assert attrs.evolve(signed, signatures=()) == envelope
    assert signed.signed_by(OWN.signer) == signed, "one signature a key"
