"""The audit: read every line again, recompute everything, and say what was not covered.

A journal passes when every line is spelled canonically, follows from the line before, satisfies
its intent, and the books balance at the end. Comparing links alone would miss half of all flipped
bits; here every hash is computed from the line's content.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice
from typing import Literal

import attrs

from bibank.errors import (
    BibankError,
    InvalidType,
    InvalidValue,
    JournalCorrupt,
    JournalError,
    JournalTorn,
    PinMismatch,
    excerpt,
)
from bibank.home import Home, KeyringFile
from bibank.journal.attestations import Attestation, check_attested
from bibank.journal.codec import decode_line
from bibank.journal.machine import LedgerMachine
from bibank.journal.reference import line_hash
from bibank.model.account import AccountCategory
from bibank.model.lines import Head
from bibank.model.policy import Purpose, Role
from bibank.model.timestamp import format_timestamp
from bibank.risk.review import Review
from bibank.risk.rule import RiskRule
from bibank.signing.trust import KeyringTrust, verify_never
from bibank.verification import SignatureChecks

_DEBIT_CATEGORIES = frozenset({AccountCategory.ASSET, AccountCategory.EXPENSE})

Place = Callable[[JournalError], JournalError]
"""Adds file and line to an error, where the store has files."""

Watch = Callable[[Iterator[bytes]], Iterable[bytes]]
"""Gives the same lines and may look at them as they pass, to show progress."""


Again = Callable[[], Iterable[bytes]]
"""Gives the same lines once more."""

NO_FORKS: Mapping[int, str] = {}

Level = Literal["chain", "signatures"]
"""What an audit verifies: everything but the cryptography of signatures, or that too."""


@attrs.frozen(kw_only=True)
class Pin:
    """What an auditor trusts, from outside the journal: a ledger id, a keyring fingerprint, or both."""

    ledger_id: str | None = None
    fingerprint: str | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse a pin that holds nothing: every journal would match it."""
        if self.ledger_id is None and self.fingerprint is None:
            raise InvalidValue("a pin holds a ledger id, a keyring fingerprint, or both")


@attrs.frozen(kw_only=True)
class SelfConsistent:
    """The verdict without a pin, or without signatures: the journal agrees with itself, no more."""

    ledger_id: str

    def __str__(self) -> str:
        return f"self-consistent with ledger {self.ledger_id}"


@attrs.frozen(kw_only=True)
class Verified:
    """The verdict when every signature was verified against what the auditor pinned."""

    ledger_id: str
    pin: Pin

    def __str__(self) -> str:
        pinned = [f"ledger id {self.pin.ledger_id}"] if self.pin.ledger_id else []
        if self.pin.fingerprint:
            pinned.append(f"keyring {self.pin.fingerprint}")
        return f"verified: ledger {self.ledger_id}, signatures against the pinned {' and '.join(pinned)}"


@attrs.frozen(kw_only=True)
class AuditReport:
    """What an audit found to hold. A journal that does not hold raises `JournalCorrupt` instead.

    `covered` counts the lines of the asked range; the chain is always verified from genesis on.
    `signatures` counts those that were verified. `suspect` names lines that a key signed after it
    was no longer trusted; `violated` entries that the rules in force refuse, asked again (at most 1,000),
    and `not_rechecked` the adopted rules that were not supplied; `not_covered` says in words what this
    audit does not show.
    """

    verdict: Verified | SelfConsistent
    ledger_id: str
    head: Head
    lines: int
    entries: int
    records: int
    accounts: int
    covered: int
    signatures: int
    fingerprint: str
    suspect: tuple[str, ...]
    violated: tuple[str, ...]
    not_rechecked: tuple[str, ...]
    not_covered: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            str(self.verdict),
            f"{self.lines} lines ({self.entries} entries, {self.records} records), {self.accounts} accounts",
            f"head {self.head.sequence} {self.head.hash}",
            f"keyring {self.fingerprint}, {self.signatures} signatures verified",
        ]
        if self.covered != self.lines:
            lines.append(f"{self.covered} of the lines lie in the range that was asked for")
        lines += [f"suspect: {doubt}" for doubt in self.suspect]
        lines += [f"violated: {finding}" for finding in self.violated]
        lines += [f"not re-checked (rule not supplied): {rule}" for rule in self.not_rechecked]
        return "\n".join([*lines, *(f"not covered: {gap}" for gap in self.not_covered)])


def audit_lines(
    lines: Iterable[bytes],
    *,
    place: Place = lambda error: error,
    since: date | None = None,
    until: date | None = None,
    balances: Mapping[str, int] | None = None,
    level: Level = "chain",
    pin: Pin | None = None,
    cached: KeyringFile | None = None,
    workers: int = 1,
    rules: Sequence[RiskRule] = (),
    forks: Mapping[int, str] = NO_FORKS,
    again: Again | None = None,
) -> AuditReport:
    """Verify lines from genesis on; raises `JournalCorrupt` at the first that does not follow.

    `since` and `until` are UTC dates, both inclusive: what lies before is verified but not
    counted in `covered`, what lies after is not read. `balances` (units by account) must come out.
    `level="signatures"` verifies every signature, in that many `workers`. A `pin` that the journal
    does not match is a `PinMismatch`, and so is a `cached` keyring that it does not reach. Adopted
    rules are asked again; `rules` are a host's own. `forks` says behind which lines the ledger went on
    under another id. `again` gives the same lines once more, for what was attested of earlier ones.
    """
    for day in (since, until):
        if day is not None and type(day) is not date:
            raise InvalidType(f"a range is given as dates, not as {type(day).__name__}")
    if since is not None and until is not None and since > until:
        raise InvalidValue(f"the range from {since} to {until} is empty; 'from' comes first")
    if level not in ("chain", "signatures"):
        raise InvalidValue(f"level is 'chain' or 'signatures', not {excerpt(level)}")
    with SignatureChecks(workers=workers) as checks:
        trust = KeyringTrust(checks.take if level == "signatures" else verify_never)
        review = Review(rules)
        machine = LedgerMachine(review, trust)
        try:
            covered, stopped = _accept_range(machine, lines, since=since, until=until, forks=forks)
            checks.finish()
        except JournalError as error:
            first = checks.first(error)
            raise place(first) from first.__cause__
    if balances is not None and balances != {account.text: account.balance for account in machine.book}:
        reason = "the balances in memory are not those of the journal"
        raise place(JournalCorrupt(reason, sequence=machine.head.sequence))
    _check_totals(machine)
    if again is not None:
        _check_attested(machine.links.attestations.all(), again, place)
    if cached is not None:
        cached.check(trust)
    if pin is not None:
        _check_pin(trust, pin, until=until)
    verified = (
        pin is not None
        and level == "signatures"
        and trust.current.keyring.signs_lines
        and _names_a_key(trust, pin)
    )
    gaps = [*_gaps(trust, level, pin), _unasked(review)]
    if stopped:
        gaps.append(f"lines after {until}")
    return AuditReport(
        verdict=Verified(ledger_id=machine.ledger_id, pin=pin)
        if verified and pin is not None
        else SelfConsistent(ledger_id=machine.ledger_id),
        ledger_id=machine.ledger_id,
        head=machine.head,
        lines=machine.entries + machine.records,
        entries=machine.entries,
        records=machine.records,
        accounts=len(machine.book),
        covered=covered,
        signatures=checks.checked,
        fingerprint=trust.current.fingerprint,
        suspect=_suspect(trust),
        violated=review.findings,
        not_rechecked=review.not_asked,
        not_covered=tuple(gaps),
    )


def _accept_range(
    machine: LedgerMachine,
    lines: Iterable[bytes],
    *,
    since: date | None,
    until: date | None,
    forks: Mapping[int, str],
) -> tuple[int, bool]:
    """Accept lines up to the end or a date; give how many lie in the range, and whether it stopped."""
    first_text, last_text = since.isoformat() if since else "", until.isoformat() if until else "~"
    covered = 0
    for line in lines:
        if until is not None and not machine.in_batch and _date_of(line) > last_text:
            machine.check_end()
            _check_last_look(line, machine)
            return covered, True
        if machine.head.sequence in forks and not machine.in_batch:
            machine.fork(forks[machine.head.sequence])
        machine.accept(line)
        covered += machine.position.timestamp[:10] >= first_text
    if not machine.head.sequence:
        raise JournalTorn("the journal is empty", sequence=1)
    machine.check_end()
    return covered, False


def _check_attested(attested: Sequence[Attestation], again: Again, place: Place) -> None:
    """Demand that every attested line is the one that the journal holds."""
    by_line: dict[int, list[Attestation]] = {}
    for attestation in attested:
        by_line.setdefault(attestation.line, []).append(attestation)
    if not by_line:
        return
    for sequence, data in enumerate(islice(again(), max(by_line)), 1):
        for attestation in by_line.get(sequence, ()):
            try:
                check_attested(attestation, decode_line(data))
            except JournalError as error:
                raise place(error) from None


def _check_pin(trust: KeyringTrust, pin: Pin, *, until: date | None) -> None:
    """Hold the journal to what the auditor trusts."""
    if pin.ledger_id is not None and pin.ledger_id != trust.ledger_id:
        raise PinMismatch(f"the journal is of ledger {trust.ledger_id}, not of the pinned {pin.ledger_id}")
    reached = {version.fingerprint for version in trust.versions}
    if pin.fingerprint is not None and pin.fingerprint not in reached:
        where = "the journal" if until is None else f"the journal up to {until}"
        raise PinMismatch(
            f"{where} does not reach the pinned keyring {pin.fingerprint}: "
            "its keyring changes were dropped, or it is another ledger's"
        )


def _names_a_key(trust: KeyringTrust, pin: Pin) -> bool:
    """Tell whether the pinned keyring has a key: a ledger that began unsigned could be anybody's."""
    pinned = [version for version in trust.versions if version.fingerprint == pin.fingerprint]
    if pin.ledger_id is not None:
        pinned.append(trust.versions[0])
    return any(version.keyring.signs_lines for version in pinned)


def _gaps(trust: KeyringTrust, level: Level, pin: Pin | None) -> list[str]:
    """Say what this audit does not show."""
    keyring = trust.current.keyring
    gaps = []
    if not keyring.signs_lines:
        gaps.append(
            "who wrote it: the ledger is unsigned, so a complete rewrite cannot be told from the original"
        )
    else:
        if level == "chain":
            gaps.append("signatures: present and by keys of the keyring, but not verified")
        if pin is None:
            gaps.append("which ledger it is: pin the ledger id, or a rewrite under another key passes too")
        if pin is None or pin.fingerprint is None:
            gaps.append(
                "keys given up: whoever holds an earlier system key could drop a later keyring change; "
                "pin the keyring's fingerprint"
            )
        if pin is not None and not _names_a_key(trust, pin):
            gaps.append(
                "who gave the ledger its first key: what is pinned names none; "
                "pin the fingerprint of a keyring with a key"
            )
        first = trust.signed_from
        if trust.is_released:
            gaps.append("who wrote the last lines: they are a fork's, and nobody's word")
        elif first > 1:
            gaps.append(f"lines 1 to {first - 1}: written before the ledger had a key")
        if keyring.deciding_role(Purpose.KEYRING) is Role.SYSTEM:
            gaps.append("the keyring: its system key can change it alone until an operator's key is added")
        gaps.append("the end: nothing outside the journal says that later lines were not cut off")
    return gaps


def _unasked(review: Review) -> str:
    """Say which risk rules are not judged again."""
    if review.from_sequence is None:
        return "risk rules: each entry was judged when it was committed, and is not judged again"
    return (
        f"risk rules: those adopted were asked again from line {review.from_sequence} on; "
        "what every ledger has (account terms, sufficiency, holds, reversals) judged when the entry was "
        "committed"
    )


def _suspect(trust: KeyringTrust) -> tuple[str, ...]:
    """Name the lines that a revoked key may have signed after it was lost."""
    return tuple(
        f"lines {max(key.last_trusted_sequence + 1, key.valid_from_sequence)} to {key.valid_to_sequence}: "
        f"key {key.key_id} of {key.signer_id} was trusted up to line {key.last_trusted_sequence} only"
        for key in trust.current.keyring.keys
        if key.last_trusted_sequence is not None
        and key.valid_to_sequence is not None
        and key.last_trusted_sequence < key.valid_to_sequence
    )


def audit_home(
    path: str | os.PathLike[str],
    *,
    since: date | None = None,
    until: date | None = None,
    watch: Watch = lambda lines: lines,
    level: Level = "chain",
    pin: Pin | None = None,
    workers: int = 1,
    rules: Sequence[RiskRule] = (),
) -> AuditReport:
    """Audit the journal of a home without opening it for writing: no lock, nothing repaired.

    Raises `HomeNotFound`, `JournalCorrupt` with file and line, `JournalTorn` when the journal
    ends in an incomplete write, or `PinMismatch`, also when the home's keyring file is not one that
    the journal reaches.
    """
    home = Home(path)
    cached = home.read_keyring() if until is None else None
    plan = home.survey()
    report = audit_lines(
        watch(plan.read()),
        place=plan.place,
        since=since,
        until=until,
        level=level,
        pin=pin,
        cached=cached,
        workers=workers,
        rules=rules,
        again=plan.read,
    )
    plan.raise_if_torn()
    return report


def _date_of(line: bytes) -> str:
    """Read the date of a line without judging it: enough to know when to stop."""
    return line.partition(b'"timestamp":"')[2][:10].decode("ascii", "replace")


def _check_last_look(line: bytes, machine: LedgerMachine) -> None:
    """Demand that the first line after the range says its date truly: a forged one would hide the rest."""
    sequence = machine.head.sequence + 1
    try:
        found = decode_line(line)
    except BibankError as error:
        raise JournalCorrupt(str(error), sequence=sequence) from error
    if sequence == 1:
        raise InvalidValue(f"the journal begins on {format_timestamp(found.timestamp)[:10]}, after the range")
    if found.prev_hash != machine.head.hash:
        raise JournalCorrupt("prev_hash is not the hash of the line before", sequence=sequence)
    if line_hash(found, ledger_id=machine.ledger_id) != found.hash:
        raise JournalCorrupt("the line's hash is not that of its content", sequence=sequence)


def _check_totals(machine: LedgerMachine) -> None:
    """Demand that assets and expenses equal liabilities, equity and revenue, asset by asset."""
    totals: dict[str, int] = {}
    for account in machine.book:
        sign = 1 if account.klass.category in _DEBIT_CATEGORIES else -1
        totals[account.klass.asset] = totals.get(account.klass.asset, 0) + sign * account.balance
    wrong = {asset: units for asset, units in totals.items() if units}
    assert not wrong, f"the books do not balance: {wrong}"
