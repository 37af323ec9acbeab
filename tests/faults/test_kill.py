"""Killed writers: a process that dies at any moment has lost nothing that it acknowledged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

import bibank as bb

WRITER = """
import sys
import bibank as bb
from bibank import drafts
with bb.Ledger.open_or_create(sys.argv[1], opening={"USDT": "1"}) as ledger:
    while True:
        many = [drafts.deposit("A", "1 USDT", correlation_id="r") for _ in range(20)]
        ledger.commit_each([many[:3], *many[3:]])
        print(ledger.deposit("A", "1 USDT", correlation_id="r").sequence, flush=True)
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_writer_has_lost_nothing_it_acknowledged(tmp_path: Path, seed: int) -> None:
    """Killed again and again in the middle of its work, a writer leaves a journal that opens and adds up."""
    home = tmp_path / "books"
    acknowledged = 0
    random = Random(seed)
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(home)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(random.randrange(1, 60)):
                acknowledged = int(writer.stdout.readline())
            writer.kill()
        with bb.Ledger.open(home) as ledger:
            assert ledger.head.sequence >= acknowledged
            assert ledger.audit().lines == ledger.head.sequence
            entries = ledger.head.sequence - 2
            assert ledger.balance("A", "USDT").available == bb.SignedAmount(entries)
