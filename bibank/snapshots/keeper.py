"""Making snapshots: when one is due, from which state, and under whose key.

A state is taken where everything sealed is on the disk and HEAD says so, with both locks held; spelling,
signing and writing it happen outside them. Nothing acknowledged depends on a snapshot, so one that cannot be
made is logged, and neither a commit nor a close fails for it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Lock, get_ident

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
from bibank.snapshots.head import SNAPSHOT_KIND, SnapshotHead, check_may_sign
from bibank.snapshots.state import State
from bibank.store.jsonl.writer import JsonlStore

logger = logging.getLogger("bibank")

SNAPSHOT_LINES = 100_000
"""Lines between two snapshots that are made by count: some seconds of replay with signatures."""

LINES_ON_CLOSE = 1_000
"""Lines that make one worth while on close: fewer are replayed in about a tenth of a second."""


_ACCOUNTS_A_LINE = 8
_KEYS_A_LINE = 16
"""What a snapshot writes in about a fifth of the time that a line takes to commit: 1.3 us an account and
0.9 us a key were measured, and 51 to 81 us a line in large groups."""


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
        self._maker = 0
        """The thread that makes one, and may be asking the signer; 0 for none."""
        if every is not None and self._unless is None:
            committer.due = newest + every
            committer.when_due = self.when_due

    def make(self) -> Snapshot:
        """Make a snapshot of the last line, unless there is one; raises as `Ledger.snapshot` says."""
        if self._unless is not None:
            raise ConfigurationError(f"no snapshot is made: {self._unless}")
        self.check_outside()
        with self._committer.reading():
            pass  # closed, poisoned, or asked from inside: said before anything is waited for
        with self._making, self._as_maker():
            return self._make()

    def check_outside(self) -> None:
        """Refuse a call by the signer that is asked to sign a snapshot: it would wait for itself."""
        if self._maker == get_ident():
            raise ConfigurationError("a signer may not call the ledger that asks it to sign a snapshot")

    @contextmanager
    def _as_maker(self) -> Iterator[None]:
        self._maker = get_ident()
        try:
            yield
        finally:
            self._maker = 0

    def when_due(self) -> None:
        """Make one when so many lines were committed that its cost is shared by enough of them."""
        committer, every = self._committer, self._every
        assert every is not None, "only then it is called"
        machine = committer.machine
        cost = len(machine.book) // _ACCOUNTS_A_LINE + len(machine.links.keys) // _KEYS_A_LINE
        between = max(every, cost)
        committer.due = self._newest + between
        if committer.durable.sequence < committer.due or not self._making.acquire(blocking=False):
            return
        try:
            committer.due = committer.durable.sequence + between  # also when it fails
            with self._as_maker():
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
            with self._making, self._as_maker():
                self._try()

    def _try(self) -> None:
        if not self._trust.current.keyring.keys:
            return  # an unsigned ledger has none, and nobody has asked for one
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
            days = self._store.places()
            copied = State.copied(committer.machine, self._engine, days)
            rules = self._engine.judging(committer.machine.rules.current)
            keyring, timestamp = trust.current.fingerprint, format_timestamp(position.moment)
            changes = tuple(version.from_sequence for version in trust.versions[1:])
        spelled = copied().spell()
        last = days[-1]
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
        envelope = Envelope(kind=SNAPSHOT_KIND, payload=described.to_payload()).signed_by(signer)
        path = write_snapshot(self._home, envelope, spelled, sequence=head.sequence)
        self._newest = head.sequence
        return Snapshot(sequence=head.sequence, hash=head.hash, path=path)

    def _signer(self, own: Signer | None) -> Signer:
        """Give who signs; `ConfigurationError` where the ledger's own key may not, or is not enough."""
        public_key = None if own is None else own.public_key
        check_may_sign(self._trust, public_key, sequence=self._committer.machine.head.sequence)
        assert own is not None, "as just checked"
        return own
