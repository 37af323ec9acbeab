"""The asset registry: which assets there are, and how many decimals amounts of each may have.

The ledger itself counts everything in units of 10^-8. A registry holds amounts to what the asset has:
two decimals for the dollar, none for the yen.

>>> registry = AssetRegistry.iso4217({"USDT": 6, "BTC": 8})
>>> registry.decimals["USDT"], registry.decimals["JPY"], "XYZ" in registry.decimals
(6, 0, False)
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import attrs

from bibank.errors import InvalidType, InvalidValue, excerpt
from bibank.model.amount import DECIMALS, MAX_UNITS, units_to_text
from bibank.model.entry import Posting, UnsignedEntry
from bibank.model.iso4217 import ISO_4217
from bibank.model.json_members import exact_items
from bibank.model.json_value import FrozenMap, JsonValue
from bibank.model.money import check_asset
from bibank.risk.recorded import (
    check_recordable,
    check_rule_name,
    read_integer,
    read_members,
    read_text,
    same_spelling,
)
from bibank.risk.rule import Refusal
from bibank.risk.view import RiskView

_DEFAULT_NAME = "assets/1"
_NOTHING: Mapping[str, int] = MappingProxyType({})


def _check_decimals(decimals: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    if not isinstance(decimals, Mapping):
        raise InvalidType(f"decimals are a mapping of asset to int, not {excerpt(decimals)}")
    pairs: dict[str, int] = {}
    for asset, places in decimals.items():
        asset = check_asset(asset)
        if isinstance(places, bool) or not isinstance(places, int):
            raise InvalidType(f"the decimals of {asset} are an int, not {excerpt(places)}")
        if not 0 <= places <= DECIMALS:
            raise InvalidValue(f"{asset} has {excerpt(places)} decimals; an asset has 0 to {DECIMALS}")
        pairs[asset] = int(places)
    if not pairs:
        raise InvalidValue("a registry without assets would let nothing pass")
    return tuple(sorted(pairs.items()))


@attrs.frozen(kw_only=True)
class AssetRegistry:
    """Every posting is in a known asset, and no amount is finer than the decimals of its asset.

    `decimals` maps each asset to a number from 0 to 8. `AssetRegistry.iso4217` begins with the
    currencies of the world. Immutable and hashable. Raises `InvalidValue` kinds or `InvalidType`.
    """

    kind: ClassVar[str] = "asset_registry"

    name: str = attrs.field(converter=check_rule_name, default=_DEFAULT_NAME)
    _decimals: tuple[tuple[str, int], ...] = attrs.field(converter=_check_decimals)
    _places: dict[str, int] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        """Build the look-up, and refuse what no record could hold."""
        object.__setattr__(self, "_places", dict(self._decimals))
        check_recordable(self)

    @property
    def decimals(self) -> Mapping[str, int]:
        """Asset and number of decimals, in order of assets; read only."""
        return MappingProxyType(self._places)

    @classmethod
    def iso4217(cls, extra: Mapping[str, int] = _NOTHING, *, name: str = _DEFAULT_NAME) -> AssetRegistry:
        """Make a registry of the currencies in use by ISO 4217 with their minor units, and `extra` assets.

        `InvalidValue` when `extra` gives a currency other decimals than ISO 4217 does.
        """
        given = dict(_check_decimals(extra)) if extra else {}
        for asset, places in given.items():
            if ISO_4217.get(asset, places) != places:
                raise InvalidValue(f"{asset} has {ISO_4217[asset]} decimals by ISO 4217, not {places}")
        return cls(name=name, decimals={**ISO_4217, **given})

    def check(self, entry: UnsignedEntry, view: RiskView) -> Refusal | None:
        """Refuse an entry with an unknown asset or an amount that is too fine; looks at the entry alone."""
        for posting in entry.postings:
            asset = posting.account.asset
            places = self._places.get(asset)
            if places is None:
                return Refusal(
                    message=f"{asset} is not in the asset registry",
                    advice=f"one of its {len(self._places)} assets would pass",
                    account=posting.account,
                    asset=asset,
                )
            if posting.amount.units % (step := 10 ** (DECIMALS - places)):
                return _too_fine(posting, places=places, step=step)
        return None

    def to_data(self) -> Mapping[str, JsonValue]:
        """Give `assets`, sorted: objects with `asset` and `decimals`."""
        return FrozenMap(
            {
                "assets": tuple(
                    FrozenMap({"asset": asset, "decimals": places}) for asset, places in self._decimals
                )
            }
        )

    @classmethod
    def from_data(cls, name: str, data: Mapping[str, JsonValue]) -> AssetRegistry:
        """Read what :meth:`to_data` gives; a kind of `InvalidValue` for anything else."""
        decimals: dict[str, int] = {}
        for item in exact_items(read_members(data, {"assets"}, cls.kind)["assets"]):
            members = read_members(item, {"asset", "decimals"}, "registered asset")
            asset = read_text(members["asset"], "an asset")
            decimals[asset] = read_integer(members["decimals"], "a number of decimals")
        return same_spelling(cls(name=read_text(name, "the name of a rule"), decimals=decimals), data)


def _too_fine(posting: Posting, *, places: int, step: int) -> Refusal:
    asset, units = posting.account.asset, posting.amount.units
    below = units - units % step
    # 0 is no posting, and beyond 2**127-1 units there is no amount: what would not pass is not advised
    passing = [units_to_text(u) for u in (below, below + step) if 0 < u <= MAX_UNITS]
    return Refusal(
        message=f"{posting.amount} {asset}: {asset} has {places} decimals",
        advice=f"{' or '.join(passing)} {asset} would pass",
        account=posting.account,
        asset=asset,
    )
