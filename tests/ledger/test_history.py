"""Questions about the past: their edges, what they refuse, and what becomes of a projection of no use."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

import bibank as bb
from bibank import drafts
from bibank.chronicle import Chronicle
from bibank.journal.codec import decode_line
from bibank.journal.reference import encode_line, line_hash
from bibank.projections import SqliteBooks
from bibank.stored_lines import rechecked
from bibank.stores import Head
from tests.ledger.operators import BERT, CLEO, VAULT, approve, governed, propose
from tests.store.journals import StillClock, deposit, transfer

ALICE = bb.AccountKey("LIAB:USER:A:USDT:AVAILABLE")
ROOT = Path(__file__).resolve().parents[2]
LAST_OF_ALL = datetime(9999, 1, 1, tzinfo=UTC)
FIRST, LAST = datetime(2026, 1, 25, 10, tzinfo=UTC), datetime(2026, 1, 25, 13, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a projection that reaches to line 5 of 7."""
    path = tmp_path / "books"
    clock = StillClock()
    with bb.Ledger.create(path, opening={"USDT": "100"}, clock=clock, durability="none") as ledger:
        for number in (10, 20, 30):
            ledger.commit(deposit("A", f"{number} USDT"))
        ledger.project()
        clock.moment = LAST
        ledger.commit(transfer("A", "B", "15 USDT"))
        early = FIRST - timedelta(days=1)
        ledger.commit(drafts.deposit("A", "1 USDT", correlation_id="r3", effective_at=early))
    return path


def posted(ledger: bb.Ledger | bb.LedgerReader, **options: Any) -> list[str]:
    """The running balance of A's statement."""
    return [str(line.posted) for line in ledger.statement("A", "USDT", **options)]


TOLD = ["10", "30", "60", "45", "46"]


def asked_of_journal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[int]]:
    """Note of each question how far the index reached that answered it."""
    reached: list[int] = []
    init = Chronicle.__init__

    def noted(self: Chronicle, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        reached.append(self.reach.sequence)

    monkeypatch.setattr(Chronicle, "__init__", noted)
    return lambda: reached


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


def test_filters_find_more_than_one_page_of_the_projection(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many sequences the projection is asked for at a time, no entry is missed or told twice."""
    monkeypatch.setattr("bibank.history._FIND_PAGE", 1)
    with bb.Ledger.open(home) as ledger:
        found = ledger.entries(intent=bb.TransactionIntent.DEPOSIT)
        assert [entry.sequence for entry in found] == [3, 4, 5, 7]


@pytest.mark.parametrize("is_projected", [False, True])
def test_trades_are_those_of_makers_and_of_takers(tmp_path: Path, *, is_projected: bool) -> None:
    """Whichever side a user was on, and nobody else's."""
    with bb.Ledger.create(tmp_path / "books", durability="none") as book:
        ledger = book.bind(correlation_id="r1")
        ledger.deposit("A", "9 USDT")
        ledger.deposit("B", "9 BTC")
        ledger.trade(maker="A", maker_gives="1 USDT", taker="B", taker_gives="1 BTC")
        if is_projected:
            ledger.project()
        told = {user: [line.sequence for line in ledger.trades(user)] for user in ("A", "B", "C")}
    assert told == {"A": [5], "B": [5], "C": []}


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


def test_as_of_the_edges(home: Path) -> None:
    """Line 0, inside genesis, the head and beyond; the first and last moments there are."""
    with bb.Ledger.open(home) as ledger:
        for nothing in (0, 1, bb.AsOf.recorded(FIRST - timedelta(microseconds=1))):
            assert not ledger.accounts(as_of=nothing)
            assert not ledger.trial_balance(as_of=nothing)
        assert str(ledger.balance(ALICE, as_of=bb.AsOf.recorded(FIRST)).posted) == "60"
        assert str(ledger.balance(ALICE, as_of=bb.AsOf.effective(FIRST)).posted) == "61"
        assert str(ledger.balance(ALICE, as_of=7).posted) == "46"
        for moment in (datetime.max.replace(tzinfo=UTC), LAST):
            assert str(ledger.balance(ALICE, as_of=bb.AsOf.recorded(moment)).posted) == "46"
        first = datetime.min.replace(tzinfo=UTC)
        assert not ledger.balance(ALICE, as_of=bb.AsOf.effective(first)).posted.units
        assert posted(ledger, since=bb.AsOf.recorded(first)) == TOLD
        assert posted(ledger, until=bb.AsOf.recorded(first)) == []
        assert posted(ledger, since=99) == posted(ledger, since=7, until=7) == []
        assert posted(ledger, since=6, until=5) == []
        assert posted(ledger, since=bb.AsOf.recorded(FIRST)) == TOLD
        assert posted(ledger, since=bb.AsOf.recorded(LAST)) == TOLD[3:]
        assert posted(ledger, until=bb.AsOf.recorded(LAST)) == TOLD[:3]


def nowhere() -> Any:
    """A position that is none."""
    sequence: Any = None
    return Head(sequence, "x")


def line_of(**fields: Any) -> Any:
    """A line as no statement gives it."""
    zero = bb.SignedAmount(0)
    amounts = dict.fromkeys(("amount", "posted", "pending", "available"), zero)
    return bb.StatementLine(
        **{
            "sequence": 3,
            "timestamp": FIRST,
            "effective_at": FIRST,
            "asset": "USDT",
            "intent": bb.TransactionIntent.DEPOSIT,
            "correlation_id": "r1",
            **amounts,
            **fields,
        }
    )


@pytest.mark.parametrize(
    ("question", "error", "text"),
    [
        (lambda book: book.balance("A", "USDT", as_of=8), bb.UnknownSequence, "the last is 7"),
        (lambda book: book.balance("A", "USDT", as_of=-1), bb.UnknownSequence, "no line -1"),
        (lambda book: book.balance("A", "USDT", as_of=10**40), bb.UnknownSequence, "no line"),
        (lambda book: book.balance("A", "USDT", as_of=True), bb.InvalidType, "bool"),
        (lambda book: book.balance("A", "USDT", as_of="5"), bb.InvalidType, "AsOf.recorded"),
        (lambda book: book.balance(ALICE, "BTC", as_of=5), bb.InvalidValue, "in USDT, not in 'BTC'"),
        (lambda book: book.accounts(7, as_of=5), bb.InvalidType, "prefix"),
        (lambda book: book.statement("A", since=-1), bb.UnknownSequence, "below 0"),
        (
            lambda book: book.statement("A", since=1, until=bb.AsOf.effective(FIRST)),
            bb.InvalidValue,
            "both effective",
        ),
        (lambda book: book.statement("A", after=3), bb.InvalidType, "StatementLine"),
        (lambda book: book.statement("A", after=line_of(sequence=None)), bb.InvalidType, "a statement gave"),
        (
            lambda book: book.statement("A", after=line_of(effective_at=datetime(2026, 1, 1))),  # noqa: DTZ001 - that is the point
            bb.InvalidTimestamp,
            "naive",
        ),
        (lambda book: book.statement(ALICE, 10**5000), bb.InvalidValue, "in USDT"),
        (lambda book: book.balance(ALICE, 10**5000), bb.InvalidValue, "in USDT"),
        (lambda book: book.balance(10**5000), bb.InvalidValue, "which asset"),
        (lambda book: book.entries(after_sequence=-(10**5000)), bb.UnknownSequence, "below"),
        (lambda book: book.entries(limit=-(10**5000)), bb.InvalidValue, "negative"),
        (lambda book: book.verified_lines(after=nowhere()), bb.InvalidType, "sequence"),
        (lambda book: book.statement("A", limit=-1), bb.InvalidValue, "negative"),
        (lambda book: book.statement(ALICE, "BTC"), bb.InvalidValue, "not in 'BTC'"),
        (lambda book: book.statement("a b"), bb.InvalidInput, "a b"),
        (lambda book: book.trades("a b"), bb.InvalidInput, "a b"),
        (lambda book: book.trades(ALICE), bb.InvalidType, "a user is an id"),
        (lambda book: book.trades(pair="BTCUSDT"), bb.InvalidValue, "BASE/QUOTE"),
        (lambda book: book.trades(pair="btc/USDT"), bb.InvalidInput, "btc"),
        (lambda book: book.trades(pair=5), bb.InvalidType, "pair"),
        (lambda book: book.trades(after_sequence=-1), bb.UnknownSequence, "-1"),
        (lambda book: book.entries(intent="deposit"), bb.InvalidType, "TransactionIntent"),
        (lambda book: book.entries(correlation_id=""), bb.InvalidInput, "correlation"),
        (lambda book: book.entries(metadata={"x": 1.5}), bb.InvalidMetadata, "float"),
        (lambda book: book.entries(metadata=[]), bb.InvalidType, "mapping"),
        (lambda book: book.verified_lines(after=3), bb.InvalidType, "Head"),
        (lambda book: bb.AsOf.recorded(datetime(2026, 1, 1)), bb.InvalidTimestamp, "naive"),  # noqa: DTZ001 - that is the point
        (bb.AsOf.effective, bb.InvalidType, "datetime"),
        (lambda book: bb.AsOf(axis="recorded", moment=FIRST), bb.InvalidType, "TimeAxis"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    home: Path, question: Callable[[Any], object], error: type[Exception], text: str
) -> None:
    """Each wrong question gets a typed error that names what is wrong."""
    with (
        bb.LedgerReader.open(home, show="written") as reader,
        pytest.raises(error, match=text.replace("(", r"\(")),
    ):
        question(reader)


def test_an_empty_filter_value_is_told_from_a_missing_one() -> None:
    """A member that is null, false, 0 or 1 is found by exactly that value."""
    ledger = bb.Ledger.in_memory({"USDT": "100"}).bind(correlation_id="r1")
    values: list[Any] = [None, False, 0, 1, True, "1", "", [], {"deep": [1, "x"]}]
    for value in values:
        ledger.deposit("A", "1 USDT", metadata={"tag": value})
    for place, value in enumerate(values):
        assert [entry.sequence for entry in ledger.entries(metadata={"tag": value})] == [3 + place]
    assert not ledger.entries(metadata={"other": None})


def test_a_ledger_in_memory_has_no_projection_to_bring_up_to_date() -> None:
    """There is no home to put it in, and the error says who answers."""
    with pytest.raises(bb.ConfigurationError, match="its journal answers instead"):
        bb.Ledger.in_memory().project()


def test_a_line_that_changed_after_opening_is_never_told(home: Path) -> None:
    """History read from the journal is held to the hashes that were verified: an edit is found, not shown."""
    for file in home.glob("projection.db*"):
        file.unlink()
    with bb.Ledger.open(home) as ledger:
        (day,) = (home / "journal").glob("*.jsonl")
        content = day.read_bytes()
        # one digit, in a line in the middle
        day.write_bytes(content.replace(b'"amount":"20"', b'"amount":"21"'))
        for question in (
            lambda: posted(ledger),
            lambda: ledger.trial_balance(as_of=5),
            lambda: ledger.balance("A", "USDT", as_of=bb.AsOf.effective(FIRST)),
        ):
            with pytest.raises(bb.JournalCorrupt):
                question()
        day.write_bytes(content)
        assert posted(ledger) == TOLD


def test_forks_tell_the_past_across_the_point_where_they_left(home: Path) -> None:
    """A fork answers from the lines that it shares and its own, whose hashes have another ledger id."""
    with bb.Ledger.open(home) as ledger:
        fork = ledger.fork(at=5).bind(correlation_id="what-if")
        fork.withdraw("A", "60 USDT")
        twice = fork.fork()
        twice.deposit("A", "2 USDT")
        assert posted(twice) == ["10", "30", "60", "0", "2"]
        assert str(twice.balance("A", "USDT", as_of=5).posted) == "60"
        assert posted(ledger) == TOLD


def test_a_forged_line_behind_its_signatures_is_never_told(home: Path) -> None:
    """What is put behind the signatures of a line, which no hash covers, is found wherever it is read."""
    for file in home.glob("projection.db*"):
        file.unlink()
    with bb.Ledger.open(home) as ledger:
        (day,) = (home / "journal").glob("*.jsonl")
        first, middle, last = day.read_bytes().partition(b'"amount":"20"')
        at = last.index(b',"signatures":[')
        end = last.index(b"\n")
        room = end - at
        postings = b'{"account":"LIAB:USER:A:USDT:AVAILABLE","amount":"9","side":"credit"}'
        forged = b',"signatures":[%b],"postings":[%b]}'
        forged = forged % (b" " * (room - len(forged) - len(postings) + 4), postings)
        assert len(forged) == room
        day.write_bytes(first + middle + last[:at] + forged + last[end:])
        for question in (
            lambda: posted(ledger),
            lambda: ledger.trial_balance(as_of=7),
            ledger.project,
            lambda: list(ledger.verified_lines(after=Head())),
        ):
            with pytest.raises(bb.JournalCorrupt):
                question()


def test_a_line_that_does_not_follow_is_never_told() -> None:
    """A line that is whole in itself and has another line before it is no line of this history."""
    store = bb.MemoryStore()
    with bb.Ledger(store=store, opening={"USDT": "100"}) as ledger:
        ledger.commit(deposit("A", "10 USDT"))
        *before, last = store.read()
        strange = attrs.evolve(decode_line(last), prev_hash="f" * 64)
        strange = attrs.evolve(strange, hash=line_hash(strange, ledger_id=ledger.ledger_id))
        lines = rechecked(
            iter([*before, encode_line(strange)]),
            after=Head(),
            until_sequence=3,
            ledger_id=lambda sequence: ledger.ledger_id,
            place=lambda error: error,
        )
        with pytest.raises(bb.JournalCorrupt, match="prev_hash is not the hash of the line before"):
            list(lines)


class Blocked(bb.MemoryStore):
    """A store whose appends wait until the test lets them go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.free = threading.Event(), threading.Event()
        self.free.set()

    def append(self, group: Any) -> None:
        """Wait, and append."""
        self.begun.set()
        assert self.free.wait(60)
        super().append(group)


def test_the_past_ends_at_the_last_durable_line() -> None:
    """What is sealed and not yet on the disk is in no statement, no trial balance and no listing."""
    store = Blocked()
    with bb.Ledger(store=store, opening={"USDT": "100"}) as ledger:
        ledger.commit(deposit("A", "10 USDT"))
        store.free.clear()
        store.begun.clear()
        writer = threading.Thread(target=lambda: ledger.commit(deposit("A", "20 USDT")))
        writer.start()
        try:
            assert store.begun.wait(60)
            assert ledger._committer.machine.head.sequence == 4
            assert posted(ledger) == ["10"]
            assert str(ledger.balance("A", "USDT", as_of=bb.AsOf.effective(LAST_OF_ALL)).posted) == "10"
            assert sum(line.debit.units for line in ledger.trial_balance()) == 110 * 10**8
            assert [entry.sequence for entry in ledger.entries(correlation_id="r1")] == [3]
            assert [line.sequence for line in ledger.verified_lines(after=Head())] == [1, 2, 3]
            with pytest.raises(bb.UnknownSequence):
                ledger.balance("A", "USDT", as_of=4)
        finally:
            store.free.set()
            writer.join()
        assert posted(ledger) == ["10", "30"]


def test_what_is_paid_out_of_the_revenue_is_no_fee() -> None:
    """Fees are told from other movements of their accounts by the intent of the entry; reversals count."""
    with governed() as ledger:
        bound = ledger.bind(correlation_id="r1")
        bound.fee("ALICE", "5 USDT")
        taken = bound.fee("ALICE", "2 USDT")
        revenue = bb.AccountKey("REV:SYSTEM:FEE:USDT:TRADING")
        payout = drafts.adjustment(
            [bb.Posting.debit(revenue, "4"), bb.Posting.credit(VAULT, "4")],
            purpose=bb.AdjustmentPurpose.REVENUE_PAYOUT,
            reason="the owners are paid",
            correlation_id="p1",
        )
        assert approve(ledger, propose(ledger, payout), BERT, CLEO) is not None
        assert str(ledger.balance(revenue).posted) == "3"
        (row,) = ledger.fee_totals()
        assert (row.kind, row.entries, str(row.total)) == (bb.FeeKind.TRADING, 2, "7")
        bound.reverse(taken.sequence)
        (row,) = ledger.fee_totals()
        assert (row.entries, str(row.total)) == (3, "5")


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


def test_accounts_page_by_page(home: Path) -> None:
    """A page of accounts begins after the last of the page before, now and as of a point."""
    with bb.Ledger.open(home) as ledger:
        for as_of in (None, 7, 4):
            whole = list(ledger.accounts("", as_of=as_of))
            assert len(whole) > 2
            pages: list[bb.AccountBalance] = []
            while page := ledger.accounts(as_of=as_of, after=pages[-1].account if pages else None, limit=2):
                pages += page
            assert pages == whole
        (only,) = ledger.accounts("LIAB:USER:A", after=bb.AccountKey("ASSET:SYSTEM:VAULT:USDT:MAIN"))
        assert only.account == ALICE
        assert not ledger.accounts("LIAB:USER:A", after=bb.AccountKey("LIAB:USER:B:USDT:AVAILABLE"))
        wrong: Any = "LIAB"
        with pytest.raises(bb.InvalidType, match="AccountKey"):
            ledger.accounts(after=wrong)
