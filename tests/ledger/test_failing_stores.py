"""Stores that fail: what was sealed and not stored poisons the ledger, and nothing goes on after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from bibank.stores import Head, LineGroup
from tests.store.journals import StillClock, deposit, transfer


class FailingStore:
    """A store in memory that raises at the next append: before it takes the group, or after."""

    def __init__(self) -> None:
        self.inner = bb.MemoryStore()
        self.error: BaseException | None = None
        self.takes_first = False

    def head(self) -> Head:
        """The head of what was taken."""
        return self.inner.head()

    def append(self, group: LineGroup) -> None:
        """Take the group, or do as planned."""
        if self.error is None or self.takes_first:
            self.inner.append(group)
        if self.error is not None:
            raise self.error

    def read(self, *, after_sequence: int = 0) -> Iterator[bytes]:
        """What was taken."""
        return self.inner.read(after_sequence=after_sequence)

    def close(self) -> None:
        """Nothing to release."""


@pytest.fixture
def store() -> FailingStore:
    """A store that does not fail yet."""
    return FailingStore()


@pytest.fixture
def ledger(store: FailingStore) -> bb.Ledger:
    """A ledger over it with some money in it."""
    ledger = bb.Ledger(store=store, opening={"USDT": "100"}, clock=StillClock())
    ledger.commit(deposit("ALICE", "10 USDT"))
    return ledger


def every_method(ledger: bb.Ledger) -> dict[str, Callable[[], object]]:
    """Everything that reads or commits."""

    def block() -> None:
        with ledger.batch(correlation_id="r") as batch:
            batch.deposit("A", "1 USDT")

    return {
        "deposit": lambda: ledger.deposit("A", "1 USDT", correlation_id="r"),
        "withdraw": lambda: ledger.withdraw("A", "1 USDT", correlation_id="r"),
        "transfer": lambda: ledger.transfer("A", "B", "1 USDT", correlation_id="r"),
        "commit": lambda: ledger.commit(deposit("A", "1 USDT")),
        "commit_batch": lambda: ledger.commit_batch([deposit("A", "1 USDT")]),
        "commit_each": lambda: ledger.commit_each([]),
        "batch": block,
        "bind": lambda: ledger.bind(correlation_id="x").deposit("A", "1 USDT"),
        "preview": lambda: ledger.preview(deposit("A", "1 USDT")),
        "entry": lambda: ledger.entry(1),
        "entry beyond": lambda: ledger.entry(99),
        "entries": ledger.entries,
        "accounts": ledger.accounts,
        "balance": lambda: ledger.balance("A", "USDT"),
        "balance of a key": lambda: ledger.balance(bb.AccountKey("LIAB:USER:A:USDT:AVAILABLE")),
        "balances": lambda: ledger.balances("A"),
        "audit": ledger.audit,
    }


def outcome_of(call: Callable[[], object]) -> type[BaseException] | None:
    """What a call raises."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        return type(error)
    return None


def check_every_method_raises(ledger: bb.Ledger, error: type[bb.BibankError]) -> None:
    """Demand that no method works any more."""
    said = {name: outcome_of(call) for name, call in every_method(ledger).items()}
    assert said == dict.fromkeys(said, error)


@pytest.mark.parametrize("takes_first", [False, True])
@pytest.mark.parametrize(
    ("error", "raised", "cause"),
    [
        (OSError(5, "planted"), bb.CommitOutcomeUnknown, OSError),
        (MemoryError(), bb.CommitOutcomeUnknown, MemoryError),
        (ValueError("planted"), bb.CommitOutcomeUnknown, ValueError),
        (
            bb.InsufficientBalance("x", rule="x/1", advice="x"),
            bb.CommitOutcomeUnknown,
            bb.InsufficientBalance,
        ),
        (bb.InvalidValue("planted"), bb.CommitOutcomeUnknown, bb.InvalidValue),
        (bb.CommitOutcomeUnknown("planted"), bb.CommitOutcomeUnknown, None),
        (bb.HeadConflict("planted"), bb.HeadConflict, None),
        (bb.LedgerClosed("planted"), bb.LedgerClosed, None),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
        (SystemExit(1), SystemExit, None),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
@pytest.mark.parametrize("how", ["commit", "commit_batch", "commit_each"])
def test_whatever_a_store_raises_poisons(
    ledger: bb.Ledger,
    store: FailingStore,
    error: BaseException,
    raised: type[BaseException],
    cause: type[BaseException] | None,
    how: str,
    takes_first: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Any error out of the store ends in a typed one, an interrupt as itself, and then in poison."""
    store.error, store.takes_first = error, takes_first
    draft = transfer("ALICE", "BOB", "1 USDT")
    with pytest.raises(raised) as caught:
        getattr(ledger, how)(draft if how == "commit" else [draft])
    assert caught.value is error if cause is None else isinstance(caught.value.__cause__, cause)
    store.error = None
    check_every_method_raises(ledger, bb.LedgerPoisoned)
    assert "poisoned" in repr(ledger)
    again = bb.Ledger(store=store)
    assert again.head.sequence == 3 + takes_first
    assert again.balance("BOB", "USDT").available == bb.SignedAmount(int(takes_first))
    assert again.audit().lines == 3 + takes_first


def test_a_poisoned_ledger_can_be_closed(ledger: bb.Ledger, store: FailingStore) -> None:
    """Closing works, and then closed is what the ledger says."""
    store.error = OSError(5, "planted")
    with pytest.raises(bb.CommitOutcomeUnknown):
        ledger.commit(deposit("A", "1 USDT"))
    ledger.close()
    check_every_method_raises(ledger, bb.LedgerClosed)


def test_a_poison_is_shared_by_bound_ledgers(ledger: bb.Ledger, store: FailingStore) -> None:
    """Binding gives the same ledger: what poisons one poisons the other."""
    bound = ledger.bind(correlation_id="x")
    store.error = OSError(5, "planted")
    with pytest.raises(bb.CommitOutcomeUnknown):
        bound.deposit("A", "1 USDT")
    check_every_method_raises(ledger, bb.LedgerPoisoned)


def test_a_failed_founding_leaves_no_ledger(store: FailingStore) -> None:
    """A store that fails at the genesis gives no ledger object at all."""
    store.error = OSError(5, "planted")
    with pytest.raises(bb.CommitOutcomeUnknown):
        bb.Ledger(store=store)
    assert store.head() == Head()


@pytest.mark.parametrize("group_of", [1, 3])
def test_commit_each_that_fails_in_its_second_group_keeps_the_first(
    ledger: bb.Ledger, store: FailingStore, group_of: int
) -> None:
    """Groups that were stored before the failure are there; the outcome of the rest is unknown."""
    calls = []
    take = store.append

    def append(group: LineGroup) -> None:
        calls.append(len(group.lines))
        if len(calls) == 2:
            raise OSError(28, "planted")
        take(group)

    store.append = append  # type: ignore[method-assign]  # planted
    items = [[deposit("A", "1 USDT")] * group_of] * (8192 // group_of + 1)
    with pytest.raises(bb.CommitOutcomeUnknown):
        ledger.commit_each(items)
    first = 8192 // group_of * group_of
    assert calls == [first, group_of]
    check_every_method_raises(ledger, bb.LedgerPoisoned)
    assert bb.Ledger(store=store.inner).head.sequence == 3 + first


def test_a_closed_ledger_refuses_everything(ledger: bb.Ledger) -> None:
    """After `close` every method raises `LedgerClosed`; head and id can still be read."""
    head, ledger_id = ledger.head, ledger.ledger_id
    ledger.close()
    ledger.close()
    check_every_method_raises(ledger, bb.LedgerClosed)
    assert (ledger.head, ledger.ledger_id) == (head, ledger_id)
    assert repr(ledger).endswith("closed>")


def test_two_ledgers_over_one_store_do_not_overwrite_each_other() -> None:
    """The one that comes second gets a `HeadConflict`, is poisoned, and finds everything when reopened."""
    store = bb.MemoryStore()
    one = bb.Ledger(store=store, opening={"USDT": "5"})
    two = bb.Ledger(store=store)
    one.commit(deposit("A", "1 USDT"))
    with pytest.raises(bb.HeadConflict) as caught:
        two.commit(deposit("B", "1 USDT"))
    assert caught.value.retryable
    check_every_method_raises(two, bb.LedgerPoisoned)
    two = bb.Ledger(store=store)
    two.commit(deposit("B", "1 USDT"))
    with pytest.raises(bb.HeadConflict):
        one.commit_batch([deposit("A", "1 USDT"), deposit("A", "1 USDT")])
    assert bb.Ledger(store=store).audit().lines == 4


@pytest.mark.parametrize("how", ["commit", "commit_batch", "commit_each"])
def test_what_was_certainly_not_written_is_taken_back(
    ledger: bb.Ledger, store: FailingStore, how: str
) -> None:
    """A store that refused before writing leaves the ledger as it was, and the same commit passes later."""
    store.error = bb.StoreUnavailable("planted")
    draft = transfer("ALICE", "BOB", "1 USDT")
    before = ledger.head, ledger.accounts()
    for _ in range(2):
        with pytest.raises(bb.StoreUnavailable):
            getattr(ledger, how)(draft if how == "commit" else [draft])
        assert (ledger.head, ledger.accounts()) == before
    store.error = None
    getattr(ledger, how)(draft if how == "commit" else [draft])
    assert ledger.head.sequence == before[0].sequence + 1
    assert ledger.audit().lines == ledger.head.sequence


def test_a_store_that_took_what_it_refused_poisons(ledger: bb.Ledger, store: FailingStore) -> None:
    """A store that says it refused, and wrote all the same, is ahead of memory: the ledger stops."""
    store.error, store.takes_first = bb.StoreUnavailable("planted"), True
    with pytest.raises(bb.StoreUnavailable):
        ledger.commit(transfer("ALICE", "BOB", "1 USDT"))
    store.error = None
    check_every_method_raises(ledger, bb.LedgerPoisoned)


def test_a_refusal_of_a_ledger_that_fell_behind_is_still_a_refusal() -> None:
    """A stale ledger that refuses has changed nothing and is not poisoned."""
    store = bb.MemoryStore()
    one, two = bb.Ledger(store=store, opening={"USDT": "5"}), bb.Ledger(store=store)
    one.commit(deposit("A", "1 USDT"))
    for _ in range(2):
        with pytest.raises(bb.InsufficientBalance):
            two.commit(transfer("A", "B", "1 USDT"))


@pytest.mark.parametrize("place", ["before", "between", "after"])
@pytest.mark.parametrize("how", ["commit", "commit_batch", "commit_each", "preview"])
def test_an_interrupt_inside_the_machine_poisons(
    ledger: bb.Ledger, monkeypatch: pytest.MonkeyPatch, how: str, place: str
) -> None:
    """An interrupt while balances are being moved leaves no ledger that goes on with half of them."""
    machine = ledger._committer.machine
    name = "preview" if how == "preview" else "propose"
    real = getattr(machine, name)

    def interrupted(*arguments: Any) -> Any:
        if place != "before":
            result = real(*arguments)
            if place == "between":  # as an interrupt between two assignments would leave it
                next(iter(machine.book)).balance += 1
            del result
        raise KeyboardInterrupt

    monkeypatch.setattr(type(machine), name, lambda self, *arguments: interrupted(*arguments))
    draft = transfer("ALICE", "BOB", "1 USDT")
    with pytest.raises(KeyboardInterrupt):
        getattr(ledger, how)(draft if how in ("commit", "preview") else [draft])
    check_every_method_raises(ledger, bb.LedgerPoisoned)


def test_a_broken_invariant_poisons(ledger: bb.Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug inside the machine comes out as it is and leaves no usable ledger."""
    machine = ledger._committer.machine

    def broken(self: object, *arguments: object) -> None:
        raise AssertionError("planted")

    monkeypatch.setattr(type(machine), "propose", broken)
    with pytest.raises(AssertionError, match="planted"):
        ledger.commit(deposit("A", "1 USDT"))
    check_every_method_raises(ledger, bb.LedgerPoisoned)


@pytest.mark.parametrize("sizes", [[0], [-1], [3, 0]])
def test_a_write_that_takes_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: list[int]
) -> None:
    """An operating system that takes no bytes is an error and not an endless loop."""
    ledger = bb.Ledger.create(tmp_path / "books", opening={"USDT": "5"}, clock=StillClock())
    left = list(sizes)
    monkeypatch.setattr(
        "bibank.store.jsonl.files.OsFiles.pwrite", lambda self, handle, data, *, offset: left.pop(0)
    )
    with pytest.raises(bb.CommitOutcomeUnknown, match="took no bytes"):
        ledger.commit(deposit("A", "1 USDT"))
    check_every_method_raises(ledger, bb.LedgerPoisoned)
    ledger.close()


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that takes a few bytes at a time ends in the same file."""
    import os

    monkeypatch.setattr(
        "bibank.store.jsonl.files.OsFiles.pwrite",
        lambda self, handle, data, *, offset: os.pwrite(handle, data[:700], offset),
    )
    with bb.Ledger.create(tmp_path / "books", opening={"USDT": "5"}) as ledger:
        ledger.commit_batch([deposit("A", "1 USDT"), deposit("A", "1 USDT")])
    assert bb.audit_home(tmp_path / "books").lines == 4


def test_bad_input_behind_a_sealed_entry_poisons(ledger: bb.Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stops `commit_each` between sealing and storing poisons, whatever its type says of itself."""
    machine = ledger._committer.machine
    real, calls = type(machine).propose, []

    def propose(self: Any, *arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise bb.InvalidValue("planted")
        return real(self, *arguments)

    monkeypatch.setattr(type(machine), "propose", propose)
    with pytest.raises(bb.InvalidValue, match="planted"):
        ledger.commit_each([deposit("A", "1 USDT")] * 3)
    check_every_method_raises(ledger, bb.LedgerPoisoned)
