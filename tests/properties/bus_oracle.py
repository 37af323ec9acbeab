"""The naive model of a bus: lists of what was committed, and of what each subscriber has to hear next.

It shares nothing with the library. A subscriber is a place in a list and a stack of failures; what it hears
is spelled as in the diaries of the subscribers under test.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import attrs

ATTEMPTS = 3
"""Failures in a row after which a subscriber is parked."""


class Interrupted(Exception):
    """What was planted is raised in whoever pumps."""


@attrs.define
class Replay:
    """A replay that is on its way."""

    first: int
    last: int
    back_to: int
    is_started: bool = False
    told: int = 0


@attrs.define
class Desk:
    """One subscriber: the last line it is done with, and what it will fail at."""

    name: str
    keeps: bool = False
    """Whether it keeps its own cursor."""

    done: int = 0
    trouble: dict[int, deque[str]] = attrs.field(factory=dict)
    """By entry, what happens: `error`, `interrupt`, and for a keeper `late`, an error behind its work."""

    attempts: int = 0
    failures: int = 0
    handled: int = 0
    is_parked: bool = False
    replay: Replay | None = None
    wanted: Replay | None = None
    """A replay that was asked for, and has not begun."""

    is_asked: bool = False
    """Whether it failed outside of a replay, and is asked for its own cursor before anything else."""

    places: set[int] = attrs.field(factory=set)
    """Where its durable cursor may stand."""

    kept: int | None = None
    """Where a keeper's own cursor stands."""

    def go_to(self, line: int) -> None:
        """Be done with a line."""
        self.done = line
        self.places.add(line)

    def is_saved(self) -> None:
        """Its durable cursor is where it is, or where it was asked to go back to."""
        self.places = {self.done if self.wanted is None else min(self.done, self.wanted.back_to)}


class Office:
    """All lines of a journal, and the desks of those who hear of them."""

    def __init__(self) -> None:
        self.entries: list[int] = []
        self.head = 0
        self.desks: dict[str, Desk] = {}

    def commit(self, *, entries: int = 0, records: int = 0) -> None:
        """Lines were written: entries, then records."""
        for _ in range(entries):
            self.head += 1
            self.entries.append(self.head)
        self.head += records

    def behind(self, line: int) -> Iterator[int]:
        """The entries after a line."""
        return (entry for entry in self.entries if entry > line)

    # ------------------------------------------------------------------ what comes next

    def next_event(self, desk: Desk) -> str | None:
        """Spell what a subscriber has to hear next; records are passed over."""
        replay = desk.replay
        if replay is None:
            until = self.head
        elif replay.is_started:
            until = replay.last
        else:  # whatever is missing before it is told first
            until = replay.first - 1
            if desk.done >= until:
                return f"from {replay.first}"
        for entry in self.behind(desk.done):
            if entry <= until:
                if entry - 1 > desk.done:
                    desk.go_to(entry - 1)
                return str(entry)
        if desk.done < until:
            desk.go_to(until)
        if replay is not None and not replay.is_started:
            return f"from {replay.first}"
        return None if replay is None else f"completed {replay.told}"

    def _handle(self, desk: Desk, event: str) -> None:
        desk.attempts = 0
        desk.handled += 1
        replay = desk.replay
        if event.isdecimal():
            desk.go_to(int(event))
            desk.kept = desk.done
            if replay is not None and replay.is_started:
                replay.told += 1
        elif replay is not None and event.startswith("from"):
            replay.is_started = True
        else:
            desk.replay = None

    def pump(self, desk: Desk, limit: int | None) -> tuple[list[str], int]:
        """Give what a subscriber is told, failed attempts too, and how much of it counts as handled.

        Raises `Interrupted` with what was told until then.
        """
        told: list[str] = []
        handled = 0
        if limit != 0:
            self._begin(desk)
        while not desk.is_parked and (limit is None or handled < limit):
            event = self.next_event(desk)
            if event is None:
                break
            told.append(event)
            planned = desk.trouble.get(int(event)) if event.isdecimal() else None
            how = planned.popleft() if planned else "well"
            if how == "interrupt":
                raise Interrupted(told)
            if how == "well":
                self._handle(desk, event)
                handled += 1
                continue
            desk.failures += 1
            desk.attempts += 1
            if how == "late":
                desk.kept = int(event)
            if desk.attempts >= ATTEMPTS:
                desk.is_parked = True
            else:
                desk.is_asked = desk.keeps and desk.replay is None
            break
        return told, handled

    def _begin(self, desk: Desk) -> None:
        """Before the first event: a keeper that failed says where it is; a replay begins."""
        if desk.is_asked and not desk.is_parked:
            if desk.kept is not None:
                desk.attempts = 0 if desk.kept > desk.done else desk.attempts
                desk.go_to(desk.kept)
            desk.is_asked = False
        if desk.wanted is not None and not desk.is_asked:
            desk.replay, desk.wanted = desk.wanted, None
            desk.done = min(desk.replay.back_to, desk.done)
            desk.attempts = 0

    def resume(self, desk: Desk) -> None:
        """Try again."""
        desk.is_parked = False
        desk.attempts = 0
        desk.is_asked = desk.keeps and desk.replay is None

    def replay_from(self, desk: Desk, line: int) -> None:
        """Tell it once more."""
        desk.wanted = Replay(first=line, last=self.head, back_to=line - 1)
        desk.is_saved()
