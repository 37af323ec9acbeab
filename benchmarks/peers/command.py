"""The command line of the peer comparison."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import attrs

from benchmarks import report
from benchmarks.measure import as_time
from benchmarks.peers.embedded import Bibank
from benchmarks.peers.floor import Floor
from benchmarks.peers.job import Measured, Peer, compare
from benchmarks.peers.sqlite import Sqlite

PEERS: tuple[Peer, ...] = (
    Floor(),
    Sqlite(),
    Bibank("commit_each", None),
    Bibank("commit_batch", None),
    Bibank("commit_each", "entry"),
    Bibank("commit_each", "group"),
)
"""The floor stands first: the others are compared with it."""


@attrs.frozen(kw_only=True)
class Sizes:
    """How much each peer does: transfers of a round, by batch size."""

    accounts: int
    rounds: int
    transfers: dict[int, int]


FULL = Sizes(accounts=1000, rounds=9, transfers={1: 500, 100: 10_000, 8189: 5 * 8189})
QUICK = Sizes(accounts=1000, rounds=3, transfers={1: 200, 100: 2000, 8189: 8189})

_WIDTHS = (51, 6, 32, 8, 12, 13)
_HEADINGS = ("peer", "batch", "transfers/s [low..high]", "of floor", "a call", "CPU/transfer", "sync, checks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare the peers and print a table."""
    options = _parser().parse_args(arguments)
    measured = run(QUICK if options.quick else FULL, scratch=options.scratch)
    if options.json is not None:
        rows = [attrs.asdict(row) for row in measured]
        text = json.dumps({"machine": report.machine(), "peers": rows}, indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


def run(sizes: Sizes, *, scratch: Path | None = None) -> list[Measured]:
    """Compare the peers at every batch size and print each size when it is done."""
    measured = []
    print(report.machine_line())
    print(f"job: {sizes.accounts} accounts, seeded random transfers, durable before the call returns")
    print(report.aligned(_HEADINGS, _WIDTHS))
    with tempfile.TemporaryDirectory(dir=scratch, prefix="bibank-peers-") as directory:
        for batch, transfers in sizes.transfers.items():
            found = compare(
                PEERS,
                Path(directory, f"batch-{batch}"),
                accounts=sizes.accounts,
                batch=batch,
                transfers=transfers,
                rounds=sizes.rounds,
            )
            for row in found:
                print(_line(row, floor=found[0]), flush=True)
            measured += found
    return measured


def _line(row: Measured, *, floor: Measured) -> str:
    rate = row.rate
    cells = (
        row.peer,
        str(row.batch),
        f"{rate.median:,.0f} [{rate.low:,.0f}..{rate.high:,.0f}]",
        f"{rate.median / floor.rate.median:.2f}",
        as_time(row.call_seconds),
        as_time(row.cpu_seconds),
        f"{row.sync}; {row.transfers} transfers, {row.checked}",
    )
    return report.aligned(cells, _WIDTHS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description="Compare bibank with other ways to keep a ledger."
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: a few seconds, rough figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON too")
    parser.add_argument(
        "--scratch", type=Path, metavar="DIR", help="a directory on the disk to be measured (default: TMPDIR)"
    )
    return parser
