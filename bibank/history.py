"""Questions about the past: balances as of a point in time, statements, trial balances, trades, fees.

>>> from datetime import UTC, datetime
>>> import bibank as bb
>>> ledger = bb.Ledger.in_memory({"USDT": "1000"})
>>> first = ledger.deposit("ALICE", "100 USDT", correlation_id="r1")
>>> _ = ledger.transfer("ALICE", "BOB", "40 USDT", correlation_id="r2")
>>> print(ledger.balance("ALICE", "USDT", as_of=first.sequence).available)
100
>>> [str(line.posted) for line in ledger.statement("ALICE", "USDT")]
['100', '60']

What a home's projection holds is asked there, what it does not hold yet is read from the journal, and so is
everything where there is no projection: the answers are the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeGuard, TypeVar
from uuid import UUID

from bibank.chronicle import Chronicle, StoredLines
from bibank.errors import (
    HeadConflict,
    InvalidType,
    InvalidValue,
    ProjectionMismatch,
    StoreUnavailable,
    excerpt,
)
from bibank.home import Home
from bibank.journal.codec import decode_line
from bibank.journal.history import Movement, Pot, Running, stored_movement, trial_balance_lines
from bibank.model.account import AVAILABLE, LOCKED, AccountKey, Owner, owner_id
from bibank.model.amount import SignedAmount
from bibank.model.as_of import PointInTime
from bibank.model.entry import JournalEntry, TransactionIntent
from bibank.model.json_value import FrozenMap, canonical_text, encode_string
from bibank.model.lines import Head
from bibank.model.money import check_asset
from bibank.model.record import JournalLine
from bibank.model.statement import FeeTotal, StatementLine, TradeLine, TrialBalanceLine
from bibank.model.table import Table
from bibank.model.trade import FeeKind
from bibank.source import Source, check_limit, check_sequence
from bibank.stored_lines import Placer, checked_lines, rechecked
from bibank.time_travel import check_line, cut_of, pair_of, span_of, statement_of

if TYPE_CHECKING:
    from bibank.projection.books import SqliteBooks
    from bibank.projection.verified import VerifiedLine

logger = logging.getLogger("bibank")

T = TypeVar("T")

_WAIT_SECONDS = 0.2
"""How long a question waits for a projection that somebody has locked; the journal answers as well."""

_FIND_PAGE = 1024
"""Sequences asked for at a time: no more are looked up in vain than this where a few are enough."""

_NEAR = 50
"""Lines that are read and passed over in less time than it takes to look one up."""

_FEE_ACCOUNTS = "REV:SYSTEM:FEE:"
_KINDS = {kind.name: kind for kind in FeeKind}


class History:
    """Everything that reads the past. Needs a source, and knows the home where there is one."""

    _source: Source
    _home: Home | None

    def trial_balance(self, *, as_of: PointInTime | None = None) -> Table[TrialBalanceLine]:
        """List the balance of every account in the column of its side, sorted by key; now, or as of a point.

        For each asset the debits add up to the credits. Raises what :meth:`balance` raises.
        """

        def told(chronicle: Chronicle) -> list[TrialBalanceLine]:
            lines = list(trial_balance_lines(chronicle.units("", cut_of(chronicle, as_of))))
            sums: dict[str, int] = {}
            for line in lines:
                sums[line.asset] = sums.get(line.asset, 0) + line.debit.units - line.credit.units
            if any(sums.values()):  # every entry balances, so this is none of the journal's
                raise ProjectionMismatch("its debits and credits are not equal; rebuild it")
            return lines

        return Table(self._told(told, prefix=""), row_type=TrialBalanceLine)

    def statement(
        self,
        owner: Owner,
        asset: str | None = None,
        *,
        since: PointInTime | None = None,
        until: PointInTime | None = None,
        after: StatementLine | None = None,
        limit: int | None = None,
    ) -> Table[StatementLine]:
        """List what entries did to an owner's money, in one asset or all, or to exactly one account.

        Each line has the balance after it, and counts what came before `since`. The range takes in `since`
        and leaves `until` out; both are sequences or moments of one axis. By `AsOf.effective` the lines
        stand, and the balance runs, in the order in which entries count; otherwise in that of the journal.
        The next page begins `after` the last line of the page before.

        Raises `InvalidType`, `InvalidValue` for two axes, `UnknownSequence`, `JournalCorrupt`.
        """
        if after is not None:
            check_line(after)
        limit = check_limit(limit)
        compared = [account for pot in self._pots(owner, asset) for account in pot.accounts]

        def told(chronicle: Chronicle) -> list[StatementLine]:
            span = span_of(chronicle, since, until)
            # Looked up once more: an asset that came after the first look is in the chronicle already.
            pots = self._pots(owner, asset)
            return list(islice(statement_of(chronicle, pots, span, after), limit))

        return Table(self._told(told, accounts=compared), row_type=StatementLine)

    def trades(
        self,
        user: str | UUID | None = None,
        *,
        pair: str | None = None,
        since: PointInTime | None = None,
        until: PointInTime | None = None,
        after_sequence: int = 0,
        limit: int | None = None,
    ) -> Table[TradeLine]:
        """List trades in journal order: of a maker or taker, of a pair `BASE/QUOTE`, in a range, or all.

        Raises `InvalidType`, `InvalidValue`, `UnknownSequence`, `JournalCorrupt`.
        """
        if isinstance(user, AccountKey):
            raise InvalidType(f"a user is an id, not the account {user}")
        who = None if user is None else owner_id(user)
        assets = None if pair is None else pair_of(pair)
        after_sequence, limit = check_sequence(after_sequence, minimum=0), check_limit(limit)

        def told(chronicle: Chronicle) -> list[TradeLine]:
            span = span_of(chronicle, since, until)
            after = max(after_sequence, span.first - 1)
            found = chronicle.trades(user=who, pair=assets, after_sequence=after, until_sequence=span.last)
            return list(islice((line for line in found if span.takes(line.effective_at)), limit))

        return Table(self._told(told, accounts=()), row_type=TradeLine)

    def fee_totals(
        self, *, since: PointInTime | None = None, until: PointInTime | None = None
    ) -> Table[FeeTotal]:
        """Add up fees by kind and asset, less what was given back, over a range of time or the whole journal.

        Only fees and their reversals count: what is paid out of the revenue is no fee.

        Raises `InvalidType`, `InvalidValue`, `UnknownSequence`, `JournalCorrupt`.
        """

        def told(chronicle: Chronicle) -> list[FeeTotal]:
            span = span_of(chronicle, since, until)
            accounts = self._fee_accounts()  # again, as for statements
            count: dict[str, int] = {}
            running = Running()
            for movement in chronicle.movements(accounts, after_sequence=span.first - 1):
                if movement.sequence > span.last:
                    break
                if movement.intent is TransactionIntent.FEE and span.takes(movement.effective_at):
                    running.take([movement])
                    for account in movement.changes:
                        count[account] = count.get(account, 0) + 1
            return [_fee_total(text, count[text], running.units(text)) for text in accounts if text in count]

        return Table(self._told(told, accounts=self._fee_accounts()), row_type=FeeTotal)

    # ------------------------------------------------------------------ for the other questions

    def _units_as_of(self, accounts: Sequence[str], as_of: PointInTime) -> dict[str, int]:
        """Give the balances of accounts as of a point in time; those that nothing named are not there."""
        return self._told(lambda told: told.units_of(accounts, cut_of(told, as_of)), accounts=accounts)

    def _all_units_as_of(self, prefix: str, as_of: PointInTime) -> dict[str, int]:
        """Give the balance of every account with a prefix that was named by a point in time."""
        return self._told(lambda told: told.units(prefix, cut_of(told, as_of)), prefix=prefix)

    def _matching(
        self,
        *,
        intent: TransactionIntent | None,
        correlation_id: str | None,
        metadata: FrozenMap,
        after_sequence: int,
        limit: int | None,
    ) -> list[JournalEntry]:
        """Find the entries that have all that was asked for, in journal order."""
        wanted = {name: canonical_text(value) for name, value in metadata.items()}
        sought = [f"{encode_string(name)}:{text}" for name, text in wanted.items()]
        sought += [f'"intent":"{intent.value}"'] if intent is not None else []
        sought += [f'"correlation_id":{encode_string(correlation_id)}'] if correlation_id is not None else []
        spelled = [text.encode() for text in sought]

        def fits(line: JournalLine) -> TypeGuard[JournalEntry]:
            return (
                isinstance(line, JournalEntry)
                and (intent is None or line.intent is intent)
                and (correlation_id is None or line.correlation_id == correlation_id)
                and all(
                    name in line.metadata and canonical_text(line.metadata[name]) == text
                    for name, text in wanted.items()
                )
            )

        def candidates(told: Chronicle) -> Iterator[JournalLine]:
            if told.index is not None:
                after = after_sequence
                while page := told.index.find(
                    intent=intent,
                    correlation_id=correlation_id,
                    metadata=metadata,
                    after_sequence=after,
                    until_sequence=told.reach.sequence,
                    limit=_FIND_PAGE if limit is None else min(limit, _FIND_PAGE),
                ):
                    yield from self._lines_at(page)
                    after = page[-1]
            for head, data in told.later():
                # A line is spelled canonically, so one that fits has all that is sought in these very bytes.
                if head.sequence > after_sequence and all(text in data for text in spelled):
                    yield decode_line(data)

        return self._told(lambda told: list(islice(filter(fits, candidates(told)), limit)), accounts=())

    def verified_lines(self, *, after: Head) -> Iterator[VerifiedLine]:
        """Give the durable lines behind a position, for a projection that stands there.

        Raises `ProjectionMismatch` when that is no position of this journal, and `JournalCorrupt` when a
        line is no longer what it was when it was verified.
        """
        if not isinstance(after, Head):
            raise InvalidType(f"after is a Head, not {excerpt(after)}")
        check_sequence(after.sequence, minimum=0)
        with self._source.reading() as view:
            head = view.head
        from bibank.projection.sources import check_reaches, check_same_history

        check_reaches(after, head)
        check_same_history(after, self._head_at(after.sequence).hash)
        return self._verified_lines(after, head)

    def _verified_lines(self, after: Head, head: Head) -> Iterator[VerifiedLine]:
        from bibank.projection.verified import VerifiedLine

        prev_hash = after.hash
        for found, data in self._rechecked(after, head=head):
            yield VerifiedLine(found.sequence, prev_hash, found.hash, data)
            prev_hash = found.hash

    def _head_at(self, sequence: int) -> Head:
        """Tell where the journal stood after a line; 0 is before the first."""
        if not sequence:
            return Head()
        line = self._line_at(sequence)
        return Head(line.sequence, line.hash)

    def _lines_at(self, sequences: Sequence[int]) -> Iterator[JournalLine]:
        """Give the lines of ascending sequences: one after the other where they are near, else one by one."""
        first, last = sequences[0], sequences[-1]
        if last - first >= _NEAR * len(sequences):
            yield from map(self._line_at, sequences)
            return
        wanted = set(sequences)
        with self._source.reading() as view:
            store, ledger_id = self._source.store, view.machine.ledger_id_at
            stored = store.read(after_sequence=first - 1)
        for sequence, data in zip(range(first, last + 1), stored, strict=False):
            if sequence in wanted:
                yield next(
                    checked_lines(
                        iter([data]), first=sequence, last=sequence, ledger_id=ledger_id, place=Placer(store)
                    )
                )

    def _line_at(self, sequence: int) -> JournalLine:
        return next(self._lines(sequence - 1, until_sequence=sequence))

    def _lines(self, after_sequence: int, *, until_sequence: int | None = None) -> Iterator[JournalLine]:
        """Give the durable lines after a sequence; `JournalCorrupt` when they are no longer there."""
        with self._source.reading() as view:
            last = view.head.sequence if until_sequence is None else until_sequence
            store = self._source.store
            lines = store.read(after_sequence=after_sequence)
            ledger_id = view.machine.ledger_id_at
        yield from checked_lines(
            lines, first=after_sequence + 1, last=last, ledger_id=ledger_id, place=Placer(store)
        )

    def _rechecked(self, after: Head, *, head: Head) -> StoredLines:
        """Give the lines from one position to another, undecoded; `JournalCorrupt` as above."""
        with self._source.reading() as view:
            store = self._source.store
            lines = store.read(after_sequence=after.sequence)
            ledger_id = view.machine.ledger_id_at
        yield from rechecked(
            lines, after=after, until_sequence=head.sequence, ledger_id=ledger_id, place=Placer(store)
        )

    # ------------------------------------------------------------------ whom to ask

    def _told(
        self, question: Callable[[Chronicle], T], *, prefix: str = "", accounts: Sequence[str] | None = None
    ) -> T:
        """Ask the projection and the lines behind it, or the journal alone where the projection is of no use.

        It is of use when it stands at a line of this journal and, with the lines behind it, comes to the
        balances in memory; compared are the accounts that are named, or those with the prefix.
        """
        try:
            books = self._books()
            if books is not None:
                with closing(books), books.steadily():
                    return question(self._indexed(books, prefix=prefix, accounts=accounts))
        except (ProjectionMismatch, HeadConflict, StoreUnavailable) as error:
            logger.warning("the journal is read in place of the projection: %s", error)
        with self._source.reading() as view:
            head = view.head
        return question(Chronicle(head, partial(self._rechecked, head=head), self._line_at))

    def _indexed(
        self, books: SqliteBooks, *, prefix: str = "", accounts: Sequence[str] | None = None
    ) -> Chronicle:
        """Let the books tell what they hold, up to the last durable line.

        Raises `ProjectionMismatch` when they are of another history, or come to other balances.
        """
        with self._source.reading() as view:
            head = view.head
            texts = [account.text for account in view.accounts(prefix)] if accounts is None else accounts
            now = {text: view.units(text) for text in texts}
        later = partial(self._rechecked, head=head)
        chronicle = Chronicle(head, later, self._line_at, index=books, reach=self._reach(books, head))
        if texts and not chronicle.agrees(now, prefix=prefix, accounts=accounts):
            raise ProjectionMismatch("its balances are not those of the journal; rebuild it")
        return chronicle

    def _reach(self, books: SqliteBooks, head: Head) -> Head:
        """Find the line up to which the books tell this history; `ProjectionMismatch` where it is another.

        A reader that lags has books that are ahead of it; they still tell what was at its own last line.
        """
        reach = books.position
        if reach.sequence <= head.sequence:
            if reach != self._head_at(reach.sequence):
                raise ProjectionMismatch("it is of another history; rebuild it")
            return reach
        newest = next(filter(None, map(self._movement_at, range(head.sequence, 0, -1))))
        told = books.movements(
            list(newest.changes), after_sequence=newest.sequence - 1, until_sequence=newest.sequence
        )
        if books.ledger_id != self._source.machine.ledger_id or list(told) != [newest]:
            raise ProjectionMismatch("it is ahead of this journal, and of another history; rebuild it")
        return head

    def _movement_at(self, sequence: int) -> Movement | None:
        """Tell what the entry of a line did; None where the line is a record."""
        (stored,) = self._rechecked(self._head_at(sequence - 1), head=self._head_at(sequence))
        return stored_movement(stored[1])

    def _check_books(self, books: SqliteBooks) -> None:
        """Demand that the books, with the lines behind them, come to every balance; `ProjectionMismatch`."""
        with books.steadily():
            self._indexed(books)

    def _books(self) -> SqliteBooks | None:
        """Open the home's projection, if it has one; it is made elsewhere."""
        try:
            if self._home is None or not self._home.projection.is_file():
                return None
        except OSError as error:
            raise StoreUnavailable(f"cannot look for {self._home}: {error.strerror}") from error
        from bibank.projection.books import SqliteBooks

        return SqliteBooks(self._home.projection, busy_timeout_seconds=_WAIT_SECONDS)

    def _fee_accounts(self) -> list[str]:
        """Name the accounts of all fees, sorted."""
        with self._source.reading() as view:
            return [account.text for account in view.accounts(_FEE_ACCOUNTS)]

    def _pots(self, owner: Owner, asset: str | None) -> list[Pot]:
        """Say what a statement is about."""
        if isinstance(owner, AccountKey):
            if asset is not None and asset != owner.asset:
                raise InvalidValue(f"{owner} is an account in {owner.asset}, not in {excerpt(asset)}")
            return [Pot(asset=owner.asset, available=owner.text, pending=None)]
        prefix = f"LIAB:USER:{owner_id(owner)}:"
        if asset is not None:
            assets = {check_asset(asset)}
        else:
            with self._source.reading() as view:
                assets = {account.klass.asset for account in view.accounts(prefix)}
        return [
            Pot(
                asset=found,
                available=f"{prefix}{found}:{AVAILABLE}",
                pending=f"{prefix}{found}:{LOCKED}",
            )
            for found in sorted(assets)
        ]


def _fee_total(text: str, entries: int, units: int) -> FeeTotal:
    account = AccountKey(text)
    return FeeTotal(
        kind=_KINDS.get(account.sub_account),
        asset=account.asset,
        entries=entries,
        total=SignedAmount.from_units(units),
    )
