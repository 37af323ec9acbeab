"""The tail of a journal: telling a torn write, which is repaired, from damage, which is refused.

Only the newest file can end in a torn write: a group never straddles two files, and an old file is
synced before the new one is made. What follows the last whole batch there is either nothing, or
one torn group (a last line without newline, NUL bytes where sectors were never written, lines of
an unfinished batch), or damage that no crash explains.
"""

from __future__ import annotations

import attrs

from bibank.errors import BibankError, JournalCorrupt
from bibank.journal.codec import MAX_LINE_BYTES, decode_line
from bibank.journal.reference import line_hash
from bibank.model.entry import JournalEntry
from bibank.model.lines import Head
from bibank.model.record import JournalLine
from bibank.store.jsonl.days import segments
from bibank.store.jsonl.files import Files

_CHUNK_BYTES = 1 << 16
_MOST_CHUNK_BYTES = 1 << 20


@attrs.frozen(kw_only=True)
class Torn:
    """Bytes after the last whole batch that one interrupted write explains."""

    file: str
    line: int
    offset: int
    size: int
    reason: str


@attrs.frozen(kw_only=True)
class Tail:
    """Where the content of the newest file ends, what head that leaves, and what is torn behind it.

    `content` counts bytes up to and with the last newline that counts; NULs may follow.
    """

    content: int
    head: Head | None
    """None when the file holds no whole batch."""
    torn: Torn | None = None


def content_end(files: Files, name: str) -> int:
    """Find where a file's content ends before trailing NULs: unwritten space."""
    found = files.stat(name)
    end = found.size if found is not None else 0
    size = _CHUNK_BYTES
    while end:
        start = max(end - size, 0)
        data = files.read(name, offset=start, size=end - start)
        if data.count(b"\0") != len(data):  # many times faster than stripping them
            return start + len(data.rstrip(b"\0"))
        end, size = start, _MOST_CHUNK_BYTES
    return 0


def last_line(files: Files, name: str, *, end: int) -> bytes:
    """Give the last line before an offset that stands right behind a newline."""
    start = max(end - MAX_LINE_BYTES - 2, 0)
    return files.read(name, offset=start, size=end - start - 1).rpartition(b"\n")[2]


def examine_tail(files: Files, name: str, *, before: Head, start: int, ledger_id: str | None) -> Tail:
    """Look at the newest file from an offset on, where `before` is the head.

    That is 0 and the head that the older files leave, or what HEAD names: there a write group has
    ended. Cheap when the file ends in a whole batch and its last write group has no holes;
    otherwise it is read from the offset. Raises `JournalCorrupt` for what is neither whole nor torn.
    """
    end = content_end(files, name)
    if end <= start:
        return Tail(content=start, head=before if start else None)
    if files.read(name, offset=end - 1, size=1) == b"\n":
        data = last_line(files, name, end=end)
        try:
            line = decode_line(data)
        except BibankError:
            pass
        else:
            whole = line.sequence == line.batch.first + line.batch.size - 1 and not _lacks_cover(line)
            if whole and not _has_hole(files, name, end=end, lines=line.sequence - line.batch.group + 1):
                return Tail(content=end, head=Head(line.sequence, line.hash))
    return _Examination(files, name, before, start, ledger_id).run()


def _lacks_cover(line: JournalLine) -> bool:
    """Tell whether a line would leave its write group without the signature that covers it."""
    return line.batch.cover is not None and not line.signatures


def _has_hole(files: Files, name: str, *, end: int, lines: int) -> bool:
    """Tell whether unwritten bytes stand among the last lines: a line itself never holds a NUL."""
    newlines = lines + 1  # and the one before the first of them
    while newlines > 0 and end:
        start = max(end - _CHUNK_BYTES, 0)
        data = files.read(name, offset=start, size=end - start)
        if b"\0" in data:
            return True
        newlines -= data.count(b"\n")
        end = start
    return False


def _count_lines(files: Files, name: str, *, stop: int) -> int:
    """Count the lines before an offset."""
    starts = range(0, stop, _CHUNK_BYTES)
    return sum(
        files.read(name, offset=start, size=min(_CHUNK_BYTES, stop - start)).count(b"\n") for start in starts
    )


class _Examination:
    """A walk over the newest file, from an offset on, that ends in a verdict on its tail."""

    def __init__(self, files: Files, name: str, before: Head, start: int, ledger_id: str | None) -> None:
        self.files = files
        self.name = name
        self.ledger_id = ledger_id
        self.last: JournalLine | None = None
        self.whole = before
        self.start = start
        self.whole_end = start
        self.whole_lines = _count_lines(files, name, stop=start)
        self.group_start: tuple[Head, int, int] | None = None
        """Head, offset and lines before the newest write group."""
        self.uncovered = False
        """Whether the last whole batch leaves its group without the signature that covers it."""
        self.damage: str | None = None
        self.damaged_line = 0

    def run(self) -> Tail:
        found = self.files.stat(self.name)
        size = found.size if found is not None else 0
        walk = segments(self.files, self.name, start=self.start, stop=size)
        for number, (segment, end) in enumerate(walk, self.whole_lines + 1):
            complete = end <= size
            line = self._decode(segment) if complete else None
            if line is None:
                self._note_damage(segment, number, complete=complete)
            elif self.damage is not None:
                self._check_behind_damage(line, number)
            else:
                self._follow(line, number, end)
        if self.uncovered and self.group_start is not None:
            self.whole, self.whole_end, self.whole_lines = self.group_start
            self.damage = self.damage or "the signature that covers the last write group is missing"
        if self.damage is None:
            if self.whole_end == size:
                return Tail(content=size, head=self.whole)
            self.damage = "the last batch is unfinished"
        torn = Torn(
            file=self.name,
            line=self.whole_lines + 1,
            offset=self.whole_end,
            size=size - self.whole_end,
            reason=self.damage,
        )
        return Tail(content=self.whole_end, head=self.whole if self.whole_end else None, torn=torn)

    def _decode(self, segment: bytes) -> JournalLine | None:
        """Read a line that is valid by its own form and hash."""
        try:
            line = decode_line(segment)
            if line.sequence == 1 and isinstance(line, JournalEntry):
                self.ledger_id = str(line.metadata.get("bb.ledger"))
            # Without a first line there is no id to hash with; replay will refuse that line.
            if self.ledger_id is None or line_hash(line, ledger_id=self.ledger_id) == line.hash:
                return line
        except BibankError:
            pass
        return None

    def _note_damage(self, segment: bytes, number: int, *, complete: bool) -> None:
        if complete and b"\0" not in segment[: MAX_LINE_BYTES + 1]:
            reason = "the line's hash is not that of its content"
            try:
                decode_line(segment)
            except BibankError as error:
                reason = str(error)
            raise self._corrupt(reason, number)
        if self.damage is None:
            self.damage = "a line with unwritten bytes" if complete else "the last line has no newline"
            self.damaged_line = number

    def _check_behind_damage(self, line: JournalLine, number: int) -> None:
        if line.batch.group > self.whole.sequence + 1:
            raise self._corrupt(
                f"{self.damage}, and behind it, in line {number}, a valid line of a later write group",
                self.damaged_line,
            )

    def _follow(self, line: JournalLine, number: int, end: int) -> None:
        last = self.last
        expected = (last.sequence if last is not None else self.whole.sequence) + 1
        if line.sequence != expected:
            raise self._corrupt(f"sequence {line.sequence}, expected {expected}", number)
        if line.batch.group == line.sequence:
            if self.uncovered:
                raise self._corrupt("a write group follows one that lacks the signature covering it", number)
            self.group_start = (self.whole, self.whole_end, self.whole_lines)
        self.last = line
        if line.sequence == line.batch.first + line.batch.size - 1:
            self.whole = Head(line.sequence, line.hash)
            self.whole_end = end
            self.whole_lines = number
            self.uncovered = _lacks_cover(line)

    def _corrupt(self, reason: str, number: int) -> JournalCorrupt:
        last = self.whole.sequence - self.whole_lines
        return JournalCorrupt(reason, sequence=last + number, file=self.name, line=number)
