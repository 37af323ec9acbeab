"""What must hold of every disk that a power cut leaves: the one check of the crash harness.

It shares nothing with recovery but the public way of opening a ledger. Lines are read from the disk and
parsed with `json`; balances and batches are worked out here, by the naive rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import bibank as bb
from bibank.store.jsonl.writer import FREE_SPACE_FLOOR
from bibank.testing.faults import SimulatedFiles
from tests.faults.workloads import KEY, KEYED, Setting, founded, open_ledger, opened
from tests.store.journals import deposit

Disk = Mapping[str, bytes]
_TORN_NAME = re.compile(r"\d{4}-\d{2}-\d{2}\.jsonl\.torn-(\d+)(?:-\d+)?", re.ASCII)
_CREDIT_GROWS = frozenset({"LIAB", "EQUITY", "REV"})


class Violation(AssertionError):
    """A disk from which the library did not come back as it has to."""


class Promise(NamedTuple):
    """The last line that a caller was told to be durable."""

    sequence: int = 0
    hash: str = "GENESIS"


class Mark(NamedTuple):
    """What a line says of its batch and its write group."""

    first: int
    size: int
    group: int


class Parsed(NamedTuple):
    """What of a line is looked at here."""

    sequence: int
    hash: str
    mark: Mark
    changes: tuple[tuple[str, int], ...]
    """What it adds to which balance."""

    recovers: tuple[str, ...]
    """The files of torn bytes that it records."""

    intent: str
    record: str
    subject: str
    cause: str | None
    links: tuple[tuple[str, str], ...]
    """What the ledger wrote into its metadata."""


@lru_cache(maxsize=4096)
def parsed(line: bytes) -> Parsed:
    """Read what of a line is looked at here."""
    members = json.loads(line)
    batch = members.get("batch", {})
    sequence = members["sequence"]
    changes = []
    for posting in members.get("postings", ()):
        whole, _, fraction = posting["amount"].partition(".")
        units = int(whole) * 10**8 + int(fraction.ljust(8, "0"))
        grows = "credit" if posting["account"].partition(":")[0] in _CREDIT_GROWS else "debit"
        changes.append((posting["account"], units if posting["side"] == grows else -units))
    recovers = members["body"]["set_aside"] if members.get("record") == "recovery" else ()
    return Parsed(
        sequence=sequence,
        hash=members["hash"],
        mark=Mark(batch.get("first", sequence), batch.get("size", 1), batch.get("group", sequence)),
        changes=tuple(changes),
        recovers=tuple(found["file"] for found in recovers),
        intent=members.get("intent", ""),
        record=members.get("record", ""),
        subject=members.get("subject", ""),
        cause=members["causality_id"],
        links=tuple(
            (name, text) for name, text in members.get("metadata", {}).items() if name.startswith("bb.")
        ),
    )


@lru_cache(maxsize=4096)
def whole_until(lines: tuple[bytes, ...]) -> int:
    """Demand that the batch marks of all lines fit each other; give where the last line's batch ends."""
    if not lines:
        return 0
    end = whole_until(lines[:-1])
    line = parsed(lines[-1])
    mark = line.mark
    where = f"line {line.sequence} of batch {tuple(mark)}"
    demand(line.sequence == len(lines), f"{where} stands at place {len(lines)}")
    if end < line.sequence:
        demand(mark.first == line.sequence, f"{where} begins no batch")
        groups = {line.sequence, parsed(lines[-2]).mark.group if end else line.sequence}
        demand(mark.group in groups, f"{where} is of a write group that was over")
    else:
        demand(mark == parsed(lines[-2]).mark, f"{where} belongs to another batch than the line before")
    return mark.first + mark.size - 1


@lru_cache(maxsize=4096)
def naive_balances(lines: tuple[bytes, ...]) -> dict[str, int]:
    """Add up all postings."""
    if not lines:
        return {}
    balances = dict(naive_balances(lines[:-1]))
    for account, delta in parsed(lines[-1]).changes:
        balances[account] = balances.get(account, 0) + delta
    return balances


@lru_cache(maxsize=4096)
def naive_holds(lines: tuple[bytes, ...]) -> list[int]:
    """Name the holds that are open: opened, and cited by no line."""
    opened, ended = set(), set()
    for line in map(parsed, lines[2:]):
        links = dict(line.links)
        if "bb.payee" in links:
            opened.add(line.sequence)
        if "bb.hold" in links:
            ended.add(int(links["bb.hold"]))
    return sorted(opened - ended)


@lru_cache(maxsize=4096)
def check_decisions(lines: tuple[bytes, ...]) -> tuple[list[str], list[int]]:
    """Name the frozen accounts and the open proposals; demand that each approved entry has its approval."""
    frozen: dict[str, None] = {}
    proposals: dict[str, None] = {}
    for number, line in enumerate(map(parsed, lines)):
        if line.record == "account_frozen":
            frozen[line.subject] = None
        elif line.record == "account_reopened":
            del frozen[line.subject]
        elif line.record == "proposal":
            proposals[str(line.sequence)] = None
        elif line.intent == "adjustment":
            before = parsed(lines[number - 1])
            together = before.mark == line.mark and (before.record, before.cause) == ("approval", line.cause)
            demand(together, f"adjustment {line.sequence} lost its approval")
            del proposals[str(line.cause)]
    return sorted(frozen), list(map(int, proposals))


@lru_cache(maxsize=4096)
def check_fees(lines: tuple[bytes, ...]) -> None:
    """Demand of every trade that the fees of its batch are there, and name it; of every fee, its trade."""
    for line in map(parsed, lines):
        if line.intent == "trade" and not dict(line.links):
            end = line.mark.first + line.mark.size - 1
            demand(end <= len(lines), f"trade {line.sequence} lost a fee")
            fees = [parsed(fee) for fee in lines[line.sequence : end]]
            named = {fee.cause for fee in fees} == ({str(line.sequence)} if fees else set())
            demand(named, f"a fee misses trade {line.sequence}")
        elif line.intent == "fee" and not dict(line.links) and line.cause is not None:
            demand(parsed(lines[int(line.cause) - 1]).intent == "trade", f"fee {line.sequence} has no trade")


def stored_lines(disk: Disk) -> tuple[bytes, ...]:
    """All lines of the day files, in order; NULs are unwritten space."""
    content = b"".join(disk[name].rstrip(b"\0") for name in sorted(disk) if name.endswith(".jsonl"))
    demand(content.endswith(b"\n") or not content, "a day file ends in half a line")
    return tuple(content.split(b"\n")[:-1])


def demand(condition: object, what: str) -> None:
    """Raise `Violation` unless something holds."""
    if not condition:
        raise Violation(what)


def check_state(disk: Disk, promise: Promise, setting: Setting, went_on: set[bytes] | None = None) -> None:
    """Open, look, recover again, commit, cut the power, and look again.

    What comes after the first look depends on the recovered disk alone, and on torn bytes that were set
    aside only by their digest. `went_on` remembers from which recovered disks, but for the content of their
    torn files, that went well: it is not done twice from the same.
    """
    files = SimulatedFiles(disk)
    try:
        ledger = open_ledger(files, setting)
    except bb.BibankError as error:
        raise Violation(f"refused: {type(error).__name__}: {error}") from error
    recovered = files.durable()
    lines = check_ledger(ledger, recovered, promise)
    check_nothing_thrown_away(disk, recovered)
    described = [(name, b"" if torn_before(name) else recovered[name]) for name in sorted(recovered)]
    digest = blake2b(repr((setting, described)).encode(), digest_size=12).digest()
    if went_on is not None and digest in went_on:
        return
    check_going_on(files, ledger, lines, setting)
    if went_on is not None:
        went_on.add(digest)


def check_going_on(
    files: SimulatedFiles, ledger: bb.Ledger, lines: tuple[bytes, ...], setting: Setting
) -> None:
    """Recover once more, commit, cut the power, and look again."""
    torn = any(torn_before(name) == len(lines) + 1 and found for name, found in files.durable().items())
    check_second_recovery(files, setting, torn=torn)
    before = len(lines)
    for line in map(parsed, lines[2:]):
        if dict(line.links).get("bb.idempotency_key") == KEY:
            found = ledger.commit(KEYED, idempotency_key=KEY)
            demand((found.sequence, found.hash) == (line.sequence, line.hash), "a key was used twice")
            demand(ledger.head.sequence == before, "a key that was used has committed something")
    entry = ledger.commit(deposit("Z", "1 USDT"))
    demand(entry.sequence == before + 1 + torn, f"line {entry.sequence} follows line {before}, torn: {torn}")
    after = SimulatedFiles(files.durable())
    try:
        again = open_ledger(after, setting)
    except bb.BibankError as error:
        raise Violation(f"refused after one commit: {type(error).__name__}: {error}") from error
    durable = check_ledger(again, after.durable(), Promise(entry.sequence, entry.hash))
    demand(durable[:before] == lines, "the commit changed what was there")


def check_ledger(ledger: bb.Ledger, disk: Disk, promise: Promise) -> tuple[bytes, ...]:
    """Demand what was promised, whole batches only, and the balances of the lines that are there."""
    lines = stored_lines(disk)
    demand(len(lines) == ledger.head.sequence, f"{len(lines)} lines on disk, head {ledger.head.sequence}")
    demand(len(lines) >= promise.sequence, f"line {promise.sequence} was acknowledged, {len(lines)} are left")
    if promise.sequence:
        demand(
            parsed(lines[promise.sequence - 1]).hash == promise.hash,
            f"line {promise.sequence} is another than the one acknowledged",
        )
    demand(whole_until(lines) == len(lines), f"line {len(lines)} is not the last of its batch")
    demand(parsed(lines[-1]).hash == ledger.head.hash, "the head is not the last line")
    balances = {row.account.text: row.balance.units for row in ledger.accounts()}
    demand(balances == naive_balances(lines), "the balances are not those of the lines")
    demand([hold.id for hold in ledger.holds()] == naive_holds(lines), "the open holds are others")
    check_fees(lines)
    frozen = [row.account.text for row in ledger.account_terms() if row.status is bb.AccountStatus.FROZEN]
    proposals = [row.sequence for row in ledger.pending()]
    demand((frozen, proposals) == check_decisions(lines), "what was decided is not what the lines say")
    check_recorded(disk, lines)
    return lines


def torn_before(name: str) -> int | None:
    """Read in the name of a file of torn bytes which line they stood before; None for other files."""
    found = _TORN_NAME.fullmatch(name)
    return int(found[1]) if found is not None else None


def check_recorded(disk: Disk, lines: tuple[bytes, ...]) -> None:
    """Demand that the line before which bytes were set aside, once it is there, records them.

    None is owed for the torn beginning of a ledger, nor for the empty copy that a full disk left.
    """
    for name, content in disk.items():
        before = torn_before(name)
        if content and before is not None and 1 < before <= len(lines):
            demand(name in parsed(lines[before - 1]).recovers, f"line {before} does not record {name}")


def check_clean_close(files: SimulatedFiles) -> None:
    """Demand that a closed ledger left nothing unsynced, no unwritten space, and HEAD at its last line."""
    disk = files.disk()
    demand(disk == files.durable(), "closing left something unsynced")
    lines = stored_lines(disk)
    days = [content for name, content in disk.items() if name.endswith(".jsonl")]
    demand(all(content.endswith(b"\n") for content in days), "closing left unwritten space")
    last = b'"hash":"%b"' % parsed(lines[-1]).hash.encode()
    demand(last in disk["HEAD"], "closing left HEAD behind the last line")


def check_floor(setting: Setting) -> None:
    """Demand that a commit which would leave less than the floor free is refused before its first byte."""
    before = founded(setting)
    files = SimulatedFiles(before, capacity_bytes=sum(map(len, before.values())) + FREE_SPACE_FLOOR)
    ledger = open_ledger(files, setting)
    try:
        ledger.commit(deposit("A", "1 USDT"))
    except bb.StoreFull:
        pass
    else:
        raise Violation("a commit left less space than the floor")
    finally:
        ledger.close()
    demand(files.disk() == before, "a commit that was refused for want of space has written something")


def check_nothing_thrown_away(before: Disk, after: Disk) -> None:
    """Demand that what was cut off a day file stands, durably, in a file of torn bytes."""
    aside = [after[name].rstrip(b"\0") for name in after if torn_before(name)]
    cuts = 0
    for name, content in before.items():
        if name.endswith(".jsonl"):
            kept = after.get(name, b"").rstrip(b"\0")
            cut = content[len(kept) :].rstrip(b"\0")
            if not content.startswith(kept):  # a torn creation, and a ledger founded in its place
                cuts += 1
            elif cut:
                cuts += 1
                demand(cut in aside, f"{len(cut)} bytes of {name} were thrown away")
    fresh = [name for name in after if torn_before(name) and before.get(name) != after[name]]
    demand(len(fresh) <= cuts, f"nothing was torn, and {fresh} was set aside")


def check_second_recovery(files: SimulatedFiles, setting: Setting, *, torn: bool) -> None:
    """Demand that recovering once more, after a power cut, finds nothing to do."""
    before = files.durable()
    again = SimulatedFiles(before)
    try:
        store = opened(again, setting)
    except bb.BibankError as error:
        raise Violation(f"refused by a second recovery: {type(error).__name__}: {error}") from error
    demand(again.durable() == before, "a second recovery changed the disk")
    demand(bool(store.set_aside) == torn, "a second recovery forgot what is owed")
