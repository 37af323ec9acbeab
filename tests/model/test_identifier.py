"""Ids: 1 to 128 printable ASCII characters."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given

from bibank.errors import InvalidIdentifier, InvalidType, MissingCorrelationId
from bibank.model.identifier import check_correlation_id, check_identifier
from bibank.testing.strategies import identifiers


@given(identifiers())
def test_ids_pass_unchanged(text: str) -> None:
    """Printable ASCII of 1 to 128 characters is an id, quotes and backslashes included."""
    assert check_identifier(text, name="id") == text
    assert check_correlation_id(text) == text


@pytest.mark.parametrize("length", [1, 128])
def test_length_of_an_id(length: int) -> None:
    """One to 128 characters."""
    assert check_identifier("x" * length, name="id") == "x" * length


@pytest.mark.parametrize("length", [0, 129, 10**6])
def test_length_that_is_no_id(length: int) -> None:
    """Not none, and not more."""
    with pytest.raises(InvalidIdentifier):
        check_identifier("x" * length, name="id")


@pytest.mark.parametrize(
    "text", ["a\n", "\n", "\t", "a\x00", "\x7f", "\u00e9", "\u0661", "\ud800", "a\u200b"]
)
def test_characters_of_an_id(text: str) -> None:
    """Control characters, a trailing newline, other scripts and surrogates are refused."""
    with pytest.raises(InvalidIdentifier):
        check_identifier(text, name="id")
    with pytest.raises(InvalidIdentifier):
        check_correlation_id(text)


def test_uuid_is_its_text() -> None:
    """A UUID stands as its canonical text."""
    uuid = UUID("0189abcd-ef01-7234-89ab-cdef01234567")
    assert check_identifier(uuid, name="id") == str(uuid)
    assert check_correlation_id(uuid) == str(uuid)


@pytest.mark.parametrize("value", [5, b"r1", 1.0, ["r1"], True])
def test_id_of_another_type(value: Any) -> None:
    """Anything but text and UUIDs is a type error."""
    with pytest.raises(InvalidType):
        check_identifier(value, name="id")
    with pytest.raises(InvalidType):
        check_correlation_id(value)


@pytest.mark.parametrize("value", [None, ""])
def test_correlation_id_is_never_invented(value: Any) -> None:
    """A missing correlation id has an error of its own."""
    with pytest.raises(MissingCorrelationId):
        check_correlation_id(value)


def test_text_subclass_becomes_plain_text() -> None:
    """What is kept is exact text."""
    assert type(check_identifier(type("T", (str,), {})("r1"), name="id")) is str
