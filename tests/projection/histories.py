"""Random histories of every kind for the tests of the books: verbs, batches, metadata, times that differ."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

import bibank as bb
from tests.properties.verb_histories import MOMENTS, MovedClock, ask, moment, requests
from tests.properties.verb_oracle import Request

OWNERS = ("ALICE", "BOB")
ASSETS = ("USDT", "BTC")

Step = tuple[str, Any]

NAMES = ("note", "n", "list", "trade_id", "batch")
VALUES: tuple[Any, ...] = (
    "x",
    'a "quoted" \\ text',
    "Zürich 漢字",
    "y" * 126,
    "z" * 127,
    "z" * 128,
    "{}",
    0,
    1,
    -5,
    2**53 - 1,
    True,
    None,
    {"size": 3, "first": 1},
    {"postings": [{"account": "A", "amount": "1", "side": "debit"}], "metadata": {}},
    ["a", 1, {"b": None}],
)

_metadata = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=3)

steps = st.one_of(
    st.tuples(st.just("one"), requests),
    st.tuples(st.just("batch"), st.lists(requests, min_size=2, max_size=4)),
    st.tuples(st.just("told"), _metadata),
    st.tuples(st.just("microseconds"), st.integers(1, 10**6)),
    st.tuples(st.just("seconds"), st.integers(1, 2000)),
)

histories = st.lists(steps, max_size=14)

moments = st.one_of(st.sampled_from(MOMENTS), st.integers(-4000, 9000))


class FineClock(MovedClock):
    """A clock that the test moves, to the microsecond."""

    def __init__(self) -> None:
        super().__init__()
        self.micros = 0

    def now(self) -> Any:
        """Give the time that was set."""
        return moment(self.seconds).replace(microsecond=self.micros)


def grow(history: list[Step]) -> list[bytes]:
    """Let a history happen in memory; give the journal."""
    return list(ledger_of(history)[1].read())


def ledger_of(history: list[Step]) -> tuple[bb.Ledger, bb.MemoryStore]:
    """Let a history happen in memory."""
    store, clock = bb.MemoryStore(), FineClock()
    ledger = bb.Ledger(store=store, opening={"USDT": "9"}, clock=clock)
    for number, owner in enumerate(OWNERS):
        for asset in ASSETS:
            ledger.deposit(owner, f"10 {asset}", correlation_id=f"f{number}")
    for kind, asked in history:
        match kind:
            case "seconds":
                clock.seconds += asked
            case "microseconds":
                clock.micros = (clock.micros + asked) % 10**6
            case "told":
                ledger.transfer("ALICE", "BOB", "0.00000001 USDT", correlation_id='a "b"', metadata=asked)
            case "one":
                ask(ledger, "one", [asked], None, "r1")
            case _:
                _ask_batch(ledger, asked)
    return ledger, store


def _ask_batch(ledger: bb.Ledger, asked: list[Request]) -> None:
    ask(ledger, "batch", asked, "key" if len(asked) == 3 else None, "r2")
