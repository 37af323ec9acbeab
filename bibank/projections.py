"""Read models, and the protocol of a host's own.

>>> from bibank.projections import Projection, SqliteBalances
>>> issubclass(SqliteBalances, object) and Projection.__name__
'Projection'
"""

from __future__ import annotations

from bibank.projection.balances import SqliteBalances
from bibank.projection.protocol import Projection
from bibank.projection.runner import CatchUp, catch_up
from bibank.projection.upkeep import Rebuild, Upkeep, open_balances, rebuild_balances
from bibank.projection.verified import VerifiedLine, verified_batches

__all__ = [
    "CatchUp",
    "Projection",
    "Rebuild",
    "SqliteBalances",
    "Upkeep",
    "VerifiedLine",
    "catch_up",
    "open_balances",
    "rebuild_balances",
    "verified_batches",
]
