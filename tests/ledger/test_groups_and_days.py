"""Write groups and day files: what is written together, with which marks, and in which file."""

from __future__ import annotations

from itertools import groupby, islice
from pathlib import Path

import pytest

import bibank as bb
from bibank import drafts
from bibank.stores import LineGroup
from tests.store.journals import DAYS, StillClock, day_files, deposit, transfer


class CountingStore(bb.MemoryStore):
    """A store in memory that remembers the size and date of each group."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[tuple[str, int]] = []

    def append(self, group: LineGroup) -> None:
        """Take the group and remember it."""
        super().append(group)
        self.groups.append((group.date.isoformat(), len(group.lines)))


def marks(ledger: bb.Ledger, *, after: int = 2) -> list[tuple[int, int, int, int]]:
    """(sequence, first, size, group) of each entry."""
    return [
        (entry.sequence, entry.batch.first, entry.batch.size, entry.batch.group)
        for entry in ledger.entries(after_sequence=after)
    ]


def check_marks(ledger: bb.Ledger) -> None:
    """Demand what the format says of every mark."""
    last_group = 0
    for sequence, first, size, group in marks(ledger, after=0):
        assert group <= first <= sequence < first + size
        assert group >= last_group
        last_group = group


def test_each_commit_is_a_group_of_its_own() -> None:
    """One commit, one group: a lone entry, or the lines of a batch."""
    store = CountingStore()
    ledger = bb.Ledger(store=store)
    ledger.commit(deposit("A", "1 USDT"))
    ledger.commit_batch([deposit("A", "1 USDT"), deposit("A", "1 USDT")])
    assert [size for _, size in store.groups] == [2, 1, 2]
    assert marks(ledger) == [(3, 3, 1, 3), (4, 4, 2, 4), (5, 4, 2, 4)]


def test_commit_each_is_one_group() -> None:
    """Independent items share one write; refused ones leave no gap."""
    store = CountingStore()
    ledger = bb.Ledger(store=store)
    ledger.commit_each(
        [
            deposit("A", "1 USDT"),
            transfer("A", "B", "5 USDT"),
            [deposit("A", "1 USDT"), transfer("A", "B", "1 USDT")],
            deposit("C", "1 USDT"),
        ]
    )
    assert [size for _, size in store.groups] == [2, 4]
    assert marks(ledger) == [(3, 3, 1, 3), (4, 4, 2, 3), (5, 4, 2, 3), (6, 6, 1, 3)]


def test_a_full_group_is_followed_by_another_full_one() -> None:
    """Over 8,192 lines make as few groups as they fit into, none larger, and the marks say so."""
    store = CountingStore()
    ledger = bb.Ledger(store=store)
    ledger.commit_each([deposit("A", "1 USDT")] * 17_000)
    ledger.commit(deposit("A", "1 USDT"))
    assert [size for _, size in store.groups] == [2, 8192, 8192, 616, 1]
    found = [(group, len(list(lines))) for group, lines in groupby(marks(ledger), key=lambda mark: mark[3])]
    assert found == [(3, 8192), (8195, 8192), (16387, 616), (17003, 1)]
    check_marks(ledger)
    assert bb.Ledger(store=store).head == ledger.head


def test_a_batch_never_straddles_two_groups() -> None:
    """A batch that does not fit into the open group begins the next one."""
    store = CountingStore()
    ledger = bb.Ledger(store=store)
    ledger.commit_each([[deposit("A", "1 USDT")] * 3000] * 4)
    assert [size for _, size in store.groups] == [2, 6000, 6000]
    check_marks(ledger)


def test_a_group_of_8_megabytes_is_full() -> None:
    """A group is closed at the size that bounds one write."""
    store = CountingStore()
    ledger = bb.Ledger(store=store)
    note = {f"k{number}": "x" * 1000 for number in range(16)}
    large = drafts.deposit("A", "1 USDT", correlation_id="r", metadata=note)
    ledger.commit_each([large] * 600)
    (_, first), (_, second) = store.groups[1:]
    assert first + second == 600
    sizes = [len(line) for line in islice(store.read(after_sequence=2), first)]
    assert sum(sizes[:-1]) < 8 * 2**20 <= sum(sizes)
    assert bb.Ledger(store=store).audit().lines == 602


def test_a_new_date_makes_a_new_file(tmp_path: Path) -> None:
    """The file of a group is the UTC date of its lines; a quiet day has no file."""
    clock = StillClock()
    with bb.Ledger.create(tmp_path / "books", clock=clock) as ledger:
        for day in (DAYS[0], DAYS[1], DAYS[1], "2026-02-01"):
            clock.set(day)
            ledger.commit_each([deposit("A", "1 USDT"), deposit("B", "1 USDT")])
        assert ledger.entry(10).timestamp.date().isoformat() == "2026-02-01"
        check_marks(ledger)
    files = day_files(tmp_path / "books")
    assert {name: content.count(b"\n") for name, content in files.items()} == {
        f"{DAYS[0]}.jsonl": 4,
        f"{DAYS[1]}.jsonl": 4,
        "2026-02-01.jsonl": 2,
    }
    with bb.Ledger.open(tmp_path / "books", clock=clock) as ledger:
        assert ledger.audit().lines == 10


def test_a_clock_that_goes_back_over_midnight_stays_in_the_newest_file(tmp_path: Path) -> None:
    """Dates never decrease: a clock of yesterday writes into today's file, also after a restart."""
    clock = StillClock(DAYS[1])
    with bb.Ledger.create(tmp_path / "books", clock=clock) as ledger:
        clock.set(DAYS[0])
        ledger.commit(deposit("A", "1 USDT"))
    with bb.Ledger.open(tmp_path / "books", clock=clock) as ledger:
        assert ledger.commit(deposit("A", "1 USDT")).timestamp.date().isoformat() == DAYS[1]
    assert list(day_files(tmp_path / "books")) == [f"{DAYS[1]}.jsonl"]


@pytest.mark.parametrize("restart", [False, True])
def test_groups_begin_anew_after_a_restart(restart: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The first group after opening begins right behind the last line, as it does without a restart."""
    store = bb.MemoryStore()
    ledger = bb.Ledger(store=store)
    ledger.commit_each([deposit("A", "1 USDT")] * 3)
    if restart:
        ledger = bb.Ledger(store=store)
    ledger.commit_each([deposit("A", "1 USDT")] * 2)
    assert marks(ledger)[-2:] == [(6, 6, 1, 6), (7, 7, 1, 6)]
