"""The strict codec: one spelling of each line, and a typed error for everything else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibank.errors import MalformedLine
from bibank.journal.codec import (
    _STRING_OR_BRACKET,
    MAX_BATCH_LINES,
    MAX_LINE_BYTES,
    decode_line,
    parse_object,
)
from bibank.journal.drafts import deposit
from bibank.journal.reference import encode_line
from bibank.model.record import JournalLine
from tests.journal.machines import ALICE, BOB, ENTRY_ORDER, RECORD_ORDER, found, members, propose, spell
from tests.journal.values import journal_entries, journal_records

HASH = "ab" * 32
SIGNATURE = {
    "signer_id": "SYSTEM",
    "algorithm": "ed25519",
    "public_key": "00" * 32,
    "signature": "11" * 64,
    "signed_at": "2026-01-25T12:00:00Z",
}
ENTRY: dict[str, Any] = {
    "sequence": 12,
    "prev_hash": HASH,
    "hash": HASH,
    "timestamp": "2026-01-25T12:00:00Z",
    "intent": "transfer",
    "correlation_id": "r1",
    "causality_id": None,
    "postings": [
        {"account": ALICE, "amount": "5", "side": "debit"},
        {"account": BOB, "amount": "5", "side": "credit"},
    ],
    "metadata": {"note": "x"},
}
RECORD: dict[str, Any] = members(found()[1][1])


def sample_lines() -> list[bytes]:
    """Give an everyday entry, one with everything, and a record."""
    machine, lines = found()
    full = {
        **ENTRY,
        "timestamp": "2026-01-25T12:00:00.000001Z",
        "causality_id": "3",
        "batch": {"cover": "group", "first": 11, "group": 10, "size": 3},
        "metadata": {"a": [1, -2, True, None, {"b": 'caff\u00e8 \\ " \u2028'}], "b": ""},
        "signatures": [SIGNATURE],
    }
    return [
        propose(machine, deposit("ALICE", "5.5 USDT", correlation_id="r1")).lines[0],
        spell(full),
        lines[1],
    ]


SAMPLES = sample_lines()


def refused(data: bytes) -> str:
    """Demand that a line is refused with the one typed error, and give its text."""
    with pytest.raises(MalformedLine) as caught:
        decode_line(data)
    return str(caught.value)


@given(journal_entries() | journal_records())
def test_round_trip(line: JournalLine) -> None:
    """What is encoded decodes to the same value, and to nothing else."""
    data = encode_line(line)
    assert decode_line(data) == line
    assert encode_line(decode_line(data)) == data


@pytest.mark.parametrize("data", [*SAMPLES, spell(ENTRY), spell(RECORD)])
def test_samples_are_accepted(data: bytes) -> None:
    """The lines that the tests below change are lines."""
    assert encode_line(decode_line(data)) == data


@pytest.mark.parametrize("data", SAMPLES, ids=["everyday", "full", "record"])
def test_every_bit_flip(data: bytes) -> None:
    """A flipped bit is refused, or gives another line; never the same line in other bytes."""
    original = decode_line(data)
    accepted = 0
    for index in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[index] ^= 1 << bit
            accepted += survives(bytes(changed), original)
    assert accepted  # a digit of a hash or an amount may well change into another


def survives(changed: bytes, original: JournalLine) -> bool:
    """Tell whether a changed line is one; it must then be another one."""
    try:
        line = decode_line(changed)
    except MalformedLine:
        return False
    assert encode_line(line) == changed
    assert line != original
    return True


@given(st.sampled_from(SAMPLES), st.data())
def test_every_edit(data: bytes, draws: st.DataObject) -> None:
    """So are a byte set, inserted, doubled or taken out, and two pieces exchanged."""
    original = decode_line(data)
    place = draws.draw(st.integers(0, len(data) - 1))
    other = draws.draw(st.integers(0, len(data) - 1))
    byte = bytes([draws.draw(st.integers(0, 255) | st.sampled_from(b' "\\{}[]:,\t\n\r0'))])
    for changed in (
        data[:place] + byte + data[place + 1 :],
        data[:place] + byte + data[place:],
        data[:place] + data[place + 1 :],
        data[:place] + data[other:],
        data[:place] + data[place : place + 20] + data[place:],
    ):
        if changed != data:
            survives(changed, original)


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes(data: bytes) -> None:
    """Bytes are a line that spells itself, or `MalformedLine`; no other error comes out."""
    try:
        assert encode_line(decode_line(data)) == data
    except MalformedLine:
        pass


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([ENTRY, RECORD]), st.data())
def test_any_json_in_any_place(line: dict[str, Any], draws: st.DataObject) -> None:
    """A member of any JSON type is refused typed or spells itself."""
    name = draws.draw(st.sampled_from([*ENTRY_ORDER, *RECORD_ORDER]))
    data = json.dumps({**line, name: draws.draw(json_values)}, separators=(",", ":")).encode()
    try:
        assert encode_line(decode_line(data)) == data
    except MalformedLine:
        pass


@pytest.mark.parametrize("name", [name for name in ENTRY if name != "batch"])
def test_missing_member_of_an_entry(name: str) -> None:
    """Every member but `batch` and `signatures` has to be there."""
    text = refused(spell({key: value for key, value in ENTRY.items() if key != name}))
    assert name in text


@pytest.mark.parametrize("name", [name for name in RECORD if name != "batch"])
def test_missing_member_of_a_record(name: str) -> None:
    """So for records."""
    refused(spell({key: value for key, value in RECORD.items() if key != name}))


@pytest.mark.parametrize("line", [ENTRY, RECORD], ids=["entry", "record"])
def test_unknown_and_doubled_members(line: dict[str, Any]) -> None:
    """A member that the format does not know, or the same one twice, at every level."""
    data = spell(line)
    assert "unknown member" in refused(data[:-1] + b',"extra":1}')
    assert "same name twice" in refused(data[:-1] + b',"hash":"%s"}' % HASH.encode())
    assert "same name twice" in refused(b'{"sequence":12,' + data[1:])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"side":"debit"', b'"side":"debit","side":"debit"'),
        (b'"side":"debit"', b'"side":"debit","x":1'),
        (b'"note":"x"', b'"note":"x","note":"x"'),
        (b'"postings"', b'"batch":{"group":11,"group":11},"postings"'),
        (b'"postings"', b'"batch":{"group":11,"x":1},"postings"'),
    ],
)
def test_unknown_and_doubled_members_inside(old: bytes, new: bytes) -> None:
    """So in postings, metadata and marks."""
    data = spell(ENTRY)
    assert data.count(old) == 1
    refused(data.replace(old, new))


@pytest.mark.parametrize("swap", range(len(ENTRY) - 1))
def test_order_of_members(swap: int) -> None:
    """Members in another order are another spelling."""
    parts = [f'"{name}":{json.dumps(value, separators=(",", ":"))}' for name, value in ENTRY.items()]
    assert ("{" + ",".join(parts) + "}").encode() == spell(ENTRY)
    parts[swap], parts[swap + 1] = parts[swap + 1], parts[swap]
    assert "canonically" in refused(("{" + ",".join(parts) + "}").encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"account":"%s","amount":"5","side":"debit"}' % ALICE.encode(),
         b'{"amount":"5","account":"%s","side":"debit"}' % ALICE.encode()),
        (b'"sequence":12', b'"sequence": 12'),
        (b'"sequence":12', b'"sequence" :12'),
        (b'{"sequence"', b'{ "sequence"'),
        (b'{"sequence"', b' {"sequence"'),
        (b'{"sequence"', b'\n{"sequence"'),
        (b'"}}', b'"}} '),
        (b'"}}', b'"}}\n'),
        (b'"}}', b'"}}\r'),
        (b'"}}', b'"}}\x00'),
        (b'"}}', b'"}}{}'),
        (b'"}}', b'"}'),
        (b'},{', b'}, {'),
        (b'"note":"x"', b'"note":"\\u0078"'),
        (b'"note":"x"', b'"not\\u0065":"x"'),
        (b'"note":"x"', b'"note":"\\/"'),
        (b'"note":"x"', b'"note":"\\u000A"'),
        (b'"note":"x"', b'"note":"\\u00e9"'),
        (b'"note":"x"', b'"note":"\\ud83d\\ude02"'),
        (b'"note":"x"', b'"note":"\\ud800"'),
        (b'"note":"x"', b'"note":"\\udc00\\ud800"'),
        (b'"note":"x"', b'"\\ud800":"x"'),
        (b'"r1"', b'"\\u0072\\u0031"'),
        (b'"r1"', b'"\\ud800"'),
        (b'"transfer"', b'"\\u0074ransfer"'),
        (b'"transfer"', b'"TRANSFER"'),
        (b'"transfer"', b'"refund"'),
        (b'"debit"', b'"DEBIT"'),
        (b'"hash":"ab', b'"hash":"AB'),
        (b'"prev_hash":"ab', b'"prev_hash":"AB'),
        (b'"hash":"ab', b'"hash":"ag'),
        (b'"hash":"abab', b'"hash":"ab'),
        (b'"prev_hash":"abab', b'"prev_hash":"ab'),
        (b'"sequence":12', b'"sequence":12.0'),
        (b'"sequence":12', b'"sequence":1.2e1'),
        (b'"sequence":12', b'"sequence":12e0'),
        (b'"sequence":12', b'"sequence":1E1'),
        (b'"sequence":12', b'"sequence":-0'),
        (b'"sequence":12', b'"sequence":0'),
        (b'"sequence":12', b'"sequence":-12'),
        (b'"sequence":12', b'"sequence":+12'),
        (b'"sequence":12', b'"sequence":012'),
        (b'"sequence":12', b'"sequence":0x0c'),
        (b'"sequence":12', b'"sequence":NaN'),
        (b'"sequence":12', b'"sequence":Infinity'),
        (b'"sequence":12', b'"sequence":-Infinity'),
        (b'"sequence":12', b'"sequence":true'),
        (b'"sequence":12', b'"sequence":null'),
        (b'"sequence":12', b'"sequence":"12"'),
        (b'"sequence":12', b'"sequence":9223372036854775808'),
        (b'"note":"x"', b'"note":1.0'),
        (b'"note":"x"', b'"note":1e2'),
        (b'"note":"x"', b'"note":-0'),
        (b'"note":"x"', b'"note":-0.0'),
        (b'"note":"x"', b'"note":NaN'),
        (b'"note":"x"', b'"note":Infinity'),
        (b'"note":"x"', b'"note":9007199254740992'),
        (b'"note":"x"', b'"note":9223372036854775808'),
        (b'"note":"x"', b'"note":-9223372036854775808'),
        (b'"note":"x"', b'"note":tru'),
        (b'"note":"x"', b'"note":undefined'),
        (b'"note":"x"', b"'note':'x'"),
        (b'"note":"x"', b'"note":"x",'),
        (b'"note":"x"', b'"note":"a\nb"'),
        (b'"note":"x"', b'"note":"\xff"'),
        (b'"note":"x"', b'"note":"\xc0\xaf"'),
        (b'"note":"x"', b'"note":"\xe0\x80\xaf"'),
        (b'"note":"x"', b'"note":"\xed\xa0\x80"'),
        (b'"note":"x"', b'"note":"\xf4\x90\x80\x80"'),
        (b'"note":"x"', b'"note":"\xc3"'),
        (b'"note":"x"', b'"Note":"x"'),
        (b'"note":"x"', b'"note":{"a":{"a":{"a":{}}}}'),
        (b'"metadata":{"note":"x"}', b'"metadata":null'),
        (b'"metadata":{"note":"x"}', b'"metadata":[]'),
        (b'"causality_id":null', b'"causality_id":""'),
        (b'"causality_id":null', b'"causality_id":"0"'),
        (b'"causality_id":null', b'"causality_id":"01"'),
        (b'"causality_id":null', b'"causality_id":"12"'),
        (b'"causality_id":null', b'"causality_id":"13"'),
        (b'"causality_id":null', b'"causality_id":"-1"'),
        (b'"causality_id":null', b'"causality_id":"1\\n"'),
        (b'"causality_id":null', b'"causality_id":"99999999999999999999"'),
        (b'"causality_id":null', b'"causality_id":3'),
        (b'"causality_id":null', b'"causality_id":false'),
        (b'"correlation_id":"r1"', b'"correlation_id":""'),
        (b'"correlation_id":"r1"', b'"correlation_id":null'),
        (b'"correlation_id":"r1"', b'"correlation_id":"%s"' % (b"x" * 129)),
        (b'"correlation_id":"r1"', b'"correlation_id":"\\n"'),
        (b'12:00:00Z', b'12:00:00.000000Z'),
        (b'12:00:00Z', b'24:00:00Z'),
        (b'12:00:00Z', b'12:00:60Z'),
        (b'12:00:00Z', b'12:00:00+00:00'),
        (b'"amount":"5","side":"debit"', b'"amount":"5.0","side":"debit"'),
        (b'"amount":"5","side":"debit"', b'"amount":"05","side":"debit"'),
        (b'"amount":"5","side":"debit"', b'"amount":"-5","side":"debit"'),
        (b'"amount":"5","side":"debit"', b'"amount":"+5","side":"debit"'),
        (b'"amount":"5","side":"debit"', b'"amount":"5e0","side":"debit"'),
        (b'"amount":"5","side":"debit"', b'"amount":5,"side":"debit"'),
        (b'"amount":"5","side":"debit"', b'"amount":"4","side":"debit"'),
        (b'"amount":"5","side":"debit"', b'"amount":"0","side":"debit"'),
        (b'"amount":"5","side":"debit"', b'"amount":"-0","side":"debit"'),
        (b'"amount":"5","side":"debit"', b'"amount":"9999999999999999999999999999999","side":"debit"'),
        (b'"amount":"5","side":"debit"', '"amount":"\u0665","side":"debit"'.encode()),
        (b'"amount":"5","side":"debit"', b'"amount":"5\\n","side":"debit"'),
        (b'"amount":"5","side":"debit"', b'"amount":"5"'),
        (b'LIAB:USER:ALICE', b'liab:USER:ALICE'),
        (b'LIAB:USER:ALICE', b'LIAB:USER:alice'),
        (b'LIAB:USER:ALICE', b'LIAB:USER:BOB'),
        (b'LIAB:USER:ALICE', b'REV:USER:ALICE'),
        (b'LIAB:USER:ALICE:USDT', b'LIAB:USER:ALICE:BTC'),
        (b'"postings"', b'"batch":{},"postings"'),
        (b'"postings"', b'"batch":null,"postings"'),
        (b'"postings"', b'"batch":[],"postings"'),
        (b'"postings"', b'"batch":{"size":1},"postings"'),
        (b'"postings"', b'"batch":{"first":12},"postings"'),
        (b'"postings"', b'"batch":{"group":12},"postings"'),
        (b'"postings"', b'"batch":{"cover":null},"postings"'),
        (b'"postings"', b'"batch":{"cover":"batch"},"postings"'),
        (b'"postings"', b'"batch":{"cover":["group"]},"postings"'),
        (b'"postings"', b'"batch":{"size":2,"group":11},"postings"'),
        (b'"postings"', b'"batch":{"size":0},"postings"'),
        (b'"postings"', b'"batch":{"size":-1},"postings"'),
        (b'"postings"', b'"batch":{"size":true},"postings"'),
        (b'"postings"', b'"batch":{"size":"2"},"postings"'),
        (b'"postings"', b'"batch":{"size":8193},"postings"'),
        (b'"postings"', b'"batch":{"first":13},"postings"'),
        (b'"postings"', b'"batch":{"group":13},"postings"'),
        (b'"postings"', b'"batch":{"group":0},"postings"'),
        (b'"postings"', b'"batch":{"first":11},"postings"'),
        (b'"postings"', b'"batch":{"first":11,"size":1},"postings"'),
        (b'"postings"', b'"batch":{"first":10,"group":11,"size":3},"postings"'),
        (b'"note":"x"}', b'"note":"x"},"signatures":[]'),
        (b'"note":"x"}', b'"note":"x"},"signatures":null'),
        (b'"note":"x"}', b'"note":"x"},"signatures":{}'),
        (b'"note":"x"}', b'"note":"x"},"signatures":[null]'),
        (b'"note":"x"}', b'"note":"x"},"record":"keyring_adopted"'),
        (b'"transfer"', b'null'),
        (b'"transfer"', b'{}'),
    ],
)  # fmt: skip
def test_other_spellings_and_values(old: bytes, new: bytes) -> None:
    """Each rule of the line, broken once: order, white space, escapes, numbers, UTF-8, marks, values."""
    data = spell(ENTRY)
    assert old in data
    refused(data.replace(old, new, 1))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"null",
        b"1",
        b'"x"',
        b"[]",
        b"{}",
        b"[{}]",
        b"\xef\xbb\xbf" + spell(ENTRY),
        spell(ENTRY).decode().encode("utf-16"),
        b"\x00" * 100,
        b"{",
        b"}" * 100 + b"{" * 100,
    ],
)
def test_bytes_that_are_no_object(data: bytes) -> None:
    """Nothing, other JSON, a byte order mark, another encoding, unwritten space."""
    refused(data)


def test_hex_that_is_upper_case() -> None:
    """One upper-case digit in a signature or a key is another spelling."""
    for name in ("public_key", "signature"):
        for bad in ("AA" * 32, "a", "", "0g", "00\n", 5):
            refused(spell({**ENTRY, "signatures": [{**SIGNATURE, name: bad}]}))


@pytest.mark.parametrize("where", ["postings", "metadata", "top", "closed", "before a string without end"])
def test_deep_nesting(where: str) -> None:
    """Ten thousand brackets are refused at the format's limit, not at Python's."""
    deep = b"[" * 10_000 + b"]" * 10_000
    data = spell(ENTRY)
    lines = {
        "postings": data.replace(b'"postings":[', b'"postings":[' + deep + b","),
        "metadata": data.replace(b'"note":"x"', b'"note":' + deep),
        "top": deep,
        "closed": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        "before a string without end": b"[]" * 20 + b'"' + b'\\"' * 32_000,
    }
    refused(lines[where])


def test_string_without_end_takes_the_rest_of_the_line() -> None:
    """The scan for brackets looks at each byte once: it does not start again at every later quote."""
    text = '"' + '\\"' * 1_000
    found = [match[0] for match in _STRING_OR_BRACKET.finditer("[" + text)]
    assert found == ["[", text]


def test_nesting_inside_strings_does_not_count() -> None:
    """Brackets in a text are text."""
    text = "[{" * 400 + '\\"' * 20
    data = spell({**ENTRY, "metadata": {"note": text}})
    assert encode_line(decode_line(data)) == data


def test_sixteen_levels_are_counted_exactly() -> None:
    """Sixteen brackets within brackets are read, seventeen are not; closed ones do not count."""

    def nested(levels: int) -> str:
        return '{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + ',"b":[[],[],[],"[[["]}'

    assert parse_object(nested(16))["b"] == [[], [], [], "[[["]
    with pytest.raises(MalformedLine, match="nested over 16 levels"):
        parse_object(nested(17))


@pytest.mark.parametrize("digits", [20, 21, 5_000, 60_000])
@pytest.mark.parametrize("sign", [b"", b"-"])
def test_endless_integers(digits: int, sign: bytes) -> None:
    """An integer of thousands of digits is refused before it is computed."""
    number = sign + b"9" * digits
    refused(spell(ENTRY).replace(b'"sequence":12', b'"sequence":' + number))
    refused(spell(ENTRY).replace(b'"note":"x"', b'"note":' + number))


def padded(size: int) -> bytes:
    """Make an entry of exactly so many bytes, with enormous postings and too much metadata."""
    data = spell(ENTRY)
    return data.replace(b'"x"', b'"%s"' % (b"x" * (size - len(data) + 1)))


def test_length_of_a_line() -> None:
    """65,535 bytes are looked at, 65,536 are not."""
    assert len(padded(MAX_LINE_BYTES)) == 65_535
    assert "65536 bytes, over the limit" in refused(padded(65_536))
    assert "over the limit of 16384" in refused(padded(65_535))


def test_hundred_megabytes() -> None:
    """A line of 100 MB is refused by its length alone."""
    assert "over the limit of 65535" in refused(b"{" * 100_000_000)


def test_longest_line() -> None:
    """An entry of 256 long postings fits into a line and reads back."""
    legs = [
        {
            "account": f"LIAB:USER:{side.upper()}{n:03d}{'X' * 52}:{'U' * 64}:AVAILABLE",
            "amount": "1",
            "side": side,
        }
        for n in range(128)
        for side in ("debit", "credit")
    ]
    data = spell({**ENTRY, "postings": legs})
    assert 48_000 < len(data) <= MAX_LINE_BYTES
    assert encode_line(decode_line(data)) == data
    assert "257 postings" in refused(spell({**ENTRY, "postings": [*legs, legs[0]]}))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_postings(count: int) -> None:
    """A reader counts postings as well."""
    refused(spell({**ENTRY, "postings": ENTRY["postings"][:count]}))


def test_mark_at_its_limits() -> None:
    """The largest batch and the last line of one are accepted."""
    for mark in (
        {"size": MAX_BATCH_LINES},
        {"first": 5, "group": 1, "size": 8},
        {"first": 1, "group": 1, "size": 12},
    ):
        data = spell({**ENTRY, "batch": mark})
        assert encode_line(decode_line(data)) == data


def keys(count: int) -> list[dict[str, str]]:
    """Make sorted signatures of one signer with so many keys."""
    return [{**SIGNATURE, "public_key": f"{n:064x}"} for n in range(count)]


@pytest.mark.parametrize("count", [1, 2, 16])
def test_signatures(count: int) -> None:
    """One to sixteen, sorted by signer and key."""
    data = spell({**ENTRY, "signatures": keys(count)})
    assert encode_line(decode_line(data)) == data


def wrong_signatures() -> dict[str, list[Any]]:
    """List what may not stand as signatures."""
    one, two = keys(2)
    return {
        "seventeen": keys(17),
        "unsorted": [two, one],
        "twice": [one, one],
        "one key of two signers": [{**one, "signer_id": "A"}, {**one, "signer_id": "B"}],
        "unsorted signers": [{**one, "signer_id": "B"}, {**two, "signer_id": "A"}],
        "another algorithm": [{**one, "algorithm": "rsa"}],
        "no algorithm": [{key: value for key, value in one.items() if key != "algorithm"}],
        "unknown member": [{**one, "x": "1"}],
        "no signer": [{**one, "signer_id": ""}],
        "no time": [{**one, "signed_at": "now"}],
        "a number": [1],
    }


@pytest.mark.parametrize("name", wrong_signatures())
def test_wrong_signatures(name: str) -> None:
    """Too many, unsorted, doubled or made up."""
    refused(spell({**ENTRY, "signatures": wrong_signatures()[name]}))


@pytest.mark.parametrize(
    "changes",
    [
        {"record": "keyring_lost"},
        {"record": "KEYRING_ADOPTED"},
        {"record": None},
        {"subject": ""},
        {"subject": 5},
        {"subject": "x" * 129},
        {"body": None},
        {"body": []},
        {"body": {}},
        {"body": {**RECORD["body"], "ledger": None}},
        {"body": {**RECORD["body"], "version": 2}},
        {"body": {**RECORD["body"], "extra": 1}},
        {"intent": "transfer"},
        {"postings": []},
    ],
)
def test_wrong_records(changes: dict[str, Any]) -> None:
    """A record has its kind, its subject and a body by the schema of its kind."""
    line = {**RECORD, **changes}
    parts = [f'"{key}":{json.dumps(value, separators=(",", ":"))}' for key, value in line.items()]
    refused(("{" + ",".join(parts) + "}").encode())
