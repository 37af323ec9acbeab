"""Names on the command line: owners, payees, exact accounts, and the sequences of lines."""

from __future__ import annotations

import re

import click

from bibank.model.account import AccountKey, Owner
from bibank.model.hold import WITHDRAWAL, Payee

_SEQUENCE = re.compile(r"[0-9]{1,19}", re.ASCII)
"""Digits and nothing else: `int` would read 1_0 as 10, and pay from another hold than was meant."""


def upper(text: str) -> str:
    """Spell an owner or an asset as the ledger does; text beyond ASCII is left for the ledger to refuse.

    Upper case of other letters can be another name: that of STRASSE is not what was written with an ß.
    """
    return text.upper() if text.isascii() else text


def party(text: str) -> Owner:
    """Take a party of a movement: what has colons is exactly that account, everything else a user's id."""
    name = upper(text)
    return AccountKey(name) if ":" in name else name


def account(text: str) -> AccountKey:
    """Take exactly one account, by its key."""
    return AccountKey(upper(text))


def payee(text: str) -> Payee:
    """Take whom a hold may be paid to; a user called WITHDRAWAL is named by the account."""
    return WITHDRAWAL if upper(text) == WITHDRAWAL.value else party(text)


def payee_name(account: AccountKey | None) -> str:
    """Name the payee of a hold as `payee` takes it."""
    if account is None:
        return WITHDRAWAL.value
    is_plain = account.segment == "USER" and account.sub_account == "AVAILABLE"
    return account.id if is_plain and account.id != WITHDRAWAL.value else account.text


def line_number(context: click.Context, parameter: click.Parameter, value: str) -> int:
    """Read the sequence of a line; for click."""
    if _SEQUENCE.fullmatch(value) is None:
        raise click.BadParameter(f"{value!r} is not the number of a line", context, parameter)
    return int(value)
