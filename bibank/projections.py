"""Read models, and the protocol of a host's own.

>>> import tempfile
>>> import bibank as bb
>>> from bibank.projections import ask_balances
>>> with tempfile.TemporaryDirectory() as home:
...     with bb.Ledger.create(home, opening={"USDT": "1000"}) as ledger:
...         _ = ledger.deposit("ALICE", "100 USDT", correlation_id="r1")
...     print(ask_balances(home, lambda balances: balances.balance("ALICE", "USDT")).value.available)
100
"""

from __future__ import annotations

from bibank.projection.balances import SqliteBalances
from bibank.projection.protocol import Projection
from bibank.projection.runner import CatchUp, catch_up
from bibank.projection.upkeep import Answer, Rebuild, ask_balances, rebuild_balances
from bibank.projection.verified import VerifiedLine, verified_batches

__all__ = [
    "Answer",
    "CatchUp",
    "Projection",
    "Rebuild",
    "SqliteBalances",
    "VerifiedLine",
    "ask_balances",
    "catch_up",
    "rebuild_balances",
    "verified_batches",
]
