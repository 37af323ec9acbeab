"""The record table: what each kind of record may hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from bibank.errors import InvalidValue, excerpt
from bibank.model.json_value import JsonValue
from bibank.model.keyring import Keyring
from bibank.model.record import RecordKind, UnsignedRecord

MAX_SET_ASIDE = 256
"""Files that one recovery record names: who crashes more often between two commits reads the log."""

_SET_ASIDE_NAME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.jsonl\.torn-[1-9][0-9]{0,18}(?:-[1-9][0-9]{0,8})?", re.ASCII
)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)

Body = Mapping[str, JsonValue]


def _check_keyring_adopted(body: Body) -> None:
    members = dict(body)
    if not isinstance(members.pop("ledger", None), str):
        raise InvalidValue("body.ledger is missing")
    Keyring.from_body(members)


def _check_envelope(body: Body) -> None:
    if set(body) != {"payload", "payloadType", "signatures"}:
        raise InvalidValue("the body is no DSSE envelope")


def _check_recovery(body: Body) -> None:
    if set(body) != {"set_aside"}:
        raise InvalidValue("a recovery has exactly set_aside")
    files = body["set_aside"]
    if not isinstance(files, Sequence) or isinstance(files, str) or not 1 <= len(files) <= MAX_SET_ASIDE:
        raise InvalidValue(f"set_aside lists 1 to {MAX_SET_ASIDE} files of torn bytes")
    names = []
    for file in files:
        if not isinstance(file, Mapping) or set(file) != {"bytes", "file", "sha256"}:
            raise InvalidValue("a file of torn bytes has exactly bytes, file, sha256")
        size, name, digest = file["bytes"], file["file"], file["sha256"]
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise InvalidValue(f"bytes is a number of bytes, not {excerpt(size)}")
        if not isinstance(name, str) or not _SET_ASIDE_NAME.fullmatch(name):
            raise InvalidValue(f"{excerpt(name)} is not the name of a file of torn bytes")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise InvalidValue(f"sha256 is 64 lower-case hex digits, not {excerpt(digest)}")
        names.append(name)
    if len(set(names)) != len(names):
        raise InvalidValue("a file of torn bytes is listed once")


RECORD_TABLE: Mapping[RecordKind, Callable[[Body], None]] = {
    RecordKind.KEYRING_ADOPTED: _check_keyring_adopted,
    RecordKind.KEYRING_CHANGED: _check_envelope,
    RecordKind.RECOVERY: _check_recovery,
    RecordKind.RULES_ADOPTED: _check_envelope,
}


def check_record(kind: RecordKind, body: Body) -> None:
    """Hold a record's body to the schema of its kind; `InvalidValue` says what is wrong."""
    RECORD_TABLE[kind](body)


def recovery_record(files: Sequence[Mapping[str, JsonValue]], *, ledger_id: str) -> UnsignedRecord:
    """Draft what a journal says of torn bytes that were set aside; the newest files when they are many."""
    return UnsignedRecord(
        kind=RecordKind.RECOVERY,
        subject=ledger_id,
        correlation_id="recovery",
        body={"set_aside": list(files[-MAX_SET_ASIDE:])},
    )
