"""How long a program waits for `import bibank`, in a fresh interpreter."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import bibank as bb
from benchmarks.measure import Row, Spread, at_most
from benchmarks.settings import Settings

_BAR = at_most(150)
_STATEMENTS = ("import bibank", "from bibank import Ledger")
_ROOT = Path(bb.__file__).resolve().parents[1]


def rows(settings: Settings) -> Iterator[Row]:
    """Measure the lazy import, and the import of what nearly every program uses first."""
    count = settings.sizes.imports
    for statement in _STATEMENTS:
        _child_seconds(statement)  # writes the byte code
        seconds = []
        for _ in range(count):
            bare = _child_seconds("pass")
            seconds.append(_child_seconds(statement) - bare)
        milliseconds = Spread.of([value * 1e3 for value in seconds])
        yield Row(
            family="import",
            name=statement,
            figure=milliseconds,
            unit="ms",
            bar=_BAR,
            absolute=f"{milliseconds.median:.1f} ms of CPU",
            settings=f"fresh interpreter minus bare start, {count} runs",
        )


def _child_seconds(statement: str) -> float:
    """Give the CPU time of an interpreter that runs a statement."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
