"""Random histories for the oracle: what is asked of a ledger, as plain tuples, and how a ledger is asked."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from hypothesis import strategies as st

import bibank as bb
from tests.properties.oracle import Entry, Leg, Oracle, Refusal

ASSETS = ("USDT", "BTC")
OWNERS = ("ALICE", "BOB", "CAROL")
OPENINGS: tuple[dict[str, str], ...] = ({}, {"USDT": "5"}, {"USDT": "1.5", "BTC": "0.00000003"})

# Few and small, so that about every third request asks for too much.
_amounts = st.sampled_from(["1", "2", "3.5", "0.00000001", "7", "0.1", "10"])
_assets = st.sampled_from(ASSETS)
_owners = st.sampled_from(OWNERS)
_pairs = st.permutations(OWNERS).map(lambda owners: owners[:2])


def available(owner: str, asset: str) -> str:
    """An owner's everyday account."""
    return f"LIAB:USER:{owner}:{asset}:AVAILABLE"


def vault(asset: str) -> str:
    """The house's account of an asset."""
    return f"ASSET:SYSTEM:VAULT:{asset}:MAIN"


@st.composite
def _deposits(draw: st.DrawFn) -> Entry:
    owner, asset, amount = draw(_owners), draw(_assets), draw(_amounts)
    return "deposit", ((vault(asset), amount, "debit"), (available(owner, asset), amount, "credit"))


@st.composite
def _withdrawals(draw: st.DrawFn) -> Entry:
    owner, asset, amount = draw(_owners), draw(_assets), draw(_amounts)
    return "withdrawal", ((available(owner, asset), amount, "debit"), (vault(asset), amount, "credit"))


@st.composite
def _transfers(draw: st.DrawFn) -> Entry:
    (payer, payee), asset, amount = draw(_pairs), draw(_assets), draw(_amounts)
    return "transfer", (
        (available(payer, asset), amount, "debit"),
        (available(payee, asset), amount, "credit"),
    )


@st.composite
def _wide_deposits(draw: st.DrawFn) -> Entry:
    """Several assets for one owner, each in two parts, in any order of postings; now and then held money."""
    owner, other = draw(_owners), draw(st.sampled_from(["MAIN", "MAIN", "MAIN", "LOCKED"]))
    legs: list[Leg] = []
    for asset in draw(st.lists(_assets, min_size=1, max_size=2, unique=True)):
        legs += [
            (vault(asset), "3", "debit"),
            (available(owner, asset), "2", "credit"),
            (f"LIAB:USER:{owner}:{asset}:{other}", "1", "credit"),
        ]
    return "deposit", tuple(draw(st.permutations(legs)))


@st.composite
def _wide_transfers(draw: st.DrawFn) -> Entry:
    """Payers who give parts, the same account perhaps twice, and a payee who gets the sum."""
    (payer, other), asset = draw(_pairs), draw(_assets)
    (payee,) = set(OWNERS) - {payer, other}
    legs: list[Leg] = [
        (available(payer, asset), "1", "debit"),
        (available(other, asset), "1.5", "debit"),
        (available(payer, asset), "0.5", "debit"),
        (available(payee, asset), "3", "credit"),
    ]
    return "transfer", tuple(draw(st.permutations(legs)))


@st.composite
def _fees(draw: st.DrawFn) -> Entry:
    owner, asset, amount = draw(_owners), draw(_assets), draw(_amounts)
    revenue = f"REV:SYSTEM:FEE:{asset}:TRADING"
    return "fee", ((available(owner, asset), amount, "debit"), (revenue, amount, "credit"))


@st.composite
def _trades(draw: st.DrawFn) -> Entry:
    (maker, taker), quote, base = draw(_pairs), draw(_amounts), draw(_amounts)
    legs: list[Leg] = [
        (available(maker, "USDT"), quote, "debit"),
        (available(taker, "USDT"), quote, "credit"),
        (available(taker, "BTC"), base, "debit"),
        (available(maker, "BTC"), base, "credit"),
    ]
    return "trade", tuple(draw(st.permutations(legs)))


entries = st.one_of(
    _deposits(), _transfers(), _withdrawals(), _wide_deposits(), _wide_transfers(), _fees(), _trades()
)
batches = st.lists(entries, min_size=1, max_size=4)
groups = st.lists(batches, max_size=4)

Step = tuple[str, list[list[Entry]]]
"""What to do, and with which batches."""

steps = st.one_of(
    entries.map(lambda entry: ("commit", [[entry]])),
    batches.map(lambda batch: ("commit_batch", [batch])),
    groups.map(lambda group: ("commit_each", group)),
    batches.map(lambda batch: ("preview", [batch])),
    st.just(("reopen", [])),
)
histories = st.lists(steps, max_size=25)


def draft(entry: Entry, *, correlation_id: str = "history") -> bb.UnsignedEntry:
    """Write an entry the way a caller would."""
    intent, legs = entry
    return bb.UnsignedEntry(
        intent=bb.TransactionIntent(intent),
        correlation_id=correlation_id,
        postings=[bb.Posting(account, amount, bb.Side(side)) for account, amount, side in legs],
        metadata=_metadata(intent, legs),
    )


def _metadata(intent: str, legs: tuple[Leg, ...]) -> Mapping[str, object]:
    if intent == "fee":
        _, amount, _ = legs[0]
        asset = legs[0][0].split(":")[3]
        return {"fee_amount": amount, "fee_asset": asset, "fee_type": "trading"}
    if intent != "trade":
        return {}
    given = {leg[0].split(":")[3]: leg for leg in legs if leg[2] == "debit"}
    quote, base = Fraction(given["USDT"][1]), Fraction(given["BTC"][1])
    price = quote / base
    exact = (price * 10**8).denominator == 1
    return {
        "trade_id": "t1",
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "base_amount": given["BTC"][1],
        "quote_amount": given["USDT"][1],
        "price": str(bb.Amount.from_units(int(price * 10**8)))
        if exact
        else f"{price.numerator}/{price.denominator}",
        "maker": given["USDT"][0].split(":")[2],
        "taker": given["BTC"][0].split(":")[2],
    }


def as_refusal(error: bb.Refused) -> Refusal:
    """Read what a refusal of the ledger says."""
    if isinstance(error, bb.HoldNotOpen):
        assert error.rule == "holds/1"
        return Refusal(str(error.account), code=error.code)
    assert isinstance(error, bb.InsufficientBalance)
    assert error.rule == "sufficiency/1"
    assert error.account is not None
    assert error.required is not None
    assert error.available is not None
    assert error.shortfall is not None
    assert error.asset == error.account.asset
    return Refusal(str(error.account), error.required.units, error.available.units, error.shortfall.units)


def take(ledger: bb.Ledger, oracle: Oracle, step: Step) -> None:
    """Ask both for the same, and compare what they say: refusals with all their figures, or sequences."""
    kind, asked = step
    if kind == "commit_each":
        _take_each(ledger, oracle, asked)
    elif kind == "preview":
        trial = oracle.copy()
        refusal = trial.commit(asked[0])
        touched = {account for _, legs in asked[0] for account, _, _ in legs}
        changes = {
            account: (oracle.units.get(account, 0), trial.units.get(account, 0)) for account in touched
        }
        assert _previewed(ledger, asked[0]) == (changes if refusal is None else refusal)
    else:
        refusal = oracle.commit(asked[0])
        last = [sequence for sequence, _ in oracle.journal[-len(asked[0]) :]]
        assert _committed(ledger, kind, asked[0]) == (last if refusal is None else refusal)


def _take_each(ledger: bb.Ledger, oracle: Oracle, asked: list[list[Entry]]) -> None:
    before = len(oracle.journal)
    wanted = [oracle.commit(batch) for batch in asked]
    outcomes = ledger.commit_each([[draft(entry) for entry in batch] for batch in asked])
    said = [as_refusal(outcome) if isinstance(outcome, bb.Refused) else None for outcome in outcomes]
    assert said == wanted
    sequences = [sequence for item in outcomes.committed for sequence in item.sequences]
    assert sequences == [sequence for sequence, _ in oracle.journal[before:]]


def _committed(ledger: bb.Ledger, kind: str, batch: list[Entry]) -> list[int] | Refusal:
    drafts = [draft(entry) for entry in batch]
    try:
        lines = (ledger.commit(drafts[0]),) if kind == "commit" else ledger.commit_batch(drafts)
    except bb.Refused as error:
        return as_refusal(error)
    return [line.sequence for line in lines]


def _previewed(ledger: bb.Ledger, batch: list[Entry]) -> dict[str, tuple[int, int]] | Refusal:
    try:
        changes = ledger.preview([draft(entry) for entry in batch])
    except bb.Refused as error:
        return as_refusal(error)
    return {str(row.account): (row.before.units, row.after.units) for row in changes}


def check_agreement(ledger: bb.Ledger, oracle: Oracle) -> None:
    """Demand that balances, sequences and order are the oracle's."""
    assert {str(row.account): row.balance.units for row in ledger.accounts()} == oracle.units
    assert ledger.head.sequence == oracle.sequence
    journal = [
        (
            entry.sequence,
            (
                entry.intent.value,
                tuple((str(p.account), str(p.amount), p.side.value) for p in entry.postings),
            ),
        )
        for entry in ledger.entries()
    ]
    assert journal == oracle.journal
