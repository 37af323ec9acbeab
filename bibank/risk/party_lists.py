"""Lists of parties: who may take part in an entry, and who may not.

The parties of an entry are the owners of its LIAB accounts, paying and receiving, spelled as
`AccountKey.owner` spells them: `ALICE` for a user, `SYSTEM:REWARDS` for a house account.

>>> DenyList(owners=["SYSTEM:REWARDS", "MALLORY"]).owners
('MALLORY', 'SYSTEM:REWARDS')
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import attrs

from bibank.errors import InvalidValue
from bibank.model.account import AccountCategory, AccountKey
from bibank.model.entry import UnsignedEntry
from bibank.model.json_value import FrozenMap, JsonValue
from bibank.risk.naming import is_listed, owner_names
from bibank.risk.recorded import (
    check_recordable,
    check_rule_name,
    read_members,
    read_text,
    read_texts,
    same_spelling,
)
from bibank.risk.rule import Refusal
from bibank.risk.view import RiskView


def _allowed_owners(values: Iterable[str]) -> tuple[str, ...]:
    owners = owner_names(values)
    if not owners:
        raise InvalidValue("an allow list without owners would let nobody pass")
    return owners


def _party_accounts(entry: UnsignedEntry) -> Iterator[AccountKey]:
    return (p.account for p in entry.postings if p.account.category is AccountCategory.LIABILITY)


@attrs.frozen(kw_only=True)
class AllowList:
    """Every user who takes part in an entry, paying or receiving, is one of `owners`.

    House accounts (`LIAB:SYSTEM:...`) are the host's own and always pass: naming one changes nothing.
    `owners` is any collection of owner texts, at least one. Raises `InvalidValue` kinds or
    `InvalidType`. A refusal names nobody on the list, because whoever is refused may read it.
    """

    kind: ClassVar[str] = "allow_list"

    name: str = attrs.field(converter=check_rule_name, default="allow-list/1")
    owners: tuple[str, ...] = attrs.field(converter=_allowed_owners)

    def __attrs_post_init__(self) -> None:
        """Refuse what no record could hold."""
        check_recordable(self)

    def check(self, entry: UnsignedEntry, view: RiskView) -> Refusal | None:
        """Refuse an entry with a user who is not listed; looks at the entry alone."""
        for account in _party_accounts(entry):
            if account.segment == "USER" and not is_listed(account.owner, self.owners):
                return Refusal(
                    message=f"{account.owner} is not on the allow list",
                    advice="entries between listed users and house accounts would pass",
                    account=account,
                    asset=account.asset,
                )
        return None

    def to_data(self) -> Mapping[str, JsonValue]:
        """Give `owners`, sorted."""
        return FrozenMap({"owners": self.owners})

    @classmethod
    def from_data(cls, name: str, data: Mapping[str, JsonValue]) -> AllowList:
        """Read what :meth:`to_data` gives; a kind of `InvalidValue` for anything else."""
        members = read_members(data, {"owners"}, cls.kind)
        owners = read_texts(members["owners"], "an owner")
        return same_spelling(cls(name=read_text(name, "the name of a rule"), owners=owners), data)


@attrs.frozen(kw_only=True)
class DenyList:
    """Nobody who takes part in an entry, paying or receiving, is one of `owners`; users and the house.

    `owners` is any collection of owner texts; an empty one refuses nobody. Raises `InvalidValue` kinds
    or `InvalidType`.
    """

    kind: ClassVar[str] = "deny_list"

    name: str = attrs.field(converter=check_rule_name, default="deny-list/1")
    owners: tuple[str, ...] = attrs.field(converter=owner_names)

    def __attrs_post_init__(self) -> None:
        """Refuse what no record could hold."""
        check_recordable(self)

    def check(self, entry: UnsignedEntry, view: RiskView) -> Refusal | None:
        """Refuse an entry with a listed party; looks at the entry alone."""
        for account in _party_accounts(entry):
            if is_listed(account.owner, self.owners):
                return Refusal(
                    message=f"{account.owner} is on the deny list",
                    advice=f"entries without {account.owner} and others on the list would pass",
                    account=account,
                    asset=account.asset,
                )
        return None

    def to_data(self) -> Mapping[str, JsonValue]:
        """Give `owners`, sorted."""
        return FrozenMap({"owners": self.owners})

    @classmethod
    def from_data(cls, name: str, data: Mapping[str, JsonValue]) -> DenyList:
        """Read what :meth:`to_data` gives; a kind of `InvalidValue` for anything else."""
        members = read_members(data, {"owners"}, cls.kind)
        owners = read_texts(members["owners"], "an owner")
        return same_spelling(cls(name=read_text(name, "the name of a rule"), owners=owners), data)
