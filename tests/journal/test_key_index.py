"""The index of keys: every key finds its line, growth loses none, and a key costs little memory."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibank.journal import key_index
from bibank.journal.key_index import KeyIndex
from bibank.testing.strategies import identifiers

MANY = 100_000


@given(st.dictionaries(identifiers(), st.integers(1, 2**63 - 1), max_size=200), identifiers())
def test_candidates_are_those_of_a_dict(keys: dict[str, int], other: str) -> None:
    """A key's own sequence is among its candidates; another key's candidates are nearly always none."""
    index = KeyIndex()
    for key, sequence in keys.items():
        index.add(key, sequence)
    assert len(index) == len(keys)
    for key, sequence in keys.items():
        assert list(index.candidates(key)) == [sequence]
    if other not in keys:
        assert list(index.candidates(other)) == []


def test_keys_of_one_hash_are_all_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """When every key hashes to the same, each finds all, in the order of their lines, also after growth."""
    monkeypatch.setattr(key_index, "hash", lambda key: 2**64 - 1, raising=False)
    index = KeyIndex()
    for sequence in range(1, 101):
        index.add(str(sequence), sequence)
        assert set(index.candidates("any")) == set(range(1, sequence + 1))
    assert len(index) == 100


def test_keys_of_one_segment_grow_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that meet in one segment, at its last slots, are told from each other."""
    hashes = {str(number): (number << 10 | 7) * (1 if number % 2 else -1) for number in range(1, 2_000)}
    monkeypatch.setattr(key_index, "hash", hashes.__getitem__, raising=False)
    index = KeyIndex()
    for key in hashes:
        index.add(key, int(key))
    for key in hashes:
        assert list(index.candidates(key)) == [int(key)]


def test_a_key_costs_at_most_forty_bytes() -> None:
    """Measured by the sizes of the arrays at 100,000 keys."""
    index = KeyIndex()
    for number in range(1, MANY + 1):
        index.add(f"request-{number}", number)
    segments: Any = index._segments
    arrays: list[array[int]] = list(segments.values())
    used = sum(slots.itemsize * len(slots) for slots in arrays)
    assert used / MANY <= 40
    assert len(index) == MANY
    assert all(number in index.candidates(f"request-{number}") for number in range(1, MANY + 1, 997))
    assert list(index.candidates("never")) == []
