"""The oracle: a naive model of a ledger that shares no code with the library.

A dict of whole numbers by account text and a list of committed batches. An entry is (intent, legs), a leg is
(account text, amount text, "debit" or "credit"). It knows four things: ASSET and LIAB accounts never fall
below zero, an entry of its kind does not touch LOCKED, a batch passes whole or not at all, and lines stand in
the order in which they were committed.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

Leg = tuple[str, str, str]
Entry = tuple[str, tuple[Leg, ...]]

UNIT = Decimal("0.00000001")


class Refusal(NamedTuple):
    """What a refused entry lacks: the account, and three amounts in units; or whose LOCKED it touches."""

    account: str
    required: int = 0
    available: int = 0
    shortfall: int = 0
    code: str = "insufficient_balance"


class Oracle:
    """What the books must be."""

    def __init__(self, opening: dict[str, str]) -> None:
        self.units: dict[str, int] = {}
        self.journal: list[tuple[int, Entry]] = []
        self.sequence = 0
        legs = [
            leg
            for asset, amount in opening.items()
            for leg in (
                (f"ASSET:SYSTEM:VAULT:{asset}:MAIN", amount, "debit"),
                (f"EQUITY:SYSTEM:CAPITAL:{asset}:MAIN", amount, "credit"),
            )
        ]
        self.commit([("genesis", tuple(legs))])
        self.sequence += 1  # the adopted keyring stands in line 2

    def commit(self, batch: list[Entry]) -> Refusal | None:
        """Take a whole batch, or refuse it and stay as before."""
        units = dict(self.units)
        for _, legs in batch:
            before = dict(units)
            for account, _, _ in legs:
                if account.endswith(":LOCKED"):
                    return Refusal(account, code="hold_not_open")
            for account, amount, side in legs:
                category = account.split(":")[0]
                grows = (side == "debit") == (category in ("ASSET", "EXP"))
                change = int(Decimal(amount) / UNIT)
                units[account] = units.get(account, 0) + (change if grows else -change)
            for account in dict.fromkeys(account for account, _, _ in legs):
                lost = before.get(account, 0) - units[account]
                if lost > 0 and units[account] < 0 and account.split(":")[0] in ("ASSET", "LIAB"):
                    return Refusal(account, lost, before.get(account, 0), -units[account])
        self.units = units
        for entry in batch:
            self.sequence += 1
            self.journal.append((self.sequence, entry))
        return None

    def copy(self) -> Oracle:
        """Give an oracle that may be asked what would happen."""
        other = Oracle({})
        other.units, other.journal, other.sequence = dict(self.units), list(self.journal), self.sequence
        return other
