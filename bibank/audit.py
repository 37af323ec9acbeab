"""The audit: read every line again, recompute everything, and say what was not covered.

A journal passes when every line is spelled canonically, follows from the line before, satisfies
its intent, and the books balance at the end. Comparing links alone would miss half of all flipped
bits; here every hash is computed from the line's content.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date

import attrs

from bibank.errors import BibankError, InvalidType, InvalidValue, JournalCorrupt, JournalError, JournalTorn
from bibank.home import Home
from bibank.journal.codec import decode_line
from bibank.journal.machine import LedgerMachine
from bibank.journal.reference import line_hash
from bibank.model.account import AccountCategory
from bibank.model.lines import Head
from bibank.model.timestamp import format_timestamp
from bibank.risk.engine import RiskEngine

_DEBIT_CATEGORIES = frozenset({AccountCategory.ASSET, AccountCategory.EXPENSE})

Place = Callable[[JournalError], JournalError]
"""Adds file and line to an error, where the store has files."""

Watch = Callable[[Iterator[bytes]], Iterable[bytes]]
"""Gives the same lines and may look at them as they pass, to show progress."""


@attrs.frozen(kw_only=True)
class AuditReport:
    """What an audit found to hold. A journal that does not hold raises `JournalCorrupt` instead.

    `covered` counts the lines of the asked range; the chain is always verified from genesis on.
    `not_covered` says in words what this audit does not show.
    """

    ledger_id: str
    head: Head
    lines: int
    entries: int
    records: int
    accounts: int
    covered: int
    not_covered: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            f"self-consistent with ledger {self.ledger_id}",
            f"{self.lines} lines ({self.entries} entries, {self.records} records), {self.accounts} accounts",
            f"head {self.head.sequence} {self.head.hash}",
        ]
        if self.covered != self.lines:
            lines.append(f"{self.covered} of the lines lie in the range that was asked for")
        return "\n".join([*lines, *(f"not covered: {gap}" for gap in self.not_covered)])


def audit_lines(
    lines: Iterable[bytes],
    *,
    place: Place = lambda error: error,
    since: date | None = None,
    until: date | None = None,
    balances: Mapping[str, int] | None = None,
) -> AuditReport:
    """Verify lines from genesis on; raises `JournalCorrupt` at the first that does not follow.

    `since` and `until` are UTC dates, both inclusive: what lies before is verified but not
    counted in `covered`, what lies after is not read. `balances` (units by account) must come out.
    """
    for day in (since, until):
        if day is not None and type(day) is not date:
            raise InvalidType(f"a range is given as dates, not as {type(day).__name__}")
    if since is not None and until is not None and since > until:
        raise InvalidValue(f"the range from {since} to {until} is empty; 'from' comes first")
    machine = LedgerMachine(RiskEngine())
    covered = 0
    stopped = False
    first_text, last_text = since.isoformat() if since else "", until.isoformat() if until else "~"
    try:
        for line in lines:
            if until is not None and not machine.in_batch and _date_of(line) > last_text:
                _check_last_look(line, machine)
                stopped = True
                break
            machine.accept(line)
            covered += machine.position.timestamp[:10] >= first_text
        if machine.in_batch:
            raise JournalTorn("the last batch is unfinished", sequence=machine.head.sequence + 1)
        if not machine.head.sequence:
            raise JournalTorn("the journal is empty", sequence=1)
    except JournalError as error:
        raise place(error) from error.__cause__
    _check_totals(machine)
    if balances is not None and balances != {account.text: account.balance for account in machine.book}:
        raise place(
            JournalCorrupt(
                "the balances in memory are not those of the journal", sequence=machine.head.sequence
            )
        )
    gaps = ["who wrote it: the ledger is unsigned, so a complete rewrite cannot be told from the original"]
    gaps.append("risk rules: each entry was judged when it was committed, and is not judged again")
    if stopped:
        gaps.append(f"lines after {until}")
    return AuditReport(
        ledger_id=machine.ledger_id,
        head=machine.head,
        lines=machine.entries + machine.records,
        entries=machine.entries,
        records=machine.records,
        accounts=len(machine.book),
        covered=covered,
        not_covered=tuple(gaps),
    )


def audit_home(
    path: str | os.PathLike[str],
    *,
    since: date | None = None,
    until: date | None = None,
    watch: Watch = lambda lines: lines,
) -> AuditReport:
    """Audit the journal of a home without opening it for writing: no lock, nothing repaired.

    Raises `HomeNotFound`, `JournalCorrupt` with file and line, or `JournalTorn` when the journal
    ends in an incomplete write.
    """
    plan = Home(path).survey()
    report = audit_lines(watch(plan.read()), place=plan.place, since=since, until=until)
    plan.raise_if_torn()
    return report


def _date_of(line: bytes) -> str:
    """Read the date of a line without judging it: enough to know when to stop."""
    return line.partition(b'"timestamp":"')[2][:10].decode("ascii", "replace")


def _check_last_look(line: bytes, machine: LedgerMachine) -> None:
    """Demand that the first line after the range says its date truly: a forged one would hide the rest."""
    sequence = machine.head.sequence + 1
    try:
        found = decode_line(line)
    except BibankError as error:
        raise JournalCorrupt(str(error), sequence=sequence) from error
    if sequence == 1:
        raise InvalidValue(f"the journal begins on {format_timestamp(found.timestamp)[:10]}, after the range")
    if found.prev_hash != machine.head.hash:
        raise JournalCorrupt("prev_hash is not the hash of the line before", sequence=sequence)
    if line_hash(found, ledger_id=machine.ledger_id) != found.hash:
        raise JournalCorrupt("the line's hash is not that of its content", sequence=sequence)


def _check_totals(machine: LedgerMachine) -> None:
    """Demand that assets and expenses equal liabilities, equity and revenue, asset by asset."""
    totals: dict[str, int] = {}
    for account in machine.book:
        sign = 1 if account.klass.category in _DEBIT_CATEGORIES else -1
        totals[account.klass.asset] = totals.get(account.klass.asset, 0) + sign * account.balance
    wrong = {asset: units for asset, units in totals.items() if units}
    assert not wrong, f"the books do not balance: {wrong}"
