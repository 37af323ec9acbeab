"""Exports: the journal as text that other programs read. Public as `bibank.export`.

Each function takes what `ledger.entries()` gives, or any stream of entries in journal order, and gives the
text piece by piece, so that a long journal is never held in memory. Exports are copies for reading: what
proves something is the journal itself.

>>> import bibank as bb
>>> from bibank.export import csv_lines
>>> ledger = bb.Ledger.in_memory()
>>> entry = ledger.deposit("ALICE", "5 USDT", correlation_id="r1")
>>> _, debit, credit = csv_lines(ledger.entries())
>>> debit.split(",")[7:11]
['ASSET:SYSTEM:VAULT:USDT:MAIN', 'USDT', 'debit', '5']
"""

from __future__ import annotations

from bibank.export.beancount_text import beancount_lines
from bibank.export.csv_text import csv_lines, table_csv_lines
from bibank.export.hledger_text import hledger_lines

__all__ = ["beancount_lines", "csv_lines", "hledger_lines", "table_csv_lines"]
