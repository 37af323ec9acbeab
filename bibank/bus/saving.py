"""Saving the cursor of one subscriber: into its file, at most once a second, by whoever delivers.

Others save too, when they ask for a replay or end the subscription, so each save is under a lock of its own:
what is written last is what counts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from threading import RLock
from typing import TypeAlias

from bibank.bus.cursor_files import CursorFile, SavedCursor
from bibank.errors import StoreError
from bibank.model.event import Cursor

SAVE_SECONDS = 1.0
"""How often a cursor is saved: what came since is told again after a crash, and a save costs two syncs."""

logger = logging.getLogger("bibank")

Clock: TypeAlias = Callable[[], float]
"""Tells seconds since some moment; never runs back."""


class KeptBy(Enum):
    """Who keeps the cursor of a subscriber."""

    BUS = "bus"
    """The bus: in a file where there is a home, else in memory."""

    SUBSCRIBER = "subscriber"
    """The subscriber, in the transaction of its own work; of a file only the lock is used."""


class CursorSaving:
    """When, and whether, a cursor is written; without a file nothing is."""

    def __init__(
        self,
        name: str,
        ledger_id: str,
        file: CursorFile | None = None,
        *,
        kept_by: KeptBy = KeptBy.BUS,
        clock: Clock = time.monotonic,
    ) -> None:
        self.kept_by = kept_by
        self.lock = RLock()
        """Held while the file is written, and by who changes what will be. A signal handler may come in
        between, in the same thread: what it writes is older or newer, and either will do to go on from."""
        self._name = name
        self._ledger_id = ledger_id
        self._file = file
        self._clock = clock
        self._is_new = file is not None and kept_by is KeptBy.BUS and not file.path.exists()
        self._moves = self._saved_moves = 0
        """How often the cursor has moved, and how often it had when it was saved."""
        self._saved_at = clock()

    @property
    def _is_waiting(self) -> bool:
        return self._moves != self._saved_moves

    @property
    def _writes(self) -> bool:
        return self._file is not None and self.kept_by is KeptBy.BUS

    def note(self) -> None:
        """Say that the cursor has moved."""
        if self._writes:
            self._moves += 1

    def hurry(self) -> None:
        """Say that there is something to be seen from elsewhere, so that it is saved at once."""
        self.note()
        self._saved_at = self._clock() - SAVE_SECONDS

    @property
    def is_due(self) -> bool:
        """Whether it is time to save."""
        return self._is_waiting and self._clock() - self._saved_at >= SAVE_SECONDS

    @property
    def seconds_left(self) -> float | None:
        """Tell how long it is until then; None where nothing is to be saved."""
        return max(0.0, self._saved_at + SAVE_SECONDS - self._clock()) if self._is_waiting else None

    def write(self, cursor: Cursor, *, parked: str | None) -> None:
        """Write a cursor now, with the lock held; `StoreUnavailable`, `SubscriberBusy`."""
        if self._file is not None and self._writes:
            self._file.save(
                SavedCursor(name=self._name, ledger_id=self._ledger_id, cursor=cursor, parked=parked)
            )

    def save(self, cursor: Callable[[], Cursor], *, parked: str | None) -> StoreError | None:
        """Save what there is to save; give the error of what could not be, which stays to be saved."""
        with self.lock:
            self._saved_at = self._clock()
            if not self._is_waiting or not self._writes:
                return None
            moves = self._moves
            try:
                self.write(cursor(), parked=parked)
                self._saved_moves = moves
            except StoreError as error:
                with suppress(Exception):  # a handler of the host's that raises is no affair of a delivery
                    logger.warning(
                        "the cursor of the subscriber %s could not be saved: %s", self._name, error
                    )
                return error
            return None

    def give_up(self) -> None:
        """Save nothing more: the file may be another bus's."""
        self._saved_moves = self._moves

    def abandon(self) -> None:
        """Let go of the name, and take away a file that was not there before."""
        with self.lock, suppress(StoreError):
            if self._is_new and self._file is not None:
                self._file.delete()
        self.end()

    def end(self) -> None:
        """Let another bus have the name. Twice is harmless."""
        with self.lock:
            file, self._file = self._file, None
            if file is not None:
                file.release()

    def disown(self) -> None:
        """In a forked child: the lock may be held by a thread that is not here."""
        self.lock = RLock()
        self.end()
