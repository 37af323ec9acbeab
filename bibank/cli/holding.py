"""`bibank hold`: keep money for a payee, pay from it, give it back."""

from __future__ import annotations

import click

from bibank.cli.output import print_json, print_table
from bibank.cli.parties import line_number, party, payee, payee_name, upper
from bibank.cli.request import NEGATIVE_AMOUNTS, Done, Request, plain_request_options, request_options
from bibank.cli.settings import Settings, global_options, pass_settings
from bibank.ledger import Ledger
from bibank.model.hold import Hold
from bibank.model.money import Money
from bibank.model.table import plain
from bibank.model.timestamp import format_timestamp, parse_timestamp
from bibank.reader import LedgerReader

_COLUMNS = ("hold", "owner", "amount", "asset", "payee", "expires at")


@click.group()
@global_options()
def hold() -> None:
    """Keep money for a payee: create, post, void, void-expired, list."""


@hold.command(context_settings=NEGATIVE_AMOUNTS)
@global_options()
@click.argument("owner")
@click.argument("amount")
@click.argument("asset")
@click.option(
    "--to",
    required=True,
    metavar="PAYEE",
    help="Whom it may be paid to; WITHDRAWAL for money that will leave the ledger.",
)
@click.option(
    "--expires-at", metavar="TIME", help="From when on it can only be voided: 2026-12-01T00:00:00Z."
)
@request_options
def create(request: Request, owner: str, amount: str, asset: str, to: str, expires_at: str | None) -> None:
    """Keep money for a payee: hold create ALICE 20 USDT --to SHOP.

    The number of the line that it prints is the hold's id.
    """
    payer, target, money = party(owner), payee(to), Money(amount, upper(asset))
    until = None if expires_at is None else parse_timestamp(expires_at)

    def verb(ledger: Ledger) -> Done:
        opened = ledger.hold(payer, money, to=target, expires_at=until, **request.keywords)
        return Done((ledger.entry(opened.id),), plain(opened), (_describe(opened),))

    request.commit(verb)


def _describe(opened: Hold) -> str:
    until = "" if opened.expires_at is None else f" until {format_timestamp(opened.expires_at)}"
    return f"hold {opened.id}: {opened.money} of {_owner(opened)} for {payee_name(opened.payee)}{until}"


@hold.command()
@global_options()
@click.argument("hold_id", metavar="HOLD", callback=line_number)
@click.option("--amount", metavar="AMOUNT", help="Pay only so much; the rest returns to the owner.")
@request_options
def post(request: Request, hold_id: int, amount: str | None) -> None:
    """Pay the payee from a hold, and end it: hold post 5."""
    request.commit(lambda ledger: Done.many(ledger.post_hold(hold_id, amount, **request.keywords)))


@hold.command()
@global_options()
@click.argument("hold_id", metavar="HOLD", callback=line_number)
@request_options
def void(request: Request, hold_id: int) -> None:
    """Give all of a hold back to its owner: hold void 5."""
    request.commit(lambda ledger: Done.many(ledger.void_hold(hold_id, **request.keywords)))


@hold.command()
@global_options()
@plain_request_options
def void_expired(request: Request) -> None:
    """Give back every hold that has expired by now."""

    def verb(ledger: Ledger) -> Done:
        outcomes = ledger.void_expired_holds()
        entries = tuple(done.entry for done in outcomes.committed)
        if not entries:
            outcomes.raise_for_refusals()
            return Done.many(entries, "no hold has expired")
        return Done.many(entries, *(f"not given back: {refusal}" for refusal in outcomes.refused))

    request.commit(verb)


@hold.command("list")
@global_options()
@click.argument("owner", required=False)
@pass_settings
def list_holds(settings: Settings, owner: str | None) -> None:
    """List the open holds, of all owners or of one, oldest first; takes no lock."""
    who = None if owner is None else party(owner)
    with LedgerReader.open(settings.home.path) as reader:
        found = reader.holds(who)
    if settings.as_json:
        for opened in found:
            print_json(plain(opened))
    else:
        print_table(_COLUMNS, map(_cells, found), right=frozenset({"hold", "amount"}))


def _cells(opened: Hold) -> tuple[str, ...]:
    expires_at = "" if opened.expires_at is None else format_timestamp(opened.expires_at)
    money = opened.money
    return (
        str(opened.id),
        _owner(opened),
        str(money.amount),
        money.asset,
        payee_name(opened.payee),
        expires_at,
    )


def _owner(opened: Hold) -> str:
    return opened.account.owner
