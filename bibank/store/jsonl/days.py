"""Day files: finding lines in them, forwards from a sequence, without loading them.

A sparse index keeps one offset for every 64 lines, so that a line in a journal of millions is
found by one seek, and the index costs a few bytes for a hundred lines. What a snapshot stands for is not
scanned, and has no offsets: lines there are found by binary search.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice

import attrs

from bibank.errors import InvalidValue, JournalCorrupt, JournalError
from bibank.journal.codec import MAX_LINE_BYTES
from bibank.store.jsonl.files import Files
from bibank.store.jsonl.seek import first_number, seek

DAY_NAME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.jsonl", re.ASCII)
_FIRST_CHUNK_BYTES = 1 << 15
"""Enough for the one line that is often all that is wanted; each further chunk is twice as large."""
_CHUNK_BYTES = 1 << 20
_STRIDE = 64
"""Lines between two offsets of the index."""


@attrs.frozen(kw_only=True)
class DayPlace:
    """Which lines a file of the journal holds, and where the last of them ends."""

    name: str
    size: int
    first_sequence: int
    lines: int


@attrs.define
class DayFile:
    """One file of the journal: which lines it holds and where its content ends."""

    name: str
    size: int
    """Bytes of content: up to and with the last newline that counts."""
    first_sequence: int = 0
    lines: int = 0
    offsets: array[int] = attrs.field(factory=lambda: array("Q"), repr=False)
    passed: int = 0
    """Lines at its beginning that were not scanned: their offsets are not known."""
    passed_bytes: int = 0

    @property
    def last_sequence(self) -> int:
        """The sequence of the last line, or of the last line before, when there is none."""
        return self.first_sequence + self.lines - 1

    def note(self, offset: int) -> None:
        """Index the next line, which begins at an offset."""
        if self.lines % _STRIDE == 0:
            self.offsets.append(offset)
        self.lines += 1

    def note_all(self, lines: Sequence[bytes], *, offset: int) -> None:
        """Index lines that stand one behind the other from an offset on."""
        noted = 0
        for index in range(-self.lines % _STRIDE, len(lines), _STRIDE):
            offset += sum(map(len, lines[noted:index])) + index - noted  # and a newline each
            self.offsets.append(offset)
            noted = index
        self.lines += len(lines)


def day_names(files: Files) -> list[str]:
    """Name the day files, oldest first."""
    return sorted(name for name in files.listdir() if DAY_NAME.fullmatch(name))


def segments(files: Files, name: str, *, start: int, stop: int) -> Iterator[tuple[bytes, int]]:
    """Give what stands between newlines, each with the offset behind its newline.

    The last one may lack its newline: then that offset is beyond `stop`. A segment longer than a
    line may be is given cut, still too long to be one, so that whoever decodes it refuses it;
    memory stays bounded whatever the file holds.
    """
    rest = b""
    cut = 0
    offset = end = start
    size = _FIRST_CHUNK_BYTES
    while offset < stop:
        chunk = files.read(name, offset=offset, size=min(size, stop - offset))
        if not chunk:
            break
        size = min(2 * size, _CHUNK_BYTES)
        offset += len(chunk)
        *whole, rest = (rest + chunk).split(b"\n")
        for segment in whole:
            end += cut + len(segment) + 1
            cut = 0
            yield segment, end
        if len(rest) > MAX_LINE_BYTES:
            cut += len(rest) - MAX_LINE_BYTES - 1
            rest = rest[: MAX_LINE_BYTES + 1]
    if rest:
        yield rest, stop + 1


class Days:
    """The day files of one journal, in order, with their index."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.files: list[DayFile] = []
        self.indexed = False
        """Whether a scan has reached the end: before it, nothing can be found by sequence."""

    def scan(self) -> Iterator[bytes]:
        """Give every line from the first on, but for those that were passed, indexing on the way."""
        sequence = 0
        for day in self.files:
            day.first_sequence = sequence + 1
            day.lines = day.passed
            day.offsets = array("Q", bytes(8 * -(-day.passed // _STRIDE)))  # in the place of unknown ones
            offset = day.passed_bytes
            dated = b'"timestamp":"%b' % day.name[:10].encode()
            for line, end in segments(self._files, day.name, start=offset, stop=day.size):
                day.note(offset)
                wrong = None
                if end > day.size:
                    wrong = "the last line has no newline, and this is not the newest file"
                elif dated not in line:
                    wrong = "the line is not of the date that the file is named for"
                if wrong is not None:
                    raise JournalCorrupt(wrong, sequence=day.last_sequence, file=day.name, line=day.lines)
                offset = end
                yield line
            sequence += day.lines
        self.indexed = True

    def places(self) -> tuple[DayPlace, ...]:
        """Tell which lines each file holds, of those that hold any."""
        return tuple(
            DayPlace(name=day.name, size=day.size, first_sequence=day.first_sequence, lines=day.lines)
            for day in self.files
            if day.lines
        )

    def check_places(self, places: Sequence[DayPlace]) -> None:
        """Demand that the journal begins with these files; `InvalidValue` says where it does not.

        Names and sizes are compared, and no content is read.
        """
        days = [day for day in self.files if day.size]
        sequence = 0
        for number, place in enumerate(places, 1):
            day = days[number - 1] if number <= len(days) else None
            if day is None or day.name != place.name or place.size > day.size:
                raise InvalidValue(f"{place.name} is not in the journal, or shorter than {place.size} bytes")
            if number < len(places) and place.size < day.size:
                raise InvalidValue(
                    f"{place.name} is longer than {place.size} bytes, and was not the newest file"
                )
            if place.first_sequence != sequence + 1 or place.lines < 1:
                raise InvalidValue(f"{place.name} does not follow on line {sequence}")
            sequence += place.lines

    def pass_over(self, places: Sequence[DayPlace]) -> None:
        """Let the next scan begin behind these lines, which were checked to be here."""
        days = [day for day in self.files if day.size]
        for place, day in zip(places, days, strict=False):
            day.passed, day.passed_bytes = place.lines, place.size

    def begin_again(self) -> None:
        """Let the next scan begin at the first line."""
        for day in self.files:
            day.passed = day.passed_bytes = 0

    def find(self, sequence: int) -> bytes | None:
        """Find a line without an index; None where the files do not look like lines in order.

        Nothing is verified, neither its hash nor that it has the sequence.
        """
        days = [day for day in self.files if day.size]
        at = bisect_right(days, sequence, key=lambda day: first_number(self._files, day.name) or 0)
        if not at:
            return None
        day = days[at - 1]
        found = seek(self._files, day.name, sequence=sequence, stop=day.size)
        if found is None:
            return None
        lines = segments(self._files, day.name, start=found[0], stop=day.size)
        return next(islice(lines, found[1], None), (None, 0))[0]

    def read(self, *, after_sequence: int) -> Iterator[bytes]:
        """Give the lines after a sequence that are indexed now, at the time of the call."""
        spans: list[tuple[DayFile, int, int, int]] = []
        at = max(bisect_right([day.first_sequence for day in self.files], after_sequence + 1) - 1, 0)
        for day in self.files[at:]:
            skip = max(after_sequence + 1 - day.first_sequence, 0)
            if skip < day.lines:
                spans.append((day, *self._start(day, skip), day.size))
        return self._read(spans)

    def _start(self, day: DayFile, skip: int) -> tuple[int, int]:
        """Say where to begin reading to skip so many lines of a file, and how many to skip there."""
        block = skip // _STRIDE
        if not skip or block * _STRIDE >= day.passed:
            return (day.offsets[block], skip % _STRIDE) if skip else (0, 0)
        if skip >= day.passed:
            return day.passed_bytes, skip - day.passed
        found = seek(self._files, day.name, sequence=day.first_sequence + skip, stop=day.passed_bytes)
        return found or (0, skip)

    def _read(self, spans: list[tuple[DayFile, int, int, int]]) -> Iterator[bytes]:
        for day, start, skip, stop in spans:
            for line, _ in islice(segments(self._files, day.name, start=start, stop=stop), skip, None):
                yield line

    def locate(self, sequence: int) -> tuple[str, int]:
        """Say in which file, and which line of it, a sequence stands or would stand."""
        for day in reversed(self.files):
            if day.first_sequence and sequence >= day.first_sequence:
                return day.name, sequence - day.first_sequence + 1
        return (self.files[0].name if self.files else "", sequence)

    def place(self, error: JournalError) -> JournalError:
        """Give the same error with file and line."""
        if error.file is not None or not self.files:
            return error
        file, line = self.locate(error.sequence)
        return type(error)(error.reason, sequence=error.sequence, file=file, line=line)
