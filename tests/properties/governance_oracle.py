"""The oracle of governance: what operators may decide about naive books, without a line of the library.

Dicts and lists: balances by account text in whole units, terms of accounts, proposals and who approved them,
overrides, keys of people. A request is a verb, what is asked, and by whose keys. It comes to the sequences of
its lines, or to the codes of everything that is wrong with it; a ledger gives one of these. A refusal for
lacking authority is spelled `not_authorised:reason`.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from tests.properties.governance_spelling import (
    Asked,
    Leg,
    asset_of,
    capital,
    changes,
    content,
    locked,
    untraced,
    vault,
)

Answer = tuple[int, ...] | frozenset[str]
"""The sequences of a request's lines, or the codes of what is wrong with it."""

PEOPLE: dict[str, tuple[str, str]] = {
    "system1": ("SYSTEM", "system"),
    "system2": ("SYSTEM", "system"),
    "anna1": ("ANNA_OPS", "operator"),
    "anna2": ("ANNA_OPS", "operator"),
    "ben1": ("BEN_OPS", "operator"),
    "ben2": ("BEN_OPS", "operator"),
    "cleo1": ("CLEO_OPS", "operator"),
    "dora1": ("DORA_OPS", "operator"),
    "alice1": ("USER:ALICE", "owner"),
    "stranger": ("ANNA_OPS", "operator"),
}
"""Every key that there is: whose it is and what it is for. The stranger's is never added."""

CEILING = 50
"""The host's own rule lets no transfer of more pass."""

ADJUSTMENT: dict[str, Any] = {"threshold": 2, "thresholds": {}, "above": {}, "expires": 7 * 86_400}
"""The policy for adjustments of a new ledger."""

STEPS = {
    "account_frozen": {"open": "frozen"},
    "account_reopened": {"frozen": "open", "closed": "open"},
    "account_closed": {"open": "closed", "frozen": "closed"},
    "limit_set": {"open": "open", "frozen": "frozen"},
}
"""Which status follows which."""


class Wrong(Exception):
    """A refusal, by everything that is wrong."""

    def __init__(self, *codes: str) -> None:
        super().__init__(*codes)
        self.codes = frozenset(codes)


class Books:
    """What the books must be."""

    def __init__(self, opening: dict[str, int], *, now: int) -> None:
        self.now = self.stamp = now
        """Seconds after noon of the last line; never runs back."""
        self.is_fork = False
        self.units: dict[str, int] = {}
        self.terms: dict[str, dict[str, Any]] = {}
        self.holds: dict[int, Leg] = {}
        self.keyring: dict[str, str] = {"system1": "active"}
        self.own = "system1"
        self.policies: dict[str, Any] = {"rules": 1, "keyring": 1, "adjustment": ADJUSTMENT}
        self.proposals: dict[int, dict[str, Any]] = {}
        self.overrides: list[tuple[str, int]] = []
        self.given: list[str] = []
        self.attested: list[tuple[int, str]] = []
        self.keys: dict[str, tuple[str, tuple[int, ...]]] = {}
        self.causes: dict[int, int] = {}
        self.lines: dict[int, str] = {}
        for asset, units in opening.items():
            self._move([(vault(asset), "debit", units), (capital(asset), "credit", units)])
        self._write("genesis", "keyring_adopted")

    @property
    def sequence(self) -> int:
        """The last line."""
        return len(self.lines)

    # ------------------------------------------------------------------ requests

    def ask(self, verb: str, asked: Asked, by: Any = None, key: str | None = None) -> Answer:
        """Take a request; give the sequences of its lines, or everything that is wrong with it."""
        who = PEOPLE[by][0] if verb in ("approve", "attest") else ""
        spelled = json.dumps([verb, untraced(asked), who], sort_keys=True)
        if key is not None and key in self.keys:
            known, sequences = self.keys[key]
            return sequences if known == spelled else frozenset({"idempotency_conflict"})
        before = copy.deepcopy(self.__dict__)
        first = self.sequence + 1
        self.stamp = max(self.stamp, self.now)
        try:
            getattr(self, f"_take_{verb}")(asked, by)
        except Wrong as wrong:
            self.__dict__.clear()
            self.__dict__.update(before)
            return wrong.codes
        sequences = tuple(range(first, self.sequence + 1))
        if key is not None:
            self.keys[key] = (spelled, sequences)
        return sequences

    def copy(self, *, is_fork: bool | None = None) -> Books:
        """Give books that may be asked what would happen."""
        other = copy.deepcopy(self)
        other.is_fork = self.is_fork if is_fork is None else is_fork
        return other

    def _write(self, *kinds: str) -> None:
        for kind in kinds:
            self.lines[self.sequence + 1] = kind

    # ------------------------------------------------------------------ money

    def _take_book(self, asked: Asked, _: Any) -> None:
        for entry in asked["entries"]:
            found = self._faults(entry)
            if self.approvals_needed(entry):
                found.add("approval_required")
            self._book(entry, found)

    def _book(self, entry: Asked, found: set[str]) -> None:
        if found:
            raise Wrong(*found)
        self._move(entry["legs"])
        self.overrides = [given for given in self.overrides if given[0] != content(entry)]
        self._write(entry["intent"])

    def _take_hold(self, asked: Asked, _: Any) -> None:
        account, units = asked["account"], asked["units"]
        entry = {
            "intent": "transfer",
            "legs": [(account, "debit", units), (locked(account), "credit", units)],
        }
        self._book(entry, self._faults(entry))
        self.holds[self.sequence] = (account, "debit", units)

    def _take_void(self, asked: Asked, _: Any) -> None:
        account, _side, units = self.holds.pop(asked["hold"])
        entry = {
            "intent": "transfer",
            "legs": [(locked(account), "debit", units), (account, "credit", units)],
        }
        self._book(entry, self._faults(entry))

    def _move(self, legs: list[Leg]) -> None:
        for account, change in changes(legs).items():
            self.units[account] = self.units.get(account, 0) + change

    def _faults(self, entry: Asked) -> set[str]:
        """Say what the terms of accounts, their floors and the host's own rule have against an entry."""
        found = set()
        for account, change in changes(entry["legs"]).items():
            status = self.status(account)
            if status == "closed":
                found.add("account_closed")
            if status == "frozen" and change < 0:
                found.add("account_frozen")
            floor = self.floor(account)
            if floor is not None and change < 0 and self.units.get(account, 0) + change < floor:
                found.add("insufficient_balance")
        high = max(units for _, _, units in entry["legs"]) > CEILING
        held = any("LOCKED" in name for name, _, _ in entry["legs"])
        passed = any(of == content(entry) and self.stamp < ends for of, ends in self.overrides)
        if entry["intent"] == "transfer" and high and not held and not passed:
            found.add("refused")
        return found

    # ------------------------------------------------------------------ accounts

    def status(self, account: str) -> str:
        """Whether money may move on an account."""
        return str(self.terms.get(account, {"status": "open"})["status"])

    def floor(self, account: str) -> int | None:
        """How far an account may fall."""
        if account.split(":")[0] not in ("ASSET", "LIAB"):
            return None
        return int(self.terms.get(account, {"floor": 0})["floor"])

    def _take_decide(self, asked: Asked, by: list[str]) -> None:
        account, kind = asked["account"], asked["kind"]
        found = self._authority(by if "previous" in asked else self.signers(by))
        found |= self._of_this_ledger(asked)
        status, floor = self.status(account), self.floor(account)
        following = STEPS[kind].get(status)
        if following is None:
            found.add({"closed": "account_closed", "frozen": "account_frozen"}.get(status, "refused"))
        if kind == "limit_set":
            if floor is None or "LOCKED" in account or asked["floor"] > 0:
                found.add("invalid_value")
            floor = asked["floor"]
        before = self.terms.get(account, {"sequence": 0})["sequence"]
        if asked.get("previous", before) != before:
            found.add("not_authorised:stale")
        if kind == "account_closed" and (self.units.get(account) or self.units.get(locked(account))):
            found.add("account_not_empty")
        if found:
            raise Wrong(*found)
        self._write(kind)
        self.terms[account] = {"status": following, "floor": floor, "sequence": self.sequence}

    # ------------------------------------------------------------------ authority

    def _person(self, name: str) -> tuple[set[str], str, str]:
        """Give what is wrong with a key, whose it is, and what it is for."""
        person, role = PEOPLE[name]
        state = self.keyring.get(name, "unknown")
        wrong = {"unknown": "unknown_key"}.get(state, "inactive_key")
        return (set() if state == "active" else {f"not_authorised:{wrong}"}), person, role

    def operators(self) -> set[str]:
        """Name the persons with an operator's key that is in force."""
        return {PEOPLE[n][0] for n, s in self.keyring.items() if s == "active" and PEOPLE[n][1] == "operator"}

    def decider(self) -> str:
        """Which role decides: the operators, or the ledger's own key while none was ever added."""
        return "operator" if any(PEOPLE[name][1] == "operator" for name in self.keyring) else "system"

    def signers(self, by: list[str]) -> list[str]:
        """Name who signs: the ledger's own key by itself, where it decides."""
        return [*by, self.own] if self.decider() == "system" else by

    def _authority(self, by: list[str], purpose: str = "rules", *, added: tuple[str, ...] = ()) -> set[str]:
        """Say what is wrong with who signed under a policy. A fork asks for nobody."""
        if self.is_fork:
            return set()
        role, found, persons, others = self.decider(), set[str](), set[str](), False
        for name in by:
            wrong, person, has = self._person(name)
            if name in added and wrong:
                continue  # its signature is that of a key which is added
            found |= wrong
            if has == role and not wrong:
                persons.add(person)
            others |= has != role
        if len(persons) < self.policies[purpose]:
            found.add("not_authorised:wrong_role" if others else "not_authorised:too_few")
        return found

    def _of_this_ledger(self, asked: Asked) -> set[str]:
        """Say whether what was signed beforehand was signed for another ledger."""
        return (
            set() if asked.get("is_fork", self.is_fork) == self.is_fork else {"not_authorised:other_ledger"}
        )

    # ------------------------------------------------------------------ proposals and approvals

    def approvals_needed(self, entry: Asked) -> int:
        """Tell how many approvals an entry needs under the policy in force."""
        if entry["intent"] == "adjustment":
            return max(self._at(self.policies, entry["purpose"]), self._above(entry))
        return self._above(entry) if entry["intent"] == "withdrawal" else 0

    def _above(self, entry: Asked) -> int:
        """Tell how many approvals it takes that more leaves than the policy lets go; 0 when it does not."""
        policy = self.policies["adjustment"]
        given: dict[str, int] = {}
        for account, side, units in entry["legs"]:
            if account.startswith("ASSET:") and side == "credit":
                given[asset_of(account)] = given.get(asset_of(account), 0) + units
        above = any(units > policy["above"].get(asset, units) for asset, units in given.items())
        return int(policy["threshold"]) if above else 0

    def needed(self, proposal: dict[str, Any]) -> int:
        """Tell how many approvals a proposal needs; a withdrawal that was above its sum stays one."""
        entry = proposal["entry"]
        return max(self._at(self.policies, entry["purpose"]), self._above(entry))

    def standing(self, proposal: dict[str, Any]) -> list[str]:
        """Name the keys that approved and are in force."""
        return [name for name in proposal["approvals"] if self.keyring[name] == "active"]

    def pending(self) -> list[tuple[Any, ...]]:
        """List what can still be approved after the last line."""
        return [
            (
                number,
                found["proposer"],
                found["entry"]["intent"],
                found["entry"]["purpose"],
                tuple(PEOPLE[name][0] for name in self.standing(found)),
                self.needed(found),
                found["expires"],
            )
            for number, found in self.proposals.items()
            if not found["done"] and found["expires"] > self.stamp
        ]

    def _take_propose(self, asked: Asked, by: str | None) -> None:
        if by is None and self.is_fork:
            raise Wrong("configuration")
        found, person, role = self._person(by or self.own)
        if role == "owner":
            found.add("not_authorised:wrong_role")
        needed = self.approvals_needed(asked["entry"])
        if not needed:
            found.add("invalid_value")
        elif len(self.operators() - {person}) < needed:
            found.add("approval_required")
        if found:
            raise Wrong(*found)
        self._write("proposal")
        self.proposals[self.sequence] = {
            "entry": asked["entry"],
            "proposer": person,
            "expires": self.stamp + self.policies["adjustment"]["expires"],
            "approvals": [],
            "done": False,
        }

    def _take_approve(self, asked: Asked, by: str) -> None:
        cited = asked["sequence"]
        if self.lines.get(cited) != "proposal":
            raise Wrong("unknown_sequence")
        proposal = self.proposals[cited]
        found, person, role = self._person(by)
        found |= self._of_this_ledger(asked)
        standing = self.standing(proposal)
        if proposal["done"]:
            raise Wrong("not_authorised:not_pending", *found)
        if self.stamp >= proposal["expires"]:
            found.add("not_authorised:expired")
        if role != "operator":
            found.add("not_authorised:wrong_role")
        if person == proposal["proposer"]:
            found.add("not_authorised:own_proposal")
        if by in standing:
            found.add("not_authorised:same_key")
        elif person in [PEOPLE[name][0] for name in standing]:
            found.add("not_authorised:same_person")
        if found:
            raise Wrong(*found)
        proposal["approvals"] = [*standing, by]
        self._write("approval")
        if len(proposal["approvals"]) >= self.needed(proposal):
            self._book(proposal["entry"], self._faults(proposal["entry"]))
            proposal["done"], self.causes[self.sequence] = True, cited

    # ------------------------------------------------------------------ attestations and overrides

    def _take_attest(self, asked: Asked, by: str) -> None:
        cited = asked["sequence"]
        if cited not in self.lines:
            raise Wrong("unknown_sequence")
        found, _, _ = self._person(by)
        if (cited, by) in self.attested:
            found.add("not_authorised:same_key")
        if found:
            raise Wrong(*found)
        self._write("attestation")
        self.attested.append((cited, by))

    def _take_override(self, asked: Asked, by: list[str]) -> None:
        found = self._authority(self.signers(by))
        given = json.dumps([content(asked["entry"]), asked["expires"], asked["reason"], self.is_fork])
        if given in self.given:
            found.add("not_authorised:stale")
        if self.stamp >= asked["expires"]:
            found.add("not_authorised:expired")
        if found:
            raise Wrong(*found)
        self._write("override")
        self.given.append(given)
        self.overrides.append((content(asked["entry"]), asked["expires"]))

    # ------------------------------------------------------------------ the keyring

    def _take_change(self, asked: Asked, by: list[str]) -> None:
        """Take a change that everybody who is added has signed."""
        added, ended = asked["add"], {**asked["retire"], **asked["revoke"]}
        found = self._authority(self.signers(by), "keyring", added=tuple(added))
        found |= self._appointing(asked, by)
        policies = self.policies | asked["policies"]
        impossible = [
            self.is_fork,
            not (added or ended or asked["policies"]),
            any(name in self.keyring for name in added),
            any(self.keyring.get(name) != "active" for name in ended),
            any(
                self._at(policies, purpose) == 0 < self._at(self.policies, purpose)
                for purpose in ("CAPITAL", "EXPENSE", "REVENUE_PAYOUT", "CORRECTION")
            ),
        ]
        self.keyring |= dict.fromkeys(added, "active") | ended
        self.policies = policies
        if self.decider() == "operator" and len(self.operators()) < policies["keyring"]:
            impossible.append(True)  # it could not be changed any more
        found |= {"invalid_value"} if any(impossible) else set()
        if found:
            raise Wrong(*found)
        if self.keyring[self.own] != "active":
            (self.own,) = added
        self._write("keyring_changed")

    def _appointing(self, asked: Asked, by: list[str]) -> set[str]:
        """Say whether too few sign what decides who approves."""
        touched = [*asked["add"], *asked["retire"], *asked["revoke"]]
        if "adjustment" not in asked["policies"] and all(PEOPLE[name][1] != "operator" for name in touched):
            return set()
        policy = self.policies["adjustment"]
        most = max(policy["threshold"], *policy["thresholds"].values(), 0)
        agreeing = {PEOPLE[name][0] for name in by if self.keyring.get(name) == "active"} & self.operators()
        few = len(agreeing) < min(most, len(self.operators()))
        return {"not_authorised:too_few"} if few else set()

    @staticmethod
    def _at(policies: dict[str, Any], purpose: str | None) -> int:
        policy = policies["adjustment"]
        return int(policy["thresholds"].get(purpose, policy["threshold"]))
