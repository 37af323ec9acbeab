"""The keyring: which keys may sign what, from which sequence on.

Version 1 is hashed into the ledger id; it is the root of all trust in a journal. A keyring without
keys makes an unsigned ledger: nothing has to be signed, and nothing can be approved.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import attrs

from bibank.errors import InvalidValue
from bibank.model.json_value import JsonValue, canonical_text


class Purpose(Enum):
    """What a policy speaks about."""

    LINE = "line"
    CHECKPOINT = "checkpoint"
    ADJUSTMENT = "adjustment"
    PERMIT = "permit"
    RULES = "rules"
    KEYRING = "keyring"
    SNAPSHOT = "snapshot"


class Role(Enum):
    """What a key is trusted for."""

    SYSTEM = "system"
    OPERATOR = "operator"
    OWNER = "owner"


@attrs.frozen(kw_only=True)
class Policy:
    """How many keys of a role must sign, from which sequence on. Threshold 0 asks for none."""

    role: Role
    threshold: int
    mandatory_from: int


@attrs.frozen(kw_only=True)
class Keyring:
    """One version of the trusted keys and policies of a ledger."""

    version: int
    policies: Mapping[Purpose, Policy]

    @classmethod
    def unsigned(cls) -> Keyring:
        """Version 1 without keys: every threshold is 0, but adjustments ask for what nobody can give."""
        return cls(version=1, policies=_UNSIGNED_POLICIES)

    def to_body(self) -> dict[str, JsonValue]:
        """Give the JSON members that are hashed: everything but the ledger id."""
        policies = {
            purpose.value: {
                "mandatory_from": policy.mandatory_from,
                "role": policy.role.value,
                "threshold": policy.threshold,
            }
            for purpose, policy in self.policies.items()
        }
        return {"keys": (), "policies": policies, "version": self.version}  # type: ignore[dict-item]  # plain dicts stand for frozen ones

    @classmethod
    def from_body(cls, body: Mapping[str, JsonValue]) -> Keyring:
        """Read what :meth:`to_body` gives; `InvalidValue` for anything else."""
        unsigned = cls.unsigned()
        if canonical_text(body) != canonical_text(unsigned.to_body()):  # as text: True is equal to 1
            raise InvalidValue("the keyring is not the keyring without keys, the only one this version knows")
        return unsigned


_ROLES = {
    Purpose.LINE: Role.SYSTEM,
    Purpose.CHECKPOINT: Role.SYSTEM,
    Purpose.ADJUSTMENT: Role.OPERATOR,
    Purpose.PERMIT: Role.OWNER,
    Purpose.RULES: Role.SYSTEM,
    Purpose.KEYRING: Role.SYSTEM,
    Purpose.SNAPSHOT: Role.SYSTEM,
}
_UNSIGNED_POLICIES: Mapping[Purpose, Policy] = {
    purpose: Policy(role=role, threshold=int(purpose is Purpose.ADJUSTMENT), mandatory_from=1)
    for purpose, role in _ROLES.items()
}
