"""A state is all that a ledger knows: after any history, whoever has read it goes on as the other would."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import Any, NamedTuple

import attrs
import pytest
from hypothesis.stateful import precondition, rule

import bibank as bb
from bibank.errors import InvalidValue
from bibank.journal.machine import LedgerMachine
from bibank.model.json_value import FrozenMap
from bibank.risk.engine import RiskEngine
from bibank.risk.view import MAX_STATE_DEPTH, RuleState
from bibank.signing.trust import KeyringTrust
from bibank.snapshots import state as state_module
from bibank.snapshots.state import DERIVED, SAVED, State, read_state
from bibank.snapshots.values import read_value, spell_value
from tests.properties.test_governance import GovernanceMachine
from tests.properties.test_verbs import VerbMachine
from tests.risk.rules import Counting
from tests.snapshot.transplant import transplant


class TransplantedVerbs(VerbMachine):
    """Trades, fees, holds, reversals and keys, against the oracle, by a memory that was written down."""

    @precondition(lambda self: self.ledger is not None)
    @rule()
    def transplant(self) -> None:
        """The ledger goes on from a state."""
        assert self.ledger is not None
        transplant(self.ledger)


class TransplantedGovernance(GovernanceMachine):
    """Freezes, floors, proposals, overrides, attestations and keyring changes, in the same way."""

    @precondition(lambda self: self.ledger is not None)
    @rule()
    def transplant(self) -> None:
        """The ledger goes on from a state."""
        assert self.ledger is not None
        transplant(self.ledger)


TestTransplantedVerbs = TransplantedVerbs.TestCase
TestTransplantedGovernance = TransplantedGovernance.TestCase


# --------------------------------------------------------------------------- the schema


def attributes(value: object) -> set[str]:
    """Name the attributes of an object, its slots included."""
    slots = {name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())}
    return (slots | set(getattr(value, "__dict__", {}))) - {"__weakref__", "__dict__"}


def instances() -> dict[type, Any]:
    """Give an object of every class that a state is taken of."""
    ledger = bb.Ledger.in_memory({"USDT": "1"}, risk=RiskEngine([Counting(10)]))
    inner: Any = ledger
    machine, engine = inner._committer.machine, inner._engine
    account = next(iter(machine.book))
    found = [
        machine,
        machine.position,
        machine._reader,
        machine.rules,
        machine.book,
        machine.book.terms,
        account,
        account.klass,
        machine.links,
        machine.links.keys,
        machine.links.approvals,
        machine.links.overrides,
        machine.links.attestations,
        machine.links.log,
        engine,
        engine._stateful[0][2],
    ]
    return {type(value): value for value in found}


def test_every_attribute_of_every_class_is_saved_or_accounted_for() -> None:
    """A new one has to be decided upon: a snapshot without it would open a ledger that forgot something."""
    found = instances()
    assert set(SAVED) == set(DERIVED) == set(found)
    for kind, value in found.items():
        assert not SAVED[kind] & set(DERIVED[kind]), kind
        assert attributes(value) == SAVED[kind] | set(DERIVED[kind]), kind


def test_every_object_that_a_machine_holds_is_of_a_class_of_the_table() -> None:
    """A new part of the machine does not stay outside: whatever is not plain data is in the table."""
    known = {*SAVED, *instances(), KeyringTrust}
    for kind, value in instances().items():
        for name in attributes(value) - set(DERIVED[kind]):
            inner = getattr(value, name)
            if type(inner).__module__.startswith("bibank.journal"):
                assert type(inner) in known or attrs.has(type(inner)), (kind, name)


def test_what_should_be_empty_when_a_state_is_taken_is_empty() -> None:
    """The reasons `empty` and `final` of the table hold."""
    ledger = bb.Ledger.in_memory({"USDT": "9"}, risk=RiskEngine([Counting(10)]))
    ledger.deposit("ALICE", "5 USDT", correlation_id="r", idempotency_key="k")
    ledger.hold("ALICE", "2 USDT", to="BOB", correlation_id="h")
    inner: Any = ledger
    reasons = {state_module._WHOLE, state_module._FINAL}
    with inner._committer.settled():
        machine, engine = inner._committer.machine, inner._engine
        values = [machine.position, machine._reader, machine.links, machine.links.approvals]
        for value in [*values, machine.links.log, engine]:
            for name, reason in DERIVED[type(value)].items():
                if reason in reasons:
                    assert not getattr(value, name), (type(value), name)


# --------------------------------------------------------------------------- values


class Hoarder:
    """A rule that remembers one value of every kind."""

    name = "hoarder/1"
    kept = (
        True,
        1,
        False,
        0,
        None,
        "",
        "1",
        (),
        ((),),
        (1, (True, ("x", None))),
        2**200,
        -(2**130),
        "\ud800é",
    )

    def check(self, entry: bb.UnsignedEntry, view: Any) -> None:
        """Let it pass."""

    def apply(self, line: Any, state: Any) -> None:
        """Remember all of it."""
        for number, value in enumerate(self.kept):
            state[f"{number}"] = value


def test_what_a_rule_remembers_comes_back_with_its_types() -> None:
    """True is not 1, a tuple is a tuple, large integers are exact."""
    engine = RiskEngine([Hoarder()])
    ledger = bb.Ledger.in_memory({"USDT": "1"}, risk=engine)
    transplant(ledger)
    inner: Any = ledger
    (_, _, memory), *_ = inner._engine._stateful
    found = [memory[f"{number}"] for number in range(len(Hoarder.kept))]
    assert repr(found) == repr(list(Hoarder.kept))


@pytest.mark.parametrize("value", [1.5, b"x", [1], {1: 2}.keys(), object(), bb.Side.DEBIT])
def test_a_value_of_another_class_is_not_spelled(value: object) -> None:
    """A book that came to hold something new says so, and no snapshot is made."""
    with pytest.raises(InvalidValue):
        spell_value(value)


@pytest.mark.parametrize(
    "spelled", [1.5, {}, {"a": 1, "b": 2}, {"object": {}}, {"map": 3}, {"Hold": []}, {"AccountKey": 5}]
)
def test_what_no_value_spells_is_refused(spelled: object) -> None:
    """A closed table: nothing is made of a tag that is not in it."""
    with pytest.raises(InvalidValue):
        read_value(spelled)


def test_a_map_is_frozen_again_and_a_dict_is_not() -> None:
    """What the books hold comes back as what it was."""
    for value in (FrozenMap({"a": (1,)}), {"a": 1}):
        assert type(read_value(spell_value(value))) is type(value)


class Code(IntEnum):
    """An integer of a class of its own."""

    ONE = 1


class Pair(NamedTuple):
    """A tuple of a class of its own."""

    one: int


class Word(str):
    """A text of a class of its own."""

    __slots__ = ()


@pytest.mark.parametrize("value", [Code.ONE, (1, (Code.ONE,)), Pair(1), Word("x"), bb.Side.DEBIT])
def test_a_rule_remembers_no_value_that_would_come_back_as_another(value: Any) -> None:
    """A member of an enumeration would be a number after the next opening, and compare otherwise by `is`."""
    memo = RuleState([])
    with pytest.raises(bb.InvalidType):
        memo["a"] = value
    with pytest.raises(bb.InvalidType):
        memo[Word("a")] = 1
    assert len(memo) == 0


def nested(depth: int) -> Any:
    """Give tuples within tuples."""
    value: Any = ()
    for _ in range(depth - 1):
        value = (value,)
    return value


def test_a_rule_remembers_tuples_that_a_reader_can_follow() -> None:
    """Deeper ones are refused when they are set, whatever their depth: a snapshot could not be read."""
    memo = RuleState([])
    memo["a"] = nested(MAX_STATE_DEPTH)
    assert read_value(json.loads(json.dumps(spell_value(memo["a"])))) == memo["a"]
    for depth in (MAX_STATE_DEPTH + 1, 700, 50_000):
        with pytest.raises(InvalidValue, match="deep"):
            memo["b"] = nested(depth)
    assert list(memo) == ["a"]


# --------------------------------------------------------------------------- hostile states


def a_state() -> State:
    """Take the state of a small ledger."""
    ledger = bb.Ledger.in_memory({"USDT": "1"})
    for owner in "AB":
        ledger.deposit(owner, "1 USDT", correlation_id="d")
    inner: Any = ledger
    with inner._committer.settled():
        return State.of(inner._committer.machine, inner._engine, ())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"version":1', b'"version":2'),
        (b'"version":1', b'"version":true'),
        (b'"position":{', b'"position":{"x":1,'),
        (b'"counts":{', b'"counts":{"x":1,'),
        (b'"books":{', b'"books":{"x":[[],[]],'),
        (b'"rule_sets":[', b'"rule_sets":[[], '),
        (b'"salt":"', b'"salt":"00000000000000000000000000000000'),
        (b'"salt":"', b'"salt":"zz'),
        (b'"keys":[[', b'"keys":[[1'),
        (b'["ASSET","USDT",false,"', b'["ASSET","USDT",0,"'),
        (b'["ASSET","USDT",false,"', b'["ASSET","USDT",false,"x '),
        (b'["ASSET","USDT",false,"', b'["ASSET","USDT",false,1,"'),
        (b'["ASSET","USDT",false', b'["GOLD","USDT",false'),
        (b'"LIAB:USER:A:USDT:AVAILABLE LIAB:USER:B:', b'"LIAB:USER:B:USDT:AVAILABLE LIAB:USER:A:'),
        (b'"LIAB:USER:A:USDT:AVAILABLE LIAB:USER:B:', b'"LIAB:USER:A:USDT:AVAILABLE LIAB:USER:A:'),
        (b"[100000000]", b"[true]"),
        (b"[100000000]", b"[1.5]"),
        (b"[100000000]", b"[340282366920938463463374607431768211456]"),
        (b'"memory":{}', b'"memory":[]'),
        (b'{"version"', b'[{"version"'),
    ],
)
def test_a_state_that_is_spelled_otherwise_is_refused_with_a_typed_error(old: bytes, new: bytes) -> None:
    """Whatever is wrong with it: the digest vouches for content, the reader for form."""
    spelled = a_state().spell()
    assert old in spelled
    with pytest.raises(bb.InvalidInput):
        read_state(spelled.replace(old, new, 1))


def test_a_state_without_its_last_byte_is_refused() -> None:
    """Nothing is guessed."""
    with pytest.raises(InvalidValue):
        read_state(a_state().spell()[:-1])


def test_a_state_is_spelled_in_ascii() -> None:
    """One line, whatever rules remember."""
    spelled = a_state().spell()
    assert spelled.isascii()
    assert b"\n" not in spelled
    machine = LedgerMachine(RiskEngine(), KeyringTrust())
    assert machine.head.sequence == 0
