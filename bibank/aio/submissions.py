"""Submissions: what tasks want committed, on its way to the one thread that commits it, and back.

All that is submitted in one turn of an event loop is handed over together at its end. One thread takes
everything that waits, commits it in as few write groups as possible, and gives the results back by one call
for each loop; what comes meanwhile is its next round. There is no thread before the first commit.

Nobody is waited for: a task that was cancelled, or a loop that is gone, changes nothing for the others.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from threading import Lock
from typing import Generic, TypeVar, TypeVarTuple, Unpack
from weakref import WeakSet

import attrs

from bibank.committer import Committer, Request
from bibank.errors import CommitOutcomeUnknown, LedgerClosed, StoreUnavailable
from bibank.outcomes import Committed
from bibank.sealing import Found

R = TypeVar("R")
A = TypeVarTuple("A")

_READERS = 4
"""Threads for all that is no commit of money: enough that a long audit does not hold up a statement."""

Waiting = tuple[Request, "asyncio.Future[Found | Exception]"]
"""A request, and the future of the task that waits for it. Errors are results: nobody has to fetch them."""

_submissions: WeakSet[Submissions] = WeakSet()
"""All of this process, for the day it forks."""


class Lane:
    """What the tasks of one event loop have submitted in this turn of it. Touched by that loop alone."""

    __slots__ = ("loop", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: list[Waiting] = []


@attrs.frozen
class Raised:
    """What a call raised."""

    error: BaseException


@attrs.frozen
class Returned(Generic[R]):
    """What a call returned."""

    value: R


class Submissions:
    """The way of one ledger's commits, and of its other calls, from any number of loops to its threads."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._is_closed = False
        self._renew()
        _submissions.add(self)

    def _renew(self) -> None:
        self._lock = Lock()
        """Covers what follows; held for a few steps, never while something is waited for."""
        self._lanes: dict[asyncio.AbstractEventLoop, Lane] = {}
        self._last: Lane | None = None
        self._queue: list[tuple[Lane, list[Waiting]]] = []
        self._is_draining = False
        self._committing: ThreadPoolExecutor | None = None
        self._calling: ThreadPoolExecutor | None = None
        self._tending: Future[None] | None = None

    # ------------------------------------------------------------------ from tasks to the thread

    def submit(self, request: Request) -> asyncio.Future[Found | Exception]:
        """Queue a request; the future gives what stands in the journal, or the error to raise.

        Whoever cancels the future leaves the request as it is.
        """
        loop = asyncio.get_running_loop()
        lane = self._last
        if lane is None or lane.loop is not loop:
            lane = self._lane_of(loop)
        future: asyncio.Future[Found | Exception] = loop.create_future()
        if not lane.waiting:  # asked for before it is needed: an interrupt in between costs an empty turn
            loop.call_soon(self._hand_over, lane)
        lane.waiting.append((request, future))
        return future

    def _lane_of(self, loop: asyncio.AbstractEventLoop) -> Lane:
        with self._lock:
            lane = self._lanes.get(loop)
            if lane is None:
                for ended in [one for one in self._lanes if one.is_closed()]:
                    del self._lanes[ended]
                lane = self._lanes[loop] = Lane(loop)
            self._last = lane
            return lane

    def _hand_over(self, lane: Lane) -> None:
        """Give the thread what a loop has collected, and wake it where it sleeps."""
        taken, lane.waiting = lane.waiting, []
        if not taken:
            return
        error: Exception
        with self._lock:
            if not self._is_closed:
                self._queue.append((lane, taken))
                if self._is_draining:
                    return
                try:
                    self._committer_thread().submit(self._drain)
                    self._is_draining = True
                    return
                except RuntimeError as cause:  # no thread can be made, or the interpreter is ending
                    self._queue.pop()
                    error = StoreUnavailable(f"no thread could be started to commit: {cause}")
            else:
                error = LedgerClosed("the ledger was closed")
        _give(taken, [error] * len(taken))

    def _committer_thread(self) -> ThreadPoolExecutor:
        if self._committing is None:
            self._committing = ThreadPoolExecutor(1, thread_name_prefix="bibank-commit")
        return self._committing

    # ------------------------------------------------------------------ in the thread

    def _drain(self) -> None:
        """Commit what is queued until nothing is."""
        while True:
            with self._lock:
                taken, self._queue = self._queue, []
                if not taken:
                    self._is_draining = False
                    return
            self._commit(taken)

    def _commit(self, taken: list[tuple[Lane, list[Waiting]]]) -> None:
        requests = [request for _, waiting in taken for request, _ in waiting]
        outcomes: list[Found | Exception | None] = [None] * len(requests)
        try:
            self._committer.commit_apart(requests, outcomes)
        except BaseException as error:  # noqa: BLE001 - whatever ended it, everybody who waits has to hear of it
            outcomes = [_unknown(error) if outcome is None else outcome for outcome in outcomes]
        found = iter(outcomes)
        lanes: dict[Lane, tuple[list[Waiting], list[Found | Exception | None]]] = {}
        for lane, waiting in taken:
            theirs = lanes.setdefault(lane, ([], []))
            theirs[0].extend(waiting)
            theirs[1].extend(islice(found, len(waiting)))
        for lane, (waiting, results) in lanes.items():
            _call_soon(lane.loop, _give, waiting, results)
        if self._committer.is_due:
            self._tend()

    def _tend(self) -> None:
        """Let another thread do what is due, so that commits go on."""
        with self._lock, suppress(RuntimeError):  # no thread can be made now: the next commit asks again
            if not self._is_closed and (self._tending is None or self._tending.done()):
                self._tending = self._caller_threads().submit(self._committer.tend)

    # ------------------------------------------------------------------ other calls

    def _caller_threads(self) -> ThreadPoolExecutor:
        if self._calling is None:
            self._calling = ThreadPoolExecutor(_READERS, thread_name_prefix="bibank-call")
        return self._calling

    async def call(self, work: Callable[[], R]) -> R:
        """Do work that touches the disk in a thread of the ledger; what was not begun can be cancelled.

        Raises `LedgerClosed`, and what the work raises.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Returned[R] | Raised] = loop.create_future()
        with self._lock:
            if self._is_closed:
                raise LedgerClosed("the ledger was closed")
            try:
                self._caller_threads().submit(_do, work, loop, future)
            except RuntimeError as cause:
                raise StoreUnavailable(f"no thread could be started: {cause}") from cause
        return result_of(await future)

    # ------------------------------------------------------------------ ending

    async def close(self, end: Callable[[], None]) -> None:
        """Let what was submitted until now come to its end, then end; nothing is taken any more.

        Who is cancelled meanwhile leaves it to the thread to end.
        """
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop)
        if lane is not None:
            self._hand_over(lane)
        future: asyncio.Future[Returned[None] | Raised] = loop.create_future()
        with self._lock:
            self._is_closed = True
            try:
                self._committer_thread().submit(self._end, end, loop, future)
            except RuntimeError:  # it has ended, or the interpreter does
                _set(future, _outcome_of(end))
        result_of(await future)

    def _end(
        self,
        end: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[Returned[None] | Raised],
    ) -> None:
        calling, committing = self._calling, self._committing
        if calling is not None:
            calling.shutdown(wait=True)
        outcome = _outcome_of(end)
        if committing is not None:
            committing.shutdown(wait=False)
        _call_soon(loop, _set, future, outcome)

    def disown(self) -> None:
        """In a forked child: threads and loops are the parent's, and the ledger itself refuses everything."""
        self._renew()


def committed(outcome: Found | Exception) -> Committed:
    """Give what was committed, or raise why it was not."""
    if isinstance(outcome, Exception):
        try:
            raise outcome
        finally:
            del outcome  # the error would hold this frame, and the frame the error
    return Committed(outcome)


def result_of(outcome: Returned[R] | Raised) -> R:
    """Give what a call returned, or raise what it raised."""
    if isinstance(outcome, Raised):
        try:
            raise outcome.error
        finally:
            del outcome  # the error would hold this frame, and the frame the error
    return outcome.value


def _do(
    work: Callable[[], R], loop: asyncio.AbstractEventLoop, future: asyncio.Future[Returned[R] | Raised]
) -> None:
    """Do work in this thread, unless nobody waits for it any more, and tell its outcome."""
    if not future.cancelled():
        _call_soon(loop, _set, future, _outcome_of(work))


def _outcome_of(work: Callable[[], R]) -> Returned[R] | Raised:
    try:
        return Returned(work())
    except BaseException as error:  # noqa: BLE001 - it is raised to whoever waits
        return Raised(error)


def _call_soon(loop: asyncio.AbstractEventLoop, tell: Callable[[Unpack[A]], object], *arguments: *A) -> None:
    """Have a loop tell somebody something; one that is closed has nobody who waits."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(tell, *arguments)


def _set(future: asyncio.Future[R], outcome: R) -> None:
    if not future.done():
        future.set_result(outcome)


def _give(waiting: list[Waiting], outcomes: list[Found | Exception | None]) -> None:
    """Wake the tasks that wait, in the order in which they asked."""
    for (_, future), outcome in zip(waiting, outcomes, strict=True):
        if not future.done():
            assert outcome is not None, "every request has an outcome when it is given back"
            future.set_result(outcome)


def _unknown(cause: BaseException) -> CommitOutcomeUnknown:
    """Say to one caller that the thread that commits was stopped."""
    unknown = CommitOutcomeUnknown(
        f"the thread that commits was stopped by {type(cause).__name__}; "
        "reopen the ledger to see what is on disk"
    )
    unknown.__cause__ = cause
    return unknown


def _disown_all() -> None:
    for submissions in list(_submissions):
        submissions.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
