"""Verbs as they are asked for: recorded as calls, to be committed by another thread."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple
from uuid import UUID

from bibank.calls import Call
from bibank.commits import Commits, hold_of, trade_of
from bibank.model.entry import JournalEntry
from bibank.model.hold import Hold
from bibank.outcomes import Committed
from bibank.verbs import Verbs


def entry_of(committed: Committed) -> JournalEntry:
    """Show what was committed as its one entry."""
    return committed.entry


def entries_of(committed: Committed) -> tuple[JournalEntry, ...]:
    """Show what was committed as entries."""
    return committed.entries


class Form(Enum):
    """What a verb comes to."""

    ONE = "one"
    MANY = "many"
    TRADED = "traded"
    HELD = "held"


SHOWN: dict[Form, Callable[[Committed], object]] = {
    Form.ONE: entry_of,
    Form.MANY: entries_of,
    Form.TRADED: trade_of,
    Form.HELD: hold_of,
}
"""How it is shown when it is committed."""


class Asked(NamedTuple):
    """A verb as it was asked for."""

    call: Call
    key: str | UUID | None
    form: Form


class Recorder(Verbs[Asked, Asked, Asked, Asked]):
    """Takes each verb as a call and commits nothing. What a call reads later, it reads of the ledger."""

    def __init__(self, ledger: Commits, *, correlation_id: str | UUID | None) -> None:
        super().__init__(correlation_id=correlation_id)
        self._ledger = ledger

    def _one(self, call: Call, key: str | UUID | None) -> Asked:
        return Asked(call, key, Form.ONE)

    def _many(self, call: Call, key: str | UUID | None) -> Asked:
        return Asked(call, key, Form.MANY)

    def _traded(self, call: Call, key: str | UUID | None) -> Asked:
        return Asked(call, key, Form.TRADED)

    def _held(self, call: Call, key: str | UUID | None) -> Asked:
        return Asked(call, key, Form.HELD)

    def _hold_of(self, hold_id: int) -> Hold:
        return self._ledger._hold_of(hold_id)  # noqa: SLF001 - the ledger's own part, which this stands for

    def _entry_of(self, sequence: int) -> JournalEntry:
        return self._ledger._entry_of(sequence)  # noqa: SLF001 - the ledger's own part, which this stands for
