"""Delivery by a task in an asyncio loop; the store is read, and cursors are saved, in threads beside it."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from contextlib import suppress

from bibank.bus.deliveries import as_cursor
from bibank.bus.mailbox import Mailbox
from bibank.bus.protocol import Delivery
from bibank.bus.recipient import Call, Recipient
from bibank.bus.steps import Do, Handle, Step, Wait
from bibank.errors import ConfigurationError, StoreUnavailable
from bibank.model.event import LedgerEvent

_TURNS = 32
"""Events told without a pause to a subscriber that never waits, before others in the loop have a turn."""


class TaskDelivery:
    """Delivers in a task of a loop."""

    delivery: Delivery = "task"

    def __init__(
        self,
        mailbox: Mailbox,
        recipient: Recipient,
        *,
        loop: asyncio.AbstractEventLoop,
        rested: Callable[[], None],
    ) -> None:
        self.mailbox = mailbox
        self.waiting = False
        self._loop = loop
        self._recipient = recipient
        self._rested = rested
        self._bell = asyncio.Event()
        self._ended = threading.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Make the task."""
        self._task = self._loop.create_task(self._run(), name=f"bibank subscriber {self.mailbox.name}")
        self._task.add_done_callback(_seen)

    @property
    def alive(self) -> bool:
        """Whether the task runs, in a loop that does."""
        return self._task is not None and not self.is_left

    @property
    def is_left(self) -> bool:
        """Whether the task has ended, or its loop."""
        return self._ended.is_set() or self._loop.is_closed()

    def wake(self) -> None:
        """Ring the bell of the task; a loop that is closed delivers no more."""
        try:
            self._loop.call_soon_threadsafe(self._bell.set)
        except RuntimeError:
            self.mailbox.stopped = True

    def join(self, timeout_seconds: float) -> None:
        """Let the task finish what it has in hand, then cancel it; at once where the loop is the caller's."""
        try:
            is_ours = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            is_ours = False
        if is_ours:
            if self._task is not None and asyncio.current_task() is not self._task:
                self._task.cancel()
            return
        if self._task is None or not self._loop.is_running() or self._ended.wait(timeout_seconds):
            return
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._task.cancel)

    async def _run(self) -> None:
        mailbox, told = self.mailbox, 0
        try:
            while True:
                try:
                    step = await self._next()
                    if step is Do.STOP:
                        break
                    await self._take(step)
                except BaseException as error:  # whatever a subscriber raises is its own affair
                    if _ends(error):
                        raise
                    mailbox.failed(error)
                finally:
                    mailbox.busy = False
                told += 1
                if told % _TURNS == 0:
                    await asyncio.sleep(0)
            with suppress(StoreUnavailable):  # who ends the subscription saves as well
                await _apart(mailbox.save)
        finally:
            mailbox.stopped = True
            self._ended.set()
            self._rested()

    async def _next(self) -> Step:
        """Give the next step that is no waiting."""
        while isinstance(step := self.mailbox.step(), Wait):
            self._bell.clear()
            self.waiting = True
            if isinstance(step := self.mailbox.step(), Wait):
                self._rested()
                with suppress(TimeoutError):
                    # Not `wait_for`: before Python 3.12 it drops a cancellation that comes with the bell.
                    async with asyncio.timeout(step.seconds):
                        await self._bell.wait()
            self.waiting = False
        return step

    async def _take(self, step: Step) -> None:
        mailbox = self.mailbox
        match step:
            case Handle():
                mailbox.busy = True
                await self._tell(step.event)
                mailbox.done()
            case Do.LOAD:
                mailbox.loaded(as_cursor(await _awaited(self._recipient.load)))
            case Do.FETCH:
                await _apart(mailbox.fetch)
            case Do.SAVE:
                await _apart(mailbox.save)
            case Wait() | Do.STOP:
                pass

    async def _tell(self, event: LedgerEvent) -> None:
        for call in self._recipient.calls(event):
            await _awaited(call)


def running_loop() -> asyncio.AbstractEventLoop:
    """Give the loop that runs in this thread; `ConfigurationError` where none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "delivery='task' needs a running asyncio loop: subscribe in it, or use another delivery"
        ) from None


async def _apart(work: Callable[[], None]) -> None:
    """Do work that waits for the disk in a thread: the loop's pool is the host's, and may be full."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def run() -> None:
        try:
            work()
        finally:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(_finish, done)

    try:
        threading.Thread(target=run, name="bibank subscriber's disk", daemon=True).start()
    except RuntimeError as error:
        raise StoreUnavailable(f"no thread can be started to read or save: {error}") from error
    await done


def _finish(done: asyncio.Future[None]) -> None:
    with suppress(asyncio.InvalidStateError):  # it was cancelled
        done.set_result(None)


async def _awaited(call: Call) -> object:
    result = call()
    return await result if inspect.isawaitable(result) else result


def _seen(task: asyncio.Task[None]) -> None:
    """Look at what ended a task: an interrupt, which its loop has raised already."""
    if not task.cancelled():
        task.exception()


def _ends(error: BaseException) -> bool:
    """Tell an error that ends the task or the loop from one that a subscriber raised by itself."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, (KeyboardInterrupt, GeneratorExit))
