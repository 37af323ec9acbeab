"""Random histories of every kind for the tests of the books: verbs, batches, metadata, times that differ."""

from __future__ import annotations

from contextlib import suppress
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
    st.tuples(st.just("swap"), st.tuples(st.permutations(OWNERS), st.permutations(ASSETS), st.booleans())),
    st.tuples(
        st.just("held"),
        st.tuples(
            st.sampled_from(OWNERS),
            st.sampled_from(["SHOP", "outside"]),
            st.sampled_from([None, 9000]),
            st.sampled_from(["stays", "post", "part", "void"]),
        ),
    ),
    st.tuples(st.just("turned"), st.permutations(OWNERS)),
    st.tuples(st.just("dated"), st.tuples(st.sampled_from(["C1", "C2", "C3"]), st.sampled_from(MOMENTS))),
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
            ledger.deposit(owner, f"100 {asset}", correlation_id=f"f{number}")
    for kind, asked in history:
        if kind == "seconds":
            clock.seconds += asked
        elif kind == "microseconds":
            clock.micros = (clock.micros + asked) % 10**6
        else:
            with suppress(bb.Refused):
                _act(ledger, kind, asked)
    return ledger, store


def _act(ledger: bb.Ledger, kind: str, asked: Any) -> None:
    """Ask a ledger for one step."""
    match kind:
        case "told":
            ledger.transfer("ALICE", "BOB", "0.00000001 USDT", correlation_id='a "b"', metadata=asked)
        case "swap":
            (maker, taker), (given, received), pays = asked
            fees = [bb.TradeFee(taker, f"0.1 {received}")] if pays else []
            ledger.trade(
                maker=maker,
                maker_gives=f"1 {given}",
                taker=taker,
                taker_gives=f"0.3 {received}",
                fees=fees,
                correlation_id="r2",
            )
        case "held":
            _hold(ledger, *asked)
        case "turned":
            payer, payee = (f"LIAB:USER:{owner}:USDT:AVAILABLE" for owner in asked)
            _commit_credit_first(ledger, payer, payee)
        case "dated":
            owner, seconds = asked
            ledger.deposit(owner, "1 BTC", correlation_id="r1", effective_at=moment(seconds))
        case "one":
            ask(ledger, "one", [asked], None, "r1")
        case _:
            _ask_batch(ledger, asked)


def _hold(ledger: bb.Ledger, owner: str, payee: str, expires: int | None, ending: str) -> None:
    """Open a hold, and end it at once in one of the ways that there are, or not."""
    opened = ledger.hold(
        owner,
        "0.5 USDT",
        to=bb.WITHDRAWAL if payee == "outside" else payee,
        expires_at=None if expires is None else moment(expires),
        correlation_id="r1",
    )
    match ending:
        case "post" | "part":
            ledger.post_hold(opened.id, "0.2" if ending == "part" else None, correlation_id="r2")
        case "void":
            ledger.void_hold(opened.id, correlation_id="r2")


def _commit_credit_first(ledger: bb.Ledger, payer: str, payee: str) -> None:
    """Transfer by an entry whose first posting is its credit, as no verb writes it."""
    ledger.commit(
        bb.UnsignedEntry(
            intent=bb.TransactionIntent.TRANSFER,
            correlation_id="r1",
            postings=[bb.Posting.credit(payee, "0.001"), bb.Posting.debit(payer, "0.001")],
        )
    )


def _ask_batch(ledger: bb.Ledger, asked: list[Request]) -> None:
    ask(ledger, "batch", asked, "key" if len(asked) == 3 else None, "r2")
