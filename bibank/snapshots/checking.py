"""Verifying snapshots: each against the journal, read from its genesis to the snapshot's line.

Opening trusts a snapshot that is signed and stands on the right line. Here nothing is trusted: the state is
worked out again, and has to be the same to the byte.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import attrs

from bibank.errors import BibankError, InvalidValue
from bibank.home import Home
from bibank.journal.machine import LedgerMachine
from bibank.model.table import Table
from bibank.opening import accept_all
from bibank.risk.engine import RiskEngine
from bibank.risk.rule import RiskRule
from bibank.signing.trust import KeyringTrust
from bibank.snapshots.files import read_snapshot, sequence_of, snapshot_paths
from bibank.snapshots.head import check_vouched
from bibank.snapshots.resuming import check_place, check_state, keyring_at
from bibank.snapshots.state import State, read_state
from bibank.store.jsonl.plan import OpenPlan


@attrs.frozen(kw_only=True)
class SnapshotVerdict:
    """What became of one snapshot: `problem` is None where it holds.

    `uncovered` says what could not be worked out again, for want of rules.
    """

    sequence: int
    path: Path
    signed_by: tuple[str, ...] = ()
    problem: str | None = None
    uncovered: tuple[str, ...] = ()


def verify_snapshots(
    path: str | os.PathLike[str], *, rules: Sequence[RiskRule] = ()
) -> Table[SnapshotVerdict]:
    """Verify every snapshot of a home, newest first, and change nothing.

    The journal is read from genesis up to each, with all its signatures. `rules` are the host's, for what
    they remember. A snapshot that is taken away meanwhile is left out. Raises `HomeNotFound`,
    `JournalCorrupt` kinds when the journal itself does not hold, and `RuleFailed` when a rule cannot take
    what the journal holds.
    """
    home = Home(path)
    home.check_there()
    found = []
    for snapshot in snapshot_paths(home):
        plan = home.survey()
        try:
            found.append(_verify(snapshot, plan, rules))
        except InvalidValue as error:
            if not os.path.lexists(snapshot):  # a writer made a newer one, and keeps two
                continue
            found.append(SnapshotVerdict(sequence=sequence_of(snapshot), path=snapshot, problem=str(error)))
        finally:
            plan.abandon()
    return Table(found, row_type=SnapshotVerdict)


def _verify(path: Path, plan: OpenPlan, rules: Sequence[RiskRule]) -> SnapshotVerdict:
    """Verify one; `InvalidValue` says why it does not hold."""
    try:
        file = read_snapshot(path)
        head = file.head
        if head.sequence > plan.head.sequence:
            raise InvalidValue(f"the journal ends at line {plan.head.sequence}, before it")
        trust = keyring_at(plan, head)
        keys = check_vouched(file.envelope, trust, sequence=head.sequence)
        check_place(plan, head, trust)
        spelled = file.read_state()
        state = read_state(spelled)
        check_state(state, head)
        plan.days.check_places(state.days)
    except BibankError as error:
        raise InvalidValue(str(error)) from error
    except Exception as error:
        raise InvalidValue(f"it is not spelled as one: {error!r}") from error
    engine = RiskEngine(rules).claim()
    own = KeyringTrust()
    machine = LedgerMachine(engine, own, salt=state.salt)
    lines = islice(plan.read(), head.sequence)
    accept_all(lines, gate=engine, verify="all", place=plan.place, begun=(machine, own))
    machine.settle()
    if own.current.fingerprint != head.keyring:
        raise InvalidValue("it leaves out a change of the keyring")
    again = State.of(machine, engine, state.days)
    known = {rule.name for rule in engine.judging(machine.rules.current) if rule in head.rules}
    uncovered = tuple(rule.name for rule in head.rules if rule.name not in known)
    if uncovered:
        again = attrs.evolve(again, memory=state.memory)
    if again.spell() != spelled:
        raise InvalidValue(f"the journal gives other {', '.join(_differences(state, again))}")
    names = tuple(f"{key.signer_id} {key.key_id}" for key in keys)
    return SnapshotVerdict(sequence=head.sequence, path=path, signed_by=names, uncovered=uncovered)


def _differences(one: State, other: State) -> list[str]:
    """Name the parts of two states that differ."""
    names = [field.name for field in attrs.fields(State)]
    return [name for name in names if getattr(one, name) != getattr(other, name)] or ["spelling"]
