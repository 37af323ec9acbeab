"""What every command is told: the home, and how to print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import attrs
import click

from bibank.home import Home

P = ParamSpec("P")
T = TypeVar("T")

HOME_VARIABLE = "BIBANK_HOME"


@attrs.define
class Settings:
    """The global options, and the correlation id of the request once there is one."""

    home_path: Path | None = None
    as_json: bool = False
    correlation_id: str | None = None
    committed: int | None = None
    """The line that was committed: from then on no failure may look as if nothing had happened."""

    @property
    def home(self) -> Home:
        """The home that was named; a usage error when none was."""
        if self.home_path is None:
            raise click.UsageError(
                f"which ledger? There is no default place for money: give --home PATH or set {HOME_VARIABLE}"
            )
        return Home(self.home_path)


def _remember_home(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is None:
        return
    if not value:  # what --home "$UNSET" gives; as a path it would be the current directory
        raise click.BadParameter("it is empty", context, parameter)
    context.ensure_object(Settings).home_path = Path(value)


def _remember_json(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value:
        context.ensure_object(Settings).as_json = True


def global_options(*, envvar: str | None = None) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Add --home and --json, which may stand before or behind the name of a command.

    Only the group reads the environment: a variable must not overrule what was written.
    """
    home = click.option(
        "--home",
        type=click.Path(),
        envvar=envvar,
        expose_value=False,
        callback=_remember_home,
        help=f"Directory of the ledger (or set {HOME_VARIABLE}).",
    )
    as_json = click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_remember_json,
        help="Print JSON: one document, or one object a line for listings.",
    )
    return lambda command: home(as_json(command))


pass_settings = click.make_pass_decorator(Settings, ensure=True)
