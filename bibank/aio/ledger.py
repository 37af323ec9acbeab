"""The ledger for asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial, wraps
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Self, TypeVar, cast, overload
from uuid import UUID

from bibank.aio.batch import AsyncBatch
from bibank.aio.deciding import AsyncGovernance, AsyncKeyring
from bibank.aio.faces import Awaited, Face, plain, threaded
from bibank.aio.opening import LedgerOpening
from bibank.aio.recording import SHOWN, Asked, Recorder
from bibank.aio.submissions import Submissions, committed
from bibank.batch import entries_of, entry_of
from bibank.errors import InvalidType
from bibank.journal.batches import PreparedBatch
from bibank.journal.rule_sets import AdoptedRule
from bibank.ledger import Ledger
from bibank.model.account import AccountKey, Owner
from bibank.model.as_of import PointInTime
from bibank.model.balance import AccountBalance, Balance
from bibank.model.entry import JournalEntry, UnsignedEntry
from bibank.model.lines import Head
from bibank.model.table import Table
from bibank.signing.signer import Signer

if TYPE_CHECKING:
    from bibank.bus.bus import EventBus
    from bibank.calls import Call
    from bibank.committer import Request

P = ParamSpec("P")
R = TypeVar("R")


def committing(
    verb: Callable[Concatenate[Ledger, P], R],
) -> Callable[Concatenate[AsyncLedger, P], Awaited[R]]:
    """Make a coroutine of a verb: it is written out here, and committed with those of other tasks."""
    record = cast(
        "Callable[Concatenate[Recorder, P], Asked]", verb
    )  # verbs are the same on all that has them

    @wraps(verb)
    async def asked(self: AsyncLedger, /, *args: P.args, **kwargs: P.kwargs) -> R:
        call, key, form = record(self._recorder, *args, **kwargs)
        outcome = await self._submissions.submit(self._request_of(call, key))
        return cast("R", SHOWN[form](committed(outcome)))

    return asked


def _method(make: Callable[P, Ledger]) -> Callable[P, Ledger]:
    """Give a class method as it was written, with its class as a parameter: another class takes it over."""
    return cast("Callable[P, Ledger]", getattr(make, "__func__", make))


def opening(
    make: Callable[P, Ledger],
) -> classmethod[AsyncLedger, P, LedgerOpening[AsyncLedger]]:
    """Make a way to open a ledger one that is awaited or entered."""

    @wraps(_method(make))
    def opened(cls: type[AsyncLedger], /, *args: P.args, **kwargs: P.kwargs) -> LedgerOpening[AsyncLedger]:
        return LedgerOpening(partial(make, *args, **kwargs), cls)

    return classmethod(opened)


def made(make: Callable[P, Ledger]) -> classmethod[AsyncLedger, P, AsyncLedger]:
    """Make a way to compose a ledger without a disk one that gives the face of it."""

    @wraps(_method(make))
    def composed(cls: type[AsyncLedger], /, *args: P.args, **kwargs: P.kwargs) -> AsyncLedger:
        return cls(make(*args, **kwargs))

    return classmethod(composed)


class AsyncLedger(Face[Ledger]):
    """A ledger for asyncio, with the names and parameters of `Ledger`: what touches the disk is awaited.

    `AsyncLedger.create`, `open` and `open_or_create` are awaited, or entered with `async with`; `in_memory`
    gives the ledger itself; `AsyncLedger(ledger)` puts this face on a `Ledger` that is open, and closing
    either closes both. Commits of many tasks share writes and syncs: what is submitted in one turn of a
    loop, or while a write is under way, is written together. Any number of loops and threads may use one.

    A task that is cancelled while it waits leaves its commit to its course: it happens once or not at all,
    and the same idempotency key tells which. Errors are those of `Ledger`, raised when a call is awaited.

    >>> import asyncio
    >>> import bibank as bb
    >>> async def main() -> str:
    ...     async with bb.AsyncLedger.in_memory({"USDT": "1000"}) as ledger:
    ...         await ledger.deposit("ALICE", "100 USDT", correlation_id="r1")
    ...         await ledger.transfer("ALICE", "BOB", "40 USDT", correlation_id="r2")
    ...         return str(ledger.balance("ALICE", "USDT").available)
    >>> asyncio.run(main())
    '60'
    """

    def __init__(self, ledger: Ledger) -> None:
        if not isinstance(ledger, Ledger):
            raise InvalidType(f"an AsyncLedger is made over a Ledger, not {type(ledger).__name__}")
        self._take(ledger, Submissions(ledger._committer))  # noqa: SLF001 - the ledger that this is a face of

    def _take(self, ledger: Ledger, submissions: Submissions) -> None:
        super().__init__(ledger, submissions)
        self._trace = ledger._correlation_id  # noqa: SLF001 - the ledger that this is a face of
        self._recorder = Recorder(ledger, correlation_id=self._trace)

    @property
    def sync_ledger(self) -> Ledger:
        """The ledger that blocks, for threads, and for what has no face here."""
        return self._blocking

    # ------------------------------------------------------------------ making and opening

    create = opening(Ledger.create)
    open = opening(Ledger.open)
    open_or_create = opening(Ledger.open_or_create)
    in_memory = made(Ledger.in_memory)

    def bind(self, *, correlation_id: str | UUID) -> Self:
        """Give the same ledger with a default correlation id; closing either closes both."""
        bound = type(self).__new__(type(self))
        bound._take(self._blocking.bind(correlation_id=correlation_id), self._submissions)  # noqa: SLF001 - a copy of itself
        return bound

    async def fork(self, *, at: int | None = None, signer: Signer | None = None) -> Self:
        """Make a what-if in memory that begins where this ledger stood after a line; now, unless given.

        Raises `UnknownSequence`, `InvalidType`, `ConfigurationError` for one of the ledger's keys.
        """
        fork = partial(self._blocking.fork, at=at, signer=signer)
        return type(self)(await self._submissions.call(fork))

    # ------------------------------------------------------------------ committing

    async def commit(
        self, entry: UnsignedEntry, *, idempotency_key: str | UUID | None = None
    ) -> JournalEntry:
        """Commit one entry; it is durable when this returns.

        Raises `InvalidInput` or `Refused` kinds, in which case nothing was changed, and
        `StoreError` kinds.
        """
        if idempotency_key is None and entry_of(entry).links.reverses is None:
            request: Request = PreparedBatch.single(entry)
        else:
            request = self._request((entry_of(entry),), idempotency_key)
        return committed(await self._submissions.submit(request)).entry

    async def commit_batch(
        self, entries: Iterable[UnsignedEntry], *, idempotency_key: str | UUID | None = None
    ) -> tuple[JournalEntry, ...]:
        """Commit entries all or nothing, each judged against the state left by the one before."""
        request = self._request(entries_of(entries), idempotency_key)
        return committed(await self._submissions.submit(request)).entries

    def _request(self, drafts: tuple[UnsignedEntry, ...], key: str | UUID | None) -> Request:
        request = self._blocking._request  # noqa: SLF001 - the ledger that this is a face of
        if any(draft.links.reverses is not None for draft in drafts):
            return partial(request, drafts, key)  # it reads what they reverse
        return request(drafts, key)

    def _request_of(self, call: Call, key: str | UUID | None) -> Request:
        request = self._blocking._request_of_call  # noqa: SLF001 - the ledger that this is a face of
        if key is None and call.is_written:
            prepared = request(call, None)
            assert isinstance(prepared, PreparedBatch), "without a key nothing is looked up"
            return prepared
        return partial(request, call, key)

    deposit = committing(Ledger.deposit)
    withdraw = committing(Ledger.withdraw)
    transfer = committing(Ledger.transfer)
    trade = committing(Ledger.trade)
    fee = committing(Ledger.fee)
    hold = committing(Ledger.hold)
    post_hold = committing(Ledger.post_hold)
    void_hold = committing(Ledger.void_hold)
    reverse = committing(Ledger.reverse)
    commit_each = threaded(Ledger.commit_each)
    void_expired_holds = threaded(Ledger.void_expired_holds)
    preview = threaded(Ledger.preview)

    def batch(
        self, *, correlation_id: str | UUID | None = None, idempotency_key: str | UUID | None = None
    ) -> AsyncBatch:
        """Start a batch: the verbs of the ledger, committed together when the `async with` block ends."""
        trace = self._trace if correlation_id is None else correlation_id
        return AsyncBatch(
            self._blocking, self._submissions, correlation_id=trace, idempotency_key=idempotency_key
        )

    # ------------------------------------------------------------------ what memory tells

    @property
    def ledger_id(self) -> str:
        """The id that certifies itself: `<name>/<fingerprint>`."""
        return self._blocking.ledger_id

    @property
    def head(self) -> Head:
        """The last durable line: its sequence and hash."""
        return self._blocking.head

    @property
    def rules(self) -> Table[AdoptedRule]:
        """The rules that the ledger has adopted, in the order in which they judge."""
        return self._blocking.rules

    @property
    def bus(self) -> EventBus:
        """Who hears what is committed, after it is durable, at their own pace: the bus of `sync_ledger`."""
        return self._blocking.bus

    @property
    def keyring(self) -> AsyncKeyring:
        """The trusted keys, and how they are changed."""
        return AsyncKeyring(self._blocking.keyring, self._submissions)

    @property
    def governance(self) -> AsyncGovernance:
        """What operators decide: freezes, floors, proposals and approvals, attestations, overrides."""
        return AsyncGovernance(self._blocking.governance, self._submissions)

    holds = plain(Ledger.holds)
    account_terms = plain(Ledger.account_terms)
    terms_of = plain(Ledger.terms_of)

    @overload
    def balance(self, owner: Owner, asset: str | None = None, *, as_of: None = None) -> Balance: ...
    @overload
    def balance(self, owner: Owner, asset: str | None = None, *, as_of: PointInTime) -> Awaited[Balance]: ...
    def balance(
        self, owner: Owner, asset: str | None = None, *, as_of: PointInTime | None = None
    ) -> Balance | Awaitable[Balance]:
        """Tell the balance of an owner in one asset, or of exactly one account; as of a point, awaited.

        An owner's is AVAILABLE and LOCKED together, and each. With an `AccountKey` the asset may be
        left out. An account that nobody used has a balance of zero. `as_of` is a sequence (inside a batch
        it means the batch before), `AsOf.recorded(t)` or `AsOf.effective(t)`, the moment included. Raises
        `InvalidInput` kinds, `UnknownSequence`, and for the past `JournalCorrupt`.
        """
        if as_of is None:
            return self._blocking.balance(owner, asset)
        return self._submissions.call(partial(self._blocking.balance, owner, asset, as_of=as_of))

    @overload
    def balances(self, owner: str | UUID, *, as_of: None = None) -> Table[Balance]: ...
    @overload
    def balances(self, owner: str | UUID, *, as_of: PointInTime) -> Awaited[Table[Balance]]: ...
    def balances(
        self, owner: str | UUID, *, as_of: PointInTime | None = None
    ) -> Table[Balance] | Awaitable[Table[Balance]]:
        """List an owner's balances, one row an asset, sorted by asset; raises what :meth:`balance` raises."""
        if as_of is None:
            return self._blocking.balances(owner)
        return self._submissions.call(partial(self._blocking.balances, owner, as_of=as_of))

    @overload
    def accounts(
        self,
        prefix: str = "",
        *,
        as_of: None = None,
        after: AccountKey | None = None,
        limit: int | None = None,
    ) -> Table[AccountBalance]: ...
    @overload
    def accounts(
        self,
        prefix: str = "",
        *,
        as_of: PointInTime,
        after: AccountKey | None = None,
        limit: int | None = None,
    ) -> Awaited[Table[AccountBalance]]: ...
    def accounts(
        self,
        prefix: str = "",
        *,
        as_of: PointInTime | None = None,
        after: AccountKey | None = None,
        limit: int | None = None,
    ) -> Table[AccountBalance] | Awaitable[Table[AccountBalance]]:
        """List the accounts whose key begins with a text, sorted by key, each with its balance.

        As of a point in time, awaited, those that an entry had named which counts there. The next page begins
        `after` the last account of the page before. Raises what :meth:`balance` raises.
        """
        if as_of is None:
            return self._blocking.accounts(prefix, after=after, limit=limit)
        ask = partial(self._blocking.accounts, prefix, as_of=as_of, after=after, limit=limit)
        return self._submissions.call(ask)

    # ------------------------------------------------------------------ what the journal tells

    entry = threaded(Ledger.entry)
    line = threaded(Ledger.line)
    record = threaded(Ledger.record)
    entries = threaded(Ledger.entries)
    records = threaded(Ledger.records)
    pending = threaded(Ledger.pending)
    attestations = threaded(Ledger.attestations)
    trial_balance = threaded(Ledger.trial_balance)
    statement = threaded(Ledger.statement)
    trades = threaded(Ledger.trades)
    fee_totals = threaded(Ledger.fee_totals)
    audit = threaded(Ledger.audit)

    # ------------------------------------------------------------------ upkeep and end

    adopt_rules = threaded(Ledger.adopt_rules)
    project = threaded(Ledger.project)
    snapshot = threaded(Ledger.snapshot)
    flush_head = threaded(Ledger.flush_head)

    async def close(self) -> None:
        """Close the ledger when what was submitted before has come to its end. Twice is harmless.

        Whatever is asked for later raises `LedgerClosed`.
        """
        await self._submissions.close(self._blocking.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Async{repr(self._blocking).removeprefix('<')}"
