"""Helpers of the journal's tests: ledgers to break, lines to forge, and what a machine's state is."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import rfc8785

from bibank.errors import BibankError
from bibank.journal.batches import Draft, PreparedBatch, SealedBatch
from bibank.journal.genesis import Opening, genesis_batch
from bibank.journal.machine import LedgerMachine
from bibank.model.entry import UnsignedEntry
from bibank.model.keyring import Keyring
from bibank.model.stamped import StampedLine
from bibank.risk.engine import RiskEngine
from bibank.risk.rule import Refusal, RiskRule
from bibank.risk.view import RiskView, RuleState
from bibank.signing.trust import KeyringTrust

NOON = datetime(2026, 1, 25, 12, tzinfo=UTC)
NONCE = "000102030405060708090a0b0c0d0e0f"
ALICE, BOB, CAROL = (f"LIAB:USER:{name}:USDT:AVAILABLE" for name in ("ALICE", "BOB", "CAROL"))
VAULT = "ASSET:SYSTEM:VAULT:USDT:MAIN"

ENTRY_ORDER = (
    "sequence",
    "prev_hash",
    "hash",
    "timestamp",
    "intent",
    "correlation_id",
    "causality_id",
    "batch",
    "postings",
    "metadata",
    "signatures",
)
RECORD_ORDER = (*ENTRY_ORDER[:4], "record", "subject", *ENTRY_ORDER[5:8], "body", "signatures")


class Diary:
    """A rule with a memory: it notes every line, and so forces the slow way of reading."""

    name = "diary/1"

    def check(self, entry: UnsignedEntry, view: RiskView) -> Refusal | None:
        """Let everything pass."""
        return None

    def apply(self, line: StampedLine, state: RuleState) -> None:
        """Note what the line is."""
        state[f"{line.sequence:09d}"] = f"{line.timestamp} {line.correlation_id}"


def founding(opening: Opening | None = None, *, name: str = "test") -> tuple[Draft, ...]:
    """Give the drafts that begin a ledger."""
    return genesis_batch(
        opening if opening is not None else {"USDT": "1000"},
        name=name,
        keyring=Keyring.unsigned(),
        nonce=NONCE,
        correlation_id="genesis",
    )


def found(
    opening: Opening | None = None, *, rules: Iterable[RiskRule] = (), now: datetime = NOON
) -> tuple[LedgerMachine, list[bytes]]:
    """Make a machine with a genesis, and give its lines."""
    machine = LedgerMachine(RiskEngine(tuple(rules)), KeyringTrust())
    sealed = machine.propose(PreparedBatch(founding(opening)), now)
    machine.settle()
    return machine, list(sealed.lines)


def propose(machine: LedgerMachine, *drafts: Draft, now: datetime = NOON) -> SealedBatch:
    """Propose one batch."""
    return machine.propose(PreparedBatch(drafts), now)


def accept(lines: Iterable[bytes], *, rules: Iterable[RiskRule] = ()) -> LedgerMachine:
    """Replay lines into a new machine."""
    machine = LedgerMachine(RiskEngine(tuple(rules)), KeyringTrust())
    for line in lines:
        machine.accept(line)
    return machine


def memory(machine: LedgerMachine) -> dict[str, dict[str, object]]:
    """Show what the rules of a machine remember."""
    engine: Any = machine._gate
    return {name: dict(state) for name, _, state in engine._judges}


def state(machine: LedgerMachine) -> dict[str, Any]:
    """Show everything that a machine knows, write groups included."""
    return {
        "position": attrs.asdict(machine.position),
        "balances": {account.text: (account.balance, account.floor) for account in machine.book},
        "listing": [account.text for account in machine.book.with_prefix("")],
        "entries": machine.entries,
        "records": machine.records,
        "ledger": machine.ledger_id,
        "memory": memory(machine),
    }


def outcome(machine: LedgerMachine, drafts: Iterable[Draft], now: datetime) -> SealedBatch | BibankError:
    """Propose a batch and give the lines, or the typed error."""
    try:
        return machine.propose(PreparedBatch(drafts), now)
    except BibankError as error:
        return error


# --------------------------------------------------------------------------- forging


def members(line: bytes) -> dict[str, Any]:
    """Read a line as plain JSON."""
    found: dict[str, Any] = json.loads(line)
    return found


def spell(line: Mapping[str, Any]) -> bytes:
    """Spell a line by hand: members in the order of the format, values as RFC 8785."""
    order = RECORD_ORDER if "record" in line else ENTRY_ORDER
    parts = [b'"%s":%s' % (name.encode(), rfc8785.dumps(line[name])) for name in order if name in line]
    return b"{%s}" % b",".join(parts)


def rehash(line: Mapping[str, Any], ledger_id: str) -> dict[str, Any]:
    """Give a line the hash that its content has in a ledger, by `rfc8785` and `hashlib` alone."""
    preimage = {name: value for name, value in line.items() if name not in ("hash", "signatures")}
    preimage["ledger"] = ledger_id
    return {**line, "hash": hashlib.sha256(rfc8785.dumps(preimage)).hexdigest()}


def forge(line: bytes, ledger_id: str, **changes: Any) -> bytes:
    """Change members of a line (None takes `batch` or `signatures` out) and hash it anew."""
    changed = {**members(line), **changes}
    for name in ("batch", "signatures"):
        if changed.get(name, 0) is None:
            del changed[name]
    return spell(rehash(changed, ledger_id))


def chain(lines: Iterable[bytes], ledger_id: str, *, prev_hash: str = "GENESIS") -> list[bytes]:
    """Link and hash forged lines one after the other, as an attacker who rewrites the rest would."""
    forged: list[bytes] = []
    for line in lines:
        new = rehash({**members(line), "prev_hash": prev_hash}, ledger_id)
        prev_hash = new["hash"]
        forged.append(spell(new))
    return forged


def later(**delta: float) -> datetime:
    """Give a time after noon."""
    return NOON + timedelta(**delta)
