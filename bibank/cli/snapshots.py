"""`bibank snapshot`: write down what the ledger knows, and verify what was written down."""

from __future__ import annotations

from pathlib import Path

import click

from bibank.cli.failures import EXIT_DAMAGE
from bibank.cli.output import note, print_json, print_table
from bibank.cli.settings import Settings, global_options, pass_settings
from bibank.cli.signers import key_file_option, ledger_signer
from bibank.ledger import Ledger
from bibank.snapshots.checking import SnapshotVerdict, verify_snapshots

_COLUMNS = ("line", "signed by", "holds")


@click.group()
@global_options()
def snapshot() -> None:
    """Make snapshots, from which a ledger opens fast, or verify them."""


@snapshot.command()
@global_options()
@key_file_option("The ledger's own key, where the home does not hold it.")
@pass_settings
def create(settings: Settings, key_file: Path | None) -> None:
    """Make a snapshot of the last line; two are kept."""
    with Ledger.open(settings.home.path, signer=ledger_signer(key_file)) as ledger:
        made = ledger.snapshot()
    if settings.as_json:
        print_json({"sequence": made.sequence, "hash": made.hash, "path": str(made.path)})
    else:
        click.echo(f"snapshot of line {made.sequence} in {made.path}")


@snapshot.command()
@global_options()
@pass_settings
def verify(settings: Settings) -> None:
    """Work out again, from the journal alone, what each snapshot says; changes nothing.

    Exit code 5 when one does not hold. Such a snapshot is not used: delete it, and it comes back.
    """
    found = verify_snapshots(settings.home.path)
    if settings.as_json:
        print_json({"snapshots": [_members(verdict) for verdict in found]})
    elif found:
        print_table(_COLUMNS, map(_cells, found), right=frozenset({"line"}))
    else:
        click.echo("there are no snapshots")
    for verdict in found:
        if verdict.uncovered:
            rules = ", ".join(verdict.uncovered)
            note(settings, f"snapshot of line {verdict.sequence}: what {rules} remembers was not covered")
    if any(verdict.problem is not None for verdict in found):
        raise click.exceptions.Exit(EXIT_DAMAGE)


def _members(verdict: SnapshotVerdict) -> dict[str, object]:
    return {
        "sequence": verdict.sequence,
        "path": str(verdict.path),
        "signed_by": verdict.signed_by,
        "problem": verdict.problem,
        "uncovered": verdict.uncovered,
    }


def _cells(verdict: SnapshotVerdict) -> tuple[str, str, str]:
    holds = "yes" if verdict.problem is None else f"no: {verdict.problem}"
    return str(verdict.sequence), ", ".join(verdict.signed_by) or "nobody", holds
