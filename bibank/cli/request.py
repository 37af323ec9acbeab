"""What commands that commit have in common: their options, committing, and trying it out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import update_wrapper
from pathlib import Path
from typing import Concatenate, ParamSpec, TypedDict, TypeVar

import attrs
import click

from bibank.cli.correlation import correlation_option, named, uuid7
from bibank.cli.output import note, print_json, print_line, print_table
from bibank.cli.settings import Settings, pass_settings
from bibank.cli.signers import key_file_option, ledger_signer, signed_by_option
from bibank.journal.machine import BalanceChange
from bibank.ledger import Ledger
from bibank.model.account import AccountKey
from bibank.model.entry import JournalEntry
from bibank.model.record import JournalLine
from bibank.model.table import plain
from bibank.model.timestamp import parse_timestamp
from bibank.snapshots.keeper import SNAPSHOT_LINES

P = ParamSpec("P")
T = TypeVar("T")

NEGATIVE_AMOUNTS = {"ignore_unknown_options": True}
"""A negative amount looks like an option. It is handed on, and the library says what is wrong with it."""

_CHANGE_COLUMNS = ("account", "before", "after")

_signs_option = key_file_option("The ledger's own key, where the home does not hold it.")
_dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Add no line; show what would change, account by account."
)
_key_option = click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Make a retry safe: the second try under a key gives what the first one committed.",
)
effective_option = click.option(
    "--effective-at", metavar="TIME", help="When it counts, where that is not now: 2026-12-01T00:00:00Z."
)


@attrs.frozen
class Done:
    """What a verb committed: its lines, its JSON document, and what else to tell a person."""

    lines: tuple[JournalLine, ...]
    document: object
    words: tuple[str, ...] = ()

    @classmethod
    def one(cls, line: JournalLine, *words: str) -> Done:
        """Take the line of a verb of one."""
        return cls((line,), plain(line), words)

    @classmethod
    def many(cls, entries: tuple[JournalEntry, ...], *words: str) -> Done:
        """Take the entries of a verb of several."""
        return cls(entries, {"entries": plain(entries)}, words)


class Keywords(TypedDict):
    """The keywords that every verb takes."""

    idempotency_key: str | None
    effective_at: datetime | None


@attrs.frozen(kw_only=True)
class Request:
    """One movement of money, or one decision, as it was asked for on the command line.

    `key_file` is the ledger's own key.
    """

    settings: Settings
    correlation_id: str | None
    key_file: Path | None
    is_dry_run: bool
    idempotency_key: str | None = None
    effective_at: datetime | None = None

    @property
    def keywords(self) -> Keywords:
        """What the verb is told besides parties and money."""
        return {"idempotency_key": self.idempotency_key, "effective_at": self.effective_at}

    def commit(self, verb: Callable[[Ledger], Done]) -> None:
        """Open the ledger, do one thing under a correlation id, and print what was committed.

        A dry run does it on a fork, which is in memory and gone afterwards.
        """
        home = self.settings.home
        if self.is_dry_run:
            home.survey().raise_if_torn()  # opening for writing would set the torn bytes aside
            trace = self.correlation_id if self.correlation_id is not None else str(uuid7())
        else:
            trace = named(self.settings, self.correlation_id)
        every = None if self.is_dry_run else SNAPSHOT_LINES
        with Ledger.open(home.path, signer=ledger_signer(self.key_file), snapshot_every=every) as opened:
            ledger = opened.bind(correlation_id=trace)
            last = ledger.head.sequence
            if self.is_dry_run:
                fork = ledger.fork()
                self._show_changes(ledger, fork, verb(fork), last)
                return
            done = verb(ledger)
            if done.lines:
                self.settings.committed = done.lines[0].sequence
                self._tell_of_retry(done, last)
            self._show(done)

    def _show(self, done: Done) -> None:
        if self.settings.as_json:
            print_json(done.document)
            return
        for line in done.lines:
            print_line(line)
        for text in done.words:
            click.echo(text)

    def _tell_of_retry(self, done: Done, last: int) -> None:
        first = done.lines[0]
        if first.sequence <= last:
            text = f"line {first.sequence} was committed before under this key, by {first.correlation_id}"
            note(self.settings, text)

    def _show_changes(self, ledger: Ledger, fork: Ledger, done: Done, last: int) -> None:
        """Show what the accounts are before and after; nothing changes when the key was used before."""
        is_retry = bool(done.lines) and done.lines[0].sequence <= last
        committed = done.lines[0].sequence if is_retry else None
        if is_retry:
            self._tell_of_retry(done, last)
        changes = [] if is_retry else _changes(ledger, fork, done.lines)
        if self.settings.as_json:
            print_json({"dry_run": True, "committed": committed, "changes": [plain(row) for row in changes]})
        else:
            note(self.settings, "a dry run: nothing was written")
            cells = ((row.account.text, str(row.before), str(row.after)) for row in changes)
            print_table(_CHANGE_COLUMNS, cells, right=frozenset(_CHANGE_COLUMNS[1:]))


def _changes(ledger: Ledger, fork: Ledger, lines: tuple[JournalLine, ...]) -> list[BalanceChange]:
    """Compare the accounts that entries on a fork touched, in the order in which they did."""
    touched: dict[AccountKey, None] = dict.fromkeys(
        posting.account for line in lines if isinstance(line, JournalEntry) for posting in line.postings
    )
    return [
        BalanceChange(
            account=account, before=ledger.balance(account).posted, after=fork.balance(account).posted
        )
        for account in touched
    ]


def plain_request_options(command: Callable[Concatenate[Request, P], None]) -> Callable[..., None]:
    """Add the options of a command that moves money and is safe to repeat by itself."""

    def run(
        settings: Settings,
        /,
        correlation_id: str | None,
        key_file: Path | None,
        dry_run: bool,  # noqa: FBT001 - click hands flags over as booleans
        *args: P.args,
        **others: P.kwargs,
    ) -> None:
        request = Request(
            settings=settings, correlation_id=correlation_id, key_file=key_file, is_dry_run=dry_run
        )
        command(request, *args, **others)

    update_wrapper(run, command)
    return correlation_option(_dry_run_option(_signs_option(pass_settings(run))))


def request_options(command: Callable[Concatenate[Request, P], None]) -> Callable[..., None]:
    """Add the options of a command that moves money, and hand them over as one `Request`."""

    def run(
        request: Request,
        /,
        idempotency_key: str | None,
        effective_at: str | None,
        *args: P.args,
        **others: P.kwargs,
    ) -> None:
        moment = None if effective_at is None else parse_timestamp(effective_at)
        full = attrs.evolve(request, idempotency_key=idempotency_key, effective_at=moment)
        command(full, *args, **others)

    update_wrapper(run, command)
    return plain_request_options(_key_option(effective_option(run)))


def decision_options(command: Callable[Concatenate[Request, P], None]) -> Callable[..., None]:
    """Add the options of a command that writes a decision. Its --key-file is a person's, where it has one."""

    def run(
        settings: Settings,
        /,
        correlation_id: str | None,
        signed_by: Path | None,
        idempotency_key: str | None,
        *args: P.args,
        **others: P.kwargs,
    ) -> None:
        request = Request(
            settings=settings,
            correlation_id=correlation_id,
            key_file=signed_by,
            is_dry_run=False,
            idempotency_key=idempotency_key,
        )
        command(request, *args, **others)

    update_wrapper(run, command)
    return signed_by_option(correlation_option(_key_option(pass_settings(run))))
