"""The spending limit against a list of everything that was ever spent, its advice, and how large it gets."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bibank as bb
from bibank.model.json_value import EMPTY_MAP
from bibank.model.record import RecordKind
from bibank.risk.spends import Spends
from bibank.risk.view import StateValue
from bibank.rules import RiskEngine, RuleState, SpendingLimit, StampedRecord
from bibank.stores import MemoryStore
from tests.risk.judging import EPOCH, NOON, Leg, judge, liability, moment, moving, paying, remember

ASSETS = ("BTC", "USDT")
OWNERS = ("ALICE", "BOB", "SYSTEM:HOUSE")
MICROSECOND = timedelta(microseconds=1)


# --------------------------------------------------------------------------- the oracle


@attrs.define
class SlowLimit:
    """All that anybody ever spent, in a list that is read from its beginning each time."""

    asset: str
    limit: int
    window: int
    owners: tuple[str, ...] | None
    spends: list[tuple[int, str, int]] = attrs.Factory(list)

    def outflows(self, legs: list[Leg]) -> Iterator[tuple[str, int]]:
        """Give what each owner loses in the asset, in the order of the legs."""
        owners = [leg[0].removeprefix("USER:").rsplit(":", 2)[0] for leg in legs]
        for owner in dict.fromkeys(owners):
            lost = -sum(
                units
                for (account, units), other in zip(legs, owners, strict=True)
                if other == owner and account.split(":")[2] == self.asset
            )
            if lost > 0 and (self.owners is None or owner in self.owners):
                yield owner, lost

    def refusal(self, legs: list[Leg], now: int) -> tuple[str, int, int] | None:
        """Say who must not spend, how much was required and how much would pass; None if all may."""
        for owner, lost in self.outflows(legs):
            spent = sum(
                units for time, other, units in self.spends if other == owner and time > now - self.window
            )
            if spent + lost > self.limit:
                return owner, lost, self.limit - spent
        return None

    def commit(self, batch: list[list[Leg]], now: int) -> tuple[str, int, int] | None:
        """Note the spends of a batch, or none of them and say who is refused."""
        before = list(self.spends)
        for legs in batch:
            if (refused := self.refusal(legs, now)) is not None:
                self.spends = before
                return refused
            self.spends += [(now, owner, lost) for owner, lost in self.outflows(legs)]
        return None


# --------------------------------------------------------------------------- histories


@attrs.frozen
class Step:
    """What happens to a ledger after a while: a batch is committed or previewed, or it restarts."""

    what: str
    later: int
    batch: list[list[Leg]]


@st.composite
def entries(draw: st.DrawFn, most: int) -> list[Leg]:
    """Draw the legs of a transfer between accounts of few owners, or of one among its own."""
    units = st.sampled_from([1, 1, most // 2, most // 2 + 1, most - 1, most]).map(
        lambda number: max(1, number)
    )
    names = draw(
        st.lists(
            st.tuples(st.sampled_from([OWNERS[0], *OWNERS]), st.sampled_from(["AVAILABLE", "SAVINGS"])),
            min_size=2,
            max_size=draw(st.sampled_from([2, 2, 4])),
            unique=True,
        )
    )
    legs: list[Leg] = []
    for asset in draw(st.sampled_from([*[("USDT",)] * 4, ("BTC",), ASSETS])):
        accounts = [liability(owner, asset, sub_account) for owner, sub_account in names]
        cut = draw(st.integers(1, len(accounts) - 1))
        paid = [draw(units) for _ in accounts[:cut]]
        rest = sum(paid) - len(accounts[cut:])
        if rest < 0:
            paid[0] -= rest
            rest = 0
        got = [1] * len(accounts[cut:])
        got[draw(st.integers(0, len(got) - 1))] += rest
        legs += [(account, -units) for account, units in zip(accounts[:cut], paid, strict=True)]
        legs += list(zip(accounts[cut:], got, strict=True))
    return legs


@st.composite
def scenes(draw: st.DrawFn) -> tuple[SpendingLimit, list[Step]]:
    """Draw a limit and what happens under it: times cluster around the edges of its window."""
    window = draw(st.sampled_from([1, 10, 10, 10, 10**6, 86_400 * 10**6]))
    limit = draw(st.sampled_from([0, 10, 100, 100]))
    rule = SpendingLimit(
        name="limit/1",
        money=bb.Money(bb.Amount.from_units(limit), "USDT"),
        window=window * MICROSECOND,
        owners=draw(st.sampled_from([None, None, OWNERS[:1], OWNERS[1:]])),
    )
    half = window // 2
    edges = st.sampled_from([0, 0, 1, half, half, window - half, window - half, window - 1, window, -1])
    steps = st.builds(
        Step,
        st.sampled_from([*["commit"] * 6, "preview", "restart"]),
        st.one_of(edges, edges, edges, st.integers(0, 2 * window)),
        st.lists(entries(limit), min_size=1, max_size=2),
    )
    return rule, draw(st.lists(steps, min_size=draw(st.sampled_from([0, 12])), max_size=30))


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.moment = NOON

    def now(self) -> datetime:
        """Give the time that was set."""
        return self.moment


FUNDS = [
    [(liability(owner, asset, sub), 10**9)]
    for owner in OWNERS
    for asset in ASSETS
    for sub in ("AVAILABLE", "SAVINGS")
]


def deposit_of(legs: list[Leg]) -> bb.UnsignedEntry:
    """Make a deposit."""
    return attrs.evolve(moving(legs), intent=bb.TransactionIntent.DEPOSIT)


def opened(store: MemoryStore, rule: SpendingLimit, clock: SetClock) -> tuple[bb.Ledger, RiskEngine]:
    """Open a store under a rule: what the rule knows, it has from the journal."""
    engine = RiskEngine([attrs.evolve(rule)])
    return bb.Ledger(store=store, risk=engine, clock=clock), engine


def known(engine: Any) -> dict[str, StateValue]:
    """Show what the rule of an engine remembers."""
    return dict(engine._judges[0][2])


def figures(error: bb.Refused) -> tuple[str, int, int]:
    """Show what a refusal of the limit says, in the words of the oracle."""
    assert (error.rule, error.asset) == ("limit/1", "USDT")
    assert error.account is not None
    assert error.required is not None
    assert error.available is not None
    assert error.required - error.available == error.shortfall
    return error.account.owner, error.required.units, error.available.units


@given(scenes())
def test_decisions_are_those_of_the_whole_list(scene: tuple[SpendingLimit, list[Step]]) -> None:
    """Whatever happened, with batches, refusals, previews and restarts, each decision and figure is right."""
    rule, steps = scene
    oracle = SlowLimit(
        asset="USDT",
        limit=rule.money.amount.units,
        window=rule.window // MICROSECOND,
        owners=rule.owners,
    )
    clock, store = SetClock(), MemoryStore()
    ledger, engine = opened(store, rule, clock)
    ledger.commit_batch([deposit_of(legs) for legs in FUNDS])
    last = clock.moment
    for step in steps:
        clock.moment += step.later * MICROSECOND
        now = max(clock.moment, last)
        if step.what == "restart":
            before = known(engine)
            ledger, engine = opened(store, rule, clock)
            assert known(engine) == before
            continue
        noted = list(oracle.spends)
        expected = oracle.commit(step.batch, (now - EPOCH) // MICROSECOND)
        drafts = [moving(legs) for legs in step.batch]
        act = ledger.preview if step.what == "preview" else ledger.commit_batch
        if expected is not None:
            with pytest.raises(bb.Refused) as caught:
                act(drafts)
            assert figures(caught.value) == expected
            continue
        act(drafts)
        if step.what == "preview":
            oracle.spends = noted
        else:
            last = now


def test_limit_holds_across_a_restart_of_a_home(tmp_path: Path) -> None:
    """A process that opens the home knows what was spent, to the microsecond."""
    clock = SetClock()
    rule = SpendingLimit(name="daily-limit/1", money="100 USDT", window=timedelta(days=1))
    home = tmp_path / "books"
    with bb.Ledger.create(home, risk=RiskEngine([rule]), clock=clock) as ledger:
        ledger.deposit("ALICE", "500 USDT", correlation_id="r")
        ledger.transfer("ALICE", "BOB", "60 USDT", correlation_id="r")
    clock.moment += timedelta(days=1) - MICROSECOND
    with bb.Ledger.open(home, risk=RiskEngine([rule]), clock=clock) as ledger:
        with pytest.raises(bb.Refused) as caught:
            ledger.withdraw("ALICE", "40.00000001 USDT", correlation_id="r")
        assert str(caught.value) == (
            "ALICE would give away 100.00000001 USDT within 1 day, 0:00:00, the limit is 100 USDT; "
            "at most 40 USDT would pass now, 40.00000001 USDT from 2026-01-26T12:00:00Z on"
        )
        ledger.withdraw("ALICE", "40 USDT", correlation_id="r")
    clock.moment += MICROSECOND
    with bb.Ledger.open(home, risk=RiskEngine([rule]), clock=clock) as ledger:
        ledger.transfer("ALICE", "BOB", "60 USDT", correlation_id="r")
        with pytest.raises(bb.Refused, match="nothing would pass now"):
            ledger.transfer("ALICE", "BOB", "0.00000001 USDT", correlation_id="r")


# --------------------------------------------------------------------------- what it judges


def limit_of(units: int, *, window: int = 10, owners: tuple[str, ...] | None = None) -> SpendingLimit:
    """Make a limit of so many units in so many microseconds."""
    money = bb.Money(bb.Amount.from_units(units), "USDT")
    return SpendingLimit(name="limit/1", money=money, window=window * MICROSECOND, owners=owners)


def test_exactly_the_limit_passes() -> None:
    """At the limit an entry passes, one unit above it does not."""
    assert judge(limit_of(50), paying(50)) is None
    refused = judge(limit_of(50), paying(51))
    assert refused is not None
    assert refused.advice == "at most 0.0000005 USDT would pass"


@pytest.mark.parametrize(("age", "passes"), [(0, False), (9, False), (10, True), (11, True)])
def test_edge_of_the_window(age: int, passes: object) -> None:
    """A spend counts until just before the window has passed since it, and no longer."""
    rule, state = limit_of(50), RuleState([])
    remember(rule, paying(50), state=state, now=moment(100))
    assert (judge(rule, paying(1), state=state, now=moment(100 + age)) is None) is passes


def test_all_small_histories() -> None:
    """Every history of four spends of 1 to 3 units, 0 to 3 microseconds apart, under a limit of 3 in 3."""
    rule = limit_of(3, window=3)
    drafts = {units: paying(units) for units in (1, 2, 3)}
    for history in product(range(4), (1, 2, 3), repeat=4):
        oracle = SlowLimit(asset="USDT", limit=3, window=3, owners=None)
        state, now = RuleState([]), 10
        for later, units in zip(history[::2], history[1::2], strict=True):
            now += later
            legs = [(liability("ALICE"), -units), (liability("BOB"), units)]
            refused = judge(rule, drafts[units], state=state, now=moment(now))
            assert (refused is None) == (oracle.commit([legs], now) is None), history
            if refused is None:
                remember(rule, drafts[units], state=state, now=moment(now))


def test_what_is_over_is_forgotten() -> None:
    """The spend that no longer counts leaves the memory with the next entry, at the same microsecond."""
    rule, state = limit_of(50), RuleState([])
    remember(rule, paying(50), state=state, now=moment(100))
    other = paying(1, asset="BTC")
    remember(rule, other, state=state, now=moment(109))
    assert state
    remember(rule, other, state=state, now=moment(110))
    assert not state


def test_hold_is_no_spend_and_its_payment_is() -> None:
    """Own money that moves to LOCKED has not left its owner; out of LOCKED to somebody else it has."""
    rule = limit_of(10)
    hold = moving([(liability("ALICE"), -99), (liability("ALICE", sub_account="LOCKED"), 99)])
    post = moving(
        [
            (liability("ALICE", sub_account="LOCKED"), -99),
            (liability("BOB"), 11),
            (liability("ALICE"), 88),
        ]
    )
    assert judge(rule, hold) is None
    refused = judge(rule, post)
    assert refused is not None
    assert refused.account is not None
    assert (refused.account.text, str(refused.required)) == ("LIAB:USER:ALICE:USDT:LOCKED", "0.00000011")
    assert judge(limit_of(11), post) is None


def test_what_comes_in_gives_nothing_back() -> None:
    """Receiving does not renew the limit."""
    rule, state = limit_of(10), RuleState([])
    remember(rule, paying(10), state=state)
    remember(rule, paying(10, payer="BOB", payee="ALICE"), state=state)
    assert judge(rule, paying(1), state=state) is not None


def test_each_owner_by_itself() -> None:
    """One owner's spends are no other's; whom the rule does not list, it does not limit; nor other assets."""
    rule, state = limit_of(10, owners=("ALICE", "BOB")), RuleState([])
    remember(rule, paying(10), state=state)
    assert judge(rule, paying(10, payer="BOB", payee="ALICE"), state=state) is None
    assert judge(rule, paying(11, payer="BOB", payee="ALICE"), state=state) is not None
    assert judge(rule, paying(99, payer="CAROL"), state=state) is None
    assert judge(rule, paying(99, asset="BTC"), state=state) is None
    assert judge(limit_of(10), paying(11, payer="SYSTEM:HOUSE")) is not None
    assert judge(limit_of(0), paying(1)) is not None


def test_lowered_limit() -> None:
    """A limit below what was spent already refuses everything, and says that nothing passes."""
    state = RuleState([])
    remember(limit_of(100), paying(80), state=state, now=moment(5))
    refused = judge(limit_of(50), paying(60), state=state, now=moment(6))
    assert refused is not None
    assert refused.advice == "nothing would pass now, and never more than 0.0000005 USDT"
    assert (str(refused.available), str(refused.shortfall)) == ("0", "0.0000006")


def test_records_are_not_noted() -> None:
    """A line that moves no money changes nothing in the memory."""
    state = RuleState([])
    record = StampedRecord(
        sequence=2,
        timestamp=NOON,
        kind=next(iter(RecordKind)),
        subject="s",
        correlation_id="r",
        causality_id=None,
        body=EMPTY_MAP,
    )
    limit_of(1).apply(record, state)
    assert not state


def test_end_of_time() -> None:
    """Near the last year that a time can have, the advice leaves out what it cannot say."""
    rule = SpendingLimit(name="limit/1", money="1 USDT", window=timedelta(days=366))
    state, late = RuleState([]), datetime(9999, 12, 1, tzinfo=UTC)
    remember(rule, paying(10**8), state=state, now=late)
    refused = judge(rule, paying(1), state=state, now=late)
    assert refused is not None
    assert refused.advice == "nothing would pass now"


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(1, 40)), max_size=12),
    st.integers(0, 12),
    st.integers(1, 120),
)
def test_advice_is_true(history: list[tuple[int, int]], later: int, wanted: int) -> None:
    """What is said to pass now passes, and a unit more does not; what is said for later, not before."""
    rule, state, time = limit_of(100), RuleState([]), 1000
    for step, units in history:
        time += step
        if judge(rule, paying(units), state=state, now=moment(time)) is None:
            remember(rule, paying(units), state=state, now=moment(time))
    time += later
    refused = judge(rule, paying(wanted), state=state, now=moment(time))
    if refused is None:
        return

    def passes(units: int, at: datetime) -> bool:
        return judge(rule, paying(units), state=state, now=at) is None

    assert refused.available is not None
    available = refused.available.units
    assert not passes(available + 1, moment(time))
    now = moment(time)
    head, _, tail = refused.advice.partition(" would pass")
    if available:
        assert head == f"at most {refused.available} USDT"
        assert passes(available, now)
    else:
        assert head == "nothing"
    if " from " in tail:
        amount, then = tail.removeprefix(" now, ").removesuffix(" on").split(" USDT from ")
        moment_then = datetime.fromisoformat(then)
        assert bb.Amount(amount).units == wanted
        assert passes(wanted, moment_then)
        assert not passes(wanted, moment_then - MICROSECOND)
    elif tail:
        assert tail == " now, and never more than 0.000001 USDT"
        assert wanted > 100


# --------------------------------------------------------------------------- size and cost


def test_memory_is_of_one_window() -> None:
    """After 10,000 spends over many windows, the memory holds those of one window, and then nothing."""
    rule, undo = limit_of(10**9, window=100), list[Any]()
    state = RuleState(undo)
    most = 0
    for number in range(10_000):
        owner = f"U{number % 7}"
        remember(rule, paying(1, payer=owner, payee="BOB"), state=state, now=moment(number))
        undo.clear()
        most = max(most, len(state))
    assert most <= 2 * (100 + 2) + 7 + 1  # two for each spend, one for each owner, one for the queue
    for number in range(200):
        remember(rule, paying(1, payer="CAROL", asset="BTC"), state=state, now=moment(10_200 + number))
    assert dict(state) == {}


class Counted(MutableMapping[str, StateValue]):
    """A memory that counts how often it is asked."""

    def __init__(self) -> None:
        self.values_: dict[str, StateValue] = {}
        self.asked = 0

    def __getitem__(self, key: str) -> StateValue:
        self.asked += 1
        return self.values_[key]

    def __setitem__(self, key: str, value: StateValue) -> None:
        self.asked += 1
        self.values_[key] = value

    def __delitem__(self, key: str) -> None:
        self.asked += 1
        del self.values_[key]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("nobody reads the whole memory")

    def __len__(self) -> int:
        raise AssertionError("nobody reads the whole memory")


def test_cost_does_not_grow_with_the_spends() -> None:
    """With 20,000 spends, over or not, a few look-ups do, also when all of them expire at once."""
    memory: Any = Counted()
    rule = limit_of(10**9, window=10**6)
    for number in range(20_000):
        Spends(memory).record("ALICE", 1, time=number)
    for now in (20_000, 10**6 + 10_000, 10**7):
        memory.asked = 0
        judge(rule, paying(1), state=memory, now=moment(now))
        judge(rule, paying(10**9 - 10), state=memory, now=moment(now))
        judge(rule, paying(10**9), state=memory, now=moment(now))
        assert memory.asked < 150
    memory.asked = 0
    remember(rule, paying(1), state=memory, now=moment(10**7))
    assert memory.asked < 30


# --------------------------------------------------------------------------- what it is made of


@pytest.mark.parametrize("days", [0, -1, 367])
def test_windows_that_are_refused(days: int) -> None:
    """A window is above zero and at most 366 days."""
    with pytest.raises(bb.InvalidValue):
        SpendingLimit(name="limit/1", money="1 USDT", window=timedelta(days=days))
    with pytest.raises(bb.InvalidValue):
        SpendingLimit(name="limit/1", money="1 USDT", window=timedelta(days=366, microseconds=1))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"window": 10}, bb.InvalidType),
        ({"window": None}, bb.InvalidType),
        ({"owners": ()}, bb.InvalidValue),
        ({"owners": "ALICE"}, bb.InvalidType),
        ({"owners": ["alice"]}, bb.InvalidValue),
        ({"money": 100}, bb.InvalidType),
        ({"money": "100"}, bb.InvalidValue),
        ({"money": "-1 USDT"}, bb.InvalidValue),
        ({"name": "limit"}, bb.InvalidValue),
        ({"name": None}, bb.InvalidType),
    ],
)
def test_limits_that_cannot_be_made(change: dict[str, Any], error: type[Exception]) -> None:
    """A limit that exists makes sense."""
    right: dict[str, Any] = {"name": "limit/1", "money": "1 USDT", "window": timedelta(days=1)}
    with pytest.raises(error):
        SpendingLimit(**{**right, **change})
