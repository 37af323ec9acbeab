"""The command `records`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bibank as bb
from bibank.keystore import from_key_file
from bibank.model.timestamp import format_timestamp
from bibank.risk.engine import RiskEngine
from bibank.rules import EntryLimit
from tests.cli.command import Command, Key, cells

UNTIL = (datetime.now(UTC) + timedelta(days=9)).replace(microsecond=0)


def test_records(proposed: Command, key: Key) -> None:
    """Records are listed with what they decide and why, all or those of a kind, from a line on."""
    proposed.ok("approve", "8", *key("ben"), "--correlation-id", "a1")
    proposed.ok("sign", "--entry-sequence", "3", *key("ben"), "--correlation-id", "s1")
    text = proposed.ok("records").out
    head, rows = re.split(r"  +", text.splitlines()[0].strip()), cells(text)
    assert head == ["sequence", "timestamp", "record", "reason", "correlation id"]
    assert [row[0] for row in rows] == ["2", "5", "6", "7", "8", "9", "10"]
    assert [row[2:] for row in rows[4:]] == [
        [
            "proposal by ANNA_OPS: adjustment debit LIAB:USER:ALICE:USDT:AVAILABLE 45, "
            "credit ASSET:SYSTEM:VAULT:USDT:MAIN 45",
            "50 was typed for 5",
            "case-7",
        ],
        ["approval of line 8 by BEN_OPS", "a1"],
        ["attestation of line 3 by BEN_OPS", "s1"],
    ]
    assert rows[0][2].startswith("keyring_adopted bibank/")
    assert [row["sequence"] for row in proposed.ok("records", "--json").documents] == [2, 5, 6, 7, 8, 9, 10]
    (row,) = proposed.ok("records", "--kind", "APPROVAL", "--json").documents
    assert (row["sequence"], row["kind"]) == (9, "approval")
    found = proposed.ok("records", "--after", "5", "--limit", "2", "--json").documents
    assert [row["sequence"] for row in found] == [6, 7]
    assert cells(proposed.ok("records", "--kind", "override").out) == []


def test_an_override_among_records(governed: Command, people: Path) -> None:
    """An override, which no command writes, is listed with its rule, its end and its reason."""
    rules = RiskEngine([EntryLimit(name="daily-limit/1", money="5 USDT")])
    with bb.Ledger.open(governed.home, risk=rules) as ledger:
        ledger.governance.override(
            bb.drafts.transfer("ALICE", "BOB", "1 USDT", correlation_id="t1"),
            rule="daily-limit/1",
            expires_at=UNTIL,
            reason="rent is due",
            authorised_by=[from_key_file(people / "anna.key")],
            correlation_id="o1",
        )
    (row,) = cells(governed.ok("records", "--kind", "override").out)
    assert row[2:] == [f"override of daily-limit/1 until {format_timestamp(UNTIL)}", "rent is due", "o1"]
