"""The books' answers about the past, against a fold over the JSON of random journals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bibank as bb
from bibank.errors import InvalidTimestamp, InvalidType, InvalidValue
from bibank.model.json_value import JsonValue
from bibank.projection import books_history
from bibank.projection.books import SqliteBooks
from bibank.projection.books_rows import Rows
from bibank.projection.runner import catch_up
from bibank.projection.sources import JournalLines
from tests.projection.fold import Fact, Fold, micros, units
from tests.projection.histories import NAMES, OWNERS, VALUES, Step, grow, histories, ledger_of, moments
from tests.projection.journals import everyday, scratch, verified
from tests.properties.verb_histories import MovedClock, moment

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
PREFIXES = ("", "LIAB:", "LIAB:USER:ALICE:", "LIAB:USER:ALICE:USDT:AVAILABLE", "REV:", "NONE", "é")


@contextmanager
def books_of(lines: list[bytes], flush_lines: int = 4) -> Iterator[SqliteBooks]:
    """Bring new books to the end of a journal."""
    with scratch() as path, SqliteBooks(path) as books:
        catch_up(books, JournalLines(lines), flush_lines=flush_lines)
        yield books


def moment_of(count: int) -> datetime:
    """Give the time that is so many microseconds from the epoch."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=count)


def spans(last: int) -> st.SearchStrategy[tuple[int, int | None]]:
    """Draw which lines to look at."""
    return st.tuples(st.integers(0, last), st.one_of(st.none(), st.integers(0, last + 2)))


@given(histories)
def test_tables_are_those_of_a_fold(history: list[Step]) -> None:
    """Accounts, entries, postings with running balances, and what counts at another time."""
    lines = grow(history)
    with books_of(lines) as books:
        told = books.dump().splitlines()[3:]
        kinds = ("accounts", "entries", "postings", "shifted")
        assert [row for row in told if row.partition(" ")[0] in kinds] == Fold(lines).dump()


@given(histories, st.data())
def test_movements_are_those_of_a_fold(history: list[Step], data: st.DataObject) -> None:
    """What entries between two lines did to some accounts, page by page."""
    lines = grow(history)
    fold = Fold(lines)
    names = data.draw(st.lists(st.sampled_from([*fold.accounts, "LIAB:USER:NOBODY:X:AVAILABLE"]), max_size=4))
    after, until = data.draw(spans(len(lines)))
    with books_of(lines) as books, pytest.MonkeyPatch.context() as patch:
        patch.setattr(books_history, "_PAGE", data.draw(st.integers(1, 3)))
        found = list(books.movements(names, after_sequence=after, until_sequence=until))
    until = len(lines) if until is None else until
    expected = [
        (fact, {name: delta for name, delta in fact.changes.items() if name in names})
        for fact in fold.facts
        if after < fact.sequence <= until and not set(names).isdisjoint(fact.changes)
    ]
    assert [(row.sequence, dict(row.changes)) for row in found] == [
        (fact.sequence, changes) for fact, changes in expected
    ]
    for row, (fact, _) in zip(found, expected, strict=True):
        assert (row.intent.value, row.correlation_id) == (fact.intent, fact.correlation_id)
        assert (row.timestamp, row.effective_at) == (moment_of(fact.recorded), moment_of(fact.effective))


@given(histories, st.data())
def test_balances_after_any_line_are_those_of_a_fold(history: list[Step], data: st.DataObject) -> None:
    """By prefix and by key; accounts that nothing had named yet are not there."""
    lines = grow(history)
    fold = Fold(lines)
    with books_of(lines) as books:
        for sequence in (0, *data.draw(st.lists(st.integers(1, len(lines)))), len(lines), len(lines) + 9):
            for prefix in PREFIXES:
                expected = fold.units([f for f in fold.facts if f.sequence <= sequence], prefix)
                assert books.units_at(prefix, sequence) == expected
            everything = fold.units([f for f in fold.facts if f.sequence <= sequence])
            names = fold.accounts[::2]
            assert books.units_of([*names, names[0], "NONE", "\ud800"], sequence) == {
                name: everything[name] for name in names if name in everything
            }


@given(histories, st.data())
def test_balances_by_effective_time_are_those_of_a_fold(history: list[Step], data: st.DataObject) -> None:
    """At any moment, as known at any line; and which entry was the last to be recorded by then."""
    lines = grow(history)
    fold = Fold(lines)
    edges = [fact.effective for fact in fold.facts] + [fact.recorded for fact in fold.facts]
    times = st.one_of(
        moments.map(lambda seconds: micros(f"{moment(seconds):%Y-%m-%dT%H:%M:%SZ}")),
        st.sampled_from(edges).flatmap(lambda edge: st.integers(edge - 1, edge + 1)),
    )
    with books_of(lines) as books:
        for _ in range(4):
            at, until = data.draw(times), data.draw(st.integers(0, len(lines) + 1))
            counting = [f for f in fold.facts if f.sequence <= until and f.effective <= at]
            for prefix in PREFIXES:
                found = books.units_effective(prefix, moment_of(at), until_sequence=until)
                assert found == fold.units(counting, prefix)
            recorded = [fact.sequence for fact in fold.facts if fact.recorded <= at]
            assert books.last_recorded(moment_of(at)) == max(recorded, default=0)


def test_accounts_that_do_not_count_yet_are_not_there() -> None:
    """An account that only entries name which count later is not there before, not even with zero."""
    store, clock = bb.MemoryStore(), MovedClock()
    ledger = bb.Ledger(store=store, clock=clock)
    carol = "LIAB:USER:CAROL:BTC:AVAILABLE"
    ledger.deposit("CAROL", "1 BTC", correlation_id="r1", effective_at=moment(100))
    clock.seconds = 50
    ledger.deposit("CAROL", "2 BTC", correlation_id="r2", effective_at=moment(30))
    with books_of(list(store.read())) as books:

        def told(seconds: int, until: int) -> dict[str, int]:
            return books.units_effective("LIAB:", moment(seconds), until_sequence=until)

        assert told(20, 4) == told(60, 3) == told(99, 3) == told(29, 4) == {}
        assert told(30, 4) == told(60, 4) == told(99, 4) == {carol: 2 * 10**8}
        assert told(100, 3) == {carol: 10**8}
        assert told(100, 4) == {carol: 3 * 10**8}


@given(histories, st.data())
def test_entries_are_found_as_by_a_fold(history: list[Step], data: st.DataObject) -> None:
    """By intent, correlation id and metadata, alone and together."""
    lines = grow(history)
    fold = Fold(lines)
    said = [(name, value) for fact in fold.facts for name, value in fact.metadata.items()]
    members = st.one_of(st.sampled_from(said), st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)))
    with books_of(lines) as books:
        for _ in range(6):
            intent = data.draw(st.sampled_from([None, None, *bb.TransactionIntent]))
            trace = data.draw(st.sampled_from([None, None, "r1", "r2", 'a "b"', "f0", "none"]))
            wanted = dict(data.draw(st.lists(members, max_size=2)))
            after, until = data.draw(spans(len(lines)))
            limit = data.draw(st.sampled_from([None, None, 0, 1, 2]))
            found = books.find(
                intent=intent,
                correlation_id=trace,
                metadata=wanted,
                after_sequence=after,
                until_sequence=until,
                limit=limit,
            )
            assert (
                found
                == [
                    fact.sequence
                    for fact in fold.facts
                    if after < fact.sequence <= (len(lines) if until is None else until)
                    and (intent is None or fact.intent == intent.value)
                    and trace in (None, fact.correlation_id)
                    and all(
                        name in fact.metadata and _same(fact.metadata[name], wanted[name]) for name in wanted
                    )
                ][:limit]
            )


def _same(one: Any, other: Any) -> bool:
    """Compare as JSON does, where 1 is not true."""
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_trades_page_by_page(limit: int) -> None:
    """Pages of an owner's trades, whichever side she was on, are those of the whole list."""
    swaps: list[Step] = [
        ("swap", (OWNERS if number % 3 else OWNERS[::-1], ("USDT", "BTC"), False)) for number in range(8)
    ]
    with books_of(grow(swaps)) as books:
        assert [trade.maker for trade in books.trades()] == [*3 * ["BOB", "ALICE", "ALICE"]][:8]
        for user in (None, *OWNERS):
            found: list[bb.TradeLine] = []
            while page := books.trades(
                user=user, after_sequence=found[-1].sequence if found else 0, limit=limit
            ):
                assert len(page) <= limit
                found += page
            assert found == books.trades() == books.trades(pair=("BTC", "USDT"))


def test_metadata_is_asked_of_one_entry() -> None:
    """Members that are looked for together stand in the same entry."""
    store = bb.MemoryStore()
    ledger = bb.Ledger(store=store)
    for said in ({"a": 1}, {"a": 1, "b": 2}, {"b": 2}, {"b": 2, "a": 1}, {"a": 2, "b": 1}):
        ledger.deposit("ALICE", "1 X", correlation_id="r1", metadata=said)
    with books_of(list(store.read())) as books:
        assert books.find(metadata={"a": 1, "b": 2}) == books.find(metadata={"b": 2, "a": 1}) == [4, 6]
        assert books.find(metadata={"a": 1, "b": 2}, after_sequence=4, limit=1) == [6]
        assert books.find(metadata={"a": 1, "b": 2}, until_sequence=5, correlation_id="r1") == [4]
        assert books.find(metadata={"a": 1, "b": 2}, correlation_id="r2") == []


@pytest.mark.parametrize("name", ["governed", "journal", "signed_entry", "signed_group"])
def test_journals_of_every_kind_of_line(name: str) -> None:
    """Records, decisions of operators, signatures and group cover: the tables are those of a fold."""
    lines = (GOLDEN / f"{name}.jsonl").read_bytes().splitlines()
    with books_of(lines) as books:
        kinds = ("accounts", "entries", "postings", "shifted")
        told = books.dump().splitlines()[3:]
        assert [row for row in told if row.partition(" ")[0] in kinds] == Fold(lines).dump()
        assert books.position.sequence == len(lines)


def test_long_values_are_told_apart() -> None:
    """Values that are too long to stand in the file are found by all of their text."""
    store = bb.MemoryStore()
    ledger = bb.Ledger(store=store)
    values: list[JsonValue] = ["z" * 126, "z" * 127, "z" * 128, "z" * 500, ("z" * 500,)]
    for value in values:
        ledger.deposit("ALICE", "1 X", correlation_id="r1", metadata={"note": value})
    with books_of(list(store.read())) as books:
        assert [books.find(metadata={"note": value}) for value in values] == [[3], [4], [5], [6], [7]]
        stored = [row for row in books.dump().splitlines() if "'note'" in row]
        assert sum("sha256:" in row for row in stored) == 4
        assert max(map(len, stored)) < 160


@given(histories, st.data())
def test_trades_are_those_of_a_fold(history: list[Step], data: st.DataObject) -> None:
    """By user and pair, with everything that their entries say."""
    lines = grow(history)
    fold = Fold(lines)
    with books_of(lines) as books:
        for _ in range(4):
            user = data.draw(st.sampled_from([None, "ALICE", "BOB", "SYSTEM:DESK", "NONE"]))
            pair = data.draw(st.sampled_from([None, ("BTC", "USDT"), ("USDT", "BTC"), ("X", "Y")]))
            after, until = data.draw(spans(len(lines)))
            limit = data.draw(st.sampled_from([None, None, 1, 2]))
            found = books.trades(
                user=user, pair=pair, after_sequence=after, until_sequence=until, limit=limit
            )
            expected = [
                fact
                for fact in fold.facts
                if fact.intent == "trade"
                and after < fact.sequence <= (len(lines) if until is None else until)
                and user in (None, fact.metadata["maker"], fact.metadata["taker"])
                and pair in (None, (fact.metadata["base_asset"], fact.metadata["quote_asset"]))
            ][:limit]
            assert [_told(trade) for trade in found] == [_said(fact) for fact in expected]


def _told(trade: bb.TradeLine) -> tuple[Any, ...]:
    return (
        *(trade.sequence, trade.timestamp, trade.effective_at, trade.trade_id, trade.maker, trade.taker),
        *(trade.base, trade.quote, trade.base_amount.units, trade.quote_amount.units, trade.price),
        trade.correlation_id,
    )


def _said(fact: Fact) -> tuple[Any, ...]:
    said = fact.metadata
    return (
        *(fact.sequence, moment_of(fact.recorded), moment_of(fact.effective)),
        *(said[name] for name in ("trade_id", "maker", "taker", "base_asset", "quote_asset")),
        *(units(said["base_amount"]), units(said["quote_amount"]), said["price"], fact.correlation_id),
    )


@given(histories)
def test_open_holds_are_those_of_a_fold_and_of_the_ledger(history: list[Step]) -> None:
    """Every hold that nothing has ended, of all accounts or those with a prefix."""
    ledger, store = ledger_of(history)
    lines = list(store.read())
    with books_of(lines, flush_lines=2) as books:
        found = books.open_holds()
        assert found == list(ledger.holds())
        assert [
            (
                hold.id,
                str(hold.account),
                hold.money.amount.units,
                None if hold.payee is None else str(hold.payee),
                hold.expires_at,
            )
            for hold in found
        ] == [
            (number, account, amount, payee, None if expires is None else moment_of(expires))
            for number, account, amount, payee, expires in Fold(lines).open_holds()
        ]
        for prefix in PREFIXES:
            assert books.open_holds(prefix) == [
                hold for hold in found if str(hold.account).startswith(prefix)
            ]


@given(histories)
def test_everyday_lines_are_read_as_all_others(history: list[Step]) -> None:
    """The fast way takes a line apart to the rows that the JSON gives, or leaves it alone."""
    taken = 0
    for line in verified(grow(history)):
        fast, slow = Rows(), Rows()
        if fast._add_everyday(line):
            slow._add_everyday = lambda line: False  # type: ignore[method-assign]  # only the other way
            slow.add(line)
            assert (fast.entries, fast.posted) == (slow.entries, slow.posted)
            assert [*slow.metadata, *slow.shifted, *slow.trades, *slow.holds] == []
            taken += 1
        else:
            assert not fast.entries
            assert not fast.posted
    assert taken >= 4  # the deposits that every history begins with


@pytest.mark.parametrize("page", [1, 2, 3])
def test_answers_that_were_begun_keep_nothing_locked(tmp_path: Path, page: int) -> None:
    """A long answer is read bit by bit; what is saved meanwhile is not part of it, and can be saved."""
    lines = everyday(transfers=8)
    bob = "LIAB:USER:BOB:USDT:AVAILABLE"
    with SqliteBooks(tmp_path / "p.db") as books, pytest.MonkeyPatch.context() as patch:
        patch.setattr(books_history, "_PAGE", page)
        catch_up(books, JournalLines(lines[:6]))
        answer = books.movements([bob])
        assert next(answer).sequence == 4
        catch_up(books, JournalLines(lines))
        assert [row.sequence for row in answer] == [5, 6]
        assert [row.sequence for row in books.movements([bob])] == [4, 5, 6, 7, 8, 9, 10, 11]


def test_questions_that_make_no_sense(tmp_path: Path) -> None:
    """Wrong arguments are typed errors, and what no line can hold is found nowhere."""
    with books_of(everyday()) as books:
        for wrong in (
            lambda: books.units_at(5, 1),  # type: ignore[arg-type]  # what a caller may get wrong
            lambda: books.units_at("", "1"),  # type: ignore[arg-type]  # likewise
            lambda: books.units_at("", True),
            lambda: books.units_of("LIAB:", 1),
            lambda: books.units_of([5], 1),  # type: ignore[list-item]  # likewise
            lambda: books.movements(["A"], after_sequence=1.0),  # type: ignore[arg-type]  # likewise
            lambda: books.find(intent="fee"),  # type: ignore[arg-type]  # likewise
            lambda: books.find(metadata=[]),  # type: ignore[arg-type]  # likewise
            lambda: books.find(metadata={"a": 1.5}),  # type: ignore[dict-item]  # likewise
            lambda: books.find(metadata={5: "a"}),  # type: ignore[dict-item]  # likewise
            lambda: books.find(correlation_id=5),  # type: ignore[arg-type]  # likewise
            lambda: books.trades(user=5),  # type: ignore[arg-type]  # likewise
            lambda: books.trades(pair="BTC/USDT"),  # type: ignore[arg-type]  # likewise
            lambda: books.trades(limit="1"),  # type: ignore[arg-type]  # likewise
            lambda: books.open_holds(5),  # type: ignore[arg-type]  # likewise
            lambda: books.last_recorded("now"),  # type: ignore[arg-type]  # likewise
        ):
            with pytest.raises(InvalidType):
                wrong()
        with pytest.raises(InvalidValue, match="below 0"):
            books.find(limit=-1)
        with pytest.raises(InvalidTimestamp):
            books.last_recorded(datetime(2026, 1, 1))  # noqa: DTZ001 - naive on purpose
        huge = 2**100
        assert books.units_at("LIAB:", huge) == books.units_at("LIAB:", 6)
        assert books.find(after_sequence=huge, until_sequence=huge, limit=huge) == []
        for surrogate in ("\ud800", "\ud800" * 200):
            assert books.find(metadata={"note": surrogate}) == []
            assert books.find(correlation_id=surrogate) == []
            assert books.trades(user=surrogate) == []
            assert books.open_holds(surrogate) == []
            assert list(books.movements([surrogate])) == []
            assert books.units_effective(surrogate, datetime.now(UTC), until_sequence=9) == {}
        assert books.last_recorded(datetime.max.replace(tzinfo=UTC)) == 6
        assert books.last_recorded(datetime.min.replace(tzinfo=UTC)) == 0
