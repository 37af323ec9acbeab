"""Governance against the oracle: freezes, floors, proposals, approvals, overrides, keys, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import bibank as bb
from bibank.rules import RiskEngine
from bibank.signing import Envelope
from tests.properties.governance_histories import (
    ALICE,
    BOB,
    CAROL,
    OPENING,
    SIGNERS,
    TERMS,
    Ceiling,
    MovedClock,
    ask,
    check_answer,
    check_books,
    check_lines,
    code_of,
    decisions,
    deliver,
    draft_of,
    envelope_of,
    everyday,
    keyring_changes,
    keys,
    names,
    proposable,
)
from tests.properties.governance_oracle import PEOPLE, Books
from tests.properties.governance_spelling import Asked, account, locked, vault

FIRST = ["anna1", "ben1", "ben2", "cleo1", "dora1", "alice1"]
OPERATORS = ["anna1", "anna2", "ben1", "ben2", "cleo1", "dora1"]
_able = st.sampled_from(
    [["dora1", "ben1"], ["anna1", "ben1"], ["ben1", "cleo1"], ["cleo1"], ["ben1", "ben2"]]
)
_signers = st.one_of(_able, _able, st.lists(names, max_size=3, unique=True))
_keepers = st.one_of(st.just(["anna1", "ben1", "cleo1"]), st.just(["ben2", "anna1"]), _signers)
_approvers = st.one_of(*[st.sampled_from([*OPERATORS, "ben1", "ben2"])] * 4, names)
_turns = st.lists(st.one_of(_approvers, _approvers, st.sampled_from([1, 600])), min_size=1, max_size=6)
"""Who approves one after the other, and how many seconds pass between."""

_proposers = st.one_of(st.sampled_from([None, None, "anna1", "ben1", "system1"]), names)


class GovernanceMachine(RuleBasedStateMachine):
    """A signed ledger over either store and the naive books, asked for the same."""

    ledger: bb.Ledger | None = None
    agreed = True
    """Whether the last answers were the same: a failure is told once, where it was seen."""

    @initialize(
        kind=st.sampled_from(["memory", "jsonl"]),
        terms=st.sampled_from(["plain", "rich", "rich", "high"]),
        governed=st.sampled_from([True, True, True, False]),
    )
    def found(self, *, kind: str, terms: str, governed: bool) -> None:
        """Make the ledger, mostly with operators, and with something to spend."""
        self.directory = TemporaryDirectory()
        self.home = Path(self.directory.name) / "books"
        self.clock = MovedClock()
        self.store = bb.MemoryStore() if kind == "memory" else None
        self.reader: bb.LedgerReader | None = None
        self.asked: list[tuple[str, Asked, Any, str]] = []
        self.envelopes: list[tuple[str, Asked, Any, Envelope]] = []
        self.books = Books(OPENING, now=0)
        common: Any = {"signer": SIGNERS["system1"], "clock": self.clock, "risk": RiskEngine([Ceiling()])}
        opening = {asset: str(units) for asset, units in OPENING.items()}
        if self.store is not None:
            self.ledger = bb.Ledger(store=self.store, opening=opening, **common)
        else:
            self.ledger = bb.Ledger.create(self.home, opening=opening, durability="none", **common)
            self.reader = bb.LedgerReader.open(self.home, show="written")
        self.before = {2: self.books.copy(is_fork=True)}
        if governed:
            change = {"add": FIRST, "retire": {}, "revoke": {}, "policies": {"adjustment": TERMS[terms]}}
            self.take("change", change, [])
        for name in (ALICE, BOB, account("ALICE", "BTC")):
            legs = [(vault(name.split(":")[3]), "debit", 60), (name, "credit", 60)]
            entry = {"intent": "deposit", "legs": legs, "purpose": None, "trace": "t1"}
            self.take("book", {"entries": [entry]})

    def take(self, verb: str, asked: Asked, by: Any = None, key: str | None = None) -> None:
        """Ask both, and compare."""
        assert self.ledger is not None
        if key is not None:
            self.asked.append((verb, asked, by, key))
        self.agreed = False
        found = ask(self.ledger, self.books, verb, asked, by, key)
        check_answer(found, self.books.ask(verb, asked, by, key))
        self.agreed = True
        self.before[self.books.sequence] = self.books.copy(is_fork=True)

    # ------------------------------------------------------------------ money

    def pay(self, payer: str, payee: str, units: int, trace: str = "t1") -> None:
        """One transfer."""
        legs = [(payer, "debit", units), (payee, "credit", units)]
        self.take(
            "book", {"entries": [{"intent": "transfer", "legs": legs, "purpose": None, "trace": trace}]}
        )

    @rule(entries=st.lists(everyday(), min_size=1, max_size=2), key=keys)
    def book(self, entries: list[Asked], key: str | None) -> None:
        """Everyday entries that stand or fall together."""
        self.take("book", {"entries": entries}, None, key)

    @rule(name=st.sampled_from([ALICE, BOB]), units=st.sampled_from([1, 20]), key=keys)
    def hold(self, name: str, units: int, key: str | None) -> None:
        """Money is held, or the oldest that is held is given back."""
        if len(self.books.holds) > 1:
            self.take("void", {"hold": min(self.books.holds)})
        else:
            self.take("hold", {"account": name, "units": units}, None, key)

    @rule(entries=st.lists(st.one_of(everyday(), proposable), min_size=1, max_size=3))
    def look(self, entries: list[Asked]) -> None:
        """A preview, which refuses what the commit would refuse, and leaves no trace."""
        assert self.ledger is not None
        trial = self.books.copy()
        expected = trial.ask("book", {"entries": entries})
        try:
            rows = self.ledger.preview([draft_of(entry) for entry in entries])
        except bb.BibankError as error:
            check_answer(code_of(error), expected)
            return
        assert isinstance(expected, tuple)
        for row in rows:
            assert row.after.units == trial.units[str(row.account)] * 10**8

    # ------------------------------------------------------------------ decisions

    @rule(asked=decisions(), by=_signers, key=keys)
    def decide(self, asked: Asked, by: list[str], key: str | None) -> None:
        """A decision about an account."""
        self.take("decide", asked, by, key)

    @rule(
        name=st.sampled_from([ALICE, BOB, CAROL, vault("USDT"), locked(ALICE)]),
        kind=st.sampled_from(["account_frozen", "account_frozen", "account_closed", "limit_set"]),
        by=_able,
        entries=st.lists(st.one_of(everyday(), everyday(), proposable), min_size=1, max_size=4),
        data=st.data(),
    )
    def while_decided(
        self, name: str, kind: str, by: list[str], entries: list[Asked], data: st.DataObject
    ) -> None:
        """An account, emptied if it is to be closed, is decided about; others move money; it is reopened."""
        other = BOB if name == ALICE else ALICE
        left = self.books.units.get(name, 0) if kind == "account_closed" and name in (ALICE, BOB) else 0
        for units in [50] * (left // 50) + [left % 50] * (left % 50 > 0):
            self.pay(name, other, units)
        floor = -100 if kind == "limit_set" else None
        self.take("decide", {"kind": kind, "account": name, "floor": floor, "reason": "x"}, by)
        legs = [(name, "debit", 1), (other, "credit", 1)]
        leaving = {"intent": "transfer", "legs": legs, "purpose": None, "trace": "t1"}
        arriving = {
            **leaving,
            "legs": [(vault("USDT"), "debit", 1), (name, "credit", 1)],
            "intent": "deposit",
        }
        for entry in [*([leaving, arriving] if name in (ALICE, BOB, CAROL) else []), *entries]:
            self.take("book", {"entries": [entry]})
        if name in (ALICE, BOB):
            legs = [(name, "debit", 1), (name, "credit", 1)]
            wash = {"intent": "adjustment", "legs": legs, "purpose": "EXPENSE", "trace": "t1"}
            self.case(wash, ["cleo1", "dora1", "anna1"])
        if data.draw(st.booleans()):
            again = {"kind": "account_reopened", "account": name, "floor": None, "reason": "x"}
            self.take("decide", again, by)

    @rule(name=st.sampled_from([ALICE, BOB]), by=_able, units=st.sampled_from([1, 20, 60]))
    def freeze_payee(self, name: str, by: list[str], units: int) -> None:
        """Money arrives on a frozen account, as far as the host's rule lets it, and does not leave it."""
        other = BOB if name == ALICE else ALICE
        asked = {"kind": "account_frozen", "account": name, "floor": None, "reason": "y"}
        self.take("decide", asked, by)
        self.pay(other, name, units)
        self.pay(name, other, units)
        self.take("decide", {**asked, "kind": "account_reopened"}, by)

    @rule(
        pair=st.permutations([ALICE, BOB]),
        by=_signers,
        after=st.sampled_from([0, 60, 3_600]),
        pause=st.sampled_from([0, 0, 59, 60]),
        key=keys,
    )
    def override(self, pair: list[str], by: list[str], after: int, pause: int, key: str | None) -> None:
        """An entry may pass the host's rule once, until a time; another may not."""
        payer, payee = pair
        legs = [(vault("USDT"), "debit", 60), (payer, "credit", 60)]
        self.take("book", {"entries": [{"intent": "deposit", "legs": legs, "purpose": None, "trace": "t1"}]})
        entry = {"intent": "transfer", "legs": [(payer, "debit", 60), (payee, "credit", 60)], "purpose": None}
        entry["trace"] = "t1"
        asked = {"entry": entry, "expires": self.books.now + after, "reason": "x"}
        self.take("override", asked, by, key)
        self.wait(pause)
        for trace in ("t2", "t1", "t1"):
            self.pay(payer, payee, 60, trace)

    # ------------------------------------------------------------------ proposals

    @rule(entry=proposable, by=_proposers, key=keys, turns=_turns)
    def propose(self, entry: Asked, by: str | None, key: str | None, turns: list[str | int]) -> None:
        """Somebody proposes what nobody commits without approvals; others approve it as time passes."""
        if key is None:
            self.take("book", {"entries": [entry]})
        self.case(entry, turns, by, key)

    def case(
        self, entry: Asked, turns: Sequence[str | int], by: str | None = None, key: str | None = None
    ) -> None:
        """Propose an entry, and let keys approve it one after the other, or time pass."""
        sequence = self.books.sequence + 1
        self.take("propose", {"entry": entry}, by, key)
        for turn in turns:
            if isinstance(turn, int):
                self.wait(turn)
            elif sequence in self.books.proposals:
                self.take("approve", {"sequence": sequence}, turn)

    @rule(entry=proposable, order=st.permutations(OPERATORS), how=st.sampled_from(["retire", "revoke"]))
    def end_approver(self, entry: Asked, order: list[str], how: str) -> None:
        """Somebody approves, the key of it ends, and others approve."""
        first, *others = order
        self.case(entry, [first])
        sequence = max(self.books.proposals, default=0)
        change: Asked = {"add": [], "retire": {}, "revoke": {}, "policies": {}}
        self.take("change", {**change, how: {first: f"{how}d"}}, others[:2])
        if sequence:
            for by in others:
                self.take("approve", {"sequence": sequence}, by)

    @rule(entry=proposable, by=_proposers, turns=_turns)
    def propose_again(self, entry: Asked, by: str | None, turns: list[str | int]) -> None:
        """The same, more often."""
        self.propose(entry, by, None, turns)

    @precondition(lambda self: self.books.proposals)
    @rule(data=st.data(), by=_approvers, key=keys)
    def approve(self, data: st.DataObject, by: str, key: str | None) -> None:
        """Somebody approves a proposal, open or not."""
        sequence = data.draw(st.sampled_from(sorted(self.books.proposals)))
        self.take("approve", {"sequence": sequence}, by, key)

    @precondition(lambda self: self.books.pending())
    @rule(data=st.data(), order=st.permutations(OPERATORS))
    def approve_all(self, data: st.DataObject, order: list[str]) -> None:
        """Everybody approves an open proposal, one after the other, as long as it takes and once more."""
        sequence = data.draw(st.sampled_from([row[0] for row in self.books.pending()]))
        for by in order:
            self.take("approve", {"sequence": sequence}, by)

    @rule(sequence=st.integers(1, 40), by=_approvers, key=keys)
    def attest(self, sequence: int, by: str, key: str | None) -> None:
        """Somebody signs a line that stands already, or approves what is no proposal."""
        self.take("attest", {"sequence": sequence}, by, key)
        self.take("attest", {"sequence": 1 + sequence // 8}, by)
        self.take("approve", {"sequence": sequence}, by)

    # ------------------------------------------------------------------ signed beforehand

    @rule(asked=decisions(), by=_signers)
    def draft_decision(self, asked: Asked, by: list[str]) -> None:
        """A decision is signed, and waits."""
        assert self.ledger is not None
        if asked["floor"] == 1 or (asked["floor"] is not None and asked["account"] not in (ALICE, BOB)):
            return
        terms = self.books.terms.get(asked["account"], {"sequence": 0})
        noted = {**asked, "previous": terms["sequence"], "is_fork": False}
        everybody = self.books.signers(by)
        envelope = envelope_of(self.ledger, "decide", asked, everybody)
        self.envelopes.append(("decide", noted, everybody, envelope))

    @precondition(lambda self: self.books.pending())
    @rule(data=st.data(), by=_approvers, is_fork=st.booleans())
    def draft_approval(self, data: st.DataObject, by: str, is_fork: bool) -> None:  # noqa: FBT001 - drawn by name
        """An approval is signed, for the ledger or for a fork of it, and waits."""
        assert self.ledger is not None
        asked = {"sequence": data.draw(st.sampled_from([row[0] for row in self.books.pending()]))}
        ledger = self.ledger.fork() if is_fork else self.ledger
        noted, envelope = {**asked, "is_fork": is_fork}, envelope_of(ledger, "approve", asked, by)
        self.envelopes.append(("approve", noted, by, envelope))
        if is_fork:
            check_answer(deliver(self.ledger, envelope), self.books.ask("approve", noted, by))

    @precondition(lambda self: self.envelopes)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """What was signed beforehand is committed, perhaps again, perhaps too late."""
        assert self.ledger is not None
        verb, asked, by, envelope = data.draw(st.sampled_from(self.envelopes))
        check_answer(deliver(self.ledger, envelope), self.books.ask(verb, asked, by))
        self.before[self.books.sequence] = self.books.copy(is_fork=True)

    @rule(name=st.sampled_from([ALICE, BOB]), by=_able, kind=st.sampled_from(["account_frozen", "limit_set"]))
    def replay(self, name: str, by: list[str], kind: str) -> None:
        """A decision that was signed beforehand is taken, taken back, and played again."""
        assert self.ledger is not None
        floor = -10 if kind == "limit_set" else None
        asked: Asked = {"kind": kind, "account": name, "floor": floor, "reason": "z"}
        before = self.books.terms.get(name, {"sequence": 0})["sequence"]
        everybody = self.books.signers(by)
        envelope = envelope_of(self.ledger, "decide", asked, everybody)
        noted = {**asked, "previous": before, "is_fork": False}
        for _ in range(2):
            check_answer(deliver(self.ledger, envelope), self.books.ask("decide", noted, everybody))
            self.before[self.books.sequence] = self.books.copy(is_fork=True)
            self.take("decide", {**asked, "kind": "account_reopened", "floor": None}, by)

    # ------------------------------------------------------------------ keys, time, restarts

    @rule(asked=keyring_changes(), by=_keepers)
    def change(self, asked: Asked, by: list[str]) -> None:
        """The keyring is changed."""
        self.take("change", asked, by)

    @precondition(lambda self: self.books.own == "system1")
    @rule(by=_keepers)
    def rotate(self, by: list[str]) -> None:
        """The ledger's own key is replaced."""
        asked = {"add": ["system2"], "retire": {"system1": "retired"}, "revoke": {}, "policies": {}}
        self.take("change", asked, by)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), signers=_signers)
    def retry(self, data: st.DataObject, signers: list[str]) -> None:
        """The same request under the same key; who signs what many decide may be others."""
        verb, asked, by, key = data.draw(st.sampled_from(self.asked))
        self.take(verb, asked, signers if isinstance(by, list) else by, key)

    @rule(seconds=st.sampled_from([1, 60, 599, 600, 3_600]))
    def wait_a_while(self, seconds: int) -> None:
        """Time passes."""
        self.wait(seconds)

    def wait(self, seconds: int) -> None:
        """Move the clock."""
        self.clock.seconds += seconds
        self.books.now += seconds

    @precondition(lambda self: self.books.pending())
    @rule(data=st.data(), early=st.sampled_from([0, 1]), by=st.sampled_from(OPERATORS))
    def wait_for_expiry(self, data: st.DataObject, early: int, by: str) -> None:
        """The moment comes at which a proposal expires, or the second before it; somebody tries it."""
        row = data.draw(st.sampled_from(self.books.pending()))
        if row[-1] - self.books.now < 86_400:
            self.clock.seconds = self.books.now = max(self.books.now, row[-1] - early)
        self.take("approve", {"sequence": row[0]}, by)

    @rule()
    def reopen(self) -> None:
        """A restart."""
        assert self.ledger is not None
        common: Any = {"signer": SIGNERS[self.books.own], "clock": self.clock}
        common["risk"] = RiskEngine([Ceiling()])
        if self.store is not None:
            self.ledger = bb.Ledger(store=self.store, **common)
        else:
            self.ledger.close()
            self.ledger = bb.Ledger.open(self.home, durability="none", **common)

    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        """A fork at any line goes its own way, as the books of that line would."""
        assert self.ledger is not None
        at = data.draw(st.sampled_from(sorted(self.before)))
        fork, books = self.ledger.fork(at=at), self.before[at].copy()
        books.now = self.books.now
        check_books(fork, books)
        for _ in range(data.draw(st.integers(1, 4))):
            verb, asked, by = data.draw(self._steps(books))
            check_answer(ask(fork, books, verb, asked, by), books.ask(verb, asked, by))
            check_books(fork, books)
        check_lines(fork, books)
        fork.audit()

    def _steps(self, books: Books) -> st.SearchStrategy[tuple[str, Asked, Any]]:
        """What is asked of a fork."""
        several = [
            st.tuples(st.just("book"), everyday().map(lambda entry: {"entries": [entry]}), st.none()),
            st.tuples(st.just("decide"), decisions(), st.one_of(st.just([]), _signers)),
            st.tuples(st.just("change"), keyring_changes(), _keepers),
            st.tuples(st.just("propose"), proposable.map(lambda entry: {"entry": entry}), _proposers),
        ]
        if books.proposals:
            cited = st.sampled_from(sorted(books.proposals)).map(lambda number: {"sequence": number})
            several += [st.tuples(st.just("approve"), cited, st.sampled_from(OPERATORS))] * 3
        return st.one_of(several)

    @invariant()
    def agrees(self) -> None:
        """The books are the oracle's at every moment, for a reader too."""
        if self.ledger is None:
            return
        check_books(self.ledger, self.books)
        if self.reader is not None:
            self.reader.refresh()
            check_books(self.reader, self.books)

    def teardown(self) -> None:
        """Compare every line, audit, restart, and clean up."""
        if self.ledger is None:
            return
        try:
            if not self.agreed:
                return
            assert self.ledger.audit(level="signatures").head == self.ledger.head
            self.reopen()
            for shown in (self.ledger, self.reader):
                if shown is not None:
                    check_books(shown, self.books)
                    check_lines(shown, self.books)
        finally:
            if self.reader is not None:
                self.reader.close()
            self.ledger.close()
            self.directory.cleanup()


TestGovernanceMachine = GovernanceMachine.TestCase


def test_the_oracle_of_governance_can_disagree() -> None:
    """The comparison can fail: books that missed a decision are told from the ledger."""
    ledger = bb.Ledger.in_memory({"USDT": "1000", "BTC": "100"}, signer=SIGNERS["system1"])
    books = Books(OPENING, now=0)
    check_books(ledger, books)
    asked: Asked = {"kind": "account_frozen", "account": ALICE, "floor": None, "reason": "x"}
    assert ask(ledger, books, "decide", asked, []) == (3,)
    with pytest.raises(AssertionError):
        check_books(ledger, books)
    assert books.ask("decide", asked, []) == (3,)
    check_books(ledger, books)
    assert PEOPLE["ben1"][0] == PEOPLE["ben2"][0]
