"""`bibank snapshot`: made, verified against the journal, and named when it does not hold."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from bibank.ledger import Ledger
from bibank.risk.engine import RiskEngine
from bibank.signing import Envelope, from_key_file
from tests.cli.command import Command, cells
from tests.risk.rules import Counting


def newest(books: Command) -> Path:
    """The newest snapshot."""
    return max((books.home / "snapshots").glob("*.json"))


def forge(books: Command) -> None:
    """Give every account a unit more, and sign that with the ledger's own key."""
    head, state = newest(books).read_bytes().splitlines()
    members = json.loads(state)
    for columns in members["accounts"]:
        columns[4] = [units + 1 for units in columns[4]]
    spelled = json.dumps(members, separators=(",", ":")).encode()
    found = json.loads(head)
    found["payload"]["state"] = sha256(spelled).hexdigest()
    envelope = Envelope.from_json(json.dumps({**found, "signatures": []}))
    text = envelope.signed_by(from_key_file(books.key)).to_json().encode()
    newest(books).write_bytes(text + b"\n" + spelled + b"\n")


def test_create_and_verify(books: Command) -> None:
    """Made of the last line, signed by the ledger's own key, and holds."""
    assert books.ok("snapshot", "verify").out == "there are no snapshots\n"
    made = books.ok("snapshot", "create", "--json").document
    assert made["path"] == str(newest(books))
    assert books.ok("snapshot", "create").out == f"snapshot of line {made['sequence']} in {newest(books)}\n"
    ((line, signer, holds),) = cells(books.ok("snapshot", "verify").out)
    assert (line, signer.split()[0], holds) == (str(made["sequence"]), "SYSTEM", "yes")
    document = books.ok("snapshot", "verify", "--json").document
    assert [found["problem"] for found in document["snapshots"]] == [None]


def test_a_state_that_the_journal_does_not_give_is_found_though_it_is_signed(books: Command) -> None:
    """Whoever has the key can forge what opening would use: the journal says otherwise, and the code is 5."""
    books.ok("snapshot", "create")
    forge(books)
    outcome = books.run("snapshot", "verify")
    assert (outcome.code, "no: the journal gives other accounts" in outcome.out) == (5, True)
    outcome = books.run("snapshot", "verify", "--json")
    assert outcome.code == 5
    assert outcome.document["snapshots"][0]["problem"] == "the journal gives other accounts"


def test_a_damaged_snapshot_is_found_and_named_on_opening(books: Command) -> None:
    """Verified: 5 with the reason. Opened: a warning, and the journal is read."""
    books.ok("snapshot", "create")
    newest(books).write_bytes(newest(books).read_bytes()[:-9])
    assert books.run("snapshot", "verify").code == 5
    outcome = books.ok("deposit", "ALICE", "1", "USDT")
    assert f"warning: snapshot {newest(books)} is not used: it is not whole" in outcome.err
    assert "is not used" not in books.ok("balance", "ALICE").err


def test_what_host_rules_remember_is_not_covered_and_said(books: Command) -> None:
    """The command does not have them; everything else is compared."""
    with Ledger.open(books.home, risk=RiskEngine([Counting(9)])) as ledger:
        ledger.snapshot()
    outcome = books.ok("snapshot", "verify")
    assert "what counting/1 remembers was not covered" in outcome.err
    forge(books)
    assert books.run("snapshot", "verify").code == 5


def test_a_damaged_journal_is_an_error_of_its_own(books: Command) -> None:
    """The snapshot is not to blame."""
    books.ok("snapshot", "create")
    data = bytearray(books.day.read_bytes())
    at = data.index(b'"metadata"')
    data[at + 1] ^= 1
    books.day.write_bytes(bytes(data))
    assert books.run("snapshot", "verify").code == 5


def test_there_is_no_ledger(tmp_path: Path) -> None:
    """Nothing is made."""
    for word in ("create", "verify"):
        assert Command(tmp_path / "none").run("snapshot", word).code == 7
    assert list(tmp_path.iterdir()) == []
