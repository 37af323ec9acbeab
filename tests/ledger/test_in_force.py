"""In force from its line: for any number of threads, after a restart, in a fork, and when a write fails."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest

import bibank as bb
from bibank import drafts
from bibank.rules import EntryLimit
from tests.ledger.operators import (
    ALICE,
    ANNA,
    BERT,
    BOB,
    CLEO,
    OWN,
    approve,
    govern,
    propose,
)
from tests.store.journals import StillClock, deposit, transfer

THREADS = 16
PATIENCE_SECONDS = 60


@attrs.frozen
class Place:
    """Where a ledger lives, to be opened again: in memory, or in a home."""

    path: Path | None
    store: bb.MemoryStore = attrs.field(factory=bb.MemoryStore)

    def create(self) -> bb.Ledger:
        """Make a ledger in which nothing was decided; Alice has 100 USDT."""
        options: Any = {"opening": {"USDT": "1000"}, "signer": OWN.signer, "clock": StillClock()}
        if self.path is None:
            ledger = bb.Ledger(store=self.store, **options)
        else:
            ledger = bb.Ledger.create(self.path, durability="none", **options)
        govern(ledger)
        ledger.commit(deposit("ALICE", "100 USDT"))
        return ledger

    def reopened(self, ledger: bb.Ledger) -> bb.Ledger:
        """Open the same ledger again."""
        if self.path is None:
            return bb.Ledger(store=self.store, signer=OWN.signer, clock=StillClock())
        ledger.close()
        return bb.Ledger.open(self.path, signer=OWN.signer, durability="none", clock=StillClock())

    def lines(self) -> list[dict[str, Any]]:
        """Read the stored lines, without the library."""
        if self.path is None:
            return [json.loads(line) for line in self.store.read()]
        (day,) = (self.path / "journal").glob("*.jsonl")
        return [json.loads(line) for line in day.read_bytes().split(b"\n") if line.strip(b"\0")]


@pytest.fixture(params=["memory", "home"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place for a ledger."""
    return Place(None if request.param == "memory" else tmp_path / "books")


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Make calls at the same moment, each in a thread; give what each got, its error included."""
    barrier = threading.Barrier(len(calls))
    outcomes: list[Any] = [None] * len(calls)

    def run(index: int) -> None:
        barrier.wait(PATIENCE_SECONDS)
        try:
            outcomes[index] = calls[index]()
        except bb.BibankError as error:
            outcomes[index] = error

    workers = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return outcomes


# --------------------------------------------------------------------------- an independent fold


@attrs.define
class Fold:
    """What stored lines say about one account, without the library."""

    account: str
    units: int = 0
    status: str = "open"
    floor: int = 0
    decided: list[int] = attrs.field(factory=list)
    lowered: list[int] = attrs.field(factory=list)
    wrong: list[str] = attrs.field(factory=list)
    """Lines that move what may not move at their place."""

    def take(self, line: dict[str, Any]) -> None:
        """Take one line."""
        if "postings" in line:
            self._move(line["sequence"], line["postings"])
        elif line["subject"] == self.account:
            self.decided.append(line["sequence"])
            self.floor = units_of(line["body"]["payload"].get("floor", self.floor))
            names = {"account_frozen": "frozen", "account_closed": "closed", "account_reopened": "open"}
            self.status = names.get(line["record"], self.status)

    def _move(self, sequence: int, postings: Iterable[dict[str, str]]) -> None:
        own = [posting for posting in postings if posting["account"] == self.account]
        change = sum(units_of(p["amount"]) * (1 if p["side"] == "credit" else -1) for p in own)
        self.units += change
        if change < 0:
            self.lowered.append(sequence)
        if own and self.status == "closed":
            self.wrong.append(f"line {sequence} moves on a closed account")
        if change < 0 and self.status == "frozen":
            self.wrong.append(f"line {sequence} leaves a frozen account")
        if change < 0 and self.units < self.floor:
            self.wrong.append(f"line {sequence} leaves {self.units} above a floor of {self.floor}")


def units_of(text: str | int) -> int:
    """Read an amount; units are units."""
    if isinstance(text, int):
        return text
    whole, _, part = text.lstrip("-").partition(".")
    return int(whole + part.ljust(8, "0")) * (-1 if text.startswith("-") else 1)


def folded(lines: Iterable[dict[str, Any]], account: bb.AccountKey) -> Fold:
    """Fold lines over one account; demand that nothing is wrong."""
    fold = Fold(str(account))
    for line in lines:
        fold.take(line)
    assert fold.wrong == []
    return fold


def test_the_fold_sees_what_is_wrong() -> None:
    """A check that cannot fail is not one: money that left a frozen or closed account is named."""
    leg = {"account": str(ALICE), "amount": "1", "side": "debit"}
    line = {"sequence": 9, "postings": [leg]}
    assert folded([{"sequence": 8, "postings": [{**leg, "side": "credit"}]}, line], ALICE).lowered == [9]
    for status in ("frozen", "closed", "open"):
        fold = Fold(str(ALICE), status=status)
        fold.take(line)
        assert len(fold.wrong) == (1 if status == "open" else 2)


# --------------------------------------------------------------------------- while others move money


class Traffic:
    """Threads that do the same again and again until told to end, and counts of what came of it."""

    def __init__(self, move: Callable[[int], object]) -> None:
        self._move = move
        self._changed = threading.Condition()
        self._ended = False
        self.counts: Counter[str] = Counter()
        self._workers = [threading.Thread(target=self._run, args=(index,)) for index in range(THREADS)]

    def __enter__(self) -> Traffic:
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
        for worker in self._workers:
            worker.join()

    def _run(self, index: int) -> None:
        while True:
            try:
                self._move(index)
                came = "moved"
            except bb.BibankError as error:
                came = type(error).__name__
            with self._changed:
                self.counts[came] += 1
                self._changed.notify_all()
                if self._ended:
                    return

    def wait_for(self, came: str) -> None:
        """Wait until this came of a move that began later than now: of one more than there are threads."""
        with self._changed:
            enough = self.counts[came] + THREADS + 1
            assert self._changed.wait_for(lambda: self.counts[came] >= enough, PATIENCE_SECONDS), self.counts


def test_nothing_leaves_between_a_freeze_and_a_reopening(place: Place) -> None:
    """With 16 threads that pay from an account, no line between the two records lowers it."""
    ledger = place.create()
    ledger.commit_batch([deposit("ALICE", "100000 USDT"), deposit("BOB", "1 USDT")])
    govern_ = ledger.bind(correlation_id="g").governance

    def move(index: int) -> object:
        if index == 0:
            ledger.commit(transfer("BOB", "ALICE", "0.01 USDT"))
        return ledger.commit(transfer("ALICE", "BOB", "0.1 USDT"))

    records = []
    with Traffic(move) as traffic:
        for _ in range(2):
            traffic.wait_for("moved")
            records.append(govern_.freeze(ALICE, reason="court", authorised_by=(ANNA.signer,)))
            traffic.wait_for("AccountFrozen")
            records.append(govern_.reopen(ALICE, reason="over", authorised_by=(BERT.signer,)))
        traffic.wait_for("moved")
        records.append(govern_.freeze(ALICE, reason="court", authorised_by=(CLEO.signer,)))
        traffic.wait_for("AccountFrozen")
    assert set(traffic.counts) == {"moved", "AccountFrozen"}
    ledger.flush_head()
    fold = folded(place.lines(), ALICE)
    assert fold.decided == [record.sequence for record in records]
    ends = [0, *fold.decided]
    lowered = [
        sum(one < line < two for line in fold.lowered) for one, two in zip(ends, fold.decided, strict=False)
    ]
    assert [count > 0 for count in lowered] == [True, False, True, False, True]
    assert max(fold.lowered) < fold.decided[-1]
    check_at(ledger, records[-1].sequence, transfer("ALICE", "BOB", "1 USDT"), bb.AccountFrozen)
    ledger = place.reopened(ledger)
    assert ledger.balance("ALICE", "USDT").available.units == fold.units
    check_at(ledger, records[-1].sequence, transfer("ALICE", "BOB", "1 USDT"), bb.AccountFrozen)
    assert ledger.audit(level="signatures").head == ledger.head
    ledger.close()


def test_nothing_moves_while_an_account_is_closed(place: Place) -> None:
    """With 16 threads that pay in and out, no line between closing and reopening names the account."""
    ledger = place.create()
    decide = ledger.bind(correlation_id="g").governance

    def move(_: int) -> object:
        return ledger.commit_batch([deposit("BOB", "1 USDT"), transfer("BOB", "SHOP", "1 USDT")])

    records = []
    with Traffic(move) as traffic:
        for _ in range(2):
            traffic.wait_for("moved")
            records.append(decide.close(BOB, reason="left", authorised_by=(ANNA.signer,)))
            traffic.wait_for("AccountClosed")
            records.append(decide.reopen(BOB, reason="back", authorised_by=(ANNA.signer,)))
        traffic.wait_for("moved")
        records.append(decide.close(BOB, reason="left", authorised_by=(ANNA.signer,)))
        traffic.wait_for("AccountClosed")
    assert set(traffic.counts) == {"moved", "AccountClosed"}
    ledger.flush_head()
    fold = folded(place.lines(), BOB)
    assert (fold.units, fold.decided) == (0, [record.sequence for record in records])
    assert min(fold.lowered) < fold.decided[0] < fold.decided[1] < max(fold.lowered) < fold.decided[-1]
    for _ in range(2):
        check_at(ledger, records[-1].sequence, deposit("BOB", "1 USDT"), bb.AccountClosed)
        ledger = place.reopened(ledger)
    ledger.close()


def test_no_line_breaks_the_floor_of_its_place(place: Place) -> None:
    """With 16 threads that spend what they can, a floor that is lowered and raised holds at every line."""
    ledger = place.create()
    decide = ledger.bind(correlation_id="g").governance

    def move(index: int) -> object:
        if index % 4 == 0:
            ledger.commit(deposit("ALICE", "0.3 USDT"))
        return ledger.commit(transfer("ALICE", "BOB", "0.7 USDT"))

    with Traffic(move) as traffic:
        for floor in ("-50", "-80.5", "0", "-20", "-100"):
            traffic.wait_for("InsufficientBalance")
            decide.limit(ALICE, floor=floor, reason="credit", authorised_by=(ANNA.signer,))
        traffic.wait_for("InsufficientBalance")
    assert set(traffic.counts) == {"moved", "InsufficientBalance"}
    ledger.flush_head()
    fold = folded(place.lines(), ALICE)
    assert len(fold.decided) == 5
    assert any(line > fold.decided[0] for line in fold.lowered)
    last, much = fold.decided[-1], transfer("ALICE", "BOB", "5000 USDT")
    for _ in range(2):
        assert ledger.balance("ALICE", "USDT").available.units == fold.units
        check_at(ledger, last, much, bb.InsufficientBalance, before=None)
        ledger = place.reopened(ledger)
    ledger.close()


def check_at(
    ledger: bb.Ledger,
    sequence: int,
    draft: bb.UnsignedEntry,
    refusal: type[bb.Refused],
    *,
    before: int | None = 1,
) -> None:
    """Demand that a draft is refused from a record on, in commit, preview and fork, and passes before it."""
    head, rows, terms = ledger.head, ledger.accounts(), ledger.account_terms()
    for ask in (ledger.commit, ledger.preview, ledger.fork(at=sequence).commit, ledger.fork().preview):
        with pytest.raises(refusal):
            ask(draft)
    for sound in ([deposit("CAROL", "1 USDT"), draft], [draft, deposit("CAROL", "1 USDT")]):
        with pytest.raises(refusal):
            ledger.preview(sound)
        with pytest.raises(refusal):
            ledger.commit_batch(sound)
    if before is not None:
        earlier = ledger.fork(at=sequence - before)
        assert earlier.commit(draft).sequence == sequence
        assert earlier.audit().violated == ()
    assert (ledger.head, ledger.accounts(), ledger.account_terms()) == (head, rows, terms)


def test_a_refused_batch_is_not_remembered(place: Place) -> None:
    """What a later record would have allowed is refused, leaves nothing, and passes when asked again."""
    ledger = place.create()
    decide = ledger.bind(correlation_id="g").governance
    batch = [
        deposit("CAROL", "5 USDT"),
        transfer("CAROL", "BOB", "2 USDT"),
        transfer("ALICE", "BOB", "101 USDT"),
    ]
    frozen = decide.freeze(ALICE, reason="court", authorised_by=(ANNA.signer,))
    for refusal in (bb.AccountFrozen, bb.InsufficientBalance):
        rows = ledger.accounts()
        with pytest.raises(refusal):
            ledger.commit_batch(batch, idempotency_key="k")
        assert ledger.accounts() == rows
        if refusal is bb.AccountFrozen:
            decide.reopen(ALICE, reason="over", authorised_by=(ANNA.signer,))
    decide.limit(ALICE, floor="-1", reason="credit", authorised_by=(ANNA.signer,))
    done = ledger.commit_batch(batch, idempotency_key="k")
    assert [entry.sequence for entry in done] == [frozen.sequence + number for number in (3, 4, 5)]
    ledger = place.reopened(ledger)
    assert ledger.commit_batch(batch, idempotency_key="k") == done
    with pytest.raises(bb.AccountFrozen):
        ledger.fork(at=frozen.sequence).commit_batch(batch)
    ledger.close()


def test_what_is_decided_before_there_is_an_account_is_in_force_on_it(place: Place) -> None:
    """Terms of an account that no entry named yet judge its first entry, also after a restart."""
    ledger = place.create()
    decide = ledger.bind(correlation_id="g").governance
    dora, emil = (bb.AccountKey(f"LIAB:USER:{name}:USDT:AVAILABLE") for name in ("DORA", "EMIL"))
    decide.close(dora, reason="never", authorised_by=(ANNA.signer,))
    decide.limit(emil, floor="-5", reason="credit", authorised_by=(ANNA.signer,))
    for _ in range(2):
        with pytest.raises(bb.AccountClosed):
            ledger.commit(deposit("DORA", "1 USDT"))
        with pytest.raises(bb.InsufficientBalance):
            ledger.commit(transfer("EMIL", "BOB", "6 USDT"))
        assert ledger.preview(transfer("EMIL", "BOB", "5 USDT"))
        ledger = place.reopened(ledger)
    ledger.commit(transfer("EMIL", "BOB", "5 USDT"))
    assert folded(place.lines(), emil).units == -5 * 10**8
    ledger.close()


def test_what_cancels_out_moves_all_the_same(place: Place) -> None:
    """A closed account is not named by an entry, approved or not, that gives it back what it takes."""
    ledger = place.create()
    decide = ledger.bind(correlation_id="g").governance
    legs = [bb.Posting.debit(BOB, 1), bb.Posting.credit(BOB, 1)]
    wash = drafts.adjustment(legs, purpose=bb.AdjustmentPurpose.CORRECTION, reason="x", correlation_id="w")
    decide.close(BOB, reason="left", authorised_by=(ANNA.signer,))
    for _ in range(2):
        sequence = propose(ledger, wash, by=OWN)
        assert approve(ledger, sequence, BERT) is None
        with pytest.raises(bb.AccountClosed):
            approve(ledger, sequence, CLEO)
        assert [row.approved_by for row in ledger.pending()] == [(BERT.signer_id,)]
        decide.reopen(BOB, reason="back", authorised_by=(ANNA.signer,))
        assert approve(ledger, sequence, CLEO) is not None
        decide.close(BOB, reason="left", authorised_by=(ANNA.signer,))
        ledger = place.reopened(ledger)
        decide = ledger.bind(correlation_id="g").governance
    ledger.close()


def test_money_that_arrives_on_a_frozen_account_is_judged_by_every_rule(place: Place) -> None:
    """A freeze opens no door: what a host's or an adopted rule refuses is refused on a frozen payee too."""
    ledger = place.create()
    small = EntryLimit(name="small/1", money="5 USDT")
    ledger.adopt_rules([small], authorised_by=(ANNA.signer,), correlation_id="r")
    for _ in range(2):
        with pytest.raises(bb.Refused, match="the limit is 5 USDT") as caught:
            ledger.commit(transfer("ALICE", "BOB", "6 USDT"))
        assert caught.value.rule == "small/1"
        if ledger.terms_of(BOB) is None:
            ledger.governance.freeze(BOB, reason="x", authorised_by=(ANNA.signer,), correlation_id="g")
    assert ledger.commit(transfer("ALICE", "BOB", "5 USDT")).sequence == ledger.head.sequence
    assert ledger.audit().violated == ()
    ledger.close()
