"""Making and opening: create, open, open_or_create, in_memory, and a ledger composed by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

import bibank as bb
from tests.store.journals import (
    DAYS,
    NEWEST,
    SIGNER,
    StillClock,
    counted_bytes,
    day_files,
    deposit,
    tree,
    write_journal,
)

REQUEST = UUID("12345678-1234-5678-1234-567812345678")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A path where nothing is yet."""
    return tmp_path / "books"


def test_create_writes_a_genesis_and_its_keyring(home: Path) -> None:
    """A new ledger holds line 1, which opens the books, and line 2, which adopts the keyring."""
    with bb.Ledger.create(
        home, opening={"USDT": "100", "BTC": 2}, name="shop.one", correlation_id=REQUEST
    ) as ledger:
        genesis = ledger.entry(1)
        assert genesis.intent is bb.TransactionIntent.GENESIS
        assert genesis.correlation_id == str(REQUEST)
        assert genesis.prev_hash == "GENESIS"
        assert genesis.metadata["bb.ledger"] == ledger.ledger_id
        assert ledger.ledger_id.startswith("shop.one/")
        assert ledger.head.sequence == 2
        assert [(str(row.account), str(row.balance)) for row in ledger.accounts()] == [
            ("ASSET:SYSTEM:VAULT:BTC:MAIN", "2"),
            ("ASSET:SYSTEM:VAULT:USDT:MAIN", "100"),
            ("EQUITY:SYSTEM:CAPITAL:BTC:MAIN", "2"),
            ("EQUITY:SYSTEM:CAPITAL:USDT:MAIN", "100"),
        ]
        with pytest.raises(bb.UnknownSequence, match="keyring_adopted record"):
            ledger.entry(2)


def test_an_empty_opening_is_allowed(home: Path) -> None:
    """A ledger may start without capital: its genesis has no postings."""
    with bb.Ledger.create(home) as ledger:
        assert ledger.entry(1).postings == ()
        assert ledger.entry(1).correlation_id == "genesis"
        assert len(ledger.accounts()) == 0


def test_create_refuses_a_home_that_exists_and_touches_nothing(home: Path) -> None:
    """`HomeExists`: the ledger that is there stays as it was."""
    bb.Ledger.create(home, opening={"USDT": "1"}).close()
    before, lock = tree(home), (home / "journal" / ".lock").read_bytes()
    with pytest.raises(bb.HomeExists, match="already"):
        bb.Ledger.create(home)
    assert (tree(home), (home / "journal" / ".lock").read_bytes()) == (before, lock)


def test_create_takes_an_existing_directory(home: Path) -> None:
    """A directory with other things in it may become a home."""
    home.mkdir()
    (home / "notes.txt").write_text("mine")
    bb.Ledger.create(home).close()
    assert (home / "notes.txt").read_text() == "mine"


def test_two_ledgers_have_two_ids(tmp_path: Path) -> None:
    """The nonce makes every ledger its own, also with the same name and opening."""
    ids = {bb.Ledger.in_memory({"USDT": "1"}).ledger_id for _ in range(5)}
    assert len(ids) == 5


def test_the_same_randomness_and_clock_give_the_same_bytes(tmp_path: Path) -> None:
    """Nothing but clock, entropy and key enters a journal from outside."""
    for name in ("one", "two"):
        with bb.Ledger.create(
            tmp_path / name, signer=SIGNER, clock=StillClock(), entropy=counted_bytes
        ) as ledger:
            ledger.commit(deposit("A", "1 USDT"))
    assert day_files(tmp_path / "one") == day_files(tmp_path / "two")


BAD_FOUNDINGS = [
    ({"opening": {"USDT": "-1"}}, bb.InvalidAmount),
    ({"opening": {"USDT": "0"}}, bb.InvalidEntry),
    ({"opening": {"USDT": 1.5}}, bb.InvalidType),
    ({"opening": {"usdt": "1"}}, bb.InvalidMoney),
    ({"opening": {7: "1"}}, bb.InvalidType),
    ({"opening": [("USDT", "1")]}, bb.InvalidType),
    ({"opening": "100 USDT"}, bb.InvalidType),
    ({"opening": {f"A{number}": "1" for number in range(400)}}, bb.EntryTooLarge),
    ({"name": "Shop"}, bb.InvalidValue),
    ({"name": ""}, bb.InvalidValue),
    ({"name": 5}, bb.InvalidType),
]


@pytest.mark.parametrize(("wrong", "error"), BAD_FOUNDINGS)
def test_what_cannot_be_founded_makes_no_directory(
    home: Path, wrong: dict[str, object], error: type[bb.InvalidInput]
) -> None:
    """An opening or a name that cannot be is refused before anything is made, by each way of making."""
    for make in (bb.Ledger.create, bb.Ledger.open_or_create):
        with pytest.raises(error):
            make(home, **wrong)  # type: ignore[arg-type]  # wrong on purpose
        assert not home.exists()
    with pytest.raises(error):
        bb.Ledger.in_memory(**wrong)  # type: ignore[arg-type]  # wrong on purpose
    store = bb.MemoryStore()
    with pytest.raises(error):
        bb.Ledger(store=store, **wrong)  # type: ignore[arg-type]  # wrong on purpose
    assert store.head().sequence == 0


@pytest.mark.parametrize("missing", [None, ""])
def test_a_genesis_needs_a_correlation_id_too(home: Path, missing: str | None) -> None:
    """The default may be overridden, but not with nothing."""
    with pytest.raises(bb.MissingCorrelationId):
        bb.Ledger.create(home, correlation_id=missing)  # type: ignore[arg-type]  # wrong on purpose
    assert not home.exists()
    with pytest.raises(bb.MissingCorrelationId):
        bb.Ledger(store=bb.MemoryStore(), correlation_id=missing)  # type: ignore[arg-type]  # wrong on purpose


def test_a_misspelled_durability_is_refused(home: Path) -> None:
    """A durability that is neither sync nor none is an error, never no durability."""
    for make in (bb.Ledger.create, bb.Ledger.open, bb.Ledger.open_or_create):
        with pytest.raises(bb.ConfigurationError, match="'Sync'"):
            make(home, durability="Sync")  # type: ignore[arg-type]  # wrong on purpose
    assert not home.exists()


@pytest.mark.parametrize("path", [5, None, b"books"])
def test_a_home_is_a_path(path: object) -> None:
    """Something that is no path is an `InvalidType`."""
    with pytest.raises(bb.InvalidType):
        bb.Ledger.open(path)  # type: ignore[arg-type]  # wrong on purpose


def test_a_path_has_no_nul() -> None:
    """A path that no file system could hold is an `InvalidValue`."""
    with pytest.raises(bb.InvalidValue, match="NUL"):
        bb.Ledger.create("bo\0oks")


def test_open_without_a_home_touches_nothing(tmp_path: Path) -> None:
    """`HomeNotFound` for a missing, an empty and a foreign directory, each left exactly as it was."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign" / "journal").mkdir(parents=True)
    (tmp_path / "foreign" / "journal" / "notes.jsonl").write_text("{}")
    before = tree(tmp_path)
    for name in ("missing", "empty", "foreign"):
        with pytest.raises(bb.HomeNotFound, match="create"):
            bb.Ledger.open(tmp_path / name)
        with pytest.raises(bb.HomeNotFound):
            bb.audit_home(tmp_path / name)
    assert tree(tmp_path) == before
    assert list(tmp_path.rglob(".lock")) == []


def test_open_gives_back_what_was_written(home: Path) -> None:
    """Accounts, entries, head and id of a ledger are the same after a restart."""
    write_journal(home)
    with bb.Ledger.open(home) as ledger:
        before = ledger.accounts(), ledger.entries(), ledger.head, ledger.ledger_id
    with bb.Ledger.open(home) as ledger:
        assert (ledger.accounts(), ledger.entries(), ledger.head, ledger.ledger_id) == before


def test_open_or_create_makes_and_then_opens(home: Path) -> None:
    """The first run makes the ledger, every later one opens the same."""
    with bb.Ledger.open_or_create(home, opening={"USDT": "5"}, name="script") as ledger:
        first = ledger.ledger_id
        ledger.deposit("A", "1 USDT", correlation_id="r1")
    for opening in (None, {"USDT": "5"}, {"USDT": bb.Amount("5.0")}, {"USDT": 5}):
        with bb.Ledger.open_or_create(home, opening=opening) as ledger:
            assert ledger.ledger_id == first
            assert ledger.head.sequence == 3


@pytest.mark.parametrize("opening", [{}, {"USDT": "6"}, {"BTC": "5"}, {"USDT": "5", "BTC": "1"}])
def test_another_opening_than_that_of_the_ledger_is_refused(home: Path, opening: dict[str, str]) -> None:
    """A given opening must be the one of the genesis; the home is free again afterwards."""
    bb.Ledger.create(home, opening={"USDT": "5"}).close()
    with pytest.raises(bb.ConfigurationError, match="opened with 5 USDT"):
        bb.Ledger.open_or_create(home, opening=opening)
    bb.Ledger.open(home).close()


def test_an_unfinished_creation_is_created_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A creation that fails leaves a home that is not there and can be made."""

    syncs: list[int] = []

    def fail_later(handle: int) -> None:
        syncs.append(handle)
        if len(syncs) > 1:  # the first is HEAD's
            raise OSError(5, "planted")

    with monkeypatch.context() as patch:
        patch.setattr("bibank.store.jsonl.files._sync_content", fail_later)
        with pytest.raises(bb.CommitOutcomeUnknown):
            bb.Ledger.create(home, opening={"USDT": "5"})
    for file in (home / "journal").glob("*.jsonl"):
        file.write_bytes(file.read_bytes().rstrip(b"\0")[:-1])
    with bb.Ledger.open_or_create(home, opening={"USDT": "7"}) as ledger:
        assert str(ledger.accounts()[0].balance) == "7"


def test_in_memory_needs_no_disk() -> None:
    """A ledger in memory works like any other and says what it is."""
    with bb.Ledger.in_memory({"USDT": "5"}, name="note") as ledger:
        ledger.deposit("A", "1 USDT", correlation_id="r1")
        assert ledger.audit().lines == 3
        assert repr(ledger) == f"<Ledger {ledger.ledger_id} in <MemoryStore of 3 lines>, line 3, Unsigned>"


def test_a_ledger_is_composed_by_hand() -> None:
    """Store, clock and entropy are given; an empty store gets a genesis, a full one is opened."""
    store, clock = bb.MemoryStore(), StillClock()
    made = bb.Ledger(store=store, opening={"USDT": "5"}, clock=clock, entropy=counted_bytes, name="hand")
    made.commit(deposit("A", "1 USDT"))
    opened = bb.Ledger(store=store, clock=clock)
    assert opened.ledger_id == made.ledger_id == "hand/" + made.ledger_id[5:]
    assert opened.entries() == made.entries()
    assert opened.entry(3).timestamp == clock.moment
    with pytest.raises(bb.ConfigurationError, match="not the opening given"):
        bb.Ledger(store=store, opening={"USDT": "6"})
    assert bb.Ledger(store=store, opening={"USDT": "5"}).head == made.head


@pytest.mark.parametrize("store", [None, "books", object()])
def test_a_store_that_is_none_is_refused(store: object) -> None:
    """What is no store is a configuration error."""
    with pytest.raises(bb.ConfigurationError, match="LedgerStore"):
        bb.Ledger(store=store)  # type: ignore[arg-type]  # wrong on purpose


def test_a_repr_says_where_and_in_which_state(home: Path) -> None:
    """The repr names id, home, line, who signs if anybody does, and whether the ledger is open."""
    for keyring, signed in ((None, "signed by SYSTEM"), (bb.Keyring.unsigned(), "Unsigned")):
        ledger = bb.Ledger.create(home / signed, keyring=keyring)
        shown = f"<Ledger {ledger.ledger_id} in '{home / signed}', line 2, {signed}"
        assert repr(ledger) == f"{shown}>"
        ledger.close()
        assert repr(ledger) == f"{shown}, closed>"


def test_leaving_the_block_closes(home: Path) -> None:
    """`with` closes the ledger also when its block raises; closing twice is harmless."""
    with pytest.raises(RuntimeError, match="mine"), bb.Ledger.create(home) as ledger:
        raise RuntimeError("mine")
    ledger.close()
    bb.Ledger.open(home).close()


def test_a_clock_before_the_journal_opens_it(home: Path) -> None:
    """A journal of tomorrow opens today; time goes on from its last line."""
    bb.Ledger.create(home, clock=StillClock(DAYS[2])).close()
    with bb.Ledger.open(home, clock=StillClock(DAYS[0])) as ledger:
        assert ledger.commit(deposit("A", "1 USDT")).timestamp == StillClock(DAYS[2]).moment


def test_a_journal_of_another_format_is_left_alone(home: Path) -> None:
    """A format that this version does not know stops every opening before any repair."""
    write_journal(home)
    for name, content in day_files(home).items():
        other = content.replace(b'"bb.format":"bibank/1"', b'"bb.format":"bibank/2"')
        (home / "journal" / name).write_bytes(other + (b'{"torn' if name == NEWEST else b""))
    before = tree(home)
    looks: list[Callable[[Path], object]] = [bb.Ledger.open, bb.Ledger.open_or_create, bb.audit_home]
    for look in looks:
        with pytest.raises(bb.UnsupportedFormat, match="'bibank/2'"):
            look(home)
    assert tree(home) == before


def test_a_store_that_ends_in_half_a_batch_is_not_opened() -> None:
    """A hand-composed ledger takes nothing less than whole batches from its store."""
    store = bb.MemoryStore()
    bb.Ledger(store=store).commit_batch([deposit("A", "1 USDT"), deposit("A", "2 USDT")])
    store._lines.pop()
    store._head = bb.Head(3, "0" * 64)
    with pytest.raises(bb.JournalCorrupt, match="unfinished") as caught:
        bb.Ledger(store=store)
    assert (caught.value.sequence, caught.value.file) == (4, None)
