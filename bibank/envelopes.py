"""Envelopes: what people sign, drafted from what the ledger holds. For signers that are not in this process.

A draft is signed with :meth:`bibank.signing.Envelope.signed_by`, here or on another machine, and comes back
to :meth:`bibank.governance.Governance.commit`.
"""

from __future__ import annotations

from datetime import datetime

from bibank.errors import InvalidMetadata, InvalidType, InvalidValue, UnknownSequence
from bibank.journal.account_records import TRANSITIONS, check_floor, given_reason
from bibank.journal.overrides import check_rule
from bibank.journal.proposals import (
    check_fits,
    content_digest,
    digest_of,
    proposal_payload,
    read_proposal,
)
from bibank.model.account import AccountKey
from bibank.model.amount import SignedAmount
from bibank.model.entry import UnsignedEntry
from bibank.model.json_value import BODY_LIMITS, FrozenMap, JsonValue, freeze
from bibank.model.links import EntryLinks
from bibank.model.record import JournalRecord, RecordKind
from bibank.model.timestamp import check_utc, format_timestamp
from bibank.queries import Queries
from bibank.signing.dsse import Envelope


class EnvelopeDrafts:
    """Writes envelopes, unsigned. Asks the ledger, and changes nothing."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def draft_decision(
        self,
        kind: RecordKind,
        account: AccountKey,
        *,
        reason: str,
        floor: SignedAmount | str | int | None = None,
    ) -> Envelope:
        """Write a decision about an account as an envelope, for signers elsewhere."""
        if not isinstance(kind, RecordKind):
            raise InvalidType(f"kind is a RecordKind, not {type(kind).__name__}")
        if kind not in TRANSITIONS:
            raise InvalidValue(f"a {getattr(kind, 'value', kind)} is no decision about an account")
        if not isinstance(account, AccountKey):
            raise InvalidType(f"account is an AccountKey, not {type(account).__name__}")
        members: dict[str, JsonValue] = {}
        if (floor is not None) is not (kind is RecordKind.LIMIT_SET):
            raise InvalidValue("a floor belongs to a limit_set, and only there")
        if floor is not None:
            lowest = floor if isinstance(floor, SignedAmount) else SignedAmount(floor)
            members["floor"] = str(check_floor(account, lowest))
        terms = self._queries.terms_of(account)
        members |= {
            "account": account.text,
            "ledger": self._queries.ledger_id,
            "previous": 0 if terms is None else terms.sequence,
            "reason": given_reason(reason),
        }
        return Envelope(kind=kind.value, payload=freeze(members, BODY_LIMITS))

    def draft_proposal(self, entry: UnsignedEntry) -> Envelope:
        """Write a proposal as an envelope, for a signer elsewhere."""
        if not isinstance(entry, UnsignedEntry):
            raise InvalidType(f"an UnsignedEntry is proposed, not {type(entry).__name__}")
        if entry.links != EntryLinks(effective_at=entry.links.effective_at):
            raise InvalidMetadata("what is proposed follows from no other line and bears no key")
        payload = proposal_payload(
            ledger_id=self._queries.ledger_id,
            intent=entry.intent,
            correlation_id=entry.correlation_id,
            postings=entry.postings,
            metadata=entry.whole_metadata,
        )
        check_fits(read_proposal(payload))
        return Envelope(kind=RecordKind.PROPOSAL.value, payload=payload)

    def draft_approval(self, sequence: int) -> Envelope:
        """Write an approval of the proposal of a line as an envelope, for a signer elsewhere.

        Raises `UnknownSequence` when the line is no proposal.
        """
        proposal = self._proposal(sequence)
        members: dict[str, JsonValue] = {
            "ledger": self._queries.ledger_id,
            "proposal": digest_of(payload_of(proposal)),
            "sequence": sequence,
        }
        return Envelope(kind=RecordKind.APPROVAL.value, payload=freeze(members, BODY_LIMITS))

    def _proposal(self, sequence: int) -> JournalRecord:
        record = self._queries.record(sequence)
        if record.kind is not RecordKind.PROPOSAL:
            raise UnknownSequence(f"line {sequence} is a {record.kind.value} record, not a proposal")
        return record

    def draft_attestation(self, sequence: int) -> Envelope:
        """Write an attestation of a line as an envelope, for a signer elsewhere."""
        members: dict[str, JsonValue] = {
            "hash": self._queries.line(sequence).hash,
            "ledger": self._queries.ledger_id,
            "sequence": sequence,
        }
        return Envelope(kind=RecordKind.ATTESTATION.value, payload=freeze(members, BODY_LIMITS))

    def draft_override(
        self, entry: UnsignedEntry, *, rule: str, expires_at: datetime, reason: str
    ) -> Envelope:
        """Write an override as an envelope, for signers elsewhere."""
        if not isinstance(entry, UnsignedEntry):
            raise InvalidType(f"an override is for an UnsignedEntry, not {type(entry).__name__}")
        ledger_id = self._queries.ledger_id
        members: dict[str, JsonValue] = {
            "entry": content_digest(entry, ledger_id=ledger_id),
            "expires_at": format_timestamp(check_utc(expires_at)),
            "ledger": ledger_id,
            "reason": given_reason(reason),
            "rule": check_rule(rule),
        }
        return Envelope(kind=RecordKind.OVERRIDE.value, payload=freeze(members, BODY_LIMITS))


def payload_of(record: JournalRecord) -> FrozenMap:
    """Give the payload of the envelope in a record."""
    payload = record.body["payload"]
    assert isinstance(payload, FrozenMap), "the record table holds it to that"
    return payload
