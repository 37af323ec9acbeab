"""The risk gate: the one protocol through which the machine asks whether money may move.

Defined here and implemented in `bibank.risk`, so that the journal knows no rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import attrs

from bibank.errors import Refused
from bibank.journal.accounts import Account, AccountBook
from bibank.journal.link_book import LinkBook
from bibank.journal.rule_sets import RuleSet
from bibank.model.entry import JournalEntry, UnsignedEntry
from bibank.model.stamped import StampedLine


@attrs.frozen
class Past:
    """What earlier lines mean for an entry: the holds, reversals and keys, and the entry that it reverses."""

    links: LinkBook
    original: JournalEntry | None


Moves = Sequence[tuple[Account, int]]
"""Each account that an entry touches, once, with the change of its balance in units."""


class RiskGate(Protocol):
    """Judges every entry before it is sealed. Deterministic, in memory, fail-closed.

    Obligations: `judge` changes nothing and refuses rather than raise; after `rollback(m)`
    it answers as it did when `mark()` gave m.
    """

    @property
    def remembers(self) -> bool:
        """Whether `apply` has to be called at all."""

    def judge(
        self,
        entry: UnsignedEntry,
        moves: Moves,
        book: AccountBook,
        *,
        past: Past,
        sequence: int,
        now: datetime,
    ) -> Refused | None:
        """Judge an entry against the balances in `book` and the past; None lets it pass."""

    def judge_end(self, cited: Sequence[int], links: LinkBook) -> Refused | None:
        """Judge the end of a batch that cited the holds of these sequences."""

    def apply(self, line: StampedLine) -> None:
        """Take note of a line that passed, or that was read from the journal."""

    def adopt(self, rule_set: RuleSet) -> None:
        """Let an adopted set be in force from its own line on."""

    def review(self, entry: JournalEntry, moves: Moves, book: AccountBook, links: LinkBook) -> None:
        """Look at an accepted entry before it is applied: for audits, which judge again. Never refuses."""

    def mark(self) -> int:
        """Remember what the rules know now."""

    def rollback(self, mark: int) -> None:
        """Return the rules to what they knew at a mark."""

    def forget(self, mark: int) -> None:
        """Make final what the rules knew at a mark; earlier marks are void."""


class Bystander:
    """A gate that lets everything pass and remembers nothing: for those who only read."""

    remembers = False

    def judge(self, *_: object, **__: object) -> Refused | None:
        """Let it pass."""
        return None

    def judge_end(self, cited: Sequence[int], links: LinkBook) -> Refused | None:
        """Let it pass."""
        return None

    def apply(self, line: StampedLine) -> None:
        """Remember nothing."""

    def adopt(self, rule_set: RuleSet) -> None:
        """Take no notice."""

    def review(self, *_: object) -> None:
        """Take no notice."""

    def mark(self) -> int:
        """There is nothing to return to."""
        return 0

    def rollback(self, mark: int) -> None:
        """There is nothing to return to."""

    def forget(self, mark: int) -> None:
        """There is nothing to forget."""
