"""A review: an audit asks the adopted rules again, entry by entry, as they were asked when it was committed.

What they would refuse now is a finding, never an error: the journal stands as it is. Rules that were not
adopted, and what the journal alone cannot tell, are not asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from bibank.errors import InvalidInput, RuleFailed
from bibank.journal.accounts import AccountBook
from bibank.journal.gate import Bystander, Moves
from bibank.journal.link_book import LinkBook
from bibank.journal.rule_sets import RuleSet
from bibank.model.entry import RELATED_TRADE, JournalEntry, UnsignedEntry, tied_to_trade
from bibank.model.links import NO_LINKS, RESERVED_PREFIX, EntryLinks
from bibank.model.stamped import StampedLine
from bibank.risk.engine import RiskEngine
from bibank.risk.rule import RiskRule

MAX_FINDINGS = 1_000
"""Violations that a report lists one by one."""


class Review(Bystander):
    """A gate for audits. `rules` are the host's own; shipped rules are rebuilt from the journal."""

    def __init__(self, rules: Sequence[RiskRule] = ()) -> None:
        self._engine = RiskEngine(rules)
        self._begun = False
        self.from_sequence: int | None = None
        """From which line on a set of rules was in force."""
        self.violated: list[str] = []
        self.violations = 0
        self._not_asked: dict[str, int] = {}

    @property
    def findings(self) -> tuple[str, ...]:
        """What was found, and how much more there was to be listed."""
        more = self.violations - len(self.violated)
        return (*self.violated, f"and {more} more") if more else tuple(self.violated)

    @property
    def not_asked(self) -> tuple[str, ...]:
        """Say which rules were in force and could not be asked, each from the first line of its set."""
        return tuple(f"{name}, from line {first}" for name, first in self._not_asked.items())

    @property
    def remembers(self) -> bool:  # type: ignore[override]  # a bystander never does
        """Whether every line has to be looked at: from the first adopted set on."""
        return self._begun

    def adopt(self, rule_set: RuleSet) -> None:
        """Ask the rules of this set from here on."""
        self._engine.adopt(rule_set)
        self._begun = True
        if self.from_sequence is None:
            self.from_sequence = rule_set.from_sequence
        for name in self._engine.missing:
            self._not_asked.setdefault(name, rule_set.from_sequence)

    def review(self, entry: JournalEntry, moves: Moves, book: AccountBook, links: LinkBook) -> None:  # type: ignore[override]  # a bystander takes anything
        """Ask every rule about an entry."""
        try:
            draft = _unsealed(entry)
        except InvalidInput as error:  # what a reader accepts may be refused as input by now
            self._note(entry.sequence, f"not asked: {error}")
            return
        refusal = self._engine.ask(draft, moves, book, links, sequence=entry.sequence, now=entry.timestamp)
        if refusal is not None:
            self._note(entry.sequence, f"{refusal.rule}: {refusal}")

    def _note(self, sequence: int, text: str) -> None:
        self.violations += 1
        if len(self.violated) < MAX_FINDINGS:
            self.violated.append(f"line {sequence}: {text}")

    def apply(self, line: StampedLine) -> None:
        """Let the rules with a memory take note; one that fails is a finding."""
        try:
            self._engine.apply(line)
        except RuleFailed as failed:
            self._note(line.sequence, str(failed))

    def mark(self) -> int:
        """Remember what the rules know now."""
        return self._engine.mark()

    def rollback(self, mark: int) -> None:
        """Return the rules to what they knew."""
        self._engine.rollback(mark)

    def forget(self, mark: int) -> None:
        """Make final what the rules knew."""
        self._engine.forget(mark)


def _unsealed(entry: JournalEntry) -> UnsignedEntry:
    """Give an entry as it was proposed, for rules to look at."""
    free = {
        name: value
        for name, value in entry.metadata.items()
        if not name.startswith(RESERVED_PREFIX) and name != RELATED_TRADE
    }
    draft = UnsignedEntry(
        intent=entry.intent,
        correlation_id=entry.correlation_id,
        postings=entry.postings,
        metadata=free,
        links=EntryLinks.from_metadata(entry.metadata, causality_id=entry.causality_id) or NO_LINKS,
    )
    relation = entry.metadata.get(RELATED_TRADE)
    return tied_to_trade(draft, int(relation)) if isinstance(relation, str) else draft
