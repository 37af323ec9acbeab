"""What is done while the power fails: every way of writing a journal, on simulated files.

A workload is a plain function of simulated files. After each acknowledged call it renews the promise. It
is the same at each run: clock, entropy and keys are fixed, and so is how fast HEAD grows old.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import count
from typing import Literal

import attrs

import bibank as bb
from bibank import drafts
from bibank.batch import Item
from bibank.signing import Ed25519Signer, Signer
from bibank.store.jsonl.plan import plan_journal
from bibank.store.jsonl.writer import JsonlStore
from bibank.testing.faults import SimulatedFiles
from tests.store.journals import DAYS, SIGNER, StillClock, counted_bytes, deposit, transfer

OPERATORS = tuple(
    Ed25519Signer(bytes([number]) * 32, signer_id=name) for number, name in ((7, "ANNA_OPS"), (8, "BERT_OPS"))
)
"""Two people who approve together."""

OTHER_SIGNER = Ed25519Signer(bytes(range(32, 64)), signer_id="SYSTEM")
"""The key that a rotation changes to."""


KEYED, KEY = deposit("K", "1 USDT"), "once"
"""A request that is made under a key, and may be made again on every disk that has it."""


@attrs.frozen(kw_only=True)
class Setting:
    """How a ledger is opened: whether and how it signs, and how far its day files are filled ahead."""

    signing: Literal["none", "entry", "group"] = "none"
    preallocate_bytes: int = 0
    head_step_seconds: float = 0.6
    """How much time passes between two looks at the age of HEAD."""

    day: str = DAYS[0]


def opened(files: SimulatedFiles, setting: Setting) -> JsonlStore:
    """Lock, survey and repair."""
    ticks = count(1)
    return plan_journal(files).repair(
        preallocate_bytes=setting.preallocate_bytes,
        monotonic=lambda: next(ticks) * setting.head_step_seconds,
    )


def open_ledger(files: SimulatedFiles, setting: Setting, *, clock: StillClock | None = None) -> bb.Ledger:
    """Open the ledger of a disk, or found it where there is none."""
    store = opened(files, setting)
    signers: tuple[Signer | None, ...] = (SIGNER, OTHER_SIGNER) if setting.signing != "none" else (None,)
    try:
        for signer in signers:
            try:
                return bb.Ledger(
                    store=store,
                    opening={"USDT": "9"} if not store.head().sequence else None,
                    clock=StillClock(setting.day) if clock is None else clock,
                    entropy=counted_bytes,
                    signer=signer,
                    signing="group" if setting.signing == "group" else "entry",
                )
            except bb.ConfigurationError:  # the keyring has another key by now
                if signer is signers[-1]:
                    raise
        raise AssertionError("a setting has signers")
    except BaseException:
        store.close()
        raise


@attrs.frozen(kw_only=True)
class Workload:
    """A name, a setting, and what is done."""

    name: str
    setting: Setting
    work: Callable[[SimulatedFiles, Setting], None]
    begins: Literal["empty", "founded", "torn"] = "founded"

    def __call__(self, files: SimulatedFiles) -> None:
        """Do it."""
        self.work(files, self.setting)

    @property
    def disk(self) -> Mapping[str, bytes]:
        """What it begins with: nothing, or a ledger that was founded and closed, and maybe a torn write."""
        if self.begins == "empty":
            return {}
        disk = founded(self.setting)
        day = f"{self.setting.day}.jsonl"
        return {**disk, day: disk[day] + b'{"torn'} if self.begins == "torn" else disk

    @property
    def closes(self) -> bool:
        """Whether it ends with a close, not with a killed process."""
        return self.work is not killed_and_reopened


@lru_cache
def founded(setting: Setting) -> Mapping[str, bytes]:
    """The disk of a ledger that was founded and closed."""
    files = SimulatedFiles()
    open_ledger(files, setting).close()
    return files.durable()


def promised(files: SimulatedFiles, ledger: bb.Ledger) -> None:
    """Renew the promise: what the ledger acknowledged, or shows to a reader, is durable."""
    head = ledger.head
    files.promise = (head.sequence, head.hash)


@contextmanager
def working(files: SimulatedFiles, setting: Setting, clock: StillClock | None = None) -> Iterator[bb.Ledger]:
    """Open a ledger for some work. When a call fails, it is asked once more before it is closed."""
    ledger = open_ledger(files, setting, clock=clock)
    try:
        promised(files, ledger)
        yield ledger
    except (bb.BibankError, KeyboardInterrupt):
        promised(files, ledger)
        with suppress(bb.BibankError):
            ledger.commit(deposit("Y", "1 USDT"))
            promised(files, ledger)
        raise
    finally:
        close_wholly(ledger)


def close_wholly(ledger: bb.Ledger) -> None:
    """Close; when that is interrupted, close again, which finishes it."""
    try:
        ledger.close()
    except KeyboardInterrupt:
        ledger.close()
        raise


def owing(files: SimulatedFiles, setting: Setting) -> None:
    """Open after a torn write, be refused, and commit what the recovery record comes before."""
    with working(files, setting) as ledger:
        with suppress(bb.Refused):
            ledger.commit(transfer("A", "B", "1 USDT"))
        promised(files, ledger)
        ledger.commit(deposit("A", "1 USDT"))
        promised(files, ledger)


def lone_lines(files: SimulatedFiles, setting: Setting) -> None:
    """Found a ledger and commit one entry at a time."""
    with working(files, setting) as ledger:
        for number in range(3):
            ledger.commit(deposit("A", f"{number + 1} USDT"))
            promised(files, ledger)


def groups(files: SimulatedFiles, setting: Setting) -> None:
    """Found a ledger and commit batches, and groups of several batches."""
    several: list[Item] = [
        deposit("C", "1 BTC"),
        transfer("A", "B", "999 USDT"),
        [transfer("C", "A", "1 BTC"), transfer("A", "C", "0.5 BTC")],
        deposit("D", "4 EUR"),
    ]
    with working(files, setting) as ledger:
        ledger.commit_batch([deposit("A", "5 USDT"), transfer("A", "B", "2 USDT")])
        promised(files, ledger)
        ledger.commit_each(several)
        promised(files, ledger)
        ledger.commit(transfer("A", "B", "1 USDT"))
        promised(files, ledger)


def trading(files: SimulatedFiles, setting: Setting) -> None:
    """Trade with fees, hold and post, reverse, and ask twice under one key."""
    with working(files, setting) as plain:
        ledger = plain.bind(correlation_id="r")
        ledger.commit_batch([deposit("A", "9 USDT"), deposit("B", "2 BTC")])
        promised(files, ledger)
        trade = ledger.trade(
            maker="A",
            maker_gives="4 USDT",
            taker="B",
            taker_gives="1 BTC",
            fees=[bb.TradeFee("A", "1 USDT"), bb.TradeFee("B", "0.5 BTC")],
        )
        promised(files, ledger)
        hold = ledger.hold("A", "2 USDT", to=bb.WITHDRAWAL)
        promised(files, ledger)
        ledger.post_hold(hold.id, "1", idempotency_key="posted")
        promised(files, ledger)
        for _ in range(2):
            ledger.commit(KEYED, idempotency_key=KEY)
            promised(files, ledger)
        ledger.reverse(trade.fees[0].sequence)
        promised(files, ledger)
        ledger.hold("A", "1 USDT", to="B")
        promised(files, ledger)


def governing(files: SimulatedFiles, setting: Setting) -> None:
    """Freeze, propose, approve twice, and so carry out."""
    with working(files, setting) as plain:
        ledger = plain.bind(correlation_id="g")
        for operator in OPERATORS:
            ledger.keyring.add(operator, roles=(bb.Role.OPERATOR,), authorised_by=OPERATORS[:1])
        decide, frozen = ledger.governance, bb.AccountKey("LIAB:USER:A:USDT:AVAILABLE")
        decide.freeze(frozen, reason="court", authorised_by=OPERATORS[:1])
        promised(files, ledger)
        correction = adjustment("EQUITY:SYSTEM:CAPITAL:USDT:MAIN", "LIAB:USER:B:USDT:AVAILABLE")
        proposal = decide.propose(correction, idempotency_key="p")
        promised(files, ledger)
        for operator in OPERATORS:
            decide.approve(proposal.sequence, operator)
            promised(files, ledger)


def adjustment(debit: str, credit: str) -> bb.UnsignedEntry:
    """Correct one unit from one account to another."""
    return drafts.adjustment(
        [bb.Posting.debit(debit, 1), bb.Posting.credit(credit, 1)],
        purpose=bb.AdjustmentPurpose.CORRECTION,
        reason="it was typed wrongly",
        correlation_id="g",
    )


def days(files: SimulatedFiles, setting: Setting) -> None:
    """Commit over three days, with a restart between two of them, and the clock set back in the end."""
    clock = StillClock(setting.day)
    for day in DAYS[1:]:
        with working(files, setting, clock) as ledger:
            ledger.commit(deposit("A", "5 USDT"))
            promised(files, ledger)
            clock.set(day)
            ledger.commit_batch([deposit("A", "1 BTC"), transfer("A", "B", "1 USDT")])
            promised(files, ledger)
    clock.set(DAYS[1])
    with working(files, setting, clock) as ledger:
        ledger.commit(transfer("A", "B", "1 USDT"))
        promised(files, ledger)


def rotation(files: SimulatedFiles, setting: Setting) -> None:
    """Change the ledger's key between commits."""
    with working(files, setting) as ledger:
        ledger.commit(deposit("A", "5 USDT"))
        promised(files, ledger)
        ledger.keyring.rotate(OTHER_SIGNER, correlation_id="rotate")
        promised(files, ledger)
        ledger.commit_batch([deposit("A", "5 USDT"), transfer("A", "B", "1 USDT")])
        promised(files, ledger)


def killed_and_reopened(files: SimulatedFiles, setting: Setting) -> None:
    """Go on after the process was killed, three times, on the page cache that it left."""
    for number in range(3):
        ledger = open_ledger(files, setting)
        try:
            promised(files, ledger)
            ledger.commit(deposit("A", f"{number + 1} USDT"))
            promised(files, ledger)
            ledger.commit_batch([deposit("B", "1 USDT"), transfer("B", "A", "1 USDT")])
            promised(files, ledger)
        except (bb.BibankError, KeyboardInterrupt):
            ledger.close()
            raise
        files = files.restart()


def reopened_after_failure(files: SimulatedFiles, setting: Setting) -> None:
    """Commit until something fails, kill the process, reopen on what the page cache shows, and go on."""
    try:
        groups(files, setting)
    except (bb.BibankError, KeyboardInterrupt):
        groups_again(files.restart(), setting)


def groups_again(files: SimulatedFiles, setting: Setting) -> None:
    """Open what is there and commit on top of it."""
    with working(files, setting) as ledger:
        ledger.commit(deposit("E", "7 USDT"))
        promised(files, ledger)
        ledger.commit_batch([deposit("E", "1 BTC"), transfer("E", "A", "1 USDT")])
        promised(files, ledger)


UNSIGNED = Setting()
AHEAD = Setting(preallocate_bytes=4096)
SIGNED = Setting(signing="entry", preallocate_bytes=4096)
SIGNED_PLAIN = Setting(signing="entry")
COVERED = Setting(signing="group", preallocate_bytes=2048)
COVERED_PLAIN = Setting(signing="group")

SETTINGS = {
    "unsigned": UNSIGNED,
    "preallocated": AHEAD,
    "signed": SIGNED,
    "signed, appended": SIGNED_PLAIN,
    "group signed": COVERED,
    "group signed, appended": COVERED_PLAIN,
}

WORKLOADS = (
    *(
        Workload(name=f"lone lines, {label}", setting=setting, work=lone_lines, begins="empty")
        for label, setting in SETTINGS.items()
    ),
    *(
        Workload(name=f"{work.__name__.replace('_', ' ')}, {label}", setting=setting, work=work)
        for work in (groups, days, killed_and_reopened)
        for label, setting in SETTINGS.items()
    ),
    *(
        Workload(name=f"trading, {label}", setting=SETTINGS[label], work=trading)
        for label in ("unsigned", "group signed, appended")
    ),
    *(
        Workload(name=f"governing, {label}", setting=SETTINGS[label], work=governing)
        for label in ("group signed, appended",)
    ),
    *(
        Workload(name=f"rotation, {label}", setting=setting, work=rotation)
        for label, setting in SETTINGS.items()
        if setting.signing != "none"
    ),
    *(
        Workload(name=f"owing, {label}", setting=setting, work=owing, begins="torn")
        for label, setting in SETTINGS.items()
    ),
)
"""What is done while the power fails once."""
