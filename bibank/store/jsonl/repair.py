"""What opening a journal for writing changes: torn bytes go aside, unsynced bytes are written again.

Every step leaves the disk in a state from which the whole repair can run again with the same
result. Nothing here judges anything: that was the survey's part, and the replay's.
"""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256

import attrs

from bibank.errors import StoreUnavailable
from bibank.model.json_value import JsonValue
from bibank.store.jsonl.days import DAY_NAME, DayFile
from bibank.store.jsonl.files import Files, opened_update, write_all_at
from bibank.store.jsonl.head import EMPTY, HeadMark
from bibank.store.jsonl.tail import Torn

_COPY_BYTES = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_TORN_NAME = re.compile(DAY_NAME.pattern + r"\.torn-([1-9][0-9]*)(?:-[1-9][0-9]*)?", re.ASCII)

logger = logging.getLogger("bibank")


@attrs.frozen(kw_only=True)
class SetAside:
    """A file of torn bytes: its name, how many bytes there were, and their SHA-256 in hex."""

    file: str
    size: int
    sha256: str

    def to_body(self) -> dict[str, JsonValue]:
        """Describe it for a recovery record."""
        return {"bytes": self.size, "file": self.file, "sha256": self.sha256}


def set_aside(files: Files, torn: Torn, *, sequence: int) -> SetAside:
    """Copy torn bytes to a file of their own and sync it; cutting them off is the next step.

    On a full disk they are described but not copied: nothing in them was ever acknowledged, and a
    ledger has to open. An equal copy from an interrupted repair is used again.
    """
    digest = sha256()
    for part in _parts(files, torn.file, start=torn.offset, stop=torn.offset + torn.size):
        digest.update(part)
    taken = set(files.listdir())
    name = numbered = f"{torn.file}.torn-{sequence}"
    number = 1
    while numbered in taken:
        found = describe(files, numbered)
        if not found.size:  # what a full disk left of a copy
            break
        if (found.size, found.sha256) == (torn.size, digest.hexdigest()):
            break
        number += 1
        numbered = f"{name}-{number}"
    try:
        _copy(files, torn, numbered)
        kept = f"set aside in {numbered}"
    except (OSError, StoreUnavailable) as error:
        if not _is_full(error):
            raise
        kept = "dropped, because the disk has no space for a copy"
        with suppress(StoreUnavailable):  # a part of the copy says less than none
            files.truncate(numbered, size=0)
    logger.warning(
        "%s:%d: %s; %d bytes (SHA-256 %s) %s",
        torn.file,
        torn.line,
        torn.reason,
        torn.size,
        digest.hexdigest(),
        kept,
    )
    return SetAside(file=numbered, size=torn.size, sha256=digest.hexdigest())


def owed(files: Files, *, sequence: int) -> tuple[SetAside, ...]:
    """Describe the torn bytes that were set aside before a line that is not there yet.

    The recovery record comes first in the next group. Until it is written these files say that it
    is owed, also after a crash. An empty one is what a full disk left of a copy, and says nothing.
    """
    described = (describe(files, name) for name in files.listdir() if torn_before(name) == sequence)
    return tuple(found for found in described if found.size)


def torn_before(name: str) -> int | None:
    """Tell before which line the bytes in a file were set aside; None for any other file."""
    found = _TORN_NAME.fullmatch(name)
    return None if found is None else int(found[1])


def describe(files: Files, name: str) -> SetAside:
    """Hash a file of torn bytes."""
    found = files.stat(name)
    size = found.size if found is not None else 0
    digest = sha256()
    for part in _parts(files, name, start=0, stop=size):
        digest.update(part)
    return SetAside(file=name, size=size, sha256=digest.hexdigest())


def rewrite(files: Files, days: Sequence[DayFile], mark: HeadMark) -> None:
    """Write what stands behind HEAD onto itself and sync it, file by file, then the directory.

    Bytes that can be read may be in the page cache only, of a sync that failed: the kernel takes
    them for written and will not write them again. Served now, they would be gone at the next
    power cut. Raises `OSError`, `StoreUnavailable`.
    """
    behind = [day for day in days if mark == EMPTY or day.name >= mark.file]
    for day in behind:
        start = mark.end if day.name == mark.file else 0
        if start >= day.size:
            continue
        with opened_update(files, day.name) as handle:
            for part in _parts(files, day.name, start=start, stop=day.size):
                write_all_at(files, handle, part, offset=start)
                start += len(part)
            files.fdatasync(handle)
    files.fsync_dir()


def _copy(files: Files, torn: Torn, name: str) -> None:
    offset = 0
    with opened_update(files, name) as handle:
        for part in _parts(files, torn.file, start=torn.offset, stop=torn.offset + torn.size):
            write_all_at(files, handle, part, offset=offset)
            offset += len(part)
        files.fdatasync(handle)
    files.fsync_dir()


def _parts(files: Files, name: str, *, start: int, stop: int) -> Iterator[bytes]:
    """Read a stretch of a file piece by piece."""
    while start < stop:
        part = files.read(name, offset=start, size=min(_COPY_BYTES, stop - start))
        if not part:
            raise StoreUnavailable(f"{name} shrank while it was read")
        yield part
        start += len(part)


def _is_full(error: BaseException) -> bool:
    cause = error.__cause__ if isinstance(error, StoreUnavailable) else error
    return isinstance(cause, OSError) and cause.errno in _FULL
