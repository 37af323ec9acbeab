"""The ledger for asyncio: the same names and rules, with `await` in front of what touches the disk.

>>> import asyncio
>>> import bibank as bb
>>> async def main() -> str:
...     async with bb.AsyncLedger.in_memory({"USDT": "1000"}) as ledger:
...         await ledger.deposit("ALICE", "100 USDT", correlation_id="r1")
...         return str(ledger.balance("ALICE", "USDT").available)
>>> asyncio.run(main())
'100'
"""

from bibank.aio.batch import AsyncBatch
from bibank.aio.deciding import AsyncGovernance, AsyncKeyring
from bibank.aio.ledger import AsyncLedger
from bibank.aio.opening import LedgerOpening

__all__ = ["AsyncBatch", "AsyncGovernance", "AsyncKeyring", "AsyncLedger", "LedgerOpening"]
