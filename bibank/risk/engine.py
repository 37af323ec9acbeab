"""The engine: what holds for every ledger, then the host's rules in order; the first refusal wins.

In memory, integer, deterministic, rebuilt from the journal, and fail-closed: a rule that raises has
refused. It never reads a projection (phase 1, 5.3).

>>> from bibank.risk.engine import RiskEngine
>>> RiskEngine().rule_names
('accounts/1', 'reversals/1', 'holds/1', 'sufficiency/1')
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs

from bibank.errors import ConfigurationError, Refused, RuleFailed, RulesMismatch, excerpt
from bibank.journal.account_records import ACCOUNTS_NAME
from bibank.journal.accounts import AccountBook
from bibank.journal.gate import Moves, Past
from bibank.journal.link_book import LinkBook
from bibank.journal.reversals import REVERSALS_NAME
from bibank.journal.rule_sets import RULE_NAME, AdoptedRule, RuleSet
from bibank.model.entry import JournalEntry, TransactionIntent, UnsignedEntry
from bibank.model.links import NO_LINKS
from bibank.model.stamped import StampedLine
from bibank.risk.account_terms import check_terms
from bibank.risk.adoption import Supply
from bibank.risk.holds import HOLDS_NAME, check_ended, check_holds
from bibank.risk.reversals import check_reversal
from bibank.risk.rule import Refusal, RiskRule, StatefulRiskRule
from bibank.risk.sufficiency import SUFFICIENCY_NAME, check_sufficiency
from bibank.risk.view import RiskView, RuleState, StateValue, Undoable

BUILT_IN_NAMES = (ACCOUNTS_NAME, REVERSALS_NAME, HOLDS_NAME, SUFFICIENCY_NAME)
"""The rules of every ledger, in the order in which they judge."""


_Judge = tuple[str, RiskRule, RuleState]


@attrs.frozen(kw_only=True)
class JudgingRule:
    """A rule that judges: its name, the hash of what it was made of, and whether it has a memory."""

    name: str
    hash: str
    remembers: bool


class RiskEngine:
    """The gatekeeper of one ledger. Give each ledger an engine of its own.

    `rules` are judged in order, after what every ledger has: account terms, reversals, holds,
    sufficiency. Raises
    `ConfigurationError` for a name that does not end in a version, or that appears twice.
    """

    def __init__(self, rules: Sequence[RiskRule] = ()) -> None:
        try:
            self._rules = tuple(rules)
        except TypeError:
            raise ConfigurationError(f"rules are a sequence of RiskRule, not {excerpt(rules)}") from None
        for rule in self._rules:
            if (
                isinstance(rule, type)
                or not callable(getattr(rule, "check", None))
                or not hasattr(rule, "name")
            ):
                raise ConfigurationError(f"a rule has a name and a check method; {excerpt(rule)} is none")
        self._claimed = False
        self._undo: list[tuple[Undoable, str, object]] = []
        self._forgotten = 0
        """How many changes before those in `_undo` are final."""
        names = [rule.name for rule in self._rules]
        for name in names:
            if not _is_rule_name(name):
                raise ConfigurationError(f"rule name {excerpt(name)} does not look like 'daily-limit/1'")
            if name in BUILT_IN_NAMES or names.count(name) > 1:
                raise ConfigurationError(f"there are two rules named {name!r}")
        self._supply = Supply()
        self._written = self._supply.add(self._rules)
        self._adopted = RuleSet()
        self._missing: tuple[str, ...] = ()
        self._judges: tuple[_Judge, ...] = ()
        self._seat([(rule.name, rule, RuleState(self._undo)) for rule in self._rules])

    def _seat(self, judges: Sequence[_Judge]) -> None:
        """Let these rules judge from now on."""
        self._judges = tuple(judges)
        self._stateful = tuple(
            (name, rule, state) for name, rule, state in judges if isinstance(rule, StatefulRiskRule)
        )

    @property
    def rule_names(self) -> tuple[str, ...]:
        """The names of all rules, in the order in which they judge."""
        return (*BUILT_IN_NAMES, *(name for name, _, _ in self._judges))

    def claim(self) -> RiskEngine:
        """Take the engine for one ledger; `ConfigurationError` when another has, or had, it.

        What its rules remember is of one journal, also after that ledger was closed.
        """
        if self._claimed:
            raise ConfigurationError("this RiskEngine was used by a ledger; give each opening a new one")
        self._claimed = True
        return self

    @property
    def remembers(self) -> bool:
        """Whether any rule has a memory."""
        return bool(self._stateful)

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
        """Ask every rule; give the first refusal. Never raises."""
        if entry.links is not NO_LINKS:
            refused = check_built_in(entry, moves, past, now=now)
            if refused is not None:
                return refused
        else:
            for account, delta in moves:
                if account.klass.is_guarded or (delta < 0 and account.balance + delta < account.floor):
                    refused = check_built_in(entry, moves, past, now=now)
                    if refused is not None:
                        return refused
                    break
        if not self._judges or entry.intent is TransactionIntent.GENESIS:
            return None  # the opening is the host's own decision, made when it creates the ledger
        return self.ask(entry, moves, book, past.links, sequence=sequence, now=now)

    def ask(
        self,
        entry: UnsignedEntry,
        moves: Moves,
        book: AccountBook,
        links: LinkBook,
        *,
        sequence: int,
        now: datetime,
    ) -> Refused | None:
        """Ask the host's or the adopted rules alone. Never raises. An override lets an entry pass a rule."""
        for name, rule, state in self._judges:
            mark = self.mark()
            try:
                view = RiskView(book, moves, sequence=sequence, now=now, state=state)
                refusal = rule.check(entry, view)
                if refusal is not None and not links.overrides.allows(entry, name, now=now):
                    return _as_refused(name, refusal)
            except Exception as error:  # noqa: BLE001 - whatever a rule raises is a refusal
                return _failed(name, error)
            finally:
                self.rollback(mark)  # a check remembers nothing
        return None

    def judge_end(self, cited: Sequence[int], links: LinkBook) -> Refused | None:
        """Refuse a batch that cites holds and leaves one open."""
        return check_ended(cited, links)

    def apply(self, line: StampedLine) -> None:
        """Let the rules with a memory take note of a line; `RuleFailed` when one raises."""
        for name, rule, state in self._stateful:
            try:
                rule.apply(line, state)
            except Exception as error:
                raise _failed(name, error) from error

    def review(self, entry: JournalEntry, moves: Moves, book: AccountBook, links: LinkBook) -> None:
        """Look on: what was accepted is not judged again here."""

    # ------------------------------------------------------------------ adopted rules

    def renewed(self) -> RiskEngine:
        """Give an engine of the same rules that no ledger has used yet."""
        engine = RiskEngine(self._rules)
        engine._supply = self._supply.copy()
        return engine

    def supply(self, rules: Sequence[RiskRule]) -> tuple[AdoptedRule, ...]:
        """Have rules at hand that are about to be adopted, and write them down.

        Raises `ConfigurationError` for what is no set of rules, a kind of `InvalidInput` for data that
        the journal cannot hold.
        """
        checked = RiskEngine(rules)._rules  # noqa: SLF001 - checked by the constructor of the same class
        return self._supply.add(checked)

    def adopt(self, rule_set: RuleSet) -> None:
        """Let the rules of an adopted set judge from its own line on.

        A rule that stood in the adopted set before, with the same data, keeps its memory; every other
        begins without one. Rules given without being adopted end here.
        """
        kept = {rule.hash for rule in self._adopted.rules}
        states = {name: state for name, _, state in self._judges}
        judges: list[_Judge] = []
        missing = []
        for adopted in rule_set.rules:
            rule = self._supply.find(adopted)
            if rule is None:
                missing.append(adopted.name)
                continue
            state = states[adopted.name] if adopted.hash in kept and adopted.name in states else None
            judges.append((adopted.name, rule, state or RuleState(self._undo)))
        self._undo.append((self, "", (self._judges, self._adopted, self._missing)))
        self._adopted, self._missing = rule_set, tuple(missing)
        self._seat(judges)

    def restore(self, key: str, value: object) -> None:
        """Take an adoption back; for the engine's own undoing."""
        assert isinstance(value, tuple), "it came from `adopt`"
        self._adopted, self._missing = value[1:]
        self._seat(value[0])

    # ------------------------------------------------------------------ snapshots

    def judging(self, rule_set: RuleSet) -> tuple[JudgingRule, ...]:
        """Tell which rules judge under an adopted set: the host's own, where nothing was adopted."""
        if not rule_set.version:
            found = list(zip(self._written, self._rules, strict=True))
        else:
            sought = [(adopted, self._supply.find(adopted)) for adopted in rule_set.rules]
            found = [(adopted, rule) for adopted, rule in sought if rule is not None]
        return tuple(
            JudgingRule(name=adopted.name, hash=adopted.hash, remembers=isinstance(rule, StatefulRiskRule))
            for adopted, rule in found
        )

    def memory(self) -> dict[str, dict[str, StateValue]]:
        """Give what each rule with a memory remembers, in order of names and keys."""
        states = {name: dict(state.items()) for name, _, state in self._stateful}
        return dict(sorted(states.items()))

    def recall(self, rule_set: RuleSet, memory: Mapping[str, Mapping[str, StateValue]]) -> None:
        """Begin where another engine with the rules of the same set stood, by what it remembered."""
        if rule_set.version:
            self.adopt(rule_set)
        for name, _, state in self._stateful:
            state.load(memory[name])

    def begin_again(self) -> None:
        """Forget all that was read, for a replay from the first line."""
        self._undo.clear()
        self._forgotten = 0
        self._adopted, self._missing = RuleSet(), ()
        self._seat([(rule.name, rule, RuleState(self._undo)) for rule in self._rules])

    @property
    def missing(self) -> tuple[str, ...]:
        """The rules of the set in force that are not at hand."""
        return self._missing

    def check_adopted(self) -> None:
        """Demand that the rules at hand are those that the journal adopted, if it adopted any.

        Raises `RulesMismatch`: a tool that does not have the rules may not write.
        """
        if not self._adopted.version:
            return
        if self._missing:
            raise RulesMismatch(
                f"the ledger has adopted {', '.join(self._missing)}, which this program does not have "
                "with the recorded data; give RiskEngine([...]) with them",
                missing=self._missing,
            )
        strangers = self._supply.strangers(self._adopted.rules)
        if strangers:
            raise RulesMismatch(
                f"{', '.join(strangers)} is not in the rule set that the ledger has adopted, or not with "
                "this data; adopt_rules() changes the set"
            )

    def mark(self) -> int:
        """Remember what the rules know now."""
        return self._forgotten + len(self._undo)

    def forget(self, mark: int) -> None:
        """Make final what the rules knew at a mark."""
        if mark > self._forgotten:
            del self._undo[: mark - self._forgotten]
            self._forgotten = mark

    def rollback(self, mark: int) -> None:
        """Return the rules to what they knew at a mark."""
        assert mark >= self._forgotten, "what was forgotten cannot be taken back"
        while self._forgotten + len(self._undo) > mark:
            state, key, value = self._undo.pop()
            state.restore(key, value)


def check_built_in(entry: UnsignedEntry, moves: Moves, past: Past, *, now: datetime) -> Refused | None:
    """Ask the rules that every ledger has."""
    refused: Refused | None = check_terms(moves)
    if refused is None and entry.links.reverses is not None:
        refused = check_reversal(entry, past)
    if refused is None and entry.intent is not TransactionIntent.GENESIS:
        refused = check_holds(entry, moves, past, now=now)
    return refused or check_sufficiency(moves)


def _is_rule_name(name: object) -> bool:
    return isinstance(name, str) and RULE_NAME.fullmatch(name) is not None


def _failed(rule: str, error: Exception) -> RuleFailed:
    failed = RuleFailed(
        f"rule {rule} raised {excerpt(error)}",
        rule=rule,
        advice="nothing passes until the rule answers",
    )
    failed.__cause__ = error
    return failed


def _as_refused(rule: str, refusal: Refusal) -> Refused:
    return Refused(
        refusal.message,
        rule=rule,
        advice=refusal.advice,
        account=refusal.account,
        asset=refusal.asset,
        required=refusal.required,
        available=refusal.available,
        shortfall=refusal.shortfall,
    )
