"""Fixtures of the command's tests: a home with a little ledger, and a way to run commands on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bibank.keystore import from_key_file, make_key_file
from bibank.ledger import Ledger
from bibank.signing import Role
from tests.cli.command import CORRECTION, Command, Key

OPERATORS = ("anna", "ben", "cleo")


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


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A directory with the key files of three operators, and of somebody whom nobody knows."""
    for name in (*OPERATORS, "mallory"):
        make_key_file(tmp_path / "people" / f"{name}.key", signer_id=f"{name.upper()}_OPS")
    return tmp_path / "people"


@pytest.fixture
def governed(books: Command, people: Path) -> Command:
    """The command, on the ledger of `books` with three operators; the last line is 7."""
    anna, *others = (from_key_file(people / f"{name}.key") for name in OPERATORS)
    with Ledger.open(books.home) as ledger:
        there = [anna]
        for operator in (anna, *others):
            ledger.keyring.add(operator, roles=(Role.OPERATOR,), authorised_by=there, correlation_id="k1")
            there = list({*there, operator})
    return books


@pytest.fixture
def key(people: Path) -> Key:
    """Gives the option that names the key file of a person."""
    return lambda name: ("--key-file", str(people / f"{name}.key"))


@pytest.fixture
def proposed(governed: Command, key: Key) -> Command:
    """The command, on a ledger where Anna has proposed a correction in line 8."""
    governed.ok(*CORRECTION, *key("anna"), "--correlation-id", "case-7")
    return governed
