"""bibank itself: a home on disk, every batch synced, the drafts made inside the clock.

A batch of one is a plain `Ledger.transfer`. For more there are two ways, which both cost one sync:
`commit_each` judges each transfer on its own, `commit_batch` takes all or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import bibank as bb
from benchmarks import workload
from benchmarks.peers.job import Session, Transfer
from benchmarks.workload import Signing
from bibank import drafts
from bibank.model.amount import UNITS_PER_WHOLE

Way = Literal["commit_each", "commit_batch"]


class Bibank:
    """The ledger of this repository."""

    sync = "fdatasync a batch"

    def __init__(self, way: Way, signing: Signing) -> None:
        signed = {None: "unsigned", "entry": "Ed25519 a line", "group": "Ed25519 a group"}[signing]
        self.name = f"bibank {way}, hash chain, {signed}"
        self._way = way
        self._signing = signing

    def suits(self, batch: int) -> bool:
        """A batch of one is the same either way."""
        return batch > 1 or self._way == "commit_each"

    def start(self, directory: Path, *, accounts: int) -> Session:
        """Create a home and fund the owners."""
        ledger = workload.open_home(directory / "home", self._signing)
        workload.fund(ledger, accounts)
        return _Home(ledger, accounts, self._way)


class _Home:
    def __init__(self, ledger: bb.Ledger, accounts: int, way: Way) -> None:
        self._ledger = ledger
        self._accounts = accounts
        self._way = way
        self._number = 0

    def apply(self, batch: Sequence[Transfer]) -> None:
        if len(batch) == 1:
            self._ledger.commit(self._draft(batch[0]))
        elif self._way == "commit_each":
            self._ledger.commit_each(map(self._draft, batch)).raise_for_refusals()
        else:
            self._ledger.commit_batch(map(self._draft, batch))

    def _draft(self, transfer: Transfer) -> bb.UnsignedEntry:
        payer, payee, amount = transfer
        self._number += 1
        return drafts.transfer(
            workload.owner(payer),
            workload.owner(payee),
            f"{amount} {workload.ASSET}",
            correlation_id=f"t{self._number}",
        )

    def balances(self) -> list[int] | None:
        owners = map(workload.owner, range(self._accounts))
        found = [self._ledger.balance(owner, workload.ASSET).available.units for owner in owners]
        assert not any(units % UNITS_PER_WHOLE for units in found)
        return [units // UNITS_PER_WHOLE for units in found]

    def refuses(self, transfer: Transfer) -> bool | None:
        try:
            self.apply([transfer])
        except bb.InsufficientBalance:
            return True
        return False

    def close(self) -> None:
        self._ledger.close()
