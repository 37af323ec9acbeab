"""The drafts behind the golden journal. The bytes in the files are what counts, not this."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import attrs

from bibank.journal.batches import Draft
from bibank.journal.codec import decode_line
from bibank.journal.drafts import deposit, transfer, withdrawal
from bibank.journal.genesis import genesis_batch
from bibank.journal.hold_drafts import hold, post_hold, void_hold
from bibank.journal.reversals import reversal
from bibank.model.amount import Amount
from bibank.model.entry import JournalEntry, Posting, TransactionIntent, UnsignedEntry
from bibank.model.hold import WITHDRAWAL, Hold
from bibank.model.keyring import Keyring
from bibank.model.links import IdempotencyMark

NAME = "golden.example-1"
NONCE = "00112233445566778899aabbccddeeff"
NOON = datetime(2026, 1, 25, 12, tzinfo=UTC)

TRADE = UnsignedEntry(
    intent=TransactionIntent.TRADE,
    correlation_id="trade-1",
    postings=(
        Posting.debit("LIAB:USER:ALICE:USDT:AVAILABLE", "100"),
        Posting.credit("LIAB:USER:BOB:USDT:AVAILABLE", "100"),
        Posting.debit("LIAB:USER:BOB:BTC:AVAILABLE", "0.003"),
        Posting.credit("LIAB:USER:ALICE:BTC:AVAILABLE", "0.003"),
    ),
    metadata={
        "trade_id": "t-1",
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "price": "100000/3",
        "base_amount": "0.003",
        "quote_amount": "100",
        "maker": "ALICE",
        "taker": "BOB",
    },
)
FEE = UnsignedEntry(
    intent=TransactionIntent.FEE,
    correlation_id="trade-1",
    postings=(
        Posting.debit("LIAB:USER:BOB:USDT:AVAILABLE", "0.1"),
        Posting.credit("REV:SYSTEM:FEE:USDT:TRADING", "0.1"),
    ),
    metadata={"fee_amount": "0.1", "fee_asset": "USDT", "fee_type": "trading"},
)
METADATA = {
    "note": 'caff\u00e8 "\u1ec7" \\ </\u2028\U0001f602',
    "deep": {"z": [1, -2, True, None], "a": {}},
    "largest": 2**53 - 1,
}

Lines = Sequence[bytes]
Drafts = Callable[[Lines], tuple[Draft, ...]]
"""Give the drafts of a batch, for which the lines before it are needed."""


def entry_at(lines: Lines, sequence: int) -> JournalEntry:
    """Read an entry that was sealed before."""
    line = decode_line(lines[sequence - 1])
    assert isinstance(line, JournalEntry)
    return line


def plain(*drafts: Draft) -> Drafts:
    """Drafts that need no earlier line."""
    return lambda lines: drafts


def posted(sequence: int, amount: str) -> Drafts:
    """Pay a part of a hold."""
    return lambda lines: post_hold(
        Hold.of(entry_at(lines, sequence)), Amount(amount), correlation_id=f"post-{sequence}"
    )


def voided(sequence: int) -> Drafts:
    """Give a hold back."""
    return lambda lines: void_hold(Hold.of(entry_at(lines, sequence)), correlation_id=f"void-{sequence}")


def reversed_(sequence: int, amount: str | None = None) -> Drafts:
    """Take an entry back."""
    part = None if amount is None else Amount(amount)
    return lambda lines: (reversal(entry_at(lines, sequence), part, correlation_id=f"back-{sequence}"),)


KEY = IdempotencyMark(key='invoice "7"', digest="5a" * 32)
PLAIN_KEY = IdempotencyMark(key="invoice-8", digest="a5" * 32)


@attrs.frozen(kw_only=True)
class Step:
    """A batch: when, its drafts, the request's key, and whether the write group is closed afterwards."""

    at: datetime
    drafts: Drafts
    key: IdempotencyMark | None = None
    closes: bool = True


def _later(minutes: int, drafts: Drafts, *, key: IdempotencyMark | None = None) -> Step:
    return Step(at=NOON.replace(day=26, minute=minutes), drafts=drafts, key=key)


STEPS: tuple[Step, ...] = (
    Step(
        at=NOON,
        drafts=plain(
            *genesis_batch(
                {"USDT": "1000000", "BTC": "21.00000001"},
                name=NAME,
                keyring=Keyring.unsigned(),
                nonce=NONCE,
                correlation_id="genesis",
            )
        ),
    ),
    Step(
        at=NOON.replace(second=1),
        drafts=plain(deposit("ALICE", "1000.5 USDT", correlation_id="r-1")),
        closes=False,
    ),
    Step(
        at=NOON.replace(second=1, microsecond=1),
        drafts=plain(deposit("BOB", "1 BTC", correlation_id="r-2")),
        closes=False,
    ),
    Step(
        at=NOON.replace(second=2, microsecond=500_000),
        drafts=plain(
            transfer("ALICE", "BOB", "0.00000001 USDT", correlation_id='"r-3"\\', metadata=METADATA)
        ),
        closes=False,
    ),
    Step(at=NOON.replace(second=3), drafts=plain(TRADE, FEE)),
    Step(
        at=NOON.replace(day=26),
        drafts=plain(withdrawal("BOB", "50 USDT", correlation_id="~" * 128)),
    ),
    _later(
        1,  # line 9: a hold, paid in part by line 10
        plain(hold("ALICE", "60 USDT", to="SHOP", expires_at=NOON.replace(day=27), correlation_id="hold-9")),
    ),
    _later(2, posted(9, "45.5")),
    _later(3, plain(hold("ALICE", "1 USDT", to="SHOP", correlation_id="hold-11"))),
    _later(4, voided(11)),
    _later(5, plain(hold("BOB", "8 USDT", to=WITHDRAWAL, correlation_id="hold-13"))),
    _later(6, posted(13, "3")),  # lines 14 and 15
    _later(7, plain(deposit("BOB", "100 USDT", correlation_id="r-7"))),
    _later(8, reversed_(6)),  # a trade
    _later(9, reversed_(7)),  # its fee
    _later(10, reversed_(3, "100.25")),
    _later(11, plain(deposit("CAROL", "1 USDT", correlation_id="r-4")), key=KEY),
    _later(12, plain(deposit("CAROL", "2 USDT", correlation_id="r-5")), key=PLAIN_KEY),
    _later(
        13,
        plain(
            transfer(
                "CAROL", "BOB", "1 USDT", correlation_id="r-6", effective_at=NOON.replace(microsecond=10)
            )
        ),
    ),
)
