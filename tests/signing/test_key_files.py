"""Key files and the environment: private, strict, authenticated, never overwritten."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nacl import pwhash

import bibank as bb
from bibank.signing import Cost, Ed25519Signer, from_environment, from_key_file, make_key_file
from tests.signing.forge import NEXT, OWN, Key

CHEAP = Cost(operations=2, memory_bytes=64 * 1024 * 1024)
PASSPHRASE = "correct horse battery staple"
NOBODY = 12345


def fixed(size: int) -> bytes:
    """Stand for randomness: the seed of our first test key, and counted bytes."""
    return OWN.seed if size == 32 else bytes(range(size))


@pytest.fixture(scope="module")
def sealed_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of an encrypted key file."""
    path = tmp_path_factory.mktemp("keys") / "a.key"
    make_key_file(path, signer_id="ANNA_OPS", passphrase=PASSPHRASE, cost=CHEAP, entropy=fixed)
    return path.read_bytes()


@pytest.fixture
def clear(tmp_path: Path) -> Path:
    """A key file in the clear."""
    path = tmp_path / "clear.key"
    make_key_file(path, signer_id="SYSTEM", entropy=fixed)
    return path


@pytest.fixture
def sealed(tmp_path: Path, sealed_bytes: bytes) -> Path:
    """An encrypted key file."""
    return put(tmp_path / "sealed.key", sealed_bytes)


def put(path: Path, data: bytes) -> Path:
    """Write a private file."""
    path.write_bytes(data)
    path.chmod(0o600)
    return path


@pytest.fixture
def derivations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the derivations of keys, without letting one happen."""
    done: list[int] = []

    def kdf(*arguments: object, **options: object) -> bytes:
        done.append(1)
        return bytes(32)

    monkeypatch.setattr(pwhash.argon2id, "kdf", kdf)
    return done


def edited(path: Path, **changes: Any) -> Path:
    """Change members of a key file; None takes one out."""
    members = {**json.loads(path.read_bytes()), **changes}
    kept = {name: value for name, value in members.items() if value is not None}
    spelled = json.dumps(kept, sort_keys=True, separators=(",", ":")) + "\n"
    return put(path.with_name("edited.key"), spelled.encode())


# --------------------------------------------------------------------------- making and reading


def test_a_key_file_in_the_clear(clear: Path) -> None:
    """A key file without a passphrase is a private file whose signer comes back."""
    assert stat.S_IMODE(clear.stat().st_mode) == 0o600
    signer = from_key_file(clear)
    assert (signer.signer_id, signer.public_key) == ("SYSTEM", OWN.public_key)
    assert signer.sign(b"message") == OWN.sign(b"message")
    assert from_key_file(str(clear)).public_key == OWN.public_key


@pytest.mark.parametrize("passphrase", [PASSPHRASE, PASSPHRASE.encode()])
def test_an_encrypted_key_file(sealed: Path, passphrase: str | bytes) -> None:
    """An encrypted key file holds no seed, and opens with its passphrase as text or as bytes."""
    signer = from_key_file(sealed, passphrase=passphrase)
    assert (signer.signer_id, signer.public_key) == ("ANNA_OPS", OWN.public_key)
    assert OWN.seed.hex().encode() not in sealed.read_bytes()


def test_a_wrong_passphrase(sealed: Path) -> None:
    """A wrong passphrase is refused, and so is none."""
    with pytest.raises(bb.KeystoreError, match="the passphrase is wrong, or the key file was altered"):
        from_key_file(sealed, passphrase=PASSPHRASE + " ")
    with pytest.raises(bb.KeystoreError, match="is encrypted; a passphrase is needed"):
        from_key_file(sealed)


@pytest.mark.parametrize(
    ("passphrase", "kind", "reason"),
    [
        ("", bb.KeystoreError, "the passphrase is empty"),
        (b"", bb.KeystoreError, "the passphrase is empty"),
        (7, bb.InvalidType, "a str or bytes, not int"),
        (bytearray(b"secret"), bb.InvalidType, "a str or bytes, not bytearray"),
        ("\ud800", bb.KeystoreError, "not Unicode text"),
    ],
)
def test_a_passphrase_that_is_none(
    tmp_path: Path, sealed: Path, passphrase: Any, kind: type[bb.BibankError], reason: str
) -> None:
    """An empty passphrase or one of another type is refused before any work."""
    with pytest.raises(kind, match=reason):
        from_key_file(sealed, passphrase=passphrase)
    with pytest.raises(kind, match=reason):
        make_key_file(tmp_path / "new.key", signer_id="SYSTEM", passphrase=passphrase)
    assert not (tmp_path / "new.key").exists()


def test_a_needless_passphrase(clear: Path) -> None:
    """A passphrase for a key file in the clear is not needed, and does no harm."""
    assert from_key_file(clear, passphrase=PASSPHRASE).public_key == OWN.public_key


def test_a_key_is_never_overwritten(tmp_path: Path, clear: Path) -> None:
    """A file, a link or a directory that is there stays as it is."""
    before = clear.read_bytes()
    (tmp_path / "dangling.key").symlink_to(tmp_path / "nowhere")
    (tmp_path / "directory.key").mkdir()
    for name in ("clear.key", "dangling.key", "directory.key"):
        with pytest.raises(bb.KeystoreError, match="exists; a key is never overwritten"):
            make_key_file(tmp_path / name, signer_id="SYSTEM")
    assert clear.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["clear.key", "dangling.key", "directory.key"]
    )


def test_a_key_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """Whoever is first has the name, also when both began at the same time."""
    path = tmp_path / "a.key"

    def late(size: int) -> bytes:
        put(path, b"theirs")
        return fixed(size)

    with pytest.raises(bb.KeystoreError, match="exists; a key is never overwritten"):
        make_key_file(path, signer_id="SYSTEM", entropy=late)
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_a_key_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A disk that fails midway leaves neither a key file nor half of one."""

    def fail(*arguments: object, **options: object) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(bb.KeystoreError, match=r"cannot write the key file .*No space left"):
            make_key_file(tmp_path / "a.key", signer_id="SYSTEM")
    assert list(tmp_path.iterdir()) == []
    make_key_file(tmp_path / "a.key", signer_id="SYSTEM")


def test_a_key_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that takes few bytes at a time still gets all of them."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:10]))
    made = make_key_file(tmp_path / "a.key", signer_id="SYSTEM")
    monkeypatch.undo()
    assert from_key_file(tmp_path / "a.key").public_key == made.public_key


def test_directories_of_a_new_key_are_private(tmp_path: Path) -> None:
    """Directories that are made for a key are ours alone."""
    make_key_file(tmp_path / "a" / "b.key", signer_id="SYSTEM")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


@pytest.mark.parametrize("signer_id", ["anna", "", "A" * 70, "USER:", "A B", "Ä"])
def test_a_malformed_signer_id(tmp_path: Path, signer_id: str) -> None:
    """A key without a proper name is not made."""
    with pytest.raises(bb.InvalidValue, match="is no signer id"):
        make_key_file(tmp_path / "a.key", signer_id=signer_id)
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------- who may read it


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o601, 0o777, 0o620, 0o602])
def test_a_key_file_open_to_others(clear: Path, mode: int) -> None:
    """A key file that the group or others can read, write or execute is refused."""
    clear.chmod(mode)
    with pytest.raises(bb.KeystoreError, match=rf"is open to others \(mode {mode:04o}\); chmod 600"):
        from_key_file(clear)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_file_of_our_own(clear: Path, mode: int) -> None:
    """A key file that only we can read is taken."""
    clear.chmod(mode)
    assert from_key_file(clear).public_key == OWN.public_key


def test_a_link_to_a_key_file(tmp_path: Path, clear: Path) -> None:
    """A symbolic link is not followed."""
    (tmp_path / "link.key").symlink_to(clear)
    with pytest.raises(bb.KeystoreError, match="cannot read the key file"):
        from_key_file(tmp_path / "link.key")


def test_a_key_file_of_another_user(clear: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key file that belongs to another user is refused."""
    if os.geteuid() == 0:
        os.chown(clear, NOBODY, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    with pytest.raises(bb.KeystoreError, match="belongs to another user"):
        from_key_file(clear)


def test_what_is_no_file(tmp_path: Path) -> None:
    """A directory, a pipe and a name with NUL are refused at once, and so is nothing at all."""
    os.mkfifo(tmp_path / "pipe.key", 0o600)
    (tmp_path / "directory.key").mkdir(mode=0o700)
    for name in ("pipe.key", "directory.key"):
        with pytest.raises(bb.KeystoreError, match="is not a plain file"):
            from_key_file(tmp_path / name)
    with pytest.raises(bb.KeystoreError, match="No such file"):
        from_key_file(tmp_path / "missing.key")
    with pytest.raises(bb.KeystoreError, match="holds no NUL"):
        from_key_file(str(tmp_path / "a\0b"))


def test_a_home_with_an_open_key_file(tmp_path: Path) -> None:
    """A ledger does not open with its own key when others could have read it."""
    home = tmp_path / "books"
    bb.Ledger.create(home, durability="none").close()
    assert stat.S_IMODE((home / "keys").stat().st_mode) == 0o700
    assert (home / "keys" / ".gitignore").read_text() == "*\n"
    (home / "keys" / "SYSTEM.key").chmod(0o644)
    with pytest.raises(bb.KeystoreError, match="is open to others"):
        bb.Ledger.open(home)


def test_a_home_with_an_encrypted_key_file(tmp_path: Path, sealed_bytes: bytes) -> None:
    """A home's encrypted key is given as a signer; by itself the ledger does not open."""
    home = tmp_path / "books"
    bb.Ledger.create(home, signer=Key(1, "ANNA_OPS").signer, durability="none").close()
    (home / "keys").mkdir(mode=0o700)
    path = put(home / "keys" / "SYSTEM.key", sealed_bytes)
    with pytest.raises(bb.KeystoreError, match="a passphrase is needed"):
        bb.Ledger.open(home)
    signer = from_key_file(path, passphrase=PASSPHRASE)
    bb.Ledger.open(home, signer=signer, durability="none").close()


# --------------------------------------------------------------------------- malformed files


JUNK = [
    b"",
    b"\xff\xfe",
    b"[]",
    b"7",
    b"null",
    b'"text"',
    b"{",
    b"{}",
    b'{"format":"bibank-key/2"}',
    b'{"format":"bibank-key/1"}',
    b"[" * 4000,
    b" " * 5000,
    b'{"format":' + b"1" * 4000 + b"}",
]


@pytest.mark.parametrize("data", JUNK, ids=range(len(JUNK)))
def test_a_file_that_is_no_key_file(tmp_path: Path, data: bytes) -> None:
    """Anything else is refused as malformed, whatever it is."""
    with pytest.raises(bb.KeystoreError, match="the key file is malformed"):
        from_key_file(put(tmp_path / "junk.key", data), passphrase=PASSPHRASE)


WRONG: tuple[object, ...] = (None, 7, True, [], {}, "", "x", "00", "A" * 64, 1.5)


def wrong_members(path: Path) -> Iterator[Path]:
    """Give a key file with each member missing, of another type, or malformed; and with one too many."""
    for name in json.loads(path.read_bytes()):
        for value in WRONG:
            if (name, value) in (("signer_id", "00"), ("signer_id", "A" * 64)):
                continue  # another name, which nothing contradicts in a file in the clear
            yield edited(path, **{name: value})
    yield edited(path, extra=1)


def test_a_clear_file_with_a_wrong_member(clear: Path) -> None:
    """Each member of a key file in the clear is checked."""
    for path in wrong_members(clear):
        with pytest.raises(bb.KeystoreError):
            from_key_file(path)


def test_a_sealed_file_with_a_wrong_member(sealed: Path, derivations: list[int]) -> None:
    """Each member of an encrypted key file is checked or authenticated."""
    for path in wrong_members(sealed):
        with pytest.raises(bb.KeystoreError):
            from_key_file(path, passphrase=PASSPHRASE)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", NEXT.seed.hex()),
        ("seed", OWN.seed.hex().upper()),
        ("public_key", NEXT.public_key),
        ("signer_id", "anna"),
        ("algorithm", "secp256k1"),
    ],
)
def test_a_clear_file_that_contradicts_itself(clear: Path, name: str, value: str) -> None:
    """Seed and public key must belong together, and name and scheme be known."""
    if (name, value) == ("seed", OWN.seed.hex().upper()):
        value = "AB" * 32
    with pytest.raises(bb.KeystoreError):
        from_key_file(edited(clear, **{name: value}))


ALTERED = [
    ("signer_id", "BERT_OPS"),
    ("algorithm", "ed25519-digest"),
    ("public_key", NEXT.public_key),
    ("operations", 3),
    ("memory_bytes", 64 * 1024 * 1024 + 1024),
    ("salt", "ff" * 16),
    ("nonce", "ff" * 24),
    ("ciphertext", "ff" * 48),
]


@pytest.mark.parametrize(("name", "value"), ALTERED, ids=[name for name, _ in ALTERED])
def test_an_altered_parameter(sealed: Path, name: str, value: object) -> None:
    """Every member of an encrypted file is authenticated: none can be changed unnoticed."""
    with pytest.raises(bb.KeystoreError, match="the passphrase is wrong, or the key file was altered"):
        from_key_file(edited(sealed, **{name: value}), passphrase=PASSPHRASE)


COSTS = [
    {"operations": 1},
    {"operations": 0},
    {"operations": -1},
    {"operations": 17},
    {"operations": 2**70},
    {"memory_bytes": 64 * 1024 * 1024 - 1},
    {"memory_bytes": 1024 * 1024 * 1024 + 1},
    {"memory_bytes": 2**70},
    {"memory_bytes": 0},
]


@pytest.mark.parametrize("cost", COSTS, ids=str)
def test_a_cost_outside_its_bounds(sealed: Path, derivations: list[int], cost: dict[str, int]) -> None:
    """Costs below the floor or above the ceiling are refused before any work is done."""
    with pytest.raises(bb.KeystoreError, match="is outside 2 to 16 passes"):
        from_key_file(edited(sealed, **cost), passphrase=PASSPHRASE)
    with pytest.raises(bb.KeystoreError, match="is outside 2 to 16 passes"):
        Cost(**cost)
    assert derivations == []


def test_a_derivation_without_memory(tmp_path: Path, sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that cannot afford the derivation says so, and not that the passphrase is wrong."""
    from nacl.exceptions import RuntimeError as NaclError

    def kdf(*arguments: object, **options: object) -> bytes:
        raise NaclError("Key derivation failed")

    monkeypatch.setattr(pwhash.argon2id, "kdf", kdf)
    attempts: tuple[Callable[[], object], ...] = (
        lambda: from_key_file(sealed, passphrase=PASSPHRASE),
        lambda: make_key_file(tmp_path / "new.key", signer_id="SYSTEM", passphrase=PASSPHRASE, cost=CHEAP),
    )
    for attempt in attempts:
        with pytest.raises(bb.KeystoreError, match="deriving the key failed; it takes 67108864 bytes"):
            attempt()
    assert not (tmp_path / "new.key").exists()


# --------------------------------------------------------------------------- the environment


def test_a_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 lower-case hex digits are a seed; the variable stays as it is."""
    monkeypatch.setenv("BIBANK_SYSTEM_KEY", OWN.seed.hex())
    signer = from_environment("BIBANK_SYSTEM_KEY")
    assert (signer.signer_id, signer.public_key) == ("SYSTEM", OWN.public_key)
    assert from_environment().public_key == OWN.public_key
    assert os.environ["BIBANK_SYSTEM_KEY"] == OWN.seed.hex()
    elsewhere = from_environment("ANNA", signer_id="ANNA_OPS", environment={"ANNA": NEXT.seed.hex()})
    assert (elsewhere.signer_id, elsewhere.public_key) == ("ANNA_OPS", NEXT.public_key)


BAD_HEX = {
    "upper": "AB" * 32,
    "short": "ab" * 31 + "a",
    "even-shorter": "ab" * 31,
    "long": "ab" * 32 + "a",
    "prefix": "0x" + "ab" * 31,
    "space": " " + "ab" * 32,
    "newline": "ab" * 32 + "\n",
    "empty": "",
    "not-hex": "g" * 64,
    "wide-digits": "\uff10" * 64,
    "pem": "-----BEGIN PRIVATE KEY-----",
}


@pytest.mark.parametrize("value", BAD_HEX.values(), ids=BAD_HEX)
def test_a_malformed_variable(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Anything but 64 lower-case hex digits refuses to start."""
    monkeypatch.setenv("BIBANK_SYSTEM_KEY", value)
    with pytest.raises(bb.KeystoreError, match="BIBANK_SYSTEM_KEY is not 64 lower-case hex digits"):
        from_environment()


def test_an_unset_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is not set is an error, never "unsigned"."""
    monkeypatch.delenv("BIBANK_SYSTEM_KEY", raising=False)
    with pytest.raises(bb.KeystoreError, match="BIBANK_SYSTEM_KEY is not set"):
        from_environment()


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33), bytearray(32), "0" * 64, None])
def test_a_malformed_seed(seed: Any) -> None:
    """A seed is 32 bytes."""
    with pytest.raises(bb.KeystoreError, match="seed is 32 bytes"):
        Ed25519Signer(seed, signer_id="SYSTEM")


def test_a_signer_signs_bytes() -> None:
    """Text is no message."""
    with pytest.raises(bb.InvalidType, match="a signer signs bytes"):
        OWN.signer.sign("text")  # type: ignore[arg-type]  # on purpose
