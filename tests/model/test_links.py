"""Links: what the ledger writes into metadata comes back as it was, and in one spelling only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibank.errors import BibankError, InvalidInput, InvalidMetadata, InvalidType
from bibank.model.account import AccountCategory
from bibank.model.json_value import METADATA_LIMITS, freeze
from bibank.model.links import MAX_SEQUENCE, EntryLinks, HoldTerms, IdempotencyMark
from bibank.testing.strategies import account_keys, identifiers, metadata

_moments = st.datetimes(timezones=st.just(UTC))
_sequences = st.one_of(st.sampled_from([1, MAX_SEQUENCE]), st.integers(1, MAX_SEQUENCE))
_marks = st.builds(
    IdempotencyMark, key=identifiers(), digest=st.binary(min_size=32, max_size=32).map(bytes.hex)
)
_terms = st.builds(
    HoldTerms,
    payee=st.one_of(st.none(), account_keys(categories=(AccountCategory.LIABILITY,))),
    expires_at=st.one_of(st.none(), _moments),
)
_ties: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"opens": _terms}),
    st.fixed_dictionaries({"hold": _sequences}),
    st.fixed_dictionaries({"reverses": _sequences}),
)


@st.composite
def links(draw: st.DrawFn) -> EntryLinks:
    """Draw links that may stand on one entry."""
    return EntryLinks(
        effective_at=draw(st.one_of(st.none(), _moments)),
        idempotency=draw(st.one_of(st.none(), _marks)),
        **draw(_ties),
    )


@given(links(), metadata())
def test_links_come_back(found: EntryLinks, free: dict[str, Any]) -> None:
    """Written into metadata among free members and read again they are equal."""
    members = found.to_metadata()
    assert all(name.startswith("bb.") for name in members)
    read = EntryLinks.from_metadata(freeze({**free, **members}, METADATA_LIMITS))
    assert read == (found if members else None)
    assert found.cause == (found.hold if found.hold is not None else found.reverses)


DIGEST = "0a" * 32
HOSTILE: list[dict[str, Any]] = [
    {"bb.hold": value}
    for value in (
        7,
        "",
        "0",
        "07",
        "+7",
        "-7",
        " 7",
        "7 ",
        "7\n",
        "7.0",
        "1e3",
        "\u0667",
        str(2**63),
        "x",
        None,
        True,
        ["7"],
    )
]
_NO_SEQUENCES: tuple[Any, ...] = (7, "0", "01", str(10**18 * 10), None, {})
HOSTILE += [{"bb.reverses": value} for value in _NO_SEQUENCES]
HOSTILE += [
    {"bb.effective_at": value}
    for value in (
        "2026-01-25T12:00:00+00:00",
        "2026-01-25T12:00:00.0Z",
        "2026-01-25T12:00:00.000000Z",
        "2026-01-25 12:00:00Z",
        "2026-01-25T24:00:00Z",
        "2026-01-25",
        "",
        5,
        None,
    )
]
HOSTILE += [{"bb.idempotency_key": "k"}, {"bb.idempotency_digest": DIGEST}]
HOSTILE += [
    {"bb.idempotency_key": key, "bb.idempotency_digest": digest}
    for key, digest in (
        ("", DIGEST),
        ("x" * 129, DIGEST),
        ("k\n", DIGEST),
        ("caff\u00e8", DIGEST),
        (5, DIGEST),
        ("k", DIGEST.upper()),
        ("k", DIGEST[1:]),
        ("k", DIGEST + "0"),
        ("k", DIGEST + "\n"),
        ("k", None),
    )
]
HOSTILE += [
    {"bb.payee": payee}
    for payee in (
        "withdrawal",
        "WITHDRAWAL ",
        "SHOP",
        "",
        "LIAB:USER:SHOP:USDT",
        "liab:user:shop:usdt:available",
        5,
        None,
    )
]
HOSTILE += [
    {"bb.expires_at": "2026-01-25T12:00:00Z"},
    {"bb.payee": "WITHDRAWAL", "bb.expires_at": "2026-01-25T12:00:00.10Z"},
    {"bb.payee": "WITHDRAWAL", "bb.expires_at": None},
    {"bb.hold": "7", "bb.reverses": "8"},
    {"bb.hold": "7", "bb.payee": "WITHDRAWAL"},
    {"bb.reverses": "7", "bb.payee": "WITHDRAWAL"},
    {"bb.unknown": "7"},
    {"bb.": "7"},
    {"bb.hold": "7", "bb.holds": "7"},
    {"bb.format": "bibank/1"},
]


@pytest.mark.parametrize("members", HOSTILE, ids=repr)
def test_other_spellings_are_refused(members: dict[str, Any]) -> None:
    """One spelling, known names, one tie: anything else is a typed error."""
    with pytest.raises(InvalidInput):
        EntryLinks.from_metadata(members)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"hold": True}, InvalidType),
        ({"hold": "7"}, InvalidType),
        ({"hold": 0}, InvalidMetadata),
        ({"reverses": 2**63}, InvalidMetadata),
        ({"reverses": 1.0}, InvalidType),
        ({"hold": 1, "reverses": 1}, InvalidMetadata),
        ({"effective_at": datetime(2026, 1, 25)}, BibankError),  # noqa: DTZ001 - naive on purpose
        ({"effective_at": "2026-01-25T12:00:00Z"}, BibankError),
        ({"idempotency": "k"}, InvalidType),
        ({"opens": "SHOP"}, InvalidType),
    ],
)
def test_links_of_other_values(arguments: dict[str, Any], error: type[BibankError]) -> None:
    """A draft's links are typed values."""
    with pytest.raises(error):
        EntryLinks(**arguments)
    with pytest.raises(InvalidType):
        HoldTerms(payee="SHOP")
