"""Where a journal stands, and which line may come next.

The chain (sequence, previous hash), the clock (time never runs back), and the batch marks: what
stands or falls together, and what was written together. Proposing and replaying go through the
same object, so what is sealed is what replay accepts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from operator import attrgetter

import attrs

from bibank.errors import InvalidValue
from bibank.journal.codec import MAX_BATCH_LINES
from bibank.model.entry import BatchMark
from bibank.model.lines import GENESIS_PREV_HASH, Head

MAX_GROUP_BYTES = 8 * 1024 * 1024
"""A write group is closed at this size: it bounds the memory and the tear of one write."""

_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


@attrs.define
class Position:
    """The state of the chain after a line. `timestamp` is the last line's, as text and as time."""

    sequence: int = 0
    hash: str = GENESIS_PREV_HASH
    timestamp: str = ""
    moment: datetime = _BEFORE_ALL
    group: int = 0
    """First sequence of the newest write group; 0 when the next line must start a new one."""
    group_lines: int = 0
    group_bytes: int = 0
    batch: BatchMark | None = None
    """The mark of an unfinished batch while replaying."""
    cover: str | None = None
    """Whether the newest write group is under group cover."""
    unsigned: bool = False
    """Whether its last line still lacks the signature that covers the group."""

    @property
    def head(self) -> Head:
        """The last line's sequence and hash."""
        return Head(self.sequence, self.hash)

    def copy(self) -> Position:
        """Remember the position, for a rollback."""
        return Position(*_values(self))  # each write group does this: `attrs.evolve` takes ten times as long

    def restore(self, other: Position) -> None:
        """Return to a remembered position."""
        for field in attrs.fields(Position):
            setattr(self, field.name, getattr(other, field.name))

    def next_group(self, size: int, date: str) -> int:
        """Say which write group a batch of `size` lines sealed now belongs to."""
        if self.group and self.group_bytes < MAX_GROUP_BYTES and self.may_join(size, date):
            return self.group
        return self.sequence + 1

    def has_room(self, size: int) -> bool:
        """Tell whether the open write group takes a batch of this size at the same time."""
        return (
            self.group > 0
            and self.group_bytes < MAX_GROUP_BYTES
            and self.group_lines + size <= MAX_BATCH_LINES
        )

    def may_join(self, size: int, date: str) -> bool:
        """Tell whether a batch of `size` lines of a date may stand in the current write group."""
        return self.group_lines + size <= MAX_BATCH_LINES and self.timestamp[:10] == date

    def may_follow(self, group: int, cover: str | None, timestamp: str) -> bool:
        """Tell whether a lone line of this group, cover and time may come next."""
        if group == self.sequence + 1:
            return not self.unsigned
        return cover == self.cover and self.may_join(1, timestamp[:10])

    def check_mark(self, mark: BatchMark, *, timestamp: str, moment: datetime) -> None:
        """Demand that a line with this mark may come next; `InvalidValue` says why not."""
        sequence = self.sequence + 1
        if moment < self.moment:
            raise InvalidValue(f"timestamp {timestamp} is before the previous line's {self.timestamp}")
        if self.batch is not None:
            if mark != self.batch:
                raise InvalidValue(
                    f"the batch mark differs from that of line {self.batch.first} of the same batch"
                )
            if timestamp != self.timestamp:
                raise InvalidValue(f"timestamp {timestamp} differs from {self.timestamp} within a batch")
            return
        if mark.first != sequence:
            raise InvalidValue(f"the batch of line {mark.first} is whole before line {sequence}")
        if mark.group == sequence:
            self.check_cover()
        else:
            if mark.cover != self.cover:
                raise InvalidValue(f"only some lines of write group {mark.group} are under group cover")
            if mark.group != self.group:
                raise InvalidValue(
                    f"write group {mark.group} is neither the current one ({self.group}) nor a new one"
                )
            if not self.may_join(mark.size, timestamp[:10]):
                raise InvalidValue(
                    f"write group {mark.group} straddles two dates or holds over {MAX_BATCH_LINES} lines"
                )

    def check_cover(self) -> None:
        """Demand that the group before is signed as a whole, if that is what its lines say."""
        if self.unsigned:
            raise InvalidValue(
                f"line {self.sequence} ends a write group under group cover, and is not signed"
            )

    def step(
        self,
        digest: str,
        timestamp: str,
        moment: datetime,
        group: int,
        size_bytes: int,
        lines: int = 1,
    ) -> None:
        """Move past the lines of a batch that is whole."""
        self.sequence += lines
        self.hash = digest
        self.timestamp = timestamp
        self.moment = moment
        if group != self.group:
            self.group = group
            self.group_lines = self.group_bytes = 0
        self.group_lines += lines
        self.group_bytes += size_bytes

    def advance(
        self, digest: str, mark: BatchMark, *, timestamp: str, moment: datetime, size_bytes: int
    ) -> None:
        """Move past one accepted line, which may leave its batch unfinished."""
        self.step(digest, timestamp, moment, mark.group, size_bytes)
        self.cover = mark.cover
        self.batch = mark if self.sequence < mark.first + mark.size - 1 else None


_values = attrgetter(*(field.name for field in attrs.fields(Position)))
"""Gives every field of a position, in the order in which it is made of them."""
