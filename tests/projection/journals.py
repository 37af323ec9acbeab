"""Small journals for the tests of projections, and ways to damage files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import strategies as st

from bibank import drafts
from bibank.errors import Refused
from bibank.ledger import Ledger
from bibank.model.entry import UnsignedEntry
from bibank.projection.books import SqliteBooks
from bibank.projection.verified import VerifiedLine, verified_batches
from bibank.store.memory import MemoryStore

OWNERS = ("ALICE", "BOB", "CAROL")
ASSETS = ("BTC", "USDT")

_DRAFTS = st.one_of(
    st.builds(
        lambda owner, units, asset: drafts.deposit(owner, f"{units}.00000001 {asset}", correlation_id="d"),
        st.sampled_from(OWNERS),
        st.integers(0, 9),
        st.sampled_from(ASSETS),
    ),
    st.builds(
        lambda owner, units, asset: drafts.withdrawal(owner, f"{units} {asset}", correlation_id="w"),
        st.sampled_from(OWNERS),
        st.integers(1, 3),
        st.sampled_from(ASSETS),
    ),
    st.builds(
        lambda parties, units, asset: drafts.transfer(
            parties[0], parties[1], f"{units}.5 {asset}", correlation_id="t"
        ),
        st.permutations(OWNERS),
        st.integers(0, 3),
        st.sampled_from(ASSETS),
    ),
)

BATCHES = st.lists(st.lists(_DRAFTS, min_size=1, max_size=3), max_size=12)
"""What to commit: batches of drafts, some of which a ledger refuses."""


def commit(ledger: Ledger, batches: Sequence[Sequence[UnsignedEntry]]) -> None:
    """Commit the batches that the ledger does not refuse."""
    for batch in batches:
        try:
            ledger.commit_batch(batch)
        except Refused:
            pass


def journal(batches: Sequence[Sequence[UnsignedEntry]] = ()) -> list[bytes]:
    """Give the lines of a new ledger after some batches."""
    store = MemoryStore()
    with Ledger(store=store, opening={"USDT": "1000", "BTC": "21"}) as ledger:
        commit(ledger, batches)
        return list(store.read())


def everyday(transfers: int = 3) -> list[bytes]:
    """Give the lines of a new ledger in which Alice pays Bob one USDT a few times."""
    return journal(
        [
            [drafts.deposit("ALICE", "100 USDT", correlation_id="d")],
            *([drafts.transfer("ALICE", "BOB", "1 USDT", correlation_id="t")] for _ in range(transfers)),
        ]
    )


def verified(lines: Sequence[bytes]) -> list[VerifiedLine]:
    """Verify lines and give them one by one."""
    return [line for batch in verified_batches(lines) for line in batch]


@contextmanager
def scratch() -> Iterator[Path]:
    """Give the path of a projection that does not exist, anew for each example."""
    with TemporaryDirectory() as directory:
        yield Path(directory) / "projection.db"


def dump_of(lines: Sequence[bytes]) -> str:
    """Dump what a projection holds that applied the lines one after the other and saved once."""
    with scratch() as path, SqliteBooks(path) as balances:
        for line in verified(lines):
            balances.apply(line)
        balances.flush()
        return balances.dump()


def execute(path: Path, statement: str) -> None:
    """Change a database behind the back of the projection."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
