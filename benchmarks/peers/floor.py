"""The floor: append lines of a journal's size and sync them. No ledger at all, so nothing can be faster."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.peers.job import Session, Transfer
from benchmarks.units import TYPICAL_LINE_BYTES

_LINE = b"x" * (TYPICAL_LINE_BYTES - 1) + b"\n"


class Floor:
    """Appends and syncs."""

    name = "append + fdatasync, no ledger (floor)"
    sync = "fdatasync a batch"

    def suits(self, batch: int) -> bool:
        """Every batch size has its floor."""
        return True

    def start(self, directory: Path, *, accounts: int) -> Session:
        """Make an empty file."""
        return _Appending(directory / "floor.log")


class _Appending:
    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        self._sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)

    def apply(self, batch: Sequence[Transfer]) -> None:
        os.write(self._handle, _LINE * len(batch))
        self._sync(self._handle)

    def balances(self) -> list[int] | None:
        return None

    def refuses(self, transfer: Transfer) -> bool | None:
        return None

    def close(self) -> None:
        os.close(self._handle)
