"""hledger: transactions with their accounts and commodities declared, then every balance as an assertion.

An account and a commodity are declared where they are first used. Commodities are declared with eight
decimals, to which hledger then balances; its arithmetic is exact.

>>> hledger_commodity("USDT"), hledger_commodity("USDT_2")
('USDT', '"USDT_2"')
>>> hledger_description("50% off; a|b ")
'50%25 off%3B a%7Cb%20'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

from bibank.export.bookkeeping import Sums, account_name, checked, effective_day, fixed_text, signed_units
from bibank.journal.history import effective_at
from bibank.model.account import AccountKey
from bibank.model.entry import JournalEntry
from bibank.model.timestamp import format_timestamp

_HEADER = """\
; Exported from a bibank journal: a copy for reading. Debits are positive.
; Dates are the UTC days on which entries count; "recorded" is when they were written down.
decimal-mark .
"""

_ESCAPES = {ord(character): f"%{ord(character):02X}" for character in "%;|"}
"""What would end a description, or part it in two, and the sign of the escape itself."""


def hledger_commodity(asset: str) -> str:
    """Name an asset: in quotes where it is not letters alone."""
    return asset if asset.isalpha() else f'"{asset}"'


def hledger_description(text: str) -> str:
    """Write a correlation id as a description: `%`, `;`, `|` and outer spaces as in a URL."""
    escaped = text.translate(_ESCAPES)
    inner = escaped.strip(" ")
    before = len(escaped) - len(escaped.lstrip(" "))
    after = len(escaped) - len(inner) - before
    return "%20" * before + inner + "%20" * after


def hledger_lines(entries: Iterable[JournalEntry]) -> Iterator[str]:
    """Write entries as an hledger journal, in pieces that end with a newline.

    Give them in journal order, all from the first on, or the balances at the end are those of the part. A
    genesis without postings is left out. Raises `InvalidType`.
    """
    sums = Sums()
    assets: set[str] = set()
    yield _HEADER
    for entry in checked(entries):
        if entry.postings:
            day = effective_day(entry)
            yield "\n"
            for account in sums.add(entry, day):
                if account.asset not in assets:
                    assets.add(account.asset)
                    yield f"commodity {fixed_text(0)} {hledger_commodity(account.asset)}\n"
                yield f"account {account_name(account)}\n"
            yield _transaction(entry, day)
    yield from _balances(sums)


def _transaction(entry: JournalEntry, day: date) -> str:
    moment = effective_at(entry)
    tags = [f"intent:{entry.intent.value}", f"recorded:{format_timestamp(entry.timestamp)}"]
    if moment != entry.timestamp:
        tags.append(f"effective:{format_timestamp(moment)}")
    lines = [
        f"{day.isoformat()} * ({entry.sequence}) {hledger_description(entry.correlation_id)}",
        f"    ; {', '.join(tags)}",
        f"    ; hash:{entry.hash}",
    ]
    lines += (f"    {_line(posting.account, signed_units(posting))}" for posting in entry.postings)
    return "\n".join(lines) + "\n"


def _line(account: AccountKey, units: int) -> str:
    return f"{account_name(account)}  {fixed_text(units)} {hledger_commodity(account.asset)}"


def _balances(sums: Sums) -> Iterator[str]:
    """Assert every balance in a last transaction of the last day, which moves nothing."""
    accounts = sums.by_name()
    if accounts:
        yield f"\n{sums.last_day.isoformat()} * balances\n"
    for account, found in accounts:
        balance = f"{fixed_text(found.units)} {hledger_commodity(account.asset)}"
        yield f"    {_line(account, 0)} = {balance}\n"
