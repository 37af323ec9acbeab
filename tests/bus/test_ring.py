"""The buffer by itself, seen by a reader that looks while a write is on its way."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import bibank as bb
from bibank import drafts
from bibank.bus.ring import Ring
from bibank.journal.batches import SealedBatch
from bibank.model.lines import Head
from tests.bus.ears import deposit, in_memory


class Looked(list[SealedBatch]):
    """Batches at which somebody looks before each is taken, and behind the last."""

    look: Callable[[], None]

    def __iter__(self) -> Iterator[SealedBatch]:
        """Give them, with a look in between."""
        for batch in super().__iter__():
            self.look()
            yield batch
            self.look()


@pytest.fixture
def groups() -> list[list[SealedBatch]]:
    """Groups of batches from line 3 on, as a ledger publishes them."""
    published: list[list[SealedBatch]] = []
    with in_memory() as ledger:
        assert len(ledger.bus.status()) == 0  # it is there, and publishes
        ledger._committer._queue.published = lambda batches: published.append(list(batches))
        deposit(ledger, 3)
        draft = drafts.deposit("ALICE", "1 USDT", correlation_id="r")
        ledger.commit_batch([draft] * 4)
        ledger.commit_each([draft, [draft] * 3, draft])
        deposit(ledger)
    return published


@pytest.mark.parametrize("size", [4, 4096])
def test_up_to_the_head_every_line_is_there(groups: list[list[SealedBatch]], size: int) -> None:
    """Whoever looks while lines are put finds each line that the head speaks of, but for what is overwritten.

    What is overwritten are at most the lines of the group that comes, so one reads the store for no other.
    """
    ring, looks = Ring(Head(2, "0" * 64), size=size), 0

    for group in groups:
        lines = sum(len(batch.lines) for batch in group)

        def look(lines: int = lines) -> None:
            nonlocal looks
            looks += 1
            head = ring.head.sequence
            for sequence in range(max(3, head - size + 1 + lines), head + 1):
                line = ring.get(sequence)
                assert line is not None
                assert line.sequence == sequence

        batches = Looked(group)
        batches.look = look
        before = ring.head
        ring.put(batches)
        assert ring.head == group[-1].head != before
        look(0)
    assert looks > 3 * len(groups)


def test_a_line_that_is_not_there_is_not_given(groups: list[list[SealedBatch]]) -> None:
    """Neither one that comes later, nor one that was overwritten, under the place that they share."""
    ring = Ring(Head(2, "0" * 64), size=4)
    for group in groups:
        ring.put(group)
    last = ring.head.sequence
    found = [sequence for sequence in range(1, 2 * last) if ring.get(sequence) is not None]
    assert found == list(range(last - 3, last + 1))


def test_of_a_batch_larger_than_the_buffer_its_end_is_there() -> None:
    """The last lines, each in its own place."""
    published: list[SealedBatch] = []
    with in_memory() as ledger:
        assert isinstance(ledger.bus, bb.EventBus)
        ledger._committer._queue.published = published.extend
        ledger.commit_batch([drafts.deposit("ALICE", "1 USDT", correlation_id="r")] * 11)
    ring = Ring(Head(2, "0" * 64), size=4)
    ring.put(published)
    found = [sequence for sequence in range(1, 40) if ring.get(sequence) is not None]
    assert found == [10, 11, 12, 13]
