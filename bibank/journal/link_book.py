"""The link book: what earlier lines still mean for later ones.

Open holds, reversals, keys of requests; and in books of their own proposals, overrides, attestations. A
fold over the journal that notes every line with links and judges none. Each change can be taken back
until it is forgotten, which is when it is durable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bibank.journal.approvals import ApprovalBook
from bibank.journal.attestations import AttestationBook
from bibank.journal.change_log import ChangeLog
from bibank.journal.key_index import KeyIndex
from bibank.journal.overrides import OverrideBook
from bibank.model.account import Side
from bibank.model.entry import Posting
from bibank.model.hold import Hold
from bibank.model.links import EntryLinks
from bibank.model.money import Money


class LinkBook:
    """Open holds by sequence, reversed units by sequence, and the index of keys."""

    def __init__(self, salt: bytes | None = None) -> None:
        self._holds: dict[int, Hold] = {}
        self._paid: dict[int, int] = {}
        """What a batch in progress has paid from holds that it will end."""
        self._reversed: dict[int, int] = {}
        self._fresh_keys: dict[str, int] = {}
        """Keys of lines that may still be taken back."""
        self.keys = KeyIndex(salt)
        """Keys of lines that are durable."""
        self.log = ChangeLog()
        """Every change here, and of whatever else is taken back with it."""
        self.approvals = ApprovalBook(self.log)
        self.overrides = OverrideBook(self.log)
        self.attestations = AttestationBook(self.log)

    def trial(self) -> LinkBook:
        """Give a book for judging what may follow by the format alone, which leaves this one as it is.

        Holds, reversals and keys are no question of the format, and are left out.
        """
        other = LinkBook()
        other.approvals = self.approvals.copy(other.log)
        other.overrides = self.overrides.copy(other.log)
        other.attestations = self.attestations.copy(other.log)
        return other

    # ------------------------------------------------------------------ looking

    def hold(self, sequence: int) -> Hold | None:
        """Find an open hold by the line that opened it."""
        return self._holds.get(sequence)

    def remaining(self, hold: Hold) -> int:
        """Tell how many units of an open hold are still there: all of them between two batches."""
        return hold.money.amount.units - self._paid.get(hold.id, 0)

    def reversed_units(self, sequence: int) -> int:
        """Tell how much of a line was reversed, in units of its first posting."""
        return self._reversed.get(sequence, 0)

    def bearers(self, key: str) -> Iterator[int]:
        """Give the sequences of lines that may bear a key, durable or not."""
        fresh = self._fresh_keys.get(key)
        if fresh is not None:
            yield fresh
        yield from self.keys.candidates(key)

    def durable_holds(self) -> list[Hold]:
        """List the holds that are open where nothing can be taken back any more, oldest first."""
        holds: dict[int, object] = dict(self._holds)
        for values, key, before in reversed(self.log):
            if values is self._holds:
                assert isinstance(key, int)
                holds[key] = before
        found = [hold for hold in holds.values() if isinstance(hold, Hold)]
        return sorted(found, key=lambda hold: hold.id)

    # ------------------------------------------------------------------ noting

    def note(self, sequence: int, postings: Sequence[Posting], links: EntryLinks) -> None:
        """Take note of an entry with links that was proposed or read."""
        if links.idempotency is not None:
            self.note_key(links.idempotency.key, sequence)
        if links.opens is not None:
            opened = postings[0]
            self.log.set(
                self._holds,
                sequence,
                Hold(
                    id=sequence,
                    account=opened.account,
                    money=Money(opened.amount, opened.account.asset),
                    payee=links.opens.payee,
                    expires_at=links.opens.expires_at,
                ),
            )
        elif links.hold is not None:
            hold = self._holds.get(links.hold)
            if hold is not None:
                self._pay(hold, sum(p.amount.units for p in postings if p.side is Side.DEBIT))
        elif links.reverses is not None:
            before = self._reversed.get(links.reverses, 0)
            self.log.set(self._reversed, links.reverses, before + postings[0].amount.units)
        elif links.approved is not None:
            self.approvals.carry_out(links.approved.sequence)

    def note_key(self, key: str, sequence: int) -> None:
        """Take note of the line that bears a key."""
        self.log.set(self._fresh_keys, key, sequence)

    def _pay(self, hold: Hold, units: int) -> None:
        if units < self.remaining(hold):
            self.log.set(self._paid, hold.id, self._paid.get(hold.id, 0) + units)
            return
        self.log.remove(self._paid, hold.id)
        self.log.remove(self._holds, hold.id)

    # ------------------------------------------------------------------ taking back

    def mark(self) -> int:
        """Remember what is noted now."""
        return self.log.mark()

    def forget(self, mark: int) -> None:
        """Make final what was noted at a mark."""
        for values, key, _ in self.log.forget(mark):
            if values is self._fresh_keys:
                assert isinstance(key, str)
                sequence = self._fresh_keys.pop(key, None)
                if sequence is not None:
                    self.keys.add(key, sequence)

    def rollback(self, mark: int) -> None:
        """Return to what was noted at a mark."""
        self.log.rollback(mark)
