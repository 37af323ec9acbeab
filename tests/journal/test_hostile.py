"""Hostile lines: whatever they hold, a typed error in bounded work, and one reading of the same bytes."""

import copy
import json
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import bibank as bb
from bibank.errors import BibankError, MalformedLine
from bibank.journal.codec import MAX_LINE_BYTES, decode_line, parse_object
from bibank.journal.drafts import deposit
from bibank.journal.reference import encode_line
from bibank.model.account import AccountKey
from bibank.model.amount import Amount, SignedAmount
from bibank.model.genesis import GenesisMark
from bibank.model.identifier import check_identifier
from bibank.model.keyring import check_signer_id
from bibank.model.money import Money
from bibank.model.timestamp import parse_timestamp
from tests.journal.machines import ALICE, BOB, NOON, found, members, spell

MEGABYTE = 1 << 20
DEEP = 100_000
LONG = 10**6

HASH = "ab" * 32
FULL: dict[str, Any] = {
    "sequence": 12,
    "prev_hash": HASH,
    "hash": HASH,
    "timestamp": "2026-01-25T12:00:00.000001Z",
    "intent": "transfer",
    "correlation_id": "r1",
    "causality_id": "3",
    "batch": {"cover": "group", "first": 11, "group": 10, "size": 3},
    "postings": [
        {"account": ALICE, "amount": "5", "side": "debit"},
        {"account": BOB, "amount": "5", "side": "credit"},
    ],
    "metadata": {"a": {"b": {"c": {"d": 1}}}, "list": [1, {"e": "x"}], "note": "y"},
    "signatures": [
        {
            "signer_id": "SYSTEM",
            "algorithm": "ed25519",
            "public_key": "00" * 32,
            "signature": "11" * 64,
            "signed_at": "2026-01-25T12:00:00Z",
        }
    ],
}
LINES: dict[str, dict[str, Any]] = {"entry": FULL, "record": members(found()[1][1])}
PLACEHOLDER = "placeholder"

Path = tuple[str | int, ...]


def refused(data: bytes) -> str:
    """Demand the one typed error, with a text of bounded length, and give it."""
    with pytest.raises(MalformedLine) as caught:
        decode_line(data)
    assert len(str(caught.value)) < 1_000
    return str(caught.value)


def places(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Give every value in a JSON document, with the way to it."""
    names = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for name in names:
        yield (*path, name), value[name]
        yield from places(value[name], (*path, name))


def with_text(line: dict[str, Any], path: Path, text: str) -> bytes:
    """Spell a line with any bytes in the place of one value."""
    changed = copy.deepcopy(line)
    holder: Any = changed
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = PLACEHOLDER
    spelled = spell(changed)
    assert spelled.count(f'"{PLACEHOLDER}"'.encode()) == 1
    return spelled.replace(f'"{PLACEHOLDER}"'.encode(), text.encode("utf-8", "surrogatepass"))


FREE = (("metadata",), ("body", "ledger"))
"""Where a text has no grammar, or none that can be judged without the lines before."""


def strings(line: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Give every text in a line that has a grammar."""
    for path, value in places(line):
        if isinstance(value, str) and not any(path[: len(free)] == free for free in FREE):
            yield path, value


@pytest.fixture(params=LINES, ids=list(LINES))
def line(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A line that is accepted as it stands."""
    found: dict[str, Any] = LINES[request.param]
    assert encode_line(decode_line(spell(found))) == spell(found)
    return found


@pytest.fixture
def bounded() -> Iterator[None]:
    """Demand that a test takes little memory at its peak."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 * MEGABYTE


# --------------------------------------------------------------------------- length, nesting, digits


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize(
    "text",
    [
        "[" * DEEP,
        "[" * DEEP + "]" * DEEP,
        '{"a":' * DEEP,
        '{"a":' * DEEP + "1" + "}" * DEEP,
        '{"a":[' * DEEP,
        '{"a":"[","b":' + "[" * DEEP + "]" * DEEP + "}",
        '{"a":"\\"' + "[" * DEEP + '","b":' + "[" * 17 + "]" * 17 + "}",
    ],
    ids=["open", "closed", "objects", "closed-objects", "both", "beside-text", "behind-brackets-in-text"],
)
def test_a_hundred_thousand_levels(text: str) -> None:
    """Nesting is counted before anything is parsed, and what a line cannot hold is not even counted."""
    with pytest.raises(MalformedLine, match="nested over 16 levels"):
        parse_object(text)
    refused(text.encode())


def test_brackets_that_are_no_nesting(line: dict[str, Any]) -> None:
    """Brackets in a text and brackets that were closed do not count, however many there are."""
    closed = "[" + ",".join(["[]"] * 20_000) + "]"
    assert parse_object('{"a":' + closed + "}") == {"a": [[]] * 20_000}
    assert parse_object(json.dumps({"a": "[{" * DEEP})) == {"a": "[{" * DEEP}


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_million_digits(sign: str) -> None:
    """An integer is measured before it is read: a million digits cost nothing."""
    with pytest.raises(MalformedLine, match=r"is beyond 2\*\*63-1") as caught:
        parse_object(f'{{"sequence":{sign}{"9" * LONG}}}')
    assert len(str(caught.value)) < 200
    refused(with_text(FULL, ("sequence",), sign + "9" * LONG))
    assert "beyond 2**63-1" in refused(with_text(FULL, ("sequence",), sign + "9" * 60_000))


def test_many_digits_in_every_number(line: dict[str, Any]) -> None:
    """No number of a line has room for more than 19 digits."""
    numbers = [path for path, value in places(line) if type(value) is int]
    assert len(numbers) > 3
    for path in numbers:
        for text in ("9" * 5_000, "1" + "0" * 19, str(2**63), str(-(2**63))):
            refused(with_text(line, path, text))


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("data", [b" ", b"{", b"[", b'"', b"\\", b"9", b"\x00", b"\xff", b"\xe2\x80\xa8"])
def test_a_line_that_is_too_long(data: bytes) -> None:
    """Length comes first: three megabytes of anything are refused without a look at them."""
    long = data * (3 * MEGABYTE // len(data))
    assert refused(long) == f"the line is {len(long)} bytes, over the limit of {MAX_LINE_BYTES}"


@pytest.mark.parametrize("error", [RecursionError("too deep"), ValueError("x" * 10_000)])
def test_whatever_the_parser_raises_is_typed(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A parser of another Python version may give up in its own way; it is a malformed line all the same."""

    def loads(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("bibank.journal.codec.json.loads", loads)
    assert "is not JSON" in refused(spell(FULL))


# --------------------------------------------------------------------------- names and numbers


def doubled(value: Any, path: Path, *, instead: str | None = None) -> str:
    """Spell a document in which the member at one path stands twice, the first time with another value."""
    if isinstance(value, dict):
        parts = []
        for name, member in value.items():
            spelled = doubled(member, path[1:] if path[:1] == (name,) else (), instead=instead)
            if path == (name,):
                parts.append(f"{json.dumps(name)}:{spelled if instead is None else instead}")
            parts.append(f"{json.dumps(name)}:{spelled}")
        return "{" + ",".join(parts) + "}"
    if isinstance(value, list):
        items = (
            doubled(item, path[1:] if path[:1] == (index,) else (), instead=instead)
            for index, item in enumerate(value)
        )
        return "[" + ",".join(items) + "]"
    return json.dumps(value)


def test_doubled_names_at_every_depth(line: dict[str, Any]) -> None:
    """A name that stands twice in an object is refused wherever it is, with equal values or others."""
    paths = [path for path, _ in places(line) if isinstance(path[-1], str)]
    assert max(map(len, paths)) >= 3
    for path in paths:
        for instead in (None, "null", "{}"):
            assert "same name twice" in refused(doubled(line, path, instead=instead).encode())


def test_doubled_names_in_disguise() -> None:
    """An escape does not make another name of it."""
    data = with_text(FULL, ("metadata",), '{"a":1,"\\u0061":1}')
    assert "same name twice" in refused(data)


NO_INTEGERS = ("NaN", "Infinity", "-Infinity", "1.0", "0.5", "1e2", "1E400", "1e-999999999")
NO_NUMBERS = (*NO_INTEGERS, "-0", "01", "1.", ".5", "+1", "0x1", "1_0", "")


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_other_numbers_in_every_place(line: dict[str, Any], text: str) -> None:
    """What is no plain integer is refused in the place of every value, at every depth."""
    tried = 0
    for path, _ in places(line):
        refused(with_text(line, path, text))
        tried += 1
    assert tried > 20


# --------------------------------------------------------------------------- texts

SURROGATES = {
    "escaped-high": '"\\ud800"',
    "escaped-low": '"\\udfff"',
    "escaped-pair-reversed": '"\\udc00\\ud800"',
    "escaped-high-and-letter": '"\\ud83dx"',
    "raw-high": '"\ud800"',
    "raw-low": '"\udfff"',
    "raw-pair": '"\ud83d\ude02"',
}


@pytest.mark.parametrize("text", SURROGATES.values(), ids=SURROGATES)
def test_surrogates_in_every_text(line: dict[str, Any], text: str) -> None:
    """Half a character, escaped or as it is, is refused in every place, and so is it as a name."""
    tried = 0
    for path, value in places(line):
        if isinstance(value, str):
            refused(with_text(line, path, text))
            tried += 1
    assert tried > 10
    if line is FULL:
        refused(with_text(line, ("metadata",), "{" + text + ":1}"))


DIGITS = {"arabic": 0x660, "wide": 0xFF10, "devanagari": 0x966, "bold": 0x1D7CE}


@pytest.mark.parametrize("zero", DIGITS.values(), ids=DIGITS)
def test_digits_of_other_scripts_in_every_text(line: dict[str, Any], zero: int) -> None:
    """What Python's own `int` and `Decimal` would read as a digit is none here."""
    assert int(chr(zero + 7)) == 7
    tried = 0
    for path, value in strings(line):
        for index, character in enumerate(value):
            if character in "0123456789":
                other = value[:index] + chr(zero + int(character)) + value[index + 1 :]
                refused(with_text(line, path, json.dumps(other, ensure_ascii=False)))
                tried += 1
    assert tried > 100
    refused(with_text(line, ("sequence",), chr(zero + 1)))


def test_a_newline_behind_every_text(line: dict[str, Any]) -> None:
    """A grammar ends where the text ends, not before its last newline; other white space is none either."""
    tried = 0
    for path, value in strings(line):
        inner = path[-1] in ("correlation_id", "subject", "signer_id")  # ids may hold spaces
        for tail in ("\n", "\t", "\r", "\0", "\u2028", "\u00a0", *(() if inner else " ")):
            refused(with_text(line, path, json.dumps(value + tail, ensure_ascii=False)))
            refused(with_text(line, path, json.dumps(tail + value, ensure_ascii=False)))
            tried += 1
    assert tried > 60


READERS: dict[str, tuple[Callable[[str], object], str]] = {
    "account": (AccountKey, "LIAB:USER:A1:USDT:AVAILABLE"),
    "amount": (Amount, "12.5"),
    "signed-amount": (SignedAmount, "-12.5"),
    "money": (Money, "12.5 USDT"),
    "timestamp": (parse_timestamp, "2026-01-25T12:00:00.000001Z"),
    "identifier": (lambda text: check_identifier(text, name="id"), "r-1"),
    "signer": (check_signer_id, "ANNA_1"),
    "ledger-name": (lambda text: GenesisMark(name=text, keyring_hash=HASH, nonce="0" * 32), "books-1"),
    "nonce": (lambda text: GenesisMark(name="a", keyring_hash=HASH, nonce=text), "1" * 32),
}


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("name", READERS)
def test_texts_of_a_caller(name: str) -> None:
    """Every text that is read by a grammar: to its very end, in ASCII, and not beyond its length."""
    read, good = READERS[name]
    read(good)
    for bad in (
        *(good + tail for tail in ("\n", "\r\n", "\t", "\0", "\u2028")),
        *("\n" + good, "\ufeff" + good, good.replace("1", "\u0661"), good.replace("1", "\uff11")),
        *(good * (LONG // len(good)), "1" * LONG, "A" * LONG, "a" * LONG, "\ud800", "", "\n"),
        *(() if name == "identifier" else (f"{good} ", f"../{good}", f"{good}/..")),  # an id is opaque
    ):
        with pytest.raises(BibankError) as caught:
            read(bad)
        assert len(str(caught.value)) < 1_000


# --------------------------------------------------------------------------- data of a caller


class MeddlingClock:
    """A clock that changes what the caller gave while the ledger is at work, inside its lock."""

    def __init__(self) -> None:
        self.meddle: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        """Give the time, and do mischief."""
        self.meddle()
        return NOON.astimezone(UTC)


def test_data_of_a_caller_is_frozen_before_the_lock() -> None:
    """Whoever changes its dict after the call began, even before the line is hashed, changes nothing."""
    clock = MeddlingClock()
    given: dict[str, Any] = {"note": "mine", "list": [1, {"deep": "mine"}]}
    with bb.Ledger.in_memory(clock=clock) as ledger:
        draft = deposit("ALICE", "5 USDT", correlation_id="r1", metadata=given)

        def meddle() -> None:
            given["list"][1]["deep"] = 0.5
            given["list"].append(given)
            given["extra"] = object()

        clock.meddle = meddle
        entry = ledger.commit(draft)
        assert "extra" in given
        assert dict(ledger.entry(entry.sequence).metadata) == {"list": (1, {"deep": "mine"}), "note": "mine"}
        given["note"] = "changed"
        assert ledger.entry(entry.sequence).metadata["note"] == "mine"
        ledger.audit()
