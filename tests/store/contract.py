"""What every ledger store must do, as a test class: subclass it and say how a store is opened.

The lines are opaque to a store: here they are no journal lines at all, but any bytes without a newline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date

import pytest

import bibank as bb
from bibank.stores import Head, LedgerStore, LineGroup

DAY = date(2026, 1, 25)
OpenStore = Callable[[], LedgerStore]


def group(store: LedgerStore, lines: Sequence[bytes], *, day: date = DAY) -> LineGroup:
    """A group that may come next."""
    before = store.head()
    sequence = before.sequence + len(lines)
    return LineGroup(
        date=day, lines=tuple(lines), expected_head=before, head=Head(sequence, f"{sequence:064x}")
    )


class LedgerStoreContract:
    """The obligations of `LedgerStore`."""

    @pytest.fixture
    def open_store(self) -> OpenStore | Iterator[OpenStore]:
        """Give a function that opens a fresh store."""
        raise NotImplementedError

    def test_satisfies_the_protocol(self, open_store: OpenStore) -> None:
        """A store is recognised as one."""
        assert isinstance(open_store(), LedgerStore)

    def test_begins_empty(self, open_store: OpenStore) -> None:
        """A new store stands before the first line."""
        store = open_store()
        assert store.head() == Head()
        assert list(store.read()) == []

    def test_gives_back_exact_bytes_in_order(self, open_store: OpenStore) -> None:
        """What was appended is read back byte for byte, whatever the bytes are."""
        store = open_store()
        groups = [[b"{}"], [b"\xff\x80 \t\r", b'"' * 70], [b"a" * 65_535], ["Zürich".encode()]]
        for lines in groups:
            store.append(group(store, lines))
        assert list(store.read()) == [line for lines in groups for line in lines]

    def test_head_is_the_last_appended(self, open_store: OpenStore) -> None:
        """The head is exactly the one that the last group named."""
        store = open_store()
        for lines in ([b"1"], [b"2", b"3", b"4"]):
            wanted = group(store, lines)
            store.append(wanted)
            assert store.head() == wanted.head

    @pytest.mark.parametrize("count", [1, 511, 512, 513, 1025])
    def test_reads_after_any_sequence(self, open_store: OpenStore, count: int) -> None:
        """Reading starts right behind a sequence, in one day or over several."""
        store = open_store()
        lines = [f"line {number}".encode() for number in range(1, 2 * count + 1)]
        store.append(group(store, lines[:count]))
        store.append(group(store, lines[count:], day=date(2026, 1, 26)))
        for after in {0, 1, count - 1, count, count + 1, 2 * count - 1, 2 * count, 2 * count + 9}:
            assert list(store.read(after_sequence=after)) == lines[after:]

    def test_a_reader_sees_the_store_as_it_was(self, open_store: OpenStore) -> None:
        """What is appended after `read` was called is not in that reading."""
        store = open_store()
        store.append(group(store, [b"1", b"2"]))
        reading = store.read()
        assert next(reading) == b"1"
        waiting = store.read()
        store.append(group(store, [b"3"]))
        assert list(reading) == [b"2"]
        assert list(waiting) == [b"1", b"2"]

    @pytest.mark.parametrize(
        "expected", [Head(), Head(1, "0" * 64), Head(3, f"{3:064x}"), Head(2, "GENESIS")], ids=repr
    )
    def test_refuses_a_group_that_expects_another_head(self, open_store: OpenStore, expected: Head) -> None:
        """A group for another head is a `HeadConflict`, leaves no trace, and the store goes on."""
        store = open_store()
        store.append(group(store, [b"1", b"2"]))
        head = store.head()
        wrong = LineGroup(date=DAY, lines=(b"x",), expected_head=expected, head=Head(9, "9" * 64))
        with pytest.raises(bb.HeadConflict):
            store.append(wrong)
        assert store.head() == head
        assert list(store.read()) == [b"1", b"2"]
        store.append(group(store, [b"3"]))
        assert list(store.read()) == [b"1", b"2", b"3"]

    def test_the_same_group_twice_is_refused(self, open_store: OpenStore) -> None:
        """A retry of a group that was appended does not append it again."""
        store = open_store()
        once = group(store, [b"1"])
        store.append(once)
        with pytest.raises(bb.HeadConflict):
            store.append(once)
        assert list(store.read()) == [b"1"]

    def test_takes_nothing_after_close(self, open_store: OpenStore) -> None:
        """A closed store refuses, and closing twice is harmless."""
        store = open_store()
        wanted = group(store, [b"1"])
        store.close()
        store.close()
        with pytest.raises(bb.LedgerClosed):
            store.append(wanted)

    def test_carries_a_ledger(self, open_store: OpenStore) -> None:
        """A ledger works over the store, and another one opens from what it holds."""
        store = open_store()
        ledger = bb.Ledger(store=store, opening={"USDT": "5"})
        ledger.deposit("A", "2 USDT", correlation_id="r1")
        again = bb.Ledger(store=store)
        assert again.accounts() == ledger.accounts()
        assert again.ledger_id == ledger.ledger_id
        assert again.audit().lines == 3
