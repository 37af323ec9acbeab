"""Reading entries that an attacker sealed who holds the system key: without approvals, or with other ones."""

from __future__ import annotations

from typing import Any

import pytest

from bibank.errors import JournalCorrupt
from tests.journal.governed import (
    ADJUSTMENT,
    ALICE,
    CLEO,
    DEPOSIT,
    DORA,
    FIRST,
    LAST,
    OPEN,
    PROPOSAL,
    VAULT,
    WITHDRAWAL,
    Attack,
    Line,
    approval,
    carried,
    digest,
    journal,
    keyed,
    line,
    refused,
    replayed,
    seal,
    with_metadata,
)
from tests.journal.machines import Diary

LEDGER, LINES = journal()
END = len(LINES)


def entry_behind(**changes: Any) -> list[Line]:
    """The last approval as it was, and behind it the entry with other metadata."""
    return [line(LAST), with_metadata(ADJUSTMENT, **changes)]


def overdone() -> list[Line]:
    """Two approvals that each make enough for the open proposal, and its entry under both."""
    last, more = approval(DORA), approval(CLEO)
    return [last, more, carried(line(OPEN + 1)["body"], last["body"], more["body"])]


def paid(amount: str, **changes: Any) -> list[Line]:
    """The last approval as it was, and behind it the entry with another amount."""
    legs = [{**leg, "amount": amount} for leg in line(ADJUSTMENT)["postings"]]
    return [line(LAST), line(ADJUSTMENT, postings=legs, **changes)]


def approvals(*bodies: Line) -> list[str]:
    """The hashes of some bodies, as they stand in an entry."""
    return sorted(digest(body) for body in bodies)


def without_key() -> Line:
    """The body of the last approval."""
    body: Line = line(LAST)["body"]
    return body


def unkeyed() -> Line:
    """The entry without the key of its request."""
    return with_metadata(ADJUSTMENT, bb_idempotency_key=None, bb_idempotency_digest=None)


def stripped() -> Line:
    """The entry without a word of its approvals."""
    found = with_metadata(
        ADJUSTMENT, bb_approvals=None, bb_proposal=None, bb_idempotency_key=None, bb_idempotency_digest=None
    )
    return {**found, "causality_id": None}


def reaching(**changes: Any) -> list[Line]:
    """The approval that makes enough for the open proposal, and its entry."""
    last = approval(DORA)
    return [last, carried(line(OPEN + 1)["body"], last["body"], **changes)]


NOT_BEHIND = "is not carried out by the line after its last approval"
OTHER_ENTRY = f"the entry is not what line {PROPOSAL} proposes"
OTHER_APPROVALS = f"the entry names other approvals than line {PROPOSAL} has"
HELD_BACK = "has its approvals, and its entry does not follow"
COUNTS: dict[str, Any] = {"after": LAST - 1, "at": 1}

ENTRIES: dict[str, Attack] = {
    "an adjustment without approvals": Attack("an adjustment needs 2 approvals", lambda: [stripped()]),
    "in the place of the approved one": Attack(
        "an adjustment needs 2 approvals", lambda: [stripped()], after=LAST - 1
    ),
    "stripped of all approvals": Attack(
        "an adjustment needs 2 approvals", lambda: [line(LAST), stripped()], **COUNTS
    ),
    "stripped of bb.approvals": Attack(
        "approvals are a tuple", lambda: entry_behind(bb_approvals=None), **COUNTS
    ),
    "no approvals listed": Attack("at least one", lambda: entry_behind(bb_approvals=[]), **COUNTS),
    "stripped of bb.proposal": Attack(
        "bb.proposal is not a text", lambda: entry_behind(bb_proposal=None), **COUNTS
    ),
    "one approval left out": Attack(
        OTHER_APPROVALS, lambda: entry_behind(bb_approvals=approvals(line(LAST)["body"])), **COUNTS
    ),
    "one approval exchanged": Attack(
        OTHER_APPROVALS,
        lambda: entry_behind(bb_approvals=approvals(line(LAST)["body"], approval(DORA)["body"])),
        **COUNTS,
    ),
    "one approval more": Attack(
        OTHER_APPROVALS,
        lambda: entry_behind(
            bb_approvals=approvals(line(FIRST)["body"], without_key(), approval(DORA)["body"])
        ),
        **COUNTS,
    ),
    "approvals in another order": Attack(
        "sorted, each once",
        lambda: entry_behind(bb_approvals=line(ADJUSTMENT)["metadata"]["bb.approvals"][::-1]),
        **COUNTS,
    ),
    "another proposal's hash": Attack(
        OTHER_APPROVALS,
        lambda: entry_behind(bb_proposal=digest(line(OPEN)["body"]["payload"])),
        **COUNTS,
    ),
    "another amount": Attack(OTHER_ENTRY, lambda: paid("46"), **COUNTS),
    "another correlation id": Attack(OTHER_ENTRY, lambda: paid("45", correlation_id="case-8"), **COUNTS),
    "other free metadata": Attack(OTHER_ENTRY, lambda: entry_behind(note="y"), **COUNTS),
    "metadata left out": Attack(OTHER_ENTRY, lambda: entry_behind(note=None), **COUNTS),
    "another reason": Attack(OTHER_ENTRY, lambda: entry_behind(reason="typed thrice"), **COUNTS),
    "another purpose": Attack(OTHER_ENTRY, lambda: entry_behind(purpose="EXPENSE"), **COUNTS),
    "a time when it counts": Attack(
        OTHER_ENTRY, lambda: entry_behind(bb_effective_at="2026-01-01T00:00:00Z"), **COUNTS
    ),
    "postings in another order": Attack(
        OTHER_ENTRY,
        lambda: [line(LAST), line(ADJUSTMENT, postings=line(ADJUSTMENT)["postings"][::-1])],
        **COUNTS,
    ),
    "no cause": Attack("follows from its proposal", lambda: paid("45", causality_id=None), **COUNTS),
    "the approval as its cause": Attack(
        "proposal of line 16", lambda: paid("45", causality_id=str(LAST)), **COUNTS
    ),
    "an open proposal as its cause": Attack(
        f"proposal of line {OPEN}", lambda: [carried(line(OPEN + 1)["body"])]
    ),
    "another line as its cause": Attack(
        f"the proposal of line {DEPOSIT} {NOT_BEHIND}",
        lambda: paid("45", causality_id=str(DEPOSIT)),
        **COUNTS,
    ),
    "another intent that is approved": Attack(
        "only adjustments and withdrawals are approved",
        lambda: [line(DEPOSIT, metadata=line(ADJUSTMENT)["metadata"], causality_id=str(PROPOSAL))],
    ),
    "not directly behind the last approval": Attack(
        NOT_BEHIND, lambda: [line(LAST), line(DEPOSIT), unkeyed()], after=LAST - 1, at=2
    ),
    "before the last approval": Attack(NOT_BEHIND, lambda: [line(ADJUSTMENT), line(LAST)], after=LAST - 1),
    "the last approval in a batch of its own": Attack(
        HELD_BACK, lambda: [line(LAST), line(ADJUSTMENT)], after=LAST - 1, apart=True
    ),
    "the last approval without its entry": Attack(HELD_BACK, lambda: [line(LAST), line(DEPOSIT)], **COUNTS),
    "one more approval before the entry": Attack(f"line {OPEN} is no open proposal", overdone, at=1),
    "carried out twice in one batch": Attack(NOT_BEHIND, lambda: [*reaching(), reaching()[1]], at=2),
    "carried out again": Attack(
        f"proposal of line {PROPOSAL} {NOT_BEHIND}",
        lambda: [unkeyed()],
    ),
    "carried out again with its approval": Attack(
        f"line {PROPOSAL} is no open proposal", lambda: [line(LAST), line(ADJUSTMENT)]
    ),
    "two proposals carried out by one approval": Attack(
        NOT_BEHIND, lambda: [*reaching(), carried(line(FIRST)["body"], of=PROPOSAL)], at=2
    ),
    "under an approval too few": Attack(
        NOT_BEHIND,
        lambda: [line(FIRST), carried(line(FIRST)["body"], of=PROPOSAL)],
        after=FIRST - 1,
        at=1,
    ),
    "a withdrawal above the limit": Attack(
        "this withdrawal needs 2 approvals",
        lambda: [line(END, postings=[{**leg, "amount": "10.00000001"} for leg in line(END)["postings"]])],
    ),
    "a withdrawal above the limit in parts": Attack(
        "this withdrawal needs 2 approvals",
        lambda: [
            line(
                END,
                postings=[
                    {"account": ALICE, "amount": "11", "side": "debit"},
                    {"account": VAULT, "amount": "10", "side": "credit"},
                    {"account": VAULT, "amount": "1", "side": "credit"},
                ],
            )
        ],
    ),
    "a deposit above the limit taken back": Attack(
        "this withdrawal needs 2 approvals",
        lambda: [
            line(
                END,
                causality_id=str(DEPOSIT),
                metadata={"bb.reverses": str(DEPOSIT)},
                postings=[
                    {"account": ALICE, "amount": "11", "side": "debit"},
                    {"account": VAULT, "amount": "11", "side": "credit"},
                ],
            )
        ],
    ),
    "an approved withdrawal of more": Attack(
        "is not what line 27 proposes",
        lambda: [
            line(WITHDRAWAL - 1),
            line(
                WITHDRAWAL,
                postings=[{**leg, "amount": "20.00000001"} for leg in line(WITHDRAWAL)["postings"]],
            ),
        ],
        after=WITHDRAWAL - 2,
        at=1,
    ),
    "the key on the record of a batch with an entry": Attack(
        "the key of a batch stands on its first entry, or its first record",
        lambda: [keyed(approval(DORA)), reaching()[1]],
        at=1,
    ),
}


BOTH = [pytest.param((), id="fast path first"), pytest.param((Diary,), id="slow path")]


@pytest.mark.parametrize("rules", BOTH)
def test_the_journal_itself_is_read(rules: tuple[type[Diary], ...]) -> None:
    """Without a change the lines are accepted, and sealed by hand they are the same bytes."""
    machine = replayed(LINES, rules=[rule() for rule in rules])
    assert machine.head.sequence == END
    assert [seal(at - 1, [line(at)]) for at in (DEPOSIT, PROPOSAL, FIRST)] == [
        [LINES[at - 1]] for at in (DEPOSIT, PROPOSAL, FIRST)
    ]
    assert seal(LAST - 1, [line(LAST), line(ADJUSTMENT)]) == list(LINES[LAST - 1 : ADJUSTMENT])
    for made in seal(END, reaching()):
        machine.accept(made)
    assert machine.links.approvals.find(OPEN) is None


@pytest.mark.parametrize("rules", BOTH)
@pytest.mark.parametrize("name", ENTRIES)
def test_a_forged_entry_is_refused(name: str, rules: tuple[type[Diary], ...]) -> None:
    """At its own line, for its own reason, on both paths; nothing is changed, and the good lines go on."""
    refused(ENTRIES[name], rules=[rule() for rule in rules])


def test_an_entry_of_exactly_the_limit_is_read() -> None:
    """What needs no approval is accepted: the limit itself, and each of two entries of a batch."""
    withdrawal = line(END)
    machine = replayed(LINES)
    for made in seal(END, [withdrawal, withdrawal]):
        machine.accept(made)
    assert machine.head.sequence == END + 2
    machine = replayed(LINES)
    above = ENTRIES["a withdrawal above the limit"].make()[0]
    *first, last = seal(END, [withdrawal, above, withdrawal])
    for made in first:
        machine.accept(made)
    with pytest.raises(JournalCorrupt) as caught:
        machine.accept(last)
    assert caught.value.sequence == END + 2, "the line inside its batch is named"
