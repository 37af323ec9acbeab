"""Verifying many signatures: at once, or in threads beside the replay that finds them.

PyNaCl lets go of the interpreter while it verifies, so two threads verify nearly twice as fast as
one. Replay goes on meanwhile; `finish` waits for the verdicts and raises the first failure in
journal order. A failure found in between waits for it too: the reader would take it for a fault of
the line that it is at.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from bibank.errors import InvalidValue, JournalCorrupt, JournalError
from bibank.signing.trust import SignatureCheck

_CHUNK = 128
"""Signatures handed to a thread together: a few milliseconds of work."""

_MOST_WAITING = 64
"""Chunks under way at once: bounds memory when replay is faster than verification."""


def default_workers() -> int:
    """Give two threads where there are two processors, else one."""
    return min(2, os.cpu_count() or 1)


class SignatureChecks:
    """A sink for signatures, as a context; leaving it well means that every signature holds.

    With one worker each signature is verified when it comes.
    """

    def __init__(self, *, workers: int) -> None:
        if workers < 1:
            raise InvalidValue(f"{workers} workers; it takes at least one")
        self.checked = 0
        self._chunk: list[SignatureCheck] = []
        self._waiting: deque[Future[tuple[int, str] | None]] = deque()
        self._failure: tuple[int, str] | None = None
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="bibank-verify") if workers > 1 else None

    def take(self, check: SignatureCheck) -> None:
        """Take one signature; `InvalidValue` when it is verified at once and fails."""
        self.checked += 1
        if self._pool is None:
            wrong = check.fails()
            if wrong is not None:
                raise InvalidValue(wrong)
            return
        self._chunk.append(check)
        if len(self._chunk) >= _CHUNK:
            self._submit()

    def finish(self) -> None:
        """Wait for every verdict; `JournalCorrupt` for the first signature that fails."""
        self._submit()
        while self._waiting:
            self._settle()
        if self._failure is not None:
            sequence, reason = self._failure
            raise JournalCorrupt(reason, sequence=sequence)

    def first(self, error: JournalError) -> JournalError:
        """Give what fails first in the journal: a signature that was taken, or this error of the replay."""
        try:
            self.finish()
        except JournalCorrupt as failure:
            if failure.sequence <= error.sequence:
                return failure
        return error

    def _submit(self) -> None:
        if self._pool is not None and self._chunk and self._failure is None:
            self._waiting.append(self._pool.submit(_first_failure, self._chunk))
            self._chunk = []
            if len(self._waiting) > _MOST_WAITING:
                self._settle()

    def _settle(self) -> None:
        failure = self._waiting.popleft().result()
        if self._failure is None:
            self._failure = failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _first_failure(checks: list[SignatureCheck]) -> tuple[int, str] | None:
    for check in checks:
        wrong = check.fails()
        if wrong is not None:
            return check.sequence, wrong
    return None
