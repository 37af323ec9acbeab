"""Opening a ledger: the genesis of a new one, the replay of an old one, and whose key it may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Literal
from uuid import UUID

from bibank.clock import Clock, ClockWatch, SystemClock, check_max_jump
from bibank.errors import (
    ConfigurationError,
    InvalidType,
    InvalidValue,
    JournalError,
    KeystoreError,
    excerpt,
)
from bibank.journal.batches import PreparedBatch
from bibank.journal.gate import RiskGate
from bibank.journal.genesis import Opening, genesis_batch
from bibank.journal.key_index import SALT_BYTES
from bibank.journal.machine import LedgerMachine
from bibank.model.entry import JournalEntry
from bibank.model.genesis import FORK_PREFIX
from bibank.model.identifier import check_correlation_id
from bibank.model.keyring import Keyring, NewKey
from bibank.model.money import Money
from bibank.model.policy import SIGNED_POLICIES, Purpose, Role
from bibank.model.signature import SignatureAlgorithm, SigningMode
from bibank.risk.engine import RiskEngine
from bibank.signing.lines import LineSigner
from bibank.signing.signer import Signer
from bibank.signing.trust import KeyringTrust, verify_never
from bibank.verification import SignatureChecks, default_workers

Verify = Literal["tail", "all", "chain"]
Signing = Literal["entry", "group"]
Place = Callable[[JournalError], JournalError]
"""Adds file and line to an error, where the store has files."""


def capital(opening: Opening | None) -> list[Money]:
    """Read an opening; typed errors for what is no capital."""
    if opening is None:
        return []
    if not isinstance(opening, Mapping):
        raise InvalidType(f"an opening maps assets to amounts, not {type(opening).__name__}")
    return [Money(amount, asset) for asset, amount in opening.items()]


def check_opening(opening: Opening, genesis: JournalEntry) -> None:
    """Demand that a ledger's genesis booked this opening; `ConfigurationError` says what it booked."""
    given = {money.asset: money.amount for money in capital(opening)}
    found = {
        posting.account.asset: posting.amount
        for posting in genesis.postings
        if posting.side is posting.account.category.normal_balance
    }
    if given != found:
        has = ", ".join(f"{amount} {asset}" for asset, amount in found.items()) or "nothing"
        raise ConfigurationError(f"the ledger was opened with {has}, which is not the opening given")


def founding(
    opening: Opening | None, *, name: str, nonce: str, correlation_id: str | UUID, keyring: Keyring
) -> PreparedBatch:
    """Write the genesis, or say what is wrong with the opening before any directory is made."""
    if str(name).startswith(FORK_PREFIX):
        raise InvalidValue(f"the name {excerpt(name)} begins like the id of a fork; choose another")
    return PreparedBatch(
        genesis_batch(
            {money.asset: money.amount for money in capital(opening)},
            name=name,
            keyring=keyring,
            nonce=nonce,
            correlation_id=check_correlation_id(correlation_id),
        )
    )


def new_key(signer: Signer, *roles: Role) -> NewKey:
    """Describe a signer's key for the keyring; `ConfigurationError` for what is no signer."""
    _check_is_signer(signer)
    return NewKey(
        signer_id=signer.signer_id, algorithm=signer.algorithm, public_key=signer.public_key, roles=roles
    )


def first_keyring(signer: Signer | None) -> Keyring:
    """Make version 1: the signer's key as the system's, or no key at all."""
    if signer is None:
        return Keyring.unsigned()
    return Keyring.first((new_key(signer, Role.SYSTEM),), SIGNED_POLICIES)


def line_signer(signer: Signer | None, signing: Signing) -> LineSigner | None:
    """Pair a signer with what it signs; `ConfigurationError` for a misspelled mode."""
    if signing not in ("entry", "group"):
        raise ConfigurationError(f"signing is 'entry' or 'group', not {excerpt(signing)}")
    if signer is None:
        return None
    _check_is_signer(signer)
    if signer.algorithm is SignatureAlgorithm.SECP256K1:
        raise ConfigurationError("secp256k1 is reserved; this version signs with ed25519")
    return LineSigner(signer, SigningMode(signing))


def _check_is_signer(signer: object) -> None:
    if isinstance(signer, type) or not isinstance(
        signer, Signer
    ):  # its type alone: somebody may have given the secret itself
        raise ConfigurationError(
            f"a signer has signer_id, algorithm, public_key and sign; {type(signer).__name__} has not"
        )


def check_signers(signers: object) -> tuple[Signer, ...]:
    """Take who authorises something; `ConfigurationError` for what is no sequence of signers."""
    if not isinstance(signers, Sequence) or isinstance(signers, str):
        raise ConfigurationError(f"authorised_by is a sequence of signers, not {type(signers).__name__}")
    for signer in signers:
        _check_is_signer(signer)
    return tuple(signers)


def line_keys(trust: KeyringTrust) -> frozenset[str]:
    """Give the public keys that may sign the next line; none of an unsigned ledger."""
    keyring = trust.current.keyring
    role = keyring.policies[Purpose.LINE].role
    return frozenset(key.public_key for key in keyring.active(role)) if keyring.signs_lines else frozenset()


def take_engine(risk: RiskEngine | None) -> RiskEngine:
    """Take a host's engine for this ledger, or make the default one."""
    if risk is None:
        return RiskEngine().claim()
    if not isinstance(risk, RiskEngine):
        raise ConfigurationError(f"risk is a RiskEngine, not {type(risk).__name__}")
    return risk.claim()


def take_clock(clock: Clock | None, max_jump: timedelta) -> ClockWatch:
    """Take a host's clock, or the system's, and how far from the last line it may be."""
    if clock is not None and not callable(getattr(clock, "now", None)):
        raise ConfigurationError(f"a clock has a now method; {type(clock).__name__} has none")
    return ClockWatch(SystemClock() if clock is None else clock, max_jump=check_max_jump(max_jump))


def check_durability(durability: object) -> None:
    """Refuse a misspelled durability, which would otherwise be none."""
    if durability not in ("sync", "none"):
        raise ConfigurationError(f"durability is 'sync' or 'none', not {excerpt(durability)}")


def check_signer(keyring: Keyring, signer: Signer | None) -> None:
    """Demand that a signer may sign the next line, and that there is one where lines must be signed.

    Raises `KeystoreError` when a key is missing, `ConfigurationError` when it is the wrong one.
    """
    if not keyring.signs_lines:
        if signer is not None:
            raise ConfigurationError(
                "the ledger is unsigned, so no signature would be trusted; "
                "open it without a signer and give it its first key with ledger.keyring.add(signer)"
            )
        return
    role = keyring.policies[Purpose.LINE].role
    names = ", ".join(f"{key.signer_id} {key.key_id}" for key in keyring.active(role))
    if signer is None:
        raise KeystoreError(
            f"every line of this ledger is signed by {names}; give its signer, or its key file"
        )
    key = keyring.find(signer.public_key)
    if (
        key is None
        or key not in keyring.active(role)
        or key.signer_id != signer.signer_id
        or key.algorithm is not signer.algorithm
    ):
        raise ConfigurationError(
            f"the key of {signer.signer_id} ({signer.algorithm.value}) may not sign lines of this ledger, "
            f"{names} may"
        )


def replay(
    lines: Iterable[bytes],
    *,
    engine: RiskEngine,
    verify: Verify = "tail",
    place: Place = lambda error: error,
) -> tuple[LedgerMachine, KeyringTrust]:
    """Bring a new machine to where a journal stands and commits begin, and verify its signatures.

    The lines are all of the journal, so its tail is all of it; "chain" leaves the
    cryptography of signatures out, and still judges whose keys they claim. Raises `RulesMismatch` when
    the engine does not have the rules that the journal adopted.
    """
    machine, trust = accept_all(lines, gate=engine, verify=verify, place=place)
    engine.check_adopted()
    machine.settle()
    return machine, trust


def accept_all(
    lines: Iterable[bytes],
    *,
    gate: RiskGate,
    verify: Verify,
    place: Place,
    begun: tuple[LedgerMachine, KeyringTrust] | None = None,
) -> tuple[LedgerMachine, KeyringTrust]:
    """Replay lines that end in a whole batch; the write group of the last one stays open.

    They follow on where a machine that has `begun` stands, or begin with genesis.
    """
    check_verify(verify)
    with SignatureChecks(workers=default_workers()) as checks:
        if begun is None:
            trust = KeyringTrust()
            begun = LedgerMachine(gate, trust, salt=os.urandom(SALT_BYTES)), trust
        machine, trust = begun
        trust.sink = verify_never if verify == "chain" else checks.take
        accept = machine.accept
        try:
            for line in lines:
                accept(line)
            machine.check_end()
            checks.finish()
        except JournalError as error:
            first = checks.first(error)
            raise place(first) from first.__cause__
    return machine, trust


def check_verify(verify: object) -> None:
    """Refuse a misspelled choice of what is verified."""
    if verify not in ("tail", "all", "chain"):
        raise ConfigurationError(f"verify is 'tail', 'all' or 'chain', not {excerpt(verify)}")
