"""The machine: a pure state that proposes new lines and accepts old ones, and nothing else.

`propose` takes drafts and a time, judges them one after the other, and gives sealed lines: all of
a batch, or a typed error and no change. `accept` takes the bytes of a stored line and moves the
same state, judging only by what the format fixes for ever: spelling, chain, marks, intent table,
sums, range. What `propose` seals, `accept` takes; the tests hold one to the other.

Balances here may run ahead of the disk. The shell shows them only once they are durable.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs

from bibank.errors import (
    BibankError,
    IntegrityError,
    IntentViolation,
    InvalidValue,
    JournalCorrupt,
    Refused,
)
from bibank.journal.account_records import check_empty
from bibank.journal.accounts import Account, AccountBook
from bibank.journal.approvals import check_approved
from bibank.journal.batches import Draft, PreparedBatch, SealedBatch, stamp_draft
from bibank.journal.effects import Parts, take_effect
from bibank.journal.encoder import _amount_texts, amount_text, lone_mark_json
from bibank.journal.gate import Moves, Past, RiskGate
from bibank.journal.genesis import check_founding, check_place, founded_id
from bibank.journal.link_book import LinkBook
from bibank.journal.moves import netted, out_of_range
from bibank.journal.position import Position
from bibank.journal.reader import LineReader
from bibank.journal.rule_sets import RuleBook
from bibank.journal.sealing import seal_batch, seal_entry
from bibank.journal.trust import TrustGate
from bibank.model.account import AccountKey, Side
from bibank.model.amount import MAX_UNITS, MIN_UNITS, SignedAmount
from bibank.model.entry import JournalEntry, TransactionIntent, UnsignedEntry, tied_to_trade
from bibank.model.json_value import canonical_text
from bibank.model.keyring import Keyring
from bibank.model.lines import Head
from bibank.model.links import NO_LINKS
from bibank.model.record import RecordKind, UnsignedRecord
from bibank.model.timestamp import check_utc, format_timestamp

_DEBIT = Side.DEBIT
_GENESIS = TransactionIntent.GENESIS
_ADJUSTMENT = TransactionIntent.ADJUSTMENT
_FEE = TransactionIntent.FEE
_WITHDRAWAL = TransactionIntent.WITHDRAWAL
_TRADE = TransactionIntent.TRADE


@attrs.frozen(kw_only=True)
class BalanceChange:
    """What a proposal would do to one account."""

    account: AccountKey
    before: SignedAmount
    after: SignedAmount


@attrs.frozen
class MachineMark:
    """Where a machine stands, for taking back what comes after: its position, its rules, its links."""

    position: Position
    rules: int
    links: int


class LedgerMachine:
    """The state of one ledger: position, accounts, links, the rules' memory; `salt` is the key index's."""

    def __init__(self, gate: RiskGate, trust: TrustGate, *, salt: bytes | None = None) -> None:
        self._gate = gate
        self._trust = trust
        self.forks: tuple[tuple[int, str], ...] = ()
        """Where this ledger went on as another one, and as which."""
        self.book = AccountBook()
        self.links = LinkBook(salt)
        self.position = Position()
        self._past = Past(self.links, None)
        self._overrides = self.links.overrides.open
        self.cover: str | None = None
        """What the marks of sealed lines say of their signatures: "group", or nothing."""
        self._reader = LineReader(self.book, self.links, self.position, gate, trust)

    @property
    def entries(self) -> int:
        """How many entries the journal holds."""
        return self._reader.entries

    @property
    def records(self) -> int:
        """How many records the journal holds."""
        return self._reader.records

    @property
    def rules(self) -> RuleBook:
        """The rule sets that the ledger adopted."""
        return self._reader.rules

    @property
    def ledger_id(self) -> str:
        """The ledger's id; empty before genesis."""
        return self._reader.fork_id or self._reader.ledger_id

    def ledger_id_at(self, sequence: int) -> str:
        """Tell under which ledger id the line of a sequence is hashed: a fork's lines have another."""
        return next((found for at, found in reversed(self.forks) if sequence > at), self._reader.ledger_id)

    def fork(self, ledger_id: str) -> None:
        """Go on as another ledger, whose lines have its id and need no signature."""
        self.close_group()
        self.position.cover, self.position.unsigned = None, False
        self.forks = (*self.forks, (self.position.sequence, ledger_id))
        self._reader.fork_id = ledger_id
        self._trust.release(ledger_id=ledger_id)

    @property
    def keyring(self) -> Keyring:
        """The keyring in force for the next line."""
        return self._trust.keyring

    @property
    def head(self) -> Head:
        """The last line's sequence and hash."""
        return self.position.head

    # ------------------------------------------------------------------ proposing

    def propose(self, batch: PreparedBatch, now: datetime) -> SealedBatch:
        """Stamp, judge, seal and apply one batch, or raise and change nothing.

        `now` is an aware UTC time; the stamp is the later of it and the last line's. Raises
        `Refused` kinds, or `InvalidEntry` kinds for a genesis that is missing, or not the first.
        """
        drafts = batch.drafts
        if not self.position.sequence:
            check_founding(drafts)
        timestamp, moment = self._stamp(now)
        if len(drafts) == 1 and not self._gate.remembers:
            draft = drafts[0]
            if type(draft) is UnsignedEntry and (draft.links is NO_LINKS or draft.links.is_plain):
                return self._propose_one(drafts, draft, timestamp, moment)
        sealed = self._propose_many(batch, timestamp, moment)
        self._reader.count(drafts)
        self.position.step(
            sealed.digests[-1], timestamp, moment, sealed.group, sum(map(len, sealed.lines)), len(drafts)
        )
        return sealed

    def _propose_one(
        self, drafts: tuple[Draft, ...], entry: UnsignedEntry, timestamp: str, moment: datetime
    ) -> SealedBatch:
        """The everyday case: nothing is applied before it is sealed, so nothing has to be undone."""
        position = self.position
        sequence = position.sequence + 1
        fresh: dict[str, Account] = {}
        postings, moves = self._judge_entry(entry, None, sequence, moment, fresh)
        group = position.next_group(1, timestamp[:10])
        mark = lone_mark_json(sequence, group, self.cover)
        line, digest = seal_entry(
            entry,
            postings,
            self._reader.fork_id or self._reader.ledger_id,
            sequence,
            position.hash,
            timestamp,
            mark,
        )
        sealed = SealedBatch(
            drafts, [line], (digest,), sequence, position.hash, group, timestamp, moment, self.cover
        )
        for account, delta in moves:
            account.balance += delta
        if fresh:
            sealed.made = tuple(fresh.values())
            self.book.add(sealed.made)
        if entry.links is not NO_LINKS:
            self.links.note(sequence, entry.postings, entry.links)
        if self._overrides:
            self.links.overrides.use(entry, now=moment)
        self._reader.entries += 1
        position.step(digest, timestamp, moment, group, len(line))
        return sealed

    def _propose_many(self, batch: PreparedBatch, timestamp: str, moment: datetime) -> SealedBatch:
        moves: list[tuple[Account, int]] = []
        made: list[Account] = []
        rules, links = self._gate.mark(), self.links.mark()
        try:
            drafts, bodies = self._judge(batch, moment, moves, made)
            sealed = seal_batch(
                drafts,
                bodies,
                position=self.position,
                ledger_id=self.ledger_id or founded_id(drafts[0]),
                cover=self.cover,
                timestamp=timestamp,
                moment=moment,
            )
        except BaseException:
            self._undo(moves, made, rules, links)
            raise
        sealed.made = made
        return sealed

    def mark(self) -> MachineMark:
        """Remember where the ledger stands, for :meth:`take_back`."""
        return MachineMark(self.position.copy(), self._gate.mark(), self.links.mark())

    def take_back(self, group: Sequence[SealedBatch], mark: MachineMark) -> None:
        """Undo the batches sealed since a mark, none of which was written: as if never proposed."""
        self.position.restore(mark.position)
        for sealed in reversed(group):
            self._undo(self.moves_of(sealed.drafts), sealed.made, mark.rules, mark.links)
            self._reader.uncount(sealed.drafts)

    def check_signed(self, sealed: SealedBatch) -> None:
        """Demand of a batch that was signed what reading will demand of it; `InvalidValue` says what lacks.

        A change of the keyring is in force from its own line on, and may end the key that signed it.
        """
        enough = True
        for index in range(len(sealed.lines)):
            enough = self._trust.check(sealed.signatures(index), sequence=sealed.first + index)
            if not enough and sealed.cover is None:
                break
        if not enough:
            raise InvalidValue("the ledger's signer could not sign this line under the keyring that it makes")

    def moves_of(self, drafts: Sequence[Draft]) -> list[tuple[Account, int]]:
        """Give the moves that sealed drafts made: worked out again, because they are seldom asked for."""
        moves = []
        for draft in drafts:
            for posting in draft.postings if isinstance(draft, UnsignedEntry) else ():
                account = self.book.find(posting.account.text)
                assert account is not None, "a sealed entry's accounts are in the book"
                sign = account.klass.debit_sign if posting.side is _DEBIT else -account.klass.debit_sign
                moves.append((account, sign * posting.amount.units))
        return moves

    def joins(self, size: int, now: datetime) -> bool:
        """Tell whether a batch of `size` lines proposed now would stand in the open write group."""
        position = self.position
        return position.group > 0 and position.next_group(size, self._stamp(now)[0][:10]) == position.group

    def close_group(self) -> None:
        """Close the write group: the next line starts another one."""
        self.position.group = 0

    def forget(self, mark: MachineMark) -> None:
        """Make final what was sealed before a mark: it is durable and cannot be taken back."""
        self._gate.forget(mark.rules)
        self.links.forget(mark.links)

    def settle(self) -> None:
        """Close the write group and make everything final."""
        self.close_group()
        self._gate.forget(self._gate.mark())
        self.links.forget(self.links.mark())

    def preview(self, batch: PreparedBatch, now: datetime) -> tuple[BalanceChange, ...]:
        """Stamp and judge as :meth:`propose` does, seal nothing, and leave no trace."""
        moves: list[tuple[Account, int]] = []
        made: list[Account] = []
        rules, links = self._gate.mark(), self.links.mark()
        try:
            if not self.position.sequence:
                check_founding(batch.drafts)
            _, moment = self._stamp(now)
            self._judge(batch, moment, moves, made)
            return tuple(
                BalanceChange(
                    account=account.key,
                    before=SignedAmount.from_units(account.balance - delta),
                    after=SignedAmount.from_units(account.balance),
                )
                for account, delta in netted(moves)
            )
        finally:
            self._undo(moves, made, rules, links)

    def _stamp(self, now: datetime) -> tuple[str, datetime]:
        position = self.position
        if now is position.moment:
            return position.timestamp, now
        moment = check_utc(now)
        if position.sequence and moment <= position.moment:
            return position.timestamp, position.moment
        return format_timestamp(moment), moment

    def _judge(
        self,
        batch: PreparedBatch,
        moment: datetime,
        moves: list[tuple[Account, int]],
        made: list[Account],
    ) -> tuple[tuple[Draft, ...], list[str]]:
        """Judge and apply drafts in order; give them as they are sealed, and their bodies as JSON.

        A body is the postings of an entry. A fee is tied to the trade before it. `moves` and `made` take
        what may have to be undone: changes, and accounts new to the book.
        """
        fresh: dict[str, Account] = {}
        drafts: list[Draft] = []
        bodies: list[str] = []
        gate, originals = self._gate, batch.originals
        sequence = self.position.sequence
        trade = 0
        cited: list[int] = []
        for draft in batch.drafts:
            sequence += 1
            if isinstance(draft, UnsignedEntry):
                links = draft.links
                if draft.intent is _TRADE:
                    trade = sequence
                elif trade and draft.intent is _FEE and links.reverses is None:
                    draft = tied_to_trade(draft, trade)
                original = originals.get(links.reverses) if links.reverses is not None else None
                postings, steps = self._judge_entry(draft, original, sequence, moment, fresh)
                for account, delta in steps:
                    account.balance += delta
                    moves.append((account, delta))
                if fresh:  # the next entry's rules see the accounts that this one made
                    made.extend(fresh.values())
                    self.book.add(fresh.values())
                    fresh.clear()
                bodies.append(postings)
                if self._overrides:
                    self.links.overrides.use(draft, now=moment)
                if links is not NO_LINKS:
                    self.links.note(sequence, draft.postings, links)
                    if links.hold is not None:
                        cited.append(links.hold)
            else:
                self._take_record(draft, sequence, moment)
                bodies.append(canonical_text(draft.body))
            drafts.append(draft)
            if gate.remembers:
                gate.apply(stamp_draft(draft, sequence, moment))
        refusal = gate.judge_end(cited, self.links) if cited else None
        if refusal is not None:
            raise refusal
        self.links.approvals.check_end()
        return tuple(drafts), bodies

    def _take_record(self, record: UnsignedRecord, sequence: int, moment: datetime) -> None:
        """Let a record take effect; a batch that fails rolls it back."""
        check_place(record.kind, sequence)
        begins = sequence == self.position.sequence + 1
        if record.kind is RecordKind.KEYRING_CHANGED and self.cover is not None and not begins:
            raise InvalidValue("under group cover a keyring change begins its write group")
        parts = Parts(self._trust, self.rules, self.book, self.links)
        take_effect(record, parts, sequence=sequence, moment=moment, ledger_id=self.ledger_id)
        if record.kind is RecordKind.ACCOUNT_CLOSED:
            check_empty(AccountKey(record.subject), self.book)
        if record.kind is RecordKind.RULES_ADOPTED:
            self._gate.adopt(self.rules.current)

    def _judge_entry(
        self,
        entry: UnsignedEntry,
        original: JournalEntry | None,
        sequence: int,
        moment: datetime,
        fresh: dict[str, Account],
    ) -> tuple[str, Moves]:
        """Judge one entry and change nothing; give its postings as JSON and the moves it makes."""
        intent = entry.intent
        if intent is _GENESIS and sequence != 1:
            raise IntentViolation(intent=intent, reason="only line 1 of a journal is its genesis")
        if intent is _ADJUSTMENT or (
            intent is _WITHDRAWAL and (self._trust.withdrawal_limits or entry.links.approved is not None)
        ):
            check_approved(
                self.links.approvals, entry, entry.links, sequence=sequence, keyring=self._trust.keyring
            )
        find = self.book.find
        fragments = []
        steps = []
        for posting in entry.postings:
            text = posting.account.text
            account = find(text)
            if account is None:
                account = fresh.get(text)
                if account is None:
                    account = fresh[text] = self.book.make(posting.account)
            units = posting.amount.units
            spelled = _amount_texts.get(units) or amount_text(units)
            if posting.side is _DEBIT:
                fragments.append(f'{{"account":"{text}","amount":"{spelled}","side":"debit"}}')
                steps.append((account, units * account.klass.debit_sign))
            else:
                fragments.append(f'{{"account":"{text}","amount":"{spelled}","side":"credit"}}')
                steps.append((account, -units * account.klass.debit_sign))
        moves = steps if len(steps) == 2 and steps[0][0] is not steps[1][0] else netted(steps)
        for account, delta in moves:
            if not MIN_UNITS <= account.balance + delta <= MAX_UNITS:
                raise out_of_range(account, delta)
        past = Past(self.links, original) if entry.links is not NO_LINKS else self._past
        refusal = self._gate.judge(entry, moves, self.book, past=past, sequence=sequence, now=moment)
        if refusal is not None:
            raise refusal
        return ",".join(fragments), moves

    def _undo(self, moves: Moves, made: Sequence[Account], rules: int, links: int) -> None:
        for account, delta in moves:
            account.balance -= delta
        self.book.remove(made)
        self._gate.rollback(rules)
        self.links.rollback(links)
        self._trust.rollback(self.position.sequence)
        self.rules.rollback(self.position.sequence)

    # ------------------------------------------------------------------ accepting

    def accept(self, line: bytes) -> None:
        """Take one stored line, judged by the format alone. Raises `JournalCorrupt`, `UnsupportedFormat`.

        Lines of a batch take effect when the batch is whole: until then `in_batch` is true.
        """
        try:
            self._reader.accept(line)
        except (IntegrityError, Refused):
            raise
        except BibankError as error:
            raise JournalCorrupt(str(error), sequence=self.position.sequence + 1) from error

    def check_end(self) -> None:
        """Demand that the journal may end here: no unfinished batch, no group that lacks its signature."""
        sequence = self.position.sequence + 1
        if self.in_batch:
            raise JournalCorrupt("the last batch is unfinished", sequence=sequence)
        try:
            self.position.check_cover()
        except BibankError as error:
            raise JournalCorrupt(str(error), sequence=self.position.sequence) from error

    @property
    def in_batch(self) -> bool:
        """Whether the last accepted line leaves its batch unfinished."""
        return self.position.batch is not None
