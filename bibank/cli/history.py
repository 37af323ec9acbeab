"""Commands that tell the past: `statement`, `trial-balance`, `trades`, `fee-totals`.

Answered by a reader, which takes no lock; from the projection as far as it reaches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import click

from bibank.cli.output import print_json, print_table
from bibank.cli.parties import party, upper
from bibank.cli.points import as_of_option, range_options
from bibank.cli.settings import Settings, global_options, pass_settings
from bibank.model.amount import units_to_text
from bibank.model.as_of import PointInTime
from bibank.model.statement import TrialBalanceLine
from bibank.model.table import Table, plain
from bibank.reader import LedgerReader

T = TypeVar("T")

_STATEMENT = ("sequence", "timestamp", "intent", "asset", "amount", "posted", "available", "correlation_id")
_TRADES = ("sequence", "timestamp", "maker", "taker", "base_amount", "base", "quote_amount", "quote", "price")
_TRIAL_BALANCE = ("account", "asset", "debit", "credit")
_FEES = ("kind", "asset", "entries", "total")
_NUMBERS = frozenset(
    {
        *("sequence", "amount", "posted", "pending", "available", "base amount", "quote amount"),
        *("price", "debit", "credit", "entries", "total"),
    }
)

_limit_option = click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most N of them.")


@click.command()
@global_options()
@click.argument("owner")
@click.argument("asset", required=False)
@range_options
@_limit_option
@pass_settings
def statement(
    settings: Settings,
    owner: str,
    asset: str | None,
    since: PointInTime | None,
    until: PointInTime | None,
    limit: int | None,
) -> None:
    """List what entries did to an owner's money, with the balance after each: statement ALICE USDT.

    Without an asset, all of them. An account key means that account. By effective: points the lines stand in
    the order in which they count.
    """
    only = None if asset is None else upper(asset)
    with _reader(settings) as reader:
        found = reader.statement(party(owner), only, since=since, until=until, limit=limit)
    _print(settings, found, _STATEMENT)


@click.command("trial-balance")
@global_options()
@as_of_option
@pass_settings
def trial_balance(settings: Settings, as_of: PointInTime | None) -> None:
    """List every account with its balance, debit or credit, and the sums of each asset."""
    with _reader(settings) as reader:
        found = reader.trial_balance(as_of=as_of)
    if settings.as_json:
        _print(settings, found, _TRIAL_BALANCE)
        return
    rows = [[str(plain(getattr(line, name))) for name in _TRIAL_BALANCE] for line in found]
    print_table(_TRIAL_BALANCE, [*rows, *_sums(found)], right=_NUMBERS)


def _sums(lines: Iterable[TrialBalanceLine]) -> list[Sequence[str]]:
    """Add up each asset, as the last rows of a trial balance."""
    sums: dict[str, tuple[int, int]] = {}
    for line in lines:
        debit, credit = sums.get(line.asset, (0, 0))
        sums[line.asset] = debit + line.debit.units, credit + line.credit.units
    return [("total", asset, *map(units_to_text, sums[asset])) for asset in sorted(sums)]


@click.command()
@global_options()
@click.argument("user", required=False)
@click.option("--pair", metavar="BASE/QUOTE", help="Only those of a pair, such as BTC/USDT.")
@range_options
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="N", help="Only those after line N.")
@_limit_option
@pass_settings
def trades(
    settings: Settings,
    user: str | None,
    pair: str | None,
    since: PointInTime | None,
    until: PointInTime | None,
    after: int,
    limit: int | None,
) -> None:
    """List trades in journal order: all, or those of a user as maker or taker."""
    with _reader(settings) as reader:
        found = reader.trades(
            None if user is None else upper(user),
            pair=None if pair is None else upper(pair),
            since=since,
            until=until,
            after_sequence=after,
            limit=limit,
        )
    _print(settings, found, _TRADES)


@click.command("fee-totals")
@global_options()
@range_options
@pass_settings
def fee_totals(settings: Settings, since: PointInTime | None, until: PointInTime | None) -> None:
    """Add up fees by kind and asset, less what was given back."""
    with _reader(settings) as reader:
        found = reader.fee_totals(since=since, until=until)
    _print(settings, found, _FEES)


def _reader(settings: Settings) -> LedgerReader:
    """Read what the files hold; every line is verified, but for the cryptography of signatures."""
    return LedgerReader.open(settings.home.path, verify="chain", show="written")


def _print(settings: Settings, table: Table[T], columns: Sequence[str]) -> None:
    if settings.as_json:
        for row in table:
            print_json(plain(row))
        return
    cells = (
        ["" if (cell := plain(getattr(row, name))) is None else str(cell) for name in columns]
        for row in table
    )
    print_table([name.replace("_", " ") for name in columns], cells, right=_NUMBERS)
