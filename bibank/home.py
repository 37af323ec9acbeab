"""The home: the one module that knows what the directory of a ledger looks like.

<home>/
journal/YYYY-MM-DD.jsonl    the only source of truth
journal/.lock               the writer's lock
projection.db               disposable: delete it and it comes back
"""

from __future__ import annotations

import os
from pathlib import Path

from bibank.errors import HomeExists, HomeNotFound, InvalidType, InvalidValue, excerpt
from bibank.store.jsonl.days import day_names
from bibank.store.jsonl.files import OsFiles
from bibank.store.jsonl.plan import OpenPlan, plan_journal, survey_journal


class Home:
    """A directory that holds one ledger, or may come to hold one. Making this object touches nothing."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            self.path = Path(path)
        except TypeError:
            raise InvalidType(f"a home is a path, not {type(path).__name__}") from None
        try:
            os.fsencode(self.path)
        except UnicodeEncodeError:
            raise InvalidValue(f"{excerpt(str(path))} is no path: it holds a lone surrogate") from None
        if "\0" in str(self.path):
            raise InvalidValue(f"{excerpt(str(path))} is no path: it holds a NUL")

    def __repr__(self) -> str:
        return f"Home({str(self.path)!r})"

    @property
    def journal(self) -> Path:
        """The directory of the day files."""
        return self.path / "journal"

    @property
    def projection(self) -> Path:
        """The file of the SQLite projection."""
        return self.path / "projection.db"

    def plan_open(self) -> OpenPlan:
        """Lock and survey a ledger that exists; `HomeNotFound`, touching nothing, when it does not."""
        self.survey()  # first: the lock is a file: it is made where a ledger is, and only there
        return self._with_genesis(plan_journal(self.journal))

    def survey(self) -> OpenPlan:
        """Survey a ledger that exists for reading: no lock, nothing is made or repaired."""
        if not self._has_day_files():
            raise HomeNotFound(
                f"there is no ledger in {self.path}; make one with Ledger.create or 'bibank init'"
            )
        return self._with_genesis(survey_journal(self.journal))

    def plan_create(self) -> OpenPlan:
        """Make the directories and lock them for a new ledger.

        `HomeExists`, touching nothing, when there is one.
        Torn bytes of an interrupted creation are no ledger; they are set aside by the repair.
        """
        if self._has_day_files():
            self._without_genesis(survey_journal(self.journal))
        OsFiles(self.journal).mkdir()
        return self._without_genesis(plan_journal(self.journal))

    def _has_day_files(self) -> bool:
        return bool(day_names(OsFiles(self.journal)))

    def _with_genesis(self, plan: OpenPlan) -> OpenPlan:
        if not plan.head.sequence:
            plan.abandon()
            raise HomeNotFound(f"{self.path} holds an unfinished creation only; create the ledger again")
        return plan

    def _without_genesis(self, plan: OpenPlan) -> OpenPlan:
        if plan.head.sequence:
            plan.abandon()
            raise HomeExists(
                f"there is a ledger in {self.path} already; open it, or choose another directory"
            )
        return plan
