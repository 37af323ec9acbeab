"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report, units, workload
from benchmarks.cases import FAMILIES
from benchmarks.measure import Row, as_time
from benchmarks.settings import FULL, QUICK, Settings, Sizes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks and print the table; 1 when `--strict` and a bar is missed."""
    options = _parser().parse_args(arguments)
    rows = run(
        QUICK if options.quick else FULL,
        only=options.only or list(FAMILIES),
        scratch=options.scratch,
    )
    if options.json is not None:
        report.write_json(options.json, rows)
    return int(options.strict and any(row.verdict == "MISS" for row in rows))


def run(sizes: Sizes, *, only: Sequence[str], scratch: Path | None = None) -> list[Row]:
    """Measure families of figures and print each line when it is known."""
    began = time.perf_counter()
    rows = []
    print(report.machine_line())
    with tempfile.TemporaryDirectory(dir=scratch, prefix="bibank-bench-") as directory:
        print(_units_line(Path(directory), sizes))
        print(report.heading())
        for family in only:
            own = Path(directory, family)
            own.mkdir()
            for row in FAMILIES[family](Settings(sizes=sizes, scratch=own)):
                rows.append(row)
                print(report.row_line(row), flush=True)
    print(f"{report.summary(rows)}; {time.perf_counter() - began:.0f} s")
    return rows


def _units_line(scratch: Path, sizes: Sizes) -> str:
    operations = sizes.unit_operations
    found = {
        "S": units.signing(operations=operations),
        "V": units.verifying(operations=operations),
        "F": units.syncing(scratch, operations=max(operations // 10, 1)),
        "J": units.parsing(workload.typical_lines(operations)),
    }
    return "units: " + ", ".join(f"{name} {as_time(measure())}" for name, measure in found.items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure bibank in reference units; see the documentation."
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: a few seconds, rough figures")
    parser.add_argument(
        "--only", action="append", choices=list(FAMILIES), metavar="NAME",
        help=f"one family of figures, may be repeated: {', '.join(FAMILIES)}",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON too")
    parser.add_argument(
        "--scratch", type=Path, metavar="DIR", help="a directory on the disk to be measured (default: TMPDIR)"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a bar is missed")
    return parser
