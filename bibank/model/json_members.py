"""Reading the members of JSON bodies strictly: exactly these names, this kind of value, or an error."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from bibank.errors import InvalidValue, excerpt
from bibank.model.json_value import FrozenMap, JsonValue

_Kind = TypeVar("_Kind", bound=Enum)


def exact_members(body: JsonValue, names: set[str], what: str) -> dict[str, JsonValue]:
    """Give the members of an object that has exactly these; `InvalidValue` otherwise."""
    if not isinstance(body, FrozenMap) or set(body) != names:
        raise InvalidValue(f"a {what} has exactly the members {', '.join(sorted(names))}")
    return dict(body)


def exact_items(value: JsonValue) -> tuple[JsonValue, ...]:
    """Give the items of a list; `InvalidValue` for anything else."""
    if not isinstance(value, tuple):
        raise InvalidValue("a list is expected")
    return value


def pick(kind: type[_Kind], value: JsonValue) -> _Kind:
    """Give the member of an enumeration that a value spells; `InvalidValue` when there is none."""
    try:
        return kind(value)
    except ValueError:
        raise InvalidValue(f"{excerpt(value)} is no {kind.__name__}") from None
