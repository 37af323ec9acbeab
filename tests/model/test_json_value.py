"""JSON values: what metadata may hold, deep freezing, canonical text."""

import copy
import json
import pickle
import unicodedata
from collections import OrderedDict
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from bibank.errors import InvalidMetadata, InvalidType
from bibank.model.json_value import (
    BODY_LIMITS,
    EMPTY_MAP,
    MAX_SAFE_INTEGER,
    METADATA_LIMITS,
    FrozenMap,
    canonical_text,
    check_encodable_text,
    freeze,
    thaw,
)
from bibank.testing.strategies import metadata


class Colour(str, Enum):  # noqa: UP042 - hosts still write it, and its format differs
    """Text values as a host may keep them."""

    RED = "red"


class Level(IntEnum):
    """Numbers as a host may keep them."""

    HIGH = 3


def frozen(value: Any) -> FrozenMap:
    """Freeze by the limits of metadata."""
    return freeze(value, METADATA_LIMITS)


def nested(levels: int, kind: str) -> Any:
    """Build metadata of so many levels of objects or lists, the outermost included."""
    value: Any = 1
    for _ in range(levels - 1):
        value = {"a": value} if kind == "object" else [value]
    return {"a": value}


@given(metadata())
def test_canonical_text_equals_an_independent_library(value: dict[str, Any]) -> None:
    """Frozen metadata is spelled as `rfc8785` spells what the caller gave, byte for byte."""
    kept = frozen(value)
    assert canonical_text(kept).encode() == rfc8785.dumps(value)
    assert canonical_text(value) == canonical_text(kept)
    assert json.loads(canonical_text(kept)) == value == thaw(kept)
    assert frozen(kept) == kept


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_canonical_text_of_any_json_without_floats(value: Any) -> None:
    """Names and strings of every script are sorted and escaped as `rfc8785` does it."""
    assert canonical_text(value).encode() == rfc8785.dumps(value)


@given(metadata())
def test_what_is_kept_cannot_change(value: dict[str, Any]) -> None:
    """A caller who empties its dict and lists afterwards changes nothing."""
    kept = frozen(value)
    before = canonical_text(kept)
    snapshot = copy.deepcopy(value)

    def wreck(thing: Any) -> None:
        for inner in list(thing.values()) if isinstance(thing, dict) else thing:
            if isinstance(inner, dict | list):
                wreck(inner)
        thing.clear()

    wreck(value)
    assert canonical_text(kept) == before
    assert thaw(kept) == snapshot
    assert hash(kept) == hash(frozen(snapshot))
    assert pickle.loads(pickle.dumps(kept)) == kept
    assert copy.copy(kept) is kept
    assert copy.deepcopy(kept) is kept


def test_frozen_map_is_a_mapping_without_setters() -> None:
    """It reads like a dict and cannot be written."""
    kept: Any = frozen({"b": [1, {"c": None}], "a": True})
    assert repr(kept) == "{'b': (1, {'c': None}), 'a': True}"
    assert kept["b"] == (1, {"c": None})
    assert (len(kept), list(kept), "a" in kept) == (2, ["b", "a"], True)
    with pytest.raises(TypeError):
        kept["a"] = False
    with pytest.raises(TypeError):
        del kept["a"]
    with pytest.raises(AttributeError):
        kept.extra = 1
    assert FrozenMap() == {} == EMPTY_MAP
    assert frozen({}) is EMPTY_MAP


@pytest.mark.parametrize("value", [0.0, 1.5, float("nan"), float("inf"), -0.0])
@pytest.mark.parametrize("place", [lambda v: {"a": v}, lambda v: {"a": [v]}, lambda v: {"a": {"b": v}}])
def test_floats_at_every_depth(value: float, place: Any) -> None:
    """A float is refused wherever it stands, with the advice to write it as a string."""
    with pytest.raises(InvalidMetadata, match="write it as a string"):
        frozen(place(value))


@pytest.mark.parametrize("value", [b"x", {1, 2}, object(), 1j, range(3), iter([1]), type])
def test_other_types_of_values(value: Any) -> None:
    """Bytes, sets and objects have no JSON; the message names the member."""
    with pytest.raises(InvalidMetadata, match=r"metadata\.outer\.inner"):
        frozen({"outer": {"inner": value}})


@pytest.mark.parametrize("value", [None, 0, 0.0, "", "text", [], [("a", 1)], False, b""])
def test_metadata_is_a_mapping(value: Any) -> None:
    """Something else, even something empty, is a type error."""
    with pytest.raises(InvalidType):
        frozen(value)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "A",
        "aB",
        "1a",
        "_a",
        ".a",
        "a-b",
        "a b",
        "a\n",
        "\u00e9",
        "a\u0661",
        "a" * 65,
        "a\x00",
        "\ud800",
        pytest.param("a" * 10**6, id="long"),
    ],
)
@pytest.mark.parametrize("place", [lambda key: {key: 1}, lambda key: {"a": [{"b": {key: 1}}]}])
def test_keys_outside_the_grammar(key: str, place: Any) -> None:
    """A key is `[a-z][a-z0-9_.]{0,63}` at every depth."""
    with pytest.raises(InvalidMetadata):
        frozen(place(key))


@pytest.mark.parametrize("key", [1, None, b"a", ("a",), 1.0])
def test_keys_of_another_type(key: Any) -> None:
    """A key is text."""
    with pytest.raises(InvalidMetadata):
        frozen({key: 1})


@pytest.mark.parametrize("key", ["a", "a" * 64, "a.b.c", "a_1", "z..", "bb.x"])
def test_keys_of_the_grammar(key: str) -> None:
    """Up to 64 characters, dots and underscores; the prefix `bb.` is the entry's business."""
    assert frozen({key: 1}) == {key: 1}


@pytest.mark.parametrize("number", [MAX_SAFE_INTEGER, -MAX_SAFE_INTEGER, 0])
def test_safe_integers(number: int) -> None:
    """The largest numbers that every JSON reader keeps exact."""
    assert canonical_text(frozen({"a": number})) == f'{{"a":{number}}}'


@pytest.mark.parametrize(
    "number",
    [
        MAX_SAFE_INTEGER + 1,
        -MAX_SAFE_INTEGER - 1,
        2**63,
        pytest.param(10**5000, id="huge"),
        pytest.param(-(10**5000), id="-huge"),
    ],
)
def test_integers_beyond_the_safe_range(number: int) -> None:
    """Larger ones are a typed error, even those whose text Python refuses to write."""
    with pytest.raises(InvalidMetadata, match="write it as a string"):
        frozen({"a": number})


def test_subclasses_become_plain_values() -> None:
    """Members of enumerations, ordered dicts and mapping proxies are kept as plain values."""
    kept = frozen(MappingProxyType({"a": Colour.RED, "b": Level.HIGH, "c": OrderedDict(d=(True,))}))
    assert kept == {"a": "red", "b": 3, "c": {"d": (True,)}}
    assert [type(kept["a"]), type(kept["b"]), type(kept["c"])] == [str, int, FrozenMap]
    assert canonical_text(kept) == '{"a":"red","b":3,"c":{"d":[true]}}'
    member = type("Key", (str,), {})("k")
    assert [type(key) for key in frozen({member: 1})] == [str]


@pytest.mark.parametrize("kind", ["object", "list"])
def test_depth(kind: str) -> None:
    """Four levels pass, five do not."""
    assert frozen(nested(4, kind))
    with pytest.raises(InvalidMetadata, match="nested over 4 levels"):
        frozen(nested(5, kind))


def test_depth_of_a_body() -> None:
    """A record's body has eight levels."""
    assert freeze(nested(8, "object"), BODY_LIMITS)
    with pytest.raises(InvalidMetadata, match="nested over 8 levels"):
        freeze(nested(9, "object"), BODY_LIMITS)


def test_ten_thousand_levels() -> None:
    """Nesting is refused at its limit, not at Python's."""
    with pytest.raises(InvalidMetadata):
        frozen(nested(10_000, "list"))


def test_cyclic_data() -> None:
    """A dict or list that contains itself is too deep."""
    cyclic_dict: dict[str, Any] = {}
    cyclic_dict["a"] = cyclic_dict
    cyclic_list: list[Any] = []
    cyclic_list += [cyclic_list, cyclic_list]
    for value in (cyclic_dict, {"a": cyclic_list}):
        with pytest.raises(InvalidMetadata):
            frozen(value)


def test_number_of_keys() -> None:
    """Sixty-four keys at all depths together."""
    assert frozen({f"k{i}": i for i in range(64)})
    assert frozen({"a": {f"k{i}": i for i in range(31)}, "b": [{f"k{i}": i for i in range(31)}]})
    with pytest.raises(InvalidMetadata, match="over 64 keys"):
        frozen({f"k{i}": i for i in range(65)})
    with pytest.raises(InvalidMetadata, match="over 64 keys"):
        frozen({"a": {f"k{i}": i for i in range(32)}, "b": [{f"k{i}": i for i in range(31)}]})


def test_size_in_bytes() -> None:
    """16 KiB as canonical JSON in UTF-8, exactly."""
    overhead = len('{"a":""}')
    assert frozen({"a": "x" * (16_384 - overhead)})
    with pytest.raises(InvalidMetadata, match="16385 bytes"):
        frozen({"a": "x" * (16_384 - overhead + 1)})
    assert frozen({"a": "\u00e9" * ((16_384 - overhead) // 2)})
    with pytest.raises(InvalidMetadata, match="over the limit"):
        frozen({"a": "\u00e9" * ((16_384 - overhead) // 2 + 1)})
    with pytest.raises(InvalidMetadata, match="over the limit"):
        frozen({"a": '"' * 8_189})


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"a": "x" * 10**7}, id="text"),
        pytest.param({"a": [1] * 10**6}, id="list"),
        pytest.param({"a": [[]] * 10**6}, id="lists"),
        pytest.param({f"k{i}": 1 for i in range(10**5)}, id="keys"),
        pytest.param({"a": [{}] * 20_000}, id="objects"),
    ],
)
def test_enormous_metadata(value: Any) -> None:
    """Far too much is refused before it is walked through."""
    with pytest.raises(InvalidMetadata):
        frozen(value)


@pytest.mark.parametrize(
    "text",
    [
        "a\n",
        "\t",
        "\x00",
        "\x1f",
        "\x7f",
        "\x85",
        "e\u0301",
        "A\u030a",
        "\u212b",
        "\ud800",
        "\ud83d\ude02",
        "\u0378",
        "\uffff",
        "\U0010ffff",
    ],
)
def test_text_that_is_not_clean(text: str) -> None:
    """Control characters, unassigned ones, surrogates and what is not NFC are refused on input."""
    with pytest.raises(InvalidMetadata):
        frozen({"a": text})
    with pytest.raises(InvalidMetadata):
        frozen({"a": [{"b": text}]})


@pytest.mark.parametrize(
    "text", ["", "caff\u00e8", "\u1ec7", "\u2028", "\u200d", "\ue000", "\U0001f602", "</"]
)
def test_clean_text(text: str) -> None:
    """Composed letters, separators, private and astral characters pass unchanged."""
    assert frozen({"a": text}) == {"a": text}


@given(st.text())
def test_every_text_is_kept_or_refused(text: str) -> None:
    """Text is taken exactly, or it is a typed error; normalised it may pass."""
    try:
        assert frozen({"a": text})["a"] == text
    except InvalidMetadata:
        clean = unicodedata.normalize("NFC", text) == text
        assert not clean or any(unicodedata.category(c) in ("Cc", "Cn", "Cs") for c in text)


def test_reader_checks_encoding_only() -> None:
    """A newer Unicode cannot turn an old line into corruption: a reader refuses surrogates and no more."""
    for text in ("e\u0301", "\u0378", "\x7f", "\n"):
        assert freeze({"a": text}, METADATA_LIMITS, check_text=check_encodable_text) == {"a": text}
    with pytest.raises(InvalidMetadata, match="lone surrogate"):
        freeze({"a": "\ud800"}, METADATA_LIMITS, check_text=check_encodable_text)


@pytest.mark.parametrize("value", [1.0, b"x", object(), {"a": 1.0}, [{1}], {1: 2}, {"a": 1, 2: 3}, {None: 1}])
def test_canonical_text_of_what_is_no_json(value: Any) -> None:
    """Floats, bytes and names that are no text are type errors."""
    with pytest.raises(InvalidType):
        canonical_text(value)


def test_canonical_text_of_large_integers() -> None:
    """A sequence beyond 2**53-1 is spelled exactly."""
    assert canonical_text({"sequence": 2**63 - 1}) == '{"sequence":9223372036854775807}'
    assert canonical_text([Level.HIGH, True, 1]) == "[3,true,1]"
