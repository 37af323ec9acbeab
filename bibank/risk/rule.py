"""The protocols of a risk rule, and the answer of one that refuses."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import attrs

from bibank.model.account import AccountKey
from bibank.model.amount import SignedAmount
from bibank.model.entry import UnsignedEntry
from bibank.model.stamped import StampedLine
from bibank.risk.view import RiskView, RuleState


@attrs.frozen(kw_only=True)
class Refusal:
    """A rule's no: what it refused, and in `advice` what would have passed.

    The engine raises it as `Refused`; the figures are optional, `message` and `advice` are not.
    """

    message: str
    advice: str
    account: AccountKey | None = None
    asset: str | None = None
    required: SignedAmount | None = None
    available: SignedAmount | None = None
    shortfall: SignedAmount | None = None


class RiskRule(Protocol):
    """A rule that judges an entry by what it sees now.

    Obligations: deterministic (the same entry and view, the same answer), no I/O, no clock
    (`view.now` is the time), no state of its own. An exception counts as a refusal.
    """

    @property
    def name(self) -> str:
        """A stable name that ends in a version, such as `daily-limit/1`."""

    def check(self, entry: UnsignedEntry, view: RiskView) -> Refusal | None:
        """Say why the entry must not pass, or None."""


@runtime_checkable
class StatefulRiskRule(Protocol):
    """A rule that also remembers. What it remembers lives in `state`, which the engine owns.

    The engine rolls the state back when a batch is refused, discards it after a preview, and
    rebuilds it on replay by calling `apply` with every line in order.
    """

    @property
    def name(self) -> str:
        """As for `RiskRule`."""

    def check(self, entry: UnsignedEntry, view: RiskView) -> Refusal | None:
        """As for `RiskRule`; `view.state` is this rule's memory."""

    def apply(self, line: StampedLine, state: RuleState) -> None:
        """Remember what matters of a line that passed."""
