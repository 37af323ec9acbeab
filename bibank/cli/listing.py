"""Commands that list lines of the journal: `entries`, `records`, `tail`. None takes the lock."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import cast

import click

from bibank.cli.output import print_json, print_table, printable, short_entry, short_postings, short_record
from bibank.cli.settings import Settings, global_options, pass_settings
from bibank.model.entry import JournalEntry, TransactionIntent
from bibank.model.json_value import FrozenMap
from bibank.model.record import JournalLine, JournalRecord, RecordKind
from bibank.model.table import plain
from bibank.model.timestamp import format_timestamp
from bibank.projection.verified import verified_batches
from bibank.reader import LedgerReader
from bibank.source import check_limit

_ENTRY_COLUMNS = ("sequence", "timestamp", "intent", "postings", "correlation id")
_RECORD_COLUMNS = ("sequence", "timestamp", "record", "reason", "correlation id")

_POLL_SECONDS = 0.25
"""Between two looks of `tail -f`: soon enough for a person, seldom enough for the machine."""


@click.command()
@global_options()
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="N", help="Only those after line N.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most N of them.")
@click.option(
    "--intent",
    type=click.Choice([intent.value for intent in TransactionIntent], case_sensitive=False),
    help="Only those of this intent.",
)
@click.option("--correlation-id", metavar="ID", help="Only those of this request.")
@click.option(
    "--metadata",
    multiple=True,
    metavar="NAME=TEXT",
    help="Only those whose metadata has this text, or with NAME:=JSON this value. May be repeated.",
)
@pass_settings
def entries(
    settings: Settings,
    after: int,
    limit: int | None,
    intent: str | None,
    correlation_id: str | None,
    metadata: tuple[str, ...],
) -> None:
    """List entries in journal order, each verified from genesis on."""
    members = list(map(_member, metadata))
    wanted = dict(members)
    if len(wanted) < len(members):
        raise click.BadParameter("a member is named twice; an entry has it once", param_hint="--metadata")
    listed: Iterable[JournalEntry]
    if intent is None and correlation_id is None and not wanted:
        listed = islice(
            _all_entries(settings, after), check_limit(limit)
        )  # one by one: there may be millions
    else:
        with LedgerReader.open(settings.home.path, verify="chain", show="written") as reader:
            listed = reader.entries(
                after_sequence=after,
                limit=limit,
                intent=None if intent is None else TransactionIntent(intent),
                correlation_id=correlation_id,
                metadata=wanted,
            )
    if settings.as_json:
        for entry in listed:
            print_json(plain(entry))
    else:
        print_table(_ENTRY_COLUMNS, _entry_cells(listed), right=frozenset({"sequence"}))


def _all_entries(settings: Settings, after: int) -> Iterator[JournalEntry]:
    plan = settings.home.survey()
    return (
        view
        for batch in verified_batches(plan.read(), place=plan.place)
        for line in batch
        if line.sequence > after and isinstance(view := line.view(), JournalEntry)
    )


def _member(text: str) -> tuple[str, object]:
    """Read a member of metadata that is asked for: its text, or behind `:=` its value as JSON."""
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not NAME=TEXT or NAME:=JSON", param_hint="--metadata")
    if not name.endswith(":"):
        return name, value
    try:
        return name[:-1], cast("object", json.loads(value))
    except (ValueError, RecursionError):
        raise click.BadParameter(f"{value!r} is no JSON", param_hint="--metadata") from None


def _entry_cells(listed: Iterable[JournalEntry]) -> Iterator[list[str]]:
    for entry in listed:
        yield [
            str(entry.sequence),
            format_timestamp(entry.timestamp),
            entry.intent.value,
            short_postings(entry.postings),
            entry.correlation_id,
        ]


@click.command()
@global_options()
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in RecordKind], case_sensitive=False),
    help="Only those of this kind.",
)
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="N", help="Only those after line N.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most N of them.")
@pass_settings
def records(settings: Settings, kind: str | None, after: int, limit: int | None) -> None:
    """List records, the lines that move no money, in journal order; takes no lock."""
    only = None if kind is None else RecordKind(kind)
    with LedgerReader.open(settings.home.path) as reader:
        found = reader.records(after_sequence=after, limit=limit, kind=only)
    if settings.as_json:
        for record in found:
            print_json(plain(record))
    else:
        print_table(_RECORD_COLUMNS, map(_record_cells, found), right=frozenset({"sequence"}))


def _record_cells(record: JournalRecord) -> tuple[str, ...]:
    when = format_timestamp(record.timestamp)
    what, reason = printable(short_record(record)), printable(_reason(record))
    return str(record.sequence), when, what, reason, record.correlation_id


def _reason(record: JournalRecord) -> str:
    """Find why it was decided; nothing where nobody was asked."""
    payload = record.body.get("payload")
    if not isinstance(payload, FrozenMap):
        return ""
    metadata = payload.get("metadata")
    holder = metadata if isinstance(metadata, FrozenMap) else payload
    return str(holder.get("reason", ""))


@click.command()
@global_options()
@click.option("-n", "--lines", type=click.IntRange(min=0), default=10, metavar="N", help="The last N lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on with each new line, until interrupted.")
@pass_settings
def tail(settings: Settings, lines: int, follow: bool) -> None:  # noqa: FBT001 - click hands flags over as booleans
    """Show the last lines of the journal, entries and records; with -f also those that come.

    What comes is shown once it is known to be on the disk: within a second beside a busy writer.
    """
    with LedgerReader.open(settings.home.path, verify="chain") as reader:
        last = reader.head.sequence
        for sequence in range(max(last - lines, 0) + 1, last + 1):
            _print_tail(settings, reader.line(sequence))
        if follow:
            for line in reader.follow(after_sequence=last, poll_seconds=_POLL_SECONDS):
                _print_tail(settings, line)


def _print_tail(settings: Settings, line: JournalLine) -> None:
    if settings.as_json:
        print_json(plain(line))
        return
    what = short_entry(line.intent, line.postings) if isinstance(line, JournalEntry) else short_record(line)
    when = format_timestamp(line.timestamp)
    click.echo(f"{line.sequence}  {when}  {printable(what)}  {line.correlation_id}")
