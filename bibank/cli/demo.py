"""`bibank demo`: what a ledger does, shown in a few seconds on a fresh one.

Every balance is checked against a calculation that knows nothing of the ledger: a dict of integers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import attrs
import click

from bibank.audit import audit_home
from bibank.cli.output import print_json, short_postings
from bibank.cli.progress import progress_bar
from bibank.cli.settings import Settings, global_options, pass_settings
from bibank.errors import InsufficientBalance
from bibank.home import Home
from bibank.journal import drafts
from bibank.ledger import Ledger
from bibank.model.amount import SignedAmount
from bibank.model.entry import JournalEntry, UnsignedEntry
from bibank.model.table import plain
from bibank.model.trade import TradeFee
from bibank.projection.books import SqliteBooks
from bibank.projection.upkeep import ask_books, rebuild_books

_ASSET = "USDT"
_BASE = "BTC"
_CAPITAL = "1000000"
_SEED = 20260125
_FUNDING = 1_000
"""Whole USDT that each account starts with."""
_LARGEST_TRANSFER = 30_000
"""In hundredths: large enough that some transfers find too little money."""
_GROUP = 1_000
"""Drafts handed to one `commit_each`."""

Say = Callable[[str], None]
Cents = dict[str, int]
"""The independent calculation: hundredths of a USDT by owner."""


@attrs.frozen(kw_only=True)
class DemoSize:
    """How much the demonstration does."""

    accounts: int = 1_000
    transfers: int = 20_000


@attrs.frozen(kw_only=True)
class DemoFigures:
    """What the demonstration did, and how fast."""

    ledger_id: str
    committed: int
    refused: int
    entries_per_second: int
    journal_bytes: int
    reopened_lines_per_second: int
    audited_lines_per_second: int
    replayed_lines_per_second: int
    balances_checked: int


@attrs.frozen
class _Transfer:
    payer: str
    payee: str
    cents: int

    def draft(self, correlation_id: str) -> UnsignedEntry:
        money = f"{_decimal(self.cents)} {_ASSET}"
        return drafts.transfer(self.payer, self.payee, money, correlation_id=correlation_id)


def run_demo(directory: Path, *, size: DemoSize, say: Say) -> DemoFigures:
    """Run the whole demonstration in a directory without a ledger; `HomeExists` otherwise."""
    home = Home(directory)
    expected: Cents = {}
    with Ledger.create(directory, opening={_ASSET: _CAPITAL, _BASE: "21"}) as ledger:
        ledger_id = ledger.ledger_id
        say(f"A fresh ledger: {ledger_id}")
        transfer = _first_steps(ledger, expected, say)
        _further_steps(ledger, transfer, expected, say)
        committed, refused, seconds = _many_transfers(ledger, expected, size, say)
        lines = ledger.head.sequence
    entries_per_second = _rate(size.transfers, seconds)
    journal_bytes = sum(path.stat().st_size for path in home.journal.glob("*.jsonl"))
    say(f"  {entries_per_second} transfers a second; the journal has {lines} lines, {journal_bytes} bytes")

    with _timed() as reopening, Ledger.open(directory) as ledger:
        reopened_rate = _rate(lines, reopening())
        say(f"Restart: every line verified while opening, {reopened_rate} lines a second")
        balances_checked = _check_balances(ledger, expected)
    say(f"Balances: all {balances_checked} equal those of an independent calculation")

    with _timed() as auditing:
        report = audit_home(directory)
        audited_rate = _rate(report.lines, auditing())
    say(f"Audit: {report.lines} lines recomputed, {audited_rate} lines a second; {report.accounts} accounts")

    ask_books(directory, SqliteBooks.digest)
    with _timed() as replaying, progress_bar("Replaying", total=lines) as progress:
        rebuild = rebuild_books(directory, progress=progress)
        replayed_rate = _rate(lines, replaying())
    if not rebuild.identical:
        raise AssertionError(f"the projection held {rebuild.before}, a replay gives {rebuild.after}")
    say(f"replay --reset: the rebuilt projection is identical, {replayed_rate} lines a second")
    say(f"  digest {rebuild.after}")
    return DemoFigures(
        ledger_id=ledger_id,
        committed=committed,
        refused=refused,
        entries_per_second=entries_per_second,
        journal_bytes=journal_bytes,
        reopened_lines_per_second=reopened_rate,
        audited_lines_per_second=audited_rate,
        replayed_lines_per_second=replayed_rate,
        balances_checked=balances_checked,
    )


def _first_steps(ledger: Ledger, expected: Cents, say: Say) -> JournalEntry:
    """Commit a few entries one by one, be refused once, and give the transfer."""
    expected |= {"ALICE": 75_000, "BOB": 22_050}
    _show(ledger.entry(1), say)
    _show(ledger.deposit("ALICE", f"1000 {_ASSET}", correlation_id="demo-1"), say)
    transfer = ledger.transfer("ALICE", "BOB", f"250 {_ASSET}", correlation_id="demo-2")
    _show(transfer, say)
    _show(ledger.withdraw("BOB", f"29.5 {_ASSET}", correlation_id="demo-3"), say)
    try:
        ledger.withdraw("BOB", f"300 {_ASSET}", correlation_id="demo-4")
    except InsufficientBalance as refusal:
        say(
            f"  refused: withdrawal of 300 {_ASSET} by BOB: required {refusal.required}, "
            f"available {refusal.available}, shortfall {refusal.shortfall}"
        )
    return transfer


def _further_steps(ledger: Ledger, transfer: JournalEntry, expected: Cents, say: Say) -> None:
    """Trade with a fee, keep money for a shop and pay part of it, and take a part of an entry back."""
    expected["ALICE"] += -5_000 - 5 - 1_500 + 5_000
    expected["BOB"] += 5_000 - 5_000
    expected["SHOP"] = 1_500
    _show(ledger.deposit("BOB", f"0.001 {_BASE}", correlation_id="demo-5"), say)
    traded = ledger.trade(
        maker="ALICE",
        maker_gives=f"50 {_ASSET}",
        taker="BOB",
        taker_gives=f"0.0005 {_BASE}",
        fees=[TradeFee("ALICE", f"0.05 {_ASSET}")],
        correlation_id="demo-6",
    )
    for entry in (traded.entry, *traded.fees):
        _show(entry, say)
    held = ledger.hold("ALICE", f"20 {_ASSET}", to="SHOP", correlation_id="demo-7")
    _show(ledger.entry(held.id), say)
    for entry in ledger.post_hold(held.id, "15", correlation_id="demo-8"):
        _show(entry, say)
    say(f"  50 {_ASSET} of line {transfer.sequence} are taken back:")
    _show(ledger.reverse(transfer.sequence, "50", correlation_id="demo-9"), say)


def _show(entry: JournalEntry, say: Say) -> None:
    say(f"  line {entry.sequence}: {entry.intent.value} {short_postings(entry.postings)}")


def _many_transfers(ledger: Ledger, expected: Cents, size: DemoSize, say: Say) -> tuple[int, int, float]:
    """Commit seeded random transfers; give how many passed, how many were refused, and the seconds."""
    say(f"{size.transfers} random transfers (seed {_SEED}) among {size.accounts} accounts")
    owners = [f"USER{number:04d}" for number in range(size.accounts)]
    expected |= dict.fromkeys(owners, _FUNDING * 100)
    funding = (
        drafts.deposit(owner, f"{_FUNDING} {_ASSET}", correlation_id=f"fund-{owner}") for owner in owners
    )
    ledger.commit_each(funding).raise_for_refusals()

    dice = random.Random(_SEED)
    committed = refused = 0
    with _timed() as elapsed, progress_bar("Committing", total=size.transfers) as progress:
        for start in range(0, size.transfers, _GROUP):
            stop = min(start + _GROUP, size.transfers)
            wanted = [_draw(dice, owners) for _ in range(start, stop)]
            outcomes = ledger.commit_each(
                transfer.draft(f"random-{number}") for number, transfer in enumerate(wanted, start)
            )
            refused_here = sum(not _move(expected, transfer) for transfer in wanted)
            if len(outcomes.refused) != refused_here:
                raise AssertionError(f"{len(outcomes.refused)} were refused, it should be {refused_here}")
            committed += len(outcomes.committed)
            refused += refused_here
            progress(stop)
        seconds = elapsed()
    say(f"  {committed} committed, {refused} refused for lack of money, as the calculation expects")
    return committed, refused, seconds


def _draw(dice: random.Random, owners: list[str]) -> _Transfer:
    payer, payee = dice.sample(owners, 2)
    return _Transfer(payer, payee, dice.randint(1, _LARGEST_TRANSFER))


def _move(expected: Cents, transfer: _Transfer) -> bool:
    """Do a transfer in the independent calculation; False when the payer cannot afford it."""
    if expected[transfer.payer] < transfer.cents:
        return False
    expected[transfer.payer] -= transfer.cents
    expected[transfer.payee] += transfer.cents
    return True


def _check_balances(ledger: Ledger, expected: Cents) -> int:
    for owner, cents in expected.items():
        available = ledger.balance(owner, _ASSET).available
        if available != SignedAmount(_decimal(cents)):
            raise AssertionError(f"{owner} has {available}, it should be {_decimal(cents)}")
    return len(expected)


def _decimal(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _rate(count: int, seconds: float) -> int:
    return round(count / max(seconds, 1e-9))


@contextmanager
def _timed() -> Iterator[Callable[[], float]]:
    """Give a function that tells the seconds since here."""
    start = perf_counter()
    yield lambda: perf_counter() - start


@click.command()
@global_options()
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    help="Where to make the ledger and leave it; a temporary directory when left out.",
)
@pass_settings
def demo(settings: Settings, directory: Path | None) -> None:
    """Show on a fresh ledger what this does, and check it."""
    show(settings, directory, size=DemoSize())


def show(settings: Settings, directory: Path | None, *, size: DemoSize) -> None:
    """Run the demonstration and print what it did."""
    say = click.echo if not settings.as_json else _silence
    start = perf_counter()
    if directory is not None:
        figures = run_demo(directory, size=size, say=say)
        say(f"The ledger stays in {directory}")
    else:
        with TemporaryDirectory(prefix="bibank-demo-") as temporary:
            figures = run_demo(Path(temporary), size=size, say=say)
        say("The ledger was in a temporary directory and is gone; keep one with --directory DIR")
    seconds = round(perf_counter() - start, 1)
    say(f"Done in {seconds} seconds")
    if settings.as_json:
        print_json({**plain(figures), "seconds": str(seconds)})


def _silence(text: str) -> None:
    pass
