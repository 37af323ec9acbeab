"""Verification in workers: the verdict of one is the verdict of two, and names the first line that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import bibank as bb
from bibank import drafts, opening, verification
from bibank.journal.machine import LedgerMachine
from bibank.opening import replay
from bibank.risk.engine import RiskEngine
from bibank.signing.trust import KeyringTrust, SignatureCheck
from bibank.verification import SignatureChecks
from tests.journal.machines import spell
from tests.signing.forge import OWN, Forgery, make, reopen

WRONG = "the signature of SYSTEM is not over this line"
LINES = 60


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a short journal fill the queue: chunks of two, three of them under way."""
    monkeypatch.setattr(verification, "_CHUNK", 2)
    monkeypatch.setattr(verification, "_MOST_WAITING", 3)


@pytest.fixture
def forgery(tmp_path: Path) -> Forgery:
    """Sixty lines, each signed."""
    with make(tmp_path / "books") as ledger:
        items = [drafts.deposit("A", "1 USDT", correlation_id=f"d{number}") for number in range(LINES - 2)]
        ledger.commit_each(items)
    return Forgery(tmp_path / "books")


def spoil(forgery: Forgery, *sequences: int) -> None:
    """Put wrong signatures on lines."""
    for sequence in sequences:
        forgery[sequence]["signatures"][0]["signature"] = OWN.sign(b"something else").hex()
    forgery.save()


def verdicts(forgery: Forgery, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int | None, str]]:
    """Judge a home in every way: line and reason of each."""
    for workers in (1, 2, 5):
        with pytest.raises(bb.JournalCorrupt) as caught:
            bb.audit_home(forgery.home, level="signatures", workers=workers)
        yield caught.value.line, caught.value.reason
        monkeypatch.setattr(opening, "default_workers", lambda workers=workers: workers)
        with pytest.raises(bb.JournalCorrupt) as caught:
            reopen(forgery.home)
        yield caught.value.line, caught.value.reason


@pytest.mark.parametrize("sequence", [1, 2, 3, 4, 5, 12, 13, 31, LINES - 1, LINES])
def test_a_wrong_signature_is_found_wherever_it_is(
    forgery: Forgery, monkeypatch: pytest.MonkeyPatch, sequence: int
) -> None:
    """A wrong signature is found and named, also when its verdict comes in while later lines are read."""
    spoil(forgery, sequence)
    assert set(verdicts(forgery, monkeypatch)) == {(sequence, WRONG)}


def test_the_first_of_several_is_named(forgery: Forgery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many wrong signatures the first one in the journal is named."""
    spoil(forgery, *range(7, LINES, 5))
    assert set(verdicts(forgery, monkeypatch)) == {(7, WRONG)}


def test_a_wrong_signature_before_another_fault(forgery: Forgery, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature that fails before a line that is corrupt is what is named."""
    forgery.strip(LINES - 1)
    spoil(forgery, 40)
    assert set(verdicts(forgery, monkeypatch)) == {(40, WRONG)}


def test_another_fault_before_a_wrong_signature(forgery: Forgery, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is corrupt before a signature that fails is what is named."""
    forgery.strip(10)
    spoil(forgery, 40)
    ((line, reason),) = set(verdicts(forgery, monkeypatch))
    assert (line, reason.split(",")[0]) == (10, "the line is not signed")


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_good_journal_passes_and_every_signature_is_counted(forgery: Forgery, workers: int) -> None:
    """With any number of workers as many signatures are verified as there are."""
    assert bb.audit_home(forgery.home, level="signatures", workers=workers).signatures == LINES
    assert verification.default_workers() in (1, 2)


def test_a_long_journal_with_one_wrong_signature(forgery: Forgery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is served, a ledger has the verdict on every signature, also when the queue was full."""
    monkeypatch.setattr(opening, "default_workers", lambda: 2)
    spoil(forgery, 4)
    lines = [spell(line) for line in forgery.lines]
    with pytest.raises(bb.JournalCorrupt, match=WRONG) as caught:
        replay(lines, engine=RiskEngine())
    assert caught.value.sequence == 4


def test_a_failure_is_kept_until_it_is_asked_for(forgery: Forgery) -> None:
    """Taking a signature never raises another one's failure, which the reader would take for its own."""
    spoil(forgery, 3)
    with SignatureChecks(workers=2) as checks:
        machine = LedgerMachine(RiskEngine(), KeyringTrust(checks.take))
        for line in forgery.lines:
            machine.accept(spell(line))
        assert checks.checked == LINES
        for _ in range(2):
            with pytest.raises(bb.JournalCorrupt) as caught:
                checks.finish()
            assert caught.value.sequence == 3


def test_leaving_early_waits_for_nothing() -> None:
    """A replay that is interrupted lets go of its threads."""
    check = SignatureCheck(
        sequence=1, signer_id="SYSTEM", public_key=bytes(32), message=b"", signature=bytes(64)
    )
    checks = SignatureChecks(workers=2)
    with pytest.raises(KeyboardInterrupt):
        take_and_interrupt(checks, check)
    assert checks._pool is not None
    with pytest.raises(RuntimeError):
        checks._pool.submit(print)


def take_and_interrupt(checks: SignatureChecks, check: SignatureCheck) -> None:
    """Leave the context in the middle of the work."""
    with checks:
        for _ in range(9):
            checks.take(check)
        raise KeyboardInterrupt


@pytest.mark.parametrize("workers", [0, -1])
def test_at_least_one_worker(forgery: Forgery, workers: int) -> None:
    """No worker verifies nothing, so it is refused."""
    with pytest.raises(bb.InvalidValue, match="at least one"):
        bb.audit_home(forgery.home, level="signatures", workers=workers)
