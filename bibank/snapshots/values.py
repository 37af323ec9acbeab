"""Values of a state as JSON: the few classes that the books hold, by a closed table, and nothing else.

>>> read_value(spell_value(FrozenMap({"a": (1, True, None)})))
{'a': (1, True, None)}
>>> spell_value(AccountStatus.FROZEN)
{'AccountStatus': 'frozen'}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum

import attrs

from bibank.errors import InvalidValue, excerpt
from bibank.journal.approvals import Approval, OpenProposal
from bibank.journal.attestations import Attestation
from bibank.journal.overrides import Override
from bibank.journal.rule_sets import AdoptedRule, RuleSet
from bibank.model.account import AccountKey
from bibank.model.account_terms import AccountStatus, AccountTerms
from bibank.model.amount import Amount, SignedAmount
from bibank.model.hold import Hold
from bibank.model.json_value import FrozenMap
from bibank.model.money import Money
from bibank.model.policy import AdjustmentPurpose
from bibank.model.timestamp import format_timestamp, parse_timestamp

Spelled = None | bool | int | str | list["Spelled"] | dict[str, "Spelled"]
"""JSON as the standard library reads and writes it."""

_RECORDS: tuple[type, ...] = (
    AccountTerms,
    AdoptedRule,
    Approval,
    Attestation,
    Hold,
    OpenProposal,
    Override,
    RuleSet,
)
"""Classes that are spelled field by field."""

_ENUMS: tuple[type[Enum], ...] = (AccountStatus, AdjustmentPurpose)

_TEXTS: Mapping[type, tuple[Callable[[object], str], Callable[[str], object]]] = {
    AccountKey: (str, AccountKey),
    Money: (str, Money),
    Amount: (str, Amount),
    SignedAmount: (str, SignedAmount),
    datetime: (format_timestamp, parse_timestamp),  # type: ignore[dict-item]  # looked up by the type of its argument
}
"""Classes that are spelled as one text, with how to write and to read it."""

_MAP, _DICT = "map", "dict"


def spell_value(value: object) -> Spelled:
    """Spell a value; `InvalidValue` for one of a class that a state does not hold."""
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value  # type: ignore[return-value]  # as just asked
    if isinstance(value, tuple):
        return [spell_value(item) for item in value]
    if kind is FrozenMap or kind is dict:
        members = {str(name): spell_value(item) for name, item in value.items()}  # type: ignore[attr-defined]  # as just asked
        return {_MAP if kind is FrozenMap else _DICT: members}
    if kind in _TEXTS:
        return {kind.__name__: _TEXTS[kind][0](value)}
    if isinstance(value, _ENUMS):
        return {kind.__name__: str(value.value)}
    if kind in _RECORDS:
        fields = [field.name for field in attrs.fields(kind)]  # type: ignore[arg-type]  # as just asked
        return {kind.__name__: {name: spell_value(getattr(value, name)) for name in fields}}
    raise InvalidValue(f"a state holds no {kind.__name__}")


def read_value(spelled: object) -> object:
    """Read what :func:`spell_value` gives; an `InvalidInput` kind for anything else."""
    if isinstance(spelled, list):
        return tuple(read_value(item) for item in spelled)
    if not isinstance(spelled, dict):
        if spelled is None or isinstance(spelled, (bool, int, str)):
            return spelled
        raise InvalidValue(f"{excerpt(spelled)} is no value of a state")
    if len(spelled) != 1:
        raise InvalidValue("a value of a state has one tag")
    ((tag, content),) = spelled.items()
    if tag in (_MAP, _DICT) and isinstance(content, dict):
        members = {name: read_value(item) for name, item in content.items()}
        return FrozenMap(members) if tag == _MAP else members  # type: ignore[arg-type]  # the digest vouches for them
    for kind, (_, read) in _TEXTS.items():
        if tag == kind.__name__ and isinstance(content, str):
            return read(content)
    for enum in _ENUMS:
        if tag == enum.__name__ and isinstance(content, str):
            return next(member for member in enum if member.value == content)
    for record in _RECORDS:
        if tag == record.__name__ and isinstance(content, dict):
            return record(**{name: read_value(item) for name, item in content.items()})
    raise InvalidValue(f"{excerpt(tag)} is no class of a state's values")
