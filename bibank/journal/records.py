"""The record table: what each kind of record may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bibank.errors import InvalidValue
from bibank.model.json_value import JsonValue
from bibank.model.keyring import Keyring
from bibank.model.record import RecordKind

Body = Mapping[str, JsonValue]


def _check_keyring_adopted(body: Body) -> None:
    members = dict(body)
    if not isinstance(members.pop("ledger", None), str):
        raise InvalidValue("body.ledger is missing")
    Keyring.from_body(members)


def _check_keyring_changed(body: Body) -> None:
    if set(body) != {"payload", "payloadType", "signatures"}:
        raise InvalidValue("the body is no DSSE envelope")


RECORD_TABLE: Mapping[RecordKind, Callable[[Body], None]] = {
    RecordKind.KEYRING_ADOPTED: _check_keyring_adopted,
    RecordKind.KEYRING_CHANGED: _check_keyring_changed,
}


def check_record(kind: RecordKind, body: Body) -> None:
    """Hold a record's body to the schema of its kind; `InvalidValue` says what is wrong."""
    RECORD_TABLE[kind](body)
