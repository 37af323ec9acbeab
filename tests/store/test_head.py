"""HEAD: a lower bound in two slots, and the journal held against it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bibank as bb
from bibank.store.jsonl import head
from bibank.store.jsonl.head import EMPTY, SLOT_BYTES, HeadFile, HeadMark, decode_slot, encode_slot, newest
from bibank.store.jsonl.writer import FREE_SPACE_FLOOR, PREALLOCATE_BYTES, JsonlStore
from bibank.stores import plan_journal
from bibank.testing.faults import SimulatedFiles
from tests.faults.workloads import AHEAD, UNSIGNED, Setting, open_ledger
from tests.store.journals import DAYS, NEWEST, StillClock, day_files, deposit, put, tree, write_journal

MARKS = st.builds(
    HeadMark,
    sequence=st.integers(1, 2**63 - 1),
    hash=st.text("0123456789abcdef", min_size=64, max_size=64),
    file=st.dates().map(lambda day: f"{day.isoformat()}.jsonl"),
    end=st.integers(1, 2**63 - 1),
)


@given(MARKS)
def test_a_slot_says_what_was_written_into_it(mark: HeadMark) -> None:
    """A slot has the size of a sector and gives back its mark."""
    slot = encode_slot(mark)
    assert len(slot) == SLOT_BYTES
    assert decode_slot(slot) == mark


@given(MARKS, st.data())
def test_a_slot_that_was_torn_is_none(mark: HeadMark, draws: st.DataObject) -> None:
    """Wherever a write of a slot stopped, and whatever bit changed, it is not taken for whole."""
    old, new = encode_slot(EMPTY), encode_slot(mark)
    cut = draws.draw(st.integers(1, SLOT_BYTES - 1))
    mixed = new[:cut] + old[cut:]
    assert decode_slot(mixed) in ((None, mark, EMPTY) if mixed in (old, new) else (None,))
    bit = draws.draw(st.integers(0, 8 * SLOT_BYTES - 1))
    flipped = bytearray(new)
    flipped[bit // 8] ^= 1 << bit % 8
    assert decode_slot(bytes(flipped)) is None


@pytest.mark.parametrize(
    "values",
    [
        {"sequence": 0, "hash": "ab" * 32, "file": NEWEST, "end": 5},
        {"sequence": -1, "hash": "ab" * 32, "file": NEWEST, "end": 5},
        {"sequence": 1, "hash": "AB" * 32, "file": NEWEST, "end": 5},
        {"sequence": 1, "hash": "ab" * 32, "file": "../" + NEWEST, "end": 5},
        {"sequence": 1, "hash": "ab" * 32, "file": NEWEST + "\n", "end": 5},
        {"sequence": 1, "hash": "ab" * 32, "file": NEWEST, "end": 0},
    ],
)
def test_a_mark_names_a_line(values: dict[str, object]) -> None:
    """A mark that could not be a line's place cannot be made."""
    with pytest.raises(bb.InvalidValue):
        HeadMark(**values)  # type: ignore[arg-type]  # wrong on purpose


def marks(files: SimulatedFiles) -> list[int | None]:
    """The sequences that both slots name."""
    found = head.read_slots(files)
    assert found is not None
    return [None if mark is None else mark.sequence for mark in found]


def test_slots_are_written_in_turn() -> None:
    """The older slot is overwritten, never the one that names the newest line."""
    files = SimulatedFiles()
    file = HeadFile.create(files)
    seen = [marks(files)]
    for sequence in (2, 5, 9):
        file.write(HeadMark(sequence=sequence, hash="ab" * 32, file=NEWEST, end=sequence))
        seen.append(marks(files))
    file.close()
    file.close()
    assert seen == [[0, 0], [0, 2], [5, 2], [5, 9]]
    reopened = HeadFile.open(files)
    reopened.write(HeadMark(sequence=10, hash="ab" * 32, file=NEWEST, end=20))
    assert marks(files) == [10, 9]
    assert newest(head.read_slots(files) or []) == reopened.mark


def test_head_never_goes_back() -> None:
    """A mark below the one that is there is a fault of the caller."""
    file = HeadFile.create(SimulatedFiles())
    file.write(HeadMark(sequence=5, hash="ab" * 32, file=NEWEST, end=5))
    with pytest.raises(AssertionError, match="goes back"):
        file.write(EMPTY)


def test_head_is_made_before_the_first_byte() -> None:
    """HEAD is synced, and its name too, before a day file is even made."""
    files = SimulatedFiles()
    open_ledger(files, UNSIGNED)
    first = files.calls.index("open_append")
    assert files.calls[:first].count("fdatasync") == 1
    assert "fsync_dir" in files.calls[:first]
    assert files.calls[:first].index("fdatasync") < files.calls[:first].index("fsync_dir")


def test_head_is_written_when_it_is_older_than_a_second() -> None:
    """The first commit writes it, and then the first that finds it a second old; closing writes it too."""
    files = SimulatedFiles()
    ledger = open_ledger(files, Setting(head_step_seconds=0.3))
    seen = []
    for _ in range(6):
        ledger.commit(deposit("A", "1 USDT"))
        seen.append(max(mark or 0 for mark in marks(files)))
    assert seen == [2, 2, 2, 6, 6, 6]
    ledger.commit(deposit("A", "1 USDT"))
    ledger.flush_head()
    assert max(mark or 0 for mark in marks(files)) == 9
    calls = len(files.calls)
    ledger.flush_head()  # nothing is new
    assert len(files.calls) == calls
    ledger.commit(deposit("A", "1 USDT"))
    ledger.close()
    assert max(mark or 0 for mark in marks(files)) == 10


def test_without_syncs_head_stays_where_it_is(tmp_path: Path) -> None:
    """HEAD names synced lines only, so it promises nothing of a ledger that does not sync."""
    with bb.Ledger.create(tmp_path, durability="none") as ledger:
        ledger.commit(deposit("A", "1 USDT"))
        ledger.flush_head()
    data = (tmp_path / "journal" / "HEAD").read_bytes()
    assert data == encode_slot(EMPTY) * 2
    with bb.Ledger.open(tmp_path) as ledger:  # opened with syncs, it makes durable what it serves
        assert ledger.head.sequence == 3
        found = (tmp_path / "journal" / "HEAD").read_bytes()
    slots = (decode_slot(found[:512]), decode_slot(found[512:]))
    assert sorted(mark.sequence for mark in slots if mark) == [0, 3]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A closed home of three days and 13 lines."""
    write_journal(tmp_path / "books")
    bb.Ledger.open(tmp_path / "books", clock=StillClock(DAYS[2])).close()
    return tmp_path / "books"


@pytest.mark.parametrize("for_writing", ["open", "audit"])
def test_a_cut_below_head_is_refused(home: Path, for_writing: str) -> None:
    """A journal that lost a line which HEAD names is truncated, wherever it was cut; nothing is repaired."""
    newest_file = home / "journal" / NEWEST
    content = newest_file.read_bytes()
    for cut in (0, 1, len(content) // 2, len(content) - 1):
        newest_file.write_bytes(content[:cut])
        before = tree(home)
        with pytest.raises(bb.JournalTruncated, match="line 13 was on the disk") as caught:
            bb.Ledger.open(home) if for_writing == "open" else bb.audit_home(home)
        assert (caught.value.file, caught.value.sequence) == ("HEAD", 13)
        assert tree(home) == before
    newest_file.unlink()
    with pytest.raises(bb.JournalTruncated, match="not there"):
        bb.Ledger.open(home)
    for file in (home / "journal").glob("*.jsonl"):
        file.unlink()
    for act in (bb.Ledger.open, bb.Ledger.create, bb.Ledger.open_or_create):
        with pytest.raises(bb.JournalTruncated, match="no day file"):
            act(home)


def test_another_line_in_heads_place_is_refused(home: Path) -> None:
    """A journal that was rewritten up to the same length is told by the hash in HEAD."""
    head_file = home / "journal" / "HEAD"
    mark = newest([decode_slot(head_file.read_bytes()[start : start + 512]) for start in (0, 512)])
    assert mark is not None
    forged = HeadMark(sequence=mark.sequence, hash="0" * 64, file=mark.file, end=mark.end)
    head_file.write_bytes(encode_slot(forged) * 2)
    with pytest.raises(bb.JournalCorrupt, match="another hash") as caught:
        bb.Ledger.open(home)
    assert (caught.value.file, caught.value.line) == (NEWEST, 9)
    inside = HeadMark(sequence=mark.sequence, hash=mark.hash, file=mark.file, end=mark.end - 7)
    head_file.write_bytes(encode_slot(inside) * 2)
    with pytest.raises(bb.JournalCorrupt, match="does not end there"):
        bb.Ledger.open(home)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "HEAD is missing"),
        (b"", "neither slot"),
        (bytes(1024), "neither slot"),
        (b"x" * 1024, "neither slot"),
    ],
)
def test_a_journal_without_head_is_refused(home: Path, content: bytes | None, reason: str) -> None:
    """HEAD is there before the first line, so a journal without one had it taken away."""
    (home / "journal" / "HEAD").unlink()
    if content is not None:
        (home / "journal" / "HEAD").write_bytes(content)
    for act in (bb.Ledger.open, bb.audit_home, bb.Ledger.create):
        with pytest.raises(bb.JournalCorrupt, match=reason):
            act(home)


def test_one_torn_slot_is_legal(home: Path) -> None:
    """A crash tears one slot; the other still bounds the journal from below."""
    data = (home / "journal" / "HEAD").read_bytes()
    for torn in (bytes(512) + data[512:], data[:512] + b"{" * 512, data[:700]):
        (home / "journal" / "HEAD").write_bytes(torn)
        with bb.Ledger.open(home, clock=StillClock(DAYS[2])) as ledger:
            assert ledger.head.sequence == 13


def test_a_head_that_is_no_file_is_refused(home: Path) -> None:
    """A link or a directory in HEAD's place is neither read nor followed."""
    file = home / "journal" / "HEAD"
    elsewhere = file.rename(home / "elsewhere")
    file.symlink_to(elsewhere)
    with pytest.raises(bb.JournalCorrupt, match="regular"):
        bb.Ledger.open(home)


def test_what_stands_behind_head_is_written_again_before_it_is_served(home: Path) -> None:
    """Opening syncs every byte past HEAD, in every file past it, and lets HEAD name the last line."""
    put(home, day_files(home))  # HEAD promises nothing
    files = SimulatedFiles(
        {file.name: file.read_bytes() for file in (home / "journal").iterdir() if file.name != ".lock"}
    )
    plan_journal(files).repair()
    assert files.calls.count("fdatasync") == 1 + len(DAYS) + 1  # HEAD itself, each file, HEAD again
    assert max(mark or 0 for mark in marks(files)) == 13


def store_of(files: SimulatedFiles) -> JsonlStore:
    """A store on simulated files."""
    return plan_journal(files).repair()


def test_a_day_file_is_filled_ahead_and_trimmed() -> None:
    """Small groups find room in a file that is written; closed, or a day later, it ends in its last line."""
    files, clock = SimulatedFiles(), StillClock()
    ledger = open_ledger(files, AHEAD, clock=clock)
    ledger.commit(deposit("A", "1 USDT"))
    first, second = (f"{day}.jsonl" for day in DAYS[:2])
    sizes = {len(files.disk()[first])}
    for _ in range(3):
        ledger.commit(deposit("A", "1 USDT"))
        sizes.add(len(files.disk()[first]))
    assert len(sizes) == 1
    assert files.disk()[first].endswith(bytes(512))
    clock.set(DAYS[1])
    ledger.commit(deposit("A", "1 USDT"))
    assert files.durable()[first].endswith(b"}\n")
    assert files.disk()[second].endswith(bytes(512))
    ledger.close()
    assert files.durable()[second].endswith(b"}\n")


def test_a_large_group_is_not_filled_behind() -> None:
    """Behind a group that is large itself nothing is filled: it would only be written twice."""
    files = SimulatedFiles()
    ledger = open_ledger(files, AHEAD)
    ledger.commit_each([deposit("A", "1 USDT")] * 20)
    assert files.disk()[f"{DAYS[0]}.jsonl"].endswith(b"}\n")


@pytest.mark.parametrize("size", [-1, 2**40, True, 1.5, "1"])
def test_what_is_no_preallocation_is_refused(size: object) -> None:
    """A size to fill ahead is a sensible number of bytes."""
    files = SimulatedFiles()
    with pytest.raises(bb.ConfigurationError, match="preallocate_bytes"):
        plan_journal(files).repair(preallocate_bytes=size)  # type: ignore[arg-type]  # wrong on purpose
    assert not files.open_handles


def test_commits_stop_before_the_disk_is_full() -> None:
    """Below the floor nothing is written, and the error says how much would do; room made, it goes on."""
    used = SimulatedFiles()
    store_of(used).close()
    room = PREALLOCATE_BYTES + 4096
    files = SimulatedFiles(used.durable(), capacity_bytes=FREE_SPACE_FLOOR + room)
    ledger = bb.Ledger(store=store_of(files), opening={"USDT": "1"}, clock=StillClock())
    error = None
    while error is None:
        try:
            ledger.commit_each([deposit("A", "1 USDT")] * 500)
        except bb.StoreFull as full:
            error = full
    assert str(FREE_SPACE_FLOOR) in str(error)
    lines = ledger.head.sequence
    assert ledger.audit().lines == lines
    ledger.close()
    roomy = SimulatedFiles(files.durable())
    with bb.Ledger(store=store_of(roomy), clock=StillClock()) as ledger:
        assert ledger.commit(deposit("A", "1 USDT")).sequence == lines + 1


def test_recovery_works_on_a_full_disk(caplog: pytest.LogCaptureFixture) -> None:
    """Torn bytes that cannot be copied are described, cut off and recorded; the ledger opens."""
    files = SimulatedFiles()
    ledger = open_ledger(files, UNSIGNED)
    ledger.commit(deposit("A", "1 USDT"))
    torn = {**files.durable(), f"{DAYS[0]}.jsonl": files.durable()[f"{DAYS[0]}.jsonl"] + b"{torn" * 99}
    full = SimulatedFiles(torn, capacity_bytes=sum(map(len, torn.values())))
    ledger = open_ledger(full, UNSIGNED)
    assert ledger.head.sequence == 3
    assert "no space for a copy" in caplog.text
    (described,) = ledger._committer.store.set_aside  # type: ignore[attr-defined]  # of a JsonlStore
    assert described.size == 5 * 99


def test_what_a_full_disk_left_of_a_copy_says_nothing() -> None:
    """An empty file of torn bytes owes no record, and the next torn bytes go into it."""
    files = SimulatedFiles()
    ledger = open_ledger(files, UNSIGNED)
    ledger.commit(deposit("A", "1 USDT"))
    ledger.close()
    whole, day = files.durable(), f"{DAYS[0]}.jsonl"
    torn = {**whole, day: whole[day] + b"{torn"}
    full = SimulatedFiles(torn, capacity_bytes=sum(map(len, torn.values())))
    store_of(full).close()
    assert full.disk() == {**whole, f"{day}.torn-4": b""}
    store = store_of(SimulatedFiles(full.disk()))
    assert store.set_aside == ()
    store.close()
    again = SimulatedFiles({**full.disk(), day: torn[day]})
    store = store_of(again)
    assert [found.file for found in store.set_aside] == [f"{day}.torn-4"]
    store.close()
    assert again.durable() == {**whole, f"{day}.torn-4": b"{torn"}
