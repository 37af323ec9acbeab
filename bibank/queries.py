"""The questions that can be asked of a ledger. What they show is durable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from uuid import UUID

from bibank.audit import AuditReport, Level, Pin, audit_lines
from bibank.errors import InvalidType, InvalidValue, JournalCorrupt, UnknownSequence, excerpt
from bibank.history import History
from bibank.journal.approvals import proposal_row
from bibank.journal.attestations import Attestation, check_attested
from bibank.journal.rule_sets import AdoptedRule
from bibank.model.account import AVAILABLE, LOCKED, AccountKey, Owner, owner_id
from bibank.model.account_terms import AccountTerms
from bibank.model.amount import SignedAmount
from bibank.model.as_of import PointInTime
from bibank.model.balance import AccountBalance, Balance
from bibank.model.entry import JournalEntry, TransactionIntent
from bibank.model.hold import Hold
from bibank.model.identifier import check_correlation_id
from bibank.model.json_value import EMPTY_MAP, METADATA_LIMITS, freeze
from bibank.model.lines import Head
from bibank.model.money import check_asset
from bibank.model.policy import Purpose
from bibank.model.proposal import Proposal
from bibank.model.record import JournalLine, JournalRecord, RecordKind
from bibank.model.table import Table
from bibank.risk.rule import RiskRule
from bibank.source import check_limit, check_prefix, check_sequence
from bibank.stored_lines import Placer

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


class Queries(History):
    """Everything that reads. Needs a source, whose lock it takes for each look."""

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

    def entries(
        self,
        *,
        after_sequence: int = 0,
        limit: int | None = None,
        intent: TransactionIntent | None = None,
        correlation_id: str | UUID | None = None,
        metadata: Mapping[str, object] = EMPTY_MAP,
    ) -> Table[JournalEntry]:
        """List entries in journal order: those after a sequence, at most `limit` of them.

        Of one intent, with one correlation id, with these members of metadata, each with exactly this value,
        or with all of that. The next page begins after the last sequence of the page before. Raises
        `InvalidInput` kinds, `JournalCorrupt`.
        """
        if intent is not None and not isinstance(intent, TransactionIntent):
            raise InvalidType(f"intent is a TransactionIntent, not {excerpt(intent)}")
        after_sequence, limit = check_sequence(after_sequence, minimum=0), check_limit(limit)
        trace = None if correlation_id is None else check_correlation_id(correlation_id)
        wanted = freeze(metadata, METADATA_LIMITS)
        if intent is None and trace is None and not wanted:
            lines = self._lines(after_sequence)
            found: Iterable[JournalEntry] = (line for line in lines if isinstance(line, JournalEntry))
        else:
            found = self._matching(
                intent=intent,
                correlation_id=trace,
                metadata=wanted,
                after_sequence=after_sequence,
                limit=limit,
            )
        return Table(islice(found, limit), row_type=JournalEntry, shown=_ENTRY_COLUMNS)

    def accounts(
        self,
        prefix: str = "",
        *,
        as_of: PointInTime | None = None,
        after: AccountKey | None = None,
        limit: int | None = None,
    ) -> Table[AccountBalance]:
        """List the accounts whose key begins with a text, sorted by key, each with its balance.

        As of a point in time those that an entry had named which counts there. The next page begins `after`
        the last account of the page before. Raises what :meth:`balance` raises.
        """
        prefix = check_prefix(prefix)
        if after is not None and not isinstance(after, AccountKey):
            raise InvalidType(f"after is an AccountKey, not {type(after).__name__}")
        limit, last = check_limit(limit), "" if after is None else after.text
        if as_of is not None:
            then = self._all_units_as_of(prefix, as_of)
            units = {text: then[text] for text in islice((t for t in sorted(then) if t > last), limit)}
        else:
            with self._source.reading() as view:
                listed = islice(view.accounts(prefix, after=last), limit)
                units = {account.text: view.balance(account) for account in listed}
        rows = [_account_balance(text, found) for text, found in units.items()]
        return Table(rows, row_type=AccountBalance)

    def balance(self, owner: Owner, asset: str | None = None, *, as_of: PointInTime | None = None) -> Balance:
        """Tell the balance of an owner in one asset, or of exactly one account; now, or as of a point.

        An owner's is AVAILABLE and LOCKED together, and each. With an `AccountKey` the asset may be
        left out. An account that nobody used has a balance of zero. `as_of` is a sequence (inside a batch
        it means the batch before), `AsOf.recorded(t)` or `AsOf.effective(t)`, the moment included. Raises
        `InvalidInput` kinds, `UnknownSequence`, and for the past `JournalCorrupt`.
        """
        if isinstance(owner, AccountKey):
            if asset is not None and asset != owner.asset:
                raise InvalidValue(f"{owner} is an account in {owner.asset}, not in {excerpt(asset)}")
            units = self._units([owner.text], as_of)
            return _balance(owner.asset, available=units.get(owner.text, 0), pending=0)
        if asset is None:
            raise InvalidValue(f"which asset? balances({excerpt(owner)}) lists all of them")
        prefix = f"LIAB:USER:{owner_id(owner)}:{check_asset(asset)}"
        available, locked = f"{prefix}:{AVAILABLE}", f"{prefix}:{LOCKED}"
        units = self._units([available, locked], as_of)
        return _balance(asset, available=units.get(available, 0), pending=units.get(locked, 0))

    def _units(self, accounts: list[str], as_of: PointInTime | None) -> dict[str, int]:
        if as_of is not None:
            return self._units_as_of(accounts, as_of)
        with self._source.reading() as view:
            return {text: view.units(text) for text in accounts}

    def balances(self, owner: str | UUID, *, as_of: PointInTime | None = None) -> Table[Balance]:
        """List an owner's balances, one row an asset, sorted by asset; raises what :meth:`balance` raises."""
        prefix = f"LIAB:USER:{owner_id(owner)}:"
        if as_of is not None:
            units = self._all_units_as_of(prefix, as_of)
        else:
            with self._source.reading() as view:
                units = {account.text: view.balance(account) for account in view.accounts(prefix)}
        rows = [
            _balance(
                asset,
                available=units.get(f"{prefix}{asset}:{AVAILABLE}", 0),
                pending=units.get(f"{prefix}{asset}:{LOCKED}", 0),
            )
            for asset in sorted({text.split(":")[3] for text in units})
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
        check_prefix(prefix)
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
        bus = self._source.bus
        if bus is not None:
            from bibank.model.event import ChainVerified

            bus.announce(ChainVerified(last_sequence=head.sequence, last_hash=head.hash))
        return report

    def _line(self, sequence: int) -> JournalLine:
        check_sequence(sequence, minimum=1)
        line = next(self._lines(sequence - 1), None)
        if line is None:
            raise UnknownSequence(f"there is no line {sequence}; the last is {self.head.sequence}")
        return line


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


def _account_balance(text: str, units: int) -> AccountBalance:
    return AccountBalance(account=AccountKey(text), balance=SignedAmount.from_units(units))
