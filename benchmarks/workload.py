"""The work that is measured: seeded transfers between funded owners, two postings each, one asset."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import bibank as bb
from bibank import drafts
from bibank.signing import Ed25519Signer
from bibank.stores import Head, LineGroup

Signing = Literal["entry", "group"] | None
"""What is signed: each line, the last of each write group, or nothing."""

ASSET = "USD"
FUND = 1_000_000
LARGEST_AMOUNT = 100
OPENING = {ASSET: str(10**15)}
HOLDER = "HOLDER"
"""Who is given everybody's money first."""

_PAID_AT_ONCE = 200
"""Owners paid by one funding entry."""

_PAGES_AT_ONCE = 10
"""Funding entries held in memory at a time."""


def owner(number: int) -> str:
    """Name an owner, in at most 12 characters."""
    return f"U{number}"


def account(name: str) -> str:
    """Name the account of an owner."""
    return f"LIAB:USER:{name}:{ASSET}:AVAILABLE"


def pairs(count: int, *, accounts: int, seed: int) -> Iterator[tuple[int, int, int]]:
    """Draw transfers: payer, payee, amount."""
    draw = random.Random(seed)
    for _ in range(count):
        payer = draw.randrange(accounts)
        payee = draw.randrange(accounts - 1)
        yield payer, payee + (payee >= payer), draw.randint(1, LARGEST_AMOUNT)


def transfers(count: int, *, accounts: int, seed: int = 1) -> list[bb.UnsignedEntry]:
    """Draw transfers as drafts."""
    return [
        drafts.transfer(owner(payer), owner(payee), f"{amount} {ASSET}", correlation_id=f"t{number}")
        for number, (payer, payee, amount) in enumerate(pairs(count, accounts=accounts, seed=seed))
    ]


def groups(items: Sequence[bb.UnsignedEntry], size: int) -> list[Sequence[bb.UnsignedEntry]]:
    """Cut drafts into groups; a rest that fills no group is left out."""
    size = min(size, len(items))
    return [items[start : start + size] for start in range(0, len(items) - size + 1, size)]


def fund(ledger: bb.Ledger, accounts: int) -> None:
    """Give each owner an account with money in it, by a deposit each."""
    money = f"{FUND} {ASSET}"
    ledger.commit_each(
        drafts.deposit(owner(number), money, correlation_id="fund") for number in range(accounts)
    ).raise_for_refusals()


def fund_many(ledger: bb.Ledger, accounts: int, *, first: int = 0) -> None:
    """Do the same for very many owners: one deposit, paid out by transfers to many; the holder keeps half."""
    ledger.deposit(HOLDER, f"{2 * accounts * FUND} {ASSET}", correlation_id="fund")
    entries = (
        _pay_out(range(start, min(start + _PAID_AT_ONCE, first + accounts)))
        for start in range(first, first + accounts, _PAID_AT_ONCE)
    )
    while page := list(islice(entries, _PAGES_AT_ONCE)):
        ledger.commit_each(page).raise_for_refusals()


def _pay_out(numbers: range) -> bb.UnsignedEntry:
    return bb.UnsignedEntry(
        intent=bb.TransactionIntent.TRANSFER,
        correlation_id="fund",
        postings=[
            bb.Posting.debit(account(HOLDER), FUND * len(numbers)),
            *(bb.Posting.credit(account(owner(number)), FUND) for number in numbers),
        ],
    )


def signer() -> Ed25519Signer:
    """Make a signer with a known seed."""
    return Ed25519Signer(bytes(range(32)), signer_id="SYSTEM")


def open_home(home: Path, signing: Signing, *, durability: Literal["sync", "none"] = "sync") -> bb.Ledger:
    """Make a home, with capital and nothing else, and open it."""
    if signing is None:
        unsigned = bb.Keyring.unsigned()
        return bb.Ledger.create(home, opening=OPENING, keyring=unsigned, durability=durability)
    return bb.Ledger.create(home, opening=OPENING, signer=signer(), signing=signing, durability=durability)


def home_ledger(
    home: Path, *, accounts: int, transfers_after: int, group: int, signing: Signing = None
) -> None:
    """Make a home with funded owners and transfers among them, without syncs."""
    with open_home(home, signing, durability="none") as ledger:
        fund(ledger, accounts)
        for part in groups(transfers(transfers_after, accounts=accounts), group):
            ledger.commit_each(part).raise_for_refusals()


def journal_lines(home: Path) -> list[bytes]:
    """Read every line of a home's journal."""
    days = sorted((home / "journal").glob("*.jsonl"))
    return [line for day in days for line in day.read_bytes().splitlines()]


def memory_ledger(accounts: int, signing: Signing = None) -> bb.Ledger:
    """Make a ledger in memory with funded owners."""
    if signing is None:
        ledger = bb.Ledger.in_memory(OPENING)
    else:
        ledger = bb.Ledger.in_memory(OPENING, signer=signer(), signing=signing)
    fund(ledger, accounts)
    return ledger


def typical_lines(count: int) -> list[bytes]:
    """Make journal lines of transfers."""
    store = bb.MemoryStore()
    ledger = bb.Ledger(store=store, opening=OPENING)
    fund(ledger, 10)
    start = ledger.head.sequence
    ledger.commit_each(transfers(count, accounts=10))
    return list(store.read(after_sequence=start))


class ForgetfulStore:
    """A `LedgerStore` that keeps the head alone: what remains in memory is the ledger's own state."""

    def __init__(self) -> None:
        self._head = Head()

    def head(self) -> Head:
        """Tell the last line."""
        return self._head

    def append(self, group: LineGroup) -> None:
        """Move the head and drop the lines."""
        assert group.expected_head == self._head
        self._head = group.head

    def read(self, *, after_sequence: int = 0) -> Iterator[bytes]:
        """Give nothing: nothing was kept."""
        return iter(())

    def close(self) -> None:
        """Do nothing."""
