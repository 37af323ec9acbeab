"""How the model of governance spells what the library spells in its own way."""

from __future__ import annotations

import json
from typing import Any

Leg = tuple[str, str, int]
"""Account, side, whole units."""

Asked = dict[str, Any]


def account(owner: str, asset: str) -> str:
    """An owner's everyday account."""
    return f"LIAB:USER:{owner}:{asset}:AVAILABLE"


def locked(text: str) -> str:
    """The held part of an account."""
    return text.replace("AVAILABLE", "LOCKED")


def vault(asset: str) -> str:
    """The house's account of an asset."""
    return f"ASSET:SYSTEM:VAULT:{asset}:MAIN"


def capital(asset: str) -> str:
    """What the house began with."""
    return f"EQUITY:SYSTEM:CAPITAL:{asset}:MAIN"


def asset_of(text: str) -> str:
    """The asset of an account."""
    return text.split(":")[3]


def changes(legs: list[Leg]) -> dict[str, int]:
    """Sum what legs do to each account, in the direction of its normal balance."""
    found: dict[str, int] = {}
    for name, side, units in legs:
        grows = (side == "debit") == (name.split(":")[0] in ("ASSET", "EXP"))
        found[name] = found.get(name, 0) + (units if grows else -units)
    return found


def content(entry: Asked) -> str:
    """Spell all that an entry says."""
    return json.dumps(entry, sort_keys=True)


def untraced(asked: Any) -> Any:
    """Leave out what only traces a request, or was not asked for."""
    if isinstance(asked, dict):
        return {name: untraced(value) for name, value in asked.items() if name != "trace"}
    return [untraced(value) for value in asked] if isinstance(asked, list | tuple) else asked
