"""Random histories for the bus: what happens to a ledger and to who listens, and the run that checks it."""

from __future__ import annotations

import shutil
from collections import deque
from pathlib import Path
from unittest.mock import patch

import attrs
from hypothesis import strategies as st

import bibank as bb
from bibank import drafts
from bibank.batch import Item
from bibank.bus.bus import EventBus
from tests.bus.ears import Keeper, Planted, Replayed, small_ring, told
from tests.properties.bus_audience import GUESTS, Audience
from tests.properties.bus_oracle import ATTEMPTS, Desk, Interrupted, Office
from tests.properties.bus_twin import Do, Twin
from tests.store.journals import SIGNER, StillClock, counted_bytes

NAMES = ("one", "two", "keeper")
RING_LINES = 4
INTERRUPTS = (KeyboardInterrupt, SystemExit, GeneratorExit)

_names = st.sampled_from(NAMES)
_guests = st.sampled_from(sorted(GUESTS))
_anybody = st.one_of(st.none(), _names)
_few = st.integers(1, 6)
_limits = st.one_of(st.none(), st.none(), st.integers(0, 5))
_hows = st.sampled_from(["error", "error", "error", "interrupt", "late"])

Step = tuple[object, ...]

_STEPS: dict[str, tuple[int, tuple[st.SearchStrategy[object], ...]]] = {
    "tick": (2, (st.sampled_from([0.3, 1.0, 5.0]),)),
    "commit": (4, (_few,)),
    "batch": (1, (st.integers(2, 9),)),
    "each": (1, (_few,)),
    "long": (1, ()),
    "refused": (1, ()),
    "record": (2, ()),
    "subscribe": (2, (_names, st.one_of(st.none(), st.floats(0, 1)))),
    "unsubscribe": (1, (_names,)),
    "forget": (1, (_names,)),
    "pump": (12, (_anybody, _limits)),
    "trouble": (4, (_names, st.integers(0, 3), st.lists(_hows, min_size=1, max_size=5))),
    "resume": (1, (_names,)),
    "replay": (2, (_anybody, st.floats(0, 1))),
    "hold": (2, (_guests,)),
    "let": (1, (_guests,)),
    "shake": (1, (_guests, st.integers(1, 3))),
    "settle": (1, ()),
    "reopen": (1, ()),
    "killed": (1, ()),
}
"""What may happen, how often beside the others, and with what."""

steps: st.SearchStrategy[Step] = st.sampled_from(
    [name for name, (weight, _) in _STEPS.items() for _ in range(weight)]
).flatmap(lambda name: st.tuples(st.just(name), *_STEPS[name][1]))
"""One thing that happens."""

bus_histories = st.lists(steps, min_size=12, max_size=60)
"""Long enough that somebody lags, fails, is parked and comes back."""


class Diary(Replayed):
    """Writes down every attempt."""

    @property
    def lines(self) -> list[str]:
        """Everything that came."""
        return [told(event) for event in self.tried]


@attrs.define
class Time:
    """A clock that a test moves."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.seconds


class Run:
    """A home, its subscribers, and the naive model beside them; every step is done to both and compared."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._homes = 0
        self._time = Time()
        self._frozen = 0
        self.office = Office()
        self.ears: dict[str, Diary | Keeper] = {}
        self._known: dict[str, Desk] = {}
        """Who has a cursor, subscribed or not."""
        self._since: dict[str, tuple[int, int]] = {}
        """Where who has a file for it first began, and what it had heard before."""
        self._seen: dict[str, float] = {}
        """When each was pumped last."""
        self.ledger = bb.Ledger.create(
            self._home,
            opening={"USDT": "1000"},
            clock=StillClock(),
            entropy=counted_bytes,
            signer=SIGNER,
            durability="none",
        )
        self._twin = Twin()
        self._audience = Audience()
        self._new_bus()
        self.office.commit(entries=1, records=1)
        for name in NAMES:
            self._subscribe(name, 0.0)
        self._audience.attach(self.ledger.bus)

    @property
    def _home(self) -> Path:
        return self._directory / f"books{self._homes}"

    def _new_bus(self) -> None:
        """Make the bus, with a small buffer and a clock of ours."""
        with small_ring(RING_LINES), patch.dict(EventBus.__init__.__kwdefaults__, clock=self._time):
            assert self.ledger.bus is self.ledger.bus

    def take(self, step: Step) -> None:
        """Do a step, and compare."""
        getattr(self, f"_{step[0]}")(*step[1:])
        self.compare()

    def compare(self) -> None:
        """Demand that everyone stands where the model says."""
        assert self.ledger.head.sequence == self.office.head
        rows = {row.name: row for row in self.ledger.bus.status() if row.name not in GUESTS}
        assert set(rows) == set(self.office.desks)
        for name, desk in self.office.desks.items():
            row = rows[name]
            assert (row.failures, row.handled) == (desk.failures, desk.handled), name
            assert (row.state is bb.SubscriberState.PARKED) == desk.is_parked, name
            assert row.behind == self.office.head - row.sequence

    # ------------------------------------------------------------------ commits

    def _do(self, do: Do, *, entries: int = 0, records: int = 0) -> None:
        """Commit, with the same outcome as where nobody listens."""
        self._twin.both(self.ledger, do)
        self.office.commit(entries=entries, records=records)

    def _commit(self, count: int) -> None:
        for _ in range(count):
            self._do(lambda ledger: ledger.deposit("ALICE", "1 USDT", correlation_id="r"), entries=1)

    def _batch(self, count: int) -> None:
        self._do(lambda ledger: ledger.commit_batch([self._draft()] * count), entries=count)

    def _each(self, count: int) -> None:
        refused = drafts.transfer("NOBODY", "ALICE", "1 USDT", correlation_id="r")
        items: list[Item] = [self._draft(), refused, [self._draft()] * count]
        self._do(lambda ledger: ledger.commit_each(items), entries=1 + count)

    def _long(self) -> None:
        text = {"a": "x" * 3_000, "b": "x" * 3_000}
        self._do(
            lambda ledger: ledger.deposit("ALICE", "1 USDT", correlation_id="r", metadata=text), entries=1
        )

    def _refused(self) -> None:
        self._do(lambda ledger: ledger.transfer("NOBODY", "ALICE", "1 USDT", correlation_id="r"))

    def _record(self) -> None:
        self._frozen += 1
        account = bb.AccountKey(f"LIAB:USER:F{self._frozen}:USDT:AVAILABLE")
        self._do(
            lambda ledger: ledger.governance.freeze(account, reason="a test", correlation_id="r"), records=1
        )

    @staticmethod
    def _draft() -> bb.UnsignedEntry:
        return drafts.deposit("ALICE", "1 USDT", correlation_id="r")

    # ------------------------------------------------------------------ subscribers

    def _subscribe(self, name: str, place: float | None) -> None:
        if name in self.office.desks:
            try:
                self.ledger.bus.subscribe(Diary(name))
            except bb.SubscriberExists:
                return
            raise AssertionError("two of one name")
        ear = self.ears.setdefault(name, Keeper(name) if name == "keeper" else Diary(name))
        after = None if place is None else int(place * self.office.head)
        self.ledger.bus.subscribe(ear, after_sequence=after, retry=bb.Retry(attempts=ATTEMPTS))
        desk = self._known.setdefault(name, Desk(name, keeps=name == "keeper"))
        desk.failures = desk.handled = desk.attempts = 0
        desk.is_parked, desk.is_asked = False, False
        desk.replay = desk.wanted = None
        start = self.office.head if after is None else after
        if desk.keeps:
            begun = 0 if after is None else after
            desk.done = begun if desk.kept is None else desk.kept
        elif desk.places:
            (row,) = (row for row in self.ledger.bus.status() if row.name == name)
            assert row.sequence in desk.places, (
                "the cursor is where the subscriber never was, or not any more"
            )
            desk.done = row.sequence
        else:
            desk.done = start
            self._since[name] = start, len(ear.heard)
        desk.places = {desk.done}
        self.office.desks[name] = desk

    def _unsubscribe(self, name: str) -> None:
        try:
            self.ledger.bus.unsubscribe(name)
        except bb.UnknownSubscriber:
            assert name not in self.office.desks
            return
        self.office.desks.pop(name).is_saved()

    def _forget(self, name: str) -> None:
        is_known = name in self.office.desks or (name != "keeper" and name in self._known)
        try:
            self.ledger.bus.forget(name)
        except bb.UnknownSubscriber:
            assert not is_known
            return
        assert is_known
        self.office.desks.pop(name, None)
        if name != "keeper":
            del self._known[name]
            self.ears[name].trouble.clear()

    def _pump(self, name: str | None, limit: int | None) -> None:
        if name is not None and name not in self.office.desks:
            return
        desks = list(self.office.desks.values()) if name is None else [self.office.desks[name]]
        before = {desk.name: len(self.ears[desk.name].tried) for desk in desks}
        expected: dict[str, list[str]] = {desk.name: [] for desk in desks}
        count, is_interrupted = 0, False
        for desk in desks:
            left = None if limit is None else limit - count
            if self._is_aged(desk) and left != 0:
                desk.is_saved()  # the first thing that the pump does
            try:
                expected[desk.name], handled = self.office.pump(desk, left)
            except Interrupted as error:
                (expected[desk.name],) = error.args
                is_interrupted = True
                break
            count += handled
        try:
            assert self.ledger.bus.pump(name, limit=limit) == count
            assert not is_interrupted
        except INTERRUPTS:
            assert is_interrupted
        for who, begin in before.items():
            assert [told(event) for event in self.ears[who].tried[begin:]] == expected[who], who
        if limit is None and not is_interrupted:
            stands = {row.name: row.sequence for row in self.ledger.bus.status()}
            assert all(stands[desk.name] == desk.done for desk in desks)

    def _is_aged(self, desk: Desk) -> bool:
        """Whether more than the time between two saves has passed since the last pump of a subscriber."""
        seen, self._seen[desk.name] = self._seen.get(desk.name), self._time.seconds
        return seen is not None and self._time.seconds - seen >= 1.0

    def _trouble(self, name: str, ahead: int, hows: list[str]) -> None:
        ear = self.ears.get(name)
        desk = self._known.get(name)
        if ear is None or desk is None:
            return
        wanted = [how for how in hows if how != "late" or desk.keeps]
        entry = next((found for found in self.office.behind(desk.done + ahead)), self.office.head + 1 + ahead)
        if isinstance(ear, Keeper):  # one kind for each entry, or their order would matter
            wanted = [how for how in wanted if (how == "late") == (wanted[0] == "late")]
        if entry in desk.trouble:
            return
        desk.trouble[entry] = deque(wanted)
        errors = deque(_error(how, number) for number, how in enumerate(wanted))
        if isinstance(ear, Keeper) and "late" in wanted:
            ear.after[entry] = errors
        else:
            ear.trouble[entry] = errors

    def _resume(self, name: str) -> None:
        if name in self.office.desks:
            self.ledger.bus.resume(name)
            self.office.resume(self.office.desks[name])

    def _replay(self, name: str | None, place: float) -> None:
        line = 1 + int(place * (self.office.head - 1))
        if name is not None and name not in self.office.desks:
            return
        self.ledger.bus.replay_from(line, name=name)
        for desk in self.office.desks.values() if name is None else [self.office.desks[name]]:
            self.office.replay_from(desk, line)

    # ------------------------------------------------------------------ those told beside the history

    def _hold(self, name: str) -> None:
        self._audience.block(name)

    def _let(self, name: str) -> None:
        self._audience.release(name)

    def _shake(self, name: str, count: int) -> None:
        """Fail, and in a thread even raise what would end one."""
        kinds = (Planted, SystemExit, KeyboardInterrupt) if name == "hand" else (Planted, TimeoutError)
        self._audience.trouble(name, [kinds[number % len(kinds)]("shaken") for number in range(count)])

    def _settle(self) -> None:
        self._audience.settle(self.ledger.bus, self.office.entries)

    # ------------------------------------------------------------------ time and restarts

    def _tick(self, seconds: float) -> None:
        self._time.seconds += seconds

    def _reopen(self) -> None:
        for desk in self.office.desks.values():
            desk.is_saved()
        self.stop()
        self._open_again()

    def _killed(self) -> None:
        """What a killed process leaves is what stands in its files, and nothing else."""
        before = self._home
        self._homes += 1
        shutil.copytree(before, self._home)
        self.stop()
        shutil.rmtree(before)
        self._open_again()

    def _open_again(self) -> None:
        names = list(self.office.desks)
        self.office.desks = {}
        self.ledger = bb.Ledger.open(self._home, clock=StillClock(), signer=SIGNER, durability="none")
        self._new_bus()
        for name in names:
            self._subscribe(name, None)
        self._audience.attach(self.ledger.bus)

    def stop(self) -> None:
        """Close the ledger; nobody waits for who stands still."""
        self._audience.die(self.ledger.bus, self.office.entries)
        self.ledger.close()

    # ------------------------------------------------------------------ the end

    def finish(self) -> None:
        """Let everyone through to the end, and compare with the journal itself."""
        for name in list(self.office.desks):
            for _ in range(60):
                self._resume(name)
                self._pump(name, None)
                self.compare()
            assert self.office.desks[name].done == self.office.head
            if name in self._since:
                begun, before = self._since[name]
                heard = {int(text) for text in map(told, self.ears[name].heard[before:]) if text.isdecimal()}
                assert heard >= set(self.office.behind(begun)), (
                    "at least once, everything since it first came"
                )
        self._settle()
        self._twin.compare(self.ledger)


def _error(how: str, number: int) -> BaseException:
    return INTERRUPTS[number % len(INTERRUPTS)]() if how == "interrupt" else Planted(f"{how} {number}")
