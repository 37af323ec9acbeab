"""Replay: what does not follow from the lines before is refused with a reason, by both ways of reading."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibank.errors import BibankError, IntegrityError, JournalCorrupt, UnsupportedFormat
from bibank.journal import reader
from bibank.journal.batches import Draft
from bibank.journal.codec import decode_line
from bibank.journal.drafts import deposit, transfer
from bibank.journal.genesis import keyring_hash
from bibank.journal.machine import LedgerMachine
from bibank.model.account import AccountKey
from bibank.model.amount import MAX_UNITS, units_to_text
from bibank.model.genesis import GenesisMark
from bibank.model.keyring import Keyring
from bibank.model.money import Money
from bibank.risk.rule import RiskRule
from tests.journal.machines import (
    ALICE,
    BOB,
    CAROL,
    NONCE,
    VAULT,
    Diary,
    accept,
    chain,
    forge,
    found,
    later,
    members,
    propose,
    rehash,
    spell,
    state,
)

Rules = list[RiskRule]
PATHS: dict[str, Callable[[], Rules]] = {"fast": list, "slow": lambda: [Diary()]}
"""How to make a machine read fast where it can, and never."""

OTHER_LEDGER = "other/" + "0" * 32


def journal() -> tuple[str, list[bytes]]:
    """Write a journal with everything that a mark can say.

    1-2 genesis; 3 a group of its own, 4 joins it, 5-7 a batch in it; 8 the next day; 9 a group of its
    own with metadata; 10 a trade.
    """
    machine, lines = found()

    def write(*drafts: Draft, **delta: float) -> None:
        lines.extend(propose(machine, *drafts, now=later(**delta)).lines)

    write(deposit("ALICE", "100 USDT", correlation_id="r3"), seconds=1)
    write(transfer("ALICE", "BOB", "40.5 USDT", correlation_id="r4"), seconds=2)
    write(*(deposit(owner, "5 USDT", correlation_id="b5") for owner in ("A", "B", "C")), seconds=3)
    write(deposit("CAROL", "7 USDT", correlation_id="r8"), days=1)
    machine.settle()
    write(deposit("CAROL", "7 USDT", correlation_id="r9", metadata={"note": "caff\u00e8"}), days=1)
    write(transfer("CAROL", "BOB", "1 USDT", correlation_id="r10"), days=1)
    return machine.ledger_id, lines


LEDGER, LINES = journal()
GENESIS, KEYRING = members(LINES[0]), members(LINES[1])


def change(number: int, **changes: Any) -> bytes:
    """Change members of a line of the journal, and give it the hash that it then has."""
    return forge(LINES[number - 1], LEDGER, **changes)


def entry(number: int, *legs: tuple[str, str, str], **changes: Any) -> bytes:
    """Change the postings of a line of the journal."""
    postings = [{"account": a, "amount": n, "side": s} for a, n, s in legs]
    return change(number, postings=postings, **changes)


def refusal(lines: list[bytes], bad: bytes, rules: Rules) -> BibankError:
    """Accept lines, demand that the next is refused without a trace, and give the error."""
    machine = accept(lines, rules=rules)
    before = state(machine)
    with pytest.raises(IntegrityError) as caught:
        machine.accept(bad)
    assert state(machine) == before
    return caught.value


def swapped(number: int) -> bytes:
    """Give the line after."""
    return LINES[number]


WRONG: list[tuple[int, bytes, str]] = [
    # the chain
    (4, LINES[4], "sequence 5, expected 4"),
    (4, LINES[2], "sequence 3, expected 4"),
    (8, LINES[8], "sequence 9, expected 8"),
    (4, change(4, sequence=5), "sequence 5, expected 4"),
    (4, change(4, prev_hash="0" * 64), "is not the hash of the line before"),
    (4, change(4, prev_hash="GENESIS"), "is not the hash of the line before"),
    (4, spell({**members(LINES[3]), "hash": "0" * 64}), "its content hashes to"),
    (4, spell({**members(LINES[3]), "correlation_id": "r5"}), "its content hashes to"),
    (4, forge(LINES[3], OTHER_LEDGER), "its content hashes to"),
    (9, spell({**members(LINES[8]), "metadata": {"note": "x"}}), "its content hashes to"),
    # time
    (4, change(4, timestamp="2026-01-25T12:00:00Z", batch=None), "is before the previous line"),
    (9, change(9, timestamp="2026-01-25T12:00:00Z"), "is before the previous line"),
    # marks of single lines
    (4, change(4, batch={"group": 2}), "write group 2 is neither the current one (3) nor a new one"),
    (4, change(4, batch={"group": 1}), "write group 1 is neither the current one (3) nor a new one"),
    (8, change(8, batch={"group": 4}), "write group 4 is neither the current one (3) nor a new one"),
    (8, change(8, batch={"group": 3}), "straddles two dates"),
    (9, change(9, batch={"group": 3}), "write group 3 is neither the current one (8) nor a new one"),
    (4, change(4, batch={"group": 3, "size": 8192}), "over 8192 lines"),
    (4, change(4, batch={"first": 3, "group": 3, "size": 2}), "the batch of line 3 is whole before line 4"),
    (8, change(8, batch={"first": 5, "group": 3, "size": 4}), "the batch of line 5 is whole before line 8"),
    (4, change(4, batch={"cover": "group", "group": 3}), "only some lines of write group 3 are under"),
    # marks within a batch: line 5 begins one of three lines
    (6, change(6, batch={"first": 5, "group": 3, "size": 2}), "differs from that of line 5"),
    (6, change(6, batch={"first": 5, "group": 3, "size": 4}), "differs from that of line 5"),
    (6, change(6, batch={"first": 5, "group": 5, "size": 3}), "differs from that of line 5"),
    (6, change(6, batch={"first": 4, "group": 3, "size": 3}), "differs from that of line 5"),
    (6, change(6, batch={"group": 3}), "differs from that of line 5"),
    (6, change(6, batch=None), "differs from that of line 5"),
    (7, change(7, batch={"group": 3}), "differs from that of line 5"),
    (6, change(6, timestamp="2026-01-25T12:00:04Z"), "within a batch"),
    (7, change(7, timestamp="2026-01-26T12:00:03Z"), "within a batch"),
    # what stands where
    (3, forge(LINES[0], LEDGER, sequence=3, prev_hash=KEYRING["hash"], batch=None), "in line 1 only"),
    (3, forge(LINES[1], LEDGER, sequence=3, prev_hash=KEYRING["hash"], batch=None), "genesis batch only"),
    (
        3,
        change(
            3,
            intent="adjustment",
            metadata={"requires_approval": True, "reason": "x", "purpose": "CORRECTION"},
        ),
        "an adjustment needs 1 approval,",
    ),
    (3, change(3, signatures=[{
        "signer_id": "EVE",
        "algorithm": "ed25519",
        "public_key": "00" * 32,
        "signature": "00" * 64,
        "signed_at": "2026-01-25T12:00:00Z",
    }]), "signed by 'EVE' with key 0000000000000000..., which is not in the keyring"),
    # the intent table, sums and values
    (3, change(3, intent="withdrawal"), "allowed on the"),
    (3, change(3, intent="transfer"), "allowed on the"),
    (3, entry(3, (VAULT, "100", "debit"), (ALICE, "99", "credit")), "unbalanced"),
    (3, entry(3, (VAULT, "100", "debit"), (ALICE.replace("USDT", "BTC"), "100", "credit")), "unbalanced"),
    (3, entry(3, (VAULT, "0", "debit"), (ALICE, "0", "credit")), "moves nothing"),
    (3, entry(3, (VAULT, "1.0", "debit"), (ALICE, "1.0", "credit")), "canonically"),
    (3, entry(3, (VAULT, "-1", "debit"), (ALICE, "-1", "credit")), "never below zero"),
    (3, entry(3, (VAULT, "x", "debit"), (ALICE, "x", "credit")), "is not an amount"),
    (3, entry(3, (VAULT, "1", "debit"), (ALICE.lower(), "1", "credit")), "category"),
    (4, entry(4, (ALICE, "1", "debit"), (ALICE, "1", "credit")), "both sides"),
    (4, entry(4, (ALICE, "1", "credit"), (ALICE, "1", "debit")), "both sides"),
    (3, change(3, causality_id="3"), "is not the sequence of an earlier line"),
    (3, change(3, metadata={"a": {"a": {"a": {"a": {}}}}}), "nested over 4 levels"),
    (3, change(3, metadata={"A": 1}), "is not [a-z]"),
    (3, change(3, metadata={"bb.hold": "1"}), "a hold is ended by transfers and withdrawals"),
    (5, change(5, metadata={"a": 1, "bb.x": None}), "metadata.bb.x is not known to this version"),
    (3, change(3, correlation_id=""), "is not 1 to 128"),
    (3, change(3, correlation_id="x" * 129), "is not 1 to 128"),
    (3, change(3, correlation_id="caff\u00e8"), "is not 1 to 128"),
    (3, change(3, timestamp="2026-01-25T24:00:00Z"), "is not spelled"),
    (3, LINES[2] + b" ", "canonically"),
    (3, LINES[2][:-1], "not JSON"),
    (3, b"", "not JSON"),
    (3, b"\x00" * 512, "not JSON"),
    (3, b"\xff" + LINES[2], "not UTF-8"),
    (3, LINES[2].replace(b"r3", b"\xff3"), "not UTF-8"),
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("number", "bad", "reason"), WRONG, ids=range(len(WRONG)))
def test_line_that_does_not_follow(number: int, bad: bytes, reason: str, path: str) -> None:
    """Each rule broken once, the hash of the line made right again: refused, placed, without a trace."""
    error = refusal(LINES[: number - 1], bad, PATHS[path]())
    assert isinstance(error, JournalCorrupt)
    assert reason in error.reason
    assert (error.sequence, error.file, error.line) == (number, None, None)
    assert str(error) == f"line {number} of the journal: {error.reason}"


@pytest.mark.parametrize("path", PATHS)
def test_cover_that_nobody_signed(path: str) -> None:
    """A group that says it is covered needs the signature, also where the keyring has no key for one."""
    covered = change(3, batch={"cover": "group"})
    machine = accept([*LINES[:2], covered], rules=PATHS[path]())
    with pytest.raises(
        JournalCorrupt, match="line 3 ends a write group under group cover, and is not signed"
    ):
        machine.check_end()
    following = chain([*LINES[:2], covered, change(4, batch=None)], LEDGER)[3]
    error = refusal([*LINES[:2], covered], following, PATHS[path]())
    assert "line 3 ends a write group under group cover, and is not signed" in str(error)


@pytest.mark.parametrize("path", PATHS)
def test_journal_itself_is_accepted(path: str) -> None:
    """The lines that the tests here break are a journal."""
    machine = accept(LINES, rules=PATHS[path]())
    assert machine.head.sequence == len(LINES)
    assert machine.head.hash == members(LINES[-1])["hash"]


@pytest.mark.parametrize("path", PATHS)
def test_every_bit_flip(path: str) -> None:
    """Each of the bits of a journal is covered: one flipped is refused, and leaves no trace."""
    machine = accept([], rules=PATHS[path]())
    for line in LINES:
        before = state(machine)
        for index in range(len(line)):
            for bit in range(8):
                changed = bytearray(line)
                changed[index] ^= 1 << bit
                with pytest.raises(IntegrityError):
                    machine.accept(bytes(changed))
        assert state(machine) == before
        machine.accept(line)


@pytest.mark.parametrize("path", PATHS)
def test_lines_dropped_doubled_or_exchanged(path: str) -> None:
    """Wherever a line is missing, stands twice or stands too early, the next one is refused."""
    for place in range(len(LINES) - 1):
        for changed in (
            LINES[:place] + LINES[place + 1 :],
            LINES[: place + 1] + LINES[place:],
            [*LINES[:place], LINES[place + 1], LINES[place]],
        ):
            with pytest.raises(JournalCorrupt):
                accept(changed, rules=PATHS[path]())


@pytest.mark.parametrize("path", PATHS)
def test_lines_of_another_ledger(path: str) -> None:
    """A line cannot be carried into another ledger, although everything in it fits."""
    other = found({"USDT": "1000"})[0]
    assert other.ledger_id == LEDGER  # the same nonce
    lines = genesis_lines(nonce="f" * 32)
    accept(lines)
    stolen = spell({**members(LINES[2]), "prev_hash": members(lines[1])["hash"]})
    assert "its content hashes to" in str(refusal(lines, stolen, PATHS[path]()))
    assert "its content hashes to" in str(
        refusal(lines, forge(LINES[2], LEDGER, prev_hash=members(lines[1])["hash"]), PATHS[path]())
    )


# --------------------------------------------------------------------------- genesis


def genesis_lines(
    *, nonce: str = NONCE, digest: str | None = None, record: dict[str, Any] | None = None, **changes: Any
) -> list[bytes]:
    """Forge the two lines of a genesis: consistent with themselves, but for what is changed."""
    mark = GenesisMark(name="test", keyring_hash=digest or keyring_hash(Keyring.unsigned()), nonce=nonce)
    body = {**KEYRING["body"], "ledger": mark.ledger_id}
    first = {**GENESIS, "metadata": mark.to_metadata(), **changes}
    second = {**KEYRING, "subject": mark.ledger_id, "body": body, **(record or {})}
    return chain([spell(first), spell(second)], mark.ledger_id)


def test_forged_genesis_is_one() -> None:
    """The helper forges what is accepted when nothing is changed."""
    assert genesis_lines() == LINES[:2]
    machine = accept(genesis_lines(nonce="f" * 32, postings=[]))
    assert (machine.entries, machine.records, len(machine.book)) == (1, 1, 0)


METADATA = GENESIS["metadata"]
TRANSFER = members(LINES[3])["postings"]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([LINES[1]], "sequence 2, expected 1"),
        ([LINES[2]], "sequence 3, expected 1"),
        (chain([change(3, sequence=1, batch=None)], LEDGER), "line 1 is not a genesis entry"),
        (chain([change(2, sequence=1, batch=None)], LEDGER), "line 1 is not a genesis entry"),
        (chain([LINES[0]], LEDGER, prev_hash="0" * 64), "is not the hash of the line before"),
        (genesis_lines(batch={"size": 3}), "lines 1 to 2"),
        (genesis_lines(batch=None), "not of the right type"),
        (chain([change(1, batch=None)], LEDGER), "lines 1 to 2"),
        (genesis_lines(metadata={**METADATA, "bb.nonce": "f" * 32}), "does not follow from"),
        (genesis_lines(metadata={**METADATA, "bb.ledger": OTHER_LEDGER}), "does not follow from"),
        (genesis_lines(metadata={**METADATA, "bb.ledger": "test"}), "does not follow from"),
        (genesis_lines(metadata={**METADATA, "bb.keyring": "f" * 64}), "does not follow from"),
        (genesis_lines(metadata={**METADATA, "note": "x"}), "does not follow from"),
        (genesis_lines(metadata={**METADATA, "bb.ledger": "TEST/" + "0" * 32}), "ledger name"),
        (genesis_lines(metadata={**METADATA, "bb.ledger": 5}), "does not follow from"),
        (genesis_lines(metadata={**METADATA, "bb.nonce": "F" * 32}), "nonce"),
        (genesis_lines(metadata={**METADATA, "bb.keyring": 5}), "keyring hash"),
        (genesis_lines(metadata={n: m for n, m in METADATA.items() if n != "bb.nonce"}), "nonce"),
        (genesis_lines(metadata={n: m for n, m in METADATA.items() if n != "bb.ledger"}), "ledger name"),
        (genesis_lines(intent="transfer", postings=TRANSFER, metadata={}), "line 1 is not a genesis entry"),
        (genesis_lines(causality_id="1"), "earlier line"),
        (chain([change(3, sequence=1, batch=None)], ""), "line 1 is not a genesis entry"),
    ],
)
def test_wrong_first_line(lines: list[bytes], reason: str) -> None:
    """Line 1 is the genesis that certifies the ledger's id, and nothing else."""
    error = refusal([], lines[0], [])
    assert isinstance(error, JournalCorrupt)
    assert reason in error.reason


@pytest.mark.parametrize("found_format", ["bibank/2", "bibank/10", "", "other", None, 1, True])
def test_other_formats(found_format: Any) -> None:
    """A journal that says it is in another format is not corrupt: this version is too old for it."""
    lines = genesis_lines(metadata={**METADATA, "bb.format": found_format})
    assert isinstance(refusal([], lines[0], []), UnsupportedFormat)
    lines = genesis_lines(metadata={n: m for n, m in METADATA.items() if n != "bb.format"})
    assert isinstance(refusal([], lines[0], []), UnsupportedFormat)


def second_line(**changes: Any) -> bytes:
    """Forge line 2 after the true line 1."""
    return forge(LINES[1], LEDGER, **changes)


SECOND = {"sequence": 2, "batch": {"first": 1, "group": 1, "size": 2}, "timestamp": GENESIS["timestamp"]}
PLAIN_DEPOSIT = chain([LINES[0], change(3, **SECOND)], LEDGER)[1]
NAMELESS = {name: member for name, member in KEYRING["body"].items() if name != "ledger"}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (PLAIN_DEPOSIT, "line 2 is not the keyring_adopted record"),
        (second_line(subject=OTHER_LEDGER), "of another ledger"),
        (second_line(body={**KEYRING["body"], "ledger": OTHER_LEDGER}), "of another ledger"),
        (
            second_line(body=NAMELESS),
            "body.ledger is missing",
        ),
        (second_line(body={**KEYRING["body"], "version": 2}), "the first keyring is version 1"),
        (second_line(body={**KEYRING["body"], "version": True}), "not spelled canonically"),
        (second_line(batch={"first": 1, "group": 1, "size": 3}), "differs from that of line 1"),
        (second_line(batch=None), "differs from that of line 1"),
        (second_line(timestamp="2026-01-25T12:00:01Z"), "within a batch"),
        (LINES[2], "sequence 3, expected 2"),
    ],
)
def test_wrong_second_line(bad: bytes, reason: str) -> None:
    """Line 2 adopts the keyring from which the ledger was named."""
    error = refusal(LINES[:1], bad, [])
    assert isinstance(error, JournalCorrupt)
    assert reason in error.reason


def test_keyring_that_the_ledger_id_does_not_name() -> None:
    """A genesis that names another keyring than the one adopted is refused at line 2."""
    lines = genesis_lines(digest="f" * 64)
    assert "commits to" in str(refusal(lines[:1], lines[1], []))


# --------------------------------------------------------------------------- range


def two(number: int, amount: str, *, debit: str, credit: str, intent: str) -> bytes:
    """Forge an entry of two postings as line `number`, its chain still open."""
    return change(
        3,
        sequence=number,
        intent=intent,
        batch=None,
        postings=[
            {"account": debit, "amount": amount, "side": "debit"},
            {"account": credit, "amount": amount, "side": "credit"},
        ],
    )


LARGEST = units_to_text(MAX_UNITS)


@pytest.mark.parametrize("path", PATHS)
def test_balance_beyond_i128(path: str) -> None:
    """A balance that leaves the range is corruption, in a single line and in a batch, without a trace."""
    largest = {"debit": "ASSET:SYSTEM:V:BTC:M", "credit": "LIAB:USER:A:BTC:M", "intent": "deposit"}
    lines = chain([*LINES[:2], two(3, LARGEST, **largest), two(4, "0.00000001", **largest)], LEDGER)
    error = refusal(lines[:3], lines[3], PATHS[path]())
    assert "leaves the signed 128-bit range" in str(error)
    marks = [{"group": 3, "size": 2}, {"first": 3, "group": 3, "size": 2}]
    batch = chain(
        [*LINES[:2], *(forge(line, LEDGER, batch=mark) for line, mark in zip(lines[2:], marks, strict=True))],
        LEDGER,
    )
    batch[2] = forge(batch[2], LEDGER, batch={"size": 2})
    batch = chain(batch, LEDGER)
    assert "leaves the signed 128-bit range" in str(refusal(batch[:3], batch[3], PATHS[path]()))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("vault", "owner"), [("V", "BOB"), ("W", "ALICE")], ids=["only the debit side", "only the credit side"]
)
def test_one_balance_beyond_i128(path: str, vault: str, owner: str) -> None:
    """Each side of a line is held to the range on its own."""

    def deposit_of(number: int, amount: str, vault: str, owner: str) -> bytes:
        debit, credit = f"ASSET:SYSTEM:{vault}:BTC:M", f"LIAB:USER:{owner}:BTC:M"
        return two(number, amount, debit=debit, credit=credit, intent="deposit")

    full = deposit_of(3, LARGEST, "V", "ALICE")
    lines = chain([*LINES[:2], full, deposit_of(4, "0.00000001", vault, owner)], LEDGER)
    assert "leaves the signed 128-bit range" in str(refusal(lines[:3], lines[3], PATHS[path]()))


@pytest.mark.parametrize("path", PATHS)
def test_amount_beyond_i128(path: str) -> None:
    """An amount that no `Amount` holds is refused, even where the balance afterwards would fit."""
    down = two(3, LARGEST, debit=ALICE, credit=VAULT, intent="withdrawal")
    huge = two(4, units_to_text(MAX_UNITS + 5), debit=VAULT, credit=ALICE, intent="deposit")
    lines = chain([*LINES[:2], down, huge], LEDGER)
    assert "range" in str(refusal(lines[:3], lines[3], PATHS[path]()))


# --------------------------------------------------------------------------- the two ways of reading


ACCOUNTS = [ALICE, BOB, CAROL, VAULT, "LIAB:USER:NEW:USDT:MAIN", "LIAB:USER:ALICE:BTC:AVAILABLE", "x"]
AMOUNTS = ["1", "0.5", "40.5", "100", "0", "01", "1.0", LARGEST, units_to_text(MAX_UNITS + 1), "1e3"]
small = st.integers(1, 11)
postings = st.lists(
    st.fixed_dictionaries(
        {
            "account": st.sampled_from(ACCOUNTS),
            "amount": st.sampled_from(AMOUNTS),
            "side": st.sampled_from(["debit", "credit"]),
        }
    ),
    min_size=1,
    max_size=3,
)
balanced = st.tuples(
    st.sampled_from(ACCOUNTS), st.sampled_from(ACCOUNTS), st.sampled_from(AMOUNTS), st.booleans()
).map(
    lambda leg: [
        {"account": leg[0], "amount": leg[2], "side": "debit" if leg[3] else "credit"},
        {"account": leg[1], "amount": leg[2], "side": "credit" if leg[3] else "debit"},
    ]
)
forgeries = st.fixed_dictionaries(
    {},
    optional={
        "timestamp": st.sampled_from(
            [
                "2026-01-25T12:00:01Z",
                "2026-01-25T12:00:09.5Z",
                "2026-01-26T12:00:00.500000Z",
                "2026-01-26T12:00:00Z",
            ]
        ),
        "intent": st.sampled_from(["deposit", "withdrawal", "transfer", "fee", "genesis"]),
        "correlation_id": st.sampled_from(
            ["r", "", '"', "\\", "x" * 128, "x" * 129, "\u00e9", "batch", "\x7f"]
        ),
        "batch": st.none()
        | st.fixed_dictionaries(
            {}, optional={"first": small, "group": small, "size": small, "cover": st.just("group")}
        ),
        "postings": balanced | postings,
        "metadata": st.sampled_from(
            [{}, {"note": "x"}, {"note": '"'}, {"a": [{"b": None}]}, {"A": 1}, {"bb.x": "y"}]
        ),
        "causality_id": st.sampled_from(["1", "2", "9"]),
    },
)


@given(st.sampled_from([3, 4, 5, 8, 9, 10]), forgeries)
def test_fast_and_slow_agree(number: int, forgery: dict[str, Any]) -> None:
    """A forged line is accepted by both ways of reading or by none, and both end in the same state."""
    if forgery.get("batch", 0) == {}:
        forgery["batch"] = None
    line = change(number, **forgery)
    fast, slow = accept(LINES[: number - 1]), accept(LINES[: number - 1], rules=[Diary()])
    before = (state(fast), state(slow))
    verdicts = [verdict(machine, line) for machine in (fast, slow)]
    assert verdicts[0] == verdicts[1]
    if verdicts[0] is not None:
        assert (state(fast), state(slow)) == before
    after = [state(fast), state(slow)]
    assert after[0].pop("memory") == {}
    del after[1]["memory"]
    assert after[0] == after[1]


def verdict(machine: LedgerMachine, line: bytes) -> str | None:
    """Accept a line and give the reason of the refusal, if it is one."""
    try:
        machine.accept(line)
    except IntegrityError as error:
        return str(error)
    return None


def test_everyday_lines_are_read_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deposits, withdrawals and transfers of two postings never reach the slow way; others do."""
    slow: list[int] = []
    read = decode_line

    def spy(data: bytes) -> Any:
        line = read(data)
        slow.append(line.sequence)
        return line

    monkeypatch.setattr(reader, "decode_line", spy)
    accept(LINES)
    assert slow == [1, 2, 5, 6, 7]


@given(st.binary(max_size=600) | st.sampled_from(LINES).flatmap(st.permutations).map(bytes))
def test_any_bytes(data: bytes) -> None:
    """Whatever stands in the file, it is one of our errors and leaves no trace."""
    for rules in PATHS.values():
        machine = accept(LINES[:3], rules=rules())
        before = state(machine)
        if data != LINES[3]:
            with pytest.raises(IntegrityError):
                machine.accept(data)
            assert state(machine) == before


def test_hundred_megabytes_in_either_way() -> None:
    """A line of 100 MB that looks like an everyday one is refused before it is taken apart."""
    line = LINES[8].replace("caff\u00e8".encode(), b"x" * 100_000_000)
    for rules in PATHS.values():
        assert "over the limit of 65535" in str(refusal(LINES[:8], line, rules()))


def test_long_lists_in_metadata_are_refused_by_length_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON is parsed only within the length of a line."""

    def never(text: str) -> Any:
        raise AssertionError("parsed")

    monkeypatch.setattr(reader, "parse_object", never)
    long = LINES[8].replace('"caff\u00e8"'.encode(), b"[" + b"1," * 40_000 + b"1]")
    assert "over the limit of 65535" in str(refusal(LINES[:8], long, []))


def test_amount_cache_of_the_reader_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal with endlessly many different amounts does not fill the memory."""
    monkeypatch.setattr(reader, "_AMOUNTS_KEPT", 3)
    monkeypatch.setattr(reader, "_units", {})
    machine, lines = found()
    for number in range(1, 12):
        lines += propose(machine, deposit("A", Money(number, "USDT"), correlation_id="r")).lines
    replayed = accept(lines)
    assert len(reader._units) <= 3
    assert {a.text: a.balance for a in replayed.book} == {a.text: a.balance for a in machine.book}


def test_metadata_of_everyday_lines() -> None:
    """Metadata in many spellings is read, and only the canonical spelling is accepted."""
    machine, lines = found()
    for note in ("bb.", "caff\u00e8", "\U0001f602", "a, b}", "[{", 'quo"te', "back\\slash", "\u2028"):
        lines += propose(machine, deposit("A", "1 USDT", correlation_id="r", metadata={"note": note})).lines
    replayed = accept(lines)
    assert replayed.head == machine.head
    line = members(lines[2])
    spaced = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
    spaced = spaced.replace('"note":', '"note": ')
    assert "canonically" in str(refusal(lines[:2], spaced.encode(), []))


def test_rewritten_journal_is_self_consistent() -> None:
    """What these checks cannot find: a journal rewritten as a whole, under its own id."""
    lines = chain(
        [
            *genesis_lines(nonce="f" * 32),
            *(spell({**members(line), "correlation_id": "x"}) for line in LINES[2:4]),
        ],
        GenesisMark(name="test", keyring_hash=keyring_hash(Keyring.unsigned()), nonce="f" * 32).ledger_id,
    )
    machine = accept(lines)
    assert machine.ledger_id != LEDGER
    assert machine.head.sequence == 4


def test_stamp_of_the_last_moment() -> None:
    """A journal may end at the last moment of the calendar."""
    moment = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    machine, lines = found(now=moment)
    lines += propose(machine, deposit("A", "1 USDT", correlation_id="r"), now=moment).lines
    assert accept(lines).position.moment == moment
    key = AccountKey("LIAB:USER:A:USDT:AVAILABLE")
    account = accept(lines).book.find(key.text)
    assert account is not None
    assert account.key == key


def test_rehash_is_what_the_machine_hashes() -> None:
    """The forger of these tests computes the hashes of the true lines."""
    for line in LINES:
        assert spell(rehash(members(line), LEDGER)) == line
    assert chain(LINES, LEDGER) == LINES
