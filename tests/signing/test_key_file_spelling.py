"""The one spelling of a key file: what a lenient reader would take for the same is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import bibank as bb
from bibank.signing import keyfile
from bibank.signing.keyfile import Secret

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
PASSPHRASE = Secret(b"anything: nothing is derived from it")


def other_spellings(data: bytes) -> Iterator[bytes]:
    """Spell the members of a key file in other ways, and each member doubled, halved or bottomless."""
    members = json.loads(data)
    yield data.rstrip(b"\n")
    yield data + b"\n"
    yield b"\xef\xbb\xbf" + data
    yield data.decode().encode("utf-16")
    yield json.dumps(members, sort_keys=True).encode() + b"\n"
    yield json.dumps(dict(reversed(members.items())), separators=(",", ":")).encode() + b"\n"
    yield data.replace(b'"ed25519"', b'"\\u0065d25519"')
    for name, value in members.items():
        member = f'"{name}":{json.dumps(value)}'.encode()
        assert data.count(member) == 1
        yield data.replace(member, member + b"," + member)
        yield data.replace(member, f'"{name}":null,'.encode() + member)
        yield data.replace(member, f'"{name}":"\\ud800"'.encode())
        yield data.replace(member, f'"{name}":'.encode() + b"[" * 1_500 + b"]" * 1_500)


@pytest.mark.parametrize("name", ["signed_clear.key", "signed_sealed.key"])
def test_one_spelling(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A member twice, spaces, another order or encoding: refused before any work is done."""
    monkeypatch.setattr(keyfile, "_derive", None)
    tried = 0
    for data in other_spellings((GOLDEN / name).read_bytes()):
        with pytest.raises(bb.KeystoreError, match="the key file is malformed"):
            keyfile.decode(Secret(data), passphrase=PASSPHRASE)
        tried += 1
    assert tried > 20
