"""Signatures on a line, as values. Making and judging them is the business of `bibank.signing`."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import attrs

MAX_SIGNATURES = 16
"""Signatures on one line: the system's and a board of operators'."""


class SignatureAlgorithm(Enum):
    """Scheme and curve, closed within the format (phase 2, 5.2)."""

    ED25519 = "ed25519"
    ED25519_DIGEST = "ed25519-digest"
    SECP256K1 = "secp256k1"


class SigningMode(Enum):
    """What the ledger's own key signs: every line, or the last line of each write group."""

    ENTRY = "entry"
    GROUP = "group"


@attrs.frozen(kw_only=True)
class EntrySignature:
    """One signature: who claims to have signed, with which key, when. `public_key` is only a hint.

    `public_key` and `signature` are lower-case hex.
    """

    signer_id: str
    algorithm: SignatureAlgorithm
    public_key: str
    signature: str
    signed_at: datetime
