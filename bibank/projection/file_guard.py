"""The lock beside a projection's file: shared while somebody has it open, alone while it is made or deleted.

SQLite keeps its own locks in the file and in a file of shared memory beside it, and both go wrong when the
file is replaced under somebody who has it open: two files then share one memory, which one of them cuts
short. So whoever makes or deletes the file waits until nobody has it open. `flock` belongs to an open file,
so it holds between the threads of a process too.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from bibank.errors import ConfigurationError, StoreUnavailable

_BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite may keep beside a file."""

_POLL_SECONDS = 0.01
_FILE_MODE = 0o600


def take_shared(path: Path, *, timeout_seconds: float) -> int:
    """Lock a file that is there, or is made now, against being deleted; give the handle that holds the lock.

    Raises `StoreUnavailable` when it is no plain file, or the lock does not come free in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        guard = _take(path, deadline=deadline, is_alone=False)
        try:
            is_there = _is_there(path)
        except BaseException:
            os.close(guard)
            raise
        if is_there:
            return guard
        os.close(guard)
        guard = _take(path, deadline=deadline, is_alone=True)
        try:
            if not _is_there(path):
                _unlink(path, _BESIDE)  # of a file that was deleted: they are of another one
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE))
        except OSError as error:
            raise StoreUnavailable(f"cannot open {path}: {error.strerror}") from error
        finally:
            os.close(guard)


def delete_alone(path: Path, *, timeout_seconds: float) -> None:
    """Delete a file and what SQLite keeps beside it, once nobody has it open; or `StoreUnavailable`."""
    guard = _take(path, deadline=time.monotonic() + timeout_seconds, is_alone=True)
    try:
        _unlink(path, (*_BESIDE, ""))
    except OSError as error:
        raise StoreUnavailable(f"cannot delete {path}: {error.strerror}") from error
    finally:
        os.close(guard)


def _unlink(path: Path, suffixes: tuple[str, ...]) -> None:
    for suffix in suffixes:
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _is_there(path: Path) -> bool:
    """Tell whether the file is there; whatever is there has to be plain, or SQLite would wait for it."""
    is_there = False
    for suffix in ("", *_BESIDE):
        beside = f"{path}{suffix}"
        try:
            mode = os.lstat(beside).st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreUnavailable(f"cannot open {beside}: {error.strerror}") from error
        if not stat.S_ISREG(mode):
            raise StoreUnavailable(f"{beside} is not a plain file")
        is_there = is_there or not suffix
    return is_there


def _take(path: Path, *, deadline: float, is_alone: bool) -> int:
    try:
        import fcntl
    except ImportError:
        raise ConfigurationError("a projection's file needs Linux or macOS") from None
    lock = f"{path}-lock"
    operation = fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH
    while True:
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE)
        except OSError as error:
            raise StoreUnavailable(f"cannot open {lock}: {error.strerror}") from error
        try:
            fcntl.flock(handle, operation | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(lock)):
                return handle
        except FileNotFoundError:
            pass  # somebody deleted it: another one is the lock now
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(handle)
                raise StoreUnavailable(f"{path} is in use by somebody else") from None
            time.sleep(_POLL_SECONDS)
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
