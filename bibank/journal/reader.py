"""Strict reading: stored lines move the accounts and the position, or are refused with a reason.

Two paths that accept the same lines. The fast one takes the everyday entry apart by position,
rebuilds the line that *must* stand there, hash included, from the expected sequence and previous
hash, and compares the two. Whatever it does not recognise goes to the slow one, which decodes, checks
every rule on its own and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bibank.errors import BibankError, InvalidInput, InvalidValue, JournalCorrupt, Refused
from bibank.journal.accounts import Account, AccountBook
from bibank.journal.approvals import check_approved
from bibank.journal.codec import decode_line, parse_object, read_metadata
from bibank.journal.effects import Parts, take_effect
from bibank.journal.encoder import amount_text, entry_hash, entry_line, entry_payload
from bibank.journal.everyday import EVERYDAY_INTENTS, read_lone_key, read_signature, take_apart
from bibank.journal.gate import RiskGate
from bibank.journal.genesis import (
    GENESIS_LINES,
    check_keyring_adopted,
    check_place,
    read_genesis_mark,
)
from bibank.journal.link_book import LinkBook
from bibank.journal.links import check_batch, check_cause
from bibank.journal.position import Position
from bibank.journal.proposals import PROPOSABLE
from bibank.journal.records import check_record_cause, check_stands_alone
from bibank.journal.reference import line_hash, signing_payload
from bibank.journal.rule_sets import RuleBook
from bibank.journal.trust import TrustGate
from bibank.model.account import AccountKey, Side
from bibank.model.amount import MAX_UNITS, MIN_UNITS, Amount
from bibank.model.entry import RELATED_TRADE, JournalEntry, TransactionIntent, UnsignedEntry
from bibank.model.json_value import canonical_text
from bibank.model.links import EntryLinks
from bibank.model.record import JournalLine, JournalRecord, RecordKind, UnsignedRecord
from bibank.model.signature import EntrySignature
from bibank.model.stamped import StampedEntry, StampedLine, StampedRecord
from bibank.model.timestamp import format_timestamp, parse_timestamp

_WITHDRAWAL = TransactionIntent.WITHDRAWAL.value

_AMOUNTS_KEPT = 65_536
"""Bound of the cache from amount text to units."""

_units: dict[str, int] = {}


def _amount_units(text: str) -> int:
    """Count the units in an amount text as `Amount` does, range included, through a bounded cache."""
    units = _units.get(text)
    if units is None:
        if len(_units) >= _AMOUNTS_KEPT:
            _units.clear()
        units = _units[text] = Amount(text).units
    return units


class LineReader:
    """Accepts the lines of one journal in order and moves `book` and `position` with them."""

    def __init__(
        self, book: AccountBook, links: LinkBook, position: Position, gate: RiskGate, trust: TrustGate
    ) -> None:
        self._book = book
        self._links = links
        self._position = position
        self._gate = gate
        self._trust = trust
        self._overrides = links.overrides.open
        self.rules = RuleBook()
        self._pending: list[JournalLine] = []
        self._fresh: dict[str, Account] = {}
        self.ledger_id = ""
        self.fork_id = ""
        """The id under which the next lines are hashed, where that is not the ledger's."""
        self.entries = 0
        self.records = 0

    def count(self, drafts: Sequence[UnsignedEntry | UnsignedRecord]) -> None:
        """Take note of drafts that were sealed here instead of read; genesis names the ledger."""
        for draft in drafts:
            if isinstance(draft, UnsignedEntry):
                self.entries += 1
                if draft.genesis is not None:
                    self.ledger_id = draft.genesis.ledger_id
            else:
                self.records += 1

    def uncount(self, drafts: Sequence[UnsignedEntry | UnsignedRecord]) -> None:
        """Forget drafts that were sealed and taken back."""
        entries = sum(isinstance(draft, UnsignedEntry) for draft in drafts)
        self.entries -= entries
        self.records -= len(drafts) - entries
        if not self.entries:
            self.ledger_id = ""

    def accept(self, data: bytes) -> None:
        """Accept one line or raise, in which case nothing has changed."""
        if (
            self._position.batch is not None
            or self._gate.remembers
            or self._overrides
            or not self._accept_fast(data)
        ):
            self._accept_slow(data)

    # ------------------------------------------------------------------ fast path

    def _accept_fast(self, data: bytes) -> bool:
        """Accept an everyday line; False, with nothing changed, when it is not one."""
        position = self._position
        sequence = position.sequence + 1
        key: str | None = None
        everyday = take_apart(data, sequence=sequence, group=position.group)
        if everyday is None or sequence <= GENESIS_LINES:
            return False
        (
            unsigned,
            timestamp,
            intent,
            correlation_id,
            mark,
            group,
            cover,
            first_name,
            second_name,
            amount,
            side,
            metadata,
            signed,
        ) = everyday
        signature = None
        try:
            units = _amount_units(amount)
            first, second = self._account(first_name), self._account(second_name)
            moment = position.moment if timestamp == position.timestamp else parse_timestamp(timestamp)
            if metadata != "{}":
                key = read_lone_key(metadata)
                if key is None:
                    metadata = _free_metadata(metadata)
            if signed:
                signature = read_signature(signed, timestamp=timestamp, moment=moment)
                if signature is None:
                    return False
        except (BibankError, ValueError):
            return False
        spelled = amount_text(units)
        if side == "debit":
            debit, credit, other = first, second, "credit"
        else:
            debit, credit, side, other = second, first, "credit", "debit"
        postings = (
            f'{{"account":"{first.text}","amount":"{spelled}","side":"{side}"}},'
            f'{{"account":"{second.text}","amount":"{spelled}","side":"{other}"}}'
        )
        fields = (correlation_id, "null", mark, postings, metadata)
        ledger_id = self.fork_id or self.ledger_id
        digest = entry_hash(ledger_id, sequence, position.hash, timestamp, intent, *fields)
        if unsigned != entry_line(sequence, position.hash, digest, timestamp, intent, *fields):
            return False
        # The line's bytes are what they must be; whether it may stand here remains.
        after_debit = debit.balance + units * debit.klass.debit_sign
        after_credit = credit.balance - units * credit.klass.debit_sign
        if (
            not units
            or debit is credit
            or debit.klass.asset != credit.klass.asset
            or (debit.klass.category, credit.klass.category) != EVERYDAY_INTENTS[intent]
            or not MIN_UNITS <= after_debit <= MAX_UNITS
            or not MIN_UNITS <= after_credit <= MAX_UNITS
            or moment < position.moment
            or not position.may_follow(group, cover, timestamp)
            or (intent == _WITHDRAWAL and self._trust.withdrawal_limits)
        ):
            return False
        if signature is None:
            if cover is None and sequence >= self._trust.signed_from:
                return False
        elif not self._accept_signature(signature, digest, timestamp, moment, intent, postings, metadata):
            return False
        debit.balance, credit.balance = after_debit, after_credit
        self._note(key, sequence)
        position.step(digest, timestamp, moment, group, len(data))
        position.cover, position.unsigned = cover, cover is not None and signature is None
        self.entries += 1
        return True

    def _note(self, key: str | None, sequence: int) -> None:
        """Note the key of an everyday line, and put the accounts that it made into the book."""
        if key is not None:
            self._links.note_key(key, sequence)
            self._links.forget(self._links.mark())
        if self._fresh:
            self._book.add(self._fresh.values())
            self._fresh.clear()

    def _accept_signature(
        self,
        signature: EntrySignature,
        digest: str,
        timestamp: str,
        moment: datetime,
        intent: str,
        postings: str,
        metadata: str,
    ) -> bool:
        """Judge the one signature of an everyday line."""
        position = self._position
        sequence = position.sequence + 1
        try:
            if not self._trust.check((signature,), sequence=sequence):
                return False
            payload = entry_payload(
                sequence,
                position.hash,
                digest,
                timestamp,
                intent,
                postings,
                metadata,
                timestamp if signature.signed_at is moment else format_timestamp(signature.signed_at),
            )
            self._trust.verify(signature, sequence=sequence, digest=digest, payload=payload)
        except BibankError:
            return False
        return True

    def _account(self, text: str) -> Account:
        account = self._book.find(text)
        if account is None:
            account = self._fresh.get(text)
            if account is None:
                account = self._fresh[text] = self._book.make(AccountKey(text))
        return account

    # ------------------------------------------------------------------ slow path

    def _accept_slow(self, data: bytes) -> None:
        """Accept any line by checking rule after rule, or raise with the reason."""
        self._fresh.clear()
        line = decode_line(data)
        position = self._position
        if line.sequence != position.sequence + 1:
            raise InvalidValue(f"sequence {line.sequence}, expected {position.sequence + 1}")
        if line.prev_hash != position.hash:
            raise InvalidValue(
                f"prev_hash {line.prev_hash} is not the hash of the line before, {position.hash}"
            )
        ledger_id = self.fork_id or self.ledger_id
        if line.sequence == 1:
            ledger_id = read_genesis_mark(line).ledger_id
        self._check_kind(line)
        if isinstance(line, JournalEntry):
            check_cause(line, _links_of(line))
        else:
            check_record_cause(line)
        digest = line_hash(line, ledger_id=ledger_id)
        if digest != line.hash:
            raise InvalidValue(f"the line's hash is {line.hash}, its content hashes to {digest}")
        timestamp = format_timestamp(line.timestamp)
        position.check_mark(line.batch, timestamp=timestamp, moment=line.timestamp)
        batch = [*self._pending, line]
        whole = line.sequence == line.batch.first + line.batch.size - 1
        unsigned = False
        if whole:
            check_batch(batch)
            check_stands_alone(batch)
            unsigned = self._settle(batch, ledger_id)
        self._pending = [] if whole else batch
        if line.sequence == 1:
            self.ledger_id = ledger_id
        position.advance(digest, line.batch, timestamp=timestamp, moment=line.timestamp, size_bytes=len(data))
        position.unsigned = unsigned

    def _settle(self, batch: list[JournalLine], ledger_id: str) -> bool:
        """Judge the signatures of a whole batch and apply it; tell whether group cover is still open.

        A group that says it is covered is, even where the keyring would not ask for a signature.
        """
        first = batch[0].sequence
        noted = self._links.mark()
        try:
            for line in batch:
                self._take_effect(line, ledger_id)
            enough = [self._check_line(line) for line in batch]
            self._apply(batch)
        except BibankError:
            self._trust.rollback(first - 1)
            self.rules.rollback(first - 1)
            self._links.rollback(noted)
            raise
        last = batch[-1]
        return last.batch.cover is not None and not (enough[-1] and last.signatures)

    def _take_effect(self, line: JournalLine, ledger_id: str) -> None:
        """Let a record be in force, and demand of an entry the approvals that it needs."""
        try:
            if isinstance(line, JournalEntry):
                if line.intent in PROPOSABLE:
                    check_approved(
                        self._links.approvals,
                        line,
                        _links_of(line),
                        sequence=line.sequence,
                        keyring=self._trust.keyring,
                    )
                return
            if (
                line.kind is RecordKind.KEYRING_CHANGED
                and line.batch.cover is not None
                and line.batch.group != line.sequence
            ):
                raise InvalidValue("under group cover a keyring change begins its write group")
            parts = Parts(self._trust, self.rules, self._book, self._links)
            take_effect(line, parts, sequence=line.sequence, moment=line.timestamp, ledger_id=ledger_id)
        except (InvalidInput, Refused) as error:  # not always about the last line of the batch
            raise JournalCorrupt(str(error), sequence=line.sequence) from error

    def _check_line(self, line: JournalLine) -> bool:
        """Judge the signatures of one line; tell whether they are enough on their own."""
        try:
            enough = self._trust.check(line.signatures, sequence=line.sequence)
            if not enough and line.batch.cover is None:
                raise InvalidValue("the line is not signed, and the keyring's policy says that it must be")
            for signature in line.signatures:
                payload = signing_payload(line, signed_at=signature.signed_at)
                self._trust.verify(signature, sequence=line.sequence, digest=line.hash, payload=payload)
        except InvalidValue as error:  # not always about the last line of the batch
            raise JournalCorrupt(str(error), sequence=line.sequence) from error
        return enough

    def _check_kind(self, line: JournalLine) -> None:
        """Demand that genesis stands where it must and nowhere else."""
        if line.sequence == 1:
            if (line.batch.first, line.batch.size) != (1, GENESIS_LINES):
                raise InvalidValue(f"the genesis batch is not lines 1 to {GENESIS_LINES}")
        elif line.sequence == GENESIS_LINES:
            check_keyring_adopted(line, read_genesis_mark(self._pending[0]))
        elif isinstance(line, JournalRecord):
            check_place(line.kind, line.sequence)
        elif line.intent is TransactionIntent.GENESIS:
            raise InvalidValue("a genesis entry stands in line 1 only")

    def _apply(self, batch: list[JournalLine]) -> None:
        """Move the balances and the rules' memory by a whole batch; an error leaves them as they were."""
        undo: list[tuple[Account, int]] = []
        made: list[Account] = []
        mark, noted = self._gate.mark(), self._links.mark()
        try:
            for line in batch:
                if isinstance(line, JournalEntry):
                    self._apply_entry(line, undo, made)
                    links = _links_of(line)
                    if links is not None:
                        self._links.note(line.sequence, line.postings, links)
                    if self._overrides:
                        self._links.overrides.use(line, now=line.timestamp)
                elif line.kind is RecordKind.RULES_ADOPTED:
                    self._gate.adopt(self.rules.at(line.sequence))
                if self._gate.remembers:
                    self._gate.apply(stamped(line))
            self._links.approvals.check_end()
        except BaseException:
            for account, balance in reversed(undo):
                account.balance = balance
            self._gate.rollback(mark)
            self._links.rollback(noted)
            self._book.remove(made)
            self._fresh.clear()
            raise
        self._gate.forget(self._gate.mark())
        self._links.forget(self._links.mark())
        entries = sum(isinstance(line, JournalEntry) for line in batch)
        self.entries += entries
        self.records += len(batch) - entries

    def _apply_entry(self, entry: JournalEntry, undo: list[tuple[Account, int]], made: list[Account]) -> None:
        changes: dict[Account, int] = {}
        for posting in entry.postings:
            account = self._account(posting.account.text)
            delta = posting.amount.units * account.klass.debit_sign
            if posting.side is Side.CREDIT:
                delta = -delta
            changes[account] = changes.get(account, 0) + delta
        if self._gate.remembers:
            self._gate.review(entry, tuple(changes.items()), self._book, self._links)
        for account, delta in changes.items():
            balance = account.balance + delta
            if not MIN_UNITS <= balance <= MAX_UNITS:
                raise InvalidValue(f"the balance of {account.text} leaves the signed 128-bit range")
            undo.append((account, account.balance))
            account.balance = balance
        if self._fresh:
            made.extend(self._fresh.values())
            self._book.add(self._fresh.values())
            self._fresh.clear()


def _links_of(entry: JournalEntry) -> EntryLinks | None:
    """Read the links of an entry; genesis has a mark of its own in their place."""
    if entry.sequence == 1:
        return None
    return EntryLinks.from_metadata(entry.metadata, causality_id=entry.causality_id)


def _free_metadata(text: str) -> str:
    """Spell metadata again; `InvalidValue` for what the ledger writes, which the slow path understands."""
    if "bb." in text or RELATED_TRADE in text:
        raise InvalidValue("the ledger has written something of its own")
    return canonical_text(read_metadata(parse_object(text)))


def stamped(line: JournalLine) -> StampedLine:
    """Show a read line the way rules see it."""
    if isinstance(line, JournalEntry):
        return StampedEntry(
            sequence=line.sequence,
            timestamp=line.timestamp,
            intent=line.intent,
            correlation_id=line.correlation_id,
            causality_id=line.causality_id,
            postings=line.postings,
            metadata=line.metadata,
        )
    return StampedRecord(
        sequence=line.sequence,
        timestamp=line.timestamp,
        kind=line.kind,
        subject=line.subject,
        correlation_id=line.correlation_id,
        causality_id=line.causality_id,
        body=line.body,
    )
