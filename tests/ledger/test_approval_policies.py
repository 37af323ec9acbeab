"""Policies for approvals: how many for which purpose, changes in between, withdrawals above a sum."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

import bibank as bb
from bibank import drafts
from bibank.model.policy import SIGNED_POLICIES
from bibank.signing import (
    AdjustmentPurpose,
    ApprovalTerms,
    Keyring,
    KeyringChange,
    NewKey,
    Policy,
    Purpose,
    Role,
)
from tests.ledger.operators import (
    ALICE,
    ANNA,
    BERT,
    CLEO,
    DORA,
    OPERATORS,
    OWN,
    OWNER,
    STRANGER,
    VAULT,
    approve,
    change,
    correction,
    decide,
    digests,
    governed,
    join,
    propose,
    refused,
)
from tests.signing.forge import Key
from tests.store.journals import StillClock

CAPITAL, CORRECTION = AdjustmentPurpose.CAPITAL, AdjustmentPurpose.CORRECTION
LIMIT = ApprovalTerms(withdrawals_above=("10 USDT",))
ABOVE = "10.00000001"


def withdrawal(money: str = ABOVE, **fields: Any) -> bb.UnsignedEntry:
    """A draft of a withdrawal of Alice."""
    return drafts.withdrawal("ALICE", f"{money} USDT", correlation_id="w", **fields)


# --------------------------------------------------------------------------- thresholds


def test_each_purpose_may_need_another_number() -> None:
    """What the terms say of a purpose holds for it, and the policy's own threshold for the others."""
    ledger = governed()
    decide(ledger, threshold=1, approvals=ApprovalTerms(thresholds={CAPITAL: 3, CORRECTION: 2}))
    capital, expense, other = (
        propose(ledger, correction("1", purpose=purpose))
        for purpose in (CAPITAL, AdjustmentPurpose.EXPENSE, CORRECTION)
    )
    assert [row.needed for row in ledger.pending()] == [3, 1, 2]
    assert approve(ledger, expense, BERT) is not None
    assert approve(ledger, other, BERT, CLEO) is not None
    assert approve(ledger, capital, BERT, CLEO, DORA) is not None


def test_a_threshold_that_is_raised_in_between_asks_for_more() -> None:
    """The policy in force when the last approval is given decides."""
    ledger = governed()
    sequence = propose(ledger)
    approve(ledger, sequence, BERT)
    decide(ledger, threshold=3)
    assert ledger.pending()[0].needed == 3
    entry = approve(ledger, sequence, CLEO, DORA)
    assert entry is not None
    assert len(entry.metadata["bb.approvals"]) == 3  # type: ignore[arg-type]  # a list of digests


@pytest.mark.parametrize("lowered", [1, 2])
def test_a_threshold_that_is_lowered_in_between_asks_for_one_more_approval(lowered: int) -> None:
    """Nothing moves by the change itself: the next approval carries it out, and names all that stand."""
    ledger = governed()
    decide(ledger, threshold=3)
    sequence = propose(ledger)
    approve(ledger, sequence, BERT)
    decide(ledger, threshold=lowered)
    assert [(row.approved_by, row.needed) for row in ledger.pending()] == [(("BERT_OPS",), lowered)]
    with refused(ledger, "same_key"):
        approve(ledger, sequence, BERT)
    entry = approve(ledger, sequence, CLEO)
    assert entry is not None
    assert entry.metadata["bb.approvals"] == digests(*ledger.records(kind=bb.RecordKind.APPROVAL))


def test_a_role_that_is_changed_in_between_counts_others() -> None:
    """Approvals by keys without the role that is asked for now are none, and that role's are."""
    ledger = governed()
    sequence = propose(ledger)
    approve(ledger, sequence, BERT)
    other = Key(12, "USER:BOB")
    for key in (OWNER, other):
        join(ledger, key, Role.OWNER)
    decide(ledger, role=Role.OWNER)
    assert ledger.pending()[0].approved_by == ()
    with refused(ledger, "wrong_role"):
        approve(ledger, sequence, CLEO)
    entry = approve(ledger, sequence, OWNER, other)
    assert entry is not None
    assert entry.metadata["bb.approvals"] == digests(*ledger.records(kind=bb.RecordKind.APPROVAL)[1:])


def test_what_could_never_be_approved_is_not_proposed() -> None:
    """With too few persons besides the proposer it is refused, and passes once there are enough."""
    ledger = governed(ANNA, BERT)
    with refused(ledger, kind=bb.ApprovalRequired):
        propose(ledger)
    with refused(ledger, kind=bb.ApprovalRequired):
        ledger.commit(correction())
    sequence = ledger.governance.propose(correction()).sequence
    assert ledger.pending()[0].proposer == "SYSTEM", "the ledger's own key proposes, and approves nothing"
    assert approve(ledger, sequence, ANNA, BERT) is not None


def test_who_else_may_propose() -> None:
    """The system's key and operators; an owner may not, nor a key that was given up, nor a stranger."""
    ledger = governed()
    join(ledger, OWNER, Role.OWNER)
    with refused(ledger, "wrong_role"):
        propose(ledger, by=OWNER)
    with refused(ledger, "unknown_key"):
        propose(ledger, by=STRANGER)
    change(ledger, KeyringChange(retire=(DORA.key_id,)))
    with refused(ledger, "inactive_key"):
        propose(ledger, by=DORA)
    assert propose(ledger, by=OWN) == ledger.head.sequence


@pytest.mark.parametrize(
    "policy",
    [
        {"threshold": 0},
        {"threshold": 0, "approvals": ApprovalTerms(thresholds={CAPITAL: 1})},
        {"threshold": 2, "approvals": ApprovalTerms(thresholds={CORRECTION: 0})},
    ],
)
def test_a_change_does_not_give_up_approvals(policy: dict[str, Any]) -> None:
    """That a purpose needs none is written at creation or never; a smaller number passes."""
    ledger = governed()
    with refused(ledger, kind=bb.InvalidValue):
        decide(ledger, **policy)
    decide(ledger, threshold=1)
    assert approve(ledger, propose(ledger), BERT) is not None


def keyring(policy: Policy) -> Keyring:
    """A first keyring of the system and four operators with a policy for adjustments."""
    keys = tuple(
        NewKey(
            signer_id=key.signer_id,
            algorithm=bb.SignatureAlgorithm.ED25519,
            public_key=key.public_key,
            roles=(Role.SYSTEM if key is OWN else Role.OPERATOR,),
        )
        for key in (OWN, *OPERATORS)
    )
    return Keyring.first(keys, {**SIGNED_POLICIES, Purpose.ADJUSTMENT: policy})


def test_a_ledger_may_be_made_to_need_no_approvals(tmp_path: Path) -> None:
    """Where its host wrote that down at creation: for one purpose, not for others, and not for ever."""
    terms = ApprovalTerms(thresholds={CORRECTION: 0})
    first = keyring(Policy(role=Role.OPERATOR, threshold=2, approvals=terms))
    with bb.Ledger.create(
        tmp_path / "books", keyring=first, signer=OWN.signer, clock=StillClock(), durability="none"
    ) as ledger:
        ledger.deposit("ALICE", "100 USDT", correlation_id="d")
        entry = ledger.commit(correction())
        assert (entry.causality_id, [name for name in entry.metadata if name.startswith("bb.")]) == (None, [])
        with refused(ledger, kind=bb.InvalidValue):
            propose(ledger)
        with refused(ledger, kind=bb.ApprovalRequired):
            ledger.commit(correction("1", purpose=CAPITAL))
        decide(ledger, threshold=1)
        with refused(ledger, kind=bb.ApprovalRequired):
            ledger.commit(correction("1"))
        with refused(ledger, kind=bb.InvalidValue):
            decide(ledger, threshold=1, approvals=terms)
    with bb.Ledger.open(
        tmp_path / "books", signer=OWN.signer, clock=StillClock(), durability="none"
    ) as again:
        assert str(again.balance(ALICE).available) == "55"
        assert approve(again, propose(again, correction("1")), CLEO) is not None


# --------------------------------------------------------------------------- withdrawals


OTHER_VAULT = bb.AccountKey("ASSET:SYSTEM:BANK:USDT:MAIN")


def banked() -> bb.Ledger:
    """A ledger that has money in two places, and no limit."""
    ledger = governed()
    legs = [bb.Posting.debit(OTHER_VAULT, 50), bb.Posting.credit(ALICE, 50)]
    intent = bb.TransactionIntent.DEPOSIT
    ledger.commit(bb.UnsignedEntry(intent=intent, correlation_id="d", postings=legs))
    return ledger


def limited() -> bb.Ledger:
    """The same, asked for approvals of withdrawals above 10 USDT."""
    ledger = banked()
    decide(ledger, approvals=LIMIT)
    return ledger


def in_parts(*parts: str) -> bb.UnsignedEntry:
    """A withdrawal that leaves through several postings of one asset, all of one owner."""
    total = bb.Posting.debit(ALICE, str(sum(map(bb.Amount, parts), bb.Amount(0))))
    legs = [bb.Posting.credit((VAULT, OTHER_VAULT)[n % 2], part) for n, part in enumerate(parts)]
    return bb.UnsignedEntry(
        intent=bb.TransactionIntent.WITHDRAWAL, correlation_id="w", postings=[total, *legs]
    )


def reversed_deposit(ledger: bb.Ledger) -> object:
    """Take a deposit of more than the limit back."""
    return ledger.reverse(7, correlation_id="w")


def paid_hold(ledger: bb.Ledger) -> object:
    """Let the money of a hold leave the ledger."""
    return ledger.post_hold(ledger.holds()[0].id, correlation_id="w")


TOO_MUCH: dict[str, Callable[[bb.Ledger], object]] = {
    "verb": lambda ledger: ledger.withdraw("ALICE", f"{ABOVE} USDT", correlation_id="w"),
    "verb with a key": lambda ledger: ledger.withdraw(
        "ALICE", f"{ABOVE} USDT", correlation_id="w", idempotency_key="k"
    ),
    "draft": lambda ledger: ledger.commit(withdrawal()),
    "in a batch": lambda ledger: ledger.commit_batch([withdrawal("1"), withdrawal()]),
    "preview": lambda ledger: ledger.preview(withdrawal()),
    "many": lambda ledger: ledger.commit_each([withdrawal()]).raise_for_refusals(),
    "in parts": lambda ledger: ledger.commit(in_parts("5", "4", "1.00000001")),
    "reversal of a deposit": reversed_deposit,
    "the money of a hold": paid_hold,
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_withdrawal_above_the_limit_needs_approvals(name: str) -> None:
    """However it leaves; without the limit it would have passed."""
    ledger, free = limited(), banked()
    for each in (ledger, free):
        each.hold("ALICE", "20 USDT", to=bb.WITHDRAWAL, correlation_id="h")
        each.deposit("ALICE", "50 USDT", correlation_id="d2")
    with refused(ledger, kind=bb.ApprovalRequired):
        TOO_MUCH[name](ledger)
    TOO_MUCH[name](free)


def test_a_withdrawal_of_exactly_the_limit_passes() -> None:
    """Each entry is judged for itself, and so is each asset; deposits and transfers are no withdrawals."""
    ledger = limited()
    ledger.withdraw("ALICE", "10 USDT", correlation_id="w")
    ledger.commit_batch([withdrawal("10"), withdrawal("10")])
    ledger.commit(in_parts("5", "4", "1"))
    ledger.reverse(7, "10", correlation_id="w")
    held = ledger.hold("ALICE", "20 USDT", to=bb.WITHDRAWAL, correlation_id="h")
    ledger.post_hold(held.id, "10", correlation_id="w")
    ledger.deposit("ALICE", "99 BTC", correlation_id="d")
    ledger.withdraw("ALICE", "99 BTC", correlation_id="w")
    ledger.transfer("ALICE", "BOB", "11 USDT", correlation_id="t")
    ledger.audit(level="signatures")


@pytest.mark.parametrize("entry", [withdrawal(), in_parts("5", "4", "1.00000001")], ids=["plain", "in parts"])
def test_an_approved_withdrawal_leaves(entry: bb.UnsignedEntry) -> None:
    """It needs what the policy's own threshold says, whatever purposes need, and has no purpose."""
    ledger = banked()
    decide(ledger, threshold=3, approvals=attrs.evolve(LIMIT, thresholds=dict.fromkeys(AdjustmentPurpose, 1)))
    with refused(ledger, kind=bb.InvalidValue):
        propose(ledger, withdrawal("10"))
    sequence = propose(ledger, entry)
    (row,) = ledger.pending()
    assert (row.intent, row.purpose, row.reason, row.needed) == (entry.intent, None, None, 3)
    committed = approve(ledger, sequence, BERT, CLEO, DORA)
    assert committed is not None
    assert (committed.postings, committed.causality_id) == (entry.postings, str(sequence))
    with refused(ledger, kind=bb.ApprovalRequired):
        ledger.commit(entry)


def test_a_limit_that_was_ended_lets_an_open_proposal_be_carried_out() -> None:
    """What was proposed stays open, and is carried out by its approvals all the same."""
    ledger = limited()
    sequence = propose(ledger, withdrawal())
    approve(ledger, sequence, BERT)
    decide(ledger)
    ledger.commit(withdrawal())
    entry = approve(ledger, sequence, CLEO)
    assert entry is not None
    assert entry.causality_id == str(sequence)
    ledger.audit(level="signatures")


# --------------------------------------------------------------------------- how large it may be


def grown(size: int) -> bb.UnsignedEntry:
    """A correction with a note of so many characters."""
    return correction(metadata={"note": "x" * size})


def many(keys: int) -> bb.UnsignedEntry:
    """A correction with so many members of its own."""
    return correction(metadata={f"k{number}": 0 for number in range(keys)})


def wide(postings: int) -> bb.UnsignedEntry:
    """A correction of so many postings with the longest names, and a note."""
    name = "LIAB:SYSTEM:" + "A" * 64 + ":USDT:"
    legs = [bb.Posting.credit(name + f"S{n:03}", "1.00000001") for n in range(postings)]
    total = sum((leg.amount for leg in legs), bb.Amount(0))
    return drafts.adjustment(
        [bb.Posting.debit(VAULT, str(total)), *legs],
        purpose=CORRECTION,
        reason="r",
        correlation_id="c",
        metadata={"note": "x" * 8_000},
    )


@pytest.mark.parametrize(
    ("draft", "highest"), [(grown, 16_300), (many, 61), (wide, 255)], ids=["bytes", "members", "postings"]
)
def test_what_could_not_bear_its_approvals_is_not_proposed(
    draft: Callable[[int], bb.UnsignedEntry], highest: int
) -> None:
    """The largest that is proposed is also committed, under the most approvals and the longest key."""
    approvers = tuple(Key(number, f"OP{number}_OPS") for number in range(100, 115))
    ledger = governed(ANNA, *approvers)
    decide(ledger, threshold=15)

    def is_proposable(size: int) -> bool:
        try:
            ledger.governance.draft_proposal(draft(size))
        except bb.InvalidInput:
            return False
        return True

    low, high = 1, highest
    assert is_proposable(low)
    assert not is_proposable(high), "and yet the draft itself is one"
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_proposable(middle) else (low, middle)
    with pytest.raises(bb.InvalidInput):
        propose(ledger, draft(high))
    ledger.governance.propose(draft(low), proposed_by=ANNA.signer, idempotency_key='"' * 128)
    sequence = ledger.head.sequence
    assert approve(ledger, sequence, *approvers[:-1]) is None
    last = ledger.governance.approve(
        sequence, approvers[-1].signer, correlation_id="a", idempotency_key="\\" * 128
    )
    assert last.entry is not None
    assert len(last.entry.metadata["bb.approvals"]) == 15  # type: ignore[arg-type]  # a list of digests
    ledger.audit(level="signatures")
