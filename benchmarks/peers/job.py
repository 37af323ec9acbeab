"""The job that every peer does, and the clock that is held to it.

Accounts are funded; then transfers between two of them drawn at random are carried out in batches, one
debit and one credit each, no balance below zero, durable before the call returns. Only the transfers are
timed. Afterwards every balance is compared with a model that shares no code with any peer, and a transfer
of more money than there is must be refused.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Protocol

import attrs

from benchmarks import workload
from benchmarks.measure import Spread

FUND = workload.FUND

Transfer = tuple[int, int, int]
"""Payer, payee, amount; accounts are counted from zero."""


class Session(Protocol):
    """A peer at work, on a fresh store with funded accounts."""

    def apply(self, batch: Sequence[Transfer]) -> None:
        """Carry out transfers; they are durable on return. Raises when one is refused."""

    def balances(self) -> list[int] | None:
        """Give every balance, or None for what keeps no balances."""

    def refuses(self, transfer: Transfer) -> bool | None:
        """Tell whether a transfer is refused; None for what judges nothing."""

    def close(self) -> None:
        """Let go of the files."""


class Peer(Protocol):
    """A way to keep a ledger."""

    @property
    def name(self) -> str:
        """What it is called in the table."""

    @property
    def sync(self) -> str:
        """What durable means to it."""

    def suits(self, batch: int) -> bool:
        """Tell whether this batch size says something about it."""

    def start(self, directory: Path, *, accounts: int) -> Session:
        """Make a store in an empty directory and fund the accounts."""


@attrs.frozen(kw_only=True)
class Measured:
    """What one peer did at one batch size. Rates are transfers a second by the wall clock."""

    peer: str
    batch: int
    rate: Spread
    call_seconds: float
    """Median of a call, which is a batch."""
    cpu_seconds: float
    """CPU time of a transfer."""
    transfers: int
    checked: str
    sync: str


class _Runner:
    """One peer, one batch size, through all rounds."""

    def __init__(self, peer: Peer, directory: Path, *, accounts: int, batch: int, seed: int) -> None:
        directory.mkdir(parents=True)
        self._peer = peer
        self._session = peer.start(directory, accounts=accounts)
        self._accounts = accounts
        self._batch = batch
        self._seed = seed
        self._model = [FUND] * accounts
        self._rates: list[float] = []
        self._calls: list[float] = []
        self._cpu = 0.0
        self._done = 0

    def round(self, transfers: int) -> None:
        """Do and time some more transfers."""
        self._seed += 1
        work = list(workload.pairs(transfers, accounts=self._accounts, seed=self._seed))
        batches = [work[start : start + self._batch] for start in range(0, transfers, self._batch)]
        apply = self._session.apply
        cpu = time.process_time()
        began = time.perf_counter()
        for batch in batches:
            start = time.perf_counter()
            apply(batch)
            self._calls.append(time.perf_counter() - start)
        self._rates.append(transfers / (time.perf_counter() - began))
        self._cpu += time.process_time() - cpu
        self._done += transfers
        for payer, payee, amount in work:
            self._model[payer] -= amount
            self._model[payee] += amount

    def finish(self) -> Measured:
        """Check what the peer did against the model."""
        found = self._session.balances()
        refused = self._session.refuses((0, 1, self._accounts * FUND + 1))
        self._session.close()
        if found is not None and (found != self._model or refused is not True):
            raise AssertionError(f"{self._peer.name}: wrong balances, or an overdraft was not refused")
        return Measured(
            peer=self._peer.name,
            batch=self._batch,
            rate=Spread.of(self._rates),
            call_seconds=median(self._calls),
            cpu_seconds=self._cpu / self._done,
            transfers=self._done,
            checked="nothing to check" if found is None else "balances and overdraft checked",
            sync=self._peer.sync,
        )


def compare(
    peers: Sequence[Peer], directory: Path, *, accounts: int, batch: int, transfers: int, rounds: int
) -> list[Measured]:
    """Let peers take turns, round by round, so that drift of the machine meets all of them."""
    runners = [
        _Runner(peer, directory / f"{number}", accounts=accounts, batch=batch, seed=1000 * batch)
        for number, peer in enumerate(peers)
        if peer.suits(batch)
    ]
    for _ in range(rounds):
        for runner in runners:
            runner.round(transfers)
    return [runner.finish() for runner in runners]
