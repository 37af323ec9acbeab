"""What questions are asked of: a machine, the lines it stands on, and the checks of what is asked."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from bibank.errors import InvalidType, InvalidValue, UnknownSequence, excerpt
from bibank.journal.machine import LedgerMachine
from bibank.model.lines import Head
from bibank.model.links import MAX_SEQUENCE
from bibank.stored_lines import Lines
from bibank.write_group import DurableView

if TYPE_CHECKING:
    from bibank.bus.bus import EventBus


class Source(Protocol):
    """What answers are made from: a machine, the lines it stands on, and how far both may be shown."""

    @property
    def machine(self) -> LedgerMachine:
        """The state of the ledger; it may be ahead of what may be shown."""

    @property
    def store(self) -> Lines:
        """The lines themselves."""

    @property
    def durable(self) -> Head:
        """The last line that may be shown."""

    @property
    def bus(self) -> EventBus | None:
        """Who hears of it, if anybody asked for that."""

    def reading(self) -> AbstractContextManager[DurableView]:
        """Hold the lock of the machine around a look at its accounts."""


def check_sequence(sequence: int, *, minimum: int) -> int:
    """Refuse what is no sequence of a line; `InvalidType`, `UnknownSequence`."""
    if isinstance(sequence, bool) or not isinstance(sequence, int):
        raise InvalidType(f"a sequence is an int, not {type(sequence).__name__}")
    if sequence > MAX_SEQUENCE:
        raise UnknownSequence(f"no line has a sequence beyond {MAX_SEQUENCE}")
    if sequence < minimum:
        raise UnknownSequence(f"sequence {excerpt(sequence)} is below {minimum}; the first line is 1")
    return sequence


def check_limit(limit: int | None) -> int | None:
    """Refuse what is no number of rows; `InvalidType`, `InvalidValue`."""
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise InvalidType(f"a limit is an int, not {type(limit).__name__}")
    if limit < 0:
        raise InvalidValue(f"limit {excerpt(limit)} is negative")
    return min(limit, sys.maxsize)


def check_prefix(prefix: str) -> str:
    """Refuse what is no beginning of keys; `InvalidType`."""
    if not isinstance(prefix, str):
        raise InvalidType(f"a prefix is a str, not {type(prefix).__name__}")
    return prefix
