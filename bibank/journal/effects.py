"""Effects: what each kind of record does, when it is proposed and when it is read. One function for both.

A record is in force from its own sequence on. Whatever it changes can be taken back with the batch that
it stands in: the keyring and the rule sets by their sequence, the rest by the change log of the link book.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, assert_never

from bibank.errors import InvalidEntry
from bibank.journal.account_records import take_decision
from bibank.journal.accounts import AccountBook
from bibank.journal.authority import authorised, sole_signer
from bibank.journal.genesis import read_adopted
from bibank.journal.link_book import LinkBook
from bibank.journal.proposals import digest_of
from bibank.journal.records import RECORD_TABLE
from bibank.journal.rule_sets import RuleBook
from bibank.journal.trust import TrustGate
from bibank.model.json_value import FrozenMap
from bibank.model.policy import Purpose
from bibank.model.record import JournalRecord, RecordKind, UnsignedRecord, key_of, without_key


class Parts(NamedTuple):
    """What records act on: the parts of a ledger's state."""

    trust: TrustGate
    rules: RuleBook
    book: AccountBook
    links: LinkBook


def take_effect(
    record: UnsignedRecord | JournalRecord,
    parts: Parts,
    *,
    sequence: int,
    moment: datetime,
    ledger_id: str,
) -> None:
    """Judge a record by what the format fixes, and let it be in force.

    Raises `NotAuthorised` and other `Refused` kinds, or `InvalidInput` kinds; the caller takes back what
    was changed until then.
    """
    kind, body = record.kind, record.body
    trust, rules, book, links = parts
    match kind:
        case RecordKind.KEYRING_ADOPTED:
            trust.adopt(read_adopted(body), ledger_id=record.subject)
            return
        case RecordKind.RECOVERY:
            about = ledger_id
        case RecordKind.KEYRING_CHANGED:
            about = ledger_id
            trust.change(body, sequence=sequence)
        case RecordKind.RULES_ADOPTED:
            about = ledger_id
            rules.adopt(_decided(record, trust, ledger_id), ledger_id=ledger_id, sequence=sequence)
        case (
            RecordKind.ACCOUNT_FROZEN
            | RecordKind.ACCOUNT_REOPENED
            | RecordKind.ACCOUNT_CLOSED
            | RecordKind.LIMIT_SET
        ):
            payload = _decided(record, trust, ledger_id)
            about = str(payload["account"])
            take_decision(kind, payload, sequence=sequence, book=book, log=links.log)
        case RecordKind.OVERRIDE:
            about = ledger_id
            links.overrides.give(_decided(record, trust, ledger_id), sequence=sequence, moment=moment)
        case RecordKind.PROPOSAL | RecordKind.APPROVAL | RecordKind.ATTESTATION:
            about = _take_word(record, parts, sequence=sequence, moment=moment, ledger_id=ledger_id)
        case _:
            assert_never(kind)
    if record.subject != about:
        what = RECORD_TABLE[kind].subject.value
        raise InvalidEntry(f"the subject of a {kind.value} record is {what}, {about}, not {record.subject}")
    mark = key_of(body)
    if mark is not None:
        links.note_key(mark.key, sequence)


def _take_word(
    record: UnsignedRecord | JournalRecord,
    parts: Parts,
    *,
    sequence: int,
    moment: datetime,
    ledger_id: str,
) -> str:
    """Take what is one key's word; give whose."""
    kind, trust, links = record.kind, parts.trust, parts.links
    payload, key = sole_signer(trust, record.body, kind=kind.value, ledger_id=ledger_id)
    keyring = trust.keyring
    if kind is RecordKind.PROPOSAL:
        policy = keyring.policies[Purpose.ADJUSTMENT]
        links.approvals.propose(payload, key, sequence=sequence, moment=moment, policy=policy)
    elif kind is RecordKind.APPROVAL:
        digest = digest_of(without_key(record.body))
        links.approvals.approve(
            payload, key, digest=digest, sequence=sequence, moment=moment, keyring=keyring
        )
    else:
        links.attestations.attest(payload, key, sequence=sequence)
    return key.signer_id


def _decided(record: UnsignedRecord | JournalRecord, trust: TrustGate, ledger_id: str) -> FrozenMap:
    """Give the payload of what the policy for rules decides."""
    return authorised(trust, record.body, kind=record.kind.value, purpose=Purpose.RULES, ledger_id=ledger_id)
