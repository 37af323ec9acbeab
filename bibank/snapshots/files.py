"""The files of snapshots: `<home>/snapshots/<sequence, 19 digits>.json`, a head line and a state line.

Written whole or not at all, and read strictly: a file that was cut, lengthened or edited is refused, never
guessed at. What an interrupted write left begins with a dot and is taken away by the next one.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import attrs

from bibank.errors import InvalidValue, StoreFull, StoreUnavailable
from bibank.home import Home, replace_file
from bibank.journal.codec import MAX_LINE_BYTES
from bibank.signing.dsse import Envelope
from bibank.snapshots.head import SNAPSHOT_KIND, SnapshotHead
from bibank.store.jsonl.writer import FREE_SPACE_FLOOR, PREALLOCATE_BYTES

KEPT = 2
"""Snapshots in a home: the newest, and one to fall back on."""

MAX_SNAPSHOT_BYTES = 1 << 33
"""Some fifty million accounts; a file beyond it is not read into memory."""

_NAME = re.compile(r"[0-9]{19}\.json", re.ASCII)
_UNFINISHED = re.compile(r"\.[0-9]{19}\.json\.[0-9a-f]{16}", re.ASCII)


@attrs.frozen(kw_only=True)
class SnapshotFile:
    """A snapshot as it was found. Nothing in it is trusted yet."""

    path: Path
    envelope: Envelope
    head: SnapshotHead

    def read_state(self) -> bytes:
        """Read the state and hold it to the digest in the head; `InvalidValue`, `StoreUnavailable`."""
        _, state = _read(self.path, whole=True)
        if sha256(state).hexdigest() != self.head.state:
            raise InvalidValue("its state is not the one that its head names")
        return state


def snapshot_paths(home: Home) -> list[Path]:
    """List the snapshots of a home, newest first. `StoreUnavailable`."""
    try:
        names = os.listdir(home.snapshots)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreUnavailable(f"cannot list {home.snapshots}: {error.strerror}") from error
    return [home.snapshots / name for name in sorted(names, reverse=True) if _NAME.fullmatch(name)]


def sequence_of(path: Path) -> int:
    """Read the sequence in the name of a snapshot."""
    return int(path.stem)


def read_snapshot(path: Path) -> SnapshotFile:
    """Read the head of a snapshot; an `InvalidInput` kind for what is none, `StoreUnavailable`."""
    text, _ = _read(path, whole=False)
    try:
        spelled = text.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidValue("its head is not ASCII") from None
    envelope = Envelope.from_json(spelled)
    if envelope.kind != SNAPSHOT_KIND or envelope.to_json() != spelled:
        raise InvalidValue("its head is not spelled as one")
    head = SnapshotHead.from_payload(envelope.payload)
    if head.sequence != sequence_of(path):
        raise InvalidValue(f"it is of line {head.sequence}, not of the line in its name")
    return SnapshotFile(path=path, envelope=envelope, head=head)


def write_snapshot(home: Home, envelope: Envelope, state: bytes, *, sequence: int) -> Path:
    """Write a snapshot durably, and take older ones away after that. `StoreUnavailable`, `StoreFull`.

    One of a later line than this is not the older one that it would count as: it stays, and opening says why.
    """

    def check_space(size: int) -> None:
        free, need = home.free_bytes(), size + FREE_SPACE_FLOOR + PREALLOCATE_BYTES
        if free < need:
            raise StoreFull(
                f"{free} bytes are free, and this snapshot needs {need}: the others stay free for the journal"
            )

    home.make_snapshots()
    path = home.snapshots / f"{sequence:019d}.json"
    replace_file(path, b"%b\n%b\n" % (envelope.to_json().encode(), state), check_space=check_space)
    for old in [old for old in snapshot_paths(home) if sequence_of(old) <= sequence][KEPT:]:
        _remove(old)
    with suppress(OSError):
        for name in os.listdir(home.snapshots):
            if _UNFINISHED.fullmatch(name):
                _remove(home.snapshots / name)
    return path


def _remove(path: Path) -> None:
    """Take a file away; one that stays is no harm."""
    with suppress(OSError):
        path.unlink()


def _read(path: Path, *, whole: bool) -> tuple[bytes, bytes]:
    """Read the head line, and the state line where it is asked for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_SNAPSHOT_BYTES:
                raise InvalidValue("it is not a regular file of a reasonable size")
            with open(handle, "rb", closefd=False) as file:
                head = file.readline(MAX_LINE_BYTES + 1)
                state = file.read() if whole else b"\n"
        finally:
            os.close(handle)  # also where no file could be made of it, as of a directory
    except OSError as error:
        raise StoreUnavailable(f"cannot read {path}: {error.strerror}") from error
    if head[-1:] != b"\n" or state[-1:] != b"\n":
        raise InvalidValue("it is not whole")
    return head[:-1], state[:-1]
