"""Feeding projections: only verified lines, only whole batches, only what they do not have."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from bibank import drafts
from bibank.errors import InvalidType, JournalError, ProjectionMismatch, UnsupportedFormat
from bibank.ledger import Ledger
from bibank.model.lines import Head
from bibank.projection import runner, sources
from bibank.projections import (
    JournalLines,
    LineSource,
    Projection,
    SqliteBooks,
    VerifiedLine,
    catch_up,
    verified_batches,
)
from bibank.store.memory import MemoryStore
from tests.projection.journals import dump_of, everyday, journal, verified


@attrs.define
class Recorder:
    """A host's own projection: remembers what it was told."""

    name: str = "recorder"
    position: Head = attrs.field(factory=Head)
    applied: list[int] = attrs.field(factory=list)
    flushed_at: list[int] = attrs.field(factory=list)
    _last: Head = attrs.field(factory=Head)

    def apply(self, line: VerifiedLine) -> None:
        """Remember the line."""
        self.applied.append(line.sequence)
        self._last = line.head

    def flush(self) -> None:
        """Move the position."""
        self.position = self._last
        self.flushed_at.append(self.position.sequence)

    def reset(self) -> None:
        """Forget."""
        self.position = self._last = Head()


def batched() -> list[bytes]:
    """Give a journal whose lines 3 to 5 are one batch."""
    draft = drafts.deposit("ALICE", "1 USDT", correlation_id="d")
    return journal([[draft, draft, draft], [draft]])


def test_a_hosts_own_projection() -> None:
    """Anything with the protocol's members can be fed, and gets each line once."""
    recorder = Recorder()
    projection: Projection = recorder
    report = catch_up(projection, JournalLines(batched()))
    assert recorder.applied == [1, 2, 3, 4, 5, 6]
    assert (report.before, report.position.sequence, report.applied) == (Head(), 6, 6)
    again = catch_up(projection, JournalLines(batched_more(recorder)))
    assert again.applied == 0


def batched_more(recorder: Recorder) -> list[bytes]:
    """Give a journal that ends where the recorder stands."""
    lines = batched()
    recorder.position = verified(lines)[-1].head
    return lines


def test_flushes_fall_between_batches() -> None:
    """However small the flushes are asked for, no batch is saved by half."""
    recorder = Recorder()
    catch_up(recorder, JournalLines(batched()), flush_lines=1)
    assert recorder.flushed_at == [2, 5, 6, 6]


def test_progress_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is told now and then, and at the end."""
    monkeypatch.setattr(runner, "PROGRESS_LINES", 3)
    told: list[int] = []
    catch_up(Recorder(), JournalLines(batched()), progress=told.append)
    assert told == [3, 6, 6]


def test_progress_of_what_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that are verified and not delivered are progress too, where the source knows whom to tell."""
    monkeypatch.setattr(sources, "PROGRESS_LINES", 2)
    recorder, told = Recorder(), list[int]()
    lines = everyday()
    catch_up(recorder, JournalLines(lines))
    catch_up(recorder, JournalLines(lines, progress=told.append))
    assert told == [2, 4]


def test_a_live_ledger_is_a_source(tmp_path: Path) -> None:
    """An open ledger gives what a projection lacks, and refuses one that stands elsewhere."""
    store = MemoryStore()
    with Ledger(store=store) as ledger, SqliteBooks(tmp_path / "projection.db") as books:
        assert isinstance(ledger, LineSource)
        ledger.deposit("ALICE", "5 USDT", correlation_id="d")
        assert catch_up(books, ledger).applied == 3
        ledger.commit_batch([drafts.transfer("ALICE", "BOB", "1 USDT", correlation_id="t")] * 3)
        assert catch_up(books, ledger, flush_lines=1).applied == 3
        assert books.dump() == dump_of(list(store.read()))
        with Ledger.in_memory() as other, pytest.raises(ProjectionMismatch):
            catch_up(books, other)


def test_lines_are_no_source() -> None:
    """Whoever gives lines where a source is asked for is told what to give."""
    with pytest.raises(InvalidType, match=r"a list is no source of lines; .* JournalLines\(lines\)"):
        catch_up(Recorder(), everyday())  # type: ignore[arg-type]  # what a caller may get wrong


def test_a_source_knows_its_head() -> None:
    """Where the journal ends is known after its lines were given."""
    lines = everyday()
    source: LineSource = JournalLines(lines)
    assert source.head == Head()
    assert [line.sequence for line in source.verified_lines(after=Head())] == [1, 2, 3, 4, 5, 6]
    assert source.head == verified(lines)[-1].head


def test_an_empty_journal_moves_nothing() -> None:
    """Without lines there is nothing to apply."""
    assert catch_up(Recorder(), JournalLines([])).position == Head()


def test_only_what_follows_the_position_is_delivered(tmp_path: Path) -> None:
    """An incremental run verifies everything and delivers the rest."""
    lines = everyday()
    recorder = Recorder()
    catch_up(recorder, JournalLines(lines[:4]))
    recorder.applied.clear()
    report = catch_up(recorder, JournalLines(lines))
    assert recorder.applied == [5, 6]
    assert (report.before.sequence, report.applied) == (4, 2)


def test_damage_before_the_position_is_found() -> None:
    """Lines that the projection has already are verified all the same."""
    lines = everyday()
    recorder = Recorder()
    catch_up(recorder, JournalLines(lines))
    lines[2] = lines[2].replace(b"ALICE", b"MALLO")
    with pytest.raises(JournalError) as caught:
        catch_up(recorder, JournalLines(lines))
    assert caught.value.sequence == 3


def test_a_batch_behind_damage_is_not_delivered() -> None:
    """When a batch breaks in its middle, none of its lines reaches the projection."""
    lines = batched()
    lines[4] = lines[4].replace(b'"1"', b'"2"')
    recorder = Recorder()
    with pytest.raises(JournalError):
        catch_up(recorder, JournalLines(lines))
    assert recorder.applied == [1, 2]


def test_an_unfinished_batch_is_not_delivered() -> None:
    """A journal that ends within a batch is corrupt, and the batch stays out."""
    recorder = Recorder()
    with pytest.raises(JournalError, match="unfinished") as caught:
        catch_up(recorder, JournalLines(batched()[:4]))
    assert caught.value.sequence == 5
    assert recorder.applied == [1, 2]


def test_errors_are_placed() -> None:
    """Whoever knows the files of a journal can add them to the error."""

    def place(error: JournalError) -> JournalError:
        return JournalError(error.reason, sequence=error.sequence, file="day.jsonl", line=1)

    with pytest.raises(JournalError, match=r"^day\.jsonl:1: "):
        list(verified_batches([b"{}"], place=place))


def test_another_format_is_unsupported() -> None:
    """A journal of a format that is not known is said to be one, not to be damaged."""
    lines = [line.replace(b"bibank/1", b"bibank/9") for line in everyday()]
    with pytest.raises(UnsupportedFormat):
        catch_up(Recorder(), JournalLines(lines))


def test_a_projection_of_another_ledger(tmp_path: Path) -> None:
    """A position whose hash is not the journal's is a mismatch, and nothing is delivered."""
    with SqliteBooks(tmp_path / "projection.db") as balances:
        catch_up(balances, JournalLines(everyday()))
        before = balances.dump()
        with pytest.raises(ProjectionMismatch, match="another ledger"):
            catch_up(balances, JournalLines(everyday(transfers=9)))
        assert balances.dump() == before


def test_a_projection_ahead_of_the_journal(tmp_path: Path) -> None:
    """A projection that has lines which the journal lost is a mismatch."""
    lines = everyday()
    with SqliteBooks(tmp_path / "projection.db") as balances:
        catch_up(balances, JournalLines(lines))
        with pytest.raises(ProjectionMismatch, match="stands at line 6, the journal ends at 4"):
            catch_up(balances, JournalLines(lines[:4]))


def test_verified_lines_show_what_they_are() -> None:
    """A verified line knows its place, and its view is the entry that was committed."""
    store = MemoryStore()
    with Ledger(store=store) as ledger:
        entry = ledger.deposit("ALICE", "1 USDT", correlation_id="d")
        line = verified(list(store.read()))[-1]
    assert line.view() == entry
    assert (line.sequence, line.prev_hash, line.hash) == (entry.sequence, entry.prev_hash, entry.hash)
    assert line.head == Head(entry.sequence, entry.hash)
