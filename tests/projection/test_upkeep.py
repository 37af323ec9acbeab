"""The projection of a home: caught up when asked, rebuilt when it is of no use."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

from bibank.errors import HeadConflict, HomeNotFound, JournalCorrupt, StoreUnavailable
from bibank.home import Home
from bibank.ledger import Ledger
from bibank.projection import database, upkeep
from bibank.projections import SqliteBooks, ask_books, rebuild_books
from tests.projection.journals import execute


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A ledger of four lines in which Bob has one USDT."""
    with Ledger.create(tmp_path / "books", durability="none") as ledger:
        ledger.deposit("ALICE", "100 USDT", correlation_id="d")
        ledger.transfer("ALICE", "BOB", "1 USDT", correlation_id="t")
    return Home(tmp_path / "books")


def bobs(balances: SqliteBooks) -> str:
    """Tell how much Bob has."""
    return str(balances.balance("BOB", "USDT").available)


def test_it_is_made_when_it_is_asked(home: Home) -> None:
    """A home needs no projection until somebody asks; then it is made and kept."""
    assert not home.projection.exists()
    answer = ask_books(home.path, bobs)
    assert (answer.value, answer.report.applied, answer.rebuilt_because) == ("1", 4, None)
    assert ask_books(home.path, bobs).report.applied == 0


def test_it_works_beside_a_writer(home: Home) -> None:
    """Asking needs no lock of the ledger, and sees what was committed before."""
    with Ledger.open(home.path, durability="none") as ledger:
        ask_books(home.path, bobs)
        ledger.transfer("ALICE", "BOB", "2 USDT", correlation_id="t")
        answer = ask_books(home.path, bobs)
    assert (answer.value, answer.report.applied) == ("3", 1)


def test_no_projection_without_a_ledger(tmp_path: Path) -> None:
    """Asking where there is no ledger makes nothing."""
    for attempt in (lambda: ask_books(tmp_path, bobs), lambda: rebuild_books(tmp_path)):
        with pytest.raises(HomeNotFound):
            attempt()
    assert list(tmp_path.iterdir()) == []


def test_a_deleted_projection_comes_back(home: Home) -> None:
    """After deleting the file the same state is built again, to the last byte of its dump."""
    before = ask_books(home.path, SqliteBooks.dump).value
    home.projection.unlink()
    assert ask_books(home.path, SqliteBooks.dump).value == before


def test_a_damaged_projection_is_rebuilt(home: Home) -> None:
    """A file that is no database is replaced, and the answer says why."""
    home.projection.write_bytes(b"no database" * 500)
    answer = ask_books(home.path, bobs)
    assert answer.value == "1"
    assert answer.rebuilt_because is not None
    assert "is damaged" in answer.rebuilt_because


def test_a_projection_of_another_version_is_rebuilt(home: Home) -> None:
    """A file of another schema version is replaced."""
    ask_books(home.path, bobs)
    execute(home.projection, "UPDATE meta SET schema = 'balances/0'")
    answer = ask_books(home.path, bobs)
    assert (answer.value, answer.report.applied) == ("1", 4)
    assert "balances/0" in str(answer.rebuilt_because)


def test_a_foreign_projection_is_rebuilt(home: Home, tmp_path: Path) -> None:
    """The projection of another ledger is replaced."""
    with Ledger.create(tmp_path / "other", durability="none") as ledger:
        ledger.deposit("BOB", "99 USDT", correlation_id="d")
    ask_books(tmp_path / "other", bobs)
    home.projection.write_bytes((tmp_path / "other" / "projection.db").read_bytes())
    answer = ask_books(home.path, bobs)
    assert answer.value == "1"
    assert "another ledger" in str(answer.rebuilt_because)


def test_a_projection_ahead_of_the_journal_is_rebuilt(home: Home) -> None:
    """When the journal lost its last line, the projection does not remember it either."""
    ask_books(home.path, bobs)
    (day,) = home.journal.glob("*.jsonl")
    day.write_bytes(b"".join(day.read_bytes().splitlines(keepends=True)[:3]))
    answer = ask_books(home.path, bobs)
    assert answer.value == "0"
    assert "the journal ends at 3" in str(answer.rebuilt_because)


def test_a_corrupt_journal_is_named_and_placed(home: Home) -> None:
    """A journal that does not hold answers nothing, and the error names file and line."""
    (day,) = home.journal.glob("*.jsonl")
    day.write_bytes(day.read_bytes().replace(b'"amount":"100"', b'"amount":"900"'))
    for attempt in (lambda: ask_books(home.path, bobs), lambda: rebuild_books(home.path)):
        with pytest.raises(JournalCorrupt) as caught:
            attempt()
        assert (caught.value.file, caught.value.line) == (day.name, 3)


def test_a_rebuild_is_identical(home: Home) -> None:
    """Dropped and replayed, the projection is what it was after it was caught up."""
    ask_books(home.path, bobs)
    with Ledger.open(home.path, durability="none") as ledger:
        ledger.deposit("CAROL", "5 USDT", correlation_id="d")
    rebuild = rebuild_books(home.path)
    assert rebuild.identical
    assert (rebuild.before, rebuild.report.applied) == (rebuild.after, 5)


def test_a_first_build_has_nothing_to_compare(home: Home) -> None:
    """Without a projection before there is no comparison, and no reproach."""
    rebuild = rebuild_books(home.path)
    assert (rebuild.identical, rebuild.before, rebuild.unusable_because) == (None, None, None)
    assert rebuild.after == ask_books(home.path, SqliteBooks.digest).value


def test_a_rebuild_finds_a_changed_balance(home: Home) -> None:
    """A balance that was changed in the projection is found, and gone afterwards."""
    ask_books(home.path, bobs)
    execute(home.projection, "UPDATE accounts SET balance = 1000000 WHERE key LIKE '%BOB%'")
    rebuild = rebuild_books(home.path)
    assert rebuild.identical is False
    assert rebuild.before != rebuild.after
    assert ask_books(home.path, bobs).value == "1"


def test_a_changed_balance_is_no_answer(home: Home) -> None:
    """A projection that does not hold the journal's balances is rebuilt before it answers."""
    ask_books(home.path, bobs)
    execute(home.projection, "UPDATE accounts SET balance = 1000000 WHERE key LIKE '%BOB%'")
    answer = ask_books(home.path, bobs)
    assert answer.value == "1"
    assert "not those of the journal" in str(answer.rebuilt_because)


def test_a_rebuild_replaces_what_is_of_no_use(home: Home) -> None:
    """A damaged projection cannot be compared; it is rebuilt, and the reason is told."""
    home.projection.write_bytes(b"no database" * 500)
    rebuild = rebuild_books(home.path)
    assert rebuild.identical is None
    assert "is damaged" in str(rebuild.unusable_because)
    assert rebuild_books(home.path).identical


def test_a_projection_that_cannot_be_deleted(home: Home) -> None:
    """What stands in the way and is no file is left to the operator."""
    home.projection.mkdir()
    with pytest.raises(StoreUnavailable):
        ask_books(home.path, bobs)
    with pytest.raises(StoreUnavailable, match="cannot delete"):
        database.delete_database(home.projection)


def test_another_process_is_waited_for(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conflict is tried again with the file for oneself, then after a pause, but not for ever."""
    pauses: list[float] = []
    monkeypatch.setattr(upkeep, "sleep", pauses.append)
    left = [HeadConflict("moved")] * 3

    def question(balances: SqliteBooks) -> str:
        if left:
            raise left.pop()
        return bobs(balances)

    assert ask_books(home.path, question).value == "1"
    assert len(pauses) == 1

    def never(balances: SqliteBooks) -> str:
        raise HeadConflict("moved")

    with pytest.raises(HeadConflict):
        ask_books(home.path, never)
    assert sum(pauses) < 10


def test_many_at_once(home: Home) -> None:
    """Askers and rebuilders of one home at the same time all get the right answer."""
    with Ledger.open(home.path, durability="none") as ledger:
        for _ in range(30):
            ledger.transfer("ALICE", "BOB", "1 USDT", correlation_id="t")
    answers: list[str] = []

    def ask() -> None:
        answers.extend(ask_books(home.path, bobs).value for _ in range(5))

    def rebuild() -> None:
        answers.extend("31" for _ in range(2) if rebuild_books(home.path).identical is not False)

    threads = [Thread(target=target) for target in (ask, ask, ask, rebuild)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["31"] * 17
