"""The brute force behind every question about the past: all lines as JSON, folded anew for each answer.

It shares no code with the library. A point in time is ("sequence", n), ("recorded", t) or ("effective", t),
with times as the texts that stand in the journal, which sort as the times do as long as none has a fraction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

Point = tuple[str, Any]
GROWS_BY_DEBIT = ("ASSET", "EXP")


def units(text: str) -> int:
    """Count the units of an amount."""
    whole, _, fraction = text.partition(".")
    return int(whole) * 10**8 + int((fraction + "0" * 8)[:8])


class Fact(NamedTuple):
    """What is looked at of an entry."""

    sequence: int
    recorded: str
    effective: str
    intent: str
    correlation_id: str
    changes: dict[str, int]
    metadata: dict[str, Any]


class Row(NamedTuple):
    """A line of a statement."""

    sequence: int
    asset: str
    amount: int
    posted: int
    pending: int
    available: int


class Past:
    """The lines of a journal."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.lines = [json.loads(line) for line in lines]
        self.facts = [fact(line) for line in self.lines if "postings" in line]

    def counted(self, point: Point | None) -> list[Fact]:
        """The entries that count as of a point in time, in journal order."""
        if point is None:
            return self.facts
        kind, value = point
        if kind == "recorded":
            return [found for found in self.facts if found.recorded <= value]
        if kind == "effective":
            return [found for found in self.facts if found.effective <= value]
        last = 0
        for line in self.lines:
            mark = line.get("batch", {})
            end = mark.get("first", line["sequence"]) + mark.get("size", 1) - 1
            if end <= value:
                last = max(last, end)
        return [found for found in self.facts if found.sequence <= last]

    def balances(self, point: Point | None) -> dict[str, int]:
        """The balance of every account that an entry names which counts."""
        return total(self.counted(point))

    def inside(self, since: Point | None, until: Point | None) -> tuple[list[Fact], list[Fact]]:
        """The entries before a range and those inside it, in the order of its axis."""
        ordered = list(self.facts)
        if "effective" in {point[0] for point in (since, until) if point is not None}:
            ordered.sort(key=lambda found: (found.effective, found.sequence))
        before = [found for found in ordered if since is not None and _is_before(found, since)]
        inside = [
            found for found in ordered if found not in before and (until is None or _is_before(found, until))
        ]
        return before, inside

    def statement(self, owner: str, assets: list[str], since: Point | None, until: Point | None) -> list[Row]:
        """What an owner's statement says."""
        before, inside = self.inside(since, until)
        now = total(before)
        rows = []
        for found in inside:
            for account, change in found.changes.items():
                now[account] = now.get(account, 0) + change
            for asset in sorted(assets):
                free, held = (f"LIAB:USER:{owner}:{asset}:{sub}" for sub in ("AVAILABLE", "LOCKED"))
                if free in found.changes or held in found.changes:
                    has, pends = now.get(free, 0), now.get(held, 0)
                    change = found.changes.get(free, 0) + found.changes.get(held, 0)
                    rows.append(Row(found.sequence, asset, change, has + pends, pends, has))
        return rows


def fact(line: dict[str, Any]) -> Fact:
    """Read an entry."""
    changes: dict[str, int] = {}
    for posting in line["postings"]:
        name = posting["account"]
        grows = (posting["side"] == "debit") == (name.split(":")[0] in GROWS_BY_DEBIT)
        changes[name] = changes.get(name, 0) + (1 if grows else -1) * units(posting["amount"])
    effective = line["metadata"].get("bb.effective_at", line["timestamp"])
    return Fact(
        line["sequence"],
        line["timestamp"],
        effective,
        line["intent"],
        line["correlation_id"],
        changes,
        line["metadata"],
    )


def total(facts: Iterable[Fact]) -> dict[str, int]:
    """Add up what entries did."""
    found: dict[str, int] = {}
    for one in facts:
        for account, change in one.changes.items():
            found[account] = found.get(account, 0) + change
    return found


def _is_before(found: Fact, point: Point) -> bool:
    kind, value = point
    if kind == "sequence":
        return bool(found.sequence < value)
    return bool((found.recorded if kind == "recorded" else found.effective) < value)
