"""Attestations: signatures added later to lines that stand already. No line is ever rewritten."""

from __future__ import annotations

import attrs

from bibank.errors import InvalidValue, JournalCorrupt, excerpt
from bibank.journal.authority import refusal
from bibank.journal.change_log import ChangeLog
from bibank.model.json_members import exact_members
from bibank.model.json_value import FrozenMap, JsonValue
from bibank.model.keyring import KeyringKey
from bibank.model.links import MAX_SEQUENCE, check_digest
from bibank.model.record import JournalLine


@attrs.frozen(kw_only=True)
class Attestation:
    """Who attested a line: `sequence` is the record's own, `line` and `hash` are what was attested."""

    sequence: int
    line: int
    hash: str
    signer_id: str
    key_id: str


def read_cited(payload: FrozenMap) -> int:
    """Read which line a payload is about; `InvalidValue` for what is no sequence."""
    cited = payload.get("sequence")
    if isinstance(cited, bool) or not isinstance(cited, int) or not 1 <= cited <= MAX_SEQUENCE:
        raise InvalidValue(f"sequence {excerpt(cited)} is not the sequence of a line")
    return cited


def check_attestation(payload: JsonValue) -> None:
    """Hold the payload of an attestation to its schema."""
    members = exact_members(payload, {"hash", "ledger", "sequence"}, "payload of an attestation")
    check_digest(members["hash"])
    read_cited(FrozenMap(members))


def check_attested(attestation: Attestation, line: JournalLine) -> None:
    """Demand that what was attested is the line that stands there; `JournalCorrupt` when it is not.

    Replay does not keep the hashes of old lines, so whoever has the line at hand looks.
    """
    if line.hash != attestation.hash:
        raise JournalCorrupt(
            f"{attestation.signer_id} has attested {attestation.hash} as line {line.sequence}, which is "
            f"{line.hash}: there is, or was, another journal of this ledger",
            sequence=attestation.sequence,
        )


class AttestationBook:
    """The attestations of a ledger, by the line that they are about."""

    def __init__(self, log: ChangeLog) -> None:
        self._log = log
        self._by_line: dict[int, tuple[Attestation, ...]] = {}

    def copy(self, log: ChangeLog) -> AttestationBook:
        """Give a book of its own that stands where this one does."""
        other = AttestationBook(log)
        other._by_line = dict(self._by_line)
        return other

    def of(self, line: int) -> tuple[Attestation, ...]:
        """Give the attestations of a line, oldest first."""
        return self._by_line.get(line, ())

    def all(self) -> list[Attestation]:
        """Give every attestation, in the order of the lines that they are about."""
        return [found for _, several in sorted(self._by_line.items()) for found in several]

    def attest(self, payload: FrozenMap, key: KeyringKey, *, sequence: int) -> None:
        """Take an attestation by a key; `NotAuthorised` when it has attested the line before."""
        line = read_cited(payload)
        if line >= sequence:
            raise InvalidValue(f"line {line} is not an earlier line than its attestation, line {sequence}")
        before = self.of(line)
        for found in before:
            if found.key_id == key.key_id:
                raise refusal(
                    f"{key.signer_id} has attested line {line} with this key already, in line "
                    f"{found.sequence}",
                    reason="same_key",
                    advice="it stands as it is",
                )
        attestation = Attestation(
            sequence=sequence,
            line=line,
            hash=str(payload["hash"]),
            signer_id=key.signer_id,
            key_id=key.key_id,
        )
        self._log.set(self._by_line, line, (*before, attestation))
