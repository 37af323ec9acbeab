"""Operators: whose keys they are, a ledger that they govern, and what a refusal leaves of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import attrs
import pytest
import rfc8785

import bibank as bb
from bibank import drafts
from bibank.model.json_value import thaw
from bibank.signing import (
    AdjustmentPurpose,
    Envelope,
    KeyringChange,
    KeyStatus,
    Policy,
    Purpose,
    Role,
    Signer,
)
from tests.signing.forge import ANNA, ANNA_AGAIN, BERT, OWN, STRANGER, Key
from tests.store.journals import StillClock

__all__ = ["ANNA", "ANNA_AGAIN", "BERT", "OWN", "STRANGER"]

CLEO, DORA, BERT_AGAIN = Key(6, "CLEO_OPS"), Key(7, "DORA_OPS"), Key(8, "BERT_OPS")
OWNER = Key(10, "USER:ALICE")
OPERATORS = (ANNA, BERT, CLEO, DORA)

ALICE, BOB = (bb.AccountKey(f"LIAB:USER:{name}:USDT:AVAILABLE") for name in ("ALICE", "BOB"))
VAULT = bb.AccountKey("ASSET:SYSTEM:VAULT:USDT:MAIN")


def governed(*operators: Key, clock: StillClock | None = None, **options: Any) -> bb.Ledger:
    """Make a signed ledger in memory with these operators, four unless given; Alice has 100 USDT."""
    ledger = bb.Ledger.in_memory(
        {"USDT": "1000"},
        signer=OWN.signer,
        clock=clock or StillClock(),
        **options,
    )
    govern(ledger, *operators)
    ledger.deposit("ALICE", "100 USDT", correlation_id="d1")
    return ledger


def govern(ledger: bb.Ledger, *operators: Key) -> None:
    """Add operators to a keyring that has none, four unless given."""
    for key in operators or OPERATORS:
        join(ledger, key)


@lru_cache(maxsize=1)
def _by_id() -> dict[str, Key]:
    return {Key(number).key_id: Key(number) for number in range(1, 128)}


def agreeing(ledger: bb.Ledger) -> list[Signer]:
    """Everybody who could agree to a change of the keyring: the operators whose keys are in force."""
    return [
        attrs.evolve(_by_id()[key.key_id], signer_id=key.signer_id).signer
        for key in ledger.keyring.keys
        if Role.OPERATOR in key.roles and key.status is KeyStatus.ACTIVE
    ]


def join(ledger: bb.Ledger, key: Key, *roles: Role) -> None:
    """Add a key, an operator's unless told; all operators agree, and the first appoints himself."""
    signers = agreeing(ledger) or [key.signer]
    ledger.keyring.add(key.signer, roles=roles or (Role.OPERATOR,), authorised_by=signers, correlation_id="k")


def change(ledger: bb.Ledger, changed: KeyringChange) -> None:
    """Change the keyring; all operators agree."""
    envelope = ledger.keyring.draft(changed)
    for signer in agreeing(ledger):
        envelope = envelope.signed_by(signer)
    ledger.keyring.commit(envelope, correlation_id="k")


def decide(ledger: bb.Ledger, **policy: Any) -> None:
    """Let another policy for adjustments be in force: two operators unless told."""
    adjusted = Policy(**{"role": Role.OPERATOR, "threshold": 2, **policy})
    change(ledger, KeyringChange(policies={Purpose.ADJUSTMENT: adjusted}))


def signed(envelope: Envelope, *keys: Key) -> Envelope:
    """Have an envelope signed by some keys."""
    for key in keys:
        envelope = envelope.signed_by(key.signer)
    return envelope


def correction(money: str = "45", **fields: Any) -> bb.UnsignedEntry:
    """A draft that takes money of Alice back into the vault, as a hand-made correction."""
    asked: dict[str, Any] = {
        "purpose": AdjustmentPurpose.CORRECTION,
        "reason": "typed twice",
        "correlation_id": "case-7",
        **fields,
    }
    return drafts.adjustment([bb.Posting.debit(ALICE, money), bb.Posting.credit(VAULT, money)], **asked)


def propose(ledger: bb.Ledger, entry: bb.UnsignedEntry | None = None, by: Key = ANNA) -> int:
    """Propose a correction, or another entry; give the line."""
    return ledger.governance.propose(entry or correction(), proposed_by=by.signer).sequence


def approve(ledger: bb.Ledger, sequence: int, *keys: Key) -> bb.JournalEntry | None:
    """Let each key approve a proposal; give the entry of the last, None when it was not enough."""
    entry = None
    for key in keys:
        assert entry is None, "the one before was not to be enough"
        entry = ledger.governance.approve(sequence, key.signer, correlation_id="a").entry
    return entry


def shown(ledger: bb.Ledger) -> tuple[object, ...]:
    """Everything that a refusal must have left as it was."""
    machine = ledger._committer.machine
    book = machine.links.attestations
    return (
        ledger.head,
        [(account.text, account.balance, account.floor) for account in machine.book],
        list(ledger.pending()),
        list(ledger.account_terms()),
        book.all(),
        dict(machine.links.overrides.open),
        list(ledger.holds()),
        ledger.keyring.fingerprint,
        (machine.entries, machine.records, machine.position.copy()),
        dict(machine.links.approvals._reached),
    )


@contextmanager
def refused(
    ledger: bb.Ledger, reason: str = "", *, kind: type[bb.BibankError] = bb.NotAuthorised
) -> Iterator[None]:
    """Demand that something is refused, `NotAuthorised` with a reason unless told, and changes nothing."""
    before = shown(ledger)
    with pytest.raises(kind) as caught:
        yield
    assert type(caught.value) is kind
    if isinstance(caught.value, bb.NotAuthorised):
        assert caught.value.reason == reason
        assert caught.value.advice
    assert shown(ledger) == before
    assert ledger.audit(level="signatures").head == ledger.head


def digests(*records: bb.JournalRecord) -> tuple[str, ...]:
    """Hash the bodies of approvals by `rfc8785` and `hashlib` alone, sorted."""
    return tuple(
        sorted(
            hashlib.sha256(
                rfc8785.dumps(
                    {name: value for name, value in thaw(record.body).items() if not name.startswith("bb.")}
                )
            ).hexdigest()
            for record in records
        )
    )
