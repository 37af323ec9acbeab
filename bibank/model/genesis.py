"""The genesis mark: format, keyring and nonce, from which the ledger id certifies itself.

`<name>/<first 32 hex digits of SHA-256(keyring hash, nonce)>`: whoever pinned that one string can
tell whether a journal's first line is the one it was pinned from.
"""

from __future__ import annotations

import hashlib
import re

import attrs

from bibank.errors import InvalidType, InvalidValue, excerpt

FORK_PREFIX = "fork."
"""How the id of a fork begins; the id of the ledger that it left follows."""

FORMAT = "bibank/1"
"""The only format that this version writes and reads."""

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}", re.ASCII)
_SHA256_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NONCE_HEX = re.compile(r"[0-9a-f]{32}", re.ASCII)
NONCE_BYTES = 16
_FINGERPRINT_DIGITS = 32


def _check(value: object, pattern: re.Pattern[str], what: str) -> str:
    if not isinstance(value, str):
        raise InvalidType(f"a {what} is a str, not {type(value).__name__}")
    if pattern.fullmatch(value) is None:
        raise InvalidValue(f"{what} {excerpt(value)} is not {pattern.pattern}")
    return value


def _check_name(value: object) -> str:
    return _check(value, _NAME, "ledger name")


def _check_keyring_hash(value: object) -> str:
    return _check(value, _SHA256_HEX, "keyring hash")


def _check_nonce(value: object) -> str:
    return _check(value, _NONCE_HEX, "nonce")


@attrs.frozen(kw_only=True)
class GenesisMark:
    """What line 1 says of its ledger.

    `name` is the host's, `keyring_hash` is SHA-256 of JCS(keyring version 1 without its ledger id),
    `nonce` is 16 random bytes; both in lower-case hex.
    """

    name: str = attrs.field(converter=_check_name)
    keyring_hash: str = attrs.field(converter=_check_keyring_hash)
    nonce: str = attrs.field(converter=_check_nonce)

    @property
    def ledger_id(self) -> str:
        """The id that this mark certifies."""
        digest = hashlib.sha256(bytes.fromhex(self.keyring_hash) + bytes.fromhex(self.nonce)).hexdigest()
        return f"{self.name}/{digest[:_FINGERPRINT_DIGITS]}"

    def to_metadata(self) -> dict[str, str]:
        """Give the four `bb.` members of the genesis entry's metadata."""
        return {
            "bb.format": FORMAT,
            "bb.keyring": self.keyring_hash,
            "bb.ledger": self.ledger_id,
            "bb.nonce": self.nonce,
        }
