"""Overrides: one entry, known by its content, may pass one rule once.

A `daily-limit/1` stands, and the treasurer lets this payment through all the same: signed by whoever may
change the rules, for this content, until a time, and gone with the entry that uses it. What every ledger
has (floors, holds, reversals, account terms, approvals) nobody overrides.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import attrs

from bibank.errors import InvalidValue, excerpt
from bibank.journal.account_records import check_reason
from bibank.journal.authority import refusal
from bibank.journal.change_log import ChangeLog
from bibank.journal.proposals import content_digest, digest_of
from bibank.journal.rule_sets import RULE_NAME
from bibank.model.entry import JournalEntry, UnsignedEntry
from bibank.model.json_members import exact_members
from bibank.model.json_value import FrozenMap, JsonValue
from bibank.model.links import check_digest
from bibank.model.policy import MAX_EXPIRY_SECONDS
from bibank.model.timestamp import format_timestamp, parse_timestamp

MAX_LIFETIME = timedelta(seconds=MAX_EXPIRY_SECONDS)
"""As long as a proposal may wait: as long as one is open, every entry is compared with it."""


@attrs.frozen(kw_only=True)
class Override:
    """An override as its payload says it."""

    ledger_id: str
    entry: str
    """SHA-256 of the entry's content, as a proposal of it is hashed."""
    rule: str
    expires_at: datetime


def read_override(payload: JsonValue) -> Override:
    """Read the payload of an override; `InvalidValue` kinds for anything else."""
    members = exact_members(
        payload, {"entry", "expires_at", "ledger", "reason", "rule"}, "payload of an override"
    )
    check_reason(members["reason"])
    rule = check_rule(members["rule"])
    expires_at, ledger_id = members["expires_at"], members["ledger"]
    if not isinstance(expires_at, str) or not isinstance(ledger_id, str):
        raise InvalidValue("expires_at and ledger are texts")
    return Override(
        ledger_id=ledger_id,
        entry=check_digest(members["entry"]),
        rule=rule,
        expires_at=parse_timestamp(expires_at),
    )


def check_rule(rule: object) -> str:
    """Return the name of a rule unchanged; `InvalidValue` for what is none."""
    if not isinstance(rule, str) or RULE_NAME.fullmatch(rule) is None:
        raise InvalidValue(f"rule {excerpt(rule)} does not look like 'daily-limit/1'")
    return rule


class OverrideBook:
    """The overrides of a ledger: which are open, and which were ever given."""

    def __init__(self, log: ChangeLog) -> None:
        self._log = log
        self.open: dict[int, Override] = {}
        """By the line that gave it. The same mapping for good: who asks often keeps it at hand."""
        self._given: dict[str, int] = {}
        """By the hash of the payload: each is given once."""

    def copy(self, log: ChangeLog) -> OverrideBook:
        """Give a book of its own that stands where this one does."""
        other = OverrideBook(log)
        other.open, other._given = dict(self.open), dict(self._given)
        return other

    def give(self, payload: FrozenMap, *, sequence: int, moment: datetime) -> None:
        """Take an override; `NotAuthorised` for one that was given before, or is over."""
        digest = digest_of(payload)
        if digest in self._given:
            raise refusal(
                f"this override was given before, in line {self._given[digest]}",
                reason="stale",
                advice="one with another reason or another end would pass",
            )
        override = read_override(payload)
        if moment >= override.expires_at:
            raise refusal(
                f"the override ended at {format_timestamp(override.expires_at)}",
                reason="expired",
                advice="one that ends later would pass",
            )
        if override.expires_at - moment > MAX_LIFETIME:
            raise InvalidValue(f"an override ends within {MAX_LIFETIME.days} days")
        self._log.set(self._given, digest, sequence)
        self._log.set(self.open, sequence, override)

    def allows(self, entry: UnsignedEntry | JournalEntry, rule: str, *, now: datetime) -> bool:
        """Tell whether an entry may pass a rule that refuses it."""
        return any(
            override.rule == rule and now < override.expires_at for _, override in self._matching(entry)
        )

    def use(self, entry: UnsignedEntry | JournalEntry, *, now: datetime) -> None:
        """Take note of an entry that passed: what was given for it is used up, and what is over ends."""
        ended = [sequence for sequence, override in self.open.items() if now >= override.expires_at]
        for sequence in {*ended, *(sequence for sequence, _ in self._matching(entry))}:
            self._log.remove(self.open, sequence)

    def _matching(self, entry: UnsignedEntry | JournalEntry) -> Iterator[tuple[int, Override]]:
        digests: dict[str, str] = {}
        for sequence, override in self.open.items():
            ledger_id = override.ledger_id
            if ledger_id not in digests:
                digests[ledger_id] = content_digest(entry, ledger_id=ledger_id)
            if digests[ledger_id] == override.entry:
                yield sequence, override
