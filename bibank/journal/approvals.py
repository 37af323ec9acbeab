"""Approvals: which proposals are open, who approved them, and which entry may therefore be committed.

A fold over `proposal` and `approval` records. It judges both what is proposed and what is read: an adjustment
without its approvals is no line of a journal, whoever sealed it.

An approval counts while its key is in force. The one that makes enough of them is followed at once, in its
own batch, by the entry.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import attrs

from bibank.errors import ApprovalRequired, InvalidValue
from bibank.journal.authority import check_role, refusal
from bibank.journal.change_log import ChangeLog
from bibank.journal.proposals import content_digest, digest_of, expiry, read_proposal
from bibank.model.account import AccountCategory, Side
from bibank.model.entry import JournalEntry, Posting, TransactionIntent, UnsignedEntry
from bibank.model.json_value import FrozenMap
from bibank.model.keyring import Keyring, KeyringKey
from bibank.model.links import ApprovedBy, EntryLinks
from bibank.model.policy import AdjustmentPurpose, Policy, Purpose, Role
from bibank.model.proposal import Proposal
from bibank.model.record import JournalRecord
from bibank.model.timestamp import format_timestamp

APPROVALS_NAME = "approvals/1"
"""What refusals for lacking approvals name as their rule."""


@attrs.frozen(kw_only=True)
class Approval:
    """One approval: who gave it, with which key, in which line; and the hash of its body."""

    sequence: int
    signer_id: str
    key_id: str
    digest: str


@attrs.frozen(kw_only=True)
class OpenProposal:
    """A proposal that was not carried out yet; `purpose` is None of a withdrawal."""

    sequence: int
    ledger_id: str
    digest: str
    proposer: str
    purpose: AdjustmentPurpose | None
    leaving: Mapping[str, int]
    """Units by asset that the entry takes out of ASSET accounts."""
    expires_at: datetime
    approvals: tuple[Approval, ...] = ()

    def needed(self, policy: Policy) -> int:
        """Tell how many approvals the entry needs under a policy; what was proposed is always approved."""
        return max(1, _needed(self.purpose, self.leaving, policy))

    def standing(self, keyring: Keyring) -> tuple[Approval, ...]:
        """Give the approvals whose keys are in force, and have the role that is asked for."""
        able = {key.key_id for key in keyring.active(keyring.policies[Purpose.ADJUSTMENT].role)}
        return tuple(approval for approval in self.approvals if approval.key_id in able)


class ApprovalBook:
    """The open proposals of a ledger, by the line that made them."""

    def __init__(self, log: ChangeLog) -> None:
        self._log = log
        self._open: dict[int, OpenProposal] = {}
        self._reached: dict[int, int] = {}
        """Proposals that were approved enough in the batch in progress, and by which line."""

    def copy(self, log: ChangeLog) -> ApprovalBook:
        """Give a book of its own that stands where this one does."""
        other = ApprovalBook(log)
        other._open, other._reached = dict(self._open), dict(self._reached)
        return other

    # ------------------------------------------------------------------ looking

    def find(self, sequence: int) -> OpenProposal | None:
        """Find an open proposal, expired or not."""
        return self._open.get(sequence)

    def pending(self, *, after: datetime) -> list[OpenProposal]:
        """List the proposals that can still be approved after a moment, oldest first."""
        found = [proposal for proposal in self._open.values() if proposal.expires_at > after]
        return sorted(found, key=lambda proposal: proposal.sequence)

    # ------------------------------------------------------------------ folding

    def propose(
        self, payload: FrozenMap, key: KeyringKey, *, sequence: int, moment: datetime, policy: Policy
    ) -> None:
        """Take a proposal of a key."""
        check_role(key, (policy.role, Role.SYSTEM), kind="proposal")
        entry = read_proposal(payload)
        proposal = OpenProposal(
            sequence=sequence,
            ledger_id=str(payload["ledger"]),
            digest=digest_of(payload),
            proposer=key.signer_id,
            purpose=entry.purpose,
            leaving=_leaving(entry.postings),
            expires_at=expiry(moment, policy),
        )
        self._log.set(self._open, sequence, proposal)

    def approve(
        self,
        payload: FrozenMap,
        key: KeyringKey,
        *,
        digest: str,
        sequence: int,
        moment: datetime,
        keyring: Keyring,
    ) -> None:
        """Take an approval; `NotAuthorised` says why it does not count. `digest` is that of its body."""
        cited = payload["sequence"]
        assert isinstance(cited, int), "the record table holds it to that"
        proposal = self._judge(cited, payload, key, moment=moment, keyring=keyring)
        approval = Approval(sequence=sequence, signer_id=key.signer_id, key_id=key.key_id, digest=digest)
        approvals = (*proposal.standing(keyring), approval)
        self._log.set(self._open, cited, attrs.evolve(proposal, approvals=approvals))
        policy = keyring.policies[Purpose.ADJUSTMENT]
        if len(approvals) >= proposal.needed(policy):
            self._log.set(self._reached, cited, sequence)

    def _judge(
        self, cited: int, payload: FrozenMap, key: KeyringKey, *, moment: datetime, keyring: Keyring
    ) -> OpenProposal:
        proposal = self._open.get(cited)
        if proposal is None or cited in self._reached:
            raise refusal(f"line {cited} is no open proposal", reason="not_pending")
        if payload["proposal"] != proposal.digest:
            raise refusal(
                f"the approval is of another content than line {cited} proposes",
                reason="other_content",
                advice=f"an approval of {proposal.digest} would pass",
            )
        if moment >= proposal.expires_at:
            raise refusal(
                f"the proposal of line {cited} has expired at {format_timestamp(proposal.expires_at)}",
                reason="expired",
                advice="propose it again",
            )
        check_role(key, (keyring.policies[Purpose.ADJUSTMENT].role,), kind="approval")
        others = "somebody else's approval would pass"
        standing = proposal.standing(keyring)
        if len(standing) >= proposal.needed(keyring.policies[Purpose.ADJUSTMENT]):
            others += "; or propose it again: the policy was lowered behind its last approval"
        if key.signer_id == proposal.proposer:
            raise refusal(
                f"{key.signer_id} has proposed line {cited}, and does not approve it as well",
                reason="own_proposal",
                advice=others,
            )
        for approval in standing:
            if approval.key_id == key.key_id:
                raise refusal(
                    f"{key.signer_id} has approved line {cited} with this key already, in line "
                    f"{approval.sequence}",
                    reason="same_key",
                    advice=others,
                )
            if approval.signer_id == key.signer_id:
                raise refusal(
                    f"{key.signer_id} has approved line {cited} already, with another key in line "
                    f"{approval.sequence}",
                    reason="same_person",
                    advice=others,
                )
        return proposal

    def check_entry(
        self, entry: UnsignedEntry | JournalEntry, approved: ApprovedBy, *, sequence: int
    ) -> None:
        """Demand that an entry is what was approved, directly behind the approval that made it enough."""
        proposal = self._open.get(approved.sequence)
        if proposal is None or self._reached.get(approved.sequence) != sequence - 1:
            raise ApprovalRequired(
                f"the proposal of line {approved.sequence} is not carried out by the line after its last "
                "approval",
                rule=APPROVALS_NAME,
                advice="approve() writes both, in one batch",
            )
        digests = tuple(sorted(approval.digest for approval in proposal.approvals))
        if approved.proposal != proposal.digest or approved.approvals != digests:
            raise refusal(
                f"the entry names other approvals than line {approved.sequence} has", reason="other_content"
            )
        if content_digest(entry, ledger_id=proposal.ledger_id) != proposal.digest:
            raise refusal(
                f"the entry is not what line {approved.sequence} proposes",
                reason="other_content",
                advice="exactly the proposed entry would pass",
            )

    def carry_out(self, sequence: int) -> None:
        """Take note that a proposal was carried out."""
        self._log.remove(self._open, sequence)
        self._log.remove(self._reached, sequence)

    def check_end(self) -> None:
        """Demand, at the end of a batch, that what was approved enough was carried out."""
        if self._reached:
            raise InvalidValue(
                f"the proposal of line {min(self._reached)} has its approvals, and its entry does not follow"
            )


def approvals_needed(
    intent: TransactionIntent, postings: Sequence[Posting], metadata: FrozenMap, keyring: Keyring
) -> int:
    """Tell how many approvals an entry needs under the policy in force; 0 for most."""
    policy = keyring.policies[Purpose.ADJUSTMENT]
    if intent is TransactionIntent.ADJUSTMENT:
        return _needed(AdjustmentPurpose(metadata["purpose"]), _leaving(postings), policy)
    if intent is TransactionIntent.WITHDRAWAL and policy.withdrawal_limits:
        return policy.threshold if _is_above(_leaving(postings), policy) else 0
    return 0


def _leaving(postings: Sequence[Posting]) -> Mapping[str, int]:
    """Sum up what an entry takes out of ASSET accounts, in units by asset."""
    left: dict[str, int] = {}
    for posting in postings:
        if posting.account.category is AccountCategory.ASSET and posting.side is Side.CREDIT:
            asset = posting.account.asset
            left[asset] = left.get(asset, 0) + posting.amount.units
    return left


def _is_above(leaving: Mapping[str, int], policy: Policy) -> bool:
    """Tell whether more leaves than a policy lets go without approvals."""
    limits = policy.withdrawal_limits
    return any(units > limits[asset] for asset, units in leaving.items() if asset in limits)


def _needed(purpose: AdjustmentPurpose | None, leaving: Mapping[str, int], policy: Policy) -> int:
    """Tell how many approvals a proposal needs: an adjustment is no way round the limit of withdrawals."""
    needed = policy.approvals_for(purpose)
    return max(needed, policy.threshold) if _is_above(leaving, policy) else needed


def check_approved(
    book: ApprovalBook,
    entry: UnsignedEntry | JournalEntry,
    links: EntryLinks | None,
    *,
    sequence: int,
    keyring: Keyring,
) -> None:
    """Demand that an entry has the approvals that it needs, or says that it has.

    Raises `ApprovalRequired`, or `NotAuthorised` for approvals of something else.
    """
    if links is not None and links.approved is not None:
        book.check_entry(entry, links.approved, sequence=sequence)
        return
    needed = approvals_needed(entry.intent, entry.postings, entry.metadata, keyring)
    if needed:
        role = keyring.policies[Purpose.ADJUSTMENT].role
        able = {key.signer_id for key in keyring.active(role)}
        raise approval_required(entry.intent, needed, able, role)


def approval_required(
    intent: TransactionIntent, needed: int, able: Collection[str], role: Role
) -> ApprovalRequired:
    """Say what an entry lacks, and which persons could give it."""
    what = "this withdrawal" if intent is TransactionIntent.WITHDRAWAL else "an adjustment"
    if len(able) < needed:
        return ApprovalRequired(
            f"{what} needs {_approvals(needed)}, and {len(able)} persons with the role {role.value} "
            "could give one",
            rule=APPROVALS_NAME,
            advice=f"nothing passes until the keyring has {needed}, besides the one who proposes",
        )
    return ApprovalRequired(
        f"{what} needs {_approvals(needed)}",
        rule=APPROVALS_NAME,
        advice=f"propose it, and have it approved by {needed} of {', '.join(sorted(able))}",
    )


def _approvals(count: int) -> str:
    return f"{count} approval{'' if count == 1 else 's'}"


def proposal_row(
    proposal: OpenProposal, record: JournalRecord, *, keyring: Keyring, policy: Policy
) -> Proposal:
    """Show an open proposal the way people look at it; `record` is its line."""
    entry = read_proposal(record.body["payload"])
    reason = entry.metadata.get("reason") if proposal.purpose is not None else None
    return Proposal(
        sequence=proposal.sequence,
        proposer=proposal.proposer,
        intent=entry.intent,
        purpose=proposal.purpose,
        reason=None if reason is None else str(reason),
        correlation_id=entry.correlation_id,
        postings=entry.postings,
        approved_by=tuple(approval.signer_id for approval in proposal.standing(keyring)),
        needed=proposal.needed(policy),
        expires_at=proposal.expires_at,
        digest=proposal.digest,
    )
