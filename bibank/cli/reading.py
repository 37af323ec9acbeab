"""Commands that look at the whole: `balance`, `replay`, `audit`, `doctor`.

None keeps the lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from bibank.audit import Pin, Verified, audit_home
from bibank.cli.failures import exit_code_of_problems
from bibank.cli.output import note, print_json, print_table
from bibank.cli.parties import party, upper
from bibank.cli.points import as_of_option
from bibank.cli.progress import progress_bar, watching
from bibank.cli.settings import Settings, global_options, pass_settings
from bibank.doctor.diagnose import diagnose_home
from bibank.errors import ProjectionMismatch
from bibank.home import read_keyring_file
from bibank.model.as_of import PointInTime
from bibank.model.balance import Balance
from bibank.model.table import plain
from bibank.projection.books import SqliteBooks
from bibank.projection.upkeep import Answer, Rebuild, ask_books, rebuild_books
from bibank.reader import LedgerReader
from bibank.verification import default_workers

_BALANCE_COLUMNS = ("asset", "posted", "pending", "available")


@click.command()
@global_options()
@click.argument("owner")
@click.argument("asset", required=False)
@as_of_option
@pass_settings
def balance(settings: Settings, owner: str, asset: str | None, as_of: PointInTime | None) -> None:
    """Tell what an owner has: balance ALICE, or balance ALICE USDT.

    Answered from the projection, which is brought up to date first. An account key means that account.
    With --as-of, what it was then: from the projection as far as it reaches.
    """
    who, owner = party(owner), upper(owner)
    only = None if asset is None else upper(asset)
    lists_all = only is None and isinstance(who, str)
    rows: Sequence[Balance]
    if as_of is not None:
        with LedgerReader.open(settings.home.path, verify="chain", show="written") as reader:
            rows = (
                reader.balances(str(who), as_of=as_of)
                if lists_all
                else [reader.balance(who, only, as_of=as_of)]
            )
    else:
        answer = ask_books(
            settings.home.path,
            lambda books: books.balances(str(who)) if lists_all else [books.balance(who, only)],
        )
        _warn_of_rebuild(settings, answer.rebuilt_because)
        rows = answer.value
    found = [plain(row) for row in rows]
    if settings.as_json:
        for row in found:
            print_json({"owner": owner, **row})
    else:
        cells = ([str(row[name]) for name in _BALANCE_COLUMNS] for row in found)
        print_table(_BALANCE_COLUMNS, cells, right=frozenset(_BALANCE_COLUMNS[1:]))


@click.command()
@global_options()
@click.option("--reset", is_flag=True, help="Drop the projection, rebuild it, and compare the two.")
@pass_settings
def replay(settings: Settings, reset: bool) -> None:  # noqa: FBT001 - click hands flags over as booleans
    """Bring the projection up to date from the journal."""
    path = settings.home.path
    total = settings.home.survey().head.sequence
    with progress_bar("Replaying", total=total) as progress:
        if reset:
            outcome: Rebuild | Answer[str] = rebuild_books(path, progress=progress)
        else:
            outcome = ask_books(path, SqliteBooks.digest, progress=progress)
    if isinstance(outcome, Rebuild):
        _print_rebuild(settings, outcome)
    else:
        _print_digest(settings, outcome)


def _print_digest(settings: Settings, answer: Answer[str]) -> None:
    _warn_of_rebuild(settings, answer.rebuilt_because)
    report = answer.report
    if settings.as_json:
        print_json({**plain(report), "applied": report.applied, "digest": answer.value})
    else:
        position = report.position.sequence
        click.echo(f"applied {report.applied} lines; the projection stands at line {position}")
        click.echo(f"digest {answer.value}")


def _warn_of_rebuild(settings: Settings, reason: str | None) -> None:
    if reason is not None:
        note(settings, f"the projection was rebuilt: {reason}", label="warning")


def _print_rebuild(settings: Settings, rebuild: Rebuild) -> None:
    _warn_of_rebuild(settings, rebuild.unusable_because)
    if settings.as_json:
        position = plain(rebuild.report.position)
        digests = {"before": rebuild.before, "after": rebuild.after}
        print_json({"position": position, "identical": rebuild.identical, **digests})
    else:
        words = {True: "identical to what it held before", False: "NOT what it held before"}
        comparison = words[rebuild.identical] if rebuild.identical is not None else "nothing to compare with"
        lines = rebuild.report.applied
        click.echo(f"replayed {lines} lines into an empty projection: {comparison}")
        click.echo(f"digest {rebuild.after}")
    if rebuild.identical is False:
        raise ProjectionMismatch(
            f"the projection held {rebuild.before}, the journal gives {rebuild.after}; it was rebuilt"
        )


@click.command()
@global_options()
@click.option("--from", "since", type=click.DateTime(["%Y-%m-%d"]), help="First day of the report (UTC).")
@click.option("--to", "until", type=click.DateTime(["%Y-%m-%d"]), help="Last day of the report (UTC).")
@click.option("--verify-signatures", is_flag=True, help="Verify every signature too.")
@click.option("--ledger-id", metavar="ID", help="The ledger id that you kept: the journal must be of it.")
@click.option(
    "--keyring",
    "keyring_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A keyring.json that you kept: the journal must be of its ledger and reach its keyring.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Threads that verify; two where there are two."
)
@pass_settings
def audit(
    settings: Settings,
    since: datetime | None,
    until: datetime | None,
    verify_signatures: bool,  # noqa: FBT001 - click hands flags over as booleans
    ledger_id: str | None,
    keyring_file: Path | None,
    workers: int | None,
) -> None:
    """Recompute the whole journal and say what holds; repairs nothing.

    What you kept outside the home decides what that proves: see --ledger-id and --keyring.
    """
    home = settings.home
    pin = _pin(ledger_id, keyring_file)
    with watching("Auditing", total=home.survey().head.sequence) as watch:
        report = audit_home(
            home.path,
            since=since.date() if since is not None else None,
            until=until.date() if until is not None else None,
            watch=watch,
            level="signatures" if verify_signatures else "chain",
            pin=pin,
            workers=workers if workers is not None else default_workers(),
        )
    if settings.as_json:
        verdict = "verified" if isinstance(report.verdict, Verified) else "self_consistent"
        print_json({**plain(report), "verdict": verdict, "pin": plain(pin)})
    else:
        click.echo(str(report))


def _pin(ledger_id: str | None, keyring_file: Path | None) -> Pin | None:
    """Read what the auditor kept outside the home."""
    if ledger_id is not None and keyring_file is not None:
        raise click.UsageError("give --ledger-id or --keyring: the file names its ledger too")
    if keyring_file is not None:
        found = read_keyring_file(keyring_file)
        assert found is not None, "click saw the file"
        return Pin(ledger_id=found.ledger_id, fingerprint=found.fingerprint)
    return Pin(ledger_id=ledger_id) if ledger_id is not None else None


@click.command()
@global_options()
@pass_settings
def doctor(settings: Settings) -> None:
    """Look at the home and say how it is; changes nothing.

    Lock, HEAD, tail, clock, space, keys, keyring, recoveries, projection. It verifies no line: audit does.
    Ends with 5 when the journal or its keyring file is not what was written, with 7 for other problems.
    """
    found = diagnose_home(settings.home.path)
    if settings.as_json:
        head = plain(found.head)
        rows = found.findings.to_dicts()
        print_json({"home": found.path, "ledger": found.ledger_id, "head": head, "findings": rows})
    else:
        click.echo(str(found))
    if found.problems:
        raise click.exceptions.Exit(exit_code_of_problems(row.code for row in found.problems))
