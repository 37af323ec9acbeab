"""All verbs against the oracle: trades, fees, holds, reversals and keys, in any order, across restarts."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import bibank as bb
from tests.properties.verb_histories import (
    OPENING,
    MovedClock,
    ask,
    ask_each,
    call,
    check_books,
    check_lines,
    endings,
    holds,
    keys,
    preview,
    requests,
    sequences_of,
    simple,
)
from tests.properties.verb_oracle import Books, Request, text

_items = st.lists(st.tuples(st.lists(simple, min_size=1, max_size=2), keys), max_size=4)


class VerbMachine(RuleBasedStateMachine):
    """A ledger over either store and the naive books, asked for the same."""

    ledger: bb.Ledger | None = None

    @initialize(kind=st.sampled_from(["memory", "jsonl"]), funded=st.booleans())
    def found(self, *, kind: str, funded: bool) -> None:
        """Make the ledger, mostly with something to spend."""
        self.directory = TemporaryDirectory()
        self.home = Path(self.directory.name) / "books"
        self.clock = MovedClock()
        self.store = bb.MemoryStore() if kind == "memory" else None
        self.asked: list[tuple[str, list[Request], str | None]] = []
        opening = {asset: text(units) for asset, units in OPENING.items()}
        self.books = Books(OPENING, now=0)
        if self.store is not None:
            self.ledger = bb.Ledger(store=self.store, opening=opening, clock=self.clock)
        else:
            self.ledger = bb.Ledger.create(self.home, opening=opening, clock=self.clock, durability="none")
        if funded:
            for owner in ("ALICE", "BOB"):
                for asset in ("USDT", "BTC"):
                    self.one(("deposit", {"owner": owner, "asset": asset, "units": 10**9, "at": None}), None)

    def take(self, mode: str, asked: list[Request], key: str | None, trace: str = "r1") -> None:
        """Ask both, and compare."""
        assert self.ledger is not None
        if key is not None:
            self.asked.append((mode, asked, key))
        expected = self.books.ask(mode, asked, key)
        assert ask(self.ledger, mode, asked, key, trace) == expected

    @rule(request=requests, key=keys)
    def one(self, request: Request, key: str | None) -> None:
        """One verb."""
        self.take("one", [request], key)

    @rule(request=st.one_of(holds, endings))
    def tied(self, request: Request) -> None:
        """One verb that opens a hold or needs an earlier line."""
        self.take("one", [request], None)

    @precondition(lambda self: self.books.holds)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """The end of an open hold: whole, in part, too much, or given back."""
        sequence = data.draw(st.sampled_from(sorted(self.books.holds)))
        held = self.books.holds[sequence]["units"]
        units = data.draw(st.sampled_from([None, 1, held, held + 1, max(held - 1, 0), -1]))
        at = None
        if units == -1:
            self.take("one", [("void_hold", {"sequence": sequence, "at": at})], data.draw(keys))
        else:
            asked = {"sequence": sequence, "units": units, "at": at}
            self.take("one", [("post_hold", asked)], data.draw(keys))

    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        """A reversal of an entry that is there: whole or in part, perhaps again."""
        journal = self.books.journal
        first = [n for n in journal if n in self.books.reversed]
        plain = [n for n, e in journal.items() if not (n == 1 or e.opens or e.hold or e.reverses)]
        some = st.one_of([st.sampled_from(found) for found in (first, plain, sorted(journal)) if found])
        sequence = data.draw(some)
        whole = abs(journal[sequence].legs[0][1]) if sequence > 1 else 1
        left = whole - self.books.reversed.get(sequence, 0)
        units = data.draw(st.sampled_from([None, 1, whole, max(left, 1), min(left + 1, whole)]))
        asked = {"sequence": sequence, "units": units, "at": None}
        self.take("one", [("reverse", asked)], data.draw(keys))

    @rule(asked=st.lists(requests, max_size=4), key=keys)
    def batch(self, asked: list[Request], key: str | None) -> None:
        """Verbs that stand or fall together."""
        self.take("batch", asked, key if asked else None)

    @rule(asked=st.lists(simple, min_size=1, max_size=3), key=keys)
    def drafts(self, asked: list[Request], key: str | None) -> None:
        """Drafts that stand or fall together."""
        self.take("drafts", asked, key)

    @rule(items=_items)
    def each(self, items: list[tuple[list[Request], str | None]]) -> None:
        """Independent batches of drafts, with keys or without."""
        assert self.ledger is not None
        expected = [self.books.ask("drafts", asked, key) for asked, key in items]
        assert ask_each(self.ledger, items) == expected

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        """The same request under the same key, traced as another."""
        self.take(*data.draw(st.sampled_from(self.asked)), trace="another")

    @rule(asked=st.lists(requests, min_size=1, max_size=3))
    def look(self, asked: list[Request]) -> None:
        """A preview, which changes nothing."""
        assert self.ledger is not None
        trial = self.books.copy()
        answer = trial.ask("batch", asked)
        found = preview(self.ledger, asked)
        if isinstance(answer, str):
            assert found == answer
        else:
            assert found == {name: trial.units[name] for name in found}
            changed = {name for name in trial.units if trial.units[name] != self.books.units.get(name, 0)}
            assert changed <= set(found)

    @rule(seconds=st.sampled_from([1, 59, 60, 3_540, 3_600]))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.clock.seconds += seconds
        self.books.now += seconds

    @precondition(lambda self: any(hold["expires"] is not None for hold in self.books.holds.values()))
    @rule(data=st.data(), early=st.sampled_from([0, 0, 1]))
    def wait_for_expiry(self, data: st.DataObject, early: int) -> None:
        """The moment comes at which a hold expires, or the second before it; somebody tries to end it."""
        late = [n for n, hold in self.books.holds.items() if hold["expires"] is not None]
        sequence = data.draw(st.sampled_from(late))
        moment = self.books.holds[sequence]["expires"] - early
        self.clock.seconds = self.books.now = max(self.books.now, moment)
        asked = {"sequence": sequence, "units": None, "at": None}
        self.take("one", [("post_hold", asked)], None)

    @rule()
    def expire(self) -> None:
        """What has expired is given back."""
        assert self.ledger is not None
        expected = self.books.expire()
        assert (
            sequences_of(
                tuple(done.entry for done in self.ledger.void_expired_holds(correlation_id="late").committed)
            )
            == expected
        )

    @rule()
    def reopen(self) -> None:
        """A restart."""
        assert self.ledger is not None
        before = self.ledger.accounts(), self.ledger.holds(), self.ledger.head
        if self.store is not None:
            self.ledger = bb.Ledger(store=self.store, clock=self.clock)
        else:
            self.ledger.close()
            self.ledger = bb.Ledger.open(self.home, clock=self.clock, durability="none")
        assert (self.ledger.accounts(), self.ledger.holds(), self.ledger.head) == before

    @invariant()
    def agrees(self) -> None:
        """The books are the oracle's at every moment."""
        if self.ledger is not None:
            check_books(self.ledger, self.books)

    def teardown(self) -> None:
        """Compare every line, audit, and clean up."""
        if self.ledger is None:
            return
        try:
            check_lines(self.ledger, self.books)
            assert self.ledger.audit().head == self.ledger.head
            self.reopen()
            check_lines(self.ledger, self.books)
        finally:
            self.ledger.close()
            self.directory.cleanup()


TestVerbMachine = VerbMachine.TestCase


@given(history=st.lists(st.tuples(requests, keys), max_size=15))
def test_every_verb_agrees_with_the_oracle_across_a_restart_at_each_step(
    history: list[tuple[Request, str | None]],
) -> None:
    """A ledger that is opened again after each verb answers as one that was never closed."""
    store, clock = bb.MemoryStore(), MovedClock()
    opening = {asset: text(units) for asset, units in OPENING.items()}
    ledger, books = bb.Ledger(store=store, opening=opening, clock=clock), Books(OPENING, now=0)
    for index, (request, key) in enumerate(history):
        clock.seconds = books.now = index * 300
        ledger = bb.Ledger(store=store, clock=clock)
        assert ask(ledger, "one", [request], key, f"r{index}") == books.ask("one", [request], key)
        check_books(ledger, books)
    check_lines(ledger, books)


def test_the_oracle_of_verbs_can_disagree() -> None:
    """The comparison can fail: books that missed a hold are told from the ledger."""
    clock = MovedClock()
    ledger = bb.Ledger.in_memory({asset: text(units) for asset, units in OPENING.items()}, clock=clock)
    books = Books(OPENING, now=0)
    deposit: Request = ("deposit", {"owner": "ALICE", "asset": "USDT", "units": 5, "at": None})
    hold: Request = (
        "hold",
        {"owner": "ALICE", "asset": "USDT", "units": 2, "payee": "BOB", "expires": None, "at": None},
    )
    for request in (deposit, hold):
        assert ask(ledger, "one", [request], None, "r") == books.ask("one", [request])
    check_books(ledger, books)
    check_lines(ledger, books)
    call(ledger, hold, correlation_id="r")
    with pytest.raises(AssertionError):
        check_books(ledger, books)
