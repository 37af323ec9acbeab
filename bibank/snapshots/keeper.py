"""Making snapshots: when one is due, from which state, and under whose key.

A state is taken where everything sealed is on the disk and HEAD says so, with both locks held; spelling,
signing and writing it happen outside them. Nothing acknowledged depends on a snapshot, so one that cannot be
made is logged, and neither a commit nor a close fails for it.
"""

from __future__ import annotations

import logging
from hashlib import sha256
from pathlib import Path
from threading import Lock

import attrs

from bibank.committer import Committer
from bibank.errors import BibankError, ConfigurationError, excerpt
from bibank.home import Home
from bibank.model.timestamp import format_timestamp
from bibank.risk.engine import RiskEngine
from bibank.signing.dsse import Envelope
from bibank.signing.signer import Signer
from bibank.signing.trust import KeyringTrust
from bibank.snapshots.files import write_snapshot
from bibank.snapshots.head import SNAPSHOT_KIND, SnapshotHead, may_sign, snapshot_policy
from bibank.snapshots.state import State
from bibank.store.jsonl.writer import JsonlStore

logger = logging.getLogger("bibank")

SNAPSHOT_LINES = 100_000
"""Lines between two snapshots that are made by count: some seconds of replay with signatures."""

LINES_ON_CLOSE = 1_000
"""Lines that make one worth while on close: fewer are replayed in about a tenth of a second."""


@attrs.frozen(kw_only=True)
class Snapshot:
    """A snapshot that is on the disk: of which line, and where."""

    sequence: int
    hash: str
    path: Path


def check_snapshot_every(lines: object) -> int | None:
    """Refuse what is no number of lines between snapshots; `ConfigurationError`."""
    if lines is not None and (isinstance(lines, bool) or not isinstance(lines, int) or lines < 1):
        raise ConfigurationError(f"snapshot_every is a number of lines or None, not {excerpt(lines)}")
    return lines


class SnapshotKeeper:
    """Makes the snapshots of one open ledger; any thread may ask."""

    def __init__(
        self,
        home: Home,
        committer: Committer,
        store: JsonlStore,
        trust: KeyringTrust,
        engine: RiskEngine,
        *,
        every: int | None,
        newest: int = 0,
        unless: str | None = None,
    ) -> None:
        self._home = home
        self._committer = committer
        self._store = store
        self._trust = trust
        self._engine = engine
        self._every = every
        self._newest = newest
        """The sequence of the newest snapshot that is known to be good; 0 for none."""
        self._unless = unless or (None if store.syncs else "nothing is known to be on the disk without sync")
        """Why this opening makes none, when it does not."""
        self._making = Lock()
        if every is not None and self._unless is None:
            committer.due = newest + every
            committer.when_due = self.when_due

    def make(self) -> Snapshot:
        """Make a snapshot of the last line, unless there is one; raises as `Ledger.snapshot` says."""
        if self._unless is not None:
            raise ConfigurationError(f"no snapshot is made: {self._unless}")
        with self._committer.reading():
            pass  # closed, poisoned, or asked from inside: said before anything is waited for
        with self._making:
            return self._make()

    def when_due(self) -> None:
        """Make one when so many lines were committed that its cost is shared by enough of them."""
        committer, every = self._committer, self._every
        assert every is not None, "only then it is called"
        machine = committer.machine
        size = len(machine.book) + len(machine.links.keys)
        committer.due = self._newest + max(every, size)
        if committer.durable.sequence < committer.due or not self._making.acquire(blocking=False):
            return
        try:
            committer.due = committer.durable.sequence + max(every, size)  # also when it fails
            self._try()
        finally:
            self._making.release()

    def before_close(self) -> None:
        """Make one when enough lines came since the newest."""
        committer, every = self._committer, self._every
        if every is None or self._unless is not None:
            return
        try:
            with committer.reading() as view:
                lines = view.head.sequence - self._newest
        except BibankError:
            return
        if lines >= min(every, LINES_ON_CLOSE):
            with self._making:
                self._try()

    def _try(self) -> None:
        try:
            self._make()
        except Exception as error:  # noqa: BLE001 - whatever it is: the ledger needs no snapshot
            logger.warning(
                "no snapshot was made: %s", error if isinstance(error, BibankError) else repr(error)
            )

    def _make(self) -> Snapshot:
        committer, trust = self._committer, self._trust
        with committer.settled() as queue:
            head, position = committer.machine.head, committer.machine.position
            path = self._home.snapshots / f"{head.sequence:019d}.json"
            if self._newest == head.sequence and path.is_file():
                return Snapshot(sequence=head.sequence, hash=head.hash, path=path)
            signer = self._signer(None if queue.signer is None else queue.signer.signer)
            state = State.of(committer.machine, self._engine, self._store.places())
            rules = self._engine.judging(committer.machine.rules.current)
            keyring, timestamp = trust.current.fingerprint, format_timestamp(position.moment)
            changes = tuple(version.from_sequence for version in trust.versions[1:])
        spelled = state.spell()
        last = state.days[-1]
        described = SnapshotHead(
            ledger_id=committer.machine.ledger_id,
            sequence=head.sequence,
            hash=head.hash,
            timestamp=timestamp,
            file=last.name,
            end=last.size,
            line=last.lines,
            state=sha256(spelled).hexdigest(),
            keyring=keyring,
            changes=changes,
            rules=rules,
        )
        envelope = Envelope(kind=SNAPSHOT_KIND, payload=described.to_payload())
        if signer is not None:
            envelope = envelope.signed_by(signer)
        path = write_snapshot(self._home, envelope, spelled, sequence=head.sequence)
        self._newest = head.sequence
        return Snapshot(sequence=head.sequence, hash=head.hash, path=path)

    def _signer(self, own: Signer | None) -> Signer | None:
        """Give who signs, None where the keyring asks for no signature; `ConfigurationError` for too few."""
        policy = snapshot_policy(self._trust, self._committer.machine.head.sequence)
        if policy is None:
            return None
        if own is None or not may_sign(self._trust, (own.public_key,)):
            raise ConfigurationError(
                f"the keyring asks for {policy.threshold} signatures with the role {policy.role.value} on a "
                "snapshot, which the ledger's own key cannot give"
            )
        return own
