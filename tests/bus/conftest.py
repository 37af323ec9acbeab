"""What several tests of the bus begin with; a module that needs another ledger has a fixture of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import bibank as bb
from tests.bus.ears import home_at, in_memory


@pytest.fixture(params=["memory", "home"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[bb.Ledger]:
    """A ledger of two lines, in memory and in a directory."""
    with in_memory() if request.param == "memory" else home_at(tmp_path / "books") as made:
        yield made


@pytest.fixture
def only_when_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody look by itself: what is told is told because the delivery was woken."""
    monkeypatch.setattr("bibank.bus.mailbox.LOOK_SECONDS", 3600.0)
