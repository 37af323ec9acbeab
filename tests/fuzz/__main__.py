"""`python -m tests.fuzz`: coverage-guided fuzzing of every parser, each target in a process of its own.

Needs `atheris` (Linux). Begins with the corpus beside this file; inputs with new coverage and inputs that
break a rule go to `--keep`, a temporary directory unless it is given. Every target has its turn; the exit
code is 1 when one of them had a finding.
"""

from __future__ import annotations

import argparse
import importlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DEFAULT_SECONDS = 600
INPUT_SECONDS = 20
"""What one input may take: a thousand times what it takes, so that only endless work is a finding."""
MEMORY_MEGABYTES = 1024
START_SECONDS = 120
"""Beyond its share, what a target's process may take to start and to end."""

_RUNS = re.compile(r"^stat::number_of_executed_units:\s*([0-9]+)$", re.MULTILINE)
_UNCAUGHT = "=== Uncaught Python exception"
_COVERED = re.compile(r"\bcov: ([0-9]+)")


@attrs.frozen(kw_only=True)
class Share:
    """How much of the time a target gets, and how long its inputs are."""

    weight: int
    bytes: int


SHARES = {
    "line": Share(weight=5, bytes=4_096),
    "journal": Share(weight=7, bytes=16_384),
    "head": Share(weight=1, bytes=1_100),
    "account": Share(weight=1, bytes=400),
    "amount": Share(weight=1, bytes=100),
    "money": Share(weight=1, bytes=150),
    "timestamp": Share(weight=1, bytes=60),
    "key_file": Share(weight=2, bytes=5_000),
}


@attrs.frozen(kw_only=True)
class Run:
    """What came of one target."""

    name: str
    executions: int
    covered: int
    code: int
    report: str

    def __str__(self) -> str:
        verdict = "ok" if self.code == 0 else f"FINDING (exit {self.code})"
        return f"{self.name:10} {self.executions:>10} executions {self.covered:>6} edges  {verdict}"


def run(name: str, *, seconds: int, keep: Path) -> Run:
    """Run one target in a process of its own."""
    found, findings = keep / name, keep / "findings"
    found.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    command = [
        *(sys.executable, "-m", "tests.fuzz", "--inside", name),
        *(str(found), str(HERE / "corpus" / name)),
        f"-max_total_time={seconds}",
        f"-max_len={SHARES[name].bytes}",
        f"-timeout={INPUT_SECONDS}",
        f"-rss_limit_mb={MEMORY_MEGABYTES}",
        f"-dict={HERE / 'tokens.dict'}",
        f"-artifact_prefix={findings / name}-",
        "-print_final_stats=1",
    ]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds + START_SECONDS,
            check=False,
        )
        report, code = done.stdout.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as error:
        report, code = f"{error}", 124
    runs, covered = _RUNS.search(report), _COVERED.findall(report)
    executions = int(runs[1]) if runs else 0
    return Run(
        name=name,
        executions=executions,
        covered=int(covered[-1]) if covered else 0,
        code=code or (0 if executions else 1),  # what never ran has shown nothing
        report=report,
    )


def inside(name: str, arguments: Sequence[str]) -> None:
    """Fuzz one target in this process, with the library instrumented. Does not return."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["bibank"], enable_loader_override=False):
        targets: Any = importlib.import_module("tests.fuzz.targets")
    mutation: Any = importlib.import_module("tests.fuzz.mutation")
    mutate: Callable[..., bytes] | None = {
        "line": mutation.mutate_line,
        "journal": mutation.mutate_journal,
    }.get(name)
    options: dict[str, Any] = {}
    if mutate is not None:
        options["custom_mutator"] = lambda data, size, seed: mutate(data, size, seed, atheris.Mutate)
    atheris.Setup(["fuzz", *arguments], targets.TARGETS[name], **options)
    atheris.Fuzz()


def main(arguments: Sequence[str]) -> int:
    """Run the targets one after the other and report."""
    if arguments[:1] == ["--inside"]:
        inside(arguments[1], arguments[2:])
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=DEFAULT_SECONDS, help="for all targets together")
    parser.add_argument("--target", action="append", choices=sorted(SHARES), help="only this one; repeatable")
    parser.add_argument("--keep", type=Path, help="where new inputs and findings go")
    chosen = parser.parse_args(arguments)
    names = chosen.target or list(SHARES)
    total = sum(SHARES[name].weight for name in names)
    with tempfile.TemporaryDirectory(prefix="bibank-fuzz-") as scratch:
        keep = (chosen.keep or Path(scratch)).resolve()
        runs = []
        for name in names:
            seconds = max(chosen.seconds * SHARES[name].weight // total, 1)
            runs.append(run(name, seconds=seconds, keep=keep))
            say(str(runs[-1]))
        failed = [one for one in runs if one.code]
        for one in failed:
            _, mark, trace = one.report.partition(_UNCAUGHT)
            say(f"\n--- {one.name}\n{mark}{trace}" if mark else f"\n--- {one.name}\n{one.report[-4_000:]}")
        for path in sorted((keep / "findings").iterdir()):
            say(f"\n--- {path.name}, {path.stat().st_size} bytes: {path.read_bytes()[:2_000]!r}")
    return 1 if failed else 0


def say(text: str) -> None:
    """Print, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
