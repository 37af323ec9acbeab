"""`bibank bus status`: how far each subscriber has come, by what was saved last."""

from __future__ import annotations

import json

import bibank as bb
from tests.cli.command import Command, cells


def fail(event: bb.LedgerEvent) -> None:
    """A subscriber that never manages."""
    raise ValueError("secret of the host")


def rows(books: Command) -> list[dict[str, object]]:
    """The subscribers as JSON tells them."""
    found: list[dict[str, object]] = books.ok("bus", "status", "--json").document["subscribers"]
    return found


def test_nobody(books: Command) -> None:
    """A home that nobody listens to says so, and is left as it is."""
    before = sorted(books.home.rglob("*"))
    assert books.ok("bus", "status").out == "nobody has subscribed\n"
    assert books.ok("bus", "status", "--json").document == {"head": 4, "subscribers": []}
    assert sorted(books.home.rglob("*")) == before


def test_idle_live_and_parked(books: Command) -> None:
    """A subscriber that is told by somebody, one that was, and one that failed too often."""
    with bb.Ledger.open(books.home) as ledger:
        ledger.bus.subscribe(lambda event: None, name="idle", after_sequence=0)
        ledger.bus.pump("idle", limit=1)
        ledger.bus.unsubscribe("idle")
        ledger.bus.subscribe(fail, after_sequence=3, retry=bb.Retry(attempts=1))
        ledger.bus.pump("fail")
        ledger.bus.unsubscribe("fail")
        ledger.bus.subscribe(lambda event: None, name="live")
        found = books.ok("bus", "status")
    assert [row["state"] for row in rows(books)] == ["parked", "idle", "idle"]
    assert cells(found.out)[-3:] == [
        ["fail", "parked", "3", "1", "ValueError"],
        ["idle", "idle", "1", "3"],
        ["live", "live", "4", "0"],
    ]
    assert "secret" not in found.out


def test_refused(books: Command) -> None:
    """A cursor that is damaged, or not of this journal, is named, and ends with the code of damage."""
    with bb.Ledger.open(books.home) as ledger:
        for name in ("ahead", "damaged", "edited", "foreign"):
            ledger.bus.subscribe(lambda event: None, name=name)
    place = books.home / "cursors"
    (place / "damaged.json").write_text("{}")
    for name, member, value in (
        ("ahead", "sequence", 5),
        ("edited", "hash", "0" * 64),
        ("foreign", "ledger", "bibank/" + "0" * 32),
    ):
        members = json.loads((place / f"{name}.json").read_text())
        members[member] = value
        (place / f"{name}.json").write_text(json.dumps(members, indent=1) + "\n")
    ended = books.run("bus", "status", "--json")
    assert ended.code == 5
    told = {row["name"]: (row["state"], row["reason"]) for row in ended.document["subscribers"]}
    assert {state for state, _ in told.values()} == {"refused"}
    assert "ends at line 4" in told["ahead"][1]
    assert "cursor file" in told["damaged"][1]
    assert "history" in told["edited"][1]
    assert "0" * 32 in told["foreign"][1]
