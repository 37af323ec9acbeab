"""Commands that write: `init`, `deposit`, `transfer`, `withdraw`."""

from __future__ import annotations

from collections.abc import Callable

import click

from bibank.cli.correlation import uuid7
from bibank.cli.output import note, print_entry, print_json, short_postings
from bibank.cli.settings import Settings, global_options, pass_settings
from bibank.errors import InvalidValue
from bibank.ledger import Ledger
from bibank.model.amount import Amount
from bibank.model.entry import JournalEntry
from bibank.model.money import Money
from bibank.model.table import plain

# A negative amount looks like an option. It is handed on, and the library says what is wrong with it.
_NEGATIVE_AMOUNTS = {"ignore_unknown_options": True}


def upper(text: str) -> str:
    """Spell an owner or an asset as the ledger does; text beyond ASCII is left for the ledger to refuse.

    Upper case of other letters can be another name: that of STRASSE is not what was written with an ß.
    """
    return text.upper() if text.isascii() else text


@click.command()
@global_options()
@click.option(
    "--capital", multiple=True, metavar='"AMOUNT ASSET"', help="What the ledger starts with; repeatable."
)
@click.option("--name", default="bibank", show_default=True, help="Name of the ledger, part of its id.")
@pass_settings
def init(settings: Settings, capital: tuple[str, ...], name: str) -> None:
    """Make a ledger in the home."""
    opening: dict[str, Amount] = {}
    for money in (Money.of(upper(text)) for text in capital):
        if money.asset in opening:
            raise InvalidValue(f"capital in {money.asset} is given twice; add the amounts up")
        opening[money.asset] = money.amount
    with Ledger.create(settings.home.path, opening=opening, name=name) as ledger:
        entry = ledger.entry(1)
        if settings.as_json:
            head = {"sequence": ledger.head.sequence, "hash": ledger.head.hash}
            print_json({"ledger_id": ledger.ledger_id, "head": head, "genesis": plain(entry)})
        else:
            click.echo(f"made ledger {ledger.ledger_id} in {settings.home.path}")
            click.echo(f"line 1: genesis {short_postings(entry.postings) or 'without capital'}")


_correlation_option = click.option(
    "--correlation-id", metavar="ID", help="Id of the request that this belongs to; made up when left out."
)


@click.command(context_settings=_NEGATIVE_AMOUNTS)
@global_options()
@click.argument("owner")
@click.argument("amount")
@click.argument("asset")
@_correlation_option
@pass_settings
def deposit(settings: Settings, owner: str, amount: str, asset: str, correlation_id: str | None) -> None:
    """Book money that entered from outside: deposit ALICE 100 USDT."""
    money = Money(amount, upper(asset))
    _commit(settings, correlation_id, lambda ledger: ledger.deposit(upper(owner), money))


@click.command(context_settings=_NEGATIVE_AMOUNTS)
@global_options()
@click.argument("payer")
@click.argument("payee")
@click.argument("amount")
@click.argument("asset")
@_correlation_option
@pass_settings
def transfer(
    settings: Settings, payer: str, payee: str, amount: str, asset: str, correlation_id: str | None
) -> None:
    """Move money between two owners: transfer ALICE BOB 50 USDT."""
    money = Money(amount, upper(asset))
    _commit(settings, correlation_id, lambda ledger: ledger.transfer(upper(payer), upper(payee), money))


@click.command(context_settings=_NEGATIVE_AMOUNTS)
@global_options()
@click.argument("owner")
@click.argument("amount")
@click.argument("asset")
@_correlation_option
@pass_settings
def withdraw(settings: Settings, owner: str, amount: str, asset: str, correlation_id: str | None) -> None:
    """Book money that left: withdraw ALICE 30 USDT."""
    money = Money(amount, upper(asset))
    _commit(settings, correlation_id, lambda ledger: ledger.withdraw(upper(owner), money))


def _commit(settings: Settings, correlation_id: str | None, verb: Callable[[Ledger], JournalEntry]) -> None:
    """Open the ledger, do one thing under a correlation id, and print what was committed."""
    home = settings.home
    if correlation_id is None:
        correlation_id = str(uuid7())
        if not settings.as_json:  # there the entry, or the error, names it
            note(settings, correlation_id, label="correlation id")
    settings.correlation_id = correlation_id
    with Ledger.open(home.path) as ledger:
        entry = verb(ledger.bind(correlation_id=correlation_id))
        settings.committed = entry.sequence
        print_entry(entry, settings)
