"""Governance: what operators decide. Freezes, floors, proposals and approvals, attestations, overrides.

Each decision is a record, signed by the people and in force from its own line. What a person signs is an
envelope; the verbs write it, have it signed by the signers at hand, and commit it. For signers elsewhere
there is a `draft_...` of each, and :meth:`Governance.commit` for what comes back.

>>> import bibank as bb
>>> from bibank import drafts
>>> from bibank.signing import Ed25519Signer, Role
>>> system, anna, ben, cleo = (
...     Ed25519Signer(bytes(31) + name[:1].encode(), signer_id=name)
...     for name in ("SYSTEM", "ANNA_OPS", "BEN_OPS", "CLEO_OPS")
... )
>>> ledger = bb.Ledger.in_memory({"USDT": "100"}, signer=system).bind(correlation_id="r1")
>>> for operator in (anna, ben, cleo):
...     _ = ledger.keyring.add(operator, roles=(Role.OPERATOR,), authorised_by=(anna,))
>>> _ = ledger.deposit("ALICE", "50 USDT")
>>> draft = drafts.adjustment(
...     [
...         bb.Posting.debit("LIAB:USER:ALICE:USDT:AVAILABLE", 45),
...         bb.Posting.credit("ASSET:SYSTEM:VAULT:USDT:MAIN", 45),
...     ],
...     purpose=bb.AdjustmentPurpose.CORRECTION,
...     reason="50 was typed for 5",
...     correlation_id="case-7",
... )
>>> proposal = ledger.governance.propose(draft, proposed_by=anna)
>>> ledger.governance.approve(proposal.sequence, ben).entry is None
True
>>> ledger.governance.approve(proposal.sequence, cleo).entry.intent.value
'adjustment'
>>> print(ledger.balance("ALICE", "USDT").available)
5
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import attrs

from bibank.calls import asked_of_drafts
from bibank.envelope_commits import EnvelopeCommits
from bibank.errors import InvalidType
from bibank.journal.account_records import given_reason
from bibank.journal.overrides import check_rule
from bibank.model.account import AccountKey
from bibank.model.amount import SignedAmount
from bibank.model.entry import JournalEntry, UnsignedEntry
from bibank.model.keyring import check_signer_id
from bibank.model.record import JournalLine, JournalRecord, RecordKind
from bibank.model.timestamp import check_utc, format_timestamp
from bibank.opening import check_signers
from bibank.signing.signer import Signer
from bibank.source import check_sequence


@attrs.frozen(kw_only=True)
class Approved:
    """An approval that was committed, and the entry where it was the one that made enough."""

    record: JournalRecord
    entry: JournalEntry | None


class Governance(EnvelopeCommits):
    """The decisions of one ledger's operators.

    `authorised_by` are the signers who agree, as many as the keyring's policy asks for; the ledger's own key
    signs by itself while no operator's key was ever added. `reason` says why, for whoever reads the
    journal later. `idempotency_key` makes a retry safe. Every verb raises `NotAuthorised`, whose `reason`
    says what is wrong with who signed or what was signed, and `InvalidInput` kinds; then nothing was changed.
    Sources: phase 1, 13.3; ADR 0039 (approvals), 0040 (accounts), 0041 (overrides, attestations).
    """

    def __repr__(self) -> str:
        return f"<Governance of {self._queries.ledger_id}>"

    # ------------------------------------------------------------------ accounts

    def freeze(
        self,
        account: AccountKey,
        *,
        reason: str,
        authorised_by: Sequence[Signer] = (),
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> JournalRecord:
        """Let nothing leave an account from here on; money may still arrive.

        Raises `AccountFrozen` when it is frozen, `AccountClosed` when it is closed.
        """
        return self._decide(
            RecordKind.ACCOUNT_FROZEN, account, None, reason, authorised_by, correlation_id, idempotency_key
        )

    def reopen(
        self,
        account: AccountKey,
        *,
        reason: str,
        authorised_by: Sequence[Signer] = (),
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> JournalRecord:
        """Let money move freely again on an account that was frozen or closed; its floor stays as it is.

        Raises `Refused` for an account that is open.
        """
        return self._decide(
            RecordKind.ACCOUNT_REOPENED, account, None, reason, authorised_by, correlation_id, idempotency_key
        )

    def close(
        self,
        account: AccountKey,
        *,
        reason: str,
        authorised_by: Sequence[Signer] = (),
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> JournalRecord:
        """Let nothing move on an account from here on, in or out.

        Raises `AccountNotEmpty` for one that holds money, or of which money is held; `AccountClosed`.
        """
        return self._decide(
            RecordKind.ACCOUNT_CLOSED, account, None, reason, authorised_by, correlation_id, idempotency_key
        )

    def limit(
        self,
        account: AccountKey,
        *,
        floor: SignedAmount | str | int,
        reason: str,
        authorised_by: Sequence[Signer] = (),
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> JournalRecord:
        """Let an account fall to a floor of 0 or below: an overdraft, which 0 ends.

        `floor` is in the account's asset, in the direction of its normal balance. One that has fallen
        further already may only receive. Raises `InvalidValue` for accounts that have no floor, and for held
        money; `AccountClosed`.
        """
        lowest = floor if isinstance(floor, SignedAmount) else SignedAmount(floor)
        return self._decide(
            RecordKind.LIMIT_SET, account, lowest, reason, authorised_by, correlation_id, idempotency_key
        )

    def _decide(
        self,
        kind: RecordKind,
        account: AccountKey,
        floor: SignedAmount | None,
        reason: str,
        authorised_by: Sequence[Signer],
        correlation_id: str | UUID | None,
        key: str | UUID | None,
    ) -> JournalRecord:
        if not isinstance(account, AccountKey):
            raise InvalidType(f"account is an AccountKey, not {type(account).__name__}")
        asked = {
            "account": account.text,
            "floor": None if floor is None else str(floor),
            "reason": given_reason(reason),
        }
        return _record(
            self._asked(
                lambda: self.draft_decision(kind, account, reason=reason, floor=floor),
                self._deciding(authorised_by),
                {"arguments": asked, "verb": kind.value},
                correlation_id,
                key,
            )
        )

    # ------------------------------------------------------------------ proposals and approvals

    def propose(
        self,
        entry: UnsignedEntry,
        *,
        proposed_by: Signer | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> JournalRecord:
        """Propose an entry that needs approvals; the line of the record is its number.

        `proposed_by` is an operator, who then does not approve; the ledger's own key unless given. The
        record has the entry's correlation id. Raises `InvalidValue` for an entry that needs no approvals,
        `ApprovalRequired` while there are too few who could give them.
        """
        signer = proposed_by if proposed_by is not None else self._own_signer()
        envelope = self.draft_proposal(entry)
        asked = {**asked_of_drafts((entry,)), "verb": "propose"}
        return _record(self._asked(lambda: envelope, (signer,), asked, entry.correlation_id, idempotency_key))

    def approve(
        self,
        sequence: int,
        signer: Signer,
        *,
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> Approved:
        """Approve the proposal of a line. The approval that makes enough commits the entry in its own batch.

        Then the entry is judged by every rule, and what refuses it (any `Refused`) refuses the approval too:
        nothing is changed, and the same approval may be given later. Raises `UnknownSequence` for a line that
        is no proposal.
        """
        asked = _asked_of_line("approve", sequence, signer)
        record, *rest = self._asked(
            lambda: self.draft_approval(sequence), (signer,), asked, correlation_id, idempotency_key
        )
        entry = rest[0] if rest else None
        assert isinstance(record, JournalRecord)
        assert entry is None or isinstance(entry, JournalEntry)
        return Approved(record=record, entry=entry)

    # ------------------------------------------------------------------ attestations

    def attest(
        self,
        sequence: int,
        signer: Signer,
        *,
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> JournalRecord:
        """Add a signature to a committed line, with any key of the keyring. The line stays as it is.

        Raises `UnknownSequence` when there is no such line (phase 2, 5.7; ADR 0041).
        """
        asked = _asked_of_line("attest", sequence, signer)
        return _record(
            self._asked(
                lambda: self.draft_attestation(sequence), (signer,), asked, correlation_id, idempotency_key
            )
        )

    # ------------------------------------------------------------------ overrides

    def override(
        self,
        entry: UnsignedEntry,
        *,
        rule: str,
        expires_at: datetime,
        reason: str,
        authorised_by: Sequence[Signer] = (),
        correlation_id: str | UUID | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> JournalRecord:
        """Let one entry pass one rule once, until a time (aware UTC).

        The entry is known by its whole content, correlation id included, and is committed afterwards like
        any other. Raises `InvalidValue` for a rule that is not in force: the adopted rules and those of the
        host can be overridden, what every ledger has cannot (ADR 0041).
        """
        if not isinstance(entry, UnsignedEntry):
            raise InvalidType(f"an override is for an UnsignedEntry, not {type(entry).__name__}")
        asked = {
            **asked_of_drafts((entry,)),
            "correlation_id": entry.correlation_id,  # part of what the entry is known by
            "expires_at": format_timestamp(check_utc(expires_at)),
            "reason": given_reason(reason),
            "rule": check_rule(rule),
            "verb": "override",
        }
        return _record(
            self._asked(
                lambda: self.draft_override(entry, rule=rule, expires_at=expires_at, reason=reason),
                self._deciding(authorised_by),
                asked,
                correlation_id,
                idempotency_key,
            )
        )


def _record(lines: Sequence[JournalLine]) -> JournalRecord:
    record = lines[0]
    assert isinstance(record, JournalRecord)
    return record


def _asked_of_line(verb: str, sequence: int, signer: Signer) -> dict[str, object]:
    """Say what signing something about a line asks for."""
    check_signers((signer,))
    check_sequence(sequence, minimum=1)
    return {"arguments": {"sequence": sequence, "signer": check_signer_id(signer.signer_id)}, "verb": verb}
