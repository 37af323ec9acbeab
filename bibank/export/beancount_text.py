"""Beancount (version 3): transactions, then the accounts that they use, then every balance as an assertion.

One pass over the entries: which day an account is first used, and its balance, are known at the end, and
Beancount sorts directives by date wherever they stand. Amounts have all eight decimals, so that the tolerance
that Beancount infers is half a unit of 10^-8; balances have an explicit tolerance of zero.

>>> beancount_account(AccountKey("LIAB:USER:ALICE_B:USDT:AVAILABLE"))
'Liabilities:USER:ALICE-B:USDT:AVAILABLE'
>>> beancount_commodity("USDT"), beancount_commodity("1INCH")
('USDT', 'X.1INCH')
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta

from bibank.errors import AmountOverflow
from bibank.export.bookkeeping import Sums, account_name, checked, effective_day, fixed_text, signed_units
from bibank.journal.history import effective_at
from bibank.model.account import AccountKey
from bibank.model.entry import JournalEntry
from bibank.model.timestamp import format_timestamp

_WORDS = frozenset({"TRUE", "FALSE", "NULL"})
"""What Beancount reads as a value where a commodity would stand."""

_MAX_DIGITS = 28
"""Beancount counts in Python's default decimal context, which rounds what is longer."""

_HEADER = """\
;; Exported from a bibank journal: a copy for reading. Debits are positive.
;; Dates are the UTC days on which entries count; "recorded" is when they were written down.
"""


def beancount_account(account: AccountKey) -> str:
    """Name an account: `_`, which Beancount does not allow, becomes `-`, which no key has."""
    return account_name(account).replace("_", "-")


def beancount_commodity(asset: str) -> str:
    """Name an asset: `X.` goes before a digit and before `TRUE`, `FALSE`, `NULL`; no asset code has a dot."""
    return f"X.{asset}" if asset[0].isdigit() or asset in _WORDS else asset


def beancount_lines(entries: Iterable[JournalEntry]) -> Iterator[str]:
    r"""Write entries as a Beancount file, in pieces that end with a newline.

    Give them in journal order, all from the first on, or the balances at the end are those of the part. A
    genesis without postings is left out. Raises `AmountOverflow` for an amount or a balance of more than 28
    digits, which Beancount would round, and `InvalidType`.
    """
    sums = Sums()
    yield _HEADER
    for entry in checked(entries):
        if entry.postings:
            day = effective_day(entry)
            sums.add(entry, day)
            yield _transaction(entry, day)
    yield from _opens(sums)
    yield from _balances(sums)


def _transaction(entry: JournalEntry, day: date) -> str:
    moment = effective_at(entry)
    lines = [
        f"\n{day.isoformat()} * {_quoted(entry.correlation_id)}",
        f"  sequence: {entry.sequence}",
        f'  intent: "{entry.intent.value}"',
        f'  recorded: "{format_timestamp(entry.timestamp)}"',
    ]
    if moment != entry.timestamp:
        lines.append(f'  effective: "{format_timestamp(moment)}"')
    lines.append(f'  hash: "{entry.hash}"')
    lines += (f"  {_line(posting.account, signed_units(posting))}" for posting in entry.postings)
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _line(account: AccountKey, units: int, tolerance: str = "") -> str:
    if abs(units) >= 10**_MAX_DIGITS:
        raise AmountOverflow(
            f"{fixed_text(units)} on {account} has more than {_MAX_DIGITS} digits, "
            "which Beancount would round; export to hledger or CSV"
        )
    commodity = beancount_commodity(account.asset)
    return f"{beancount_account(account)}  {fixed_text(units)}{tolerance} {commodity}"


def _opens(sums: Sums) -> Iterator[str]:
    accounts = sums.by_name()
    first_days: dict[str, date] = {}
    for account, found in accounts:
        first_days[account.asset] = min(first_days.get(account.asset, date.max), found.first_day)
    yield "\n"
    for asset, day in sorted(first_days.items()):
        yield f'{day.isoformat()} commodity {beancount_commodity(asset)}\n  asset: "{asset}"\n'
    yield "\n"
    for account, found in accounts:
        commodity = beancount_commodity(account.asset)
        yield f"{found.first_day.isoformat()} open {beancount_account(account)} {commodity}\n"


def _balances(sums: Sums) -> Iterator[str]:
    """Assert every balance at the beginning of the day after the last one."""
    yield "\n"
    if sums.last_day == date.max:
        yield ";; No balances: an entry counts on the last day of the calendar, and none comes after it.\n"
        return
    day = sums.last_day + timedelta(days=1)
    for account, found in sums.by_name():
        yield f"{day.isoformat()} balance {_line(account, found.units, ' ~ 0')}\n"
