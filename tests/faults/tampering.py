"""The tamper sweep: a signed journal of several files, changed in every single place.

Every bit of every line, every line dropped, swapped with its neighbour and doubled, every file cut at every
byte, every bit of HEAD. A change is detected, with file and line, or it is undone by a rule: what lies
behind HEAD and looks torn goes aside, and one slot of HEAD may be torn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

import attrs

import bibank as bb
from bibank.journal.machine import LedgerMachine
from bibank.risk.engine import RiskEngine
from bibank.signing.trust import KeyringTrust
from bibank.store.jsonl.head import HEAD_NAME, SLOT_BYTES, HeadMark, encode_slot
from bibank.store.jsonl.plan import survey_journal
from bibank.testing.faults import SimulatedFiles
from tests.faults.state_check import Disk, parsed, stored_lines
from tests.faults.workloads import Setting, open_ledger
from tests.store.journals import DAYS, StillClock, deposit, transfer

LINES = 200


@attrs.define
class TamperTally:
    """How many changes of which kind were tried, and what went unseen."""

    kinds: Counter[str] = attrs.field(factory=Counter)
    violations: list[str] = attrs.field(factory=list)

    def expect(self, held: object, kind: str, where: str) -> None:
        """Count a change, and take note of it when it was not dealt with as it has to be."""
        self.kinds[kind] += 1
        if not held:
            self.violations.append(f"{kind}: {where}")


@lru_cache(maxsize=4)
def signed_journal(lines: int = LINES) -> Mapping[str, bytes]:
    """A cleanly closed journal over three days: lone lines, batches, groups, a rotation of the key."""
    files, clock = SimulatedFiles(), StillClock()
    setting = Setting(signing="entry")
    for number, day in enumerate(DAYS, 1):
        clock.set(day)
        ledger = open_ledger(files, setting, clock=clock)
        while ledger.head.sequence < lines * number // len(DAYS):
            ledger.commit(deposit("A", "5 USDT"))
            ledger.commit_batch([deposit("A", "1 BTC"), transfer("A", "B", "1 USDT"), deposit("C", "2 EUR")])
            ledger.commit_each([transfer("A", "B", "1 USDT"), [deposit("D", "1 BTC")] * 2])
        ledger.close()
    return files.durable()


def opens_at(disk: Disk) -> int | type[bb.BibankError]:
    """Survey and replay a disk: the last line, or the kind of error, which names file and line."""
    try:
        plan = survey_journal(SimulatedFiles(disk))
        trust = KeyringTrust()
        machine = LedgerMachine(RiskEngine(), trust)
        try:
            for line in plan.read():
                machine.accept(line)
            machine.check_end()
        except bb.JournalError as error:
            raise plan.place(error) from error
    except bb.JournalError as error:
        if error.file is None or not error.line:
            raise AssertionError("a broken journal was refused without saying where") from error
        return type(error)
    return machine.head.sequence


def flip_every_bit(tally: TamperTally, *, shard: tuple[int, int] = (0, 1), stride: int = 1) -> None:
    """Flip every bit of every line; a line must not be taken with any bit changed.

    Each is offered to a machine that stands right before the true one, so that it takes microseconds: a
    refused line changes nothing in it. A flip that makes a newline is two lines, of which the first is
    offered. The newlines themselves are `flip_every_newline`'s.
    """
    lines = stored_lines(signed_journal())
    machine = replayed(())
    index, count = shard
    for number, line in enumerate(lines):
        for bit in range(0, 8 * len(line), stride) if number % count == index else ():
            flipped = bytearray(line)
            flipped[bit // 8] ^= 1 << bit % 8
            offered = bytes(flipped).partition(b"\n")[0]
            seen = refuses(machine, offered)
            if not seen:  # the key of line 1 is known from line 2 on, the last of the same batch
                end = parsed(line).mark.first + parsed(line).mark.size - 1
                seen = any(refuses(machine, later) for later in lines[number + 1 : end])
                machine = replayed(lines[:number])
            tally.expect(seen, "bit flipped", f"line {number + 1}, bit {bit}")
        machine.accept(line)


def flip_every_newline(tally: TamperTally, *, shard: tuple[int, int] = (0, 1), stride: int = 1) -> None:
    """Flip every bit of every newline: two lines become one, or the last one ends in no newline."""
    disk = signed_journal()
    index, count = shard
    ends = [
        (name, end)
        for name in sorted(disk)
        if name != HEAD_NAME
        for end, byte in enumerate(disk[name])
        if byte == ord("\n")
    ]
    for number in range(index * stride, 8 * len(ends), count * stride):
        name, end = ends[number // 8]
        flipped = bytearray(disk[name])
        flipped[end] ^= 1 << number % 8
        found = opens_at({**disk, name: bytes(flipped)})
        tally.expect(isinstance(found, type), "newline flipped", f"{name}, byte {end}, bit {number % 8}")


def replayed(lines: Sequence[bytes]) -> LedgerMachine:
    """A machine that has taken some lines."""
    machine = LedgerMachine(RiskEngine(), KeyringTrust())
    for line in lines:
        machine.accept(line)
    return machine


def refuses(machine: LedgerMachine, line: bytes) -> bool:
    """Tell whether a line is not taken here."""
    try:
        machine.accept(line)
    except bb.JournalError:
        return True
    return False


def cut_and_rearrange(tally: TamperTally, *, shard: tuple[int, int] = (0, 1), stride: int = 1) -> None:
    """Drop, swap and double every line, join it to the next, and cut every file at every byte."""
    disk = signed_journal()
    index, count = shard
    for name in sorted(disk):
        if name == HEAD_NAME:
            continue
        content = disk[name]
        lines = content.splitlines(keepends=True)
        for number in range(index, len(lines), count * stride):
            where = f"{name}, line {number + 1}"
            before, line, after = lines[:number], lines[number], lines[number + 1 :]
            changes = {
                "line dropped": [*before, *after],
                "line doubled": [*before, line, line, *after],
                "newline lost": [*before, line[:-1], *after],
            }
            if after:
                changes["lines swapped"] = [*before, after[0], line, *after[1:]]
            for kind, changed in changes.items():
                found = opens_at({**disk, name: b"".join(changed)})
                tally.expect(isinstance(found, type), kind, where)
        for cut in range(index * stride, len(content), count * stride):
            tally.expect(
                is_cut_seen({**disk, name: content[:cut]}, newest=name == max(disk)),
                "file cut",
                f"{name} at byte {cut}",
            )


def is_cut_seen(disk: Disk, *, newest: bool) -> bool:
    """Tell whether a cut is refused; below HEAD, which names the last line, as `JournalTruncated`."""
    try:
        plan = survey_journal(SimulatedFiles(disk))
        expected = 1
        for line in plan.read():  # sequences alone: what stands before the cut was not touched
            if parsed(line).sequence != expected:
                return True
            expected += 1
    except bb.JournalTruncated:
        return True
    except bb.JournalError:
        return not newest
    return False


def cut_behind_older_heads(tally: TamperTally, *, stride: int = 1) -> None:
    """Cut the newest file at every byte while HEAD names an older line: refused below it, repaired above."""
    disk = signed_journal()
    name = max(name for name in disk if name != HEAD_NAME)
    content = disk[name]
    ends, offset = [], 0
    for line in content.splitlines(keepends=True):
        offset += len(line)
        found = parsed(line[:-1])
        if found.sequence == found.mark.first + found.mark.size - 1:
            ends.append(HeadMark(sequence=found.sequence, hash=found.hash, file=name, end=offset))
    for mark in (ends[2], ends[len(ends) // 2]):
        head = encode_slot(mark) * 2
        for cut in range(0, len(content), stride):
            seen = surveyed({**disk, name: content[:cut], HEAD_NAME: head})
            if cut < mark.end:
                tally.expect(
                    seen is bb.JournalTruncated, "cut below HEAD", f"byte {cut}, HEAD at {mark.end}: {seen}"
                )
            else:
                whole = max(end.sequence for end in ends if end.end <= cut)
                tally.expect(seen == whole, "cut behind HEAD", f"byte {cut}: {seen} instead of {whole}")


def flip_head(tally: TamperTally, *, stride: int = 1) -> None:
    """Flip every bit of HEAD, which tears one slot, and of both slots, which is refused."""
    disk = signed_journal()
    head = disk[HEAD_NAME]
    last = opens_at(disk)
    for bit in range(0, 8 * len(head), stride):
        one = bytearray(head)
        one[bit // 8] ^= 1 << bit % 8
        found = surveyed({**disk, HEAD_NAME: bytes(one)})
        tally.expect(found == last, "bit of HEAD flipped", f"bit {bit}: {found}")
        other = (bit // 8 + SLOT_BYTES) % len(head)
        one[other] ^= 1
        found = surveyed({**disk, HEAD_NAME: bytes(one)})
        tally.expect(found is bb.JournalCorrupt, "both slots of HEAD flipped", f"bit {bit}: {found}")
    missing = {name: content for name, content in disk.items() if name != HEAD_NAME}
    tally.expect(opens_at(missing) is bb.JournalCorrupt, "HEAD removed", "")


def surveyed(disk: Disk) -> int | type[bb.BibankError]:
    """Survey a disk, without the replay: the last line, or the kind of error."""
    try:
        return survey_journal(SimulatedFiles(disk)).head.sequence
    except bb.JournalError as error:
        return type(error)
