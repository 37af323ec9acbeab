"""How far the subscribers of a home have come, told by what their buses have saved, from any process."""

from __future__ import annotations

import os
from contextlib import suppress
from enum import Enum
from pathlib import Path

import attrs

from bibank.bus.cursor_files import lock_path, read_cursor_file, saved_cursors
from bibank.bus.protocol import EventSource
from bibank.errors import CursorMismatch, StoreUnavailable, UnknownSequence
from bibank.home import Home


class CursorState(Enum):
    """What a saved cursor says of its subscriber."""

    LIVE = "live"
    """A bus delivers to it at the moment; it may be further than it has saved."""

    IDLE = "idle"
    """No bus delivers to it; it goes on from here when it subscribes."""

    PARKED = "parked"
    """It failed too often at the next event."""

    REFUSED = "refused"
    """The cursor is damaged, or of another ledger or history; nobody can subscribe with it."""


@attrs.frozen(kw_only=True)
class CursorStanding:
    """A subscriber's saved cursor: the last line it is known to be done with, and how many come after it.

    `reason` is the kind of error that it was parked for, or why the cursor is refused.
    """

    name: str
    state: CursorState
    sequence: int | None = None
    behind: int | None = None
    reason: str | None = None


def standings(home: Home, source: EventSource) -> list[CursorStanding]:
    """Read every cursor of a home and hold it to the journal; `StoreUnavailable`, `JournalCorrupt`."""
    return [_standing(path, source) for path in saved_cursors(home)]


def _standing(path: Path, source: EventSource) -> CursorStanding:
    try:
        saved = read_cursor_file(path)
        if saved is None:  # forgotten since it was listed
            return CursorStanding(name=path.stem, state=CursorState.IDLE)
        if saved.ledger_id != source.ledger_id:
            raise CursorMismatch(f"it is of {saved.ledger_id}")
        sequence = saved.cursor.sequence
        if sequence and source.line(sequence).hash != saved.cursor.hash:
            raise CursorMismatch("it is of another history of this ledger")
    except UnknownSequence:
        reason = f"it is ahead of the journal, which ends at line {source.head.sequence}"
        return CursorStanding(name=path.stem, state=CursorState.REFUSED, reason=reason)
    except (CursorMismatch, StoreUnavailable) as error:
        return CursorStanding(name=path.stem, state=CursorState.REFUSED, reason=str(error))
    if saved.parked is not None:
        state = CursorState.PARKED
    else:
        state = CursorState.LIVE if _is_locked(lock_path(path)) else CursorState.IDLE
    return CursorStanding(
        name=saved.name,
        state=state,
        sequence=sequence,
        behind=source.head.sequence - sequence,
        reason=saved.parked,
    )


def _is_locked(path: Path) -> bool:
    """Tell whether a bus holds the lock beside a cursor file."""
    try:
        import fcntl

        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (ImportError, OSError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        with suppress(OSError):
            os.close(handle)
    return False
