"""Read models, and the protocol of a host's own.

>>> import tempfile
>>> import bibank as bb
>>> from bibank.projections import ask_books
>>> with tempfile.TemporaryDirectory() as home:
...     with bb.Ledger.create(home, opening={"USDT": "1000"}) as ledger:
...         _ = ledger.deposit("ALICE", "100 USDT", correlation_id="r1")
...     print(ask_books(home, lambda books: books.balance("ALICE", "USDT")).value.available)
100
"""

from __future__ import annotations

from bibank.journal.history import Movement
from bibank.projection.books import SqliteBooks
from bibank.projection.protocol import LineSource, Projection
from bibank.projection.runner import CatchUp, catch_up
from bibank.projection.sources import JournalLines
from bibank.projection.upkeep import Answer, Rebuild, ask_books, rebuild_books
from bibank.projection.verified import VerifiedLine, verified_batches

__all__ = [
    "Answer",
    "CatchUp",
    "JournalLines",
    "LineSource",
    "Movement",
    "Projection",
    "Rebuild",
    "SqliteBooks",
    "VerifiedLine",
    "ask_books",
    "catch_up",
    "rebuild_books",
    "verified_batches",
]
