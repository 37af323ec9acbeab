"""Cursor files: `<home>/cursors/<name>.json`, one for each subscriber, replaced whole or not at all.

One bus at a time keeps the cursor of a name: it holds the lock beside the file, which ends with the process.
A cursor names its ledger and its line with the hash, and is believed only where the journal agrees.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path

import attrs

from bibank.errors import (
    BibankError,
    ConfigurationError,
    CursorMismatch,
    InvalidType,
    InvalidValue,
    StoreUnavailable,
    SubscriberBusy,
    excerpt,
)
from bibank.home import Home, replace_file
from bibank.model.event import Cursor
from bibank.store.jsonl.files import sync_directory

_MAX_BYTES = 4096
"""A cursor file has some 300 bytes."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_FILE = re.compile(r"([a-z0-9][a-z0-9_-]{0,63})\.json", re.ASCII)
_MEMBERS = ("ledger", "subscriber", "sequence", "hash", "parked")
_FILE_MODE = 0o600

_LOCK_TRIES, _LOCK_SECONDS = 5, 0.01
"""Who looks whether a lock is held has it for a moment."""


def check_name(name: object) -> str:
    """Refuse what is no name of a subscriber: a file is named after it. `InvalidType`, `InvalidValue`."""
    if not isinstance(name, str):
        raise InvalidType(f"the name of a subscriber is a str, not {type(name).__name__}")
    if not _NAME.fullmatch(name):
        raise InvalidValue(
            f"{excerpt(name)} is no name of a subscriber: a lower-case letter or digit, then up to 63 of "
            "these, '_' and '-'; name= gives another one"
        )
    return name


@attrs.frozen(kw_only=True)
class SavedCursor:
    """What a cursor file says. `parked` names the error that the subscriber was parked for, if it is."""

    name: str
    ledger_id: str
    cursor: Cursor
    parked: str | None = None

    def to_json(self) -> bytes:
        """Spell the file."""
        members = {
            "ledger": self.ledger_id,
            "subscriber": self.name,
            "sequence": self.cursor.sequence,
            "hash": self.cursor.hash,
            "parked": self.parked,
        }
        return (json.dumps(members, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> SavedCursor:
        """Read the file; `InvalidInput` kinds."""
        try:
            members = json.loads(data)
            if not isinstance(members, dict) or tuple(members) != _MEMBERS:
                raise InvalidValue("it does not have the members of a cursor file")
            found = cls(
                name=check_name(members["subscriber"]),
                ledger_id=_text(members["ledger"]),
                cursor=Cursor(sequence=members["sequence"], hash=members["hash"]),
                parked=None if members["parked"] is None else _text(members["parked"]),
            )
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidValue(f"it is no cursor file: {error}") from None
        if found.to_json() != data:
            raise InvalidValue("it is not spelled as a cursor file")
        return found


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidType(f"{excerpt(value)} is no text")
    return value


def read_cursor_file(path: Path) -> SavedCursor | None:
    """Read a cursor file; None where there is none, `CursorMismatch` for another, `StoreUnavailable`."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreUnavailable(f"cannot read {path}: {error.strerror}") from error
    try:
        is_plain = stat.S_ISREG(os.fstat(handle).st_mode)
        data = os.read(handle, _MAX_BYTES + 1) if is_plain else b""
    except OSError as error:
        raise StoreUnavailable(f"cannot read {path}: {error.strerror}") from error
    finally:
        os.close(handle)
    try:
        if not is_plain or len(data) > _MAX_BYTES:
            raise InvalidValue("it is no plain file of the size of one")
        found = SavedCursor.from_json(data)
        if f"{found.name}.json" != path.name:
            raise InvalidValue(f"it is the one of {found.name!r}")
    except BibankError as error:
        raise CursorMismatch(
            f"{path} cannot be believed: {error}; forget({path.stem!r}) deletes it"
        ) from error
    return found


def saved_cursors(home: Home) -> list[Path]:
    """List the cursor files of a home, sorted by name. `StoreUnavailable`."""
    try:
        names = sorted(os.listdir(home.cursors))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreUnavailable(f"cannot list {home.cursors}: {error.strerror}") from error
    return [home.cursors / name for name in names if _FILE.fullmatch(name)]


def lock_path(path: Path) -> Path:
    """Name the lock beside a cursor file."""
    return path.with_name(f".{path.stem}.lock")


class CursorFile:
    """The cursor file of one subscriber, locked against every other bus until `release`.

    Raises `SubscriberBusy` when another has it, `StoreUnavailable`, and `ConfigurationError` where files
    cannot be locked.
    """

    def __init__(self, home: Home, name: str) -> None:
        home.make_cursors()
        self.path = home.cursors / f"{name}.json"
        self._name = name
        self._owner = os.getpid()
        self._lock: int | None = _locked(lock_path(self.path), name)

    def load(self) -> SavedCursor | None:
        """Read what was saved last; None where nothing was. `CursorMismatch`, `StoreUnavailable`."""
        return read_cursor_file(self.path)

    def save(self, saved: SavedCursor) -> None:
        """Replace the file durably; `StoreUnavailable`, and `SubscriberBusy` when the lock was taken away."""
        self._check_lock()
        replace_file(self.path, saved.to_json())

    def _check_lock(self) -> None:
        """Demand that the lock that is held is the one that others see: who deletes it lets others in."""
        path, is_ours = lock_path(self.path), False
        if self._lock is not None:
            with suppress(OSError):
                is_ours = os.path.samestat(os.fstat(self._lock), os.stat(path, follow_symlinks=False))
        if not is_ours:
            raise SubscriberBusy(
                f"the lock {path} was taken away, so another bus may deliver to {self._name!r}"
            )

    def delete(self) -> None:
        """Delete the file, if there is one; `StoreUnavailable`."""
        try:
            self.path.unlink(missing_ok=True)
            sync_directory(self.path.parent)
        except OSError as error:
            raise StoreUnavailable(f"cannot delete {self.path}: {error.strerror}") from error

    def release(self) -> None:
        """Let another bus have it. Twice is harmless."""
        handle, self._lock = self._lock, None
        if handle is not None:
            if self._owner == os.getpid():
                _unlock(handle)
            os.close(handle)


def _unlock(handle: int) -> None:
    """Give a lock up: closing alone would leave it to a forked child that has not yet closed its copy."""
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_UN)


def _locked(path: Path, name: str) -> int:
    try:
        import fcntl
    except ImportError:
        raise ConfigurationError("a durable cursor needs Linux or macOS") from None
    try:
        handle = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, _FILE_MODE
        )
    except OSError as error:
        raise StoreUnavailable(f"cannot open {path}: {error.strerror}") from error
    for tries_left in reversed(range(_LOCK_TRIES)):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if tries_left:
                time.sleep(_LOCK_SECONDS)
                continue
            os.close(handle)
            raise SubscriberBusy(
                f"another bus delivers to the subscriber {name!r}, in this process or another one"
            ) from None
        except OSError as error:
            os.close(handle)
            raise StoreUnavailable(f"cannot lock {path}: {error.strerror}") from error
        break
    return handle
