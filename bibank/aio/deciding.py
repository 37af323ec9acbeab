"""Keys and decisions for asyncio: the keyring and the governance of a ledger."""

from __future__ import annotations

from bibank.aio.faces import Face, plain, threaded
from bibank.governance import Governance
from bibank.keyring import LedgerKeyring, PolicyRow
from bibank.model.keyring import KeyringKey
from bibank.model.table import Table


class AsyncKeyring(Face[LedgerKeyring]):
    """The trusted keys of a ledger, and how they are changed; see `LedgerKeyring`."""

    def __repr__(self) -> str:
        return repr(self._blocking)

    @property
    def version(self) -> int:
        """The number of the version in force."""
        return self._blocking.version

    @property
    def fingerprint(self) -> str:
        """The hash of the version in force: pin it, and a rewrite with an old key is seen too."""
        return self._blocking.fingerprint

    @property
    def keys(self) -> Table[KeyringKey]:
        """Every key that is or was in the keyring."""
        return self._blocking.keys

    @property
    def policies(self) -> Table[PolicyRow]:
        """What must be signed, by how many keys of which role, from which sequence on."""
        return self._blocking.policies

    draft = plain(LedgerKeyring.draft)
    add = threaded(LedgerKeyring.add)
    rotate = threaded(LedgerKeyring.rotate)
    revoke = threaded(LedgerKeyring.revoke)
    commit = threaded(LedgerKeyring.commit)


class AsyncGovernance(Face[Governance]):
    """What operators decide, from freezes to approvals; see `Governance`."""

    def __repr__(self) -> str:
        return repr(self._blocking)

    draft_decision = plain(Governance.draft_decision)
    draft_proposal = plain(Governance.draft_proposal)
    draft_override = plain(Governance.draft_override)
    draft_approval = threaded(Governance.draft_approval)
    draft_attestation = threaded(Governance.draft_attestation)
    commit = threaded(Governance.commit)
    freeze = threaded(Governance.freeze)
    reopen = threaded(Governance.reopen)
    close = threaded(Governance.close)
    limit = threaded(Governance.limit)
    propose = threaded(Governance.propose)
    approve = threaded(Governance.approve)
    attest = threaded(Governance.attest)
    override = threaded(Governance.override)
