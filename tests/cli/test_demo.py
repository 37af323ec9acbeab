"""The demonstration, small and in full."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bibank.cli import demo
from bibank.cli.demo import DemoSize, run_demo
from bibank.errors import HomeExists
from bibank.ledger import Ledger
from bibank.projections import Rebuild, rebuild_books
from tests.cli.command import Command

SMALL = DemoSize(accounts=5, transfers=60)


def small(directory: Path) -> list[str]:
    """Run a small demonstration and give what it says."""
    said: list[str] = []
    run_demo(directory, size=SMALL, say=said.append)
    return said


def test_it_shows_a_refusal_with_its_figures(tmp_path: Path) -> None:
    """The refused withdrawal is shown with what was required, available and short."""
    assert "  refused: withdrawal of 300 USDT by BOB: required 300, available 220.5, shortfall 79.5" in small(
        tmp_path / "books"
    )


def test_it_shows_a_trade_a_hold_and_a_reversal(tmp_path: Path) -> None:
    """Besides money in, across and out: a trade with its fee, a hold paid in part, a part taken back."""
    said = small(tmp_path / "books")
    for shown in (
        "trade ALICE -> BOB 50 USDT, BOB -> ALICE 0.0005 BTC",
        "fee ALICE -> SYSTEM:FEE/TRADING 0.05 USDT",
        "transfer ALICE -> ALICE/LOCKED 20 USDT",
        "transfer debit ALICE/LOCKED 20 USDT, credit SHOP 15 USDT, credit ALICE 5 USDT",
        "50 USDT of line 4 are taken back:",
        "transfer BOB -> ALICE 50 USDT",
    ):
        assert any(line.endswith(shown) for line in said), shown


def test_it_is_the_same_each_time_but_for_times_and_ids(tmp_path: Path) -> None:
    """Two runs say the same, apart from times, rates and the ledger's id."""

    def constant(said: list[str]) -> list[str]:
        return [
            re.sub(r"bibank/\w+|[0-9]+ (?:lines|transfers) a second|[0-9a-f]{64}", "*", line) for line in said
        ]

    first, second = small(tmp_path / "first"), small(tmp_path / "second")
    assert constant(first) == constant(second)
    assert first != second


def test_it_leaves_a_ledger_that_can_be_used(tmp_path: Path) -> None:
    """What it made in a directory is a ledger like any other."""
    small(tmp_path / "books")
    with Ledger.open(tmp_path / "books") as ledger:
        assert str(ledger.balance("BOB", "USDT").available) == "220.5"
        ledger.audit()


def test_it_takes_no_place_of_a_ledger(tmp_path: Path) -> None:
    """A directory that holds a ledger is left alone."""
    Ledger.create(tmp_path / "books").close()
    with pytest.raises(HomeExists):
        small(tmp_path / "books")


def test_it_notices_wrong_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demonstration does not believe the ledger: other refusals than expected end it."""
    monkeypatch.setattr(demo, "_move", lambda expected, transfer: True)
    with pytest.raises(AssertionError, match="were refused"):
        small(tmp_path / "books")


def test_it_notices_wrong_balances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Balances that are not those of the calculation end it."""
    monkeypatch.setattr(demo, "_FUNDING", 10_000)
    move = demo._move

    def cheat(expected: demo.Cents, transfer: demo._Transfer) -> bool:
        moved = move(expected, transfer)
        expected[transfer.payee] += 1
        return moved

    monkeypatch.setattr(demo, "_move", cheat)
    with pytest.raises(AssertionError, match="it should be"):
        small(tmp_path / "books")


def test_it_notices_another_projection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebuilt projection that differs ends it."""

    def other(*arguments: object, **options: object) -> Rebuild:
        found = rebuild_books(tmp_path / "books")
        return Rebuild(report=found.report, before="0", after=found.after, unusable_because=None)

    monkeypatch.setattr(demo, "rebuild_books", other)
    with pytest.raises(AssertionError, match="the projection held 0"):
        small(tmp_path / "books")


def test_in_full(bibank: Command, tmp_path: Path) -> None:
    """The command as it is: 20,000 transfers among 1,000 accounts, in a process of its own."""
    outcome = bibank.spawn("demo", "--directory", str(tmp_path / "demo"))
    assert (outcome.code, outcome.err) == (0, "")
    assert "20000 random transfers (seed 20260125) among 1000 accounts" in outcome.out
    assert "Balances: all 1003 equal those of an independent calculation" in outcome.out
    assert "the rebuilt projection is identical" in outcome.out
    assert (tmp_path / "demo" / "journal").is_dir()
    assert not bibank.home.exists()


def test_as_json(bibank: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --json it prints one document of figures; a temporary directory is gone afterwards."""
    monkeypatch.setattr(demo, "DemoSize", lambda: SMALL)
    figures = bibank.run("demo", "--json", home=False).document
    assert figures["committed"] + figures["refused"] == 60
    assert figures["balances_checked"] == 8
    json.dumps(figures)


def test_in_a_temporary_directory(bibank: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --directory it says that the ledger is gone, and how to keep one."""
    monkeypatch.setattr(demo, "DemoSize", lambda: SMALL)
    outcome = bibank.run("demo", home=False)
    assert (outcome.code, outcome.err) == (0, "")
    assert "keep one with --directory DIR" in outcome.out


def test_in_a_directory_of_a_ledger(books: Command) -> None:
    """The command refuses a directory that holds a ledger, with 7."""
    before = books.day.read_bytes()
    assert books.run("demo", "--directory", str(books.home)).code == 7
    assert books.day.read_bytes() == before
