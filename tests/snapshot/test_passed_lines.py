"""Lines that a snapshot stands for, rewritten with good hashes: what a commit relies on is verified."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from bibank import drafts
from bibank.journal.codec import decode_line
from bibank.journal.reference import line_hash
from bibank.journal.reversals import reversal
from tests.snapshot.homes import Clock, create, reopen

_FAR = timedelta(days=999)

Edit = Callable[[bytes], bytes]


def grown(tmp_path: Path, signing: Any) -> Path:
    """Make a home whose lines 4 to 6 are one write group, before a snapshot of line 8."""
    home = tmp_path / "books"
    common: Any = {"correlation_id": "d"}
    with create(home, Clock(), signing=signing, snapshot_every=None) as ledger:
        ledger.deposit("ALICE", "9 USDT", **common)
        ledger.commit_each(
            [
                drafts.deposit("MARY", "1 USDT", **common),
                drafts.transfer("ALICE", "MARY", "7 USDT", **common),
                drafts.deposit("CAROL", "1 USDT", **common),
            ]
        )
        ledger.deposit("JOHN", "1 USDT", idempotency_key="KEYX", **common)
        ledger.deposit("JOHN", "1 USDT", **common)
        assert [ledger.line(sequence).batch.group for sequence in range(4, 8)] == [4, 4, 4, 7]
        assert ledger.snapshot().sequence == 8
    return home


def rewrite(home: Path, first: int, last: int, edit: Edit) -> None:
    """Edit a line, and give it and those up to the last hashes that fit; nothing is signed again."""
    day = next((home / "journal").glob("*.jsonl"))
    lines = day.read_bytes().split(b"\n")
    genesis = decode_line(lines[0])
    assert isinstance(genesis, bb.JournalEntry)
    ledger_id = str(genesis.metadata["bb.ledger"])
    size = len(lines[first - 1])
    lines[first - 1] = edit(lines[first - 1])
    assert len(lines[first - 1]) == size, "or the snapshot would not be used"
    before = after = b""
    for at in range(first - 1, last):
        data = lines[at].replace(before, after) if before else lines[at]
        line = decode_line(data)
        before, after = line.hash.encode(), line_hash(line, ledger_id=ledger_id).encode()
        lines[at] = data.replace(before, after)
    day.write_bytes(b"\n".join(lines))


def put(old: bytes, new: bytes) -> Edit:
    """Replace a text that is there by one as long."""

    def edit(line: bytes) -> bytes:
        assert old in line
        return line.replace(old, new)

    return edit


def unsigned(line: bytes) -> bytes:
    """Take the signatures off a line, and make up for their length."""
    bare = re.sub(rb',"signatures":\[.*\]', b"", line)
    room = len(line) - len(bare) - len(b',"note":""')
    return bare.replace(b'"KEYX"}', b'"KEYX","note":"%b"}' % (b"x" * room))


@pytest.fixture(params=["entry", "group"])
def signing(request: pytest.FixtureRequest) -> Any:
    """Each line is signed, or the last of each write group."""
    return request.param


def test_lines_as_they_were_are_relied_on(signing: Any, tmp_path: Path) -> None:
    """Reversed, or found by their key: each is verified where it stands, alone or by the end of its group."""
    home = grown(tmp_path, signing)
    with reopen(home, Clock(), signing=signing, max_clock_jump=_FAR) as ledger:
        assert ledger._committer.passed is not None
        for sequence in (5, 6, 4, 3):
            assert ledger.reverse(sequence, correlation_id="v").sequence > 8
        asked: Any = {"owner": "JOHN", "money": "1 USDT", "correlation_id": "d"}
        assert ledger.deposit(**asked, idempotency_key="KEYX").sequence == 7
        fresh = ledger.deposit(**asked, idempotency_key="KEYZ")
        assert ledger.reverse(fresh.sequence, correlation_id="v").sequence == fresh.sequence + 1


@pytest.mark.parametrize("last", [5, 6, 7])
def test_a_rewritten_line_is_not_reversed(signing: Any, last: int, tmp_path: Path) -> None:
    """However far the chain was mended behind it: the signature is over what stood there."""
    home = grown(tmp_path, signing)
    rewrite(home, 5, last, put(b"USER:MARY:", b"USER:BERT:"))
    with reopen(home, Clock(), signing=signing, max_clock_jump=_FAR) as ledger:
        assert ledger._committer.passed is not None, "opened from the snapshot"
        before = ledger.head
        found = ledger.entry(5)
        with pytest.raises(bb.JournalCorrupt, match=r"jsonl:[56]: "):
            ledger.reverse(5, correlation_id="v")
        with pytest.raises(bb.JournalCorrupt, match=r"jsonl:[56]: "):
            ledger.commit(reversal(found, correlation_id="v"))
        assert ledger.head == before
        ledger.deposit("ALICE", "1 USDT", correlation_id="d")


@pytest.mark.parametrize(
    "edit",
    [
        put(b"KEYX", b"KEYY"),
        put(b"USER:JOHN:", b"USER:JACK:"),
        put(b"bb.idempotency_", b"bz.idempotency_"),
        unsigned,
    ],
)
def test_a_rewritten_line_answers_no_retry(signing: Any, edit: Edit, tmp_path: Path) -> None:
    """Neither is it taken for the one that bears the key, nor is the request committed twice."""
    home = grown(tmp_path, signing)
    rewrite(home, 7, 7, edit)
    with reopen(home, Clock(), signing=signing, max_clock_jump=_FAR) as ledger:
        assert ledger._committer.passed is not None, "opened from the snapshot"
        before = ledger.head
        asked: Any = {"owner": "JOHN", "money": "1 USDT", "correlation_id": "d"}
        with pytest.raises(bb.JournalCorrupt):
            ledger.deposit(**asked, idempotency_key="KEYX")
        assert ledger.head == before
        ledger.deposit(**asked)


def test_each_line_is_looked_at_where_several_are_relied_on(tmp_path: Path) -> None:
    """The end of one write group vouches for no line of the next."""
    home = grown(tmp_path, "group")
    rewrite(home, 7, 7, put(b"USER:JOHN:", b"USER:JACK:"))
    with reopen(home, Clock(), signing="group", max_clock_jump=_FAR) as ledger:
        ledger._committer.rely_on(ledger.line(5), ledger.line(6))
        with pytest.raises(bb.JournalCorrupt, match="jsonl:7: "):
            ledger._committer.rely_on(ledger.line(5), ledger.line(7))


def test_a_write_group_is_covered_by_its_own_end(tmp_path: Path) -> None:
    """Not by what is signed next, though the chain leads there: a signature that was taken is missed."""
    home = grown(tmp_path, "group")
    day = next((home / "journal").glob("*.jsonl"))
    lines = day.read_bytes().split(b"\n")
    bare = re.sub(rb',"signatures":\[.*\]', b"", lines[5])
    room = b"d" * (len(lines[5]) - len(bare))
    lines[2] = lines[2].replace(b'"correlation_id":"d"', b'"correlation_id":"d%b"' % room)
    lines[5] = bare
    day.write_bytes(b"\n".join(lines))
    with reopen(home, Clock(), signing="group", max_clock_jump=_FAR) as ledger:
        with pytest.raises(bb.JournalCorrupt, match="no signature covers the write group"):
            ledger.reverse(5, correlation_id="v")
        assert ledger.reverse(7, correlation_id="v").sequence == 9


def test_a_line_that_is_committed_now_needs_no_second_look(tmp_path: Path) -> None:
    """Lines behind the snapshot were verified when they were read, or signed here."""
    home = grown(tmp_path, "entry")
    with reopen(home, Clock(), max_clock_jump=_FAR) as ledger:
        passed: Any = ledger._committer.passed
        assert passed._until == 8
        made = ledger.deposit("ALICE", "1 USDT", correlation_id="d")
        passed._trust = None  # nobody asks it for this
        with pytest.raises(AttributeError):
            ledger.reverse(5, correlation_id="v")
        passed._trust = ledger._trust
        assert ledger.reverse(made.sequence, correlation_id="v").sequence == 10


def test_without_a_snapshot_all_was_verified(tmp_path: Path) -> None:
    """Opening read every line itself."""
    home = grown(tmp_path, "entry")
    with reopen(home, Clock(), verify="all", max_clock_jump=_FAR) as ledger:
        assert ledger._committer.passed is None
