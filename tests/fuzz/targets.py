"""What the fuzzer runs: one function for each parser, which takes any bytes and holds it to one rule.

Bytes are refused by a `BibankError` with a text of bounded length, or they give a value that is spelled in
exactly these bytes again. Where a grammar is short enough to be written down a second time, a refusal has to
be right as well. A violation is an `AssertionError`, whatever came out.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import attrs

from bibank.audit import audit_lines
from bibank.errors import BibankError, JournalCorrupt
from bibank.journal.codec import decode_line
from bibank.journal.machine import LedgerMachine
from bibank.journal.reference import encode_line
from bibank.model.account import AccountKey
from bibank.model.amount import Amount, SignedAmount
from bibank.model.money import Money
from bibank.model.timestamp import format_timestamp, parse_timestamp
from bibank.projection.verified import verified_batches
from bibank.risk.engine import RiskEngine
from bibank.signing import keyfile
from bibank.signing.keyfile import Cost, Secret
from bibank.signing.trust import KeyringTrust
from bibank.store.jsonl.head import SLOT_BYTES, HeadMark, decode_slot, encode_slot
from bibank.store.jsonl.plan import OpenPlan, survey_journal
from tests.fuzz.journals import (
    Relinker,
    after,
    journal_directory,
    relinked,
    spell,
    spell_line,
    split_days,
)
from tests.journal.machines import Diary, state

T = TypeVar("T")
Days = Mapping[str, bytes]

CORPUS = Path(__file__).parent / "corpus"
MOST_ERROR_CHARACTERS = 2_000
PASSPHRASE = Secret(b"correct horse battery staple")

_PART = r"(?=[^:]{1,64}(?::|\Z))[A-Z0-9]+(?:_[A-Z0-9]+)*"
_ACCOUNT = re.compile(rf"(ASSET|LIAB|EQUITY|REV|EXP):(USER|SYSTEM):{_PART}:{_PART}:{_PART}", re.ASCII)
_AMOUNT = re.compile(r"[0-9]{1,31}(\.[0-9]{1,8})?", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?Z", re.ASCII)
_MAX_UNITS = 2**127 - 1


def outcome(call: Callable[[], T]) -> T | BibankError:
    """Give what a call gives, or the typed error that it raises; any other error is a violation."""
    try:
        return call()
    except BibankError as refusal:
        error = refusal
    except Exception as other:
        raise AssertionError(f"{type(other).__name__} came out: {other}") from other
    assert len(str(error)) <= MOST_ERROR_CHARACTERS, f"{len(str(error))} characters of {error.code}"
    return error


def held(rule: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Make a target of a rule: whatever it raises is a violation."""

    @functools.wraps(rule)
    def target(data: bytes) -> None:
        try:
            rule(data)
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"{type(error).__name__} came out: {error}") from error

    return target


def text_of(data: bytes) -> str:
    """Read bytes as text; those that are no UTF-8 become lone surrogates."""
    return data.decode("utf-8", "surrogateescape")


# --------------------------------------------------------------------------- values


@held
def account(data: bytes) -> None:
    """An account key is its text; the grammar, written down a second time, refuses the same."""
    text = text_of(data)
    key = outcome(lambda: AccountKey(text))
    assert (_ACCOUNT.fullmatch(text) is None) == isinstance(key, BibankError)
    if isinstance(key, AccountKey):
        assert str(key) == text
        parts = {name: getattr(key, name) for name in ("category", "segment", "id", "asset", "sub_account")}
        assert AccountKey.of(**parts) == key


@held
def amount(data: bytes) -> None:
    """An amount is the decimal number that its text says, and has one canonical text."""
    text = text_of(data)
    made = outcome(lambda: Amount(text))
    exact = Decimal(text) if _AMOUNT.fullmatch(text) else None
    fits = exact is not None and Fraction(exact) * 10**8 <= _MAX_UNITS
    assert fits == isinstance(made, Amount)
    if isinstance(made, Amount):
        assert made.to_decimal() == exact
        assert Amount(str(made)) == made
        assert len(str(made)) <= len(text)
        assert SignedAmount("-" + text) == -made.signed()
    decimal = _decimal(text)
    if decimal is not None:
        taken = outcome(lambda: SignedAmount(decimal))
        assert isinstance(taken, BibankError) or taken.to_decimal() == decimal


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except ArithmeticError:
        return None


@held
def money(data: bytes) -> None:
    """Money is an amount, a space and an asset, and nothing else."""
    text = text_of(data)
    made = outcome(lambda: Money(text))
    number, _, asset = text.partition(" ")
    if isinstance(made, Money):
        assert made == Money(number, asset) == Money(str(made))
        assert str(made) == f"{Amount(number)} {asset}"
        assert AccountKey(f"LIAB:USER:A:{asset}:AVAILABLE").asset == asset
    else:
        parts = outcome(lambda: Amount(number)), outcome(lambda: AccountKey(f"LIAB:USER:A:{asset}:LOCKED"))
        assert any(isinstance(part, BibankError) for part in parts)


@held
def timestamp(data: bytes) -> None:
    """A timestamp is its text; what the calendar has in that spelling is not refused."""
    text = text_of(data)
    moment = outcome(lambda: parse_timestamp(text))
    assert isinstance(moment, BibankError) or format_timestamp(moment) == text
    assert _is_timestamp(text) == isinstance(moment, datetime)


def _is_timestamp(text: str) -> bool:
    if _TIMESTAMP.fullmatch(text) is None or text.endswith(".000000Z"):
        return False
    try:
        datetime.strptime(text[:19] + "+0000", "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return False
    return text[17:19] <= "59"


# --------------------------------------------------------------------------- key files


def cheap_derivation(passphrase: Secret, salt: bytes, cost: Cost) -> Secret:
    """Stand for Argon2id, which is slow on purpose: nothing here depends on its strength."""
    text = b"%b %b %d %d" % (passphrase.reveal(), salt, cost.operations, cost.memory_bytes)
    return Secret(hashlib.sha256(text).digest())


@held
def key_file(data: bytes) -> None:
    """A key file, in the clear or sealed, is JCS and a newline, and gives the key that it names."""
    with mock.patch.object(keyfile, "_derive", cheap_derivation):
        for passphrase in (None, PASSPHRASE):
            signer = outcome(partial(keyfile.decode, Secret(data), passphrase=passphrase))
            if isinstance(signer, BibankError):
                continue
            members = json.loads(data)
            assert spell(members) + b"\n" == data
            assert members["signer_id"] == signer.signer_id
            assert members["public_key"] == signer.public_key
            assert members["algorithm"] == signer.algorithm.value
            assert keyfile.is_sealed(data) == ("seed" not in members)


# --------------------------------------------------------------------------- lines


def machine_after(lines: Iterable[bytes], *, diary: bool = False) -> LedgerMachine:
    """Accept lines into a new machine; with a diary it reads every line the slow way."""
    machine = LedgerMachine(RiskEngine((Diary(),) if diary else ()), KeyringTrust())
    for line in lines:
        machine.accept(line)
    return machine


@attrs.define
class Place:
    """Where a line may be read: behind these lines, the fast way and the slow way."""

    lines: list[bytes]
    ways: list[LedgerMachine] = attrs.field(init=False)
    behind: Relinker = attrs.field(init=False)
    before: dict[str, Any] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ways = [machine_after(self.lines), machine_after(self.lines, diary=True)]
        self.before = known(self.ways[0])
        self.behind = after(self.lines)

    def relinked(self, data: bytes) -> bytes:
        """Make a line follow here."""
        return attrs.evolve(self.behind).line(data)

    def read(self, data: bytes) -> None:
        """Hold the two ways of reading to each other: the same verdict, reason and state."""
        first, second = (outcome(partial(way.accept, data)) for way in self.ways)
        if isinstance(first, BibankError) and isinstance(second, BibankError):
            assert (type(first), str(first)) == (type(second), str(second))
            assert all(known(way) == self.before for way in self.ways), "a refused line left a trace"
            return
        assert first is None, f"only the fast way refuses: {first}"
        assert second is None, f"only the slow way refuses: {second}"
        try:
            assert known(self.ways[0]) == known(self.ways[1])
            assert data == spell_line(json.loads(data)) == encode_line(decode_line(data))
        finally:
            self.__attrs_post_init__()


def known(machine: LedgerMachine) -> dict[str, Any]:
    """Give what a machine knows, without the memory of its rules."""
    return {name: value for name, value in state(machine).items() if name != "memory"}


def seed_lines(name: str) -> list[bytes]:
    """Read the lines of a journal in the corpus."""
    days = split_days((CORPUS / "journal" / name).read_bytes())
    return [line for day in sorted(days) for line in days[day].splitlines()]


_places: list[Place] = []


def places() -> list[Place]:
    """Give the places where lines are tried: unsigned, signed, and in an open group under cover."""
    if not _places:
        unsigned, signed, covered = map(seed_lines, ("whole-unsigned", "whole-signed", "whole-covered"))
        _places.extend(map(Place, (unsigned[:4], signed[:3], signed[:10], covered[:7])))
    return _places


@held
def line(data: bytes) -> None:
    """A line is canonical or refused, and both ways of reading a journal say the same of it."""
    found = outcome(lambda: decode_line(data))
    if not isinstance(found, BibankError):
        assert encode_line(found) == data
        assert spell_line(json.loads(data)) == data
    for place in places():
        place.read(data)
        place.read(place.relinked(data))


# --------------------------------------------------------------------------- whole journals


@held
def journal(data: bytes) -> None:
    """A journal is refused by a typed error, or every byte of it is accounted for."""
    days = split_days(data)
    check_journal(days)
    check_journal(relinked(days))


def check_journal(days: Days) -> None:
    """Survey, read, replay, list and audit day files, and hold the results to each other."""
    plan = outcome(lambda: survey_journal(journal_directory(days)))
    if isinstance(plan, BibankError):
        return
    lines = outcome(lambda: list(plan.read()))
    if isinstance(lines, BibankError):
        return
    check_bytes(days, plan, lines)
    if plan.torn is not None:
        check_tear(days[plan.torn.file][plan.torn.offset :], lines)
    fast, slow = (outcome(partial(replayed, lines, diary=diary)) for diary in (False, True))
    listed = outcome(lambda: [line.data for batch in verified_batches(lines) for line in batch])
    report = outcome(lambda: audit_lines(lines, level="signatures"))
    if isinstance(fast, BibankError) or isinstance(slow, BibankError):
        assert (type(fast), str(fast)) == (type(slow), str(slow)), "the two ways of reading disagree"
        assert isinstance(report, BibankError)
        return
    assert fast == slow, "the two ways of reading disagree"
    assert fast["position"]["sequence"] == plan.head.sequence == len(lines)
    assert listed == lines
    if lines:
        assert not isinstance(report, BibankError)
        assert (report.head, report.lines) == (plan.head, len(lines))
        check_marks(days, plan, lines)
    for data in lines:
        assert encode_line(decode_line(data)) == data == spell_line(json.loads(data))
    assert sums_of(lines) == fast["balances"]


def check_bytes(days: Days, plan: OpenPlan, lines: list[bytes]) -> None:
    """Demand that surviving lines, unwritten space and what is torn are all that there is."""
    content = {name: days[name].rstrip(b"\0") for name in sorted(days)}
    if plan.torn is not None:
        name, start = plan.torn.file, plan.torn.offset
        assert plan.torn.size == len(days[name]) - start
        assert not any(content[later] for later in content if later > name)
        content[name] = days[name][:start].rstrip(b"\0")
    assert b"".join(content.values()) == b"".join(line + b"\n" for line in lines)


def check_tear(torn: bytes, lines: list[bytes]) -> None:
    """Demand that torn bytes do not begin with a whole batch that would follow the surviving lines."""
    machine = outcome(partial(machine_after, lines))
    if isinstance(machine, BibankError):
        return
    for data in torn.split(b"\n")[:-1]:
        if isinstance(outcome(partial(machine.accept, data)), BibankError):
            return
        whole = not machine.in_batch and machine.position.cover is None
        assert not whole, f"line {machine.head.sequence} is whole, and counts as torn"


def check_marks(days: Days, plan: OpenPlan, lines: list[bytes]) -> None:
    """Demand that a HEAD at the end of any write group changes nothing, and one behind the end is refused."""
    marks = ends_of_groups(days, lines[: plan.head.sequence])
    for mark in (marks[0], marks[-1]):
        other = outcome(partial(survey_journal, journal_directory(days, mark)))
        assert not isinstance(other, BibankError), f"refused under HEAD at line {mark.sequence}: {other}"
        assert (other.head, other.torn) == (plan.head, plan.torn)
        assert list(other.read()) == lines
    beyond = attrs.evolve(marks[-1], sequence=marks[-1].sequence + 1)
    assert isinstance(outcome(partial(survey_journal, journal_directory(days, beyond))), JournalCorrupt)


def ends_of_groups(days: Days, lines: list[bytes]) -> list[HeadMark]:
    """List the places that HEAD could name: a write group ended there, and was synced."""
    marks = []
    sequence = 0
    for name in sorted(days):
        end = 0
        while sequence < len(lines) and days[name][end:].startswith(lines[sequence] + b"\n"):
            end += len(lines[sequence]) + 1
            sequence += 1
            found = json.loads(lines[sequence - 1])
            following = json.loads(lines[sequence]) if sequence < len(lines) else {}
            if following.get("batch", {}).get("group", sequence + 1) == sequence + 1:
                marks.append(HeadMark(sequence=sequence, hash=found["hash"], file=name, end=end))
    return marks


def replayed(lines: list[bytes], *, diary: bool) -> dict[str, Any]:
    """Replay a journal to its end and give what the machine then knows."""
    machine = machine_after(lines, diary=diary)
    machine.check_end()
    return known(machine)


def sums_of(lines: Iterable[bytes]) -> dict[str, tuple[int, Any]]:
    """Add up every account from the JSON of the lines; floors are not known from it."""
    sums: dict[str, int] = {}
    for data in lines:
        for leg in json.loads(data).get("postings", ()):
            debit_normal = leg["account"].startswith(("ASSET:", "EXP:"))
            sign = 1 if (leg["side"] == "debit") == debit_normal else -1
            units = int(Fraction(leg["amount"]) * 10**8)
            sums[leg["account"]] = sums.get(leg["account"], 0) + sign * units
    return {name: (units, mock.ANY) for name, units in sums.items()}


@held
def head(data: bytes) -> None:
    """A slot of HEAD is none, or the one spelling of its mark; so it is with its own hash put right."""
    text = data.partition(b" ")[0]
    sealed = b"%b %b" % (text, hashlib.sha256(text).hexdigest().encode())
    for slot in (data, sealed.ljust(SLOT_BYTES - 1) + b"\n"):
        mark = outcome(partial(decode_slot, slot))
        assert not isinstance(mark, BibankError)
        if mark is not None:
            assert spell(json.loads(text)) == text
            assert encode_slot(mark) == slot
            assert {type(mark.sequence), type(mark.end)} == {int}


TARGETS: dict[str, Callable[[bytes], None]] = {
    "line": line,
    "journal": journal,
    "head": head,
    "account": account,
    "amount": amount,
    "money": money,
    "timestamp": timestamp,
    "key_file": key_file,
}
