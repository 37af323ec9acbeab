"""Forks: a what-if that begins where a ledger stood, and that nothing comes back from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bibank as bb
from bibank.rules import EntryLimit, RiskEngine
from bibank.signing import Ed25519Signer
from bibank.stores import LedgerStore
from tests.ledger.test_adopted_rules import Host
from tests.store.journals import SIGNER, StillClock, deposit, transfer

STRANGER = Ed25519Signer(bytes(31) + b"s", signer_id="WHAT_IF")


@pytest.fixture(params=["memory", "home", "group signed"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[bb.Ledger]:
    """A ledger of seven lines with a batch and a hold, wherever it lives."""
    if request.param == "memory":
        made = bb.Ledger.in_memory({"USDT": "1000"}, clock=StillClock())
    else:
        signing: Literal["entry", "group"] = "group" if request.param == "group signed" else "entry"
        made = bb.Ledger.create(
            tmp_path / "books", opening={"USDT": "1000"}, clock=StillClock(), signing=signing
        )
    with made:
        made.commit(deposit("ALICE", "100 USDT"))
        made.commit_batch([transfer("ALICE", "BOB", "10 USDT"), transfer("BOB", "CAROL", "1 USDT")])
        made.hold("ALICE", "20 USDT", to="BOB", correlation_id="h")
        made.commit(transfer("ALICE", "BOB", "5 USDT"))
        yield made


def shown(ledger: bb.Ledger) -> dict[str, str]:
    """All balances as text."""
    return {row.account.text: str(row.balance) for row in ledger.accounts()}


def test_a_fork_begins_where_the_ledger_stands(ledger: bb.Ledger) -> None:
    """It has the same balances, holds and lines, another id, and what it does stays with it."""
    before, head = shown(ledger), ledger.head
    fork = ledger.fork()
    assert (shown(fork), fork.head, list(fork.holds())) == (before, head, list(ledger.holds()))
    assert fork.ledger_id == f"fork.{ledger.ledger_id}"
    assert [entry.hash for entry in fork.entries()] == [entry.hash for entry in ledger.entries()]
    fork.post_hold(fork.holds()[0].id, correlation_id="x")
    fork.commit(deposit("DORA", "1 USDT"))
    assert (shown(ledger), ledger.head, len(ledger.holds())) == (before, head, 1)
    ledger.commit(deposit("DORA", "7 USDT"))
    assert str(fork.balance("DORA", "USDT").posted) == "1"
    assert fork.entry(8).hash != ledger.entry(8).hash


@pytest.mark.parametrize(("at", "stands"), [(2, 2), (3, 3), (4, 3), (5, 5), (6, 6), (7, 7)])
def test_a_fork_at_a_line_has_what_was_there_then(ledger: bb.Ledger, at: int, stands: int) -> None:
    """A sequence inside a batch means the batch before."""
    fork = ledger.fork(at=at)
    assert fork.head.sequence == stands
    alice = {2: "0", 3: "100", 5: "90", 6: "90", 7: "85"}[stands]
    assert str(fork.balance("ALICE", "USDT").posted) == alice
    assert fork.commit(deposit("ALICE", "1 USDT")).sequence == stands + 1
    assert fork.audit(level="signatures").lines == stands + 1


def test_a_line_that_is_not_there_is_no_place_for_a_fork(ledger: bb.Ledger) -> None:
    """Not yet written, inside genesis, below 1, and what is no sequence: typed errors."""
    for at in (8, 1, 0, -1):
        with pytest.raises(bb.UnknownSequence):
            ledger.fork(at=at)
    for wrong in ("3", 3.0, True):
        with pytest.raises(bb.InvalidType):
            ledger.fork(at=wrong)  # type: ignore[arg-type]  # on purpose


def test_a_fork_of_a_fork(ledger: bb.Ledger) -> None:
    """Each has its own id, and an audit that passes; a fork of the first lines is one of the ledger."""
    fork = ledger.fork(at=5)
    fork.commit(deposit("ALICE", "1 USDT"))
    second = fork.fork()
    second.commit(deposit("ALICE", "2 USDT"))
    assert second.ledger_id == f"fork.fork.{ledger.ledger_id}"
    assert [second.audit().lines, fork.audit().lines] == [7, 6]
    assert [entry.hash for entry in second.entries()][:-1] == [entry.hash for entry in fork.entries()]
    assert fork.fork(at=3).ledger_id == f"fork.{ledger.ledger_id}"


def test_no_line_of_a_fork_can_be_carried_back(tmp_path: Path) -> None:
    """Its lines follow the ledger's last one, and are refused there: they hash under another id."""
    path = tmp_path / "books"
    with bb.Ledger.create(
        path, opening={"USDT": "9"}, keyring=bb.Keyring.unsigned(), clock=StillClock()
    ) as real:
        fork = real.fork()
        fork.commit(deposit("MALLORY", "1 USDT"))
        line = next(fork._committer.store.read(after_sequence=2))
    (day,) = (path / "journal").glob("*.jsonl")
    day.write_bytes(day.read_bytes() + line + b"\n")
    with pytest.raises(bb.JournalCorrupt, match="its content hashes to"):
        bb.Ledger.open(path)


def test_the_ledgers_keys_sign_no_fork(ledger: bb.Ledger) -> None:
    """A fork is signed with a foreign key or not at all, and its keyring does not change."""
    fork = ledger.fork(signer=STRANGER)
    assert fork.commit(deposit("ALICE", "1 USDT")).signatures[0].signer_id == "WHAT_IF"
    assert fork.audit(level="signatures").lines == 8
    assert ledger.fork().commit(deposit("ALICE", "1 USDT")).signatures == ()
    for key in ledger.keyring.keys:
        assert key.signer_id == "SYSTEM"
    with pytest.raises(bb.BibankError):
        fork.keyring.add(SIGNER, roles=(bb.Role.SYSTEM,), correlation_id="k")
    with pytest.raises(bb.BibankError):
        fork.keyring.rotate(SIGNER, correlation_id="k")
    assert fork.head.sequence == 8


def test_a_key_of_the_keyring_is_refused_as_a_forks_signer() -> None:
    """What such a key signs is the ledger's word."""
    ledger = bb.Ledger.in_memory({"USDT": "9"}, signer=SIGNER)
    with pytest.raises(bb.ConfigurationError, match="the ledger trusts the key"):
        ledger.fork(signer=SIGNER)


def test_a_forks_rules_are_its_own() -> None:
    """Rules can be tried on a fork without an operator, the ledger's own rules go with it, a host's too."""
    ledger = bb.Ledger.in_memory({"USDT": "100"}, signer=SIGNER, risk=RiskEngine([Host()]))
    ledger.adopt_rules([Host()], correlation_id="r")
    ledger.keyring.add(STRANGER, roles=(bb.Role.OPERATOR,), correlation_id="k")
    ledger.commit(deposit("ALICE", "50 USDT"))
    fork = ledger.fork()
    with pytest.raises(bb.Refused, match="MALLORY"):
        fork.commit(deposit("MALLORY", "1 USDT"))
    fork.adopt_rules([EntryLimit(name="small/1", money="5 USDT")], correlation_id="r")
    with pytest.raises(bb.Refused, match="gives away 6 USDT"):
        fork.commit(transfer("ALICE", "BOB", "6 USDT"))
    ledger.commit(transfer("ALICE", "BOB", "6 USDT"))
    assert [rule.name for rule in ledger.rules] == ["no-mallory/1"]


def test_keys_of_requests_go_with_a_fork(ledger: bb.Ledger) -> None:
    """A request that the ledger has answered gets that answer from its fork; later ones are the fork's."""
    first = ledger.deposit("ALICE", "1 USDT", correlation_id="r", idempotency_key="k1")
    fork = ledger.fork()
    assert fork.deposit("ALICE", "1 USDT", correlation_id="r", idempotency_key="k1") == first
    own = fork.deposit("ALICE", "2 USDT", correlation_id="r", idempotency_key="k2")
    assert fork.deposit("ALICE", "2 USDT", correlation_id="r", idempotency_key="k2") == own
    assert ledger.deposit("ALICE", "3 USDT", correlation_id="r", idempotency_key="k2").sequence == 9


def test_the_store_of_a_fork_is_a_ledger_store(ledger: bb.Ledger) -> None:
    """It reads across the place where it left, refuses another head, and ends with its ledger."""
    fork = ledger.fork(at=3)
    fork.commit(deposit("ALICE", "1 USDT"))
    store = fork._committer.store
    assert isinstance(store, LedgerStore)
    lines = list(store.read(after_sequence=0))
    assert [list(store.read(after_sequence=number)) for number in range(6)] == [
        lines[number:] for number in range(6)
    ]
    fork.close()
    with pytest.raises(bb.LedgerClosed):
        fork.commit(deposit("ALICE", "1 USDT"))
    assert ledger.head.sequence == 7


@given(
    moves=st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("ABC"), st.integers(1, 9)), max_size=12),
    at=st.integers(0, 12),
)
def test_a_fork_goes_the_way_its_ledger_would_have_gone(moves: list[tuple[str, str, int]], at: int) -> None:
    """Repeating on a fork what the ledger did after the same line gives the same balances and refusals."""

    def do(ledger: bb.Ledger, move: tuple[str, str, int]) -> str:
        payer, payee, amount = move
        try:
            if payer == payee:
                ledger.commit(deposit(payer, f"{amount} USDT"))
            else:
                ledger.commit(transfer(payer, payee, f"{amount} USDT"))
        except bb.Refused as error:
            return error.code
        return "committed"

    ledger = bb.Ledger.in_memory({"USDT": "1000"}, clock=StillClock())
    heads = [ledger.head.sequence]
    outcomes = []
    for move in moves:
        outcomes.append(do(ledger, move))
        heads.append(ledger.head.sequence)
    begun = min(at, len(moves))
    fork = ledger.fork(at=heads[begun])
    assert [do(fork, move) for move in moves[begun:]] == outcomes[begun:]
    assert shown(fork) == shown(ledger)


def test_forks_of_forks_end_where_their_id_would_be_too_long(ledger: bb.Ledger) -> None:
    """An id stands in records too, so it keeps to the length of ids."""
    forks = [ledger]
    while len(forks[-1].ledger_id) + len("fork.") <= 128:
        forks.append(forks[-1].fork())
        forks[-1].commit(deposit("ALICE", "1 USDT"))
    with pytest.raises(bb.ConfigurationError, match="fork less deeply"):
        forks[-1].fork()
    forks[-1].adopt_rules([EntryLimit(name="small/1", money="5 USDT")], correlation_id="r")
    assert forks[-1].audit().lines == 7 + len(forks)
    assert len(forks) > 10
