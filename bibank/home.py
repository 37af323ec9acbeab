"""The home: the one module that knows what the directory of a ledger looks like.

<home>/
journal/YYYY-MM-DD.jsonl    the only source of truth
journal/HEAD                the newest line known to be on the disk
journal/.lock               the writer's lock
keyring.json                cache of the trusted public keys; its authority is the journal
keys/SYSTEM*.key            the ledger's own keys, unless the host holds them elsewhere
projection.db               disposable: delete it and it comes back
snapshots/                  states of the ledger, to open from: disposable as well
cursors/                    how far each subscriber of the event bus has come
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
from collections.abc import Callable, Container
from pathlib import Path

import attrs

from bibank.errors import (
    HomeExists,
    HomeNotFound,
    IntegrityError,
    InvalidType,
    InvalidValue,
    KeystoreError,
    StoreUnavailable,
    excerpt,
)
from bibank.keystore import from_key_file, make_key_file
from bibank.model.keyring import SYSTEM_SIGNER, key_id_of
from bibank.model.table import plain
from bibank.signing.signer import Signer
from bibank.signing.trust import KeyringTrust, KeyringVersion, check_reachable
from bibank.store.jsonl.days import day_names
from bibank.store.jsonl.files import OsFiles, sync_directory
from bibank.store.jsonl.head import HEAD_NAME
from bibank.store.jsonl.plan import OpenPlan, check_lock_timeout, plan_journal, survey_journal

KEYRING_NAME = "keyring.json"
_MAX_KEYRING_BYTES = 1 << 20
_WRITE_BYTES = 4 << 20
"""What is written between two looks at the free space, which others use up at the same time."""


class Home:
    """A directory that holds one ledger, or may come to hold one. Making this object touches nothing."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            self.path = Path(path)
        except TypeError:
            raise InvalidType(f"a home is a path, not {type(path).__name__}") from None
        try:
            os.fsencode(self.path)
        except UnicodeEncodeError:
            raise InvalidValue(f"{excerpt(str(path))} is no path: it holds a lone surrogate") from None
        if "\0" in str(self.path):
            raise InvalidValue(f"{excerpt(str(path))} is no path: it holds a NUL")

    def __repr__(self) -> str:
        return f"Home({str(self.path)!r})"

    @property
    def journal(self) -> Path:
        """The directory of the day files."""
        return self.path / "journal"

    @property
    def projection(self) -> Path:
        """The file of the SQLite projection."""
        return self.path / "projection.db"

    @property
    def snapshots(self) -> Path:
        """The directory of snapshots: 0700, because they hold every balance."""
        return self.path / "snapshots"

    def make_snapshots(self) -> None:
        """Make the directory of snapshots where there is none. `StoreUnavailable`."""
        _make_private_directory(self.snapshots)

    @property
    def cursors(self) -> Path:
        """The directory of the subscribers' cursors."""
        return self.path / "cursors"

    def make_cursors(self) -> None:
        """Make the directory of cursors where there is none. `StoreUnavailable`."""
        _make_private_directory(self.cursors)

    def free_bytes(self) -> int:
        """Tell how much of the file system's free space is ours to use. `StoreUnavailable`."""
        try:
            found = os.statvfs(self.path)
        except OSError as error:
            raise StoreUnavailable(f"cannot look at {self.path}: {error.strerror}") from error
        return found.f_bavail * found.f_frsize

    @property
    def keys(self) -> Path:
        """The directory of private keys: 0700, never to be committed to a repository."""
        return self.path / "keys"

    @property
    def system_key(self) -> Path:
        """The key file of the ledger's first own key; a later one has its key id in the name."""
        return self.keys / f"{SYSTEM_SIGNER}.key"

    def load_signer(self, public_keys: Container[str]) -> Signer | None:
        """Load the home's own key that is among some public keys; None when there is none.

        Raises `KeystoreError` when none fits and a key file could not be used, such as an encrypted one.
        """
        unusable: KeystoreError | None = None
        for path in sorted(self.keys.glob(f"{SYSTEM_SIGNER}*.key")):
            try:
                signer = from_key_file(path)
            except KeystoreError as error:
                unusable = unusable or error
                continue
            if signer.public_key in public_keys:
                return signer
        if unusable is not None and public_keys != frozenset():
            raise unusable
        return None

    def first_signer(self) -> Signer:
        """Load the key of an interrupted creation, or make the home's first key."""
        if self.system_key.is_file():
            return from_key_file(self.system_key)
        _make_private_directory(self.keys)
        return make_key_file(self.system_key, signer_id=SYSTEM_SIGNER)

    def next_signer(self) -> Signer:
        """Make another key of the home's own, durable before anything trusts it."""
        _make_private_directory(self.keys)
        fresh = self.keys / f".{SYSTEM_SIGNER}-{secrets.token_hex(8)}.key"
        signer = make_key_file(fresh, signer_id=SYSTEM_SIGNER)
        fresh.rename(self.keys / f"{SYSTEM_SIGNER}-{key_id_of(signer.public_key)}.key")
        sync_directory(self.keys)
        return signer

    def save_keyring(self, ledger_id: str, version: KeyringVersion) -> None:
        """Write the cache of the keyring, whole or not at all."""
        replace_file(self.path / KEYRING_NAME, _keyring_file(ledger_id, version))

    def read_keyring(self) -> KeyringFile | None:
        """Read the cache of the keyring; None when there is none.

        Read it before the journal: a change reaches the journal first, so a keyring that was read
        before is in the journal that is read after.
        """
        return read_keyring_file(self.path / KEYRING_NAME)

    def plan_open(self, *, lock_timeout_seconds: float = 0.0) -> OpenPlan:
        """Lock and survey a ledger that exists; `HomeNotFound`, touching nothing, when it does not."""
        self.survey()  # first: the lock is a file: it is made where a ledger is, and only there
        return self._with_genesis(plan_journal(self.journal, lock_timeout_seconds=lock_timeout_seconds))

    def survey(self) -> OpenPlan:
        """Survey a ledger that exists for reading: no lock, nothing is made or repaired."""
        self.check_there()
        return self._with_genesis(survey_journal(self.journal))

    def check_there(self) -> None:
        """Raise `HomeNotFound` where there is no ledger, not even a damaged one."""
        if not self._has_journal():
            raise HomeNotFound(
                f"there is no ledger in {self.path}; make one with Ledger.create or 'bibank init'"
            )

    def plan_create(self, *, lock_timeout_seconds: float = 0.0) -> OpenPlan:
        """Make the directories and lock them for a new ledger.

        `HomeExists`, touching nothing, when there is one.
        Torn bytes of an interrupted creation are no ledger; they are set aside by the repair.
        """
        if self._has_journal():
            self._without_genesis(survey_journal(self.journal))
        check_lock_timeout(lock_timeout_seconds)
        OsFiles(self.journal).mkdir()
        return self._without_genesis(plan_journal(self.journal, lock_timeout_seconds=lock_timeout_seconds))

    def _has_journal(self) -> bool:
        """Tell whether there is a day file, or HEAD, which remembers that there was one."""
        files = OsFiles(self.journal)
        return bool(day_names(files)) or HEAD_NAME in files.listdir()

    def _with_genesis(self, plan: OpenPlan) -> OpenPlan:
        if not plan.head.sequence:
            plan.abandon()
            raise HomeNotFound(f"{self.path} holds an unfinished creation only; create the ledger again")
        return plan

    def _without_genesis(self, plan: OpenPlan) -> OpenPlan:
        if plan.head.sequence:
            plan.abandon()
            raise HomeExists(
                f"there is a ledger in {self.path} already; open it, or choose another directory"
            )
        return plan


@attrs.frozen(kw_only=True)
class KeyringFile:
    """A keyring file, as it was found. Nothing in it is trusted before :meth:`check` has passed."""

    path: Path
    data: bytes = attrs.field(repr=False)
    ledger_id: str
    fingerprint: str

    def check(self, trust: KeyringTrust) -> None:
        """Demand that the file says what the journal says; `PinMismatch`, or `IntegrityError` when edited."""
        check_reachable(trust, self.fingerprint)
        version = next(found for found in trust.versions if found.fingerprint == self.fingerprint)
        if self.data != _keyring_file(trust.ledger_id, version):
            raise IntegrityError(
                f"{self.path} does not say what the journal says of keyring version "
                f"{version.keyring.version}; it was edited: delete it and it comes back"
            )


def _keyring_file(ledger_id: str, version: KeyringVersion) -> bytes:
    members = {
        "fingerprint": version.fingerprint,
        "from_sequence": version.from_sequence,
        "keys": [plain(key) for key in version.keyring.keys],
        "ledger": ledger_id,
        "version": version.keyring.version,
    }
    return (json.dumps(members, indent=1) + "\n").encode()


def read_keyring_fingerprint(path: Path) -> str | None:
    """Read the fingerprint in a keyring file; None without a file, `IntegrityError` when malformed."""
    file = read_keyring_file(path)
    return None if file is None else file.fingerprint


def read_keyring_file(path: Path) -> KeyringFile | None:
    """Read a keyring file; None without a file, `IntegrityError` when malformed."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # a pipe would be waited for
                raise IntegrityError(f"{path} is not a regular file; delete it and it comes back")
            data = file.read(_MAX_KEYRING_BYTES)
        members = json.loads(data)
        ledger_id, fingerprint = members["ledger"], members["fingerprint"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreUnavailable(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, RecursionError):
        ledger_id = fingerprint = None
    if not isinstance(ledger_id, str) or not isinstance(fingerprint, str):
        raise IntegrityError(f"{path} is not a keyring file; that of a home comes back when it is deleted")
    return KeyringFile(path=path, data=data, ledger_id=ledger_id, fingerprint=fingerprint)


def replace_file(path: Path, data: bytes, *, check_space: Callable[[int], None] | None = None) -> None:
    """Replace a file durably: a new file beside it, synced, renamed over it, directory synced.

    `check_space` is told how many bytes are left to write, again and again, and raises `StoreFull` where
    they are too many: nothing stays of the new file then.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            left = memoryview(data)
            while left:
                if check_space is not None:
                    check_space(len(left))
                taken = os.write(handle, left[:_WRITE_BYTES])
                if not taken:
                    raise OSError(errno.EIO, "the operating system took no bytes")
                left = left[taken:]
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, path)
        sync_directory(path.parent)
    except (OSError, StoreUnavailable) as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, StoreUnavailable):
            raise
        raise StoreUnavailable(f"cannot write {path}: {error.strerror}") from error


def _make_private_directory(path: Path) -> None:
    """Make a directory that only we can enter, with a .gitignore of everything."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreUnavailable(f"cannot make {path}: {error.strerror}") from error
    if not (path / ".gitignore").exists():
        replace_file(path / ".gitignore", b"*\n")
