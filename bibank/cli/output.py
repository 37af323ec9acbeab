"""Printing: data on stdout, notes on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import click

from bibank.cli.settings import Settings
from bibank.journal.proposals import read_proposal
from bibank.model.account import AVAILABLE, AccountKey, Side
from bibank.model.entry import JournalEntry, Posting, TransactionIntent
from bibank.model.json_value import FrozenMap
from bibank.model.record import JournalLine, JournalRecord, RecordKind
from bibank.model.timestamp import format_timestamp

_TABLE_CHUNK = 500
"""Rows that a table looks ahead to find its widths, so that a long one starts at once."""

_PLAIN_SUB_ACCOUNTS = frozenset({AVAILABLE, "MAIN"})


def print_json(value: object) -> None:
    """Print one JSON document on one line. ASCII only, whatever the locale."""
    click.echo(json.dumps(value))


def note(settings: Settings, *texts: str, label: str = "note") -> None:
    """Tell the person at the terminal, a line each; with --json all in a one-line object on stderr."""
    if settings.as_json:
        click.echo(json.dumps({label: "; ".join(texts)}), err=True)
    else:
        click.echo("\n".join(f"{label}: {text}" for text in texts), err=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: frozenset[str]) -> None:
    """Print aligned columns; those named in `right` are aligned to the right."""
    widths = [len(column) for column in columns]
    remaining = iter(rows)
    shown: list[Sequence[str]] = [columns]
    chunk = list(islice(remaining, _TABLE_CHUNK))
    while shown or chunk:
        widths = [max([width, *map(len, cells)]) for width, *cells in zip(widths, *chunk, strict=True)]
        if shown:
            shown.append(["-" * width for width in widths])
        lines = (
            "  ".join(
                cell.rjust(width) if name in right else cell.ljust(width)
                for name, cell, width in zip(columns, row, widths, strict=True)
            ).rstrip()
            for row in (*shown, *chunk)
        )
        click.echo("\n".join(lines))
        shown = []
        chunk = list(islice(remaining, _TABLE_CHUNK))


def print_line(line: JournalLine) -> None:
    """Print one committed line for a person."""
    if isinstance(line, JournalEntry):
        text = short_entry(line.intent, line.postings)
    else:
        text = short_record(line)
    click.echo(f"line {line.sequence}: {text}")
    click.echo(f"{format_timestamp(line.timestamp)} {line.hash}")


def short_entry(intent: TransactionIntent, postings: Sequence[Posting]) -> str:
    """Say what an entry does, or would do.

    An adjustment may touch any account, so it is told by whole keys: nobody approves what looks like another.
    """
    if intent is TransactionIntent.ADJUSTMENT:
        told = ", ".join(f"{p.side.value} {p.account} {p.amount}" for p in postings)
        return f"{intent.value} {told}"
    return f"{intent.value} {short_postings(postings)}"


def short_record(record: JournalRecord) -> str:
    """Say what a record decides, and who or which account it is about."""
    kind, subject, body = record.kind, record.subject, record.body
    payload = body.get("payload")
    if not isinstance(payload, FrozenMap):
        return f"{kind.value} {subject}"
    match kind:
        case RecordKind.PROPOSAL:
            proposed = read_proposal(payload)
            return f"proposal by {subject}: {short_entry(proposed.intent, proposed.postings)}"
        case RecordKind.APPROVAL | RecordKind.ATTESTATION:
            return f"{kind.value} of line {payload['sequence']} by {subject}"
        case RecordKind.LIMIT_SET:
            return f"{kind.value} {subject}: floor {payload['floor']}"
        case RecordKind.OVERRIDE:
            return f"{kind.value} of {payload['rule']} until {payload['expires_at']}"
        case _:
            return f"{kind.value} {subject}"


def printable(text: str) -> str:
    """Write what a person typed into the journal on one line, with nothing that a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short_postings(postings: Sequence[Posting]) -> str:
    """Say who pays whom, asset by asset; debit and credit by name where it is no pair."""
    assets = dict.fromkeys(posting.account.asset for posting in postings)
    return ", ".join(
        part
        for asset in assets
        for part in _short_asset([posting for posting in postings if posting.account.asset == asset])
    )


def _short_asset(postings: Sequence[Posting]) -> Iterator[str]:
    debits = [posting for posting in postings if posting.side is Side.DEBIT]
    credits = [posting for posting in postings if posting.side is Side.CREDIT]
    if len(debits) == len(credits) == 1:
        yield f"{_party(debits[0].account)} -> {_party(credits[0].account)} {_money(debits[0])}"
        return
    for posting in postings:
        yield f"{posting.side.value} {_party(posting.account)} {_money(posting)}"


def _money(posting: Posting) -> str:
    return f"{posting.amount} {posting.account.asset}"


def _party(account: AccountKey) -> str:
    """Name an account as briefly as it stays clear."""
    rest = "" if account.sub_account in _PLAIN_SUB_ACCOUNTS else f"/{account.sub_account}"
    return account.owner + rest
