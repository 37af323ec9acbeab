"""Lines that are read again from a store: decoded, and held to the chain that they were taken into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from bibank.errors import InvalidValue, JournalCorrupt, JournalError
from bibank.journal.codec import decode_line
from bibank.journal.recheck import recheck
from bibank.journal.reference import line_hash, signing_payload
from bibank.model.lines import Head
from bibank.model.links import EntryLinks, IdempotencyMark
from bibank.model.record import JournalLine, JournalRecord, key_of
from bibank.signing.trust import KeyringTrust, verify_now


class Lines(Protocol):
    """The lines of a ledger, as far as they may be shown, or further."""

    def read(self, *, after_sequence: int) -> Iterator[bytes]:
        """Give the lines after a sequence that are there now, as exact bytes without newlines."""


def checked_lines(
    lines: Iterator[bytes],
    *,
    first: int,
    last: int,
    ledger_id: Callable[[int], str],
    place: Callable[[JournalError], JournalError],
) -> Iterator[JournalLine]:
    """Give the lines of these sequences; `JournalCorrupt` when they are no longer what they were.

    `ledger_id` tells the id that a line of a sequence is hashed under.
    """
    prev_hash: str | None = None
    for sequence in range(first, last + 1):
        data = next(lines, None)
        try:
            if data is None:
                raise InvalidValue("the journal ends before this line")
            line = decode_line(data)
            if line.sequence != sequence:
                raise InvalidValue(f"sequence {line.sequence}, expected {sequence}")
            if line_hash(line, ledger_id=ledger_id(sequence)) != line.hash:
                raise InvalidValue("the line's hash is not that of its content")
            if prev_hash not in (None, line.prev_hash):
                raise InvalidValue("prev_hash is not the hash of the line before")
            prev_hash = line.hash
        except InvalidValue as error:
            raise place(JournalCorrupt(str(error), sequence=sequence)) from error
        yield line


def rechecked(
    lines: Iterator[bytes],
    *,
    after: Head,
    until_sequence: int,
    ledger_id: Callable[[int], str],
    place: Callable[[JournalError], JournalError],
) -> Iterator[tuple[Head, bytes]]:
    """Give the lines behind a position, undecoded; `JournalCorrupt` when they are no longer what they were.

    Each comes with where the journal stands after it. The chain is held from the position on, so whoever gets
    them all knows that they lead from there to the last one's hash.
    """
    prev_hash = after.hash
    for sequence in range(after.sequence + 1, until_sequence + 1):
        data = next(lines, None)
        try:
            if data is None:
                raise InvalidValue("the journal ends before this line")
            found, before, digest = recheck(data, ledger_id=ledger_id(sequence))
            if found != sequence:
                raise InvalidValue(f"sequence {found}, expected {sequence}")
            if before != prev_hash:
                raise InvalidValue("prev_hash is not the hash of the line before")
        except InvalidValue as error:
            raise place(JournalCorrupt(str(error), sequence=sequence)) from error
        yield Head(sequence, digest), data
        prev_hash = digest


class PassedLines:
    """Lines that a snapshot stood for when the ledger was opened: nobody has verified their signatures yet.

    Their hash is no proof, because whoever writes the disk can work it out anew. So what a commit relies on
    is held to its signature, or under group cover, by the chain, to the signature that ends its group. A line
    that the keyring does not want signed has neither, and is believed for its hash.
    """

    def __init__(self, store: Lines, trust: KeyringTrust, *, until_sequence: int) -> None:
        self._store = store
        self._trust = trust
        self._until = until_sequence

    def check(self, lines: Sequence[JournalLine], *, ledger_id: Callable[[int], str]) -> None:
        """Demand signatures of lines that were just read; `JournalCorrupt` where they do not hold."""
        place, trust = Placer(self._store), self._trust.copy(verify_now)
        covered = 0
        for line in lines:
            if not covered < line.sequence <= self._until:
                continue
            if line.batch.cover is None or line.signatures:
                _check_signed(line, trust, place)
                continue
            found = self._end_of_group(line, ledger_id=ledger_id)
            _check_signed(found, trust, place)
            covered = found.sequence

    def _end_of_group(self, line: JournalLine, *, ledger_id: Callable[[int], str]) -> JournalLine:
        """Give the signed line that a line leads to by the chain, in its write group."""
        place, first = Placer(self._store), line.sequence
        lines = self._store.read(after_sequence=first - 1)
        for found in checked_lines(lines, first=first, last=self._until, ledger_id=ledger_id, place=place):
            if found.batch.group != line.batch.group or (found.sequence == first and found.hash != line.hash):
                break
            if found.signatures:
                return found
        raise place(JournalCorrupt("no signature covers the write group of this line", sequence=first))


def _check_signed(
    line: JournalLine, trust: KeyringTrust, place: Callable[[JournalError], JournalError]
) -> None:
    """Demand that a line is signed as the keyring asks, and that every signature of it holds."""
    try:
        if not trust.check(line.signatures, sequence=line.sequence):
            raise InvalidValue("the line is not signed, and the keyring's policy says that it must be")
        for signature in line.signatures:
            payload = signing_payload(line, signed_at=signature.signed_at)
            trust.verify(signature, sequence=line.sequence, digest=line.hash, payload=payload)
    except InvalidValue as error:
        raise place(JournalCorrupt(str(error), sequence=line.sequence)) from error


def key_borne_by(line: JournalLine) -> IdempotencyMark | None:
    """Read the idempotency key that stands on a line."""
    if isinstance(line, JournalRecord):
        return key_of(line.body)
    links = EntryLinks.from_metadata(line.metadata, causality_id=line.causality_id)
    return links.idempotency if links is not None else None


class Placer:
    """Adds file and line to an error where the store knows them."""

    def __init__(self, store: Lines) -> None:
        self._locate = getattr(store, "locate", None)

    def __call__(self, error: JournalError) -> JournalError:
        """Give the same error, placed."""
        if self._locate is None or error.file is not None:
            return error
        file, line = self._locate(error.sequence)
        return type(error)(error.reason, sequence=error.sequence, file=file, line=line)
