"""`bibank export`: what the library writes, to standard output or to a new file."""

from __future__ import annotations

import csv
import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from beancount import loader

from bibank.cli import exporting
from bibank.export import beancount_lines, csv_lines, hledger_lines
from bibank.ledger import Ledger
from tests.cli.command import ALICE, Command

FORMATS = {"csv": csv_lines, "beancount": beancount_lines, "hledger": hledger_lines}


def text_of(books: Command, name: str) -> str:
    """Export through the library."""
    with Ledger.open(books.home) as ledger:
        return "".join(FORMATS[name](ledger.entries()))


@pytest.mark.parametrize("name", FORMATS)
def test_export_is_what_the_library_writes(books: Command, name: str) -> None:
    """The command prints the entries as the library writes them, byte by byte."""
    found = books.spawn("export", name)
    assert (found.code, found.err) == (0, "")
    assert found.out == text_of(books, name).replace("\r\n", "\n")  # as text, line ends are made one
    assert books.ok("export", name.upper()).out.splitlines() == text_of(books, name).splitlines()


@pytest.mark.parametrize("name", FORMATS)
def test_export_to_a_file(books: Command, tmp_path: Path, name: str) -> None:
    """A new file holds the same bytes, for its owner alone."""
    file = tmp_path / "out"
    outcome = books.ok("export", name, "--output", str(file))
    assert outcome.out == f"exported to {file}\n"
    assert file.read_bytes().decode() == text_of(books, name)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    other = tmp_path / "other"
    document = books.ok("export", name, "--output", str(other), "--json").document
    assert document == {"file": str(other), "format": name}


def test_an_existing_file_is_not_overwritten(books: Command, tmp_path: Path) -> None:
    """A file that is there stays as it is, and the error says so."""
    file = tmp_path / "out"
    file.write_text("mine")
    outcome = books.run("export", "csv", "--output", str(file))
    assert (outcome.code, outcome.out, file.read_text()) == (2, "", "mine")
    assert "it is not overwritten" in outcome.err


def test_a_damaged_journal_leaves_no_file(books: Command, tmp_path: Path) -> None:
    """An export is whole or it is not there."""
    books.day.write_bytes(books.day.read_bytes().replace(b'"amount":"40"', b'"amount":"41"'))
    file = tmp_path / "out"
    outcome = books.run("export", "beancount", "--output", str(file))
    assert (outcome.code, outcome.out, file.exists()) == (5, "", False)


def test_a_place_where_no_file_can_be(books: Command, tmp_path: Path) -> None:
    """A directory that is not there is the operator's business."""
    outcome = books.run("export", "csv", "--output", str(tmp_path / "none" / "out"))
    assert outcome.code == 7
    assert "cannot make" in outcome.err


@pytest.mark.parametrize("buffered", [16, 1 << 20], ids=["on the way", "at the end"])
def test_a_full_disk_leaves_no_file(
    books: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buffered: int
) -> None:
    """What could not be written to the end is removed, also when that shows only when the file is closed."""

    def fails(descriptor: int, mode: str) -> Any:
        nowhere = os.open(os.devnull, os.O_RDONLY)  # writing to it fails
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
        return os.fdopen(descriptor, mode, buffered)

    class Full:
        def __getattr__(self, name: str) -> Any:
            return fails if name == "fdopen" else getattr(os, name)

    monkeypatch.setattr(exporting, "os", Full())
    file = tmp_path / "out"
    outcome = books.run("export", "hledger", "--output", str(file))
    assert (outcome.code, outcome.out, file.exists()) == (7, "", False)
    assert outcome.err == f"error: cannot write {file}: {os.strerror(errno.EBADF)}\n"


def test_export_beside_a_writer(books: Command) -> None:
    """An export needs no lock, and Beancount accepts it."""
    with Ledger.open(books.home) as ledger:
        ledger.deposit("ALICE", "1 USDT", correlation_id="=r3")
        rows = list(csv.DictReader(books.ok("export", "csv").out.splitlines()))
        assert [row["correlation_id"] for row in rows][-2:] == ["'=r3", "'=r3"]
        assert rows[-1]["account"] == ALICE
        _, errors, _ = loader.load_string(books.ok("export", "beancount").out)
        assert errors == []


def test_a_format_that_nobody_knows(books: Command) -> None:
    """An unknown format is a usage error that names those there are."""
    outcome = books.run("export", "ofx")
    assert outcome.code == 2
    assert "hledger" in outcome.err
    assert books.run("export", "csv", home=False).code == 2
