"""Workers: the threads of one ledger that do what tasks wait for, and what becomes of who is left behind.

An exception of another thread's making (`PyThreadState_SetAsyncExc`), or a lack of memory, may come anywhere:
in a job, which then ends early, or in the executor that runs it, which then loses the job and the thread. So
each job comes with what is to be done when it was stopped: by its own thread, as a rule, and otherwise by
whoever looks after it. It may be done twice, and after the job has come to its end. A job that was lost
before it had begun is given to another thread. A pool that has lost one is replaced: an executor never
misses any.

>>> done = []
>>> workers = Workers(1, "example")
>>> job = workers.submit(lambda: done.append("done"), done.append)
>>> workers.finish()
>>> done, workers.is_busy
(['done'], False)
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Lock, Thread, current_thread

import attrs


class ThreadLost(BaseException):
    """Why a job was stopped whose thread is gone without a word. Raised nowhere."""


@attrs.define(eq=False)
class Job:
    """Something to be done in a thread, and what is done when it was stopped, with what stopped it."""

    work: Callable[[], None]
    stopped: Callable[[BaseException], None]
    pool: ThreadPoolExecutor
    future: Future[None] | None = None
    thread: Thread | None = None
    is_doubted: bool = False
    """Set when it looked lost once: a thread that ends as it should looks so for a moment."""


class Workers:
    """So many threads, made as they are needed. Safe to use from any thread."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._pools: list[ThreadPoolExecutor] = []
        """The last is in use; those before it have lost a thread, and finish what they had."""
        self._jobs: set[Job] = set()
        """What has not come to its end."""
        self._is_ended = False
        self._lock = Lock()
        """Covers the choice of a pool, and what is given to it."""

    def submit(self, work: Callable[[], None], stopped: Callable[[BaseException], None]) -> Job:
        """Have a thread do something; `RuntimeError` where there can be no thread, and nothing is done."""
        with self._lock:
            pool = self._pool()
            job = Job(work, stopped, pool)
            try:
                self._jobs.add(job)
                job.future = pool.submit(self._do, job)
            except BaseException:  # the executor may have it in its queue already
                self._jobs.discard(job)
                raise
        return job

    def _pool(self) -> ThreadPoolExecutor:
        if self._is_ended:
            raise RuntimeError("the threads of this ledger have ended")
        if not self._pools or has_lost_one(self._pools[-1]):
            for lost in self._pools:
                lost.shutdown(wait=False)
            self._pools.append(ThreadPoolExecutor(self._most, thread_name_prefix=self._name))
        return self._pools[-1]

    def _do(self, job: Job) -> None:
        try:
            if job not in self._jobs:
                return
            job.thread = current_thread()
            job.work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, who waits for the job has to hear of it
            job.stopped(error)
        self._jobs.discard(job)

    # ------------------------------------------------------------------ looking after them

    @property
    def is_busy(self) -> bool:
        """Tell whether a job has not come to its end."""
        return bool(self._jobs)

    def has(self, job: Job | None) -> bool:
        """Tell whether this job has not."""
        return job in self._jobs

    def look(self) -> None:
        """Find the jobs that were lost with their thread; nobody waits for them any longer."""
        for job in tuple(self._jobs):
            if _is_lost(job) and job in self._jobs:  # it leaves them before its future is done
                self._again(job)
                self._jobs.discard(job)

    def _again(self, job: Job) -> None:
        """Give a job to another thread if it was not begun; otherwise do what is done when it was stopped."""
        assert job.future is not None, "a job that is being submitted is not lost"
        if job.future.cancelled():
            with suppress(RuntimeError):  # there can be no other thread
                self.submit(job.work, job.stopped)
                return
        job.stopped(_why(job.future))

    def end(self) -> None:
        """Take no more. What was taken is done."""
        self._is_ended = True
        for pool in self._pools:
            pool.shutdown(wait=False)

    def finish(self) -> None:
        """Take no more, and return when what was taken is done."""
        self._is_ended = True
        for pool in self._pools:
            pool.shutdown(wait=True)


def has_lost_one(pool: ThreadPoolExecutor) -> bool:
    """Tell whether a thread of a pool in use has ended."""
    threads = tuple(pool._threads)  # noqa: SLF001 - an executor does not say so
    return not all(thread.is_alive() for thread in threads)


def _is_lost(job: Job) -> bool:
    """Tell whether a job will not be done; one that was not begun is withdrawn: nobody begins it now."""
    if job.future is None:  # it is being submitted
        return False
    if job.future.done():
        return True
    if not has_lost_one(job.pool):
        return False
    if job.thread is not None:
        return not job.thread.is_alive()
    was_doubted, job.is_doubted = job.is_doubted, True
    return was_doubted and (job.future.cancel() or job.thread is None)


def _why(future: Future[None]) -> BaseException:
    error = future.exception() if future.done() and not future.cancelled() else None
    return ThreadLost("its thread is gone") if error is None else error
