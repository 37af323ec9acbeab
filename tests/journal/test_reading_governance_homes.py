"""Homes in which an attacker sealed lines: opening, auditing, following and refreshing all say the same."""

from __future__ import annotations

from pathlib import Path

import pytest

import bibank as bb
from bibank.errors import JournalCorrupt
from tests.journal.governed import CLEO, OPEN, journal
from tests.journal.test_reading_governance import ENTRIES
from tests.journal.test_reading_governance_records import RECORDS
from tests.signing.forge import OWN
from tests.store.journals import DAYS, StillClock, put, tree

NEWEST = f"{DAYS[0]}.jsonl"
LINES = journal()[1]
ATTACKS = {
    **ENTRIES,
    **{
        name: RECORDS[name]
        for name in (
            "approved by the proposer's other key",
            "approved twice by a person",
            "approved and altered",
            "an approval played again when all is done",
            "carried out when the proposal is over",
            "a freeze played again",
            "a reopening played again",
            "frozen by nobody",
            "an override played again",
            "attested twice",
            "an approval under another's name",
            "a freeze with a cause",
            "the key on the second record",
        )
    },
}


def file_of(lines: tuple[bytes, ...] | list[bytes]) -> bytes:
    """Write lines the way a day file holds them."""
    return b"".join(data + b"\n" for data in lines)


def shown(reader: bb.LedgerReader) -> tuple[object, ...]:
    """Everything that a reader tells of what operators decided, and its place."""
    return (
        reader.head,
        list(reader.accounts()),
        list(reader.pending()),
        list(reader.account_terms()),
        list(reader.attestations()),
        list(reader.records()),
    )


def opened(home: Path) -> bb.Ledger:
    """Open the home for writing."""
    return bb.Ledger.open(home, signer=OWN.signer, clock=StillClock(), durability="none")


@pytest.mark.parametrize("name", ATTACKS)
def test_nobody_takes_a_forged_line(tmp_path: Path, name: str) -> None:
    """A writer, an audit and new readers refuse it with file, line and reason, and change nothing."""
    attack = ATTACKS[name]
    home = put(tmp_path / "books", {NEWEST: file_of([*LINES[: attack.after], *attack.lines()])})
    before, said = tree(home), set()
    for look in (
        lambda: opened(home),
        lambda: bb.audit_home(home),
        lambda: bb.audit_home(home, level="signatures", workers=2),
        lambda: bb.LedgerReader.open(home, show="written"),
    ):
        with pytest.raises(JournalCorrupt) as caught:
            look()
        error = caught.value
        assert attack.reason in str(error)
        assert (error.file, error.line, error.sequence) == (
            NEWEST,
            error.sequence,
            attack.after + 1 + attack.at,
        )
        said.add(str(error))
        assert tree(home) == before
    assert len(said) == 1


@pytest.mark.parametrize("name", ATTACKS)
def test_a_reader_stays_where_it_was(tmp_path: Path, name: str) -> None:
    """Moved on to a forged line it raises and shows what it showed; with the good lines it goes on."""
    attack = ATTACKS[name]
    home = put(tmp_path / "books", {NEWEST: file_of(LINES[: attack.after])})
    with bb.LedgerReader.open(home, show="written") as reader:
        before = shown(reader)
        (home / "journal" / NEWEST).write_bytes(file_of([*LINES[: attack.after], *attack.lines()]))
        for _ in range(2):
            with pytest.raises(JournalCorrupt) as caught:
                reader.refresh()
            assert attack.reason in str(caught.value)
            assert caught.value.sequence == attack.after + 1 + attack.at
            assert shown(reader) == before
        (home / "journal" / NEWEST).write_bytes(file_of(LINES))
        assert reader.refresh() == len(LINES) - attack.after
        with opened(home) as ledger:
            assert [row.sequence for row in ledger.pending()] == [OPEN]
            assert [row.sequence for row in reader.pending()] == [OPEN]
            assert reader.head == ledger.head


def test_a_reader_takes_what_follows_line_by_line(tmp_path: Path) -> None:
    """However the lines come, one refresh or many, it shows what a writer shows."""
    home = put(tmp_path / "books", {NEWEST: file_of(LINES[:2])})
    with bb.LedgerReader.open(home, show="written") as reader:
        for count in range(3, len(LINES) + 1):
            (home / "journal" / NEWEST).write_bytes(file_of(LINES[:count]))
            reader.refresh()
        assert reader.head.sequence == len(LINES)
        with opened(home) as ledger:
            assert list(reader.account_terms()) == list(ledger.account_terms())
            assert list(reader.pending()) == list(ledger.pending())
            assert list(reader.attestations()) == list(ledger.attestations())
            assert list(reader.records()) == list(ledger.records())


def test_a_writer_goes_on_behind_the_good_lines(tmp_path: Path) -> None:
    """The journal made by hand is one: it opens, its audit passes, and the open proposal is carried out."""
    home = put(tmp_path / "books", {NEWEST: file_of(LINES)})
    with opened(home) as ledger:
        done = ledger.governance.approve(OPEN, CLEO.signer, correlation_id="a")
        assert done.entry is not None
    report = bb.audit_home(home, level="signatures")
    assert (report.lines, report.head.sequence) == (len(LINES) + 2, len(LINES) + 2)
