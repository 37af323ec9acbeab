"""Signers that are not ours: what they return is verified, and when they fail nothing happened."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from bibank import drafts
from bibank.signing import BatchSigner, Ed25519Signer, Role, Signer
from tests.signing.forge import ANNA, NEXT, OWN, Key, Mode, make, passes, reopen, transfers
from tests.store.journals import tree

GOOD = OWN.sign


class Remote:
    """A signer far away, which answers as it is told to."""

    def __init__(self, key: Key = OWN) -> None:
        self.key = key
        self.answer: Callable[[bytes], Any] = key.sign
        self.messages: list[bytes] = []

    @property
    def signer_id(self) -> str:
        """Who signs."""
        return self.key.signer_id

    @property
    def algorithm(self) -> bb.SignatureAlgorithm:
        """The scheme."""
        return bb.SignatureAlgorithm(self.key.algorithm)

    @property
    def public_key(self) -> str:
        """The key."""
        return self.key.public_key

    def sign(self, message: bytes) -> bytes:
        """Sign, or whatever the test wants."""
        self.messages.append(message)
        answer: bytes = self.answer(message)
        return answer


class RemoteBatch(Remote):
    """A signer that takes many messages at once."""

    def __init__(self, key: Key = OWN) -> None:
        super().__init__(key)
        self.calls: list[int] = []
        self.answers: Callable[[Sequence[bytes]], Any] = lambda messages: [key.sign(m) for m in messages]

    def sign_many(self, messages: Sequence[bytes]) -> Sequence[bytes]:
        """Sign all, or whatever the test wants."""
        self.calls.append(len(messages))
        answers: Sequence[bytes] = self.answers(messages)
        return answers


def fail(message: object) -> Any:
    """Stand for a service that is away."""
    raise TimeoutError("no route to the key service")


class HostError(bb.Refused):
    """A host that uses our own errors for its service."""


def refuse(message: object) -> Any:
    """Stand for a signer that raises an error of the library's."""
    raise HostError("not today", rule="hsm", advice="tomorrow")


SINGLE: dict[str, Callable[[bytes], Any]] = {
    "raises": fail,
    "raises-ours": refuse,
    "none": lambda message: None,
    "text": lambda message: "s" * 64,
    "list": lambda message: [0] * 64,
    "bytearray": lambda message: bytearray(GOOD(message)),
    "empty": lambda message: b"",
    "short": lambda message: GOOD(message)[:-1],
    "long": lambda message: GOOD(message) + b"\0",
    "zeros": lambda message: bytes(64),
    "another-key": NEXT.sign,
    "another-message": lambda message: GOOD(message + b"."),
    "hex": lambda message: GOOD(message).hex().encode(),
}

MANY: dict[str, Callable[[Sequence[bytes]], Any]] = {
    "raises": fail,
    "raises-ours": refuse,
    "none": lambda messages: None,
    "empty": lambda messages: [],
    "one-less": lambda messages: [GOOD(message) for message in messages[:-1]],
    "one-more": lambda messages: [GOOD(message) for message in (*messages, messages[0])],
    "turned": lambda messages: [GOOD(message) for message in reversed(messages)],
    "last-wrong": lambda messages: [*(GOOD(message) for message in messages[:-1]), bytes(64)],
    "text": lambda messages: "junk",
}


def state(ledger: bb.Ledger) -> tuple[object, ...]:
    """What a failed commit must have left as it was."""
    machine = ledger._committer.machine
    return (
        ledger.head,
        [(account.text, account.balance) for account in machine.book],
        (machine.entries, machine.records, machine.position.copy()),
        ledger.keyring.fingerprint,
        repr(ledger),
    )


def check_failures(ledger: bb.Ledger, home: Path) -> None:
    """Try every way of committing; each fails as the signer's fault and leaves nothing."""
    before, files = state(ledger), tree(home)
    attempts: list[Callable[[], object]] = [
        lambda: ledger.deposit("NEW", "1 USDT", correlation_id="d2"),
        lambda: ledger.commit_batch(transfers(2)),
        lambda: ledger.commit_each([*transfers(2), *transfers(1, payer="NOBODY"), transfers(3)]),
    ]
    for attempt in attempts:
        with pytest.raises(bb.KeystoreError) as caught:
            attempt()
        assert type(caught.value) is bb.KeystoreError
        assert state(ledger) == before
        assert tree(home) == files


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with three signed lines."""
    with make(tmp_path / "books") as ledger:
        ledger.deposit("A", "100 USDT", correlation_id="d1")
    return tmp_path / "books"


@pytest.mark.parametrize("mode", ["entry", "group"])
@pytest.mark.parametrize("answer", SINGLE.values(), ids=SINGLE)
def test_a_signer_that_fails(home: Path, answer: Callable[[bytes], Any], mode: Mode) -> None:
    """Whatever is wrong with a signature, nothing is written, and the ledger goes on."""
    remote = Remote()
    assert isinstance(remote, Signer)
    assert not isinstance(remote, BatchSigner)
    with bb.Ledger.open(home, signer=remote, signing=mode, durability="none") as ledger:
        remote.answer = answer
        check_failures(ledger, home)
        with pytest.raises(bb.KeystoreError):
            ledger.keyring.add(ANNA.signer, roles=(Role.OPERATOR,), correlation_id="k1")
        remote.answer = GOOD
        ledger.keyring.add(ANNA.signer, roles=(Role.OPERATOR,), correlation_id="k1")
        assert ledger.deposit("A", "1 USDT", correlation_id="d2").sequence == 5
        assert ledger.audit(level="signatures").lines == 5
    passes(home)


@pytest.mark.parametrize("answers", MANY.values(), ids=MANY)
def test_a_batch_signer_that_fails(home: Path, answers: Callable[[Sequence[bytes]], Any]) -> None:
    """As many signatures as messages, in their order, or none of them is used."""
    remote = RemoteBatch()
    assert isinstance(remote, BatchSigner)
    with bb.Ledger.open(home, signer=remote, durability="none") as ledger:
        remote.answers = answers
        files, before = tree(home), state(ledger)
        for attempt in (
            lambda: ledger.commit_batch(transfers(2)),
            lambda: ledger.commit_each(transfers(3)),
        ):
            with pytest.raises(bb.KeystoreError):
                attempt()
            assert (tree(home), state(ledger)) == (files, before)
        remote.answers = lambda messages: tuple(GOOD(message) for message in messages)
        ledger.commit_each(transfers(3))
        assert ledger.audit(level="signatures").lines == 6
    passes(home)


def test_a_remote_rotation_that_fails(home: Path) -> None:
    """A new key whose signer fails is not trusted, at whichever of its signatures it fails."""
    with reopen(home) as ledger:
        before, files = state(ledger), tree(home)
        for patience in (0, 1):
            remote = Remote(NEXT)

            def answer(message: bytes, patience: int = patience, remote: Remote = remote) -> bytes:
                return NEXT.sign(message) if len(remote.messages) <= patience else bytes(64)

            remote.answer = answer
            with pytest.raises(bb.KeystoreError):
                ledger.keyring.rotate(remote, correlation_id="k1")
            assert (state(ledger), tree(home)) == (before, files)
        ledger.keyring.rotate(Remote(NEXT), correlation_id="k1")
    passes(home, key=NEXT)


def test_a_batch_signer_is_asked_once_a_group(home: Path) -> None:
    """A batch signer gets all messages of a write group at once, one call for each group."""
    remote = RemoteBatch()
    with bb.Ledger.open(home, signer=remote, durability="none") as ledger:
        ledger.commit_each(transfers(40))
        ledger.commit_batch(transfers(3))
        ledger.deposit("A", "1 USDT", correlation_id="d2")
        assert remote.calls == [40, 3, 1]
        ledger.commit_each(transfers(1, payer="NOBODY"))
        assert remote.calls == [40, 3, 1], "nothing to sign, nobody is asked"
    assert remote.messages == []
    remote.calls.clear()
    with bb.Ledger.open(home, signer=remote, signing="group", durability="none") as ledger:
        ledger.commit_each(transfers(40))
        assert remote.calls == [1]
    passes(home)


def test_a_signer_sees_only_what_begins_like_a_line_or_an_envelope(home: Path) -> None:
    """No key signs bytes of another beginning."""
    remote = Remote(NEXT)
    with reopen(home) as ledger:
        ledger.keyring.rotate(remote, correlation_id="k1")
        ledger.deposit("A", "1 USDT", correlation_id="d2")
    beginnings = (b"DSSEv1 ", b'{"body":', b'{"hash":"')
    assert [
        next(start for start in beginnings if message.startswith(start)) for message in remote.messages
    ] == list(beginnings)


def test_a_slow_signer_holds_the_order(home: Path) -> None:
    """While a signer thinks nothing of its group is seen, readers go on, and who commits then is next."""
    remote = Remote()
    thinking, go_on = threading.Event(), threading.Event()

    def answer(message: bytes) -> bytes:
        thinking.set()
        assert go_on.wait(30)
        return GOOD(message)

    with bb.Ledger.open(home, signer=remote, durability="none") as ledger:
        remote.answer = answer
        done: list[int] = []
        first = threading.Thread(
            target=lambda: done.append(ledger.deposit("A", "1 USDT", correlation_id="d2").sequence)
        )
        first.start()
        assert thinking.wait(30)
        assert str(ledger.balance("A", "USDT").available) == "100"
        second = threading.Thread(
            target=lambda: done.append(ledger.deposit("A", "1 USDT", correlation_id="d3").sequence)
        )
        second.start()
        second.join(0.05)
        assert not done, "what is not durable yet is not acknowledged"
        go_on.set()
        first.join(30)
        second.join(30)
        assert sorted(done) == [4, 5]
        assert str(ledger.balance("A", "USDT").available) == "102"
    passes(home)


def test_a_signer_that_changes_its_key(home: Path) -> None:
    """A signer's key is asked once; one that is exchanged behind the ledger's back fails."""
    remote = Remote()
    with bb.Ledger.open(home, signer=remote, durability="none") as ledger:
        remote.key = NEXT
        remote.answer = NEXT.sign
        with pytest.raises(bb.KeystoreError, match=f"its key {OWN.public_key} does not verify"):
            ledger.deposit("A", "1 USDT", correlation_id="d2")
        assert ledger.head.sequence == 3


@pytest.mark.parametrize("mode", ["entry", "group"])
@pytest.mark.parametrize("where", ["local", "remote"])
def test_digests_end_to_end(tmp_path: Path, mode: Mode, where: str) -> None:
    """A signer for digests signs short messages only, and everything else is the same."""
    key = Key(1, "SYSTEM", "ed25519-digest")
    remote = Remote(key)
    signer: Signer = key.signer if where == "local" else remote
    home = tmp_path / "books"
    with bb.Ledger.create(home, signer=signer, signing=mode, durability="none") as ledger:
        ledger.deposit("A", "100 USDT", correlation_id="d1", metadata={"note": "n" * 4000})
        ledger.commit_each(transfers(5))
        ledger.keyring.add(ANNA.signer, roles=(Role.OPERATOR,), correlation_id="k1")
        (claim,) = ledger.entry(3).signatures
        assert claim.algorithm is bb.SignatureAlgorithm.ED25519_DIGEST
        report = ledger.audit(level="signatures")
        assert report.signatures == {"entry": 9, "group": 4}[mode]
    assert bb.audit_home(home, level="signatures", workers=2).signatures == report.signatures
    with bb.Ledger.open(home, signer=signer, signing=mode, durability="none") as ledger:
        ledger.deposit("A", "1 USDT", correlation_id="d2")
    line_messages = [message for message in remote.messages if b"vnd.bibank.line+json" in message]
    assert all(message.startswith(b"DSSEv1 ") and len(message) < 400 for message in line_messages)
    assert bool(line_messages) == (where == "remote")


def test_a_reserved_curve_fails_typed(tmp_path: Path) -> None:
    """secp256k1 is reserved: no ledger is made or opened with it, no signer has it."""
    remote = Remote(Key(1, "SYSTEM", "secp256k1"))
    with pytest.raises(bb.ConfigurationError, match="secp256k1 is reserved"):
        bb.Ledger.create(tmp_path / "books", signer=remote)
    assert not (tmp_path / "books").exists()
    with pytest.raises(bb.ConfigurationError, match="secp256k1 is reserved"):
        Ed25519Signer(bytes(32), signer_id="SYSTEM", algorithm=bb.SignatureAlgorithm.SECP256K1)
    with pytest.raises(bb.InvalidType, match="algorithm is a SignatureAlgorithm"):
        Ed25519Signer(bytes(32), signer_id="SYSTEM", algorithm="ed25519")  # type: ignore[arg-type]  # on purpose


def test_what_is_no_signer(tmp_path: Path) -> None:
    """Something without the members of a signer is refused before anything is made."""
    wrong: Any
    for wrong in (object(), b"secret", "secret"):
        for attempt in (
            lambda wrong=wrong: bb.Ledger.create(tmp_path / "books", signer=wrong),
            lambda wrong=wrong: bb.Ledger.open_or_create(tmp_path / "books", signer=wrong),
            lambda wrong=wrong: bb.Ledger.open(tmp_path / "books", signer=wrong),
            lambda wrong=wrong: bb.Ledger.in_memory(signer=wrong),
            lambda wrong=wrong: bb.Ledger.in_memory().keyring.add(wrong, roles=(Role.SYSTEM,)),
        ):
            with pytest.raises(bb.ConfigurationError, match="a signer has signer_id") as caught:
                attempt()
            assert "secret" not in str(caught.value), "somebody may have given the secret itself"
    with pytest.raises(bb.ConfigurationError, match="signing is 'entry' or 'group'"):
        bb.Ledger.create(tmp_path / "books", signing="none")  # type: ignore[arg-type]  # on purpose
    assert not (tmp_path / "books").exists()


def test_a_founding_that_its_signer_fails(tmp_path: Path) -> None:
    """A ledger whose genesis was not signed does not exist, and can be created again."""
    remote = Remote()
    remote.answer = fail
    with pytest.raises(bb.KeystoreError):
        bb.Ledger.create(tmp_path / "books", signer=remote, durability="none")
    with pytest.raises(bb.HomeNotFound):
        bb.Ledger.open(tmp_path / "books", signer=OWN.signer)
    make(tmp_path / "books").close()
    assert passes(tmp_path / "books").signatures == 2


def test_a_group_that_fails_after_one_that_is_durable(home: Path) -> None:
    """Of a long run, the groups before the failure are durable, and the ledger stands behind them."""
    remote = RemoteBatch()
    with bb.Ledger.open(home, signer=remote, durability="none") as ledger:
        remote.answers = lambda messages: (
            [GOOD(message) for message in messages] if len(remote.calls) == 1 else fail(messages)
        )
        with pytest.raises(bb.KeystoreError):
            ledger.commit_each([drafts.deposit("C", "1 USDT", correlation_id="c1")] * 8195)
        assert remote.calls == [8192, 3]
        assert ledger.head.sequence == 3 + 8192
        assert str(ledger.balance("C", "USDT").available) == "8192"
        remote.answers = lambda messages: [GOOD(message) for message in messages]
        ledger.deposit("C", "1 USDT", correlation_id="d2")
    assert passes(home).lines == 3 + 8193
