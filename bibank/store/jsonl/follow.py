"""Following a journal that somebody else writes: no lock, no repair, from a spot to the next.

A reader stands right behind a line, at a `Spot`. A `Walk` gives the lines behind it and stops where
the writer has not got further: at the end, at a line without its newline, at unwritten bytes. None
of that is an error in the newest file. Whether the lines follow, and which may be shown, is decided
by who walks.

HEAD is read before the files, so the files hold at least what it names. The names of the day files
are listed before any is read: when a later file holds something, the ones before it are complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import attrs

from bibank.errors import JournalCorrupt, JournalError, JournalTruncated
from bibank.model.lines import Head
from bibank.store.jsonl.days import DayFile, Days, day_names, segments
from bibank.store.jsonl.files import Files
from bibank.store.jsonl.head import EMPTY, HEAD_NAME, HeadMark, newest, read_slots
from bibank.store.jsonl.tail import content_end, last_line

T = TypeVar("T")

_MOST_LOOKS = 8
"""Looks at a journal before what is found is believed, when each look finds something else."""

_UNWRITTEN = (b"", b"\0")
"""What stands behind the last line: nothing, or space that the writer filled ahead."""


@attrs.frozen(kw_only=True)
class Spot:
    """A place right behind a line: its file, the offset there, the lines up to there, the line's bytes.

    The default is the place before all lines.
    """

    file: str = ""
    offset: int = 0
    lines: int = 0
    line: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen(kw_only=True)
class Stop:
    """Bytes that a walk could not take for a line. `last` says whether this was the newest file."""

    reason: str
    file: str
    line: int
    last: bool
    torn: bool
    """Whether the end of a line is missing, and not something before it."""


def look_again(look: Callable[[], T]) -> T:
    """Look at a journal until it holds, or until the same fault is found twice.

    Beside a writer a look can meet a write half done and take it for damage; the next one does not.
    """
    found = ""
    for _ in range(_MOST_LOOKS - 1):
        try:
            return look()
        except JournalError as error:
            if str(error) == found:
                raise
            found = str(error)
    return look()


def read_mark(files: Files, before: HeadMark) -> HeadMark:
    """Read HEAD; the mark from before when both slots are unreadable twice.

    One slot may be torn by a write under way. `JournalCorrupt` when there is no HEAD at all.
    """
    for _ in range(2):
        slots = read_slots(files)
        if slots is None:
            raise JournalCorrupt("HEAD was taken away", sequence=1, file=HEAD_NAME, line=1)
        mark = newest(slots)
        if mark is not None:
            return mark
    return before


def days_up_to(files: Files, mark: HeadMark) -> Days:
    """Give the day files as far as HEAD vouches for them, not indexed yet."""
    days = Days(files)
    names = [name for name in day_names(files) if name < mark.file]
    days.files += [DayFile(name=name, size=content_end(files, name)) for name in names]
    if mark != EMPTY:
        days.files.append(DayFile(name=mark.file, size=mark.end))
    return days


def spot_of(files: Files, days: Days, mark: HeadMark) -> Spot:
    """Give the place that HEAD names, after the day files were indexed up to there."""
    if mark == EMPTY:
        return Spot()
    return Spot(
        file=mark.file,
        offset=mark.end,
        lines=days.files[-1].lines,
        line=last_line(files, mark.file, end=mark.end),
    )


def note_line(days: Days, spot: Spot, *, sequence: int) -> None:
    """Index one more line, the one before a spot."""
    if not days.files or days.files[-1].name != spot.file:
        days.files.append(DayFile(name=spot.file, size=0, first_sequence=sequence))
    day = days.files[-1]
    day.note(spot.offset - len(spot.line) - 1)
    day.size = spot.offset


def check_spot(files: Files, spot: Spot, *, sequence: int) -> None:
    """Demand that the line before a spot still stands there.

    `JournalTruncated` when it is gone, `JournalCorrupt` when another is in its place: another ledger
    moved into the directory, or an older copy of this one, or a write that failed was taken back.
    """
    if not spot.file:
        return
    start = spot.offset - len(spot.line) - 1
    data = b""
    if files.stat(spot.file) is not None:
        data = files.read(spot.file, offset=start, size=len(spot.line) + 1)
    if data == spot.line + b"\n":
        return
    kind = JournalCorrupt if data.rstrip(b"\0") and len(data) > len(spot.line) else JournalTruncated
    raise kind(
        f"the line that was read here, up to byte {spot.offset}, is not here any more; "
        "the journal was cut, or replaced: open a reader again",
        sequence=sequence,
        file=spot.file,
        line=spot.lines,
    )


def check_mark(mark: HeadMark, spot: Spot, head: Head) -> None:
    """Demand of a line with the sequence that HEAD names that it is the line that HEAD names."""
    if (mark.head, mark.file, mark.end) != (head, spot.file, spot.offset):
        raise JournalCorrupt(
            f"HEAD names line {mark.sequence}, which ends at byte {mark.end} of {mark.file}; "
            f"that line ends at byte {spot.offset} here, or has another hash",
            sequence=mark.sequence,
            file=spot.file,
            line=spot.lines,
        )


def below_head(mark: HeadMark, spot: Spot, stop: Stop | None, *, sequence: int) -> JournalError:
    """Say that the lines end below HEAD, in an error for the first one that is not there."""
    known = f"line {mark.sequence} was on the disk, at byte {mark.end} of {mark.file}"
    if stop is not None and not stop.torn:
        return JournalCorrupt(f"{stop.reason}; {known}", sequence=sequence, file=stop.file, line=stop.line)
    return JournalTruncated(
        f"{known}, and the lines end before line {sequence}; restore the journal from a copy that reaches it",
        sequence=sequence,
        file=spot.file or HEAD_NAME,
        line=spot.lines + 1,
    )


def is_unchanged(files: Files, spot: Spot) -> bool:
    """Tell, without reading much, whether a spot is still the end of a journal."""
    if not spot.file or _names_from(files, spot) != [spot.file]:
        return False
    size = len(spot.line) + 1
    data = files.read(spot.file, offset=spot.offset - size, size=size + 1)
    return data[:size] == spot.line + b"\n" and data[size:] in _UNWRITTEN


def _names_from(files: Files, spot: Spot) -> list[str]:
    """Name the day files from a spot's on, without new ones at the end that hold nothing yet."""
    names = [name for name in day_names(files) if name >= spot.file]
    while names and names[-1] != spot.file and not content_end(files, names[-1]):
        names.pop()
    return names


class Walk:
    """The lines behind a spot, each with the spot behind it, as far as the writer has got.

    `stop` says, afterwards, what ended the walk before the end of the content.
    """

    def __init__(self, files: Files, spot: Spot) -> None:
        self.spot = spot
        self.stop: Stop | None = None
        self._files = files

    def __iter__(self) -> Iterator[tuple[bytes, Spot]]:
        names = _names_from(self._files, self.spot)
        for name in names:
            yield from self._file(name, last=name == names[-1])
            if self.stop is not None:
                return

    def _file(self, name: str, *, last: bool) -> Iterator[tuple[bytes, Spot]]:
        here = self.spot if self.spot.file == name else Spot(file=name)
        if last and self._files.read(name, offset=here.offset, size=1) in _UNWRITTEN:
            return
        end = content_end(self._files, name)
        for line, offset in segments(self._files, name, start=here.offset, stop=end):
            torn = offset > end
            if torn or b"\0" in line:
                reason = "the line has no newline" if torn else "a line with unwritten bytes"
                self.stop = Stop(reason=reason, file=name, line=here.lines + 1, last=last, torn=torn)
                return
            here = self.spot = Spot(file=name, offset=offset, lines=here.lines + 1, line=line)
            yield line, here
