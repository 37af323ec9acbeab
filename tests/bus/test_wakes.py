"""Handshakes with who goes to sleep: whatever comes at that very moment is told, without a look at the clock.

Who delivers says that it waits, looks once more, and sleeps. Here something happens at each of these places,
three times in a row, as a bell that rang for something before may hide one that was lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import pytest

import bibank as bb
from bibank.bus.bus import EventBus
from bibank.bus.deliveries import Deliverer, ThreadDelivery
from bibank.bus.mailbox import Mailbox
from bibank.bus.steps import Step, Wait
from bibank.bus.tasks import _TURNS, TaskDelivery
from tests.bus.ears import PATIENCE_SECONDS, Ear, deposit, in_memory, told

ROUNDS = 3
"""A bell that rang before hides one lost wake, not three."""

Act = Literal["commit", "audit", "replay"]
Moment = Literal["before it says that it waits", "before its second look", "before it sleeps"]


pytestmark = pytest.mark.usefixtures("only_when_woken")


def test_the_clock_wakes_nobody_here() -> None:
    """The harness itself: who has nothing to do would sleep for an hour, so a lost wake is a lost event."""
    with in_memory() as ledger:
        ledger.bus.subscribe(Ear())
        (found,) = ledger.bus._deliverers
        assert found.mailbox.step() == Wait(3600.0)


class Restless(Ear):
    """After each event that it hears, lets something happen when its delivery is about to sleep."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__("restless")
        self.act = act
        self.rounds = 0
        self.armed = False

    def handle(self, event: bb.LedgerEvent) -> None:
        """Take an event; the next time that its delivery goes to sleep something happens."""
        self.armed = self.rounds < ROUNDS and not isinstance(event, bb.ReplayStarted)
        super().handle(event)

    def strike(self) -> None:
        """Let it happen, when it is time."""
        if self.armed:
            self.armed = False
            with self.changed:
                self.rounds += 1
            self.act()


class Waiting:
    """Stands for the attribute `waiting` of a delivery, and tells when it is being set."""

    def __init__(self, *, before: Callable[[], None], after: Callable[[], None]) -> None:
        self.before = before
        self.after = after

    def __get__(self, owner: Deliverer, kind: type) -> bool:
        """Give what was set."""
        return bool(owner.__dict__["is_waiting"])

    def __set__(self, owner: Deliverer, value: bool) -> None:  # noqa: FBT001 - the protocol of descriptors
        """Set it."""
        if value:
            self.before()
        owner.__dict__["is_waiting"] = value
        if value:
            self.after()


def watch(monkeypatch: pytest.MonkeyPatch, moment: Moment, strike: Callable[[], None]) -> None:
    """Call something whenever a delivery comes to a moment on its way to sleep."""

    def never() -> None:
        pass

    if moment == "before it sleeps":
        rested = EventBus._rested

        def resting(self: EventBus) -> None:
            strike()
            rested(self)

        monkeypatch.setattr(EventBus, "_rested", resting)
        return
    is_early = moment == "before it says that it waits"
    waiting = Waiting(before=strike if is_early else never, after=never if is_early else strike)
    for kind in (ThreadDelivery, TaskDelivery):
        monkeypatch.setattr(kind, "waiting", waiting, raising=False)


def scene(monkeypatch: pytest.MonkeyPatch, ledger: bb.Ledger, act: Act, moment: Moment) -> Restless:
    """A subscriber at whose delivery something happens at a moment."""
    acts: dict[Act, Callable[[], object]] = {
        "commit": lambda: deposit(ledger),
        "audit": ledger.audit,
        "replay": lambda: ledger.bus.replay_from(3),
    }
    ear = Restless(acts[act])
    watch(monkeypatch, moment, ear.strike)
    return ear


def is_heard(ear: Restless, act: Act) -> bool:
    """Whether everything that happened was told."""
    kinds = {"commit": bb.EntryCommitted, "audit": bb.ChainVerified, "replay": bb.ReplayCompleted}
    first = 1 if act == "commit" else 0
    heard = sum(isinstance(event, kinds[act]) for event in ear.heard)
    return ear.rounds == ROUNDS and heard == first + ROUNDS


ACTS = pytest.mark.parametrize("act", ["commit", "audit", "replay"])
MOMENTS = pytest.mark.parametrize(
    "moment", ["before it says that it waits", "before its second look", "before it sleeps"]
)


@ACTS
@MOMENTS
def test_a_thread_hears_what_comes_while_it_goes_to_sleep(
    monkeypatch: pytest.MonkeyPatch, act: Act, moment: Moment
) -> None:
    """A commit, an audit and a replay, at every place between its look and its sleep."""
    with in_memory() as ledger:
        ear = scene(monkeypatch, ledger, act, moment)
        ledger.bus.subscribe(ear, delivery="thread")
        deposit(ledger)
        ear.wait_until(lambda: is_heard(ear, act))
        assert is_heard(ear, act)


@ACTS
@MOMENTS
def test_a_task_hears_what_comes_while_it_goes_to_sleep(
    monkeypatch: pytest.MonkeyPatch, act: Act, moment: Moment
) -> None:
    """The same in a loop."""

    async def main() -> None:
        with in_memory() as ledger:
            ear = scene(monkeypatch, ledger, act, moment)
            ledger.bus.subscribe(ear, delivery="task")
            deposit(ledger)
            while not is_heard(ear, act):  # noqa: ASYNC110 - what is waited for happens in this loop
                await asyncio.sleep(0)
            assert is_heard(ear, act)

    asyncio.run(asyncio.wait_for(main(), PATIENCE_SECONDS))


def test_what_is_committed_while_one_subscribes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread sleeps before the bus knows of it, so `subscribe` wakes it."""
    start = ThreadDelivery.start

    def slowly(self: ThreadDelivery) -> None:
        start(self)
        assert ledger.bus._resting.wait(PATIENCE_SECONDS), "it never came to rest"
        deposit(ledger)

    monkeypatch.setattr(ThreadDelivery, "start", slowly)
    with in_memory() as ledger:
        ear = Ear()
        ledger.bus.subscribe(ear, delivery="thread")
        ear.wait_for(3)


@pytest.mark.parametrize("delivery", ["thread", "task"])
def test_who_has_nothing_to_do_sleeps(
    monkeypatch: pytest.MonkeyPatch, delivery: Literal["thread", "task"]
) -> None:
    """A bell that has rung is heard once: nobody looks again and again."""
    looks: list[Step] = []
    step = Mailbox.step

    def counted(self: Mailbox) -> Step:
        looks.append(step(self))
        return looks[-1]

    monkeypatch.setattr(Mailbox, "step", counted)

    async def main() -> None:
        with in_memory() as ledger:
            ear = Ear()
            ledger.bus.subscribe(ear, delivery=delivery)
            deposit(ledger)
            while not ear.sequences:  # noqa: ASYNC110 - it is told in a thread, or in this loop
                await asyncio.sleep(0)
            for _ in range(200):
                await asyncio.sleep(0)
            assert len(looks) < 20

    asyncio.run(asyncio.wait_for(main(), PATIENCE_SECONDS))


def test_a_task_that_never_waits_gives_others_a_turn() -> None:
    """A subscriber with a long way to go, all of it in the buffer, does not take the loop for itself."""
    entries = 5 * _TURNS

    async def main() -> None:
        with in_memory() as ledger:
            heard: list[str] = []

            async def listener(event: bb.LedgerEvent) -> None:
                heard.append(told(event))

            ledger.bus.subscribe(listener)
            deposit(ledger, entries)
            turns = [0]
            while len(heard) < entries:
                await asyncio.sleep(0)
                turns.append(len(heard))
            steps = [after - before for before, after in pairwise(turns)]
            assert max(steps) <= _TURNS

    asyncio.run(asyncio.wait_for(main(), PATIENCE_SECONDS))
