"""The balance projection: its obligations as a projection, and what it answers."""

from __future__ import annotations

import sqlite3
from calendar import timegm
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibank import drafts
from bibank.errors import (
    ConfigurationError,
    HeadConflict,
    InvalidAccountKey,
    InvalidType,
    InvalidValue,
    LedgerClosed,
    ProjectionMismatch,
    StoreUnavailable,
)
from bibank.journal.gate import Bystander
from bibank.journal.machine import LedgerMachine
from bibank.ledger import Ledger
from bibank.model.account import AccountKey
from bibank.model.entry import JournalEntry, UnsignedEntry
from bibank.model.json_value import canonical_text
from bibank.model.lines import Head
from bibank.projection import database
from bibank.projection.books import SqliteBooks
from bibank.projection.runner import catch_up
from bibank.projection.verified import VerifiedLine
from bibank.projections import JournalLines, Projection
from bibank.signing.trust import KeyringTrust, verify_never
from bibank.store.memory import MemoryStore
from tests.projection.journals import BATCHES, OWNERS, commit, dump_of, everyday, execute, scratch, verified
from tests.projection.journals import journal as journal_of

Drafts = Sequence[Sequence[UnsignedEntry]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a projection may be made."""
    return tmp_path / "projection.db"


# ------------------------------------------------------------------ obligations


def test_it_is_a_projection(path: Path) -> None:
    """The balance projection has what the protocol asks for, and begins before the first line."""
    with SqliteBooks(path) as balances:
        projection: Projection = balances
        assert isinstance(balances, Projection)
        assert (projection.name, projection.position) == ("books", Head())


@given(BATCHES, st.lists(st.integers(0, 40), max_size=6))
def test_incremental_equals_rebuild(batches: Drafts, stops: list[int]) -> None:
    """However often it is caught up and reopened on the way, the dump is that of one run."""
    lines = journal_of(batches)
    whole = {number for number, line in enumerate(verified(lines), 1) if not _in_batch(lines, number)}
    with scratch() as path:
        for stop in [*sorted(stop for stop in stops if stop in whole), len(lines)]:
            with SqliteBooks(path) as balances:
                catch_up(balances, JournalLines(lines[:stop]), flush_lines=3)
        with SqliteBooks(path) as balances:
            assert balances.dump() == dump_of(lines)
            balances.reset()
            catch_up(balances, JournalLines(lines))
            assert balances.dump() == dump_of(lines)


def _in_batch(lines: list[bytes], number: int) -> bool:
    """Tell whether the line with a number leaves its batch unfinished."""
    mark = verified(lines)[number - 1].view().batch
    return number < mark.first + mark.size - 1


@given(BATCHES, st.data())
def test_interruption_between_apply_and_flush(batches: Drafts, data: st.DataObject) -> None:
    """Crashes, repeated deliveries and late flushes at any point lose nothing and count nothing twice."""
    lines = verified(journal_of(batches))
    with scratch() as path:
        delivered = 0
        with ExitStack() as opened:
            balances = opened.enter_context(SqliteBooks(path))
            while balances.position.sequence < len(lines):
                match data.draw(st.sampled_from(["apply", "apply", "apply", "again", "flush", "crash"])):
                    case "apply" if delivered < len(lines):
                        balances.apply(lines[delivered])
                        delivered += 1
                    case "again" if delivered:
                        balances.apply(lines[data.draw(st.integers(0, delivered - 1))])
                    case "crash":
                        balances.close()
                        balances = opened.enter_context(SqliteBooks(path))
                        delivered = balances.position.sequence
                    case _:
                        balances.flush()
                        assert balances.position.sequence == delivered
            assert balances.dump() == dump_of([line.data for line in lines])


@given(st.integers(1, 100))
def test_interruption_inside_a_flush(steps: int) -> None:
    """A flush that is cut off after any number of SQLite's steps changes nothing and can be repeated."""
    lines = everyday(transfers=5)
    with scratch() as path, SqliteBooks(path) as balances:
        catch_up(balances, JournalLines(lines[:4]))
        before = balances.dump()
        for line in verified(lines):
            balances.apply(line)
        connection = balances._database._connection
        assert connection is not None
        interruptions = iter([1])
        connection.set_progress_handler(lambda: next(interruptions, 0), steps)
        try:
            balances.flush()
        except StoreUnavailable:
            assert balances.dump() == before
            balances.flush()
        connection.set_progress_handler(None, 0)
        assert balances.dump() == dump_of(lines)


def test_duplicate_delivery_is_ignored(path: Path) -> None:
    """Lines that were applied, saved or not, change nothing when they come again."""
    lines = verified(everyday())
    with SqliteBooks(path) as balances:
        for line in lines[:4] * 2:
            balances.apply(line)
        balances.flush()
        for line in lines[:4] + lines + lines:
            balances.apply(line)
        balances.flush()
        assert balances.dump() == dump_of([line.data for line in lines])


def test_a_gap_is_refused(path: Path) -> None:
    """A line that does not follow the last one applied is a mismatch, and is not applied."""
    lines = verified(everyday())
    with SqliteBooks(path) as balances:
        with pytest.raises(ProjectionMismatch, match="line 2 does not follow line 0"):
            balances.apply(lines[1])
        balances.flush()
        assert balances.position == Head()


def test_a_line_of_another_history_is_refused(path: Path) -> None:
    """A line of another ledger with the right sequence is a mismatch."""
    with SqliteBooks(path) as balances:
        catch_up(balances, JournalLines(everyday()))
        foreign = verified(everyday(transfers=4))[-1]
        with pytest.raises(ProjectionMismatch, match="does not follow"):
            balances.apply(foreign)


def test_position_is_what_was_saved(path: Path) -> None:
    """Applying moves the position only when it was flushed, and then with the hash of the line."""
    lines = verified(everyday())
    with SqliteBooks(path) as balances:
        balances.apply(lines[0])
        assert balances.position == Head()
        balances.flush()
        assert balances.position == lines[0].head
        assert balances.ledger_id.startswith("bibank/")
    with SqliteBooks(path) as balances:
        assert balances.position == lines[0].head
        assert repr(balances) == f"<SqliteBooks in '{path}', line 1>"


def test_reset_forgets_everything_durably(path: Path) -> None:
    """After a reset the projection is as new, also when it is opened again."""
    with SqliteBooks(path) as balances:
        fresh = balances.dump()
        lines = everyday()
        catch_up(balances, JournalLines(lines[:5]))
        balances.apply(verified(lines)[5])
        balances.reset()
        assert balances.dump() == fresh
    with SqliteBooks(path) as balances:
        assert balances.dump() == fresh
        assert (balances.position, balances.ledger_id) == (Head(), "")


def test_dump_and_digest(path: Path) -> None:
    """The dump says schema, ledger, position and every account by key; the digest follows from it."""
    lines = verified(everyday(transfers=1))
    with SqliteBooks(path) as balances:
        catch_up(balances, JournalLines([line.data for line in lines]))
        said = lines[0].view()
        assert isinstance(said, JournalEntry)
        genesis = [f"'{name}' '{canonical_text(value)}' 1" for name, value in sorted(said.metadata.items())]
        times = {line.sequence: _micros(line) for line in lines}
        told = {
            1: f"{times[1]} {times[1]} 0 '{said.correlation_id}'",
            3: f"{times[3]} {times[3]} 1 'd'",
            4: f"{times[4]} {times[4]} 3 't'",
        }
        assert balances.dump().splitlines() == [
            "schema books/1",
            f"ledger {balances.ledger_id}",
            f"position 4 {lines[-1].hash}",
            "accounts 3 'ASSET:SYSTEM:VAULT:BTC:MAIN' 2100000000",
            "accounts 1 'ASSET:SYSTEM:VAULT:USDT:MAIN' 110000000000",
            "accounts 4 'EQUITY:SYSTEM:CAPITAL:BTC:MAIN' 2100000000",
            "accounts 2 'EQUITY:SYSTEM:CAPITAL:USDT:MAIN' 100000000000",
            "accounts 5 'LIAB:USER:ALICE:USDT:AVAILABLE' 9900000000",
            "accounts 6 'LIAB:USER:BOB:USDT:AVAILABLE' 100000000",
            *(f"entries {number} {told[number]}" for number in (1, 3, 4)),
            "postings 1 1 100000000000 100000000000",
            "postings 1 3 10000000000 110000000000",
            "postings 2 1 100000000000 100000000000",
            "postings 3 1 2100000000 2100000000",
            "postings 4 1 2100000000 2100000000",
            "postings 5 3 10000000000 10000000000",
            "postings 5 4 -100000000 9900000000",
            "postings 6 4 100000000 100000000",
            *(f"metadata {row}" for row in genesis),
        ]
        digest = balances.digest()
        assert len(digest) == 64
        balances.reset()
        assert balances.digest() != digest


def _micros(line: VerifiedLine) -> int:
    moment = line.view().timestamp
    return timegm(moment.timetuple()) * 10**6 + moment.microsecond


def test_exclusively_is_all_or_nothing(path: Path) -> None:
    """What is done exclusively is seen by others at its end, or by nobody when it is interrupted."""
    lines = everyday()
    with SqliteBooks(path) as balances, SqliteBooks(path, busy_timeout_seconds=0.0) as other:
        catch_up(other, JournalLines(lines[:4]))
        before = other.dump()

        def rebuild_until_interrupted() -> None:
            with balances.exclusively():
                assert balances.position.sequence == 4
                balances.reset()
                catch_up(balances, JournalLines(lines), flush_lines=1)
                assert other.dump() == before
                with pytest.raises(StoreUnavailable, match="locked"):
                    other.reset()
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            rebuild_until_interrupted()
        assert balances.dump() == other.dump() == before
        with balances.exclusively():
            catch_up(balances, JournalLines(lines))
        assert balances.dump() == dump_of(lines)


# ------------------------------------------------------------------ exactness and answers


def test_balances_beyond_64_bits_are_exact(path: Path) -> None:
    """Balances up to the edge of 128 bits are kept to the last unit."""
    largest = "1701411834604692317316873037158.84105727"  # 2**127 - 1 units
    store = MemoryStore()
    with Ledger(store=store) as ledger, SqliteBooks(path) as balances:
        ledger.deposit("ALICE", f"{largest} X", correlation_id="d")
        ledger.transfer("ALICE", "BOB", "0.00000001 X", correlation_id="t")
        catch_up(balances, JournalLines(store.read()), flush_lines=1)
        assert str(balances.balance("ALICE", "X").available) == "1701411834604692317316873037158.84105726"
        assert str(balances.balance("BOB", "X").available) == "0.00000001"
        ledger.withdraw("BOB", "0.00000001 X", correlation_id="w")
        catch_up(balances, JournalLines(store.read()))
        assert balances.balance("BOB", "X").available.units == 0
        assert balances.accounts("ASSET:")[0].balance.units == 2**127 - 2


@given(BATCHES)
def test_answers_are_those_of_the_ledger(batches: Drafts) -> None:
    """Balances, listings and accounts equal what the ledger in memory answers."""
    store = MemoryStore()
    with Ledger(store=store) as ledger, scratch() as path, SqliteBooks(path) as balances:
        commit(ledger, batches)
        catch_up(balances, JournalLines(store.read()))
        for owner in (*OWNERS, "NOBODY"):
            assert balances.balances(owner) == ledger.balances(owner)
            assert balances.balance(owner, "USDT") == ledger.balance(owner, "USDT")
        for prefix in ("", "LIAB:", "LIAB:USER:ALICE:", "LIAB:USER:ALI", "nothing"):
            assert balances.accounts(prefix) == ledger.accounts(prefix)


def test_locked_money_and_single_accounts(path: Path) -> None:
    """An owner's balance is AVAILABLE and LOCKED together; a key means exactly that account."""
    locked = AccountKey("LIAB:USER:ALICE:USDT:LOCKED")
    lines = journal_of(
        [
            [drafts.deposit("ALICE", "10 USDT", correlation_id="d")],
            [drafts.hold("ALICE", "4 USDT", to="SHOP", correlation_id="h")],
        ]
    )
    with SqliteBooks(path) as balances:
        catch_up(balances, JournalLines(lines))
        (row,) = balances.balances("ALICE")
        assert row == balances.balance("ALICE", "USDT")
        assert [str(row.posted), str(row.pending), str(row.available)] == ["10", "4", "6"]
        assert str(balances.balance(locked).available) == "4"
        assert balances.balance(locked, "USDT") == balances.balance(locked)
        assert balances.balance(AccountKey("LIAB:USER:ALICE:USDT:VAULT")).available.units == 0


@pytest.mark.parametrize("seconds", ["x", -1, float("inf"), float("nan"), True, None])
def test_books_are_opened_with_a_path_and_a_time(path: Path, seconds: Any) -> None:
    """What is no path, or no time to wait, is a typed error before any file is made."""
    wrong: Any = None
    with pytest.raises(InvalidType, match="a path"):
        SqliteBooks(wrong)
    with pytest.raises(ConfigurationError, match="busy_timeout_seconds"):
        SqliteBooks(path, busy_timeout_seconds=seconds)
    assert not path.exists()


def test_questions_that_make_no_sense(path: Path) -> None:
    """Wrong questions are typed errors, as the ledger's are."""
    with SqliteBooks(path) as balances:
        with pytest.raises(InvalidValue, match="which asset"):
            balances.balance("ALICE")
        with pytest.raises(InvalidValue, match="not in 'BTC'"):
            balances.balance(AccountKey("LIAB:USER:ALICE:USDT:AVAILABLE"), "BTC")
        with pytest.raises(InvalidAccountKey):
            balances.balances("alice")
        with pytest.raises(InvalidType, match="a prefix is a str"):
            balances.accounts(5)  # type: ignore[arg-type]  # what a caller may get wrong
        assert len(balances.accounts("\ud800")) == 0


# ------------------------------------------------------------------ files


def test_the_file_is_private_wal_and_strict(path: Path) -> None:
    """The file is its owner's alone, in WAL mode, and every table is STRICT."""
    with SqliteBooks(path):
        assert path.stat().st_mode & 0o777 == 0o600
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            tables = connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'table'").fetchall()
            assert len(tables) == 8
            assert [table for (table,) in tables if "STRICT" not in table.rpartition(")")[2]] == []


@pytest.mark.parametrize(
    "content", [b"no database at all\n" * 99, b"SQLite format 3\0" + b"\xff" * 4096], ids=["text", "header"]
)
def test_a_file_that_is_no_database(path: Path, content: bytes) -> None:
    """Other bytes in the place of the projection are a mismatch, not a leaked sqlite3 error."""
    path.write_bytes(content)
    with pytest.raises(ProjectionMismatch, match="is damaged"):
        SqliteBooks(path)


@given(st.integers(0, 100), st.binary(min_size=1, max_size=400))
def test_a_damaged_file_is_typed(percent: int, noise: bytes) -> None:
    """Noise anywhere in the file gives the right balances or a typed error, never a foreign exception."""
    lines = everyday()
    machine = LedgerMachine(Bystander(), KeyringTrust(verify_never))
    told = None
    with scratch() as path:
        with SqliteBooks(path) as balances:
            catch_up(balances, JournalLines(lines[:5]))
        content = bytearray(path.read_bytes())
        start = len(content) * percent // 101
        content[start : start + len(noise)] = noise
        path.write_bytes(content)
        try:
            with SqliteBooks(path) as balances:
                catch_up(balances, JournalLines(lines, machine=machine))
                balances.check_against(machine.book)
                told = {str(row.account): row.balance.units for row in balances.accounts()}
                balances.digest()
        except (ProjectionMismatch, StoreUnavailable):
            return
        assert told == {account.text: account.balance for account in machine.book}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meta SET schema = 'books/2'",
        "DELETE FROM meta",
        "DROP TABLE meta",
        "ALTER TABLE meta RENAME COLUMN hash TO digest",
        "DROP TABLE accounts",
        "DROP INDEX trades_by_pair",
        "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM holds; END",
    ],
)
def test_another_schema_is_a_mismatch(path: Path, statement: str) -> None:
    """A database of another version, or of something else, is a mismatch when it is opened."""
    SqliteBooks(path).close()
    execute(path, statement)
    with pytest.raises(ProjectionMismatch, match="rebuild"):
        SqliteBooks(path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts SET balance = 'much'",
        "UPDATE accounts SET key = replace(key, 'USER', 'user')",
        "UPDATE accounts SET balance = CAST(x'ff' AS TEXT)",
        "UPDATE accounts SET balance = '007'",
        "UPDATE accounts SET balance = '1'",
        f"UPDATE accounts SET balance = '{2**63 - 1}'",
        "UPDATE accounts SET balance = 1.5",
        "UPDATE accounts SET balance = x'01'",
        f"UPDATE accounts SET balance = '{2**127}'",
    ],
)
def test_values_that_are_none_are_a_mismatch(path: Path, statement: str) -> None:
    """Text that is no balance or no account is the projection's fault, not the caller's."""
    with SqliteBooks(path) as balances:
        catch_up(balances, JournalLines(everyday()))
    execute(path, statement)
    with SqliteBooks(path) as balances, pytest.raises(ProjectionMismatch):
        balances.accounts()


def test_links_and_directories_are_not_opened(tmp_path: Path) -> None:
    """The projection is a plain file: what is something else is left alone."""
    target = tmp_path / "target"
    (tmp_path / "link").symlink_to(target)
    for name in ("link", ".", "missing/projection.db"):
        with pytest.raises(StoreUnavailable):
            SqliteBooks(tmp_path / name)
    assert not target.exists()


def test_a_locked_database_is_unavailable(path: Path) -> None:
    """Another process in the middle of a write is `StoreUnavailable`, and the flush can be repeated."""
    lines = verified(everyday())
    with SqliteBooks(path, busy_timeout_seconds=0.0) as balances:
        for line in lines:
            balances.apply(line)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked") as caught:
                balances.flush()
            assert caught.value.retryable
            other.execute("ROLLBACK")
        balances.flush()
        assert balances.dump() == dump_of([line.data for line in lines])


def test_a_closed_projection_says_so(path: Path) -> None:
    """After `close`, which may be repeated, every question is `LedgerClosed`."""
    balances = SqliteBooks(path)
    balances.close()
    balances.close()
    for question in (balances.dump, balances.accounts, balances.reset):
        with pytest.raises(LedgerClosed):
            question()


def test_an_old_sqlite_is_a_configuration_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without STRICT tables there is no projection, and the error says which SQLite is needed."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 9))
    with pytest.raises(ConfigurationError, match=r"3\.37"):
        SqliteBooks(path)


# ------------------------------------------------------------------ two at a time


def test_the_slower_of_two_gets_a_conflict(path: Path) -> None:
    """Two that catch up the same file never add the same line twice; the later one starts again."""
    lines = everyday()
    with SqliteBooks(path) as first, SqliteBooks(path) as second:
        for line in verified(lines):
            second.apply(line)
        catch_up(first, JournalLines(lines[:4]))
        with pytest.raises(HeadConflict, match="from line 0 to 4"):
            second.flush()
        assert second.position.sequence == 4
        catch_up(second, JournalLines(lines))
        assert second.dump() == dump_of(lines)


def test_a_reader_follows_a_faster_one(path: Path) -> None:
    """What another process adds is seen; a projection that was moved back is a conflict, not a zero."""
    lines = everyday()
    with SqliteBooks(path) as reader:
        catch_up(reader, JournalLines(lines[:4]))
        with SqliteBooks(path) as writer:
            catch_up(writer, JournalLines(lines))
        assert str(reader.balance("BOB", "USDT").available) == "3"
        with pytest.raises(HeadConflict, match="catch up again"):
            reader.dump()
        with SqliteBooks(path) as writer:
            writer.reset()
        with pytest.raises(HeadConflict, match="from line 4 to 0"):
            reader.balance("BOB", "USDT")


def test_two_that_make_the_file_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds the tables made meanwhile uses them."""
    with SqliteBooks(path) as first:
        catch_up(first, JournalLines(everyday()))
        answers = iter([True, False])
        monkeypatch.setattr(database, "_is_empty", lambda connection: next(answers))
        with SqliteBooks(path) as second:
            assert second.position == first.position
