"""Torn tails: an interrupted write is set aside, damage is refused, and nothing acknowledged is lost."""

from __future__ import annotations

import json
import logging
import os
from hashlib import sha256
from pathlib import Path

import pytest

import bibank as bb
from bibank.store.jsonl import tail
from bibank.store.jsonl.files import OsFiles
from bibank.store.jsonl.head import HeadMark, decode_slot, encode_slot
from bibank.store.jsonl.head import newest as newest_mark
from bibank.store.jsonl.plan import plan_journal
from bibank.stores import Head
from tests.store.journals import (
    DAYS,
    NEWEST,
    StillClock,
    Whole,
    counted_bytes,
    day_files,
    deposit,
    put,
    put_key,
    tree,
    whole_batches,
    write_journal,
)

BEFORE = 4
"""Lines in the older day files."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The day files of a journal with every kind of line."""
    path = tmp_path_factory.mktemp("original") / "books"
    write_journal(path)
    return day_files(path)


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncing is not what these tests are about, and there are thousands of recoveries in them."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr("bibank.store.jsonl.files._sync_content", lambda handle: None)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where a test puts its journal."""
    return tmp_path / "books"


def open_home(home: Path) -> bb.Ledger:
    """Open on the day of the newest file, thousands of times: neither disk nor Ed25519 is waited for."""
    return bb.Ledger.open(home, verify="chain", clock=StillClock(DAYS[2]), durability="none")


def torn_files(home: Path) -> dict[str, bytes]:
    """What was set aside."""
    return {file.name: file.read_bytes() for file in sorted((home / "journal").glob("*.torn-*"))}


def stored_lines(files: dict[str, bytes]) -> list[bytes]:
    """All lines of day files, in order."""
    return b"".join(files.values()).splitlines()


def survivor(content: bytes, cut: int) -> Whole:
    """The last whole batch of the newest file before a cut."""
    return max(end for end in whole_batches(content, before=BEFORE) if end.offset <= cut)


def check_opens_at(home: Path, files: dict[str, bytes], end: Whole, torn: bytes, where: str) -> None:
    """Demand that a home opens with exactly the lines up to `end` and sets exactly `torn` aside."""
    name = f"{NEWEST}.torn-{end.sequence + 1}"
    with open_home(home) as ledger:
        assert ledger.head.sequence == end.sequence, where
    assert day_files(home) == {**files, NEWEST: files[NEWEST][: end.offset]}, where
    assert torn_files(home) == ({name: torn} if torn else {}), where


def check_works_on(home: Path, files: dict[str, bytes], end: Whole, where: str) -> None:
    """Demand that a recovered home is left alone by a second opening, and takes and keeps a commit."""
    kept = {**files, NEWEST: files[NEWEST][: end.offset]}
    after_first = tree(home)
    with open_home(home) as ledger:  # a second recovery has nothing to do
        pass
    assert tree(home) == after_first, where
    owed = f"{NEWEST}.torn-{end.sequence + 1}" in torn_files(home)
    with open_home(home) as ledger:  # torn bytes are recorded before anything else is
        assert ledger.commit(deposit("Z", "1 BTC")).sequence == end.sequence + 1 + owed, where
        rows = ledger.accounts()
    assert bb.audit_home(home).records == 1 + owed, where
    with open_home(home) as ledger:
        assert ledger.accounts() == rows, where
    assert stored_lines(day_files(home))[: end.sequence] == stored_lines(kept), where


@pytest.mark.parametrize(("keyring", "stride"), [(bb.Keyring.unsigned(), 1), (None, 5)])
def test_every_cut_of_the_newest_file_keeps_exactly_the_whole_batches(
    tmp_path: Path, home: Path, keyring: bb.Keyring | None, stride: int
) -> None:
    """Wherever a write stopped, what was whole is kept, the rest is set aside, and work goes on.

    Every cut of an unsigned journal; of a signed one, whose lines are longer by a signature, every fifth.
    """
    write_journal(tmp_path / "one", keyring=keyring)
    files = day_files(tmp_path / "one")
    content = files[NEWEST]
    for cut in range(0, len(content) + 1, stride):
        put(home, {**files, NEWEST: content[:cut]})
        end = survivor(content, cut)
        check_opens_at(home, files, end, content[end.offset : cut], f"cut at {cut}")
        if cut % 64 == 0 or content.find(b"\n", cut - 2, cut + 2) >= 0:
            check_works_on(home, files, end, f"cut at {cut}")


def test_an_audit_reports_a_torn_tail_and_repairs_nothing(home: Path, files: dict[str, bytes]) -> None:
    """`audit_home` says where the torn bytes begin, and leaves every byte where it is."""
    content = files[NEWEST]
    for cut in range(0, len(content) + 1, 7):
        put(home, {**files, NEWEST: content[:cut]})
        end = survivor(content, cut)
        if end.offset == cut:
            assert bb.audit_home(home).lines == end.sequence
            continue
        with pytest.raises(bb.JournalTorn) as caught:
            bb.audit_home(home)
        line = content.count(b"\n", 0, end.offset) + 1
        assert (caught.value.file, caught.value.line) == (NEWEST, line)
        assert caught.value.sequence == end.sequence + 1
        assert day_files(home) == {**files, NEWEST: content[:cut]}


def test_every_cut_of_a_genesis_is_no_ledger(tmp_path: Path) -> None:
    """Before its genesis batch is whole a home does not exist; creating it again sets the bytes aside."""
    put_key(tmp_path / "one")
    with bb.Ledger.create(tmp_path / "one", clock=StillClock(), entropy=counted_bytes):
        pass
    ((name, content),) = day_files(tmp_path / "one").items()
    home = tmp_path / "books"
    for cut in range(len(content)):
        put(home, {name: content[:cut]})
        before = tree(home)
        with pytest.raises(bb.HomeNotFound):
            bb.Ledger.open(home)
        with pytest.raises(bb.HomeNotFound):
            bb.audit_home(home)
        assert tree(home) == before, f"cut at {cut}"
        if cut % 16 and content[cut - 1 : cut] != b"\n":
            continue
        assert not (home / "journal" / ".lock").exists()
        with bb.Ledger.create(home, clock=StillClock(), entropy=counted_bytes, durability="none") as ledger:
            assert ledger.head.sequence == 2
        assert day_files(home) == {name: content}
        assert torn_files(home) == ({f"{name}.torn-1": content[:cut]} if cut else {})


def test_a_creation_that_was_interrupted_yesterday_leaves_an_empty_file(tmp_path: Path) -> None:
    """The file of an interrupted creation stays behind empty; the ledger begins in a later one."""
    home = put(tmp_path / "books", {f"{DAYS[0]}.jsonl": b'{"sequence":1,'})
    with bb.Ledger.open_or_create(home, clock=StillClock(DAYS[1]), opening={"USDT": "1"}) as ledger:
        ledger.commit(deposit("A", "1 USDT"))
    assert [len(content) > 0 for content in day_files(home).values()] == [False, True]
    clock = StillClock(DAYS[2])
    with bb.Ledger.open(home, clock=clock) as ledger:
        ledger.commit(deposit("A", "1 USDT"))
        ledger.commit_batch([deposit("A", "1 USDT"), deposit("A", "2 USDT")])
    newest = home / "journal" / NEWEST
    content = newest.read_bytes()
    lone, first, second = content.splitlines(keepends=True)
    slots = (home / "journal" / "HEAD").read_bytes()
    mark = newest_mark([decode_slot(slots[:512]), decode_slot(slots[512:])])
    assert mark is not None
    assert (mark.sequence, mark.file) == (6, NEWEST)
    before = HeadMark(sequence=4, hash=json.loads(lone)["hash"], file=NEWEST, end=len(lone))
    (home / "journal" / "HEAD").write_bytes(encode_slot(before) * 2)
    newest.write_bytes(lone + first.replace(b'"amount":"1"', b'"amount":"3"') + second[:-5])
    with pytest.raises(bb.JournalCorrupt, match="hash"):
        bb.Ledger.open(home, clock=clock)
    newest.write_bytes(content[:-5])
    with bb.Ledger.open(home, clock=clock) as ledger:
        assert ledger.head.sequence == 4
        assert ledger.audit().lines == 4


def test_a_torn_file_is_numbered_when_its_name_is_taken(home: Path, files: dict[str, bytes]) -> None:
    """Bytes set aside earlier are never overwritten."""
    name = f"{NEWEST}.torn-14"
    put(home, {**files, NEWEST: files[NEWEST] + b"abc", name: b"old", f"{name}-2": b"older"})
    open_home(home).close()
    assert torn_files(home) == {name: b"old", f"{name}-2": b"older", f"{name}-3": b"abc"}


def test_setting_aside_is_logged(
    home: Path, files: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """Recovery is loud: file, line, how many bytes, and where they are now."""
    put(home, {**files, NEWEST: files[NEWEST] + b"abc"})
    with caplog.at_level(logging.WARNING, logger="bibank"):
        open_home(home).close()
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{NEWEST}:10: the last line has no newline; 3 bytes "
        f"(SHA-256 {sha256(b'abc').hexdigest()}) set aside in {NEWEST}.torn-14"
    )


@pytest.mark.parametrize("nuls", [1, 511, 4096, 70_000, 2_000_000])
def test_unwritten_space_at_the_end_is_legal_and_trimmed(
    home: Path, files: dict[str, bytes], nuls: int
) -> None:
    """NULs behind a complete line are space that was never written: no tear, and gone after opening."""
    put(home, {**files, NEWEST: files[NEWEST] + bytes(nuls)})
    assert bb.audit_home(home).lines == 13
    end = Whole(len(files[NEWEST]), 13)
    check_opens_at(home, files, end, b"", f"{nuls} NULs")
    check_works_on(home, files, end, f"{nuls} NULs")


def test_unwritten_space_at_the_end_of_an_older_file_is_legal(home: Path, files: dict[str, bytes]) -> None:
    """An older file may end in NULs too; nothing is changed in it."""
    older = f"{DAYS[0]}.jsonl"
    padded = {**files, older: files[older] + bytes(5000)}
    put(home, padded)
    assert bb.audit_home(home).lines == 13
    with open_home(home) as ledger:
        assert ledger.entry(4).sequence == 4
    assert day_files(home) == padded


def test_an_empty_newest_file_is_legal(home: Path, files: dict[str, bytes]) -> None:
    """A day file that was made but never written holds no line and is written to next."""
    put(home, {**files, "2026-01-28.jsonl": b""})
    assert bb.audit_home(home).lines == 13
    with bb.Ledger.open(home, clock=StillClock("2026-01-28")) as ledger:
        assert ledger.commit(deposit("A", "1 USDT")).sequence == 14
    assert torn_files(home) == {}
    with bb.Ledger.open(home) as ledger:
        assert ledger.entry(14).timestamp.day == 28


def test_an_empty_file_of_a_later_day_does_not_stop_the_clock(home: Path, files: dict[str, bytes]) -> None:
    """A day that was begun by a clock that ran ahead, and never written, keeps nobody from writing today."""
    put(home, {**files, "2026-03-01.jsonl": b"", "2026-02-01.jsonl": bytes(600)})
    for sequence in (14, 15):
        with open_home(home) as ledger:
            assert ledger.commit(deposit("A", "1 USDT")).sequence == sequence
    with bb.Ledger.open(home, clock=StillClock("2026-02-01")) as ledger:
        assert ledger.commit(deposit("A", "1 USDT")).sequence == 16
    assert [bool(content) for content in day_files(home).values()] == [True, True, True, True, False]
    assert bb.audit_home(home).lines == 16


def test_a_newest_file_of_nuls_only_is_empty(home: Path, files: dict[str, bytes]) -> None:
    """Space that was reserved and never written is no damage."""
    put(home, {**files, "2026-01-28.jsonl": bytes(9000)})
    assert bb.audit_home(home).lines == 13
    with bb.Ledger.open(home, clock=StillClock("2026-01-28")) as ledger:
        assert ledger.commit(deposit("A", "1 USDT")).sequence == 14
    assert bb.audit_home(home).lines == 14


def last_group(content: bytes) -> Whole:
    """Where the group of lines 9 to 12 begins, with line 13 cut off."""
    return next(end for end in whole_batches(content, before=BEFORE) if end.sequence == 8)


def test_unwritten_sectors_inside_the_last_group_are_torn(home: Path, files: dict[str, bytes]) -> None:
    """Any hole in the last write, wherever it lies and whatever follows, is cut off from its batch on."""
    content = files[NEWEST]
    ends = whole_batches(content, before=BEFORE)
    start, stop = last_group(content).offset, ends[-2].offset  # lines 9 to 12: one write
    content = content[:stop]
    for hole in range(start, stop, 16):
        for size in (1, 512):
            hollow = content[:hole] + bytes(min(size, stop - hole)) + content[hole + size :]
            put(home, {**files, NEWEST: hollow})
            end = max(end for end in ends if end.offset <= hole)
            if not hollow[hole:].strip(b"\0") and end.offset == len(hollow[:hole]):
                continue  # the whole rest is missing: unwritten space behind a complete line
            with open_home(home) as ledger:
                assert ledger.head.sequence == end.sequence, f"hole of {size} at {hole}"
            name = f"{NEWEST}.torn-{end.sequence + 1}"
            assert torn_files(home) == {name: hollow[end.offset :]}, f"hole of {size} at {hole}"
            assert bb.audit_home(home).lines == end.sequence


def test_a_hole_larger_than_a_line_is_torn_too(home: Path, files: dict[str, bytes]) -> None:
    """A group whose first pages never reached the disk is one torn group, however long the hole is."""
    clock = StillClock(DAYS[2])
    put(home, files)
    with bb.Ledger.open(home, clock=clock, durability="none") as ledger:
        ledger.commit_each([deposit("A", f"{number} USDT") for number in range(1, 401)])
    content = day_files(home)[NEWEST]
    start = len(files[NEWEST])
    put(home, {**files, NEWEST: content[:start] + bytes(150_000) + content[start + 150_000 :]})
    with open_home(home) as ledger:
        assert ledger.head.sequence == 13
    assert day_files(home) == files


def test_a_hole_before_a_later_group_is_refused(home: Path, files: dict[str, bytes]) -> None:
    """What a later group follows was synced: a hole there is no tear, and nothing is cut off."""
    content = files[NEWEST]
    group = last_group(content)
    for size in (1, 600):
        hollow = content[: group.offset + 40] + bytes(size) + content[group.offset + 40 + size :]
        put(home, {**files, NEWEST: hollow})
        with pytest.raises(bb.JournalCorrupt) as caught:
            bb.Ledger.open(home)
        assert not isinstance(caught.value, bb.JournalTorn)
        assert (caught.value.file, caught.value.line) == (NEWEST, 5)
        assert day_files(home)[NEWEST] == hollow
        assert torn_files(home) == {}


def test_a_long_hole_before_a_later_group_is_refused(home: Path, files: dict[str, bytes]) -> None:
    """A hole longer than any line does not hide the later group that stands behind it."""
    put(home, files)
    with bb.Ledger.open(home, clock=StillClock(DAYS[2]), durability="none") as ledger:
        ledger.commit_each([deposit("A", f"{number} USDT") for number in range(1, 401)])
        ledger.commit(deposit("A", "7 USDT"))
    content = day_files(home)[NEWEST]
    start = len(files[NEWEST])
    hollow = content[:start] + bytes(150_000) + content[start + 150_000 :]
    for end in (b"", b"{", bytes(10)):
        put(home, {**files, NEWEST: hollow + end})
        with pytest.raises(bb.JournalCorrupt):
            bb.Ledger.open(home)
        assert day_files(home)[NEWEST] == hollow + end


def test_a_complete_line_that_is_wrong_is_refused(home: Path, files: dict[str, bytes]) -> None:
    """A line that ends in its newline and is not valid was no interrupted write, whatever follows it."""
    content = files[NEWEST]
    lines = content.splitlines(keepends=True)
    wrong = [
        b"{}\n",
        b"\n",
        b"garbage\n",
        lines[-1].replace(b'"2"', b'"3"'),
        lines[-1].replace(b":", b": ", 1),
        b"\xff\xfe\n",
        b"x" * 70_000 + b"\n",
    ]
    for line in wrong:
        for behind in (b"", b'{"sequence":', bytes(600)):
            damaged = b"".join(lines[:-1]) + line + behind
            put(home, {**files, NEWEST: damaged})
            with pytest.raises(bb.JournalCorrupt) as caught:
                bb.Ledger.open(home)
            assert not isinstance(caught.value, bb.JournalTorn)
            assert (caught.value.file, caught.value.line) == (NEWEST, len(lines))
            assert day_files(home)[NEWEST] == damaged


def test_a_gap_in_the_newest_file_is_refused(home: Path, files: dict[str, bytes]) -> None:
    """A missing line before a torn end is damage, not part of the tear."""
    lines = files[NEWEST].splitlines(keepends=True)
    put(home, {**files, NEWEST: b"".join([lines[0], *lines[2:]]) + b"{"})
    with pytest.raises(bb.JournalCorrupt, match="sequence 7, expected 6") as caught:
        bb.Ledger.open(home)
    assert (caught.value.file, caught.value.line) == (NEWEST, 2)


def test_damage_in_an_older_file_is_refused(home: Path, files: dict[str, bytes]) -> None:
    """An older file was synced before the newer was made: a tear there is damage."""
    names = list(files)
    for older in names[:2]:
        for cut in range(1, len(files[older]), 97):
            put(home, {**files, older: files[older][:-cut]})
            with pytest.raises(bb.JournalCorrupt):
                bb.Ledger.open(home)
            assert torn_files(home) == {}


def test_a_tear_before_an_empty_file_is_a_tear(home: Path, files: dict[str, bytes]) -> None:
    """A later day may have been begun by a clock that was set back since: it says nothing of this one."""
    older = f"{DAYS[1]}.jsonl"
    for cut in range(1, len(files[older]), 97):
        put(home, {**files, older: files[older][:-cut], NEWEST: b""})
        with bb.Ledger.open(home, clock=StillClock(DAYS[1])) as ledger:
            assert ledger.head.sequence == 3
        assert torn_files(home) == {f"{older}.torn-4": files[older][:-cut]}


def test_a_damaged_first_line_is_named_even_beside_a_torn_tail(home: Path, files: dict[str, bytes]) -> None:
    """Without a readable genesis nothing is repaired, and the error names the genesis."""
    oldest = f"{DAYS[0]}.jsonl"
    put(home, {**files, oldest: b"x" + files[oldest][1:], NEWEST: files[NEWEST] + b"{"})
    before = day_files(home)
    with pytest.raises(bb.JournalCorrupt) as caught:
        bb.Ledger.open(home)
    assert (caught.value.file, caught.value.line) == (oldest, 1)
    assert day_files(home) == before
    assert torn_files(home) == {}


def test_a_forged_tail_is_not_repaired(home: Path, files: dict[str, bytes]) -> None:
    """Torn bytes are set aside only after every surviving line was accepted."""
    middle = f"{DAYS[1]}.jsonl"
    put(home, {**files, middle: files[middle].replace(b'"1"', b'"2"'), NEWEST: files[NEWEST] + b"{"})
    before = day_files(home)
    with pytest.raises(bb.JournalCorrupt) as caught:
        bb.Ledger.open(home)
    assert (caught.value.file, caught.value.line) == (middle, 1)
    assert day_files(home) == before


def test_a_wrong_line_inside_a_tear_is_refused(home: Path, files: dict[str, bytes]) -> None:
    """A complete line whose content was changed is no tear, in an unfinished batch and behind a hole too."""
    lines = files[NEWEST].splitlines(keepends=True)
    unfinished = [*lines[:2], lines[2].replace(b'"amount":"1"', b'"amount":"2"')]  # 6 and 7 of 6 to 8
    behind = [*lines[:4], bytes(40) + lines[4][40:], lines[5].replace(b'"1"', b'"2"'), *lines[6:8]]  # 9 to 12
    for damaged, line in ((unfinished, 3), (behind, 6)):
        content = b"".join(damaged)
        put(home, {**files, NEWEST: content})
        with pytest.raises(bb.JournalCorrupt, match="hash") as caught:
            bb.Ledger.open(home)
        assert (caught.value.file, caught.value.line) == (NEWEST, line)
        assert not isinstance(caught.value, bb.JournalTorn)
        assert day_files(home)[NEWEST] == content


def test_an_older_file_that_ends_in_garbage_is_refused_beside_an_empty_newest(
    home: Path, files: dict[str, bytes]
) -> None:
    """The last line that there is decides what comes next; when it is none, the journal is corrupt."""
    middle = f"{DAYS[1]}.jsonl"
    put(home, {**files, middle: files[middle] + b"garbage\n", NEWEST: b""})
    for look in (bb.Ledger.open, bb.audit_home):
        with pytest.raises(bb.JournalCorrupt, match="JSON") as caught:
            look(home)
        assert (caught.value.file, caught.value.line, caught.value.sequence) == (middle, 2, 5)


def test_the_quick_look_and_the_walk_agree(home: Path, files: dict[str, bytes]) -> None:
    """A file that ends in a whole batch is judged by its last group; reading all of it says the same."""
    content = files[NEWEST]
    ledger_id = json.loads(files[f"{DAYS[0]}.jsonl"].splitlines()[0])["metadata"]["bb.ledger"]
    before = Head(BEFORE, json.loads(files[f"{DAYS[1]}.jsonl"])["hash"])
    for end in whole_batches(content, before=BEFORE)[1:]:
        put(home, {**files, NEWEST: content[: end.offset]})
        port = OsFiles(home / "journal")
        quick = tail.examine_tail(port, NEWEST, before=before, start=0, ledger_id=ledger_id)
        walked = tail._Examination(port, NEWEST, before, 0, ledger_id).run()
        assert quick == walked
        assert quick.head is not None
        assert (quick.content, quick.head.sequence, quick.torn) == (end.offset, end.sequence, None)


def test_a_torn_file_that_shrinks_is_not_cut(home: Path, files: dict[str, bytes]) -> None:
    """Torn bytes that cannot all be read are not cut off."""

    class Shrinking(OsFiles):
        def read(self, name: str, *, offset: int, size: int) -> bytes:
            """Read as if the last byte was no longer there."""
            size = min(size, len(files[NEWEST]) + 3 - offset) if name == NEWEST else size
            return super().read(name, offset=offset, size=size)

    put(home, {**files, NEWEST: files[NEWEST] + b"torn"})
    plan = plan_journal(OsFiles(home / "journal"))
    plan._files = Shrinking(home / "journal")
    with pytest.raises(bb.StoreUnavailable, match="shrank"):
        plan.repair()
    assert day_files(home)[NEWEST] == files[NEWEST] + b"torn"
    assert not (home / "journal" / f"{NEWEST}.torn-14").exists()
