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
from bibank.journal.records import RECORD_TABLE, Inner, Subject
from bibank.journal.rule_sets import RuleBook
from bibank.journal.trust import TrustGate
from bibank.model.json_value import FrozenMap
from bibank.model.keyring import KeyringKey
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
    kind, rule = record.kind, RECORD_TABLE[record.kind]
    trust, rules, book, links = parts
    payload, key = _opened(record, rule.inner, trust, ledger_id)
    match kind:
        case RecordKind.KEYRING_ADOPTED:
            trust.adopt(read_adopted(record.body), ledger_id=record.subject)
            return
        case RecordKind.RECOVERY:
            pass
        case RecordKind.KEYRING_CHANGED:
            trust.change(record.body, sequence=sequence)
        case RecordKind.RULES_ADOPTED:
            rules.adopt(payload, ledger_id=ledger_id, sequence=sequence)
        case (
            RecordKind.ACCOUNT_FROZEN
            | RecordKind.ACCOUNT_REOPENED
            | RecordKind.ACCOUNT_CLOSED
            | RecordKind.LIMIT_SET
        ):
            take_decision(kind, payload, sequence=sequence, book=book, log=links.log)
        case RecordKind.OVERRIDE:
            links.overrides.give(payload, sequence=sequence, moment=moment)
        case RecordKind.PROPOSAL:
            assert key is not None, "the record table asks for one"
            policy = trust.keyring.policies[Purpose.ADJUSTMENT]
            links.approvals.propose(payload, key, sequence=sequence, moment=moment, policy=policy)
        case RecordKind.APPROVAL:
            assert key is not None, "the record table asks for one"
            digest, keyring = digest_of(without_key(record.body)), trust.keyring
            links.approvals.approve(
                payload, key, digest=digest, sequence=sequence, moment=moment, keyring=keyring
            )
        case RecordKind.ATTESTATION:
            assert key is not None, "the record table asks for one"
            links.attestations.attest(payload, key, sequence=sequence)
        case _:
            assert_never(kind)
    about = {
        Subject.LEDGER: ledger_id,
        Subject.ACCOUNT: str(payload.get("account")),
        Subject.SIGNER: "" if key is None else key.signer_id,
    }[rule.subject]
    if record.subject != about:
        raise InvalidEntry(
            f"the subject of this {kind.value} record is {rule.subject.value}, {about}, not {record.subject}"
        )
    mark = key_of(record.body)
    if mark is not None:
        links.note_key(mark.key, sequence)


def _opened(
    record: UnsignedRecord | JournalRecord, inner: Inner, trust: TrustGate, ledger_id: str
) -> tuple[FrozenMap, KeyringKey | None]:
    """Judge who signed inside a record, as its row asks; give payload, and key where it is one's word."""
    kind, body = record.kind.value, record.body
    match inner:
        case Inner.NOBODY | Inner.KEYRING:  # what a keyring change needs depends on what it changes
            return FrozenMap(), None
        case Inner.RULES:
            payload = authorised(trust, body, kind=kind, purpose=Purpose.RULES, ledger_id=ledger_id)
            return payload, None
        case Inner.PROPOSER | Inner.APPROVER | Inner.ANYBODY:
            return sole_signer(trust, body, kind=kind, ledger_id=ledger_id)
        case _:
            assert_never(inner)
