"""Committing: one entry, a batch, many independent ones, a block, a preview, and every refusal of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

import bibank as bb
from bibank import drafts
from tests.store.journals import StillClock, deposit, transfer


@pytest.fixture
def ledger() -> bb.Ledger:
    """A ledger in memory with some money in it."""
    ledger = bb.Ledger.in_memory({"USDT": "100"}, clock=StillClock())
    ledger.deposit("ALICE", "10 USDT", correlation_id="r1")
    return ledger


def state(ledger: bb.Ledger) -> tuple[object, ...]:
    """Everything that a refusal must leave alone."""
    return ledger.head, ledger.accounts(), ledger.entries()


def genesis_draft() -> bb.UnsignedEntry:
    """A second genesis, as well-formed as the first."""
    from bibank.model.genesis import GenesisMark

    return drafts.genesis({"USDT": "5"}, mark=GenesisMark(name="x", keyring_hash="0" * 64, nonce="0" * 32))


def adjustment() -> bb.UnsignedEntry:
    """A well-formed adjustment, which needs approvals that nobody can give."""
    return bb.UnsignedEntry(
        intent=bb.TransactionIntent.ADJUSTMENT,
        correlation_id="r9",
        postings=[
            bb.Posting.debit("EQUITY:SYSTEM:CAPITAL:USDT:MAIN", "1"),
            bb.Posting.credit("LIAB:USER:ALICE:USDT:AVAILABLE", "1"),
        ],
        metadata={"requires_approval": True, "reason": "a gift", "purpose": "CORRECTION"},
    )


def test_the_verbs_commit_and_return_the_entry(ledger: bb.Ledger) -> None:
    """Deposit, transfer and withdrawal give the entry that stands in the journal."""
    made = [
        ledger.deposit("BOB", "3 BTC", correlation_id="r2", metadata={"source": "wire"}),
        ledger.transfer("ALICE", UUID(int=10), "4 USDT", correlation_id=UUID(int=11)),
        ledger.withdraw("ALICE", bb.Money("1.5", "USDT"), correlation_id="r4"),
    ]
    assert [entry.sequence for entry in made] == [4, 5, 6]
    assert [entry.intent.value for entry in made] == ["deposit", "transfer", "withdrawal"]
    assert [ledger.entry(entry.sequence) for entry in made] == made
    assert made[0].metadata == {"source": "wire"}
    assert str(made[1].postings[1].account) == "LIAB:USER:0000000000000000000000000000000A:USDT:AVAILABLE"
    assert made[1].correlation_id == str(UUID(int=11))
    assert all(entry.causality_id is None for entry in made)
    assert ledger.balance("ALICE", "USDT").available == bb.SignedAmount("4.5")


def test_an_exact_account_is_a_party_too(ledger: bb.Ledger) -> None:
    """An `AccountKey` means exactly that account, of a user or of the house."""
    rewards = bb.AccountKey("LIAB:SYSTEM:REWARDS:USDT:AVAILABLE")
    ledger.transfer("ALICE", rewards, "2 USDT", correlation_id="r2")
    assert ledger.balance(rewards).posted == bb.SignedAmount("2")
    with pytest.raises(bb.InvalidAccountKey, match="in BTC"):
        ledger.transfer(rewards, "ALICE", "1 BTC", correlation_id="r3")


@pytest.mark.parametrize("verb", ["deposit", "withdraw", "transfer"])
@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, bb.MissingCorrelationId),
        ({"correlation_id": None}, bb.MissingCorrelationId),
        ({"correlation_id": ""}, bb.MissingCorrelationId),
        ({"correlation_id": "x" * 129}, bb.InvalidIdentifier),
        ({"correlation_id": "a\nb"}, bb.InvalidIdentifier),
        ({"correlation_id": "Zürich"}, bb.InvalidIdentifier),
        ({"correlation_id": 5}, bb.InvalidType),
    ],
)
def test_a_correlation_id_is_never_invented(
    ledger: bb.Ledger, verb: str, given: dict[str, Any], error: type[bb.InvalidInput]
) -> None:
    """Without a usable correlation id every verb refuses, on the ledger and in a batch."""
    before = state(ledger)
    parties = ("ALICE", "BOB") if verb == "transfer" else ("ALICE",)
    with pytest.raises(error):
        getattr(ledger, verb)(*parties, "1 USDT", **given)
    with ledger.batch() as batch, pytest.raises(error):
        getattr(batch, verb)(*parties, "1 USDT", **given)
    assert state(ledger) == before


BAD_REQUESTS: list[tuple[dict[str, Any], type[bb.BibankError]]] = [
    ({"money": "1.123456789 USDT"}, bb.InvalidAmount),
    ({"money": "-1 USDT"}, bb.InvalidAmount),
    ({"money": "1"}, bb.InvalidMoney),
    ({"money": "1 usdt"}, bb.InvalidMoney),
    ({"money": "0 USDT"}, bb.InvalidEntry),
    ({"money": 1.5}, bb.InvalidType),
    ({"money": 5}, bb.InvalidType),
    ({"money": f"{10**31 - 1} USDT"}, bb.AmountOverflow),
    ({"owner": "alice"}, bb.InvalidAccountKey),
    ({"owner": None}, bb.InvalidType),
    ({"metadata": {"a": 1.5}}, bb.InvalidMetadata),
    ({"metadata": {"bb.hold": "x"}}, bb.InvalidMetadata),
    ({"metadata": {"Name": "x"}}, bb.InvalidMetadata),
    ({"metadata": {"a": "x" * 20_000}}, bb.InvalidMetadata),
    ({"metadata": "text"}, bb.InvalidType),
]


@pytest.mark.parametrize(("wrong", "error"), BAD_REQUESTS)
def test_a_malformed_request_changes_nothing(
    ledger: bb.Ledger, wrong: dict[str, Any], error: type[bb.BibankError]
) -> None:
    """What breaks a rule of the format is refused with its own error, and nothing has changed."""
    before = state(ledger)
    request = {"owner": "ALICE", "money": "1 USDT", "correlation_id": "r2", **wrong}
    for verb in (ledger.deposit, ledger.withdraw):
        with pytest.raises(error):
            verb(**request)
    assert state(ledger) == before


def test_an_overdraft_is_refused_with_its_figures(ledger: bb.Ledger) -> None:
    """A refusal says rule, account, asset, required, available, shortfall and what would pass."""
    before = state(ledger)
    asked: list[Callable[[], object]] = [
        lambda: ledger.withdraw("ALICE", "10.5 USDT", correlation_id="r2"),
        lambda: ledger.transfer("ALICE", "BOB", "10.5 USDT", correlation_id="r2"),
    ]
    for ask in asked:
        with pytest.raises(bb.InsufficientBalance) as caught:
            ask()
        refusal = caught.value
        assert refusal.rule == "sufficiency/1"
        assert str(refusal.account) == "LIAB:USER:ALICE:USDT:AVAILABLE"
        assert refusal.asset == "USDT"
        assert refusal.required == bb.SignedAmount("10.5")
        assert refusal.available == bb.SignedAmount("10")
        assert refusal.shortfall == bb.SignedAmount("0.5")
        assert refusal.advice == "at most 10 USDT would pass"
        assert refusal.code == "insufficient_balance"
    assert state(ledger) == before


def test_an_account_that_nobody_used_has_nothing(ledger: bb.Ledger) -> None:
    """A first withdrawal is refused, and makes no account."""
    with pytest.raises(bb.InsufficientBalance, match="nothing would pass"):
        ledger.withdraw("NOBODY", "1 USDT", correlation_id="r2")
    assert len(ledger.accounts("LIAB:USER:NOBODY")) == 0


def test_a_balance_beyond_128_bits_is_refused(ledger: bb.Ledger) -> None:
    """A deposit that would leave the range of the format is refused and changes nothing."""
    most = bb.Money(bb.Amount.from_units(2**127 - 1), "BTC")
    ledger.deposit("ALICE", most, correlation_id="r2")
    before = state(ledger)
    with pytest.raises(bb.BalanceOutOfRange):
        ledger.deposit("ALICE", "0.00000001 BTC", correlation_id="r3")
    assert state(ledger) == before


def test_an_adjustment_needs_approvals_that_nobody_can_give(ledger: bb.Ledger) -> None:
    """In an unsigned ledger every adjustment is refused."""
    before = state(ledger)
    with pytest.raises(bb.ApprovalRequired):
        ledger.commit(adjustment())
    assert isinstance(ledger.commit_each([adjustment()])[0], bb.ApprovalRequired)
    assert state(ledger) == before


@pytest.mark.parametrize("item", [None, 5, "entry", {"intent": "deposit"}, object()])
def test_only_drafts_are_committed(ledger: bb.Ledger, item: Any) -> None:
    """Anything but an `UnsignedEntry` is an `InvalidType`, and also a `TypeError`."""
    before = state(ledger)
    for ask in (
        lambda: ledger.commit(item),
        lambda: ledger.commit_batch([item]),
        lambda: ledger.commit_each([item, deposit("A", "1 USDT")]),
        lambda: ledger.preview([item]),
        lambda: ledger.preview(item),
    ):
        with pytest.raises(bb.InvalidType) as caught:
            ask()
        assert isinstance(caught.value, TypeError)
    assert state(ledger) == before


def test_batches_are_sequences(ledger: bb.Ledger) -> None:
    """What cannot be iterated is an `InvalidType`; a generator can."""
    wrong: Any = 5
    for ask in (ledger.commit_batch, ledger.commit_each):
        with pytest.raises(bb.InvalidType):
            ask(wrong)
    assert len(ledger.commit_batch(deposit("A", "1 USDT") for _ in range(3))) == 3


def test_a_bug_in_the_callers_generator_is_the_callers(ledger: bb.Ledger) -> None:
    """An error that a caller's own iteration raises comes out as it is."""

    def broken() -> Any:
        yield deposit("A", "1 USDT")
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine") as caught:
        ledger.commit_batch(broken())
    assert not isinstance(caught.value, bb.BibankError)


def test_only_line_1_is_a_genesis(ledger: bb.Ledger) -> None:
    """A second genesis is refused by every door, alone and among others, and poisons nothing."""
    before = state(ledger)
    good = deposit("A", "1 USDT")
    for ask in (
        lambda: ledger.commit(genesis_draft()),
        lambda: ledger.commit_batch([good, genesis_draft()]),
        lambda: ledger.commit_each([good, genesis_draft()]),
        lambda: ledger.commit_each([good, [good, genesis_draft()]]),
        lambda: ledger.preview(genesis_draft()),
    ):
        with pytest.raises(bb.IntentViolation, match="line 1"):
            ask()
    assert state(ledger) == before
    ledger.commit(good)


def test_a_batch_is_all_or_nothing(ledger: bb.Ledger) -> None:
    """Each entry is judged against the state left by the one before; one refusal refuses all."""
    before = state(ledger)
    with pytest.raises(bb.InsufficientBalance) as caught:
        ledger.commit_batch(
            [transfer("ALICE", "BOB", "7 USDT"), deposit("X", "1 EUR"), transfer("ALICE", "BOB", "7 USDT")]
        )
    assert caught.value.available == bb.SignedAmount("3")
    assert state(ledger) == before
    made = ledger.commit_batch([transfer("ALICE", "BOB", "7 USDT"), transfer("BOB", "CAROL", "7 USDT")])
    assert [(entry.sequence, entry.batch.first, entry.batch.size) for entry in made] == [(4, 4, 2), (5, 4, 2)]
    assert made == tuple(ledger.entries(after_sequence=3))
    assert made[0].timestamp == made[1].timestamp


@pytest.mark.parametrize("count", [0, 8193])
def test_a_batch_has_1_to_8192_entries(ledger: bb.Ledger, count: int) -> None:
    """An empty batch and one over the limit are refused before anything happens."""
    before = ledger.head
    with pytest.raises(bb.EntryTooLarge):
        ledger.commit_batch([deposit("A", "1 USDT")] * count)
    with pytest.raises(bb.EntryTooLarge):
        ledger.commit_each([deposit("A", "1 USDT"), [deposit("A", "1 USDT")] * count])
    assert ledger.head == before


def test_the_largest_batch_is_committed_whole(ledger: bb.Ledger) -> None:
    """8,192 entries stand or fall together."""
    made = ledger.commit_batch([deposit("A", "1 USDT")] * 8192)
    assert [made[0].sequence, made[-1].sequence] == [4, 8195]
    assert made[-1].batch == bb.BatchMark(first=4, size=8192, group=4)


def test_commit_each_judges_each_on_its_own(ledger: bb.Ledger) -> None:
    """Each item is committed or refused; the outcomes stand in the order of the items."""
    outcomes = ledger.commit_each(
        [
            transfer("ALICE", "BOB", "6 USDT"),
            transfer("ALICE", "BOB", "6 USDT"),
            [transfer("BOB", "CAROL", "6 USDT"), transfer("CAROL", "ALICE", "1 USDT")],
            [deposit("X", "1 EUR"), transfer("X", "Y", "2 EUR")],
            deposit("Y", "1 EUR"),
        ]
    )
    assert len(outcomes) == 5
    assert [isinstance(outcome, bb.Committed) for outcome in outcomes] == [True, False, True, False, True]
    assert [list(item.sequences) for item in outcomes.committed] == [[4], [5, 6], [7]]
    assert [item.entry for item in outcomes.committed] == [ledger.entry(number) for number in (4, 5, 7)]
    assert outcomes.committed[1].lines == tuple(ledger.entries(after_sequence=4, limit=2))
    assert [refusal.shortfall for refusal in outcomes.refused] == [bb.SignedAmount("2"), bb.SignedAmount("1")]
    with pytest.raises(bb.InsufficientBalance) as caught:
        outcomes.raise_for_refusals()
    assert caught.value is outcomes[1]
    assert repr(outcomes) == "<Outcomes: 3 committed, 2 refused>"
    assert repr(outcomes[2]) == "<Committed 5, 6>"
    assert isinstance(outcomes[1:], bb.Outcomes)
    assert list(outcomes[1:]) == list(outcomes)[1:]
    assert len({*outcomes.committed, *outcomes.committed}) == 3
    assert outcomes[2] != outcomes[4] != [7]
    outcomes[2:3].raise_for_refusals()


def test_commit_each_of_nothing(ledger: bb.Ledger) -> None:
    """No items, no outcomes, no lines; all refused, no lines either."""
    before = state(ledger)
    assert len(ledger.commit_each([])) == 0
    assert len(ledger.commit_each([transfer("NOBODY", "BOB", "1 USDT")]).refused) == 1
    assert state(ledger) == before


def test_a_batch_block_commits_when_it_ends(ledger: bb.Ledger) -> None:
    """The verbs in a block give drafts; leaving the block commits them as one."""
    with ledger.batch(correlation_id="r2") as batch:
        draft = batch.deposit("BOB", "5 BTC")
        batch.transfer("BOB", "CAROL", "2 BTC", correlation_id="r3", metadata={"note": "x"})
        batch.withdraw("CAROL", "1 BTC")
        added = batch.add(deposit("DAVE", "1 BTC"))
        assert len(batch) == 4
        assert ledger.head.sequence == 3
        with pytest.raises(bb.ConfigurationError, match="not committed"):
            _ = batch.entries
    assert isinstance(draft, bb.UnsignedEntry)
    assert added.correlation_id == "r1"
    assert [entry.sequence for entry in batch.entries] == [4, 5, 6, 7]
    assert [entry.correlation_id for entry in batch.entries] == ["r2", "r3", "r2", "r1"]
    assert {entry.batch.first for entry in batch.entries} == {4}


def test_a_batch_block_that_raises_commits_nothing(ledger: bb.Ledger) -> None:
    """An error in the block discards the batch."""
    before = state(ledger)
    batch = ledger.batch(correlation_id="r2")
    with contextlib.suppress(RuntimeError), batch:
        batch.deposit("BOB", "5 BTC")
        raise RuntimeError
    with pytest.raises(bb.ConfigurationError):
        _ = batch.entries
    assert state(ledger) == before


def test_a_batch_block_that_is_refused_commits_nothing(ledger: bb.Ledger) -> None:
    """A refusal comes out of the block's end."""
    before = state(ledger)
    batch = ledger.batch(correlation_id="r2").__enter__()
    batch.deposit("BOB", "5 BTC")
    batch.withdraw("BOB", "6 BTC")
    with pytest.raises(bb.InsufficientBalance):
        batch.__exit__(None, None, None)
    assert state(ledger) == before


def test_an_empty_batch_block_commits_nothing(ledger: bb.Ledger) -> None:
    """A block without drafts writes no line."""
    before = state(ledger)
    with ledger.batch(correlation_id="r2") as batch:
        pass
    assert batch.entries == ()
    assert state(ledger) == before


def test_a_batch_is_used_once_and_inside_its_block(ledger: bb.Ledger) -> None:
    """Before, after and twice are configuration errors."""
    batch = ledger.batch(correlation_id="r2")
    with pytest.raises(bb.ConfigurationError, match="inside"):
        batch.deposit("BOB", "5 BTC")
    with batch:
        pass
    with pytest.raises(bb.ConfigurationError, match="inside"):
        batch.deposit("BOB", "5 BTC")
    with pytest.raises(bb.ConfigurationError, match="once"), batch:
        pass


def test_bind_gives_the_same_ledger_with_a_default(ledger: bb.Ledger) -> None:
    """A bound ledger fills in the correlation id; what is given at the call wins."""
    bound = ledger.bind(correlation_id="job-7")
    assert bound.deposit("BOB", "1 USDT").correlation_id == "job-7"
    assert bound.deposit("BOB", "1 USDT", correlation_id="x").correlation_id == "x"
    with bound.batch() as batch:
        batch.transfer("BOB", "ALICE", "1 USDT")
    assert batch.entries[0].correlation_id == "job-7"
    assert bound.entries() == ledger.entries()
    assert bound.ledger_id == ledger.ledger_id
    with pytest.raises(bb.MissingCorrelationId):
        ledger.deposit("BOB", "1 USDT")
    bound.close()
    with pytest.raises(bb.LedgerClosed):
        ledger.balance("BOB", "USDT")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (None, bb.MissingCorrelationId),
        ("", bb.MissingCorrelationId),
        (5, bb.InvalidType),
        ("\n", bb.InvalidIdentifier),
    ],
)
def test_bind_and_batch_check_their_correlation_id(
    ledger: bb.Ledger, wrong: Any, error: type[bb.InvalidInput]
) -> None:
    """A default that could never be used is refused when it is given."""
    with pytest.raises(error):
        ledger.bind(correlation_id=wrong)
    if wrong is not None:
        with pytest.raises(error):
            ledger.batch(correlation_id=wrong)


def test_a_preview_shows_and_changes_nothing(ledger: bb.Ledger) -> None:
    """A preview gives each account's balance before and after, makes no account, and seals nothing."""
    before = state(ledger)
    changes = ledger.preview([transfer("ALICE", "BOB", "4 USDT"), transfer("BOB", "CAROL", "1 USDT")])
    assert [(row.account.id, str(row.before), str(row.after)) for row in changes] == [
        ("ALICE", "10", "6"),
        ("BOB", "0", "3"),
        ("CAROL", "0", "1"),
    ]
    assert [row.account.id for row in ledger.preview(deposit("X", "1 EUR"))] == ["VAULT", "X"]
    assert state(ledger) == before
    assert ledger.commit(transfer("ALICE", "BOB", "4 USDT")).sequence == 4


def test_a_preview_refuses_what_the_commit_would(ledger: bb.Ledger) -> None:
    """A preview raises the very refusal, and leaves balances alone."""
    before = state(ledger)
    batch = [transfer("ALICE", "BOB", "4 USDT"), transfer("ALICE", "BOB", "7 USDT")]
    with pytest.raises(bb.InsufficientBalance) as previewed:
        ledger.preview(batch)
    with pytest.raises(bb.InsufficientBalance) as committed:
        ledger.commit_batch(batch)
    assert str(previewed.value) == str(committed.value)
    with pytest.raises(bb.ApprovalRequired):
        ledger.preview(adjustment())
    assert state(ledger) == before


def test_a_caller_who_changes_its_metadata_later_changes_nothing(ledger: bb.Ledger) -> None:
    """Metadata is copied deep and frozen when the draft is made."""
    tags = ["a"]
    metadata: dict[str, Any] = {"note": "x", "tags": tags, "inner": {"k": 1}}
    draft = drafts.deposit("BOB", "1 USDT", correlation_id="r2", metadata=metadata)
    tags.append("b")
    metadata["note"] = "y"
    metadata["inner"]["k"] = 2
    entry = ledger.commit(draft)
    tags.clear()
    wanted = {"note": "x", "tags": ("a",), "inner": {"k": 1}}
    assert entry.metadata == ledger.entry(entry.sequence).metadata == wanted
    with pytest.raises(TypeError):
        entry.metadata["note"] = "z"  # type: ignore[index]  # frozen, as the types say
    assert ledger.audit().entries == 3


def test_a_caller_who_changes_its_list_later_changes_nothing(ledger: bb.Ledger) -> None:
    """The entries of a batch are taken when it is committed."""
    items = [deposit("BOB", "1 USDT")]
    outcomes = ledger.commit_each(items)
    items.clear()
    assert outcomes.committed[0].entry.sequence == 4


def test_the_same_draft_may_be_committed_twice(ledger: bb.Ledger) -> None:
    """A draft is a value: committing it again is another entry with the same correlation id."""
    draft = deposit("BOB", "1 USDT")
    assert [ledger.commit(draft).sequence, ledger.commit(draft).sequence] == [4, 5]


def test_a_clock_that_goes_back_does_not_take_the_journal_with_it() -> None:
    """Timestamps never run backwards, and go on when the clock does."""
    clock = StillClock()
    ledger = bb.Ledger.in_memory(clock=clock)
    moments = []
    for hour in (10, 9, 8, 10, 11):
        clock.moment = clock.moment.replace(hour=hour)
        moments.append(ledger.deposit("A", "1 USDT", correlation_id="r").timestamp.hour)
    assert moments == [10, 10, 10, 10, 11]
    assert ledger.audit().lines == 7


@pytest.mark.parametrize(
    ("moment", "error"),
    [
        (datetime(2026, 1, 25), bb.InvalidTimestamp),  # noqa: DTZ001 - naive on purpose
        (datetime.fromisoformat("2026-01-25T10:00:00+02:00"), bb.InvalidTimestamp),
        (1769335200.0, bb.InvalidType),
        (None, bb.InvalidType),
    ],
)
def test_a_clock_must_give_aware_utc(ledger: bb.Ledger, moment: Any, error: type[bb.InvalidInput]) -> None:
    """A clock of another kind is refused at each commit, poisons nothing, and can be mended."""
    clock = StillClock()
    ledger = bb.Ledger.in_memory({"USDT": "5"}, clock=clock)
    good, clock.moment = clock.moment, moment
    for ask in (
        lambda: ledger.commit(deposit("A", "1 USDT")),
        lambda: ledger.commit_each([deposit("A", "1 USDT")]),
        lambda: ledger.preview(deposit("A", "1 USDT")),
    ):
        with pytest.raises(error):
            ask()
    clock.moment = good
    assert ledger.commit(deposit("A", "1 USDT")).sequence == 3
