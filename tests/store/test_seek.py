"""Lines that no scan has seen are found by binary search, and every one of them is the right one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bibank.errors import InvalidValue
from bibank.store.jsonl.days import DayFile, DayPlace, Days
from bibank.store.jsonl.files import OsFiles
from bibank.testing.faults import SimulatedFiles

NAMES = ("2026-01-25.jsonl", "2026-01-26.jsonl", "2026-01-28.jsonl")


def journal(sizes: Sequence[Sequence[int]]) -> tuple[SimulatedFiles, list[list[bytes]]]:
    """Write day files of lines of these lengths; lines hold what looks like the beginning of others."""
    sequence, days = 0, []
    for name, lengths in zip(NAMES, sizes, strict=False):
        lines = []
        for length in lengths:
            sequence += 1
            begin = b'{"sequence":%d,"timestamp":"%b' % (sequence, name[:10].encode())
            lines.append(begin + (b'{"sequence":7,' * (length // 14 + 1))[:length] + b"}")
        days.append(lines)
    disk = {name: b"".join(line + b"\n" for line in lines) for name, lines in zip(NAMES, days, strict=False)}
    return SimulatedFiles(disk), days


def places(days: Sequence[Sequence[bytes]]) -> list[DayPlace]:
    """Say where the lines stand."""
    counts = list(accumulate((len(lines) for lines in days), initial=0))
    return [
        DayPlace(
            name=name, size=sum(map(len, lines)) + len(lines), first_sequence=before + 1, lines=len(lines)
        )
        for name, lines, before in zip(NAMES, days, counts, strict=False)
    ]


_lengths = st.lists(st.sampled_from([0, 10, 400, 3_000, 5_000, 60_000]), min_size=1, max_size=60)


@given(st.lists(_lengths, min_size=1, max_size=3), st.data())
@settings(max_examples=40)
def test_every_line_is_found_without_an_index(sizes: list[list[int]], data: st.DataObject) -> None:
    """Passed over up to any line, read from any line on, found one by one: as a scan would give them."""
    files, written = journal(sizes)
    whole = [line for lines in written for line in lines]
    passed = data.draw(st.integers(0, len(whole)))
    days = Days(files)
    days.files += [DayFile(name=place.name, size=place.size) for place in places(written)]
    known = [lines[: max(passed - sum(map(len, written[:at])), 0)] for at, lines in enumerate(written)]
    behind = places([lines for lines in known if lines])
    days.check_places(behind)
    days.pass_over(behind)
    assert list(days.scan()) == whole[passed:]
    for after in {0, passed, data.draw(st.integers(0, len(whole))), len(whole)}:
        assert list(days.read(after_sequence=after)) == whole[after:]
    for sequence in data.draw(st.sets(st.integers(1, len(whole)), max_size=5)):
        assert days.find(sequence) == whole[sequence - 1]
    assert days.places() == tuple(places(written))


@pytest.mark.parametrize(
    "changed",
    [
        DayPlace(name=NAMES[1], size=100, first_sequence=1, lines=1),
        DayPlace(name=NAMES[0], size=10**9, first_sequence=1, lines=1),
        DayPlace(name=NAMES[0], size=10, first_sequence=2, lines=1),
        DayPlace(name=NAMES[0], size=10, first_sequence=1, lines=0),
    ],
)
def test_places_that_are_not_here_are_refused(changed: DayPlace) -> None:
    """Another file, a longer one, lines that do not begin where the ones before end."""
    files, written = journal([[10, 10], [10]])
    days = Days(files)
    days.files += [DayFile(name=place.name, size=place.size) for place in places(written)]
    with pytest.raises(InvalidValue):
        days.check_places([changed])
    with pytest.raises(InvalidValue):
        days.check_places([*places(written), changed])


def test_an_older_file_that_goes_on_is_refused() -> None:
    """What a snapshot says of a file that was not the newest is its whole content."""
    files, written = journal([[10, 10], [10]])
    days = Days(files)
    days.files += [DayFile(name=place.name, size=place.size) for place in places(written)]
    first, second = places([written[0][:1], written[1]])
    with pytest.raises(InvalidValue, match="is longer than"):
        days.check_places([first, second])


def test_what_does_not_look_like_lines_is_counted_through(tmp_path: Path) -> None:
    """Reading falls back to counting newlines; finding gives nothing."""
    lines = [b"x" * 3_000 for _ in range(20)]
    (tmp_path / NAMES[0]).write_bytes(b"".join(line + b"\n" for line in lines))
    days = Days(OsFiles(tmp_path))
    place = DayPlace(name=NAMES[0], size=20 * 3_001, first_sequence=1, lines=20)
    days.files.append(DayFile(name=place.name, size=place.size))
    days.check_places([place])
    days.pass_over([place])
    assert list(days.scan()) == []
    assert list(days.read(after_sequence=7)) == lines[7:]
    assert days.find(3) is None
