"""Questions about the past that the projection answers: how far, when not, and what becomes of it then."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from bibank import drafts
from bibank.chronicle import Chronicle
from bibank.history import History
from bibank.projection.file_guard import delete_alone
from bibank.projections import SqliteBooks
from tests.ledger.past import TOLD, asked_of_journal, made, posted
from tests.store.journals import StillClock, deposit


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a projection that reaches to line 5 of 7."""
    return made(tmp_path / "books")


ROOT = Path(__file__).resolve().parents[2]


def test_the_projection_answers_as_far_as_it_reaches(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement comes from the projection and the lines behind it; brought up to date, from it alone."""
    reached = asked_of_journal(monkeypatch)
    with bb.Ledger.open(home) as ledger:
        assert posted(ledger) == TOLD
        assert ledger.project().applied == 2
        assert posted(ledger) == TOLD
    assert reached() == [5, 7, 7]  # the second for the check of what was brought up to date


def test_readers_use_the_projection_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader asks the projection that is there, and makes none."""
    reached = asked_of_journal(monkeypatch)
    with bb.LedgerReader.open(home, show="written") as reader:
        assert posted(reader) == TOLD
        for file in home.glob("projection.db*"):
            file.unlink()
        assert posted(reader) == TOLD
    assert reached() == [5, 0]
    assert not (home / "projection.db").exists()


def spoil_balance(home: Path, _: Path) -> None:
    """Change what an account has in the file."""
    with sqlite3.connect(home / "projection.db") as connection:
        connection.execute("UPDATE accounts SET balance = balance + 1")
        connection.execute("UPDATE postings SET balance = balance + 1")
    connection.close()


def spoil_bytes(home: Path, _: Path) -> None:
    """Leave a file that is no database."""
    for file in home.glob("projection.db-*"):
        file.unlink()
    (home / "projection.db").write_bytes(b"no database at all" * 300)


def before_the_first_line(home: Path, _: Path) -> None:
    """Let the file say that it stands before any line."""
    with sqlite3.connect(home / "projection.db") as connection:
        connection.execute("UPDATE meta SET sequence = -1")
    connection.close()


def of_another_history(home: Path, other: Path) -> None:
    """Put the projection of another ledger in the place of this one."""
    with bb.Ledger.create(other, opening={"USDT": "100"}, durability="none") as ledger:
        ledger.commit(deposit("A", "10 USDT"))
        ledger.project()
    for file in home.glob("projection.db-*"):
        file.unlink()
    shutil.copy(other / "projection.db", home / "projection.db")


def stand_ahead(home: Path, other: Path) -> None:
    """Let the projection have come further than the journal."""
    shutil.copytree(home, other)
    with bb.Ledger.open(other) as ledger:
        ledger.commit(deposit("A", "10 USDT"))
        ledger.project()
    for file in home.glob("projection.db*"):
        file.unlink()
    shutil.copy(other / "projection.db", home / "projection.db")


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (spoil_balance, "not those of the journal"),
        (spoil_bytes, "not a database"),
        (of_another_history, "of another history"),
        (before_the_first_line, "cannot be"),
    ],
)
def test_a_projection_of_no_use_is_named_and_not_asked(
    home: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path, Path], None],
    named: str,
) -> None:
    """Damaged, foreign, edited or ahead: the journal answers instead, and the log says why."""
    spoil(home, tmp_path / "other")
    with bb.Ledger.open(home) as ledger, caplog.at_level(logging.INFO, logger="bibank"):
        assert posted(ledger) == TOLD
        assert named in caplog.text
        assert str(ledger.balance("A", "USDT", as_of=5).posted) == "60"
        assert sum(line.debit.units for line in ledger.trial_balance()) == 161 * 10**8
        assert len(ledger.entries(intent=bb.TransactionIntent.DEPOSIT)) == 4
        ledger.project()  # builds it anew
        caplog.clear()
        assert posted(ledger) == TOLD
        assert "projection" not in caplog.text


@pytest.mark.parametrize("error", [bb.HeadConflict, bb.StoreUnavailable, bb.ProjectionMismatch])
def test_a_projection_that_fails_in_the_middle_is_not_missed(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: type[bb.BibankError]
) -> None:
    """Moved by another process, locked or damaged while it is asked: the journal answers, the log says it."""

    def fails(*_: Any, **__: Any) -> None:
        raise error("not now")

    monkeypatch.setattr(SqliteBooks, "movements", fails)
    with bb.Ledger.open(home) as ledger:
        assert posted(ledger) == TOLD
        assert "not now" in caplog.text


def test_books_that_are_ahead_of_the_journal_wait_for_it(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Books of lines that are not there tell what is; once another line stands there, they are built anew."""
    stand_ahead(home, tmp_path / "other")
    with bb.Ledger.open(home) as ledger:
        assert posted(ledger) == TOLD
        report = ledger.project()
        assert (report.before.sequence, report.applied) == (8, 0)
        assert posted(ledger) == TOLD
        ledger.commit(deposit("A", "8 USDT"))
        assert posted(ledger) == [*TOLD, "54"]
        assert "of another history" in caplog.text
        caplog.clear()
        assert ledger.project().applied == 8
        assert "built anew" in caplog.text
        caplog.clear()
        assert posted(ledger) == [*TOLD, "54"]
        assert not caplog.text


def test_an_edit_between_the_comparison_and_the_answer_is_not_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is compared with memory and what is told are one state of the projection."""
    agrees = Chronicle.agrees
    edited = []

    def agrees_and_edit(self: Chronicle, *arguments: Any, **options: Any) -> bool:
        found = agrees(self, *arguments, **options)
        spoil_balance(home, home)
        edited.append(found)
        return found

    with bb.Ledger.open(home) as ledger:
        monkeypatch.setattr(Chronicle, "agrees", agrees_and_edit)
        assert str(ledger.balance("A", "USDT", as_of=5).posted) == "60"
        assert edited == [True]
        assert str(ledger.balance("A", "USDT", as_of=5).posted) == "60"
        assert edited == [True, False]


@pytest.mark.parametrize("beside", ["", "-wal", "-shm", "-journal"])
def test_what_is_no_file_beside_the_projection_is_not_waited_for(home: Path, beside: str) -> None:
    """A pipe where SQLite or its guard would open a file would be waited for: the journal answers instead."""
    with bb.Ledger.open(home) as ledger:
        for file in home.glob(f"projection.db{beside}"):
            file.unlink()
        os.mkfifo(home / f"projection.db{beside}")
        assert posted(ledger) == TOLD
        with pytest.raises(bb.StoreUnavailable):
            ledger.project()


DELETES_AND_ASKS = """
import os, sys, threading, time
import bibank as bb

home, seconds = sys.argv[1], float(sys.argv[2])
ledger = bb.Ledger.open(home)
end = time.monotonic() + seconds
wrong = []

def ask():
    while time.monotonic() < end:
        if str(ledger.balance("A", "USDT", as_of=5).posted) != "60":
            wrong.append("balance")

def make():
    while time.monotonic() < end:
        try:
            os.unlink(os.path.join(home, "projection.db"))
        except FileNotFoundError:
            pass
        try:
            ledger.project()
        except bb.StoreUnavailable:
            pass

threads = [threading.Thread(target=work) for work in (ask, ask, make)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit(1 if wrong else 0)
"""


def test_the_projection_may_be_deleted_under_those_who_ask(home: Path) -> None:
    """Deleted and made anew at any moment, it never becomes two files with one shared memory, which kills."""
    command = [sys.executable, "-c", DELETES_AND_ASKS, str(home), "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stderr


def test_books_that_are_ahead_and_of_another_history_are_not_asked(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Books of the same ledger whose entry at this journal's end is another one tell another history."""
    shutil.copytree(home, tmp_path / "other")
    clock = StillClock("2026-01-26")
    with bb.Ledger.open(tmp_path / "other", clock=clock) as other:
        for number in (8, 9):
            other.commit(deposit("A", f"{number} USDT"))
        other.project()
    with bb.Ledger.open(home, clock=clock) as ledger:
        ledger.commit(deposit("B", "8 USDT"))  # the same balance of A afterwards: it is not asked about 8
        for file in home.glob("projection.db*"):
            file.unlink()
        shutil.copy(tmp_path / "other" / "projection.db", home / "projection.db")
        assert [entry.sequence for entry in ledger.entries(correlation_id="r1")] == [3, 4, 5, 8]
        assert "of another history" in caplog.text
        assert posted(ledger) == TOLD


def test_a_trial_balance_that_does_not_balance_is_read_from_the_journal(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A posting that was taken out of the projection is missed where the two columns are added up."""
    with sqlite3.connect(home / "projection.db") as connection:
        connection.execute(
            "DELETE FROM postings WHERE sequence = 3 AND account = "
            "(SELECT id FROM accounts WHERE key = 'LIAB:USER:A:USDT:AVAILABLE')"
        )
    connection.close()
    with bb.Ledger.open(home) as ledger:
        lines = ledger.trial_balance(as_of=3)
        assert "debits and credits" in caplog.text
        assert [str(line.credit) for line in lines] == ["0", "100", "10"]


@pytest.mark.parametrize("is_projected", [False, True])
def test_what_is_first_used_while_a_question_is_asked_is_told_whole(
    home: Path, monkeypatch: pytest.MonkeyPatch, *, is_projected: bool
) -> None:
    """An asset, or a kind of fee, that a commit first uses between two looks is told like its entry."""
    books_of = History._books
    with bb.Ledger.open(home) as ledger:
        if is_projected:
            ledger.project()
        else:
            delete_alone(home / "projection.db", timeout_seconds=1)

        def commit_first(self: History) -> SqliteBooks | None:
            if ledger.head.sequence == 7:
                ledger.commit_batch(
                    [
                        drafts.deposit("A", "3 BTC", correlation_id="late"),
                        drafts.fee("A", "1 BTC", correlation_id="late"),
                    ]
                )
            elif ledger.head.sequence == 9 and len(told) == 1:
                ledger.fee("A", "0.5 BTC", kind=bb.FeeKind.MARGIN, correlation_id="late")
            return books_of(self)

        told: list[object] = []
        monkeypatch.setattr(History, "_books", commit_first)
        lines = ledger.statement("A")
        assert [(line.sequence, line.asset, str(line.posted)) for line in lines[-2:]] == [
            (8, "BTC", "3"),
            (9, "BTC", "2"),
        ]
        told.append(lines)
        found = [(row.kind, str(row.total)) for row in ledger.fee_totals()]
        assert found == [(bb.FeeKind.MARGIN, "0.5"), (bb.FeeKind.TRADING, "1")]


def test_trades_are_asked_for_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many trades the projection holds, all are told, and no more are read than are wanted."""
    monkeypatch.setattr("bibank.chronicle._TRADE_PAGE", 2)
    opening = {"USDT": "100", "BTC": "100"}
    with bb.Ledger.create(tmp_path / "books", opening=opening, durability="none") as ledger:
        bound = ledger.bind(correlation_id="r1")
        bound.deposit("A", "9 USDT")
        bound.deposit("B", "9 BTC")
        made = [
            bound.trade(maker="A", maker_gives="1 USDT", taker="B", taker_gives="1 BTC").entry.sequence
            for _ in range(5)
        ]
        ledger.project()
        assert [line.sequence for line in ledger.trades()] == made
        assert [line.sequence for line in ledger.trades(limit=3)] == made[:3]
        assert [line.sequence for line in ledger.trades(after_sequence=made[1], limit=2)] == made[2:4]


def test_a_file_that_is_open_is_not_deleted(home: Path) -> None:
    """Whoever deletes the projection, or makes it anew, waits until nobody has it open."""
    path = home / "projection.db"
    with SqliteBooks(path), pytest.raises(bb.StoreUnavailable, match="in use"):
        delete_alone(path, timeout_seconds=0.05)
    assert path.exists()
    with SqliteBooks(path):
        path.unlink()
        with pytest.raises(bb.StoreUnavailable, match="in use"):
            SqliteBooks(path, busy_timeout_seconds=0.05)
    with SqliteBooks(path) as books:
        assert not books.position.sequence
    delete_alone(path, timeout_seconds=0.05)
    assert [file.name for file in home.glob("projection.db*")] == ["projection.db-lock"]


def test_a_ledger_in_memory_has_no_projection_to_bring_up_to_date() -> None:
    """There is no home to put it in, and the error says who answers."""
    with pytest.raises(bb.ConfigurationError, match="its journal answers instead"):
        bb.Ledger.in_memory().project()


def test_filters_find_what_is_far_apart_and_what_is_near(tmp_path: Path) -> None:
    """Entries that the projection names are read one by one or in one go, and are the same."""
    with bb.Ledger.create(tmp_path / "books", opening={"USDT": "100"}, durability="none") as ledger:
        rare = {2, 150, 299}
        entries = [
            drafts.deposit("A", "1 USDT", correlation_id="rare" if number in rare else "often")
            for number in range(300)
        ]
        ledger.commit_each(entries)
        ledger.project()
        found = [entry.sequence for entry in ledger.entries(correlation_id="rare")]
        assert found == [3 + number for number in sorted(rare)]
        found = [entry.sequence for entry in ledger.entries(correlation_id="often")]
        assert found == [3 + number for number in range(300) if number not in rare]


def test_a_reader_that_lags_asks_the_books_that_are_ahead(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The books still tell what was at the reader's own last line."""
    with bb.LedgerReader.open(home, show="written") as reader:
        before = reader.statement("A"), reader.trial_balance(), reader.entries(correlation_id="r1")
        with bb.Ledger.open(home, clock=StillClock("2026-01-26")) as ledger:
            ledger.commit(deposit("A", "7 USDT"))
            ledger.project()
        reached = asked_of_journal(monkeypatch)
        assert (reader.statement("A"), reader.trial_balance(), reader.entries(correlation_id="r1")) == before
        assert reached() == [7, 7, 7]
        reader.refresh()
        assert posted(reader)[-1] == "53"
        assert "projection" not in caplog.text
