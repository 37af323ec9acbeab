"""Key files, as bytes in and bytes out: one private key, in the clear or under a passphrase.

The encrypted form derives its key with Argon2id and seals the seed with XChaCha20-Poly1305; every
other member of the file is authenticated with it, so nobody can weaken the parameters unnoticed.
Parameters below the floor or above the ceiling are refused before any work is done. A file has one
spelling, RFC 8785 and a newline: a member that stands twice is refused, not chosen from.

No function here has a seed or a passphrase in a local variable when it raises: a traceback that
shows locals shows no secret.
"""

from __future__ import annotations

import json
import re
from typing import Any

import attrs

from bibank.errors import BibankError, KeystoreError
from bibank.model.json_value import canonical_text
from bibank.model.keyring import check_signer_id
from bibank.model.signature import SignatureAlgorithm
from bibank.signing.signer import SEED_BYTES, Ed25519Signer

FORMAT = "bibank-key/1"
MAX_FILE_BYTES = 4096

MIN_OPERATIONS, MAX_OPERATIONS = 2, 16
MIN_MEMORY_BYTES, MAX_MEMORY_BYTES = 64 * 1024 * 1024, 1024 * 1024 * 1024
DEFAULT_OPERATIONS, DEFAULT_MEMORY_BYTES = 3, 256 * 1024 * 1024
"""libsodium's "moderate": under a second, and out of reach of cheap guessing."""

SALT_BYTES = 16
NONCE_BYTES = 24

_HEX = re.compile(r"(?:[0-9a-f]{2})+", re.ASCII)
_PUBLIC_MEMBERS = ("algorithm", "format", "public_key", "signer_id")
_COST_MEMBERS = ("cipher", "kdf", "memory_bytes", "nonce", "operations", "salt")
_CLEAR_MEMBERS = {*_PUBLIC_MEMBERS, "seed"}
_SEALED_MEMBERS = {*_PUBLIC_MEMBERS, *_COST_MEMBERS, "ciphertext"}
_KDF, _CIPHER = "argon2id", "xchacha20-poly1305"


class Secret:
    """Bytes that do not show: what seeds and passphrases travel in."""

    __slots__ = ("_reveal",)

    def __init__(self, value: bytes) -> None:
        self._reveal = value

    def reveal(self) -> bytes:
        """Give the bytes, to a function that needs them."""
        return self._reveal

    def __repr__(self) -> str:
        return "<Secret>"

    def __reduce_ex__(self, protocol: object) -> Any:  # noqa: ANN401 - never returns
        raise KeystoreError("a secret is not copied or pickled")


@attrs.frozen(kw_only=True)
class Cost:
    """What deriving a key from a passphrase costs: passes and bytes of memory."""

    operations: int = DEFAULT_OPERATIONS
    memory_bytes: int = DEFAULT_MEMORY_BYTES

    def __attrs_post_init__(self) -> None:
        """Hold the cost between floor and ceiling."""
        if not (
            MIN_OPERATIONS <= self.operations <= MAX_OPERATIONS
            and MIN_MEMORY_BYTES <= self.memory_bytes <= MAX_MEMORY_BYTES
        ):
            raise KeystoreError(
                f"key derivation with {self.operations} passes and {self.memory_bytes} bytes is outside "
                f"{MIN_OPERATIONS} to {MAX_OPERATIONS} passes, {MIN_MEMORY_BYTES} to {MAX_MEMORY_BYTES} bytes"
            )


def encode_clear(seed: Secret, *, signer_id: str) -> bytes:
    """Write a key file without a passphrase: whoever reads the file can sign."""
    signer = Ed25519Signer(seed.reveal(), signer_id=signer_id)
    members = {**_public_members(signer), "seed": seed.reveal().hex()}
    return (canonical_text(members) + "\n").encode()


def encode_sealed(
    seed: Secret, *, signer_id: str, passphrase: Secret, salt: bytes, nonce: bytes, cost: Cost
) -> bytes:
    """Write a key file under a passphrase. `salt` and `nonce` are fresh random bytes."""
    from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt

    signer = Ed25519Signer(seed.reveal(), signer_id=signer_id)
    members: dict[str, Any] = {
        **_public_members(signer),
        "cipher": _CIPHER,
        "kdf": _KDF,
        "memory_bytes": cost.memory_bytes,
        "nonce": nonce.hex(),
        "operations": cost.operations,
        "salt": salt.hex(),
    }
    ciphertext = crypto_aead_xchacha20poly1305_ietf_encrypt(
        seed.reveal(), canonical_text(members).encode(), nonce, _derive(passphrase, salt, cost).reveal()
    )
    return (canonical_text({**members, "ciphertext": ciphertext.hex()}) + "\n").encode()


def is_sealed(data: bytes) -> bool:
    """Tell whether a key file needs a passphrase."""
    return b'"ciphertext"' in data


def decode(data: Secret, *, passphrase: Secret | None) -> Ed25519Signer:
    """Read a key file; `KeystoreError` says what is wrong without saying what is in it."""
    members = _Members(data)
    try:
        seed = _open_seed(members, passphrase) if members.sealed else members.take_seed()
        signer_id, public_key = members.public["signer_id"], members.public["public_key"]
        signer = Ed25519Signer(
            seed.reveal(), signer_id=signer_id, algorithm=_algorithm(members.public["algorithm"])
        )
    except KeystoreError:
        raise
    except BibankError as error:
        raise KeystoreError(f"the key file is malformed: {error}") from None
    if signer.public_key != public_key:
        raise KeystoreError("the key file's public key is not that of its seed")
    return signer


class _Members:
    """The parsed members of a key file; the seed of a clear one is kept out of sight."""

    __slots__ = ("_seed", "public", "sealed")

    def __init__(self, data: Secret) -> None:
        wrong = "it is not a bibank-key/1 file"
        members: dict[str, Any] = {}
        if len(data.reveal()) <= MAX_FILE_BYTES:
            try:
                members = json.loads(data.reveal())
            except (ValueError, RecursionError):
                pass
        self.sealed = False
        self._seed: Secret | None = None
        self.public: dict[str, Any] = {}
        if type(members) is dict and members.get("format") == FORMAT:
            self.sealed = "ciphertext" in members
            if set(members) != (_SEALED_MEMBERS if self.sealed else _CLEAR_MEMBERS):
                pass
            elif not _is_spelling(data, members):
                wrong = "it is not spelled as a key file is: JCS and a newline"
            else:
                seed = members.pop("seed", "")
                if isinstance(seed, str) and len(seed) == 2 * SEED_BYTES and _HEX.fullmatch(seed):
                    self._seed = Secret(bytes.fromhex(seed))
                seed = ""
                self.public = members
                wrong = "" if self.sealed or self._seed is not None else "its seed is not 64 hex digits"
        members = {}
        if wrong:
            raise KeystoreError(f"the key file is malformed: {wrong}")

    def take_seed(self) -> Secret:
        assert self._seed is not None
        return self._seed


def _is_spelling(data: Secret, members: dict[str, Any]) -> bool:
    """Tell whether a file spells its members in the one way. Never raises: its locals are secret."""
    try:
        return (canonical_text(members) + "\n").encode() == data.reveal()
    except (BibankError, UnicodeEncodeError, RecursionError):
        return False


def _public_members(signer: Ed25519Signer) -> dict[str, Any]:
    return {
        "algorithm": signer.algorithm.value,
        "format": FORMAT,
        "public_key": signer.public_key,
        "signer_id": check_signer_id(signer.signer_id),
    }


def _algorithm(value: object) -> SignatureAlgorithm:
    try:
        return SignatureAlgorithm(value)
    except ValueError:
        raise KeystoreError("the key file is malformed: it names an unknown algorithm") from None


def _open_seed(members: _Members, passphrase: Secret | None) -> Secret:
    from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt
    from nacl.exceptions import CryptoError

    public = dict(members.public)
    if passphrase is None:
        raise KeystoreError("the key file is encrypted; a passphrase is needed")
    if public["kdf"] != _KDF or public["cipher"] != _CIPHER:
        raise KeystoreError("the key file is malformed: it names an unknown kdf or cipher")
    salt, nonce = _bytes(public["salt"], SALT_BYTES), _bytes(public["nonce"], NONCE_BYTES)
    ciphertext = _bytes(public.pop("ciphertext"), SEED_BYTES + 16)
    operations, memory_bytes = public["operations"], public["memory_bytes"]
    if type(operations) is not int or type(memory_bytes) is not int:
        raise KeystoreError("the key file is malformed: its costs are not integers")
    cost = Cost(operations=operations, memory_bytes=memory_bytes)
    associated = canonical_text(public).encode()
    seed: Secret | None = None
    try:
        seed = Secret(
            crypto_aead_xchacha20poly1305_ietf_decrypt(
                ciphertext, associated, nonce, _derive(passphrase, salt, cost).reveal()
            )
        )
    except CryptoError:
        pass  # raised outside, so that no frame with the derived key hangs on the error
    if seed is None:
        raise KeystoreError("the passphrase is wrong, or the key file was altered")
    return seed


def _bytes(value: object, size: int) -> bytes:
    if not isinstance(value, str) or len(value) != 2 * size or _HEX.fullmatch(value) is None:
        raise KeystoreError(f"the key file is malformed: a member is not {size} bytes in lower-case hex")
    return bytes.fromhex(value)


def _derive(passphrase: Secret, salt: bytes, cost: Cost) -> Secret:
    from nacl.exceptions import CryptoError
    from nacl.pwhash import argon2id

    operations, memory_bytes = cost.operations, cost.memory_bytes
    key: Secret | None = None
    try:
        key = Secret(argon2id.kdf(32, passphrase.reveal(), salt, opslimit=operations, memlimit=memory_bytes))
    except (CryptoError, MemoryError):
        pass  # raised outside, so that no frame with the passphrase hangs on the error
    if key is None:
        raise KeystoreError(f"deriving the key failed; it takes {memory_bytes} bytes of memory")
    return key
