"""The keyring of an open ledger: looking at it, and changing it under its own policy.

>>> import bibank as bb
>>> from bibank.signing import Ed25519Signer, Role
>>> system = Ed25519Signer(bytes(31) + b"s", signer_id="SYSTEM")
>>> anna = Ed25519Signer(bytes(31) + b"a", signer_id="ANNA_OPS")
>>> ledger = bb.Ledger.in_memory({"USDT": "100"}, signer=system)
>>> record = ledger.keyring.add(anna, roles=(Role.OPERATOR,), correlation_id="k1")
>>> ledger.keyring.version, [key.signer_id for key in ledger.keyring.keys]
(2, ['SYSTEM', 'ANNA_OPS'])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

import attrs

from bibank.committer import Committer
from bibank.errors import ConfigurationError, InvalidType, InvalidValue
from bibank.journal.batches import PreparedBatch
from bibank.model.identifier import check_correlation_id
from bibank.model.keyring import KeyringChange, KeyringKey, key_id_of
from bibank.model.policy import SIGNED_POLICIES, ApprovalTerms, Purpose, Role
from bibank.model.record import JournalRecord, RecordKind, UnsignedRecord
from bibank.model.signature import SigningMode
from bibank.model.table import Table
from bibank.opening import check_signers, new_key
from bibank.signing.dsse import Envelope
from bibank.signing.lines import LineSigner
from bibank.signing.signer import Signer
from bibank.signing.trust import KeyringTrust, KeyringVersion


@attrs.frozen(kw_only=True)
class PolicyRow:
    """One policy of a keyring, as a row."""

    purpose: Purpose
    role: Role
    threshold: int
    mandatory_from: int
    approvals: ApprovalTerms | None
    """What the policy for adjustments says further."""


class LedgerKeyring:
    """The keyring of one ledger.

    Every change is a `keyring_changed` record, in force from its own sequence. It is signed by
    every key that it adds, and as the version before demands: by operators, or by the ledger's own
    key while no operator's key was ever added. `authorised_by` are the signers who agree; the
    ledger's own signer signs by itself where it may.
    """

    def __init__(
        self,
        committer: Committer,
        trust: KeyringTrust,
        *,
        trace: str | None,
        mode: SigningMode,
        make_signer: Callable[[], Signer] | None,
        saved: Callable[[KeyringVersion], None],
    ) -> None:
        self._committer = committer
        self._trust = trust
        self._trace = trace
        self._first_mode = mode
        self._make_signer = make_signer
        self._saved = saved

    def __repr__(self) -> str:
        return f"<Keyring of {self._trust.ledger_id}, version {self.version}, {len(self.keys)} keys>"

    @property
    def version(self) -> int:
        """The number of the version in force."""
        return self._current().keyring.version

    @property
    def fingerprint(self) -> str:
        """The hash of the version in force: pin it, and a rewrite with an old key is seen too."""
        return self._current().fingerprint

    @property
    def keys(self) -> Table[KeyringKey]:
        """Every key that is or was in the keyring."""
        return Table(self._current().keyring.keys, row_type=KeyringKey)

    @property
    def policies(self) -> Table[PolicyRow]:
        """What must be signed, by how many keys of which role, from which sequence on."""
        rows = [
            PolicyRow(
                purpose=purpose,
                role=policy.role,
                threshold=policy.threshold,
                mandatory_from=policy.mandatory_from,
                approvals=policy.approvals,
            )
            for purpose, policy in self._current().keyring.policies.items()
        ]
        return Table(rows, row_type=PolicyRow)

    def add(
        self,
        signer: Signer,
        *,
        roles: Sequence[Role],
        authorised_by: Sequence[Signer] = (),
        correlation_id: str | UUID | None = None,
    ) -> JournalRecord:
        """Trust a new key. The first key of an unsigned ledger signs its lines from here on.

        Raises `NotAuthorised` when signatures are missing, `InvalidValue` when the key is or was there,
        `ConfigurationError` when an unsigned ledger's first key is not a system key.
        """
        if not isinstance(roles, Sequence):
            raise InvalidType(f"roles are a sequence of Role, not {type(roles).__name__}")
        key = new_key(signer, *roles)
        if self._current().keyring.keys:
            everyone = (signer, *check_signers(authorised_by))
            return self._change(KeyringChange(add=(key,)), everyone, correlation_id, None)
        if key.roles != (Role.SYSTEM,):
            raise ConfigurationError("the first key of an unsigned ledger is its system key, nothing else")
        change = KeyringChange(add=(key,), policies=SIGNED_POLICIES)
        return self._change(change, (signer, *check_signers(authorised_by)), correlation_id, signer)

    def rotate(
        self,
        signer: Signer | None = None,
        *,
        authorised_by: Sequence[Signer] = (),
        correlation_id: str | UUID | None = None,
    ) -> JournalRecord:
        """Replace the ledger's own key: the old one is retired, the new one signs from this line on.

        Without a `signer`, a home makes itself another key file; the old file stays.
        """
        old = self._own_signer()
        if signer is None:
            if self._make_signer is None:
                raise ConfigurationError("a ledger without a home has no place for a key file; give a signer")
            check_correlation_id(self._trace if correlation_id is None else correlation_id)
            signer = self._make_signer()
        change = KeyringChange(add=(new_key(signer, Role.SYSTEM),), retire=(key_id_of(old.public_key),))
        return self._change(change, (signer, *check_signers(authorised_by)), correlation_id, signer)

    def revoke(
        self,
        key_id: str,
        *,
        last_trusted_sequence: int,
        replacement: Signer | None = None,
        authorised_by: Sequence[Signer] = (),
        correlation_id: str | UUID | None = None,
    ) -> JournalRecord:
        """Give up a key as lost. What it signed after the last trusted sequence is suspect.

        The ledger's own key takes a `replacement`, which signs from this line on.
        """
        if not isinstance(key_id, str):
            raise InvalidType(f"a key id is a str, not {type(key_id).__name__}")
        if replacement is None:
            change = KeyringChange(revoke={key_id: last_trusted_sequence})
            return self._change(change, check_signers(authorised_by), correlation_id, None)
        change = KeyringChange(
            add=(new_key(replacement, Role.SYSTEM),), revoke={key_id: last_trusted_sequence}
        )
        everyone = (replacement, *check_signers(authorised_by))
        return self._change(change, everyone, correlation_id, replacement)

    def draft(self, change: KeyringChange) -> Envelope:
        """Write a change as an envelope, for signers elsewhere; commit it with :meth:`commit`."""
        if not isinstance(change, KeyringChange):
            raise InvalidType(f"a change is a KeyringChange, not {type(change).__name__}")
        return self._trust.envelope(change)

    def commit(
        self, envelope: Envelope, *, correlation_id: str | UUID | None = None, signer: Signer | None = None
    ) -> JournalRecord:
        """Commit a signed change. `signer` is the ledger's own from here on, when the change replaces it."""
        if type(envelope) is not Envelope:
            raise InvalidType(f"an Envelope is committed, not {type(envelope).__name__}")
        trace = check_correlation_id(self._trace if correlation_id is None else correlation_id)
        record = UnsignedRecord(
            kind=RecordKind.KEYRING_CHANGED,
            subject=self._trust.ledger_id,
            correlation_id=trace,
            body=envelope.to_body(),
        )
        successor = None if signer is None else LineSigner(signer, self._mode())
        line = self._committer.commit(PreparedBatch((record,)), successor=successor).view(0)
        assert isinstance(line, JournalRecord)
        self._saved(self._trust.current)
        return line

    def _change(
        self,
        change: KeyringChange,
        signers: Sequence[Signer],
        correlation_id: str | UUID | None,
        successor: Signer | None,
    ) -> JournalRecord:
        keyring = self._current().keyring
        own = self._committer.signer
        everyone = list(signers)
        if own is not None and keyring.deciding_role(Purpose.KEYRING) is Role.SYSTEM:
            everyone.append(own.signer)
        envelope = self._trust.envelope(change)
        for signer in everyone:
            envelope = envelope.signed_by(signer)
        return self.commit(envelope, correlation_id=correlation_id, signer=successor)

    def _current(self) -> KeyringVersion:
        with self._committer.reading():
            return self._trust.current

    def _own_signer(self) -> Signer:
        own = self._committer.signer
        if own is None:
            raise InvalidValue("the ledger is unsigned: it has no key to rotate; add its first one")
        return own.signer

    def _mode(self) -> SigningMode:
        own = self._committer.signer
        return own.mode if own is not None else self._first_mode
