"""Fixtures of the command's tests: a home with a little ledger, and a way to run commands on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import Command


@pytest.fixture
def bibank(tmp_path: Path) -> Command:
    """The command, on a home where nothing is yet."""
    return Command(tmp_path / "books")


@pytest.fixture
def books(bibank: Command) -> Command:
    """The command, on a ledger where Alice has 60 USDT and Bob 40."""
    bibank.ok("init", "--capital", "1000000 USDT")
    bibank.ok("deposit", "ALICE", "100", "USDT", "--correlation-id", "r1")
    bibank.ok("transfer", "ALICE", "BOB", "40", "USDT", "--correlation-id", "r2")
    return bibank


@pytest.fixture
def exchange(bibank: Command) -> Command:
    """The command, on a ledger where Alice has 1000 USDT and Bob 1 BTC; the last line is 4."""
    bibank.ok("init", "--capital", "1000000 USDT", "--capital", "21 BTC")
    bibank.ok("deposit", "ALICE", "1000", "USDT", "--correlation-id", "r1")
    bibank.ok("deposit", "BOB", "1", "BTC", "--correlation-id", "r2")
    return bibank
