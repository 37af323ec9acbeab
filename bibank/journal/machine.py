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
    ApprovalRequired,
    BalanceOutOfRange,
    BibankError,
    IntegrityError,
    IntentViolation,
    InvalidValue,
    JournalCorrupt,
    Refused,
)
from bibank.journal.accounts import Account, AccountBook
from bibank.journal.batches import Draft, PreparedBatch, SealedBatch, stamp_draft
from bibank.journal.codec import MAX_LINE_BYTES
from bibank.journal.encoder import (
    _amount_texts,
    amount_text,
    entry_hash,
    entry_line,
    lone_mark_json,
    mark_json,
    record_hash,
    record_line,
)
from bibank.journal.gate import Moves, RiskGate
from bibank.journal.genesis import check_founding, check_place, read_adopted
from bibank.journal.position import Position
from bibank.journal.reader import LineReader
from bibank.journal.trust import TrustGate
from bibank.model.account import AccountKey, Side
from bibank.model.amount import MAX_UNITS, MIN_UNITS, SignedAmount
from bibank.model.entry import BatchMark, TransactionIntent, UnsignedEntry
from bibank.model.json_value import canonical_text, encode_string
from bibank.model.lines import Head
from bibank.model.record import RecordKind, UnsignedRecord
from bibank.model.timestamp import check_utc, format_timestamp

_DEBIT = Side.DEBIT
_GENESIS = TransactionIntent.GENESIS
_ADJUSTMENT = TransactionIntent.ADJUSTMENT


@attrs.frozen(kw_only=True)
class BalanceChange:
    """What a proposal would do to one account."""

    account: AccountKey
    before: SignedAmount
    after: SignedAmount


class LedgerMachine:
    """The state of one ledger: position, accounts, and the rules' memory behind the gate."""

    def __init__(self, gate: RiskGate, trust: TrustGate) -> None:
        self._gate = gate
        self._trust = trust
        self.book = AccountBook()
        self.position = Position()
        self.cover: str | None = None
        """What the marks of sealed lines say of their signatures: "group", or nothing."""
        self._reader = LineReader(self.book, self.position, gate, trust)

    @property
    def entries(self) -> int:
        """How many entries the journal holds."""
        return self._reader.entries

    @property
    def records(self) -> int:
        """How many records the journal holds."""
        return self._reader.records

    @property
    def ledger_id(self) -> str:
        """The ledger's id; empty before genesis."""
        return self._reader.ledger_id

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
        if len(drafts) == 1 and type(drafts[0]) is UnsignedEntry and not self._gate.remembers:
            return self._propose_one(drafts, drafts[0], timestamp, moment)
        sealed = self._propose_many(drafts, timestamp, moment)
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
        postings, moves = self._judge_entry(entry, sequence, moment, fresh)
        group = position.next_group(1, timestamp[:10])
        mark = lone_mark_json(sequence, group, self.cover)
        line, digest = self._seal_entry(entry, postings, sequence, position.hash, timestamp, mark)
        sealed = SealedBatch(
            drafts, [line], (digest,), sequence, position.hash, group, timestamp, moment, self.cover
        )
        for account, delta in moves:
            account.balance += delta
        if fresh:
            sealed.made = tuple(fresh.values())
            self.book.add(sealed.made)
        self._reader.entries += 1
        position.step(digest, timestamp, moment, group, len(line))
        return sealed

    def _propose_many(self, drafts: tuple[Draft, ...], timestamp: str, moment: datetime) -> SealedBatch:
        moves: list[tuple[Account, int]] = []
        made: list[Account] = []
        mark = self._gate.mark()
        try:
            bodies = self._judge(drafts, moment, moves, made)
            sealed = self._seal(drafts, bodies, timestamp, moment)
        except BaseException:
            self._undo(moves, made, mark)
            raise
        sealed.made = made
        return sealed

    def mark(self) -> tuple[Position, int]:
        """Remember where the ledger stands, for :meth:`take_back`."""
        return self.position.copy(), self._gate.mark()

    def take_back(self, group: Sequence[SealedBatch], mark: tuple[Position, int]) -> None:
        """Undo the batches sealed since a mark, none of which was written: as if never proposed."""
        position, rules = mark
        self.position.restore(position)
        for sealed in reversed(group):
            self._undo(self.moves_of(sealed.drafts), sealed.made, rules)
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

    def forget(self, mark: tuple[Position, int]) -> None:
        """Make final what was sealed before a mark: it is durable and cannot be taken back."""
        self._gate.forget(mark[1])

    def settle(self) -> None:
        """Close the write group and make everything final."""
        self.close_group()
        self._gate.forget(self._gate.mark())

    def preview(self, batch: PreparedBatch, now: datetime) -> tuple[BalanceChange, ...]:
        """Stamp and judge as :meth:`propose` does, seal nothing, and leave no trace."""
        moves: list[tuple[Account, int]] = []
        made: list[Account] = []
        mark = self._gate.mark()
        try:
            if not self.position.sequence:
                check_founding(batch.drafts)
            _, moment = self._stamp(now)
            self._judge(batch.drafts, moment, moves, made)
            return tuple(
                BalanceChange(
                    account=account.key,
                    before=SignedAmount.from_units(account.balance - delta),
                    after=SignedAmount.from_units(account.balance),
                )
                for account, delta in _netted(moves)
            )
        finally:
            self._undo(moves, made, mark)

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
        drafts: Sequence[Draft],
        moment: datetime,
        moves: list[tuple[Account, int]],
        made: list[Account],
    ) -> list[str]:
        """Judge and apply drafts in order; give each one's postings or body as JSON.

        `moves` and `made` take what may have to be undone: changes, and accounts new to the book.
        """
        fresh: dict[str, Account] = {}
        bodies: list[str] = []
        gate = self._gate
        sequence = self.position.sequence
        for draft in drafts:
            sequence += 1
            if isinstance(draft, UnsignedEntry):
                postings, steps = self._judge_entry(draft, sequence, moment, fresh)
                for account, delta in steps:
                    account.balance += delta
                    moves.append((account, delta))
                if fresh:  # the next entry's rules see the accounts that this one made
                    made.extend(fresh.values())
                    self.book.add(fresh.values())
                    fresh.clear()
                bodies.append(postings)
            else:
                self._take_record(draft, sequence)
                bodies.append(canonical_text(draft.body))
            if gate.remembers:
                gate.apply(stamp_draft(draft, sequence, moment))
        return bodies

    def _take_record(self, record: UnsignedRecord, sequence: int) -> None:
        """Let a record about the keyring take effect; a batch that fails rolls it back."""
        check_place(record.kind, sequence)
        if record.kind is RecordKind.KEYRING_ADOPTED:
            self._trust.adopt(read_adopted(record.body), ledger_id=record.subject)
        elif record.kind is RecordKind.KEYRING_CHANGED:
            self._trust.change(record.body, sequence=sequence)

    def _judge_entry(
        self, entry: UnsignedEntry, sequence: int, moment: datetime, fresh: dict[str, Account]
    ) -> tuple[str, Moves]:
        """Judge one entry and change nothing; give its postings as JSON and the moves it makes."""
        intent = entry.intent
        if intent is _GENESIS and sequence != 1:
            raise IntentViolation(intent=intent, reason="only line 1 of a journal is its genesis")
        if intent is _ADJUSTMENT:
            raise ApprovalRequired(
                "an adjustment needs approvals, and no key of this ledger may give one",
                rule="adjustment-policy",
                advice="correct a mistake with a deposit, withdrawal or transfer in the other direction",
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
        moves = steps if len(steps) == 2 and steps[0][0] is not steps[1][0] else _netted(steps)
        for account, delta in moves:
            if not MIN_UNITS <= account.balance + delta <= MAX_UNITS:
                raise _out_of_range(account, delta)
        refusal = self._gate.judge(entry, moves, self.book, sequence=sequence, now=moment)
        if refusal is not None:
            raise refusal
        return ",".join(fragments), moves

    def _seal(
        self, drafts: tuple[Draft, ...], bodies: list[str], timestamp: str, moment: datetime
    ) -> SealedBatch:
        """Hash and spell every line of a batch."""
        position = self.position
        size = len(drafts)
        first = position.sequence + 1
        group = position.next_group(size, timestamp[:10])
        digest = position.hash
        lines: list[bytes] = []
        digests: list[str] = []
        for sequence, (draft, body) in enumerate(zip(drafts, bodies, strict=True), first):
            mark = mark_json(sequence, BatchMark(first=first, size=size, group=group, cover=self.cover))
            seal = self._seal_entry if isinstance(draft, UnsignedEntry) else self._seal_record
            line, digest = seal(draft, body, sequence, digest, timestamp, mark)  # type: ignore[arg-type]  # chosen by the draft's type
            lines.append(line)
            digests.append(digest)
        return SealedBatch(drafts, lines, digests, first, position.hash, group, timestamp, moment, self.cover)

    def _seal_entry(
        self, entry: UnsignedEntry, postings: str, sequence: int, prev_hash: str, timestamp: str, mark: str
    ) -> tuple[bytes, str]:
        ledger_id = self._reader.ledger_id or _founded_id(entry)
        intent, metadata = entry.intent._value_, entry.metadata_json
        correlation_id = encode_string(entry.correlation_id)
        digest = entry_hash(
            ledger_id,
            sequence,
            prev_hash,
            timestamp,
            intent,
            correlation_id,
            "null",
            mark,
            postings,
            metadata,
        )
        line = entry_line(
            sequence, prev_hash, digest, timestamp, intent, correlation_id, "null", mark, postings, metadata
        )
        return _checked_line(line), digest

    def _seal_record(
        self, record: UnsignedRecord, body: str, sequence: int, prev_hash: str, timestamp: str, mark: str
    ) -> tuple[bytes, str]:
        ledger_id = self._reader.ledger_id or record.subject
        kind, subject = record.kind.value, encode_string(record.subject)
        correlation_id = encode_string(record.correlation_id)
        digest = record_hash(
            ledger_id, sequence, prev_hash, timestamp, kind, subject, correlation_id, "null", mark, body
        )
        line = record_line(
            sequence, prev_hash, digest, timestamp, kind, subject, correlation_id, "null", mark, body
        )
        return _checked_line(line), digest

    def _undo(self, moves: Moves, made: Sequence[Account], mark: int) -> None:
        for account, delta in moves:
            account.balance -= delta
        self.book.remove(made)
        self._gate.rollback(mark)
        self._trust.rollback(self.position.sequence)

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


def _checked_line(line: str) -> bytes:
    data = line.encode()
    assert len(data) <= MAX_LINE_BYTES, "a draft within its limits fits into a line"
    return data


def _netted(steps: list[tuple[Account, int]]) -> Moves:
    """Sum the changes of each account, in the order in which the accounts appear."""
    changes: dict[Account, int] = {}
    for account, delta in steps:
        changes[account] = changes.get(account, 0) + delta
    return tuple(changes.items())


def _founded_id(entry: UnsignedEntry) -> str:
    assert entry.genesis is not None, "check_founding lets nothing else begin a journal"
    return entry.genesis.ledger_id


def _out_of_range(account: Account, delta: int) -> Refused:
    required = min(abs(delta), MAX_UNITS)
    available = min(MAX_UNITS - account.balance if delta > 0 else account.balance - MIN_UNITS, MAX_UNITS)
    return BalanceOutOfRange(
        f"{account.text} would leave the signed 128-bit range",
        rule="range",
        advice=f"at most {SignedAmount.from_units(available)} more passes",
        account=account.key,
        asset=account.klass.asset,
        required=SignedAmount.from_units(required),
        available=SignedAmount.from_units(available),
        shortfall=SignedAmount.from_units(max(required - available, 0)),
    )
