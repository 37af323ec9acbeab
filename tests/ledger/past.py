"""A home whose projection reaches to line 5 of 7, and what its statement says: for the tests of history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import bibank as bb
from bibank import drafts
from bibank.chronicle import Chronicle
from tests.store.journals import StillClock, deposit, transfer

ALICE = bb.AccountKey("LIAB:USER:A:USDT:AVAILABLE")


LAST_OF_ALL = datetime(9999, 1, 1, tzinfo=UTC)


FIRST, LAST = datetime(2026, 1, 25, 10, tzinfo=UTC), datetime(2026, 1, 25, 13, tzinfo=UTC)


def made(path: Path) -> Path:
    """Make the home."""
    clock = StillClock()
    with bb.Ledger.create(path, opening={"USDT": "100"}, clock=clock, durability="none") as ledger:
        for number in (10, 20, 30):
            ledger.commit(deposit("A", f"{number} USDT"))
        ledger.project()
        clock.moment = LAST
        ledger.commit(transfer("A", "B", "15 USDT"))
        early = FIRST - timedelta(days=1)
        ledger.commit(drafts.deposit("A", "1 USDT", correlation_id="r3", effective_at=early))
    return path


def posted(ledger: bb.Ledger | bb.LedgerReader, **options: Any) -> list[str]:
    """The running balance of A's statement."""
    return [str(line.posted) for line in ledger.statement("A", "USDT", **options)]


TOLD = ["10", "30", "60", "45", "46"]


def asked_of_journal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[int]]:
    """Note of each question how far the index reached that answered it."""
    reached: list[int] = []
    init = Chronicle.__init__

    def noted(self: Chronicle, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        reached.append(self.reach.sequence)

    monkeypatch.setattr(Chronicle, "__init__", noted)
    return lambda: reached
