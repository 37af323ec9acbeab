"""The invariants of phase 1 (section 5), each MUST and MUST NOT a test that cites its row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from bibank.journal.machine import LedgerMachine
from bibank.risk.engine import RiskEngine
from bibank.rules import Refusal, RiskView
from bibank.signing.trust import KeyringTrust
from bibank.stores import LedgerStore, LineGroup
from tests.store.journals import (
    SIGNER,
    StillClock,
    counted_bytes,
    day_files,
    deposit,
    transfer,
    write_journal,
)


@pytest.fixture
def ledger() -> Iterator[bb.Ledger]:
    """A ledger in memory in which ALICE has 10 USDT, after a few commits of each kind."""
    with bb.Ledger.in_memory({"USDT": "100"}, clock=StillClock()) as made:
        made.commit(deposit("ALICE", "12 USDT"))
        made.commit_batch([transfer("ALICE", "BOB", "1 USDT"), deposit("BOB", "2 BTC")])
        made.commit_each(
            [transfer("ALICE", "BOB", "1 USDT"), transfer("BOB", "X", "99 USDT"), deposit("C", "1 BTC")]
        )
        yield made


def stored(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal, read with nothing but a JSON reader."""
    return [json.loads(line) for content in day_files(path).values() for line in content.splitlines()]


@pytest.fixture
def lines(tmp_path: Path) -> list[dict[str, Any]]:
    """The lines of a journal with every kind of line."""
    write_journal(tmp_path / "books")
    return stored(tmp_path / "books")


# --------------------------------------------------------------------------- 5.1 Ledger MUST


def test_must_1_sequences_strictly_increase(lines: list[dict[str, Any]]) -> None:
    """5.1 (1): every entry has a `sequence`, strictly increasing by one, in the order of the journal."""
    assert [line["sequence"] for line in lines] == list(range(1, len(lines) + 1))


def test_must_2_every_prev_hash_is_the_hash_of_the_line_before(lines: list[dict[str, Any]]) -> None:
    """5.1 (2): `prev_hash` links, and each hash is SHA-256 of the content, computed without the library."""
    ledger_id = lines[0]["metadata"]["bb.ledger"]
    previous = "GENESIS"
    for line in lines:
        assert line["prev_hash"] == previous
        content = {name: value for name, value in line.items() if name not in ("hash", "signatures")}
        content["ledger"] = ledger_id
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert line["hash"] == sha256(canonical.encode()).hexdigest()
        previous = line["hash"]


def test_must_3_every_entry_balances_for_each_asset(lines: list[dict[str, Any]]) -> None:
    """5.1 (3): debits equal credits for every asset in every stored entry."""
    for line in lines:
        sums: dict[str, Decimal] = {}
        for posting in line.get("postings", ()):
            asset = posting["account"].split(":")[3]
            sign = 1 if posting["side"] == "debit" else -1
            sums[asset] = sums.get(asset, Decimal(0)) + sign * Decimal(posting["amount"])
        assert not any(sums.values()), line["sequence"]


def test_must_4_every_entry_has_a_correlation_id(lines: list[dict[str, Any]]) -> None:
    """5.1 (4): no stored line is without one, and no entry can be built without one."""
    assert all(line["correlation_id"] for line in lines)
    for missing in (None, ""):
        with pytest.raises(bb.MissingCorrelationId):
            bb.UnsignedEntry(
                intent=bb.TransactionIntent.DEPOSIT,
                correlation_id=missing,
                postings=deposit("A", "1 USDT").postings,
            )


def test_must_5_every_amount_is_non_negative(lines: list[dict[str, Any]]) -> None:
    """5.1 (5): the type holds nothing below zero, and no stored posting does."""
    assert all(Decimal(p["amount"]) > 0 for line in lines for p in line.get("postings", ()))
    with pytest.raises(bb.AmountUnderflow):
        bb.Amount(0) - bb.Amount("0.00000001")


def test_must_6_genesis_is_line_1_after_nothing(lines: list[dict[str, Any]], ledger: bb.Ledger) -> None:
    """5.1 (6): the genesis entry has sequence 1 and prev_hash GENESIS, and there is only one."""
    assert (lines[0]["sequence"], lines[0]["prev_hash"], lines[0]["intent"]) == (1, "GENESIS", "genesis")
    assert [line["sequence"] for line in lines if line.get("intent") == "genesis"] == [1]
    machine = LedgerMachine(RiskEngine(), KeyringTrust())
    with pytest.raises(bb.JournalCorrupt):  # the bootstrap check: a journal cannot begin with its second line
        machine.accept(next(ledger._committer.store.read(after_sequence=1)))


def test_must_7_the_ledger_is_append_only(tmp_path: Path) -> None:
    """5.1 (7): whatever is committed, the bytes that were there stay where they were."""
    home, clock = tmp_path / "books", StillClock()
    before = b""
    with bb.Ledger.create(home, opening={"USDT": "9"}, clock=clock, entropy=counted_bytes) as ledger:
        for draft in (deposit("A", "2 USDT"), transfer("A", "B", "1 USDT"), transfer("A", "B", "99 USDT")):
            ledger.commit_each([draft])
            now = b"".join(day_files(home).values()).rstrip(b"\0")  # behind the last line: unwritten space
            assert now.startswith(before)
            before = now
    with bb.Ledger.open(home, clock=clock):
        pass
    assert b"".join(day_files(home).values()) == before


# --------------------------------------------------------------------------- 5.2 Ledger MUST NOT


def test_must_not_1_edit_or_delete(ledger: bb.Ledger) -> None:
    """5.2 (1): neither ledger nor store has a method that edits or deletes, and entries are frozen."""
    store_methods = {name for name in vars(LedgerStore) if not name.startswith("_")}
    assert store_methods == {"append", "close", "head", "read"}
    forbidden = ("edit", "delete", "remove", "update", "set_", "truncate", "rollback", "undo", "pop", "clear")
    assert [name for name in dir(ledger) if name.startswith(forbidden)] == []
    entry = ledger.entry(3)
    with pytest.raises(AttributeError):
        entry.sequence = 9  # type: ignore[misc]  # frozen, as the types say
    with pytest.raises(AttributeError):
        entry.postings[0].amount = bb.Amount(5)  # type: ignore[misc]  # frozen, as the types say


def test_must_not_2_let_unbalanced_entries_commit(ledger: bb.Ledger) -> None:
    """5.2 (2): an unbalanced entry cannot be built, and a forged one in a journal does not replay."""
    balanced = deposit("ALICE", "1 USDT")
    with pytest.raises(bb.UnbalancedEntry):
        bb.UnsignedEntry(
            intent=balanced.intent,
            correlation_id="r1",
            postings=[balanced.postings[0], bb.Posting.credit("LIAB:USER:ALICE:USDT:AVAILABLE", "2")],
        )
    store = bb.MemoryStore()
    bb.Ledger(store=store, clock=StillClock(), entropy=counted_bytes).commit(balanced)
    machine = LedgerMachine(RiskEngine(), KeyringTrust())
    genesis, keyring, line = store.read()
    machine.accept(genesis)
    machine.accept(keyring)
    with pytest.raises(bb.JournalCorrupt, match="unbalanced"):
        machine.accept(line.replace(b'"amount":"1"', b'"amount":"2"', 1))


def test_must_not_3_generate_a_correlation_id(ledger: bb.Ledger) -> None:
    """5.2 (3): every door refuses a request without one; what is stored is what the caller gave."""
    before = ledger.head
    verbs: list[tuple[Callable[..., object], tuple[str, ...]]] = [
        (ledger.deposit, ("A",)),
        (ledger.withdraw, ("A",)),
        (ledger.transfer, ("A", "B")),
    ]
    for verb, parties in verbs:
        with pytest.raises(bb.MissingCorrelationId):
            verb(*parties, "1 USDT")
    assert ledger.head == before
    assert ledger.deposit("A", "1 USDT", correlation_id="mine").correlation_id == "mine"


def test_must_not_4_skip_sequence_numbers(ledger: bb.Ledger) -> None:
    """5.2 (4): refusals, previews and broken batches use up no number."""
    last = ledger.head.sequence
    with pytest.raises(bb.InsufficientBalance):
        ledger.withdraw("ALICE", "1000 USDT", correlation_id="r")
    with pytest.raises(bb.InsufficientBalance):
        ledger.commit_batch([deposit("A", "1 USDT"), transfer("A", "B", "2 USDT")])
    ledger.preview(deposit("A", "1 USDT"))
    ledger.commit_each([transfer("A", "B", "5 USDT"), transfer("A", "B", "5 USDT")])
    assert ledger.commit(deposit("A", "1 USDT")).sequence == last + 1
    assert [entry.sequence for entry in ledger.entries()] == [1, *range(3, last + 2)]


@pytest.mark.parametrize("negative", ["-1", Decimal(-1), -1, "-0.00000001"])
def test_must_not_5_accept_negative_amounts(ledger: bb.Ledger, negative: str | Decimal | int) -> None:
    """5.2 (5): a negative amount is refused in every spelling."""
    with pytest.raises(bb.InvalidAmount):
        bb.Amount(negative)
    with pytest.raises(bb.InvalidAmount):
        bb.Posting.debit("ASSET:SYSTEM:VAULT:USDT:MAIN", negative)
    with pytest.raises(bb.InvalidAmount):
        ledger.deposit("A", f"{negative} USDT", correlation_id="r")


def test_must_not_6_have_two_entries_with_one_sequence(lines: list[dict[str, Any]]) -> None:
    """5.2 (6): a number is used once, and a store takes no second group for the same place."""
    assert len({line["sequence"] for line in lines}) == len(lines)
    taken: list[LineGroup] = []

    class Remembering(bb.MemoryStore):
        def append(self, group: LineGroup) -> None:
            super().append(group)
            taken.append(group)

    store = Remembering()
    bb.Ledger(store=store).commit(deposit("A", "1 USDT"))
    with pytest.raises(bb.HeadConflict):
        store.append(taken[-1])


# --------------------------------------------------------------------------- 5.3 Risk engine MUST


class Witness:
    """A rule that looks at the journal while it judges."""

    name = "witness/1"

    def __init__(self, store: bb.MemoryStore) -> None:
        self.store = store
        self.seen: list[tuple[int, int]] = []

    def check(self, entry: bb.UnsignedEntry, view: RiskView) -> Refusal | None:
        """Remember how far the journal was."""
        self.seen.append((view.sequence, self.store.head().sequence))
        return None


def test_risk_must_1_check_before_the_commit() -> None:
    """5.3 (1): the engine is asked before a line is in the store, and what it refuses never gets there."""
    store = bb.MemoryStore()
    witness = Witness(store)
    ledger = bb.Ledger(store=store, risk=bb.RiskEngine([witness]))
    ledger.commit(deposit("A", "1 USDT"))
    with pytest.raises(bb.InsufficientBalance):
        ledger.commit(transfer("A", "B", "2 USDT"))
    assert witness.seen == [(3, 2)]
    assert store.head().sequence == 3


def test_risk_must_2_not_read_the_projection(tmp_path: Path) -> None:
    """5.3 (2): with the projection deleted, or full of lies, the engine judges the same."""
    home = tmp_path / "books"
    write_journal(home)
    for content in (None, b"", b"not a database", bytes(5000)):
        if content is not None:
            (home / "projection.db").write_bytes(content)
        with bb.Ledger.open(home, clock=StillClock()) as ledger:
            assert ledger.balance("A", "USDT").available == bb.SignedAmount("2")
            with pytest.raises(bb.InsufficientBalance):
                ledger.commit(transfer("A", "B", "3 USDT"))
            ledger.preview(transfer("A", "B", "2 USDT"))


def test_risk_must_3_bootstrap_from_replay(tmp_path: Path) -> None:
    """5.3 (3): after a restart the engine knows the balances that the journal gives, and only from it."""
    home = tmp_path / "books"
    write_journal(home)
    with bb.Ledger.open(home) as ledger:
        before = ledger.accounts()
    (tmp_path / "copy").mkdir()
    (home / "journal").rename(tmp_path / "copy" / "journal")
    with bb.Ledger.open(tmp_path / "copy", signer=SIGNER, clock=StillClock()) as ledger:
        assert ledger.accounts() == before
        with pytest.raises(bb.InsufficientBalance) as caught:
            ledger.commit(transfer("A", "B", "3 USDT"))
        assert caught.value.available == bb.SignedAmount("2")


@pytest.mark.parametrize("category", ["LIAB:USER:ALICE:USDT:AVAILABLE", "ASSET:SYSTEM:VAULT:USDT:MAIN"])
def test_risk_must_4_reject_insufficient_balance(category: str) -> None:
    """5.3 (4): no owner and no vault falls below zero; exactly zero passes."""
    ledger = bb.Ledger.in_memory()
    ledger.deposit("ALICE", "10 USDT", correlation_id="r1")
    if category.startswith("ASSET"):  # an owner who is owed more than the vault holds
        other = bb.AccountKey("ASSET:SYSTEM:OTHER:USDT:MAIN")
        ledger.commit(
            bb.UnsignedEntry(
                intent=bb.TransactionIntent.DEPOSIT,
                correlation_id="r1",
                postings=[
                    bb.Posting.debit(other, "5"),
                    bb.Posting.credit("LIAB:USER:ALICE:USDT:AVAILABLE", "5"),
                ],
            )
        )
    with pytest.raises(bb.InsufficientBalance) as caught:
        ledger.withdraw("ALICE", "10.00000001 USDT", correlation_id="r2")
    assert str(caught.value.account) == category
    ledger.withdraw("ALICE", "10 USDT", correlation_id="r3")
    assert ledger.balance(bb.AccountKey(category)).available == bb.SignedAmount(0)


def test_risk_must_5_be_deterministic() -> None:
    """5.3 (5): the same requests at the same times give the same bytes and the same refusals."""

    def history() -> tuple[list[bytes], list[str]]:
        store = bb.MemoryStore()
        ledger = bb.Ledger(store=store, opening={"USDT": "9"}, clock=StillClock(), entropy=counted_bytes)
        outcomes = ledger.commit_each(
            [
                deposit("A", "5 USDT"),
                transfer("A", "B", "3 USDT"),
                transfer("A", "B", "3 USDT"),
                deposit("A", "1 BTC"),
            ]
        )
        return list(store.read()), [str(refusal) for refusal in outcomes.refused]

    assert history() == history()
    assert len(history()[1]) == 1
