"""The port to the operating system: every file operation of the journal goes through `Files`.

One object stands for one directory; names are plain file names in it. Tests put a simulator behind
the same protocol. `OsFiles` opens everything relative to one directory descriptor, follows no
symbolic links, and turns each `OSError` into a `StoreError` where nothing can be half done.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat as stat_module
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import attrs

from bibank.errors import ConfigurationError, LedgerBusy, StoreUnavailable

_FILE_MODE = 0o600
_DIRECTORY_MODE = 0o700
_MAX_LOCK_BYTES = 512
_LAST_STDIO = 2


@attrs.frozen(kw_only=True)
class FileStat:
    """What the journal needs to know of a file."""

    size: int
    is_regular: bool
    links: int
    owner: int
    inode: int = 0
    """Which file it is, whatever its name."""


class Files(Protocol):
    """One directory of the operating system. Handles are opaque integers."""

    def listdir(self) -> list[str]:
        """Name the files in the directory; empty when it does not exist."""

    def stat(self, name: str) -> FileStat | None:
        """Describe a file without following links; None when there is none."""

    def mkdir(self) -> None:
        """Make the directory and its parents, each synced into its parent, made just now or before."""

    def read(self, name: str, *, offset: int, size: int) -> bytes:
        """Read up to `size` bytes; fewer only at the end of the file."""

    def open_append(self, name: str) -> int:
        """Open a file for appending, making it when it is not there."""

    def open_update(self, name: str) -> int:
        """Open a file for writing at offsets, making it when it is not there."""

    def write(self, handle: int, data: bytes) -> int:
        """Write at the end; give how many bytes were taken."""

    def pwrite(self, handle: int, data: bytes, *, offset: int) -> int:
        """Write at an offset; give how many bytes were taken."""

    def fdatasync(self, handle: int) -> None:
        """Make a file's content durable."""

    def fsync_dir(self) -> None:
        """Make the directory's entries durable."""

    def truncate(self, name: str, *, size: int) -> None:
        """Cut a file to a size and make that durable."""

    def lock(self, name: str) -> int:
        """Take the writer's lock at once or raise `LedgerBusy`; `close` releases it."""

    def free_bytes(self) -> int:
        """Tell how many bytes may still be written."""

    def close(self, handle: int) -> None:
        """Close a handle. Again is harmless: who was interrupted in it does not know how far it came."""

    def release(self) -> None:
        """Let go of the directory, which `lock` keeps open. Again is harmless."""


@contextlib.contextmanager
def opened_update(files: Files, name: str) -> Iterator[int]:
    """Open a file for writing at offsets, for a moment: an interrupted close is finished."""
    handle = files.open_update(name)
    try:
        yield handle
    finally:
        try:
            files.close(handle)
        except KeyboardInterrupt:
            files.close(handle)
            raise


def write_all(files: Files, handle: int, data: bytes) -> None:
    """Append until every byte is taken; `OSError` when the operating system takes none."""
    left = memoryview(data)
    while left:
        taken = files.write(handle, data if len(left) == len(data) else bytes(left))
        left = left[_some(taken) :]


def write_all_at(files: Files, handle: int, data: bytes, *, offset: int) -> None:
    """Write at an offset until every byte is taken; `OSError` when the operating system takes none."""
    left = memoryview(data)
    while left:
        taken = files.pwrite(handle, data if len(left) == len(data) else bytes(left), offset=offset)
        left = left[_some(taken) :]
        offset += taken


def _some(taken: int) -> int:
    if taken <= 0:
        raise OSError(errno.EIO, "the operating system took no bytes")
    return taken


class OsFiles:
    """`Files` on a real directory (POSIX).

    Raises `ConfigurationError` on a platform that cannot hold a home.
    """

    def __init__(self, directory: Path) -> None:
        if not hasattr(os, "fdatasync") and sys.platform != "darwin":
            raise ConfigurationError(
                "a home needs Linux or macOS; in_memory ledgers and verification work here"
            )
        self.directory = directory
        self._open: dict[int, None] = {}
        """The handles that were given and not closed."""
        self._kept: int | None = None
        self._owner = 0
        """The process that locked the directory."""
        self._lock: tuple[int, int] | None = None
        """The handle of the lock that is held, and the process that took it."""

    def __repr__(self) -> str:
        return f"OsFiles({str(self.directory)!r})"

    def listdir(self) -> list[str]:
        """Name the files, sorted."""
        try:
            return sorted(os.listdir(self.directory))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _unavailable("list", self.directory, error) from error

    def stat(self, name: str) -> FileStat | None:
        """Describe a file without following links."""
        try:
            with self._directory() as directory:
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable("look at", self.directory / name, error) from error
        return _describe(found)

    def mkdir(self) -> None:
        """Make the directory and its missing parents, and sync the parent of each, and of both last ones.

        An attempt that was cut off may have made a directory, and not synced it into its parent.
        """
        directory = path = self.directory.absolute()
        missing = []
        try:
            while not path.exists():
                missing.append(path)
                path = path.parent
            kept = {path, directory.parent, directory} - {*missing}
            for path in sorted(kept, key=lambda found: len(found.parts)):
                _sync_entry(path)
            for path in reversed(missing):
                with contextlib.suppress(FileExistsError):
                    path.mkdir(mode=_DIRECTORY_MODE)
                sync_directory(path.parent)
        except OSError as error:
            raise _unavailable("make", self.directory, error) from error

    def read(self, name: str, *, offset: int, size: int) -> bytes:
        """Read up to `size` bytes at an offset."""
        try:
            with self._directory() as directory, _opened(name, os.O_RDONLY, directory) as handle:
                parts = []
                while size:
                    part = os.pread(handle, size, offset)
                    if not part:
                        break
                    parts.append(part)
                    offset += len(part)
                    size -= len(part)
                return b"".join(parts)
        except OSError as error:
            raise _unavailable("read", self.directory / name, error) from error

    def open_append(self, name: str) -> int:
        """Open or make a plain file of ours; refuses links and foreign files."""
        return self._open_plain(name, os.O_RDWR | os.O_APPEND | os.O_CREAT)

    def open_update(self, name: str) -> int:
        """Open or make a plain file of ours, without O_APPEND, under which Linux ignores offsets."""
        return self._open_plain(name, os.O_RDWR | os.O_CREAT)

    def _open_plain(self, name: str, flags: int) -> int:
        try:
            with self._directory() as directory:
                handle = _open(name, flags, directory)
        except OSError as error:
            raise _unavailable("open", self.directory / name, error) from error
        found = _describe(os.fstat(handle))
        if not found.is_regular or found.links != 1 or found.owner != os.geteuid():
            os.close(handle)
            raise StoreUnavailable(f"{self.directory / name} is not a plain file of ours with one link")
        self._open[handle] = None
        return handle

    def write(self, handle: int, data: bytes) -> int:
        """Write at the end."""
        return os.write(handle, data)

    def pwrite(self, handle: int, data: bytes, *, offset: int) -> int:
        """Write at an offset."""
        return os.pwrite(handle, data, offset)

    def fdatasync(self, handle: int) -> None:
        """Make a file's content durable, on macOS through the drive's cache."""
        _sync_content(handle)

    def fsync_dir(self) -> None:
        """Make the directory's entries durable."""
        with self._directory() as directory:
            os.fsync(directory)

    def truncate(self, name: str, *, size: int) -> None:
        """Cut a file and sync it."""
        try:
            with self._directory() as directory, _opened(name, os.O_RDWR, directory) as handle:
                os.ftruncate(handle, size)
                os.fsync(handle)
        except OSError as error:
            raise _unavailable("cut", self.directory / name, error) from error

    def lock(self, name: str) -> int:
        """Take the lock without waiting, write our pid and host into it, and keep the directory open."""
        directory = self._open_directory()
        try:
            handle = self._lock_in(directory, name)
        except BaseException:
            os.close(directory)
            raise
        self._open[handle] = None
        self._kept = directory
        self._owner = os.getpid()
        self._lock = handle, self._owner
        return handle

    def _lock_in(self, directory: int, name: str) -> int:
        import fcntl

        try:
            handle = _open(name, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, directory)
        except OSError as error:
            raise _unavailable("open", self.directory / name, error) from error
        try:
            found = _describe(os.fstat(handle))
            if not found.is_regular or found.links != 1 or found.owner != os.geteuid():
                raise StoreUnavailable(f"{self.directory / name} is not a plain file of ours with one link")
            # The directory too: who deletes a "stale" lock file must not thereby become a second writer.
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            here, there = os.fstat(handle), os.stat(name, dir_fd=directory, follow_symlinks=False)
            if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
                raise LedgerBusy(
                    f"{self.directory / name} was replaced while it was locked", pid=None, host=None
                )
            _name_holder(handle)
        except OSError as error:
            busy = _busy(self.directory, handle) if error.errno in (errno.EAGAIN, errno.EACCES) else None
            os.close(handle)
            raise busy or _unavailable("lock", self.directory / name, error) from error
        except BaseException:
            os.close(handle)
            raise
        return handle

    def free_bytes(self) -> int:
        """Tell how much of the file system's free space is ours to use."""
        try:
            with self._directory() as directory:
                found = os.fstatvfs(directory)
        except OSError as error:
            raise _unavailable("look at", self.directory, error) from error
        return found.f_bavail * found.f_frsize

    def close(self, handle: int) -> None:
        """Close a handle, unless it is closed: its number may be another file's by now."""
        if handle not in self._open:
            return
        try:
            if self._lock == (handle, os.getpid()):
                _unlock(handle)
            # No interrupt comes between these two: Python looks for signals after a call, not before it.
            del self._open[handle]
            os.close(handle)
        except OSError as error:
            raise _unavailable("close a file in", self.directory, error) from error

    def release(self) -> None:
        """Close the directory itself."""
        handle = self._kept
        if handle is None:
            return
        try:
            if self._owner == os.getpid():
                _unlock(handle)
            self._kept = None  # right before closing, as above
            os.close(handle)
        except OSError as error:
            raise _unavailable("close", self.directory, error) from error

    @contextlib.contextmanager
    def _directory(self) -> Iterator[int]:
        """Give a descriptor of the directory: the one kept while it is locked, else one for the moment."""
        if self._kept is not None:
            yield self._kept
            return
        handle = self._open_directory()
        try:
            yield handle
        finally:
            os.close(handle)

    def _open_directory(self) -> int:
        try:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
            return _beyond_stdio(os.open(self.directory, flags))
        except OSError as error:
            raise _unavailable("open", self.directory, error) from error


def _open(name: str, flags: int, directory: int) -> int:
    return _beyond_stdio(os.open(name, flags | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE, dir_fd=directory))


def _beyond_stdio(handle: int) -> int:
    """Never hold a file as descriptor 0 to 2: where those were closed, a stray message would land in it."""
    if handle > _LAST_STDIO:
        return handle
    import fcntl

    try:
        return fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, _LAST_STDIO + 1)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _opened(name: str, flags: int, directory: int) -> Iterator[int]:
    handle = _open(name, flags, directory)
    try:
        yield handle
    finally:
        os.close(handle)


def _describe(found: os.stat_result) -> FileStat:
    return FileStat(
        size=found.st_size,
        is_regular=stat_module.S_ISREG(found.st_mode),
        links=found.st_nlink,
        owner=found.st_uid,
        inode=found.st_ino,
    )


def _sync_entry(path: Path) -> None:
    """Make the name of a directory that was there before durable, unless it cannot be one of ours."""
    try:
        sync_directory(path.parent)
    except PermissionError:
        if os.access(path.parent, os.W_OK):
            raise


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


if sys.platform == "darwin":

    def _sync_content(handle: int) -> None:
        import fcntl

        fcntl.fcntl(handle, fcntl.F_FULLFSYNC)  # fsync alone stops at the drive's cache there
else:

    def _sync_content(handle: int) -> None:
        os.fdatasync(handle)


def _unavailable(verb: str, path: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"cannot {verb} {path}: {error.strerror}")


def _unlock(handle: int) -> None:
    """Give a lock up: closing alone would leave it to a forked child that has not yet closed its copy."""
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_UN)


def _name_holder(handle: int) -> None:
    """Write who holds the lock into it, for people; a full disk is no reason not to hold it."""
    holder = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, holder, 0)


def _busy(directory: Path, handle: int) -> LedgerBusy:
    pid = host = None
    with contextlib.suppress(OSError, ValueError, AttributeError):
        holder = json.loads(os.pread(handle, _MAX_LOCK_BYTES, 0))
        pid = found if type(found := holder.get("pid")) is int else None
        host = found if isinstance(found := holder.get("host"), str) else None
    who = f"process {pid} on {host}" if pid is not None else "another process"
    if pid == os.getpid() and host == socket.gethostname():
        who = f"this very process ({pid})"
    return LedgerBusy(f"{directory} is being written by {who}; one process writes a home", pid=pid, host=host)
