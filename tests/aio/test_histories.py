"""The results of the ledger that blocks: its state machine, and many tasks at once against the oracle."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bibank as bb
from tests.aio.awaiting import Awaiting, awaiting
from tests.aio.stores import run
from tests.properties.test_verbs import VerbMachine
from tests.properties.verb_histories import (
    OPENING,
    MovedClock,
    call,
    check_books,
    check_lines,
    drafts_of,
    endings,
    holds,
    keys,
    sequences_of,
    simple,
)
from tests.properties.verb_oracle import Books, Request, text


class AsyncVerbMachine(VerbMachine):
    """The machine of all verbs, with asyncio in between: whatever ledger it opens is asked by tasks."""

    _face: Awaiting | None = None

    @property
    def ledger(self) -> Any:
        """The ledger, asked through its face for asyncio."""
        return self._face

    @ledger.setter
    def ledger(self, made: bb.Ledger | None) -> None:
        if self._face is not None:
            self._face.runner.close()
        self._face = None if made is None else awaiting(made)

    def teardown(self) -> None:
        """Compare every line, audit, and clean up, the loop included."""
        try:
            super().teardown()
        finally:
            if self._face is not None:
                self._face.runner.close()


TestAsyncVerbMachine = AsyncVerbMachine.TestCase

_one = st.tuples(st.just("one"), st.lists(st.one_of(simple, holds), min_size=1, max_size=1), keys)
_more = st.tuples(st.sampled_from(["batch", "drafts"]), st.lists(simple, min_size=1, max_size=3), keys)
_ended = st.tuples(st.just("one"), st.lists(endings, min_size=1, max_size=1), keys)
_round = st.one_of(
    st.lists(st.one_of(_one, _more), min_size=1, max_size=12), st.lists(_ended, min_size=1, max_size=1)
)


async def _ask(
    ledger: bb.AsyncLedger, mode: str, asked: list[Request], key: str | None
) -> tuple[int, ...] | str:
    """Ask as a task; give sequences or the code of the error."""
    verbs: Any = ledger
    try:
        if mode == "one":
            return sequences_of(await call(verbs, asked[0], idempotency_key=key, correlation_id="r1"))
        if mode == "drafts":
            return sequences_of(await ledger.commit_batch(drafts_of(asked), idempotency_key=key))
        async with ledger.batch(correlation_id="r1", idempotency_key=key) as batch:
            collected: Any = batch
            for request in asked:
                call(collected, request)
        return sequences_of(batch.entries)
    except bb.BibankError as error:
        return error.code


@given(rounds=st.lists(_round, max_size=6))
def test_tasks_that_ask_at_once_get_what_they_would_get_one_after_the_other(
    rounds: list[list[tuple[str, list[Request], str | None]]],
) -> None:
    """Everything that is asked in one turn of the loop is answered as the oracle answers it in that order."""
    clock = MovedClock()
    blocking = bb.Ledger.in_memory({asset: text(units) for asset, units in OPENING.items()}, clock=clock)
    books = Books(OPENING, now=0)

    async def main() -> None:
        async with bb.AsyncLedger(blocking) as ledger:
            for owner in ("ALICE", "BOB"):
                for asset in ("USDT", "BTC"):
                    fund: Request = ("deposit", {"owner": owner, "asset": asset, "units": 10**9, "at": None})
                    assert await _ask(ledger, "one", [fund], None) == books.ask("one", [fund], None)
            for together in rounds:
                expected = [books.ask(mode, asked, key) for mode, asked, key in together]
                assert await asyncio.gather(*(_ask(ledger, *one) for one in together)) == expected
                check_books(blocking, books)
            check_lines(blocking, books)
            assert blocking.audit().head == blocking.head

    run(main)


def test_the_comparison_can_disagree() -> None:
    """An oracle that missed a request is told from the ledger."""
    clock = MovedClock()
    blocking = bb.Ledger.in_memory({asset: text(units) for asset, units in OPENING.items()}, clock=clock)
    books = Books(OPENING, now=0)
    asked: Request = ("deposit", {"owner": "ALICE", "asset": "USDT", "units": 5, "at": None})

    async def main() -> None:
        async with bb.AsyncLedger(blocking) as ledger:
            assert await _ask(ledger, "one", [asked], None) == (3,)
            with pytest.raises(AssertionError):
                check_books(blocking, books)

    run(main)
