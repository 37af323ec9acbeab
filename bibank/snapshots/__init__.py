"""Snapshots: what a ledger knows at one line, written down so that opening need not read what came before.

Disposable: delete them and they come back with equal content. Never evidence: who opens a ledger verifies
their signature and what they say of the journal, and reads the journal from genesis where anything is amiss.
"""
