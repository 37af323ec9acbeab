"""Sizes of a run: full, quick (a few seconds), and tiny, with which the tests try that everything runs."""

from __future__ import annotations

from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class Sizes:
    """How much of everything. Counts are per round unless the name says otherwise."""

    rounds: int
    unit_operations: int
    transfers: int
    """Of a commit figure without sync; at least twice the largest group."""
    group_sizes: tuple[int, ...]
    durable_commits: int
    durable_rounds: int
    threads: int
    thread_commits: int
    """Of each thread, one after the other."""
    asyncio_tasks: int
    asyncio_commits: int
    """Of each task, one after the other."""
    replayed: int
    audited: int
    """Transfers in a journal whose signatures are verified."""
    imports: int
    memory_accounts: int
    index_entries: int
    disk_transfers: int
    flat_commits: int
    flat_rounds: int
    few: int
    many_accounts: int
    many_entries: int
    random_accounts: int
    open_holds: int
    known_keys: int
    opened_accounts: int
    opened_keys: int
    opened_entries: int
    """Of the home with fewer of them; the other has ten times as many."""


FULL = Sizes(
    rounds=9,
    unit_operations=1000,
    transfers=16_384,
    group_sizes=(1000, 8192),
    durable_commits=40,
    durable_rounds=75,
    threads=64,
    thread_commits=50,
    asyncio_tasks=1000,
    asyncio_commits=20,
    replayed=40_000,
    audited=10_000,
    imports=10,
    memory_accounts=1_000_000,
    index_entries=40_000,
    disk_transfers=8192,
    flat_commits=2000,
    flat_rounds=25,
    few=1000,
    many_accounts=1_000_000,
    many_entries=1_000_000,
    random_accounts=100_000,
    open_holds=100_000,
    known_keys=1_000_000,
    opened_accounts=1_000_000,
    opened_keys=200_000,
    opened_entries=10_000,
)

QUICK = Sizes(
    rounds=5,
    unit_operations=300,
    transfers=8192,
    group_sizes=(1000, 8192),
    durable_commits=20,
    durable_rounds=15,
    threads=64,
    thread_commits=20,
    asyncio_tasks=1000,
    asyncio_commits=5,
    replayed=20_000,
    audited=3000,
    imports=3,
    memory_accounts=100_000,
    index_entries=5000,
    disk_transfers=1000,
    flat_commits=250,
    flat_rounds=15,
    few=1000,
    many_accounts=20_000,
    many_entries=20_000,
    random_accounts=20_000,
    open_holds=10_000,
    known_keys=20_000,
    opened_accounts=50_000,
    opened_keys=10_000,
    opened_entries=2_000,
)

TINY = Sizes(
    rounds=1,
    unit_operations=5,
    transfers=20,
    group_sizes=(10,),
    durable_commits=3,
    durable_rounds=1,
    threads=4,
    thread_commits=2,
    asyncio_tasks=5,
    asyncio_commits=2,
    replayed=20,
    audited=20,
    imports=1,
    memory_accounts=50,
    index_entries=50,
    disk_transfers=10,
    flat_commits=5,
    flat_rounds=1,
    few=10,
    many_accounts=20,
    many_entries=20,
    random_accounts=20,
    open_holds=20,
    known_keys=20,
    opened_accounts=50,
    opened_keys=20,
    opened_entries=20,
)


@attrs.frozen(kw_only=True)
class Settings:
    """What a case is given: sizes, and a directory of its own on the disk to be measured."""

    sizes: Sizes
    scratch: Path
