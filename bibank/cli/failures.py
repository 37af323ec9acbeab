"""How commands end: one table from errors to exit codes, and how errors are shown."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterable, Iterator

import click

from bibank.cli import EXIT_USAGE
from bibank.errors import (
    BibankError,
    CommitOutcomeUnknown,
    ConfigurationError,
    HeadConflict,
    IntegrityError,
    InvalidInput,
    KeystoreError,
    Refused,
    StoreError,
)
from bibank.model.table import plain

EXIT_INTERNAL = 1
EXIT_DAMAGE = 5
EXIT_OUTCOME_UNKNOWN = 6
EXIT_OPERATOR = 7
EXIT_INTERRUPTED = 130
"""128 and the number of SIGINT, as a shell reports it."""
EXIT_BROKEN_PIPE = 141
"""128 and the number of SIGPIPE: whoever read the output has gone."""

DEBUG_VARIABLE = "BIBANK_DEBUG"

EXIT_CODES: tuple[tuple[type[BibankError], int], ...] = (
    (InvalidInput, EXIT_USAGE),
    (ConfigurationError, EXIT_USAGE),
    (Refused, 3),
    (HeadConflict, 4),
    (IntegrityError, EXIT_DAMAGE),
    (CommitOutcomeUnknown, EXIT_OUTCOME_UNKNOWN),
    (StoreError, EXIT_OPERATOR),
    (KeystoreError, EXIT_OPERATOR),
    (BibankError, EXIT_INTERNAL),
)
"""The first class that fits gives the code, so a class stands before its base."""


def exit_code(error: BibankError) -> int:
    """Look an error up in the table."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


def exit_code_of_problems(codes: Iterable[str | None]) -> int:
    """Give the exit code for the problems of a report, from the codes of their errors: damage first."""
    damage = {kind.code for kind in _descendants(IntegrityError)}
    return EXIT_DAMAGE if not damage.isdisjoint(codes) else EXIT_OPERATOR


def _descendants(kind: type[BibankError]) -> Iterator[type[BibankError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _descendants(child)


def describe(error: BibankError) -> dict[str, object]:
    """Give an error as JSON values: code, message, and its typed attributes."""
    attributes = {name: plain(value) for name, value in vars(error).items() if not name.startswith("_")}
    return {"code": error.code, "message": str(error), "retryable": error.retryable, **attributes}


def report(error: Exception, *, as_json: bool, correlation_id: str | None) -> int:
    """Show an error on stderr, for people or as one JSON object, and give the exit code."""
    if isinstance(error, BibankError):
        code, found = exit_code(error), describe(error)
    elif isinstance(error, click.ClickException):
        code, found = error.exit_code, {"code": "usage", "message": error.format_message()}
    else:
        code = EXIT_INTERNAL
        found = {"code": "internal", "message": f"{type(error).__name__}: {error}"}
        if os.environ.get(DEBUG_VARIABLE):
            traceback.print_exception(error)
    if as_json:
        if correlation_id is not None:
            found["correlation_id"] = correlation_id
        click.echo(json.dumps(found), err=True)
    elif isinstance(error, click.ClickException):
        error.show()
    else:
        prefix = "internal error" if code == EXIT_INTERNAL else "error"
        click.echo(f"{prefix}: {' '.join(str(found['message']).splitlines())}", err=True)
    return code
