"""JSON values of metadata and record bodies: checked, deep-frozen, spelled as RFC 8785 (JCS).

The format's JSON has no floats and ASCII member names only, which makes RFC 8785 simple: members
sorted by name, no white space, strings escaped minimally. The tests hold :func:`canonical_text`
to an independent RFC 8785 library, byte for byte.

>>> canonical_text(freeze({"note": "caffè", "lines": [1, True, None]}, METADATA_LIMITS))
'{"lines":[1,true,null],"note":"caffè"}'
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from json.encoder import encode_basestring
from typing import Any, TypeAlias

import attrs

from bibank.errors import InvalidMetadata, InvalidType, excerpt

encode_string = encode_basestring
"""Spell a JSON string: RFC 8785's escapes are the standard library's without `ensure_ascii`."""

MAX_SAFE_INTEGER = 2**53 - 1
"""Integers that every JSON reader keeps exact (RFC 8785, section 3.2.2.3)."""

_KEY = re.compile(r"[a-z][a-z0-9_.]{0,63}", re.ASCII)
_UNWANTED_CATEGORIES = frozenset({"Cc", "Cn", "Cs"})
"""Control, unassigned, surrogate."""


class FrozenMap(Mapping[str, "JsonValue"]):
    """An immutable mapping that compares equal to a dict with the same members, and pickles."""

    __slots__ = ("_members",)

    def __init__(self, members: Mapping[str, JsonValue] | None = None) -> None:
        self._members: dict[str, JsonValue] = dict(members or {})

    def __getitem__(self, key: str) -> JsonValue:
        return self._members[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __hash__(self) -> int:
        return hash(frozenset(self._members.items()))

    def __repr__(self) -> str:
        return repr(self._members)

    def __reduce__(self) -> tuple[type[FrozenMap], tuple[dict[str, JsonValue]]]:
        return FrozenMap, (self._members,)

    def __copy__(self) -> FrozenMap:
        return self

    def __deepcopy__(self, memo: object) -> FrozenMap:
        return self


JsonValue: TypeAlias = "str | int | bool | tuple[JsonValue, ...] | FrozenMap | None"
"""What metadata and bodies are made of, after :func:`freeze`."""

EMPTY_MAP = FrozenMap()


@attrs.frozen(kw_only=True)
class JsonLimits:
    """How large one JSON object may be: nesting, keys at all depths together, bytes as JCS."""

    what: str
    depth: int
    keys: int
    size_bytes: int
    foreign_names: frozenset[str] = frozenset()
    """Member names of embedded formats that the format's own grammar does not have."""


METADATA_LIMITS = JsonLimits(what="metadata", depth=4, keys=64, size_bytes=16 * 1024)
"""Room for references and notes, not for documents: every replay reads it."""

BODY_LIMITS = JsonLimits(
    what="body", depth=8, keys=4096, size_bytes=57_344, foreign_names=frozenset({"payloadType"})
)
"""A record may hold a keyring or a signed envelope and still fit into a line."""


def check_clean_text(text: str, *, what: str) -> None:
    """Refuse text that is not NFC or has control, unassigned or surrogate characters.

    For input only: a reader must not judge by its own, newer or older, Unicode tables.
    """
    if text.isascii():
        if text.isprintable():
            return
    elif unicodedata.is_normalized("NFC", text) and not any(
        unicodedata.category(character) in _UNWANTED_CATEGORIES for character in text
    ):
        return
    raise InvalidMetadata(
        f"{what} {excerpt(text)} must be NFC text without control or unassigned characters; "
        f"unicodedata.normalize('NFC', text) and str.replace help"
    )


def check_encodable_text(text: str, *, what: str) -> None:
    """Refuse lone surrogates, which have no UTF-8: all that a reader checks."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidMetadata(f"{what} {excerpt(text)} has a lone surrogate") from None


def freeze(
    value: object, limits: JsonLimits, *, check_text: Callable[..., None] = check_clean_text
) -> FrozenMap:
    """Check and deep-copy a JSON object into immutable values.

    Raises `InvalidMetadata`, naming the path of the offending member, or `InvalidType` when the
    object itself is no mapping.
    """
    if not isinstance(value, Mapping):
        raise InvalidType(f"{limits.what} is a mapping, not {type(value).__name__}")
    if not value:
        return EMPTY_MAP
    frozen = _Freezer(limits, check_text).mapping(value, path=limits.what, depth=1)
    size = len(canonical_text(frozen).encode())
    if size > limits.size_bytes:
        raise InvalidMetadata(f"{limits.what} of {size} bytes is over the limit of {limits.size_bytes}")
    return frozen


class _Freezer:
    """One walk over caller data, with a budget that bounds the work before the result is measured."""

    def __init__(self, limits: JsonLimits, check_text: Callable[..., None]) -> None:
        self.limits = limits
        self.check_text = check_text
        self.keys = 0
        self.nodes = 0

    def mapping(self, value: Mapping[Any, object], *, path: str, depth: int) -> FrozenMap:
        members = list(value.items())
        self.keys += len(members)
        if self.keys > self.limits.keys:
            raise InvalidMetadata(f"{self.limits.what} has over {self.limits.keys} keys")
        frozen: dict[str, JsonValue] = {}
        for key, member in members:
            if not isinstance(key, str) or not (_KEY.fullmatch(key) or key in self.limits.foreign_names):
                raise InvalidMetadata(f"{path}: key {excerpt(key)} is not [a-z][a-z0-9_.]{{0,63}}")
            frozen[str.__str__(key)] = self.value(member, path=f"{path}.{key}", depth=depth)
        return FrozenMap(frozen)

    def value(self, value: object, *, path: str, depth: int) -> JsonValue:
        self.nodes += 1
        if self.nodes > self.limits.size_bytes:
            raise InvalidMetadata(f"{self.limits.what} is over the limit of {self.limits.size_bytes} bytes")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            if len(value) > self.limits.size_bytes:
                raise InvalidMetadata(f"{path} is over the limit of {self.limits.size_bytes} bytes")
            self.check_text(value, what=path)
            return str.__str__(value)
        if isinstance(value, int):
            if abs(value) > MAX_SAFE_INTEGER:
                raise InvalidMetadata(f"{path}: {excerpt(value)} is beyond 2**53-1; write it as a string")
            return int(value)
        if not isinstance(value, (Mapping, list, tuple)):
            advice = (
                "write it as a string"
                if isinstance(value, float)
                else "use str, int, bool, None, list or dict"
            )
            raise InvalidMetadata(f"{path}: {type(value).__name__} is not allowed; {advice}")
        if depth >= self.limits.depth:
            raise InvalidMetadata(f"{path} is nested over {self.limits.depth} levels")
        if isinstance(value, Mapping):
            return self.mapping(value, path=path, depth=depth + 1)
        return tuple(
            self.value(item, path=f"{path}[{index}]", depth=depth + 1)
            for index, item in enumerate(tuple(value))
        )


def canonical_text(value: object) -> str:
    """Spell a JSON value as RFC 8785 does.

    Takes mappings with `str` names, lists, tuples, `str`, `int`, `bool` and None; anything else,
    floats included, is an `InvalidType`. Integers beyond 2**53-1 are spelled exactly, where RFC 8785
    has no answer.
    """
    if isinstance(value, str):
        return encode_string(value)
    if isinstance(value, FrozenMap):  # nearly all others; its dict is faster to ask
        return _object_text(value._members)  # noqa: SLF001 - of this module
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, Mapping):
        return _object_text(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(canonical_text, value)) + "]"
    raise InvalidType(f"{type(value).__name__} has no place in the format's JSON")


def _object_text(value: Mapping[str, object]) -> str:
    members = [f"{encode_string(name)}:{canonical_text(value[name])}" for name in _sorted_names(value)]
    return "{" + ",".join(members) + "}"


def _sorted_names(value: Mapping[str, object]) -> list[str]:
    """Sort names by UTF-16 code units (RFC 8785, 3.2.3): the order of code points for all but rare ones."""
    try:
        names = sorted(value)
        if not "".join(names).isascii():
            names.sort(key=lambda name: name.encode("utf-16-be", "surrogatepass"))
    except TypeError:
        raise InvalidType("the names of a JSON object are str") from None
    return names


def thaw(value: JsonValue) -> Any:  # noqa: ANN401 - plain JSON data has no narrower type
    """Give plain dicts and lists, for callers that want to change or to serialise them."""
    if isinstance(value, FrozenMap):
        return {name: thaw(member) for name, member in value.items()}
    if isinstance(value, tuple):
        return [thaw(item) for item in value]
    return value
