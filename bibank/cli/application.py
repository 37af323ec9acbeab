"""The command group, and the one place where errors become exit codes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from bibank.cli.accounts import close, freeze, limit, reopen, terms
from bibank.cli.bus import bus
from bibank.cli.demo import demo
from bibank.cli.exporting import export
from bibank.cli.failures import EXIT_BROKEN_PIPE, EXIT_INTERRUPTED, EXIT_OUTCOME_UNKNOWN, report
from bibank.cli.governing import approve, pending, propose, sign
from bibank.cli.history import fee_totals, statement, trades, trial_balance
from bibank.cli.holding import hold
from bibank.cli.keyring import keyring
from bibank.cli.keys import keygen
from bibank.cli.listing import entries, records, tail
from bibank.cli.money import deposit, init, reverse, transfer, withdraw
from bibank.cli.output import note
from bibank.cli.reading import audit, balance, doctor, replay
from bibank.cli.settings import HOME_VARIABLE, Settings, global_options
from bibank.cli.snapshots import snapshot
from bibank.cli.trading import fee, trade


class Application(click.Group):
    """A group whose `main` answers every error with its exit code."""

    def main(  # type: ignore[override]  # narrower on purpose: it always ends in an exit code
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        **extra: Any,  # noqa: ANN401 - handed on to click as it came
    ) -> NoReturn:
        """Run a command line and exit."""
        arguments = list(sys.argv[1:] if args is None else args)
        settings = Settings()
        with _warnings_shown(settings):
            code = self._run(arguments, prog_name, settings, extra)
        sys.exit(code)

    def _run(
        self, arguments: list[str], prog_name: str | None, settings: Settings, extra: dict[str, Any]
    ) -> int:
        try:
            code = super().main(arguments, prog_name, **{**extra, "standalone_mode": False, "obj": settings})
        except click.Abort:
            click.echo("interrupted", err=True)
            return EXIT_INTERRUPTED
        except Exception as error:  # noqa: BLE001 - nothing leaves the command as a traceback
            # An option that cannot be parsed comes before --json could be noticed.
            as_json = settings.as_json or "--json" in arguments
            return report(error, as_json=as_json, correlation_id=settings.correlation_id)
        return code if isinstance(code, int) else 0

    def invoke(self, ctx: click.Context) -> None:
        """Run a command to its last byte of output, so that a broken pipe shows here."""
        settings = ctx.ensure_object(Settings)
        try:
            super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()
        except (OSError, AttributeError) as error:
            if settings.committed is not None:
                click.echo(
                    f"committed as line {settings.committed}; the output could not be written", err=True
                )
                raise click.exceptions.Exit(EXIT_OUTCOME_UNKNOWN) from error
            if not isinstance(error, BrokenPipeError):
                raise
            # Whatever is flushed at exit goes nowhere, quietly.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(EXIT_BROKEN_PIPE) from None


@contextmanager
def _warnings_shown(settings: Settings) -> Iterator[None]:
    """Show what the library logs as a warning, such as a torn tail that was set aside."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(settings, record.getMessage(), label="warning")

    handler = Handler(level=logging.WARNING)
    logger = logging.getLogger("bibank")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@click.group(name="bibank", cls=Application)
@global_options(envvar=HOME_VARIABLE)
@click.version_option(package_name="bibank", prog_name="bibank")
def application() -> None:
    """A ledger on the command line: money moves or is refused, and history can be checked."""


for command in (
    init,
    deposit,
    transfer,
    withdraw,
    trade,
    fee,
    hold,
    reverse,
    propose,
    pending,
    approve,
    sign,
    freeze,
    reopen,
    close,
    limit,
    terms,
    balance,
    statement,
    trial_balance,
    trades,
    fee_totals,
    entries,
    records,
    tail,
    export,
    replay,
    audit,
    doctor,
    snapshot,
    bus,
    keygen,
    keyring,
    demo,
):
    application.add_command(command)
