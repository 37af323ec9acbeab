"""Threads that are killed while they commit: nobody waits for ever, nothing acknowledged is lost or doubled.

An exception of another thread's making (an interrupt, `PyThreadState_SetAsyncExc`) is raised by the
interpreter only where it looks for one: when a function begins, after a call, when a loop goes round. The
victim is struck at each of these places in the ledger's code, in each part that it can play: it leads,
it is called to lead next, it follows in the middle, it is the last to be called.
"""

from __future__ import annotations

import dis
import sys
import threading
from collections import Counter
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Protocol

import attrs
import pytest

import bibank as bb
from bibank import write_queue
from tests.ledger.test_leaders import HeldStore, until

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
    """A trace function that kills its thread at the n-th place where an interrupt may come."""

    def __init__(self, at: int) -> None:
        self.left = at
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
        if file == DISK or not file.startswith(str(PACKAGE)):
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


@attrs.define(eq=False)
class Commit:
    """A thread that commits under a key, and what it was told."""

    ledger: bb.Ledger
    key: str
    trace: Strike | None = None
    entry: bb.JournalEntry | None = None
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
            self.entry = ask(self.ledger, self.key)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is looked at
            self.error = error
        finally:
            sys.settrace(None)
            self.durable_then = store.head().sequence


def ask(ledger: bb.Ledger, key: str) -> bb.JournalEntry:
    """Ask for a deposit under a key."""
    return ledger.deposit("CAROL", "1 USDT", correlation_id="r", idempotency_key=key)


def run_together(victim: int, at: int) -> tuple[HeldStore, bb.Ledger, list[Commit], Strike]:
    """Let the first write while the others seal behind it, one after the other, and strike the victim."""
    store, reached, go = HeldStore(), threading.Event(), threading.Event()
    ledger = bb.Ledger(store=store, opening={"USDT": "1000"})
    strike = Strike(at)

    def hold() -> None:
        reached.set()
        assert go.wait(30)

    store.before = hold
    commits = [Commit(ledger, key, strike if n == victim else None) for n, key in enumerate(KEYS)]
    for number, commit in enumerate(commits):
        sealed = ledger._committer.machine.head.sequence
        commit.start()
        until(
            lambda commit=commit, number=number, sealed=sealed: (  # type: ignore[misc]  # bound at once
                not commit.thread.is_alive()
                or (reached.is_set() if not number else ledger._committer.machine.head.sequence > sealed)
            )
        )
    go.set()
    for commit in commits:
        commit.thread.join(30)
        assert not commit.thread.is_alive(), f"{commit.key} waits for ever after {strike.struck}"
    return store, ledger, commits, strike


def check(store: HeldStore, ledger: bb.Ledger, commits: list[Commit], victim: int, struck: str) -> None:
    """Demand that each was told the truth, and that its key tells it again."""
    for number, commit in enumerate(commits):
        if commit.entry is not None:
            assert commit.entry.sequence <= commit.durable_then, f"shown before its sync: {struck}"
        elif number != victim:
            assert isinstance(commit.error, bb.StoreError), (struck, commit.error)
    again = ledger
    with suppress(bb.LedgerPoisoned):
        ledger.balance("CAROL", "USDT")  # who looks finds what the victim left half done
    if ledger._committer.state == "poisoned":
        again = bb.Ledger(store=store.inner)
    before = {entry.sequence for entry in again.entries()}
    for commit in commits:
        entry = ask(again, commit.key)
        if commit.entry is not None:
            assert entry == commit.entry, struck
            assert entry.sequence in before, f"acknowledged and lost: {struck}"
        assert ask(again, commit.key) == entry
    assert str(again.balance("CAROL", "USDT").available) == str(len(KEYS)), struck
    assert again.audit().lines == again.head.sequence


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a call is lost with the victim, the others do not wait for long."""
    monkeypatch.setattr(write_queue, "PATIENCE", 0.05)


@pytest.mark.interrupts
@pytest.mark.parametrize("victim", range(len(KEYS)))
def test_a_thread_killed_anywhere_leaves_the_others_whole(victim: int) -> None:
    """For each place of the victim's way through a commit: all come to an end, and each key counts once."""
    at, unstruck, places = 0, 0, set()
    while unstruck < 3:  # a way may be shorter now and then, when another thread was quicker
        at += 1
        store, ledger, commits, strike = run_together(victim, at)
        check(store, ledger, commits, victim, strike.struck)
        if not strike.struck:
            unstruck += 1
            continue
        assert isinstance(commits[victim].error, (Killed, bb.BibankError)), strike.struck
        places.add(strike.struck.split(":")[0])
    assert commits[victim].entry is not None
    assert {"WriteQueue.settle", "WriteQueue._hand_on", "Sealing._seal"} <= places
    assert ("WriteQueue._keep" in places) == (victim < 2), "the first two lead"
    assert ("WriteGroup.wait" in places) == (victim > 0)
