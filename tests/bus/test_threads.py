"""Delivery by threads: latches instead of pauses, and everything that may be done from inside a delivery."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread, active_count, current_thread
from typing import Literal

import pytest

import bibank as bb
from bibank import drafts
from tests.bus.ears import (
    AT_ONCE,
    PATIENCE_SECONDS,
    Ear,
    Gate,
    Planted,
    all_told,
    deposit,
    entries_of,
    failures,
    home_at,
    record,
    small_ring,
    status_of,
)

Way = Literal["pump", "thread"]


pytestmark = pytest.mark.usefixtures("only_when_woken")


class Actor(Ear):
    """Does something from its own delivery, once, at the first entry that it is told."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__("actor")
        self.act: Callable[[], object] | None = act
        self.acted = Event()
        self.raised: BaseException | None = None

    def handle(self, event: bb.LedgerEvent) -> None:
        """Take an event, and act at the first one."""
        super().handle(event)
        act, self.act = self.act, None
        if act is not None:
            try:
                act()
            except BaseException as error:
                self.raised = error
                raise
            finally:
                self.acted.set()

    def wait(self) -> None:
        """Wait until it has acted."""
        assert self.acted.wait(PATIENCE_SECONDS), "it never acted"


def delivered(ledger: bb.Ledger, way: Way, actor: Actor) -> None:
    """Let the actor hear of a commit, one way or the other."""
    ledger.bus.subscribe(actor, delivery=way)
    deposit(ledger)
    if way == "pump":
        ledger.bus.pump()
    actor.wait()


def test_a_thread_of_its_own_tells_everything_in_order(ledger: bb.Ledger) -> None:
    """While several threads commit, and the buffer is far too small."""
    ear, other = Ear(), Ear("other", trouble={5: failures(2), 9: [SystemExit(1)]})
    with small_ring(4):
        ledger.bus.subscribe(ear, delivery="thread")
    ledger.bus.subscribe(other, delivery="thread", retry=AT_ONCE)
    writers = [Thread(target=deposit, args=(ledger, 25)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(PATIENCE_SECONDS)
    for each in (ear, other):
        each.wait_for(102)
        assert each.sequences == entries_of(ledger, after=2) == list(range(3, 103))
    assert ledger.bus.drain(timeout_seconds=PATIENCE_SECONDS)


def test_drain_says_whether_all_has_been_told(ledger: bb.Ledger) -> None:
    """True when nothing is left, false when somebody stands still, at once where nobody will move."""
    gate = Gate(at=4)
    ledger.bus.subscribe(gate, delivery="thread")
    deposit(ledger)
    assert ledger.bus.drain(timeout_seconds=PATIENCE_SECONDS)
    deposit(ledger)
    gate.wait()
    assert not ledger.bus.drain(timeout_seconds=0)
    gate.opened.set()
    assert ledger.bus.drain(timeout_seconds=PATIENCE_SECONDS)
    assert gate.sequences == [3, 4]
    ledger.bus.subscribe(Ear("stuck", trouble={5: failures(3)}), delivery="thread", retry=AT_ONCE)
    deposit(ledger)
    assert not ledger.bus.drain(timeout_seconds=PATIENCE_SECONDS)
    assert status_of(ledger, "stuck").state is bb.SubscriberState.PARKED


def test_drain_waits_for_what_was_there_and_for_no_more(ledger: bb.Ledger) -> None:
    """A subscriber that never rests, because it commits when it is told, has reached that line."""
    most = 1500

    class Busy(Ear):
        def handle(self, event: bb.LedgerEvent) -> None:
            super().handle(event)
            if len(self.heard) < most:
                ledger.commit_batch([drafts.deposit("ALICE", "1 USDT", correlation_id="r")])

    busy = Busy()
    ledger.bus.subscribe(busy, delivery="thread")
    deposit(ledger)
    assert ledger.bus.drain(timeout_seconds=PATIENCE_SECONDS)
    assert len(busy.heard) < most


def test_trailing_records_are_passed_over_too(ledger: bb.Ledger) -> None:
    """A journal that ends with a record has been told whole."""
    ear = Ear()
    ledger.bus.subscribe(ear, delivery="thread")
    deposit(ledger)
    record(ledger, "ALICE")
    assert ledger.bus.drain(timeout_seconds=PATIENCE_SECONDS)
    assert (ear.sequences, status_of(ledger, "ear").behind) == ([3], 0)


def test_pauses_between_attempts_and_resume(ledger: bb.Ledger) -> None:
    """An hour's pause is not waited for when `resume` says so, and closing does not wait for it either."""
    ear = Ear(trouble={3: failures(1)})
    ledger.bus.subscribe(ear, delivery="thread", retry=bb.Retry(first_seconds=3600, most_seconds=3600))
    deposit(ledger)
    ear.wait_until(lambda: bool(ear.tried))
    ledger.bus.resume("ear")
    deposit(ledger)
    ear.wait_until(lambda: len(ear.tried) > 1 or not ear.trouble[3])
    for _ in range(100):  # the failure itself may be noted behind the first resume
        if ear.sequences:
            break
        ledger.bus.resume("ear")
    ear.wait_for(4)
    assert ear.sequences == [3, 4]


@pytest.mark.parametrize("error", [Planted("x"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_a_thread_raises_is_one_failure(ledger: bb.Ledger, error: BaseException) -> None:
    """The thread lives on, and tells the event again."""
    ear = Ear(trouble={4: [error]})
    ledger.bus.subscribe(ear, delivery="thread", retry=AT_ONCE)
    deposit(ledger, 3)
    ear.wait_for(5)
    assert all_told(ear.tried) == ["3", "4", "4", "5"]
    assert status_of(ledger, "ear").failures == 1


def test_parked_in_its_thread_and_resumed(ledger: bb.Ledger) -> None:
    """Nothing is told meanwhile, and nothing was skipped."""
    ear = Ear(trouble={3: failures(3)})
    ledger.bus.subscribe(ear, delivery="thread", retry=AT_ONCE)
    deposit(ledger, 2)
    assert not ledger.bus.drain(timeout_seconds=PATIENCE_SECONDS)
    assert all_told(ear.tried) == ["3"] * 3
    ledger.bus.resume("ear")
    ear.wait_for(4)
    assert ear.sequences == [3, 4]


def test_pump_leaves_threads_alone(ledger: bb.Ledger) -> None:
    """Who is told by a thread is not told by `pump`, and asking for it by name is an error."""
    ear = Ear()
    ledger.bus.subscribe(ear, delivery="thread")
    deposit(ledger)
    ear.wait_for(3)
    assert ledger.bus.pump() == 0
    with pytest.raises(bb.ConfigurationError):
        ledger.bus.pump("ear")


def test_a_replay_in_its_thread(ledger: bb.Ledger) -> None:
    """Asked for while the thread sleeps; it wakes up for it."""
    ear = Ear()
    ledger.bus.subscribe(ear, delivery="thread")
    deposit(ledger, 2)
    ear.wait_for(4)
    assert ledger.bus.drain(timeout_seconds=PATIENCE_SECONDS)
    ledger.bus.replay_from(3)
    ear.wait_until(lambda: any(isinstance(event, bb.ReplayCompleted) for event in ear.heard))
    assert all_told(ear.heard) == ["3", "4", "from 3", "3", "4", "completed 2"]


# ------------------------------------------------------------------ from inside a delivery


@pytest.mark.parametrize("way", ["pump", "thread"])
def test_a_subscriber_may_commit(ledger: bb.Ledger, way: Way) -> None:
    """What it commits is told to it as well, after what it has in hand."""
    actor = Actor(lambda: deposit(ledger, 2))
    delivered(ledger, way, actor)
    ledger.bus.pump()
    actor.wait_for(5)
    assert (actor.raised, actor.sequences) == (None, [3, 4, 5])


@pytest.mark.parametrize("way", ["pump", "thread"])
def test_a_subscriber_may_read(ledger: bb.Ledger, way: Way) -> None:
    """A read from inside shows at least what it was told."""
    heads: list[int] = []
    actor = Actor(lambda: heads.append(ledger.head.sequence))
    delivered(ledger, way, actor)
    assert (actor.raised, heads) == (None, [3])


@pytest.mark.parametrize("way", ["pump", "thread"])
def test_a_subscriber_may_close_the_ledger(tmp_path: Path, way: Way) -> None:
    """It does not wait for itself; everything is saved, and the home is free."""
    ledger = home_at(tmp_path / "books")
    actor = Actor(ledger.close)
    delivered(ledger, way, actor)
    ledger.close()
    assert actor.raised is None
    again = Ear("actor")
    with home_at(tmp_path / "books") as ledger:
        deposit(ledger)
        ledger.bus.subscribe(again)
        ledger.bus.pump()
    assert again.sequences in ([3, 4], [4])


@pytest.mark.parametrize("way", ["pump", "thread"])
@pytest.mark.parametrize("leave", ["unsubscribe", "forget"])
def test_a_subscriber_may_leave(ledger: bb.Ledger, way: Way, leave: str) -> None:
    """From its own delivery; it is told no more."""
    actor = Actor(lambda: getattr(ledger.bus, leave)("actor"))
    delivered(ledger, way, actor)
    assert actor.raised is None
    assert len(ledger.bus.status()) == 0
    deposit(ledger)
    ledger.bus.pump()
    assert actor.sequences == [3]
    ledger.bus.subscribe(Ear("actor"))


@pytest.mark.parametrize("way", ["pump", "thread"])
def test_a_subscriber_may_subscribe_another_and_ask_for_a_replay(ledger: bb.Ledger, way: Way) -> None:
    """Both are heard afterwards, in their order."""
    ear = Ear()

    def act() -> None:
        ledger.bus.subscribe(ear, after_sequence=2)
        ledger.bus.replay_from(3, name="actor")

    actor = Actor(act)
    delivered(ledger, way, actor)
    ledger.bus.pump()
    actor.wait_until(lambda: any(isinstance(event, bb.ReplayCompleted) for event in actor.heard))
    assert all_told(actor.heard) == ["3", "from 3", "3", "completed 1"]
    ledger.bus.pump()
    assert ear.sequences == [3]


def test_a_subscriber_may_not_pump_itself(ledger: bb.Ledger) -> None:
    """That would tell it the same event without end: an error, which is its own failure."""
    actor = Actor(lambda: ledger.bus.pump("actor"))
    delivered(ledger, "pump", actor)
    assert isinstance(actor.raised, bb.ConfigurationError)
    ledger.bus.pump()
    assert actor.sequences == [3, 3]


def test_a_subscriber_that_drains_from_its_own_delivery_does_not_hang(ledger: bb.Ledger) -> None:
    """It waits for itself as long as it said, and no longer."""
    said: list[bool] = []
    actor = Actor(lambda: said.append(ledger.bus.drain(timeout_seconds=0)))
    delivered(ledger, "thread", actor)
    assert said == [False]


# ------------------------------------------------------------------ endings


def test_closing_waits_for_who_is_busy_only_so_long(tmp_path: Path) -> None:
    """A handler that stands still is left behind; its event is not done, and is told again."""
    ledger, gate = home_at(tmp_path / "books"), Gate(at=4)
    ledger.bus.subscribe(gate, delivery="thread")
    deposit(ledger, 2)
    gate.wait()
    ledger.bus.close(timeout_seconds=0)
    ledger.close()
    again = Ear("gate")
    with home_at(tmp_path / "books") as ledger:
        ledger.bus.subscribe(again)
        ledger.bus.pump()
        gate.opened.set()
        gate.wait_for(4)
        assert status_of(ledger, "gate").sequence == 4
    assert again.sequences == [4]


def test_leaving_waits_for_who_is_busy_only_so_long(tmp_path: Path) -> None:
    """What a handler does after it was left behind no longer moves the cursor."""
    gate, again = Gate(at=3), Ear("gate")
    with home_at(tmp_path / "books") as ledger:
        ledger.bus.subscribe(gate, delivery="thread")
        deposit(ledger, 2)
        gate.wait()
        ledger.bus.unsubscribe("gate", timeout_seconds=0)
        ledger.bus.subscribe(again)
        gate.opened.set()
        gate.wait_for(3)
        ledger.bus.pump()
    assert (gate.sequences, again.sequences) == ([3], [3, 4])


def test_closing_ends_the_threads(ledger: bb.Ledger) -> None:
    """None is left, whether it slept, was parked, or waited for its next attempt."""
    before = active_count()
    for number in range(5):
        ledger.bus.subscribe(Ear(f"sleeper{number}"), delivery="thread")
    parked = Ear("parked", trouble={3: failures(9)})
    ledger.bus.subscribe(parked, delivery="thread", retry=bb.Retry(attempts=1))
    pausing = Ear("pausing", trouble={3: failures(9)})
    ledger.bus.subscribe(pausing, delivery="thread", retry=bb.Retry(first_seconds=3600, most_seconds=3600))
    deposit(ledger)
    for each in (parked, pausing):
        each.wait_until(lambda each=each: bool(each.tried))  # type: ignore[misc]  # a lambda's default has no type
    ledger.close()
    assert active_count() == before


def test_nothing_is_told_after_the_end(ledger: bb.Ledger) -> None:
    """Neither to who was unsubscribed, nor after the bus was closed, while commits go on."""
    gone, ear = Ear("gone"), Ear()
    for each in (gone, ear):
        ledger.bus.subscribe(each, delivery="thread")
    deposit(ledger)
    for each in (gone, ear):
        each.wait_for(3)
    ledger.bus.unsubscribe("gone")
    deposit(ledger)
    ear.wait_for(4)
    ledger.bus.close()
    deposit(ledger)
    assert (gone.sequences, ear.sequences) == ([3], [3, 4])


def test_many_subscribe_and_leave_while_others_commit(ledger: bb.Ledger) -> None:
    """Each hears a run of entries without a gap, from wherever it came in."""
    stop, ears = Event(), [Ear(f"ear{number}") for number in range(4)]

    def come_and_go(ear: Ear) -> None:
        while not stop.is_set():
            ledger.bus.subscribe(ear, delivery="thread")
            ledger.bus.unsubscribe(ear.name)
        ledger.bus.subscribe(ear, delivery="thread")

    guests = [Thread(target=come_and_go, args=(ear,)) for ear in ears]
    with small_ring(4):
        ledger.bus.subscribe(Ear("stays"), delivery="thread")
    for guest in guests:
        guest.start()
    deposit(ledger, 60)
    stop.set()
    for guest in guests:
        guest.join(PATIENCE_SECONDS)
        assert not guest.is_alive()
    last = deposit(ledger)[0]
    for ear in ears:
        ear.wait_for(last)
        heard = ear.sequences
        assert heard == list(range(heard[0], last + 1)), "a gap, a repetition or a wrong order"


def test_each_subscriber_has_its_own_thread(ledger: bb.Ledger) -> None:
    """Not the committing one, and not another subscriber's."""
    threads: dict[str, Thread] = {}

    class Where(Ear):
        def handle(self, event: bb.LedgerEvent) -> None:
            threads[self.name] = current_thread()
            super().handle(event)

    ears = [Where("one"), Where("two")]
    for ear in ears:
        ledger.bus.subscribe(ear, delivery="thread")
    deposit(ledger)
    for ear in ears:
        ear.wait_for(3)
    assert len({current_thread(), *threads.values()}) == 3
