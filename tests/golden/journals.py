"""The drafts behind the golden journal. The bytes in the files are what counts, not this."""

from datetime import UTC, datetime

from bibank.journal.batches import Draft
from bibank.journal.drafts import deposit, transfer, withdrawal
from bibank.journal.genesis import genesis_batch
from bibank.model.entry import Posting, TransactionIntent, UnsignedEntry
from bibank.model.keyring import Keyring

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

BATCHES: list[tuple[datetime, bool, tuple[Draft, ...]]] = [
    (
        NOON,
        True,
        genesis_batch(
            {"USDT": "1000000", "BTC": "21.00000001"},
            name=NAME,
            keyring=Keyring.unsigned(),
            nonce=NONCE,
            correlation_id="genesis",
        ),
    ),
    (NOON.replace(second=1), False, (deposit("ALICE", "1000.5 USDT", correlation_id="r-1"),)),
    (NOON.replace(second=1, microsecond=1), False, (deposit("BOB", "1 BTC", correlation_id="r-2"),)),
    (
        NOON.replace(second=2, microsecond=500_000),
        False,
        (transfer("ALICE", "BOB", "0.00000001 USDT", correlation_id='"r-3"\\', metadata=METADATA),),
    ),
    (NOON.replace(second=3), True, (TRADE, FEE)),
    (NOON.replace(day=26), True, (withdrawal("BOB", "50 USDT", correlation_id="~" * 128),)),
]
"""(time, whether the write group is closed afterwards, drafts) of each batch."""
