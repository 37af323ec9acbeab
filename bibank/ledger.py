"""The ledger: the object that applications hold.

>>> import bibank as bb
>>> ledger = bb.Ledger.in_memory({"USDT": "1000"})
>>> _ = ledger.deposit("ALICE", "100 USDT", correlation_id="r1")
>>> _ = ledger.transfer("ALICE", "BOB", "40 USDT", correlation_id="r2")
>>> print(ledger.balance("ALICE", "USDT").available)
60
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Literal, Self
from uuid import UUID

from bibank.administration import Administration
from bibank.clock import MAX_CLOCK_JUMP, Clock
from bibank.committer import Committer
from bibank.errors import (
    ConfigurationError,
    HomeExists,
    HomeNotFound,
)
from bibank.forking import forked
from bibank.home import Home
from bibank.journal.genesis import Opening
from bibank.model.genesis import NONCE_BYTES
from bibank.model.identifier import check_correlation_id
from bibank.model.keyring import Keyring
from bibank.model.signature import SigningMode
from bibank.opening import (
    Signing,
    Verify,
    check_durability,
    check_opening,
    check_signer,
    first_keyring,
    founding,
    line_keys,
    line_signer,
    replay,
    take_clock,
    take_engine,
)
from bibank.risk.engine import RiskEngine
from bibank.signing.signer import Signer
from bibank.signing.trust import KeyringTrust
from bibank.snapshots.keeper import SNAPSHOT_LINES, SnapshotKeeper, check_snapshot_every
from bibank.snapshots.resuming import resume
from bibank.store.memory import MemoryStore
from bibank.store.protocol import LedgerStore
from bibank.stored_lines import PassedLines, Placer
from bibank.verbs import Verbs

logger = logging.getLogger("bibank")

Durability = Literal["sync", "none"]
Entropy = Callable[[int], bytes]


class Ledger(Administration):
    """A double-entry ledger over a store. Safe to use from any number of threads.

    `Ledger.create`, `open` and `open_or_create` work on a directory, `in_memory` on nothing at all.
    The constructor composes by hand: `store` is any `LedgerStore`; an empty one gets a genesis
    with `opening` and `name`, unsigned without a `signer`. `risk` is an engine of its own, `clock`
    tells the time, and is refused (`ClockJumped`) when it is further than `max_clock_jump` from the
    last line; `entropy` gives random bytes for the ledger's nonce.

    Every method that reads or commits raises `LedgerClosed` after `close`, and `LedgerPoisoned` after
    a write that failed midway.
    """

    def __init__(
        self,
        *,
        store: LedgerStore,
        opening: Opening | None = None,
        name: str = "bibank",
        correlation_id: str | UUID = "genesis",
        signer: Signer | None = None,
        signing: Signing = "entry",
        risk: RiskEngine | None = None,
        clock: Clock | None = None,
        max_clock_jump: timedelta = MAX_CLOCK_JUMP,
        entropy: Entropy = os.urandom,
    ) -> None:
        if not isinstance(store, LedgerStore):
            raise ConfigurationError(f"a ledger needs a LedgerStore, not {type(store).__name__}")
        seals = line_signer(signer, signing)
        engine = take_engine(risk)
        machine, trust = replay(store.read(), engine=engine, place=Placer(store))
        committer = Committer(machine, store, take_clock(clock, max_clock_jump), seals)
        self._assemble(committer, trust, engine, home=None, trace=None)
        self._mode = SigningMode(signing)
        if not machine.head.sequence:
            self._found(
                opening,
                name=name,
                correlation_id=correlation_id,
                entropy=entropy,
                keyring=first_keyring(signer),
            )
            return
        check_signer(trust.current.keyring, signer)
        if opening is not None:
            check_opening(opening, self.entry(1))

    def _assemble(
        self,
        committer: Committer,
        trust: KeyringTrust,
        engine: RiskEngine,
        *,
        home: Home | None,
        trace: str | None,
        keeper: SnapshotKeeper | None = None,
    ) -> None:
        Verbs.__init__(self, correlation_id=trace)
        self._engine = engine
        self._committer = self._source = committer
        self._trust = trust
        self._home = home
        self._keeper = keeper

    # ------------------------------------------------------------------ making and opening

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        opening: Opening | None = None,
        name: str = "bibank",
        correlation_id: str | UUID = "genesis",
        signer: Signer | None = None,
        signing: Signing = "entry",
        keyring: Keyring | None = None,
        risk: RiskEngine | None = None,
        clock: Clock | None = None,
        max_clock_jump: timedelta = MAX_CLOCK_JUMP,
        durability: Durability = "sync",
        lock_timeout_seconds: float = 0.0,
        snapshot_every: int | None = SNAPSHOT_LINES,
        entropy: Entropy = os.urandom,
    ) -> Self:
        """Make a home in a directory, which may exist, and open it.

        `opening` maps assets to the capital that the ledger starts with. Without a `signer` the
        home gets a key of its own, a plain 0600 file beside the journal: it proves against accidents
        and edits by others, not against whoever can read that file. `keyring` replaces the
        default first keyring, and the `signer` is one of its keys; `Keyring.unsigned()` makes a ledger
        without signatures. `lock_timeout_seconds` is how long to wait for another writer to close,
        `snapshot_every` after how many lines a snapshot is made; None for never.

        Raises `HomeExists`, `LedgerBusy`, `StoreUnavailable`, `KeystoreError`, or an
        `InvalidInput` for the opening or the name, in which case nothing was made.
        """
        draft = partial(founding, opening, name=name, correlation_id=correlation_id)
        draft(nonce="0" * (2 * NONCE_BYTES), keyring=keyring or first_keyring(signer))
        check_durability(durability)
        check_snapshot_every(snapshot_every)
        watch = take_clock(clock, max_clock_jump)
        line_signer(signer, signing)
        if keyring is not None:
            check_signer(keyring, signer)
        home = Home(path)
        plan = home.plan_create(lock_timeout_seconds=lock_timeout_seconds)
        try:
            if signer is None and keyring is None:
                signer = home.first_signer()
            first = keyring if keyring is not None else first_keyring(signer)
            engine = take_engine(risk)
            machine, trust = replay((), engine=engine)
            seals = line_signer(signer, signing)
            store = plan.repair(durability=durability)
        except BaseException:
            plan.abandon()
            raise
        try:
            ledger = cls.__new__(cls)
            committer = Committer(machine, store, watch, seals)
            keeper = SnapshotKeeper(home, committer, store, trust, engine, every=snapshot_every)
            ledger._assemble(committer, trust, engine, home=home, trace=None, keeper=keeper)  # noqa: SLF001 - a class method building its own class
            ledger._mode = SigningMode(signing)  # noqa: SLF001 - a class method building its own class
            ledger._found(  # noqa: SLF001 - a class method building its own class
                opening, name=name, correlation_id=correlation_id, entropy=entropy, keyring=first
            )
        except BaseException:
            store.close()
            raise
        return ledger

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        signer: Signer | None = None,
        signing: Signing = "entry",
        verify: Verify = "tail",
        risk: RiskEngine | None = None,
        clock: Clock | None = None,
        max_clock_jump: timedelta = MAX_CLOCK_JUMP,
        durability: Durability = "sync",
        lock_timeout_seconds: float = 0.0,
        snapshot_every: int | None = SNAPSHOT_LINES,
    ) -> Self:
        """Open a home for writing; the lines behind its newest good snapshot are verified first.

        Without one, or with `verify="all"`, that is every line and its signatures; `verify="chain"` leaves
        the cryptography of signatures out. Without a `signer`, the home's own key file signs. Raises
        `HomeNotFound` (and touches nothing), `LedgerBusy` when the lock does not come free within
        `lock_timeout_seconds`, `JournalCorrupt`, `JournalTruncated` for a journal that ends below HEAD or a
        signed snapshot, `PinMismatch` for a keyring file that the journal does not reach, `KeystoreError`,
        `ConfigurationError` for a signer that the keyring does not hold, `UnsupportedFormat`,
        `StoreUnavailable`, `RulesMismatch` when `risk` is not the rule set that the ledger adopted, and
        `RuleFailed` when a rule cannot take what the journal holds. A torn tail is set aside and logged,
        after everything else was found to hold.
        """
        check_durability(durability)
        check_snapshot_every(snapshot_every)
        watch = take_clock(clock, max_clock_jump)
        line_signer(signer, signing)
        home = Home(path)
        plan = home.plan_open(lock_timeout_seconds=lock_timeout_seconds)
        try:
            engine = take_engine(risk)
            resumed = resume(home, plan, engine=engine, verify=verify, signer=signer)
            machine, trust = resumed.machine, resumed.trust
            cached = home.read_keyring()
            if cached is not None:
                cached.check(trust)
            if signer is None:
                signer = home.load_signer(line_keys(trust))
            check_signer(trust.current.keyring, signer)
            seals = line_signer(signer, signing)
            store = plan.repair(durability=durability)
        except BaseException:
            plan.abandon()
            raise
        try:
            ledger = cls.__new__(cls)
            committer = Committer(machine, store, watch, seals)
            if resumed.snapshot:
                committer.passed = PassedLines(store, trust, until_sequence=resumed.snapshot)
            keeper = SnapshotKeeper(
                home,
                committer,
                store,
                trust,
                engine,
                every=snapshot_every,
                newest=resumed.snapshot,
                unless="signatures were not verified" if verify == "chain" else None,
            )
            ledger._assemble(committer, trust, engine, home=home, trace=None, keeper=keeper)  # noqa: SLF001 - a class method building its own class
            ledger._mode = SigningMode(signing)  # noqa: SLF001 - a class method building its own class
            if cached is None or cached.fingerprint != trust.current.fingerprint:
                ledger._save_keyring(trust.current)  # noqa: SLF001 - a class method building its own class
        except BaseException:
            store.close()
            raise
        return ledger

    @classmethod
    def open_or_create(
        cls,
        path: str | os.PathLike[str],
        *,
        opening: Opening | None = None,
        name: str = "bibank",
        signer: Signer | None = None,
        signing: Signing = "entry",
        risk: RiskEngine | None = None,
        clock: Clock | None = None,
        max_clock_jump: timedelta = MAX_CLOCK_JUMP,
        durability: Durability = "sync",
        lock_timeout_seconds: float = 0.0,
        snapshot_every: int | None = SNAPSHOT_LINES,
    ) -> Self:
        """Open a home, or make it: for scripts.

        An existing genesis must equal a given `opening`: `ConfigurationError` otherwise.
        """
        founding(
            opening,
            name=name,
            nonce="0" * (2 * NONCE_BYTES),
            correlation_id="genesis",
            keyring=first_keyring(signer),
        )
        open_it = partial(
            cls.open,
            path,
            signer=signer,
            signing=signing,
            risk=risk,
            clock=clock,
            max_clock_jump=max_clock_jump,
            durability=durability,
            lock_timeout_seconds=lock_timeout_seconds,
            snapshot_every=snapshot_every,
        )
        try:
            ledger = open_it()
        except HomeNotFound:
            try:
                return cls.create(
                    path,
                    opening=opening,
                    name=name,
                    signer=signer,
                    signing=signing,
                    risk=risk,
                    clock=clock,
                    max_clock_jump=max_clock_jump,
                    durability=durability,
                    lock_timeout_seconds=lock_timeout_seconds,
                    snapshot_every=snapshot_every,
                )
            except HomeExists:  # somebody else made it in the meantime
                ledger = open_it()
        if opening is not None:
            try:
                check_opening(opening, ledger.entry(1))
            except BaseException:
                ledger.close()
                raise
        return ledger

    @classmethod
    def in_memory(
        cls,
        opening: Opening | None = None,
        *,
        name: str = "bibank",
        signer: Signer | None = None,
        signing: Signing = "entry",
        risk: RiskEngine | None = None,
        clock: Clock | None = None,
        max_clock_jump: timedelta = MAX_CLOCK_JUMP,
    ) -> Self:
        """Make a ledger that lives in memory only; unsigned without a `signer`."""
        return cls(
            store=MemoryStore(),
            opening=opening,
            name=name,
            signer=signer,
            signing=signing,
            risk=risk,
            clock=clock,
            max_clock_jump=max_clock_jump,
        )

    def _found(
        self,
        opening: Opening | None,
        *,
        name: str,
        correlation_id: str | UUID,
        entropy: Entropy,
        keyring: Keyring,
    ) -> None:
        nonce = entropy(NONCE_BYTES).hex()
        batch = founding(opening, name=name, nonce=nonce, correlation_id=correlation_id, keyring=keyring)
        self._committer.commit(batch)
        self._save_keyring(self._trust.current)

    def bind(self, *, correlation_id: str | UUID) -> Self:
        """Give the same ledger with a default correlation id; closing either closes both."""
        bound = type(self).__new__(type(self))
        trace = check_correlation_id(correlation_id)
        bound._assemble(  # noqa: SLF001 - a copy of itself
            self._committer, self._trust, self._engine, home=self._home, trace=trace, keeper=self._keeper
        )
        bound._mode = self._mode  # noqa: SLF001 - a copy of itself
        return bound

    def fork(self, *, at: int | None = None, signer: Signer | None = None) -> Self:
        """Make a what-if in memory that begins where this ledger stood after a line; now, unless given.

        A line inside a batch means the batch before. The fork has an id of its own, `fork.<id>`, and is
        unsigned, or signed by a key that the keyring does not hold. It reads its first lines from this
        ledger. Raises `UnknownSequence`, `InvalidType`, `ConfigurationError` for one of the ledger's keys.
        """
        committer, trust, engine = forked(self._committer, self._trust, self._engine, at=at, signer=signer)
        fork = type(self).__new__(type(self))
        fork._assemble(committer, trust, engine, home=None, trace=self._correlation_id)  # noqa: SLF001 - a kind of copy of itself
        return fork

    # ------------------------------------------------------------------ life

    def flush_head(self) -> None:
        """Let HEAD name the last durable line now: for hosts with a timer, so that readers see it.

        The ledger itself does so on close, and in the first commit that finds HEAD older than a
        second. Does nothing in memory. Raises `StoreError` kinds; what was acknowledged is durable.
        """
        self._committer.flush_head()

    def close(self) -> None:
        """Close the ledger and let go of its home, after a snapshot where one is due. Twice is harmless."""
        if self._keeper is not None:
            self._keeper.check_outside()
        try:
            self._close_bus()
            if self._keeper is not None:
                self._keeper.before_close()
        finally:
            self._committer.close()
            self._close_bus()  # one that was asked for in between

    def _close_bus(self) -> None:
        if self._committer.bus is not None:
            self._committer.bus.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        place = repr(str(self._home.path)) if self._home is not None else repr(self._committer.store)
        state = "" if self._committer.state == "open" else f", {self._committer.state}"
        own = self._committer.signer
        signed = f"signed by {own.signer.signer_id}" if own is not None else "Unsigned"
        return f"<Ledger {self.ledger_id} in {place}, line {self.head.sequence}, {signed}{state}>"
