"""Committing envelopes: what people signed becomes a record, and with the last approval, an entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from bibank.calls import mark_of
from bibank.committer import Committer
from bibank.envelopes import EnvelopeDrafts, payload_of
from bibank.errors import ConfigurationError, InvalidType, InvalidValue
from bibank.journal.approvals import approval_required, approvals_needed
from bibank.journal.authority import refusal
from bibank.journal.batches import PreparedBatch
from bibank.journal.machine import LedgerMachine
from bibank.journal.proposals import ProposedEntry, check_fits, digest_of, read_proposal
from bibank.journal.records import RECORD_TABLE, Subject, check_record
from bibank.model.identifier import check_correlation_id
from bibank.model.json_value import FrozenMap
from bibank.model.keyring import Keyring
from bibank.model.links import ApprovedBy, IdempotencyMark
from bibank.model.policy import Purpose, Role
from bibank.model.record import JournalLine, RecordKind, UnsignedRecord
from bibank.opening import check_signers
from bibank.queries import Queries
from bibank.risk.engine import BUILT_IN_NAMES, RiskEngine
from bibank.signing.dsse import Envelope
from bibank.signing.signer import Signer
from bibank.signing.trust import KeyringTrust

_KINDS = {
    kind.value: kind
    for kind in (
        RecordKind.ACCOUNT_CLOSED,
        RecordKind.ACCOUNT_FROZEN,
        RecordKind.ACCOUNT_REOPENED,
        RecordKind.APPROVAL,
        RecordKind.ATTESTATION,
        RecordKind.LIMIT_SET,
        RecordKind.OVERRIDE,
        RecordKind.PROPOSAL,
    )
}
"""What is committed here; keyring and rules have verbs of their own."""


class EnvelopeCommits(EnvelopeDrafts):
    """Commits envelopes to one ledger."""

    def __init__(
        self,
        committer: Committer,
        trust: KeyringTrust,
        engine: RiskEngine,
        queries: Queries,
        *,
        trace: str | None,
    ) -> None:
        super().__init__(queries)
        self._committer = committer
        self._trust = trust
        self._engine = engine
        self._trace = trace

    def commit(
        self, envelope: Envelope, *, correlation_id: str | UUID | None = None
    ) -> tuple[JournalLine, ...]:
        """Commit what was signed elsewhere; gives the record, and the entry where it carries one out.

        Raises what the verb would raise; `ConfigurationError` for what is no envelope of governance.
        """
        if type(envelope) is not Envelope:
            raise InvalidType(f"an Envelope is committed, not {type(envelope).__name__}")
        return self._commit(envelope, correlation_id, None)

    def _asked(
        self,
        draft: Callable[[], Envelope],
        signers: Sequence[Signer],
        asked: Mapping[str, object],
        correlation_id: str | UUID | None,
        key: str | UUID | None,
    ) -> tuple[JournalLine, ...]:
        """Have a draft signed and commit it; give what was committed before under the same key."""
        check_signers(signers)
        mark = mark_of(key, asked)
        found = self._committer.find(mark) if mark is not None else None
        if found is not None:
            return found.views()
        envelope = draft()
        for signer in signers:
            envelope = envelope.signed_by(signer)
        return self._commit(envelope, correlation_id, mark)

    def _deciding(self, authorised_by: Sequence[Signer]) -> tuple[Signer, ...]:
        """Give who signs a decision: those who agree, and the ledger's own key while it decides."""
        signers = check_signers(authorised_by)
        own = self._committer.signer
        if own is not None and self._keyring().deciding_role(Purpose.RULES) is Role.SYSTEM:
            return (*signers, own.signer)
        return signers

    def _commit(
        self, envelope: Envelope, correlation_id: str | UUID | None, mark: IdempotencyMark | None
    ) -> tuple[JournalLine, ...]:
        if envelope.kind not in _KINDS:
            raise ConfigurationError("governance commits the envelopes that its drafts are")
        kind, body = _KINDS[envelope.kind], envelope.to_body()
        check_record(kind, body)
        signer_id = self._signer_of(envelope)
        if kind is RecordKind.ATTESTATION:
            self._check_attested(envelope.payload)
        elif kind is RecordKind.PROPOSAL:
            self._check_proposable(read_proposal(envelope.payload), signer_id)
        elif kind is RecordKind.OVERRIDE:
            self._check_rule(envelope.payload["rule"])
        subject = {
            Subject.LEDGER: self._queries.ledger_id,
            Subject.ACCOUNT: str(envelope.payload.get("account")),
            Subject.SIGNER: signer_id,
        }[RECORD_TABLE[kind].subject]
        record = UnsignedRecord(
            kind=kind,
            subject=subject,
            correlation_id=check_correlation_id(self._trace if correlation_id is None else correlation_id),
            body=body,
        )
        if kind is RecordKind.APPROVAL:
            return self._committer.commit_written(self._approving(record, envelope, mark)).views()
        return self._committer.commit(PreparedBatch((record,), key=mark)).views()

    def _approving(
        self, record: UnsignedRecord, envelope: Envelope, mark: IdempotencyMark | None
    ) -> Callable[[LedgerMachine], PreparedBatch]:
        """Give what writes the batch of an approval: with the entry, where it makes enough."""
        cited = envelope.payload["sequence"]
        assert isinstance(cited, int), "the record table holds it to that"
        proposed = read_proposal(payload_of(self._proposal(cited)))
        digest = digest_of(envelope.to_body())

        def write(machine: LedgerMachine) -> PreparedBatch:
            proposal = machine.links.approvals.find(cited)
            keyring = machine.keyring
            standing = [one.digest for one in proposal.standing(keyring)] if proposal is not None else []
            policy = keyring.policies[Purpose.ADJUSTMENT]
            if proposal is None or len(standing) + 1 < proposal.needed(policy):
                return PreparedBatch((record,), key=mark)
            approvals = tuple(sorted({*standing, digest}))
            approved = ApprovedBy(sequence=cited, proposal=proposal.digest, approvals=approvals)
            return PreparedBatch((record, proposed.draft(approved)), key=mark)

        return write

    # ------------------------------------------------------------------ what replay does not ask

    def _check_attested(self, payload: FrozenMap) -> None:
        """Demand that what is attested is the line that stands there."""
        cited = payload["sequence"]
        assert isinstance(cited, int), "the record table holds it to that"
        line = self._queries.line(cited)
        if payload["ledger"] == self._queries.ledger_id and payload["hash"] != line.hash:
            raise refusal(
                f"what was signed is not line {cited} of this ledger, which is {line.hash}",
                reason="other_content",
                advice="a signature over the line that stands there would pass",
            )

    def _check_proposable(self, entry: ProposedEntry, proposer: str) -> None:
        """Demand that an entry needs approvals, and that there are persons to give them."""
        check_fits(entry)
        keyring = self._keyring()
        needed = approvals_needed(entry.intent, entry.postings, entry.metadata, keyring)
        if not needed:
            raise InvalidValue(f"this {entry.intent.value} needs no approvals; it can be committed as it is")
        role = keyring.policies[Purpose.ADJUSTMENT].role
        able = {key.signer_id for key in keyring.active(role)} - {proposer}
        if len(able) < needed:
            raise approval_required(entry.intent, needed, able, role)

    def _check_rule(self, name: object) -> None:
        """Demand that a rule is asked in this ledger, and can be overridden."""
        names = [found for found in self._engine.rule_names if found not in BUILT_IN_NAMES]
        if name not in names:
            listed = ", ".join(names) or "there are none"
            raise InvalidValue(
                f"{name} is no adopted rule nor one of the host; these can be overridden: {listed}"
            )

    def _signer_of(self, envelope: Envelope) -> str:
        """Name who signed first, where that is known here; whether it holds is judged under the lock."""
        known = {key.key_id: key.signer_id for key in self._keyring().keys}
        return known.get(envelope.signatures[0][0] if envelope.signatures else "", self._queries.ledger_id)

    def _keyring(self) -> Keyring:
        with self._committer.reading():
            return self._trust.current.keyring

    def _own_signer(self) -> Signer:
        own = self._committer.signer
        if own is None:
            raise ConfigurationError("the ledger has no signer of its own; say who proposes it")
        return own.signer
