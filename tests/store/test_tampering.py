"""Tampering: whatever is changed in a journal, an audit finds it and says where."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest

import bibank as bb
from bibank.audit import Level, audit_lines
from tests.store.journals import (
    DAYS,
    StillClock,
    counted_bytes,
    day_files,
    deposit,
    put,
    transfer,
    write_journal,
)

FORMAT = b'"bb.format":"bibank/1"'


def write_small(home: Path, keyring: bb.Keyring | None) -> Path:
    """Write a journal of three days and six lines, with a batch of two: small enough for every byte of it."""
    clock = StillClock()
    with bb.Ledger.create(
        home, clock=clock, durability="none", entropy=counted_bytes, keyring=keyring
    ) as made:
        made.commit(deposit("A", "5 USDT"))
        clock.set(DAYS[1])
        made.commit_batch([transfer("A", "B", "1 USDT"), deposit("B", "2 BTC")])
        clock.set(DAYS[2])
        made.commit(transfer("B", "A", "1 BTC"))
    return home


def place_of(content: bytes, offset: int) -> int:
    """The line, from 1, that a byte belongs to; a newline belongs to the line it ends."""
    return content.count(b"\n", 0, offset) + 1


Verdict = tuple[type[bb.BibankError] | None, str | None, int | None]


def verdict(home: Path, level: Level) -> Verdict:
    """What an audit says: the kind of error, file and line."""
    try:
        bb.audit_home(home, level=level)
    except bb.JournalCorrupt as error:
        return type(error), error.file if error.reason else None, error.line
    except bb.UnsupportedFormat as error:
        return type(error), None, None
    return None, None, None


def check_flips(small: Path, level: Level, bits_at: Callable[[int], Iterable[int]]) -> None:
    """Flip bits of each byte of a journal, one at a time; demand that an audit finds and places each."""
    newest = max(day_files(small))
    for name, content in day_files(small).items():
        claim = content.find(FORMAT)
        handle = os.open(small / "journal" / name, os.O_WRONLY)
        try:
            for offset, byte in enumerate(content):
                allowed: set[Verdict] = {(bb.JournalCorrupt, name, place_of(content, offset))}
                if name == newest:  # what is wrong in the last write may be a torn write
                    allowed.add((bb.JournalTorn, name, 1))
                if 0 <= claim <= offset < claim + len(FORMAT):  # and here, a journal of another version
                    allowed.add((bb.UnsupportedFormat, None, None))
                for bit in bits_at(offset):
                    os.pwrite(handle, bytes([byte ^ 1 << bit]), offset)
                    assert verdict(small, level) in allowed, f"{name} byte {offset} bit {bit}"
                os.pwrite(handle, bytes([byte]), offset)
        finally:
            os.close(handle)
    assert verdict(small, level) == (None, None, None)


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    """Each single bit of a journal of several files, flipped, is found with its file and its line."""
    check_flips(write_small(tmp_path / "books", bb.Keyring.unsigned()), "chain", lambda offset: range(8))


def test_every_flipped_byte_of_a_signed_journal_is_found(tmp_path: Path) -> None:
    """The hash leaves signatures out; they cover themselves: one bit of each byte, theirs included."""
    check_flips(write_small(tmp_path / "books", None), "signatures", lambda offset: [offset % 8])


def lines_of(files: dict[str, bytes]) -> list[tuple[str, int]]:
    """Name every line as (file, index)."""
    return [(name, index) for name, content in files.items() for index in range(content.count(b"\n"))]


def change(
    files: dict[str, bytes], name: str, edit: Callable[[list[bytes]], list[bytes]]
) -> dict[str, bytes]:
    """Give the files with the lines of one of them edited."""
    return {**files, name: b"".join(edit(files[name].splitlines(keepends=True)))}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """The day files of a journal with every kind of line."""
    write_journal(tmp_path / "original")
    return day_files(tmp_path / "original")


def found_at(home: Path) -> tuple[str | None, int | None]:
    """Where an audit finds something wrong."""
    with pytest.raises(bb.JournalCorrupt) as caught:
        bb.audit_home(home)
    assert caught.value.reason
    return caught.value.file, caught.value.line


def test_every_dropped_line_is_found(tmp_path: Path, files: dict[str, bytes]) -> None:
    """A line that is missing, other than the whole last batch, is found where its successor stands."""
    last = lines_of(files)[-1]
    for name, index in lines_of(files):
        if (name, index) == last:
            continue  # a journal that is shorter by its whole last batch is self-consistent
        home = put(tmp_path / "books", change(files, name, lambda lines: lines[:index] + lines[index + 1 :]))  # noqa: B023 - called at once
        file, line = found_at(home)
        assert file is not None
        assert file >= name
        assert line == index + 1 if file == name else line == 1


def test_every_duplicated_line_is_found(tmp_path: Path, files: dict[str, bytes]) -> None:
    """A line that stands twice is found at its second place."""
    for name, index in lines_of(files):
        home = put(
            tmp_path / "books",
            change(files, name, lambda lines: [*lines[: index + 1], *lines[index:]]),  # noqa: B023 - called at once
        )
        assert found_at(home) == (name, index + 2)


def test_every_swap_of_neighbours_is_found(tmp_path: Path, files: dict[str, bytes]) -> None:
    """Two neighbouring lines in the wrong order, also across files, are found at the first of them."""
    for (name, index), (other, after) in pairwise(lines_of(files)):
        first, second = (
            files[name].splitlines(keepends=True)[index],
            files[other].splitlines(keepends=True)[after],
        )
        swapped = change(files, name, lambda lines: [*lines[:index], second, *lines[index + 1 :]])  # noqa: B023 - called at once
        swapped = change(swapped, other, lambda lines: [*lines[:after], first, *lines[after + 1 :]])  # noqa: B023 - called at once
        assert found_at(put(tmp_path / "books", swapped)) == (name, index + 1)


def test_every_missing_file_is_found(tmp_path: Path, files: dict[str, bytes]) -> None:
    """A day file that is missing, other than the newest, is found at the first line of the next."""
    names = list(files)
    for name, following in pairwise(names):
        home = put(tmp_path / "books", {other: content for other, content in files.items() if other != name})
        assert found_at(home) == (following, 1)


def test_a_renamed_file_is_found(tmp_path: Path, files: dict[str, bytes]) -> None:
    """Day files under each other's names are found."""
    first, second, third = files
    home = put(tmp_path / "books", {first: files[second], second: files[first], third: files[third]})
    assert found_at(home) == (first, 1)


def test_a_line_of_another_ledger_is_found(tmp_path: Path, files: dict[str, bytes]) -> None:
    """A journal whose tail was carried over from another ledger with the same history is refused."""
    clock = StillClock()
    with bb.Ledger.create(
        tmp_path / "other",
        opening={"USDT": "9"},
        clock=clock,
        durability="none",
        entropy=bytes,
    ) as other:
        other.commit(deposit("A", "5 USDT"))
    foreign = day_files(tmp_path / "other")[f"{DAYS[0]}.jsonl"].splitlines(keepends=True)
    name = f"{DAYS[0]}.jsonl"
    home = put(tmp_path / "books", change(files, name, lambda lines: [*lines[:2], foreign[2]]))
    assert found_at(home) == (name, 3)


def test_an_old_file_without_its_last_newline_is_found(tmp_path: Path, files: dict[str, bytes]) -> None:
    """Only the newest file may lack its last newline; in an older one it was cut off."""
    name = next(iter(files))
    home = put(tmp_path / "books", {**files, name: files[name][:-1]})
    assert found_at(home) == (name, 3)
    with pytest.raises(bb.JournalCorrupt, match="newline"):
        bb.Ledger.open(home)


def test_an_audit_of_a_range_does_not_trust_the_first_date_behind_it(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    """A line inside the range that claims a later date does not end the audit unseen."""
    name = f"{DAYS[1]}.jsonl"
    until = date.fromisoformat(DAYS[1])
    home = put(tmp_path / "books", files)
    assert bb.audit_home(home, until=until).covered == 4
    forged = files[name].replace(b'"timestamp":"2026-01-26', b'"timestamp":"2026-01-28')
    put(home, {**files, name: forged})
    with pytest.raises(bb.JournalCorrupt) as caught:
        bb.audit_home(home, until=until)
    assert (caught.value.file, caught.value.line) == (name, 1)


def test_an_audit_of_a_range_counts_what_it_covers(tmp_path: Path, files: dict[str, bytes]) -> None:
    """A range counts its own lines, says what it left out, and must not be empty or before the journal."""
    home = put(tmp_path / "books", files)
    first, second, third = (date.fromisoformat(day) for day in DAYS)
    report = bb.audit_home(home, since=second, until=second)
    assert (report.lines, report.covered) == (4, 1)
    assert f"lines after {second}" in report.not_covered
    assert bb.audit_home(home, since=third).covered == 9
    with pytest.raises(bb.InvalidValue, match="empty"):
        bb.audit_home(home, since=third, until=first)
    with pytest.raises(bb.InvalidValue, match="begins on 2026-01-25"):
        bb.audit_home(home, until=date(2026, 1, 1))


@pytest.mark.parametrize(
    ("what", "instead", "reason"),
    [
        (b'"metadata"', b'"metadatb"', "unknown member"),
        (b'"prev_hash":"', b'"prev_hash":"0', "hex"),
        (b'"amount":"2"', b'"amount":"3"', "hash"),
    ],
)
def test_a_wrong_line_right_behind_a_range_is_found(
    tmp_path: Path, files: dict[str, bytes], what: bytes, instead: bytes, reason: str
) -> None:
    """The line that ends an audit of a range is itself read and recomputed."""
    name = f"{DAYS[2]}.jsonl"
    first, *rest = files[name].splitlines(keepends=True)
    home = put(tmp_path / "books", {**files, name: b"".join([first.replace(what, instead), *rest])})
    with pytest.raises(bb.JournalCorrupt, match=reason) as caught:
        bb.audit_home(home, until=date.fromisoformat(DAYS[1]))
    assert (caught.value.file, caught.value.line) == (name, 1)


def test_a_missing_day_before_a_range_ends_is_found(tmp_path: Path, files: dict[str, bytes]) -> None:
    """A day that is missing at the end of a range shows in the link of the line behind it."""
    files.pop(f"{DAYS[1]}.jsonl")
    home = put(tmp_path / "books", files)
    with pytest.raises(bb.JournalCorrupt, match="prev_hash"):
        bb.audit_home(home, until=date.fromisoformat(DAYS[1]))


def test_no_lines_are_no_journal() -> None:
    """An audit of nothing finds nothing that could be trusted."""
    with pytest.raises(bb.JournalTorn, match="empty"):
        audit_lines([])
