"""Drafts of records, genesis marks and keyrings."""

import hashlib
from typing import Any

import pytest
import rfc8785
from hypothesis import given

from bibank.errors import InvalidIdentifier, InvalidMetadata, InvalidType, InvalidValue, MissingCorrelationId
from bibank.journal.genesis import keyring_hash
from bibank.model.genesis import FORMAT, GenesisMark
from bibank.model.json_value import METADATA_LIMITS as LIMITS
from bibank.model.json_value import FrozenMap, canonical_text, freeze, thaw
from bibank.model.keyring import Keyring
from bibank.model.policy import Purpose, Role
from bibank.model.record import RecordKind, UnsignedRecord
from bibank.testing.strategies import genesis_marks


def record(**changes: Any) -> UnsignedRecord:
    """Make a record, with some arguments changed."""
    arguments: dict[str, Any] = {
        "kind": RecordKind.KEYRING_ADOPTED,
        "subject": "s",
        "correlation_id": "r1",
        "body": {"a": [1]},
    }
    return UnsignedRecord(**{**arguments, **changes})


def test_record_freezes_its_body() -> None:
    """A caller who changes the body afterwards changes nothing."""
    body: dict[str, Any] = {"a": [1]}
    draft = record(body=body)
    body["a"].append(2)
    assert draft.body == {"a": (1,)}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"kind": "keyring_adopted"}, InvalidType),
        ({"kind": None}, InvalidType),
        ({"subject": ""}, InvalidIdentifier),
        ({"subject": "x" * 129}, InvalidIdentifier),
        ({"subject": "x\n"}, InvalidIdentifier),
        ({"subject": 5}, InvalidType),
        ({"correlation_id": ""}, MissingCorrelationId),
        ({"body": None}, InvalidType),
        ({"body": [1]}, InvalidType),
        ({"body": {"a": 1.0}}, InvalidMetadata),
        ({"body": {"a": "x" * 57_344}}, InvalidMetadata),
        ({"body": {f"k{i}": 1 for i in range(4097)}}, InvalidMetadata),
    ],
)
def test_record_of_wrong_parts(changes: dict[str, Any], error: type[Exception]) -> None:
    """Each part has its typed error."""
    with pytest.raises(error):
        record(**changes)


def test_limits_of_a_body() -> None:
    """4,096 keys and 57,344 bytes pass."""
    assert len(record(body={f"k{i}": 1 for i in range(4096)}).body) == 4096
    assert len(canonical_text(record(body={"a": "x" * (57_344 - len('{"a":""}'))}).body)) == 57_344


@given(genesis_marks())
def test_ledger_id_certifies_itself(mark: GenesisMark) -> None:
    """The id is the first 128 bits of SHA-256 over keyring hash and nonce, 48 raw bytes."""
    raw = bytes.fromhex(mark.keyring_hash) + bytes.fromhex(mark.nonce)
    assert len(raw) == 48
    assert mark.ledger_id == f"{mark.name}/{hashlib.sha256(raw).hexdigest()[:32]}"
    assert mark.to_metadata() == {
        "bb.format": "bibank/1",
        "bb.keyring": mark.keyring_hash,
        "bb.ledger": mark.ledger_id,
        "bb.nonce": mark.nonce,
    }
    assert FORMAT == "bibank/1"


@pytest.mark.parametrize(
    "name", ["", "A", "-a", ".a", "a_b", "a/b", "a\n", "\u00e9", "a" * 64, "a b", "\u0661"]
)
def test_bad_ledger_names(name: str) -> None:
    """A name is `[a-z0-9][a-z0-9.-]{0,62}`."""
    with pytest.raises(InvalidValue):
        GenesisMark(name=name, keyring_hash="0" * 64, nonce="0" * 32)


@pytest.mark.parametrize("name", ["a", "0", "a.b-c", "a" * 63])
def test_good_ledger_names(name: str) -> None:
    """Digits, dots and hyphens inside."""
    assert GenesisMark(name=name, keyring_hash="0" * 64, nonce="0" * 32).name == name


@pytest.mark.parametrize("digits", ["", "0", "A", "g", "0\n", "\u0661"])
@pytest.mark.parametrize("field", ["keyring_hash", "nonce"])
def test_hex_of_a_mark(digits: str, field: str) -> None:
    """Hash and nonce are lower-case hex of exactly 64 and 32 digits."""
    good: dict[str, Any] = {"name": "a", "keyring_hash": "0" * 64, "nonce": "0" * 32}
    for bad in (good[field][:-1] + digits, good[field] + "0") if digits != "0" else (good[field] + "0",):
        with pytest.raises(InvalidValue):
            GenesisMark(**{**good, field: bad})
    for other in (None, 5, b"0" * 32):
        with pytest.raises(InvalidType):
            GenesisMark(**{**good, field: other})


def test_keyring_without_keys() -> None:
    """Every threshold is zero, but adjustments ask for what nobody can give."""
    keyring = Keyring.unsigned()
    assert keyring.version == 1
    assert {purpose: policy.threshold for purpose, policy in keyring.policies.items()} == {
        purpose: 1 if purpose is Purpose.ADJUSTMENT else 0 for purpose in Purpose
    }
    assert {policy.mandatory_from for policy in keyring.policies.values()} == {1}
    assert keyring.policies[Purpose.ADJUSTMENT].role is Role.OPERATOR
    body = thaw(FrozenMap(keyring.to_body()))
    assert keyring_hash(keyring) == hashlib.sha256(rfc8785.dumps(body)).hexdigest()


def test_keyring_body_round_trip() -> None:
    """What `to_body` gives, frozen or thawed, reads back as the keyring."""
    keyring = Keyring.unsigned()
    assert Keyring.from_body(keyring.to_body()) == keyring
    assert Keyring.from_body(freeze(keyring.to_body(), LIMITS)) == keyring


def altered_bodies() -> list[dict[str, Any]]:
    """List bodies that differ from the keyring without keys, some only in the type of a value."""
    body: dict[str, Any] = {**Keyring.unsigned().to_body()}
    line = body["policies"]["line"]
    return [
        {**body, "version": 2},
        {**body, "version": True},
        {**body, "version": "1"},
        {**body, "extra": None},
        {name: member for name, member in body.items() if name != "keys"},
        {**body, "keys": ("k",)},
        {**body, "keys": None},
        {**body, "policies": {**body["policies"], "line": {**line, "threshold": False}}},
        {**body, "policies": {**body["policies"], "line": {**line, "mandatory_from": True}}},
        {**body, "policies": {**body["policies"], "line": {**line, "threshold": 1}}},
        {},
    ]


@pytest.mark.parametrize("body", altered_bodies(), ids=canonical_text)
def test_other_keyrings_are_refused(body: dict[str, Any]) -> None:
    """A body that is spelled differently is another keyring, although True equals 1 in Python."""
    with pytest.raises(InvalidValue):
        Keyring.from_body(body)
