"""Finding a line by its sequence in a file that nobody has indexed: binary search.

Every line begins with `{"sequence":N,`, and sequences rise by one a line; so a line in a file of millions is
found in some twenty looks. What is found is not verified here: whoever asks holds the line to its hash.
"""

from __future__ import annotations

import re

from bibank.journal.codec import MAX_LINE_BYTES
from bibank.store.jsonl.files import Files

_NUMBER = re.compile(rb'\{"sequence":([1-9][0-9]{0,18}),', re.ASCII)
_NUMBER_BYTES = 34
"""The longest match of that pattern."""

_LOOKS = (4096, MAX_LINE_BYTES + 1 + _NUMBER_BYTES)
"""Bytes read at each look: several lines of common size, or else surely the beginning of one."""

_WALK_BYTES = 1 << 14
"""A stretch that is shorter is walked through."""


def first_number(files: Files, name: str) -> int | None:
    """Read the sequence of the first line of a file; None when it does not begin like a line."""
    return _number(files.read(name, offset=0, size=_NUMBER_BYTES))


def seek(files: Files, name: str, *, sequence: int, stop: int) -> tuple[int, int] | None:
    """Find a line before an offset: where to begin reading, and how many lines to skip there.

    None where the file does not look like lines in order.
    """
    low, number = 0, first_number(files, name)
    high = stop
    if number is None or number > sequence:
        return None
    while high - low > _WALK_BYTES:
        middle = (low + high) // 2
        found = _next_line(files, name, middle, stop=high)
        if found is None:  # no line begins in between
            high = middle
            continue
        at, there = found
        if there is None:
            return None
        if there <= sequence:
            low, number = at, there
        else:
            high = middle
    return low, sequence - number


def _next_line(files: Files, name: str, offset: int, *, stop: int) -> tuple[int, int | None] | None:
    """Find the first line that begins behind an offset and before another, and its sequence."""
    for size in _LOOKS:
        data = files.read(name, offset=offset, size=size)
        at = data.find(b"\n") + 1
        if at and offset + at >= stop:
            return None
        if at and at + _NUMBER_BYTES <= len(data):
            return offset + at, _number(data[at:])
        if len(data) < size:  # the end of the file
            return (offset + at, _number(data[at:])) if at else None
    return None


def _number(data: bytes) -> int | None:
    found = _NUMBER.match(data)
    return None if found is None else int(found[1])
