"""Commands that write: `init`, `deposit`, `transfer`, `withdraw`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from bibank.cli.correlation import correlation_option, named
from bibank.cli.output import note, print_entry, print_json, short_postings
from bibank.cli.settings import Settings, global_options, pass_settings
from bibank.cli.signers import key_file_option, ledger_signer
from bibank.errors import InvalidValue
from bibank.ledger import Ledger
from bibank.model.amount import Amount
from bibank.model.entry import JournalEntry
from bibank.model.keyring import Keyring, key_id_of
from bibank.model.money import Money
from bibank.model.table import plain
from bibank.signing.signer import Signer

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
@key_file_option("Sign with this key, which stays where it is; without it the home gets a key of its own.")
@click.option("--unsigned", is_flag=True, help="Make a ledger without keys, which proves nothing.")
@pass_settings
def init(
    settings: Settings,
    capital: tuple[str, ...],
    name: str,
    key_file: Path | None,
    unsigned: bool,  # noqa: FBT001 - click hands flags over as booleans
) -> None:
    """Make a ledger in the home."""
    if unsigned and key_file is not None:
        raise click.UsageError("--unsigned and --key-file contradict each other")
    signer = None if unsigned else ledger_signer(key_file)
    keyring = Keyring.unsigned() if unsigned else None
    opening: dict[str, Amount] = {}
    for money in (Money.of(upper(text)) for text in capital):
        if money.asset in opening:
            raise InvalidValue(f"capital in {money.asset} is given twice; add the amounts up")
        opening[money.asset] = money.amount
    path = settings.home.path
    with Ledger.create(path, opening=opening, name=name, signer=signer, keyring=keyring) as ledger:
        entry = ledger.entry(1)
        if settings.as_json:
            head = {"sequence": ledger.head.sequence, "hash": ledger.head.hash}
            print_json({"ledger_id": ledger.ledger_id, "head": head, "genesis": plain(entry)})
        else:
            click.echo(f"made ledger {ledger.ledger_id} in {path}")
            click.echo(f"line 1: genesis {short_postings(entry.postings) or 'without capital'}")
        note(settings, *_what_it_proves(settings, ledger.ledger_id, signer, unsigned=unsigned))


def _what_it_proves(
    settings: Settings, ledger_id: str, signer: Signer | None, *, unsigned: bool
) -> list[str]:
    """Say what the key of a new ledger proves, and what not."""
    if unsigned:
        return [
            f"ledger {ledger_id} is unsigned: nobody can tell a complete rewrite from the original",
            "'bibank keyring add' gives it its first key",
        ]
    if signer is None:
        who, thief = f"the home's own key {settings.home.system_key}, a plain file", "whoever reads that file"
    else:
        who, thief = f"key {key_id_of(signer.public_key)} of {signer.signer_id}", "whoever has that key"
    return [
        f"every line is signed with {who}",
        f"keep the id {ledger_id} outside this machine: "
        "an audit against it shows that nobody else wrote a line",
        f"it does not show that {thief} did not, nor that later lines were not cut off",
    ]


_signs_option = key_file_option("The ledger's own key, where the home does not hold it.")


@click.command(context_settings=_NEGATIVE_AMOUNTS)
@global_options()
@click.argument("owner")
@click.argument("amount")
@click.argument("asset")
@correlation_option
@_signs_option
@pass_settings
def deposit(
    settings: Settings,
    owner: str,
    amount: str,
    asset: str,
    correlation_id: str | None,
    key_file: Path | None,
) -> None:
    """Book money that entered from outside: deposit ALICE 100 USDT."""
    money = Money(amount, upper(asset))
    _commit(settings, correlation_id, key_file, lambda ledger: ledger.deposit(upper(owner), money))


@click.command(context_settings=_NEGATIVE_AMOUNTS)
@global_options()
@click.argument("payer")
@click.argument("payee")
@click.argument("amount")
@click.argument("asset")
@correlation_option
@_signs_option
@pass_settings
def transfer(
    settings: Settings,
    payer: str,
    payee: str,
    amount: str,
    asset: str,
    correlation_id: str | None,
    key_file: Path | None,
) -> None:
    """Move money between two owners: transfer ALICE BOB 50 USDT."""
    money = Money(amount, upper(asset))
    _commit(
        settings, correlation_id, key_file, lambda ledger: ledger.transfer(upper(payer), upper(payee), money)
    )


@click.command(context_settings=_NEGATIVE_AMOUNTS)
@global_options()
@click.argument("owner")
@click.argument("amount")
@click.argument("asset")
@correlation_option
@_signs_option
@pass_settings
def withdraw(
    settings: Settings,
    owner: str,
    amount: str,
    asset: str,
    correlation_id: str | None,
    key_file: Path | None,
) -> None:
    """Book money that left: withdraw ALICE 30 USDT."""
    money = Money(amount, upper(asset))
    _commit(settings, correlation_id, key_file, lambda ledger: ledger.withdraw(upper(owner), money))


def _commit(
    settings: Settings,
    correlation_id: str | None,
    key_file: Path | None,
    verb: Callable[[Ledger], JournalEntry],
) -> None:
    """Open the ledger, do one thing under a correlation id, and print what was committed."""
    home = settings.home
    trace = named(settings, correlation_id)
    with Ledger.open(home.path, signer=ledger_signer(key_file)) as ledger:
        entry = verb(ledger.bind(correlation_id=trace))
        settings.committed = entry.sequence
        print_entry(entry, settings)
