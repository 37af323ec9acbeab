"""`bibank bus`: how far those who listen have come."""

from __future__ import annotations

import click

from bibank.bus.standing import CursorStanding, CursorState
from bibank.cli.failures import EXIT_DAMAGE
from bibank.cli.output import print_json, print_table
from bibank.cli.settings import Settings, global_options, pass_settings
from bibank.reader import LedgerReader

_COLUMNS = ("subscriber", "state", "done up to", "behind", "reason")


@click.group()
@global_options()
def bus() -> None:
    """Look at the subscribers of the event bus."""


@bus.command()
@global_options()
@pass_settings
def status(settings: Settings) -> None:
    """Show how far each subscriber has come, by the cursor that it saved last; changes nothing.

    A process that delivers saves about once a second, so a live subscriber may be further. Exit code 5 when a
    cursor is not of this journal.
    """
    with LedgerReader.open(settings.home.path, show="written") as reader:
        found = reader.cursors()
        head = reader.head.sequence
    if settings.as_json:
        print_json({"head": head, "subscribers": found.to_dicts()})
    elif found:
        print_table(_COLUMNS, map(_cells, found), right=frozenset({"done up to", "behind"}))
    else:
        click.echo("nobody has subscribed")
    if any(row.state is CursorState.REFUSED for row in found):
        raise click.exceptions.Exit(EXIT_DAMAGE)


def _cells(row: CursorStanding) -> tuple[str, str, str, str, str]:
    sequence, behind = ("-" if value is None else str(value) for value in (row.sequence, row.behind))
    return row.name, row.state.value, sequence, behind, row.reason or ""
