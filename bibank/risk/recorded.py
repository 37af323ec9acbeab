"""Rules as data: what a shipped rule is made of, spelled so that the journal can hold it.

A rule that can be recorded has a name, a stable `kind` and `to_data`. Reading is strict: exactly the
members, exactly the types, exactly the one spelling that `to_data` gives.

>>> check_rule_name("daily-limit/1")
'daily-limit/1'
>>> read_money(FrozenMap({"amount": "1.50", "asset": "USDT"}))
Traceback (most recent call last):
...
bibank.errors.InvalidValue: the amount '1.50' is written '1.5'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

from bibank.errors import InvalidType, InvalidValue, excerpt
from bibank.journal.rule_sets import RULE_NAME
from bibank.model.json_members import exact_items, exact_members
from bibank.model.json_value import FrozenMap, JsonValue, canonical_text
from bibank.model.money import Money

MAX_RULE_DATA_BYTES = 32_768
"""JCS bytes of one rule's data: a record's body holds 57,344, and other rules want room in it too."""


@runtime_checkable
class RecordedRule(Protocol):
    """A rule that can be written down: `kind` says which rule it is, `to_data` what it was given.

    Obligations: two rules of one kind, name and data judge alike, in every process and every version
    of the library; a rule that judges otherwise is another kind.
    """

    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """As for `RiskRule`: the name under which it refuses."""

    def to_data(self) -> Mapping[str, JsonValue]:
        """Give what the rule was made of, as JSON: amounts and names are text, nothing is a float."""


def check_rule_name(name: str) -> str:
    """Return the name of a rule unchanged.

    It is lower case and ends in a version, as the engine demands (which also refuses the names of its
    own rules). Raises `InvalidType` or `InvalidValue`.
    """
    if not isinstance(name, str):
        raise InvalidType(f"the name of a rule is a str, not {type(name).__name__}")
    if RULE_NAME.fullmatch(name) is None:
        raise InvalidValue(f"rule name {excerpt(name)} does not look like 'daily-limit/1'")
    return str.__str__(name)


def check_recordable(rule: RecordedRule) -> None:
    """Demand that the data of a rule fit into a record; `InvalidValue` otherwise."""
    size = len(canonical_text(rule.to_data()).encode())
    if size > MAX_RULE_DATA_BYTES:
        raise InvalidValue(
            f"rule {rule.name} is {size} bytes as data; at most {MAX_RULE_DATA_BYTES} fit, so split it into "
            "several rules or judge by a rule of your own"
        )


_Rule = TypeVar("_Rule", bound=RecordedRule)


def same_spelling(rule: _Rule, data: Mapping[str, JsonValue]) -> _Rule:
    """Give a rule back that spells itself as the data it was read from; `InvalidValue` otherwise."""
    canonical = canonical_text(rule.to_data())
    if canonical_text(data) != canonical:
        raise InvalidValue(f"the data of rule {rule.name} are not spelled as {excerpt(canonical)}")
    return rule


def read_members(data: object, names: set[str], what: str) -> dict[str, JsonValue]:
    """Give the members of a mapping that has exactly these; `InvalidValue` otherwise."""
    if isinstance(data, Mapping) and not isinstance(data, FrozenMap):
        data = FrozenMap(data)
    if not isinstance(data, FrozenMap):
        raise InvalidValue(f"a {what} has exactly the members {', '.join(sorted(names))}")
    return exact_members(data, names, what)


def read_text(value: object, what: str) -> str:
    """Give a text; `InvalidValue` for anything else."""
    if not isinstance(value, str):
        raise InvalidValue(f"{what} is a text, not {excerpt(value)}")
    return str.__str__(value)


def read_integer(value: object, what: str) -> int:
    """Give an integer; `InvalidValue` for anything else, a bool included."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidValue(f"{what} is an integer, not {excerpt(value)}")
    return value


def read_texts(value: JsonValue, what: str) -> tuple[str, ...]:
    """Give a list of texts; `InvalidValue` for anything else."""
    return tuple(read_text(item, what) for item in exact_items(value))


def given_money(value: str | Money) -> Money:
    """Take the money of a limit as a caller gives it, also as text; `InvalidValue` kinds or `InvalidType`."""
    return Money.of(value)


def read_money(members: Mapping[str, JsonValue]) -> Money:
    """Give the money that the members `amount` and `asset` spell; a kind of `InvalidValue` otherwise."""
    amount = read_text(members["amount"], "an amount")
    money = Money(amount, read_text(members["asset"], "an asset"))
    if str(money.amount) != amount:
        raise InvalidValue(f"the amount {excerpt(amount)} is written {str(money.amount)!r}")
    return money
