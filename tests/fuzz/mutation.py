"""Mutations that know what a journal looks like, beside the byte mutations of the fuzzer.

A line is changed as JSON: members dropped, doubled, exchanged, set to a value that once meant trouble or to
one from elsewhere in the same input. A journal is changed as lines and as days too.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.fuzz.journals import DAY_BREAK, parse, spell_line

BytesMutation = Callable[[bytes, int], bytes]
"""The fuzzer's own mutation, of some bytes into at most so many."""

TROUBLE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, 3, -1, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 1.5, [], {}),
    *("", "0", "1", "GENESIS", "\ud800", "caff\u00e8", "x" * 200, [[[[[[]]]]]], {"a": {"b": 1}}),
    *("debit", "credit", "transfer", "deposit", "withdrawal", "trade", "fee", "adjustment", "genesis"),
    *("keyring_adopted", "keyring_changed", "recovery", "system", "operator", "group"),
    *("ed25519", "ed25519-digest", "secp256k1", "2026-01-25T10:00:00.000001Z"),
    *("LIAB:USER:A:USDT:AVAILABLE", "EQUITY:SYSTEM:CAPITAL:USDT:MAIN"),
    *("1701411834604692317316873037158.84105727", "0.00000001"),
)  # fmt: skip


def mutate_line(data: bytes, size: int, seed: int, mutate_bytes: BytesMutation) -> bytes:
    """Change a line: as JSON three times in four, where it is JSON."""
    source = random.Random(seed)
    line = parse(data) if source.random() < 0.75 else None
    if line is None:
        return mutate_bytes(data, size)
    try:
        for _ in range(source.randint(1, 3)):
            _change(line, source)
        changed = spell_line(line)
    except (ValueError, RecursionError):
        changed = b""
    return changed if 0 < len(changed) <= size else mutate_bytes(data, size)


def mutate_journal(data: bytes, size: int, seed: int, mutate_bytes: BytesMutation) -> bytes:
    """Change a journal: one of its lines, or their order, or where its days begin."""
    source = random.Random(seed)
    lines = data.split(b"\n")
    at, other = source.randrange(len(lines)), source.randrange(len(lines))
    match source.randrange(12):
        case 0:
            return mutate_bytes(data, size)
        case 1:
            del lines[at]
        case 2:
            lines.insert(other, lines[at])
        case 3:
            lines[at], lines[other] = lines[other], lines[at]
        case 4:
            lines[at] = lines[at].removeprefix(DAY_BREAK) if DAY_BREAK in lines[at] else DAY_BREAK + lines[at]
        case 5:
            cut = source.randint(0, len(data))
            lines = [data[:cut] + bytes(source.choice((0, 0, 1, 512)))]
        case 6:
            start = source.randint(0, len(data))
            stop = min(start + source.choice((1, 64, 512, 1024)), len(data))
            lines = [data[:start] + bytes(stop - start) + data[stop:]]
        case _:
            begin = DAY_BREAK if lines[at].startswith(DAY_BREAK) else b""
            lines[at] = begin + mutate_line(
                lines[at].removeprefix(begin), size, source.randrange(2**32), mutate_bytes
            )
    changed = b"\n".join(lines)
    return changed if len(changed) <= size else mutate_bytes(data, size)


def _change(root: dict[str, Any], source: random.Random) -> None:
    """Change one value, somewhere in a JSON object."""
    places = list(_places(root))
    if not places:
        root["sequence"] = _copied(source.choice(TROUBLE))
        return
    holder, name = source.choice(places)
    other_holder, other = source.choice(places)
    match source.randrange(6):
        case 0:
            del holder[name]
        case 1 | 2:
            holder[name] = _copied(source.choice(TROUBLE))
        case 3:
            holder[name] = _copied(other_holder[other])
        case 4 if isinstance(holder, list):
            holder.insert(name, _copied(holder[name]))
        case 4:
            holder[f"{name}.x"[-64:]] = _copied(other_holder[other])
        case _:
            holder[name] = _nearby(holder[name], source)


def _places(value: Any) -> Any:
    """Give every (container, name) in a JSON value."""
    names = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for name in names:
        yield value, name
        yield from _places(value[name])


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(member) for name, member in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _nearby(value: Any, source: random.Random) -> Any:
    """Give a value that differs a little."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return value + source.choice((-1, 1, 2, 10**6))
    if isinstance(value, str) and value:
        at = source.randrange(len(value))
        return (
            value[:at]
            + source.choice(("", "0", "1", "9", "A", "a", "_", ":", "/", "\u0661"))
            + value[at + 1 :]
        )
    if isinstance(value, list):
        source.shuffle(value)
    return value
