"""The attack table: whoever can write the disk is refused, each time for the reason that it is.

Every attack is tried on opening and on auditing; opening must neither repair nor append anything.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import bibank as bb
from tests.signing.forge import (
    ANNA,
    NEXT,
    OWN,
    STRANGER,
    Forgery,
    Key,
    decoded,
    make,
    passes,
    refused,
    reopen,
    signature,
    write_books,
    write_rotated,
)

UNSIGNED = "the line is not signed, and the keyring's policy says that it must be"
NOT_OVER = "the signature of SYSTEM is not over this line"
NOT_IN_KEYRING = "which is not in the keyring"


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """Nine lines, each signed by the ledger's own key."""
    return write_books(tmp_path / "books")


@pytest.fixture
def rotated(tmp_path: Path) -> Path:
    """Twelve lines: an operator's key in line 10, the ledger's key rotated in line 11."""
    return write_rotated(tmp_path / "books")


def test_what_is_forged_with_every_right_passes(books: Path) -> None:
    """The workshop itself is sound: lines that it hashes and signs with the right key are accepted."""
    forgery = Forgery(books)
    forgery.append(OWN)
    forgery.append(OWN)
    passes(forgery.save())
    assert decoded(books)[-1]["sequence"] == 11


@pytest.mark.parametrize("sequence", range(1, 10))
def test_a_stripped_signature(books: Path, sequence: int) -> None:
    """A line without its signature is refused, wherever it stands, in a batch too."""
    forgery = Forgery(books)
    forgery.strip(sequence)
    refused(forgery.save(), UNSIGNED, line=sequence)


def test_all_signatures_of_a_group_but_the_last_stripped(books: Path) -> None:
    """Under entry signing the signature of a group's last line does not stand for the others."""
    forgery = Forgery(books)
    forgery.strip(7, 8)
    refused(forgery.save(), UNSIGNED, line=7)


def test_a_signer_id_swapped(books: Path) -> None:
    """A signature under another name fails: the keyring binds a key to its signer."""
    forgery = Forgery(books)
    forgery[4]["signatures"][0]["signer_id"] = "ANNA_OPS"
    refused(forgery.save(), f"names 'ANNA_OPS', but key {OWN.key_id} belongs to SYSTEM", line=4)


@pytest.mark.parametrize("key", [STRANGER, ANNA])
def test_a_strangers_key(books: Path, key: Key) -> None:
    """A good signature by a key that is not in the keyring is none."""
    forgery = Forgery(books)
    forgery.sign(4, key)
    refused(forgery.save(), NOT_IN_KEYRING, line=4)


def test_a_strangers_key_beside_the_right_one(books: Path) -> None:
    """One signature that fails makes the line fail, whoever else signed it."""
    forgery = Forgery(books)
    forgery.sign(4, OWN, STRANGER)
    refused(forgery.save(), NOT_IN_KEYRING, line=4)


@pytest.mark.parametrize("sequence", range(3, 10))
def test_a_wrong_signature(books: Path, sequence: int) -> None:
    """A signature that is well formed and by the right key, but over something else, is refused."""
    forgery = Forgery(books)
    forgery[sequence]["signatures"][0]["signature"] = OWN.sign(b"something else").hex()
    refused(forgery.save(), NOT_OVER, line=sequence)


def test_a_signature_moved_from_the_line_before(books: Path) -> None:
    """A signature covers its own line and no other."""
    forgery = Forgery(books)
    forgery[8]["signatures"] = forgery[7]["signatures"]
    refused(forgery.save(), NOT_OVER, line=8)


def test_a_signing_time_changed(books: Path) -> None:
    """The time of signing is signed too."""
    forgery = Forgery(books)
    forgery[4]["signatures"][0]["signed_at"] = "2026-01-25T10:00:01Z"
    refused(forgery.save(), NOT_OVER, line=4)


def test_a_line_rewritten_and_the_rest_linked_anew(books: Path) -> None:
    """Hashes can be made anew by anyone; the signatures over them cannot."""
    forgery = Forgery(books)
    forgery[3]["postings"][0]["amount"] = forgery[3]["postings"][1]["amount"] = "900"
    forgery.relink(3)
    refused(forgery.save(), NOT_OVER, line=3)


def test_a_full_rewrite_with_a_strangers_key(tmp_path: Path, books: Path) -> None:
    """A rewrite under a new key is another ledger: the keyring file and a pinned ledger id say so."""
    with reopen(books) as ledger:
        pin = bb.Pin(ledger_id=ledger.ledger_id)
    other = tmp_path / "other"
    with make(other, key=STRANGER) as ledger:
        ledger.deposit("THIEF", "900 USDT", correlation_id="d1")
    shutil.copytree(other / "journal", books / "journal", dirs_exist_ok=True)
    refused(books, "is not reached from the genesis", line=None, key=STRANGER, kind=bb.PinMismatch)
    (books / "keyring.json").unlink()
    with pytest.raises(bb.PinMismatch, match="not of the pinned"):
        bb.audit_home(books, level="signatures", pin=pin)
    with pytest.raises(bb.ConfigurationError, match="may not sign lines of this ledger"):
        reopen(books, OWN)
    report = bb.audit_home(books, level="signatures")
    assert isinstance(report.verdict, bb.SelfConsistent)
    assert any("pin the ledger id" in gap for gap in report.not_covered)


def test_a_genesis_rewritten_under_the_old_ledger_id(books: Path) -> None:
    """A stranger's keyring under the old ledger id is refused: the id commits to its keyring."""
    forgery = Forgery(books)
    forgery[2]["body"]["keys"][0] |= {"public_key": STRANGER.public_key, "key_id": STRANGER.key_id}
    forgery.relink(1, STRANGER)
    refused(forgery.save(), "not the one that the ledger id commits to", line=2, key=STRANGER)


def test_the_stolen_old_key_with_the_rotation_kept(rotated: Path) -> None:
    """After its rotation the old key signs nothing any more, not even the line of the rotation."""
    forgery = Forgery(rotated)
    forgery.sign(12, OWN)
    reason = f"key {OWN.key_id} of SYSTEM signs lines from 1 to 10, not line 12"
    refused(forgery.save(), reason, line=12, key=NEXT)
    forgery.sign(11, OWN)
    refused(forgery.save(), "signs lines from 1 to 10, not line 11", line=11, key=NEXT)


def test_the_stolen_old_key_appending_after_the_rotation(rotated: Path) -> None:
    """Lines that the old key adds at the end are refused."""
    forgery = Forgery(rotated)
    forgery.append(OWN)
    refused(forgery.save(), "signs lines from 1 to 10, not line 13", line=13, key=NEXT)


def test_the_stolen_old_key_with_the_rotation_dropped(rotated: Path) -> None:
    """Dropping the rotation is refused by the keyring file and a pinned fingerprint, and else reported."""
    with reopen(rotated, NEXT) as ledger:
        ledger_id, fingerprint = ledger.ledger_id, ledger.keyring.fingerprint
    assert not any(
        "keys given up" in gap
        for gap in passes(
            rotated, key=NEXT, pin=bb.Pin(ledger_id=ledger_id, fingerprint=fingerprint)
        ).not_covered
    )
    forgery = Forgery(rotated)
    del forgery.lines[9:]
    forgery.append(OWN)
    forgery.save()
    refused(rotated, "is not reached from the genesis", line=None, kind=bb.PinMismatch)
    forgery.save_without_cache()
    for pin in (bb.Pin(fingerprint=fingerprint), bb.Pin(ledger_id=ledger_id, fingerprint=fingerprint)):
        with pytest.raises(bb.PinMismatch, match="does not reach the pinned keyring"):
            bb.audit_home(rotated, level="signatures", pin=pin)
    report = passes(rotated, pin=bb.Pin(ledger_id=ledger_id))
    assert isinstance(report.verdict, bb.Verified), "nothing in the file betrays it"
    assert any("keys given up" in gap for gap in report.not_covered), "and the report says so"


def test_a_line_carried_into_another_ledger_with_the_same_key(tmp_path: Path, books: Path) -> None:
    """A signed line does not fit into another ledger: hash and signature hold its own."""
    other = write_books(tmp_path / "other")
    shutil.rmtree(other)
    with make(other, name="other") as ledger:
        ledger.deposit("A", "100 USDT", correlation_id="d1")
    forgery = Forgery(other)
    carried = Forgery(books)[3]
    forgery.lines[2] = carried
    forgery[3]["prev_hash"] = forgery[2]["hash"]
    refused(forgery.save(), "its content hashes to", line=3)
    forgery.relink(3)
    assert forgery[3]["signatures"] == carried["signatures"]
    refused(forgery.save(), NOT_OVER, line=3)


def test_an_edited_keyring_file(books: Path) -> None:
    """A keyring file that the journal does not reach, or that says something else, is refused."""
    path = books / "keyring.json"
    original = path.read_bytes()
    edited = json.loads(original)
    edited["keys"][0]["public_key"] = STRANGER.public_key
    path.write_text(json.dumps(edited, indent=1) + "\n")
    refused(books, "it was edited: delete it", line=None, kind=bb.IntegrityError)
    edited["fingerprint"] = "0" * 64
    path.write_text(json.dumps(edited, indent=1) + "\n")
    refused(books, f"keyring {'0' * 64} is not reached", line=None, kind=bb.PinMismatch)
    path.write_bytes(original[:-20])
    refused(books, "is not a keyring file", line=None, kind=bb.IntegrityError)
    for malformed in (b"[]", b"{}", b'{"fingerprint":7}', b"\xff", b"[" * 100_000):
        path.write_bytes(malformed)
        refused(books, "is not a keyring file", line=None, kind=bb.IntegrityError)
    path.unlink()
    passes(books)
    assert path.read_bytes() == original, "it comes back"


@pytest.mark.parametrize("claimed", ["ed25519-digest", "secp256k1"])
def test_an_algorithm_claimed_in_place_of_the_keys_own(books: Path, claimed: str) -> None:
    """The keyring says which scheme a key signs with; a claim of any other fails, also where it verifies."""
    forgery = Forgery(books)
    claim = signature(forgery[4], Key(1, "SYSTEM", claimed), ledger_id=forgery.ledger_id)
    forgery[4]["signatures"] = [claim]
    refused(forgery.save(), f"is {claimed}, but key {OWN.key_id} signs ed25519", line=4)


def test_a_digest_key_downgraded(tmp_path: Path) -> None:
    """A key for digests does not sign whole lines, even though it could."""
    digest = Key(1, "SYSTEM", "ed25519-digest")
    with make(tmp_path / "books", key=digest) as ledger:
        ledger.deposit("A", "5 USDT", correlation_id="d1")
    passes(tmp_path / "books", key=digest)
    forgery = Forgery(tmp_path / "books")
    forgery.sign(3, OWN)
    reason = f"is ed25519, but key {OWN.key_id} signs ed25519-digest"
    refused(forgery.save(), reason, line=3, key=digest)


def test_a_duplicate_signature(books: Path) -> None:
    """The same key signs a line once."""
    forgery = Forgery(books)
    forgery[4]["signatures"] *= 2
    refused(forgery.save(), "not sorted by signer and key, one per key", line=4)
    forgery.sign(4, OWN, Key(1, "ZOE"))
    refused(forgery.save(), "not sorted by signer and key, one per key", line=4)


def test_signatures_out_of_order(books: Path) -> None:
    """Signatures have one order, so that a line has one spelling."""
    forgery = Forgery(books)
    forgery.sign(4, OWN, ANNA)
    forgery[4]["signatures"].reverse()
    refused(forgery.save(), "not sorted by signer and key, one per key", line=4)


def test_seventeen_signatures(books: Path) -> None:
    """A line carries at most 16 signatures."""
    forgery = Forgery(books)
    forgery.sign(4, OWN, *(Key(number, "ANNA_OPS") for number in range(10, 26)))
    refused(forgery.save(), "17 signatures; 1 to 16 may stand on a line", line=4)
    forgery[4]["signatures"] = []
    refused(forgery.save(), "0 signatures; 1 to 16 may stand on a line", line=4)


def test_a_signature_before_its_keys_range(rotated: Path) -> None:
    """A key signs nothing that stands before the line which added it."""
    forgery = Forgery(rotated)
    forgery.sign(9, NEXT)
    refused(forgery.save(), NOT_IN_KEYRING, line=9, key=NEXT)


def test_a_signature_before_its_keys_range_in_the_same_batch(tmp_path: Path) -> None:
    """Within one batch too, a key signs from the line that adds it on, not the one before."""
    forgery = Forgery(write_books(tmp_path / "books"))
    forgery.append(OWN)
    rotation = {
        "add": [NEXT.in_keyring("system")],
        "policies": {},
        "retire": [OWN.key_id],
        "revoke": [],
    }
    forgery.append_change(rotation, NEXT, by=(OWN, NEXT))
    for line in (forgery[10], forgery[11]):
        line["batch"] = {"first": 10, "group": 10, "size": 2}
    forgery[10]["batch"] = {"size": 2}
    forgery.relink(10, NEXT)
    reason = f"key {NEXT.key_id} of SYSTEM signs lines from 11 on, not line 10"
    refused(forgery.save(), reason, line=10, key=NEXT)
    forgery.sign(10, OWN)
    passes(forgery.save(), key=NEXT)


def test_unsigned_lines_appended(books: Path) -> None:
    """Forged lines at the end, linked and hashed but not signed, are neither served nor cut off."""
    forgery = Forgery(books)
    forgery.append()
    refused(forgery.save(), UNSIGNED, line=10)
    forgery.append()
    forgery.append(OWN)
    refused(forgery.save(), UNSIGNED, line=10)


@pytest.mark.parametrize("torn", [b'{"sequence":10', bytes(100)], ids=["half-a-line", "unwritten"])
def test_a_torn_tail_behind_a_forgery(books: Path, torn: bytes) -> None:
    """Nothing is repaired before everything else was found to hold."""
    forgery = Forgery(books)
    forgery[4]["signatures"][0]["signature"] = OWN.sign(b"something else").hex()
    forgery.save()
    with forgery.path.open("ab") as file:
        file.write(torn)
    refused(books, NOT_OVER, line=4)


def test_lines_signed_with_a_key_that_an_unauthorised_change_adds(books: Path) -> None:
    """A change that only the stranger signed adds no key, so what the stranger signs then is no line."""
    forgery = Forgery(books)
    added = {"add": [STRANGER.in_keyring("system")], "policies": {}, "retire": [], "revoke": []}
    forgery.append_change(added, STRANGER, by=(STRANGER,))
    forgery.append(STRANGER)
    refused(forgery.save(), "signed by 0 system keys of the keyring, its policy asks for 1", line=10)


def test_a_chain_audit_judges_whose_keys_they_are(books: Path) -> None:
    """Without cryptography a strange key is still refused, and the report says what it left out."""
    report = bb.audit_home(books)
    assert report.signatures == 0
    assert any(gap.startswith("signatures: ") for gap in report.not_covered)
    forgery = Forgery(books)
    forgery[4]["signatures"][0]["signature"] = "00" * 64
    assert bb.audit_home(forgery.save()).lines == 9
    bb.Ledger.open(books, signer=OWN.signer, verify="chain", durability="none").close()
    forgery.sign(4, STRANGER)
    with pytest.raises(bb.JournalCorrupt, match=NOT_IN_KEYRING):
        bb.audit_home(forgery.save())


@pytest.mark.parametrize("level", ["chain", "signatures"])
def test_an_unsigned_ledger_that_got_a_key(tmp_path: Path, level: bb.audit.Level) -> None:
    """Lines before the first key pass unsigned, lines from it on do not."""
    home = tmp_path / "books"
    with make(home, key=None) as ledger:
        ledger.deposit("A", "100 USDT", correlation_id="d1")
        ledger.keyring.add(OWN.signer, roles=(bb.Role.SYSTEM,), correlation_id="k1")
        ledger.deposit("A", "1 USDT", correlation_id="d2")
    assert [("signatures" in line) for line in decoded(home)] == [False, False, False, True, True]
    report = passes(home)
    assert any("lines 1 to 3: written before" in gap for gap in report.not_covered)
    assert bb.audit_home(home, level=level).lines == 5
    forgery = Forgery(home)
    forgery.strip(5)
    refused(forgery.save(), UNSIGNED, line=5)
    forgery.strip(4)
    refused(forgery.save(), UNSIGNED, line=4)


def test_a_key_before_the_first_key_of_an_unsigned_ledger(tmp_path: Path) -> None:
    """An unsigned line may not carry a signature of its own choice."""
    with make(tmp_path / "books", key=None) as ledger:
        ledger.deposit("A", "100 USDT", correlation_id="d1")
    forgery = Forgery(tmp_path / "books")
    forgery.sign(3, STRANGER)
    refused(forgery.save(), NOT_IN_KEYRING, line=3, key=None)


def test_a_pinned_id_of_an_unsigned_beginning_verifies_nothing(tmp_path: Path) -> None:
    """Whoever has the genesis of an unsigned ledger can give it a first key; no pin of it says whose."""
    home = tmp_path / "books"
    make(home, key=None).close()
    forgery = Forgery(home)
    policies = {
        "line": {"role": "system", "threshold": 1},
        "keyring": {"role": "operator", "threshold": 1},
    }
    first = {"add": [STRANGER.in_keyring("system")], "policies": policies, "retire": [], "revoke": []}
    forgery.append_change(first, STRANGER, by=(STRANGER,))
    forgery.save()
    genesis: str = forgery[1]["metadata"]["bb.keyring"]
    for pin in (bb.Pin(ledger_id=forgery.ledger_id), bb.Pin(fingerprint=genesis)):
        report = bb.audit_home(home, level="signatures", pin=pin)
        assert isinstance(report.verdict, bb.SelfConsistent)
        assert any("who gave the ledger its first key" in gap for gap in report.not_covered)
    report = bb.audit_home(home, level="signatures", pin=bb.Pin(fingerprint=forgery.fingerprint))
    assert isinstance(report.verdict, bb.Verified), "a pinned keyring with a key is one that was seen"


def test_a_pin_holds_something() -> None:
    """A pin without id and fingerprint would be matched by every journal."""
    with pytest.raises(bb.InvalidValue, match="a pin holds"):
        bb.Pin()
