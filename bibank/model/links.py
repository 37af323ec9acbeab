"""Links: what the ledger itself writes into an entry's metadata, as typed values.

Each stands under a name that begins with `bb.`; numbers are decimal text, times are canonical. What is
not in this table is refused, written or read.

>>> EntryLinks(hold=17).to_metadata()
{'bb.hold': '17'}
>>> EntryLinks.from_metadata({"bb.hold": "17", "note": "free text"})
EntryLinks(effective_at=None, idempotency=None, opens=None, hold=17, reverses=None, approved=None)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

import attrs

from bibank.errors import InvalidMetadata, InvalidType, excerpt
from bibank.model.account import AccountKey
from bibank.model.identifier import check_identifier
from bibank.model.json_value import JsonValue
from bibank.model.timestamp import check_utc, format_timestamp, parse_timestamp

RESERVED_PREFIX = "bb."
"""Metadata names that only the library writes."""

_WITHDRAWAL = "WITHDRAWAL"
"""The payee of a hold that is kept for money that will leave the ledger."""

MAX_SEQUENCE = 2**63 - 1

KEY_NAME, DIGEST_NAME = "bb.idempotency_key", "bb.idempotency_digest"
PROPOSAL_NAME, APPROVALS_NAME = "bb.proposal", "bb.approvals"

COMPARISON_REMOVES = frozenset({KEY_NAME, DIGEST_NAME, PROPOSAL_NAME, APPROVALS_NAME})
"""What an entry may say beyond the proposal that it carries out."""

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SEQUENCE = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


def _check_sequence(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidType(f"the sequence of a line is an int, not {type(value).__name__}")
    if not 1 <= value <= MAX_SEQUENCE:
        raise InvalidMetadata(f"{excerpt(value)} is not the sequence of a line")
    return int(value)


def _check_moment(value: object) -> datetime | None:
    return None if value is None else check_utc(value)


def _check_key(value: object) -> str:
    return check_identifier(value, name="idempotency_key")


def check_digest(value: object) -> str:
    """Return SHA-256 in lower-case hex unchanged, or raise `InvalidMetadata`."""
    if not isinstance(value, str) or _DIGEST.fullmatch(value) is None:
        raise InvalidMetadata(f"digest {excerpt(value)} is not 64 lower-case hex digits")
    return value


def _check_payee(value: object) -> AccountKey | None:
    if value is not None and not isinstance(value, AccountKey):
        raise InvalidType(f"a hold's payee is an AccountKey or None, not {type(value).__name__}")
    return value


@attrs.frozen(kw_only=True)
class IdempotencyMark:
    """The key of a request, and SHA-256 of what was asked, in lower-case hex."""

    key: str = attrs.field(converter=_check_key)
    digest: str = attrs.field(converter=check_digest)


@attrs.frozen(kw_only=True)
class HoldTerms:
    """What opens a hold: whom it may be paid to (None: out of the ledger), and until when."""

    payee: AccountKey | None = attrs.field(converter=_check_payee)
    expires_at: datetime | None = attrs.field(converter=_check_moment, default=None)


def _check_digests(value: object) -> tuple[str, ...]:
    if not isinstance(value, tuple):
        raise InvalidType(f"approvals are a tuple of digests, not {type(value).__name__}")
    digests = tuple(map(check_digest, value))
    if not digests or list(digests) != sorted(set(digests)):
        raise InvalidMetadata("approvals are sorted, each once, and at least one")
    return digests


def _check_cause(value: object) -> int:
    sequence = _check_sequence(value)
    if sequence is None:
        raise InvalidMetadata("an approved entry follows from its proposal")
    return sequence


@attrs.frozen(kw_only=True)
class ApprovedBy:
    """What an entry was approved as: the line of the proposal, its hash, and those of the approvals, sorted.

    The hash of a proposal is SHA-256 of the JCS of its payload, of an approval that of the JCS of its body,
    both in lower-case hex.
    """

    sequence: int = attrs.field(converter=_check_cause)
    proposal: str = attrs.field(converter=check_digest)
    approvals: tuple[str, ...] = attrs.field(converter=_check_digests)


def _check_approved(value: object) -> ApprovedBy | None:
    if value is not None and type(value) is not ApprovedBy:
        raise InvalidType(f"approved is an ApprovedBy or None, not {type(value).__name__}")
    return value


def _check_mark(value: object) -> IdempotencyMark | None:
    if value is not None and type(value) is not IdempotencyMark:
        raise InvalidType(f"idempotency is an IdempotencyMark or None, not {type(value).__name__}")
    return value


def _check_terms(value: object) -> HoldTerms | None:
    if value is not None and type(value) is not HoldTerms:
        raise InvalidType(f"opens is a HoldTerms or None, not {type(value).__name__}")
    return value


@attrs.frozen(kw_only=True)
class EntryLinks:
    """What ties an entry to a time, a request, or an earlier line.

    `effective_at` is when it counts (aware UTC), `opens` makes it the opening of a hold, `hold` pays
    from or voids the hold of that sequence, `reverses` takes back the entry of that sequence, `approved`
    carries out a proposal.
    Raises `InvalidType`, `InvalidMetadata`, `InvalidTimestamp`.
    """

    effective_at: datetime | None = attrs.field(converter=_check_moment, default=None)
    idempotency: IdempotencyMark | None = attrs.field(converter=_check_mark, default=None)
    opens: HoldTerms | None = attrs.field(converter=_check_terms, default=None)
    hold: int | None = attrs.field(converter=_check_sequence, default=None)
    reverses: int | None = attrs.field(converter=_check_sequence, default=None)
    approved: ApprovedBy | None = attrs.field(converter=_check_approved, default=None)

    def __attrs_post_init__(self) -> None:
        """Refuse an entry that would be two things at once."""
        if sum(link is not None for link in (self.opens, self.hold, self.reverses, self.approved)) > 1:
            raise InvalidMetadata(
                "an entry opens a hold, cites one, reverses a line, or was proposed: one of these"
            )

    @property
    def is_plain(self) -> bool:
        """Whether the entry follows from no other line and opens nothing."""
        return self.opens is None and self.hold is None and self.reverses is None and self.approved is None

    @property
    def cause(self) -> int | None:
        """The sequence of the line that the entry follows from."""
        if self.approved is not None:
            return self.approved.sequence
        return self.hold if self.hold is not None else self.reverses

    def to_metadata(self) -> dict[str, JsonValue]:
        """Give the members that stand in the line."""
        members: dict[str, JsonValue] = {}
        if self.effective_at is not None:
            members["bb.effective_at"] = format_timestamp(self.effective_at)
        if self.opens is not None:
            if self.opens.expires_at is not None:
                members["bb.expires_at"] = format_timestamp(self.opens.expires_at)
            members["bb.payee"] = _WITHDRAWAL if self.opens.payee is None else self.opens.payee.text
        if self.hold is not None:
            members["bb.hold"] = str(self.hold)
        if self.idempotency is not None:
            members[DIGEST_NAME] = self.idempotency.digest
            members[KEY_NAME] = self.idempotency.key
        if self.reverses is not None:
            members["bb.reverses"] = str(self.reverses)
        if self.approved is not None:
            members[APPROVALS_NAME] = self.approved.approvals
            members[PROPOSAL_NAME] = self.approved.proposal
        return members

    @classmethod
    def from_metadata(
        cls, metadata: Mapping[str, JsonValue], *, causality_id: str | None = None
    ) -> EntryLinks | None:
        """Read the reserved members of a line's metadata; None when there are none.

        An entry that was proposed names its proposal's line as its cause, and there only.

        Raises `InvalidMetadata` for a name that this version does not know, `InvalidValue` kinds for
        anything but the one spelling.
        """
        members = {name: value for name, value in metadata.items() if name.startswith(RESERVED_PREFIX)}
        if not members:
            return None
        links = cls(**_read(dict(members), causality_id))
        if links.to_metadata() != members:
            raise InvalidMetadata("the metadata that the ledger writes is not spelled canonically")
        return links


NO_LINKS = EntryLinks()
"""Of an entry that stands for itself."""


def _read(members: dict[str, JsonValue], causality_id: str | None) -> dict[str, object]:
    """Take known members out of what was read, one by one; what is left is unknown."""
    values: dict[str, object] = {}
    if "bb.effective_at" in members:
        values["effective_at"] = parse_timestamp(_text(members, "bb.effective_at"))
    if KEY_NAME in members or DIGEST_NAME in members:
        values["idempotency"] = IdempotencyMark(
            key=_text(members, KEY_NAME), digest=_text(members, DIGEST_NAME)
        )
    if "bb.payee" in members:
        payee = _text(members, "bb.payee")
        expires_at = parse_timestamp(_text(members, "bb.expires_at")) if "bb.expires_at" in members else None
        values["opens"] = HoldTerms(
            payee=None if payee == _WITHDRAWAL else AccountKey(payee), expires_at=expires_at
        )
    for name, field in (("bb.hold", "hold"), ("bb.reverses", "reverses")):
        if name in members:
            values[field] = _sequence(_text(members, name), name)
    if PROPOSAL_NAME in members or APPROVALS_NAME in members:
        values["approved"] = ApprovedBy(
            sequence=None if causality_id is None else _sequence(causality_id, "cause"),
            proposal=_text(members, PROPOSAL_NAME),
            approvals=members.pop(APPROVALS_NAME, None),
        )
    if members:
        raise InvalidMetadata(f"metadata.{min(members)} is not known to this version")
    return values


def _text(members: dict[str, JsonValue], name: str) -> str:
    value = members.pop(name, None)
    if not isinstance(value, str):
        raise InvalidMetadata(f"metadata.{name} is not a text")
    return value


def _sequence(text: str, name: str) -> int:
    if _SEQUENCE.fullmatch(text) is None or int(text) > MAX_SEQUENCE:
        raise InvalidMetadata(f"metadata.{name} {excerpt(text)} is not the sequence of a line")
    return int(text)
