"""Verification of Ed25519 signatures (RFC 8032), as strict as libsodium.

Points of small order and encodings that are not canonical are refused, so that no signature has
two spellings and no key accepts what it did not sign.
"""

from __future__ import annotations

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether a key made a signature over a message. Never raises for bytes."""
    from nacl.bindings import crypto_sign_open
    from nacl.exceptions import CryptoError

    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except CryptoError:
        return False
    return True
