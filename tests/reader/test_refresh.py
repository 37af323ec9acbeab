"""Moving on beside a writer: what a reader waits for, what it refuses, and where it then stands."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

import bibank as bb
from bibank.errors import JournalTruncated
from bibank.journal.reference import encode_line, line_hash
from bibank.model.entry import BatchMark
from bibank.replica import Replica
from bibank.signing import Role
from bibank.store.jsonl.files import OsFiles
from bibank.store.jsonl.follow import look_again
from bibank.store.jsonl.head import EMPTY, HEAD_NAME, SLOT_BYTES, encode_slot
from tests.reader.beside import answers, lines_of, mark_of, put_mark
from tests.store.journals import (
    DAYS,
    NEWEST,
    SIGNER,
    StillClock,
    day_files,
    deposit,
    put,
    transfer,
    write_journal,
)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The day files of the journal of three days."""
    path = tmp_path_factory.mktemp("journal") / "books"
    write_journal(path)
    return day_files(path)


@pytest.fixture
def books(tmp_path: Path, journal: dict[str, bytes]) -> Path:
    """The first two days, and HEAD at their end, line 4."""
    path = put(tmp_path / "books", {f"{day}.jsonl": journal[f"{day}.jsonl"] for day in DAYS[:2]})
    put_mark(path, lines_of(journal)[3].mark)
    return path


def held(reader: bb.LedgerReader, owner: str = "A") -> str:
    """What an owner has available, in USDT."""
    return str(reader.balance(owner, "USDT").available)


def put_newest(path: Path, content: bytes) -> None:
    """Let the newest file hold this."""
    (path / "journal" / NEWEST).write_bytes(content)


@pytest.mark.parametrize(
    "tail",
    [
        lambda line: line[:-1],
        lambda line: line[:40],
        lambda line: bytes(1 << 18),
        lambda line: bytes(512) + line[512:],
        lambda line: line[:200] + bytes(100) + line[300:],
        lambda line: line[:-1] + bytes(4096),
        lambda line: b"",
    ],
)
def test_a_write_under_way_is_where_it_stops_for_now(
    books: Path, journal: dict[str, bytes], tail: Callable[[bytes], bytes]
) -> None:
    """Half a line, unwritten space and holes are no error, and are read once they are lines."""
    reader = bb.LedgerReader.open(books)
    lines = journal[NEWEST].splitlines(keepends=True)
    put_newest(books, tail(lines[0]))
    assert (reader.refresh(), reader.refresh(), reader.head.sequence) == (0, 0, 4)
    put_newest(books, lines[0] + tail(lines[1]))
    assert (reader.refresh(), reader.head.sequence) == (0, 4)
    put_newest(books, journal[NEWEST])
    assert (reader.refresh(), reader.head.sequence) == (8, 12)
    put_mark(books, lines_of(journal)[-1].mark)
    assert (reader.refresh(), reader.head.sequence) == (1, 13)


def test_preallocated_space_is_read_past(tmp_path: Path) -> None:
    """The writer's NULs stand behind every line while the file is open, and are not looked at twice."""
    path = tmp_path / "books"
    with bb.Ledger.create(path) as ledger, bb.LedgerReader.open(path) as reader:
        for number in range(1, 6):
            ledger.commit(deposit("A", "1 USDT"))
            (content,) = day_files(path).values()
            assert content.endswith(bytes(1000))
            ledger.flush_head()
            assert (reader.refresh(), reader.refresh()) == (1, 0)
            assert held(reader) == str(number)


def test_a_batch_waits_for_its_last_line(books: Path, journal: dict[str, bytes]) -> None:
    """No line of an unfinished batch is shown, though each is whole."""
    lines = journal[NEWEST].splitlines(keepends=True)
    reader = bb.LedgerReader.open(books, show="written")
    shown = []
    for count in range(len(lines) + 1):
        put_newest(books, b"".join(lines[:count]))
        reader.refresh()
        shown.append(reader.head.sequence)
    assert shown == [4, 5, 5, 5, 8, 9, 9, 11, 12, 13]


def test_a_new_day_begins(books: Path, journal: dict[str, bytes]) -> None:
    """The next file is read once the present one ends, and an empty one is not taken for the next."""
    lines = journal[NEWEST].splitlines(keepends=True)
    reader = bb.LedgerReader.open(books, show="written")
    put_newest(books, b"")
    (books / "journal" / "2026-01-28.jsonl").write_bytes(bytes(512))
    assert reader.refresh() == 0
    put_newest(books, lines[0] + bytes(512))
    assert (reader.refresh(), reader.head.sequence) == (1, 5)
    put_newest(books, lines[0] + lines[1][:100])
    assert (reader.refresh(), reader.head.sequence) == (0, 5)


@pytest.mark.parametrize("end", [b'{"sequence":5', bytes(100) + b"x\n"])
def test_damage_at_the_end_of_an_older_file(books: Path, journal: dict[str, bytes], end: bytes) -> None:
    """An older file is complete, so what is no line there is `JournalCorrupt`."""
    reader = bb.LedgerReader.open(books)
    with (books / "journal" / f"{DAYS[1]}.jsonl").open("ab") as file:
        file.write(end)
    assert reader.refresh() == 0
    put_newest(books, journal[NEWEST])
    with pytest.raises(bb.JournalCorrupt, match="not the newest file") as caught:
        reader.refresh()
    assert (caught.value.file, caught.value.line, reader.head.sequence) == (f"{DAYS[1]}.jsonl", 2, 4)


@pytest.mark.parametrize("number", range(9))
def test_a_line_that_is_not_valid(books: Path, journal: dict[str, bytes], number: int) -> None:
    """It is `JournalCorrupt` with file and line, and the reader stays where it was, until it is right."""
    lines = journal[NEWEST].splitlines(keepends=True)
    lines[number] = lines[number].replace(b'"correlation_id":"r', b'"correlation_id":"s')
    reader = bb.LedgerReader.open(books)
    before = answers(reader)
    put_newest(books, b"".join(lines))
    for _ in range(2):
        with pytest.raises(bb.JournalCorrupt) as caught:
            reader.refresh()
        assert (caught.value.file, caught.value.line) == (NEWEST, number + 1)
        assert caught.value.sequence == number + 5
        assert answers(reader) == before
    put_newest(books, journal[NEWEST])
    assert reader.refresh() == 8


@pytest.mark.parametrize("number", range(9))
def test_a_signature_that_is_not_over_its_line(books: Path, journal: dict[str, bytes], number: int) -> None:
    """It is found at once, named by its own line, and nothing of the refresh is shown."""
    lines = journal[NEWEST].splitlines(keepends=True)
    head, _, tail = lines[number].partition(b'"signature":"')
    lines[number] = head + b'"signature":"' + (b"0" if tail[:1] != b"0" else b"1") + tail[1:]
    reader = bb.LedgerReader.open(books)
    before = answers(reader)
    put_newest(books, b"".join(lines))
    with pytest.raises(bb.JournalCorrupt, match="signature") as caught:
        reader.refresh()
    assert (caught.value.file, caught.value.line, caught.value.sequence) == (NEWEST, number + 1, number + 5)
    assert answers(reader) == before
    chain = bb.LedgerReader.open(books, verify="chain")
    assert chain.head.sequence == 12


def test_a_line_of_another_date(books: Path, journal: dict[str, bytes]) -> None:
    """The lines of a file are of the date that it is named for."""
    reader = bb.LedgerReader.open(books)
    (books / "journal" / "2026-01-28.jsonl").write_bytes(journal[NEWEST])
    with pytest.raises(bb.JournalCorrupt, match="date"):
        reader.refresh()


def test_a_line_missing_between(books: Path, journal: dict[str, bytes]) -> None:
    """A line that does not follow is `JournalCorrupt`."""
    reader = bb.LedgerReader.open(books)
    put_newest(books, b"".join(journal[NEWEST].splitlines(keepends=True)[1:]))
    with pytest.raises(bb.JournalCorrupt, match="sequence 6, expected 5"):
        reader.refresh()


def test_a_hole_below_head(books: Path, journal: dict[str, bytes]) -> None:
    """What HEAD covers is there: a hole is damage, a missing end is a loss."""
    reader = bb.LedgerReader.open(books)
    lines = lines_of(journal)
    put_mark(books, lines[-1].mark)
    content = journal[NEWEST]
    put_newest(books, content[:600] + bytes(100) + content[700:])
    with pytest.raises(bb.JournalCorrupt, match="unwritten bytes"):
        reader.refresh()
    for lost in (content[:-1], content[: lines[7].end], content[:-1] + b"\0", b""):
        put_newest(books, lost)
        with pytest.raises(JournalTruncated):
            reader.refresh()
        assert reader.head.sequence == 4
    put_newest(books, content)
    assert reader.refresh() == 9


@pytest.mark.parametrize("wrong", ["hash", "end", "batch"])
def test_a_head_that_is_not_of_this_journal(books: Path, journal: dict[str, bytes], wrong: str) -> None:
    """The line that HEAD names stands where HEAD says, and ends a batch."""
    reader = bb.LedgerReader.open(books)
    put_newest(books, journal[NEWEST])
    last = lines_of(journal)[11 if wrong != "batch" else 9]
    line = {"hash": last._replace(hash="0" * 64), "end": last._replace(end=last.end - 1), "batch": last}[
        wrong
    ]
    put_mark(books, line.mark)
    with pytest.raises(bb.JournalCorrupt, match="HEAD names line"):
        reader.refresh()
    assert reader.head.sequence == 4


def test_slots_of_head_torn_by_a_write_under_way(books: Path, journal: dict[str, bytes]) -> None:
    """One whole slot is enough; without any, what HEAD named before still counts."""
    reader = bb.LedgerReader.open(books)
    put_newest(books, journal[NEWEST])
    head = books / "journal" / HEAD_NAME
    lines = lines_of(journal)
    new = encode_slot(lines[-1].mark)
    for torn in (bytes(SLOT_BYTES * 2), b"", new[:100] + bytes(SLOT_BYTES * 2 - 100)):
        head.write_bytes(torn)
        reader.refresh()
        assert reader.head.sequence == 12
    head.write_bytes(new[:100] + encode_slot(lines[8].mark)[100:] + encode_slot(lines[4].mark))
    assert (reader.refresh(), reader.head.sequence) == (0, 12)
    head.write_bytes(encode_slot(EMPTY) + new)
    assert (reader.refresh(), reader.head.sequence) == (1, 13)
    head.write_bytes(encode_slot(EMPTY) * 2)
    assert (reader.refresh(), reader.head.sequence) == (0, 13)


def test_head_read_beside_a_write_is_read_again(
    books: Path, journal: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both slots are unreadable to one read only when it fell between two writes."""
    reader = bb.LedgerReader.open(books)
    put_newest(books, journal[NEWEST])
    put_mark(books, lines_of(journal)[-1].mark)
    real, torn = OsFiles.read, [bytes(2 * SLOT_BYTES)]

    def read(files: OsFiles, name: str, *, offset: int, size: int) -> bytes:
        found = real(files, name, offset=offset, size=size)
        return torn.pop() if name == HEAD_NAME and torn else found

    monkeypatch.setattr(OsFiles, "read", read)
    assert reader.refresh() == 9


def test_damage_is_believed_when_it_is_found_twice(
    books: Path, journal: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that met a write half done is repeated, at a refresh and at the opening."""
    reader = bb.LedgerReader.open(books)
    put_newest(books, journal[NEWEST])
    real, good = OsFiles.read, journal[NEWEST]
    failing: list[bytes] = []

    def read(files: OsFiles, name: str, *, offset: int, size: int) -> bytes:
        found = real(files, name, offset=offset, size=size)
        return failing.pop() if name == NEWEST and size == len(good) and failing else found

    monkeypatch.setattr(OsFiles, "read", read)
    wrong = [good[:at] + b"?" + good[at + 1 :] for at in (100, 1000, 2000, 3000)]
    failing += wrong
    assert reader.refresh() == 8
    assert not failing
    put_mark(books, EMPTY)
    failing += wrong
    assert bb.LedgerReader.open(books).head.sequence == 12
    assert not failing


def test_head_torn_between_survey_and_replay(books: Path, journal: dict[str, bytes]) -> None:
    """What the survey read of HEAD counts, when it cannot be read again."""
    put_newest(books, journal[NEWEST])
    (books / "journal" / HEAD_NAME).write_bytes(bytes(2 * SLOT_BYTES))
    mark = lines_of(journal)[-1].mark
    replica = Replica(OsFiles(books / "journal"), mark, verify="tail", show="durable")
    assert replica.durable.sequence == 13


def test_looks_have_an_end() -> None:
    """What looks different at each look is raised after a while, what looks the same at the second."""
    looks: list[int] = []

    def different() -> None:
        looks.append(len(looks))
        raise bb.JournalCorrupt(f"look {len(looks)}", sequence=1)

    with pytest.raises(bb.JournalCorrupt, match="look 8"):
        look_again(different)

    def same() -> None:
        looks.append(0)
        raise bb.JournalCorrupt("the same", sequence=1)

    looks.clear()
    with pytest.raises(bb.JournalCorrupt):
        look_again(same)
    assert len(looks) == 2


def test_a_mark_that_the_journal_does_not_reach(books: Path) -> None:
    """A HEAD that changes between the survey and the replay is held to the lines all the same."""
    wrong = attrs.evolve(mark_of(books), hash="0" * 64)
    put_mark(books, wrong)
    with pytest.raises(bb.JournalCorrupt, match="HEAD names line 4"):
        Replica(OsFiles(books / "journal"), EMPTY, verify="tail", show="durable")


def test_nothing_new_is_seen_without_reading_lines(
    books: Path, journal: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh of a journal that stands still looks at its end only, whatever waits there unshown."""
    put_newest(books, journal[NEWEST] + bytes(512))
    reader = bb.LedgerReader.open(books)
    put_mark(books, lines_of(journal)[8].mark)
    assert reader.refresh() == 0
    monkeypatch.delattr("bibank.replica.Walk")
    assert (reader.refresh(), reader.head.sequence) == (0, 12)


def test_a_line_that_would_leave_the_range(tmp_path: Path) -> None:
    """It is judged against the balances that are shown, and refused before any of them changes."""
    path = tmp_path / "books"
    with bb.Ledger.create(path, keyring=bb.Keyring.unsigned(), clock=StillClock()) as ledger:
        entry = ledger.commit(deposit("A", "1701411834604692317316873037158 USDT"))
    forged = attrs.evolve(entry, sequence=4, prev_hash=entry.hash, batch=BatchMark(first=4, size=1, group=4))
    forged = attrs.evolve(forged, hash=line_hash(forged, ledger_id=ledger.ledger_id))
    reader = bb.LedgerReader.open(path, show="written")
    ((name, content),) = day_files(path).items()
    (path / "journal" / name).write_bytes(content + encode_line(forged) + b"\n")
    for _ in range(2):
        with pytest.raises(bb.JournalCorrupt, match="128-bit range") as caught:
            reader.refresh()
        assert (caught.value.sequence, reader.head.sequence) == (4, 3)
        assert reader.balance("A", "USDT").available == entry.postings[0].amount.signed()


def test_a_group_under_cover_waits_for_its_signature(tmp_path: Path) -> None:
    """Until the signature that covers it is there, nothing of a group is shown, even as written."""
    path = tmp_path / "books"
    with bb.Ledger.create(path, signing="group", clock=StillClock()) as ledger:
        ledger.commit_each([deposit("A", f"{number} USDT") for number in range(1, 5)])
    lines = lines_of(day_files(path))
    ((name, content),) = day_files(path).items()
    put_mark(path, lines[1].mark)
    (path / "journal" / name).write_bytes(content[: lines[1].end])
    reader = bb.LedgerReader.open(path, show="written")
    for line in lines[2:-1]:
        (path / "journal" / name).write_bytes(content[: line.end])
        assert (reader.refresh(), held(reader)) == (0, "0")
    head, _, tail = content.rpartition(b'"signature":"')
    forged = head + b'"signature":"' + (b"0" if tail[:1] != b"0" else b"1") + tail[1:]
    (path / "journal" / name).write_bytes(forged)
    with pytest.raises(bb.JournalCorrupt, match="not over this line"):
        reader.refresh()
    assert (reader.head.sequence, held(reader)) == (2, "0")
    (path / "journal" / name).write_bytes(content)
    assert (reader.refresh(), held(reader)) == (4, "10")


def test_a_new_key_signs_from_its_change_on(tmp_path: Path) -> None:
    """A rotation is followed: later lines are by the new key, which no earlier keyring knew."""
    path = tmp_path / "books"
    with bb.Ledger.create(path) as ledger, bb.LedgerReader.open(path) as reader:
        first = ledger.keyring.keys[0]
        ledger.keyring.rotate(correlation_id="k1")
        ledger.commit(deposit("A", "1 USDT"))
        ledger.keyring.add(SIGNER, roles=(Role.OPERATOR,), correlation_id="k2")
        ledger.commit(deposit("A", "1 USDT"))
        ledger.flush_head()
        assert reader.refresh() == 4
        assert answers(reader) == answers(ledger)
        signatures = reader.entry(reader.head.sequence).signatures
        assert signatures[0].public_key != first.public_key


def test_another_ledger_in_the_directory(tmp_path: Path, books: Path) -> None:
    """A journal that took the place of the one that is followed is refused, longer or shorter."""
    reader = bb.LedgerReader.open(books)
    before = answers(reader)
    (books / "journal").rename(tmp_path / "old")
    for count in (0, 1, 9):
        with bb.Ledger.create(tmp_path / "other", clock=StillClock(DAYS[1])) as other:
            other.commit_each([deposit("A", "7 USDT")] * count)
        shutil.copytree(tmp_path / "other" / "journal", books / "journal")
        for _ in range(2):
            with pytest.raises(bb.JournalCorrupt):
                reader.refresh()
        assert reader.head.sequence == 4
        shutil.rmtree(books / "journal")
        shutil.rmtree(tmp_path / "other")
    (tmp_path / "old").rename(books / "journal")
    assert answers(reader) == before
    assert reader.refresh() == 0


def test_an_older_copy_in_the_directory(books: Path, journal: dict[str, bytes]) -> None:
    """A journal that lost lines which were shown is `JournalTruncated`, whatever HEAD says."""
    put_newest(books, journal[NEWEST])
    reader = bb.LedgerReader.open(books)
    lines = lines_of(journal)
    put_newest(books, journal[NEWEST][: lines[4].end])
    with pytest.raises(JournalTruncated, match="open a reader again") as caught:
        reader.refresh()
    assert (caught.value.file, caught.value.line, reader.head.sequence) == (NEWEST, 8, 12)
    (books / "journal" / NEWEST).unlink()
    with pytest.raises(JournalTruncated):
        reader.refresh()


def test_written_lines_that_were_taken_back(tmp_path: Path) -> None:
    """Who asked for what is written learns that a line is gone or another, and opens again."""
    path = tmp_path / "books"
    with bb.Ledger.create(path, clock=StillClock()) as ledger:
        ledger.commit(deposit("A", "1 USDT"))
        ((name, content),) = day_files(path).items()
        mark = mark_of(path)
    reader = bb.LedgerReader.open(path, show="written")
    (path / "journal" / name).write_bytes(content[: mark.end])
    put_mark(path, mark)
    with bb.Ledger.open(path, clock=StillClock()) as ledger:
        with pytest.raises(JournalTruncated):
            reader.refresh()
        ledger.commit(deposit("A", "2 USDT"))
        with pytest.raises(bb.JournalCorrupt, match="open a reader again"):
            reader.refresh()


def test_a_reader_that_is_far_behind(tmp_path: Path) -> None:
    """Thousands of lines are taken piece by piece, each a whole batch, and none twice."""
    path = tmp_path / "books"
    with bb.Ledger.create(path, keyring=bb.Keyring.unsigned()) as ledger:
        reader = bb.LedgerReader.open(path)
        pair = [deposit("A", "1 USDT"), transfer("A", "B", "1 USDT")]
        ledger.commit_each([pair] * 3000)
        ledger.commit_each([pair] * 200)
        ledger.flush_head()
        assert reader.refresh() == 6400
        assert held(reader, "B") == "3200"
        assert reader.accounts() == ledger.accounts()
        assert reader.entry(5000) == ledger.entry(5000)


def test_balances_at_the_edge_of_the_range(tmp_path: Path) -> None:
    """What fits the writer fits the reader, up to the last unit, refresh after refresh."""
    path = tmp_path / "books"
    most = "1701411834604692317316873037158"
    with bb.Ledger.create(path, clock=StillClock()) as ledger, bb.LedgerReader.open(path) as reader:
        for _ in range(2):
            for _ in range(2):
                ledger.commit(deposit("A", f"{most} USDT"))
                ledger.withdraw("A", f"{most} USDT", correlation_id="r1")
            ledger.commit(deposit("A", f"{most} USDT"))
            ledger.flush_head()
            assert reader.refresh() == 5
            assert reader.accounts() == ledger.accounts()
            ledger.withdraw("A", f"{most} USDT", correlation_id="r1")
            ledger.flush_head()
            assert reader.refresh() == 1


def test_torn_bytes_that_a_new_writer_set_aside(books: Path, journal: dict[str, bytes]) -> None:
    """A reader that waited behind a torn write goes on with what comes in its place."""
    with bb.Ledger.open(books, clock=StillClock(DAYS[1])) as ledger:
        ledger.commit(deposit("B", "1 USDT"))
    name = f"{DAYS[1]}.jsonl"
    with (books / "journal" / name).open("ab") as file:
        file.write(journal[NEWEST].splitlines()[0][:300])
    reader = bb.LedgerReader.open(books)
    assert reader.refresh() == 0
    with bb.Ledger.open(books, clock=StillClock(DAYS[1])) as ledger:
        ledger.commit(deposit("B", "1 USDT"))
        assert reader.refresh() == 2
        assert answers(reader) == answers(ledger)
