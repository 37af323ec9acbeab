"""Risk rules around a ledger: they judge what is proposed, remember across restarts, and never call back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from bibank.rules import Refusal, RiskView, RuleState, StampedEntry, StampedLine
from tests.store.journals import StillClock, deposit, transfer


class CountLimit:
    """At most so many transfers a payer, ever: a rule with a memory."""

    name = "count-limit/1"

    def __init__(self, most: int) -> None:
        self.most = most

    def check(self, entry: bb.UnsignedEntry, view: RiskView) -> Refusal | None:
        """Refuse one transfer too many."""
        for posting in view.outflows(entry):
            if (
                entry.intent is bb.TransactionIntent.TRANSFER
                and view.state.get(posting.account.id, 0) == self.most
            ):
                return Refusal(message=f"{posting.account.id} has made {self.most} transfers", advice="wait")
        return None

    def apply(self, line: StampedLine, state: RuleState) -> None:
        """Count."""
        if isinstance(line, StampedEntry) and line.intent is bb.TransactionIntent.TRANSFER:
            payer = line.postings[0].account.id
            count = state.get(payer, 0)
            assert isinstance(count, int)
            state[payer] = count + 1


def engine(most: int = 2) -> bb.RiskEngine:
    """An engine with that one rule."""
    return bb.RiskEngine([CountLimit(most)])


def test_a_rule_remembers_across_a_restart(tmp_path: Path) -> None:
    """The memory of a rule is rebuilt from the journal: neither forgotten nor counted twice."""
    with bb.Ledger.create(tmp_path / "books", risk=engine()) as ledger:
        ledger.commit(deposit("A", "10 USDT"))
        ledger.commit(transfer("A", "B", "1 USDT"))
    with bb.Ledger.open(tmp_path / "books", risk=engine()) as ledger:
        ledger.commit(transfer("A", "B", "1 USDT"))
    for _ in range(2):
        with bb.Ledger.open(tmp_path / "books", risk=engine()) as ledger:
            with pytest.raises(bb.Refused) as caught:
                ledger.commit(transfer("A", "B", "1 USDT"))
            assert caught.value.rule == "count-limit/1"
            assert str(caught.value) == "A has made 2 transfers; wait"
            assert ledger.commit(transfer("B", "A", "1 USDT")).sequence > 0


def test_a_refused_batch_and_a_preview_leave_no_memory() -> None:
    """What was not committed was not counted, in a batch, among many, and in a preview."""
    ledger = bb.Ledger.in_memory(risk=engine())
    ledger.commit(deposit("A", "10 USDT"))
    one = transfer("A", "B", "1 USDT")
    with pytest.raises(bb.Refused):
        ledger.commit_batch([one, one, one])
    with pytest.raises(bb.InsufficientBalance):
        ledger.commit_batch([one, transfer("A", "B", "100 USDT")])
    ledger.preview([one, one])
    outcomes = ledger.commit_each([[one, transfer("NOBODY", "B", "1 USDT")], one, one, one])
    assert [isinstance(outcome, bb.Refused) for outcome in outcomes] == [True, False, False, True]


def test_a_stricter_rule_opens_what_it_would_refuse() -> None:
    """Rules judge what is proposed, never what was accepted: a stricter one opens today's ledger."""
    store = bb.MemoryStore()
    ledger = bb.Ledger(store=store)
    ledger.commit_each([deposit("A", "10 USDT"), *[transfer("A", "B", "1 USDT")] * 5])
    strict = bb.Ledger(store=store, risk=engine(1))
    assert strict.accounts() == ledger.accounts()
    strict.commit(transfer("B", "A", "1 USDT"))
    with pytest.raises(bb.Refused):
        strict.commit(transfer("B", "A", "1 USDT"))
    assert strict.audit().lines == 9


class Calling:
    """A rule that does something with the ledger while it is asked."""

    name = "calling/1"

    def __init__(self) -> None:
        self.call: Callable[[], object] = lambda: None

    def check(self, entry: bb.UnsignedEntry, view: RiskView) -> Refusal | None:
        """Call."""
        self.call()
        return None


CALLS: dict[str, Callable[[bb.Ledger], object]] = {
    "commit": lambda ledger: ledger.commit(deposit("B", "1 USDT")),
    "commit_batch": lambda ledger: ledger.commit_batch([deposit("B", "1 USDT")]),
    "commit_each": lambda ledger: ledger.commit_each([deposit("B", "1 USDT")]),
    "preview": lambda ledger: ledger.preview(deposit("B", "1 USDT")),
    "balance": lambda ledger: ledger.balance("A", "USDT"),
    "accounts": lambda ledger: ledger.accounts(),
    "entries": lambda ledger: ledger.entries(),
    "audit": lambda ledger: ledger.audit(),
    "close": lambda ledger: ledger.close(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("how", ["commit", "commit_batch", "commit_each", "preview"])
def test_a_rule_that_calls_its_ledger_back_refuses(how: str, call: Callable[[bb.Ledger], object]) -> None:
    """A rule sees the view and nothing else: calling the ledger is its failure, and changes nothing."""
    rule = Calling()
    ledger = bb.Ledger.in_memory(risk=bb.RiskEngine([rule]))
    ledger.commit(deposit("A", "1 USDT"))
    before = ledger.head, ledger.accounts(), ledger.entries()
    rule.call = lambda: call(ledger)
    draft = deposit("A", "1 USDT")
    if how == "commit_each":
        refusal = ledger.commit_each([draft])[0]
    else:
        with pytest.raises(bb.RuleFailed) as caught:
            getattr(ledger, how)([draft] if how == "commit_batch" else draft)
        refusal = caught.value
    assert isinstance(refusal, bb.RuleFailed)
    assert isinstance(refusal.__cause__, bb.ConfigurationError)
    rule.call = lambda: None
    assert (ledger.head, ledger.accounts(), ledger.entries()) == before
    ledger.commit(draft)


def test_a_clock_that_calls_its_ledger_back_is_refused() -> None:
    """A clock has no business with the ledger either, and can be mended."""
    clock: Any = StillClock()
    ledger = bb.Ledger.in_memory(clock=clock)
    now, clock.now = clock.now, lambda: ledger.commit(deposit("A", "1 USDT")).timestamp
    with pytest.raises(bb.ConfigurationError, match="clock"):
        ledger.commit(deposit("A", "1 USDT"))
    clock.now = now
    assert ledger.commit(deposit("A", "1 USDT")).sequence == 3


def test_a_clock_that_raises_changes_nothing() -> None:
    """An error of the host's clock comes out as it is, before anything has happened."""
    clock: Any = StillClock()
    ledger = bb.Ledger.in_memory(clock=clock)

    def broken() -> None:
        raise RuntimeError("mine")

    now, clock.now = clock.now, broken
    with pytest.raises(RuntimeError, match="mine"):
        ledger.commit_each([deposit("A", "1 USDT")])
    clock.now = now
    assert ledger.commit(deposit("A", "1 USDT")).sequence == 3


def test_a_rule_that_fails_while_it_remembers_refuses_the_opening(tmp_path: Path) -> None:
    """A rule that cannot take note of the journal gives no ledger, and the home is free again."""

    class Forgetful(CountLimit):
        def apply(self, line: StampedLine, state: RuleState) -> None:
            raise RuntimeError("mine")

    with bb.Ledger.create(tmp_path / "books") as ledger:
        ledger.commit(deposit("A", "1 USDT"))
    with pytest.raises(bb.RuleFailed, match="mine"):
        bb.Ledger.open(tmp_path / "books", risk=bb.RiskEngine([Forgetful(1)]))
    bb.Ledger.open(tmp_path / "books").close()


def test_an_interrupt_in_a_rule_is_an_interrupt() -> None:
    """A rule that is interrupted has not answered: the interrupt comes out, and nothing was committed."""
    rule = Calling()
    store = bb.MemoryStore()
    ledger = bb.Ledger(store=store, risk=bb.RiskEngine([rule]))

    def interrupt() -> None:
        raise KeyboardInterrupt

    rule.call = interrupt
    with pytest.raises(KeyboardInterrupt):
        ledger.commit(deposit("A", "1 USDT"))
    assert bb.Ledger(store=store).head.sequence == 2
    with pytest.raises(bb.LedgerPoisoned):
        ledger.accounts()


def test_a_rule_sees_the_stamp_that_is_sealed() -> None:
    """Sequence and time of the view are those of the entry that follows."""
    seen = []

    class Watching:
        name = "watching/1"

        def check(self, entry: bb.UnsignedEntry, view: RiskView) -> Refusal | None:
            seen.append((view.sequence, view.now))
            return None

    clock = StillClock()
    ledger = bb.Ledger.in_memory(clock=clock, risk=bb.RiskEngine([Watching()]))
    clock.moment = clock.moment.replace(hour=1)  # before the genesis: the stamp is the later of the two
    made = ledger.commit_batch([deposit("A", "1 USDT"), deposit("A", "1 USDT")])
    assert seen == [(entry.sequence, entry.timestamp) for entry in made]
