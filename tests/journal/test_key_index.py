"""The index of keys: every key finds its line, growth loses none, and a key costs little memory."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibank.errors import InvalidValue
from bibank.journal.key_index import KeyIndex
from bibank.testing.strategies import identifiers

MANY = 100_000

PINNED = {736: "e0f61c5e5956472c07"}
"""What `request-1` under the salt `salt`, borne by line 7, is in the index."""


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
    monkeypatch.setattr(KeyIndex, "_hash", lambda self, key: 2**64 - 1)
    index = KeyIndex()
    for sequence in range(1, 101):
        index.add(str(sequence), sequence)
        assert set(index.candidates("any")) == set(range(1, sequence + 1))
    assert len(index) == 100


def test_keys_of_one_segment_grow_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that meet in one segment, at its last slots, are told from each other."""
    hashes = {str(number): (number << 10 | 7) * (1 if number % 2 else -1) for number in range(1, 2_000)}
    monkeypatch.setattr(KeyIndex, "_hash", lambda self, key: hashes[key] & 2**64 - 1)
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


@given(st.dictionaries(identifiers(), st.integers(1, 10**6), max_size=200), st.binary(max_size=16))
def test_an_index_that_was_dumped_and_loaded_answers_the_same(keys: dict[str, int], salt: bytes) -> None:
    """Its bytes are the whole of it, with the salt; and it goes on growing."""
    index, other = KeyIndex(salt), KeyIndex(salt)
    for key, sequence in keys.items():
        index.add(key, sequence)
    other.load(index.dump(), last_sequence=10**6)
    assert (other.dump(), len(other)) == (index.dump(), len(index))
    for number in range(50):
        for one in (index, other):
            one.add(f"later-{number}", 10**6 + number)
    assert other.dump() == index.dump()
    for key in (*keys, "later-7", "never"):
        assert list(other.candidates(key)) == list(index.candidates(key))


def test_the_hash_is_the_same_in_every_process() -> None:
    """Pinned: an index that a snapshot holds is read by another process, maybe another version."""
    index = KeyIndex(b"salt")
    index.add("request-1", 7)
    assert {number: data.strip(bytes(1)).hex() for number, data in index.dump().items()} == PINNED


@pytest.mark.parametrize(
    "segments",
    [
        {0: b""},
        {0: bytes(16 * 4)},
        {0: bytes(16 * 12)},
        {0: bytes(16 * 8 - 1)},
        {1024: bytes(16 * 8)},
        {-1: bytes(16 * 8)},
        {0: (1).to_bytes(8, "little") * 16},
        {0: bytes(8) + (11).to_bytes(8, "little") + bytes(16 * 7)},
    ],
)
def test_what_no_index_dumps_is_refused(segments: dict[int, bytes]) -> None:
    """Wrong sizes, numbers out of range, no empty slot, lines that are not there: and nothing is changed."""
    index = KeyIndex()
    index.add("k", 3)
    before = index.dump()
    with pytest.raises(InvalidValue):
        index.load(segments, last_sequence=10)
    assert index.dump() == before
