"""Adopted rules: which rule sets a ledger wrote down, and from which sequence each is in force.

A `rules_adopted` record carries the whole set: names, kinds, data and a hash each, and the hash of the
set before, so that an old decision cannot be played again. What a rule is, the risk engine knows; here
it is data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256

import attrs

from bibank.errors import InvalidValue, excerpt
from bibank.model.json_members import exact_items, exact_members
from bibank.model.json_value import FrozenMap, JsonValue, canonical_text

RULES_KIND = "rules_adopted"
"""The kind of the record, and of the signed envelope inside."""

MAX_RULES = 64
"""Rules in one set: each is asked for every entry."""

RULE_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}/[1-9][0-9]{0,8}", re.ASCII)
"""How a rule is named: lower case, and a version at the end."""

_KIND = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)


@attrs.frozen(kw_only=True)
class AdoptedRule:
    """A rule as the journal has it: its name with a version, which kind it is, and what it was given."""

    name: str
    kind: str
    data: FrozenMap

    @property
    def hash(self) -> str:
        """SHA-256 of JCS{data, kind, name}, lower-case hex."""
        members = {"data": self.data, "kind": self.kind, "name": self.name}
        return sha256(canonical_text(members).encode()).hexdigest()

    def to_body(self) -> FrozenMap:
        """Give the JSON members."""
        return FrozenMap({"data": self.data, "hash": self.hash, "kind": self.kind, "name": self.name})

    @classmethod
    def from_body(cls, body: JsonValue) -> AdoptedRule:
        """Read what :meth:`to_body` gives; `InvalidValue` for anything else."""
        members = exact_members(body, {"data", "hash", "kind", "name"}, "rule")
        name, kind, data = members["name"], members["kind"], members["data"]
        if not isinstance(name, str) or RULE_NAME.fullmatch(name) is None:
            raise InvalidValue(f"rule name {excerpt(name)} does not look like 'daily-limit/1'")
        if not isinstance(kind, str) or _KIND.fullmatch(kind) is None:
            raise InvalidValue(f"kind {excerpt(kind)} of rule {name} is no kind of rule")
        if not isinstance(data, FrozenMap):
            raise InvalidValue(f"the data of rule {name} is a JSON object")
        rule = cls(name=name, kind=kind, data=data)
        if members["hash"] != rule.hash:
            raise InvalidValue(f"the hash of rule {name} is not that of its content")
        return rule


@attrs.frozen(kw_only=True)
class RuleSet:
    """One adopted set, in the order in which its rules judge. Version 0 is the empty set of the beginning."""

    version: int = 0
    rules: tuple[AdoptedRule, ...] = ()
    from_sequence: int = 0
    fingerprint: str = ""
    """SHA-256 of JCS{previous fingerprint, rules}, lower-case hex."""


def fingerprint_of(previous: str, rules: Sequence[AdoptedRule]) -> str:
    """Hash a set onto the one before."""
    members = FrozenMap({"previous": previous, "rules": tuple(rule.to_body() for rule in rules)})
    return sha256(canonical_text(members).encode()).hexdigest()


class RuleBook:
    """Every rule set of one ledger, newest last."""

    def __init__(self, versions: Sequence[RuleSet] = (RuleSet(),)) -> None:
        self._versions = list(versions)

    @property
    def current(self) -> RuleSet:
        """The set in force for the next line."""
        return self._versions[-1]

    def at(self, sequence: int) -> RuleSet:
        """Give the set in force at a sequence."""
        return next(found for found in reversed(self._versions) if found.from_sequence <= sequence)

    def copy(self) -> RuleBook:
        """Give a book of its own that stands where this one does."""
        return RuleBook(self._versions)

    def payload(self, rules: Sequence[AdoptedRule], *, ledger_id: str) -> FrozenMap:
        """Write what has to be signed to put a set in the place of the one in force."""
        return FrozenMap(
            {
                "ledger": ledger_id,
                "previous": self.current.fingerprint,
                "rules": tuple(rule.to_body() for rule in rules),
                "version": self.current.version + 1,
            }
        )

    def adopt(self, payload: Mapping[str, JsonValue], *, ledger_id: str, sequence: int) -> RuleSet:
        """Take a set whose signatures were judged; `InvalidValue` when it does not follow."""
        members = exact_members(FrozenMap(payload), {"ledger", "previous", "rules", "version"}, "rule set")
        if members["ledger"] != ledger_id:
            raise InvalidValue(f"the rule set is for ledger {excerpt(members['ledger'])}")
        current = self.current
        version = members["version"]
        if (
            isinstance(version, bool)
            or version != current.version + 1
            or members["previous"] != current.fingerprint
        ):
            raise InvalidValue(f"the rule set does not follow version {current.version}")
        rules = tuple(map(AdoptedRule.from_body, exact_items(members["rules"])))
        if len(rules) > MAX_RULES:
            raise InvalidValue(f"{len(rules)} rules; a set has at most {MAX_RULES}")
        names = [rule.name for rule in rules]
        if len(set(names)) != len(names):
            raise InvalidValue("a rule set names a rule twice")
        adopted = RuleSet(
            version=current.version + 1,
            rules=rules,
            from_sequence=sequence,
            fingerprint=fingerprint_of(current.fingerprint, rules),
        )
        self._versions.append(adopted)
        return adopted

    def rollback(self, sequence: int) -> None:
        """Forget the sets that are in force only after a sequence."""
        while self.current.from_sequence > sequence:
            self._versions.pop()
