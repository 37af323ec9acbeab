"""The bus among locks, signals and endings: nobody waits for ever, nothing is left behind or lost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bibank as bb
from bibank.bus import cursor_files
from bibank.bus.deliveries import ThreadDelivery
from bibank.home import replace_file
from tests.bus.ears import PATIENCE_SECONDS, Ear, Gate, deposit, home_at


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """A home."""
    return tmp_path / "books"


@pytest.fixture
def ledger(books: Path) -> Iterator[bb.Ledger]:
    """A ledger of two lines."""
    with home_at(books) as made:
        yield made


def in_time(work: Callable[[], object]) -> None:
    """Do something that must not wait for ever."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive(), "it waits for ever"
    if errors:
        raise errors[0]


ENDING = """
import asyncio, bibank as bb
ledger = bb.Ledger.in_memory({"USDT": "1000"})

async def main(number):
    books = bb.AsyncLedger(ledger)

    async def listen(event):
        pass

    books.bus.subscribe(listen, name=f"s{number}")
    await books.deposit("ALICE", "1 USDT", correlation_id="r")

for number in range(150):
    asyncio.run(main(number))
print("ended")
"""


def test_a_loop_ends_though_a_subscriber_was_not_unsubscribed() -> None:
    """Its task takes the cancellation, also where that comes together with an event."""
    done = subprocess.run(
        [sys.executable, "-c", ENDING], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.stdout == "ended\n", done.stderr


@pytest.mark.parametrize("way", ["close", "unsubscribe", "replay"])
def test_a_signal_handler_may_end_a_subscription_that_is_being_saved(
    ledger: bb.Ledger, books: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """In the thread that saves, in the middle of that: it does not wait for itself."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger, 2)
    ledger.bus.pump(limit=1)
    calls = 0

    def interrupted(path: Path, data: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            if way == "close":
                ledger.close()
            elif way == "unsubscribe":
                ledger.bus.unsubscribe("ear")
            else:
                ledger.bus.replay_from(3)
        replace_file(path, data)

    monkeypatch.setattr(cursor_files, "replace_file", interrupted)
    monkeypatch.setattr("bibank.bus.saving.SAVE_SECONDS", 0.0)
    in_time(ledger.bus.pump)
    assert calls > 1
    monkeypatch.undo()
    ledger.close()
    with home_at(books) as again:
        again.bus.subscribe(ear)
        again.bus.pump()
    assert set(ear.sequences) == {3, 4}


def test_who_holds_the_ledger_may_use_its_bus(ledger: bb.Ledger) -> None:
    """One waits for the ledger inside of `subscribe`; the bus's own lock is free meanwhile."""
    ledger.bus.subscribe(Ear("other"))
    subscribing = threading.Thread(target=lambda: ledger.bus.subscribe(Ear(), after_sequence=1), daemon=True)

    def meanwhile() -> None:
        with ledger._committer._queue.lock:
            subscribing.start()
            while "ear" not in ledger.bus._changed:
                threading.Event().wait(0.001)
            ledger.bus.unsubscribe("other")
            ledger.bus.status()
            with pytest.raises(bb.SubscriberExists):
                ledger.bus.subscribe(Ear())

    in_time(meanwhile)
    subscribing.join(PATIENCE_SECONDS)
    assert [row.name for row in ledger.bus.status()] == ["ear"]


def test_a_bus_that_is_asked_for_during_the_close_ends_too(
    ledger: bb.Ledger, books: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told by a ledger that is closed, and the name is free for the next."""
    ear = Ear()
    assert ledger._keeper is not None
    monkeypatch.setattr(ledger._keeper, "before_close", lambda: ledger.bus.subscribe(ear, delivery="thread"))
    ledger.close()
    assert not [one for one in threading.enumerate() if one.name == "bibank subscriber ear"]
    with home_at(books) as again:
        again.bus.subscribe(ear)


def test_a_name_is_held_until_its_cursor_is_known(ledger: bb.Ledger) -> None:
    """Who subscribes while the same name is still ending does not begin anew, with a gap."""
    with bb.Ledger.in_memory({"USDT": "1000"}) as fleeting:
        gate = Gate("gate", at=3)
        fleeting.bus.subscribe(gate, delivery="thread")
        deposit(fleeting)
        gate.wait()
        ending = threading.Thread(target=fleeting.bus.unsubscribe, args=("gate",))
        ending.start()
        while fleeting.bus.status():
            threading.Event().wait(0.001)
        deposit(fleeting, 2)
        with pytest.raises(bb.SubscriberExists):
            fleeting.bus.subscribe(Ear("gate"))
        gate.opened.set()
        ending.join(PATIENCE_SECONDS)
        later = Ear("gate")
        fleeting.bus.subscribe(later)
        fleeting.bus.pump()
        assert gate.sequences + later.sequences == [3, 4, 5]


def test_a_refused_subscription_leaves_no_cursor(
    ledger: bb.Ledger, books: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was refused has not begun: the right call after it begins where it says."""

    async def listen(event: bb.LedgerEvent) -> None:
        """Hear it."""

    with pytest.raises(bb.ConfigurationError):
        ledger.bus.subscribe(listen, name="ear")

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(bb.StoreUnavailable):
            ledger.bus.subscribe(Ear(), delivery="thread")
    assert not (books / "cursors" / "ear.json").exists()
    ear = Ear()
    ledger.bus.subscribe(ear, after_sequence=0)
    ledger.bus.pump()
    assert ear.sequences == [1]


def test_a_commit_returns_when_it_is_published(ledger: bb.Ledger) -> None:
    """Who is let out of a commit finds its event in the bus, and `drain` and `pump` know of it."""
    ledger.bus.subscribe(Ear())
    queue = ledger._committer._queue
    publish, seen = queue.published, []

    def look(batches: object) -> None:
        seen.append(queue._writing is not None and queue._writing.settled)
        assert publish is not None
        publish(batches)  # type: ignore[arg-type]  # handed on as it came

    queue.published = look
    deposit(ledger, 2)
    assert seen == [False, False]


def test_an_interrupted_save_is_made_up_for(
    ledger: bb.Ledger, books: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor that was to be saved is saved at the latest by the close."""
    ledger.bus.subscribe(Ear())
    deposit(ledger)

    def interrupted(path: Path, data: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(cursor_files, "replace_file", interrupted)
        patched.setattr("bibank.bus.saving.SAVE_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            ledger.bus.pump()
    ledger.close()
    assert json.loads((books / "cursors" / "ear.json").read_text())["sequence"] == 3


def test_a_delivery_thread_survives_what_is_raised_between_events(
    ledger: bb.Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of memory in the bus itself, not in the subscriber: counted, and tried again."""
    ear, take = Ear(), ThreadDelivery._take
    raised: list[object] = []

    def out_of_memory(self: ThreadDelivery, step: object) -> None:
        if len(raised) < 2:
            raised.append(step)
            raise MemoryError
        take(self, step)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(ThreadDelivery, "_take", out_of_memory)
    ledger.bus.subscribe(ear, delivery="thread", retry=bb.Retry(first_seconds=0, most_seconds=0))
    deposit(ledger)
    ear.wait_for(3)
    (row,) = ledger.bus.status()
    assert row.failures == 2


def test_what_never_runs_is_no_subscriber(ledger: bb.Ledger) -> None:
    """A generator would be called and handle nothing."""

    def yields(event: bb.LedgerEvent) -> Iterator[None]:
        yield

    with pytest.raises(bb.InvalidType, match="never run"):
        ledger.bus.subscribe(yields)


@pytest.mark.parametrize("factor", [10**400, float("inf"), float("nan"), 0, -1])
def test_a_factor_that_is_none_is_refused(factor: float) -> None:
    """Whatever number it is."""
    with pytest.raises(bb.InvalidValue):
        bb.Retry(factor=factor)
