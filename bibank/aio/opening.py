"""Opening a ledger from a task: awaited, or entered with `async with`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import suppress
from threading import Lock, Thread
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from bibank.aio import submissions
from bibank.aio.submissions import Raised, Returned, result_of
from bibank.errors import ConfigurationError, StoreUnavailable
from bibank.ledger import Ledger


class Closable(Protocol):
    """What an opening gives."""

    async def close(self) -> None:
        """End it."""


L = TypeVar("L", bound=Closable)


class LedgerOpening(Generic[L]):
    """A ledger that is to be opened: `await` it and close it yourself, or enter it with `async with`.

    Once. A task that is cancelled while it waits leaves no open ledger behind: what comes of the
    opening is closed as soon as it is there.
    """

    def __init__(self, open_it: Callable[[], Ledger], made: Callable[[Ledger], L]) -> None:
        self._open_it = open_it
        self._made = made
        self._is_used = False
        self._ledger: L | None = None
        self._lock = Lock()
        self._opened: Ledger | None = None
        self._is_abandoned = False

    def __await__(self) -> Generator[object, None, L]:
        return self._open().__await__()

    async def __aenter__(self) -> L:
        self._ledger = await self._open()
        return self._ledger

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._ledger is not None, "it was entered"
        await self._ledger.close()

    async def _open(self) -> L:
        if self._is_used:
            raise ConfigurationError("an opening is used once; ask for another one")
        self._is_used = True
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Returned[Ledger] | Raised] = loop.create_future()
        thread = Thread(target=self._run, args=(loop, future), name="bibank-open")
        try:
            thread.start()
        except RuntimeError as cause:
            raise StoreUnavailable(f"no thread could be started: {cause}") from cause
        try:
            outcome = await _told(future, thread)
        except BaseException:
            self._abandon()
            raise
        return self._made(result_of(outcome))

    def _run(
        self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Returned[Ledger] | Raised]
    ) -> None:
        outcome: Returned[Ledger] | Raised
        try:
            outcome = Returned(self._open_it())
        except Exception as error:  # noqa: BLE001 - it is raised to whoever waits
            outcome = Raised(error)
        except BaseException as cause:  # noqa: BLE001 - what ends a thread is not to end who waits for it
            outcome = Raised(_stopped(cause))
        with self._lock:
            if isinstance(outcome, Returned):
                self._opened = outcome.value
            is_abandoned = self._is_abandoned
        if not is_abandoned:
            try:
                loop.call_soon_threadsafe(_set, future, outcome)
                return
            except RuntimeError:  # the loop is closed
                pass
        if isinstance(outcome, Returned):
            outcome.value.close()

    def _abandon(self) -> None:
        """See to it that nobody's ledger is closed, without waiting for that here."""
        with self._lock:
            self._is_abandoned = True
            opened = self._opened
        if opened is not None:
            Thread(target=opened.close, name="bibank-open").start()


async def _told(
    future: asyncio.Future[Returned[Ledger] | Raised], thread: Thread
) -> Returned[Ledger] | Raised:
    """Give what a thread tells; `StoreUnavailable` when it was killed before."""
    while thread.is_alive() and not future.done():
        await asyncio.wait([future], timeout=submissions.LOOK_SECONDS)
    await asyncio.sleep(0)  # what it told before it ended is in the queue of the loop
    if not future.done():
        raise _stopped(None)
    return future.result()


def _stopped(cause: BaseException | None) -> StoreUnavailable:
    stopped = StoreUnavailable("the thread that opens the ledger was stopped; open it again")
    stopped.__cause__ = cause
    return stopped


def _set(future: asyncio.Future[Returned[Ledger] | Raised], outcome: Returned[Ledger] | Raised) -> None:
    with suppress(asyncio.InvalidStateError):  # it was cancelled
        future.set_result(outcome)
