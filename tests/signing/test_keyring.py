"""The keyring of an open ledger: rotation, authority, revocation, and changes that leave no trace."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from bibank import drafts
from bibank.clock import SystemClock
from bibank.journal.batches import PreparedBatch
from bibank.model.policy import SIGNED_POLICIES
from bibank.model.record import UnsignedRecord
from bibank.signing import (
    Keyring,
    KeyringChange,
    KeyStatus,
    NewKey,
    Policy,
    Purpose,
    Role,
    from_key_file,
)
from tests.signing.forge import (
    ANNA,
    ANNA_AGAIN,
    BERT,
    NEXT,
    OWN,
    STRANGER,
    Key,
    Mode,
    decoded,
    make,
    passes,
    reopen,
    transfers,
)
from tests.store.journals import StillClock, tree

OPERATOR, SYSTEM = (Role.OPERATOR,), (Role.SYSTEM,)


def signers(ledger: bb.Ledger, sequence: int) -> list[str]:
    """The public keys that signed a line."""
    return [signature.public_key for signature in ledger.entry(sequence).signatures]


def snapshot(ledger: bb.Ledger) -> tuple[object, ...]:
    """Everything that a keyring change which failed must have left as it was."""
    machine = ledger._committer.machine
    return (
        ledger.head,
        ledger.keyring.version,
        ledger.keyring.fingerprint,
        tuple(ledger.keyring.keys),
        [(account.text, account.balance) for account in machine.book],
        (machine.entries, machine.records, machine.position.copy()),
        ledger._trust.signed_from,
        repr(ledger),
    )


@pytest.fixture
def ledger() -> bb.Ledger:
    """A signed ledger in memory; its next line is line 4."""
    made = bb.Ledger.in_memory({"USDT": "100"}, signer=OWN.signer, clock=StillClock())
    made.deposit("A", "10 USDT", correlation_id="d1")
    return made


# --------------------------------------------------------------------------- rotation


def test_a_rotation_is_signed_by_the_new_key(ledger: bb.Ledger) -> None:
    """A rotation is in force from its own line: the new key signs it, and the old one nothing more."""
    record = ledger.keyring.rotate(NEXT.signer, correlation_id="k1")
    assert [claim.public_key for claim in record.signatures] == [NEXT.public_key]
    assert signers(ledger, 3) == [OWN.public_key]
    entry = ledger.deposit("A", "1 USDT", correlation_id="d2")
    assert signers(ledger, entry.sequence) == [NEXT.public_key]
    old, new = ledger.keyring.keys
    assert (old.status, old.valid_from_sequence, old.valid_to_sequence) == (KeyStatus.RETIRED, 1, 3)
    assert (new.status, new.valid_from_sequence, new.valid_to_sequence) == (KeyStatus.ACTIVE, 4, None)
    assert ledger.keyring.version == 2
    assert ledger.audit(level="signatures").signatures == 5


def test_a_home_rotates_to_a_key_file_of_its_own(tmp_path: Path) -> None:
    """A zero-configuration home makes itself another key file, and opens with it; the old one stays."""
    home = tmp_path / "books"
    with bb.Ledger.create(home, durability="none") as made:
        made.deposit("A", "1 USDT", correlation_id="d1")
        old = made.keyring.keys[0]
        made.keyring.rotate(correlation_id="k1")
        new = made.keyring.keys[1]
    names = {path.name for path in (home / "keys").glob("*.key")}
    assert names == {"SYSTEM.key", f"SYSTEM-{new.key_id}.key"}
    assert from_key_file(home / "keys" / f"SYSTEM-{new.key_id}.key").public_key == new.public_key
    assert from_key_file(home / "keys" / "SYSTEM.key").public_key == old.public_key
    with bb.Ledger.open(home, durability="none") as again:
        again.deposit("A", "1 USDT", correlation_id="d2")
        assert signers(again, 5) == [new.public_key]
        assert again.audit(level="signatures").signatures == 5
    (home / "keys" / f"SYSTEM-{new.key_id}.key").unlink()
    with pytest.raises(bb.KeystoreError, match=f"is signed by SYSTEM {new.key_id}; give its signer"):
        bb.Ledger.open(home, durability="none")


def test_a_ledger_without_a_home_rotates_to_a_given_key_only(ledger: bb.Ledger) -> None:
    """Without a home there is no place for a key file."""
    with pytest.raises(bb.ConfigurationError, match="has no place for a key file"):
        ledger.keyring.rotate(correlation_id="k1")


def test_an_unsigned_ledger_has_no_key_to_rotate() -> None:
    """A ledger without keys gets its first one instead."""
    with (
        bb.Ledger.in_memory() as unsigned,
        pytest.raises(bb.InvalidValue, match="it has no key to rotate"),
    ):
        unsigned.keyring.rotate(NEXT.signer, correlation_id="k1")


def test_reopening_takes_the_key_in_force(tmp_path: Path) -> None:
    """After a rotation the old key no longer opens the ledger, and the new one does."""
    with make(tmp_path / "books") as made:
        made.keyring.rotate(NEXT.signer, correlation_id="k1")
    before = tree(tmp_path / "books")
    with pytest.raises(bb.ConfigurationError, match=rf"SYSTEM {NEXT.key_id} may$"):
        reopen(tmp_path / "books", OWN)
    with pytest.raises(bb.KeystoreError, match="give its signer, or its key file"):
        reopen(tmp_path / "books", None)
    assert tree(tmp_path / "books") == before
    reopen(tmp_path / "books", NEXT).close()


@pytest.mark.parametrize(
    "key", [STRANGER, Key(1, "OTHER"), Key(1, "SYSTEM", "ed25519-digest")], ids=["key", "name", "scheme"]
)
def test_a_signer_that_the_keyring_does_not_hold(tmp_path: Path, key: Key) -> None:
    """Key, name and scheme must all be those of the keyring."""
    make(tmp_path / "books").close()
    with pytest.raises(bb.ConfigurationError, match="may not sign lines of this ledger"):
        reopen(tmp_path / "books", key)


def test_a_signer_for_an_unsigned_ledger(tmp_path: Path) -> None:
    """An unsigned ledger is not signed by the way."""
    make(tmp_path / "books", key=None).close()
    with pytest.raises(bb.ConfigurationError, match="the ledger is unsigned"):
        reopen(tmp_path / "books", OWN)


def test_a_first_keyring_that_the_signer_is_not_in(tmp_path: Path) -> None:
    """A ledger that could not sign its own genesis is not made: no directory, no key."""
    described = NewKey(
        signer_id="SYSTEM",
        algorithm=bb.SignatureAlgorithm.ED25519,
        public_key=NEXT.public_key,
        roles=SYSTEM,
    )
    first = Keyring.first((described,), SIGNED_POLICIES)
    with pytest.raises(bb.ConfigurationError, match="may not sign lines"):
        bb.Ledger.create(tmp_path / "books", keyring=first, signer=OWN.signer)
    with pytest.raises(bb.KeystoreError, match="give its signer"):
        bb.Ledger.create(tmp_path / "books", keyring=first)
    with pytest.raises(bb.ConfigurationError, match="the ledger is unsigned"):
        bb.Ledger.create(tmp_path / "books", keyring=Keyring.unsigned(), signer=OWN.signer)
    assert not (tmp_path / "books").exists()
    bb.Ledger.create(tmp_path / "books", keyring=first, signer=NEXT.signer, durability="none").close()
    assert passes(tmp_path / "books", key=NEXT).signatures == 2


# --------------------------------------------------------------------------- authority


def test_operators_have_authority_from_the_first_of_them_on(ledger: bb.Ledger) -> None:
    """The system's key changes the keyring until an operator's key was added, and the audit says so."""
    assert any("its system key can change it alone" in gap for gap in ledger.audit().not_covered)
    ledger.keyring.add(ANNA.signer, roles=OPERATOR, correlation_id="k1")
    assert not any("its system key can change it alone" in gap for gap in ledger.audit().not_covered)
    with pytest.raises(bb.NotAuthorised, match="signed by 0 operator keys"):
        ledger.keyring.add(BERT.signer, roles=OPERATOR, correlation_id="k2")
    ledger.keyring.add(BERT.signer, roles=OPERATOR, authorised_by=[ANNA.signer], correlation_id="k2")
    ledger.keyring.rotate(NEXT.signer, authorised_by=[BERT.signer], correlation_id="k3")
    assert [key.signer_id for key in ledger.keyring.keys] == ["SYSTEM", "ANNA_OPS", "BERT_OPS", "SYSTEM"]


def test_the_last_operator_does_not_go(ledger: bb.Ledger) -> None:
    """A change after which nobody could change the keyring is refused; a successor makes it pass."""
    ledger.keyring.add(ANNA.signer, roles=OPERATOR, correlation_id="k1")
    with pytest.raises(bb.InvalidValue, match="could not be changed any more"):
        ledger.keyring.revoke(
            ANNA.key_id, last_trusted_sequence=3, authorised_by=[ANNA.signer], correlation_id="k2"
        )
    with pytest.raises(bb.NotAuthorised, match="signed by 0 operator keys"):
        ledger.keyring.rotate(NEXT.signer, correlation_id="k3")
    ledger.keyring.add(BERT.signer, roles=OPERATOR, authorised_by=[ANNA.signer], correlation_id="k4")
    revoke = partial(ledger.keyring.revoke, ANNA.key_id, last_trusted_sequence=3, correlation_id="k5")
    with pytest.raises(bb.NotAuthorised, match="decides who approves adjustments"):
        revoke(authorised_by=[BERT.signer])
    revoke(authorised_by=[BERT.signer, ANNA.signer])


def test_signed_lines_need_a_guarded_keyring() -> None:
    """A keyring whose lines are signed and that anybody could change is none."""
    policies = {**SIGNED_POLICIES, Purpose.KEYRING: Policy(role=Role.OPERATOR, threshold=0)}
    with pytest.raises(bb.InvalidValue, match="changes of the keyring must be"):
        Keyring.first((new(OWN),), policies)


def test_two_of_three_people(ledger: bb.Ledger) -> None:
    """A threshold counts people, not keys; envelopes travel to signers elsewhere and come back."""
    for key, others in ((ANNA, [ANNA]), (BERT, [ANNA]), (ANNA_AGAIN, [ANNA, BERT])):
        signers = [other.signer for other in others]
        ledger.keyring.add(key.signer, roles=OPERATOR, authorised_by=signers, correlation_id="k1")
    policies = {Purpose.KEYRING: Policy(role=Role.OPERATOR, threshold=2)}
    draft = ledger.keyring.draft(KeyringChange(policies=policies))
    ledger.keyring.commit(draft.signed_by(ANNA.signer), correlation_id="k2")
    (row,) = [row for row in ledger.keyring.policies if row.purpose is Purpose.KEYRING]
    assert (row.role, row.threshold, row.mandatory_from) == (Role.OPERATOR, 2, ledger.head.sequence)
    change = KeyringChange(retire=(ANNA_AGAIN.key_id,))
    draft = ledger.keyring.draft(change).signed_by(ANNA.signer)
    for envelope in (draft, draft.signed_by(ANNA_AGAIN.signer)):
        with pytest.raises(bb.NotAuthorised, match="signed by 1 operator keys of the keyring, its policy"):
            ledger.keyring.commit(envelope, correlation_id="k3")
    ledger.keyring.commit(draft.signed_by(BERT.signer), correlation_id="k3")
    assert ledger.audit(level="signatures").fingerprint == ledger.keyring.fingerprint


def test_fingerprints_name_versions(ledger: bb.Ledger) -> None:
    """Each version has a fingerprint, and any that the journal reaches may be pinned."""
    seen = [ledger.keyring.fingerprint]
    ledger.keyring.add(ANNA.signer, roles=OPERATOR, correlation_id="k1")
    seen.append(ledger.keyring.fingerprint)
    ledger.keyring.rotate(NEXT.signer, authorised_by=[ANNA.signer], correlation_id="k2")
    seen.append(ledger.keyring.fingerprint)
    assert len(set(seen)) == 3
    for fingerprint in seen:
        report = ledger.audit(level="signatures", pin=bb.Pin(fingerprint=fingerprint))
        assert isinstance(report.verdict, bb.Verified)
    with pytest.raises(bb.PinMismatch):
        ledger.audit(pin=bb.Pin(fingerprint="0" * 64))
    with pytest.raises(bb.PinMismatch):
        ledger.audit(pin=bb.Pin(ledger_id="other/" + "0" * 32))


# --------------------------------------------------------------------------- revocation


def test_a_revoked_key_leaves_suspect_lines(ledger: bb.Ledger) -> None:
    """What a revoked key signed after the last trusted line is named in the audit's report."""
    ledger.deposit("A", "1 USDT", correlation_id="d2")
    ledger.keyring.revoke(OWN.key_id, last_trusted_sequence=2, replacement=NEXT.signer, correlation_id="k1")
    report = ledger.audit(level="signatures")
    (suspect,) = report.suspect
    assert suspect.startswith(f"lines 3 to 4: key {OWN.key_id} of SYSTEM was trusted up to line 2 only")
    assert f"suspect: {suspect}" in str(report)
    (old, new) = ledger.keyring.keys
    assert (old.status, old.last_trusted_sequence, old.valid_to_sequence) == (KeyStatus.REVOKED, 2, 4)
    assert new.status is KeyStatus.ACTIVE
    ledger.deposit("A", "1 USDT", correlation_id="d3")
    assert signers(ledger, 6) == [NEXT.public_key]


def test_a_key_revoked_without_doubt_leaves_no_suspect_line(ledger: bb.Ledger) -> None:
    """A key trusted up to its last line leaves nothing in doubt, and none before it was there."""
    ledger.keyring.revoke(OWN.key_id, last_trusted_sequence=3, replacement=NEXT.signer, correlation_id="k1")
    assert ledger.audit().suspect == ()
    ledger.keyring.revoke(
        NEXT.key_id, last_trusted_sequence=1, replacement=STRANGER.signer, correlation_id="k2"
    )
    (suspect,) = ledger.audit().suspect
    assert suspect.startswith("lines 4 to 4: "), "the key was not there before line 4"


def test_revoking_the_last_system_key(ledger: bb.Ledger) -> None:
    """The ledger's own key is not given up without another."""
    before = snapshot(ledger)
    with pytest.raises(bb.InvalidValue, match="no line could be signed any more"):
        ledger.keyring.revoke(OWN.key_id, last_trusted_sequence=1, correlation_id="k1")
    assert snapshot(ledger) == before


def test_revoking_what_is_not_there(ledger: bb.Ledger) -> None:
    """Only an active key of the keyring is revoked, and only for lines that are there."""
    before = snapshot(ledger)
    with pytest.raises(bb.InvalidValue, match="is not an active key"):
        ledger.keyring.revoke("0" * 16, last_trusted_sequence=1, correlation_id="k1")
    with pytest.raises(bb.InvalidValue, match="is not below line 4"):
        ledger.keyring.revoke(
            OWN.key_id, last_trusted_sequence=4, replacement=NEXT.signer, correlation_id="k1"
        )
    assert snapshot(ledger) == before


# --------------------------------------------------------------------------- modes


@pytest.mark.parametrize("modes", [("entry", "group", "entry"), ("group", "entry", "group")])
def test_modes_change_across_reopening(tmp_path: Path, modes: tuple[Mode, Mode, Mode]) -> None:
    """What is signed of a group is chosen at each opening; readers follow the marks."""
    home = tmp_path / "books"
    make(home, mode=modes[0]).close()
    expected = 2 if modes[0] == "entry" else 1
    for number, mode in enumerate(modes):
        with reopen(home, mode=mode) as ledger:
            ledger.deposit("A", "9 USDT", correlation_id=f"d{number}")
            ledger.commit_each(transfers(3))
            expected += 4 if mode == "entry" else 2
            assert ledger.audit(level="signatures").signatures == expected
    lines = decoded(home)
    assert len(lines) == 14
    assert sum("signatures" in line for line in lines) == expected
    assert all(("signatures" in line) or line["batch"]["cover"] == "group" for line in lines), (
        "a line without a signature says that its group has one"
    )


@pytest.mark.parametrize("mode", ["entry", "group"])
def test_every_way_of_committing_in_both_modes(tmp_path: Path, mode: Mode) -> None:
    """Views, stored lines and audits agree on the signatures of every kind of commit."""
    home = tmp_path / "books"
    with make(home, mode=mode) as ledger:
        ledger.deposit("A", "100 USDT", correlation_id="d1")
        batch = ledger.commit_batch(transfers(3))
        outcomes = ledger.commit_each([*transfers(2), transfers(1, payer="NOBODY")[0], transfers(2)])
        record = ledger.keyring.add(ANNA.signer, roles=OPERATOR, correlation_id="k1")
        lines = [line for committed in outcomes.committed for line in committed.lines]
        for line in (*batch, *lines):
            assert ledger.entry(line.sequence) == line
        assert len(record.signatures) == 1
        count = {"entry": 11, "group": 5}[mode]
        assert ledger.audit(level="signatures").signatures == count
        assert ledger.audit(level="signatures", workers=2).signatures == count
    passes(home)


# --------------------------------------------------------------------------- no trace


REFUSED: list[Callable[[bb.Ledger], object]] = [
    lambda ledger: ledger.keyring.add(OWN.signer, roles=OPERATOR, correlation_id="k1"),
    lambda ledger: ledger.keyring.add(ANNA.signer, roles=OPERATOR),
    lambda ledger: ledger.keyring.add(ANNA.signer, roles=(), correlation_id="k1"),
    lambda ledger: ledger.keyring.rotate(OWN.signer, correlation_id="k1"),
    lambda ledger: ledger.keyring.rotate(NEXT.signer, authorised_by=[STRANGER.signer], correlation_id="k1"),
    lambda ledger: ledger.keyring.commit(
        ledger.keyring.draft(KeyringChange(retire=(ANNA.key_id,))), correlation_id="k1"
    ),
]


@pytest.mark.parametrize("attempt", REFUSED, ids=range(len(REFUSED)))
def test_a_refused_change_leaves_no_trace(ledger: bb.Ledger, attempt: Callable[[bb.Ledger], object]) -> None:
    """A change that is refused changes neither keyring nor ledger, and the next one is as if it was never."""
    before = snapshot(ledger)
    with pytest.raises((bb.InvalidInput, bb.NotAuthorised)):
        attempt(ledger)
    assert snapshot(ledger) == before
    ledger.deposit("A", "1 USDT", correlation_id="d2")
    ledger.keyring.rotate(NEXT.signer, correlation_id="k2")
    assert ledger.audit(level="signatures").lines == 5


def test_a_change_that_ends_the_ledgers_own_signer(ledger: bb.Ledger) -> None:
    """A change after which the ledger's signer could not sign its own record is refused, not written."""
    ledger.keyring.add(NEXT.signer, roles=SYSTEM, correlation_id="k1")
    before = snapshot(ledger)
    with pytest.raises(bb.InvalidValue, match=f"key {OWN.key_id} of SYSTEM signs lines from 1 to 4"):
        ledger.keyring.revoke(OWN.key_id, last_trusted_sequence=1, correlation_id="k2")
    change = KeyringChange(policies={Purpose.LINE: Policy(role=Role.OPERATOR, threshold=1)}, add=(new(ANNA),))
    signed = ledger.keyring.draft(change)
    for key in (OWN, NEXT, ANNA):
        signed = signed.signed_by(key.signer)
    with pytest.raises(bb.InvalidValue, match="could not sign this line under the keyring that it makes"):
        ledger.keyring.commit(signed, correlation_id="k3")
    with pytest.raises(bb.InvalidValue, match="which is not in the keyring"):
        ledger.keyring.commit(signed, correlation_id="k3", signer=STRANGER.signer)
    assert snapshot(ledger) == before
    ledger.keyring.commit(signed, correlation_id="k3", signer=ANNA.signer)
    entry = ledger.deposit("A", "1 USDT", correlation_id="d2")
    assert [claim.signer_id for claim in entry.signatures] == ["ANNA_OPS"]
    assert ledger.audit(level="signatures").lines == 6


def new(key: Key) -> NewKey:
    """Describe an operator's key."""
    return NewKey(
        signer_id=key.signer_id,
        algorithm=bb.SignatureAlgorithm(key.algorithm),
        public_key=key.public_key,
        roles=OPERATOR,
    )


def test_a_first_key_without_its_signer(tmp_path: Path) -> None:
    """The first key of an unsigned ledger, given as an envelope, needs its signer for the line itself."""
    with make(tmp_path / "books", key=None) as ledger:
        before = snapshot(ledger)
        change = KeyringChange(
            add=(NewKey(**{**members_of(new(OWN)), "roles": SYSTEM}),),
            policies=SIGNED_POLICIES,
        )
        envelope = ledger.keyring.draft(change).signed_by(OWN.signer)
        with pytest.raises(bb.InvalidValue, match="could not sign this line"):
            ledger.keyring.commit(envelope, correlation_id="k1")
        assert snapshot(ledger) == before
        ledger.keyring.commit(envelope, correlation_id="k1", signer=OWN.signer)
        ledger.deposit("A", "1 USDT", correlation_id="d1")
    passes(tmp_path / "books")


def members_of(key: NewKey) -> dict[str, Any]:
    """The members of a described key."""
    return {name: getattr(key, name) for name in ("signer_id", "algorithm", "public_key", "roles")}


def test_the_first_key_of_an_unsigned_ledger_is_a_system_key() -> None:
    """An operator cannot be the first."""
    with (
        bb.Ledger.in_memory() as unsigned,
        pytest.raises(bb.ConfigurationError, match="is its system key, nothing else"),
    ):
        unsigned.keyring.add(ANNA.signer, roles=OPERATOR, correlation_id="k1")


def test_a_previewed_change_leaves_no_trace(ledger: bb.Ledger) -> None:
    """Judging a change without committing it does not trust it."""
    before = snapshot(ledger)
    envelope = ledger.keyring.draft(KeyringChange(add=(new(ANNA),)))
    for key in (OWN, ANNA):
        envelope = envelope.signed_by(key.signer)
    record = UnsignedRecord(
        kind=bb.RecordKind.KEYRING_CHANGED,
        subject=ledger.ledger_id,
        correlation_id="k1",
        body=envelope.to_body(),
    )
    batches = (
        PreparedBatch((record,)),
        PreparedBatch((drafts.deposit("A", "1 USDT", correlation_id="d2"), record)),
    )
    for batch in batches:
        ledger._committer.preview(batch)
        assert snapshot(ledger) == before
    overdrawn = PreparedBatch((record, drafts.withdrawal("A", "99 USDT", correlation_id="w1")))
    with pytest.raises(bb.InsufficientBalance):
        ledger._committer.commit(overdrawn)
    assert snapshot(ledger) == before
    ledger._committer.commit(batches[1])
    assert ledger.keyring.version == 2
    assert ledger.audit(level="signatures").lines == 5


class FullDisk:
    """A store that refuses every append, having written nothing."""

    def __init__(self, inner: bb.MemoryStore) -> None:
        self.inner = inner
        self.full = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def append(self, group: Any) -> Any:
        """Refuse when full."""
        if self.full:
            raise bb.StoreUnavailable("the disk is full")
        return self.inner.append(group)

    def head(self) -> bb.Head:
        """The inner head."""
        return self.inner.head()

    def read(self, *, after_sequence: int = 0) -> Any:
        """The inner lines."""
        return self.inner.read(after_sequence=after_sequence)

    def close(self) -> None:
        """Close the inner store."""
        self.inner.close()


def test_a_change_that_the_store_refuses_leaves_no_trace() -> None:
    """A change that was not written is not trusted, and the old key goes on signing."""
    store = FullDisk(bb.MemoryStore())
    with bb.Ledger(store=store, signer=OWN.signer, clock=SystemClock()) as ledger:
        ledger.deposit("A", "1 USDT", correlation_id="d1")
        before = snapshot(ledger)
        store.full = True
        with pytest.raises(bb.StoreUnavailable):
            ledger.keyring.rotate(NEXT.signer, correlation_id="k1")
        assert snapshot(ledger) == before
        with pytest.raises(bb.StoreUnavailable):
            ledger.keyring.add(ANNA.signer, roles=OPERATOR, correlation_id="k1")
        assert snapshot(ledger) == before
        store.full = False
        entry = ledger.deposit("A", "1 USDT", correlation_id="d2")
        assert signers(ledger, entry.sequence) == [OWN.public_key]
        assert ledger.audit(level="signatures").lines == 4


def test_a_keyring_file_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The keyring file is a cache: a change in the journal does not fail with it, and it comes back."""
    home = tmp_path / "books"
    with make(home) as ledger:
        with monkeypatch.context() as patch:
            patch.setattr("bibank.home.replace_file", full_disk)
            ledger.keyring.rotate(NEXT.signer, correlation_id="k1")
        assert "the next opening writes it again" in caplog.text
        assert ledger.keyring.version == 2
        fingerprint = ledger.keyring.fingerprint
    assert fingerprint not in (home / "keyring.json").read_text()
    passes(home, key=NEXT)
    assert fingerprint in (home / "keyring.json").read_text()


def full_disk(path: Path, data: bytes) -> None:
    """Stand for a write that fails."""
    raise bb.StoreUnavailable(f"cannot write {path}: no space left")
