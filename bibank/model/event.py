"""Events: what a ledger tells those who listen (phase 2, 4.3), and how far a listener has come.

>>> Cursor.parse(str(Cursor(sequence=12, hash="0f" * 32))).sequence
12
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TypeAlias

import attrs

from bibank.errors import InvalidType, InvalidValue, excerpt
from bibank.model.entry import JournalEntry
from bibank.model.lines import GENESIS_PREV_HASH, Head
from bibank.model.links import MAX_SEQUENCE

_CURSOR = re.compile(r"(0|[1-9][0-9]{0,18}):(GENESIS|[0-9a-f]{64})", re.ASCII)


def _check_sequence(value: object) -> int:
    if type(value) is not int:
        raise InvalidType(f"the sequence of a cursor is an int, not {excerpt(value)}")
    if not 0 <= value <= MAX_SEQUENCE:
        raise InvalidValue(f"no line has the sequence {excerpt(value)}")
    return value


def _check_hash(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidType(f"the hash of a cursor is a str, not {type(value).__name__}")
    if not re.fullmatch(r"GENESIS|[0-9a-f]{64}", value, re.ASCII):
        raise InvalidValue(f"{excerpt(value)} is no hash of a line: 64 lower-case hex digits")
    return value


@attrs.frozen(kw_only=True)
class Cursor:
    """How far a subscriber has come: the last line that it is done with. `Cursor()` is before the first.

    The hash covers everything up to that line and the ledger's id, so a cursor of another ledger, or of
    another history of the same one, is noticed. Its text is `sequence:hash`. Raises `InvalidType`,
    `InvalidValue`.
    """

    sequence: int = attrs.field(default=0, converter=_check_sequence)
    hash: str = attrs.field(default=GENESIS_PREV_HASH, converter=_check_hash)

    def __attrs_post_init__(self) -> None:
        if (self.sequence == 0) != (self.hash == GENESIS_PREV_HASH):
            raise InvalidValue(f"line {self.sequence} cannot have the hash {self.hash}")

    @classmethod
    def at(cls, head: Head) -> Cursor:
        """Give the cursor of who is done with everything up to a line."""
        return cls(sequence=head.sequence, hash=head.hash)

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read the text of a cursor; `InvalidType`, `InvalidValue`."""
        if not isinstance(text, str):
            raise InvalidType(f"the text of a cursor is a str, not {type(text).__name__}")
        found = _CURSOR.fullmatch(text)
        if found is None:
            raise InvalidValue(f"{excerpt(text)} is no cursor: sequence, a colon, and the hash of that line")
        return cls(sequence=int(found[1]), hash=found[2])

    @property
    def head(self) -> Head:
        """The line itself."""
        return Head(self.sequence, self.hash)

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"


@attrs.frozen(kw_only=True)
class EntryCommitted:
    """An entry is in the journal, on the disk."""

    entry: JournalEntry

    @property
    def sequence(self) -> int:
        """The entry's line."""
        return self.entry.sequence

    @property
    def timestamp(self) -> datetime:
        """When it was committed (aware UTC)."""
        return self.entry.timestamp

    @property
    def cursor(self) -> Cursor:
        """Where a subscriber stands that is done with this event: saved with its own work, if it likes."""
        return Cursor(sequence=self.entry.sequence, hash=self.entry.hash)


@attrs.frozen(kw_only=True)
class ChainVerified:
    """An audit read the journal up to a line again, and found the chain to hold."""

    last_sequence: int
    last_hash: str


@attrs.frozen(kw_only=True)
class ReplayStarted:
    """The entries from a line on are told once more, in their order; `ReplayCompleted` ends them."""

    from_sequence: int


@attrs.frozen(kw_only=True)
class ReplayCompleted:
    """A replay is over; so many entries were told. What follows is new."""

    entries_count: int


LedgerEvent: TypeAlias = EntryCommitted | ChainVerified | ReplayStarted | ReplayCompleted
"""What a subscriber may be told."""
