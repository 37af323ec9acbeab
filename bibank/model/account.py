"""Accounts: five-part keys, five categories, two sides (phase 1, section 3).

>>> key = AccountKey("LIAB:USER:ALICE:USDT:AVAILABLE")
>>> key.category, key.id, key.asset
(<AccountCategory.LIABILITY: 'LIAB'>, 'ALICE', 'USDT')
>>> key.category.normal_balance
<Side.CREDIT: 'credit'>
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from uuid import UUID

import attrs

from bibank.errors import InvalidAccountKey, InvalidType, excerpt
from bibank.model.money import advise_part, is_part


class Side(Enum):
    """The two sides of double entry, spelled out; there are no negative postings."""

    DEBIT = "debit"
    CREDIT = "credit"

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.CREDIT if self is Side.DEBIT else Side.DEBIT


class AccountCategory(Enum):
    """The five kinds of account, spelled as in the first part of a key."""

    ASSET = "ASSET"
    LIABILITY = "LIAB"
    EQUITY = "EQUITY"
    REVENUE = "REV"
    EXPENSE = "EXP"

    @property
    def normal_balance(self) -> Side:
        """The side that increases an account of this category (phase 1, section 3.2)."""
        return Side.DEBIT if self in _DEBIT_NORMAL else Side.CREDIT


_DEBIT_NORMAL = frozenset({AccountCategory.ASSET, AccountCategory.EXPENSE})
_CATEGORIES = {category.value: category for category in AccountCategory}

SEGMENTS = ("USER", "SYSTEM")
"""Who an account belongs to: a user of the host, or the house."""

_LONGEST_UUID_TEXT = 45
"""Characters of the URN form of a UUID."""

_KEYS_KEPT = 8192
"""Bound of the cache of parsed keys: the active owners of a busy minute."""

AVAILABLE = "AVAILABLE"
"""The sub-account of an owner's freely spendable money."""

LOCKED = "LOCKED"
"""The sub-account of money that is held for a payee."""


@attrs.frozen(init=False, repr=False, eq=False)
class AccountKey:
    """The name of one account: `CATEGORY:SEGMENT:ID:ASSET:SUB_ACCOUNT`.

    Accepts exactly that text (`AccountKey.of` takes the parts), at most 64 characters in each of
    the last three parts. Raises `InvalidAccountKey`, saying which part is wrong and what would
    pass, or `InvalidType`. Equal, ordered and hashed by its text.
    """

    text: str
    category: AccountCategory
    segment: str
    id: str
    asset: str
    sub_account: str

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise InvalidType(f"an account key is a str, not {type(text).__name__}")
        text = str.__str__(text)  # of a subclass, such as a member of a text enumeration, only the text
        parts = text.split(":", 5)
        if len(parts) != 5:
            raise InvalidAccountKey(
                f"{excerpt(text)} is no account key: "
                "it needs five parts, CATEGORY:SEGMENT:ID:ASSET:SUB_ACCOUNT"
            )
        category, segment, owner_id, asset, sub_account = parts
        if category not in _CATEGORIES:
            raise InvalidAccountKey(
                f"{excerpt(text)}: category {excerpt(category)} is none of {' '.join(_CATEGORIES)}"
            )
        if segment not in SEGMENTS:
            raise InvalidAccountKey(
                f"{excerpt(text)}: segment {excerpt(segment)} is none of {' '.join(SEGMENTS)}"
            )
        for name, part in (("id", owner_id), ("asset", asset), ("sub-account", sub_account)):
            if not is_part(part):
                raise InvalidAccountKey(f"{excerpt(text)}: {name} {excerpt(part)}; {advise_part(part)}")
        put = object.__setattr__
        put(self, "text", text)
        put(self, "category", _CATEGORIES[category])
        put(self, "segment", segment)
        put(self, "id", owner_id)
        put(self, "asset", asset)
        put(self, "sub_account", sub_account)

    @classmethod
    def of(
        cls, *, category: AccountCategory, segment: str, id: str, asset: str, sub_account: str
    ) -> AccountKey:
        """Build a key from its five parts."""
        if not isinstance(category, AccountCategory):
            raise InvalidType(f"category is an AccountCategory, not {type(category).__name__}")
        return cls(f"{category.value}:{segment}:{id}:{asset}:{sub_account}")

    @property
    def owner(self) -> str:
        """Whose account it is: the id of a user, or `SYSTEM:<ID>` for the house."""
        return self.id if self.segment == "USER" else f"{self.segment}:{self.id}"

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"AccountKey('{self.text}')"

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if isinstance(other, AccountKey) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self.text < other.text if isinstance(other, AccountKey) else NotImplemented

    def __le__(self, other: object) -> bool:
        return self.text <= other.text if isinstance(other, AccountKey) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self.text > other.text if isinstance(other, AccountKey) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return self.text >= other.text if isinstance(other, AccountKey) else NotImplemented


Owner = str | UUID | AccountKey
"""A party of a verb: a user's id, a `UUID` that becomes 32 upper-case hex digits, or an exact account."""


def owner_id(owner: object) -> str:
    """Spell a `str` or `UUID` as the id part of a key; `InvalidAccountKey` when it cannot be one."""
    if isinstance(owner, UUID):
        return owner.hex.upper()
    if not isinstance(owner, str):
        raise InvalidType(f"an owner is a str, a UUID or an AccountKey, not {type(owner).__name__}")
    if not is_part(owner):
        raise InvalidAccountKey(f"{excerpt(owner)} is no owner id; {_advise_owner(owner)}")
    return str.__str__(owner)


def _advise_owner(owner: str) -> str:
    """Say how a refused id may be given; a UUID as text is taken for what it is."""
    try:
        meant = UUID(owner) if len(owner) <= _LONGEST_UUID_TEXT else None
    except ValueError:
        meant = None
    return advise_part(owner) if meant is None else f"give it as a UUID, or as {meant.hex.upper()!r}"


def party_account(owner: Owner, *, asset: str) -> AccountKey:
    """Find the account that a verb means: the user's AVAILABLE one, or exactly the given key.

    Raises `InvalidAccountKey` when a given key is in another asset than the money.
    """
    if isinstance(owner, AccountKey):
        if owner.asset != asset:
            raise InvalidAccountKey(f"{owner} is an account in {owner.asset}, the money is in {asset}")
        return owner
    if type(owner) is not str:  # only plain text is looked up: a subclass may compare as it likes
        owner = owner_id(owner)
    return _available_account(owner, asset)


@lru_cache(maxsize=_KEYS_KEPT)
def _available_account(owner: str, asset: str) -> AccountKey:
    return AccountKey(f"LIAB:USER:{owner_id(owner)}:{asset}:{AVAILABLE}")
