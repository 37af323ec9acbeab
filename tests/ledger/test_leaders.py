"""One commit among many: who seals while another writes, and what readers see meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import bibank as bb
from bibank.journal.batches import PreparedBatch
from bibank.model.lines import Head, LineGroup
from bibank.rules import Refusal, RiskView, RuleState, StampedEntry, StampedLine
from bibank.signing import Ed25519Signer
from bibank.store.jsonl.files import OsFiles
from bibank.stores import plan_journal
from tests.store.journals import SIGNER, deposit, transfer


class HeldStore:
    """A store whose appends wait until a number of groups is queued in the ledger, and may fail then."""

    def __init__(self) -> None:
        self.inner = bb.MemoryStore()
        self.error: BaseException | None = None
        self.groups: list[int] = []
        self.before: Callable[[], None] = lambda: None
        """What happens before a group is taken."""

    def head(self) -> Head:
        """As the store inside."""
        return self.inner.head()

    def append(self, group: LineGroup) -> None:
        """Wait, fail or take the group."""
        before, self.before = self.before, lambda: None
        before()
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        self.inner.append(group)
        self.groups.append(len(group.lines))

    def read(self, *, after_sequence: int = 0) -> Iterator[bytes]:
        """As the store inside."""
        return self.inner.read(after_sequence=after_sequence)

    def close(self) -> None:
        """As the store inside."""
        self.inner.close()


@pytest.fixture
def store() -> HeldStore:
    """A store that is not held yet."""
    return HeldStore()


@pytest.fixture
def ledger(store: HeldStore) -> bb.Ledger:
    """A ledger in which ALICE has 100, at line 3."""
    made = bb.Ledger(store=store, opening={"USDT": "1000"})
    made.deposit("ALICE", "100 USDT", correlation_id="r")
    store.groups.clear()
    return made


def until(condition: Callable[[], bool]) -> None:
    """Let other threads run until something is so."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0)


@contextmanager
def one_writing(
    ledger: bb.Ledger, store: HeldStore, *others: Callable[[], object]
) -> Iterator[tuple[Future[object], list[Future[object]]]]:
    """One commit is being written, and the others are sealed behind it, while the block runs."""
    queue = ledger._committer._queue.groups
    reached, go = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        assert go.wait(30)

    store.before = hold
    with ThreadPoolExecutor(1 + len(others)) as pool:
        leader: Future[object] = pool.submit(
            lambda: ledger.transfer("ALICE", "BOB", "10 USDT", correlation_id="leads")
        )
        assert reached.wait(30)
        followers: list[Future[object]] = []
        for number, other in enumerate(others, 1):
            followers.append(pool.submit(other))
            until(lambda number=number: sum(len(group.batches) for group in queue) > number)  # type: ignore[misc]  # bound at once
        try:
            yield leader, followers
        finally:
            go.set()


def test_readers_see_only_what_is_durable(ledger: bb.Ledger, store: HeldStore) -> None:
    """What is sealed and not yet written is in no answer: not in balances, listings, head or audit."""
    before = ledger.accounts()
    carol = lambda: ledger.deposit("CAROL", "5 USDT", correlation_id="r")  # noqa: E731 - one line is clearer here
    with one_writing(ledger, store, carol):
        assert ledger.head.sequence == 3
        assert ledger.accounts() == before
        assert str(ledger.balance("ALICE", "USDT").available) == "100"
        assert [str(row.available) for row in ledger.balances("BOB")] == []
        assert str(ledger.balance("CAROL", "USDT").available) == "0"
        assert [entry.sequence for entry in ledger.entries()] == [1, 3]
        with pytest.raises(bb.UnknownSequence):
            ledger.entry(4)
        assert ledger.audit().lines == 3
    assert ledger.head.sequence == 5
    assert str(ledger.balance("ALICE", "USDT").available) == "90"
    assert ledger.audit().lines == 5


def test_commits_are_judged_by_what_is_sealed(ledger: bb.Ledger, store: HeldStore) -> None:
    """Money that is on its way out can not be spent again, although readers still see it."""

    def overdraw() -> None:
        ledger.transfer("ALICE", "BOB", "95 USDT", correlation_id="r")

    with one_writing(ledger, store) as (leader, _):
        with pytest.raises(bb.InsufficientBalance) as caught:
            overdraw()
        assert str(caught.value.available) == "90"
        assert str(ledger.balance("ALICE", "USDT").available) == "100"
    assert leader.result() is not None


def test_who_queued_meanwhile_is_the_next_group(ledger: bb.Ledger, store: HeldStore) -> None:
    """Batches that are sealed during a write go to the disk together, in one group behind it."""
    others = [lambda: ledger.deposit("CAROL", "5 USDT", correlation_id="r") for _ in range(5)]
    with one_writing(ledger, store, *others) as (leader, followers):
        pass
    assert store.groups == [1, 5]
    entries = [leader.result(), *(follower.result() for follower in followers)]
    assert [entry.sequence for entry in entries if isinstance(entry, bb.JournalEntry)] == [4, 5, 6, 7, 8, 9]
    groups = {entry.batch.group for entry in ledger.entries(after_sequence=4)}
    assert groups == {5}


def test_what_was_not_written_takes_back_what_was_sealed_on_top(ledger: bb.Ledger, store: HeldStore) -> None:
    """A group that the store refuses falls with all that follow from it; the ledger goes on from before."""
    before = ledger.head, ledger.accounts()
    others = [lambda: ledger.deposit("CAROL", "5 USDT", correlation_id="r") for _ in range(3)]
    store.error = bb.StoreUnavailable("planted")
    with one_writing(ledger, store, *others) as (leader, followers):
        pass
    errors = [commit.exception() for commit in (leader, *followers)]
    assert [type(error) for error in errors] == [bb.StoreUnavailable] * 4
    assert len({id(error) for error in errors}) == 4
    assert (ledger.head, ledger.accounts()) == before
    assert store.groups == []
    assert ledger.transfer("ALICE", "BOB", "100 USDT", correlation_id="r").sequence == 4
    assert ledger.audit().lines == 4


def test_an_unknown_outcome_is_the_leaders_alone(ledger: bb.Ledger, store: HeldStore) -> None:
    """Of the group that was being written nobody knows; those behind it are told that nothing was written."""
    store.error = bb.CommitOutcomeUnknown("planted")
    others = [lambda: ledger.deposit("CAROL", "5 USDT", correlation_id="r") for _ in range(2)]
    with one_writing(ledger, store, *others) as (leader, followers):
        pass
    assert isinstance(leader.exception(), bb.CommitOutcomeUnknown)
    for follower in followers:
        error = follower.exception()
        assert isinstance(error, bb.LedgerPoisoned)
        assert "nothing of this commit was written" in str(error)
    assert ledger.head.sequence == 3
    with pytest.raises(bb.LedgerPoisoned):
        ledger.balance("ALICE", "USDT")


def test_closing_waits_for_what_is_sealed(ledger: bb.Ledger, store: HeldStore) -> None:
    """A commit that was sealed before the ledger was closed is written and acknowledged."""
    with (
        ThreadPoolExecutor(1) as closer,
        one_writing(ledger, store, lambda: ledger.deposit("CAROL", "5 USDT", correlation_id="r")) as commits,
    ):
        closing = closer.submit(ledger.close)
        leader, (follower,) = commits
    closing.result()
    assert isinstance(leader.result(), bb.JournalEntry)
    assert isinstance(follower.result(), bb.JournalEntry)
    assert store.inner.head().sequence == 5
    with pytest.raises(bb.LedgerClosed):
        ledger.deposit("CAROL", "5 USDT", correlation_id="r")


def test_a_key_that_changes_is_seen_when_it_is_durable(store: HeldStore) -> None:
    """A change of the keyring is committed alone: nobody sees or signs by it before it is on the disk."""
    ledger = bb.Ledger(store=store, signer=SIGNER)
    other = Ed25519Signer(bytes(range(32, 64)), signer_id="SYSTEM")
    store.error = bb.StoreUnavailable("planted")
    with pytest.raises(bb.StoreUnavailable):
        ledger.keyring.rotate(other, correlation_id="r")
    assert ledger.keyring.version == 1
    signed = ledger.deposit("A", "1 USDT", correlation_id="r").signatures
    assert [signature.public_key for signature in signed] == [SIGNER.public_key]
    store.groups.clear()
    with ThreadPoolExecutor(8) as pool:
        commits = [pool.submit(ledger.deposit, "A", "1 USDT", correlation_id="r") for _ in range(40)]
        ledger.keyring.rotate(other, correlation_id="r")
        commits += [pool.submit(ledger.deposit, "A", "1 USDT", correlation_id="r") for _ in range(40)]
        assert len({commit.result().sequence for commit in commits}) == 80
    assert ledger.audit(level="signatures").signatures == ledger.head.sequence


def test_a_signer_may_not_commit(store: HeldStore) -> None:
    """A signer that calls the ledger back gets an error instead of a deadlock."""

    class Meddling:
        signer_id, algorithm, public_key = SIGNER.signer_id, SIGNER.algorithm, SIGNER.public_key
        ledger: bb.Ledger | None = None

        def sign(self, message: bytes) -> bytes:
            """Sign, after a try to commit."""
            if self.ledger is not None:
                self.ledger.deposit("A", "1 USDT", correlation_id="r")
            return SIGNER.sign(message)

    signer = Meddling()
    ledger = bb.Ledger(store=store, signer=signer)
    signer.ledger = ledger
    with pytest.raises(bb.KeystoreError, match="ConfigurationError"):
        ledger.deposit("A", "1 USDT", correlation_id="r")
    signer.ledger = None
    assert ledger.deposit("A", "1 USDT", correlation_id="r").sequence == 3


class OneAPayer:
    """One transfer a payer, ever: a rule with a memory."""

    name = "one-a-payer/1"

    def check(self, entry: bb.UnsignedEntry, view: RiskView) -> Refusal | None:
        """Refuse the second transfer."""
        payers = [posting.account.id for posting in view.outflows(entry)]
        if entry.intent is bb.TransactionIntent.TRANSFER and any(view.state.get(payer) for payer in payers):
            return Refusal(message="a second transfer", advice="wait")
        return None

    def apply(self, line: StampedLine, state: RuleState) -> None:
        """Remember the payer."""
        if isinstance(line, StampedEntry) and line.intent is bb.TransactionIntent.TRANSFER:
            state[line.postings[0].account.id] = 1


@pytest.mark.parametrize("fails", ["first", "second", "neither"])
def test_rules_remember_what_was_sealed_and_forget_what_was_taken_back(store: HeldStore, fails: str) -> None:
    """A rule's memory follows the queue: with a group that is not written, and all on top of it, it goes."""
    ledger = bb.Ledger(store=store, opening={"USDT": "9"}, risk=bb.RiskEngine([OneAPayer()]))
    for owner in ("ALICE", "CAROL"):
        ledger.deposit(owner, "50 USDT", correlation_id="r")
    if fails == "first":
        store.error = bb.StoreUnavailable("planted")
    take = store.append

    def append(group: LineGroup) -> None:
        if fails == "second" and group.expected_head.sequence == 5:
            raise bb.StoreUnavailable("planted")
        take(group)

    store.append = append  # type: ignore[method-assign]  # planted

    def carol() -> object:
        return ledger.transfer("CAROL", "BOB", "1 USDT", correlation_id="r")

    with one_writing(ledger, store, carol), pytest.raises(bb.Refused, match="a second transfer"):
        carol()
    store.append = take  # type: ignore[method-assign]  # planted
    written = {"first": (), "second": ("ALICE",), "neither": ("ALICE", "CAROL")}[fails]
    for owner in ("ALICE", "CAROL"):
        if owner in written:
            with pytest.raises(bb.Refused, match="a second transfer"):
                ledger.transfer(owner, "BOB", "1 USDT", correlation_id="r")
        else:
            ledger.transfer(owner, "BOB", "1 USDT", correlation_id="r")
    assert ledger.audit().lines == 6


def test_commit_each_says_what_was_committed_before_a_failure(ledger: bb.Ledger, store: HeldStore) -> None:
    """When a later group fails, the error notes up to which line the items before it are durable."""

    def fail_next() -> None:
        store.error = bb.StoreUnavailable("planted")

    take = store.append

    def append(group: LineGroup) -> None:
        take(group)
        fail_next()

    store.append = append  # type: ignore[method-assign]  # planted
    with pytest.raises(bb.StoreUnavailable) as caught:
        ledger.commit_each([deposit("A", "1 USDT")] * 8193)
    assert caught.value.__notes__ == [f"the items before, up to line {3 + 8192}, are committed and durable"]
    assert ledger.head.sequence == 3 + 8192


def test_many_threads_share_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits from many threads are all there, in whole groups, with fewer syncs than commits."""
    syncs = []
    sync = OsFiles.fdatasync

    def counted(self: OsFiles, handle: int) -> None:
        syncs.append(handle)
        sync(self, handle)

    monkeypatch.setattr(OsFiles, "fdatasync", counted)
    (tmp_path / "journal").mkdir()
    ledger = bb.Ledger(
        store=plan_journal(tmp_path / "journal").repair(), opening={"USDT": "1"}, signer=SIGNER
    )
    ledger.deposit("ALICE", "1000 USDT", correlation_id="r")
    syncs.clear()
    with ThreadPoolExecutor(16) as pool:
        entries = list(
            pool.map(lambda number: ledger.commit(transfer("ALICE", f"U{number % 7}", "1 USDT")), range(400))
        )
    assert sorted(entry.sequence for entry in entries) == list(range(4, 404))
    assert len(syncs) < 400
    assert str(ledger.balance("ALICE", "USDT").available) == "600"
    assert ledger.audit(level="signatures").lines == 403
    ledger.close()


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_many_retries_wait_for_the_newest_of_them(ledger: bb.Ledger, order: str) -> None:
    """Keys in flight in two groups are answered when both are durable, in whatever order they come."""
    committer = ledger._committer

    def keyed(key: str) -> PreparedBatch:
        draft = deposit("CAROL", "1 USDT")
        return ledger._prepare_item(bb.Keyed(entries=draft, idempotency_key=key))

    committer._seal(keyed("a"))
    committer.machine.close_group()  # as a leader does who takes the group
    _, newest = committer._seal(keyed("b"))
    _, awaited = committer._seal_each([keyed(key) for key in order], None, [])
    assert awaited is newest
