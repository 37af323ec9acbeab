"""Ids: correlation, causality, idempotency and the like: 1 to 128 printable ASCII characters."""

from __future__ import annotations

import re
from uuid import UUID

from bibank.errors import InvalidIdentifier, InvalidType, MissingCorrelationId, excerpt

MAX_ID_LENGTH = 128
"""Characters in an id: a UUID, a ULID or a W3C trace id fits, a payload does not."""

_ID = re.compile(rf"[ -~]{{1,{MAX_ID_LENGTH}}}", re.ASCII)


def check_identifier(value: object, *, name: str) -> str:
    """Return an id as text (a `UUID` becomes its text), or raise `InvalidIdentifier` / `InvalidType`."""
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, str):
        raise InvalidType(f"{name} is a str or a UUID, not {type(value).__name__}")
    if _ID.fullmatch(value) is None:
        raise InvalidIdentifier(
            f"{name} {excerpt(value)} is not 1 to {MAX_ID_LENGTH} printable ASCII characters"
        )
    return str.__str__(value)


def check_correlation_id(value: object) -> str:
    """Like :func:`check_identifier`, and `MissingCorrelationId` for None and the empty text."""
    if value is None or value == "":
        raise MissingCorrelationId(
            "correlation_id is required: give the id of the request that this belongs to"
        )
    return check_identifier(value, name="correlation_id")
