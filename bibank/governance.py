"""Governance: what operators decide. Freezes, floors, proposals and approvals, attestations, overrides.

Each decision is a record, signed by the people and in force from its own line. What a person signs is an
envelope; the verbs write it, have it signed by the signers at hand, and commit it. For signers elsewhere
there is a `draft_...` of each, and :meth:`Governance.commit` for what comes back.

>>> import bibank as bb
>>> from bibank import drafts
>>> from bibank.signing import Ed25519Signer, Role
>>> system, anna, ben, cleo = (
...     Ed25519Signer(bytes(31) + name[:1].encode(), signer_id=name)
...     for name in ("SYSTEM", "ANNA_OPS", "BEN_OPS", "CLEO_OPS")
... )
>>> ledger = bb.Ledger.in_memory({"USDT": "100"}, signer=system).bind(correlation_id="r1")
>>> for operator in (anna, ben, cleo):
...     _ = ledger.keyring.add(operator, roles=(Role.OPERATOR,), authorised_by=(anna,))
>>> _ = ledger.deposit("ALICE", "50 USDT")
>>> draft = drafts.adjustment(
...     [
...         bb.Posting.debit("LIAB:USER:ALICE:USDT:AVAILABLE", 45),
...         bb.Posting.credit("ASSET:SYSTEM:VAULT:USDT:MAIN", 45),
...     ],
...     purpose=bb.AdjustmentPurpose.CORRECTION,
...     reason="50 was typed for 5",
...     correlation_id="case-7",
... )
>>> proposal = ledger.governance.propose(draft, proposed_by=anna)
>>> ledger.governance.approve(proposal.sequence, ben).entry is None
True
>>> ledger.governance.approve(proposal.sequence, cleo).entry.intent.value
'adjustment'
>>> print(ledger.balance("ALICE", "USDT").available)
5
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import attrs

from bibank.calls import asked_of_drafts, mark_of
from bibank.committer import Committer, Found
from bibank.envelopes import EnvelopeDrafts, payload_of
from bibank.errors import ConfigurationError, InvalidType, InvalidValue
from bibank.journal.account_records import TRANSITIONS, given_reason
from bibank.journal.approvals import approval_required, approvals_needed
from bibank.journal.authority import refusal
from bibank.journal.batches import PreparedBatch
from bibank.journal.machine import LedgerMachine
from bibank.journal.overrides import check_rule
from bibank.journal.proposals import (
    digest_of,
    read_proposal,
)
from bibank.journal.records import RECORD_TABLE, Inner, Subject, check_record
from bibank.model.account import AccountKey
from bibank.model.amount import SignedAmount
from bibank.model.entry import JournalEntry, UnsignedEntry
from bibank.model.identifier import check_correlation_id
from bibank.model.json_value import FrozenMap
from bibank.model.keyring import Keyring, key_id_of
from bibank.model.links import ApprovedBy, IdempotencyMark
from bibank.model.policy import Purpose, Role
from bibank.model.record import JournalLine, JournalRecord, RecordKind, UnsignedRecord
from bibank.model.timestamp import check_utc, format_timestamp
from bibank.opening import check_signers
from bibank.queries import Queries, check_sequence
from bibank.signing.dsse import Envelope
from bibank.signing.signer import Signer
from bibank.signing.trust import KeyringTrust

_KINDS = {
    kind.value: kind
    for kind, rule in RECORD_TABLE.items()
    if rule.inner in (Inner.PROPOSER, Inner.APPROVER, Inner.ANYBODY) or kind in TRANSITIONS
} | {RecordKind.OVERRIDE.value: RecordKind.OVERRIDE}
"""What is decided here; keyring and rules have verbs of their own."""


@attrs.frozen(kw_only=True)
class Approved:
    """An approval that was committed, and the entry where it was the one that made enough."""

    record: JournalRecord
    entry: JournalEntry | None


class Governance(EnvelopeDrafts):
    """The decisions of one ledger's operators.

    `authorised_by` are the signers who agree, as many as the keyring's policy asks for; the ledger's own key
    signs by itself while no operator's key was ever added. `reason` says why, for whoever reads the
    journal later. `idempotency_key` makes a retry safe. Every verb raises `NotAuthorised`, whose `reason`
    says what is wrong with who signed or what was signed, and `InvalidInput` kinds; then nothing was changed.
    """

    def __init__(
        self, committer: Committer, trust: KeyringTrust, queries: Queries, *, trace: str | None
    ) -> None:
        super().__init__(queries)
        self._committer = committer
        self._trust = trust
        self._trace = trace

    def __repr__(self) -> str:
        return f"<Governance of {self._queries.ledger_id}>"

    # ------------------------------------------------------------------ accounts

    def freeze(
        self,
        account: AccountKey,
        *,
        reason: str,
        authorised_by: Sequence[Signer] = (),
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> JournalRecord:
        """Let nothing leave an account from here on; money may still arrive.

        Raises `AccountFrozen` when it is frozen, `AccountClosed` when it is closed.
        """
        return self._decide(
            RecordKind.ACCOUNT_FROZEN, account, None, reason, authorised_by, correlation_id, idempotency_key
        )

    def reopen(
        self,
        account: AccountKey,
        *,
        reason: str,
        authorised_by: Sequence[Signer] = (),
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> JournalRecord:
        """Let money move freely again on an account that was frozen or closed; its floor stays as it is."""
        return self._decide(
            RecordKind.ACCOUNT_REOPENED, account, None, reason, authorised_by, correlation_id, idempotency_key
        )

    def close(
        self,
        account: AccountKey,
        *,
        reason: str,
        authorised_by: Sequence[Signer] = (),
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> JournalRecord:
        """Let nothing move on an account from here on, in or out.

        Raises `AccountNotEmpty` for one that holds money, or of which money is held; `AccountClosed`.
        """
        return self._decide(
            RecordKind.ACCOUNT_CLOSED, account, None, reason, authorised_by, correlation_id, idempotency_key
        )

    def limit(
        self,
        account: AccountKey,
        *,
        floor: SignedAmount | str | int,
        reason: str,
        authorised_by: Sequence[Signer] = (),
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> JournalRecord:
        """Let an account fall to a floor of 0 or below: an overdraft, which 0 ends.

        `floor` is in the account's asset, in the direction of its normal balance. One that has fallen
        further already may only receive. Raises `InvalidValue` for accounts that have no floor, and for held
        money; `AccountClosed`.
        """
        lowest = floor if isinstance(floor, SignedAmount) else SignedAmount(floor)
        return self._decide(
            RecordKind.LIMIT_SET, account, lowest, reason, authorised_by, correlation_id, idempotency_key
        )

    def _decide(
        self,
        kind: RecordKind,
        account: AccountKey,
        floor: SignedAmount | None,
        reason: str,
        authorised_by: Sequence[Signer],
        correlation_id: str | UUID | None,
        key: str | UUID | None,
    ) -> JournalRecord:
        asked = {
            "account": str(account),
            "floor": None if floor is None else str(floor),
            "reason": given_reason(reason),
        }
        return self._signed_by_many(
            lambda: self.draft_decision(kind, account, reason=reason, floor=floor),
            authorised_by,
            correlation_id,
            key,
            {"arguments": asked, "verb": kind.value},
        )

    # ------------------------------------------------------------------ proposals and approvals

    def propose(
        self,
        entry: UnsignedEntry,
        *,
        proposed_by: Signer | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> JournalRecord:
        """Propose an entry that needs approvals; the line of the record is its number.

        `proposed_by` is an operator, who then does not approve; the ledger's own key unless given. The
        record has the entry's correlation id. Raises `InvalidValue` for an entry that needs no approvals,
        `ApprovalRequired` while there are too few who could give them.
        """
        signer = proposed_by if proposed_by is not None else self._own_signer()
        check_signers((signer,))
        envelope = self.draft_proposal(entry)
        asked = {**asked_of_drafts((entry,)), "verb": "propose"}
        mark = mark_of(idempotency_key, asked)
        found = self._committer.find(mark) if mark is not None else None
        if found is None:
            self._check_proposable(entry, signer)
            found = self._commit(
                envelope.signed_by(signer, key_id=key_id_of(signer.public_key)), entry.correlation_id, mark
            )
        return _record(found)

    def approve(
        self,
        sequence: int,
        signer: Signer,
        *,
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> Approved:
        """Approve the proposal of a line. The approval that makes enough commits the entry in its own batch.

        Then the entry is judged by every rule, and what refuses it refuses the approval too: nothing is
        changed, and the same approval may be given later.
        """
        check_signers((signer,))
        check_sequence(sequence, minimum=1)
        asked = {"arguments": {"sequence": sequence, "signer": signer.signer_id}, "verb": "approve"}
        mark = mark_of(idempotency_key, asked)
        found = self._committer.find(mark) if mark is not None else None
        if found is None:
            envelope = self.draft_approval(sequence)
            found = self._commit(
                envelope.signed_by(signer, key_id=key_id_of(signer.public_key)), correlation_id, mark
            )
        return _approved(_lines(found))

    def _check_proposable(self, entry: UnsignedEntry, signer: Signer) -> None:
        """Demand that an entry needs approvals, and that there are persons to give them."""
        keyring = self._keyring()
        needed = approvals_needed(entry.intent, entry.postings, entry.metadata, keyring)
        if not needed:
            raise InvalidValue(f"this {entry.intent.value} needs no approvals; commit it")
        role = keyring.policies[Purpose.ADJUSTMENT].role
        able = {key.signer_id for key in keyring.active(role)} - {signer.signer_id}
        if len(able) < needed:
            raise approval_required(entry.intent, needed, able, role)

    # ------------------------------------------------------------------ attestations

    def attest(
        self,
        sequence: int,
        signer: Signer,
        *,
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> JournalRecord:
        """Add a signature to a committed line, with any key of the keyring. The line stays as it is."""
        check_signers((signer,))
        check_sequence(sequence, minimum=1)
        asked = {"arguments": {"sequence": sequence, "signer": signer.signer_id}, "verb": "attest"}
        mark = mark_of(idempotency_key, asked)
        found = self._committer.find(mark) if mark is not None else None
        if found is None:
            envelope = self.draft_attestation(sequence)
            found = self._commit(
                envelope.signed_by(signer, key_id=key_id_of(signer.public_key)), correlation_id, mark
            )
        return _record(found)

    # ------------------------------------------------------------------ overrides

    def override(
        self,
        entry: UnsignedEntry,
        *,
        rule: str,
        expires_at: datetime,
        reason: str,
        authorised_by: Sequence[Signer] = (),
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> JournalRecord:
        """Let one entry pass one rule once, until a time (aware UTC).

        The entry is known by its whole content, correlation id included, and is committed afterwards like
        any other. Rules of the host and adopted rules can be overridden; what every ledger has cannot.
        """
        if not isinstance(entry, UnsignedEntry):
            raise InvalidType(f"an override is for an UnsignedEntry, not {type(entry).__name__}")
        asked = {
            **asked_of_drafts((entry,)),
            "expires_at": format_timestamp(check_utc(expires_at)),
            "reason": given_reason(reason),
            "rule": check_rule(rule),
            "verb": "override",
        }
        return self._signed_by_many(
            lambda: self.draft_override(entry, rule=rule, expires_at=expires_at, reason=reason),
            authorised_by,
            correlation_id,
            idempotency_key,
            asked,
        )

    # ------------------------------------------------------------------ committing

    def commit(
        self, envelope: Envelope, *, correlation_id: str | UUID | None = None
    ) -> tuple[JournalLine, ...]:
        """Commit what was signed elsewhere; gives the record, and the entry where it carries one out.

        Raises `ConfigurationError` for what is no envelope of governance.
        """
        if type(envelope) is not Envelope:
            raise InvalidType(f"an Envelope is committed, not {type(envelope).__name__}")
        return _lines(self._commit(envelope, correlation_id, None))

    def _signed_by_many(
        self,
        draft: Callable[[], Envelope],
        authorised_by: Sequence[Signer],
        correlation_id: str | UUID | None,
        key: str | UUID | None,
        asked: Mapping[str, object],
    ) -> JournalRecord:
        """Have a draft signed by those who agree, and by the ledger's own key where it decides; commit it."""
        signers = [*check_signers(authorised_by)]
        mark = mark_of(key, asked)
        found = self._committer.find(mark) if mark is not None else None
        if found is None:
            envelope = draft()
            own = self._committer.signer
            if own is not None and self._keyring().deciding_role(Purpose.RULES) is Role.SYSTEM:
                signers.append(own.signer)
            for signer in signers:
                envelope = envelope.signed_by(signer, key_id=key_id_of(signer.public_key))
            found = self._commit(envelope, correlation_id, mark)
        return _record(found)

    def _commit(
        self, envelope: Envelope, correlation_id: str | UUID | None, mark: IdempotencyMark | None
    ) -> Found:
        if envelope.kind not in _KINDS:
            raise ConfigurationError("governance commits the envelopes that its drafts are")
        kind, body = _KINDS[envelope.kind], envelope.to_body()
        check_record(kind, body)
        if kind is RecordKind.ATTESTATION:
            self._check_attested(envelope.payload)
        record = UnsignedRecord(
            kind=kind,
            subject=self._subject(kind, envelope),
            correlation_id=check_correlation_id(self._trace if correlation_id is None else correlation_id),
            body=body,
        )
        if kind is not RecordKind.APPROVAL:
            return self._committer.commit(PreparedBatch((record,), key=mark))
        cited = envelope.payload["sequence"]
        assert isinstance(cited, int), "the record table holds it to that"
        proposed = read_proposal(payload_of(self._proposal(cited)))

        def write(machine: LedgerMachine) -> PreparedBatch:
            open_proposal = machine.links.approvals.find(cited)
            if open_proposal is None:
                return PreparedBatch((record,), key=mark)
            keyring = self._trust.current.keyring
            standing = [approval.digest for approval in open_proposal.standing(keyring)]
            policy = keyring.policies[Purpose.ADJUSTMENT]
            if len(standing) + 1 < policy.approvals_for(open_proposal.purpose):
                return PreparedBatch((record,), key=mark)
            approved = ApprovedBy(
                sequence=cited,
                proposal=open_proposal.digest,
                approvals=tuple(sorted({*standing, digest_of(body)})),
            )
            return PreparedBatch((record, proposed.draft(approved)), key=mark)

        return self._committer.commit_written(write)

    def _check_attested(self, payload: FrozenMap) -> None:
        """Demand that what is attested is the line that stands there."""
        cited = payload["sequence"]
        assert isinstance(cited, int), "the record table holds it to that"
        line = self._queries.line(cited)
        if payload["hash"] != line.hash:
            raise refusal(
                f"what was signed is not line {cited} of this ledger, which is {line.hash}",
                reason="other_content",
                advice="a signature over the line that stands there would pass",
            )

    def _subject(self, kind: RecordKind, envelope: Envelope) -> str:
        """Name what a record is about; who signed it, where that is known here."""
        subject = RECORD_TABLE[kind].subject
        if subject is Subject.ACCOUNT:
            return str(envelope.payload["account"])
        if subject is Subject.LEDGER or not envelope.signatures:
            return self._queries.ledger_id
        known = {key.key_id: key.signer_id for key in self._keyring().keys}
        return known.get(envelope.signatures[0][0], self._queries.ledger_id)

    def _keyring(self) -> Keyring:
        with self._committer.reading():
            return self._trust.current.keyring

    def _own_signer(self) -> Signer:
        own = self._committer.signer
        if own is None:
            raise ConfigurationError("the ledger has no signer of its own; say who proposes it")
        return own.signer


def _lines(found: Found) -> tuple[JournalLine, ...]:
    return tuple(found.view(index) for index in range(len(found.lines)))


def _record(found: Found) -> JournalRecord:
    line = found.view(0)
    assert isinstance(line, JournalRecord)
    return line


def _approved(lines: Sequence[JournalLine]) -> Approved:
    record, *rest = lines
    assert isinstance(record, JournalRecord)
    entry = rest[0] if rest else None
    assert entry is None or isinstance(entry, JournalEntry)
    return Approved(record=record, entry=entry)
