"""Threads that are killed while they commit: nobody waits for ever, nothing acknowledged is lost or doubled.

An exception of another thread's making (an interrupt, `PyThreadState_SetAsyncExc`) is raised by the
interpreter only where it looks for one: when a function begins, after a call, when a loop goes round. The
victim is struck at each of these places in the ledger's code, in each part that it can play: it leads,
it is called to lead next, it follows in the middle, it is the last to be called. What differs from one ledger
to another is tried beside it, in the code that differs: signatures, other ways to commit, subscribers.
"""

from __future__ import annotations

import dis
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Literal, Protocol, TypeAlias

import attrs
import pytest

import bibank as bb
from bibank import write_queue
from bibank.bus import mailbox
from bibank.outcomes import Committed
from bibank.sealing import Found
from bibank.store.protocol import LedgerStore
from tests.ledger.test_leaders import HeldStore, until
from tests.store.journals import SIGNER, deposit

PACKAGE = Path(bb.__file__).parent
DISK = str(PACKAGE / "store" / "memory.py")
"""The store in memory stands for a disk here, which no interrupt leaves in the middle of a step."""

KEYS = ("first", "second", "third", "fourth")

VISITS = 2
"""How often a place is tried in one commit: loops over postings and fields show nothing new after that."""


class Killed(BaseException):
    """What is raised in the victim."""


class Traced(Protocol):
    """A trace function, as `sys.settrace` wants it."""

    def __call__(self, frame: FrameType, event: str, arg: object, /) -> Traced | None:
        """Hear of an event."""


@lru_cache
def steps(code: CodeType) -> dict[int, tuple[str, int]]:
    """The instructions of a function by offset: the name, and the offset of the one written before it."""
    listed = list(dis.get_instructions(code))
    before = [-1, *(step.offset for step in listed)]
    return {step.offset: (step.opname, last) for step, last in zip(listed, before, strict=False)}


class Strike:
    """A trace function that kills its thread at the n-th place where an interrupt may come.

    `within` are files and folders of the package: other code of it is passed over.
    """

    def __init__(self, at: int, *, within: tuple[str, ...] = ("",)) -> None:
        self.left = at
        self.within = tuple(str(PACKAGE / part) for part in within)
        self.struck = ""
        """Where it did."""
        self.before: dict[FrameType, int] = {}
        """The instruction that each function has come from."""
        self.visits: Counter[tuple[CodeType, int]] = Counter()

    def may_strike(self, frame: FrameType) -> bool:
        """Tell whether an interrupt may come now: after a call and after a beginning, and at a step back."""
        code, at = steps(frame.f_code), frame.f_lasti
        name, written_before = code[at]
        came_from = self.before.get(frame, written_before)  # not every interpreter tells of each instruction
        self.before[frame] = at
        if name.startswith("JUMP_BACKWARD"):
            return True
        return came_from == written_before >= 0 and code[came_from][0].startswith(("CALL", "RESUME"))

    def __call__(self, frame: FrameType, event: str, arg: object) -> Traced | None:
        """Trace the ledger's code, instruction by instruction."""
        file = frame.f_code.co_filename
        if file == DISK or not file.startswith(self.within):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and self.may_strike(frame):
            place = frame.f_code, frame.f_lasti
            self.visits[place] += 1
            if self.visits[place] > VISITS:
                return self
            self.left -= 1
            if self.left == 0:
                self.struck = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
                raise Killed(self.struck)
        return self


Told: TypeAlias = list[bb.JournalEntry]
"""What a caller was told is committed."""

Way: TypeAlias = Callable[[bb.Ledger, str, Told], None]
"""Commits under a key, and adds what it was told; the same again gives the same."""


def ask(ledger: bb.Ledger, key: str, told: Told) -> None:
    """Ask for a deposit."""
    told.append(ledger.deposit("CAROL", "1 USDT", correlation_id="r", idempotency_key=key))


def ask_for_a_batch(ledger: bb.Ledger, key: str, told: Told) -> None:
    """Ask for two deposits that stand or fall together."""
    with ledger.batch(correlation_id="r", idempotency_key=key) as batch:
        batch.deposit("CAROL", "1 USDT")
        batch.deposit("CAROL", "1 USDT")
    told += batch.entries


def two_items(key: str) -> list[bb.Keyed]:
    """Two deposits, each with a key of its own."""
    return [bb.Keyed(entries=deposit("CAROL", "1 USDT"), idempotency_key=key + end) for end in ("", "+")]


def ask_for_each(ledger: bb.Ledger, key: str, told: Told) -> None:
    """Ask for two deposits that share a write."""
    for outcome in ledger.commit_each(two_items(key)):
        assert isinstance(outcome, Committed)
        told += outcome.entries


def ask_apart(ledger: bb.Ledger, key: str, told: Told) -> None:
    """Ask for two deposits as a task's thread does for two tasks: each is told as soon as it is known."""
    outcomes: list[Found | Exception | None] = [None, None]
    try:
        ledger._committer.commit_apart([ledger._prepare_item(item) for item in two_items(key)], outcomes)
    finally:
        for found in outcomes:
            if found is not None and not isinstance(found, Exception):
                told += Committed(found).entries
    for error in outcomes:
        if isinstance(error, Exception):
            raise error


@attrs.frozen(kw_only=True)
class Scene:
    """A ledger of some kind, the way of the victim to commit, and in which code it is struck."""

    within: tuple[str, ...] = ("",)
    way: Way = ask
    signing: Literal["entry", "group"] | None = None
    delivery: Literal["pump", "thread"] | None = None

    def open(self, store: LedgerStore) -> bb.Ledger:
        """Open the ledger; where there is none make it."""
        opening = None if store.head().sequence else {"USDT": "1000"}
        if self.signing is None:
            return bb.Ledger(store=store, opening=opening)
        return bb.Ledger(store=store, opening=opening, signer=SIGNER, signing=self.signing)


@attrs.define(eq=False)
class Commit:
    """A thread that commits under a key, and what it was told."""

    ledger: bb.Ledger
    key: str
    way: Way
    trace: Strike | None
    told: Told = attrs.field(factory=list)
    error: BaseException | None = None
    durable_then: int = 0
    thread: threading.Thread = attrs.field(init=False)

    def start(self) -> None:
        """Begin; a daemon, so that one that hangs fails its test and does not hang the run."""
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        """Commit, and look at once what the store has."""
        store = self.ledger._committer.store
        sys.settrace(self.trace)
        try:
            self.way(self.ledger, self.key, self.told)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is looked at
            self.error = error
        finally:
            sys.settrace(None)
            self.durable_then = store.head().sequence


class Run:
    """One run of a scene: the first writes while the others seal behind it, and the victim is struck."""

    def __init__(self, scene: Scene, victim: int, at: int) -> None:
        self.scene = scene
        self.victim = victim
        self.store = HeldStore()
        self.ledger = scene.open(self.store)
        self.begin = self.ledger.head.sequence
        self.strike = Strike(at, within=scene.within)
        self.heard: list[int] = []
        if scene.delivery is not None:
            self.ledger.bus.subscribe(self.hear, name="listener", delivery=scene.delivery)
        self.commits = [
            Commit(self.ledger, key, scene.way, self.strike)
            if number == victim
            else Commit(self.ledger, key, ask, None)
            for number, key in enumerate(KEYS)
        ]

    @property
    def struck(self) -> str:
        """Where the victim was struck; nothing when its way was shorter."""
        return self.strike.struck

    def hear(self, event: bb.LedgerEvent) -> None:
        """Be told of an entry, or that somebody checked the journal."""
        if isinstance(event, bb.EntryCommitted):
            self.heard.append(event.sequence)

    def go(self) -> None:
        """Let the first come to the store, and the others wait for it, in their order; then let it write."""
        reached, go = threading.Event(), threading.Event()
        machine, groups = self.ledger._committer.machine, self.ledger._committer._queue.groups

        def hold() -> None:
            reached.set()
            assert go.wait(30)

        self.store.before = hold

        def is_ready(number: int, sealed: int) -> bool:
            has_come = machine.head.sequence > sealed if number else reached.is_set()
            if not has_come and self.commits[number].thread.is_alive():
                return False
            waiting = sum(len(group.waiting) for group in tuple(groups))
            return waiting >= number or bool(self.struck)  # where the victim died, another may lead

        for number, commit in enumerate(self.commits):
            sealed = machine.head.sequence
            commit.start()
            until(partial(is_ready, number, sealed))
        go.set()
        for commit in self.commits:
            commit.thread.join(30)
            assert not commit.thread.is_alive(), f"{commit.key} waits for ever after {self.struck}"

    def check(self) -> None:
        """Demand that each was told the truth, and that its key tells it again."""
        for number, commit in enumerate(self.commits):
            for entry in commit.told:
                assert entry.sequence <= commit.durable_then, f"shown before its sync: {self.struck}"
            if not commit.told and number != self.victim:
                assert isinstance(commit.error, bb.StoreError), (self.struck, commit.error)
        again = self.ledger
        with suppress(bb.LedgerPoisoned):
            again.balance("CAROL", "USDT")  # who looks finds what the victim left half done
        if again._committer.state == "poisoned":
            again = self.scene.open(self.store.inner)
        before = {entry.sequence for entry in again.entries()}
        count = 0
        for commit in self.commits:
            told: Told = []
            commit.way(again, commit.key, told)
            count += len(told)
            if commit.error is None:
                assert commit.told == told, self.struck
            assert all(entry in told for entry in commit.told), self.struck
            assert before.issuperset(entry.sequence for entry in commit.told), f"lost: {self.struck}"
            if not before.issuperset(entry.sequence for entry in told):  # it was committed just now
                twice: Told = []
                commit.way(again, commit.key, twice)
                assert twice == told
        assert str(again.balance("CAROL", "USDT").available) == str(count), self.struck
        assert again.audit(level="signatures").lines == again.head.sequence
        if self.scene.delivery is not None:
            self.check_heard(again)

    def check_heard(self, again: bb.Ledger) -> None:
        """Demand that the listener hears every entry once, at last from the ledger that was opened again."""
        with suppress(bb.LedgerPoisoned):  # found now, when the victim died behind its write
            again.deposit("DAVE", "1 USDT", correlation_id="r")
        if again._committer.state == "poisoned":
            again = self.scene.open(self.store.inner)
        if self.scene.delivery == "pump":
            self.ledger.bus.pump()
        else:
            drained = self.ledger.bus.drain(timeout_seconds=20)
            assert drained or again is not self.ledger, f"not told in time: {self.struck}"
        self.ledger.bus.unsubscribe("listener")
        if again is not self.ledger:
            done = self.heard[-1] if self.heard else self.begin
            again.bus.subscribe(self.hear, name="listener", after_sequence=done)
            again.bus.pump()
        entries = [entry.sequence for entry in again.entries(after_sequence=self.begin)]
        assert self.heard == entries, f"not told, or not once: {self.struck}"


def strike_everywhere(scene: Scene, victim: int) -> tuple[set[str], Run]:
    """Strike the victim at each place of its way; give the places, and a run in which it was not."""
    at, unstruck, places = 0, 0, set()
    while unstruck < 3:  # in turn: a way may be shorter now and then, when another thread was quicker
        at += 1
        run = Run(scene, victim, at)
        run.go()
        run.check()
        if not run.struck:
            unstruck += 1
            continue
        assert isinstance(run.commits[victim].error, (Killed, bb.BibankError)), run.struck
        unstruck = 0
        places.add(run.struck.split(":")[0])
    return places, run


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a call is lost with the victim, the others do not wait for long."""
    monkeypatch.setattr(write_queue, "PATIENCE", 0.05)


@pytest.mark.interrupts
@pytest.mark.parametrize("victim", range(len(KEYS)))
def test_a_thread_killed_anywhere_leaves_the_others_whole(victim: int) -> None:
    """For each place of the victim's way through a commit: all come to an end, and each key counts once."""
    places, unstruck = strike_everywhere(Scene(), victim)
    assert unstruck.commits[victim].told
    assert {"WriteQueue.settle", "WriteQueue._hand_on", "Sealing._seal"} <= places
    assert ("WriteQueue._keep" in places) == (victim < 2), "the first two lead"
    assert ("WriteGroup.wait" in places) == (victim > 0)


QUEUE = ("write_queue.py", "write_group.py")

SCENES = {
    "signed": (Scene(signing="entry", within=("signing", "write_queue.py")), "LineSigner.sign"),
    "group-covered": (Scene(signing="group", within=("signing", "write_queue.py")), "LineSigner.sign"),
    "batch": (Scene(way=ask_for_a_batch, within=("batch.py", *QUEUE)), "Batch.__exit__"),
    "each": (Scene(way=ask_for_each, within=("committer.py", "sealing.py", *QUEUE)), "Sealing._seal_each"),
    "apart": (
        Scene(way=ask_apart, within=("committer.py", "sealing.py", *QUEUE)),
        "Committer.commit_apart",
    ),
    "pumped": (Scene(delivery="pump", within=("bus", "write_queue.py")), "EventBus.publish"),
    "listening": (Scene(delivery="thread", within=("bus", "write_queue.py")), "EventBus._wake"),
    "listening apart": (
        Scene(delivery="thread", way=ask_apart, signing="group", within=("bus",)),
        "EventBus.publish",
    ),
}
"""Each kind, and a function of its own, which a leader comes to, or every victim."""


@pytest.mark.interrupts
@pytest.mark.parametrize("victim", [0, 1, 3])
@pytest.mark.parametrize("name", SCENES)
def test_a_thread_killed_in_another_ledger(monkeypatch: pytest.MonkeyPatch, name: str, victim: int) -> None:
    """Signed, in another way, or heard: all come to an end, each key counts once, each entry is told once."""
    monkeypatch.setattr(mailbox, "LOOK_SECONDS", 0.01)
    scene, place = SCENES[name]
    places, unstruck = strike_everywhere(scene, victim)
    assert unstruck.commits[victim].told
    is_of_all = place.startswith(("Batch", "Sealing", "Committer"))
    assert (place in places) == (is_of_all or victim < 2), "the first two lead"
