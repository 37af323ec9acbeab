"""The reference units: one operation each, whose speed everyone knows or can look up.

A figure in units moves far less from machine to machine than one in seconds, and drift of the machine
cancels because the unit is measured right before and right after the work.

| unit | operation | clock |
|---|---|---|
| `S` | PyNaCl `SigningKey.sign` of 500 bytes | CPU |
| `V` | PyNaCl `VerifyKey.verify` of 500 bytes | CPU; wall where the work has threads |
| `F` | one append of a typical line and `fdatasync`, in the scratch directory | wall: it waits for the disk |
| `J` | `json.loads` of one typical journal line, as bytes | CPU |
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nacl.signing import SigningKey

Unit = Callable[[], float]
"""Measures one operation once more; gives seconds."""

Clock = Callable[[], float]
"""Tells seconds: of the processor, or on the wall where threads do the work."""

SIGNED_BYTES = 500
TYPICAL_LINE_BYTES = 450

_SEED = bytes(range(32))


def signing(*, operations: int) -> Unit:
    """Give the unit S."""
    key = SigningKey(_SEED)
    message = bytes(SIGNED_BYTES)

    def measure() -> float:
        sign = key.sign
        start = time.process_time()
        for _ in range(operations):
            sign(message)
        return (time.process_time() - start) / operations

    return measure


def verifying(*, operations: int, clock: Clock = time.process_time) -> Unit:
    """Give the unit V. How long it takes depends on the signature, so it goes through many of them."""
    key = SigningKey(_SEED)
    signed = [key.sign(number.to_bytes(SIGNED_BYTES)) for number in range(operations)]
    pairs = [(one.message, one.signature) for one in signed]

    def measure() -> float:
        verify = key.verify_key.verify
        start = clock()
        for message, signature in pairs:
            verify(message, signature)
        return (clock() - start) / operations

    return measure


def syncing(scratch: Path, *, operations: int) -> Unit:
    """Give the unit F. The file grows, as a journal does."""
    path = scratch / "unit-f"
    line = b"x" * (TYPICAL_LINE_BYTES - 1) + b"\n"
    sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)

    def measure() -> float:
        handle = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        try:
            start = time.perf_counter()
            for _ in range(operations):
                os.write(handle, line)
                sync(handle)
            return (time.perf_counter() - start) / operations
        finally:
            os.close(handle)

    return measure


def parsing(lines: Sequence[bytes]) -> Unit:
    """Give the unit J, over the lines that the work reads too."""

    def measure() -> float:
        loads = json.loads
        start = time.process_time()
        for line in lines:
            loads(line)
        return (time.process_time() - start) / len(lines)

    return measure
