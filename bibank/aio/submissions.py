"""Submissions: what tasks want committed, on its way to the one thread that commits it, and back.

All that is submitted in one turn of an event loop is handed over together at its end. One thread takes
everything that waits, commits it in as few write groups as possible, and gives the results back by one call
for each loop; what comes meanwhile is its next round. There is no thread before the first commit.

Nobody is waited for: a task that was cancelled, or a loop that is gone, changes nothing for the others. And
nobody waits for a thread that was killed: it tells whom it leaves behind, and a loop that waits for something
looks every `LOOK_SECONDS` whether a thread is gone that could not even do that (:mod:`bibank.aio.workers`).
"""

from __future__ import annotations

import asyncio
import copy
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice, repeat
from threading import Lock
from typing import Generic, TypeVar, TypeVarTuple, Unpack
from weakref import WeakSet

import attrs

from bibank.aio.workers import Job, Workers
from bibank.committer import Committer, Request
from bibank.errors import CommitOutcomeUnknown, LedgerClosed, StoreUnavailable
from bibank.outcomes import Committed
from bibank.sealing import Found

R = TypeVar("R")
A = TypeVarTuple("A")

LOOK_SECONDS = 1.0
"""How often a loop that waits looks whether a thread is gone: rare beside what it does, soon for a server."""

_READERS = 4
"""Threads for all that is no commit of money: enough that a long audit does not hold up a statement."""

Waiting = tuple[Request, "asyncio.Future[Found | Exception]"]
"""A request, and the future of the task that waits for it. Errors are results: nobody has to fetch them."""

_submissions: WeakSet[Submissions] = WeakSet()
"""All of this process, for the day it forks."""


class Lane:
    """What the tasks of one event loop have submitted in this turn of it. Touched by that loop alone."""

    __slots__ = ("is_looking", "loop", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: list[Waiting] = []
        self.is_looking = False
        """Set while it has a look before it."""


class Round:
    """What the thread that commits has taken, and what has become of it until now."""

    __slots__ = ("outcomes", "taken")

    def __init__(self, taken: list[tuple[Lane, list[Waiting]]]) -> None:
        self.taken = taken
        self.outcomes: list[Found | Exception | None] = []

    def commit(self, committer: Committer) -> None:
        """Commit all of it."""
        requests = [request for _, waiting in self.taken for request, _ in waiting]
        self.outcomes = [None] * len(requests)
        committer.commit_apart(requests, self.outcomes)

    def tell(self, cause: BaseException | None) -> None:
        """Tell everybody what became of it: unknown where something ended it before that was known."""
        found = chain(self.outcomes, repeat(None))
        lanes: dict[Lane, tuple[list[Waiting], list[Found | Exception | None]]] = {}
        for lane, waiting in self.taken:
            asked, results = lanes.setdefault(lane, ([], []))
            asked.extend(waiting)
            theirs: Iterable[Found | Exception | None] = islice(found, len(waiting))
            if cause is not None:
                theirs = [_unknown(cause) if one is None else one for one in theirs]
            results.extend(theirs)
        for lane, (asked, results) in lanes.items():
            _call_soon(lane.loop, _give, asked, results)


class Drain:
    """One run of the thread that commits, and the round that it is in."""

    __slots__ = ("round",)

    def __init__(self) -> None:
        self.round: Round | None = None


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
        self._draining: Drain | None = None
        """What commits, or is about to; it takes what is queued until it finds nothing."""
        self._committing = Workers(1, "bibank-commit")
        self._calling = Workers(_READERS, "bibank-call")
        self._tending: Job | None = None

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
            self._look_later(lane)  # an exception of a signal handler may end that turn
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
        taken = lane.waiting
        if not taken:
            return
        error: Exception
        with self._lock:
            if self._is_closed:
                error = LedgerClosed("the ledger was closed")
            else:
                self._queue += [(lane, taken)]  # this and the next are one for interrupts: there is no call
                lane.waiting = []
                try:
                    self._look_later(lane)
                    self._wake()
                    return
                except RuntimeError as cause:  # no thread can be made, or the interpreter is ending
                    self._queue.pop()
                    error = StoreUnavailable(f"no thread could be started to commit: {cause}")
        lane.waiting = []
        _refuse(taken, error)

    def _wake(self) -> None:
        """Have somebody commit what is queued, under the lock; `RuntimeError` when there can be no thread."""
        if self._queue and self._draining is None:
            drain = Drain()
            self._committing.submit(partial(self._drain, drain), partial(self._go_on, drain))
            self._draining = drain

    # ------------------------------------------------------------------ in the thread

    def _drain(self, drain: Drain) -> None:
        """Commit what is queued until nothing is."""
        while self._take(drain):
            current = drain.round
            assert current is not None, "it was taken just now"
            current.commit(self._committer)
            current.tell(None)
            drain.round = None
            if self._committer.is_due:
                self._tend()

    def _take(self, drain: Drain) -> bool:
        with self._lock:
            if self._queue:
                drain.round = Round(self._queue)
                self._queue = []
                return True
            if self._draining is drain:
                self._draining = None
            return False

    def _go_on(self, drain: Drain, cause: BaseException) -> None:
        """After a thread was stopped: tell everybody whom it had taken, and have the others committed."""
        if drain.round is not None:
            drain.round.tell(cause)
            drain.round = None
        with self._lock:
            if self._draining is drain:
                self._draining = None
            try:
                self._wake()
                return
            except RuntimeError as error:
                left, self._queue = self._queue, []
                refusal = StoreUnavailable(f"no thread could be started to commit: {error}")
        for lane, waiting in left:
            _call_soon(lane.loop, _refuse, waiting, refusal)

    def _tend(self) -> None:
        """Let another thread do what is due, so that commits go on."""
        with self._lock, suppress(RuntimeError):  # no thread can be made now: the next commit asks again
            if not self._is_closed and not self._calling.has(self._tending):
                self._tending = self._calling.submit(self._committer.tend, _say_nothing)

    # ------------------------------------------------------------------ looking after threads

    def _look_later(self, lane: Lane) -> None:
        if not lane.is_looking:
            lane.loop.call_later(LOOK_SECONDS, self._look, lane)
            lane.is_looking = True

    def _look(self, lane: Lane) -> None:
        """Find what was lost with its thread, and look again while something is waited for."""
        lane.is_looking = False
        self._hand_over(lane)
        self._committing.look()
        self._calling.look()
        with self._lock, suppress(RuntimeError):
            if not self._is_closed:
                self._wake()
        if self._queue or self._committing.is_busy or self._calling.is_busy:
            self._look_later(lane)

    # ------------------------------------------------------------------ other calls

    async def call(self, work: Callable[[], R]) -> R:
        """Do work that touches the disk in a thread of the ledger; what was not begun can be cancelled.

        Raises `LedgerClosed`, and what the work raises; `CommitOutcomeUnknown` when its thread was killed.
        """
        loop = asyncio.get_running_loop()
        lane = self._lane_of(loop)
        future: asyncio.Future[Returned[R] | Raised] = loop.create_future()
        with self._lock:
            if self._is_closed:
                raise LedgerClosed("the ledger was closed")
            try:
                self._calling.submit(partial(_do, work, loop, future), partial(_give_up, loop, future))
            except RuntimeError as cause:
                raise StoreUnavailable(f"no thread could be started: {cause}") from cause
        self._look_later(lane)
        return result_of(await future)

    # ------------------------------------------------------------------ ending

    async def close(self, end: Callable[[], None]) -> None:
        """Let what was submitted until now come to its end, then end; nothing is taken any more.

        Who is cancelled meanwhile leaves it to the thread to end. `CommitOutcomeUnknown` says that the thread
        was killed: close again.
        """
        loop = asyncio.get_running_loop()
        lane = self._lane_of(loop)
        self._hand_over(lane)
        future: asyncio.Future[Returned[None] | Raised] = loop.create_future()
        drain = Drain()

        def stopped(cause: BaseException) -> None:
            self._go_on(drain, cause)
            _give_up(loop, future, cause)

        with self._lock:
            self._is_closed = True
            try:
                self._committing.submit(partial(self._end, drain, end, loop, future), stopped)
            except RuntimeError:  # it has ended, or the interpreter does
                _set(future, _outcome_of(end))
        self._look_later(lane)
        result_of(await future)

    def _end(
        self,
        drain: Drain,
        end: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[Returned[None] | Raised],
    ) -> None:
        self._drain(drain)  # what is left when the thread was stopped before
        self._calling.finish()
        outcome = _outcome_of(end)
        self._committing.end()
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
    except Exception as error:  # noqa: BLE001 - it is raised to whoever waits
        return Raised(error)


def _give_up(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Returned[R] | Raised], cause: BaseException
) -> None:
    """Tell who waits for a call that its thread was stopped, unless it was told the outcome before."""
    _call_soon(loop, _set, future, Raised(_unknown(cause)))


def _say_nothing(_: BaseException) -> None:
    """Nobody waits for it."""


def _call_soon(loop: asyncio.AbstractEventLoop, tell: Callable[[Unpack[A]], object], *arguments: *A) -> None:
    """Have a loop tell somebody something; one that is closed has nobody who waits."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(tell, *arguments)


def _set(future: asyncio.Future[R], outcome: R) -> None:
    # Not by asking first: a signal handler that cancels the task, as that of asyncio, may come in between.
    with suppress(asyncio.InvalidStateError):
        future.set_result(outcome)


def _give(waiting: list[Waiting], outcomes: Sequence[Found | Exception | None]) -> None:
    """Wake the tasks that wait, in the order in which they asked."""
    for (_, future), outcome in zip(waiting, outcomes, strict=True):
        assert outcome is not None, "every request has an outcome when it is given back"
        _set(future, outcome)


def _refuse(waiting: list[Waiting], error: Exception) -> None:
    """Wake the tasks that wait, each with an error of its own: one that is raised twice has two traces."""
    _give(waiting, [copy.copy(error) for _ in waiting])


def _unknown(cause: BaseException) -> CommitOutcomeUnknown:
    """Say to one caller that the thread was stopped that did what it asked for."""
    unknown = CommitOutcomeUnknown(
        f"the thread that worked on this was stopped by {type(cause).__name__}; "
        "what is on disk tells what was done: ask again with the same key, or reopen the ledger"
    )
    unknown.__cause__ = cause
    return unknown


def _disown_all() -> None:
    for submissions in list(_submissions):
        submissions.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
