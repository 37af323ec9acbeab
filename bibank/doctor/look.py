"""One look at a journal: its lock, HEAD, the survey, the first line and the last whole one.

No file is made, none is changed, and no lock is kept. Beside a writer a look may meet a write half
done; then it is taken again.
"""

from __future__ import annotations

import errno
import json
import os
from bisect import bisect_right
from contextlib import suppress
from pathlib import Path

import attrs

from bibank.errors import BibankError, HomeNotFound, JournalError, StoreUnavailable
from bibank.home import Home
from bibank.journal.codec import MAX_LINE_BYTES, decode_line
from bibank.model.entry import JournalEntry
from bibank.model.record import JournalLine, JournalRecord, RecordKind
from bibank.store.jsonl.days import DayFile, day_names, segments
from bibank.store.jsonl.files import Files, OsFiles
from bibank.store.jsonl.follow import look_again
from bibank.store.jsonl.head import HeadMark, read_slots
from bibank.store.jsonl.plan import LOCK_NAME
from bibank.store.jsonl.survey import Survey, survey_files
from bibank.store.jsonl.tail import last_line

_MAX_HOLDER_BYTES = 512
_NEAR_BYTES = 4 * (MAX_LINE_BYTES + 1)
"""A stretch of a file that is read instead of searched: more than any line."""

_TAIL_BYTES = 1 << 20
"""How far from its end the newest file is searched for a recovery record."""


@attrs.frozen(kw_only=True)
class Holder:
    """Who holds the writer's lock, as far as he said."""

    pid: int | None
    host: str | None


@attrs.frozen(kw_only=True)
class Look:
    """What one look saw. `survey` is None where it stopped at `trouble`."""

    home: Home
    files: Files
    names: list[str]
    holder: Holder | None
    slots: list[HeadMark | None] | None
    """The slots of HEAD, which were read before everything else; None when there is no HEAD."""
    survey: Survey | None
    trouble: BibankError | None
    first: JournalEntry | None
    last: JournalLine | None

    @property
    def ledger_id(self) -> str | None:
        """What the first line says."""
        found = self.first.metadata.get("bb.ledger") if self.first is not None else None
        return found if isinstance(found, str) else None


def take_look(home: Home) -> Look:
    """Look at the journal of a home. `HomeNotFound` when there is none, `StoreUnavailable`."""
    home.check_there()
    files = OsFiles(home.journal)
    holder = find_holder(home.journal)
    slots, survey, trouble = _survey(files)
    if survey is not None and survey.torn is not None and holder is None:
        slots, survey, trouble = _survey(files)  # a writer may have come meanwhile
        holder = find_holder(home.journal)
    if survey is not None and not survey.head.sequence:
        raise HomeNotFound(f"{home.path} holds an unfinished creation only; create the ledger again")
    names = day_names(files)
    return Look(
        home=home,
        files=files,
        names=names,
        holder=holder,
        slots=slots,
        survey=survey,
        trouble=trouble,
        first=_first_line(files, names),
        last=_last_line(files, survey) if survey is not None else None,
    )


def _survey(files: Files) -> tuple[list[HeadMark | None] | None, Survey | None, BibankError | None]:
    slots = None
    try:
        slots = read_slots(files)
        return slots, look_again(lambda: survey_files(files, for_writing=None)), None
    except (JournalError, StoreUnavailable) as error:
        return slots, None, error


def find_holder(journal: Path) -> Holder | None:
    """Tell who holds the writer's lock; None when nobody does, whatever the lock file says.

    The lock on the directory, which every writer holds, is asked for as a shared one, and given
    back at once when it is free: a writer that asks in that very moment may have to ask again.
    """
    import fcntl

    try:
        handle = os.open(journal, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(handle, fcntl.LOCK_UN)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES) and error.filename is None:
            return _named_holder(journal / LOCK_NAME)
        raise StoreUnavailable(f"cannot look at the lock of {journal}: {error.strerror}") from error
    return None


def _named_holder(path: Path) -> Holder:
    """Read what the holder wrote into the lock file."""
    pid = host = None
    with suppress(OSError, ValueError, RecursionError):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            said = json.loads(os.pread(handle, _MAX_HOLDER_BYTES, 0))
        finally:
            os.close(handle)
        if isinstance(said, dict):
            pid, host = said.get("pid"), said.get("host")
    return Holder(pid=pid if isinstance(pid, int) else None, host=host if isinstance(host, str) else None)


def _first_line(files: Files, names: list[str]) -> JournalEntry | None:
    """Read the first line that there is, unless it is damaged."""
    with suppress(BibankError):
        for name in names:
            data = files.read(name, offset=0, size=MAX_LINE_BYTES + 1)
            if data.rstrip(b"\0"):
                line = decode_line(data.partition(b"\n")[0])
                return line if isinstance(line, JournalEntry) else None
    return None


def _last_line(files: Files, survey: Survey) -> JournalLine | None:
    """Read the last whole line that the survey found."""
    with suppress(BibankError):
        for day in reversed(survey.days.files):
            if day.size:
                return decode_line(last_line(files, day.name, end=day.size))
    return None


def find_line(files: Files, days: list[DayFile], sequence: int) -> JournalLine | None:
    """Find a line by its sequence, reading a little; None when it is not there, or damage is in the way."""
    with suppress(BibankError):
        filled = [day for day in days if day.size]
        at = bisect_right(filled, sequence, key=lambda day: _sequence_at(files, day, 0)) - 1
        return _in_file(files, filled[at], sequence) if at >= 0 else None
    return None


def _in_file(files: Files, day: DayFile, sequence: int) -> JournalLine | None:
    """Find a line in its file, by halves: it begins between `low` and `high`, where lines begin."""
    low, high = 0, day.size
    while high - low > _NEAR_BYTES:
        middle = (low + high) // 2
        start = middle + files.read(day.name, offset=middle, size=MAX_LINE_BYTES + 1).find(b"\n") + 1
        if start == middle:
            return None  # longer than any line
        if _sequence_at(files, day, start) <= sequence:
            low = start
        else:
            high = start
    for data, _ in segments(files, day.name, start=low, stop=high):
        line = decode_line(data)
        if line.sequence == sequence:
            return line
    return None


def _sequence_at(files: Files, day: DayFile, offset: int) -> int:
    data = files.read(day.name, offset=offset, size=min(MAX_LINE_BYTES + 1, day.size - offset))
    return decode_line(data.partition(b"\n")[0]).sequence


def last_recovery(look: Look, candidates: list[int]) -> JournalRecord | None:
    """Find the newest recovery record: in the tail, or where torn files say that one should be."""
    assert look.survey is not None
    days = look.survey.days.files
    for line in _tail_lines(look.files, days):
        if b'"record":"recovery"' in line:
            with suppress(BibankError):
                if found := _recovery(decode_line(line)):
                    return found
    return next(
        (
            found
            for sequence in sorted(candidates, reverse=True)
            if (found := _recovery(find_line(look.files, days, sequence))) is not None
        ),
        None,
    )


def _recovery(line: JournalLine | None) -> JournalRecord | None:
    return line if isinstance(line, JournalRecord) and line.kind is RecordKind.RECOVERY else None


def _tail_lines(files: Files, days: list[DayFile]) -> list[bytes]:
    """Give the last lines of the newest file that holds one, newest first."""
    day = next((day for day in reversed(days) if day.size), None)
    if day is None:
        return []
    start = max(day.size - _TAIL_BYTES, 0)
    with suppress(BibankError):
        return files.read(day.name, offset=start, size=day.size - start).split(b"\n")[::-1]
    return []
