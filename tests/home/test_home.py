"""The home: the one module that knows what the directory of a ledger looks like."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import bibank as bb
from bibank.home import Home, replace_file
from tests.store.journals import day_files, put, tree, write_journal


def test_a_home_knows_its_paths_and_touches_nothing(tmp_path: Path) -> None:
    """Naming a home makes no directory."""
    home = Home(tmp_path / "books")
    assert home.journal == tmp_path / "books" / "journal"
    assert home.projection == tmp_path / "books" / "projection.db"
    assert repr(home) == f"Home({str(tmp_path / 'books')!r})"
    assert list(tmp_path.iterdir()) == []
    assert Home(str(tmp_path / "books")).path == home.path


def test_a_survey_changes_nothing(tmp_path: Path) -> None:
    """Looking at a home, torn or whole, makes no lock and repairs nothing."""
    write_journal(tmp_path / "one")
    files = day_files(tmp_path / "one")
    newest = max(files)
    home = put(tmp_path / "books", {**files, newest: files[newest] + b'{"torn'})
    before = tree(home)
    plan = Home(home).survey()
    assert plan.head.sequence == 13
    assert plan.torn is not None
    assert len(list(plan.read())) == 13
    with pytest.raises(bb.JournalTorn, match="6 bytes"):
        plan.raise_if_torn()
    with pytest.raises(AssertionError):
        plan.repair()
    plan.abandon()
    assert tree(home) == before
    assert not (home / "journal" / ".lock").exists()


def test_an_abandoned_plan_gives_the_home_back(tmp_path: Path) -> None:
    """Planning to open takes the lock, abandoning lets go of it, twice is harmless."""
    write_journal(tmp_path / "books")
    plan = Home(tmp_path / "books").plan_open()
    with pytest.raises(bb.LedgerBusy):
        Home(tmp_path / "books").plan_open()
    plan.abandon()
    plan.abandon()
    Home(tmp_path / "books").plan_open().abandon()


def test_a_store_can_be_repaired_without_reading_first(tmp_path: Path) -> None:
    """A plan that nobody read still gives a store in which every line is found."""
    write_journal(tmp_path / "books")
    store = Home(tmp_path / "books").plan_open().repair()
    assert len(list(store.read(after_sequence=3))) == 10
    assert store.locate(13) == ("2026-01-27.jsonl", 9)
    store.close()


def test_a_file_that_takes_no_bytes_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that the operating system writes nothing of is reported, and what was there stays."""
    path = tmp_path / "keyring.json"
    replace_file(path, b"old")
    monkeypatch.setattr(os, "write", lambda _handle, _data: 0)
    with pytest.raises(bb.StoreUnavailable, match="took no bytes"):
        replace_file(path, b"new")
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


def test_creating_over_damage_is_refused(tmp_path: Path) -> None:
    """A journal that is damaged beyond its genesis is corrupt, not missing: nothing is founded over it."""
    write_journal(tmp_path / "one")
    files = day_files(tmp_path / "one")
    oldest, newest = min(files), max(files)
    for damage in ({newest: b"", oldest: files[oldest][:-9]}, {oldest: b"{}\n"}, {newest: b"{}\n"}):
        home = put(tmp_path / "books", {**files, **damage})
        before = tree(home)
        for make in (bb.Ledger.open, bb.Ledger.create, bb.Ledger.open_or_create):
            with pytest.raises((bb.JournalCorrupt, bb.HomeExists)):
                make(home)
        assert tree(home) == before
