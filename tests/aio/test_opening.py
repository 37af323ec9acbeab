"""Openings are awaited or entered; who is cancelled leaves no open ledger behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Event

import pytest

import bibank as bb
from bibank.aio.opening import LedgerOpening
from tests.aio.stores import PATIENCE_SECONDS, run, until
from tests.aio.test_ending import own_threads

OPENING = {"USDT": "1"}


def test_awaited_and_entered(tmp_path: Path) -> None:
    """All three ways give a ledger by `await` and by `async with`, which closes it."""

    async def main() -> None:
        ledger = await bb.AsyncLedger.create(tmp_path / "home", opening=OPENING, name="books")
        assert ledger.ledger_id.startswith("books/")
        assert (await ledger.deposit("A", "1 USDT", correlation_id="r")).sequence == 3
        await ledger.close()
        async with bb.AsyncLedger.open(tmp_path / "home") as ledger:
            assert ledger.head.sequence == 3
            with pytest.raises(bb.LedgerBusy):
                await bb.AsyncLedger.open(tmp_path / "home")
        async with bb.AsyncLedger.open_or_create(tmp_path / "home", opening=OPENING) as ledger:
            assert ledger.head.sequence == 3
        with pytest.raises(bb.LedgerClosed):
            ledger.balance("A", "USDT")
        assert repr(await bb.AsyncLedger.open(tmp_path / "home")).startswith("<AsyncLedger books/")

    run(main)


def test_errors_are_raised_when_it_is_awaited(tmp_path: Path) -> None:
    """Asking opens nothing; what is wrong is raised by `await`, and by entering."""

    async def main() -> None:
        opening = bb.AsyncLedger.open(tmp_path / "nothing")
        with pytest.raises(bb.HomeNotFound):
            await opening
        with pytest.raises(bb.InvalidInput):
            async with bb.AsyncLedger.create(tmp_path / "home", opening={"?": "1"}):
                raise AssertionError("it was not opened")

    run(main)
    assert list(tmp_path.iterdir()) == []


def test_an_opening_is_used_once(tmp_path: Path) -> None:
    """A second `await` is a mistake, and says so."""

    async def main() -> None:
        opening = bb.AsyncLedger.create(tmp_path / "home", opening=OPENING)
        async with opening:
            with pytest.raises(bb.ConfigurationError, match="used once"):
                await opening

    run(main)


def test_cancelled_at_every_turn_of_the_loop(tmp_path: Path) -> None:
    """Whenever its caller is cancelled, the home is free again afterwards."""
    home = tmp_path / "home"
    bb.Ledger.create(home, opening=OPENING).close()

    async def main() -> None:
        for step in range(8):
            for wait in (False, True):
                task = asyncio.ensure_future(_opened(home))
                for _ in range(step):
                    await asyncio.sleep(0.002 if wait else 0)
                task.cancel()
                await asyncio.wait([task])
                if not task.cancelled():
                    await task.result().close()

    run(main)
    assert own_threads() == []
    bb.Ledger.open(home).close()


async def _opened(home: Path) -> bb.AsyncLedger:
    return await bb.AsyncLedger.open(home, lock_timeout_seconds=PATIENCE_SECONDS)


class Slow:
    """An opening whose thread opens when it is let go."""

    def __init__(self) -> None:
        self.begun, self.go_on = Event(), Event()
        self.blocking = bb.Ledger.in_memory(OPENING)

    def open(self) -> bb.Ledger:
        """Wait, and give the ledger."""
        self.begun.set()
        assert self.go_on.wait(PATIENCE_SECONDS)
        return self.blocking

    async def opened(self) -> bb.AsyncLedger:
        """Wait for it in a task."""
        return await LedgerOpening(self.open, bb.AsyncLedger)

    def check_closed(self) -> None:
        """Let it go, and demand that nobody's ledger is closed."""
        self.go_on.set()
        assert own_threads() == []
        with pytest.raises(bb.LedgerClosed):
            self.blocking.balance("A", "USDT")


def test_a_ledger_that_comes_when_its_caller_was_cancelled_is_closed() -> None:
    """The caller was cancelled while the thread was opening: what it opens, it closes."""
    slow = Slow()

    async def main() -> None:
        task = asyncio.ensure_future(slow.opened())
        await until(slow.begun)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    slow.check_closed()


def test_a_ledger_that_comes_when_its_loop_is_closed_is_closed() -> None:
    """The loop was closed while the thread was opening, and nobody cancelled anything."""
    slow, loop = Slow(), asyncio.new_event_loop()
    task = loop.create_task(slow.opened())
    loop.run_until_complete(until(slow.begun))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    slow.check_closed()
    assert not task.done()
    task.get_coro().close()


def test_no_thread_to_open_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives no thread, nothing is opened, and the caller hears so."""

    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        with monkeypatch.context() as patched:
            patched.setattr("threading.Thread.start", no_thread)
            with pytest.raises(bb.StoreUnavailable, match="no thread"):
                await Slow().opened()

    run(main)


def test_only_a_ledger_has_this_face() -> None:
    """What is no ledger is refused."""
    with pytest.raises(bb.InvalidType):
        bb.AsyncLedger("books")  # type: ignore[arg-type] # hostile on purpose
