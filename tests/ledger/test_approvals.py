"""Approvals: who may give one, and of what; each abuse is refused for its own reason and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

import bibank as bb
from bibank.model.json_value import FrozenMap
from bibank.signing import ApprovalTerms, KeyringChange, Role
from tests.ledger.operators import (
    ALICE,
    ANNA,
    ANNA_AGAIN,
    BERT,
    BERT_AGAIN,
    CLEO,
    DORA,
    OWN,
    OWNER,
    STRANGER,
    approve,
    change,
    correction,
    decide,
    digests,
    governed,
    join,
    propose,
    refused,
    signed,
)
from tests.signing.forge import Key
from tests.store.journals import StillClock

Attempt = Callable[[bb.Ledger, int], Any]


@attrs.frozen
class Row:
    """One abuse: who has approved before, what is tried, why it is refused, and who approves afterwards."""

    reason: str
    attempt: Attempt
    before: tuple[Key, ...] = ()
    then: tuple[Key, ...] = (BERT, CLEO)


def by(key: Key) -> Attempt:
    """Approve with a key."""
    return lambda ledger, sequence: approve(ledger, sequence, key)


def altered(*keys: Key, signed_before: bool = False, **changes: Any) -> Attempt:
    """Commit an approval with other members than were drafted, altered before or after signing."""

    def attempt(ledger: bb.Ledger, sequence: int) -> None:
        draft = ledger.governance.draft_approval(sequence)
        if signed_before:
            draft = signed(draft, *keys)
        draft = attrs.evolve(draft, payload=FrozenMap({**draft.payload, **changes}))
        ledger.governance.commit(draft if signed_before else signed(draft, *keys), correlation_id="a")

    return attempt


def for_another_ledger(ledger: bb.Ledger, sequence: int) -> None:
    """Commit what an operator has signed for the same proposal on another ledger."""
    other = governed()
    assert propose(other) == sequence
    envelope = signed(other.governance.draft_approval(sequence), BERT)
    other.governance.commit(envelope, correlation_id="a")
    ledger.governance.commit(envelope, correlation_id="a")


def moved_over(ledger: bb.Ledger, sequence: int) -> None:
    """Commit an approval with the signature that stands under the approval of another proposal."""
    other = ledger.governance.draft_approval(sequence + 1)
    draft = ledger.governance.draft_approval(sequence)
    moved = attrs.evolve(draft, signatures=signed(other, BERT).signatures)
    ledger.governance.commit(moved, correlation_id="a")


ABUSES = {
    "the proposer": Row("own_proposal", by(ANNA)),
    "the proposer, as the second": Row("own_proposal", by(ANNA), before=(BERT,), then=(CLEO,)),
    "the proposer's other key": Row("own_proposal", by(ANNA_AGAIN)),
    "the same person with two keys": Row("same_person", by(BERT_AGAIN), before=(BERT,), then=(CLEO,)),
    "the same key twice": Row("same_key", by(BERT), before=(BERT,), then=(DORA,)),
    "a key that nobody knows": Row("unknown_key", by(STRANGER)),
    "an operator's name on a strange key": Row("unknown_key", by(Key(77, "BERT_OPS"))),
    "the system's key": Row("wrong_role", by(OWN)),
    "another content": Row("other_content", altered(BERT, proposal="5a" * 32)),
    "the content of the other proposal": Row(
        "other_content",
        lambda ledger, sequence: altered(
            BERT, proposal=ledger.governance.draft_approval(sequence + 1).payload["proposal"]
        )(ledger, sequence),
    ),
    "another ledger": Row("other_ledger", for_another_ledger),
    "another ledger's name": Row("other_ledger", altered(BERT, ledger="books/" + "0" * 32)),
    "the hash altered after signing": Row(
        "bad_signature", altered(BERT, signed_before=True, proposal="5a" * 32)
    ),
    "the signature of another proposal": Row("bad_signature", moved_over),
    "nobody": Row("too_few", altered()),
    "two persons in one envelope": Row("too_many", altered(BERT, CLEO)),
}


@pytest.mark.parametrize("name", ABUSES)
def test_an_abuse_is_refused_for_its_own_reason(name: str) -> None:
    """Nothing changes, and those who may approve carry the proposal out afterwards."""
    row = ABUSES[name]
    ledger = governed()
    for key in (ANNA_AGAIN, BERT_AGAIN):
        join(ledger, key)
    if name == "another ledger":
        ledger = governed()
    sequence = propose(ledger)
    propose(ledger, correction("44"))
    assert approve(ledger, sequence, *row.before) is None
    with refused(ledger, row.reason):
        row.attempt(ledger, sequence)
    entry = approve(ledger, sequence, *row.then)
    assert entry is not None
    assert str(ledger.balance(ALICE).available) == "55"
    assert [found.sequence for found in ledger.pending()] == [sequence + 1]


def test_an_owner_does_not_approve() -> None:
    """A key of the keyring that is no operator's has no say; made an operator's, it would."""
    ledger = governed()
    sequence = propose(ledger)
    join(ledger, OWNER, Role.OWNER)
    with refused(ledger, "wrong_role"):
        approve(ledger, sequence, OWNER)
    assert approve(ledger, sequence, BERT, CLEO) is not None


def revoked(key: Key) -> KeyringChange:
    """Give a key up as lost."""
    return KeyringChange(revoke={key.key_id: 1})


def retired(key: Key) -> KeyringChange:
    """Give a key up in peace."""
    return KeyringChange(retire=(key.key_id,))


@pytest.mark.parametrize("given_up", [revoked, retired])
def test_a_key_that_was_given_up_approves_nothing(given_up: Callable[[Key], KeyringChange]) -> None:
    """Also not what was signed while it was in force."""
    ledger = governed()
    sequence = propose(ledger)
    early = signed(ledger.governance.draft_approval(sequence), BERT)
    change(ledger, given_up(BERT))
    with refused(ledger, "inactive_key"):
        approve(ledger, sequence, BERT)
    with refused(ledger, "inactive_key"):
        ledger.governance.commit(early, correlation_id="a")
    assert approve(ledger, sequence, CLEO, DORA) is not None


@pytest.mark.parametrize("given_up", [revoked, retired])
@pytest.mark.parametrize("successor", [DORA, BERT_AGAIN], ids=["somebody else", "the same person again"])
def test_an_approval_counts_while_its_key_is_in_force(
    successor: Key, given_up: Callable[[Key], KeyringChange]
) -> None:
    """Once its key is given up it is none, one more is needed, and that person may approve anew."""
    ledger = governed()
    sequence = propose(ledger)
    approve(ledger, sequence, BERT)
    change(ledger, given_up(BERT))
    assert ledger.pending()[0].approved_by == ()
    assert approve(ledger, sequence, CLEO) is None, "only one of two stands"
    assert ledger.pending()[0].approved_by == ("CLEO_OPS",)
    if successor is BERT_AGAIN:
        join(ledger, BERT_AGAIN)
    entry = approve(ledger, sequence, successor)
    assert entry is not None
    records = ledger.records(kind=bb.RecordKind.APPROVAL)
    assert len(records) == 3
    assert entry.metadata["bb.approvals"] == digests(records[1], records[2]), "the first does not count"
    ledger.audit(level="signatures")


# --------------------------------------------------------------------------- time


@pytest.mark.parametrize("seconds", [None, 60, 1, 366 * 86_400])
def test_a_proposal_ends_at_its_time(seconds: int | None) -> None:
    """One microsecond before it an approval counts, at it there is none; a week where no policy says."""
    clock = StillClock()
    ledger = governed(clock=clock)
    if seconds is not None:
        decide(ledger, approvals=ApprovalTerms(expires_after_seconds=seconds))
    first, second = propose(ledger), propose(ledger)
    end = clock.moment + timedelta(seconds=seconds or 7 * 86_400)
    assert {found.expires_at for found in ledger.pending()} == {end}
    clock.moment = end - timedelta(microseconds=1)
    assert approve(ledger, first, BERT) is None
    assert approve(ledger, first, CLEO) is not None
    assert approve(ledger, second, BERT) is None
    clock.moment = end
    with refused(ledger, "expired"):
        approve(ledger, second, CLEO)
    assert len(ledger.pending()) == 1, "no line has the time of its end yet"
    ledger.deposit("BOB", "1 USDT", correlation_id="d2")
    assert list(ledger.pending()) == []
    assert approve(ledger, propose(ledger), BERT, CLEO) is not None


def test_an_expiry_is_decided_when_it_is_proposed() -> None:
    """A policy that changes afterwards neither lengthens nor shortens what is open."""
    clock = StillClock()
    ledger = governed(clock=clock)
    sequence = propose(ledger)
    before = ledger.pending()[0].expires_at
    decide(ledger, approvals=ApprovalTerms(expires_after_seconds=1))
    assert ledger.pending()[0].expires_at == before
    clock.moment += timedelta(seconds=2)
    assert approve(ledger, sequence, BERT, CLEO) is not None


def test_in_the_last_year_of_the_calendar_a_proposal_ends_with_it() -> None:
    """A time that no `datetime` can name is the last one that it can."""
    clock = StillClock()
    clock.moment = datetime(9999, 12, 30, tzinfo=UTC)
    ledger = governed(clock=clock)
    sequence = propose(ledger)
    assert ledger.pending()[0].expires_at == datetime.max.replace(tzinfo=UTC)
    assert approve(ledger, sequence, BERT, CLEO) is not None
