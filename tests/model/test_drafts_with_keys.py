"""A draft that bears a key, made in the short way and by the constructor: the same, field by field."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

import bibank as bb
from bibank.model.entry import UnsignedEntry, with_key
from bibank.model.json_value import canonical_text
from bibank.model.links import IdempotencyMark
from bibank.testing.strategies import unsigned_entries

keys = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=128)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(unsigned_entries(), keys, digests)
def test_a_draft_with_a_key_is_the_one_that_the_constructor_makes(
    draft: UnsignedEntry, key: str, digest: str
) -> None:
    """Metadata as it will be written, links and everything else."""
    mark = IdempotencyMark(key=key, digest=digest)
    try:
        expected = attrs.evolve(draft, links=attrs.evolve(draft.links, idempotency=mark))
    except bb.InvalidInput:  # a genesis has no links
        return
    found = with_key(draft, mark)
    assert found == expected
    for field in attrs.fields(UnsignedEntry):
        assert getattr(found, field.name) == getattr(expected, field.name)
    assert found.metadata_json == canonical_text(found.whole_metadata)
