"""Signing: signers, keyrings and key files. The only room that knows `nacl`.

>>> from bibank.signing import Ed25519Signer
>>> signer = Ed25519Signer(bytes(32), signer_id="SYSTEM")
>>> signer
<Ed25519Signer SYSTEM 3b6a27bc...>

`from_environment` and `from_key_file` read the outside world; they live with the home and are
loaded when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bibank.keystore import from_environment, from_key_file, make_key_file
    from bibank.model.keyring import Keyring, KeyringChange, KeyringKey, KeyStatus, NewKey
    from bibank.model.policy import SIGNED_POLICIES, AdjustmentPurpose, ApprovalTerms, Policy, Purpose, Role
    from bibank.signing.dsse import Envelope
    from bibank.signing.keyfile import Cost
    from bibank.signing.signer import BatchSigner, Ed25519Signer, Signer
    from bibank.signing.verify import verify_ed25519

__all__ = [
    "SIGNED_POLICIES",
    "AdjustmentPurpose",
    "ApprovalTerms",
    "BatchSigner",
    "Cost",
    "Ed25519Signer",
    "Envelope",
    "KeyStatus",
    "Keyring",
    "KeyringChange",
    "KeyringKey",
    "NewKey",
    "Policy",
    "Purpose",
    "Role",
    "Signer",
    "from_environment",
    "from_key_file",
    "make_key_file",
    "verify_ed25519",
]

_PLACES = {
    **dict.fromkeys(("from_environment", "from_key_file", "make_key_file"), "bibank.keystore"),
    **dict.fromkeys(
        ("KeyStatus", "Keyring", "KeyringChange", "KeyringKey", "NewKey"),
        "bibank.model.keyring",
    ),
    **dict.fromkeys(
        ("SIGNED_POLICIES", "AdjustmentPurpose", "ApprovalTerms", "Policy", "Purpose", "Role"),
        "bibank.model.policy",
    ),
    **dict.fromkeys(("BatchSigner", "Ed25519Signer", "Signer"), "bibank.signing.signer"),
    "Cost": "bibank.signing.keyfile",
    "Envelope": "bibank.signing.dsse",
    "verify_ed25519": "bibank.signing.verify",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'bibank.signing' has no attribute {name!r}")
    return getattr(import_module(place), name)
