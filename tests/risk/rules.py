"""Rules of the tests: small, honest ones, and some that break their obligations."""

from collections.abc import Callable
from typing import Any

from bibank.model.entry import UnsignedEntry
from bibank.model.stamped import StampedLine
from bibank.risk.rule import Refusal
from bibank.risk.view import RiskView, RuleState


class Rule:
    """A rule made of a function."""

    def __init__(self, name: str, check: Callable[[UnsignedEntry, RiskView], Any] | None = None) -> None:
        self.name = name
        self._check = check
        self.asked = 0

    def check(self, entry: UnsignedEntry, view: RiskView) -> Any:
        """Ask the function."""
        self.asked += 1
        return None if self._check is None else self._check(entry, view)


class Counting:
    """At most so many entries for each first account: a rule with a memory."""

    name = "counting/1"

    def __init__(self, limit: int = 2) -> None:
        self.limit = limit

    def check(self, entry: UnsignedEntry, view: RiskView) -> Refusal | None:
        """Refuse the entry after the last one; note the attempt, which must not last."""
        key = entry.postings[-1].account.text if entry.postings else "nobody"
        count = view.state.get(key, 0)
        assert isinstance(count, int)
        view.state["attempts"] = view.state.get("attempts", 0)
        view.state.pop(key, None)
        if count >= self.limit:
            return Refusal(message=f"{key} has had {count} entries", advice="come back never")
        return None

    def apply(self, line: StampedLine, state: RuleState) -> None:
        """Count an entry."""
        if hasattr(line, "postings") and line.postings:
            key = line.postings[-1].account.text
            count = state.get(key, 0)
            assert isinstance(count, int)
            state[key] = count + 1
