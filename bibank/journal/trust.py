"""The trust gate: the one protocol through which the machine asks who may sign a line.

Defined here and implemented in `bibank.signing`, so that the journal knows no cryptography.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from bibank.model.json_value import FrozenMap, JsonValue
from bibank.model.keyring import Keyring, Purpose
from bibank.model.signature import EntrySignature


class TrustGate(Protocol):
    """Knows the keyring at every sequence, and judges the signatures of lines against it.

    Obligations: every method raises `InvalidValue` with the reason and changes nothing when it
    refuses. `verify` may put the cryptography off, as long as somebody learns of a failure before
    the ledger is served.
    """

    signed_from: int
    """The first sequence whose line must be signed; beyond every sequence when none must be."""

    def adopt(self, keyring: Keyring, *, ledger_id: str) -> None:
        """Begin with version 1."""

    def change(self, body: Mapping[str, JsonValue], *, sequence: int) -> None:
        """Take a `keyring_changed` record, which is in force from its own sequence on."""

    def authorised(self, body: Mapping[str, JsonValue], *, kind: str, purpose: Purpose) -> FrozenMap:
        """Give the payload of a signed envelope that the policy of a purpose accepts now."""

    def check(self, signatures: Sequence[EntrySignature], *, sequence: int) -> bool:
        """Demand that every signature's key may sign this line; tell whether they are enough."""

    def verify(self, signature: EntrySignature, *, sequence: int, digest: str, payload: bytes) -> None:
        """Demand that a signature covers the line with this hash and this signing payload."""

    def release(self, *, ledger_id: str) -> None:
        """Ask for no signature from here on: a fork is nobody's word."""

    def rollback(self, sequence: int) -> None:
        """Forget changes that are in force only after a sequence."""
