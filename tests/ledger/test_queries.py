"""Questions: entries, accounts, balances and audits, in memory and over day files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import bibank as bb
from tests.store.journals import DAYS, NEWEST, StillClock, day_files, deposit, transfer

STRIDE = 512
"""Lines between two offsets of the index of a day file."""


@pytest.fixture(scope="module", params=["memory", "jsonl"])
def ledger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[bb.Ledger]:
    """A ledger of 1,544 lines on three days: 2 + 1,022 + 8 + 512 of them deposits to A of as many units."""
    clock = StillClock()
    if request.param == "memory":
        made = bb.Ledger.in_memory({"USDT": "100"}, clock=clock)
    else:
        path = tmp_path_factory.mktemp("queries") / "books"
        made = bb.Ledger.create(path, opening={"USDT": "100"}, clock=clock, durability="none")
    number = 2
    for day, count in zip(DAYS, (2 * STRIDE - 2, 8, STRIDE), strict=True):
        clock.set(day)
        owed = [deposit("A", f"{number + index} USDT") for index in range(1, count + 1)]
        made.commit_each(owed)
        number += count
    yield made
    made.close()


LAST = 2 * STRIDE + 8 + STRIDE


def test_every_entry_is_found_by_its_sequence(ledger: bb.Ledger) -> None:
    """Any entry is found, at the strides of the index and at the borders of the days too."""
    borders = {3, STRIDE, STRIDE + 1, 2 * STRIDE, 2 * STRIDE + 1, 2 * STRIDE + 8, 2 * STRIDE + 9, LAST}
    for sequence in {near for border in borders for near in (border - 1, border, border + 1)}:
        if sequence == 2 or sequence > LAST:
            with pytest.raises(bb.UnknownSequence):
                ledger.entry(sequence)
        else:
            entry = ledger.entry(sequence)
            assert entry.sequence == sequence
            assert entry.postings[0].amount == bb.Amount(sequence)
    assert ledger.entry(2 * STRIDE).timestamp.day == 25
    assert ledger.entry(2 * STRIDE + 1).timestamp.day == 26
    assert ledger.entry(2 * STRIDE + 9).timestamp.day == 27


@pytest.mark.parametrize("sequence", [0, -1, LAST + 1, 2**70])
def test_a_sequence_that_is_not_there_is_unknown(ledger: bb.Ledger, sequence: int) -> None:
    """Before the first and behind the last line there is no entry."""
    with pytest.raises(bb.UnknownSequence):
        ledger.entry(sequence)


@pytest.mark.parametrize("sequence", [True, "1", 1.0, None])
def test_a_sequence_is_a_whole_number(ledger: bb.Ledger, sequence: Any) -> None:
    """Anything else is an `InvalidType`."""
    with pytest.raises(bb.InvalidType):
        ledger.entry(sequence)
    with pytest.raises(bb.InvalidType):
        ledger.entries(after_sequence=sequence)


@pytest.mark.parametrize(
    "after", [0, 1, 2, STRIDE - 1, STRIDE, 2 * STRIDE, 2 * STRIDE + 8, LAST - 1, LAST, LAST + 5]
)
@pytest.mark.parametrize("limit", [None, 0, 1, 10])
def test_entries_are_listed_after_a_sequence_up_to_a_limit(
    ledger: bb.Ledger, after: int, limit: int | None
) -> None:
    """The listing begins right behind the sequence, leaves records out, and counts entries only."""
    wanted = [sequence for sequence in range(after + 1, LAST + 1) if sequence != 2][:limit]
    found = ledger.entries(after_sequence=after, limit=limit)
    assert [entry.sequence for entry in found] == wanted


@pytest.mark.parametrize(
    ("limit", "error"),
    [(-1, bb.InvalidValue), ("5", bb.InvalidType), (1.5, bb.InvalidType), (True, bb.InvalidType)],
)
def test_a_limit_is_zero_or_more(ledger: bb.Ledger, limit: Any, error: type[bb.InvalidInput]) -> None:
    """A limit that is none is refused."""
    with pytest.raises(error):
        ledger.entries(limit=limit)
    with pytest.raises(bb.UnknownSequence):
        ledger.entries(after_sequence=-1)


def test_an_audit_covers_the_whole_journal(ledger: bb.Ledger) -> None:
    """The report counts lines, entries, records and accounts, and says what it does not show."""
    report = ledger.audit()
    assert (report.lines, report.entries, report.records, report.accounts) == (LAST, LAST - 1, 1, 3)
    assert report.covered == LAST
    assert report.head == ledger.head
    assert report.ledger_id == ledger.ledger_id
    assert isinstance(report.verdict, bb.SelfConsistent)
    assert report.fingerprint == ledger.keyring.fingerprint
    assert report.suspect == ()
    assert f"head {LAST} {ledger.head.hash}" in str(report)


def test_an_audit_says_what_it_did_not_verify(ledger: bb.Ledger) -> None:
    """An unsigned ledger proves no author; a signed one, looked at as a chain, proves none either."""
    report = ledger.audit()
    gap = "signatures: present" if ledger.keyring.keys else "the ledger is unsigned"
    assert any(gap in found for found in report.not_covered)
    assert report.signatures == 0
    verified = ledger.audit(level="signatures")
    assert verified.signatures == (LAST if ledger.keyring.keys else 0)


@pytest.fixture
def small() -> bb.Ledger:
    """A ledger with a handful of accounts."""
    small = bb.Ledger.in_memory({"USDT": "100"})
    small.commit_batch([deposit("ALICE", "10 USDT"), deposit("ALICE", "2 BTC"), deposit("ALICE2", "1 USDT")])
    small.hold("ALICE", "4 USDT", to="SHOP", correlation_id="r2")
    return small


def test_accounts_are_listed_by_prefix_sorted(small: bb.Ledger) -> None:
    """A prefix selects keys by their text; new accounts appear in their place."""
    texts = [str(row.account) for row in small.accounts()]
    assert texts == sorted(texts)
    assert len(texts) == 7
    alice = "LIAB:USER:ALICE"
    assert len(small.accounts(alice)) == 4
    assert [str(row.account) for row in small.accounts(f"{alice}:USDT")] == [
        f"{alice}:USDT:AVAILABLE",
        f"{alice}:USDT:LOCKED",
    ]
    assert len(small.accounts("NOTHING")) == 0
    small.deposit("AARON", "1 USDT", correlation_id="r3")
    assert str(small.accounts("LIAB:")[0].account) == "LIAB:USER:AARON:USDT:AVAILABLE"
    with pytest.raises(bb.InvalidType):
        small.accounts(5)  # type: ignore[arg-type]  # wrong on purpose


def test_a_balance_is_posted_pending_and_available(small: bb.Ledger) -> None:
    """An owner's balance is the free and the locked money together, and each."""
    assert small.balance("ALICE", "USDT") == bb.Balance(
        asset="USDT",
        posted=bb.SignedAmount("10"),
        pending=bb.SignedAmount("4"),
        available=bb.SignedAmount("6"),
    )
    assert small.balance("NOBODY", "EUR").posted == bb.SignedAmount(0)
    assert small.balance(UUID(int=5), "EUR").posted == bb.SignedAmount(0)


def test_a_balance_of_exactly_one_account(small: bb.Ledger) -> None:
    """A key means that account; its asset need not be said, and must not be contradicted."""
    vault = bb.AccountKey("ASSET:SYSTEM:VAULT:USDT:MAIN")
    assert small.balance(vault).available == bb.SignedAmount("111")
    assert small.balance(vault, "USDT") == small.balance(vault)
    with pytest.raises(bb.InvalidValue, match="in USDT, not in 'BTC'"):
        small.balance(vault, "BTC")


def test_a_balance_needs_an_owner_and_an_asset(small: bb.Ledger) -> None:
    """What cannot be asked is refused with advice."""
    with pytest.raises(bb.InvalidValue, match="which asset"):
        small.balance("ALICE")
    with pytest.raises(bb.InvalidAccountKey, match="'ALICE' would pass"):
        small.balance("alice", "USDT")
    with pytest.raises(bb.InvalidMoney):
        small.balance("ALICE", "usdt")
    with pytest.raises(bb.InvalidType):
        small.balance(5, "USDT")  # type: ignore[arg-type]  # wrong on purpose


def test_balances_list_an_owners_assets(small: bb.Ledger) -> None:
    """One row an asset, sorted; another owner with a longer name is not among them."""
    rows = small.balances("ALICE")
    assert [(row.asset, str(row.posted)) for row in rows] == [("BTC", "2"), ("USDT", "10")]
    assert len(small.balances("NOBODY")) == 0
    with pytest.raises(bb.InvalidAccountKey):
        small.balances("alice")


def test_an_audit_notices_what_happened_to_the_files(tmp_path: Path) -> None:
    """Changes made to the journal behind an open ledger are found by its audit, with file and line."""
    clock = StillClock(DAYS[2])
    with bb.Ledger.create(tmp_path / "books", opening={"USDT": "9"}, clock=clock) as ledger:
        ledger.commit(deposit("A", "5 USDT"))
        ledger.commit(transfer("A", "B", "1 USDT"))
        file = tmp_path / "books" / "journal" / NEWEST
        content = day_files(tmp_path / "books")[NEWEST]
        file.write_bytes(content.replace(b'"amount":"5"', b'"amount":"6"'))
        with pytest.raises(bb.JournalCorrupt, match="hash") as caught:
            ledger.audit()
        assert (caught.value.file, caught.value.line) == (NEWEST, 3)
        file.write_bytes(content)
        assert ledger.audit().lines == 4


@pytest.mark.parametrize("keep", [0, 3, 4])
def test_lines_that_are_gone_are_corruption(tmp_path: Path, keep: int) -> None:
    """A journal that was cut behind an open ledger is reported, not an error of Python's."""
    with bb.Ledger.create(tmp_path / "books", clock=StillClock(DAYS[2])) as ledger:
        ledger.commit_each([deposit("A", "5 USDT") for _ in range(600)])
        file = tmp_path / "books" / "journal" / NEWEST
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join(lines[:keep]))
        for ask in (lambda: ledger.entry(600), lambda: ledger.entry(5), ledger.entries, ledger.audit):
            with pytest.raises(bb.JournalCorrupt):
                ask()
        file.write_bytes(b"".join([*lines[:4], b"garbage\n", *lines[5:]]))
        with pytest.raises(bb.JournalCorrupt) as caught:
            ledger.entry(5)
        assert (caught.value.file, caught.value.line, caught.value.sequence) == (NEWEST, 5, 5)
        file.write_bytes(b"".join([*lines[:4], lines[5], *lines[5:]]))
        with pytest.raises(bb.JournalCorrupt, match="sequence 6, expected 5"):
            ledger.entry(5)


def test_an_audit_compares_the_balances_in_memory(small: bb.Ledger) -> None:
    """Balances that do not follow from the journal are found although the journal is in order."""
    account = small._committer.machine.book.find("LIAB:USER:ALICE:USDT:AVAILABLE")
    assert account is not None
    account.balance += 1
    with pytest.raises(bb.JournalCorrupt, match="balances in memory"):
        small.audit()


def test_an_audit_notices_a_batch_that_is_gone(tmp_path: Path) -> None:
    """A last batch that was cut off behind an open ledger is missed, also when it left all balances alone."""
    clock = StillClock(DAYS[2])
    with bb.Ledger.create(tmp_path / "books", clock=clock) as ledger:
        ledger.commit_batch([deposit("A", "5 USDT"), transfer("A", "B", "1 USDT")])
        ledger.commit_batch([transfer("A", "B", "1 USDT"), transfer("B", "A", "1 USDT")])
        file = tmp_path / "books" / "journal" / NEWEST
        file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:4]))
        with pytest.raises(bb.JournalCorrupt, match="ends at line 4, the ledger stands at 6"):
            ledger.audit()
