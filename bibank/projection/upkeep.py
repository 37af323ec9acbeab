"""The books of a home: caught up when it is asked, rebuilt when it is of no use.

Reads the journal without a lock, so it works beside a writer. The projection is opened before the
journal is surveyed: then a projection that another process keeps fresh is never ahead of what this
one sees of the journal. It may get ahead all the same, when a power cut takes back lines that were read
before they were synced; then it is rebuilt.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Generic, TypeVar

import attrs

from bibank.errors import HeadConflict, ProjectionMismatch
from bibank.home import Home
from bibank.journal.machine import LedgerMachine
from bibank.projection.books import SqliteBooks
from bibank.projection.database import delete_database
from bibank.projection.protocol import LineSource
from bibank.projection.runner import CatchUp, catch_up
from bibank.projection.sources import JournalLines, Progress, no_progress
from bibank.risk.engine import RiskEngine
from bibank.signing.trust import KeyringTrust, verify_never
from bibank.store.jsonl.plan import OpenPlan

T = TypeVar("T")

logger = logging.getLogger("bibank")

_PAUSES_SECONDS = (0.0, 0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Pauses between tries against other processes that keep the same file: usually none is needed, because
what the other one applied need not be applied again."""


@attrs.frozen(kw_only=True)
class Answer(Generic[T]):
    """What a caught-up projection answered.

    `rebuilt_because` says why it had to be rebuilt first, and is None when it had not.
    """

    value: T
    report: CatchUp
    rebuilt_because: str | None


@attrs.frozen(kw_only=True)
class Rebuild:
    """A projection built anew, compared with what it held before.

    `before` is the digest of the old one after it was caught up too; None when there was none, or
    when it was of no use, which `unusable_because` then says.
    """

    report: CatchUp
    before: str | None
    after: str
    unusable_because: str | None

    @property
    def identical(self) -> bool | None:
        """Whether the old and the new one are equal; None when there was nothing to compare."""
        return None if self.before is None else self.before == self.after


def ask_books(
    path: str | os.PathLike[str],
    question: Callable[[SqliteBooks], T],
    *,
    progress: Progress = no_progress,
) -> Answer[T]:
    """Bring the books of a home to the end of the journal, and ask it something.

    A projection that is damaged, foreign or ahead of the journal is deleted and rebuilt. Raises
    `HomeNotFound`, `JournalCorrupt` with file and line, `StoreUnavailable`, and `HeadConflict` when other
    processes move the projection again and again.
    """
    return _insist(lambda: _ask(Home(path), question, progress))


def follow_books(
    path: Path,
    source: LineSource,
    *,
    check: Callable[[SqliteBooks], None],
    progress: Progress = no_progress,
) -> CatchUp:
    """Bring the books in a file to the end of a journal that is open already, and have them checked.

    A file that is damaged or foreign, or that `check` raises `ProjectionMismatch` for, is deleted, made anew
    and named in the log; one that is ahead is left. Raises `JournalCorrupt`, `StoreUnavailable`, and what the
    source raises.
    """

    def follow() -> CatchUp:
        with SqliteBooks(path) as books:
            before = books.position
            if before.sequence > source.head.sequence:  # another process saw lines before they were synced
                check(books)
                return CatchUp(before=before, position=before)
            report = catch_up(books, source, progress=progress)
            check(books)
            return report

    def follow_or_rebuild() -> CatchUp:
        try:
            return follow()
        except ProjectionMismatch as mismatch:
            logger.warning("the projection is built anew: %s", mismatch)
            delete_database(path)
            return follow()

    return _insist(follow_or_rebuild)


def rebuild_books(path: str | os.PathLike[str], *, progress: Progress = no_progress) -> Rebuild:
    """Catch the books of a home up, drop them, replay the whole journal, and compare the two.

    Raises what :func:`ask_books` raises.
    """
    return _insist(lambda: _rebuild(Home(path), progress))


def _ask(home: Home, question: Callable[[SqliteBooks], T], progress: Progress) -> Answer[T]:
    home.survey()  # no projection is made where there is no ledger
    try:
        return _follow_and_ask(home, question, progress, because=None)
    except ProjectionMismatch as mismatch:
        delete_database(home.projection)
        return _follow_and_ask(home, question, progress, because=str(mismatch))


def _follow_and_ask(
    home: Home, question: Callable[[SqliteBooks], T], progress: Progress, *, because: str | None
) -> Answer[T]:
    def follow(books: SqliteBooks) -> Answer[T]:
        plan = home.survey()
        machine = LedgerMachine(RiskEngine(), KeyringTrust(verify_never))
        report = catch_up(books, _lines(plan, progress, machine), progress=progress)
        books.check_against(machine.book)
        return Answer(value=question(books), report=report, rebuilt_because=because)

    with SqliteBooks(home.projection) as books:
        try:
            return follow(books)
        except HeadConflict:  # somebody else follows at the same time: once more, and nobody else meanwhile
            with books.exclusively():
                return follow(books)


def _rebuild(home: Home, progress: Progress) -> Rebuild:
    home.survey()  # no projection is made where there is no ledger
    because = None
    if home.projection.exists():
        try:
            return _compare(home, progress)
        except ProjectionMismatch as mismatch:
            because = str(mismatch)
            delete_database(home.projection)
    made = _follow_and_ask(home, SqliteBooks.digest, progress, because=because)
    return Rebuild(report=made.report, before=None, after=made.value, unusable_because=because)


def _compare(home: Home, progress: Progress) -> Rebuild:
    """Replay one state of the journal twice: into the projection as it is, and into an empty one.

    In one transaction, so an interruption leaves the old projection as it was.
    """
    with SqliteBooks(home.projection) as books, books.exclusively():
        plan = home.survey()
        catch_up(books, _lines(plan, progress), progress=progress)
        before = books.digest()
        books.reset()
        report = catch_up(books, _lines(plan, progress), progress=progress)
        return Rebuild(report=report, before=before, after=books.digest(), unusable_because=None)


def _lines(plan: OpenPlan, progress: Progress, machine: LedgerMachine | None = None) -> JournalLines:
    return JournalLines(plan.read(), place=plan.place, progress=progress, machine=machine)


def _insist(attempt: Callable[[], T]) -> T:
    """Try again when another process moved the projection meanwhile, each time after a longer pause."""
    for pause_seconds in _PAUSES_SECONDS:
        try:
            return attempt()
        except HeadConflict:
            sleep(pause_seconds)
    return attempt()
