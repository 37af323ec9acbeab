"""Commands that write: `init`, `deposit`, `transfer`, `withdraw`, `reverse`."""

from __future__ import annotations

from pathlib import Path

import click

from bibank.cli.output import note, print_json, short_postings
from bibank.cli.parties import line_number, party, upper
from bibank.cli.request import NEGATIVE_AMOUNTS, Done, Request, request_options
from bibank.cli.settings import Settings, global_options, pass_settings
from bibank.cli.signers import key_file_option, ledger_signer
from bibank.errors import InvalidValue
from bibank.ledger import Ledger
from bibank.model.amount import Amount
from bibank.model.keyring import Keyring, key_id_of
from bibank.model.money import Money
from bibank.model.table import plain
from bibank.signing.signer import Signer


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


@click.command(context_settings=NEGATIVE_AMOUNTS)
@global_options()
@click.argument("owner")
@click.argument("amount")
@click.argument("asset")
@request_options
def deposit(request: Request, owner: str, amount: str, asset: str) -> None:
    """Book money that entered from outside: deposit ALICE 100 USDT."""
    payee, money = party(owner), Money(amount, upper(asset))
    request.commit(lambda ledger: Done.one(ledger.deposit(payee, money, **request.keywords)))


@click.command(context_settings=NEGATIVE_AMOUNTS)
@global_options()
@click.argument("payer")
@click.argument("payee")
@click.argument("amount")
@click.argument("asset")
@request_options
def transfer(request: Request, payer: str, payee: str, amount: str, asset: str) -> None:
    """Move money between two owners: transfer ALICE BOB 50 USDT."""
    source, target, money = party(payer), party(payee), Money(amount, upper(asset))
    request.commit(lambda ledger: Done.one(ledger.transfer(source, target, money, **request.keywords)))


@click.command(context_settings=NEGATIVE_AMOUNTS)
@global_options()
@click.argument("owner")
@click.argument("amount")
@click.argument("asset")
@request_options
def withdraw(request: Request, owner: str, amount: str, asset: str) -> None:
    """Book money that left: withdraw ALICE 30 USDT."""
    payer, money = party(owner), Money(amount, upper(asset))
    request.commit(lambda ledger: Done.one(ledger.withdraw(payer, money, **request.keywords)))


@click.command()
@global_options()
@click.argument("sequence", callback=line_number)
@click.option("--amount", metavar="AMOUNT", help="Only so much of it; all of it when left out.")
@request_options
def reverse(request: Request, sequence: int, amount: str | None) -> None:
    """Take an entry back by a new one with the sides swapped: reverse 42.

    A part can be taken of an entry with one asset and two postings; parts sum at most to the whole.
    """
    request.commit(lambda ledger: Done.one(ledger.reverse(sequence, amount, **request.keywords)))
