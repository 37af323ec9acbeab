"""Printing: an aligned table that grows line by line, and the same rows as JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs

from benchmarks.measure import Row, Spread

_WIDTHS = (50, 22, 7, 7, 27)
_HEADINGS = ("figure", "median [low..high]", "bar", "verdict", "absolute", "settings")


def machine() -> dict[str, str | int]:
    """Describe the machine without naming it."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "cpus": _usable_cpus(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def machine_line() -> str:
    """Describe the machine in one line."""
    found = machine()
    return f"machine: {found['python']}, {found['cpus']} CPUs, {found['platform']}"


def heading() -> str:
    """Give the table's first line."""
    return aligned(_HEADINGS, _WIDTHS)


def row_line(row: Row) -> str:
    """Give a figure's line."""
    bar = str(row.bar) if row.bar is not None else "-"
    figure = _figure(row.figure, row.unit) if row.figure is not None else "-"
    return aligned((row.name, figure, bar, row.verdict, row.absolute, row.settings), _WIDTHS)


def summary(rows: Sequence[Row]) -> str:
    """Count the verdicts."""
    count = [row.verdict for row in rows].count
    return f"{count('ok')} ok, {count('MISS')} missed, {count('-')} without a bar, {count('skip')} skipped"


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """Write the machine and the rows."""
    figures = [{**attrs.asdict(row), "verdict": row.verdict} for row in rows]
    path.write_text(json.dumps({"machine": machine(), "figures": figures}, indent=2) + "\n", encoding="utf-8")


def aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Pad cells to widths; the last one, which has no width, may be as long as it likes."""
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "  ".join([*padded, *cells[len(widths) :]]).rstrip()


def _usable_cpus() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _figure(spread: Spread, unit: str) -> str:
    digits = 0 if spread.median >= 100 else 2
    return f"{spread.median:.{digits}f} {unit} [{spread.low:.{digits}f}..{spread.high:.{digits}f}]"
