"""The machine: what it seals it takes back, refusals and previews leave no trace, figures are exact."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibank.errors import (
    ApprovalRequired,
    BalanceOutOfRange,
    BibankError,
    EntryTooLarge,
    InsufficientBalance,
    IntentViolation,
    InvalidEntry,
    InvalidTimestamp,
    InvalidType,
    InvalidValue,
    RuleFailed,
)
from bibank.journal.batches import Draft, PreparedBatch, SealedBatch
from bibank.journal.codec import decode_line
from bibank.journal.drafts import deposit, transfer, withdrawal
from bibank.journal.genesis import genesis_batch
from bibank.journal.machine import LedgerMachine
from bibank.journal.position import MAX_GROUP_BYTES
from bibank.model.account import AccountKey, Side
from bibank.model.amount import MAX_UNITS, MIN_UNITS, Amount
from bibank.model.entry import JournalEntry, Posting, TransactionIntent, UnsignedEntry
from bibank.model.json_value import thaw
from bibank.model.keyring import Keyring
from bibank.model.record import JournalRecord, UnsignedRecord
from bibank.model.timestamp import parse_timestamp
from bibank.risk.engine import RiskEngine
from bibank.risk.rule import Refusal
from bibank.risk.view import RiskView
from bibank.signing.trust import KeyringTrust
from bibank.testing.strategies import History, genesis_marks, histories, unsigned_entries
from tests.journal.machines import (
    ALICE,
    BOB,
    NONCE,
    NOON,
    VAULT,
    Diary,
    accept,
    found,
    founding,
    later,
    memory,
    outcome,
    propose,
    state,
)

STEPS = [timedelta(seconds=seconds) for seconds in (0, 1e-6, 1, 86_400, -5)]
FIRST_MOMENT, LAST_MOMENT = (
    parse_timestamp("0001-01-01T00:00:00Z"),
    parse_timestamp("9999-12-31T23:59:59.999999Z"),
)
clocks = st.lists(st.tuples(st.sampled_from(STEPS), st.booleans()), min_size=10, max_size=10)


class Books:
    """A naive ledger, written from the rules and not from the code: account text to units."""

    def __init__(self) -> None:
        self.units: dict[str, int] = {}

    def take(self, batch: Sequence[UnsignedEntry]) -> tuple[str, str] | None:
        """Take a batch, or give the code of the refusal and the account, having changed nothing."""
        units = dict(self.units)
        for entry in batch:
            changes: dict[str, int] = {}
            for posting in entry.postings:
                text = str(posting.account)
                increases = "debit" if text.startswith(("ASSET", "EXP")) else "credit"
                sign = 1 if posting.side.value == increases else -1
                changes[text] = changes.get(text, 0) + sign * posting.amount.units
            for text, change in changes.items():
                if not -(2**127) <= units.get(text, 0) + change < 2**127:
                    return "balance_out_of_range", text
            for text in changes:
                if text.endswith(":LOCKED") and entry.links.opens is None:
                    return "hold_not_open", text
            for text, change in changes.items():
                if change < 0 and text.startswith(("ASSET", "LIAB")) and units.get(text, 0) + change < 0:
                    return "insufficient_balance", text
            for text, change in changes.items():
                units[text] = units.get(text, 0) + change
        self.units = units
        return None


def play(
    history: History, clock: Iterable[tuple[timedelta, bool]], machine: LedgerMachine
) -> list[SealedBatch]:
    """Propose a history by a clock, holding each step to the naive books, the preview and the lines."""
    books = Books()
    moment = NOON
    done: list[SealedBatch] = []
    batches = [founding(history.opening), *history.batches]
    for batch, (step, close) in zip(batches, clock, strict=False):
        moment += step
        refusal = books.take([draft for draft in batch if isinstance(draft, UnsignedEntry)])
        before = state(machine)
        try:
            preview: Any = machine.preview(PreparedBatch(batch), moment)
        except BibankError as error:
            preview = error
        assert state(machine) == before
        sealed = outcome(machine, batch, moment)
        if isinstance(sealed, BibankError):
            assert refusal == (sealed.code, str(getattr(sealed, "account", None)))
            assert (type(preview), preview.args) == (type(sealed), sealed.args)
            assert state(machine) == before
            continue
        assert refusal is None
        assert {a.text: a.balance for a in machine.book} == books.units
        for change in preview:
            old, _ = before["balances"].get(str(change.account), (0, 0))
            assert (change.before.units, change.after.units) == (old, books.units[str(change.account)])
        touched = {str(p.account) for d in batch if isinstance(d, UnsignedEntry) for p in d.postings}
        assert {str(change.account) for change in preview} == touched
        check_views(sealed, machine)
        done.append(sealed)
        if close:
            machine.settle()
    return done


def check_views(sealed: SealedBatch, machine: LedgerMachine) -> None:
    """Hold the views of sealed lines to their bytes, and the head to the machine."""
    assert sealed.head == machine.head
    for index, data in enumerate(sealed.lines):
        assert decode_line(data) == sealed.view(index)


@given(histories(), clocks, st.booleans())
def test_what_propose_seals_accept_takes(
    history: History, clock: list[tuple[timedelta, bool]], with_memory: Any
) -> None:
    """Random histories, clocks that stand still, jump back or change the date, groups open and closed.

    The lines replay, by the fast path and by the slow one, into the same state, rules' memory included.
    """
    machine = LedgerMachine(RiskEngine([Diary()] if with_memory else []), KeyringTrust())
    lines = [line for sealed in play(history, clock, machine) for line in sealed.lines]
    fast, slow = accept(lines), accept(lines, rules=[Diary()])
    for each in (machine, fast, slow):
        each.settle()
        assert not each.in_batch
    expected, quick, slowly = state(machine), state(fast), state(slow)
    remembered = slowly.pop("memory")
    assert quick.pop("memory") == {}
    assert expected.pop("memory") == (remembered if with_memory else {})
    assert expected == quick == slowly
    assert len(remembered["diary/1"]) == len(lines)


@given(unsigned_entries())
def test_every_kind_of_entry_goes_through(draft: UnsignedEntry) -> None:
    """Whatever is drawn is sealed and read back, or refused with a typed error and no trace."""
    machine, lines = found({})
    before = state(machine)
    sealed = outcome(machine, [draft], NOON)
    if isinstance(sealed, BibankError):
        assert state(machine) == before
        assert sealed.code in ("insufficient_balance", "approval_required", "hold_not_open")
        return
    assert draft.intent in (TransactionIntent.DEPOSIT, TransactionIntent.TRADE) or draft.postings
    replayed = accept([*lines, *sealed.lines])
    replayed.settle()
    machine.settle()
    assert state(replayed) == state(machine)


@given(genesis_marks(), unsigned_entries(TransactionIntent.GENESIS))
def test_any_opening_founds_a_ledger(mark: Any, draft: UnsignedEntry) -> None:
    """Any number of assets, any equity or liability, and the id that certifies itself."""
    entry, record = founding({}, name=mark.name)
    assert isinstance(entry, UnsignedEntry)
    assert isinstance(record, UnsignedRecord)
    entry = attrs.evolve(entry, postings=draft.postings)
    machine = LedgerMachine(RiskEngine(), KeyringTrust())
    sealed = propose(machine, entry, record)
    replayed = accept(sealed.lines)
    assert machine.ledger_id == replayed.ledger_id == record.subject
    assert state(replayed) == state(machine)
    assert (machine.entries, machine.records) == (1, 1)
    check_views(sealed, machine)
    assert thaw(sealed.view(0).metadata) == entry.genesis.to_metadata()  # type: ignore[union-attr]  # a genesis entry has a mark


def test_views_are_entries_and_records() -> None:
    """Sealed drafts are shown as people read them."""
    machine = LedgerMachine(RiskEngine(), KeyringTrust())
    sealed = propose(machine, *founding())
    assert isinstance(sealed.view(0), JournalEntry)
    assert isinstance(sealed.view(1), JournalRecord)
    assert (sealed.first, sealed.prev_hash, sealed.group) == (1, "GENESIS", 1)


# --------------------------------------------------------------------------- time and groups


def test_stamp_never_runs_back() -> None:
    """A clock that stands still or jumps back gives the last line's time."""
    machine, _ = found()
    times = [
        propose(machine, deposit("A", "1 USDT", correlation_id="r"), now=now).moment
        for now in (
            later(seconds=5),
            NOON,
            later(seconds=5),
            later(seconds=6),
            FIRST_MOMENT,
        )
    ]
    assert times == [later(seconds=s) for s in (5, 5, 5, 6, 6)]


@pytest.mark.parametrize("moment", [FIRST_MOMENT, LAST_MOMENT])
def test_ends_of_time(moment: datetime) -> None:
    """A ledger may be founded at the first and the last moment that a timestamp can say."""
    machine, lines = found(now=moment)
    lines += propose(machine, deposit("A", "1 USDT", correlation_id="r"), now=moment).lines
    replayed = accept(lines)
    for each in (machine, replayed):
        each.settle()
    assert state(replayed) == state(machine)


@pytest.mark.parametrize(
    ("now", "error"),
    [(None, InvalidType), (1.0, InvalidType), (NOON.replace(tzinfo=None), InvalidTimestamp)],
)
def test_time_that_is_none(now: Any, error: type[Exception]) -> None:
    """A clock that gives something else is a typed error, and nothing was changed."""
    machine, _ = found()
    before = state(machine)
    for call in (machine.propose, machine.preview):
        with pytest.raises(error):
            call(PreparedBatch([deposit("A", "1 USDT", correlation_id="r")]), now)
    assert state(machine) == before


def test_write_groups() -> None:
    """Batches join the open group until it is closed or the date changes."""
    machine, _ = found()
    one, two = deposit("A", "1 USDT", correlation_id="r"), deposit("B", "1 USDT", correlation_id="r")
    groups = [propose(machine, one).group, propose(machine, one, two).group, propose(machine, two).group]
    assert groups == [3, 3, 3]
    assert propose(machine, one, now=later(days=1)).group == 7
    machine.settle()
    assert propose(machine, one, now=later(days=1)).group == 8
    assert propose(machine, one, now=later(days=1)).group == 8


def test_group_of_8192_lines() -> None:
    """A group holds 8,192 lines: a batch that does not fit any more starts the next one."""
    machine, _ = found()
    one = deposit("A", "1 USDT", correlation_id="r")
    machine.position.group, machine.position.group_lines = 2, 8_191
    assert propose(machine, one).group == 2
    assert propose(machine, one).group == 4
    machine.position.group_lines = 8_190
    assert propose(machine, one, one, one).group == 5


def test_group_of_eight_megabytes() -> None:
    """A group is closed at 8 MiB."""
    machine, _ = found()
    one = deposit("A", "1 USDT", correlation_id="r")
    machine.position.group, machine.position.group_bytes = 2, MAX_GROUP_BYTES - 1
    assert propose(machine, one).group == 2
    assert propose(machine, one).group == 4


def test_largest_batch() -> None:
    """8,192 lines stand or fall together, and replay."""
    machine, lines = found()
    one = deposit("A", "1 USDT", correlation_id="r")
    with pytest.raises(EntryTooLarge):
        PreparedBatch([one] * 8_193)
    sealed = propose(machine, *[one] * 8_192)
    replayed = accept([*lines, *sealed.lines])
    for each in (machine, replayed):
        each.settle()
    assert state(replayed) == state(machine)
    assert machine.entries == 8_193


# --------------------------------------------------------------------------- refusals


def two(intent: TransactionIntent, debit: str, credit: str, units: int) -> UnsignedEntry:
    """Make an entry of two postings."""
    amount = Amount.from_units(units)
    return UnsignedEntry(
        intent=intent,
        correlation_id="r",
        postings=(Posting(debit, amount, Side.DEBIT), Posting(credit, amount, Side.CREDIT)),
    )


REFUSED: list[tuple[list[Draft], type[BibankError]]] = [
    ([transfer("A", "B", "1 USDT", correlation_id="r")], InsufficientBalance),
    (
        [deposit("A", "5 USDT", correlation_id="r"), transfer("A", "B", "6 USDT", correlation_id="r")],
        InsufficientBalance,
    ),
    (
        [deposit("NEW", "5 BTC", correlation_id="r"), withdrawal("NEW", "6 BTC", correlation_id="r")],
        InsufficientBalance,
    ),
    ([two(TransactionIntent.DEPOSIT, VAULT, ALICE, MAX_UNITS)], BalanceOutOfRange),
    (
        [
            two(
                TransactionIntent.DEPOSIT,
                VAULT.replace("USDT", "BTC"),
                ALICE.replace("USDT", "BTC"),
                MAX_UNITS,
            ),
            two(TransactionIntent.DEPOSIT, "ASSET:SYSTEM:V:BTC:M", ALICE.replace("USDT", "BTC"), 1),
        ],
        BalanceOutOfRange,
    ),
    (list(founding()), IntentViolation),
    ([founding()[1]], InvalidEntry),
    ([deposit("A", "1 USDT", correlation_id="r"), founding()[1]], InvalidEntry),
    (
        [
            UnsignedEntry(
                intent=TransactionIntent.ADJUSTMENT,
                correlation_id="r",
                postings=(Posting.debit(VAULT, 1), Posting.credit("EQUITY:SYSTEM:C:USDT:M", 1)),
                metadata={"requires_approval": True, "reason": "x", "purpose": "CAPITAL"},
            )
        ],
        ApprovalRequired,
    ),
]


@pytest.mark.parametrize("with_memory", [False, True])
@pytest.mark.parametrize(
    ("drafts", "error"), REFUSED, ids=[f"{n}-{e.code}" for n, (_, e) in enumerate(REFUSED)]
)
def test_refusal_leaves_no_trace(drafts: list[Draft], error: type[BibankError], with_memory: Any) -> None:
    """Balances, accounts, listing, position, counts and the rules' memory are as before."""
    machine, _ = found(rules=[Diary()] if with_memory else [])
    before = state(machine)
    batch = PreparedBatch(drafts)
    for call in (machine.preview, machine.propose):
        with pytest.raises(error):
            call(batch, later(seconds=1))
        assert state(machine) == before
    sealed = propose(machine, deposit("A", "1 USDT", correlation_id="r"))
    assert sealed.first == 3


def test_range_refusal_says_how_much_passes() -> None:
    """The advice of a range refusal is the exact room, and that much does pass."""
    machine, _ = found({})
    propose(machine, two(TransactionIntent.DEPOSIT, VAULT, ALICE, MAX_UNITS - 7))
    with pytest.raises(BalanceOutOfRange, match=r"at most 0\.00000007 more passes") as caught:
        propose(machine, two(TransactionIntent.DEPOSIT, VAULT, ALICE, 8))
    assert (caught.value.account, caught.value.asset) == (AccountKey(VAULT), "USDT")
    assert caught.value.rule == "range"
    figures = (caught.value.required, caught.value.available, caught.value.shortfall)
    assert [str(figure) for figure in figures] == ["0.00000008", "0.00000007", "0.00000001"]
    propose(machine, two(TransactionIntent.DEPOSIT, VAULT, ALICE, 7))
    account = machine.book.find(VAULT)
    assert account is not None
    assert account.balance == MAX_UNITS


def test_range_below_zero() -> None:
    """An account that has no floor is bound by the range on the other side too."""
    machine, _ = found({})
    propose(machine, two(TransactionIntent.DEPOSIT, VAULT, ALICE, 10))
    account = machine.book.find(ALICE)
    assert account is not None
    account.balance = MIN_UNITS + 3
    with pytest.raises(BalanceOutOfRange, match=r"at most 0\.00000003 more passes"):
        propose(machine, two(TransactionIntent.WITHDRAWAL, ALICE, VAULT, 5))


def test_netting_within_an_entry() -> None:
    """Several postings to one account count as one change, in judgement and in the preview."""
    machine, lines = found({})
    draft = UnsignedEntry(
        intent=TransactionIntent.DEPOSIT,
        correlation_id="r",
        postings=(Posting.debit(VAULT, 5), Posting.credit(ALICE, 2), Posting.credit(ALICE, 3)),
    )
    changes = machine.preview(PreparedBatch([draft, draft]), NOON)
    assert [(str(c.account), str(c.before), str(c.after)) for c in changes] == [
        (VAULT, "0", "10"),
        (ALICE, "0", "10"),
    ]
    sealed = propose(machine, draft)
    replayed = accept([*lines, *sealed.lines])
    for each in (machine, replayed):
        each.settle()
    assert state(replayed) == state(machine)


FOUNDING = genesis_batch(
    {"USDT": 5}, name="test", keyring=Keyring.unsigned(), nonce=NONCE, correlation_id="genesis"
)
BAD_FOUNDINGS: dict[str, list[Draft]] = {
    "a deposit": [deposit("A", "1 USDT", correlation_id="r")],
    "the entry alone": [FOUNDING[0]],
    "the record alone": [FOUNDING[1]],
    "the other way round": [FOUNDING[1], FOUNDING[0]],
    "a deposit as well": [*FOUNDING, deposit("A", "1 USDT", correlation_id="r")],
    "a deposit for the record": [FOUNDING[0], deposit("A", "1 USDT", correlation_id="r")],
    "two deposits": [deposit("A", "1 USDT", correlation_id="r")] * 2,
    "metadata": [attrs.evolve(FOUNDING[0], metadata={"note": "x"}), FOUNDING[1]],
    "another ledger's record": [FOUNDING[0], founding(name="other")[1]],
    "another subject": [FOUNDING[0], attrs.evolve(FOUNDING[1], subject="x")],
}


@pytest.mark.parametrize("name", BAD_FOUNDINGS)
@pytest.mark.parametrize("with_memory", [False, True])
def test_journal_begins_with_its_genesis_batch(name: str, with_memory: Any) -> None:
    """Nothing else is sealed as line 1: replay would refuse it for ever."""
    machine = LedgerMachine(RiskEngine([Diary()] if with_memory else []), KeyringTrust())
    before = state(machine)
    batch = PreparedBatch(BAD_FOUNDINGS[name])
    for call in (machine.preview, machine.propose):
        with pytest.raises(InvalidValue):
            call(batch, NOON)
        assert state(machine) == before
    propose(machine, *FOUNDING)
    assert machine.head.sequence == 2


# --------------------------------------------------------------------------- rules and the machine


class Interrupting:
    """A rule that is interrupted from outside."""

    name = "interrupting/1"

    def check(self, entry: UnsignedEntry, view: RiskView) -> Refusal | None:
        """Raise what no rule catches, at the second entry."""
        if view.sequence > 3:
            raise KeyboardInterrupt
        return None


@pytest.mark.parametrize("with_memory", [False, True])
def test_interrupt_leaves_no_trace(with_memory: Any) -> None:
    """Ctrl-C while a batch is judged changes nothing."""
    machine, _ = found(rules=[Interrupting(), *([Diary()] if with_memory else [])])
    before = state(machine)
    drafts = [deposit(owner, "1 USDT", correlation_id="r") for owner in ("A", "B")]
    with pytest.raises(KeyboardInterrupt):
        propose(machine, *drafts)
    assert state(machine) == before


class Watching:
    """A rule that writes down what it sees."""

    name = "watching/1"

    def __init__(self) -> None:
        self.seen: list[tuple[int, str, str]] = []

    def check(self, entry: UnsignedEntry, view: RiskView) -> Refusal | None:
        """Note ALICE's balance before and after."""
        key = AccountKey(ALICE)
        self.seen.append((view.sequence, str(view.balance(key)), str(view.balance_after(key))))
        return None


def test_each_entry_of_a_batch_is_judged_against_the_one_before() -> None:
    """A rule sees the money that an earlier entry of the same batch brought to a new account."""
    watching = Watching()
    machine, _ = found(rules=[watching])
    watching.seen.clear()
    drafts = (
        deposit("ALICE", "100 USDT", correlation_id="r"),
        transfer("ALICE", "BOB", "60 USDT", correlation_id="r"),
        deposit("CAROL", "1 USDT", correlation_id="r"),
    )
    expected = [(3, "0", "100"), (4, "100", "40"), (5, "40", "40")]
    machine.preview(PreparedBatch(drafts), NOON)
    assert watching.seen == expected
    watching.seen.clear()
    propose(machine, *drafts)
    assert watching.seen == expected


class Fragile(Diary):
    """A rule whose memory cannot take one correlation id."""

    name = "fragile/1"

    def apply(self, line: Any, state: Any) -> None:
        """Write, and then raise for the id `bad`."""
        super().apply(line, state)
        if line.correlation_id == "bad":
            raise ZeroDivisionError("no")


def test_rule_that_cannot_remember_refuses_the_proposal() -> None:
    """What `apply` raises is a refusal, and the batch leaves no trace."""
    machine, _ = found(rules=[Fragile()])
    before = state(machine)
    with pytest.raises(RuleFailed) as caught:
        propose(
            machine,
            deposit("A", "1 USDT", correlation_id="good"),
            deposit("B", "1 USDT", correlation_id="bad"),
        )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert state(machine) == before


def test_rule_that_cannot_remember_stops_the_replay() -> None:
    """On replay it raises too, and the machine stands where it stood before that batch."""
    machine, lines = found()
    lines += propose(machine, deposit("A", "1 USDT", correlation_id="good")).lines
    lines += propose(
        machine,
        deposit("B", "1 BTC", correlation_id="good"),
        deposit("C", "1 USDT", correlation_id="bad"),
    ).lines
    replayed = accept(lines[:3], rules=[Fragile()])
    before = state(replayed)
    replayed.accept(lines[3])
    assert replayed.in_batch
    with pytest.raises(RuleFailed) as caught:
        replayed.accept(lines[4])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    after = state(replayed)
    for name in ("balances", "listing", "entries", "records", "memory"):
        assert after[name] == before[name]
    assert replayed.head.sequence == 4
    assert len(memory(replayed)["fragile/1"]) == 3


def test_lines_of_a_batch_take_effect_together() -> None:
    """Until a batch is whole its lines are read and not counted."""
    machine, lines = found()
    drafts = [deposit(owner, "1 USDT", correlation_id="r") for owner in ("A", "B", "C")]
    lines += propose(machine, *drafts).lines
    replayed = accept(lines[:4])
    assert replayed.in_batch
    assert (replayed.head.sequence, replayed.entries, len(replayed.book)) == (4, 1, 2)
    replayed.accept(lines[4])
    assert replayed.entries == 4
    assert not replayed.in_batch
    assert replayed.book.find(BOB) is None
