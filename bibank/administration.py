"""What is administered on a ledger beside its money: keys, rules, and what operators decide."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from bibank.commits import Commits
from bibank.errors import ConfigurationError, StoreUnavailable
from bibank.governance import Governance
from bibank.home import Home
from bibank.keyring import LedgerKeyring
from bibank.model.record import JournalRecord
from bibank.model.signature import SigningMode
from bibank.risk.engine import RiskEngine
from bibank.risk.rule import RiskRule
from bibank.rule_adoption import adopt_rules
from bibank.signing.signer import Signer
from bibank.signing.trust import KeyringTrust, KeyringVersion
from bibank.snapshots.keeper import Snapshot, SnapshotKeeper

if TYPE_CHECKING:
    from bibank.bus.bus import EventBus
    from bibank.projection.runner import CatchUp

logger = logging.getLogger("bibank")


class Administration(Commits):
    """Everything that decides about a ledger. Needs what a ledger is composed of."""

    _trust: KeyringTrust
    _engine: RiskEngine
    _home: Home | None
    _keeper: SnapshotKeeper | None = None
    _mode = SigningMode.ENTRY
    """What a first key of an unsigned ledger will sign."""

    @property
    def bus(self) -> EventBus:
        """Who hears what is committed, after it is durable, at their own pace."""
        from bibank.bus.bus import EventBus

        return self._committer.publishing(lambda head: EventBus(self, head=head, home=self._home))

    @property
    def keyring(self) -> LedgerKeyring:
        """The trusted keys, and how they are changed."""
        return LedgerKeyring(
            self._committer,
            self._trust,
            trace=self._correlation_id,
            mode=self._mode,
            make_signer=self._home.next_signer if self._home is not None else None,
            saved=self._save_keyring,
        )

    @property
    def governance(self) -> Governance:
        """What operators decide: freezes, floors, proposals and approvals, attestations, overrides."""
        return Governance(self._committer, self._trust, self._engine, self, trace=self._correlation_id)

    def adopt_rules(
        self,
        rules: Sequence[RiskRule],
        *,
        authorised_by: Sequence[Signer] = (),
        correlation_id: str | UUID | None = None,
    ) -> JournalRecord:
        """Put a set of rules in force, from the next line on, and write it down.

        The set takes the place of the one before. Shipped rules are recorded with their data; of a
        host's own, their names, and their `kind` and `to_data` where they have them. Who opens the ledger
        for writing has to have the same set. It is signed as the keyring's policy for rules asks: by
        `authorised_by`, or by the ledger's own key while no operator's key was ever added. Raises
        `NotAuthorised` when signatures are missing, `ConfigurationError` for what is no set of rules.
        """
        return adopt_rules(
            self._committer,
            self._trust,
            self._engine,
            rules,
            authorised_by=authorised_by,
            correlation_id=self._trace(correlation_id),
        )

    def project(self) -> CatchUp:
        """Bring the home's projection to the last durable line, from which questions about the past are fast.

        Commits never wait for it; a host calls this when it suits, such as from a timer. Every balance is
        compared with that in memory, and a projection that is of no use is built anew and named in the log:
        about a second for a million accounts. Raises `ConfigurationError` for a ledger without a
        home, `JournalCorrupt`, `StoreUnavailable`.
        """
        if self._home is None:
            raise ConfigurationError("a ledger without a home has no projection; its journal answers instead")
        from bibank.projection.upkeep import follow_books

        return follow_books(self._home.projection, self, check=self._check_books)

    def snapshot(self) -> Snapshot:
        """Write down what the ledger knows at its last line, so that the next opening begins there.

        Ledgers do so by themselves after many lines, and on close. Two are kept. Raises
        `ConfigurationError` for a ledger in memory, an unsigned one, one that was opened with
        `verify="chain"` or `durability="none"`, where the keyring asks for signatures that the ledger's
        own key cannot give, and for a call by its signer; `StoreError` kinds and `KeystoreError`. Whatever is
        raised, nothing of the journal is lost.
        """
        if self._keeper is None:
            raise ConfigurationError("a ledger without a home has no place for a snapshot")
        return self._keeper.make()

    def _save_keyring(self, version: KeyringVersion) -> None:
        """Refresh the cache of the keyring. The journal has it already, so a failure is no reason to fail."""
        if self._home is None:
            return
        try:
            self._home.save_keyring(self._trust.ledger_id, version)
        except StoreUnavailable as error:
            logger.warning("%s; the next opening writes it again", error)
