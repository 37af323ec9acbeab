"""HEAD: the newest line that is known to be on the disk, in two slots that are written in turn.

HEAD is a lower bound. It names only lines whose write group was synced before, so a journal that
ends below it has lost something that was acknowledged, and is refused instead of repaired. A slot
holds its own hash; one slot torn by a crash leaves the other. The file is made, both slots at
sequence 0, and synced with its directory before the first byte of a journal; so a journal without
HEAD is one whose HEAD was taken away.

>>> mark = HeadMark(sequence=2, hash="ab" * 32, file="2026-01-25.jsonl", end=1024)
>>> len(encode_slot(mark)), decode_slot(encode_slot(mark)) == mark
(512, True)
"""

from __future__ import annotations

import json
import re
from hashlib import sha256

import attrs

from bibank.errors import InvalidValue, JournalCorrupt
from bibank.model.lines import GENESIS_PREV_HASH, Head
from bibank.store.jsonl.days import DAY_NAME
from bibank.store.jsonl.files import Files, write_all_at

HEAD_NAME = "HEAD"
SLOT_BYTES = 512
"""The size of a disk's smallest sector: what a torn write leaves whole or not at all, if anything."""

_SLOTS = 2
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAX_NUMBER = 2**63 - 1


@attrs.frozen(kw_only=True)
class HeadMark:
    """A synced line: its sequence and hash, its file, and the offset behind its newline there.

    The default is the mark of an empty journal.
    """

    sequence: int = 0
    hash: str = GENESIS_PREV_HASH
    file: str = ""
    end: int = 0

    def __attrs_post_init__(self) -> None:
        """Raise `InvalidValue` for what is no line's place."""
        if type(self.sequence) is not int or type(self.end) is not int:
            raise InvalidValue("a mark counts in whole numbers")
        if self.sequence == 0:
            if (self.hash, self.file, self.end) != (GENESIS_PREV_HASH, "", 0):
                raise InvalidValue("the mark of an empty journal names no line")
        elif not (
            0 < self.sequence <= _MAX_NUMBER
            and 0 < self.end <= _MAX_NUMBER
            and _HASH.fullmatch(self.hash)
            and DAY_NAME.fullmatch(self.file)
        ):
            raise InvalidValue("the mark does not name a line")

    @property
    def head(self) -> Head:
        """The line's sequence and hash."""
        return Head(self.sequence, self.hash)


EMPTY = HeadMark()


def encode_slot(mark: HeadMark) -> bytes:
    """Spell a mark as one slot: JSON, the SHA-256 of that JSON, spaces, a newline."""
    members = {"end": mark.end, "file": mark.file, "hash": mark.hash, "sequence": mark.sequence}
    text = json.dumps(members, separators=(",", ":")).encode()
    return b"%b %b" % (text, sha256(text).hexdigest().encode()) + b" " * (SLOT_BYTES - len(text) - 66) + b"\n"


def decode_slot(data: bytes) -> HeadMark | None:
    """Read a slot; None when it was torn, or is not spelled as :func:`encode_slot` spells it."""
    text = data.partition(b" ")[0]
    try:
        mark = HeadMark(**json.loads(text))
        return mark if encode_slot(mark) == data else None
    except (ValueError, TypeError, RecursionError, InvalidValue):
        return None


def read_slots(files: Files) -> list[HeadMark | None] | None:
    """Read both slots; None when there is no HEAD at all."""
    found = files.stat(HEAD_NAME)
    if found is None:
        return None
    if not found.is_regular:
        raise JournalCorrupt("HEAD is not a regular file", sequence=0, file=HEAD_NAME, line=1)
    data = files.read(HEAD_NAME, offset=0, size=_SLOTS * SLOT_BYTES)
    return [decode_slot(data[start : start + SLOT_BYTES]) for start in range(0, len(data), SLOT_BYTES)]


def newest(slots: list[HeadMark | None]) -> HeadMark | None:
    """Give the newest mark that is whole, or None."""
    return max(filter(None, slots), key=lambda mark: mark.sequence, default=None)


class HeadFile:
    """HEAD, open for writing. Whoever has this holds the writer's lock."""

    def __init__(self, files: Files, handle: int, slots: list[HeadMark | None]) -> None:
        self.mark = newest(slots) or EMPTY
        self._files = files
        self._handle: int | None = handle
        self._slot = 1 if slots[0] is not None and slots[0] == self.mark else 0

    @classmethod
    def open(cls, files: Files) -> HeadFile:
        """Open a HEAD with a whole slot, and write that one onto itself. `OSError` kinds.

        It may be in the page cache only, of a sync that failed; the other slot must not be
        overwritten before this one is on the disk.
        """
        slots = read_slots(files) or []
        slots += [None] * (_SLOTS - len(slots))
        opened = cls(files, files.open_update(HEAD_NAME), slots)
        opened._slot = 1 - opened._slot
        try:
            opened.write(opened.mark)
        except BaseException:
            opened.close()
            raise
        return opened

    @classmethod
    def create(cls, files: Files) -> HeadFile:
        """Make HEAD anew, both slots at sequence 0, durable with its directory. `OSError` kinds."""
        handle = files.open_update(HEAD_NAME)
        try:
            write_all_at(files, handle, encode_slot(EMPTY) * _SLOTS, offset=0)
            files.fdatasync(handle)
            files.fsync_dir()
        except BaseException:
            files.close(handle)
            raise
        return cls(files, handle, [EMPTY, EMPTY])

    def write(self, mark: HeadMark) -> None:
        """Write a synced line's mark over the older slot and sync it. `OSError` when that fails."""
        assert self._handle is not None, "HEAD was closed"
        assert mark.sequence >= self.mark.sequence, "HEAD never goes back"
        write_all_at(self._files, self._handle, encode_slot(mark), offset=self._slot * SLOT_BYTES)
        self._files.fdatasync(self._handle)
        self.mark = mark
        self._slot = 1 - self._slot

    def close(self) -> None:
        """Close the file. Closing twice is harmless, and finishes what an interrupt left."""
        if self._handle is not None:
            self._files.close(self._handle)
            self._handle = None
