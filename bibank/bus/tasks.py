"""Delivery by a task in an asyncio loop; the store is read, and cursors are saved, in the loop's threads."""

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
from bibank.errors import ConfigurationError
from bibank.model.event import LedgerEvent

_TURNS = 32
"""Events told without a pause to a subscriber that never waits, before others in the loop have a turn."""


class TaskDelivery:
    """Delivers in a task of the loop that runs when it is made; `ConfigurationError` where none does."""

    delivery: Delivery = "task"

    def __init__(self, mailbox: Mailbox, recipient: Recipient, rested: Callable[[], None]) -> None:
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                "delivery='task' needs a running asyncio loop: subscribe in it, or use another delivery"
            ) from None
        self.mailbox = mailbox
        self.waiting = False
        self._recipient = recipient
        self._rested = rested
        self._bell = asyncio.Event()
        self._ended = threading.Event()
        self._task = self._loop.create_task(self._run(), name=f"bibank subscriber {mailbox.name}")
        self._task.add_done_callback(_seen)

    @property
    def alive(self) -> bool:
        """Whether the task runs, in a loop that does."""
        return not self._task.done() and not self._loop.is_closed()

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
            if asyncio.current_task() is not self._task:
                self._task.cancel()
        elif self._loop.is_running() and not self._ended.wait(timeout_seconds):
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._task.cancel)

    async def _run(self) -> None:
        told = 0
        try:
            while (step := await self._next()) is not Do.STOP:
                await self._take(step)
                told += 1
                if told % _TURNS == 0:
                    await asyncio.sleep(0)
            await asyncio.to_thread(self.mailbox.save)
        finally:
            self.mailbox.stopped = True
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
                    await asyncio.wait_for(self._bell.wait(), step.seconds)
            self.waiting = False
        return step

    async def _take(self, step: Step) -> None:
        mailbox = self.mailbox
        if step is Do.FETCH:
            await asyncio.to_thread(mailbox.fetch)
        elif step is Do.SAVE:
            await asyncio.to_thread(mailbox.save)
        else:
            mailbox.busy = True
            try:
                if isinstance(step, Handle):
                    await self._tell(step.event)
                    mailbox.done()
                else:
                    mailbox.loaded(as_cursor(await _awaited(self._recipient.load)))
            except BaseException as error:  # whatever a subscriber raises is its own affair
                if _ends(error):
                    raise
                mailbox.failed(error)
            finally:
                mailbox.busy = False

    async def _tell(self, event: LedgerEvent) -> None:
        for call in self._recipient.calls(event):
            await _awaited(call)


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
