"""The journal is not what was written: an auditor has to look."""

from __future__ import annotations

from bibank.errors.base import BibankError


class IntegrityError(BibankError):
    """The journal is not what was written. Stop and call the auditor."""

    code = "integrity"


class JournalError(IntegrityError):
    """Something is wrong at one place of the journal.

    `file` and `line` (counted from 1) say where, `sequence` which line of the journal it is, and
    `reason` what is wrong. `file` and `line` are None for a store that has no files.
    """

    code = "journal_error"

    def __init__(
        self, reason: str, *, sequence: int, file: str | None = None, line: int | None = None
    ) -> None:
        """Compose `file:line: reason`."""
        place = f"{file}:{line}" if file is not None else f"line {sequence} of the journal"
        super().__init__(f"{place}: {reason}")
        self.reason = reason
        self.sequence = sequence
        self.file = file
        self.line = line


class JournalCorrupt(JournalError):
    """A line does not follow from the lines before it."""

    code = "journal_corrupt"


class JournalTorn(JournalCorrupt):
    """The journal ends in an incomplete write. Opening it for writing sets the torn bytes aside."""

    code = "journal_torn"


class JournalTruncated(JournalCorrupt):
    """The journal ends below a line that is known to have been on the disk."""

    code = "journal_truncated"


class UnsupportedFormat(JournalError):
    """The journal says that it is in a format that this version does not know."""

    code = "unsupported_format"


class PinMismatch(IntegrityError):
    """The journal is not of the ledger, or does not reach the keyring, that was pinned."""

    code = "pin_mismatch"


class CursorMismatch(IntegrityError):
    """A subscriber's cursor is damaged, of another ledger, or not in this history. Find out why."""

    code = "cursor_mismatch"


class ProjectionMismatch(IntegrityError):
    """A projection does not belong to this journal, or is ahead of it. Rebuild it."""

    code = "projection_mismatch"
