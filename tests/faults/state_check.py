"""What must hold of every disk that a power cut leaves: the one check of the crash harness.

It shares nothing with recovery but the public way of opening a ledger. Lines are read from the disk and
parsed with `json`; balances and batches are worked out here, by the naive rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import bibank as bb
from bibank.testing.faults import SimulatedFiles
from tests.faults.workloads import Setting, open_ledger, opened
from tests.store.journals import deposit

Disk = Mapping[str, bytes]
_CREDIT_GROWS = frozenset({"LIAB", "EQUITY", "REV"})


class Violation(AssertionError):
    """A disk from which the library did not come back as it has to."""


class Promise(NamedTuple):
    """The last line that a caller was told to be durable."""

    sequence: int = 0
    hash: str = "GENESIS"


@lru_cache(maxsize=4096)
def parsed(line: bytes) -> tuple[int, str, tuple[int, int], tuple[tuple[str, int], ...], bool]:
    """Give sequence, hash, (first, size) of the batch, changes of balances, and whether it is a recovery."""
    members = json.loads(line)
    batch = members.get("batch", {})
    sequence = members["sequence"]
    changes = []
    for posting in members.get("postings", ()):
        whole, _, fraction = posting["amount"].partition(".")
        units = int(whole) * 10**8 + int(fraction.ljust(8, "0"))
        grows = "credit" if posting["account"].partition(":")[0] in _CREDIT_GROWS else "debit"
        changes.append((posting["account"], units if posting["side"] == grows else -units))
    mark = (batch.get("first", sequence), batch.get("size", 1))
    return sequence, members["hash"], mark, tuple(changes), members.get("record") == "recovery"


@lru_cache(maxsize=4096)
def naive_balances(lines: tuple[bytes, ...]) -> dict[str, int]:
    """Add up all postings."""
    if not lines:
        return {}
    balances = dict(naive_balances(lines[:-1]))
    for account, delta in parsed(lines[-1])[3]:
        balances[account] = balances.get(account, 0) + delta
    return balances


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
    described = [(name, b"" if ".torn-" in name else recovered[name]) for name in sorted(recovered)]
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
    torn = any(f".torn-{len(lines) + 1}" in name for name in files.durable())
    check_second_recovery(files, setting, torn=torn)
    before = len(lines)
    entry = ledger.commit(deposit("Z", "1 USDT"))
    demand(entry.sequence == before + 1 + torn, f"line {entry.sequence} follows line {before}, torn: {torn}")
    after = SimulatedFiles(files.durable())
    try:
        again = open_ledger(after, setting)
    except bb.BibankError as error:
        raise Violation(f"refused after one commit: {type(error).__name__}: {error}") from error
    durable = check_ledger(again, after.durable(), Promise(entry.sequence, entry.hash))
    demand(durable[:before] == lines, "the commit changed what was there")
    demand(not torn or parsed(durable[before])[4], "torn bytes were set aside and not recorded")


def check_ledger(ledger: bb.Ledger, disk: Disk, promise: Promise) -> tuple[bytes, ...]:
    """Demand what was promised, whole batches only, and the balances of the lines that are there."""
    lines = stored_lines(disk)
    demand(len(lines) == ledger.head.sequence, f"{len(lines)} lines on disk, head {ledger.head.sequence}")
    demand(len(lines) >= promise.sequence, f"line {promise.sequence} was acknowledged, {len(lines)} are left")
    if promise.sequence:
        demand(
            parsed(lines[promise.sequence - 1])[1] == promise.hash,
            f"line {promise.sequence} is another than the one acknowledged",
        )
    sequence, digest, (first, size), _, _ = parsed(lines[-1])
    demand(sequence == len(lines) == first + size - 1, f"line {sequence} is part of a batch of {size}")
    demand(digest == ledger.head.hash, "the head is not the last line")
    balances = {row.account.text: row.balance.units for row in ledger.accounts()}
    demand(balances == naive_balances(lines), "the balances are not those of the lines")
    return lines


def check_nothing_thrown_away(before: Disk, after: Disk) -> None:
    """Demand that what was cut off a day file stands, durably, in a file of torn bytes."""
    aside = [after[name].rstrip(b"\0") for name in after if ".torn-" in name]
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
    fresh = [name for name in after if ".torn-" in name and before.get(name) != after[name]]
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
