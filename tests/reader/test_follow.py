"""Following: each line once and in order, until closed; in threads, and beside a real writer process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import pytest

import bibank as bb
from tests.reader.beside import answers, lines_of, put_mark
from tests.store.journals import StillClock, day_files, deposit, transfer, write_journal

SOON = 0.001
LONG = 3600.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[bb.Ledger]:
    """A writer in `books`."""
    with bb.Ledger.create(tmp_path / "books", opening={"USDT": "9"}, clock=StillClock()) as made:
        yield made


def collect(reader: bb.LedgerReader, seen: SimpleQueue[Any], **options: Any) -> Thread:
    """Follow in a thread; what comes goes to a queue, and at the end what ended it."""

    def run() -> None:
        try:
            for line in reader.follow(**options):
                seen.put(line)
        except bb.BibankError as error:
            seen.put(error)
        else:
            seen.put("end")

    thread = Thread(target=run)
    thread.start()
    return thread


def test_each_line_once_and_in_order(ledger: bb.Ledger, tmp_path: Path) -> None:
    """Entries and records come as they become durable, from where the reader stands."""
    reader = bb.LedgerReader.open(tmp_path / "books")
    ledger.commit(deposit("A", "5 USDT"))
    ledger.flush_head()
    reader.refresh()
    seen: SimpleQueue[Any] = SimpleQueue()
    thread = collect(reader, seen, poll_seconds=SOON)
    ledger.commit_batch([deposit("B", "5 USDT"), transfer("B", "A", "1 USDT")])
    ledger.flush_head()
    came = [seen.get(), seen.get()]
    ledger.keyring.rotate(correlation_id="k1")
    ledger.commit(deposit("C", "1 USDT"))
    ledger.flush_head()
    came += [seen.get(), seen.get()]
    reader.close()
    assert seen.get() == "end"
    thread.join()
    assert [line.sequence for line in came] == [4, 5, 6, 7]
    assert isinstance(came[2], bb.JournalRecord)
    assert [line for line in came if isinstance(line, bb.JournalEntry)] == list(
        ledger.entries(after_sequence=3)
    )


def test_from_any_sequence(tmp_path: Path) -> None:
    """`after_sequence` says behind which line to begin, be it the first or one that is not there yet."""
    path = tmp_path / "books"
    write_journal(path)
    lines = lines_of(day_files(path))
    put_mark(path, lines[-1].mark)
    for after in (0, 1, 7, 12):
        with bb.LedgerReader.open(path) as reader:
            follow = reader.follow(after_sequence=after)
            assert [next(follow).sequence for _ in range(13 - after)] == list(range(after + 1, 14))
    with bb.Ledger.open(path, clock=StillClock("2026-01-27")) as ledger, bb.LedgerReader.open(path) as reader:
        seen: SimpleQueue[Any] = SimpleQueue()
        thread = collect(reader, seen, after_sequence=14, poll_seconds=SOON)
        for _ in range(2):
            ledger.commit(deposit("A", "5 USDT"))
        ledger.flush_head()
        assert seen.get().sequence == 15
        reader.close()
        thread.join()


def test_where_the_reader_stands_is_where_it_stood_at_the_call(ledger: bb.Ledger, tmp_path: Path) -> None:
    """What a refresh takes between the call and the first look is not lost."""
    with bb.LedgerReader.open(tmp_path / "books") as reader:
        follow = reader.follow()
        ledger.commit(deposit("A", "5 USDT"))
        ledger.flush_head()
        assert reader.refresh() == 1
        assert next(follow).sequence == 3


def test_the_last_group_waits_for_head_unless_told(ledger: bb.Ledger, tmp_path: Path) -> None:
    """What may be on its way to the disk only comes to who asked for what is written."""
    ledger.commit(deposit("A", "5 USDT"))
    ledger.commit(deposit("A", "5 USDT"))
    with bb.LedgerReader.open(tmp_path / "books") as reader:
        assert next(reader.follow(after_sequence=2)).sequence == 3
        assert reader.head.sequence == 3
    with bb.LedgerReader.open(tmp_path / "books", show="written") as reader:
        follow = reader.follow(after_sequence=2)
        assert [next(follow).sequence, next(follow).sequence] == [3, 4]


def test_closing_wakes_who_waits(ledger: bb.Ledger, tmp_path: Path) -> None:
    """A follower that would look again in an hour ends at once, in any number of threads."""
    reader = bb.LedgerReader.open(tmp_path / "books")
    seen: SimpleQueue[Any] = SimpleQueue()
    threads = [collect(reader, seen, after_sequence=0, poll_seconds=LONG) for _ in range(3)]
    assert sorted(seen.get().sequence for _ in range(6)) == [1, 1, 1, 2, 2, 2]
    reader.close()
    for thread in threads:
        thread.join()
    assert [seen.get() for _ in range(3)] == ["end"] * 3


def test_closing_between_two_lines(ledger: bb.Ledger, tmp_path: Path) -> None:
    """Nothing comes after `close`, also of what was ready."""
    reader = bb.LedgerReader.open(tmp_path / "books")
    follow = reader.follow(after_sequence=0)
    assert next(follow).sequence == 1
    reader.close()
    assert list(follow) == []


def test_damage_ends_it(ledger: bb.Ledger, tmp_path: Path) -> None:
    """A follower gets the error of the refresh, and can follow again from its last line."""
    reader = bb.LedgerReader.open(tmp_path / "books")
    ledger.commit(deposit("A", "5 USDT"))
    ledger.close()
    ((name, good),) = day_files(tmp_path / "books").items()
    path = tmp_path / "books" / "journal" / name
    path.write_bytes(good.replace(b'"amount":"5"', b'"amount":"6"'))
    with pytest.raises(bb.JournalCorrupt):
        next(reader.follow())
    path.write_bytes(good)
    assert next(reader.follow()).sequence == 3


@pytest.mark.parametrize("seconds", [0, -1, True, "1", None, float("nan"), float("inf"), 10**6])
def test_no_time_between_two_looks(ledger: bb.Ledger, tmp_path: Path, seconds: Any) -> None:
    """It is a `ConfigurationError`, at the call and not at the first line."""
    with (
        bb.LedgerReader.open(tmp_path / "books") as reader,
        pytest.raises(bb.ConfigurationError, match="poll_seconds"),
    ):
        reader.follow(poll_seconds=seconds)


@pytest.mark.parametrize(
    ("sequence", "error"), [(-1, bb.UnknownSequence), (True, bb.InvalidType), ("1", bb.InvalidType)]
)
def test_no_sequence(ledger: bb.Ledger, tmp_path: Path, sequence: Any, error: type[bb.BibankError]) -> None:
    """It is refused as it is by `entries`."""
    with bb.LedgerReader.open(tmp_path / "books") as reader, pytest.raises(error):
        reader.follow(after_sequence=sequence)


def test_questions_beside_refreshes(tmp_path: Path) -> None:
    """Threads that ask while others refresh see whole batches, and what they see does not go back."""
    path = tmp_path / "books"
    with bb.Ledger.create(path, keyring=bb.Keyring.unsigned()) as ledger:
        reader = bb.LedgerReader.open(path)
        wrong: SimpleQueue[object] = SimpleQueue()

        def ask() -> None:
            last = 0
            while reader.head.sequence < 3 * 300 + 2:
                units = {row.account.id: row.balance for row in reader.accounts("LIAB:")}
                head = reader.head.sequence
                if (
                    head < last
                    or len(set(units.values())) > 1
                    or len(reader.entries(limit=5)) < min(5, last - 1)
                ):
                    wrong.put((head, units))
                last = head

        def refresh() -> None:
            while reader.head.sequence < 3 * 300 + 2:
                reader.refresh()

        threads = [Thread(target=target) for target in (ask, ask, refresh, refresh)]
        for thread in threads:
            thread.start()
        trio = [deposit(owner, "1 USDT") for owner in "ABC"]
        for _ in range(15):
            ledger.commit_each([trio] * 20)
        ledger.flush_head()
        for thread in threads:
            thread.join()
        assert wrong.empty()
        assert answers(reader) == answers(ledger)


WRITE = """
import sys
import bibank as bb
from bibank import drafts
with bb.Ledger.create(sys.argv[1], opening={"USDT": "7"}, signing=sys.argv[2]) as ledger:
    print(ledger.head.sequence, flush=True)
    for count, _ in enumerate(sys.stdin):
        for _ in range(2):
            ledger.commit_each([
                [drafts.deposit("A", "1 USDT", correlation_id="r1"),
                 drafts.transfer("A", "B", "1 USDT", correlation_id="r2")]
                for _ in range(count % 5 + 1)
            ])
        print(ledger.head.sequence, flush=True)
"""
AHEAD = 3
"""Rounds that the writer is asked for before the answer to the first is read: it never stands still."""


@pytest.mark.parametrize("signing", ["entry", "group"])
def test_a_real_writer_process(tmp_path: Path, signing: str) -> None:
    """Beside a process that commits without pause every refresh shows whole batches whose sums fit."""
    path = tmp_path / "books"
    with subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path), signing],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdin is not None
        assert writer.stdout.readline() == "2\n"
        durably, written = bb.LedgerReader.open(path), bb.LedgerReader.open(path, show="written")
        acknowledged = 2
        for number in range(200):
            writer.stdin.write("go\n")
            writer.stdin.flush()
            if number >= AHEAD:
                acknowledged = int(writer.stdout.readline())
            for reader in (durably, written):
                reader.refresh()
                held = {str(row.account): str(row.balance) for row in reader.accounts()}
                pairs = (reader.head.sequence - 2) // 2
                assert reader.head.sequence == 2 + 2 * pairs
                assert held["ASSET:SYSTEM:VAULT:USDT:MAIN"] == str(pairs + 7)
                assert held.get("LIAB:USER:A:USDT:AVAILABLE", "0") == "0"
                assert held.get("LIAB:USER:B:USDT:AVAILABLE", "0") == str(pairs)
            assert written.head.sequence >= acknowledged
            assert durably.head.sequence >= acknowledged - 10
            if number % 20 == 0:
                with bb.LedgerReader.open(path, show="written") as fresh:
                    assert fresh.head.sequence >= acknowledged
        last = [int(writer.stdout.readline()) for _ in range(AHEAD)][-1]
        writer.stdin.close()
        assert writer.wait(timeout=60) == 0
    durably.refresh()
    assert durably.head.sequence == last
    assert durably.audit(level="signatures").lines == last
