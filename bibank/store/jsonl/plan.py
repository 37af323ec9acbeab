"""Opening a journal: survey first, repair only after the surviving lines were accepted.

An `OpenPlan` changes nothing. Its reader replays `read()` through the machine; only then does
`repair()` set torn bytes aside and give a store that can be written. `abandon()` walks away.

Directories and files are looked at in this order: lock, day files, tail of the newest one.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from bibank.errors import (
    BibankError,
    JournalCorrupt,
    JournalError,
    JournalTorn,
    StoreUnavailable,
    UnsupportedFormat,
    excerpt,
)
from bibank.journal.codec import MAX_LINE_BYTES, decode_line
from bibank.model.entry import JournalEntry
from bibank.model.genesis import FORMAT
from bibank.model.lines import Head
from bibank.store.jsonl.days import DayFile, Days, day_names
from bibank.store.jsonl.files import Files, OsFiles
from bibank.store.jsonl.tail import Torn, content_end, examine_tail, last_line
from bibank.store.jsonl.writer import JsonlStore, write_all

LOCK_NAME = ".lock"
_COPY_BYTES = 1 << 20

logger = logging.getLogger("bibank")

Durability = Literal["sync", "none"]


class OpenPlan:
    """What a journal holds, and what opening it for writing would set aside."""

    def __init__(
        self,
        files: Files,
        days: Days,
        head: Head,
        torn: Torn | None,
        lock: int | None,
        *,
        empty: Iterable[str] = (),
    ) -> None:
        self.head = head
        self.torn = torn
        self._files = files
        self._days = days
        self._lock = lock
        self._empty = tuple(empty)
        """Day files behind the newest that holds a line: begun, never written to."""

    def read(self) -> Iterator[bytes]:
        """Give every surviving line from the first on."""
        return self._days.scan()

    def place(self, error: JournalError) -> JournalError:
        """Give the same error with file and line."""
        return self._days.place(error)

    def raise_if_torn(self) -> None:
        """Raise `JournalTorn` when the journal ends in an incomplete write."""
        torn = self.torn
        if torn is not None:
            raise JournalTorn(
                f"{torn.reason}: {torn.size} bytes follow the last whole batch; "
                "opening the ledger for writing sets them aside",
                sequence=self.head.sequence + 1,
                file=torn.file,
                line=torn.line,
            )

    def repair(self, *, durability: Durability = "sync") -> JsonlStore:
        """Set torn bytes aside and give the store. Needs a plan that holds the lock.

        The torn bytes are copied to `<day>.jsonl.torn-<sequence>`, synced, and only then cut off;
        running it again after a crash gives the same result. A repair that fails abandons the plan.
        """
        assert self._lock is not None, "a survey cannot repair"
        try:
            self._repair()
        except BaseException:
            self.abandon()
            raise
        return JsonlStore(self._files, self._days, self.head, self._lock, durability=durability)

    def _repair(self) -> None:
        if not self._days.indexed:  # the caller replays from the store instead
            deque(self.read(), maxlen=0)
        if self.torn is not None:
            self._set_aside(self.torn)
        ends = {day.name: day.size for day in self._days.files[-1:]} | dict.fromkeys(self._empty, 0)
        for name, size in ends.items():
            found = self._files.stat(name)
            if found is not None and found.size > size:
                self._files.truncate(name, size=size)

    def abandon(self) -> None:
        """Let go of the lock and the directory, and change nothing."""
        lock, self._lock = self._lock, None
        try:
            if lock is not None:
                self._files.close(lock)
        finally:
            self._files.release()

    def _set_aside(self, torn: Torn) -> None:
        name = self._free_name(f"{torn.file}.torn-{self.head.sequence + 1}")
        handle = self._files.open_append(name)
        try:
            done = 0
            while done < torn.size:
                size = min(_COPY_BYTES, torn.size - done)
                part = self._files.read(torn.file, offset=torn.offset + done, size=size)
                if len(part) != size:
                    raise StoreUnavailable(f"{torn.file} shrank while its torn bytes were copied")
                write_all(self._files, handle, part)
                done += size
            self._files.fdatasync(handle)
            self._files.fsync_dir()
        except OSError as error:
            raise StoreUnavailable(
                f"cannot set the torn bytes of {torn.file} aside: {error.strerror}"
            ) from error
        finally:
            self._files.close(handle)
        logger.warning(
            "%s:%d: %s; %d bytes set aside in %s", torn.file, torn.line, torn.reason, torn.size, name
        )

    def _free_name(self, name: str) -> str:
        taken = set(self._files.listdir())
        numbered = name
        number = 1
        while numbered in taken:
            number += 1
            numbered = f"{name}-{number}"
        return numbered


def plan_journal(directory: Path | Files) -> OpenPlan:
    """Take the writer's lock and survey a journal for opening.

    Raises `LedgerBusy`, `JournalCorrupt` for damage that no crash explains, `StoreUnavailable`.
    """
    files = OsFiles(directory) if isinstance(directory, Path) else directory
    lock = files.lock(LOCK_NAME)
    try:
        return _survey(files, lock)
    except BaseException:
        files.close(lock)
        files.release()
        raise


def survey_journal(directory: Path | Files) -> OpenPlan:
    """Survey a journal for reading only: no lock, nothing made, nothing repaired."""
    return _survey(OsFiles(directory) if isinstance(directory, Path) else directory, None)


def _survey(files: Files, lock: int | None) -> OpenPlan:
    days = Days(files)
    names = day_names(files)
    if not names:
        return OpenPlan(files, days, Head(), None, lock)
    _check_plain(files, names, for_writing=lock is not None)
    empty: list[str] = []
    while len(names) > 1 and not content_end(files, names[-1]):
        empty.append(names.pop())  # a day that was begun and never written to
    for name in names[:-1]:
        days.files.append(DayFile(name=name, size=content_end(files, name)))
    first_name = next((day.name for day in days.files if day.size), names[-1])
    _check_format(files, first_name)
    before = _head_of_older(files, days)
    tail = examine_tail(files, names[-1], before=before, ledger_id=_ledger_id(files, first_name))
    head = tail.head or before
    if tail.torn is not None and empty:
        raise JournalCorrupt(
            f"{tail.torn.reason}, and {empty[-1]} was begun after it",
            sequence=head.sequence + 1,
            file=tail.torn.file,
            line=tail.torn.line,
        )
    days.files.append(DayFile(name=names[-1], size=tail.content))
    return OpenPlan(files, days, head, tail.torn, lock, empty=empty)


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


def _check_plain(files: Files, names: list[str], *, for_writing: bool) -> None:
    """Refuse links and whatever is no file, before anything is read or repaired."""
    for name in names:
        found = files.stat(name)
        if found is None or not found.is_regular:
            raise StoreUnavailable(f"{name} is not a regular file")
        if for_writing and name == names[-1] and found.links != 1:
            raise StoreUnavailable(f"{name} has {found.links} links; what is written must have one name")


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
