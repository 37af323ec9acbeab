"""Opening from a snapshot: the newest that holds, then the lines behind it; from genesis where none does.

What is trusted comes from the journal: the ledger's id and its keyring are read from the journal's own lines,
each held to its hash, and a snapshot counts only by a key of theirs that whoever opens the ledger holds.
Each one that is not used is named in the log, with the reason.
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
    begun = None
    if verify == "tail":
        behind = [path for path in paths if sequence_of(path) <= plan.head.sequence]
        begun = _newest_good(behind, plan, engine, _own_keys(home, signer))
    snapshot = begun[0].position.sequence if begun is not None else 0
    machine, trust = accept_all(plan.read(), gate=engine, verify=verify, place=plan.place, begun=begun)
    engine.check_adopted()
    machine.settle()
    _check_not_ahead(paths, trust, last=machine.head.sequence)
    return Resumed(machine=machine, trust=trust, snapshot=snapshot)


def _newest_good(
    paths: list[Path], plan: OpenPlan, engine: RiskEngine, vouches: Vouches
) -> tuple[LedgerMachine, KeyringTrust] | None:
    """Load the first snapshot that holds; None where none does."""
    for path in paths:
        try:
            with collecting_nothing():
                return _load(path, plan, engine, vouches)
        except BibankError as error:
            _name_unused(path, error)
    return None


def _name_unused(path: Path, error: BibankError) -> None:
    logger.warning("snapshot %s is not used: %s", path, error)


def _load(
    path: Path, plan: OpenPlan, engine: RiskEngine, vouches: Vouches
) -> tuple[LedgerMachine, KeyringTrust]:
    """Bring a machine to where a snapshot was made; a `BibankError`, and no change, if it does not hold."""
    file = read_snapshot(path)
    head = file.head
    trust = keyring_at(plan, head)
    keys = check_vouched(file.envelope, trust, sequence=head.sequence)
    if keys and not any(vouches(key.public_key) for key in keys):
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
    return machine, trust


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
            signed = bool(check_vouched(file.envelope, trust, sequence=file.head.sequence))
        except BibankError as error:
            _name_unused(path, error)
            continue
        _name_unused(path, reason)
        if signed:
            raise JournalTruncated(
                f"the ledger has signed a snapshot of line {file.head.sequence}, {file.head.hash}, in "
                f"{path}, and the journal ends at line {last}: restore the journal from a copy that reaches "
                "it, or take the snapshot away to go on from an older one",
                sequence=last,
            )


def _own_keys(home: Home, signer: Signer | None) -> Vouches:
    """Tell a key whose private half is at hand: the given signer's, or one of the home's own files.

    Another key in the keyring may have been given up since as lost, in a line that whoever has it now
    left out of the snapshot's list.
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
