"""Read models, and the protocol of a host's own.

>>> from bibank.projections import Projection, SqliteBalances
>>> issubclass(SqliteBalances, object) and Projection.__name__
'Projection'
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
