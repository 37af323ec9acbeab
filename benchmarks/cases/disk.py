"""What a transfer takes on the disk."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import bibank as bb
from benchmarks import workload
from benchmarks.measure import Bar, Row, Spread, at_most
from benchmarks.settings import Settings
from benchmarks.workload import Signing
from bibank import drafts

_ACCOUNTS = 1000
_ID_LENGTH = 12


def rows(settings: Settings) -> Iterator[Row]:
    """Measure how the journal grows, with every id at its full 12 characters, in one write group."""
    yield _figure(settings, None, name="disk per unsigned transfer", bar=at_most(550))
    yield _figure(settings, "entry", name="disk per signed transfer", bar=at_most(870))


def _figure(settings: Settings, signing: Signing, *, name: str, bar: Bar) -> Row:
    count = settings.sizes.disk_transfers
    home = settings.scratch / f"home-{signing}"
    owners = [f"OWNER_{number:06}" for number in range(_ACCOUNTS)]
    draw = random.Random(1)
    with workload.open_home(home, signing, durability="none") as ledger:
        ledger.commit_each(
            drafts.deposit(name, "100000 USDT", correlation_id="fund") for name in owners
        ).raise_for_refusals()
        before = _journal_bytes(home)
        ledger.commit_each(_draw(draw, owners, number) for number in range(count)).raise_for_refusals()
        size = (_journal_bytes(home) - before) / count
    return Row(
        family="disk",
        name=name,
        figure=Spread(size, size, size),
        unit="B",
        bar=bar,
        absolute=f"{size:.1f} B",
        settings=f"{count} transfers in one write group, ids of {_ID_LENGTH} characters, amounts to 100.99",
    )


def _draw(draw: random.Random, owners: list[str], number: int) -> bb.UnsignedEntry:
    payer, payee = draw.sample(owners, 2)
    amount = f"{draw.randint(1, 100)}.{draw.randint(1, 99):02}"
    return drafts.transfer(payer, payee, f"{amount} USDT", correlation_id=f"r-{number:010}")


def _journal_bytes(home: Path) -> int:
    return sum(path.stat().st_size for path in (home / "journal").glob("*.jsonl"))
