"""The questions that can be asked of a ledger. What they show is durable."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Protocol
from uuid import UUID

from bibank.audit import AuditReport, Level, Pin, audit_lines
from bibank.errors import InvalidType, InvalidValue, JournalCorrupt, UnknownSequence, excerpt
from bibank.journal.accounts import Account
from bibank.journal.approvals import proposal_row
from bibank.journal.attestations import Attestation, check_attested
from bibank.journal.machine import LedgerMachine
from bibank.journal.rule_sets import AdoptedRule
from bibank.model.account import AVAILABLE, LOCKED, AccountKey, Owner, owner_id
from bibank.model.account_terms import AccountTerms
from bibank.model.amount import SignedAmount
from bibank.model.balance import AccountBalance, Balance
from bibank.model.entry import JournalEntry
from bibank.model.hold import Hold
from bibank.model.lines import Head
from bibank.model.links import MAX_SEQUENCE
from bibank.model.money import check_asset
from bibank.model.policy import Purpose
from bibank.model.proposal import Proposal
from bibank.model.record import JournalLine, JournalRecord, RecordKind
from bibank.model.table import Table
from bibank.risk.rule import RiskRule
from bibank.stored_lines import Lines, Placer, checked_lines
from bibank.write_group import DurableView

_RECORD_COLUMNS = ("sequence", "timestamp", "kind", "subject", "correlation_id")
_PROPOSAL_COLUMNS = (
    "sequence",
    "proposer",
    "intent",
    "purpose",
    "reason",
    "approved_by",
    "needed",
    "expires_at",
    "postings",
)
"""What listings of records and proposals print."""

_ENTRY_COLUMNS = ("sequence", "timestamp", "intent", "correlation_id", "postings")
"""What a listing of entries prints; hashes and marks are in the rows."""


class Source(Protocol):
    """What answers are made from: a machine, the lines it stands on, and how far both may be shown."""

    @property
    def machine(self) -> LedgerMachine:
        """The state of the ledger; it may be ahead of what may be shown."""

    @property
    def store(self) -> Lines:
        """The lines themselves."""

    @property
    def durable(self) -> Head:
        """The last line that may be shown."""

    def reading(self) -> AbstractContextManager[DurableView]:
        """Hold the lock of the machine around a look at its accounts."""


class Queries:
    """Everything that reads. Needs a source, whose lock it takes for each look."""

    _source: Source

    @property
    def ledger_id(self) -> str:
        """The id that certifies itself: `<name>/<fingerprint>`."""
        return self._source.machine.ledger_id

    @property
    def head(self) -> Head:
        """The last durable line: its sequence and hash."""
        return self._source.durable

    def entry(self, sequence: int) -> JournalEntry:
        """Give one entry; `UnknownSequence` when there is none, or the line is a record."""
        line = self._line(sequence)
        if not isinstance(line, JournalEntry):
            raise UnknownSequence(f"line {sequence} is a {line.kind.value} record, not an entry")
        return line

    def line(self, sequence: int) -> JournalLine:
        """Give one line, entry or record; `UnknownSequence` when there is none."""
        return self._line(sequence)

    def record(self, sequence: int) -> JournalRecord:
        """Give one record; `UnknownSequence` when there is none, or the line is an entry."""
        line = self._line(sequence)
        if not isinstance(line, JournalRecord):
            raise UnknownSequence(f"line {sequence} is a {line.intent.value} entry, not a record")
        return line

    def entries(self, *, after_sequence: int = 0, limit: int | None = None) -> Table[JournalEntry]:
        """List entries in journal order: those after a sequence, at most `limit` of them."""
        lines = self._lines(check_sequence(after_sequence, minimum=0))
        found = (line for line in lines if isinstance(line, JournalEntry))
        return Table(islice(found, check_limit(limit)), row_type=JournalEntry, shown=_ENTRY_COLUMNS)

    def accounts(self, prefix: str = "") -> Table[AccountBalance]:
        """List the accounts whose key begins with a text, sorted by key, each with its balance."""
        if not isinstance(prefix, str):
            raise InvalidType(f"a prefix is a str, not {type(prefix).__name__}")
        with self._source.reading() as view:
            rows = [_account_balance(view, account) for account in view.accounts(prefix)]
        return Table(rows, row_type=AccountBalance)

    def balance(self, owner: Owner, asset: str | None = None) -> Balance:
        """Tell the balance of an owner in one asset, or of exactly one account.

        An owner's is AVAILABLE and LOCKED together, and each. With an `AccountKey` the asset may be
        left out. An account that nobody used has a balance of zero.
        """
        if isinstance(owner, AccountKey):
            if asset is not None and asset != owner.asset:
                raise InvalidValue(f"{owner} is an account in {owner.asset}, not in {asset}")
            with self._source.reading() as view:
                units = view.units(owner.text)
            return _balance(owner.asset, available=units, pending=0)
        if asset is None:
            raise InvalidValue(f"which asset? balances({owner!r}) lists all of them")
        prefix = f"LIAB:USER:{owner_id(owner)}:{check_asset(asset)}"
        with self._source.reading() as view:
            available, pending = view.units(f"{prefix}:{AVAILABLE}"), view.units(f"{prefix}:{LOCKED}")
        return _balance(asset, available=available, pending=pending)

    def balances(self, owner: str | UUID) -> Table[Balance]:
        """List an owner's balances, one row an asset, sorted by asset."""
        prefix = f"LIAB:USER:{owner_id(owner)}:"
        with self._source.reading() as view:
            assets = sorted({account.klass.asset for account in view.accounts(prefix)})
            rows = [
                _balance(
                    asset,
                    available=view.units(f"{prefix}{asset}:{AVAILABLE}"),
                    pending=view.units(f"{prefix}{asset}:{LOCKED}"),
                )
                for asset in assets
            ]
        return Table(rows, row_type=Balance)

    def holds(self, owner: Owner | None = None) -> Table[Hold]:
        """List the open holds, of all owners or of one, oldest first."""
        owned = None if owner is None else _owned_prefix(owner)
        with self._source.reading() as view:
            holds = view.machine.links.durable_holds()
        rows = [hold for hold in holds if owned is None or hold.account.text.startswith(owned)]
        return Table(rows, row_type=Hold)

    @property
    def rules(self) -> Table[AdoptedRule]:
        """The rules that the ledger has adopted, in the order in which they judge."""
        with self._source.reading() as view:
            adopted = view.machine.rules.at(view.head.sequence)
        return Table(adopted.rules, row_type=AdoptedRule)

    # ------------------------------------------------------------------ what operators decided

    def records(
        self, *, after_sequence: int = 0, limit: int | None = None, kind: RecordKind | None = None
    ) -> Table[JournalRecord]:
        """List records in journal order: those after a sequence, of one kind or of all, at most `limit`."""
        if kind is not None and not isinstance(kind, RecordKind):
            raise InvalidType(f"kind is a RecordKind, not {excerpt(kind)}")
        lines = self._lines(check_sequence(after_sequence, minimum=0))
        found = (
            line for line in lines if isinstance(line, JournalRecord) and (kind is None or line.kind is kind)
        )
        return Table(islice(found, check_limit(limit)), row_type=JournalRecord, shown=_RECORD_COLUMNS)

    def account_terms(self, prefix: str = "") -> Table[AccountTerms]:
        """List what was decided about accounts whose key begins with a text, sorted by key.

        Accounts about which nothing was decided are open, with the floor of their category, and not listed.
        """
        if not isinstance(prefix, str):
            raise InvalidType(f"a prefix is a str, not {type(prefix).__name__}")
        with self._source.reading() as view:
            terms = dict(view.machine.book.terms)
        rows = [terms[text] for text in sorted(terms) if text.startswith(prefix)]
        return Table(rows, row_type=AccountTerms)

    def terms_of(self, account: AccountKey) -> AccountTerms | None:
        """Give what was decided about an account; None when nothing was."""
        if not isinstance(account, AccountKey):
            raise InvalidType(f"account is an AccountKey, not {type(account).__name__}")
        with self._source.reading() as view:
            return view.machine.book.terms.get(account.text)

    def pending(self) -> Table[Proposal]:
        """List the proposals that can still be approved after the last line, oldest first."""
        with self._source.reading() as view:
            keyring = view.machine.keyring
            found = view.machine.links.approvals.pending(after=view.machine.position.moment)
        policy = keyring.policies[Purpose.ADJUSTMENT]
        rows = [
            proposal_row(proposal, self.record(proposal.sequence), keyring=keyring, policy=policy)
            for proposal in found
        ]
        return Table(rows, row_type=Proposal, shown=_PROPOSAL_COLUMNS)

    def attestations(self, sequence: int | None = None) -> Table[Attestation]:
        """List the signatures that were added to lines later: of all lines, or of one.

        Raises `JournalCorrupt` when somebody has signed another line than the journal holds there.
        """
        with self._source.reading() as view:
            book = view.machine.links.attestations
            found = book.all() if sequence is None else list(book.of(check_sequence(sequence, minimum=1)))
        for attestation in found:
            check_attested(attestation, self._line(attestation.line))
        return Table(found, row_type=Attestation)

    def audit(
        self,
        *,
        level: Level = "chain",
        pin: Pin | None = None,
        workers: int = 1,
        rules: Sequence[RiskRule] = (),
    ) -> AuditReport:
        """Read the whole journal again and recompute everything; `JournalCorrupt` where it breaks.

        `level="signatures"` verifies every signature too; `pin` is what the auditor trusts. Adopted
        rules are asked again: shipped ones as the journal recorded them, a host's own as given in `rules`.
        """
        with self._source.reading() as view:
            head = view.head
            store = self._source.store
            lines = store.read(after_sequence=0)
            forks = dict(view.machine.forks)
            balances = {account.text: view.balance(account) for account in view.accounts()}
        report = audit_lines(
            islice(lines, head.sequence),
            place=Placer(store),
            balances=balances,
            level=level,
            pin=pin,
            workers=workers,
            rules=rules,
            forks=forks,
            again=lambda: islice(store.read(after_sequence=0), head.sequence),
        )
        if report.head != head:
            raise JournalCorrupt(
                f"the journal ends at line {report.head.sequence}, the ledger stands at {head.sequence}",
                sequence=report.head.sequence + 1,
            )
        return report

    def _line(self, sequence: int) -> JournalLine:
        check_sequence(sequence, minimum=1)
        line = next(self._lines(sequence - 1), None)
        if line is None:
            raise UnknownSequence(f"there is no line {sequence}; the last is {self.head.sequence}")
        return line

    def _lines(self, after_sequence: int) -> Iterator[JournalLine]:
        """Give the durable lines after a sequence; `JournalCorrupt` when they are no longer there."""
        with self._source.reading() as view:
            last = view.head.sequence
            store = self._source.store
            lines = store.read(after_sequence=after_sequence)
            ledger_id = view.machine.ledger_id_at
        yield from checked_lines(
            lines, first=after_sequence + 1, last=last, ledger_id=ledger_id, place=Placer(store)
        )


def check_sequence(sequence: int, *, minimum: int) -> int:
    """Refuse what is no sequence of a line; `InvalidType`, `UnknownSequence`."""
    if isinstance(sequence, bool) or not isinstance(sequence, int):
        raise InvalidType(f"a sequence is an int, not {type(sequence).__name__}")
    if sequence > MAX_SEQUENCE:
        raise UnknownSequence(f"no line has a sequence beyond {MAX_SEQUENCE}")
    if sequence < minimum:
        raise UnknownSequence(f"sequence {sequence} is below {minimum}; the first line is 1")
    return sequence


def check_limit(limit: int | None) -> int | None:
    """Refuse what is no number of rows; `InvalidType`, `InvalidValue`."""
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise InvalidType(f"a limit is an int, not {type(limit).__name__}")
    if limit < 0:
        raise InvalidValue(f"limit {limit} is negative")
    return min(limit, sys.maxsize)


def _owned_prefix(owner: Owner) -> str:
    """Give what the keys of an owner's accounts begin with; of one asset only where an account is given."""
    if isinstance(owner, AccountKey):
        return owner.text.rpartition(":")[0] + ":"
    return f"LIAB:USER:{owner_id(owner)}:"


def _balance(asset: str, *, available: int, pending: int) -> Balance:
    return Balance(
        asset=asset,
        posted=SignedAmount.from_units(available + pending),
        pending=SignedAmount.from_units(pending),
        available=SignedAmount.from_units(available),
    )


def _account_balance(view: DurableView, account: Account) -> AccountBalance:
    return AccountBalance(account=account.key, balance=SignedAmount.from_units(view.balance(account)))
