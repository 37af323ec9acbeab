"""Keys from the outside world: key files on disk and the environment.

Each source is explicit. Nothing falls back to "unsigned": a key that is malformed, readable by
others, or missing is a `KeystoreError`. Errors name the place and never show a secret, not even in
a traceback with locals.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from bibank.errors import InvalidType, KeystoreError
from bibank.model.keyring import SYSTEM_SIGNER, check_signer_id
from bibank.signing.keyfile import (
    MAX_FILE_BYTES,
    NONCE_BYTES,
    SALT_BYTES,
    Cost,
    Secret,
    decode,
    encode_clear,
    encode_sealed,
)
from bibank.signing.signer import SEED_BYTES, Ed25519Signer

SYSTEM_KEY_VARIABLE = "BIBANK_SYSTEM_KEY"
_SEED_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

Passphrase = str | bytes
Entropy = Callable[[int], bytes]


def from_environment(
    variable: str = SYSTEM_KEY_VARIABLE,
    *,
    signer_id: str = SYSTEM_SIGNER,
    environment: Mapping[str, str] | None = None,
) -> Ed25519Signer:
    """Make a signer from an environment variable that holds a seed as 64 lower-case hex digits.

    Raises `KeystoreError` when the variable is unset or malformed. The variable is left as it is
    (phase 2, 5.6).
    """
    source = os.environ if environment is None else environment
    if variable not in source:
        raise KeystoreError(f"the environment variable {variable} is not set; it holds 64 hex digits")
    seed = _seed_of(source, variable)
    if seed is None:
        raise KeystoreError(f"the environment variable {variable} is not 64 lower-case hex digits")
    return Ed25519Signer(seed.reveal(), signer_id=signer_id)


def _seed_of(source: Mapping[str, str], variable: str) -> Secret | None:
    return Secret(bytes.fromhex(source[variable])) if _SEED_HEX.fullmatch(source[variable]) else None


def from_key_file(path: str | os.PathLike[str], *, passphrase: Passphrase | None = None) -> Ed25519Signer:
    """Make a signer from a key file, with its passphrase when it is encrypted.

    Raises `KeystoreError` when the file is missing, malformed, not ours, or readable by the group
    or by others.
    """
    secret = _as_secret(passphrase)
    passphrase = None
    return decode(_read_private(Path(path)).reveal(), passphrase=secret)


def make_key_file(
    path: str | os.PathLike[str],
    *,
    signer_id: str,
    passphrase: Passphrase | None = None,
    cost: Cost | None = None,
    entropy: Entropy = os.urandom,
) -> Ed25519Signer:
    """Make a new key, write it to a new file of mode 0600, and give its signer.

    Raises `KeystoreError` when the file exists: a key is never overwritten.
    """
    check_signer_id(signer_id)
    secret = _as_secret(passphrase)
    passphrase = None
    target = Path(path)
    if target.exists() or target.is_symlink():
        raise KeystoreError(f"{target} exists; a key is never overwritten")
    seed = Secret(entropy(SEED_BYTES))
    if secret is None:
        data = Secret(encode_clear(seed, signer_id=signer_id))
    else:
        data = Secret(
            encode_sealed(
                seed,
                signer_id=signer_id,
                passphrase=secret,
                salt=entropy(SALT_BYTES),
                nonce=entropy(NONCE_BYTES),
                cost=cost if cost is not None else Cost(),
            )
        )
    _write_new(target, data)
    return Ed25519Signer(seed.reveal(), signer_id=signer_id)


def _as_secret(passphrase: Passphrase | None) -> Secret | None:
    if passphrase is None:
        return None
    kind = type(passphrase).__name__
    secret = Secret(passphrase.encode() if isinstance(passphrase, str) else bytes(passphrase or b""))
    passphrase = None
    if kind not in ("str", "bytes"):
        raise InvalidType(f"a passphrase is a str or bytes, not {kind}")
    if not secret.reveal():
        raise KeystoreError("the passphrase is empty")
    return secret


def _read_private(path: Path) -> Secret:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise KeystoreError(f"cannot read the key file {path}: {error.strerror}") from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise KeystoreError(f"the key file {path} is not a plain file")
        if found.st_uid not in (os.geteuid(), 0):
            raise KeystoreError(f"the key file {path} belongs to another user")
        if found.st_mode & _OTHERS:
            mode = stat.S_IMODE(found.st_mode)
            raise KeystoreError(f"the key file {path} is open to others (mode {mode:04o}); chmod 600 it")
        return Secret(os.read(handle, MAX_FILE_BYTES + 1))
    finally:
        os.close(handle)


def _write_new(path: Path, data: Secret) -> None:
    """Write a file that appears whole or not at all, and never replaces another."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            os.write(handle, data.reveal())
            os.fsync(handle)
        finally:
            os.close(handle)
        try:
            os.link(temporary, path, follow_symlinks=False)
        finally:
            os.unlink(temporary)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except FileExistsError:
        raise KeystoreError(f"{path} exists; a key is never overwritten") from None
    except OSError as error:
        raise KeystoreError(f"cannot write the key file {path}: {error.strerror}") from None
