"""The assets that a ledger deals in: every posting is in one of them.

>>> AllowedAssets(assets=["USDT", "BTC"]).assets
('BTC', 'USDT')
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs

from bibank.model.entry import UnsignedEntry
from bibank.model.json_value import FrozenMap, JsonValue
from bibank.risk.naming import asset_names, is_listed
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

_MAX_NAMED = 10
"""Assets that a refusal lists before it says how many more there are."""


@attrs.frozen(kw_only=True)
class AllowedAssets:
    """Every posting of an entry is in one of `assets`, on accounts of every category.

    `assets` is any collection of asset codes, at least one. Raises `InvalidValue` kinds or `InvalidType`.
    """

    kind: ClassVar[str] = "allowed_assets"

    name: str = attrs.field(converter=check_rule_name, default="allowed-assets/1")
    assets: tuple[str, ...] = attrs.field(converter=asset_names)

    def __attrs_post_init__(self) -> None:
        """Refuse what no record could hold."""
        check_recordable(self)

    def check(self, entry: UnsignedEntry, view: RiskView) -> Refusal | None:
        """Refuse an entry with a posting in another asset; looks at the entry alone."""
        for posting in entry.postings:
            asset = posting.account.asset
            if not is_listed(asset, self.assets):
                more = len(self.assets) - _MAX_NAMED
                others = f" and {more} more" if more > 0 else ""
                return Refusal(
                    message=f"{asset} is not an asset that this ledger deals in",
                    advice=f"would pass: {', '.join(self.assets[:_MAX_NAMED])}{others}",
                    account=posting.account,
                    asset=asset,
                )
        return None

    def to_data(self) -> Mapping[str, JsonValue]:
        """Give `assets`, sorted."""
        return FrozenMap({"assets": self.assets})

    @classmethod
    def from_data(cls, name: str, data: Mapping[str, JsonValue]) -> AllowedAssets:
        """Read what :meth:`to_data` gives; a kind of `InvalidValue` for anything else."""
        members = read_members(data, {"assets"}, cls.kind)
        assets = read_texts(members["assets"], "an asset")
        return same_spelling(cls(name=read_text(name, "the name of a rule"), assets=assets), data)
