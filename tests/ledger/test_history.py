"""Questions about the past: their edges, what they refuse, and what is never told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

import bibank as bb
from bibank import drafts
from bibank.journal.codec import decode_line
from bibank.journal.reference import encode_line, line_hash
from bibank.stored_lines import rechecked
from bibank.stores import Head
from tests.ledger.operators import BERT, CLEO, VAULT, approve, governed, propose
from tests.ledger.past import ALICE, FIRST, LAST, LAST_OF_ALL, TOLD, made, posted
from tests.store.journals import deposit


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a projection that reaches to line 5 of 7."""
    return made(tmp_path / "books")


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
