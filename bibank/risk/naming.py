"""Sets of assets and of owners, as a caller gives them: any iterable of text, kept sorted, without doubles.

>>> asset_names(["USDT", "BTC", "USDT"])
('BTC', 'USDT')
>>> owner_names({"SYSTEM:REWARDS", "ALICE"})
('ALICE', 'SYSTEM:REWARDS')
>>> is_listed("BTC", ("BTC", "USDT")), is_listed("EUR", ("BTC", "USDT"))
(True, False)
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from uuid import UUID

from bibank.errors import InvalidAccountKey, InvalidType, InvalidValue, excerpt
from bibank.model.account import AccountKey, Owner, owner_id
from bibank.model.money import advise_part, check_asset, is_part

HOUSE_PREFIX = "SYSTEM:"
"""How the text of an owner begins who is the house (`AccountKey.owner`)."""


def asset_names(values: Iterable[str]) -> tuple[str, ...]:
    """Give asset codes sorted and once each.

    Raises `InvalidType` for a bare `str` or no iterable of `str`, `InvalidMoney` for what is no
    asset code, `InvalidValue` for none at all.
    """
    names = _names(values, check_asset, "asset codes")
    if not names:
        raise InvalidValue("no assets are named: nothing at all would pass")
    return names


def owner_names(values: Iterable[Owner]) -> tuple[str, ...]:
    """Give owners sorted and once each, spelled as `AccountKey.owner` spells them.

    A `UUID` is a user's id, an `AccountKey` stands for its owner.

    Raises `InvalidType` for a bare `str` or no iterable of `str`, `InvalidAccountKey` for what is no
    owner. None at all is an empty tuple.
    """
    return _names(values, _check_owner, "owners")


def is_listed(name: str, names: tuple[str, ...]) -> bool:
    """Tell whether a name stands in a sorted tuple."""
    index = bisect_left(names, name)
    return index < len(names) and names[index] == name


def _names(values: object, check: Callable[[object], str], what: str) -> tuple[str, ...]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InvalidType(f"{what} are a collection of str, such as a list, not {excerpt(values)}")
    return tuple(sorted({check(value) for value in values}))


def _check_owner(value: object) -> str:
    if isinstance(value, AccountKey):
        return value.owner
    if isinstance(value, UUID):
        return owner_id(value)
    if not isinstance(value, str):
        raise InvalidType(f"an owner is a str, not {type(value).__name__}")
    name = value.removeprefix(HOUSE_PREFIX)
    if not is_part(name):
        raise InvalidAccountKey(
            f"{excerpt(value)} is no owner, such as 'ALICE' or 'SYSTEM:REWARDS'; {advise_part(name)}"
        )
    return str.__str__(value)
