"""The public strategies: everything drawn is valid, and Hypothesis finds them by type."""

import json
import subprocess
import sys
import tomllib
import unicodedata
from collections import Counter
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from bibank.errors import BibankError
from bibank.journal.batches import PreparedBatch
from bibank.journal.genesis import genesis_batch
from bibank.journal.intents import check_intent
from bibank.journal.machine import LedgerMachine
from bibank.model.account import AccountKey
from bibank.model.amount import MAX_UNITS, MIN_UNITS, Amount, SignedAmount
from bibank.model.entry import Posting, TransactionIntent, UnsignedEntry
from bibank.model.genesis import GenesisMark
from bibank.model.json_value import FrozenMap
from bibank.model.keyring import Keyring
from bibank.model.money import Money
from bibank.risk.engine import RiskEngine
from bibank.signing.trust import KeyringTrust
from bibank.testing import _hypothesis_entry, strategies
from bibank.testing.strategies import History

ROOT = Path(__file__).parents[2]
TYPES: list[type[Any]] = [
    AccountKey,
    Amount,
    FrozenMap,
    GenesisMark,
    Money,
    Posting,
    SignedAmount,
    UnsignedEntry,
]


def test_every_name_is_listed() -> None:
    """`__all__` is sorted and names strategies and the history."""
    assert strategies.__all__ == sorted(strategies.__all__)
    for name in strategies.__all__[1:]:
        drawn: st.SearchStrategy[Any] = getattr(strategies, name)()
        assert isinstance(drawn, st.SearchStrategy)


@pytest.mark.parametrize(
    ("strategy", "wanted"),
    [
        (strategies.amounts(), lambda a: a.units == MAX_UNITS),
        (strategies.amounts(), lambda a: a.units == 0),
        (strategies.amounts(min_units=1), lambda a: a.units == 1),
        (strategies.signed_amounts(), lambda a: a.units < -(2**100)),
        (strategies.signed_amounts(max_units=-1), lambda a: a.units < 0),
        (strategies.assets(), lambda text: len(text) == 64),
        (strategies.assets(), lambda text: "_" in text),
        (strategies.account_keys(), lambda key: len(key.id) == 64),
        (strategies.identifiers(), lambda text: len(text) == 128),
        (strategies.identifiers(), lambda text: '"' in text and "\\" in text),
        (strategies.metadata(), lambda m: any(isinstance(v, str) and not v.isascii() for v in m.values())),
        (strategies.metadata(), lambda m: '{"' in json.dumps(list(m.values()))),
        (strategies.metadata(), lambda m: 2**53 - 1 in m.values()),
        (strategies.postings(), lambda legs: len({p.account.asset for p in legs}) == 3),
        (strategies.unsigned_entries(TransactionIntent.GENESIS), lambda entry: not entry.postings),
        (strategies.unsigned_entries(TransactionIntent.TRADE), lambda entry: len(entry.postings) > 4),
        (strategies.unsigned_entries(TransactionIntent.TRADE), lambda entry: "/" in entry.metadata["price"]),
        (strategies.batches(), lambda batch: len(batch) == 4),
        (strategies.histories(), lambda history: len(history.batches) > 4),
        (strategies.histories(), lambda history: not history.batches and not history.opening),
    ],
    ids=range(20),
)
def test_edges_are_drawn(strategy: st.SearchStrategy[Any], wanted: Any) -> None:
    """The extremes come up within a few hundred examples."""
    quick = settings(max_examples=2_000, database=None, deadline=None, phases=[Phase.generate])
    find(strategy, wanted, settings=quick)


@given(strategies.amounts(min_units=5, max_units=9), strategies.signed_amounts(min_units=-3, max_units=3))
def test_bounds_are_kept(amount: Amount, signed: SignedAmount) -> None:
    """Minimum and maximum are inclusive."""
    assert 5 <= amount.units <= 9
    assert -3 <= signed.units <= 3
    assert signed.units >= MIN_UNITS


entries_with_intents = st.sampled_from(TransactionIntent).flatmap(
    lambda intent: st.tuples(st.just(intent), strategies.unsigned_entries(intent))
)


@given(entries_with_intents)
def test_entries_are_of_the_intent_asked_for(drawn: tuple[TransactionIntent, UnsignedEntry]) -> None:
    """An entry of each intent satisfies its row of the table."""
    intent, entry = drawn
    assert entry.intent is intent
    check_intent(intent, entry.postings, entry.metadata)


@given(strategies.batches(max_size=2))
def test_batches_hold_no_genesis(batch: tuple[UnsignedEntry, ...]) -> None:
    """What is drawn without an intent can stand in a ledger that exists."""
    assert 1 <= len(batch) <= 2
    assert all(entry.intent is not TransactionIntent.GENESIS for entry in batch)
    PreparedBatch(batch)


@given(strategies.metadata())
def test_metadata_is_clean(metadata: dict[str, Any]) -> None:
    """Texts are NFC, and `json` writes the whole."""
    text = json.dumps(metadata, ensure_ascii=False)
    assert unicodedata.is_normalized("NFC", text)
    assert not any(key.startswith("bb.") for key in metadata)


def test_histories_pass_and_are_refused() -> None:
    """Over many histories most batches pass, some are refused, and every everyday intent is among them."""
    seen: Counter[str] = Counter()

    @settings(max_examples=60, database=None, deadline=None, derandomize=True)
    @given(strategies.histories())
    def play(history: History) -> None:
        machine = LedgerMachine(RiskEngine(), KeyringTrust())
        founding = genesis_batch(
            history.opening, name="x", keyring=Keyring.unsigned(), nonce="0" * 32, correlation_id="g"
        )
        now = datetime(2026, 1, 25, tzinfo=UTC)
        machine.propose(PreparedBatch(founding), now)
        for batch in history.batches:
            try:
                machine.propose(PreparedBatch(batch), now)
            except BibankError as error:
                seen[error.code] += 1
            else:
                seen["passed"] += 1
                seen.update(entry.intent.value for entry in batch)

    play()
    assert seen["passed"] > seen["insufficient_balance"] > 0
    assert {"deposit", "withdrawal", "transfer", "trade", "fee"} <= set(seen)


# --------------------------------------------------------------------------- the entry point


def entry_point() -> str:
    """Read the entry point that the package declares."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (target,) = project["entry-points"]["hypothesis"].values()
    return str(target)


def test_entry_point_is_the_hook() -> None:
    """What pyproject.toml names exists."""
    module, _, name = entry_point().partition(":")
    assert getattr(import_module(module), name) is _hypothesis_entry.register


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_from_type(kind: type[Any]) -> None:
    """With the hook run, values are drawn by their type."""
    _hypothesis_entry.register()

    @settings(max_examples=20, database=None, deadline=None)
    @given(st.from_type(kind))
    def draw(value: Any) -> None:
        assert type(value) is kind

    draw()


def test_hook_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken installation does not break `import hypothesis`."""
    monkeypatch.setitem(sys.modules, "bibank.model.account", None)
    with pytest.raises(ImportError):
        _hypothesis_entry._register()
    _hypothesis_entry.register()


def test_hook_is_light() -> None:
    """It imports the values and neither the strategies nor the shell."""
    script = (
        "import sys, hypothesis\n"
        "import bibank.testing._hypothesis_entry as entry\n"
        "before = set(sys.modules)\n"
        "entry.register()\n"
        "print(*sorted(name for name in sys.modules if name.startswith('bibank')))"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = set(run.stdout.split())
    assert "bibank.model.amount" in modules
    assert {name.split(".")[1] for name in modules if "." in name} == {"errors", "model", "testing"}
    assert "bibank.testing.strategies" not in modules


def test_drafts_with_links_are_drawn() -> None:
    """Some transfers open holds, for a payee or a withdrawal; any draft may count at another time."""
    transfers = strategies.unsigned_entries(TransactionIntent.TRANSFER)
    once = settings(database=None, max_examples=2_000, phases=[Phase.generate])
    for wanted in (True, False):

        def agreed(draft: UnsignedEntry, wanted: Any = wanted) -> bool:
            opens = draft.links.opens
            return opens is not None and (opens.payee is None) is wanted

        PreparedBatch([find(transfers, agreed, settings=once)])
    for intent in TransactionIntent:
        if intent is not TransactionIntent.GENESIS:
            drafts = strategies.unsigned_entries(intent)
            found = find(drafts, lambda draft: draft.links.effective_at is not None, settings=once)
            assert "bb.effective_at" in found.whole_metadata
