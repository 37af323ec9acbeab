"""Running the command in this process and in one of its own."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from click.testing import CliRunner

from bibank.cli.application import application
from bibank.store.jsonl.head import EMPTY, HEAD_NAME, encode_slot

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 120

Key = Callable[[str], tuple[str, str]]
"""Gives the option that names the key file of a person."""

ALICE = "LIAB:USER:ALICE:USDT:AVAILABLE"
VAULT = "ASSET:SYSTEM:VAULT:USDT:MAIN"
CORRECTION = (
    *("propose", "adjustment", "--debit", ALICE, "45", "--credit", VAULT, "45"),
    *("--purpose", "CORRECTION", "--reason", "50 was typed for 5"),
)

# click 8.1 mixes the two streams unless it is told not to; later versions always keep them apart.
_SEPARATE: dict[str, Any] = (
    {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
)


@attrs.frozen(kw_only=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def documents(self) -> list[Any]:
        """The JSON documents on stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> Any:
        """The one JSON document on stderr."""
        return json.loads(self.err)


@attrs.frozen
class Command:
    """The `bibank` command on one home."""

    home: Path

    def run(self, *arguments: str, home: bool = True, **environment: str) -> Outcome:
        """Run it in this process."""
        words = ["--home", str(self.home), *arguments] if home else list(arguments)
        # NO_COLOR and a wide terminal, so that usage errors are not wrapped or framed by chance.
        unset = {name: None for name in os.environ if name.startswith("BIBANK_")}
        plain = {"NO_COLOR": "1", "COLUMNS": "200"}
        found = CliRunner(**_SEPARATE).invoke(application, words, env={**unset, **plain, **environment})
        return Outcome(code=found.exit_code, out=found.stdout, err=found.stderr)

    def ok(self, *arguments: str, **environment: str) -> Outcome:
        """Run it in this process and demand that it succeeds."""
        outcome = self.run(*arguments, home=True, **environment)
        assert outcome.code == 0, outcome
        return outcome

    def spawn(self, *arguments: str, **environment: str) -> Outcome:
        """Run it in a process of its own."""
        finished = subprocess.run(
            [sys.executable, "-m", "bibank", *arguments],
            cwd=ROOT,
            env={**os.environ, "BIBANK_HOME": str(self.home), **environment},
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            encoding="utf-8",
            check=False,
        )
        return Outcome(code=finished.returncode, out=finished.stdout, err=finished.stderr)

    @property
    def day(self) -> Path:
        """The one file of the journal."""
        (day,) = (self.home / "journal").glob("*.jsonl")
        return day

    def forget_head(self) -> None:
        """Let HEAD promise nothing, as whoever changes a journal on purpose would."""
        (self.home / "journal" / HEAD_NAME).write_bytes(encode_slot(EMPTY) * 2)

    @property
    def key(self) -> Path:
        """The home's own first key file."""
        return self.home / "keys" / "SYSTEM.key"

    @property
    def projection(self) -> Path:
        """The file of the projection."""
        return self.home / "projection.db"


def cells(text: str) -> list[list[str]]:
    """The cells of the rows of a table."""
    return [re.split(r"  +", line.strip()) for line in text.splitlines()[2:]]


def refused(books: Command, *words: str) -> str:
    """Run what is refused with 3, check that nothing was written, and give the reason or else the code."""
    before = books.day.read_bytes()
    outcome = books.run(*words, "--json")
    assert (outcome.code, outcome.out) == (3, ""), outcome
    assert books.day.read_bytes() == before
    error = json.loads(outcome.err.splitlines()[-1])  # what the library warns of stands before it
    return str(error.get("reason", error["code"]))
