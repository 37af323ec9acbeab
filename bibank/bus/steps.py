"""What whoever delivers has to do next; a mailbox says so."""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

import attrs

from bibank.model.event import LedgerEvent


@attrs.frozen
class Handle:
    """Let the subscriber handle this event, and then say `done` or `failed`."""

    event: LedgerEvent


@attrs.frozen
class Wait:
    """There is nothing to do for so long, or until somebody wakes whoever delivers."""

    seconds: float


class Do(Enum):
    """Steps without an event."""

    LOAD = "ask the subscriber for its cursor, and then say `loaded` or `failed`"
    FETCH = "call `fetch`, which reads the store"
    SAVE = "call `save`, which writes the cursor file"
    STOP = "deliver no more"


Step: TypeAlias = Handle | Wait | Do
