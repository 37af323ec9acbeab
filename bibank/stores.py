"""Stores, and the protocol of a host's own.

`plan_journal(path).repair()` gives a `JsonlStore` to compose a ledger with by hand.
"""

from __future__ import annotations

from bibank.model.lines import Head, LineGroup
from bibank.store.jsonl.plan import OpenPlan, plan_journal, survey_journal
from bibank.store.jsonl.writer import JsonlStore
from bibank.store.memory import MemoryStore
from bibank.store.protocol import LedgerStore

__all__ = [
    "Head",
    "JsonlStore",
    "LedgerStore",
    "LineGroup",
    "MemoryStore",
    "OpenPlan",
    "plan_journal",
    "survey_journal",
]
