"""The engine: order, first refusal, failing closed, and a memory that batches and previews cannot spoil."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibank.errors import (
    BibankError,
    ConfigurationError,
    InsufficientBalance,
    InvalidType,
    Refused,
    RuleFailed,
)
from bibank.journal.batches import PreparedBatch
from bibank.journal.drafts import deposit, transfer, withdrawal
from bibank.journal.machine import LedgerMachine
from bibank.model.account import AccountKey
from bibank.model.amount import SignedAmount
from bibank.model.entry import Posting, TransactionIntent, UnsignedEntry
from bibank.risk.engine import RiskEngine
from bibank.risk.rule import Refusal
from bibank.risk.view import RuleState
from bibank.signing.trust import KeyringTrust
from bibank.testing.strategies import histories
from tests.journal.machines import ALICE, BOB, NOON, accept, found, founding, memory, outcome, propose, state
from tests.risk.rules import Counting, Rule

BUILT_IN = ("accounts/1", "reversals/1", "holds/1", "sufficiency/1")
"""The rules of every ledger, in the order in which they judge."""


def refusal(machine: LedgerMachine, *drafts: UnsignedEntry) -> Refused:
    """Demand that a batch is refused, by preview and proposal alike, and give the refusal."""
    with pytest.raises(Refused) as previewed:
        machine.preview(PreparedBatch(drafts), NOON)
    with pytest.raises(Refused) as caught:
        propose(machine, *drafts)
    assert (type(previewed.value), previewed.value.args) == (type(caught.value), caught.value.args)
    return caught.value


def pay(amount: str = "1 USDT") -> UnsignedEntry:
    """Let ALICE pay BOB."""
    return transfer("ALICE", "BOB", amount, correlation_id="r")


def funded(*rules: Any) -> LedgerMachine:
    """Give ALICE 100 USDT in a ledger with some rules."""
    machine, _ = found(rules=rules)
    propose(machine, deposit("ALICE", "100 USDT", correlation_id="r"))
    return machine


# --------------------------------------------------------------------------- sufficiency


def test_refusal_says_everything() -> None:
    """Rule, code, account, asset, required, available, shortfall, and what would pass: as attributes."""
    error = refusal(funded(), pay("100.00000001 USDT"))
    assert isinstance(error, InsufficientBalance)
    assert (error.rule, error.code, error.asset) == ("sufficiency/1", "insufficient_balance", "USDT")
    assert error.account == AccountKey(ALICE)
    assert (error.required, error.available, error.shortfall) == (
        SignedAmount("100.00000001"),
        SignedAmount(100),
        SignedAmount("0.00000001"),
    )
    assert error.advice == "at most 100 USDT would pass"
    assert ALICE in str(error)
    assert error.advice in str(error)
    propose(machine := funded(), pay("100 USDT"))
    assert refusal(machine, pay("0.00000001 USDT")).advice == "nothing would pass"


@pytest.mark.parametrize(
    ("draft", "account"),
    [
        (pay("101 USDT"), ALICE),
        (withdrawal("ALICE", "101 USDT", correlation_id="r"), ALICE),
        (withdrawal("BOB", "1 USDT", correlation_id="r"), BOB),
        (
            UnsignedEntry(
                intent=TransactionIntent.WITHDRAWAL,
                correlation_id="r",
                postings=(Posting.debit(ALICE, 5), Posting.credit("ASSET:SYSTEM:EMPTY:USDT:MAIN", 5)),
            ),
            "ASSET:SYSTEM:EMPTY:USDT:MAIN",
        ),
        (
            UnsignedEntry(
                intent=TransactionIntent.TRANSFER,
                correlation_id="r",
                postings=(Posting.debit(ALICE, 60), Posting.debit(ALICE, 60), Posting.credit(BOB, 120)),
            ),
            ALICE,
        ),
    ],
)
def test_floored_categories(draft: UnsignedEntry, account: str) -> None:
    """ASSET and LIAB accounts do not fall below zero, single postings and sums of them."""
    assert refusal(funded(), draft).account == AccountKey(account)


def test_categories_without_a_floor() -> None:
    """EQUITY may go anywhere: an opening credits it, a loss would debit it."""
    machine, _ = found({"USDT": "1000"})
    account = machine.book.find("EQUITY:SYSTEM:CAPITAL:USDT:MAIN")
    assert account is not None
    assert account.balance == 1000 * 10**8
    assert account.floor < 0


def test_account_below_its_floor_may_receive() -> None:
    """Only what an entry lowers is judged."""
    machine = funded()
    account = machine.book.find(ALICE)
    assert account is not None
    account.balance = -50 * 10**8
    propose(machine, deposit("ALICE", "10 USDT", correlation_id="r"))
    error = refusal(machine, pay("1 USDT"))
    assert (str(error.available), str(error.shortfall)) == ("-40", "41")
    assert error.advice == "nothing would pass"


def test_lowered_floor_is_an_overdraft() -> None:
    """An account may go down to its own floor and not below."""
    machine = funded()
    account = machine.book.find(ALICE)
    assert account is not None
    account.floor = -30 * 10**8
    error = refusal(machine, pay("131 USDT"))
    assert (str(error.available), error.advice) == ("130", "at most 130 USDT would pass")
    propose(machine, pay("130 USDT"))
    assert account.balance == account.floor


# --------------------------------------------------------------------------- order and refusals


def test_rules_are_asked_in_order_and_the_first_refusal_wins() -> None:
    """Sufficiency, then the rules as given; nobody is asked after a no."""
    first = Rule("first/1")
    second = Rule("second/2", lambda entry, view: Refusal(message="no", advice="ask later"))
    third = Rule("third/3", lambda entry, view: Refusal(message="never", advice="go away"))
    machine, _ = replayed_with(first, second, third)
    names = RiskEngine([first, second, third]).rule_names
    assert names == (*BUILT_IN, "first/1", "second/2", "third/3")
    error = refusal(machine, deposit("ALICE", "1 USDT", correlation_id="r"))
    assert type(error) is Refused
    assert (error.rule, error.code, error.advice) == ("second/2", "refused", "ask later")
    assert str(error) == "no; ask later"
    assert (first.asked, second.asked, third.asked) == (2, 2, 0)
    assert refusal(machine, pay()).rule == "sufficiency/1"
    assert (first.asked, second.asked) == (2, 2)


def replayed_with(*rules: Any) -> tuple[LedgerMachine, list[bytes]]:
    """Found a ledger without rules, and replay it with some."""
    _, lines = found()
    return accept(lines, rules=rules), lines


def test_replay_asks_no_rule() -> None:
    """A stricter rule tomorrow cannot make today's ledger unopenable."""
    strict = Rule("strict/1", lambda entry, view: Refusal(message="no", advice="no"))
    machine = funded()
    _, lines = found()
    lines += propose(accept(lines), deposit("ALICE", "100 USDT", correlation_id="r")).lines
    replayed = accept(lines, rules=[strict])
    assert replayed.head.sequence == machine.head.sequence == 3
    assert strict.asked == 0
    assert refusal(replayed, pay()).rule == "strict/1"


def test_figures_of_a_refusal_pass_through() -> None:
    """What a rule says is what the caller gets."""
    figures: dict[str, Any] = {
        "account": AccountKey(ALICE),
        "asset": "USDT",
        "required": SignedAmount(3),
        "available": SignedAmount(2),
        "shortfall": SignedAmount(1),
    }
    rule = Rule("figures/1", lambda entry, view: Refusal(message="no", advice="less", **figures))
    machine, _ = replayed_with(rule)
    error = refusal(machine, deposit("ALICE", "1 USDT", correlation_id="r"))
    assert {name: getattr(error, name) for name in figures} == figures


# --------------------------------------------------------------------------- failing closed


class Silent(Exception):
    """An exception that cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


def failing(error: Exception) -> Any:
    """Make a check that raises."""

    def check(entry: Any, view: Any) -> None:
        raise error

    return check


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("x"),
        AssertionError(),
        RecursionError("deep"),
        MemoryError(),
        StopIteration(),
        Silent(),
        InsufficientBalance("x", rule="other/1", advice="y"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_rule_that_raises_has_refused(error: Exception) -> None:
    """Whatever a rule raises is a `RuleFailed` with the cause kept, and nothing moves."""
    machine, _ = replayed_with(Rule("broken/1", failing(error)))
    before = state(machine)
    caught = refusal(machine, deposit("ALICE", "1 USDT", correlation_id="r"))
    assert isinstance(caught, RuleFailed)
    assert caught.__cause__ is error
    assert (caught.rule, caught.code) == ("broken/1", "rule_failed")
    assert state(machine) == before


@pytest.mark.parametrize("answer", [True, False, "no", 0, 5, Refused("x", rule="a/1", advice="b"), []])
def test_rule_that_answers_something_else(answer: Any) -> None:
    """Only None passes; an answer that is no refusal is a failure."""
    machine, _ = replayed_with(Rule("strange/1", lambda entry, view: answer))
    assert isinstance(refusal(machine, deposit("ALICE", "1 USDT", correlation_id="r")), Refused)


@pytest.mark.parametrize(
    "rules",
    [
        None,
        5,
        Rule("a/1"),
        [None],
        ["limit/1"],
        [Rule],
        [type("Nameless", (), {"check": lambda self, entry, view: None})()],
        [type("Hollow", (), {"name": "hollow/1"})()],
        [type("Broken", (), {"name": "broken/1", "check": "x"})()],
    ],
    ids=range(9),
)
def test_things_that_are_no_rules(rules: Any) -> None:
    """A rule is an object with a name and a check, found out when the engine is made."""
    with pytest.raises(ConfigurationError):
        RiskEngine(rules)


def test_engine_of_one_ledger() -> None:
    """What rules remember is of one journal: an engine is claimed once."""
    engine = RiskEngine([Counting()])
    assert engine.claim() is engine
    with pytest.raises(ConfigurationError, match="was used by a ledger"):
        engine.claim()


def test_opening_is_not_judged_by_the_hosts_rules() -> None:
    """A ledger is created whatever its rules would say; they do remember the opening."""
    strict = Rule("strict/1", lambda entry, view: Refusal(message="no", advice="no"))
    machine, lines = found(rules=[strict, Counting()])
    assert strict.asked == 0
    assert memory(machine) == memory(accept(lines, rules=[strict, Counting()]))
    assert refusal(machine, deposit("ALICE", "1 USDT", correlation_id="r")).rule == "strict/1"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "limit",
        "limit/",
        "limit/0",
        "limit/01",
        "limit/1\n",
        "Limit/1",
        "1limit/1",
        "-limit/1",
        "li mit/1",
        "limit/1/1",
        "limit/\u0661",
        "l" * 64 + "/1",
        "limit/1234567890",
        "sufficiency/1",
        None,
        5,
        b"limit/1",
    ],
)
def test_names_that_are_refused(name: Any) -> None:
    """A name ends in a version, and is not the engine's own."""
    with pytest.raises(ConfigurationError):
        RiskEngine([Rule(name)])


@pytest.mark.parametrize("name", ["a/1", "daily-limit/12", "l" * 63 + "/999999999", "sufficiency/2"])
def test_names_that_pass(name: str) -> None:
    """Lower case, digits and hyphens, a version above zero."""
    assert RiskEngine([Rule(name)]).rule_names == (*BUILT_IN, name)


def test_two_rules_of_one_name() -> None:
    """A refusal names its rule, so names are unique; two versions of a rule are two names."""
    with pytest.raises(ConfigurationError, match="two rules"):
        RiskEngine([Rule("a/1"), Rule("b/1"), Rule("a/1")])
    assert RiskEngine([Rule("a/1"), Rule("a/2")]).rule_names == (*BUILT_IN, "a/1", "a/2")


def test_only_rules_with_a_memory_are_told() -> None:
    """Without one the machine takes its short way."""
    assert not RiskEngine().remembers
    assert not RiskEngine([Rule("a/1")]).remembers
    assert RiskEngine([Rule("a/1"), Counting()]).remembers


# --------------------------------------------------------------------------- memory


def test_check_remembers_nothing() -> None:
    """What a check writes into its state is taken back, whether it passes, refuses or raises."""

    def scribble(entry: Any, view: Any) -> Any:
        view.state["seen"] = True
        view.state.update(a=1, b=2)
        del view.state["a"]
        assert sorted(view.state) == ["b", "seen"]
        match entry.correlation_id:
            case "refuse":
                return Refusal(message="no", advice="no")
            case "raise":
                raise ValueError("no")
            case _:
                return None

    machine, _ = replayed_with(Rule("scribble/1", scribble))
    for correlation_id in ("pass", "refuse", "raise"):
        outcome(machine, [deposit("A", "1 USDT", correlation_id=correlation_id)], NOON)
        assert memory(machine) == {"scribble/1": {}}
    assert machine.head.sequence == 3


def test_memory_follows_the_journal() -> None:
    """Kept after a commit, rolled back with a refused batch, discarded after a preview, rebuilt by replay."""
    _, lines = found()
    machine = accept(lines, rules=[Counting()])
    one = deposit("A", "1 USDT", correlation_id="r")
    two = deposit("B", "1 USDT", correlation_id="r")
    lines += propose(machine, one).lines
    counts = memory(machine)["counting/1"]
    machine.preview(PreparedBatch([one, two]), NOON)
    assert memory(machine)["counting/1"] == counts
    with pytest.raises(Refused, match="has had 2 entries"):
        propose(machine, two, one, one)
    assert memory(machine)["counting/1"] == counts
    lines += propose(machine, one, two).lines
    assert memory(machine)["counting/1"] == {
        **counts,
        "LIAB:USER:A:USDT:AVAILABLE": 2,
        "LIAB:USER:B:USDT:AVAILABLE": 1,
    }
    assert memory(accept(lines, rules=[Counting()])) == memory(machine)
    assert refusal(machine, one).rule == "counting/1"


@given(histories(), st.integers(1, 4))
def test_memory_is_rebuilt_by_replay(history: Any, limit: int) -> None:
    """After any history, live and replayed state are the same, in the same order."""
    machine = LedgerMachine(RiskEngine([Counting(limit)]), KeyringTrust())
    lines = list(machine.propose(PreparedBatch(founding(history.opening)), NOON).lines)
    for batch in history.batches:
        sealed = outcome(machine, batch, NOON)
        if not isinstance(sealed, BibankError):
            lines += sealed.lines
    replayed = accept(lines, rules=[Counting(limit)])
    assert memory(replayed) == memory(machine)
    assert list(memory(replayed)["counting/1"]) == list(memory(machine)["counting/1"])


@given(histories())
def test_engine_is_deterministic(history: Any) -> None:
    """Two machines that are asked the same give the same lines and the same refusals."""
    machines = [LedgerMachine(RiskEngine([Counting(3)]), KeyringTrust()) for _ in range(2)]
    for batch in (founding(history.opening), *history.batches):
        one, other = (outcome(machine, batch, NOON) for machine in machines)
        if isinstance(one, BibankError):
            assert isinstance(other, BibankError)
            assert (type(one), one.args, vars(one)) == (type(other), other.args, vars(other))
        else:
            assert not isinstance(other, BibankError)
            assert one.lines == other.lines


# --------------------------------------------------------------------------- state


def undoable() -> tuple[RiskEngine, RuleState]:
    """Give an engine and the state of its rule."""
    engine: Any = RiskEngine([Counting()])
    return engine, engine._judges[0][2]


steps = st.lists(
    st.tuples(st.sampled_from(["set", "delete", "clear"]), st.sampled_from("abcd"), st.integers(0, 3))
)


@given(steps, steps)
def test_rollback_restores_exactly(before: list[Any], after: list[Any]) -> None:
    """Whatever was set and deleted since the mark is taken back, the order of iteration included."""
    engine, memo = undoable()

    def act(steps: list[Any]) -> None:
        for step, key, value in steps:
            if step == "set":
                memo[key] = value
            elif step == "delete":
                memo.pop(key, None)
            else:
                memo.clear()

    act(before)
    kept = list(memo.items())
    mark = engine.mark()
    act(after)
    engine.rollback(mark)
    assert list(memo.items()) == kept == sorted(kept)
    assert len(memo) == len(kept)


@pytest.mark.parametrize("value", [1.0, [], {}, b"x", object(), (1, (2.0,)), ([],)])
def test_values_that_no_snapshot_holds(value: Any) -> None:
    """State holds text, integers, bools, None and tuples of these."""
    _, memo = undoable()
    with pytest.raises(InvalidType):
        memo["a"] = value
    assert "a" not in memo
    for good in ("x", 1, True, None, (1, ("x", None))):
        memo["a"] = good
        assert memo["a"] == good


@pytest.mark.parametrize("key", [1, None, ("a",), b"a"])
def test_keys_that_no_snapshot_holds(key: Any) -> None:
    """Keys are text."""
    _, memo = undoable()
    with pytest.raises(InvalidType):
        memo[key] = 1
    with pytest.raises(KeyError):
        del memo[key]
    assert repr(memo) == "RuleState({})"
