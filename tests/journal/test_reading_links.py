"""Reading links: each rule of the link table broken once, in a line whose hash is right, on both paths."""

from __future__ import annotations

from typing import Any

import pytest

from bibank.errors import JournalCorrupt
from bibank.journal.batches import PreparedBatch
from bibank.journal.codec import decode_line
from bibank.journal.drafts import deposit, transfer
from bibank.journal.hold_drafts import hold, post_hold
from bibank.journal.machine import LedgerMachine
from bibank.journal.reversals import reversal
from bibank.journal.trade_drafts import fee, trade
from bibank.model.amount import MAX_UNITS, Amount
from bibank.model.entry import JournalEntry
from bibank.model.hold import WITHDRAWAL, Hold
from bibank.model.links import IdempotencyMark
from tests.journal.machines import ALICE, BOB, NOON, VAULT, Diary, accept, chain, found, members, spell

LOCKED = "LIAB:USER:ALICE:USDT:LOCKED"
DIGEST = "5a" * 32
FULL = f"{Amount.from_units(MAX_UNITS)} USDT"


def entry(lines: list[bytes], sequence: int) -> JournalEntry:
    """Read an entry."""
    line = decode_line(lines[sequence - 1])
    assert isinstance(line, JournalEntry)
    return line


def journal() -> tuple[LedgerMachine, list[bytes]]:
    """A journal with every kind of link, one after the other."""
    machine, lines = found({"USDT": "1000"})

    def put(*drafts: Any, **options: Any) -> None:
        lines.extend(machine.propose(PreparedBatch(drafts, **options), NOON).lines)

    put(deposit("ALICE", "100 USDT", correlation_id="r"))  # 3
    put(deposit("BOB", "10 BTC", correlation_id="r"))  # 4
    put(hold("ALICE", "10 USDT", to="BOB", correlation_id="r"))  # 5
    put(*post_hold(Hold.of(entry(lines, 5)), Amount(4), correlation_id="r"))  # 6
    put(reversal(entry(lines, 3), Amount(1), correlation_id="r"), originals={3: entry(lines, 3)})  # 7
    swap = trade(maker="ALICE", maker_gives="1 USDT", taker="BOB", taker_gives="1 BTC", correlation_id="r")
    put(swap, fee("ALICE", "1 USDT", correlation_id="r"))  # 8, 9
    put(fee("ALICE", "1 USDT", correlation_id="r"))  # 10
    put(deposit("BOB", "1 USDT", correlation_id="r"), key=IdempotencyMark(key="k", digest=DIGEST))  # 11
    put(hold("ALICE", "10 USDT", to=WITHDRAWAL, correlation_id="r"))  # 12
    put(deposit("BOB", "1 USDT", correlation_id="r", effective_at=NOON))  # 13
    return machine, lines


MACHINE, LINES = journal()
BOTH = [pytest.param((), id="fast path first"), pytest.param((Diary(),), id="slow path")]


@pytest.mark.parametrize("rules", BOTH)
def test_the_journal_itself_is_read(rules: tuple[Any, ...]) -> None:
    """Without a change the lines are accepted, to the same links and the same keys."""
    machine = accept(LINES, rules=[Diary() for _ in rules])
    assert machine.head == MACHINE.head
    assert [found.id for found in machine.links.durable_holds()] == [12]
    assert machine.links.reversed_units(3) == 10**8
    assert list(machine.links.bearers("k")) == [11]


def metadata(sequence: int, **changes: Any) -> dict[str, Any]:
    """Change members of a line's metadata; None takes one out, `_` stands for a dot."""
    kept = dict(members(LINES[sequence - 1])["metadata"])
    for name, value in changes.items():
        name = name.replace("bb_", "bb.", 1)
        if value is None:
            del kept[name]
        else:
            kept[name] = value
    return {"metadata": kept}


def posting(account: str, amount: str, side: str) -> dict[str, str]:
    """One posting as JSON."""
    return {"account": account, "amount": amount, "side": side}


BROKEN: dict[str, tuple[int, dict[str, Any]]] = {
    "hold without cause": (6, {"causality_id": None}),
    "hold with another cause": (6, {"causality_id": "4"}),
    "cause without hold": (6, metadata(6, bb_hold=None)),
    "another hold than the cause": (6, metadata(6, bb_hold="4")),
    "hold as a number": (6, metadata(6, bb_hold=5)),
    "hold with a zero": (6, {**metadata(6, bb_hold="05"), "causality_id": "05"}),
    "hold and reversal": (6, metadata(6, bb_reverses="5")),
    "a hold of a later line": (6, {**metadata(6, bb_hold="6"), "causality_id": "6"}),
    "reversal without cause": (7, {"causality_id": None}),
    "reversal with another cause": (7, {"causality_id": "4"}),
    "cause without reversal": (7, metadata(7, bb_reverses=None)),
    "reversal of a later line": (7, {**metadata(7, bb_reverses="9"), "causality_id": "9"}),
    "fee without its trade": (9, {**metadata(9, related_trade_sequence=None), "causality_id": None}),
    "fee with another trade": (9, {**metadata(9, related_trade_sequence="7"), "causality_id": "7"}),
    "fee whose cause is not its trade": (9, {"causality_id": "7"}),
    "fee without cause": (9, {"causality_id": None}),
    "fee alone with a trade": (10, {**metadata(10, related_trade_sequence="8"), "causality_id": "8"}),
    "deposit with a trade": (11, {**metadata(11, related_trade_sequence="8"), "causality_id": "8"}),
    "deposit with a cause": (11, {"causality_id": "8"}),
    "key without digest": (11, metadata(11, bb_idempotency_digest=None)),
    "digest without key": (11, metadata(11, bb_idempotency_key=None)),
    "digest in upper case": (11, metadata(11, bb_idempotency_digest="5A" * 32)),
    "digest too short": (11, metadata(11, bb_idempotency_digest="5a" * 31)),
    "key too long": (11, metadata(11, bb_idempotency_key="k" * 129)),
    "key of nothing": (11, metadata(11, bb_idempotency_key="")),
    "key in another script": (11, metadata(11, bb_idempotency_key="\u043a")),
    "unknown link": (11, metadata(11, bb_link="1")),
    "payee in lower case": (12, metadata(12, bb_payee="withdrawal")),
    "payee is the owner": (12, metadata(12, bb_payee=ALICE)),
    "payee in another asset": (12, metadata(12, bb_payee="LIAB:USER:BOB:BTC:AVAILABLE")),
    "payee is no LIAB account": (12, metadata(12, bb_payee=VAULT)),
    "payee is held money": (12, metadata(12, bb_payee="LIAB:USER:BOB:USDT:LOCKED")),
    "expiry without payee": (12, metadata(12, bb_payee=None, bb_expires_at="2027-01-25T12:00:00Z")),
    "expiry with zeros": (12, metadata(12, bb_expires_at="2027-01-25T12:00:00.000000Z")),
    "opening with a cause": (12, {"causality_id": "5"}),
    "opening credit first": (
        12,
        {"postings": [posting(LOCKED, "10", "credit"), posting(ALICE, "10", "debit")]},
    ),
    "opening to another's LOCKED": (
        12,
        {"postings": [posting(ALICE, "10", "debit"), posting("LIAB:USER:BOB:USDT:LOCKED", "10", "credit")]},
    ),
    "opening from another sub-account": (
        12,
        {"postings": [posting("LIAB:USER:ALICE:USDT:MAIN", "10", "debit"), posting(LOCKED, "10", "credit")]},
    ),
    "end from AVAILABLE": (
        6,
        {"postings": [posting(ALICE, "10", "debit"), posting(BOB, "10", "credit")]},
    ),
    "effective at another spelling": (13, metadata(13, bb_effective_at="2026-01-25T12:00:00.0Z")),
    "effective at a number": (13, metadata(13, bb_effective_at=5)),
}


@pytest.mark.parametrize("rules", BOTH)
@pytest.mark.parametrize("name", BROKEN)
def test_each_rule_broken_once_is_refused(name: str, rules: tuple[Any, ...]) -> None:
    """A journal that was forged and hashed anew is refused at that line, and nothing of it takes effect."""
    sequence, changes = BROKEN[name]
    changed = [*LINES]
    changed[sequence - 1] = spell({**members(LINES[sequence - 1]), **changes})
    forged = chain(changed, MACHINE.ledger_id)
    machine = accept(forged[: sequence - 1], rules=[Diary() for _ in rules])
    before = machine.head
    if machine.in_batch:
        before = None  # type: ignore[assignment]  # the batch's first line was taken
    with pytest.raises(JournalCorrupt) as caught:
        machine.accept(forged[sequence - 1])
    assert caught.value.sequence == sequence
    if before is not None:
        assert machine.head == before


@pytest.mark.parametrize("rules", BOTH)
def test_a_second_key_in_a_batch_is_refused(rules: tuple[Any, ...]) -> None:
    """The key of a batch stands on its first entry, and only there."""
    changed = [*LINES]
    key = {"bb.idempotency_key": "l", "bb.idempotency_digest": DIGEST}
    line = members(LINES[8])
    changed[8] = spell({**line, "metadata": {**line["metadata"], **key}})
    forged = chain(changed, MACHINE.ledger_id)
    machine = accept(forged[:8], rules=[Diary() for _ in rules])
    with pytest.raises(JournalCorrupt, match="stands on its first entry"):
        machine.accept(forged[8])


@pytest.mark.parametrize("rules", BOTH)
@pytest.mark.parametrize("key", ["k", " ", '"', "\\", "~" * 128, "a]}", '\\"'])
def test_keys_of_every_spelling_are_read(key: str, rules: tuple[Any, ...]) -> None:
    """Plain keys go the fast way, those with quotes and backslashes the slow one: both are found."""
    machine, lines = found()
    mark = IdempotencyMark(key=key, digest=DIGEST)
    draft = deposit("ALICE", "1 USDT", correlation_id="r")
    lines += machine.propose(PreparedBatch([draft], key=mark), NOON).lines
    read = accept(lines, rules=[Diary() for _ in rules])
    assert list(read.links.bearers(key)) == [3]
    assert read.head == machine.head


@pytest.mark.parametrize("rules", BOTH)
def test_a_batch_that_is_refused_leaves_no_link(rules: tuple[Any, ...]) -> None:
    """A hold and a key of a batch whose last entry leaves the range are not noted."""
    machine, lines = found({})
    put = machine.propose
    lines += put(PreparedBatch([deposit("ALICE", FULL, correlation_id="r")]), NOON).lines
    opening = hold("ALICE", "1 USDT", to="BOB", correlation_id="r")
    last = transfer("ALICE", "BOB", "1 USDT", correlation_id="r")
    key = IdempotencyMark(key="k", digest=DIGEST)
    lines += put(PreparedBatch([opening, last], key=key), NOON).lines
    over = {"intent": "deposit", "postings": [posting(VAULT, "1", "debit"), posting(BOB, "1", "credit")]}
    lines[-1] = spell({**members(lines[-1]), **over})
    forged = chain(lines, machine.ledger_id)
    read = accept(forged[:-1], rules=[Diary() for _ in rules])
    mark = read.links.mark()
    with pytest.raises(JournalCorrupt, match="range"):
        read.accept(forged[-1])
    assert (read.links.mark(), read.links.hold(4)) == (mark, None)
    assert list(read.links.bearers("k")) == []
