"""Keyrings as values: what version 1 and a change may hold, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import bibank as bb
from bibank import signing
from bibank.journal.machine import LedgerMachine
from bibank.model.json_value import BODY_LIMITS, FrozenMap, freeze, thaw
from bibank.model.keyring import key_id_of
from bibank.model.policy import SIGNED_POLICIES
from bibank.opening import founding
from bibank.risk.engine import RiskEngine
from bibank.signing import Keyring, KeyringChange, NewKey, Policy, Purpose, Role
from bibank.signing.trust import KeyringTrust, SignatureCheck, verify_never, verify_now
from tests.journal.machines import NONCE, NOON, members, spell
from tests.signing.forge import ANNA, NEXT, OWN, Key


def described(key: Key = OWN, *roles: Role) -> NewKey:
    """Describe a key."""
    return NewKey(
        signer_id=key.signer_id,
        algorithm=bb.SignatureAlgorithm(key.algorithm),
        public_key=key.public_key,
        roles=roles or (Role.SYSTEM,),
    )


FIRST = Keyring.first((described(),), SIGNED_POLICIES)


def test_version_one_comes_back() -> None:
    """A keyring is what its body says, with and without keys."""
    for keyring in (FIRST, Keyring.unsigned()):
        assert Keyring.from_body(freeze(keyring.to_body(), BODY_LIMITS)) == keyring
    assert FIRST.signs_lines
    assert not Keyring.unsigned().signs_lines
    assert [key.public_key for key in FIRST.active(Role.SYSTEM)] == [OWN.public_key]
    assert FIRST.active(Role.OPERATOR) == ()


BODIES: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda body: body.pop("keys"), "a keyring has exactly the members"),
    (lambda body: body.update(extra=1), "a keyring has exactly the members"),
    (lambda body: body.update(version=2), "the first keyring is version 1"),
    (lambda body: body.update(version=True), "not spelled canonically"),
    (lambda body: body["policies"].pop("line"), "one policy for every purpose"),
    (lambda body: body["policies"]["line"].update(mandatory_from=2), "mandatory from line 1"),
    (lambda body: body["policies"]["line"].update(mandatory_from=True), "mandatory from line 1"),
    (lambda body: body["policies"]["line"].update(threshold=2), "is 2, not 0 to 1"),
    (lambda body: body["policies"]["line"].pop("mandatory_from"), "a policy has exactly"),
    (lambda body: body["keys"].append(body["keys"][0]), "a key stands twice"),
    (lambda body: body["keys"][0].update(status="retired"), "is not an active key from line 1 on"),
    (lambda body: body["keys"][0].update(valid_from_sequence=2), "is not an active key from line 1 on"),
    (lambda body: body["keys"][0].update(valid_to_sequence=9), "is not an active key from line 1 on"),
    (lambda body: body["keys"][0].update(key_id="0" * 16), "is not an active key from line 1 on"),
    (lambda body: body["keys"][0].pop("key_id"), "is not an active key from line 1 on"),
    (lambda body: body["keys"][0].update(roles="system"), "a list is expected"),
    (lambda body: body["keys"].append("key"), "None is no SignatureAlgorithm"),
]


@pytest.mark.parametrize(("edit", "reason"), BODIES, ids=range(len(BODIES)))
def test_a_malformed_version_one(edit: Callable[[dict[str, Any]], Any], reason: str) -> None:
    """Version 1 has one spelling, and nothing in it but what it must have."""
    body = thaw(freeze(FIRST.to_body(), BODY_LIMITS))
    edit(body)
    with pytest.raises((bb.InvalidValue, bb.InvalidType), match=reason):
        Keyring.from_body(freeze(body, BODY_LIMITS))


@pytest.mark.parametrize("roles", [(), "system", None, {}])
def test_a_key_without_roles(roles: Any) -> None:
    """A key is trusted for something."""
    with pytest.raises(bb.InvalidValue, match="at least one role"):
        NewKey(
            signer_id="A",
            algorithm=bb.SignatureAlgorithm.ED25519,
            public_key=OWN.public_key,
            roles=roles,
        )


def test_roles_are_roles() -> None:
    """A role is a `Role`, sorted and once."""
    with pytest.raises(bb.InvalidType, match="roles are Role values"):
        described(OWN, "system")  # type: ignore[arg-type]  # on purpose
    assert described(OWN, Role.SYSTEM, Role.OPERATOR, Role.SYSTEM).roles == (Role.OPERATOR, Role.SYSTEM)


def test_a_change_changes_something_once() -> None:
    """A change that changes nothing, or one key twice, is none."""
    with pytest.raises(bb.InvalidValue, match="changes nothing"):
        KeyringChange()
    with pytest.raises(bb.InvalidValue, match="the same key twice"):
        KeyringChange(retire=(OWN.key_id,), revoke={OWN.key_id: 1})


def test_a_change_is_judged_when_it_is_committed() -> None:
    """A policy that no reader would take is refused, however it came into the change."""
    for threshold in (-1, 16):
        with pytest.raises(bb.InvalidValue, match=f"is {threshold}, not 0 to 15"):
            Policy(role=Role.OPERATOR, threshold=threshold)
    with bb.Ledger.in_memory(signer=OWN.signer) as ledger:
        for threshold in (-1, 16):
            policy = Policy(role=Role.OPERATOR, threshold=1)
            object.__setattr__(policy, "threshold", threshold)
            draft = ledger.keyring.draft(KeyringChange(policies={Purpose.KEYRING: policy}))
            with pytest.raises(bb.InvalidValue, match=f"is {threshold}, not 0 to 15"):
                ledger.keyring.commit(draft.signed_by(OWN.signer), correlation_id="k1")
        assert ledger.keyring.version == 1


def test_key_ids_name_keys() -> None:
    """A key's name is the beginning of its hash."""
    assert key_id_of(OWN.public_key) == OWN.key_id == described().key_id
    assert FIRST.find(OWN.public_key) is not None
    assert FIRST.find(NEXT.public_key) is None


def test_there_is_no_policy_before_there_is_a_keyring() -> None:
    """Before genesis no line is judged."""
    with pytest.raises(bb.InvalidValue, match="there is no keyring yet"):
        KeyringTrust().check((), sequence=1)


def test_verification_at_once() -> None:
    """A trust without another sink verifies each signature when it comes."""
    message = b"message"
    good = SignatureCheck(1, "SYSTEM", bytes.fromhex(OWN.public_key), message, OWN.sign(message))
    bad = SignatureCheck(1, "SYSTEM", bytes.fromhex(OWN.public_key), message, NEXT.sign(message))
    verify_now(good)
    verify_never(bad)
    with pytest.raises(bb.InvalidValue, match="the signature of SYSTEM is not over this line"):
        verify_now(bad)


def test_a_reserved_curve_in_the_keyring_verifies_nothing() -> None:
    """A key of the reserved curve may stand in a keyring; what it claims to have signed has failed."""
    reserved = Key(1, "SYSTEM", "secp256k1")
    keyring = Keyring.first((described(reserved),), SIGNED_POLICIES)
    genesis = founding(None, name="test", nonce=NONCE, correlation_id="g", keyring=keyring)
    lines = LedgerMachine(RiskEngine(), KeyringTrust()).propose(genesis, NOON).lines
    claim = {
        "algorithm": "secp256k1",
        "public_key": reserved.public_key,
        "signature": "00" * 64,
        "signed_at": "2026-01-25T12:00:00Z",
        "signer_id": "SYSTEM",
    }
    for sink in (verify_now, verify_never):
        machine = LedgerMachine(RiskEngine(), KeyringTrust(sink))
        machine.accept(spell({**members(lines[0]), "signatures": [claim]}))
        with pytest.raises(bb.JournalCorrupt, match="secp256k1 is reserved: this version cannot verify it"):
            machine.accept(spell({**members(lines[1]), "signatures": [claim]}))


def test_an_owners_key() -> None:
    """A wallet owner's key stands under the owner's name."""
    owner = described(Key(7, "USER:ALICE"), Role.OWNER)
    with bb.Ledger.in_memory(signer=OWN.signer) as ledger:
        ledger.keyring.add(Key(7, "USER:ALICE").signer, roles=(Role.OWNER,), correlation_id="k1")
        found = ledger.keyring.keys[1]
        assert (found.signer_id, found.key_id, found.roles) == ("USER:ALICE", owner.key_id, (Role.OWNER,))
        ledger.keyring.add(ANNA.signer, roles=(Role.OPERATOR,), correlation_id="k2")
        assert repr(ledger.keyring) == f"<Keyring of {ledger.ledger_id}, version 3, 3 keys>"


def test_public_names_are_there() -> None:
    """Every public name of the room loads, and nothing else does."""
    for name in signing.__all__:
        assert getattr(signing, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'secret'"):
        _ = signing.secret
    assert FrozenMap() == {}
