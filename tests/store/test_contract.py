"""The contract of a ledger store, held against both stores of the library."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

import bibank as bb
from bibank.store.jsonl.plan import plan_journal
from bibank.stores import JsonlStore, LedgerStore, MemoryStore
from tests.store.contract import LedgerStoreContract, OpenStore, group


class TestMemoryStore(LedgerStoreContract):
    """The store in memory."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """Make a new one each time."""
        return MemoryStore

    def test_shows_itself(self) -> None:
        """The repr says how much it holds."""
        store = MemoryStore()
        store.append(group(store, [b"1"]))
        assert repr(store) == "<MemoryStore of 1 lines>"


class TestJsonlStore(LedgerStoreContract):
    """The store in daily files."""

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Iterator[OpenStore]:
        """Make one in a directory of the test, and close it at the end."""
        opened: list[LedgerStore] = []

        def open_it() -> JsonlStore:
            directory = tmp_path / f"journal-{len(opened)}"
            directory.mkdir()
            store = plan_journal(directory).repair()
            opened.append(store)
            return store

        yield open_it
        for store in opened:
            store.close()

    def test_shows_itself(self, open_store: OpenStore, tmp_path: Path) -> None:
        """The repr says where it stands, and when it does not sync."""
        assert repr(open_store()) == "<JsonlStore at line 0>"
        (tmp_path / "other").mkdir()
        store = plan_journal(tmp_path / "other").repair(durability="none")
        assert repr(store) == "<JsonlStore at line 0, durability none>"
        store.close()

    def test_reopens_with_the_same_lines(self, tmp_path: Path) -> None:
        """What a ledger appended is there, byte for byte, for a store that is opened from the same files."""
        tmp_path.chmod(0o700)
        store = plan_journal(tmp_path).repair()
        ledger = bb.Ledger(store=store, opening={"USDT": "5"})
        ledger.deposit("A", "2 USDT", correlation_id="r1")
        lines, head = list(store.read()), store.head()
        ledger.close()
        store = plan_journal(tmp_path).repair()
        assert (list(store.read()), store.head()) == (lines, head)
        assert store.locate(3) == (min(path.name for path in tmp_path.glob("*.jsonl")), 3)
        again = bb.Ledger(store=store)
        assert again.entry(3).correlation_id == "r1"
        again.close()

    def test_a_poisoned_store_is_not_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """After a failed write nothing is shown from the file: what is in it cannot be told."""
        store = plan_journal(tmp_path).repair()
        wanted = group(store, [b"1"])

        def fail(handle: int) -> None:
            raise OSError(5, "planted")

        monkeypatch.setattr("bibank.store.jsonl.files._sync_content", fail)
        with pytest.raises(bb.CommitOutcomeUnknown):
            store.append(wanted)
        with pytest.raises(bb.LedgerPoisoned):
            store.append(wanted)
        with pytest.raises(bb.LedgerPoisoned):
            store.read()
        store.close()

    def test_refuses_a_day_before_the_newest(self, tmp_path: Path) -> None:
        """Dates never decrease: a group of an earlier day is refused and nothing is written."""
        store = plan_journal(tmp_path).repair()
        store.append(group(store, [b"1"]))
        with pytest.raises(bb.StoreUnavailable, match="2026-01-24"):
            store.append(group(store, [b"2"], day=date(2026, 1, 24)))
        assert [path.name for path in tmp_path.glob("*.jsonl")] == ["2026-01-25.jsonl"]
        store.append(group(store, [b"2"]))
        store.close()

    def test_an_interrupt_while_writing_poisons(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A write that was interrupted may be on disk or not: the store takes nothing more."""
        store = plan_journal(tmp_path).repair()
        wanted = group(store, [b"1"])

        def interrupt(files: object, handle: int, data: bytes, *, offset: int) -> int:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("bibank.store.jsonl.files.OsFiles.pwrite", interrupt)
            with pytest.raises(KeyboardInterrupt):
                store.append(wanted)
        with pytest.raises(bb.LedgerPoisoned, match="interrupted"):
            store.append(wanted)
        store.close()

    def test_a_new_file_that_its_directory_may_not_know_poisons(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A failed sync of the directory is not tried again, although nothing was written yet."""
        store = plan_journal(tmp_path).repair()

        def fail(files: object) -> None:
            raise OSError(5, "planted")

        with monkeypatch.context() as patch:
            patch.setattr("bibank.store.jsonl.files.OsFiles.fsync_dir", fail)
            with pytest.raises(bb.StoreUnavailable, match="nothing was written"):
                store.append(group(store, [b"1"]))
        with pytest.raises(bb.LedgerPoisoned):
            store.append(group(store, [b"1"]))
        store.close()
        assert [path.read_bytes() for path in tmp_path.glob("*.jsonl")] == [b""]

    def test_an_empty_journal_has_no_places(self, tmp_path: Path) -> None:
        """Before the first line there is no file to name, and an error keeps what it says."""
        plan = plan_journal(tmp_path)
        error = bb.JournalCorrupt("x", sequence=1)
        assert plan.place(error) is error
        store = plan.repair()
        assert store.locate(1) == ("", 1)
        store.close()
