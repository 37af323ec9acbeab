"""Every question about the past against brute force, for random histories and any point in time.

Each is asked of a ledger without a projection, and with one that stands at any line of the journal, of one
that was open all along, and of one that came back from a snapshot: the answers are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bibank as bb
from bibank.projections import JournalLines, SqliteBooks, catch_up
from tests.properties.history_oracle import Past, Point, Row
from tests.properties.verb_histories import MOMENTS, MovedClock, ask, moment, requests
from tests.properties.verb_oracle import Request

OWNERS = ("ALICE", "BOB", "NOBODY")
ASSETS = ("USDT", "BTC")
FUNDS: list[Request] = [
    ("deposit", {"owner": owner, "asset": asset, "units": 10**9, "at": None})
    for owner in ("ALICE", "BOB")
    for asset in ASSETS
]

steps = st.lists(
    st.tuples(
        st.sampled_from(["one", "batch", "batch"]),
        st.lists(requests, min_size=1, max_size=3),
        st.sampled_from([0, 0, 1, 60, 3_600]),
    ),
    max_size=12,
)
"""How to ask, what for, and how many seconds pass before."""

times = st.one_of(st.sampled_from([-3_601, *MOMENTS]), st.integers(-3_700, 12_000))


def spelled(seconds: int) -> str:
    """Spell a time as the journal does."""
    return f"{moment(seconds):%Y-%m-%dT%H:%M:%SZ}"


def points_up_to(last: int) -> st.SearchStrategy[Point]:
    """Draw a point in time; sequences up to a line."""
    return st.one_of(
        st.tuples(st.just("sequence"), st.integers(0, last)),
        st.tuples(st.just("recorded"), times),
        st.tuples(st.just("effective"), times),
    )


def asked(point: Point | None) -> bb.PointInTime | None:
    """Say a point as a caller does."""
    if point is None:
        return None
    kind, value = point
    if kind == "sequence":
        return int(value)
    return bb.AsOf.recorded(moment(value)) if kind == "recorded" else bb.AsOf.effective(moment(value))


def naive(point: Point | None) -> Point | None:
    """Say a point as the brute force does."""
    if point is None or point[0] == "sequence":
        return point
    return point[0], spelled(point[1])


@contextmanager
def grown(
    asked_for: list[tuple[str, list[Request], int]], resumed_from: float | None
) -> Iterator[tuple[bb.Ledger, Path]]:
    """Make a ledger in a home, and let a history happen; perhaps give it as it comes back from a snapshot."""
    clock = MovedClock()
    with TemporaryDirectory() as directory:
        home = Path(directory) / "books"
        durability: Literal["sync", "none"] = "none" if resumed_from is None else "sync"
        ledger = bb.Ledger.create(home, opening={"USDT": "9"}, clock=clock, durability=durability)
        for request in FUNDS:
            ask(ledger, "one", [request], None, "funds")
        snapshot = None
        for number, (mode, wanted, seconds) in enumerate(asked_for):
            if resumed_from is not None and snapshot is None and number >= resumed_from * len(asked_for):
                snapshot = ledger.snapshot()
            clock.seconds += seconds
            ask(ledger, mode, wanted, None, f"r{len(wanted)}")
        if snapshot is not None:
            ledger.close()
            ledger = bb.Ledger.open(home, clock=clock)
            assert ledger._keeper is not None
            assert ledger._keeper._newest == snapshot.sequence
        with ledger:
            yield ledger, home


def stored(ledger: bb.Ledger) -> list[bytes]:
    """Read the journal as it stands in the files."""
    return list(ledger._committer.store.read(after_sequence=0))


@contextmanager
def projected(ledger: bb.Ledger, home: Path, lines: list[bytes], reach: int | None) -> Iterator[None]:
    """Let the home have a projection that reaches to the batch of a line, or none."""
    path = home / "projection.db"
    if reach is not None:
        # the journal may only end where a batch does
        whole = ledger.line(max(reach, 1)).batch
        with SqliteBooks(path) as books:
            catch_up(books, JournalLines(lines[: whole.first + whole.size - 1]))
    yield
    for file in home.glob("projection.db*"):
        file.unlink()


@contextmanager
def told(
    history: list[tuple[str, list[Request], int]], resumed_from: float | None, reach: float | None
) -> Iterator[tuple[bb.Ledger, Past]]:
    """Give a ledger with a history, perhaps a projection of a part of it, and the brute force beside it."""
    with grown(history, resumed_from) as (ledger, home):
        lines = stored(ledger)
        with projected(ledger, home, lines, None if reach is None else int(reach * len(lines))):
            yield ledger, Past(lines)


reaches = st.sampled_from([None, 0.0, 0.3, 0.7, 1.0])
"""How far a projection has come."""

resumptions = st.sampled_from([None, None, 0.0, 0.5, 0.9])
"""After which part of its history a ledger was snapshotted, if it was opened from a snapshot."""

worlds = st.tuples(steps, resumptions, reaches)
World = tuple[list[tuple[str, list[Request], int]], float | None, float | None]
"""What happened, and from what it is asked."""

same_size = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@same_size
@given(world=worlds, data=st.data())
def test_balances_as_of_any_point_are_those_of_a_fold(world: World, data: st.DataObject) -> None:
    """All accounts, one account, an owner's balances and the trial balance, by all three kinds of points."""
    with told(*world) as (ledger, past):
        for _ in range(3):
            point = data.draw(st.one_of(st.none(), points_up_to(len(past.lines))))
            check_balances(ledger, past, point)


def check_balances(ledger: bb.Ledger, past: Past, point: Point | None) -> None:
    """Compare every balance as of a point."""
    expected = past.balances(naive(point))
    found = {str(row.account): row.balance.units for row in ledger.accounts(as_of=asked(point))}
    assert found == expected
    some = [name for name in expected if name.startswith("LIAB:USER:ALICE:")]
    rows = ledger.accounts("LIAB:USER:ALICE:", as_of=asked(point))
    assert [str(row.account) for row in rows] == sorted(some)
    for name in [*expected, "LIAB:USER:NOBODY:USDT:AVAILABLE"]:
        balance = ledger.balance(bb.AccountKey(name), as_of=asked(point))
        assert balance.posted.units == balance.available.units == expected.get(name, 0)
        assert not balance.pending.units
    for owner in OWNERS:
        for asset in ASSETS:
            balance = ledger.balance(owner, asset, as_of=asked(point))
            free, held = (
                expected.get(f"LIAB:USER:{owner}:{asset}:{sub}", 0) for sub in ("AVAILABLE", "LOCKED")
            )
            assert (balance.available.units, balance.pending.units) == (free, held)
            assert balance.posted.units == free + held
        assets = {name.split(":")[3] for name in expected if name.startswith(f"LIAB:USER:{owner}:")}
        assert [row.asset for row in ledger.balances(owner, as_of=asked(point))] == sorted(assets)
    check_trial_balance(ledger.trial_balance(as_of=asked(point)), expected)


def check_trial_balance(table: bb.Table[Any], expected: dict[str, int]) -> None:
    """Demand every account once, on its side, and sums that are equal for each asset."""
    assert [str(line.account) for line in table] == sorted(expected)
    sums: dict[str, int] = {}
    for line in table:
        units = expected[str(line.account)]
        grows_by_debit = str(line.account).split(":")[0] in ("ASSET", "EXP")
        assert line.debit.units - line.credit.units == (units if grows_by_debit else -units)
        assert 0 in (line.debit.units, line.credit.units)
        assert min(line.debit.units, line.credit.units) >= 0
        sums[line.asset] = sums.get(line.asset, 0) + line.debit.units - line.credit.units
    assert not any(sums.values())


def ranges(data: st.DataObject, last: int) -> tuple[Point | None, Point | None]:
    """Draw two ends of one axis."""
    axis = data.draw(st.sampled_from(["recorded", "effective"]))
    ends = st.tuples(st.just(axis), times)
    if axis == "recorded":
        ends = st.one_of(ends, st.tuples(st.just("sequence"), st.integers(0, last + 3)))
    return data.draw(st.one_of(st.none(), ends)), data.draw(st.one_of(st.none(), ends))


@same_size
@given(world=worlds, data=st.data())
def test_statements_over_any_range_are_those_of_a_fold(world: World, data: st.DataObject) -> None:
    """Lines, running balances and order, by either axis, of one asset or all, whole and page by page."""
    with told(*world) as (ledger, past):
        since, until = ranges(data, len(past.lines))
        for owner in OWNERS:
            asset = data.draw(st.sampled_from([None, "USDT"]))
            assets = list(ASSETS) if asset is None else [asset]
            expected = past.statement(owner, assets, naive(since), naive(until))
            table = ledger.statement(owner, asset, since=asked(since), until=asked(until))
            assert [as_row(line) for line in table] == expected
            check_details(table, past)
            pages: list[bb.StatementLine] = []
            size = data.draw(st.integers(1, 3))
            while page := ledger.statement(
                owner,
                asset,
                since=asked(since),
                until=asked(until),
                after=pages[-1] if pages else None,
                limit=size,
            ):
                pages += page
            assert pages == list(table)


def as_row(line: bb.StatementLine) -> Row:
    """Show a line as the brute force does."""
    amounts = (line.amount, line.posted, line.pending, line.available)
    return Row(line.sequence, line.asset, *(amount.units for amount in amounts))


def check_details(table: bb.Table[bb.StatementLine], past: Past) -> None:
    """Demand what a line says of its entry."""
    facts = {found.sequence: found for found in past.facts}
    for line in table:
        fact = facts[line.sequence]
        assert (line.intent.value, line.correlation_id) == (fact.intent, fact.correlation_id)
        assert f"{line.timestamp:%Y-%m-%dT%H:%M:%SZ}" == fact.recorded
        assert f"{line.effective_at:%Y-%m-%dT%H:%M:%SZ}" == fact.effective


@same_size
@given(world=worlds, data=st.data())
def test_entries_trades_and_fees_are_those_of_a_fold(world: World, data: st.DataObject) -> None:
    """Filters of entries, trades by user and pair, and fees by kind, over any range."""
    with told(*world) as (ledger, past):
        check_entries(ledger, past, data)
        check_trades(ledger, past, data)
        check_fees(ledger, past, data)


def check_entries(ledger: bb.Ledger, past: Past, data: st.DataObject) -> None:
    """Compare what filters find, page by page."""
    intent = data.draw(st.sampled_from([None, *bb.TransactionIntent]))
    trace = data.draw(st.sampled_from([None, "funds", "r1", "r2"]))
    wanted: dict[str, Any] = data.draw(
        st.sampled_from([{}, {"fee_type": "trading"}, {"trade_id": "t1", "maker": "ALICE"}, {"no": None}])
    )
    expected = [
        found.sequence
        for found in past.facts
        if (intent is None or found.intent == intent.value)
        and (trace is None or found.correlation_id == trace)
        and all(name in found.metadata and found.metadata[name] == value for name, value in wanted.items())
    ]
    filters: dict[str, Any] = {"intent": intent, "correlation_id": trace, "metadata": wanted}
    assert [entry.sequence for entry in ledger.entries(**filters)] == expected
    size = data.draw(st.integers(1, 3))
    pages: list[int] = []
    while page := ledger.entries(**filters, after_sequence=pages[-1] if pages else 0, limit=size):
        pages += [entry.sequence for entry in page]
    assert pages == expected


def check_trades(ledger: bb.Ledger, past: Past, data: st.DataObject) -> None:
    """Compare trades with the metadata of the entries."""
    since, until = ranges(data, len(past.lines))
    user = data.draw(st.sampled_from([None, "ALICE", "BOB", "NOBODY"]))
    pair = data.draw(st.sampled_from([None, "BTC/USDT", "USDT/BTC"]))
    limit = data.draw(st.sampled_from([None, None, 0, 1]))
    _, inside = past.inside(naive(since), naive(until))
    expected = [
        (
            found.sequence,
            *(found.metadata[name] for name in ("trade_id", "maker", "taker", "base_amount", "quote_amount")),
            found.metadata["price"],
        )
        for found in sorted(inside)
        if found.intent == "trade"
        and (user is None or user in (found.metadata["maker"], found.metadata["taker"]))
        and (pair is None or pair == f"{found.metadata['base_asset']}/{found.metadata['quote_asset']}")
    ]
    table = ledger.trades(user, pair=pair, since=asked(since), until=asked(until), limit=limit)
    found = [
        (
            line.sequence,
            line.trade_id,
            line.maker,
            line.taker,
            str(line.base_amount),
            str(line.quote_amount),
            line.price,
        )
        for line in table
    ]
    assert found == expected[:limit]


def check_fees(ledger: bb.Ledger, past: Past, data: st.DataObject) -> None:
    """Compare sums and counts of fees by account."""
    since, until = ranges(data, len(past.lines))
    _, inside = past.inside(naive(since), naive(until))
    sums: dict[str, int] = {}
    counts: dict[str, int] = {}
    for found in inside:
        for account, change in found.changes.items():
            if found.intent == "fee" and account.startswith("REV:SYSTEM:FEE:"):
                sums[account] = sums.get(account, 0) + change
                counts[account] = counts.get(account, 0) + 1
    table = ledger.fee_totals(since=asked(since), until=asked(until))
    assert [
        (
            f"REV:SYSTEM:FEE:{row.asset}:{row.kind.name if row.kind else 'REVENUE'}",
            row.entries,
            row.total.units,
        )
        for row in table
    ] == [(account, counts[account], sums[account]) for account in sorted(sums)]


@pytest.mark.parametrize("name", ["since", "until"])
def test_a_bare_datetime_is_refused_with_both_spellings(name: str) -> None:
    """A moment does not say which of the two times of an entry it is compared with."""
    ledger = bb.Ledger.in_memory()
    wrong: Any = datetime(2026, 1, 1, tzinfo=UTC)
    for question in (
        lambda: ledger.balance("ALICE", "USDT", as_of=wrong),
        lambda: ledger.trial_balance(as_of=wrong),
        lambda: ledger.statement("ALICE", **{name: wrong}),
    ):
        with pytest.raises(bb.InvalidType, match=r"AsOf\.recorded\(t\) or AsOf\.effective\(t\)"):
            question()
