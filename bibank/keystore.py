"""Keys from the outside world: key files on disk and the environment.

Each source is explicit. Nothing falls back to "unsigned": a key that is malformed, readable by
others, or missing is a `KeystoreError`. Errors name the place and never show a secret, not even in
a traceback with locals.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from bibank.errors import BibankError, InvalidType, KeystoreError
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
    is_sealed,
)
from bibank.signing.signer import SEED_BYTES, Ed25519Signer
from bibank.store.jsonl.files import sync_directory

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
    value = (os.environ if environment is None else environment).get(variable)
    found = value is not None
    seed = Secret(bytes.fromhex(value)) if value is not None and _SEED_HEX.fullmatch(value) else None
    value = environment = None  # before anything is refused: a traceback may show locals
    if not found:
        raise KeystoreError(f"the environment variable {variable} is not set; it holds 64 hex digits")
    if seed is None:
        raise KeystoreError(f"the environment variable {variable} is not 64 lower-case hex digits")
    return Ed25519Signer(seed.reveal(), signer_id=signer_id)


def from_key_file(path: str | os.PathLike[str], *, passphrase: Passphrase | None = None) -> Ed25519Signer:
    """Make a signer from a key file, with its passphrase when it is encrypted.

    Raises `KeystoreError` when the file is missing, malformed, not ours, or readable by the group
    or by others.
    """
    secret, wrong = _hide(passphrase)
    passphrase = None
    if wrong is not None:
        raise wrong
    return decode(_read_private(Path(path)), passphrase=secret)


def is_encrypted(path: str | os.PathLike[str]) -> bool:
    """Tell whether a key file needs a passphrase; `KeystoreError` as :func:`from_key_file`."""
    return is_sealed(_read_private(Path(path)).reveal())


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
    secret, wrong = _hide(passphrase)
    passphrase = None
    if wrong is not None:
        raise wrong
    check_signer_id(signer_id)
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


def _hide(passphrase: Passphrase | None) -> tuple[Secret | None, BibankError | None]:
    """Give a passphrase as a secret, or what is wrong with it; never raises, the caller still shows it."""
    if passphrase is None:
        return None, None
    if not isinstance(passphrase, (str, bytes)):
        return None, InvalidType(f"a passphrase is a str or bytes, not {type(passphrase).__name__}")
    if not passphrase:
        return None, KeystoreError("the passphrase is empty")
    try:
        return Secret(passphrase.encode() if isinstance(passphrase, str) else passphrase), None
    except UnicodeEncodeError:
        return None, KeystoreError("the passphrase is not Unicode text; give its bytes")


def _read_private(path: Path) -> Secret:
    try:
        # without blocking: what stands there may be a pipe
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise KeystoreError(f"cannot read the key file {path}: {error.strerror}") from None
    except ValueError:
        raise KeystoreError("the name of a key file holds no NUL") from None
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
    except OSError as error:
        raise KeystoreError(f"cannot read the key file {path}: {error.strerror}") from None
    finally:
        os.close(handle)


def _write_new(path: Path, data: Secret) -> None:
    """Write a file that appears whole or not at all, and never replaces another."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            _write_private(temporary, data)
            os.link(temporary, path, follow_symlinks=False)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)
    except FileExistsError:
        raise KeystoreError(f"{path} exists; a key is never overwritten") from None
    except OSError as error:
        raise KeystoreError(f"cannot write the key file {path}: {error.strerror}") from None
    except ValueError:
        raise KeystoreError("the name of a key file holds no NUL") from None


def _write_private(path: Path, data: Secret) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        done, size = 0, len(data.reveal())
        while done < size:
            written = os.write(handle, data.reveal()[done:])
            if not written:
                raise OSError(errno.EIO, "the system takes no more bytes")
            done += written
        os.fsync(handle)
    finally:
        os.close(handle)
