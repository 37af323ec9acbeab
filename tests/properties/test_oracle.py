"""The ledger against the oracle: any history agrees, over every store, across batches and restarts."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import bibank as bb
from tests.properties.histories import (
    OPENINGS,
    Step,
    batches,
    check_agreement,
    entries,
    groups,
    histories,
    take,
)
from tests.properties.oracle import Entry, Oracle, Refusal


def snapshot(ledger: bb.Ledger) -> object:
    """Everything that a restart must give back."""
    return ledger.ledger_id, ledger.head, ledger.accounts(), ledger.entries()


class LedgerUnderTest:
    """A ledger over one kind of store that can be opened again."""

    def __init__(self, kind: str, opening: dict[str, str]) -> None:
        self._directory = TemporaryDirectory()
        self._home = Path(self._directory.name) / "books"
        self._store = bb.MemoryStore() if kind == "memory" else None
        if self._store is not None:
            self.ledger = bb.Ledger(store=self._store, opening=opening)
        else:
            self.ledger = bb.Ledger.create(self._home, opening=opening)

    def reopen(self) -> None:
        """Open the same journal again, and demand that nothing was lost or added."""
        before = snapshot(self.ledger)
        if self._store is not None:
            self.ledger = bb.Ledger(store=self._store)
        else:
            self.ledger.close()
            self.ledger = bb.Ledger.open(self._home)
        assert snapshot(self.ledger) == before

    def close(self) -> None:
        """Audit one last time and clean up."""
        try:
            assert self.ledger.audit().head == self.ledger.head
            self.reopen()
            self.ledger.close()
            if self._store is None:
                assert bb.audit_home(self._home).ledger_id == self.ledger.ledger_id
        finally:
            self.ledger.close()
            self._directory.cleanup()


@pytest.mark.parametrize("kind", ["memory", "jsonl"])
@given(opening=st.sampled_from(OPENINGS), history=histories)
def test_any_history_agrees_with_the_oracle(kind: str, opening: dict[str, str], history: list[Step]) -> None:
    """Balances, refusals with their figures, sequences and order are those of the naive model."""
    oracle = Oracle(opening)
    subject = LedgerUnderTest(kind, opening)
    try:
        check_agreement(subject.ledger, oracle)
        for step in history:
            if step[0] == "reopen":
                subject.reopen()
            else:
                take(subject.ledger, oracle, step)
            check_agreement(subject.ledger, oracle)
    finally:
        subject.close()


@given(opening=st.sampled_from(OPENINGS), history=histories)
def test_reopening_after_every_step_changes_nothing(opening: dict[str, str], history: list[Step]) -> None:
    """A ledger that is opened again after each step ends as one that was never closed."""
    oracle = Oracle(opening)
    store = bb.MemoryStore()
    bb.Ledger(store=store, opening=opening)
    for step in history:
        if step[0] != "reopen":
            take(bb.Ledger(store=store), oracle, step)
    check_agreement(bb.Ledger(store=store), oracle)


class LedgerMachine(RuleBasedStateMachine):
    """A ledger over either store and the oracle, step by step in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.subject: LedgerUnderTest | None = None

    @initialize(kind=st.sampled_from(["memory", "jsonl"]), opening=st.sampled_from(OPENINGS))
    def found(self, kind: str, opening: dict[str, str]) -> None:
        """Make the ledger."""
        self.oracle = Oracle(opening)
        self.subject = LedgerUnderTest(kind, opening)

    @property
    def ledger(self) -> bb.Ledger:
        """The ledger as it is open now."""
        assert self.subject is not None
        return self.subject.ledger

    @rule(entry=entries)
    def commit(self, entry: Entry) -> None:
        """One entry."""
        take(self.ledger, self.oracle, ("commit", [[entry]]))

    @rule(batch=batches)
    def commit_batch(self, batch: list[Entry]) -> None:
        """Entries that stand or fall together."""
        take(self.ledger, self.oracle, ("commit_batch", [batch]))

    @rule(group=groups)
    def commit_each(self, group: list[list[Entry]]) -> None:
        """Independent batches in one write group."""
        take(self.ledger, self.oracle, ("commit_each", group))

    @rule(batch=batches)
    def preview(self, batch: list[Entry]) -> None:
        """A look at what would happen."""
        take(self.ledger, self.oracle, ("preview", [batch]))

    @rule()
    def reopen(self) -> None:
        """A restart."""
        assert self.subject is not None
        self.subject.reopen()

    @rule()
    def audit(self) -> None:
        """An audit in between."""
        assert self.ledger.audit().lines == self.oracle.sequence

    @invariant()
    def agrees(self) -> None:
        """The books are the oracle's at every moment."""
        if self.subject is not None:
            check_agreement(self.ledger, self.oracle)

    def teardown(self) -> None:
        """Audit, reopen and clean up."""
        if self.subject is not None:
            self.subject.close()


TestLedgerMachine = LedgerMachine.TestCase


def test_oracle_can_disagree() -> None:
    """The comparison can fail: an oracle that missed one deposit is told from the ledger."""
    step: Step = (
        "commit",
        [
            [
                (
                    "deposit",
                    (
                        ("ASSET:SYSTEM:VAULT:BTC:MAIN", "1", "debit"),
                        ("LIAB:USER:A:BTC:AVAILABLE", "1", "credit"),
                    ),
                )
            ]
        ],
    )
    oracle, ledger = Oracle({}), bb.Ledger.in_memory()
    take(ledger, oracle, step)
    check_agreement(ledger, oracle)
    oracle.units["LIAB:USER:A:BTC:AVAILABLE"] += 1
    with pytest.raises(AssertionError):
        check_agreement(ledger, oracle)


def test_oracle_refuses_by_hand_computed_figures() -> None:
    """The oracle itself is right about one refusal that was computed by hand."""
    oracle = Oracle({"USDT": "5"})
    overdraw: Entry = (
        "withdrawal",
        (("LIAB:USER:A:USDT:AVAILABLE", "2", "debit"), ("ASSET:SYSTEM:VAULT:USDT:MAIN", "2", "credit")),
    )
    assert oracle.commit([overdraw]) == Refusal("LIAB:USER:A:USDT:AVAILABLE", 2 * 10**8, 0, 2 * 10**8)
    assert oracle.sequence == 2
