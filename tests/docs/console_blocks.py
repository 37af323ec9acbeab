"""Runs the ```console blocks of a Markdown document and compares what they print.

A line that begins with `$ ` is a command, a following line that begins with `> ` continues it; the lines
after it are what it prints, standard output and standard error together. `...` matches any text, line ends
included. A command that fails says so in a last line `[exit N]`. Example:

    ```console
    $ ls missing
    ls: ...
    [exit 2]
    ```

Each command runs in a bash of its own, in the working directory of the test, with the scripts of the running
environment first on PATH. Its home directory is that same directory, and no `BIBANK_` variable of the caller
reaches it.
"""

import os
import re
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from sybil import Example

COMMAND_TIMEOUT_SECONDS = 120
_EXIT_LINE = re.compile(r"\[exit ([0-9]{1,3})\]")


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of a block, with what it has to print and how it has to end."""

    script: str
    expected: str
    exit_code: int


def parse_commands(block: str) -> list[Command]:
    """Split a block into its commands; `ValueError` when it does not begin with one."""
    scripts: list[list[str]] = []
    outputs: list[list[str]] = []
    for line in block.rstrip("\n").split("\n"):
        if line.startswith("$ "):
            scripts.append([line.removeprefix("$ ")])
            outputs.append([])
        elif not scripts:
            raise ValueError(f"a console block begins with a command ('$ ...'), not with {line!r}")
        elif line.startswith("> ") and not outputs[-1]:
            scripts[-1].append(line.removeprefix("> "))
        else:
            outputs[-1].append(line)
    return [_command("\n".join(script), output) for script, output in zip(scripts, outputs, strict=True)]


def _command(script: str, output: list[str]) -> Command:
    exit_line = _EXIT_LINE.fullmatch(output[-1].strip()) if output else None
    if exit_line is None:
        return Command(script=script, expected=_stripped("\n".join(output)), exit_code=0)
    return Command(script=script, expected=_stripped("\n".join(output[:-1])), exit_code=int(exit_line[1]))


def _stripped(text: str) -> str:
    """Return the text without trailing blanks, which no reader sees and many editors remove."""
    return "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")


def matches(expected: str, actual: str) -> bool:
    """Tell whether the output is what the document shows, `...` standing for anything."""
    pattern = ".*".join(re.escape(part) for part in expected.split("..."))
    return re.fullmatch(pattern, actual, re.DOTALL) is not None


def run(command: Command, *, directory: Path) -> None:
    """Run one command in a directory; `AssertionError` when it does not do what the document shows."""
    finished = subprocess.run(
        ["bash", "-c", command.script],
        cwd=directory,
        env=_environment(directory),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=COMMAND_TIMEOUT_SECONDS,
        encoding="utf-8",
        check=False,
    )
    actual = _stripped(finished.stdout)
    if finished.returncode != command.exit_code or not matches(command.expected, actual):
        raise AssertionError(
            f"$ {command.script}\n"
            f"--- the document shows (exit {command.exit_code}) ---\n{command.expected}\n"
            f"--- it does (exit {finished.returncode}) ---\n{actual}"
        )


def _environment(directory: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BIBANK_")}
    path = os.pathsep.join([sysconfig.get_path("scripts"), kept.get("PATH", os.defpath)])
    plain = {"COLUMNS": "100", "LC_ALL": "C.UTF-8", "NO_COLOR": "1", "TERM": "dumb", "TZ": "UTC"}
    return kept | plain | {"HOME": str(directory), "PATH": path}


def evaluate(example: Example) -> None:
    """Run the commands of one block; the evaluator that Sybil calls."""
    for command in parse_commands(str(example.parsed)):
        run(command, directory=Path.cwd())
