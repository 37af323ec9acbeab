"""Golden vectors of signing: bytes that a ledger with fixed keys has written, and must write for ever.

What stands in the files is held to three things: the library writes it, the library accepts it, and
`rfc8785`, `hashlib` and PyNaCl alone come to the same.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import rfc8785
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt
from nacl.pwhash import argon2id
from nacl.signing import SigningKey, VerifyKey

import bibank as bb
from bibank import drafts
from bibank.journal.codec import decode_line
from bibank.journal.reference import signing_payload
from bibank.opening import replay
from bibank.risk.engine import RiskEngine
from bibank.signing import Cost, Role, from_key_file, make_key_file
from bibank.signing.trust import line_message
from tests.signing.forge import ANNA, NEXT, OWN, Key, Mode, fingerprint_of, message_of
from tests.store.journals import counted_bytes

GOLDEN = Path(__file__).parent
VALUES: dict[str, Any] = json.loads((GOLDEN / "signed.json").read_bytes())
MODES: tuple[Mode, ...] = get_args(Mode)
PASSPHRASE = "golden vectors"
CHEAPEST = Cost(operations=2, memory_bytes=64 * 1024 * 1024)


class Ticking:
    """A clock that goes on by some milliseconds at each look."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 25, 12, tzinfo=UTC)

    def now(self) -> datetime:
        """Give the next time."""
        self.moment += timedelta(milliseconds=1500)
        return self.moment


def write_journal(path: Path, mode: Mode, algorithm: str = "ed25519") -> list[bytes]:
    """Write the nine lines of a golden journal: every kind of line, a rotation among them."""
    own = Key(OWN.number, "SYSTEM", algorithm)
    with bb.Ledger.create(
        path,
        opening={"USDT": "1000"},
        name="golden",
        signer=own.signer,
        signing=mode,
        clock=Ticking(),
        durability="none",
        entropy=counted_bytes,
    ) as ledger:
        note = {"note": 'caffè "nero" \\ 1', "lines": [1, True, None]}
        ledger.deposit("ALICE", "100.00000001 USDT", correlation_id="r1", metadata=note)
        ledger.commit_each(
            [
                drafts.transfer("ALICE", "BOB", "40 USDT", correlation_id="r2"),
                [
                    drafts.transfer("BOB", "CAROL", "2.5 USDT", correlation_id="r3"),
                    drafts.withdrawal("CAROL", "1 USDT", correlation_id="r3"),
                ],
            ]
        )
        ledger.keyring.add(ANNA.signer, roles=(Role.OPERATOR,), correlation_id="k1")
        ledger.keyring.rotate(NEXT.signer, authorised_by=(ANNA.signer,), correlation_id="k2")
        ledger.transfer("ALICE", "BOB", "1 USDT", correlation_id="r4")
    (day,) = (path / "journal").glob("*.jsonl")
    assert day.name == "2026-01-25.jsonl"
    return day.read_bytes().splitlines(keepends=True)


def stored(mode: Mode) -> list[bytes]:
    """The golden lines, without their newlines."""
    return (GOLDEN / f"signed_{mode}.jsonl").read_bytes().splitlines()


@pytest.mark.parametrize("mode", MODES)
def test_a_ledger_writes_the_golden_journal(tmp_path: Path, mode: Mode) -> None:
    """The same keys, clock and nonce give the same journal, byte for byte."""
    written = b"".join(write_journal(tmp_path / "books", mode))
    assert written == (GOLDEN / f"signed_{mode}.jsonl").read_bytes()


@pytest.mark.parametrize("mode", MODES)
def test_the_golden_journal_is_accepted(mode: Mode) -> None:
    """What was written once is read for ever, with every signature, to the same head and fingerprint."""
    machine, trust = replay(stored(mode), engine=RiskEngine(), verify="all")
    assert machine.ledger_id == VALUES["ledger_id"]
    assert machine.head == bb.Head(9, VALUES["heads"][mode])
    assert [version.fingerprint for version in trust.versions] == VALUES["fingerprints"]


@pytest.mark.parametrize("mode", MODES)
def test_the_golden_journal_by_other_means(mode: Mode) -> None:
    """Hashes, signatures and who must have signed, by libraries that know nothing of ours."""
    signed = []
    previous = "GENESIS"
    for data in stored(mode):
        line = json.loads(data)
        preimage = {name: line[name] for name in line if name not in ("hash", "signatures")}
        assert line["prev_hash"] == previous
        previous = hashlib.sha256(rfc8785.dumps({**preimage, "ledger": VALUES["ledger_id"]})).hexdigest()
        assert line["hash"] == previous
        for claim in line.get("signatures", []):
            message = message_of(
                line,
                ledger_id=VALUES["ledger_id"],
                signer_id=claim["signer_id"],
                algorithm=claim["algorithm"],
                signed_at=claim["signed_at"],
            )
            VerifyKey(bytes.fromhex(claim["public_key"])).verify(message, bytes.fromhex(claim["signature"]))
            key = NEXT if line["sequence"] >= 8 else OWN
            assert claim["public_key"] == key.public_key
            signed.append(line["sequence"])
    assert signed == {"entry": [1, 2, 3, 4, 5, 6, 7, 8, 9], "group": [2, 3, 6, 7, 8, 9]}[mode]


def test_the_golden_ledger_id_certifies_itself() -> None:
    """The ledger id is the hash of keyring and nonce; the nonce is the fixed one."""
    keyring = json.loads(stored("entry")[1])["body"]
    ledger_id = keyring.pop("ledger")
    digest = hashlib.sha256(rfc8785.dumps(keyring)).digest()
    assert digest.hex() == VALUES["fingerprints"][0]
    assert ledger_id == "golden/" + hashlib.sha256(digest + counted_bytes(16)).hexdigest()[:32]
    assert ledger_id == VALUES["ledger_id"]


@pytest.mark.parametrize("mode", MODES)
def test_the_golden_fingerprints_follow_from_each_other(mode: Mode) -> None:
    """Each version's fingerprint is the hash of the one before and of the change."""
    fingerprints = [VALUES["fingerprints"][0]]
    for data in stored(mode):
        line = json.loads(data)
        if line.get("record") == "keyring_changed":
            payload = line["body"]["payload"]
            assert payload["previous"] == fingerprints[-1]
            fingerprints.append(fingerprint_of(fingerprints[-1], payload["change"]))
    assert fingerprints == VALUES["fingerprints"]


@pytest.mark.parametrize(("name", "sequence"), [("entry", 3), ("record", 7)])
def test_the_golden_payloads(name: str, sequence: int) -> None:
    """The bytes that an `ed25519` signature of an entry and of a record covers, and the signature."""
    line = decode_line(stored("entry")[sequence - 1])
    (claim,) = line.signatures
    payload = signing_payload(line, signed_at=claim.signed_at)
    assert payload == VALUES["payloads"][name].encode()
    assert payload == rfc8785.dumps(json.loads(payload))
    expected = SigningKey(OWN.seed).sign(payload).signature.hex()
    assert claim.signature == expected == VALUES["signatures"][name]


def test_the_golden_digest_message(tmp_path: Path) -> None:
    """What an `ed25519-digest` signature of the same entry covers, and the signature."""
    line = decode_line(write_journal(tmp_path / "books", "entry", "ed25519-digest")[2].rstrip(b"\n"))
    (claim,) = line.signatures
    ledger_id = VALUES["digest"]["ledger_id"]
    message = line_message(claim, ledger_id=ledger_id, sequence=line.sequence, digest=line.hash, payload=b"")
    assert message == VALUES["digest"]["message"].encode()
    assert claim.signature == OWN.sign(message).hex() == VALUES["digest"]["signature"]


def entropy(size: int) -> bytes:
    """Stand for randomness: the first key's seed, and counted bytes for salt and nonce."""
    return OWN.seed if size == 32 else bytes(range(size))


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE], ids=["clear", "sealed"])
def test_the_golden_key_files(tmp_path: Path, passphrase: str | None) -> None:
    """The same seed, salt, nonce and cost give the same key file, and it opens for ever."""
    golden = (GOLDEN / f"signed_{'clear' if passphrase is None else 'sealed'}.key").read_bytes()
    path = tmp_path / "a.key"
    make_key_file(path, signer_id="ANNA_OPS", passphrase=passphrase, cost=CHEAPEST, entropy=entropy)
    assert path.read_bytes() == golden
    signer = from_key_file(path, passphrase=passphrase)
    assert (signer.signer_id, signer.public_key) == ("ANNA_OPS", OWN.public_key)


def test_the_golden_sealed_key_file_by_other_means() -> None:
    """Argon2id and XChaCha20-Poly1305 open the file, every other member is authenticated."""
    data = (GOLDEN / "signed_sealed.key").read_bytes()
    members = json.loads(data)
    assert data == rfc8785.dumps(members) + b"\n"
    ciphertext = bytes.fromhex(members.pop("ciphertext"))
    key = argon2id.kdf(
        32,
        PASSPHRASE.encode(),
        bytes.fromhex(members["salt"]),
        opslimit=members["operations"],
        memlimit=members["memory_bytes"],
    )
    nonce = bytes.fromhex(members["nonce"])
    assert (
        crypto_aead_xchacha20poly1305_ietf_decrypt(ciphertext, rfc8785.dumps(members), nonce, key) == OWN.seed
    )
