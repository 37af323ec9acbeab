"""Verification of Ed25519 signatures (RFC 8032), as strict as libsodium.

Points of small order and encodings that are not canonical are refused, so that no signature has
two spellings and no key accepts what it did not sign.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


@cache
def _library() -> tuple[Callable[[bytes, bytes], bytes], type[Exception]]:
    """Load what verifies, when it is first needed, and what it raises."""
    from nacl.bindings import crypto_sign_open
    from nacl.exceptions import CryptoError

    return crypto_sign_open, CryptoError


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether a key made a signature over a message. Never raises for bytes."""
    crypto_sign_open, failure = _library()
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except failure:
        return False
    return True
