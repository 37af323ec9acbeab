"""Committing: drafts and verbs, alone, in batches, or many at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from bibank.batch import Batch, Item, Keyed, entries_of, entry_of, iterated
from bibank.calls import Call, asked_of_calls, asked_of_drafts, mark_of
from bibank.committer import Committer
from bibank.errors import HoldNotOpen
from bibank.journal import hold_drafts
from bibank.journal.batches import EMPTY_ORIGINALS, PreparedBatch
from bibank.journal.machine import BalanceChange
from bibank.model.entry import JournalEntry, UnsignedEntry
from bibank.model.hold import Hold
from bibank.model.links import IdempotencyMark
from bibank.model.table import Table
from bibank.model.trade import Trade
from bibank.outcomes import Committed, Outcomes
from bibank.queries import Queries
from bibank.sealing import Found
from bibank.verbs import Verbs


class Commits(Queries, Verbs[JournalEntry, tuple[JournalEntry, ...], Trade, Hold]):
    """Everything that writes money. Needs a committer, and the queries for what earlier lines said."""

    _committer: Committer

    def commit(self, entry: UnsignedEntry, *, idempotency_key: str | UUID | None = None) -> JournalEntry:
        """Commit one entry; it is durable when this returns.

        Raises `InvalidInput` or `Refused` kinds, in which case nothing was changed, and
        `StoreError` kinds.
        """
        return self._commit(self._request((entry_of(entry),), idempotency_key)).entry

    def commit_batch(
        self, entries: Iterable[UnsignedEntry], *, idempotency_key: str | UUID | None = None
    ) -> tuple[JournalEntry, ...]:
        """Commit entries all or nothing, each judged against the state left by the one before."""
        return self._commit(self._request(entries_of(entries), idempotency_key)).entries

    def commit_each(self, items: Iterable[Item]) -> Outcomes:
        """Commit many independent entries, or small batches, with as few syncs as possible.

        Each is judged on its own and is either `Committed` or `Refused`; one in `Keyed` bears an
        idempotency key. Malformed items raise `InvalidInput` before anything is committed.
        """
        single = PreparedBatch.single
        batches = [
            single(entry_of(item))
            if isinstance(item, UnsignedEntry) and item.links.reverses is None
            else self._prepare_item(item)
            for item in iterated(items, "items are a sequence of UnsignedEntry, of batches, or of Keyed")
        ]
        return Outcomes(self._committer.commit_each(batches))

    def batch(
        self, *, correlation_id: str | UUID | None = None, idempotency_key: str | UUID | None = None
    ) -> Batch:
        """Start a batch: the verbs of the ledger, committed together when the block ends."""
        trace = self._correlation_id if correlation_id is None else correlation_id
        return Batch(self, correlation_id=trace, idempotency_key=idempotency_key)

    def preview(self, item: Item) -> Table[BalanceChange]:
        """Say what committing an entry or a batch would do to each account, and do nothing.

        Nothing, where its key was used for the same before. Raises what the commit would raise.
        """
        batch = self._prepare_item(item)
        is_done = batch.key is not None and self._committer.find(batch.key) is not None
        return Table(() if is_done else self._committer.preview(batch), row_type=BalanceChange)

    def void_expired_holds(self, *, correlation_id: str | UUID | None = None) -> Outcomes:
        """Give back every hold that has expired by now, each in a batch of its own.

        A hold that somebody else ends meanwhile is left out. What a rule refuses is among the outcomes,
        and the others are given back all the same.
        """
        trace = self._trace(correlation_id)
        now = self._committer.now()
        expired = [hold for hold in self.holds() if hold.expires_at is not None and hold.expires_at <= now]
        outcomes = self.commit_each([hold_drafts.void_hold(hold, correlation_id=trace) for hold in expired])
        return Outcomes(outcome for outcome in outcomes if not isinstance(outcome, HoldNotOpen))

    # ------------------------------------------------------------------ what the verbs come to

    def _commit_calls(self, calls: Iterable[Call], key: str | UUID | None) -> tuple[JournalEntry, ...]:
        """Commit the calls of a batch; for `Batch`."""
        return self._commit(self._request_of_calls(calls, key)).entries

    def _request_of_calls(self, calls: Iterable[Call], key: str | UUID | None) -> PreparedBatch:
        """Prepare the calls of a batch."""
        taken = tuple(calls)
        mark = mark_of(key, asked_of_calls(taken)) if key is not None else None
        drafts = tuple(draft for call in taken for draft in call.drafts)
        originals = {sequence: entry for call in taken for sequence, entry in call.written.originals.items()}
        return self._prepare(drafts, mark, originals)

    def _preview_calls(self, calls: Iterable[Call], key: str | UUID | None) -> Table[BalanceChange]:
        """Say what the calls of a batch would do; for `Batch`."""
        taken = tuple(calls)
        mark = mark_of(key, asked_of_calls(taken)) if key is not None else None
        if not taken or (mark is not None and self._committer.find(mark) is not None):
            return Table((), row_type=BalanceChange)
        drafts = tuple(draft for call in taken for draft in call.drafts)
        return Table(self._committer.preview(self._prepare(drafts)), row_type=BalanceChange)

    def _commit(self, request: PreparedBatch | Found) -> Committed:
        """Commit a batch, unless it is one that was committed before."""
        found = self._committer.commit(request) if isinstance(request, PreparedBatch) else request
        return Committed(found)

    def _request(self, drafts: tuple[UnsignedEntry, ...], key: str | UUID | None) -> PreparedBatch:
        """Prepare drafts that a caller made; reads what they reverse."""
        mark = mark_of(key, asked_of_drafts(drafts)) if key is not None else None
        return self._prepare(drafts, mark)

    def _prepare(
        self,
        drafts: tuple[UnsignedEntry, ...],
        mark: IdempotencyMark | None = None,
        originals: Mapping[int, JournalEntry] = EMPTY_ORIGINALS,
    ) -> PreparedBatch:
        cited = [draft.links.reverses for draft in drafts if draft.links.reverses is not None]
        if not cited and mark is None and len(drafts) == 1:
            return PreparedBatch.single(drafts[0])
        known = {sequence: originals.get(sequence) or self._entry_of(sequence) for sequence in cited}
        return PreparedBatch(drafts, key=mark, originals=known)

    def _prepare_item(self, item: Item) -> PreparedBatch:
        if isinstance(item, UnsignedEntry):
            return self._prepare((entry_of(item),))
        if not isinstance(item, Keyed):
            return self._prepare(entries_of(item))
        drafts = (item.entries,) if isinstance(item.entries, UnsignedEntry) else entries_of(item.entries)
        return self._prepare(entries_of(drafts), mark_of(item.idempotency_key, asked_of_drafts(drafts)))

    def _request_of_call(self, call: Call, key: str | UUID | None) -> PreparedBatch | Found:
        """Prepare what a call comes to, or give what was committed before under its key."""
        mark = mark_of(key, call.asked()) if key is not None else None
        found = self._committer.find(mark) if mark is not None else None
        if found is not None:
            return found
        written = call.written
        return self._prepare(written.drafts, mark, written.originals)

    def _take(self, call: Call, key: str | UUID | None) -> Committed:
        return self._commit(self._request_of_call(call, key))

    def _one(self, call: Call, key: str | UUID | None) -> JournalEntry:
        return self._take(call, key).entry

    def _many(self, call: Call, key: str | UUID | None) -> tuple[JournalEntry, ...]:
        return self._take(call, key).entries

    def _traded(self, call: Call, key: str | UUID | None) -> Trade:
        return trade_of(self._take(call, key))

    def _held(self, call: Call, key: str | UUID | None) -> Hold:
        return hold_of(self._take(call, key))

    def _hold_of(self, hold_id: int) -> Hold:
        with self._committer.reading() as view:
            opened = view.machine.links.hold(hold_id) if type(hold_id) is int else None
        return opened if opened is not None else Hold.of(self._entry_of(hold_id))

    def _entry_of(self, sequence: int) -> JournalEntry:
        entry = self.entry(sequence)
        self._committer.rely_on(entry)
        return entry


def trade_of(committed: Committed) -> Trade:
    """Show what was committed as a trade and its fees."""
    entry, *fees = committed.entries
    return Trade(entry=entry, fees=tuple(fees))


def hold_of(committed: Committed) -> Hold:
    """Show what was committed as a hold."""
    return Hold.of(committed.entry)
