"""Hypothesis strategies for values: amounts, accounts, ids, metadata. Public through `strategies`."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from bibank.journal.genesis import keyring_hash
from bibank.model.account import SEGMENTS, AccountCategory, AccountKey
from bibank.model.amount import MAX_UNITS, MIN_UNITS, Amount, SignedAmount
from bibank.model.genesis import NONCE_BYTES, GenesisMark
from bibank.model.identifier import MAX_ID_LENGTH
from bibank.model.json_value import MAX_SAFE_INTEGER, METADATA_LIMITS, FrozenMap, freeze
from bibank.model.keyring import Keyring
from bibank.model.links import RESERVED_PREFIX
from bibank.model.money import MAX_PART_LENGTH, Money

_EDGE_UNITS = (1, 10**8 - 1, 10**8, 10**8 + 1, 2**63 - 1, 2**64, MAX_UNITS - 1, MAX_UNITS)
_ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def units(minimum: int, maximum: int) -> SearchStrategy[int]:
    """Draw a number of units: everyday ones, edges, and any in the range."""
    edges = [units for units in (minimum, *_EDGE_UNITS, maximum) if minimum <= units <= maximum]
    # Three ranges, so that neither everyday sums nor enormous ones are rare.
    return st.one_of(
        st.integers(minimum, min(maximum, max(minimum, 1_000 * 10**8))),
        st.sampled_from(edges),
        st.integers(minimum, maximum),
    )


def amounts(*, min_units: int = 0, max_units: int = MAX_UNITS) -> SearchStrategy[Amount]:
    """Draw an `Amount` between two numbers of 10^-8 units, both inclusive."""
    return units(min_units, max_units).map(Amount.from_units)


def signed_amounts(*, min_units: int = MIN_UNITS, max_units: int = MAX_UNITS) -> SearchStrategy[SignedAmount]:
    """Draw a `SignedAmount` between two numbers of 10^-8 units, both inclusive."""
    both = st.one_of(units(max(min_units, 0), max_units), st.integers(min_units, max_units))
    return (both if max_units > 0 else st.integers(min_units, max_units)).map(SignedAmount.from_units)


def parts(*everyday: str) -> SearchStrategy[str]:
    """Draw an owner id, an asset code or a sub-account: the seed's SCREAMING_SNAKE_CASE."""
    words = st.text(_ALPHANUMERIC, min_size=1, max_size=12)
    snake = st.lists(words, min_size=1, max_size=4).map("_".join)
    return st.one_of(st.sampled_from([*everyday, "0", "Z" * MAX_PART_LENGTH]), snake)


def assets() -> SearchStrategy[str]:
    """Draw an asset code: everyday ones, made-up ones, one of 64 characters."""
    return parts("USDT", "BTC", "EUR", "X_1")


def money() -> SearchStrategy[Money]:
    """Draw `Money`: any amount, zero included, of any asset."""
    return st.builds(Money, amounts(), assets())


def account_keys(
    *,
    categories: Sequence[AccountCategory] = tuple(AccountCategory),
    asset: str | None = None,
) -> SearchStrategy[AccountKey]:
    """Draw an `AccountKey` of some categories, in one asset or in any."""
    return st.builds(
        AccountKey.of,
        category=st.sampled_from(categories),
        segment=st.sampled_from(SEGMENTS),
        id=parts("ALICE", "BOB", "VAULT", "FEE"),
        asset=assets() if asset is None else st.just(asset),
        sub_account=parts("AVAILABLE", "LOCKED", "MAIN", "TRADING"),
    )


def identifiers() -> SearchStrategy[str]:
    """Draw an id of 1 to 128 printable ASCII characters: UUIDs, quotes, backslashes, full length."""
    edges = ["r1", " ", '"', "\\", '\\"', "\\u0041", "{}[],:", "~" * MAX_ID_LENGTH, '"' * MAX_ID_LENGTH]
    free = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=MAX_ID_LENGTH)
    return st.one_of(st.sampled_from(edges), st.uuids().map(str), free)


def texts() -> SearchStrategy[str]:
    """Draw a text that metadata may hold, in many scripts."""
    characters = st.characters(exclude_categories=("Cc", "Cn", "Cs"))
    free = st.text(characters, max_size=16).map(lambda text: unicodedata.normalize("NFC", text))
    # U+2028 breaks JavaScript, U+FB33 and U+1F602 sort differently in UTF-16, the slash may be escaped.
    edges = ["", '"', "\\", "</", "caffè", "số dư", "\u2028", "\U0001f602", "\u20ac\ue000", "x" * 300]
    return st.one_of(st.sampled_from(edges), free)


def _metadata_values() -> SearchStrategy[Any]:
    integers = st.one_of(
        st.integers(-9, 9),
        st.sampled_from([MAX_SAFE_INTEGER, -MAX_SAFE_INTEGER]),
        st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER),
    )
    values: SearchStrategy[Any] = st.one_of(st.none(), st.booleans(), integers, texts())
    for _ in range(METADATA_LIMITS.depth - 1):
        values = st.one_of(
            values,
            st.lists(values, max_size=2),
            st.dictionaries(_metadata_keys(), values, max_size=2),
        )
    return values


def _metadata_keys() -> SearchStrategy[str]:
    edges = st.sampled_from(["note", "a", "a.b", "a_1", "z" * 64, "bb", "ref.id", "x..y"])
    free = st.text("abcxyz019_.", min_size=1, max_size=8).map("k".__add__)
    return st.one_of(edges, free).filter(lambda key: not key.startswith(RESERVED_PREFIX))


def metadata() -> SearchStrategy[dict[str, Any]]:
    """Draw free metadata as a caller gives it: a dict, at most 4 levels and 64 keys, without `bb.` names."""
    return st.dictionaries(_metadata_keys(), _metadata_values(), max_size=4)


def frozen_metadata() -> SearchStrategy[FrozenMap]:
    """Draw metadata as an entry holds it."""
    return metadata().map(lambda members: freeze(members, METADATA_LIMITS))


def genesis_marks() -> SearchStrategy[GenesisMark]:
    """Draw the mark of a new ledger with the keyring that has no keys."""
    return st.builds(
        GenesisMark,
        name=st.sampled_from(["bibank", "0", "a.b-c", "z" * 63]),
        keyring_hash=st.just(keyring_hash(Keyring.unsigned())),
        nonce=st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES).map(bytes.hex),
    )
