"""Calls: a verb as it was asked for, with the drafts that it stands for.

What was asked is hashed only where an idempotency key goes with it. Correlation ids, which may differ
between two tries of one request, are not part of what was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from hashlib import sha256
from uuid import UUID

import attrs

from bibank.errors import InvalidType
from bibank.journal.batches import EMPTY_ORIGINALS
from bibank.model.account import AccountKey
from bibank.model.amount import Amount
from bibank.model.entry import JournalEntry, UnsignedEntry
from bibank.model.json_value import JsonValue, canonical_text
from bibank.model.links import IdempotencyMark
from bibank.model.money import Money
from bibank.model.timestamp import format_timestamp
from bibank.model.trade import TradeFee


@attrs.frozen
class Written:
    """What a call comes to: its drafts, and the entries that they reverse, by sequence."""

    drafts: tuple[UnsignedEntry, ...]
    originals: Mapping[int, JournalEntry] = EMPTY_ORIGINALS


class Call:
    """One verb: its name, its arguments by name, and what it comes to.

    Verbs that need an earlier line are written out when that is asked for: a retry is answered by its
    key, whatever has become of that line.
    """

    def __init__(
        self, verb: str, arguments: Mapping[str, object], written: Written | Callable[[], Written]
    ) -> None:
        self._verb = verb
        self._arguments = arguments
        self._written = written

    @property
    def written(self) -> Written:
        """What the call comes to; raises what is wrong with it."""
        if not isinstance(self._written, Written):
            self._written = self._written()
        return self._written

    @property
    def is_written(self) -> bool:
        """Tell whether it is known what the call comes to, without a look at earlier lines."""
        return isinstance(self._written, Written)

    @property
    def drafts(self) -> tuple[UnsignedEntry, ...]:
        """The drafts of the call."""
        return self.written.drafts

    def asked(self) -> dict[str, object]:
        """Give verb and arguments as JSON values."""
        return {"arguments": _plain(self._arguments), "verb": self._verb}


def mark_of(key: str | UUID | None, asked: Mapping[str, object]) -> IdempotencyMark | None:
    """Mark a request with its key and the hash of what is asked: SHA-256 of its JCS. None without a key."""
    if key is None:
        return None
    digest = sha256(canonical_text(asked).encode()).hexdigest()
    return IdempotencyMark(key=key, digest=digest)


def asked_of_calls(calls: Sequence[Call]) -> dict[str, object]:
    """Say what a batch of calls asks for."""
    return {"calls": [call.asked() for call in calls], "verb": "batch"}


def asked_of_drafts(drafts: Iterable[UnsignedEntry]) -> dict[str, object]:
    """Say what committing these drafts asks for."""
    return {"drafts": [_draft(draft) for draft in drafts], "verb": "commit"}


def _draft(draft: UnsignedEntry) -> dict[str, object]:
    return {
        "intent": draft.intent.value,
        "metadata": draft.whole_metadata,
        "postings": [
            {"account": p.account.text, "amount": str(p.amount), "side": p.side.value} for p in draft.postings
        ],
    }


def _plain(value: object) -> JsonValue | dict[str, object] | list[object]:
    """Give an argument as JSON: what is asked for, not how it was spelled."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, AccountKey | Money | Amount):
        return str(value)
    if isinstance(value, UUID):
        return value.hex.upper()
    if isinstance(value, datetime):
        return format_timestamp(value)
    if isinstance(value, TradeFee):
        return {"kind": value.kind.value, "money": str(value.money), "payer": _plain(value.payer)}
    if isinstance(value, UnsignedEntry):
        return _draft(value)
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    raise InvalidType(f"{type(value).__name__} is no argument of a verb")
