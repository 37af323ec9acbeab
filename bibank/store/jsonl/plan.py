"""Opening a journal: survey first, repair only after the surviving lines were accepted.

An `OpenPlan` changes nothing. Its reader replays `read()` through the machine; only then does
`repair()` set torn bytes aside and give a store that can be written. `abandon()` walks away.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from bibank.errors import ConfigurationError, JournalError, JournalTorn, LedgerBusy, StoreUnavailable, excerpt
from bibank.store.jsonl.days import Days
from bibank.store.jsonl.files import Files, OsFiles
from bibank.store.jsonl.follow import look_again
from bibank.store.jsonl.head import EMPTY, HeadFile, HeadMark
from bibank.store.jsonl.repair import SetAside, owed, rewrite, set_aside
from bibank.store.jsonl.survey import Survey, survey_files
from bibank.store.jsonl.tail import last_line
from bibank.store.jsonl.writer import PREALLOCATE_BYTES, JsonlStore, check_preallocate

LOCK_NAME = ".lock"
_LOCK_POLL_SECONDS = 0.02
MAX_LOCK_TIMEOUT_SECONDS = 86_400.0
"""A day: whoever waits longer for a lock waits for nothing."""

Durability = Literal["sync", "none"]


class OpenPlan:
    """What a journal holds, and what opening it for writing would set aside."""

    def __init__(self, files: Files, survey: Survey, lock: int | None) -> None:
        self.head = survey.head
        self.torn = survey.torn
        self._survey = survey
        self._files = files
        self._lock = lock
        self._certain = False
        """Whether what stands behind HEAD was written again and synced."""

    @property
    def mark(self) -> HeadMark:
        """What HEAD names; the mark of an empty journal where there is none yet."""
        return self._survey.mark or EMPTY

    def read(self) -> Iterator[bytes]:
        """Give every surviving line from the first on, or from behind those that were passed over."""
        return self._survey.days.scan()

    @property
    def days(self) -> Days:
        """The day files, as far as their content survives."""
        return self._survey.days

    def ends(self, file: str, *, end: int) -> bytes | None:
        """Give the line that ends at an offset of a day file; None when none does."""
        day = next((day for day in self.days.files if day.name == file), None)
        if day is None or not 0 < end <= day.size or self._files.read(file, offset=end - 1, size=1) != b"\n":
            return None
        return last_line(self._files, file, end=end)

    def place(self, error: JournalError) -> JournalError:
        """Give the same error with file and line."""
        return self._survey.days.place(error)

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

    def repair(
        self,
        *,
        durability: Durability = "sync",
        preallocate_bytes: int = PREALLOCATE_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> JsonlStore:
        """Set torn bytes aside and give the store. Needs a plan that holds the lock.

        The torn bytes are copied to `<day>.jsonl.torn-<sequence>`, synced, and only then cut off;
        what stands behind HEAD is written onto itself and synced; running it again after a crash
        gives the same result. A repair that fails abandons the plan. Raises `StoreUnavailable`.

        `preallocate_bytes` is how far a day file is filled with NULs ahead of small groups (0 for
        never), `monotonic` tells seconds, to know how old HEAD is.
        """
        assert self._lock is not None, "a survey cannot repair"
        head_file = None
        try:
            check_preallocate(preallocate_bytes)
            head_file = self._open_head(durability)
            repaired = self._set_aside()
            self._advance(head_file)
            owing = owed(self._files, sequence=self.head.sequence + 1) if self.head.sequence else ()
            known = {found.file: found for found in (*owing, *repaired)}
        except BaseException as error:
            if head_file is not None:
                head_file.close()
            self.abandon()
            if isinstance(error, OSError):
                raise StoreUnavailable(f"cannot repair the journal: {error.strerror}") from error
            raise
        return JsonlStore(
            self._files,
            self._survey.days,
            self.head,
            self._lock,
            head_file,
            durability=durability,
            preallocate_bytes=preallocate_bytes,
            monotonic=monotonic,
            set_aside=tuple(known[name] for name in sorted(known)) if self.head.sequence else (),
        )

    def _open_head(self, durability: Durability) -> HeadFile:
        """Open HEAD, or make it, and have on the disk for certain what survives behind it."""
        days = self._survey.days
        if not days.indexed:  # the caller replays from the store instead
            deque(self.read(), maxlen=0)
        if not self.head.sequence:  # also where there is one: it may be in the page cache only
            return HeadFile.create(self._files)
        if self.head != self.mark.head and durability == "sync":
            rewrite(self._files, days.files, self.mark)
            self._certain = True
        return HeadFile.open(self._files)

    def _set_aside(self) -> list[SetAside]:
        """Set torn bytes aside, and cut what is not content."""
        days = self._survey.days
        repaired = []
        if self.torn is not None:
            repaired.append(set_aside(self._files, self.torn, sequence=self.head.sequence + 1))
        ends = {day.name: day.size for day in days.files[-1:]} | dict.fromkeys(self._survey.empty, 0)
        for name, size in ends.items():
            found = self._files.stat(name)
            if found is not None and found.size > size:
                self._files.truncate(name, size=size)
        return repaired

    def _advance(self, head_file: HeadFile) -> None:
        """Let HEAD name the last line, where that was made certain."""
        if self._certain:
            last = next(day for day in reversed(self._survey.days.files) if day.size)
            mark = HeadMark(sequence=self.head.sequence, hash=self.head.hash, file=last.name, end=last.size)
            head_file.write(mark)

    def abandon(self) -> None:
        """Let go of the lock and the directory, and change nothing. Again is harmless."""
        try:
            if self._lock is not None:
                self._files.close(self._lock)
                self._lock = None
        finally:
            self._files.release()


def plan_journal(directory: Path | Files, *, lock_timeout_seconds: float = 0.0) -> OpenPlan:
    """Take the writer's lock, waiting for it so long, and survey a journal for opening.

    Raises `LedgerBusy`, `JournalCorrupt` for damage that no crash explains, `JournalTruncated`
    when it ends below HEAD, `StoreUnavailable`, `ConfigurationError` for what is no time to wait.
    """
    files = OsFiles(directory) if isinstance(directory, Path) else directory
    lock = _take_lock(files, check_lock_timeout(lock_timeout_seconds))
    try:
        survey = survey_files(files, for_writing="what is written must have one name")
        return OpenPlan(files, survey, lock)
    except BaseException:
        try:
            files.close(lock)
        finally:
            files.release()
        raise


def survey_journal(directory: Path | Files) -> OpenPlan:
    """Survey a journal for reading only: no lock, nothing made, nothing repaired.

    Damage is believed when two looks find the same: a writer may have been in the middle of one.
    """
    files = OsFiles(directory) if isinstance(directory, Path) else directory
    return OpenPlan(files, look_again(lambda: survey_files(files, for_writing=None)), None)


def check_lock_timeout(seconds: object, *, what: str = "lock_timeout_seconds") -> float:
    """Refuse what is no time to wait for a lock; `ConfigurationError`."""
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not 0 <= seconds <= MAX_LOCK_TIMEOUT_SECONDS
    ):
        raise ConfigurationError(
            f"{what} is 0 to {MAX_LOCK_TIMEOUT_SECONDS:.0f} seconds, not {excerpt(seconds)}"
        )
    return seconds


def _take_lock(files: Files, timeout_seconds: float) -> int:
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            return files.lock(LOCK_NAME)
        except LedgerBusy:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            time.sleep(min(_LOCK_POLL_SECONDS, left))
