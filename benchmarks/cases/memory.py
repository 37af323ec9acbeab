"""What an account and an entry take in memory."""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import bibank as bb
from benchmarks import workload
from benchmarks.measure import Row, Spread, at_most
from benchmarks.settings import Settings

_ROOT = Path(bb.__file__).resolve().parents[1]
_ACCOUNTS = 1000
_GROUP = 1000
_WARM_UP = 10_000


def rows(settings: Settings) -> Iterator[Row]:
    """Measure what an account costs, and what each entry leaves behind."""
    accounts = settings.sizes.memory_accounts
    size = _in_fresh_interpreter(accounts)
    yield Row(
        family="memory",
        name="memory per account",
        figure=Spread(size, size, size),
        unit="B",
        bar=at_most(250),
        absolute=f"{size * accounts / 2**20:.0f} MiB in all",
        settings=f"RSS of a fresh process, {accounts} accounts with balances, no journal lines",
    )
    entries = settings.sizes.index_entries
    size = _bytes_per_entry(settings.scratch / "home", entries)
    yield Row(
        family="memory",
        name="memory per entry, ledger on a home",
        figure=Spread(size, size, size),
        unit="B",
        bar=at_most(16),
        absolute=f"{size * entries / 1024:.1f} KiB in all",
        settings=f"tracemalloc, {entries} entries among {_ACCOUNTS} accounts: the index, nothing else stays",
    )


def _in_fresh_interpreter(accounts: int) -> float:
    """Measure where no earlier work has left free memory that would be used again unseen."""
    program = f"from benchmarks.cases.memory import bytes_per_account as m; print(m({accounts}))"
    path = os.pathsep.join([str(_ROOT), str(Path(__file__).resolve().parents[2])])
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    return float(done.stdout)


def bytes_per_account(accounts: int) -> float:
    """Fund accounts by the commit path and give the growth of this process for each."""
    ledger = bb.Ledger(store=workload.ForgetfulStore(), opening=workload.OPENING)
    workload.fund_many(ledger, _WARM_UP)  # fills the bounded caches
    gc.collect()
    before = _resident_bytes()
    workload.fund_many(ledger, accounts, first=_WARM_UP)
    gc.collect()
    return (_resident_bytes() - before) / accounts


def _resident_bytes() -> int:
    """Give the memory that is resident now or, where that cannot be told, what it was at its highest."""
    try:
        fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    except OSError:
        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return highest if sys.platform == "darwin" else highest * 1024
    return int(fields[1]) * resource.getpagesize()


def _bytes_per_entry(home: Path, entries: int) -> float:
    """Commit in groups and give what stays allocated, after a first round has filled the caches."""
    with workload.open_home(home, None, durability="none") as ledger:
        workload.fund(ledger, _ACCOUNTS)
        ledger.commit_each(workload.transfers(_GROUP, accounts=_ACCOUNTS, seed=0))
        tracemalloc.start()
        try:
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            for seed in range(1, max(entries // _GROUP, 1) + 1):
                count = min(_GROUP, entries)
                ledger.commit_each(workload.transfers(count, accounts=_ACCOUNTS, seed=seed))
            gc.collect()
            return (tracemalloc.get_traced_memory()[0] - before) / entries
        finally:
            tracemalloc.stop()
