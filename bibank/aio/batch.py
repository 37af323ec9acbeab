"""A batch built verb by verb in a task, committed as one when its block ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar, cast
from uuid import UUID

from bibank.aio.faces import Awaited, Face, plain, threaded
from bibank.aio.recording import Asked, Form, Recorder
from bibank.aio.submissions import Submissions, committed
from bibank.batch import Batch, Drafts
from bibank.calls import Call
from bibank.commits import Commits
from bibank.model.entry import JournalEntry

P = ParamSpec("P")
R = TypeVar("R")


def looked_up(verb: Callable[Concatenate[Batch, P], R]) -> Callable[Concatenate[AsyncBatch, P], Awaited[R]]:
    """Make a coroutine of a verb that reads an earlier line. Who is cancelled meanwhile has added nothing."""
    record = cast(
        "Callable[Concatenate[Recorder, P], Asked]", verb
    )  # verbs are the same on all that has them

    @wraps(verb)
    async def added(self: AsyncBatch, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return cast("R", await self._add(record(self._recorder, *args, **kwargs)))

    return added


class Collected(Batch):
    """A batch that somebody else commits."""

    def check_open(self, key: str | UUID | None) -> None:
        """Refuse what is added outside of the block, or with a key of its own."""
        self._check_open(key)

    def taken(self) -> tuple[tuple[Call, ...], str | None]:
        """Give what was collected, and the key; nothing more is taken."""
        self._state = "done"
        return tuple(self._calls), self._key

    def committed(self, entries: tuple[JournalEntry, ...]) -> None:
        """Say what it has become."""
        self._entries = entries

    def add_call(self, asked: Asked) -> object:
        """Add a verb; give what it added."""
        return (self._one if asked.form is Form.ONE else self._many)(asked.call, asked.key)


class AsyncBatch(Face[Batch]):
    """Collects drafts; each verb returns what it added. A key belongs to the whole batch.

    Verbs that read an earlier line are awaited: `post_hold`, `void_hold`, `reverse`.

    >>> import asyncio
    >>> import bibank as bb
    >>> async def main() -> list[int]:
    ...     async with bb.AsyncLedger.in_memory({"USDT": "100"}) as ledger:
    ...         async with ledger.batch(correlation_id="r1") as batch:
    ...             batch.deposit("ALICE", "10 USDT")
    ...             batch.transfer("ALICE", "BOB", "4 USDT")
    ...         return [entry.sequence for entry in batch.entries]
    >>> asyncio.run(main())
    [3, 4]
    """

    def __init__(
        self,
        ledger: Commits,
        submissions: Submissions,
        *,
        correlation_id: str | UUID | None,
        idempotency_key: str | UUID | None,
    ) -> None:
        self._batch = Collected(ledger, correlation_id=correlation_id, idempotency_key=idempotency_key)
        super().__init__(self._batch, submissions)
        self._ledger = ledger
        self._recorder = Recorder(ledger, correlation_id=correlation_id)

    async def __aenter__(self) -> Self:
        self._batch.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        calls, key = self._batch.taken()
        if kind is not None:
            return
        entries: tuple[JournalEntry, ...] = ()
        if calls:
            request = partial(self._ledger._request_of_calls, calls, key)  # noqa: SLF001 - made by it
            entries = committed(await self._submissions.submit(request)).entries
        self._batch.committed(entries)

    def __len__(self) -> int:
        return len(self._batch)

    @property
    def drafts(self) -> Drafts:
        """What was added until now."""
        return self._batch.drafts

    @property
    def entries(self) -> tuple[JournalEntry, ...]:
        """The committed entries; `ConfigurationError` before the block has ended well."""
        return self._batch.entries

    add = plain(Batch.add)
    deposit = plain(Batch.deposit)
    withdraw = plain(Batch.withdraw)
    transfer = plain(Batch.transfer)
    trade = plain(Batch.trade)
    fee = plain(Batch.fee)
    hold = plain(Batch.hold)
    post_hold = looked_up(Batch.post_hold)
    void_hold = looked_up(Batch.void_hold)
    reverse = looked_up(Batch.reverse)
    preview = threaded(Batch.preview)

    async def _add(self, asked: Asked) -> object:
        self._batch.check_open(asked.key)
        await self._submissions.call(lambda: asked.call.drafts)
        return self._batch.add_call(asked)
