"""Arrow: rows as columns of exact types. The one module that imports `pyarrow`, and only when it is called.

The type of a column follows from the row type's annotations, never from the data, so a listing of nothing has
the columns of a full one. Amounts are `decimal128(38, 8)`, times `timestamp('us', 'UTC')`, sequences `int64`,
keys and enumerations text, tuples lists, values of several fields structs; anything freer, such as metadata,
is canonical JSON.

>>> from bibank.model.balance import AccountBalance
>>> print(schema_of(AccountBalance))
account: string not null
balance: decimal128(38, 8) not null
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from types import ModuleType, NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import attrs

from bibank.errors import AmountOverflow, ConfigurationError, InvalidType, InvalidValue
from bibank.model.account import AccountKey
from bibank.model.amount import DECIMALS, Amount, SignedAmount
from bibank.model.json_value import canonical_text
from bibank.model.timestamp import check_utc

if TYPE_CHECKING:
    import pyarrow

    from bibank.model.table import Table

Plain = Callable[[object], object]
"""Turns a value of the model into its JSON value."""

_DIGITS = 38
"""The digits of decimal128; an amount of 2**127-1 units has 39."""

_LISTS = (tuple, list, Sequence)

Value: TypeAlias = Any
"""What stands in a row, or in an array: whatever its annotation says, which only a run can know."""


@attrs.frozen
class _Kind:
    """The Arrow type of a column, and how its values are made from those of the model."""

    type: pyarrow.DataType
    convert: Callable[[Value], Value]
    nullable: bool = False


def to_arrow(table: Table[Value], *, row_type: type, plain: Plain) -> pyarrow.Table:
    """Turn a table into an Arrow table. Raises what `Table.to_arrow` says."""
    arrow = _pyarrow()
    kinds = _kinds(arrow, row_type, plain)
    arrays = [
        _array(arrow, kind, name, [getattr(row, name) for row in table]) for name, kind in kinds.items()
    ]
    return arrow.Table.from_arrays(arrays, schema=_schema(arrow, kinds))


def schema_of(row_type: type) -> pyarrow.Schema:
    """Give the columns of a row type; raises `ConfigurationError`, `InvalidType` as `Table.to_arrow` does."""
    arrow = _pyarrow()
    return _schema(arrow, _kinds(arrow, row_type, lambda value: value))


def _pyarrow() -> ModuleType:
    try:
        import pyarrow
    except ImportError as error:
        raise ConfigurationError("Arrow needs its extra: pip install 'bibank[arrow]'") from error
    arrow: ModuleType = pyarrow
    return arrow


def _schema(arrow: ModuleType, kinds: Mapping[str, _Kind]) -> pyarrow.Schema:
    return arrow.schema([_field(arrow, name, kind) for name, kind in kinds.items()])


def _field(arrow: ModuleType, name: str, kind: _Kind) -> pyarrow.Field:
    return arrow.field(name, kind.type, nullable=kind.nullable)


def _array(arrow: ModuleType, kind: _Kind, name: str, values: list[Value]) -> pyarrow.Array:
    try:
        return arrow.array([kind.convert(value) for value in values], type=kind.type)
    except AmountOverflow as error:
        raise AmountOverflow(f"column {name}: {error}") from None
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:  # pyarrow's own are among these
        raise InvalidValue(f"column {name} holds what its type does not say: {error}") from error


def _kinds(arrow: ModuleType, row_type: type, plain: Plain) -> dict[str, _Kind]:
    try:
        hints = get_type_hints(row_type)
    except NameError as error:
        raise InvalidType(f"the annotations of {row_type.__name__} cannot be resolved: {error}") from None
    names = [field.name for field in attrs.fields(row_type)]
    return {name: _kind(arrow, hints.get(name, object), plain) for name in names}


def _kind(arrow: ModuleType, hint: object, plain: Plain) -> _Kind:
    """Find the Arrow type for an annotation."""
    members = [member for member in get_args(hint) if member is not NoneType]
    if get_origin(hint) in (Union, UnionType):
        if len(members) == 1:
            return _optional(_kind(arrow, members[0], plain))
        return _json(arrow, plain, nullable=NoneType in get_args(hint))
    if get_origin(hint) is Literal and all(isinstance(member, str) for member in members):
        return _Kind(arrow.string(), _same)
    if get_origin(hint) in _LISTS and len([member for member in members if member is not ...]) == 1:
        return _list(arrow, _kind(arrow, members[0], plain))
    if isinstance(hint, type):
        found = _scalar(arrow, hint) or _nested(arrow, hint, plain)
        return found or _json(arrow, plain, nullable=hint is object)
    return _json(arrow, plain, nullable=True)


def _scalar(arrow: ModuleType, hint: type) -> _Kind | None:
    if issubclass(hint, (Amount, SignedAmount)):
        return _Kind(arrow.decimal128(_DIGITS, DECIMALS), _decimal)
    if issubclass(hint, datetime):
        return _Kind(arrow.timestamp("us", tz="UTC"), check_utc)
    if issubclass(hint, AccountKey):
        return _Kind(arrow.string(), str)
    if issubclass(hint, Enum) and all(isinstance(member.value, str) for member in hint):
        return _Kind(arrow.string(), _enum_value)
    for plain_type, kind in ((bool, arrow.bool_()), (int, arrow.int64()), (str, arrow.string())):
        if hint is plain_type:
            return _Kind(kind, _same)
    return None


def _nested(arrow: ModuleType, hint: type, plain: Plain) -> _Kind | None:
    """Make a struct of a value with fields; its members are named as they are."""
    if not attrs.has(hint) or not attrs.fields(hint):
        return None
    kinds = _kinds(arrow, hint, plain)
    fields = [_field(arrow, name, kind) for name, kind in kinds.items()]

    def convert(value: Value) -> dict[str, Value]:
        return {name: kind.convert(getattr(value, name)) for name, kind in kinds.items()}

    return _Kind(arrow.struct(fields), convert)


def _list(arrow: ModuleType, kind: _Kind) -> _Kind:
    item = _field(arrow, "item", kind)
    return _Kind(arrow.list_(item), lambda values: [kind.convert(value) for value in values])


def _optional(kind: _Kind) -> _Kind:
    convert = kind.convert
    return _Kind(kind.type, lambda value: None if value is None else convert(value), nullable=True)


def _json(arrow: ModuleType, plain: Plain, *, nullable: bool) -> _Kind:
    """Spell what has no type of its own as canonical JSON; no value is no value."""

    def convert(value: Value) -> str | None:
        return None if value is None else canonical_text(plain(value))

    return _Kind(arrow.string(), convert, nullable)


def _same(value: Value) -> Value:
    return value


def _enum_value(value: Enum) -> Value:
    return value.value


def _decimal(amount: Amount | SignedAmount) -> Value:
    if abs(amount.units) >= 10**_DIGITS:
        raise AmountOverflow(f"{amount} has more than {_DIGITS} digits, the most of decimal128")
    return amount.to_decimal()
