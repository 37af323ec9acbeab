"""Forged `keyring_changed` records: what a change must be, and who must have signed it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from tests.signing.forge import (
    ANNA,
    ANNA_AGAIN,
    BERT,
    MAJORITY,
    NEXT,
    OWN,
    STRANGER,
    Forgery,
    Key,
    Line,
    change,
    make,
    passes,
    refused,
    write_books,
)


@pytest.fixture
def forgery(tmp_path: Path) -> Forgery:
    """Nine lines of a signed ledger; the next is line 10."""
    return Forgery(write_books(tmp_path / "books"))


@pytest.fixture
def board(forgery: Forgery) -> Forgery:
    """Two operators in line 10; from line 11 on two of them must agree."""
    people = [ANNA.in_keyring("operator"), BERT.in_keyring("operator"), ANNA_AGAIN.in_keyring("operator")]
    forgery.append_change(change(add=people), OWN, by=(OWN, ANNA, BERT, ANNA_AGAIN))
    forgery.append_change(change(policies={"keyring": MAJORITY}), OWN, by=(ANNA,))
    return forgery


ROTATION = change(add=[NEXT.in_keyring("system")], retire=[OWN.key_id])
ADDITION = change(add=[ANNA.in_keyring("operator")])


def test_a_change_with_every_signature_passes(forgery: Forgery) -> None:
    """A change that is signed as it must be is in force from its own line on."""
    forgery.append_change(ADDITION, OWN, by=(OWN, ANNA))
    forgery.append_change(ROTATION, NEXT, by=(ANNA, NEXT))
    forgery.append(NEXT)
    report = passes(forgery.save(), key=NEXT)
    assert report.fingerprint == forgery.fingerprint
    assert forgery.version == 3


def test_a_change_replayed(forgery: Forgery) -> None:
    """A signed change takes effect once: it names the version that it follows."""
    record = forgery.append_change(ADDITION, OWN, by=(OWN, ANNA))
    forgery._append({**record}, (OWN,))
    refused(forgery.save(), "the change does not follow keyring version 2", line=11)


def test_a_change_replayed_after_another(forgery: Forgery) -> None:
    """An old change does not come back later, when a key that it retires is active again by number."""
    record = forgery.append_change(ADDITION, OWN, by=(OWN, ANNA))
    retired = change(add=[BERT.in_keyring("operator")], retire=[ANNA.key_id])
    forgery.append_change(retired, OWN, by=(ANNA, BERT))
    forgery._append({**record}, (OWN,))
    refused(forgery.save(), "the change does not follow keyring version 3", line=12)


def test_a_change_for_another_ledger(forgery: Forgery) -> None:
    """A change names its ledger."""
    forgery.append_change(ADDITION, OWN, by=(OWN, ANNA), ledger="books/" + "0" * 32)
    refused(forgery.save(), "the change is for ledger 'books/0000", line=10)


@pytest.mark.parametrize("version", [1, 3, True, "2", None])
def test_a_change_that_skips_a_version(forgery: Forgery, version: object) -> None:
    """Versions have no gap, and no second one of a number."""
    forgery.append_change(ADDITION, OWN, by=(OWN, ANNA), version=version)
    refused(forgery.save(), "the change does not follow keyring version 1", line=10)


def test_a_change_that_follows_another_version(forgery: Forgery) -> None:
    """A change names the fingerprint that it follows."""
    forgery.append_change(ADDITION, OWN, by=(OWN, ANNA), previous="0" * 64)
    refused(forgery.save(), "the change does not follow keyring version 1", line=10)


def test_a_change_signed_by_nobody_of_the_keyring(forgery: Forgery) -> None:
    """The signature of the added key is no authority."""
    forgery.append_change(ADDITION, OWN, by=(ANNA,))
    refused(forgery.save(), "signed by 0 system keys of the keyring, its policy asks for 1", line=10)


def test_a_change_signed_by_a_key_that_is_not_there(forgery: Forgery) -> None:
    """A signature by a key that is neither in the keyring nor added fails the change."""
    forgery.append_change(ADDITION, OWN, by=(OWN, ANNA, STRANGER))
    refused(forgery.save(), f"signed by key '{STRANGER.key_id}', which is not in the keyring", line=10)


def test_a_change_without_the_added_keys_signature(forgery: Forgery) -> None:
    """Every added key shows that its holder has it."""
    forgery.append_change(ADDITION, OWN, by=(OWN,))
    refused(forgery.save(), f"the added key {ANNA.key_id} has not signed the change", line=10)


def test_a_change_with_a_wrong_signature(forgery: Forgery) -> None:
    """A signature under the right name over something else fails the change."""
    record = forgery.append_change(ADDITION, OWN, by=(OWN, ANNA))
    other = forgery.append_change(ROTATION, OWN, by=(OWN, ANNA))
    del forgery.lines[-1]
    record["body"]["signatures"] = other["body"]["signatures"]
    forgery.relink(10, OWN)
    refused(forgery.save(), "the signature of key [0-9a-f]{16} on the change is wrong", line=10)


def test_a_change_by_the_system_after_the_first_operator(forgery: Forgery) -> None:
    """Once there was an operator's key, the system's key changes nothing any more."""
    forgery.append_change(ADDITION, OWN, by=(OWN, ANNA))
    forgery.append_change(ROTATION, NEXT, by=(OWN, NEXT))
    refused(forgery.save(), "signed by 0 operator keys of the keyring, its policy asks for 1", line=11)


def test_a_change_by_a_retired_key(forgery: Forgery) -> None:
    """A key that was retired authorises nothing."""
    forgery.append_change(ROTATION, NEXT, by=(OWN, NEXT))
    forgery.append_change(ADDITION, NEXT, by=(OWN, ANNA))
    refused(forgery.save(), f"signed by key '{OWN.key_id}', which is not in the keyring", line=11, key=NEXT)


def test_a_change_by_too_few(board: Forgery) -> None:
    """Where two must agree, one is not enough."""
    board.append_change(ROTATION, NEXT, by=(ANNA, NEXT))
    refused(board.save(), "signed by 1 operator keys of the keyring, its policy asks for 2", line=12)


def test_a_change_by_one_person_with_two_keys(board: Forgery) -> None:
    """Two keys of one person are one person."""
    board.append_change(ROTATION, NEXT, by=(ANNA, ANNA_AGAIN, NEXT))
    refused(board.save(), "signed by 1 operator keys of the keyring, its policy asks for 2", line=12)


def test_a_change_by_two_people(board: Forgery) -> None:
    """Where two must agree, two people do."""
    board.append_change(ROTATION, NEXT, by=(ANNA, BERT, NEXT))
    passes(board.save(), key=NEXT)


def test_a_change_of_the_policy_counts_from_its_own_line(forgery: Forgery) -> None:
    """A change is judged by the version before it: it cannot lower what it must itself satisfy."""
    forgery.append_change(ADDITION, OWN, by=(OWN, ANNA))
    lower = change(policies={"keyring": {"role": "system", "threshold": 1}})
    forgery.append_change(lower, OWN, by=(OWN,))
    refused(forgery.save(), "signed by 0 operator keys", line=11)


@pytest.mark.parametrize(
    "ending",
    [
        change(retire=[OWN.key_id]),
        change(revoke=[{"key_id": OWN.key_id, "last_trusted_sequence": 3}]),
        change(policies={"line": {"role": "owner", "threshold": 1}}),
    ],
    ids=["retired", "revoked", "policy"],
)
def test_the_last_system_key_ended_without_another(forgery: Forgery, ending: Line) -> None:
    """A change after which nobody could sign a line is refused."""
    forgery.append_change(ending, OWN, by=(OWN,))
    refused(forgery.save(), "no line could be signed any more: 0 of 1 signers would be left", line=10)


MALFORMED: list[tuple[Callable[[Line], Any], str]] = [
    (lambda changed: changed.pop("retire"), "a change has exactly the members"),
    (lambda changed: changed.update(extra=1), "a change has exactly the members"),
    (lambda changed: changed.update(retire=7), "a list is expected"),
    (lambda changed: changed.update(retire=["00"]), "is not 16 lower-case hex digits"),
    (lambda changed: changed.update(retire=["0" * 16]), "is not an active key of the keyring"),
    (lambda changed: changed.update(retire=[OWN.key_id] * 2), "names the same key twice"),
    (lambda changed: changed.update(revoke=[{"key_id": OWN.key_id}]), "a revocation has exactly"),
    (
        lambda changed: changed.update(revoke=[{"key_id": OWN.key_id, "last_trusted_sequence": True}]),
        "last_trusted_sequence is an integer",
    ),
    (
        lambda changed: changed.update(revoke=[{"key_id": OWN.key_id, "last_trusted_sequence": 10}]),
        "the last trusted sequence 10 is not below line 10",
    ),
    (
        lambda changed: changed.update(revoke=[{"key_id": OWN.key_id, "last_trusted_sequence": -1}]),
        "the last trusted sequence -1 is not below line 10",
    ),
    (lambda changed: changed.update(policies=[]), "policies are an object"),
    (lambda changed: changed.update(policies={"tea": MAJORITY}), "is no Purpose"),
    (lambda changed: changed.update(policies={"line": {"role": "system"}}), "a policy has exactly"),
    (lambda changed: changed.update(policies={"line": MAJORITY}), "threshold for line is 2, not 0 to 1"),
    (
        lambda changed: changed.update(policies={"keyring": {"role": "operator", "threshold": 16}}),
        "threshold for keyring is 16, not 0 to 15",
    ),
    (
        lambda changed: changed.update(policies={"keyring": {"role": "operator", "threshold": True}}),
        "threshold for keyring is True",
    ),
    (lambda changed: changed.update(policies={"keyring": {"role": "cook", "threshold": 1}}), "is no Role"),
    (lambda changed: changed["add"][0].update(roles=[]), "a key has at least one role"),
    (lambda changed: changed["add"][0].update(roles=["operator", "cook"]), "is no Role"),
    (lambda changed: changed["add"][0].update(roles=["system", "operator"]), "not spelled canonically"),
    (lambda changed: changed["add"][0].update(roles=["operator", "operator"]), "not spelled canonically"),
    (lambda changed: changed["add"][0].update(signer_id="anna"), "is no signer id"),
    (lambda changed: changed["add"][0].update(public_key="00"), "is not 64 lower-case hex digits"),
    (lambda changed: changed["add"][0].update(algorithm="rsa"), "is no SignatureAlgorithm"),
    (lambda changed: changed["add"][0].update(algorithm="secp256k1"), "is secp256k1, which is reserved"),
    (lambda changed: changed["add"][0].pop("roles"), "a key has exactly the members"),
    (lambda changed: changed["add"].append(changed["add"][0]), "names the same key twice"),
    (lambda changed: changed["add"].append(OWN.in_keyring("system")), "is or was in the keyring"),
    (
        lambda changed: (changed["add"].clear(), changed["retire"].clear()),
        "the change changes nothing",
    ),
]


@pytest.mark.parametrize(("edit", "reason"), MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_change(forgery: Forgery, edit: Callable[[Line], Any], reason: str) -> None:
    """A change that everyone signed is still held to its form, and to its one spelling."""
    changed = change(add=[ANNA.in_keyring("operator")])
    edit(changed)
    forgery.append_change(changed, OWN, by=(OWN, ANNA))
    refused(forgery.save(), reason, line=10)


ENVELOPES: list[tuple[Callable[[Line], Any], str]] = [
    (lambda body: body.pop("payload"), "no DSSE envelope"),
    (lambda body: body.update(extra=1), "no DSSE envelope"),
    (lambda body: body.update(payloadType="application/vnd.bibank.line+json"), "no DSSE envelope of type"),
    (lambda body: body.update(payload="text"), "the envelope's payload is an object"),
    (lambda body: body.update(signatures={}), "the envelope's payload is an object"),
    (lambda body: body.update(signatures=body["signatures"] * 9), "its signatures a list of up to 16"),
    (lambda body: body["signatures"].reverse(), "not sorted, one a key"),
    (lambda body: body["signatures"].append(body["signatures"][-1]), "not sorted, one a key"),
    (lambda body: body["signatures"][0].update(sig="*"), "sig is not base64"),
    (lambda body: body["signatures"][0].update(sig="QR=="), "sig is not spelled canonically"),
    (lambda body: body["signatures"][0].update(sig="QQ=="), "on the change is wrong"),
    (lambda body: body["signatures"][0].update(sig=7), "keyid and sig are texts"),
    (lambda body: body["signatures"][0].update(extra=7), "a signature of an envelope has keyid and sig"),
    (lambda body: body["payload"].update(extra=7), "has exactly change, ledger, previous, version"),
]


@pytest.mark.parametrize(("edit", "reason"), ENVELOPES, ids=range(len(ENVELOPES)))
def test_a_malformed_envelope(forgery: Forgery, edit: Callable[[Line], Any], reason: str) -> None:
    """An envelope is held to its one spelling before its signatures are looked at."""
    record = forgery.append_change(ADDITION, OWN, by=(OWN, ANNA))
    edit(record["body"])
    forgery.relink(10, OWN)
    refused(forgery.save(), reason, line=10)


def test_a_second_adoption(forgery: Forgery) -> None:
    """A keyring is adopted in the genesis batch and never again."""
    forgery._append({**forgery[2]}, (OWN,))
    refused(forgery.save(), "a keyring is adopted in the genesis batch only", line=10)


def test_an_unsigned_first_change_of_an_unsigned_ledger(tmp_path: Path) -> None:
    """The first key of an unsigned ledger signs its own adoption, and the line of it."""
    make(tmp_path / "books", key=None).close()
    policies = {
        "line": {"role": "system", "threshold": 1},
        "keyring": {"role": "operator", "threshold": 1},
    }
    added = change(add=[OWN.in_keyring("system")], policies=policies)
    forgery = Forgery(tmp_path / "books")
    forgery.append_change(added, OWN, by=())
    refused(forgery.save(), f"the added key {OWN.key_id} has not signed the change", line=3)
    del forgery.lines[-1]
    forgery.append_change(added, by=(OWN,))
    refused(forgery.save(), "the line is not signed", line=3)
    del forgery.lines[-1]
    forgery.append_change(added, OWN, by=(OWN,))
    passes(forgery.save())


def test_a_wide_keyring(forgery: Forgery) -> None:
    """Fourteen people sign one change beside the key that it adds."""
    people = [Key(number, f"OPS_{number}") for number in range(20, 34)]
    forgery.append_change(
        change(add=[person.in_keyring("operator") for person in people]), OWN, by=(OWN, *people)
    )
    forgery.append_change(
        change(policies={"keyring": {"role": "operator", "threshold": 14}}), OWN, by=people[:1]
    )
    forgery.append_change(ROTATION, NEXT, by=(*people, NEXT))
    report = passes(forgery.save(), key=NEXT)
    assert isinstance(report.verdict, bb.SelfConsistent)
