"""Looking at a home, whatever state it is in.

>>> import bibank as bb
>>> with bb.Ledger.create("books", opening={"USDT": "1000"}) as ledger:
...     _ = ledger.deposit("ALICE", "100 USDT", correlation_id="r1")
>>> diagnosis = bb.diagnose_home("books")
>>> len(diagnosis.problems)
0
>>> print(next(found for found in diagnosis.findings if found.check == "lock"))
ok       lock: free: no process has the home open for writing
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime

from bibank.clock import Clock, SystemClock
from bibank.doctor.findings import SHOWN, Diagnosis, Finding
from bibank.doctor.journal import journal_findings
from bibank.doctor.look import Look, take_look
from bibank.doctor.surroundings import (
    clock_finding,
    key_findings,
    keyring_finding,
    projection_finding,
    space_finding,
)
from bibank.home import Home
from bibank.model.table import Table
from bibank.model.timestamp import check_utc


def diagnose_home(path: str | os.PathLike[str], *, clock: Clock | None = None) -> Diagnosis:
    """Say how a home is: lock, HEAD, tail, clock, keys, keyring, space, recoveries, projection.

    Changes nothing, waits for nobody, and needs no key. What would keep a ledger from opening,
    `JournalCorrupt` and `JournalTruncated` included, is a finding instead of an error. It looks at
    the tail, and verifies no line: see :func:`audit_home`. Raises `HomeNotFound` where there is
    no ledger, not even a damaged one, and `StoreUnavailable` when the directory cannot be listed.
    """
    now = check_utc((SystemClock() if clock is None else clock).now())
    look = take_look(Home(path))
    return Diagnosis(
        path=str(look.home.path),
        ledger_id=look.ledger_id,
        head=look.survey.head if look.survey is not None else None,
        findings=Table(_findings(look, now), row_type=Finding, shown=SHOWN),
    )


def _findings(look: Look, now: datetime) -> Iterator[Finding]:
    yield from journal_findings(look)
    yield clock_finding(look, now)
    yield space_finding(look)
    yield from key_findings(look)
    yield keyring_finding(look)
    yield projection_finding(look)
