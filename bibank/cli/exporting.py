"""`bibank export`: the journal as text for other programs, entry by entry. Takes no lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from bibank.cli.output import print_json
from bibank.cli.settings import Settings, global_options, pass_settings
from bibank.errors import StoreUnavailable
from bibank.export import beancount_lines, csv_lines, hledger_lines
from bibank.model.entry import JournalEntry
from bibank.projection.verified import verified_batches

_FORMATS: dict[str, Callable[[Iterable[JournalEntry]], Iterator[str]]] = {
    "csv": csv_lines,
    "beancount": beancount_lines,
    "hledger": hledger_lines,
}

_FILE_MODE = 0o600
"""As the journal itself: nobody else reads a copy either."""


@click.command()
@global_options()
@click.argument("format", type=click.Choice(list(_FORMATS), case_sensitive=False))
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A new file instead of standard output; an existing one is not overwritten.",
)
@pass_settings
def export(settings: Settings, format: str, output: Path | None) -> None:  # noqa: A002 - the argument's name
    """Write all entries as CSV, Beancount or hledger, each verified from genesis on.

    In UTF-8; as CSV one row a posting. Beancount and hledger end with every balance as an assertion.
    """
    plan = settings.home.survey()
    found = (
        view
        for batch in verified_batches(plan.read(), place=plan.place)
        for line in batch
        if isinstance(view := line.view(), JournalEntry)
    )
    pieces = (piece.encode() for piece in _FORMATS[format](found))
    if output is None:
        for piece in pieces:
            click.echo(piece, nl=False)  # bytes: a locale has no say in them
        return
    with _new_file(output) as file:
        file.writelines(pieces)
        file.close()  # inside: what is buffered may not fit on the disk either
    if settings.as_json:
        print_json({"file": str(output), "format": format})
    else:
        click.echo(f"exported to {output}")


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Make a file that is whole or gone: whatever ends the writing early removes it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    except FileExistsError:
        raise click.BadParameter(f"{path} exists; it is not overwritten", param_hint="--output") from None
    except OSError as error:
        raise StoreUnavailable(f"cannot make {path}: {error.strerror}") from error
    file = os.fdopen(descriptor, "wb")
    try:
        yield file
    except BaseException as error:
        path.unlink(missing_ok=True)
        try:
            file.close()
        except OSError:
            pass  # it could not be written; that is told by the first error
        if isinstance(error, OSError):
            raise StoreUnavailable(f"cannot write {path}: {error.strerror}") from error
        raise
