"""The keyring: which keys may sign what, from which sequence on.

Version 1 is hashed into the ledger id; it is the root of all trust in a journal. Later versions
are changes, each a record. A keyring without keys makes an unsigned ledger: no line has to be
signed, and nothing can be approved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from hashlib import sha256

import attrs

from bibank.errors import InvalidType, InvalidValue, excerpt
from bibank.model.json_members import exact_items, exact_members, pick
from bibank.model.json_value import FrozenMap, JsonValue, canonical_text
from bibank.model.money import PART_PATTERN
from bibank.model.policy import (
    UNSIGNED_POLICIES,
    Policies,
    Policy,
    Purpose,
    Role,
    changed_policies_body,
    check_change,
    check_policies,
    first_policies_body,
    read_policies,
)
from bibank.model.signature import SignatureAlgorithm

_SIGNER_ID = re.compile(rf"(?=.{{1,69}}\Z)(?:USER:)?{PART_PATTERN}", re.ASCII)
_PUBLIC_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)
_KEY_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)
_KEY_ID_DIGITS = 16
SYSTEM_SIGNER = "SYSTEM"
"""The signer id of a home's own key (phase 2, 5.2)."""


class KeyStatus(Enum):
    """Whether a key may sign now, was replaced in good order, or was given up as lost."""

    ACTIVE = "active"
    RETIRED = "retired"
    REVOKED = "revoked"


def check_signer_id(value: object) -> str:
    """Return a signer id unchanged: `SYSTEM`, a person's `ANNA_OPS`, an owner's `USER:ALICE`."""
    if not isinstance(value, str):
        raise InvalidType(f"a signer id is a str, not {type(value).__name__}")
    if _SIGNER_ID.fullmatch(value) is None:
        raise InvalidValue(f"{excerpt(value)} is no signer id; write SYSTEM, ANNA_OPS or USER:ALICE")
    return value


def key_id_of(public_key: str) -> str:
    """Name a key: the first 16 hex digits of SHA-256 of the raw public key. `InvalidValue` for none."""
    return sha256(bytes.fromhex(_check_public_key(public_key))).hexdigest()[:_KEY_ID_DIGITS]


def _check_public_key(value: object) -> str:
    if not isinstance(value, str) or _PUBLIC_KEY.fullmatch(value) is None:
        raise InvalidValue(f"public key {excerpt(value)} is not 64 lower-case hex digits")
    return value


def _check_key_id(value: object) -> str:
    if not isinstance(value, str) or _KEY_ID.fullmatch(value) is None:
        raise InvalidValue(f"key id {excerpt(value)} is not 16 lower-case hex digits")
    return value


def _sorted_roles(roles: object) -> tuple[Role, ...]:
    if not isinstance(roles, (tuple, list, set, frozenset)) or not roles:
        raise InvalidValue("a key has at least one role")
    if not all(isinstance(role, Role) for role in roles):
        raise InvalidType("roles are Role values")
    return tuple(sorted(set(roles), key=lambda role: str(role.value)))


@attrs.frozen(kw_only=True)
class NewKey:
    """A key that is to be trusted: whose it is, what it is, what it may do."""

    signer_id: str = attrs.field(converter=check_signer_id)
    algorithm: SignatureAlgorithm
    public_key: str = attrs.field(converter=_check_public_key)
    roles: tuple[Role, ...] = attrs.field(converter=_sorted_roles)

    @property
    def key_id(self) -> str:
        """The key's name."""
        return key_id_of(self.public_key)

    def to_body(self) -> FrozenMap:
        """Give the JSON members."""
        return FrozenMap(
            {
                "algorithm": self.algorithm.value,
                "public_key": self.public_key,
                "roles": tuple(role.value for role in self.roles),
                "signer_id": self.signer_id,
            }
        )

    @classmethod
    def from_body(cls, body: JsonValue) -> NewKey:
        """Read what :meth:`to_body` gives."""
        members = exact_members(body, {"algorithm", "public_key", "roles", "signer_id"}, "key")
        return cls(
            signer_id=members["signer_id"],
            algorithm=pick(SignatureAlgorithm, members["algorithm"]),
            public_key=members["public_key"],
            roles=tuple(pick(Role, role) for role in exact_items(members["roles"])),
        )


@attrs.frozen(kw_only=True)
class KeyringKey:
    """A key with its span: the sequences of the lines that it may sign, both ends included."""

    signer_id: str
    algorithm: SignatureAlgorithm
    public_key: str
    roles: tuple[Role, ...]
    valid_from_sequence: int
    valid_to_sequence: int | None = None
    status: KeyStatus = KeyStatus.ACTIVE
    last_trusted_sequence: int | None = None
    """Of a revoked key: what it signed later is suspect."""

    @property
    def key_id(self) -> str:
        """The key's name."""
        return key_id_of(self.public_key)

    def covers(self, sequence: int) -> bool:
        """Tell whether the key may sign a line of this sequence."""
        return self.valid_from_sequence <= sequence and (
            self.valid_to_sequence is None or sequence <= self.valid_to_sequence
        )


@attrs.frozen(kw_only=True)
class Keyring:
    """One version of the trusted keys and policies of a ledger."""

    version: int
    keys: tuple[KeyringKey, ...]
    policies: Policies

    @classmethod
    def first(cls, keys: tuple[NewKey, ...], policies: Policies) -> Keyring:
        """Make version 1. Its keys are valid from the first line on."""
        if len({key.public_key for key in keys}) != len(keys):
            raise InvalidValue("a key stands twice in the keyring")
        if set(policies) != set(Purpose):
            raise InvalidValue("a keyring has one policy for every purpose")
        check_policies(policies)
        _check_governable(policies, tuple(_placed(key, 1) for key in keys))
        return cls(version=1, keys=tuple(_placed(key, 1) for key in keys), policies=dict(policies))

    @classmethod
    def unsigned(cls) -> Keyring:
        """Version 1 without keys: every threshold is 0, but adjustments ask for what nobody can give."""
        return cls.first((), UNSIGNED_POLICIES)

    @property
    def signs_lines(self) -> bool:
        """Whether lines must be signed."""
        return self.policies[Purpose.LINE].threshold > 0

    def to_body(self) -> dict[str, JsonValue]:
        """Give version 1's JSON members that are hashed: everything but the ledger id."""
        assert self.version == 1, "later versions are changes"
        return {
            "keys": tuple(_first_key_body(key) for key in self.keys),
            "policies": first_policies_body(self.policies),
            "version": 1,
        }

    @classmethod
    def from_body(cls, body: Mapping[str, JsonValue]) -> Keyring:
        """Read what :meth:`to_body` gives; `InvalidValue` for anything else."""
        members = exact_members(FrozenMap(body), {"keys", "policies", "version"}, "keyring")
        if members["version"] != 1:
            raise InvalidValue(f"version {excerpt(members['version'])}; the first keyring is version 1")
        keys = tuple(map(_read_first_key, exact_items(members["keys"])))
        policies = read_policies(members["policies"], names={"mandatory_from", "role", "threshold"})
        keyring = cls.first(keys, policies)
        if canonical_text(body) != canonical_text(keyring.to_body()):  # as text: True is equal to 1
            raise InvalidValue("the keyring is not spelled canonically")
        return keyring

    def active(self, role: Role) -> tuple[KeyringKey, ...]:
        """List the keys of a role that may sign now."""
        return tuple(key for key in self.keys if role in key.roles and key.status is KeyStatus.ACTIVE)

    def deciding_role(self, purpose: Purpose) -> Role:
        """Tell which role decides: the policy's, or the system until such a key was ever added.

        The system never stands in for those who approve adjustments.
        """
        role = self.policies[purpose].role
        stands_in = purpose is not Purpose.ADJUSTMENT and not any(role in key.roles for key in self.keys)
        return Role.SYSTEM if stands_in else role

    def approvers_asked(self, change: KeyringChange) -> int:
        """Tell how many of those who approve adjustments have to agree to a change; 0 for most.

        A change that decides who approves, or how many it takes, needs as many as the most guarded
        adjustment, or all there are while there are fewer (ADR 0042).
        """
        policy = self.policies[Purpose.ADJUSTMENT]
        ended = {*change.retire, *change.revoke}
        decides = (
            Purpose.ADJUSTMENT in change.policies
            or any(policy.role in key.roles for key in change.add)
            or any(policy.role in key.roles for key in self.keys if key.key_id in ended)
        )
        persons = {key.signer_id for key in self.active(policy.role)}
        return min(policy.most_approvals, len(persons)) if decides else 0

    def find(self, public_key: str) -> KeyringKey | None:
        """Find a key, whatever its status."""
        return next((key for key in self.keys if key.public_key == public_key), None)

    def changed(self, change: KeyringChange, *, sequence: int) -> Keyring:
        """Give the next version, in force from a sequence on; `InvalidValue` for an impossible change."""
        keys = {key.key_id: key for key in self.keys}
        for key_id in change.retire:
            keys[key_id] = self._ended(keys.get(key_id), key_id, KeyStatus.RETIRED, sequence)
        for key_id, last_trusted in change.revoke.items():
            ended = self._ended(keys.get(key_id), key_id, KeyStatus.REVOKED, sequence)
            if not 0 <= last_trusted < sequence:
                raise InvalidValue(f"the last trusted sequence {last_trusted} is not below line {sequence}")
            keys[key_id] = attrs.evolve(ended, last_trusted_sequence=last_trusted)
        for new in change.add:
            if new.key_id in keys:
                raise InvalidValue(f"key {new.key_id} is or was in the keyring; make a new one")
            keys[new.key_id] = _placed(new, sequence)
        check_policies(change.policies)
        if Purpose.ADJUSTMENT in change.policies:
            check_change(self.policies[Purpose.ADJUSTMENT], change.policies[Purpose.ADJUSTMENT])
        policies = {
            **self.policies,
            **{
                purpose: attrs.evolve(policy, mandatory_from=sequence)
                for purpose, policy in change.policies.items()
            },
        }
        line = policies[Purpose.LINE]
        able = {
            key.signer_id
            for key in keys.values()
            if line.role in key.roles and key.status is KeyStatus.ACTIVE
        }
        if len(able) < line.threshold:
            raise InvalidValue(
                f"no line could be signed any more: {len(able)} of {line.threshold} signers would be left"
            )
        _check_governable(policies, tuple(keys.values()))
        return Keyring(version=self.version + 1, keys=tuple(keys.values()), policies=policies)

    def _ended(self, key: KeyringKey | None, key_id: str, status: KeyStatus, sequence: int) -> KeyringKey:
        if key is None or key.status is not KeyStatus.ACTIVE:
            raise InvalidValue(f"key {key_id} is not an active key of the keyring")
        return attrs.evolve(key, status=status, valid_to_sequence=sequence - 1)


def _check_new_keys(value: object) -> tuple[NewKey, ...]:
    if not isinstance(value, (tuple, list)) or not all(isinstance(key, NewKey) for key in value):
        raise InvalidType("a change adds a tuple of NewKey values")
    return tuple(value)


def _check_key_ids(value: object) -> tuple[str, ...]:
    if not isinstance(value, (tuple, list)):
        raise InvalidType(f"a change retires a tuple of key ids, not {type(value).__name__}")
    return tuple(map(_check_key_id, value))


def _check_revocations(value: object) -> Mapping[str, int]:
    if not isinstance(value, Mapping):
        raise InvalidType(f"a change revokes a mapping of key ids, not {type(value).__name__}")
    for last in value.values():
        if isinstance(last, bool) or not isinstance(last, int):
            raise InvalidType(f"the last trusted sequence is an int, not {excerpt(last)}")
    return {_check_key_id(key_id): last for key_id, last in value.items()}


def _check_changed_policies(value: object) -> Policies:
    if not isinstance(value, Mapping):
        raise InvalidType(f"policies map purposes to policies, not {type(value).__name__}")
    for purpose, policy in value.items():
        if not isinstance(purpose, Purpose) or type(policy) is not Policy:
            raise InvalidType(f"policies map a Purpose to a Policy, not {excerpt(purpose)}")
    return dict(value)


@attrs.frozen(kw_only=True)
class KeyringChange:
    """What a new version of the keyring changes: keys added, retired, revoked, policies replaced."""

    add: tuple[NewKey, ...] = attrs.field(converter=_check_new_keys, default=())
    retire: tuple[str, ...] = attrs.field(converter=_check_key_ids, default=())
    revoke: Mapping[str, int] = attrs.field(converter=_check_revocations, factory=dict)
    """Key id and the last sequence that it is still trusted for."""
    policies: Policies = attrs.field(converter=_check_changed_policies, factory=dict)

    def __attrs_post_init__(self) -> None:
        """Refuse a change that changes nothing or names a key twice."""
        names = [*(key.key_id for key in self.add), *self.retire, *self.revoke]
        if len(set(names)) != len(names):
            raise InvalidValue("a change names the same key twice")
        if not names and not self.policies:
            raise InvalidValue("the change changes nothing")

    def to_body(self) -> FrozenMap:
        """Give the JSON members that are hashed and signed."""
        return FrozenMap(
            {
                "add": tuple(key.to_body() for key in self.add),
                "policies": changed_policies_body(self.policies),
                "retire": self.retire,
                "revoke": tuple(
                    FrozenMap({"key_id": key_id, "last_trusted_sequence": last})
                    for key_id, last in sorted(self.revoke.items())
                ),
            }
        )

    @classmethod
    def from_body(cls, body: JsonValue) -> KeyringChange:
        """Read what :meth:`to_body` gives; `InvalidValue` for anything else."""
        members = exact_members(body, {"add", "policies", "retire", "revoke"}, "change")
        revoke: dict[str, int] = {}
        for item in exact_items(members["revoke"]):
            entry = exact_members(item, {"key_id", "last_trusted_sequence"}, "revocation")
            last = entry["last_trusted_sequence"]
            if isinstance(last, bool) or not isinstance(last, int):
                raise InvalidValue("last_trusted_sequence is an integer")
            key_id = _check_key_id(entry["key_id"])
            if key_id in revoke:
                raise InvalidValue("a change names the same key twice")
            revoke[key_id] = last
        return cls(
            add=tuple(map(NewKey.from_body, exact_items(members["add"]))),
            retire=tuple(map(_check_key_id, exact_items(members["retire"]))),
            revoke=revoke,
            policies=read_policies(members["policies"], names={"role", "threshold"}),
        )


def _check_governable(policies: Policies, keys: tuple[KeyringKey, ...]) -> None:
    """Refuse a keyring that anybody could change, or that nobody could change any more."""
    policy = policies[Purpose.KEYRING]
    if policies[Purpose.LINE].threshold and not policy.threshold:
        raise InvalidValue("where lines are signed, changes of the keyring must be: its threshold is 0")
    able = {k.signer_id for k in keys if policy.role in k.roles and k.status is KeyStatus.ACTIVE}
    if any(policy.role in key.roles for key in keys) and len(able) < policy.threshold:
        raise InvalidValue(
            f"the keyring could not be changed any more: {len(able)} active {policy.role.value} signers "
            f"would be left, its policy asks for {policy.threshold}"
        )


def _placed(key: NewKey, sequence: int) -> KeyringKey:
    return KeyringKey(
        signer_id=key.signer_id,
        algorithm=key.algorithm,
        public_key=key.public_key,
        roles=key.roles,
        valid_from_sequence=sequence,
    )


def _first_key_body(key: KeyringKey) -> FrozenMap:
    return FrozenMap(
        {
            "algorithm": key.algorithm.value,
            "key_id": key.key_id,
            "public_key": key.public_key,
            "roles": tuple(role.value for role in key.roles),
            "signer_id": key.signer_id,
            "status": key.status.value,
            "valid_from_sequence": 1,
            "valid_to_sequence": None,
        }
    )


def _read_first_key(body: JsonValue) -> NewKey:
    members = dict(body) if isinstance(body, FrozenMap) else {}
    key = NewKey.from_body(
        FrozenMap({name: members.get(name) for name in ("algorithm", "public_key", "roles", "signer_id")})
    )
    if _first_key_body(_placed(key, 1)) != body:
        raise InvalidValue(f"key {key.key_id} of version 1 is not an active key from line 1 on")
    return key
