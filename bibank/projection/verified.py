"""Verified lines: what a projection is fed, and what is listed without opening a ledger.

Everything that leaves this module went through the machine first: spelling, chain, marks, intents,
sums. Lines of a batch are handed on together, once the batch is whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

import attrs

from bibank.errors import JournalError
from bibank.journal.codec import decode_line
from bibank.journal.machine import LedgerMachine
from bibank.model.lines import Head
from bibank.model.record import JournalLine
from bibank.risk.engine import RiskEngine
from bibank.signing.trust import KeyringTrust, verify_never

Place = Callable[[JournalError], JournalError]
"""Adds file and line to an error, where the journal has files."""


@attrs.frozen
class VerifiedLine:
    """One line that the journal's machine accepted.

    `data` are its exact bytes, so whoever needs one member of many lines can read just that.
    """

    sequence: int
    prev_hash: str
    hash: str
    data: bytes = attrs.field(repr=False)

    @property
    def head(self) -> Head:
        """Where the journal stands after this line."""
        return Head(self.sequence, self.hash)

    @property
    def ends_batch(self) -> bool:
        """Whether its batch ends with it: between two batches a projection may be saved."""
        mark = json.loads(self.data).get("batch", {})
        last: int = mark.get("first", self.sequence) + mark.get("size", 1) - 1
        return self.sequence == last

    def view(self) -> JournalLine:
        """Build the line as people read it; about as dear as verifying six lines."""
        return decode_line(self.data)


def verified_batches(
    lines: Iterable[bytes], *, place: Place = lambda error: error, machine: LedgerMachine | None = None
) -> Iterator[list[VerifiedLine]]:
    """Verify the lines of a journal, from the first on, and give them batch by batch.

    A new `machine` may be given, by who wants to look at its accounts afterwards.

    Raises `JournalCorrupt` at the first line that does not follow, after all batches before it, and
    `UnsupportedFormat`.
    """
    if machine is None:
        machine = LedgerMachine(RiskEngine(), KeyringTrust(verify_never))
    position = machine.position
    batch: list[VerifiedLine] = []
    try:
        for data in lines:
            prev_hash = position.hash
            machine.accept(data)
            batch.append(VerifiedLine(position.sequence, prev_hash, position.hash, data))
            if not machine.in_batch:
                yield batch
                batch = []
        machine.check_end()
    except JournalError as error:
        raise place(error) from error.__cause__
