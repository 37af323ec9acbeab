"""The survey of a journal: what is there, what HEAD promises, and what a crash left behind it.

Nothing is changed here. Looked at in this order: HEAD, day files, the form of the first line, the
line that HEAD names, the tail of the newest file. HEAD comes first, so that beside a writer the
files hold at least what HEAD named when it was read.
"""

from __future__ import annotations

import json
from collections import deque

import attrs

from bibank.errors import (
    BibankError,
    JournalCorrupt,
    JournalTruncated,
    StoreUnavailable,
    UnsupportedFormat,
    excerpt,
)
from bibank.journal.codec import MAX_LINE_BYTES, decode_line
from bibank.model.entry import JournalEntry
from bibank.model.genesis import FORMAT
from bibank.model.lines import Head
from bibank.store.jsonl.days import DayFile, Days, day_names
from bibank.store.jsonl.files import Files
from bibank.store.jsonl.head import EMPTY, HEAD_NAME, HeadMark, newest, read_slots
from bibank.store.jsonl.tail import Torn, content_end, examine_tail, last_line


@attrs.frozen(kw_only=True)
class Survey:
    """What a journal holds. `mark` is None where HEAD has to be made: the journal is empty."""

    days: Days
    head: Head
    mark: HeadMark | None
    torn: Torn | None = None
    empty: tuple[str, ...] = ()
    """Day files behind the newest that holds a line: begun, and nothing in them survives."""


def survey_files(files: Files, *, for_writing: str | None) -> Survey:
    """Survey a journal; `for_writing` names why the newest file must have one name only, or is None.

    Raises `JournalCorrupt` for damage that no crash explains, `JournalTruncated` when the journal
    ends below HEAD, `UnsupportedFormat`, `StoreUnavailable`.
    """
    slots = read_slots(files)
    mark = newest(slots) if slots is not None else None
    names = day_names(files)
    _check_plain(files, names, for_writing=for_writing)
    days = Days(files)
    empty: list[str] = []
    while names and not content_end(files, names[-1]):
        empty.append(names.pop())  # a day that was begun and never written to
    if not names:
        if mark is not None and mark.sequence:
            raise _truncated(mark, "and no day file holds a line")
        return Survey(days=days, head=Head(), mark=mark, empty=tuple(empty))
    for name in names[:-1]:
        days.files.append(DayFile(name=name, size=content_end(files, name)))
    first_name = next((day.name for day in days.files if day.size), names[-1])
    _check_format(files, first_name)
    if mark is None:
        raise JournalCorrupt(
            "HEAD is missing beside a journal that holds lines; it is made before the first of them"
            if slots is None
            else "neither slot of HEAD is whole; a crash tears one at most",
            sequence=1,
            file=HEAD_NAME,
            line=1,
        )
    _check_mark(files, names, mark)
    newest_name = names[-1]
    if mark.file == newest_name:
        before, start = mark.head, mark.end
    else:
        before, start = _head_of_older(files, days), 0
    tail = examine_tail(
        files, newest_name, before=before, start=start, ledger_id=_ledger_id(files, first_name)
    )
    head = tail.head or before
    if head.sequence < mark.sequence:
        raise _truncated(mark, f"and the journal ends at line {head.sequence}")
    if tail.content:
        days.files.append(DayFile(name=newest_name, size=tail.content))
    else:
        empty.append(newest_name)
    return Survey(days=days, head=head, mark=mark, torn=tail.torn, empty=tuple(empty))


def _check_mark(files: Files, names: list[str], mark: HeadMark) -> None:
    """Demand that the line which HEAD names stands where HEAD says."""
    if mark == EMPTY:
        return
    if mark.file not in names:
        raise _truncated(mark, f"and {mark.file} is not there or empty")
    end = content_end(files, mark.file)
    if end < mark.end:
        raise _truncated(mark, f"and {mark.file} ends at byte {end}")
    reason = "does not end there"
    if files.read(mark.file, offset=mark.end - 1, size=1) == b"\n":
        data = last_line(files, mark.file, end=mark.end)
        try:
            line = decode_line(data)
        except BibankError as error:
            reason = str(error)
        else:
            if Head(line.sequence, line.hash) == mark.head:
                return
            reason = f"is not the line there, which is line {line.sequence} with another hash"
    raise JournalCorrupt(
        f"HEAD names line {mark.sequence}, which ends at byte {mark.end} of {mark.file}; it {reason}",
        sequence=mark.sequence,
        file=mark.file,
        line=_line_at(files, mark),
    )


def _line_at(files: Files, mark: HeadMark) -> int:
    """Say which line of its file ends where a mark points."""
    size = 1 << 20
    starts = range(0, mark.end, size)
    before = (
        files.read(mark.file, offset=start, size=min(size, mark.end - start)).count(b"\n") for start in starts
    )
    return max(sum(before), 1)


def _truncated(mark: HeadMark, found: str) -> JournalTruncated:
    return JournalTruncated(
        f"line {mark.sequence} was on the disk, at byte {mark.end} of {mark.file}, {found}; "
        "restore the journal from a copy that reaches it",
        sequence=mark.sequence,
        file=HEAD_NAME,
        line=1,
    )


def _check_format(files: Files, name: str) -> None:
    """Stop at another format's journal before anything in it is judged by the rules of this one."""
    first = files.read(name, offset=0, size=MAX_LINE_BYTES + 1).partition(b"\n")[0]
    try:
        claimed = json.loads(first)["metadata"]["bb.format"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return  # not the first line of any version; replay says what is wrong with it
    if claimed != FORMAT:
        raise UnsupportedFormat(
            f"the journal is in format {excerpt(claimed)}; this version reads {FORMAT!r}",
            sequence=1,
            file=name,
            line=1,
        )


def _check_plain(files: Files, names: list[str], *, for_writing: str | None) -> None:
    """Refuse links and whatever is no file, before anything is read or repaired."""
    for name in names:
        found = files.stat(name)
        if found is None or not found.is_regular:
            raise StoreUnavailable(f"{name} is not a regular file")
        if for_writing is not None and found.links != 1:
            raise StoreUnavailable(f"{name} has {found.links} links; {for_writing}")


def _head_of_older(files: Files, days: Days) -> Head:
    """Read the head that the older files leave; `JournalCorrupt` when their last line is none."""
    for day in reversed(days.files):
        if day.size:
            data = last_line(files, day.name, end=day.size)
            try:
                line = decode_line(data)
            except BibankError as error:
                deque(days.scan(), maxlen=0)  # to count the lines
                raise days.place(JournalCorrupt(str(error), sequence=day.last_sequence)) from error
            return Head(line.sequence, line.hash)
    return Head()


def _ledger_id(files: Files, name: str) -> str | None:
    """Read the ledger's id, unverified, from the first line that there is."""
    first = files.read(name, offset=0, size=MAX_LINE_BYTES + 1).partition(b"\n")[0]
    try:
        line = decode_line(first)
    except BibankError:
        return None
    return str(line.metadata.get("bb.ledger")) if isinstance(line, JournalEntry) else None
