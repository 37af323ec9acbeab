"""What the doctor says: a row for each thing that was looked at."""

from __future__ import annotations

from typing import Literal

import attrs

from bibank.errors import BibankError, JournalError
from bibank.model.lines import Head
from bibank.model.table import Table

State = Literal["ok", "note", "problem"]

_WIDEST_STATE = len("problem")


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was looked at, and how it is.

    `state` is "ok", "note" for what is good to know, or "problem" for what somebody has to see to.
    `text` says what is, and what to do. A problem has the `code` of the error that a ledger would
    raise over it, and damage in the journal the `file` and `line` where it was found.
    """

    check: str
    state: State
    text: str
    code: str | None = None
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.state.ljust(_WIDEST_STATE)}  {self.check}: {self.text}"


def ok(check: str, text: str) -> Finding:
    """Say that something is as it should be."""
    return Finding(check=check, state="ok", text=text)


def note(check: str, text: str) -> Finding:
    """Say what is good to know, and needs nobody."""
    return Finding(check=check, state="note", text=text)


def problem(check: str, text: str, kind: type[BibankError]) -> Finding:
    """Say what somebody has to see to."""
    return Finding(check=check, state="problem", text=text, code=kind.code)


def trouble(check: str, error: BibankError) -> Finding:
    """Say what an error says, with its file and line where it has them."""
    found = Finding(check=check, state="problem", text=str(error), code=error.code)
    if isinstance(error, JournalError):
        return attrs.evolve(found, file=error.file, line=error.line)
    return found


@attrs.frozen(kw_only=True)
class Diagnosis:
    """What a look at a home found. Nothing in it was verified: that is the audit's part.

    `ledger_id` is what the first line says, `head` where the journal ends; None where damage left no
    answer. `findings` are in the order in which an operator would look.
    """

    path: str
    ledger_id: str | None
    head: Head | None
    findings: Table[Finding]

    @property
    def problems(self) -> Table[Finding]:
        """The findings that somebody has to see to."""
        return Table(
            (found for found in self.findings if found.state == "problem"),
            row_type=Finding,
            shown=SHOWN,
        )

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings))


SHOWN = ("check", "state", "text")
"""The columns of a table of findings that are printed."""
