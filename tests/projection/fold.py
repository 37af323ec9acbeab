"""What the books must say of a journal: a fold over its JSON, without a line of the library."""

from __future__ import annotations

import json
from calendar import timegm
from collections.abc import Sequence
from time import strptime
from typing import Any, NamedTuple

INTENTS = ("genesis", "deposit", "withdrawal", "transfer", "trade", "fee", "adjustment")


class Fact(NamedTuple):
    """One entry."""

    sequence: int
    recorded: int
    effective: int
    intent: str
    correlation_id: str
    changes: dict[str, int]
    metadata: dict[str, Any]
    postings: list[dict[str, str]]


def micros(text: str) -> int:
    """Count the microseconds from the epoch to a timestamp."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return timegm(strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 10**6 + int(fraction or "0")


def units(text: str) -> int:
    """Count the units in an amount text."""
    whole, _, fraction = text.partition(".")
    return int(whole) * 10**8 + int(fraction.ljust(8, "0") or "0")


def change(posting: dict[str, str]) -> int:
    """Tell what a posting does to its account."""
    grows_by = "debit" if posting["account"].split(":")[0] in ("ASSET", "EXP") else "credit"
    return units(posting["amount"]) * (1 if posting["side"] == grows_by else -1)


class Fold:
    """Every entry of a journal, and all answers by looking at each of them."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.facts: list[Fact] = []
        for data in lines:
            said = json.loads(data)
            if "postings" not in said:
                continue
            changes: dict[str, int] = {}
            for posting in said["postings"]:
                name = posting["account"]
                changes[name] = changes.get(name, 0) + change(posting)
            recorded, metadata = micros(said["timestamp"]), said["metadata"]
            counts = metadata.get("bb.effective_at")
            self.facts.append(
                Fact(
                    said["sequence"],
                    recorded,
                    recorded if counts is None else micros(counts),
                    said["intent"],
                    said["correlation_id"],
                    changes,
                    metadata,
                    said["postings"],
                )
            )

    @property
    def accounts(self) -> list[str]:
        """All accounts, as the journal names them first."""
        return list(dict.fromkeys(name for fact in self.facts for name in fact.changes))

    def between(self, after: int, until: int | None) -> list[Fact]:
        """The entries of some lines."""
        return [fact for fact in self.facts if after < fact.sequence <= (until or 10**9)]

    def units(self, facts: Sequence[Fact], prefix: str = "") -> dict[str, int]:
        """Sum up what entries did."""
        found: dict[str, int] = {}
        for fact in facts:
            for name, delta in fact.changes.items():
                if name.startswith(prefix):
                    found[name] = found.get(name, 0) + delta
        return found

    def open_holds(self) -> list[tuple[int, str, int, str | None, int | None]]:
        """The holds that nothing has ended."""
        found: dict[int, list[Any]] = {}
        for fact in self.facts:
            said = fact.metadata
            if "bb.payee" in said:
                opened = fact.postings[0]
                payee = None if said["bb.payee"] == "WITHDRAWAL" else said["bb.payee"]
                expires = None if "bb.expires_at" not in said else micros(said["bb.expires_at"])
                amount = units(opened["amount"])
                found[fact.sequence] = [opened["account"], amount, payee, expires, amount]
            elif "bb.hold" in said:
                hold = found[int(said["bb.hold"])]
                hold[4] -= sum(units(leg["amount"]) for leg in fact.postings if leg["side"] == "debit")
                if not hold[4]:
                    del found[int(said["bb.hold"])]
        return [(number, *hold[:4]) for number, hold in sorted(found.items())]

    def dump(self) -> list[str]:
        """Spell what a projection dumps of entries and postings."""
        numbers = {name: number for number, name in enumerate(self.accounts, 1)}
        running: dict[str, int] = {}
        rows = []
        for fact in self.facts:
            for name, delta in fact.changes.items():
                running[name] = running.get(name, 0) + delta
                rows.append((numbers[name], fact.sequence, delta, running[name]))
        return [
            *(f"accounts {numbers[name]} '{name}' {running[name]}" for name in sorted(running)),
            *(
                f"entries {fact.sequence} {fact.recorded} {fact.effective} {INTENTS.index(fact.intent)} "
                f"'{fact.correlation_id}'"
                for fact in self.facts
            ),
            *("postings {} {} {} {}".format(*row) for row in sorted(rows)),
            *(
                "shifted {} {} {} {}".format(*row)
                for row in sorted(
                    (fact.effective, fact.sequence, numbers[name], delta)
                    for fact in self.facts
                    if fact.effective != fact.recorded
                    for name, delta in fact.changes.items()
                )
            ),
        ]
