"""A writer and its readers in lockstep: random commits, and after each only what may be shown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

import bibank as bb
from bibank.opening import Signing
from bibank.replica import Show
from bibank.signing import Role
from tests.reader.beside import answers, durable, lines_of, mark_of, whole
from tests.store.journals import DAYS, StillClock, day_files, deposit, transfer

Step = tuple[str, int]

steps = st.lists(
    st.tuples(
        st.sampled_from(["commit", "batch", "each", "each", "day", "key", "flush", "sign", "reopen"]),
        st.integers(1, 4),
    ),
    max_size=8,
)
SIGNING: tuple[Signing, Signing] = ("entry", "group")
SHOWN: tuple[Show, Show] = ("durable", "written")


class Writer:
    """A ledger that takes steps; each batch leaves account A as it was."""

    def __init__(self, path: Path, signing: Signing) -> None:
        self.path = path
        self.signing = signing
        self.clock = StillClock()
        self.ledger = bb.Ledger.create(path, opening={"USDT": "5"}, clock=self.clock, signing=signing)
        self.refreshed: Callable[[], None] = lambda: None

    def step(self, what: str, count: int) -> None:
        """Do one thing, `count` times where that says something."""
        ledger = self.ledger
        pair = [deposit("A", "2 USDT"), transfer("A", "B", "2 USDT")]
        match what:
            case "commit":
                ledger.commit(deposit("B", f"{count} USDT"))
            case "batch":
                ledger.commit_batch(pair * count)
            case "each":
                ledger.commit_each([pair * number for number in range(1, count + 1)])
            case "day":
                day = date.fromisoformat(DAYS[0]) + timedelta(days=count)
                self.clock.set(max(day.isoformat(), self.clock.moment.date().isoformat()))
            case "key":
                ledger.keyring.rotate(correlation_id="k1")
            case "flush":
                ledger.flush_head()
            case _:
                if what == "sign":
                    self.signing = SIGNING[count % 2]
                ledger.close()
                self.ledger = bb.Ledger.open(self.path, clock=self.clock, signing=self.signing)


@given(steps, st.sampled_from(SIGNING))
def test_never_less_and_never_more_than_may_be_shown(done: list[Step], signing: Signing) -> None:
    """After each step a reader stands where HEAD and the later groups allow, or at the last whole batch."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "books"
        writer = Writer(path, signing)
        readers = {show: bb.LedgerReader.open(path, show=show) for show in SHOWN}
        for what, count in done:
            writer.step(what, count)
            lines = lines_of(day_files(path))
            expected = {"durable": durable(lines, mark_of(path)), "written": whole(lines)}
            for show, reader in readers.items():
                before = reader.head.sequence
                assert reader.refresh() == expected[show] - before
                assert (reader.head.sequence, reader.head.hash) == (
                    expected[show],
                    lines[expected[show] - 1].hash,
                )
                assert lines[expected[show] - 1].ends_batch
                assert str(reader.balance("A", "USDT").available) == "0"
            assert readers["written"].accounts() == writer.ledger.accounts()
        writer.ledger.flush_head()
        expected_answers = answers(writer.ledger)
        for reader in (*readers.values(), bb.LedgerReader.open(path)):
            reader.refresh()
            assert answers(reader) == expected_answers
        writer.ledger.close()


@given(steps, st.sampled_from(SIGNING), st.sampled_from(SHOWN), st.data())
def test_a_reader_that_looks_now_and_then(
    done: list[Step], signing: Signing, show: Show, data: st.DataObject
) -> None:
    """However many steps a reader missed, it comes to where a reader stands that opens now."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "books"
        writer = Writer(path, signing)
        reader = bb.LedgerReader.open(path, show=show)
        for what, count in done:
            writer.step(what, count)
            if data.draw(st.booleans()):
                reader.refresh()
        reader.refresh()
        with bb.LedgerReader.open(path, show=show) as fresh:
            assert answers(reader) == answers(fresh)
        writer.ledger.close()


def test_a_writer_changes_its_signing_key_for_an_operators(tmp_path: Path) -> None:
    """An operator's key that authorises later changes is known to the reader as to the writer."""
    from tests.reader.test_reader import ANNA

    writer = Writer(tmp_path / "books", "group")
    reader = bb.LedgerReader.open(writer.path)
    writer.ledger.keyring.add(ANNA, roles=(Role.OPERATOR,), correlation_id="k1")
    writer.ledger.keyring.rotate(authorised_by=[ANNA], correlation_id="k2")
    writer.step("each", 3)
    writer.ledger.flush_head()
    assert reader.refresh() == 14
    assert answers(reader) == answers(writer.ledger)
    writer.ledger.close()
