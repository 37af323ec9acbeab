"""The reader: every question that a ledger answers, beside the one process that writes it.

>>> import bibank as bb
>>> ledger = bb.Ledger.create("books", opening={"USDT": "1000"})
>>> reader = bb.LedgerReader.open("books")
>>> _ = ledger.deposit("ALICE", "100 USDT", correlation_id="r1")
>>> ledger.flush_head()
>>> reader.refresh()
1
>>> print(reader.balance("ALICE", "USDT").available)
100
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bibank.errors import ConfigurationError, HomeNotFound, LedgerClosed, excerpt
from bibank.home import Home
from bibank.model.record import JournalLine
from bibank.model.table import Table
from bibank.opening import Verify, check_verify
from bibank.queries import Queries
from bibank.replica import Replica, Show
from bibank.source import check_sequence
from bibank.store.jsonl.files import OsFiles

if TYPE_CHECKING:
    from bibank.bus.bus import EventBus
    from bibank.bus.standing import CursorStanding

MAX_POLL_SECONDS = 86_400.0
"""A day: whoever looks less often need not follow."""


class LedgerReader(Queries):
    """A ledger that another process writes, for reading: any number of readers, in any number of processes.

    Made by :meth:`open`. It takes no lock, repairs nothing and changes nothing in the directory; SQLite may
    make files of its own beside a projection that is asked, and a `bus` keeps its cursors there. It stands
    still until :meth:`refresh` or :meth:`follow` moves it on, by whole batches. Safe to use from any number
    of threads; after a fork, each process opens its own.

    With `show="durable"` it shows what is known to be on the disk: what HEAD covers, or what a
    later write group follows. With `show="written"` it shows every whole batch in the files, and a
    power cut may take the last of them back; then the reader raises `JournalTruncated` or
    `JournalCorrupt`, and has to be opened again.

    Every method that reads raises `LedgerClosed` after `close`, and `LedgerPoisoned` after a refresh
    that was interrupted.
    """

    def __init__(self, home: Home, replica: Replica) -> None:
        self._source = self._replica = replica
        self._home: Home = home

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, verify: Verify = "tail", show: Show = "durable") -> Self:
        """Open a home for reading; every line and its signatures are verified first.

        `verify="chain"` leaves the cryptography of signatures out, here and when the reader moves
        on. Raises `HomeNotFound`, also while the first line is not known to be on the disk,
        `JournalCorrupt` with file and line, `JournalTruncated` when the journal ends below HEAD,
        `PinMismatch` for a keyring file that the journal does not reach, `UnsupportedFormat`,
        `StoreUnavailable`, and `ConfigurationError` for a misspelled option.
        """
        check_verify(verify)
        if show not in ("durable", "written"):
            raise ConfigurationError(f"show is 'durable' or 'written', not {excerpt(show)}")
        home = Home(path)
        cached = home.read_keyring()
        plan = home.survey()
        replica = Replica(OsFiles(home.journal), plan.mark, verify=verify, show=show)
        if not replica.durable.sequence:
            raise HomeNotFound(
                f"nothing in {home.path} is known to be on the disk yet; show='written' shows it all the same"
            )
        if cached is not None:
            cached.check(replica.known)
        return cls(home, replica)

    @property
    def bus(self) -> EventBus:
        """Who hears, in this process, what the reader learns when it is moved on; cursors are in the home.

        Raises `ConfigurationError` for a reader that shows what a power cut may take back.
        """
        if self._replica.shows_all:
            raise ConfigurationError("subscribers hear what is durable: open a reader with show='durable'")
        from bibank.bus.bus import EventBus

        return self._replica.publishing(
            lambda head: EventBus(self, head=head, home=self._home, reach="lagging")
        )

    def cursors(self) -> Table[CursorStanding]:
        """List how far each subscriber of the home has come, by what was saved last, sorted by name.

        In whatever process it is told; a cursor is saved about once a second. Raises `StoreUnavailable`,
        `JournalCorrupt`.
        """
        from bibank.bus.standing import CursorStanding, standings

        return Table(standings(self._home, self), row_type=CursorStanding)

    def refresh(self) -> int:
        """Move on to what the writer has made durable by now; give the number of new lines.

        Takes whole batches only, and verifies each line before it is shown. What the writer has
        begun and not finished is no error. Raises `JournalCorrupt` with file and line for a line that
        does not follow, or when the directory holds another ledger now, and `JournalTruncated`
        when lines are gone; the reader then stays where it was. `StoreUnavailable`, `LedgerClosed`.
        """
        return self._replica.refresh()

    def follow(
        self, *, after_sequence: int | None = None, poll_seconds: float = 0.25
    ) -> Iterator[JournalLine]:
        """Give each line after a sequence, once and in order, and wait for the next until :meth:`close`.

        Begins where the reader stands unless told. Moves the reader on, looking every
        `poll_seconds`; lines of a batch come one after the other, once the batch is whole and may
        be shown. Iterating raises what :meth:`refresh` raises; follow again from the last line
        that came.
        """
        if after_sequence is None:
            after_sequence = self.head.sequence
        check_sequence(after_sequence, minimum=0)
        _check_poll(poll_seconds)
        return self._follow(after_sequence, poll_seconds)

    def _follow(self, sequence: int, poll_seconds: float) -> Iterator[JournalLine]:
        replica = self._replica
        while replica.state != "closed":
            try:
                replica.refresh()
                for line in self._lines(sequence):
                    sequence = line.sequence
                    yield line
                    if replica.state == "closed":
                        return
            except LedgerClosed:
                return
            replica.wait(poll_seconds)

    def close(self) -> None:
        """Close the reader and its bus; whoever follows it ends. Closing twice is harmless."""
        if self._replica.bus is not None:
            self._replica.bus.close()
        self._replica.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "" if self._replica.state == "open" else f", {self._replica.state}"
        return (
            f"<LedgerReader {self.ledger_id} in {str(self._home.path)!r}, line {self.head.sequence}{state}>"
        )


def _check_poll(seconds: object) -> None:
    """Refuse what is no time between two looks."""
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not 0 < seconds <= MAX_POLL_SECONDS
    ):
        raise ConfigurationError(
            f"poll_seconds is above 0 and at most {MAX_POLL_SECONDS:.0f} seconds, not {excerpt(seconds)}"
        )
