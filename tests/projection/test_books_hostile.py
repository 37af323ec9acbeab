"""What somebody else wrote into the books: answers, or a typed error, and never a foreign exception."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bibank import drafts
from bibank.errors import HeadConflict, ProjectionMismatch, StoreUnavailable
from bibank.journal.accounts import AccountBook
from bibank.model.entry import TransactionIntent
from bibank.projection.books import SqliteBooks
from bibank.projection.runner import catch_up
from bibank.projection.sources import JournalLines
from tests.projection.journals import OWNERS, execute, journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a projection may be made."""
    return tmp_path / "projection.db"


LIES = (
    "UPDATE accounts SET key = 'x' || id",
    "UPDATE accounts SET key = replace(key, 'USDT', 'usdt')",
    "UPDATE accounts SET key = CAST(x'4c494142ff' || id AS TEXT)",
    "UPDATE accounts SET balance = 'much'",
    "UPDATE accounts SET balance = 0.5",
    "UPDATE entries SET timestamp = 9223372036854775807",
    "UPDATE entries SET effective = -9223372036854775807",
    "UPDATE entries SET intent = 99",
    "UPDATE entries SET correlation_id = CAST(x'ff' AS TEXT)",
    "DELETE FROM entries",
    "UPDATE postings SET change = 'much'",
    "UPDATE postings SET change = x'00', balance = x'00'",
    "UPDATE postings SET balance = '99999999999999999999999999999999999999999'",
    "UPDATE postings SET account = account + 1000",
    "DELETE FROM postings",
    "UPDATE shifted SET change = ''",
    "UPDATE shifted SET effective = 0",
    "UPDATE metadata SET sequence = -sequence, name = CAST(x'ff' || name AS TEXT)",
    "UPDATE trades SET base_amount = -1",
    "UPDATE trades SET quote_amount = ''",
    "UPDATE trades SET sequence = sequence + 100",
    "UPDATE trades SET trade_id = CAST(x'ff' AS TEXT)",
    "UPDATE holds SET account = 1",
    "UPDATE holds SET amount = -1, payee = 'nobody'",
    "UPDATE holds SET payee = ''",
    "UPDATE holds SET expires_at = 9223372036854775807",
    "UPDATE holds SET paid = 'a'",
    "UPDATE meta SET sequence = 9223372036854775807",
    "UPDATE meta SET sequence = -5",
)


def _everything() -> list[bytes]:
    early = datetime(2020, 1, 1, tzinfo=UTC)
    trade = drafts.trade(
        maker="ALICE", maker_gives="2 USDT", taker="BOB", taker_gives="1 BTC", correlation_id="x"
    )
    return journal(
        [
            [drafts.deposit("ALICE", "10 USDT", correlation_id="d", effective_at=early)],
            [drafts.deposit("BOB", "10 BTC", correlation_id="d", metadata={"note": "n" * 200})],
            [drafts.hold("ALICE", "4 USDT", to="SHOP", expires_at=None, correlation_id="h")],
            [trade, drafts.fee("ALICE", "0.1 USDT", correlation_id="x")],
            [trade],
        ]
    )


def _ask_everything(books: SqliteBooks) -> None:
    """Ask every question, each of which may say that the file is of no use."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    names = [f"LIAB:USER:{owner}:USDT:AVAILABLE" for owner in OWNERS]
    questions: list[Callable[[], object]] = [
        books.accounts,
        books.dump,
        books.digest,
        books.open_holds,
        books.trades,
        lambda: books.balances("ALICE"),
        lambda: books.balance("ALICE", "USDT"),
        lambda: list(books.movements(names)),
        lambda: books.units_at("", 4),
        lambda: books.units_of(names, 4),
        lambda: books.units_effective("", now, until_sequence=9),
        lambda: books.last_recorded(now),
        lambda: books.find(metadata={"note": "n" * 200}),
        lambda: books.find(correlation_id="d", intent=TransactionIntent.DEPOSIT),
        lambda: books.trades(user="ALICE", pair=("BTC", "USDT"), limit=1),
        lambda: books.check_against(AccountBook()),
    ]
    for question in questions:
        try:
            question()
        except (ProjectionMismatch, HeadConflict, StoreUnavailable):
            pass


@pytest.mark.parametrize("lie", LIES)
def test_lies_in_the_file_are_typed(path: Path, lie: str) -> None:
    """Whatever the columns hold, questions and `catch_up` work or say that the file is of no use."""
    lines = _everything()
    with SqliteBooks(path) as books:
        catch_up(books, JournalLines(lines[:-1]))
        assert str(books.balance("BOB", "BTC").available) == "9"
        execute(path, lie)
        _ask_everything(books)
        try:
            catch_up(books, JournalLines(lines))
        except (ProjectionMismatch, HeadConflict, StoreUnavailable):
            pass
    try:
        with SqliteBooks(path) as books:
            _ask_everything(books)
            catch_up(books, JournalLines(lines))
            _ask_everything(books)
    except (ProjectionMismatch, HeadConflict, StoreUnavailable):
        pass


def test_everything_is_asked_of_a_sound_file(path: Path) -> None:
    """The questions above are answered where nobody lied."""
    with SqliteBooks(path) as books:
        catch_up(books, JournalLines(_everything()))
        assert len(books.trades(user="ALICE", pair=("BTC", "USDT"))) == 2
        assert len(books.open_holds()) == 1
        assert books.find(metadata={"note": "n" * 200}) == [4]
        assert books.units_effective("LIAB:", datetime(2020, 1, 1, tzinfo=UTC), until_sequence=99) == {
            "LIAB:USER:ALICE:USDT:AVAILABLE": 10 * 10**8
        }
