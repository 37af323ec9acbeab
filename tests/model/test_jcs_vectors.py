"""Canonical JSON against the published vectors of RFC 8785."""

import json
from pathlib import Path
from typing import Any

import pytest

from bibank.errors import InvalidType
from bibank.model.json_value import canonical_text

VECTORS = Path(__file__).parents[1] / "vectors" / "jcs-rfc8785"


def load(name: str, **options: Any) -> Any:
    """Read an input of the vectors."""
    return json.loads((VECTORS / "input" / f"{name}.json").read_bytes(), **options)


def expected(name: str) -> str:
    """Read the canonical text that the vectors give."""
    return (VECTORS / "output" / f"{name}.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["arrays", "french", "unicode", "weird"])
def test_vector(name: str) -> None:
    """Order by UTF-16 code units, minimal escapes, no normalisation: as published."""
    assert canonical_text(load(name)) == expected(name)


def test_structures_with_its_float_as_a_whole_number() -> None:
    """`56.0` is read as 56, since the format has no floats."""
    assert canonical_text(load("structures", parse_float=lambda text: int(float(text)))) == expected(
        "structures"
    )


def test_values_without_numbers() -> None:
    """Strings and literals are spelled as published; the member with floats is left out on both sides."""
    value = load("values")
    del value["numbers"]
    text = expected("values")
    start = text.index('"numbers"')
    end = text.index('"string"')
    assert canonical_text(value) == text[:start] + text[end:]


@pytest.mark.parametrize("name", ["structures", "values"])
def test_floats_of_the_vectors_are_refused(name: str) -> None:
    """A float has no place in the format's JSON, not even a whole one."""
    with pytest.raises(InvalidType):
        canonical_text(load(name))
