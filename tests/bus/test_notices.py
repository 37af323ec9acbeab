"""Events that stand in no journal: an audit is told behind the entries that it has verified, and not lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import bibank as bb
from bibank.bus.mailbox import MAX_NOTICES
from tests.bus.ears import Ear, Planted, all_told, deposit, in_memory, small_ring, status_of


@pytest.fixture(params=["ring", "store"])
def ledger(request: pytest.FixtureRequest) -> Iterator[bb.Ledger]:
    """A ledger of two lines whose buffer holds everything, or next to nothing."""
    with in_memory() as made, small_ring(4096 if request.param == "ring" else 2):
        yield made


class Deaf(Ear):
    """Fails at the first audit that it hears of."""

    def handle(self, event: bb.LedgerEvent) -> None:
        """Take an event."""
        is_first = not any(isinstance(heard, bb.ChainVerified) for heard in self.tried)
        if is_first and isinstance(event, bb.ChainVerified):
            self.tried.append(event)
            raise Planted("deaf")
        super().handle(event)


def test_an_audit_is_told_behind_its_line_and_before_what_came_later(ledger: bb.Ledger) -> None:
    """Who lags behind hears the entries that were verified first."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger, 2)
    ledger.audit()
    deposit(ledger, 2)
    ledger.audit()
    ledger.bus.pump()
    assert all_told(ear.heard) == ["3", "4", "verified 4", "5", "6", "verified 6"]


def test_a_notice_is_told_in_a_pump_that_ends_behind_its_line(ledger: bb.Ledger) -> None:
    """One event at a time, each in its place."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger, 2)
    ledger.audit()
    while ledger.bus.pump(limit=1):
        pass
    assert all_told(ear.heard) == ["3", "4", "verified 4"]


def test_a_notice_in_hand_outlives_a_replay(ledger: bb.Ledger) -> None:
    """It failed, a replay was asked for, and it is told all the same: nothing could tell it again later."""
    ear = Deaf()
    ledger.bus.subscribe(ear)
    deposit(ledger)
    ledger.audit()
    ledger.bus.pump()
    assert status_of(ledger, "ear").attempts == 1
    ledger.bus.replay_from(3)
    ledger.bus.pump()
    assert all_told(ear.heard) == ["3", "verified 3", "from 3", "3", "completed 1"]


def test_a_notice_that_waits_outlives_a_replay(ledger: bb.Ledger) -> None:
    """One that nobody has taken yet is told behind its line, once."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger, 2)
    ledger.bus.pump()
    ledger.audit()
    ledger.bus.replay_from(4)
    ledger.bus.pump()
    assert sorted(all_told(ear.heard)) == ["3", "4", "4", "completed 1", "from 4", "verified 4"]


def test_of_too_many_notices_the_newest_are_told(ledger: bb.Ledger) -> None:
    """Who is never pumped does not fill the memory; the entries are all there."""
    ear = Ear()
    ledger.bus.subscribe(ear)
    deposit(ledger)
    audits = [
        bb.ChainVerified(last_sequence=3, last_hash=f"{number:064x}") for number in range(MAX_NOTICES + 9)
    ]
    for audit in audits:
        ledger.bus.announce(audit)
    deposit(ledger)
    ledger.bus.pump()
    assert ear.sequences == [3, 4]
    assert ear.heard[1:-1] == audits[9:]
