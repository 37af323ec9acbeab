"""Random histories of all verbs: what is asked, how a ledger is asked, and how the answers are compared."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

import bibank as bb
from bibank import drafts
from bibank.verbs import Verbs
from tests.properties.verb_oracle import Books, Request, account, locked, price, text

NOON = datetime(2026, 1, 25, 12, tzinfo=UTC)
ASSETS = ("USDT", "BTC")
OWNERS = ("ALICE", "BOB", "SYSTEM:DESK")
OPENING = {"USDT": 900_000_000, "BTC": 3}
MOMENTS = (-3_600, 0, 60, 3_600)

# Few and small, so that requests meet, and about every third asks for too much.
_units = st.sampled_from([1, 2, 100_000_000, 250_000_000, 700_000_000])
_ats = st.sampled_from([None, None, None, *MOMENTS])
_assets, _owners = st.sampled_from(ASSETS), st.sampled_from(OWNERS)
_pairs = st.permutations(OWNERS).map(lambda owners: owners[:2])
_sequences = st.integers(1, 30)
keys = st.sampled_from([None, None, "k1", "k2", 'k"3"'])
"""The keys of requests: few, so that they are used again, one that has to be escaped."""


class MovedClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 0

    def now(self) -> datetime:
        """Give the time that was set."""
        return moment(self.seconds)


def moment(seconds: int) -> datetime:
    """Give a time by its distance from noon."""
    return NOON + timedelta(seconds=seconds)


def _requests(verb: str, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Request]:
    return st.tuples(st.just(verb), st.fixed_dictionaries({**arguments, "at": _ats}))


_moved = {"owner": _owners, "asset": _assets, "units": _units}
_fees = st.fixed_dictionaries({**_moved, "kind": st.sampled_from(["trading", "margin"]), "at": st.just(None)})


@st.composite
def _transfers(draw: st.DrawFn) -> Request:
    (payer, payee), asset, units, at = draw(_pairs), draw(_assets), draw(_units), draw(_ats)
    return "transfer", {"owner": payer, "payee": payee, "asset": asset, "units": units, "at": at}


@st.composite
def _trades(draw: st.DrawFn) -> Request:
    (maker, taker), (given, received) = draw(_pairs), draw(st.permutations(ASSETS))
    return "trade", {
        "maker": maker,
        "taker": taker,
        "given": given,
        "received": received,
        "given_units": draw(_units),
        "received_units": draw(_units),
        "fees": draw(st.lists(_fees, max_size=2)),
        "at": None,
    }


simple = st.one_of(
    _requests("deposit", **_moved),
    _requests("deposit", **_moved),
    _transfers(),
    _trades(),
    _requests("withdraw", **_moved),
    _requests("fee", **_moved, kind=st.sampled_from(["trading", "withdrawal"])),
)
"""Requests that need no earlier line."""

holds = _requests(
    "hold",
    **_moved,
    payee=st.sampled_from([None, *OWNERS, "SHOP"]),
    expires=st.sampled_from([None, None, *MOMENTS]),
)
endings = st.one_of(
    _requests("post_hold", sequence=_sequences, units=st.sampled_from([None, 0, 1, 10**8, 9 * 10**8])),
    _requests("void_hold", sequence=_sequences),
    _requests("reverse", sequence=_sequences, units=st.sampled_from([None, None, 1, 10**8])),
)
requests = st.one_of(simple, holds, endings)

# --------------------------------------------------------------------------- asking a ledger


def party(owner: str, asset: str) -> bb.AccountKey | str:
    """Name an owner as a caller would: a house desk by its exact account."""
    return bb.AccountKey(account(owner, asset)) if ":" in owner else owner


def _money(asked: dict[str, Any], name: str = "") -> bb.Money:
    return bb.Money(text(asked[f"{name}_units" if name else "units"]), asked[name or "asset"])


def _at(asked: dict[str, Any], name: str = "at") -> datetime | None:
    return None if asked[name] is None else moment(asked[name])


def _trade(asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "maker": party(asked["maker"], asked["given"]),
        "maker_gives": _money(asked, "given"),
        "taker": party(asked["taker"], asked["received"]),
        "taker_gives": _money(asked, "received"),
        "trade_id": "t1",
    }


def _fee(asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "payer": party(asked["owner"], asked["asset"]),
        "money": _money(asked),
        "kind": bb.FeeKind(asked["kind"]),
    }


def call(verbs: Verbs[Any, Any, Any, Any], request: Request, **common: Any) -> Any:
    """Ask for one verb."""
    verb, asked = request
    if asked["at"] is not None:
        common["effective_at"] = _at(asked)
    match verb:
        case "deposit" | "withdraw":
            return getattr(verbs, verb)(party(asked["owner"], asked["asset"]), _money(asked), **common)
        case "transfer":
            payer, payee = (party(asked[name], asked["asset"]) for name in ("owner", "payee"))
            return verbs.transfer(payer, payee, _money(asked), **common)
        case "fee":
            return verbs.fee(**_fee(asked), **common)
        case "trade":
            fees = [bb.TradeFee(**_fee(fee)) for fee in asked["fees"]]
            return verbs.trade(**_trade(asked), fees=fees, **common)
        case "hold":
            owner, payee = party(asked["owner"], asked["asset"]), asked["payee"]
            to = bb.WITHDRAWAL if payee is None else party(payee, asked["asset"])
            return verbs.hold(owner, _money(asked), to=to, expires_at=_at(asked, "expires"), **common)
        case "post_hold" | "reverse":
            part = None if asked["units"] is None else text(asked["units"])
            return getattr(verbs, verb)(asked["sequence"], part, **common)
        case _:
            return verbs.void_hold(asked["sequence"], **common)


def drafts_of(requests: list[Request]) -> list[bb.UnsignedEntry]:
    """Write what simple requests ask for by hand."""
    found = []
    for verb, asked in requests:
        common: dict[str, Any] = {"correlation_id": "drafts", "effective_at": _at(asked)}
        if verb == "trade":
            found.append(drafts.trade(**_trade(asked), **common))
            found += [drafts.fee(**_fee(fee), **common) for fee in asked["fees"]]
        elif verb == "fee":
            found.append(drafts.fee(**_fee(asked), **common))
        elif verb == "transfer":
            payer, payee = (party(asked[name], asked["asset"]) for name in ("owner", "payee"))
            found.append(drafts.transfer(payer, payee, _money(asked), **common))
        else:
            make: Callable[..., bb.UnsignedEntry] = drafts.deposit if verb == "deposit" else drafts.withdrawal
            found.append(make(party(asked["owner"], asked["asset"]), _money(asked), **common))
    return found


def sequences_of(result: Any) -> tuple[int, ...]:
    """Read which entries a verb came to, whatever its shape."""
    if isinstance(result, bb.Hold):
        return (result.id,)
    if isinstance(result, bb.Trade):
        return (result.entry.sequence, *(fee.sequence for fee in result.fees))
    if isinstance(result, bb.JournalEntry):
        return (result.sequence,)
    return tuple(entry.sequence for entry in result)


def ask(ledger: bb.Ledger, mode: str, asked: list[Request], key: str | None, trace: str) -> Any:
    """Ask a ledger for requests in one of three ways; give sequences or the code of the error."""
    try:
        if mode == "one":
            return sequences_of(call(ledger, asked[0], idempotency_key=key, correlation_id=trace))
        if mode == "drafts":
            return sequences_of(ledger.commit_batch(drafts_of(asked), idempotency_key=key))
        with ledger.batch(correlation_id=trace, idempotency_key=key) as batch:
            for request in asked:
                call(batch, request)
        return sequences_of(batch.entries)
    except bb.BibankError as error:
        return error.code


def ask_each(ledger: bb.Ledger, items: list[tuple[list[Request], str | None]]) -> list[Any]:
    """Ask a ledger for many independent batches of drafts."""
    given: list[Any] = []
    for asked, key in items:
        entries = drafts_of(asked)
        given.append(entries if key is None else bb.Keyed(entries=entries, idempotency_key=key))
    return [
        tuple(outcome.sequences) if isinstance(outcome, bb.Committed) else outcome.code
        for outcome in ledger.commit_each(given)
    ]


def preview(ledger: bb.Ledger, asked: list[Request]) -> Any:
    """Look at a batch without committing it: the balances after it, or the code of the error."""
    unwanted = KeyError("not committed")
    try:
        with ledger.batch(correlation_id="look") as batch:
            for request in asked:
                call(batch, request)
            rows = batch.preview()
            raise unwanted
    except bb.BibankError as error:
        return error.code
    except KeyError:
        return {str(row.account): row.after.units for row in rows}


# --------------------------------------------------------------------------- comparing


def check_books(ledger: bb.Ledger, books: Books) -> None:
    """Demand that balances, holds, lines and what ties them are the oracle's, and that the books balance."""
    assert {str(row.account): row.balance.units for row in ledger.accounts()} == books.units
    assert ledger.head.sequence == books.sequence
    for asset in ASSETS:
        sums = dict.fromkeys(("ASSET", "EXP", "LIAB", "EQUITY", "REV"), 0)
        for name, units in books.units.items():
            if name.split(":")[3] == asset:
                sums[name.split(":")[0]] += units
        assert sums["ASSET"] + sums["EXP"] == sums["LIAB"] + sums["EQUITY"] + sums["REV"]
    found = [
        (hold.id, str(hold.account), hold.money.amount.units, hold.payee and str(hold.payee), hold.expires_at)
        for hold in ledger.holds()
    ]
    assert found == [
        (number, hold["account"], hold["units"], hold["payee"], _at(hold, "expires"))
        for number, hold in sorted(books.holds.items())
    ]
    for owner in ("ALICE", "BOB", "SHOP"):
        for balance in ledger.balances(owner):
            name = account(owner, balance.asset)
            held = sum(hold["units"] for hold in books.holds.values() if hold["account"] == name)
            assert (balance.pending.units, balance.available.units) == (held, books.units.get(name, 0))
            assert balance.posted.units == held + books.units.get(name, 0)
            assert held == books.units.get(locked(name), 0)


def check_lines(ledger: bb.Ledger, books: Books) -> None:
    """Demand that every entry is the oracle's: postings, links, cause, key and effective time."""
    bearers = {sequences[0]: key for key, (_, sequences) in books.keys.items()}
    entries = ledger.entries()
    assert [entry.sequence for entry in entries] == sorted(books.journal)
    for entry in entries:
        naive = books.journal[entry.sequence]
        assert (entry.intent.value, _legs(entry)) == (naive.intent, naive.legs)
        cause = next((n for n in (naive.hold, naive.reverses, naive.trade) if n is not None), None)
        assert entry.causality_id == (None if cause is None else str(cause))
        for name, expected in (
            ("bb.hold", naive.hold),
            ("bb.reverses", naive.reverses),
            ("related_trade_sequence", naive.trade),
            ("bb.idempotency_key", bearers.get(entry.sequence)),
            ("bb.effective_at", None if naive.at is None else f"{moment(naive.at):%Y-%m-%dT%H:%M:%SZ}"),
        ):
            assert entry.metadata.get(name) == (None if expected is None else str(expected)), name
        for asset in ASSETS:
            legs = [p for p in entry.postings if p.account.asset == asset]
            assert sum(p.amount.units * (1 if p.side is bb.Side.DEBIT else -1) for p in legs) == 0
        if naive.intent == "trade" and naive.reverses is None:
            moved = {name.split(":")[3]: abs(units) for name, units, side in naive.legs if side == "debit"}
            base, quote = (str(entry.metadata[name]) for name in ("base_asset", "quote_asset"))
            assert entry.metadata["price"] == price(moved[base], moved[quote])


def _legs(entry: bb.JournalEntry) -> tuple[tuple[str, int, str], ...]:
    return tuple(
        (
            str(p.account),
            p.amount.units
            * (1 if (p.side.value == "debit") == (p.account.category.value in ("ASSET", "EXP")) else -1),
            p.side.value,
        )
        for p in entry.postings
    )
