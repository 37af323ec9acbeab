"""Forks: a what-if in memory, which begins where another ledger stood.

A fork reads its first lines from the ledger that it left, and keeps its own. They are hashed under an id
of their own, so that none of them can be carried back; the keyring's keys sign none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

from bibank.committer import Committer
from bibank.errors import ConfigurationError, HeadConflict, LedgerClosed, RulesMismatch, UnknownSequence
from bibank.journal.codec import decode_line
from bibank.journal.genesis import GENESIS_LINES
from bibank.journal.machine import LedgerMachine
from bibank.model.genesis import FORK_PREFIX
from bibank.model.identifier import MAX_ID_LENGTH
from bibank.model.keyring import Keyring
from bibank.model.lines import Head, LineGroup
from bibank.opening import line_signer
from bibank.risk.engine import RiskEngine
from bibank.signing.signer import Signer
from bibank.signing.trust import KeyringTrust, verify_never
from bibank.source import check_sequence
from bibank.stored_lines import Lines


class ForkStore:
    """A store of a fork's own lines behind those of another ledger, which are only read."""

    def __init__(self, base: Lines, head: Head) -> None:
        self._base = base
        self._forked_at = head.sequence
        self._head = head
        self._lines: list[bytes] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"<ForkStore of {len(self._lines)} lines behind line {self._forked_at}>"

    def head(self) -> Head:
        """Tell the last line."""
        return self._head

    def append(self, group: LineGroup) -> None:
        """Append a group; `HeadConflict` or `LedgerClosed`."""
        if self._closed:
            raise LedgerClosed("the fork was closed")
        if group.expected_head != self._head:
            raise HeadConflict(f"the fork stands at line {self._head.sequence}")
        self._lines.extend(group.lines)
        self._head = group.head

    def read(self, *, after_sequence: int = 0) -> Iterator[bytes]:
        """Give the lines after a sequence: those of the ledger that was left, then the fork's own."""
        first = max(after_sequence - self._forked_at, 0)
        own = map(self._lines.__getitem__, range(first, len(self._lines)))
        if after_sequence >= self._forked_at:
            return own
        left = islice(self._base.read(after_sequence=after_sequence), self._forked_at - after_sequence)
        return chain(left, own)

    def close(self) -> None:
        """Take no more groups; what is there can still be read."""
        self._closed = True


def forked(
    committer: Committer, trust: KeyringTrust, engine: RiskEngine, *, at: int | None, signer: Signer | None
) -> tuple[Committer, KeyringTrust, RiskEngine]:
    """Make what a fork is composed of, from what its ledger is; raises as `Ledger.fork` says.

    The lines were verified when the ledger was opened, so their signatures are not verified again.
    """
    with committer.reading() as view:
        head, points = view.head.sequence, dict(view.machine.forks)
        _check_signer(trust.current.keyring, signer)
    lines = committer.store
    end = _end_of_batch(lines, check_sequence(head if at is None else at, minimum=1), head=head)
    own_engine = engine.renewed().claim()
    own_trust = KeyringTrust(verify_never)
    machine = LedgerMachine(own_engine, own_trust)
    for line in islice(lines.read(after_sequence=0), end):
        if machine.head.sequence in points and not machine.in_batch:
            machine.fork(points[machine.head.sequence])
        machine.accept(line)
    if own_engine.missing:
        raise RulesMismatch(
            f"line {end} was judged by {', '.join(own_engine.missing)}, which this program does not have; "
            "open the ledger with RiskEngine([...]) that has them",
            missing=own_engine.missing,
        )
    machine.settle()
    fork_id = FORK_PREFIX + machine.ledger_id
    if len(fork_id) > MAX_ID_LENGTH:
        raise ConfigurationError(f"the id of a fork has at most {MAX_ID_LENGTH} characters; fork less deeply")
    machine.fork(fork_id)
    store = ForkStore(lines, machine.head)
    own = Committer(machine, store, committer.clock.unwatched(), line_signer(signer, "entry"))
    return own, own_trust, own_engine


def _end_of_batch(lines: Lines, at: int, *, head: int) -> int:
    """Find the last line of a whole batch up to a sequence; `UnknownSequence` when there is none."""
    if at > head:
        raise UnknownSequence(f"there is no line {at}; the last is {head}")
    mark = decode_line(next(lines.read(after_sequence=at - 1))).batch
    end = at if at == mark.first + mark.size - 1 else mark.first - 1
    if end < GENESIS_LINES:
        raise UnknownSequence(f"line {at} is inside the genesis batch; the first whole state is line 2")
    return end


def _check_signer(keyring: Keyring, signer: Signer | None) -> None:
    if signer is not None and keyring.find(signer.public_key) is not None:
        raise ConfigurationError(
            f"the ledger trusts the key of {signer.signer_id}; a fork is signed with another, or not at all"
        )
