"""How one call of `Files` fails, and which call that is.

A plan breaks exactly one call, so that a loop over every call and every fault it can have is a complete
test of what a store does with errors.

>>> from bibank.testing.faults import Fault, FaultPlan
>>> FaultPlan(call=3, fault=Fault.EIO)
FaultPlan(call=3, fault=<Fault.EIO: 'an input/output error'>)
>>> [fault.name for fault in Fault.possible_in("close")]
['EIO', 'INTERRUPT', 'INTERRUPT_AFTER']
"""

from __future__ import annotations

from enum import Enum

import attrs


class Fault(Enum):
    """How a call fails. Where nothing else is said, nothing was done."""

    EIO = "an input/output error"
    """A sync that fails so has dropped the pages: they can still be read, and no later sync writes them.
    A close has closed its handle all the same."""

    EIO_DROPPED = "an input/output error, and what was not synced cannot be read any more either"
    """In `truncate` the cut is visible, and only the sync behind it failed."""

    ENOSPC = "no space"
    """A sync that fails so has dropped the pages, as with `EIO`."""

    ENOSPC_PARTIAL = "no space after half of the bytes"
    SHORT = "half of the bytes, no error"
    ZERO = "no bytes, no error"
    EMFILE = "too many open files"
    INTERRUPT = "interrupted before it was done"
    """`KeyboardInterrupt`, which may come out of any call."""

    INTERRUPT_AFTER = "interrupted after it was done"

    @classmethod
    def possible_in(cls, call: str) -> tuple[Fault, ...]:
        """Give the faults that a method of `Files`, by its name, can have."""
        return _POSSIBLE.get(call, ())


_WRITE = (
    Fault.EIO,
    Fault.ENOSPC,
    Fault.ENOSPC_PARTIAL,
    Fault.SHORT,
    Fault.ZERO,
    Fault.INTERRUPT,
    Fault.INTERRUPT_AFTER,
)
_LOOK = (Fault.EIO, Fault.EMFILE, Fault.INTERRUPT)
_OPEN = (Fault.EIO, Fault.ENOSPC, Fault.EMFILE, Fault.INTERRUPT, Fault.INTERRUPT_AFTER)
_POSSIBLE: dict[str, tuple[Fault, ...]] = {
    "listdir": _LOOK,
    "stat": _LOOK,
    "mkdir": (Fault.EIO, Fault.ENOSPC, Fault.EMFILE, Fault.INTERRUPT),
    "read": _LOOK,
    "open_append": _OPEN,
    "open_update": _OPEN,
    "write": _WRITE,
    "pwrite": _WRITE,
    "fdatasync": (Fault.EIO, Fault.EIO_DROPPED, Fault.ENOSPC, Fault.INTERRUPT, Fault.INTERRUPT_AFTER),
    "fsync_dir": (Fault.EIO, Fault.INTERRUPT, Fault.INTERRUPT_AFTER),
    "truncate": (Fault.EIO, Fault.EIO_DROPPED, Fault.EMFILE, Fault.INTERRUPT, Fault.INTERRUPT_AFTER),
    "lock": (Fault.EIO, Fault.ENOSPC, Fault.EMFILE, Fault.INTERRUPT),
    "free_bytes": (Fault.EIO, Fault.INTERRUPT),
    "close": (Fault.EIO, Fault.INTERRUPT, Fault.INTERRUPT_AFTER),
    "release": (Fault.INTERRUPT, Fault.INTERRUPT_AFTER),
}


@attrs.frozen
class FaultPlan:
    """Call number `call`, counted from 1, has a fault; when it cannot have that one, nothing happens."""

    call: int = attrs.field(validator=attrs.validators.ge(1))
    fault: Fault
