"""The success criteria of phase 1 (section 10.3), each a test under its own words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import bibank as bb
from tests.store.journals import DAYS, StillClock, day_files, deposit, put, transfer, write_journal


def run(home: Path, *arguments: str) -> dict[str, object]:
    """Run the command line in a process of its own; give what it printed as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "bibank", "--home", str(home), "--json", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    printed: dict[str, object] = json.loads(done.stdout)
    return printed


def test_replay_reset_drops_the_projection_replays_all_events_and_the_state_is_identical(
    tmp_path: Path,
) -> None:
    """10.3 (1): `bibank replay --reset` drops the projection DB, replays all events, state is identical."""
    home = tmp_path / "books"
    write_journal(home)
    before = run(home, "replay")
    reset = run(home, "replay", "--reset")
    assert reset["identical"] is True
    assert reset["before"] == reset["after"] == before["digest"]
    (home / "projection.db").unlink()  # 9.2: deleting it changes nothing either
    assert run(home, "replay", "--reset")["after"] == before["digest"]
    with bb.Ledger.open(home) as ledger:
        wanted = {"owner": "A", **ledger.balances("A").to_dicts()[0]}
    assert run(home, "balance", "A", wanted["asset"]) == wanted


def test_double_entry_validation_rejects_unbalanced_entries() -> None:
    """10.3 (2): an unbalanced entry is rejected when it is built, and when it is read."""
    legs = [
        bb.Posting.debit("ASSET:SYSTEM:VAULT:USDT:MAIN", "100"),
        bb.Posting.credit("LIAB:USER:ALICE:USDT:AVAILABLE", "99"),
    ]
    with pytest.raises(bb.UnbalancedEntry) as caught:
        bb.UnsignedEntry(intent=bb.TransactionIntent.DEPOSIT, correlation_id="r1", postings=legs)
    assert (caught.value.asset, caught.value.imbalance) == ("USDT", bb.SignedAmount("1"))


def test_the_risk_engine_rejects_a_withdrawal_when_balance_is_less_than_amount() -> None:
    """10.3 (3): a withdrawal over the balance is refused, exactly the balance passes."""
    ledger = bb.Ledger.in_memory({"USDT": "1000"})
    ledger.deposit("ALICE", "100 USDT", correlation_id="r1")
    with pytest.raises(bb.InsufficientBalance) as caught:
        ledger.withdraw("ALICE", "100.00000001 USDT", correlation_id="r2")
    assert caught.value.shortfall == bb.SignedAmount("0.00000001")
    ledger.withdraw("ALICE", "100 USDT", correlation_id="r3")
    assert ledger.balance("ALICE", "USDT").available == bb.SignedAmount(0)


def test_the_hash_chain_is_verified_on_replay(tmp_path: Path) -> None:
    """10.3 (4): a journal whose content or links were changed does not open, and the line is named."""
    home = tmp_path / "books"
    write_journal(home)
    files = day_files(home)
    name = f"{DAYS[1]}.jsonl"
    with bb.Ledger.open(home) as ledger:
        old = ledger.entry(4)
    changes = [
        (b'"amount":"1"', b'"amount":"2"', "hash"),
        (old.prev_hash.encode(), b"0" * 64, "prev_hash"),
        (old.hash.encode(), b"0" * 64, "hash"),
    ]
    for what, instead, reason in changes:
        put(home, {**files, name: files[name].replace(what, instead)})
        with pytest.raises(bb.JournalCorrupt, match=reason) as caught:
            bb.Ledger.open(home)
        assert (caught.value.file, caught.value.line, caught.value.sequence) == (name, 1, 4)


def test_the_sequence_is_derived_from_the_jsonl_without_gaps_after_restart(tmp_path: Path) -> None:
    """10.3 (5): after any number of restarts and refusals the next line is the next number."""
    home, clock = tmp_path / "books", StillClock()
    for day in DAYS:
        clock.set(day)
        for _ in range(3):
            with bb.Ledger.open_or_create(home, clock=clock) as ledger:
                ledger.commit(deposit("A", "1 USDT"))
                with pytest.raises(bb.InsufficientBalance):
                    ledger.commit(transfer("A", "B", "1000 USDT"))
                ledger.commit_batch([deposit("A", "1 USDT"), deposit("B", "1 USDT")])
    lines = [json.loads(line) for content in day_files(home).values() for line in content.splitlines()]
    assert [line["sequence"] for line in lines] == list(range(1, 2 + 9 * 3 + 1))
