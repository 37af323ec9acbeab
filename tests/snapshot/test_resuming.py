"""A ledger opened from a snapshot is the one opened from its journal: every answer, every later line."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bibank as bb
from bibank.journal import reader
from bibank.risk.engine import RiskEngine
from tests.properties.verb_histories import MovedClock, ask, keys, requests
from tests.properties.verb_oracle import Request
from tests.risk.rules import Counting
from tests.snapshot.homes import STEPS, Clock, create, everything, grow, journal, reopen, twin
from tests.store.journals import SIGNER


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Collect the lines that are replayed."""
    lines: list[bytes] = []
    accept = reader.LineReader.accept

    def noting(self: Any, data: bytes) -> None:
        lines.append(data)
        accept(self, data)

    monkeypatch.setattr(reader.LineReader, "accept", noting)
    return lines


@pytest.mark.parametrize("signing", ["entry", "group"])
@pytest.mark.parametrize("at", range(len(STEPS) + 1))
def test_a_history_of_everything_goes_on_from_a_snapshot_after_any_step(
    at: int, signing: Any, tmp_path: Path, accepted: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """Only the lines behind it are read; what is asked and committed then is the same to the byte."""
    home, clock = tmp_path / "books", Clock()
    with create(home, clock, signing=signing, snapshot_every=None) as ledger:
        grow(ledger, clock, STEPS[:at])
        made = ledger.snapshot()
        assert made.sequence == ledger.head.sequence
        grow(ledger, clock, STEPS[at:])
        last = ledger.head.sequence
    other, later = twin(home), Clock(clock.moment)
    accepted.clear()
    caplog.clear()
    with reopen(home, clock, signing=signing) as resumed:
        assert len(accepted) == last - made.sequence
        with reopen(other, later, verify="all", signing=signing) as replayed:
            for _ in range(2):
                assert everything(resumed) == everything(replayed)
                for sequence in range(1, resumed.head.sequence + 1):
                    assert resumed.line(sequence) == replayed.line(sequence)
                for ledger, own in ((resumed, clock), (replayed, later)):
                    ledger.void_hold(ledger.holds()[0].id, correlation_id="late")
                    ledger.deposit("U7", "1 USDT", correlation_id="k", idempotency_key="many-7")
                    ledger.deposit("DORA", "1 USDT", correlation_id="new", idempotency_key="new")
                    own.now()
            resumed.audit(level="signatures")
    assert journal(home) == journal(other)
    assert caplog.records == []


@given(
    st.lists(st.tuples(requests, keys), max_size=8),
    st.lists(st.tuples(requests, keys), max_size=4),
    st.lists(st.tuples(requests, keys), max_size=4),
)
@settings(max_examples=25)
def test_a_snapshot_at_any_point_and_the_rest_are_the_whole(
    before: list[tuple[Request, str | None]],
    between: list[tuple[Request, str | None]],
    after: list[tuple[Request, str | None]],
) -> None:
    """Random verbs with a rule that remembers: resumed and replayed ledgers answer and write alike."""
    with TemporaryDirectory() as directory:
        home, clock = Path(directory) / "books", MovedClock()
        opening = {"USDT": "9", "BTC": "3"}
        with bb.Ledger.create(
            home, opening=opening, clock=clock, signer=SIGNER, risk=RiskEngine([Counting(5)])
        ) as ledger:
            for request, key in before:
                asked(ledger, clock, request, key)
            ledger.snapshot()
            for request, key in between:
                asked(ledger, clock, request, key)
        other = twin(home)
        common: Any = {"clock": clock, "signer": SIGNER}
        with (
            bb.Ledger.open(home, risk=RiskEngine([Counting(5)]), **common) as resumed,
            bb.Ledger.open(other, risk=RiskEngine([Counting(5)]), verify="all", **common) as replayed,
        ):
            assert everything(resumed) == everything(replayed)
            for request, key in after:
                assert asked(resumed, clock, request, key) == asked(replayed, clock, request, key)
            assert everything(resumed) == everything(replayed)
        assert journal(home) == journal(other)


def test_a_snapshot_of_a_resumed_ledger_holds_what_changed_since(tmp_path: Path) -> None:
    """Accounts that became objects, those that did not, and new ones: none is as it was before."""
    home, clock = tmp_path / "books", Clock()
    with create(home, clock) as ledger:
        for number in range(9):
            ledger.deposit(f"U{number}", "1 USDT", correlation_id="d")
        ledger.snapshot()
    for _ in range(3):
        with reopen(home, clock) as ledger:
            ledger.transfer("U3", "U5", "0.1 USDT", correlation_id="t")
            ledger.deposit("NEW", "1 USDT", correlation_id="d")
            assert (len(ledger._committer.machine.book), ledger._committer.machine.book._unread > 0) == (
                14,
                True,
            )
            ledger.snapshot()
        assert [verdict.problem for verdict in bb.verify_snapshots(home)] == [None, None]
    with reopen(home, clock) as ledger:
        found = {owner: str(ledger.balance(owner, "USDT").available) for owner in ("U3", "U4", "U5", "NEW")}
        assert found == {"U3": "0.7", "U4": "1", "U5": "1.3", "NEW": "3"}
        assert len(list(ledger.accounts())) == 14


def asked(ledger: bb.Ledger, clock: MovedClock, request: Request, key: str | None) -> object:
    """Ask for one thing, and show the answer."""
    try:
        return repr(ask(ledger, "one", [request], key, "r1"))
    except bb.BibankError as error:
        return f"{error.code}: {error}"
