"""What a store deals in: heads and groups of opaque lines."""

from __future__ import annotations

from datetime import date

import attrs

GENESIS_PREV_HASH = "GENESIS"
"""`prev_hash` of the first line (phase 1, 5.1 rule 6)."""


@attrs.frozen
class Head:
    """The last line of a journal: its sequence and its hash. Sequence 0 before the first."""

    sequence: int = 0
    hash: str = GENESIS_PREV_HASH


@attrs.frozen(kw_only=True)
class LineGroup:
    """Lines to be appended together: one write, one sync, one file.

    `date` is the UTC date of their timestamp, `lines` are exact bytes without newlines,
    `expected_head` is where the journal must stand, `head` where it stands afterwards.
    """

    date: date
    lines: tuple[bytes, ...] = attrs.field(repr=lambda lines: f"<{len(lines)} lines>")
    expected_head: Head
    head: Head
