"""Adopted rule sets as data: what a record may say, each other spelling refused with its reason."""

from __future__ import annotations

from typing import Any

import pytest

from bibank.errors import InvalidValue
from bibank.journal.rule_sets import MAX_RULES, AdoptedRule, RuleBook, RuleSet
from bibank.model.json_value import BODY_LIMITS, FrozenMap, freeze

LEDGER = "books/0123456789abcdef0123456789abcdef"


def rule(name: str = "small/1", **data: Any) -> AdoptedRule:
    """A rule of a host's."""
    return AdoptedRule(name=name, kind="host", data=freeze(data, BODY_LIMITS))


def body(**changes: Any) -> FrozenMap:
    """The body of that rule with some members changed; None leaves one out."""
    members = {**rule().to_body(), **changes}
    return FrozenMap({name: value for name, value in members.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "Small/1"}, "does not look like"),
        ({"name": 5}, "does not look like"),
        ({"kind": "Host"}, "is no kind of rule"),
        ({"kind": 5}, "is no kind of rule"),
        ({"data": "x"}, "is a JSON object"),
        ({"hash": "0" * 64}, "is not that of its content"),
        ({"data": FrozenMap({"more": 1})}, "is not that of its content"),
        ({"hash": None}, "exactly the members"),
        ({"more": 1}, "exactly the members"),
    ],
)
def test_a_rule_that_is_spelled_otherwise(changes: dict[str, Any], reason: str) -> None:
    """Names, kinds, data and hash are held to their form."""
    assert AdoptedRule.from_body(body()) == rule()
    with pytest.raises(InvalidValue, match=reason):
        AdoptedRule.from_body(body(**changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ledger": "other/0"}, "is for ledger 'other/0'"),
        ({"version": 2}, "does not follow version 0"),
        ({"version": True}, "does not follow version 0"),
        ({"version": "1"}, "does not follow version 0"),
        ({"previous": "0" * 64}, "does not follow version 0"),
        ({"rules": "x"}, "a list is expected"),
        ({"rules": (rule().to_body(), rule(limit=1).to_body())}, "names a rule twice"),
        ({"rules": tuple(rule(f"r/{n}").to_body() for n in range(1, MAX_RULES + 2))}, "at most"),
        ({"rules": ("x",)}, "exactly the members"),
        ({"more": 1}, "exactly the members"),
    ],
)
def test_a_set_that_does_not_follow(changes: dict[str, Any], reason: str) -> None:
    """Ledger, version, the set before and the list are held to what is in force; nothing is adopted."""
    book = RuleBook()
    payload = book.payload([rule()], ledger_id=LEDGER)
    with pytest.raises(InvalidValue, match=reason):
        book.adopt(FrozenMap({**payload, **changes}), ledger_id=LEDGER, sequence=5)
    assert book.current == RuleSet()
    adopted = book.adopt(payload, ledger_id=LEDGER, sequence=5)
    assert (adopted.version, adopted.rules, adopted.from_sequence) == (1, (rule(),), 5)


def test_sets_are_in_force_from_their_line_and_can_be_taken_back() -> None:
    """At each sequence the newest set of an earlier line; a copy goes its own way."""
    book = RuleBook()
    for sequence, rules in ((5, [rule()]), (9, []), (12, [rule("other/1")])):
        book.adopt(book.payload(rules, ledger_id=LEDGER), ledger_id=LEDGER, sequence=sequence)
    assert [book.at(sequence).version for sequence in (1, 4, 5, 8, 9, 11, 12, 99)] == [0, 0, 1, 1, 2, 2, 3, 3]
    other = book.copy()
    book.rollback(9)
    assert (book.current.version, other.current.version) == (2, 3)
    book.rollback(0)
    assert book.current == RuleSet()
