"""An attacker's workshop: lines changed, linked, hashed and signed anew, without the library's help.

What is hashed is spelled by `rfc8785`, what is signed is signed by PyNaCl's own interface; only the
journals to begin with are written by a ledger.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
import rfc8785
from nacl.signing import SigningKey

import bibank as bb
from bibank import drafts
from bibank.signing import Ed25519Signer, Keyring
from tests.journal.machines import members, rehash, spell
from tests.store.journals import StillClock, counted_bytes, tree

Mode = Literal["entry", "group"]
Line = dict[str, Any]

SIGNED = ("sequence", "timestamp", "intent", "record", "subject", "body", "postings", "metadata")
SIGNED_AT = "2026-01-25T10:00:00Z"
MAJORITY = {"role": "operator", "threshold": 2}


@attrs.frozen
class Key:
    """A key pair and whose it is."""

    number: int
    signer_id: str = "SYSTEM"
    algorithm: str = "ed25519"

    @property
    def seed(self) -> bytes:
        """The private half."""
        return bytes([self.number]) * 32

    @property
    def public_key(self) -> str:
        """The public half, in hex."""
        return bytes(SigningKey(self.seed).verify_key).hex()

    @property
    def key_id(self) -> str:
        """The key's name in a keyring."""
        return hashlib.sha256(bytes.fromhex(self.public_key)).hexdigest()[:16]

    @property
    def signer(self) -> Ed25519Signer:
        """The same key, for a ledger."""
        return Ed25519Signer(
            self.seed, signer_id=self.signer_id, algorithm=bb.SignatureAlgorithm(self.algorithm)
        )

    def sign(self, message: bytes) -> bytes:
        """Sign bytes."""
        return bytes(SigningKey(self.seed).sign(message).signature)

    def in_keyring(self, *roles: str) -> Line:
        """Describe the key as a change of the keyring does."""
        return {
            "algorithm": self.algorithm,
            "public_key": self.public_key,
            "roles": sorted(roles),
            "signer_id": self.signer_id,
        }


OWN, NEXT, STRANGER = Key(1), Key(2), Key(9)
ANNA, BERT, ANNA_AGAIN = Key(3, "ANNA_OPS"), Key(4, "BERT_OPS"), Key(5, "ANNA_OPS")


def pae(kind: str, payload: bytes) -> bytes:
    """Spell the pre-authentication encoding of DSSE."""
    name = f"application/vnd.bibank.{kind}+json".encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def message_of(line: Line, *, ledger_id: str, signer_id: str, algorithm: str, signed_at: str) -> bytes:
    """Spell what a signature of a line covers."""
    if algorithm != "ed25519-digest":
        names = [name for name in (*SIGNED, "prev_hash", "hash") if name in line]
        return rfc8785.dumps({**{name: line[name] for name in names}, "signed_at": signed_at})
    claim = {
        "hash": line["hash"],
        "ledger": ledger_id,
        "role": "system",
        "sequence": line["sequence"],
        "signed_at": signed_at,
        "signer_id": signer_id,
    }
    return pae("line", rfc8785.dumps(claim))


def signature(line: Line, key: Key, *, ledger_id: str, signed_at: str = SIGNED_AT) -> dict[str, str]:
    """Sign a line and give the member of `signatures`."""
    message = message_of(
        line, ledger_id=ledger_id, signer_id=key.signer_id, algorithm=key.algorithm, signed_at=signed_at
    )
    return {
        "algorithm": key.algorithm,
        "public_key": key.public_key,
        "signature": key.sign(message).hex(),
        "signed_at": signed_at,
        "signer_id": key.signer_id,
    }


def change(
    *,
    add: Sequence[Line] = (),
    retire: Sequence[str] = (),
    revoke: Sequence[Line] = (),
    policies: Mapping[str, Line] | None = None,
) -> Line:
    """Write a change of a keyring."""
    return {
        "add": list(add),
        "policies": dict(policies or {}),
        "retire": list(retire),
        "revoke": list(revoke),
    }


def envelope(payload: Line, signers: Sequence[Key]) -> Line:
    """Sign a payload of a keyring change and give the body of its record."""
    message = pae("keyring_changed", rfc8785.dumps(payload))
    return {
        "payload": payload,
        "payloadType": "application/vnd.bibank.keyring_changed+json",
        "signatures": sorted(
            (
                {"keyid": key.key_id, "sig": base64.b64encode(key.sign(message)).decode()}
                for key in set(signers)
            ),
            key=lambda item: item["keyid"],
        ),
    }


def fingerprint_of(previous: str, changed: Line) -> str:
    """Hash a later version of a keyring."""
    return hashlib.sha256(rfc8785.dumps({"change": changed, "previous": previous})).hexdigest()


class Forgery:
    """The lines of a home with one day file, to be changed and written back."""

    def __init__(self, home: Path) -> None:
        (self.path,) = (home / "journal").glob("*.jsonl")
        self.home = home
        self.lines = [members(data) for data in self.path.read_bytes().splitlines()]
        self.ledger_id: str = self.lines[0]["metadata"]["bb.ledger"]

    def __getitem__(self, sequence: int) -> Line:
        return self.lines[sequence - 1]

    def strip(self, *sequences: int) -> None:
        """Take the signatures off lines."""
        for sequence in sequences:
            del self[sequence]["signatures"]

    def sign(self, sequence: int, *keys: Key) -> None:
        """Replace the signatures of a line."""
        claims = [signature(self[sequence], key, ledger_id=self.ledger_id) for key in keys]
        self[sequence]["signatures"] = sorted(
            claims, key=lambda claim: (claim["signer_id"], claim["public_key"])
        )

    def relink(self, sequence: int, *keys: Key) -> None:
        """Number, link and hash the lines from one on; sign them anew where keys are given."""
        for number in range(sequence, len(self.lines) + 1):
            line = self[number]
            line["sequence"] = number
            if number > 1:
                line["prev_hash"] = self[number - 1]["hash"]
            if line.get("batch") == {}:
                del line["batch"]  # a mark without members is left out
            if number == 2:
                line["subject"] = line["body"]["ledger"] = self.ledger_id
            self.lines[number - 1] = rehash(line, self.ledger_id)
            if keys:
                self.sign(number, *keys)

    def append(self, *keys: Key, **changes: Any) -> Line:
        """Append a copy of the last plain entry, changed, linked, hashed and signed by keys."""
        model = next(line for line in reversed(self.lines) if "intent" in line)
        return self._append({**model, **changes}, keys)

    def append_change(self, changed: Line, *keys: Key, by: Sequence[Key], **payload: Any) -> Line:
        """Append a change of the keyring, its envelope signed `by` some, its line by keys."""
        full = {
            "change": changed,
            "ledger": self.ledger_id,
            "previous": self.fingerprint,
            "version": self.version + 1,
            **payload,
        }
        record = {
            "prev_hash": "",
            "timestamp": self.lines[-1]["timestamp"],
            "record": "keyring_changed",
            "subject": self.ledger_id,
            "correlation_id": "forged",
            "causality_id": None,
            "body": envelope(full, by),
        }
        return self._append(record, keys)

    def _append(self, line: Line, keys: Sequence[Key]) -> Line:
        line = {name: value for name, value in line.items() if name not in ("batch", "signatures")}
        self.lines.append(line)
        self.relink(len(self.lines), *keys)
        return self.lines[-1]

    @property
    def version(self) -> int:
        """The number of the keyring's version."""
        return 1 + len([line for line in self.lines if line.get("record") == "keyring_changed"])

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the keyring's version in force, reckoned from the lines."""
        found: str = self.lines[0]["metadata"]["bb.keyring"]
        for line in self.lines:
            if line.get("record") == "keyring_changed":
                found = fingerprint_of(found, line["body"]["payload"]["change"])
        return found

    def save(self) -> Path:
        """Write the lines back and give the home."""
        self.path.write_bytes(b"".join(spell(line) + b"\n" for line in self.lines))
        return self.home

    def save_without_cache(self) -> Path:
        """Write the lines back, and delete the cached keyring as an attacker could."""
        (self.home / "keyring.json").unlink()
        return self.save()


def make(path: Path, *, mode: Mode = "entry", key: Key | None = OWN, name: str = "books") -> bb.Ledger:
    """Make a home on one still day with a fixed nonce."""
    return bb.Ledger.create(
        path,
        opening={"USDT": "1000"},
        name=name,
        signer=None if key is None else key.signer,
        keyring=Keyring.unsigned() if key is None else None,
        signing=mode,
        clock=StillClock(),
        durability="none",
        entropy=counted_bytes,
    )


def reopen(path: Path, key: Key | None = OWN, *, mode: Mode = "entry") -> bb.Ledger:
    """Open a home on the same still day."""
    return bb.Ledger.open(
        path,
        signer=None if key is None else key.signer,
        signing=mode,
        clock=StillClock(),
        durability="none",
    )


def transfers(count: int, *, payer: str = "A") -> list[bb.UnsignedEntry]:
    """Drafts of the everyday kind."""
    return [drafts.transfer(payer, "B", "1 USDT", correlation_id=f"t{number}") for number in range(count)]


def write_books(path: Path, *, mode: Mode = "entry") -> Path:
    """Nine lines by the first key: genesis 1-2, deposit 3, transfer 4, a batch 5-6, a group 7-9."""
    with make(path, mode=mode) as ledger:
        ledger.deposit("A", "100 USDT", correlation_id="d1")
        ledger.transfer("A", "B", "1 USDT", correlation_id="t1")
        ledger.commit_batch(transfers(2))
        ledger.commit_each(transfers(3))
    return path


def write_rotated(path: Path, *, mode: Mode = "entry") -> Path:
    """The same nine lines, then an operator's key 10, a rotation 11, and a transfer 12 by the new key."""
    with reopen(write_books(path, mode=mode), mode=mode) as ledger:
        ledger.keyring.add(ANNA.signer, roles=(bb.Role.OPERATOR,), correlation_id="k1")
        ledger.keyring.rotate(NEXT.signer, authorised_by=(ANNA.signer,), correlation_id="k2")
        ledger.transfer("A", "B", "1 USDT", correlation_id="t9")
    return path


def refused(
    home: Path,
    reason: str,
    *,
    line: int | None,
    key: Key | None = OWN,
    kind: type[bb.IntegrityError] = bb.JournalCorrupt,
) -> None:
    """Demand that opening and auditing refuse a home for a reason, at a line, and touch nothing."""
    before = tree(home)
    errors = []
    for look in (
        lambda: reopen(home, key),
        lambda: bb.audit_home(home, level="signatures"),
        lambda: bb.audit_home(home, level="signatures", workers=2),
    ):
        with pytest.raises(kind, match=reason) as caught:
            look()
        assert type(caught.value) is kind
        errors.append(caught.value)
        assert tree(home) == before, "what is refused is left as it was"
    assert len({str(error) for error in errors}) == 1, "all who look say the same"
    (found,) = {getattr(error, "line", None) for error in errors}
    assert found == line


def passes(home: Path, *, key: Key = OWN, pin: bb.Pin | None = None) -> bb.AuditReport:
    """Demand that a home opens and passes an audit of every signature; give its report."""
    report = bb.audit_home(home, level="signatures", pin=pin)
    reopen(home, key).close()
    return report


def decoded(home: Path) -> list[Line]:
    """The lines of a home with one day file, as plain JSON."""
    (path,) = (home / "journal").glob("*.jsonl")
    return [json.loads(data) for data in path.read_bytes().splitlines()]
