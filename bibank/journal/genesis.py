"""The genesis batch: line 1, which names the ledger, and the keyring it was named from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import sha256

from bibank.errors import InvalidEntry, InvalidValue, UnsupportedFormat, excerpt
from bibank.journal.drafts import genesis
from bibank.model.amount import Amount
from bibank.model.entry import JournalEntry, TransactionIntent, UnsignedEntry
from bibank.model.genesis import FORMAT, GenesisMark
from bibank.model.json_value import JsonValue, canonical_text
from bibank.model.keyring import Keyring
from bibank.model.record import JournalLine, JournalRecord, RecordKind, UnsignedRecord

GENESIS_LINES = 2
"""The genesis entry and its keyring_adopted record, one atomic batch."""

_GENESIS_KINDS = frozenset({RecordKind.KEYRING_ADOPTED})

Opening = Mapping[str, str | Decimal | int | Amount]
"""Capital that a ledger starts with: amounts by asset."""


def keyring_hash(keyring: Keyring) -> str:
    """Hash keyring version 1 as the ledger id commits to it: SHA-256 of its JCS without the ledger id."""
    return sha256(canonical_text(keyring.to_body()).encode()).hexdigest()


def genesis_batch(
    opening: Opening, *, name: str, keyring: Keyring, nonce: str, correlation_id: str
) -> tuple[UnsignedEntry, UnsignedRecord]:
    """Write the two drafts that begin a ledger."""
    mark = GenesisMark(name=name, keyring_hash=keyring_hash(keyring), nonce=nonce)
    entry = genesis(opening, mark=mark, correlation_id=correlation_id)
    record = UnsignedRecord(
        kind=RecordKind.KEYRING_ADOPTED,
        subject=mark.ledger_id,
        correlation_id=entry.correlation_id,
        body={**keyring.to_body(), "ledger": mark.ledger_id},
    )
    return entry, record


def read_genesis_mark(line: JournalLine) -> GenesisMark:
    """Read the mark of line 1 and hold it to its own certificate.

    Raises `UnsupportedFormat` for another format, `InvalidValue` when the ledger id does not
    follow from keyring hash and nonce.
    """
    if not isinstance(line, JournalEntry) or line.intent is not TransactionIntent.GENESIS:
        raise InvalidValue("line 1 is not a genesis entry")
    found = line.metadata.get("bb.format")
    if found != FORMAT:
        raise UnsupportedFormat(
            f"the journal is in format {excerpt(found)}; this version reads {FORMAT!r}", sequence=1
        )
    name, _, _ = str(line.metadata.get("bb.ledger")).partition("/")
    mark = GenesisMark(
        name=name,
        keyring_hash=line.metadata.get("bb.keyring"),
        nonce=line.metadata.get("bb.nonce"),
    )
    expected = mark.to_metadata()
    if dict(line.metadata) != expected:
        raise InvalidValue(
            f"the ledger id does not follow from keyring and nonce; it would be {mark.ledger_id!r}"
        )
    return mark


def read_adopted(body: Mapping[str, JsonValue]) -> Keyring:
    """Read the keyring in the body of a `keyring_adopted` record."""
    members = dict(body)
    del members["ledger"]
    return Keyring.from_body(members)


def check_place(kind: RecordKind, sequence: int) -> None:
    """Refuse, outside the genesis batch, a kind of record that belongs to it."""
    if sequence > GENESIS_LINES and kind in _GENESIS_KINDS:
        raise InvalidEntry("a keyring is adopted in the genesis batch only")


def check_founding(drafts: Sequence[UnsignedEntry | UnsignedRecord]) -> GenesisMark:
    """Demand that drafts are a genesis batch, which is all that an empty journal takes; give its mark."""
    if len(drafts) != GENESIS_LINES:
        raise InvalidEntry(f"a journal begins with the {GENESIS_LINES} drafts of its genesis batch")
    entry, record = drafts
    if not isinstance(entry, UnsignedEntry) or entry.genesis is None:
        raise InvalidEntry("the first line of a journal is its genesis entry")
    if entry.metadata:
        raise InvalidEntry("a genesis entry has no metadata but the ledger's own")
    check_keyring_adopted(record, entry.genesis)
    return entry.genesis


def check_keyring_adopted(line: JournalLine | UnsignedEntry | UnsignedRecord, mark: GenesisMark) -> None:
    """Demand that line 2 adopts the keyring that the ledger id commits to."""
    if not isinstance(line, JournalRecord | UnsignedRecord) or line.kind is not RecordKind.KEYRING_ADOPTED:
        raise InvalidValue("line 2 is not the keyring_adopted record of the genesis batch")
    if line.body["ledger"] != mark.ledger_id or line.subject != mark.ledger_id:
        raise InvalidValue("the adopted keyring is of another ledger")
    if keyring_hash(read_adopted(line.body)) != mark.keyring_hash:
        raise InvalidValue("the adopted keyring is not the one that the ledger id commits to")


def founded_id(draft: UnsignedEntry | UnsignedRecord) -> str:
    """Give the ledger id of a genesis entry that :func:`check_founding` has passed."""
    assert isinstance(draft, UnsignedEntry), "check_founding demands a genesis entry"
    assert draft.genesis is not None, "check_founding demands a genesis entry"
    return draft.genesis.ledger_id
