"""Opening from a snapshot: the newest that holds, then the lines behind it; from genesis where none does.

What is trusted comes from the journal: the ledger's id and its keyring are read from the journal's own lines,
each held to its hash, and a snapshot counts only by a key of theirs that is still in force where the journal
ends, and that whoever opens the ledger holds. So the last word on a snapshot is spoken behind its tail: where
it is no, the journal is read again, from genesis. Each that is not used is named in the log, with the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import attrs

from bibank.errors import BibankError, InvalidValue, JournalTruncated, KeystoreError
from bibank.home import Home
from bibank.journal.codec import decode_line
from bibank.journal.genesis import check_keyring_adopted, read_adopted, read_genesis_mark
from bibank.journal.machine import LedgerMachine
from bibank.journal.reference import line_hash, signing_payload
from bibank.model.keyring import KeyringKey
from bibank.model.policy import Purpose
from bibank.model.record import JournalLine, JournalRecord, RecordKind
from bibank.model.timestamp import format_timestamp
from bibank.opening import Verify, accept_all, check_verify
from bibank.risk.engine import RiskEngine
from bibank.signing.signer import Signer
from bibank.signing.trust import KeyringTrust
from bibank.snapshots.files import read_snapshot, sequence_of, snapshot_paths
from bibank.snapshots.head import SnapshotHead, check_vouched
from bibank.snapshots.state import State, collecting_nothing, read_state
from bibank.store.jsonl.plan import OpenPlan

logger = logging.getLogger("bibank")

Vouches = Callable[[str], bool]
"""Tells whether whoever opens the ledger holds the private key of this public key."""


@attrs.frozen(kw_only=True)
class Resumed:
    """Where a journal stands, and the sequence of the snapshot that it was resumed from; 0 for none."""

    machine: LedgerMachine
    trust: KeyringTrust
    snapshot: int


def resume(
    home: Home, plan: OpenPlan, *, engine: RiskEngine, verify: Verify, signer: Signer | None
) -> Resumed:
    """Bring a new machine to where a journal stands and commits begin.

    With `verify="tail"`, from the newest snapshot that holds. Raises what `replay` raises, and
    `JournalTruncated` when the ledger's own key has signed a snapshot of a line that is not there.
    """
    check_verify(verify)
    paths = snapshot_paths(home)
    vouches = _own_keys(home, signer)
    begun = None
    if verify == "tail":
        behind = [path for path in paths if sequence_of(path) <= plan.head.sequence]
        begun = _newest_good(behind, plan, engine, vouches)
    found = None if begun is None else _go_on(begun, plan, engine, vouches)
    if begun is None or found is None:
        found = accept_all(plan.read(), gate=engine, verify=verify, place=plan.place)
        begun = None
    machine, trust = found
    engine.check_adopted()
    machine.settle()
    _check_not_ahead(paths, trust, last=machine.head.sequence)
    return Resumed(machine=machine, trust=trust, snapshot=begun.sequence if begun is not None else 0)


@attrs.frozen(kw_only=True)
class _Begun:
    """A machine where a snapshot was made, and the keys that have signed that one."""

    path: Path
    sequence: int
    machine: LedgerMachine
    trust: KeyringTrust
    keys: tuple[KeyringKey, ...]


def _newest_good(paths: list[Path], plan: OpenPlan, engine: RiskEngine, vouches: Vouches) -> _Begun | None:
    """Load the first snapshot that holds; None where none does."""
    for path in paths:
        try:
            with collecting_nothing():
                return _load(path, plan, engine, vouches)
        except Exception as error:  # noqa: BLE001 - whatever it is, memory at its end included: the journal is there
            _name_unused(path, error)
            engine.begin_again()
            plan.days.begin_again()
    return None


def _go_on(
    begun: _Begun, plan: OpenPlan, engine: RiskEngine, vouches: Vouches
) -> tuple[LedgerMachine, KeyringTrust] | None:
    """Replay the lines behind a snapshot; None, and all as at the beginning, where it was not to be used.

    An error there may be the snapshot's fault: the journal is not blamed for it before it was read alone.
    """
    try:
        machine, trust = accept_all(
            plan.read(), gate=engine, verify="tail", place=plan.place, begun=(begun.machine, begun.trust)
        )
        _check_in_force(begun.keys, trust, vouches)
    except Exception as error:  # noqa: BLE001 - whatever it is: the journal is read alone
        _name_unused(begun.path, error)
        engine.begin_again()
        plan.days.begin_again()
        return None
    return machine, trust


def _check_in_force(keys: tuple[KeyringKey, ...], trust: KeyringTrust, vouches: Vouches) -> None:
    """Demand that one of the keys that signed may sign a snapshot now, and is at hand; else `InvalidValue`.

    A key that was retired or revoked since may have been stolen: whoever has it can sign anything for a line
    before its end.
    """
    keyring = trust.current.keyring
    active = {key.public_key for key in keyring.active(keyring.deciding_role(Purpose.SNAPSHOT))}
    if not any(key.public_key in active and vouches(key.public_key) for key in keys):
        raise InvalidValue(
            f"it is signed by {keys[0].signer_id} with a key that is no longer in force "
            "where the journal ends"
        )


def _name_unused(path: Path, error: Exception) -> None:
    reason = error if isinstance(error, BibankError) else repr(error)
    logger.warning("snapshot %s is not used: %s", path, reason)


def _load(path: Path, plan: OpenPlan, engine: RiskEngine, vouches: Vouches) -> _Begun:
    """Bring a machine to where a snapshot was made; a `BibankError` with the reason if it does not hold."""
    file = read_snapshot(path)
    head = file.head
    trust = keyring_at(plan, head)
    keys = check_vouched(file.envelope, trust, sequence=head.sequence)
    if not any(vouches(key.public_key) for key in keys):
        raise InvalidValue(f"it is signed by {keys[0].signer_id} with a key that this opening does not have")
    check_place(plan, head, trust)
    state = read_state(file.read_state())
    check_state(state, head)
    if engine.judging(state.rule_sets[-1]) != head.rules:
        raise InvalidValue(
            f"its rules are {', '.join(rule.name for rule in head.rules) or 'none'}, "
            "and those at hand are not the same, with the same data"
        )
    machine = LedgerMachine(engine, trust, salt=state.salt)
    plan.days.check_places(state.days)
    state.restore(machine, engine)
    plan.days.pass_over(state.days)
    return _Begun(path=path, sequence=head.sequence, machine=machine, trust=trust, keys=keys)


def keyring_at(plan: OpenPlan, head: SnapshotHead) -> KeyringTrust:
    """Read the keyring in force at a snapshot from the journal's own lines.

    Raises `InvalidValue` where that is not the ledger, or not the keyring, that the snapshot names.
    """
    genesis = _find(plan, 1)
    mark = read_genesis_mark(genesis)
    if mark.ledger_id != head.ledger_id:
        raise InvalidValue(f"it is of ledger {head.ledger_id}, this is {mark.ledger_id}")
    trust = KeyringTrust()
    adopted = _find(plan, 2)
    check_keyring_adopted(adopted, mark)
    assert isinstance(adopted, JournalRecord), "as just checked"
    trust.adopt(read_adopted(adopted.body), ledger_id=mark.ledger_id)
    lines = [genesis, adopted]
    for sequence in head.changes:
        line = _find(plan, sequence)
        if not isinstance(line, JournalRecord) or line.kind is not RecordKind.KEYRING_CHANGED:
            raise InvalidValue(f"line {sequence} does not change the keyring")
        trust.change(line.body, sequence=sequence)
        lines.append(line)
    for line in lines:
        _check_hash(line, mark.ledger_id)
    if trust.current.fingerprint != head.keyring:
        raise InvalidValue("it names another keyring than the journal has at its line")
    return trust


def check_place(plan: OpenPlan, head: SnapshotHead, trust: KeyringTrust) -> None:
    """Demand that the last line of a snapshot stands where it says, signed; else `InvalidValue` kinds."""
    data = plan.ends(head.file, end=head.end)
    if data is None:
        raise InvalidValue(f"no line ends at byte {head.end} of {head.file}")
    line = decode_line(data)
    if (line.sequence, line.hash, format_timestamp(line.timestamp)) != (
        head.sequence,
        head.hash,
        head.timestamp,
    ):
        raise InvalidValue(f"its line {head.sequence} is not the line of the journal there")
    _check_hash(line, head.ledger_id)
    enough = trust.check(line.signatures, sequence=line.sequence)
    if not enough:
        raise InvalidValue(f"line {line.sequence} of the journal is not signed")
    for signature in line.signatures:
        payload = signing_payload(line, signed_at=signature.signed_at)
        trust.verify(signature, sequence=line.sequence, digest=line.hash, payload=payload)


def check_state(state: State, head: SnapshotHead) -> None:
    """Demand that a state is of the line, the ledger and the rules that the head names."""
    last = state.days[-1] if state.days else None
    remembering = {rule.name for rule in head.rules if rule.remembers}
    if (
        state.position != {"sequence": head.sequence, "hash": head.hash, "timestamp": head.timestamp}
        or state.counts["ledger_id"] != head.ledger_id
        or state.counts["entries"] + state.counts["records"] != head.sequence
        or last is None
        or (last.name, last.size, last.lines) != (head.file, head.end, head.line)
        or last.first_sequence + last.lines - 1 != head.sequence
        or set(state.memory) != remembering
    ):
        raise InvalidValue("its state is not of the line, the place or the rules that its head names")


def _check_not_ahead(paths: list[Path], trust: KeyringTrust, *, last: int) -> None:
    """Name snapshots of lines that are not there; refuse where the ledger's own key has signed one."""
    for path in paths:
        if sequence_of(path) <= last:
            continue
        reason = InvalidValue(f"the journal ends at line {last}, before it")
        try:
            file = read_snapshot(path)
            if file.head.ledger_id != trust.ledger_id:
                raise InvalidValue(f"it is of ledger {file.head.ledger_id}, this is {trust.ledger_id}")
            check_vouched(file.envelope, trust, sequence=file.head.sequence)
        except Exception as error:  # noqa: BLE001 - whatever it is: nothing is lost with this file
            _name_unused(path, error)
            continue
        _name_unused(path, reason)
        raise JournalTruncated(
            f"the ledger has signed a snapshot of line {file.head.sequence}, {file.head.hash}, in "
            f"{path}, and the journal ends at line {last}: restore the journal from a copy that reaches "
            "it, or take the snapshot away to go on from an older one",
            sequence=last,
        )


def _own_keys(home: Home, signer: Signer | None) -> Vouches:
    """Tell a key whose private half is at hand: the given signer's, or one of the home's own files.

    The file of a key that was given up may still lie there, so this alone is not enough.
    """

    def vouches(public_key: str) -> bool:
        if signer is not None:
            return public_key == signer.public_key
        try:
            return home.load_signer({public_key}) is not None
        except KeystoreError:
            return False

    return vouches


def _find(plan: OpenPlan, sequence: int) -> JournalLine:
    data = plan.days.find(sequence)
    line = None if data is None else decode_line(data)
    if line is None or line.sequence != sequence:
        raise InvalidValue(f"line {sequence} is not found in the journal")
    return line


def _check_hash(line: JournalLine, ledger_id: str) -> None:
    if line_hash(line, ledger_id=ledger_id) != line.hash:
        raise InvalidValue(f"line {line.sequence} of the journal does not have the hash of its content")
