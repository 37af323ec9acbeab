"""`bibank freeze`, `reopen`, `close`, `limit`, `terms`: what operators decide about an account."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, TypedDict

import click

from bibank.cli.output import print_json, print_table
from bibank.cli.parties import account, upper
from bibank.cli.request import Done, Request, decision_options
from bibank.cli.settings import Settings, global_options, pass_settings
from bibank.cli.signers import authorise_option, load_signers
from bibank.model.account_terms import AccountTerms
from bibank.model.amount import SignedAmount
from bibank.model.table import plain
from bibank.reader import LedgerReader
from bibank.signing.signer import Signer

P = ParamSpec("P")

_COLUMNS = ("account", "status", "floor", "line")

_reason_option = click.option(
    "--reason", required=True, metavar="TEXT", help="Why, for whoever reads the journal later."
)


def _deciding(command: Callable[Concatenate[Request, P], None]) -> Callable[..., None]:
    """Add the argument and the options of every command that decides about an account."""
    named = click.argument("key", metavar="ACCOUNT")
    return named(_reason_option(authorise_option(decision_options(command))))


class _Keywords(TypedDict):
    """The keywords that every decision about an account takes."""

    reason: str
    authorised_by: Sequence[Signer]
    idempotency_key: str | None


def _keywords(request: Request, reason: str, authorise: tuple[Path, ...]) -> _Keywords:
    return {
        "reason": reason,
        "authorised_by": load_signers(authorise),
        "idempotency_key": request.idempotency_key,
    }


@click.command()
@global_options()
@_deciding
def freeze(request: Request, key: str, reason: str, authorise: tuple[Path, ...]) -> None:
    """Let nothing leave an account; money may still arrive: freeze LIAB:USER:ALICE:USDT:AVAILABLE."""
    frozen, words = account(key), _keywords(request, reason, authorise)
    request.commit(lambda ledger: Done.one(ledger.governance.freeze(frozen, **words)))


@click.command()
@global_options()
@_deciding
def reopen(request: Request, key: str, reason: str, authorise: tuple[Path, ...]) -> None:
    """Let money move freely on an account that was frozen or closed; its floor stays as it is."""
    reopened, words = account(key), _keywords(request, reason, authorise)
    request.commit(lambda ledger: Done.one(ledger.governance.reopen(reopened, **words)))


@click.command()
@global_options()
@_deciding
def close(request: Request, key: str, reason: str, authorise: tuple[Path, ...]) -> None:
    """Let nothing move on an account, in or out; it has to be empty."""
    closed, words = account(key), _keywords(request, reason, authorise)
    request.commit(lambda ledger: Done.one(ledger.governance.close(closed, **words)))


@click.command()
@global_options()
@click.option(
    "--floor",
    required=True,
    metavar="AMOUNT",
    help="What the balance may fall to, 0 or below, in the account's asset; 0 ends an overdraft.",
)
@_deciding
def limit(request: Request, key: str, floor: str, reason: str, authorise: tuple[Path, ...]) -> None:
    """Let an account fall below zero: limit LIAB:USER:ALICE:USDT:AVAILABLE --floor -100."""
    limited, lowest = account(key), SignedAmount(floor)
    words = _keywords(request, reason, authorise)
    request.commit(lambda ledger: Done.one(ledger.governance.limit(limited, floor=lowest, **words)))


@click.command()
@global_options()
@click.argument("prefix", default="")
@pass_settings
def terms(settings: Settings, prefix: str) -> None:
    """List what was decided about accounts, all or those whose key begins with a text; takes no lock.

    Accounts about which nothing was decided are open, and are not listed.
    """
    with LedgerReader.open(settings.home.path) as reader:
        found = reader.account_terms(upper(prefix))
    if settings.as_json:
        for row in found:
            print_json(plain(row))
    else:
        print_table(_COLUMNS, map(_cells, found), right=frozenset({"floor", "line"}))


def _cells(row: AccountTerms) -> tuple[str, ...]:
    floor = "" if row.floor is None else str(row.floor)
    return row.account.text, row.status.value, floor, str(row.sequence)
