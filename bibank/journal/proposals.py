"""Proposals: an entry that waits for approvals, spelled as everybody who approves it sees it.

The payload of a `proposal` is the whole content of the entry; its hash is what approvals sign, and what
the committed entry is compared with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import attrs

from bibank.errors import InvalidMetadata, InvalidValue
from bibank.journal.intents import check_intent
from bibank.model.account import AccountKey, Side
from bibank.model.amount import Amount
from bibank.model.entry import (
    MAX_POSTINGS,
    MIN_POSTINGS,
    JournalEntry,
    Posting,
    TransactionIntent,
    UnsignedEntry,
    check_totals,
    with_key,
)
from bibank.model.identifier import MAX_ID_LENGTH, check_correlation_id
from bibank.model.json_members import exact_items, exact_members, pick
from bibank.model.json_value import FrozenMap, JsonValue, canonical_text
from bibank.model.links import (
    COMPARISON_REMOVES,
    NO_LINKS,
    RESERVED_PREFIX,
    ApprovedBy,
    EntryLinks,
    IdempotencyMark,
)
from bibank.model.policy import MAX_THRESHOLD, AdjustmentPurpose, Policy

PROPOSABLE = (TransactionIntent.ADJUSTMENT, TransactionIntent.WITHDRAWAL)
"""What may need approvals."""

_MEMBERS = {"correlation_id", "intent", "ledger", "metadata", "postings"}

_ANY_DIGEST = "0" * 64


def proposal_payload(
    *,
    ledger_id: str,
    intent: TransactionIntent,
    correlation_id: str,
    postings: Iterable[Posting],
    metadata: Mapping[str, JsonValue],
) -> FrozenMap:
    """Spell the content of an entry, without what the ledger adds when it is carried out."""
    return FrozenMap(
        {
            "correlation_id": correlation_id,
            "intent": intent.value,
            "ledger": ledger_id,
            "metadata": FrozenMap(
                {name: value for name, value in metadata.items() if name not in COMPARISON_REMOVES}
            ),
            "postings": tuple(
                FrozenMap({"account": p.account.text, "amount": str(p.amount), "side": p.side.value})
                for p in postings
            ),
        }
    )


def digest_of(value: Mapping[str, JsonValue]) -> str:
    """Hash a payload or a body: SHA-256 of its JCS, lower-case hex."""
    return sha256(canonical_text(value).encode()).hexdigest()


def content_digest(entry: UnsignedEntry | JournalEntry, *, ledger_id: str) -> str:
    """Hash the content of an entry as a proposal of it is hashed."""
    return digest_of(
        proposal_payload(
            ledger_id=ledger_id,
            intent=entry.intent,
            correlation_id=entry.correlation_id,
            postings=entry.postings,
            metadata=entry.whole_metadata if isinstance(entry, UnsignedEntry) else entry.metadata,
        )
    )


@attrs.frozen(kw_only=True)
class ProposedEntry:
    """The entry of a proposal, read from its payload."""

    intent: TransactionIntent
    correlation_id: str
    postings: tuple[Posting, ...]
    metadata: FrozenMap
    links: EntryLinks

    @property
    def purpose(self) -> AdjustmentPurpose | None:
        """What an adjustment is for; None of a withdrawal."""
        if self.intent is not TransactionIntent.ADJUSTMENT:
            return None
        return pick(AdjustmentPurpose, self.metadata["purpose"])

    def draft(self, approved: ApprovedBy) -> UnsignedEntry:
        """Write the entry that carries the proposal out."""
        free = {name: value for name, value in self.metadata.items() if not name.startswith(RESERVED_PREFIX)}
        return UnsignedEntry(
            intent=self.intent,
            correlation_id=self.correlation_id,
            postings=self.postings,
            metadata=free,
            links=attrs.evolve(self.links, approved=approved),
        )


def read_proposal(payload: JsonValue) -> ProposedEntry:
    """Read the payload of a proposal; `InvalidValue` for what could never be carried out."""
    members = exact_members(payload, _MEMBERS, "proposal")
    intent = pick(TransactionIntent, members["intent"])
    if intent not in PROPOSABLE:
        raise InvalidValue(f"a proposal is of an adjustment or a withdrawal, not of a {intent.value}")
    metadata = members["metadata"]
    if not isinstance(metadata, FrozenMap):
        raise InvalidValue("the metadata of a proposal are an object")
    links = EntryLinks.from_metadata(metadata) or NO_LINKS
    if links != EntryLinks(effective_at=links.effective_at):
        raise InvalidMetadata("what is proposed follows from no other line and bears no key")
    postings = tuple(map(_read_posting, exact_items(members["postings"])))
    if not MIN_POSTINGS <= len(postings) <= MAX_POSTINGS:
        raise InvalidValue(f"{len(postings)} postings; an entry has {MIN_POSTINGS} to {MAX_POSTINGS}")
    check_totals((p.account.asset, p.amount.units, p.side is Side.DEBIT) for p in postings)
    check_intent(intent, postings, metadata)
    entry = ProposedEntry(
        intent=intent,
        correlation_id=check_correlation_id(members["correlation_id"]),
        postings=postings,
        metadata=metadata,
        links=links,
    )
    spelled = proposal_payload(
        ledger_id=str(members["ledger"]),
        intent=intent,
        correlation_id=entry.correlation_id,
        postings=postings,
        metadata=metadata,
    )
    if canonical_text(spelled) != canonical_text(FrozenMap(members)):
        raise InvalidValue("the proposal is not spelled canonically")
    return entry


def _read_posting(value: JsonValue) -> Posting:
    members = exact_members(value, {"account", "amount", "side"}, "posting")
    account, amount = members["account"], members["amount"]
    if not isinstance(account, str) or not isinstance(amount, str):
        raise InvalidValue("account and amount of a posting are texts")
    return Posting(AccountKey(account), Amount(amount), pick(Side, members["side"]))


def check_fits(entry: ProposedEntry) -> None:
    """Demand that an entry still fits into a line with all the approvals that it could ever bear.

    Raises kinds of `InvalidInput`, before anybody is asked to approve what could never be committed.
    """
    digests = tuple(f"{number:064x}" for number in range(MAX_THRESHOLD))
    draft = entry.draft(ApprovedBy(sequence=1, proposal=_ANY_DIGEST, approvals=digests))
    with_key(draft, IdempotencyMark(key='"' * MAX_ID_LENGTH, digest=_ANY_DIGEST))  # escaped, it is longest


def expiry(moment: datetime, policy: Policy) -> datetime:
    """Tell when a proposal made at a moment ends."""
    try:
        return moment + timedelta(seconds=policy.expiry_seconds)
    except OverflowError:  # in the last year of the calendar
        return datetime.max.replace(tzinfo=UTC)
