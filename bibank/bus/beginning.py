"""Where a subscriber begins: at its cursor, else where it is told to, else behind the last line."""

from __future__ import annotations

from bibank.bus.cursor_files import CursorFile
from bibank.bus.mailbox import Mailbox, Reach
from bibank.bus.protocol import EventSource
from bibank.bus.recipient import Recipient
from bibank.bus.ring import Ring
from bibank.bus.saving import Clock, CursorSaving, KeptBy
from bibank.bus.status import Retry
from bibank.errors import CursorMismatch, InvalidType, UnknownSequence
from bibank.home import Home
from bibank.model.event import Cursor


class Beginning:
    """Makes mailboxes that stand where their subscribers do, and keeps the cursors that no home keeps."""

    def __init__(
        self, ring: Ring, source: EventSource, *, home: Home | None, reach: Reach, clock: Clock
    ) -> None:
        self._ring = ring
        self._source = source
        self._home = home
        self._reach = reach
        self._clock = clock
        self._left: dict[str, Cursor] = {}
        """Where those who left will go on, while there is no home to keep their cursors in."""

    def mailbox(self, recipient: Recipient, after_sequence: int | None, retry: Retry) -> Mailbox:
        """Make the mailbox of a subscriber, and hold its name where there is a home."""
        if after_sequence is not None:
            start = self.cursor_at(after_sequence)
        else:  # one that keeps its cursor and has none has done nothing yet, however often it was started
            start = Cursor() if recipient.keeps_cursor else Cursor.at(self._ring.head)
        if self._home is None:
            if not recipient.keeps_cursor:
                start = self._left.get(recipient.name, start)
            return self._mailbox(recipient, retry, start, None)
        file = CursorFile(self._home, recipient.name)
        try:
            saved = None if recipient.keeps_cursor else file.load()
            if saved is not None:
                if saved.ledger_id != self._source.ledger_id:
                    raise CursorMismatch(
                        f"{file.path} is the cursor of a subscriber of {saved.ledger_id}; "
                        f"forget({recipient.name!r}) deletes it"
                    )
                start = self._checked(saved.cursor)
            mailbox = self._mailbox(recipient, retry, start, file)
            mailbox.keep()
        except BaseException:
            file.release()
            raise
        return mailbox

    def _mailbox(self, recipient: Recipient, retry: Retry, start: Cursor, file: CursorFile | None) -> Mailbox:
        kept_by = KeptBy.SUBSCRIBER if recipient.keeps_cursor else KeptBy.BUS
        saving = CursorSaving(
            recipient.name, self._source.ledger_id, file, kept_by=kept_by, clock=self._clock
        )
        return Mailbox(
            recipient.name,
            self._ring,
            self._source,
            saving,
            start=start,
            retry=retry,
            reach=self._reach,
            clock=self._clock,
        )

    def cursor_at(self, sequence: int) -> Cursor:
        """Give the cursor of who is done with a line; `UnknownSequence`, `InvalidType`."""
        if isinstance(sequence, bool) or not isinstance(sequence, int):
            raise InvalidType(f"a sequence is an int, not {type(sequence).__name__}")
        if not sequence:
            return Cursor()
        line = self._source.line(sequence)
        return Cursor(sequence=line.sequence, hash=line.hash)

    def _checked(self, cursor: Cursor) -> Cursor:
        """Demand that a cursor is of this journal, as far as that is known; `CursorMismatch`."""
        if self._reach == "lagging" and cursor.sequence > self._source.head.sequence:
            return cursor
        try:
            found = self.cursor_at(cursor.sequence)
        except UnknownSequence:
            found = None
        if found != cursor:
            raise CursorMismatch(
                f"the cursor {cursor} is not of this journal, which ends at line {self._source.head.sequence}"
            )
        return cursor

    def leave(self, mailbox: Mailbox) -> None:
        """Remember where a subscriber goes on that left."""
        if self._home is None:
            self._left[mailbox.name] = mailbox.cursor

    def forget(self, name: str) -> bool:
        """Forget where a subscriber would go on; False where that is not known here."""
        return self._left.pop(name, None) is not None
