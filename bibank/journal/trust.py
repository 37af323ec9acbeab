"""The trust gate: the one protocol through which the machine asks who may sign a line.

Defined here and implemented in `bibank.signing`, so that the journal knows no cryptography.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs

from bibank.model.json_value import FrozenMap, JsonValue
from bibank.model.keyring import Keyring, KeyringKey
from bibank.model.signature import EntrySignature


@attrs.frozen(kw_only=True)
class InnerSignature:
    """A signature inside a record: the key that it names, as the keyring has it now, and whether it holds.

    `key` is None for one that was never in the keyring; a key that was given up is there, with its status.
    """

    key_id: str
    key: KeyringKey | None
    holds: bool


class TrustGate(Protocol):
    """Knows the keyring at every sequence, and judges the signatures of lines against it.

    Obligations: every method raises `InvalidValue` with the reason and changes nothing when it
    refuses. `verify` may put the cryptography off, as long as somebody learns of a failure before
    the ledger is served; `inspect` may not.
    """

    signed_from: int
    """The first sequence whose line must be signed; beyond every sequence when none must be."""

    withdrawal_limits: Mapping[str, int]
    """Units by asset: an entry that withdraws more needs approvals."""

    is_released: bool
    """Whether the lines that come are a fork's, which need no signature."""

    @property
    def keyring(self) -> Keyring:
        """The keyring in force for the next line."""

    def adopt(self, keyring: Keyring, *, ledger_id: str) -> None:
        """Begin with version 1."""

    def change(self, body: Mapping[str, JsonValue], *, sequence: int) -> None:
        """Take a `keyring_changed` record, which is in force from its own sequence on."""

    def inspect(
        self, body: Mapping[str, JsonValue], *, kind: str
    ) -> tuple[FrozenMap, tuple[InnerSignature, ...]]:
        """Give the payload of an envelope of a kind, and its signatures; `InvalidValue` when it is none."""

    def check(self, signatures: Sequence[EntrySignature], *, sequence: int) -> bool:
        """Demand that every signature's key may sign this line; tell whether they are enough."""

    def verify(self, signature: EntrySignature, *, sequence: int, digest: str, payload: bytes) -> None:
        """Demand that a signature covers the line with this hash and this signing payload."""

    def release(self, *, ledger_id: str) -> None:
        """Ask for no signature from here on: a fork is nobody's word."""

    def rollback(self, sequence: int) -> None:
        """Forget changes that are in force only after a sequence."""
