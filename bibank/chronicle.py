"""The chronicle: what happened in a ledger, told by an index as far as it reaches, by the journal after that.

The index is disposable, and may stand anywhere: whatever it does not hold yet is read from the journal, so
an answer is the same with it, without it, and while it is on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import attrs

from bibank.journal.codec import decode_line
from bibank.journal.history import Movement, Running, stored_movement, trade_line
from bibank.model.entry import JournalEntry, TransactionIntent
from bibank.model.json_value import JsonValue
from bibank.model.lines import Head
from bibank.model.record import JournalLine
from bibank.model.statement import TradeLine

_TRADE = b'"intent":"trade"'

_LOOKED_FOR = 16
"""Accounts that are looked for in a line sooner than the line is read."""

_TRADE_PAGE = 1024

StoredLines = Iterator[tuple[Head, bytes]]
"""Lines, each with where the journal stands after it."""


class Index(Protocol):
    """What an index of the first lines of a journal answers; see `bibank.projections.SqliteBooks`."""

    def movements(
        self, accounts: Sequence[str], *, after_sequence: int = 0, until_sequence: int | None = None
    ) -> Iterator[Movement]:
        """Give what entries between two lines, the last one included, did to these accounts."""

    def units_at(self, prefix: str, sequence: int) -> dict[str, int]:
        """Give the balances after a line of the accounts that some line up to it names."""

    def units_of(self, accounts: Sequence[str], sequence: int) -> dict[str, int]:
        """Give the balances of exactly these accounts."""

    def last_recorded(self, moment: datetime) -> int:
        """Name the last entry that was recorded by a moment; 0 for none."""

    def units_effective(self, prefix: str, moment: datetime, *, until_sequence: int) -> dict[str, int]:
        """Give the balances that the entries make which count by a moment."""

    def find(
        self,
        *,
        intent: TransactionIntent | None,
        correlation_id: str | None,
        metadata: Mapping[str, JsonValue],
        after_sequence: int,
        until_sequence: int | None = None,
        limit: int | None = None,
    ) -> list[int]:
        """Name the entries that may be meant; whoever asks looks at each."""

    def trades(
        self,
        *,
        user: str | None,
        pair: tuple[str, str] | None,
        after_sequence: int,
        until_sequence: int | None = None,
        limit: int | None = None,
    ) -> list[TradeLine]:
        """List trades."""


@attrs.frozen(kw_only=True)
class Cut:
    """Which entries count: those up to a line, or of these the ones that are effective by a moment."""

    sequence: int
    effective: datetime | None = None

    def takes(self, movement: Movement) -> bool:
        """Tell whether an entry counts."""
        return movement.sequence <= self.sequence and (
            self.effective is None or movement.effective_at <= self.effective
        )


class Chronicle:
    """The history of a ledger up to `head`. `lines` gives what stands behind a position, `line` one line."""

    def __init__(
        self,
        head: Head,
        lines: Callable[[Head], StoredLines],
        line: Callable[[int], JournalLine],
        *,
        index: Index | None = None,
        reach: Head | None = None,
    ) -> None:
        self.head = head
        self._lines = lines
        self._line = line
        self.index = index
        self.reach = Head() if reach is None else reach
        """The last line that the index holds."""

    def later(self) -> StoredLines:
        """Give the lines that the index does not hold."""
        return self._lines(self.reach)

    def later_movements(self, accounts: Sequence[str] | None = None) -> Iterator[Movement]:
        """Give what the entries did that the index does not hold; of some accounts, or of all."""
        wanted = None if accounts is None else frozenset(accounts)
        sought = [f'"{account}"'.encode() for account in accounts or ()]
        looks_first = wanted is not None and len(sought) <= _LOOKED_FOR
        for _, data in self.later():
            if looks_first and not any(text in data for text in sought):
                continue  # a line that does not spell the account does not name it
            found = stored_movement(data)
            if found is None:
                continue
            if wanted is not None:
                changes = {text: delta for text, delta in found.changes.items() if text in wanted}
                if not changes:
                    continue
                found = attrs.evolve(found, changes=changes)
            yield found

    def end_of_batch(self, sequence: int) -> int:
        """Give a sequence that ends a batch, or the end of the batch before the one that it is inside of."""
        if not sequence:
            return 0
        mark = self._line(sequence).batch
        return sequence if sequence == mark.first + mark.size - 1 else mark.first - 1

    def last_recorded(self, moment: datetime) -> int:
        """Name the last entry that was recorded by a moment; 0 for none."""
        last = 0 if self.index is None else self.index.last_recorded(moment)
        for found in self.later_movements():
            if found.timestamp > moment:
                break
            last = found.sequence
        return last

    def units(self, prefix: str, cut: Cut) -> dict[str, int]:
        """Give the balance of every account with a prefix that an entry names which counts."""
        running = Running()
        if self.index is not None:
            reach = min(cut.sequence, self.reach.sequence)
            if cut.effective is None:
                running = Running(self.index.units_at(prefix, reach))
            else:
                running = Running(self.index.units_effective(prefix, cut.effective, until_sequence=reach))
        for found in self.later_movements() if cut.sequence > self.reach.sequence else ():
            if cut.takes(found):
                for account, delta in found.changes.items():
                    if account.startswith(prefix):
                        running.add(account, delta)
            elif found.sequence > cut.sequence:
                break
        return running.all()

    def units_of(self, accounts: Sequence[str], cut: Cut) -> dict[str, int]:
        """Give the balances of these accounts, of those that an entry names which counts."""
        running = Running()
        if self.index is not None:
            reach = min(cut.sequence, self.reach.sequence)
            if cut.effective is None:
                running = Running(self.index.units_of(accounts, reach))
            else:
                for account in accounts:
                    found = self.index.units_effective(account, cut.effective, until_sequence=reach)
                    if account in found:  # others may have longer keys
                        running.add(account, found[account])
        for movement in self.later_movements(accounts) if cut.sequence > self.reach.sequence else ():
            if movement.sequence > cut.sequence:
                break
            if cut.takes(movement):
                running.take([movement])
        return running.all()

    def agrees(self, now: Mapping[str, int], *, prefix: str, accounts: Sequence[str] | None) -> bool:
        """Tell whether the index and the lines behind it come to the balances that are known."""
        cut = Cut(sequence=self.head.sequence)
        told = self.units(prefix, cut) if accounts is None else self.units_of(accounts, cut)
        if accounts is None:
            return told == now
        return all(told.get(account, 0) == units for account, units in now.items())

    def trades(
        self, *, user: str | None, pair: tuple[str, str] | None, after_sequence: int, until_sequence: int
    ) -> Iterator[TradeLine]:
        """Give the trades of a user and a pair between two lines, the last one included."""
        if self.index is not None:
            reach, after = min(until_sequence, self.reach.sequence), after_sequence
            while page := self.index.trades(
                user=user, pair=pair, after_sequence=after, until_sequence=reach, limit=_TRADE_PAGE
            ):
                yield from page
                after = page[-1].sequence
        for head, data in self.later() if until_sequence > self.reach.sequence else ():
            if head.sequence > until_sequence:
                break
            if head.sequence > after_sequence and _TRADE in data:
                line = decode_line(data)
                if isinstance(line, JournalEntry) and line.intent is TransactionIntent.TRADE:
                    found = trade_line(line)
                    is_theirs = user is None or user in (found.maker, found.taker)
                    if is_theirs and (pair is None or pair == (found.base, found.quote)):
                        yield found

    def unfold(self, accounts: Sequence[str], sequence: int) -> tuple[Running, Iterator[Movement]]:
        """Give the balances of accounts after a line, and what is done to them later, in journal order.

        The balances are those meant once the first movement was asked for.
        """
        running = Running()
        begun = 0
        if self.index is not None:
            begun = min(sequence, self.reach.sequence)
            running = Running(self.index.units_of(accounts, begun))
        return running, self._unfolded(accounts, running, begun, sequence)

    def _unfolded(
        self, accounts: Sequence[str], running: Running, begun: int, sequence: int
    ) -> Iterator[Movement]:
        for found in self.movements(accounts, after_sequence=begun):
            if found.sequence <= sequence:
                running.take([found])
            else:
                yield found

    def movements(self, accounts: Sequence[str], *, after_sequence: int = 0) -> Iterator[Movement]:
        """Give what later entries did to accounts, in journal order."""
        if self.index is not None:
            yield from self.index.movements(
                accounts, after_sequence=after_sequence, until_sequence=self.reach.sequence
            )
        for found in self.later_movements(accounts):
            if found.sequence > after_sequence:
                yield found
