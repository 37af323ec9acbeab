"""Random ledgers to export: odd owners, assets and ids, and entries that count on another day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
from hypothesis import strategies as st

import bibank as bb
from tests.properties.histories import draft, entries

NOON = datetime(2026, 1, 25, 12, tzinfo=UTC)

_LETTERS = "ABCXYZ0189"
_words = st.text(_LETTERS, min_size=1, max_size=5)
parts = st.sampled_from(["TRUE", "FALSE", "NULL", "A", "1", "1INCH", "A" * 64, "9_" * 31 + "9"]) | st.lists(
    _words, min_size=1, max_size=3
).map("_".join)
"""Ids and asset codes of any shape that the grammar allows."""

_printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20)
correlation_ids = _printable | st.sampled_from(
    [" ", "  a  b ", '"', "\\", '\\"', "a;b|c%d", "* (1) = !", "=1+1", "%3B"]
)

days = st.none() | st.sampled_from(
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        NOON,
        NOON + timedelta(days=400),
    ]
)
"""When an entry counts."""

owners = [f"LIAB:USER:{owner}:USDT:AVAILABLE" for owner in ("ALICE", "BOB")]


@st.composite
def _odd_deposits(draw: st.DrawFn, digits: int) -> bb.UnsignedEntry:
    asset, owner = draw(parts), draw(parts)
    most = 10**digits - 1
    amount = bb.Amount.from_units(draw(st.sampled_from([1, 10**8, most]) | st.integers(1, most)))
    return bb.UnsignedEntry(
        intent=bb.TransactionIntent.DEPOSIT,
        correlation_id="odd",
        postings=(
            bb.Posting.debit(f"ASSET:SYSTEM:VAULT:{asset}:MAIN", amount),
            bb.Posting.credit(
                f"LIAB:USER:{owner}:{asset}:{draw(st.sampled_from(['AVAILABLE', 'MAIN', '1_A']))}", amount
            ),
        ),
    )


def histories(*, digits: int) -> st.SearchStrategy[list[bb.UnsignedEntry]]:
    """Make drafts, the odd ones among them of amounts with so many digits at most."""
    one = st.builds(
        lambda entry, correlation_id, at: attrs.evolve(
            entry, correlation_id=correlation_id, links=bb.EntryLinks(effective_at=at)
        ),
        entries.map(draft) | _odd_deposits(digits),
        correlation_ids,
        days,
    )
    return st.lists(one, max_size=10)


class Ticking:
    """A clock that moves seven hours at each look, so that days change."""

    def __init__(self) -> None:
        self.moment = NOON

    def now(self) -> datetime:
        """Give the time, later than before."""
        self.moment += timedelta(hours=7)
        return self.moment


def books(drafts: list[bb.UnsignedEntry], *, opening: dict[str, Any] | None = None) -> bb.Ledger:
    """Make a ledger of drafts; what is refused is left out."""
    ledger = bb.Ledger.in_memory({"USDT": "50", "BTC": "3"} if opening is None else opening, clock=Ticking())
    ledger.commit_each(drafts)
    return ledger


def debit_balances(ledger: bb.Ledger) -> dict[str, int]:
    """Give the units of every account, debits positive."""
    return {
        str(row.account): row.balance.units * (1 if row.account.category.value in ("ASSET", "EXP") else -1)
        for row in ledger.accounts()
    }


ROOTS = {"Assets": "ASSET", "Liabilities": "LIAB", "Equity": "EQUITY", "Income": "REV", "Expenses": "EXP"}


def key_of(name: str, *, unescape: Callable[[str], str] = str) -> str:
    """Read the name of an account of an export back into its key."""
    root, rest = name.split(":", 1)
    return f"{ROOTS[root]}:{unescape(rest)}"
