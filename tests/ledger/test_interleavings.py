"""Exactly once in every interleaving: sealing and writing as separate steps, in any order, failing or not.

Threads only ever seal under the lock and write as the leader, so any run of theirs is a sequence of these
steps. The model is the store: what stands in it was committed, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from functools import lru_cache

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import bibank as bb
from bibank import drafts
from bibank.calls import asked_of_drafts, mark_of
from bibank.journal.codec import decode_line
from bibank.stores import Head, LineGroup
from bibank.write_group import WriteGroup

PARTS = 3
"""The entry that is reversed is of so many units, and one unit is taken back at a time."""


class Write(Enum):
    """How the next write goes."""

    OK = "it is written"
    UNAVAILABLE = "nothing is written, and the store says so"
    LOST = "nothing is written, and the store cannot tell"
    KEPT = "it is written, and the store cannot tell"


class ScriptedStore:
    """A store in memory whose next write goes as it is told."""

    def __init__(self, inner: bb.MemoryStore) -> None:
        self.inner = inner
        self.next = Write.OK

    def head(self) -> Head:
        """Tell the last line."""
        return self.inner.head()

    def append(self, group: LineGroup) -> None:
        """Write as told, once."""
        told, self.next = self.next, Write.OK
        if told is Write.UNAVAILABLE:
            raise bb.StoreUnavailable("not now")
        if told is not Write.LOST:
            self.inner.append(group)
        if told is not Write.OK:
            raise bb.CommitOutcomeUnknown("who knows")

    def read(self, *, after_sequence: int = 0) -> Iterator[bytes]:
        """Give what is written."""
        return self.inner.read(after_sequence=after_sequence)

    def close(self) -> None:
        """Nothing is held."""


@attrs.frozen(eq=False)
class Ticket:
    """A commit that is sealed and waits, or was answered at once: its lines, and its group."""

    sequences: range
    group: WriteGroup | None
    ends: str


@lru_cache
def decoded(line: bytes) -> bb.JournalEntry | bb.JournalRecord:
    """Read a line; most were read before."""
    return decode_line(line)


class Interleavings(RuleBasedStateMachine):
    """One hold to be ended, one entry to be reversed in parts, one key, and any order of steps."""

    @initialize()
    def begin(self) -> None:
        """A hold of line 4, and a transfer of line 5."""
        self.inner = bb.MemoryStore()
        self.acknowledged: dict[str, list[range]] = {}
        self.reopen()
        self.ledger.deposit("ALICE", "100 USDT", correlation_id="r")
        self.hold = self.ledger.hold("ALICE", "10 USDT", to="SHOP", correlation_id="r")
        original = self.ledger.transfer("ALICE", "BOB", f"{PARTS} USDT", correlation_id="r")
        self.original = original.sequence

    @rule()
    def reopen(self) -> None:
        """The process ends; another one begins where the store stands."""
        self.store = ScriptedStore(self.inner)
        self.waiting: list[Ticket] = []
        empty = not self.inner.head().sequence
        self.ledger = bb.Ledger(store=self.store, opening={"USDT": "1000"} if empty else None)

    def sealed(self, ends: str, entries: tuple[bb.UnsignedEntry, ...], key: str | None = None) -> None:
        """Seal a commit, as a thread does before it waits; a refusal must have its reason."""
        mark = None if key is None else mark_of(key, asked_of_drafts(entries))
        try:
            found, group = self.ledger._committer._seal(self.ledger._prepare(entries, mark))
        except bb.Refused as refusal:
            self.check_refusal(refusal, entries[0])
        except bb.LedgerPoisoned:
            assert self.ledger._committer.state == "poisoned"
        else:
            self.waiting.append(Ticket(range(found.first, found.first + len(found.lines)), group, ends))

    def ahead(self) -> list[bb.JournalEntry]:
        """What is in the store, and what is sealed on top of it."""
        groups = self.ledger._committer._queue.groups
        batches = [batch for group in groups for batch in group.batches]
        sealed = [batch.view(index) for batch in batches for index in range(len(batch.lines))]
        lines = [*map(decoded, self.inner.read(after_sequence=0)), *sealed]
        return [line for line in lines if isinstance(line, bb.JournalEntry)]

    def check_refusal(self, refusal: bb.Refused, asked: bb.UnsignedEntry) -> None:
        """What was refused would have happened twice."""
        entries = self.ahead()
        if isinstance(refusal, bb.HoldNotOpen):
            assert any("bb.hold" in entry.metadata for entry in entries)
        elif isinstance(refusal, bb.AlreadyReversed):
            done = sum(e.postings[0].amount.units for e in entries if "bb.reverses" in e.metadata)
            assert done + asked.postings[0].amount.units > PARTS * 10**8
        else:
            assert isinstance(refusal, bb.IdempotencyConflict)
            (bearer,) = [entry for entry in entries if "bb.idempotency_key" in entry.metadata]
            assert bearer.postings != asked.postings

    @rule(amount=st.sampled_from([None, "4", "10"]))
    def post(self, amount: str | None) -> None:
        """Somebody posts the hold."""
        paid = None if amount is None else bb.Amount(amount)
        self.sealed("hold", drafts.post_hold(self.hold, paid, correlation_id="p"))

    @rule()
    def void(self) -> None:
        """Somebody voids it."""
        self.sealed("hold", drafts.void_hold(self.hold, correlation_id="v"))

    @rule(part=st.sampled_from([None, "1"]))
    def reverse(self, part: str | None) -> None:
        """Somebody takes the transfer back, or a part of it."""
        original = decode_line(next(self.inner.read(after_sequence=self.original - 1)))
        assert isinstance(original, bb.JournalEntry)
        amount = None if part is None else bb.Amount(part)
        self.sealed("transfer", (drafts.reversal(original, amount, correlation_id="b"),))

    @rule(other=st.sampled_from(["1", "1", "2"]), trace=st.sampled_from("ab"))
    def under_a_key(self, other: str, trace: str) -> None:
        """Somebody asks under the one key, mostly for the same."""
        self.sealed("key", (drafts.deposit("CAROL", f"{other} USDT", correlation_id=trace),), "once")

    @rule()
    def plain(self) -> None:
        """Somebody does something else."""
        self.sealed("nothing", (drafts.deposit("DORA", "1 USDT", correlation_id="d"),))

    @rule(how=st.sampled_from(Write))
    def script(self, how: Write) -> None:
        """The next write goes like this."""
        self.store.next = how

    @rule()
    def led(self) -> None:
        """A leader has taken what is queued: the next commit begins another write group."""
        self.ledger._committer.machine.close_group()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def wait(self, data: st.DataObject) -> None:
        """Whoever sealed a commit waits for it, and is told what became of it."""
        ticket = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        if ticket.group is not None:
            try:
                self.ledger._committer._queue.settle(ticket.group)
            except bb.StoreUnavailable:
                return
            except bb.StoreError:
                assert self.ledger._committer.state == "poisoned", "nothing is unknown here"
                return
        self.acknowledged.setdefault(ticket.ends, []).append(ticket.sequences)
        assert ticket.sequences[-1] <= self.inner.head().sequence, "acknowledged, and not in the store"

    @invariant()
    def each_thing_happened_once(self) -> None:
        """The store has one end of the hold, no more than the whole reversed, one bearer of the key."""
        lines = list(map(decoded, self.inner.read(after_sequence=0)))
        entries = [line for line in lines if isinstance(line, bb.JournalEntry)]
        ends = {entry.sequence for entry in entries if "bb.hold" in entry.metadata}
        assert len(ends) <= 1
        reversed_units = [e.postings[0].amount.units for e in entries if "bb.reverses" in e.metadata]
        assert sum(reversed_units) <= PARTS * 10**8
        bearers = {entry.sequence for entry in entries if "bb.idempotency_key" in entry.metadata}
        assert len(bearers) <= 1
        assert {sequences[0] for sequences in self.acknowledged.get("hold", [])} <= ends
        assert len(self.acknowledged.get("hold", [])) <= 1 or len(set(self.acknowledged["hold"])) == 1
        assert {sequences[0] for sequences in self.acknowledged.get("key", [])} <= bearers
        if self.ledger._committer.state == "open":
            shown = [hold.id for hold in self.ledger.holds()]
            assert shown == ([self.hold.id] if not ends and hasattr(self, "original") else [])
            model: dict[str, int] = {}
            for posting in (posting for entry in entries for posting in entry.postings):
                grows = posting.side is posting.account.category.normal_balance
                change = posting.amount.units if grows else -posting.amount.units
                model[posting.account.text] = model.get(posting.account.text, 0) + change
            assert {row.account.text: row.balance.units for row in self.ledger.accounts()} == model


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(stateful_step_count=25)
