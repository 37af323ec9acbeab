"""What a rule sees: the stamp, balances before and after, what leaves whom."""

from typing import Any

import pytest

from bibank.journal.batches import PreparedBatch
from bibank.journal.drafts import deposit, transfer, withdrawal
from bibank.model.account import AccountKey
from bibank.model.entry import Posting, TransactionIntent, UnsignedEntry
from tests.journal.machines import ALICE, BOB, NOON, VAULT, found, later, propose
from tests.risk.rules import Rule


def test_stamp_and_balances() -> None:
    """Sequence and time are those of the line to be; balances are in the direction of the account."""
    seen: list[Any] = []

    def look(entry: Any, view: Any) -> None:
        balances = [
            (str(view.balance(AccountKey(text))), str(view.balance_after(AccountKey(text))))
            for text in (VAULT, ALICE, BOB)
        ]
        seen.append((view.sequence, view.now, balances))

    machine, _ = found({"USDT": "1000"}, rules=[Rule("look/1", look)])
    propose(machine, deposit("ALICE", "100 USDT", correlation_id="r"), now=later(seconds=1))
    machine.preview(PreparedBatch([transfer("ALICE", "BOB", "40 USDT", correlation_id="r")]), NOON)
    propose(machine, transfer("ALICE", "BOB", "40 USDT", correlation_id="r"), now=later(seconds=2))
    assert seen == [
        (3, later(seconds=1), [("1000", "1100"), ("0", "100"), ("0", "0")]),
        (4, later(seconds=1), [("1100", "1100"), ("100", "60"), ("0", "40")]),
        (4, later(seconds=2), [("1100", "1100"), ("100", "60"), ("0", "40")]),
    ]


FEE = UnsignedEntry(
    intent=TransactionIntent.FEE,
    correlation_id="r",
    postings=(Posting.debit(ALICE, 1), Posting.credit("REV:SYSTEM:FEE:USDT:TRADING", 1)),
    metadata={"fee_amount": "1", "fee_asset": "USDT", "fee_type": "trading"},
)


@pytest.mark.parametrize(
    ("draft", "expected"),
    [
        (deposit("ALICE", "5 USDT", correlation_id="r"), []),
        (withdrawal("ALICE", "5 USDT", correlation_id="r"), [ALICE, VAULT]),
        (transfer("ALICE", "BOB", "5 USDT", correlation_id="r"), [ALICE]),
        (FEE, [ALICE]),
    ],
)
def test_outflows(draft: UnsignedEntry, expected: list[str]) -> None:
    """The postings that lower an ASSET or LIAB account, whoever receives."""
    seen: list[list[str]] = []

    def look(entry: Any, view: Any) -> None:
        seen.append([str(posting.account) for posting in view.outflows(entry)])

    machine, _ = found(rules=[Rule("look/1", look)])
    propose(machine, deposit("ALICE", "100 USDT", correlation_id="r"))
    seen.clear()
    propose(machine, draft)
    assert seen == [expected]


def test_view_cannot_move_money() -> None:
    """A rule gets amounts, which are values; it has no way to the accounts but private ones."""

    def meddle(entry: Any, view: Any) -> None:
        view.balance(AccountKey(ALICE)).units = 5

    machine, _ = found()
    public = {name for name in dir(type(Rule)) if not name.startswith("_")}
    assert public
    from bibank.risk.view import RiskView

    assert [name for name in dir(RiskView) if not name.startswith("_")] == [
        "balance",
        "balance_after",
        "now",
        "outflows",
        "sequence",
        "state",
    ]
    assert machine.head.sequence == 2
